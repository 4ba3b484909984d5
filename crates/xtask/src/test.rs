//! `cargo xtask test`: everything that must hold, in the order in which a failure is cheapest to meet, and how long each
//! part of it took beside what `docs/testing.md` grants it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use crate::suites::{self, CALLS, Count};
use crate::times::{Table, recorded, shown};
use crate::workspace::{self, root};

/// The arguments of a call, in parts.
type Call = &'static [&'static [&'static str]];

/// What runs before the suites, by its name in the table: programs, each called as often as there are lists of arguments.
const STEPS: &[(&str, &str, &[Call])] = &[
    ("formatting", "cargo", &[&[&["fmt", "--all", "--check"]]]),
    ("models", "python3", &[&[&["models/run.py"]]]),
    ("lints", "cargo", &[&[&["clippy"], CALLS[0], LINTS], &[&["clippy"], CALLS[1], LINTS]]),
    ("clients", "clients/install", &[&[]]),
];
const LINTS: &[&str] = &["--all-targets", "--", "-D", "warnings"];
/// The row of compiling all suites.
const BUILD: &str = "build";

/// The whole of it, unless told otherwise.
#[derive(Args)]
pub struct Options {
    /// Only this suite, by its name in docs/testing.md; may be given more than once. Nothing else runs then
    #[arg(long, value_name = "SUITE")]
    only: Vec<String>,
    /// Write the times into docs/testing.md, as what was measured
    #[arg(long)]
    record: bool,
}

/// Names of the parts that are no suites.
#[cfg(test)]
pub fn parts() -> impl Iterator<Item = String> {
    STEPS.iter().map(|(name, ..)| *name).chain([BUILD]).map(str::to_owned)
}

/// The page that says how long what may take.
pub fn page() -> PathBuf {
    root().join("docs/testing.md")
}

/// Runs every check. What went wrong in a suite, and what took too long, is told after all have run: the last line counts
/// the tests.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let text = std::fs::read_to_string(page()).context("docs/testing.md cannot be read")?;
    let table = Table::parse(&text)?;
    let mut took: Vec<(String, Duration)> = Vec::new();
    if options.only.is_empty() {
        for (name, program, calls) in STEPS {
            let mut time = Duration::ZERO;
            for arguments in *calls {
                time += workspace::run(name, program, &arguments.concat())?;
            }
            took.push(((*name).to_owned(), time));
        }
    }
    workspace::announce(BUILD);
    let started = workspace::now();
    let suites = suites::build(&options.only)?;
    if options.only.is_empty() {
        // Building a part says nothing of building all.
        took.push((BUILD.to_owned(), started.elapsed()));
    }
    // A table that is not of these suites is found before they run for half an hour.
    let mut complaints = table.strangers(suites.iter().map(|suite| suite.name.as_str()));
    anyhow::ensure!(complaints.is_empty(), "docs/testing.md is not of this tree: {}", complaints.join("; "));

    let mut total = Count::default();
    let order = table.in_order(suites, |suite| &suite.name);
    for suite in &order {
        workspace::announce(&suite.name);
        let started = workspace::now();
        let count = suite.run()?;
        took.push((suite.name.clone(), started.elapsed()));
        if count.failed > 0 {
            complaints.push(format!("{} failed: {}", suite.name, count.shown()));
        }
        total += count;
    }
    complaints.extend(table.outgrown(&took, options.only.is_empty()));
    if options.record {
        std::fs::write(page(), recorded(&text, &took, options.only.is_empty()))
            .context("docs/testing.md cannot be written")?;
    }
    report(&table, &took, &complaints, total);
    Ok(if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[allow(clippy::print_stdout, reason = "a chore reports on the terminal")]
fn report(table: &Table, took: &[(String, Duration)], complaints: &[String], total: Count) {
    println!("\n{:<28} {:>7} {:>7}", "suite", "took", "budget");
    for (name, time) in took {
        println!("{name:<28} {:>7} {:>7}", shown(*time), table.budget(name).map_or_else(String::new, shown));
    }
    let all = took.iter().map(|(_, time)| *time).sum();
    println!("{:<28} {:>7} {:>7}\n", "all", shown(all), shown(table.budget_of_all()));
    for complaint in complaints {
        println!("FAILED: {complaint}");
    }
    println!("{}", total.shown());
}
