//! Runs the kill -9 proof against Apache Kafka:
//! `cargo run -p testkit --example killnine -- kafka-3.9.2|kafka-4.4.0 [ROUNDS]`.
//!
//! Kafka writes to the page cache only, which outlives the process: a kill loses nothing there.

#![allow(clippy::print_stdout, reason = "a command line program")]

use anyhow::{Context, Result, bail};
use testkit::killnine::{self, KillNineOptions};
use testkit::{Clients, KafkaBroker, KafkaVersion, Strike};

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let version = words.next().unwrap_or_else(|| "kafka-4.4.0".to_owned());
    let version = KafkaVersion::named(&version).with_context(|| format!("no version is called {version}"))?;
    let clients = Clients::installed_parts(&["java", "go"])?;
    let directory = tempfile::tempdir()?;
    let mut options = KillNineOptions::fifty(&directory.path().join("journals"));
    options.rounds = words.next().map_or(Ok(3), |rounds| rounds.parse())?;
    let mut broker = KafkaBroker::start(&clients, version, &directory.path().join("kafka"), &[])?;
    let report =
        killnine::run(&clients, &broker.bootstrap(), &options, || Strike::timed(|| broker.kill_and_restart()))?;
    println!("{report}");
    if let Err(error) = report.verdict() {
        println!("files are kept in {}", directory.keep().display());
        bail!(error);
    }
    Ok(())
}
