//! A real text through every client and codec, and out again through each of the others.

use testkit::Clients;
use testkit::matrix::{self, MatrixOptions};

use crate::support::{local, start};

#[test]
fn what_any_client_sends_every_client_reads_before_and_after_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let clients = Clients::installed().unwrap();
    let mut broker = start(local(directory.path()), directory.path());
    let options = MatrixOptions::everything(&directory.path().join("matrix"));
    let report = matrix::run(&clients, &broker.bootstrap(), &options, || broker.kill_and_restart()).unwrap();
    println!("{report}");
    report.verdict().unwrap();
}
