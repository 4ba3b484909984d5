//! The truth is in the bucket: brokers that start with nothing but the bucket serve everything.

use std::time::Duration;

use s3server::Faults;
use testkit::killnine::{self, KillNineOptions};
use testkit::{Clients, Strike};

use crate::support::{S3, STOP, forget_local_state, start};

/// Records, their order, the memory of idempotent producers that are in mid-stream, and the offsets of a group: all of
/// it outlives a drain and the loss of every local file, again and again.
#[test]
fn a_drained_broker_leaves_everything_in_the_bucket() {
    const ROUNDS: u32 = 5;
    let directory = tempfile::tempdir().unwrap();
    let clients = Clients::installed_parts(&["go"]).unwrap();
    let s3 = S3::start(directory.path(), Faults::default());
    let mut broker = start(s3.options(directory.path()), directory.path());
    let mut options = KillNineOptions::fifty(&directory.path().join("journals"));
    options.rounds = ROUNDS;
    options.topic = "moved".to_owned();
    options.pause = Duration::from_millis(500)..Duration::from_millis(1500);
    let report = killnine::run(&clients, &broker.bootstrap(), &options, || {
        Strike::timed(|| {
            let status = broker.stop(STOP)?;
            assert!(status.success(), "the drain ended with {status}");
            forget_local_state(&mut broker, directory.path());
            broker.up()
        })
    })
    .unwrap();
    println!("{report}");
    report.verdict().unwrap();
    assert_eq!(report.rounds, ROUNDS);
}
