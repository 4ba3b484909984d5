//! Agreement with Kafka's own codec: the generated classes of Kafka 3.9.2 and 4.4.0, driven by `tests/java-oracle`.
//!
//! For every message and every version that a release has: what we encode, Kafka decodes and encodes to the same bytes;
//! what Kafka makes from its own description of the message, we decode and encode to the same bytes. Nulls, unknown and
//! known tagged fields occur in both directions; the unknown ones of requests are read over and not written again.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod common;

use std::collections::BTreeSet;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use bytes::Bytes;
use common::{RANDOM, Source};
use wire::registry::{Entry, Kind, MESSAGES};

const ROUNDS: u64 = 12;
const VERSIONS_OF: u8 = 0;
const RECODE: u8 = 1;
const RANDOM_BY_SCHEMA: u8 = 2;
const RANDOM_BY_CLASS: u8 = 3;

/// Builds the program once for all tests of this file; fails the test if that does not work.
fn oracle_dir() -> &'static PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/java-oracle"));
        let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("java-oracle");
        let build = |offline: bool| {
            let mut maven = Command::new("mvn");
            maven.args(["-q", "-B", "package", "-f"]).arg(source.join("pom.xml"));
            maven.arg(format!("-Doracle.target={}", target.display()));
            if offline {
                maven.arg("-o");
            }
            maven.output().expect("Maven (mvn) and a JDK 17 or newer are needed to compare with Kafka's codec")
        };
        if !build(true).status.success() {
            let output = build(false);
            assert!(output.status.success(), "mvn package: {}", String::from_utf8_lossy(&output.stdout));
        }
        target
    })
}

struct Oracle {
    process: Child,
    input: BufWriter<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Oracle {
    fn start(release: &str) -> Self {
        let dir = oracle_dir();
        let class_path = format!("{}:{}/*", dir.join("classes").display(), dir.join(release).display());
        let mut process = Command::new("java")
            .args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", &class_path, "Oracle"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("java is needed to compare with Kafka's codec");
        let input = BufWriter::new(process.stdin.take().unwrap());
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, input, output }
    }

    fn ask(&mut self, op: u8, name: &str, version: i16, argument: &[u8]) -> Result<Bytes, String> {
        let mut question = vec![op];
        question.extend((name.len() as u16).to_be_bytes());
        question.extend(name.as_bytes());
        question.extend(version.to_be_bytes());
        question.extend((argument.len() as i32).to_be_bytes());
        question.extend(argument);
        self.input.write_all(&question).unwrap();
        self.input.flush().unwrap();
        let mut head = [0; 5];
        self.output.read_exact(&mut head).unwrap();
        let mut result = vec![0; i32::from_be_bytes(head[1..].try_into().unwrap()) as usize];
        self.output.read_exact(&mut result).unwrap();
        if head[0] == 0 { Ok(result.into()) } else { Err(String::from_utf8_lossy(&result).into_owned()) }
    }

    fn versions(&mut self, name: &str) -> Option<(i16, i16)> {
        let answer = self.ask(VERSIONS_OF, name, 0, &[]).unwrap();
        let (low, high) = (answer.get(..2)?, answer.get(2..4)?);
        Some((i16::from_be_bytes(low.try_into().unwrap()), i16::from_be_bytes(high.try_into().unwrap())))
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Messages with a nullable struct whose `SCHEMAS` put its marker otherwise than the release's own reader and writer. The
/// oracle makes random ones by their classes instead.
const MARKER_MISPLACED: &[(&str, &str)] = &[
    ("kafka-3.9", "ConsumerGroupHeartbeatResponse"),
    ("kafka-3.9", "DescribeTopicPartitionsRequest"),
    ("kafka-3.9", "DescribeTopicPartitionsResponse"),
    ("kafka-4.4", "ConsumerGroupMemberMetadataValue"),
];

/// Who made a message that was compared: we, or Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Maker {
    Ours,
    Kafka,
}

/// Compares all that a release has: every (message, version) for each maker of messages.
fn compare(release: &str) -> BTreeSet<(usize, i16, Maker)> {
    let mut oracle = Oracle::start(release);
    let (mut compared, mut failures, mut unknown_passed_over) = (BTreeSet::new(), Vec::new(), 0);
    for (index, (entry, random)) in MESSAGES.iter().zip(RANDOM).enumerate() {
        if is_ours(entry) {
            continue;
        }
        let Some((low, high)) = oracle.versions(entry.name) else {
            continue;
        };
        for version in low.max(*entry.versions.start())..=high.min(*entry.versions.end()) {
            let failed_before = failures.len();
            for round in 0..ROUNDS {
                // One disagreement shows what is wrong; the rest of its kind would bury the others.
                if failures.len() > failed_before {
                    break;
                }
                let seed = (index as u64) << 32 | (version as u64) << 16 | round;
                let what = format!("{release}: {} version {version} seed {seed}", entry.name);
                let ours = random(&mut Source::new(seed ^ 0x5eed), version).unwrap().bytes;
                match oracle.ask(RECODE, entry.name, version, &ours) {
                    Ok(theirs) if theirs == ours => drop(compared.insert((index, version, Maker::Ours))),
                    Ok(theirs) => failures.push(format!("{what}: from us\n  ours {ours:?}\n  theirs {theirs:?}")),
                    Err(reason) => failures.push(format!("{what}: Kafka cannot read ours: {reason}")),
                }
                let misplaced = MARKER_MISPLACED.contains(&(release, entry.name));
                let make = if misplaced { RANDOM_BY_CLASS } else { RANDOM_BY_SCHEMA };
                let mut made = |unknown_tags: bool| {
                    let argument = [&seed.to_be_bytes()[..], &[u8::from(unknown_tags)]].concat();
                    oracle.ask(make, entry.name, version, &argument)
                };
                let (theirs, kept) = match (made(true), made(!passes_over_unknown_tags(entry))) {
                    (Ok(theirs), Ok(kept)) => (theirs, kept),
                    (Err(reason), _) | (_, Err(reason)) => {
                        failures.push(format!("{what}: Kafka cannot make one: {reason}"));
                        continue;
                    }
                };
                match (entry.recode)(theirs.clone(), version).map(|again| again.encoded) {
                    Ok(Ok(ours)) if ours.clone().into_bytes() == kept => {
                        unknown_passed_over += u32::from(theirs != kept);
                        compared.insert((index, version, Maker::Kafka));
                    }
                    other => failures.push(format!("{what}: from Kafka\n  theirs {theirs:?}\n  {other:?}")),
                }
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} disagreements:\n{}",
        failures.len(),
        failures[..failures.len().min(40)].join("\n")
    );
    assert!(unknown_passed_over > 100, "requests had unknown tagged fields {unknown_passed_over} times");
    compared
}

/// Whether Kafka has nothing like it.
fn is_ours(entry: &Entry) -> bool {
    match entry.kind {
        Kind::Metadata(_) | Kind::BrokerRequest(_) | Kind::BrokerResponse(_) | Kind::BrokerData => true,
        Kind::Request(_) | Kind::Response(_) | Kind::Header | Kind::Data | Kind::Key(_) | Kind::Value(_) => false,
    }
}

/// Whether what a newer release says with tagged fields is of no interest: nobody carries a request on.
fn passes_over_unknown_tags(entry: &Entry) -> bool {
    matches!(entry.kind, Kind::Request(_)) || entry.name == "RequestHeader"
}

#[test]
fn every_version_agrees_with_kafka_3_9_or_4_4() {
    let mut compared = compare("kafka-3.9");
    compared.extend(compare("kafka-4.4"));
    for (index, entry) in MESSAGES.iter().enumerate() {
        if is_ours(entry) {
            continue;
        }
        for version in entry.versions.clone() {
            for maker in [Maker::Ours, Maker::Kafka] {
                let met = compared.contains(&(index, version, maker));
                assert!(met, "{} version {version}: none made by {maker:?} was compared", entry.name);
            }
        }
    }
}
