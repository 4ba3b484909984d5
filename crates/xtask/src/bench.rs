//! `cargo xtask bench`: builds for speed and runs the `bench` program.

use crate::workspace;

/// Builds the broker and the bench program in release mode, then measures.
pub fn run(args: &[String]) -> anyhow::Result<()> {
    workspace::run("build", "cargo", &["build", "--release", "-p", "headwater", "-p", "bench"])?;
    workspace::run("clients and the rival", "clients/install", &["java"])?;
    let mut call = vec!["run", "--release", "-p", "bench", "--"];
    call.extend(args.iter().map(String::as_str));
    workspace::run("bench", "cargo", &call).map(drop)
}
