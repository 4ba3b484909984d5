//! The S3 backend against a real S3 server in a process of its own.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

#[path = "../../blob/tests/conformance/mod.rs"]
mod conformance;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use blob::{Operation, Outcome, ProbeError, Purpose, Store, StoreOptions, probe};

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
        assert!(report.conditional_create);
    });
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
