//! The project's chores: `cargo xtask <chore>`. CI calls the same entry points a developer calls.

mod bench;
mod oracle;
mod simulate;
mod suites;
mod test;
mod times;
mod workspace;

#[cfg(test)]
mod ports;
#[cfg(test)]
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's chores")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Install whatever the tests need and run them all
    Test(test::Options),
    /// Measure speed and size beside Apache Kafka and this machine's limits
    Bench {
        /// Arguments of the `bench` program; `--help` lists them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Simulate brokers, clients, store, network and disks on many seeds, on one again, or with bugs planted
    #[command(disable_help_flag = true)]
    Sim {
        /// Arguments of the simulator; `--help` lists them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Ask Apache Kafka and Headwater the same, and compare their answers field by field
    #[command(disable_help_flag = true)]
    Oracle {
        /// Arguments of the oracle; `--help` lists them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().chore {
        Chore::Test(options) => test::run(&options),
        Chore::Bench { args } => bench::run(&args).map(|()| ExitCode::SUCCESS),
        Chore::Sim { args } => simulate::run(&args).map(|()| ExitCode::SUCCESS),
        Chore::Oracle { args } => oracle::run(&args).map(|()| ExitCode::SUCCESS),
    }
}
