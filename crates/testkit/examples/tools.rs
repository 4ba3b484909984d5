//! Runs Kafka's command line tools against Apache Kafka or any address:
//! `cargo run -p testkit --example tools -- kafka-3.9.2|kafka-4.4.0|HOST:PORT`.

#![allow(clippy::print_stdout, reason = "a command line program")]

use anyhow::Result;
use testkit::{Clients, KafkaBroker, KafkaVersion, tools};

fn main() -> Result<()> {
    let against = std::env::args().nth(1).unwrap_or_else(|| "kafka-4.4.0".to_owned());
    let clients = Clients::installed()?;
    let directory = tempfile::tempdir()?;
    let judge = KafkaVersion::named(&against)
        .map(|version| KafkaBroker::start(&clients, version, &directory.path().join("kafka"), &[]))
        .transpose()?;
    let bootstrap = judge.as_ref().map_or(against, KafkaBroker::bootstrap);
    for step in tools::run_kafka_tools(&clients, &bootstrap, "example", &directory.path().join("tools"))? {
        println!("{}", step.command);
    }
    Ok(())
}
