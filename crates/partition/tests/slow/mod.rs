//! A store in memory whose reads take a moment, are counted while they do, and may be held up or refused.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use blob::backend::{BoxFuture, CreateAttempt, Evidence};
use blob::memory::MemoryBackend;
use blob::{Backend, ListPage, ObjectMeta, Payload, ReadRange, StoreError};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::RwLock;

/// How long a read takes.
const MOMENT: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
pub struct SlowReads {
    beneath: MemoryBackend,
    pub under_way: AtomicUsize,
    /// Whoever writes it holds up all reads.
    pub gate: RwLock<()>,
    /// Keys that cannot be read.
    pub refused: Mutex<BTreeSet<String>>,
    /// Most reads that were under way at once.
    pub at_once: AtomicUsize,
}

impl Backend for SlowReads {
    fn name(&self) -> String {
        "slow".to_owned()
    }

    fn is_remote(&self) -> bool {
        false
    }

    fn put<'a>(&'a self, key: &'a str, body: Payload) -> BoxFuture<'a, Result<Evidence, StoreError>> {
        self.beneath.put(key, body)
    }

    fn create<'a>(&'a self, key: &'a str, body: Payload) -> BoxFuture<'a, CreateAttempt> {
        self.beneath.create(key, body)
    }

    fn get<'a>(&'a self, key: &'a str, range: ReadRange) -> BoxFuture<'a, Result<Bytes, StoreError>> {
        Box::pin(async move {
            let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
            self.at_once.fetch_max(now, Ordering::SeqCst);
            tokio::time::sleep(MOMENT).await;
            drop(self.gate.read().await);
            self.under_way.fetch_sub(1, Ordering::SeqCst);
            if self.refused.lock().contains(key) {
                let reason = "the test says so".to_owned();
                return Err(StoreError::Failed { operation: "get", key: key.to_owned(), reason });
            }
            self.beneath.get(key, range).await
        })
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<ObjectMeta, StoreError>> {
        self.beneath.head(key)
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        start_after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<ListPage, StoreError>> {
        self.beneath.list(prefix, start_after, limit)
    }

    fn delete_batch<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), StoreError>> {
        self.beneath.delete_batch(keys)
    }
}
