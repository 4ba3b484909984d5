//! The differential oracle as a program.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for developers")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use oracle::allowed::ROWS;
use oracle::campaign::{Campaign, Outcome, timed};
use oracle::catalogue::Catalogue;
use oracle::clients;
use oracle::generate::{APIS, chunk};
use oracle::page;
use oracle::pair::Pair;
use oracle::plant::Plant;
use oracle::stories;
use testkit::{Clients, KafkaVersion};

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
    let clients = Clients::installed_parts(&["java"])?;
    let directory = tempfile::tempdir()?;
    let mut outcome = Outcome::default();
    let binary = std::path::absolute(&options.binary)?;
    ensure!(binary.exists(), "there is no {}: cargo build --release", binary.display());

    let (mut newer, mut of_clients) = (None, 0);
    for name in &options.judges {
        let judge = match name.as_str() {
            "4.4" => KafkaVersion::V4_4,
            "3.9" => KafkaVersion::V3_9,
            other => bail!("no Kafka '{other}': there are 4.4 and 3.9"),
        };
        let home = directory.path().join(name);
        std::fs::create_dir_all(&home)?;
        let mut pair = timed(&format!("{name}: start"), || Pair::start(&catalogue, &clients, judge, &binary, &home))?;
        if let Some(newer) = &newer {
            pair.leaves_to(newer);
        }
        newer.get_or_insert_with(|| pair.spoken().clone());
        let mut campaign = Campaign::new(&mut pair, plant);
        campaign.shrinks = !options.no_shrink;
        campaign.threads = options.threads;
        told(&mut campaign, &options, name)?;
        outcome.add(campaign.finish());
        if options.clients {
            let drivers = clients::installed()?;
            for driver in drivers.iter().filter(|of| of.judges.contains(name) && of.name.contains(&options.only)) {
                let differences = timed(&format!("{name}: {}", driver.name), || driver.compare(&pair))?;
                for difference in differences {
                    println!("DIFFERS {}: {difference}", driver.name);
                    of_clients += 1;
                }
            }
        }
    }
    let verdict = report(&catalogue, &outcome);
    if options.record {
        ensure!(outcome.findings.is_empty() && of_clients == 0, "nothing is recorded while something differs");
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/compatibility.md");
        std::fs::write(page, page::page(&catalogue, &outcome)?)?;
    }
    Ok(if of_clients > 0 { ExitCode::FAILURE } else { verdict })
}

fn told(campaign: &mut Campaign<'_, '_>, options: &Options, judge: &str) -> Result<()> {
    let seeds = options.from..options.from + options.seeds;
    let restarts = if options.no_restart { 1 } else { 2 };
    if !options.no_stories {
        for round in 0..restarts {
            let last = round + 1 == restarts;
            timed(&format!("{judge}: stories, {}", if round == 0 { "before a restart" } else { "after it" }), || {
                let named = stories::all().into_iter().filter(|story| story.name.contains(&options.only));
                let written: Vec<_> = named
                    .flat_map(|story| seeds.clone().map(move |seed| (story, seed + round * 1000)))
                    .filter_map(|(story, seed)| story.written(campaign.pair, seed))
                    .collect();
                campaign.tell(&written, !last)
            })?;
            if !last {
                timed(&format!("{judge}: restart, and what lasts"), || campaign.restart())?;
            }
        }
    }
    if !options.no_cases {
        let mut chunks = Vec::new();
        for api in APIS.iter().filter(|api| api.contains(&options.only)) {
            let key = campaign.pair.catalogue.named(api)?.key;
            let Some(bounds) = campaign.pair.own(key) else { continue };
            for seed in options.from..options.from + options.chunks {
                chunks.extend(chunk(campaign.pair.catalogue, campaign.pair, api, bounds, seed));
            }
        }
        timed(&format!("{judge}: cases"), || campaign.tell(&chunks, false))?;
    }
    Ok(())
}

fn report(catalogue: &Catalogue, outcome: &Outcome) -> ExitCode {
    for finding in outcome.findings.values() {
        println!("DIFFERS ({} times, versions {:?}) {}", finding.times, finding.versions, finding.mark);
    }
    for (mark, stories) in &outcome.unsteady {
        println!("unsteady: {mark}; {}", stories.join("; "));
    }
    for ((api, version), tally) in &outcome.tallies {
        let name = catalogue.api(*api).map_or("?", |api| &api.name);
        println!(
            "{name:28} v{version:<3} {:6} cases, {:6} refused by Kafka, {:6} agree, {:6} allowed",
            tally.cases, tally.refused, tally.agree, tally.allowed
        );
    }
    for (at, row) in ROWS.iter().enumerate().filter(|(at, _)| !outcome.rows.contains_key(at)) {
        println!("row {at} of the table is needed by no case: {} {}", row.api, row.field);
    }
    let mut is_blind = false;
    for plant in Plant::ALL {
        let count = outcome.exposed.get(plant.name).copied().unwrap_or_default();
        println!("planted: {:40} found {count} times", plant.name);
        is_blind |= count == 0;
    }
    println!(
        "{} cases, {} stories told {} times, {} differences, {} unsteady",
        outcome.cases(),
        outcome.stories.len(),
        outcome.told,
        outcome.findings.len(),
        outcome.unsteady.len()
    );
    if is_blind {
        println!("not every planted difference was found: what was asked is too little");
    }
    if outcome.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
