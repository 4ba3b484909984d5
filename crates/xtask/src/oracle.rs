//! `cargo xtask oracle`: builds the broker and the oracle and hands everything else to the latter.

use crate::workspace;

pub fn run(args: &[String]) -> anyhow::Result<()> {
    workspace::run("build", "cargo", &["build", "--release", "-p", "headwater"])?;
    let mut call = vec!["run", "--quiet", "-p", "oracle", "--"];
    call.extend(args.iter().map(String::as_str));
    workspace::run("oracle", "cargo", &call).map(drop)
}
