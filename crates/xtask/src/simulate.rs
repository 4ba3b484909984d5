//! `cargo xtask sim`: builds the simulator and hands everything else to it.

use crate::workspace;

pub fn run(args: &[String]) -> anyhow::Result<()> {
    let mut call = vec!["run", "--quiet", "--profile", "sim", "-p", "sim", "--"];
    call.extend(args.iter().map(String::as_str));
    workspace::run("sim", "cargo", &call).map(drop)
}
