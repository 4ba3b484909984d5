//! `cargo xtask test`: everything that must hold.

use clap::Args;

use crate::workspace::run as step;

/// Nothing to choose yet.
#[derive(Args)]
pub struct Options {}

/// The libraries whose unit tests stand.
const LIBRARIES: &[&str] =
    &["base", "blob", "records", "wire", "telemetry", "stream", "meta", "partition", "broker", "console", "testkit", "xtask"];

/// Runs every check.
pub fn run(_: &Options) -> anyhow::Result<()> {
    let mut call = vec!["test"];
    for library in LIBRARIES {
        call.extend(["-p", library]);
    }
    call.extend(["--lib", "--bins"]);
    step("tests", "cargo", &call)
}
