//! librdkafka's own `rdkafka_performance`: what users of a well-known client get, its work included.

use anyhow::{Context, Result, ensure};
use testkit::Clients;

use crate::report::Report;
use crate::system::System;

const PARTITIONS: i32 = 4;
const TOPIC: &str = "rdkafka-performance";
const RECORD_BYTES: u64 = 1024;
const RECORDS: u64 = 1_000_000;

/// Produces a million records and reads them back by assignment.
pub fn run(system: &System, runtime: &tokio::runtime::Runtime, report: &mut Report) -> Result<()> {
    let clients = Clients::installed_parts(&["rdkafka"])?;
    runtime.block_on(async { system.connect().await?.create_topic(TOPIC, PARTITIONS).await })?;
    let (size, count) = (RECORD_BYTES.to_string(), RECORDS.to_string());
    let mut measure = |name: &str, arguments: &[&str]| -> Result<()> {
        let cpu = system.cpu_seconds()?;
        let rate = performance(&clients, system, arguments)?;
        let cpu = system.cpu_seconds()? - cpu;
        report.add(&format!("{name}, MB/s"), system.kind, rate);
        report.add(&format!("{name}, CPU-s/GB"), system.kind, cpu / ((RECORDS * RECORD_BYTES) as f64 / 1e9));
        Ok(())
    };
    measure("rdkafka_performance, produce 1 KiB", &["-P", "-s", &size, "-c", &count, "-a", "-1"])?;
    let mut consume = vec!["-C", "-o", "beginning", "-c", &count];
    let partitions: Vec<String> = (0..PARTITIONS).map(|partition| partition.to_string()).collect();
    partitions.iter().for_each(|partition| consume.extend(["-p", partition]));
    measure("rdkafka_performance, consume", &consume)
}

/// Runs the program; the MB/s of its last line.
fn performance(clients: &Clients, system: &System, arguments: &[&str]) -> Result<f64> {
    let output = std::process::Command::new(clients.path("rdkafka/rdkafka_performance"))
        .args(["-b", &system.bootstrap(), "-t", TOPIC])
        .args(arguments)
        .output()
        .context("rdkafka_performance could not be started")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "rdkafka_performance failed ({}):\n{said}", output.status);
    let line = said.lines().rfind(|line| line.starts_with(&format!("% {RECORDS} messages")));
    let line = line.with_context(|| format!("rdkafka_performance did not finish:\n{said}"))?;
    let words: Vec<&str> = line.split([' ', '(', ')', ',']).collect();
    let at = words.iter().position(|word| *word == "MB/s").context("no MB/s in its last line")?;
    words[at - 1].parse().with_context(|| format!("no rate in {line}"))
}
