//! The differential oracle as a program.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for developers")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use oracle::campaign::Outcome;
use oracle::catalogue::Catalogue;
use oracle::clients;
use oracle::page;
use oracle::plan::{Plan, judge_named, name_of};
use oracle::plant::Plant;

/// Headwater beside Apache Kafka 4.4.0 and 3.9.2: the same requests, the replies compared field by field
#[derive(Debug, Parser)]
#[command(name = "cargo xtask oracle")]
struct Options {
    /// The broker's binary
    #[arg(long, default_value = "target/release/headwater")]
    binary: PathBuf,
    /// Which Kafka judges
    #[arg(long, default_values_t = ["4.4".to_owned(), "3.9".to_owned()], value_delimiter = ',')]
    judges: Vec<String>,
    /// Chunks of generated requests for each API and judge
    #[arg(long, default_value_t = 12)]
    chunks: u64,
    /// Seeds of each story
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Only stories, and APIs of generated requests, whose name holds this
    #[arg(long, default_value = "")]
    only: String,
    /// Without generated requests
    #[arg(long)]
    no_cases: bool,
    /// Without stories
    #[arg(long)]
    no_stories: bool,
    /// Without a restart of the brokers
    #[arg(long)]
    no_restart: bool,
    /// Stories told at a time
    #[arg(long, default_value_t = 4)]
    threads: usize,
    /// Findings are shown as they are
    #[arg(long)]
    no_shrink: bool,
    /// Falsify what Headwater answers
    #[arg(long)]
    plant: Option<String>,
    /// Write docs/compatibility.md, if nothing differs that is not meant to
    #[arg(long)]
    record: bool,
    /// Let real clients tell their stories too
    #[arg(long)]
    clients: bool,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let plant = options.plant.as_deref().map(|name| Plant::named(name).with_context(|| format!("no plant '{name}'")));
    let plant = plant.transpose()?;
    let catalogue = Catalogue::load()?;
    let directory = tempfile::tempdir()?;
    let binary = std::path::absolute(&options.binary)?;
    ensure!(binary.exists(), "there is no {}: cargo build --release", binary.display());
    let judges = options.judges.iter().map(|name| judge_named(name).with_context(|| format!("no Kafka '{name}'")));
    let plan = Plan {
        judges: judges.collect::<Result<_>>()?,
        chunks: if options.no_cases { 0 } else { options.chunks },
        seeds: if options.no_stories { 0 } else { options.seeds },
        from: options.from,
        only: options.only.clone(),
        restarts: !options.no_restart && !options.no_stories,
        threads: options.threads,
        shrinks: !options.no_shrink,
        plant,
    };
    let mut of_clients = 0;
    let outcome = plan.run(&catalogue, &binary, directory.path(), |pair| {
        if options.clients {
            let home = directory.path().join(name_of(pair.judge)).join("clients");
            for seen in clients::tell(&catalogue, pair.judge, &binary, &home, &options.only)? {
                println!("DIFFERS {seen}");
                of_clients += 1;
            }
        }
        Ok(())
    })?;
    let is_whole = options.is_whole();
    let is_good = report(&catalogue, &outcome, is_whole) && of_clients == 0;
    if options.record {
        ensure!(is_whole, "only a whole run, with all judges, restarts and clients, is recorded");
        ensure!(is_good, "nothing is recorded while something differs, or is not asked");
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/compatibility.md");
        std::fs::write(page, page::page(&catalogue, &outcome)?)?;
    }
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Options {
    /// Whether nothing is left out.
    fn is_whole(&self) -> bool {
        let narrowed = self.no_cases || self.no_stories || self.no_restart || !self.only.is_empty();
        !narrowed && self.judges.len() == 2 && self.clients && self.plant.is_none()
    }
}

/// Says what came of it, and whether all is well: of a whole run, also that enough was asked.
fn report(catalogue: &Catalogue, outcome: &Outcome, is_whole: bool) -> bool {
    for finding in outcome.findings.values() {
        println!("DIFFERS ({} times, versions {:?}) {}", finding.times, finding.versions, finding.mark);
    }
    for (mark, stories) in &outcome.unsteady {
        println!("unsteady: {mark}; {} times, such as {}", stories.len(), stories[0]);
    }
    for (mark, _) in outcome.recurring() {
        println!("COMES AND GOES {mark}");
    }
    for (story, count) in &outcome.unasked {
        println!("{count} steps were not asked of {story}");
    }
    for ((api, version), tally) in &outcome.tallies {
        let name = catalogue.api(*api).map_or("?", |api| &api.name);
        println!(
            "{name:28} v{version:<3} {:6} cases, {:6} refused by Kafka, {:6} agree, {:6} allowed",
            tally.cases, tally.refused, tally.agree, tally.allowed
        );
    }
    let gaps = outcome.gaps(catalogue);
    for gap in &gaps {
        println!("{gap}");
    }
    println!(
        "{} cases, {} stories told {} times, {} differences, {} unsteady",
        outcome.cases(),
        outcome.stories.len(),
        outcome.told,
        outcome.findings.len(),
        outcome.unsteady.len()
    );
    let is_same = outcome.findings.is_empty() && outcome.recurring().next().is_none();
    is_same && (gaps.is_empty() || !is_whole)
}
