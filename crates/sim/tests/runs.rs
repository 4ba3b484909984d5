//! The simulator, as the tests run it: twins first, then fifty seeds, then some of the planted bugs.
//!
//! One test after the other: each takes all cores.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use sim::campaign;
use sim::run::{Options, Report};

const THREADS: usize = 2;

/// Seeds that found something once, beside the first fifty, and what it was.
const FOUND: &[(u64, &str)] = &[
    (53, "a checkpoint that fell due behind the end of a drain failed it"),
    (210, "one answer's log start lay above its high watermark"),
    (224, "as 53"),
    (371, "a log was removed but for a segment that could not be read, and nobody knew it any more"),
    (202, "the simulator's own: what was sent late over a rotten object was flagged"),
];

/// Seeds that meet what the first fifty do not, and what it is.
const RARE: &[(u64, &str)] = &[(67, "a panic in retention's step")];

/// Held by the test that runs.
static TURN: Mutex<()> = Mutex::new(());

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_sim"))
}

/// The digests of these runs, by seed.
fn digests(seeds: impl Iterator<Item = u64>) -> Vec<(u64, (u64, u64))> {
    let seen = Mutex::new(Vec::new());
    let runs = seeds.map(|seed| Options { time: Duration::from_secs(30), ..Options::new(seed) });
    campaign::over(program(), runs, THREADS, |report| {
        assert!(!report.is_of_none(), "{report}");
        seen.lock().unwrap().push((report.seed, report.digest));
        true
    })
    .unwrap();
    let mut seen = seen.into_inner().unwrap();
    seen.sort_unstable();
    seen
}

#[test]
fn a_twin_runs_are_the_same_to_the_last_byte_of_their_traces() {
    let _turn = TURN.lock();
    let (one, other) = (digests(1..=20), digests(1..=20));
    assert_eq!(one, other);
    let mut hashes: Vec<_> = one.iter().map(|(_, digest)| *digest).collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 20, "another seed is another run");
}

#[test]
fn b_fifty_seeds_find_nothing_and_meet_every_fault() {
    let _turn = TURN.lock();
    let failed = Mutex::new(Vec::new());
    let met = campaign::over(
        program(),
        (1..=50).chain(FOUND.iter().chain(RARE).map(|(seed, _)| *seed)).map(Options::new),
        THREADS,
        |report: &Report| {
            if !report.findings.is_empty() {
                println!("{}\n{report}", report.last.join("\n"));
                failed.lock().unwrap().push(report.seed);
            }
            true
        },
    )
    .unwrap();
    println!("{}", met.table());
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "again, with its trace: cargo xtask sim --trace --seed {failed:?}");
    assert_eq!(met.missing(), [""; 0], "these never occurred");
}

#[test]
fn c_planted_bugs_are_caught() {
    let _turn = TURN.lock();
    let bugs = ["ack-before-sync", "no-dedup", "trim-before-commit"].map(|name| campaign::bug(name).unwrap());
    let caught =
        campaign::planted(program(), &bugs, &(1..21), Duration::from_secs(120), THREADS, |caught| println!("{caught}"))
            .unwrap();
    let missed: Vec<_> = caught.iter().filter(|caught| caught.by.is_none()).collect();
    assert!(missed.is_empty(), "{missed:?}");
}
