//! The test programs of the workspace: built by one call of cargo, then run one by one.

use std::io::{BufRead, BufReader, Write};
use std::ops::AddAssign;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::workspace::root;

/// The examples in documentation comments, which cargo runs itself.
pub const DOCUMENTATION: &str = "documentation";

/// Tests that run as one program.
pub struct Suite {
    /// Its name in the table: see [`name`].
    pub name: String,
    what: What,
}

enum What {
    Program { program: PathBuf, package: PathBuf },
    Documentation,
}

/// The package that is built by a call of its own: cargo gives all that one call builds the features that any of it asks for,
/// and the simulator asks for planted bugs, which are in nothing else.
const APART: &str = "sim";

/// A call of cargo that leaves out what is built apart, and one for that.
pub const CALLS: [&[&str]; 2] = [&["--workspace", "--exclude", APART], &["--package", APART]];

/// How many tests came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub passed: u64,
    pub failed: u64,
}

impl Count {
    /// As the last line of everything says it.
    pub fn shown(self) -> String {
        format!("{} passed, {} failed", self.passed, self.failed)
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// What a suite is called: a library's own tests by their package, a program's by their package and `program`, others by
/// package and file. `None` for what holds no tests.
pub fn name(package: &str, target: &Value) -> Option<String> {
    let kind = target["kind"].as_array()?.first()?.as_str()?;
    match kind {
        "lib" | "proc-macro" => Some(package.to_owned()),
        "bin" => Some(format!("{package}/program")),
        "test" => Some(format!("{package}/{}", target["name"].as_str()?)),
        _ => None,
    }
}

/// Builds all suites, or `only` those.
pub fn build(only: &[String]) -> anyhow::Result<Vec<Suite>> {
    let mut suites = Vec::new();
    for packages in calls(only) {
        let mut call = Command::new("cargo");
        call.args(["test", "--no-run", "--message-format", "json-render-diagnostics"]).args(packages);
        let mut building =
            call.current_dir(root()).stdout(Stdio::piped()).spawn().context("cargo could not be started")?;
        let messages = building.stdout.take().context("cargo's messages are read")?;
        for line in BufReader::new(messages).lines() {
            let line = line.context("cargo's messages are read")?;
            suites.extend(serde_json::from_str(&line).ok().and_then(|message: Value| built(&message)));
        }
        let status = building.wait().context("cargo could not be awaited")?;
        ensure!(status.success(), "the tests do not build ({status})");
    }
    suites.push(Suite { name: DOCUMENTATION.to_owned(), what: What::Documentation });
    suites.retain(|suite| only.is_empty() || only.contains(&suite.name));
    let unknown: Vec<_> = only.iter().filter(|name| suites.iter().all(|suite| suite.name != **name)).collect();
    ensure!(unknown.is_empty(), "there is no suite {unknown:?}");
    Ok(suites)
}

/// The packages of each call of cargo that builds all suites, or `only` those.
fn calls(only: &[String]) -> Vec<Vec<&str>> {
    if only.is_empty() {
        return CALLS.iter().map(|packages| packages.to_vec()).collect();
    }
    let packages = only.iter().filter(|suite| *suite != DOCUMENTATION);
    let packages = packages.map(|suite| suite.split('/').next().unwrap_or(suite));
    let (apart, others): (Vec<_>, Vec<_>) = packages.partition(|package| *package == APART);
    let calls = [others, apart].into_iter().filter(|packages| !packages.is_empty());
    calls.map(|packages| packages.into_iter().flat_map(|package| ["--package", package]).collect()).collect()
}

/// The suite that a message of cargo's says is built.
fn built(message: &Value) -> Option<Suite> {
    let is_test = message["reason"] == "compiler-artifact" && message["profile"]["test"] == true;
    let program = PathBuf::from(message["executable"].as_str().filter(|_| is_test)?);
    let package = PathBuf::from(message["manifest_path"].as_str()?).parent()?.to_owned();
    let name = name(package.file_name()?.to_str()?, &message["target"])?;
    Some(Suite { name, what: What::Program { program, package } })
}

impl Suite {
    /// Runs it as `cargo test` does, showing what it prints. A suite that ends without a result counts as one that failed.
    pub fn run(&self) -> anyhow::Result<Count> {
        match &self.what {
            What::Program { program, package } => {
                let mut call = Command::new(program);
                self.follow(call.current_dir(package).env("CARGO_MANIFEST_DIR", package))
            }
            What::Documentation => {
                let mut count = Count::default();
                for packages in CALLS {
                    let mut call = Command::new("cargo");
                    count += self.follow(call.args(["test", "--doc"]).args(packages).current_dir(root()))?;
                }
                Ok(count)
            }
        }
    }

    fn follow(&self, call: &mut Command) -> anyhow::Result<Count> {
        let mut running =
            call.stdout(Stdio::piped()).spawn().with_context(|| format!("{} could not be started", self.name))?;
        let output = running.stdout.take().context("its output is read")?;
        let count = follow(output, std::io::stdout().lock()).with_context(|| format!("following {}", self.name))?;
        let status = running.wait().with_context(|| format!("{} could not be awaited", self.name))?;
        Ok(judged(count, status.success()))
    }
}

/// A program that ended badly has failed even where no test of it says so: it may have died in one.
fn judged(mut count: Count, success: bool) -> Count {
    if !success && count.failed == 0 {
        count.failed = 1;
    }
    count
}

/// Passes output on, line by line, and sums up the results in it.
fn follow(output: impl std::io::Read, mut to: impl Write) -> std::io::Result<Count> {
    let mut count = Count::default();
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        to.flush()?;
        count += result(&String::from_utf8_lossy(&line)).unwrap_or_default();
        line.clear();
    }
    Ok(count)
}

/// The numbers of a line as libtest ends with: `test result: ok. 3 passed; 0 failed; …`.
fn result(line: &str) -> Option<Count> {
    let numbers = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let number = |what: &str| {
        let part = numbers.split(';').map(str::trim).find_map(|part| part.strip_suffix(what))?;
        part.trim().parse::<u64>().ok()
    };
    Some(Count { passed: number("passed")?, failed: number("failed")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_counts_the_tests_of_all_programs() {
        let output = "running 2 tests\ntest a ... ok\n\n\
            test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.01s\n\
            test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.50s\n";
        let mut shown = Vec::new();
        let count = follow(output.as_bytes(), &mut shown).unwrap();
        assert_eq!(count.shown(), "15 passed, 2 failed");
        assert_eq!(shown, output.as_bytes(), "everything is passed on");
    }

    /// Else every program that is tested would have planted bugs in it.
    #[test]
    fn the_simulator_is_built_by_a_call_of_its_own() {
        let called = |only: &[&str]| {
            let only: Vec<_> = only.iter().map(|suite| (*suite).to_owned()).collect();
            calls(&only).iter().map(|call| call.join(" ")).collect::<Vec<_>>()
        };
        assert_eq!(called(&[]), ["--workspace --exclude sim", "--package sim"]);
        assert_eq!(called(&["sim/runs", "broker/live", "sim"]), ["--package broker", "--package sim --package sim"]);
        assert_eq!(called(&["wire"]), ["--package wire"]);
        assert_eq!(called(&[DOCUMENTATION]), [""; 0]);
    }

    #[test]
    fn a_program_that_dies_without_a_result_has_failed() {
        assert_eq!(judged(Count { passed: 3, failed: 0 }, false), Count { passed: 3, failed: 1 });
        assert_eq!(judged(Count { passed: 3, failed: 2 }, false), Count { passed: 3, failed: 2 });
        assert_eq!(judged(Count { passed: 3, failed: 0 }, true), Count { passed: 3, failed: 0 });
    }

    #[test]
    fn only_what_holds_tests_is_a_suite() {
        let artifact = |kind: &str, test: bool| {
            serde_json::json!({
                "reason": "compiler-artifact", "profile": { "test": test }, "executable": "/t/deps/x-1",
                "manifest_path": "/w/crates/broker/Cargo.toml", "target": { "kind": [kind], "name": "live" },
            })
        };
        let name = |kind, test| built(&artifact(kind, test)).map(|suite| suite.name);
        assert_eq!(name("lib", true).as_deref(), Some("broker"));
        assert_eq!(name("bin", true).as_deref(), Some("broker/program"));
        assert_eq!(name("test", true).as_deref(), Some("broker/live"));
        assert_eq!(name("example", true), None);
        assert_eq!(name("bin", false), None, "the program itself");
    }
}
