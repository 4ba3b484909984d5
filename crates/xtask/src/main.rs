//! The project's chores: `cargo xtask <chore>`. CI calls the same entry points a developer calls.

mod bench;
mod test;
mod workspace;

#[cfg(test)]
mod tidy;

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
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().chore {
        Chore::Test(options) => test::run(&options),
        Chore::Bench { args } => bench::run(&args),
    }
}
