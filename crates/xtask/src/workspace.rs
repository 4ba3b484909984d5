//! Where the workspace is, and how its programs are run.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

/// The workspace's root.
pub fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("this crate lies two folders below the root").to_path_buf()
}

/// Runs a program in the root and fails when it does.
pub fn run(step: &str, program: &str, args: &[&str]) -> anyhow::Result<()> {
    println_step(step);
    let status = Command::new(program)
        .args(args)
        .current_dir(root())
        .status()
        .with_context(|| format!("{program} could not be started"))?;
    if !status.success() {
        bail!("{step}: `{program} {}` failed ({status})", args.join(" "));
    }
    Ok(())
}

#[allow(clippy::print_stdout, reason = "a chore reports on the terminal")]
fn println_step(step: &str) {
    println!("\n== {step}");
}
