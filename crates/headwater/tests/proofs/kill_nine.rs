//! SIGKILL at random moments under load: every acknowledged record is read back, none twice with idempotence, and
//! group offsets never go back.

use std::path::Path;
use std::time::Duration;

use s3server::Faults;
use testkit::Clients;
use testkit::killnine::{self, KillNineOptions};

use crate::support::{S3, local, start};

fn fifty_kills(directory: &Path, options: testkit::HeadwaterOptions) {
    let clients = Clients::installed_parts(&["go"]).unwrap();
    let mut broker = start(options, directory);
    let options = KillNineOptions::fifty(&directory.join("journals"));
    let report = killnine::run(&clients, &broker.bootstrap(), &options, || broker.kill_and_restart()).unwrap();
    println!("{report}");
    report.verdict().unwrap();
    assert_eq!(report.rounds, 50);
}

#[test]
fn fifty_kills_on_a_local_directory_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    fifty_kills(directory.path(), local(directory.path()));
}

#[test]
fn fifty_kills_on_a_faulty_s3_server_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Faults { latency: Duration::from_millis(3), unavailable: 0.05, lost_reply: 0.05, seed: 11 };
    let s3 = S3::start(directory.path(), faults);
    fifty_kills(directory.path(), s3.options(directory.path()));
}
