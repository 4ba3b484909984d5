//! The client and maintenance commands, one file each.

pub mod client;
pub mod consume;
pub mod group;
pub mod metadata;
pub mod produce;
pub mod table;
pub mod topic;
pub mod wal;

use crate::cli::Command;

/// Runs a command.
pub fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Topic(options) => topic::run(options),
        Command::Produce(options) => produce::run(&options),
        Command::Consume(options) => consume::run(&options),
        Command::Group(options) => group::run(options),
        Command::Wal(options) => wal::run(options),
        Command::Metadata(options) => metadata::run(&options),
    }
}
