//! The `headwater` program: commands and composition root.
//!
//! `headwater` alone starts a broker ([`server`]); the other commands are clients of a running one ([`commands`]) or
//! look at a stopped one's files. Nothing here decides anything about data.

mod banner;
mod cli;
mod commands;
mod config;
mod identity;
mod server;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let outcome = match cli.command {
        None => server::run(&cli.server),
        Some(command) => commands::run(command),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The whole chain, one cause a line: the last one is usually the one that helps.
            eprintln!("headwater: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}
