//! Runs the clients' matrix against Apache Kafka or any address:
//! `cargo run -p testkit --example matrix -- --against kafka-3.9.2|kafka-4.4.0|HOST:PORT [--slice N] [--whole READERS] [--kinds a,b]`.

#![allow(clippy::print_stdout, reason = "a command line program")]

use anyhow::{Context, Result, bail};
use testkit::matrix::{self, MatrixOptions};
use testkit::{ClientKind, Clients, KafkaBroker, KafkaVersion};

fn main() -> Result<()> {
    let clients = Clients::installed()?;
    let directory = tempfile::tempdir()?;
    let mut options = MatrixOptions::everything(&directory.path().join("matrix"));
    let mut against = "kafka-3.9.2".to_owned();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().with_context(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--against" => against = value,
            "--slice" => options.slice_records = value.parse()?,
            "--whole" => options.whole_readers = value.parse()?,
            "--prefix" => options.prefix = value,
            "--kinds" => {
                let named = |name: &str| {
                    ClientKind::ALL
                        .into_iter()
                        .find(|kind| kind.name() == name)
                        .with_context(|| format!("no client is called {name}"))
                };
                options.kinds = value.split(',').map(named).collect::<Result<_>>()?;
            }
            other => bail!("unknown option {other}"),
        }
    }
    let report = if let Some(version) = KafkaVersion::named(&against) {
        if version == KafkaVersion::V4_4 {
            // Kafka 4 serves no client older than 2.1.
            options.kinds.retain(|&kind| kind != ClientKind::Java09);
        }
        let mut broker = KafkaBroker::start(&clients, version, &directory.path().join("kafka"), &[])?;
        matrix::run(&clients, &broker.bootstrap(), &options, || broker.restart())?
    } else {
        matrix::run(&clients, &against, &options, || Ok(()))?
    };
    println!("{report}");
    if report.verdict().is_err() {
        println!("files are kept in {}", directory.keep().display());
        bail!("the matrix is not clean");
    }
    Ok(())
}
