//! SIGKILL under load at random moments, in uploads, commits and trims, and in the recovery from the kill before: every
//! acknowledged record is read back, none twice with idempotence, and group offsets never go back.

use std::path::Path;
use std::time::Duration;

use s3server::Faults;
use testkit::killnine::{self, KillNineOptions};
use testkit::{Assault, Bucket, Clients, HeadwaterOptions};

use crate::support::{S3, local, start};

/// The least log cache there is. A cut takes a quarter of it, so that the load fills several a second.
const LOG_CACHE_BYTES: u64 = 16 << 20;

/// What goes on between two kills.
struct Load {
    /// Records a second.
    rate: u32,
    /// How long at most, beside what the group needs to get on and the moment of the kill to come.
    pause_max: Duration,
}

fn fifty_kills(directory: &Path, broker: HeadwaterOptions, bucket: &Path, load: &Load) {
    let clients = Clients::installed_parts(&["go"]).unwrap();
    let bucket = Bucket::new(bucket, &broker.wal);
    let mut broker = start(broker.with("log.cache.bytes", &LOG_CACHE_BYTES.to_string()), directory);
    let mut options = KillNineOptions::fifty(&directory.join("journals"));
    (options.rate, options.pause.end) = (load.rate, load.pause_max);
    let bootstrap = broker.bootstrap();
    let mut assault = Assault::new(&mut broker, bucket).unwrap();
    let report = killnine::run(&clients, &bootstrap, &options, || assault.strike()).unwrap();
    println!("{report}");
    report.verdict().unwrap();
    assert_eq!(report.rounds, 50);
    // A run that never met a cut or a recovery would prove little.
    let met = |what: &str, count: usize, least: usize| assert!(count >= least, "{count} {what}; {report}");
    met("rounds had cuts", report.strikes.iter().filter(|strike| strike.met.committed > 0).count(), 15);
    met("kills before a commit", report.strikes.iter().filter(|strike| strike.met.is_uncommitted).count(), 3);
    met("kills before a trim", report.strikes.iter().filter(|strike| strike.met.is_untrimmed).count(), 2);
    met("starts were killed", report.strikes.iter().map(|strike| strike.starts as usize).sum(), 8);
    met("recoveries were killed", report.strikes.iter().map(|strike| strike.recoveries as usize).sum(), 4);
}

#[test]
fn fifty_kills_on_a_local_directory_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let load = Load { rate: 4000, pause_max: Duration::from_millis(900) };
    fifty_kills(directory.path(), local(directory.path()), &directory.path().join("store"), &load);
}

#[test]
fn fifty_kills_on_a_faulty_s3_server_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let latency = Duration::from_millis(3);
    let faults = Faults { latency, unavailable: 0.05, lost_reply: 0.05, damaged: 0.01, seed: 11, ..Faults::default() };
    let s3 = S3::start(directory.path(), faults);
    // A start takes a second here: the load between two kills goes on for longer than it is asked to.
    let load = Load { rate: 2000, pause_max: Duration::from_millis(450) };
    fifty_kills(directory.path(), s3.options(directory.path()), &s3.bucket(directory.path()), &load);
}
