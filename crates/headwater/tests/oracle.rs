//! Apache Kafka judges: a part of what `cargo xtask oracle` asks, in a few minutes.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::path::Path;

use oracle::catalogue::Catalogue;
use oracle::plan::Plan;
use oracle::plant::Plant;
use testkit::KafkaVersion;

const BINARY: &str = env!("CARGO_BIN_EXE_headwater");

#[test]
fn kafka_answers_the_same_but_for_what_the_table_names() {
    let plan = Plan {
        judges: vec![KafkaVersion::V4_4, KafkaVersion::V3_9],
        chunks: 1,
        seeds: 1,
        from: 1,
        only: String::new(),
        restarts: false,
        threads: 4,
        shrinks: false,
        plant: None,
    };
    let directory = tempfile::tempdir().unwrap();
    let catalogue = Catalogue::load().unwrap();
    let outcome = plan.run(&catalogue, Path::new(BINARY), directory.path(), |_| Ok(())).unwrap();
    let marks: Vec<_> = outcome.findings.keys().map(ToString::to_string).collect();
    assert!(marks.is_empty(), "{marks:#?}");

    // It would have seen something else.
    for plant in Plant::ALL {
        assert!(outcome.exposed.get(plant.name).is_some_and(|count| *count > 0), "{} does not show", plant.name);
    }
    // Which rows of the table are needed, and what is asked of which version, a whole run holds.
    for ((api, version), tally) in &outcome.tallies {
        assert_eq!(tally.cases, tally.agree + tally.allowed, "of {api} v{version}");
    }
    for (api, versions) in &outcome.advertised {
        assert!(outcome.tallies.keys().any(|(asked, _)| asked == api), "nothing was asked of {api}, {versions:?}");
    }
}
