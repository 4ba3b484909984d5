//! The `headwater` program: commands and composition root.
//!
//! `headwater` alone starts a broker ([`server`]); the other commands are clients of a running one ([`commands`]) or
//! look at a stopped one's files. Nothing here decides anything about data.

#![warn(clippy::print_stdout, clippy::print_stderr, reason = "they panic where nobody reads any more")]

/// Says something on standard error, as `eprintln!` does. Where nobody listens any more it goes unheard, and that changes
/// neither what is done nor the exit code.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write;
        let _unheard = writeln!(std::io::stderr(), $($text)*);
    }};
}

mod allocator;
mod banner;
mod cli;
mod commands;
mod config;
mod server;

use std::process::ExitCode;

use clap::Parser;

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
            say!("headwater: {error}");
            for cause in error.chain().skip(1) {
                say!("  because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}
