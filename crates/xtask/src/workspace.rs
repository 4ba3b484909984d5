//! Where the workspace is, and how its programs are run.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// The workspace's root.
pub fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("this crate lies two folders below the root").to_path_buf()
}

/// Runs a program in the root, says how long it took, and fails when it does.
pub fn run(step: &str, program: &str, args: &[&str]) -> anyhow::Result<Duration> {
    announce(step);
    let started = now();
    let status = Command::new(program)
        .args(args)
        .current_dir(root())
        .status()
        .with_context(|| format!("{program} could not be started"))?;
    if !status.success() {
        bail!("{step}: `{program} {}` failed ({status})", args.join(" "));
    }
    Ok(started.elapsed())
}

/// The machine's clock: a chore has no other.
#[allow(clippy::disallowed_methods, reason = "a chore measures real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// Says what begins.
#[allow(clippy::print_stdout, reason = "a chore reports on the terminal")]
pub fn announce(step: &str) {
    println!("\n== {step}");
}
