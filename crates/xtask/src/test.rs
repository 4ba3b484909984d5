//! `cargo xtask test`: everything that must hold, in the order in which a failure is cheapest to meet.

use clap::Args;

use crate::workspace::run as step;

/// Nothing to choose yet.
#[derive(Args)]
pub struct Options {}

/// Runs every check.
pub fn run(_: &Options) -> anyhow::Result<()> {
    step("formatting", "cargo", &["fmt", "--all", "--check"])?;
    step("protocol models", "python3", &["models/run.py"])?;
    step("lints", "cargo", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    step("clients", "clients/install", &[])?;
    step("tests", "cargo", &["test", "--workspace"])
}
