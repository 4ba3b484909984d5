//! Speed and size beside Apache Kafka and beside the machine's own limits, in one run.
//!
//! Brokers take turns in the order A B B A, each on fresh files, so that a machine that grows slower or faster does so
//! for all. What counts is the ratio of the medians. The generators are our own: closed-loop with a bounded number of
//! requests in flight for throughput, open-loop for latency, where a message's clock starts when it was *due*.

mod acks;
mod client;
mod codec;
mod latency;
mod limits;
mod produce;
mod rdkafka;
mod read;
mod report;
mod system;
mod topics;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

use report::Report;
use system::{Kind, System};

/// Measures Headwater, Apache Kafka and the machine
#[derive(Parser, Debug, Clone)]
pub struct Options {
    /// Only these rows: limits, codec, produce, small, rdkafka, latency, unbatched, producers, hot, read, topics, start,
    /// idle
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Turns: 2 is A B, 4 is A B B A
    #[arg(long, default_value_t = 4)]
    turns: usize,
    /// Leave Apache Kafka out
    #[arg(long)]
    alone: bool,
    /// The broker's program
    #[arg(long, default_value = "target/release/headwater")]
    binary: PathBuf,
    /// An earlier broker's program to take turns with, for a ratio between the two
    #[arg(long)]
    baseline: Option<PathBuf>,
    /// Where brokers keep their files; a directory of the temporary directory without it
    #[arg(long)]
    directory: Option<PathBuf>,
}

impl Options {
    fn wants(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|r| r == row)
    }

    fn program(&self, kind: Kind) -> &std::path::Path {
        match (&self.baseline, kind) {
            (Some(baseline), Kind::Baseline) => baseline,
            _ => &self.binary,
        }
    }
}

fn main() -> Result<()> {
    let options = Options::parse();
    let scratch = match &options.directory {
        Some(directory) => tempfile::tempdir_in(directory)?,
        None => tempfile::tempdir()?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut report = Report::default();
    if options.wants("limits") {
        limits::measure(scratch.path(), &mut report)?;
    }
    if options.wants("codec") {
        codec::measure(&mut report)?;
    }
    for kind in turns(&options) {
        measure(kind, &options, &runtime, scratch.path(), &mut report)?;
    }
    report.print();
    Ok(())
}

/// A B B A, and so on.
fn turns(options: &Options) -> Vec<Kind> {
    let mut kinds = vec![Kind::Headwater];
    kinds.extend(options.baseline.is_some().then_some(Kind::Baseline));
    if !options.alone {
        kinds.extend([Kind::Kafka, Kind::KafkaSynced]);
    }
    let mut order = Vec::new();
    for turn in 0..options.turns.div_ceil(kinds.len().min(2)) {
        let mut round = kinds.clone();
        if turn % 2 == 1 {
            round.reverse();
        }
        order.extend(round);
    }
    order
}

fn measure(
    kind: Kind,
    options: &Options,
    runtime: &tokio::runtime::Runtime,
    scratch: &std::path::Path,
    report: &mut Report,
) -> Result<()> {
    let mut system = System::start(kind, options.program(kind), scratch, report)?;
    if options.wants("idle") {
        report.add("idle memory, MiB", kind, system.resident_mib()?);
    }
    if options.wants("produce") {
        for partitions in [1, 16] {
            let name = format!("produce 1 KiB, {partitions} partitions");
            runtime.block_on(produce::run(&system, &name, partitions, 1024, options.seconds, report))?;
        }
    }
    if options.wants("small") {
        runtime.block_on(produce::run(&system, "produce 100 B", 16, 100, options.seconds, report))?;
    }
    if options.wants("rdkafka") {
        rdkafka::run(&system, runtime, report)?;
    }
    if options.wants("latency") {
        for rate in [5, 50] {
            let name = format!("end to end, {rate} MB/s");
            runtime.block_on(latency::run(&system, &name, rate, latency::Spread::Batches, options.seconds, report))?;
        }
    }
    if options.wants("unbatched") {
        let name = "end to end, 5 MB/s, one record a request";
        runtime.block_on(latency::run(&system, name, 5, latency::Spread::EveryRecord, options.seconds, report))?;
    }
    if options.wants("producers") {
        runtime.block_on(acks::producers(&system, options.seconds, report))?;
    }
    if options.wants("hot") {
        runtime.block_on(acks::hot(&system, options.seconds, report))?;
    }
    if options.wants("topics") {
        runtime.block_on(topics::rate(&system, report))?;
    }
    // From here on brokers are restarted, and a JVM is cold again.
    if options.wants("read") {
        runtime.block_on(read::run(&mut system, options.seconds, report))?;
    }
    if options.wants("start") {
        system.restart_under_load(runtime, report)?;
    }
    drop(system);
    // What is weighed is weighed in processes that have done nothing else.
    if options.wants("topics") {
        let system = System::start(kind, options.program(kind), scratch, report)?;
        runtime.block_on(topics::weight(&system, report))?;
    }
    // Kafka keeps files and maps open for every partition: so many are more than a process gets by default.
    if options.wants("topics") && matches!(kind, Kind::Headwater | Kind::Baseline) {
        let system = System::start(kind, options.program(kind), scratch, report)?;
        runtime.block_on(topics::wide(&system, report))?;
    }
    Ok(())
}
