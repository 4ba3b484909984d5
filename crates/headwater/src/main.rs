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

mod banner;
mod cli;
mod commands;
mod config;
mod server;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How the allocator is set. Memory goes back to the system from a thread of its own, ten seconds after it was freed:
/// giving large buffers back at once, as is its default, makes the kernel fill them with zeros again for every read. There
/// are as many arenas as cores and not four times as many, of which most threads would have one each: they are idle mostly,
/// and an arena holds some pages of its own.
#[repr(transparent)]
struct AllocatorConf(*const std::ffi::c_char);

// SAFETY: it points at a constant, which nobody changes.
unsafe impl Sync for AllocatorConf {}

// SAFETY: the name and the type of jemalloc's own variable, with the prefix that its crate gives it.
#[used]
#[unsafe(export_name = "_rjem_malloc_conf")]
static ALLOCATOR_CONF: AllocatorConf = AllocatorConf(
    c"background_thread:true,narenas_ratio:1,oversize_threshold:0,dirty_decay_ms:10000,muzzy_decay_ms:0".as_ptr(),
);

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
