//! A way to the store that is slow, and shared by all that is under way: it takes long, and it ends.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use blob::backend::{BoxFuture, CreateAttempt, Evidence};
use blob::memory::MemoryBackend;
use blob::{Backend, ListPage, ObjectMeta, Payload, Purpose, ReadRange, Store, StoreError, StoreOptions};
use bytes::Bytes;
use futures::future::{Either, join_all, select};
use parking_lot::Mutex;

const MIB: u64 = 1 << 20;
/// What never arrives, and takes no share.
const STUCK: &str = "stuck";
/// How often the shares of the way are looked at.
const TICK: Duration = Duration::from_millis(100);

/// Carries so many bytes a second of all writes together, to each the same share.
#[derive(Debug)]
struct SlowWay {
    bytes_per_second: u64,
    under_way: AtomicU64,
    /// The keys of all attempts, as they began.
    began: Arc<Mutex<Vec<String>>>,
    store: MemoryBackend,
}

/// A write on the way, until it ends or is given up.
struct OnTheWay<'a>(&'a AtomicU64);

impl<'a> OnTheWay<'a> {
    fn enter(under_way: &'a AtomicU64) -> Self {
        under_way.fetch_add(1, Ordering::SeqCst);
        Self(under_way)
    }
}

impl Drop for OnTheWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Backend for SlowWay {
    fn name(&self) -> String {
        "slow".to_owned()
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn put<'a>(&'a self, key: &'a str, body: Payload) -> BoxFuture<'a, Result<Evidence, StoreError>> {
        Box::pin(async move {
            self.began.lock().push(key.to_owned());
            if key.starts_with(STUCK) {
                std::future::pending::<()>().await;
            }
            let _on_the_way = OnTheWay::enter(&self.under_way);
            let mut left = body.len();
            while left > 0 {
                tokio::time::sleep(TICK).await;
                let share = self.bytes_per_second / 10 / self.under_way.load(Ordering::SeqCst);
                left = left.saturating_sub(share);
            }
            self.store.put(key, body).await
        })
    }

    fn create<'a>(&'a self, key: &'a str, body: Payload) -> BoxFuture<'a, CreateAttempt> {
        self.store.create(key, body)
    }

    fn get<'a>(&'a self, key: &'a str, range: ReadRange) -> BoxFuture<'a, Result<Bytes, StoreError>> {
        self.store.get(key, range)
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<ObjectMeta, StoreError>> {
        self.store.head(key)
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        start_after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<ListPage, StoreError>> {
        self.store.list(prefix, start_after, limit)
    }

    fn delete_batch<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), StoreError>> {
        self.store.delete_batch(keys)
    }
}

#[allow(clippy::disallowed_methods, reason = "the paused clock of the test runtime is meant")]
fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// The way, over which so many retries are allowed.
fn way(bytes_per_second: u64, retries: u32) -> Store {
    watched_way(bytes_per_second, retries).0
}

/// As [`way`], with the keys of all attempts.
fn watched_way(bytes_per_second: u64, retries: u32) -> (Store, Arc<Mutex<Vec<String>>>) {
    let began = Arc::default();
    let (under_way, store) = (AtomicU64::new(0), MemoryBackend::new());
    let way = SlowWay { bytes_per_second, under_way, began: Arc::clone(&began), store };
    let mut options = StoreOptions::default();
    options.retry.budget = retries;
    (Store::with_backend(Arc::new(way), options), began)
}

/// How long it takes to write `count` objects of `bytes` at once.
async fn written(count: usize, bytes: u64, bytes_per_second: u64, retries: u32) -> Duration {
    let store = way(bytes_per_second, retries);
    let (start, body) = (now(), Bytes::from(vec![7; bytes as usize]));
    let keys: Vec<String> = (0..count).map(|n| format!("object/{n}")).collect();
    let written = join_all(keys.iter().map(|key| store.put(Purpose::Upload, key, body.clone()))).await;
    written.into_iter().for_each(Result::unwrap);
    start.elapsed()
}

/// What several uploads put at once needs more than the time of an attempt at equal shares, and less one after the other.
#[tokio::test(start_paused = true)]
async fn writes_that_are_too_slow_together_go_one_after_the_other() {
    let all = Duration::from_secs(12 * 8 / 2);
    let first_attempts = Duration::from_secs(15 + 8);
    let took = written(12, 8 * MIB, 2 * MIB, 200).await;
    assert!(took < first_attempts + all + Duration::from_secs(10), "{took:?}");
    let took = written(12, 8 * MIB, 2 * MIB, 0).await;
    assert!(took < first_attempts + all + Duration::from_secs(10), "without a retry left: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_too_slow_alone_gets_more_time() {
    let took = written(1, 32 * MIB, MIB / 4, 200).await;
    assert!(took > Duration::from_secs(128), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_waits_for_its_next_attempt_lets_others_go() {
    let store = way(MIB / 4, 200);
    let stuck = store.put(Purpose::Upload, STUCK, Bytes::from(vec![7; 8 * MIB as usize]));
    // Three attempts, the last two of them alone.
    let slow = store.put(Purpose::Upload, "slow", Bytes::from(vec![7; 8 * MIB as usize]));
    match select(Box::pin(stuck), Box::pin(slow)).await {
        Either::Left((stuck, _)) => panic!("the one that never arrives held up the other: {stuck:?}"),
        Either::Right((slow, _)) => slow.unwrap(),
    }
}

/// Commits wait for the oldest upload, whichever of the others is there.
#[tokio::test(start_paused = true)]
async fn of_writes_that_go_one_after_the_other_the_oldest_goes_first_each_time() {
    let (store, began) = watched_way(MIB, 200);
    let keys = ["stuck/oldest", "stuck/second", "stuck/youngest"];
    let body = Bytes::from(vec![7; MIB as usize]);
    let written = join_all(keys.map(|key| store.put(Purpose::Upload, key, body.clone()))).await;
    assert!(written.iter().all(Result::is_err));
    let began = began.lock();
    let last = began.iter().rposition(|key| key == keys[0]).unwrap();
    let youngest = began[..last].iter().filter(|key| *key == keys[2]).count();
    // All began at once; of those that timed out together any may be tried again first.
    assert!(youngest <= 2, "the youngest was tried {youngest} times before the oldest was done: {began:?}");
}
