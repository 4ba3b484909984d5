//! The S3 backend against a real S3 server in a process of its own.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

#[path = "../../blob/tests/conformance/mod.rs"]
mod conformance;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use blob::{CreateOutcome, Operation, Outcome, Payload, ProbeError, Purpose, Store, StoreOptions, probe};
use bytes::Bytes;

struct Server {
    process: Child,
    address: String,
    _directory: tempfile::TempDir,
}

impl Server {
    fn start(faults: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_s3server"))
            .args(["--dir", directory.path().to_str().unwrap(), "--bucket", "bucket"])
            .args(faults)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { process, address: address.trim().to_owned(), _directory: directory }
    }

    async fn store(&self, bucket: &str) -> Store {
        self.store_with(bucket, StoreOptions::default()).await
    }

    async fn store_with(&self, bucket: &str, mut options: StoreOptions) -> Store {
        options.single_put_bytes_max = 6 << 20;
        options.multipart.part_bytes = 5 << 20;
        Store::open(&format!("s3://{bucket}/some/prefix?endpoint={}", self.address), options).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Credentials reach the client as a user gives them. Set once, before any thread of a runtime exists.
fn run<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    static CREDENTIALS: std::sync::Once = std::sync::Once::new();
    CREDENTIALS.call_once(|| {
        // SAFETY: the only writer; other tests wait for it here before they start a thread or read the environment.
        unsafe {
            std::env::set_var("AWS_ACCESS_KEY_ID", "test");
            std::env::set_var("AWS_SECRET_ACCESS_KEY", "testsecret");
            std::env::set_var("AWS_EC2_METADATA_DISABLED", "true");
        }
    });
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test());
}

#[test]
fn s3_conforms() {
    run(async || {
        let server = Server::start(&[]);
        let store = server.store("bucket").await;
        conformance::all(&store).await;
        // 12 MB in parts of 5 MiB: initiate, three parts, complete.
        assert_eq!(store.counters().requests(Purpose::Scrub, Operation::Multipart, Outcome::Ok), 5);
        let report = probe(&store, true).await.unwrap();
        assert!(report.conditional_create && report.compares_checksums);
        // What the store compares need not be read back: each asks for its length.
        let before = store.counters();
        store.put(Purpose::Wal, "a", Payload::from(b"x")).await.unwrap();
        assert!(store.create(Purpose::Wal, "b", Payload::from(b"x")).await.is_created());
        let after = store.counters();
        assert_eq!(after.total_requests() - before.total_requests(), 4);
        assert_eq!(after.requests(Purpose::Wal, Operation::Head, Outcome::Ok), 2);
    });
}

#[test]
fn s3_without_checksums_conforms() {
    run(async || {
        let server = Server::start(&["--ignores-checksums"]);
        let store = server.store("bucket").await;
        conformance::all(&store).await;
        assert!(!probe(&store, true).await.unwrap().compares_checksums);
    });
}

/// Bytes that differ everywhere, so that a cut or a change shows.
fn bytes(len: u32, seed: u32) -> Bytes {
    (0..len).map(|at| (at.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 13) as u8).collect()
}

/// A put that was answered OK is whole, whatever happened to it on its way, and however little the store compares.
#[test]
fn a_put_that_arrives_damaged_or_cut_is_sent_again_and_never_done() {
    for faults in [
        &["--fault-damaged", "0.4"][..],
        &["--fault-damaged", "0.4", "--ignores-checksums"],
        &["--fault-truncated", "0.4"],
        &["--fault-truncated", "0.4", "--ignores-checksums"],
    ] {
        run(async || {
            let server = Server::start(faults);
            let mut options = StoreOptions::default();
            options.retry.first_wait_max = Duration::from_millis(2);
            options.retry.attempts_max = 40;
            let store = server.store_with("bucket", options).await;
            // What the store's entity tags are is seen by the first object that arrives whole.
            store.put(Purpose::Wal, "first", bytes(9, 0)).await.unwrap();
            for (name, len) in (0..30).map(|n| (n, 1 + 7_001 * n)).chain([(30, 300_000), (31, 7 << 20)]) {
                let (key, body) = (format!("object/{name}"), bytes(len, name));
                store.put(Purpose::Wal, &key, body.clone()).await.unwrap();
                assert!(store.get(Purpose::Wal, &key, ..).await.unwrap() == body, "{faults:?}: {key}");
            }
            let retried = |operation| store.counters().row(Purpose::Wal, operation).unwrap().retries;
            assert!(retried(Operation::Put) > 5, "{faults:?}");
            assert!(store.health().last_error.unwrap().contains("did not arrive as it was sent"));
        });
    }
}

/// A create never replaces what it finds: damaged, it is not made, and whoever asks again learns what stands there.
#[test]
fn a_create_that_arrives_damaged_or_cut_is_never_said_to_be_made() {
    for faults in [
        &["--fault-damaged", "0.4"][..],
        &["--fault-damaged", "0.4", "--ignores-checksums"],
        &["--fault-truncated", "0.4"],
        &["--fault-truncated", "0.4", "--ignores-checksums"],
    ] {
        run(async || {
            let server = Server::start(faults);
            let store = server.store("bucket").await;
            let (mut made, mut not) = (0, 0);
            for name in 0..40 {
                let (key, body) = (format!("object/{name}"), bytes(100 + name, name));
                match store.create(Purpose::Wal, &key, body.clone()).await {
                    CreateOutcome::Created => {
                        made += 1;
                        assert!(store.get(Purpose::Wal, &key, ..).await.unwrap() == body, "{faults:?}: {key}");
                    }
                    CreateOutcome::Unknown(cause) | CreateOutcome::Unproven(cause) => {
                        not += 1;
                        assert!(cause.to_string().contains("did not arrive as it was sent"), "{cause}");
                    }
                    CreateOutcome::Exists => panic!("nobody else writes {key}"),
                }
            }
            assert!(made > 5 && not > 5, "{faults:?}: {made} made, {not} not");
        });
    }
}

#[test]
fn unknown_creates_resolve_to_one_winner_when_replies_are_lost() {
    run(async || {
        let server = Server::start(&["--fault-lost-reply", "0.2", "--fault-503", "0.1", "--seed", "7"]);
        let mut options = StoreOptions::default();
        options.retry.first_wait_max = Duration::from_millis(4);
        options.retry.attempts_max = 20;
        let store = server.store_with("bucket", options).await;
        conformance::one_creator_wins(&store, 20, 8).await;
        let counters = store.counters();
        assert!(counters.requests(Purpose::Scrub, Operation::Create, Outcome::Unknown) > 10);
        assert!(counters.row(Purpose::Scrub, Operation::Create).unwrap().retries > 10);
        assert!(store.health().last_error.is_some());
        assert!(probe(&store, true).await.unwrap().unknown_outcomes > 0);
    });
}

#[test]
fn the_probe_names_what_is_wrong() {
    run(async || {
        let server = Server::start(&["--access-key", "another"]);
        let error = probe(&server.store("bucket").await, true).await.unwrap_err();
        assert!(matches!(error, ProbeError::AccessDenied { .. }), "{error}");

        let server = Server::start(&[]);
        let error = probe(&server.store("nothere").await, true).await.unwrap_err();
        assert!(matches!(error, ProbeError::NoSuchBucket { .. }), "{error}");

        let mut options = StoreOptions::default();
        options.retry.attempts_max = 2;
        let nobody = Store::open("s3://bucket?endpoint=http://127.0.0.1:1", options).await.unwrap();
        let error = probe(&nobody, true).await.unwrap_err();
        assert!(matches!(error, ProbeError::Unreachable { .. }), "{error}");
    });
}
