//! Deletion of objects that a store refuses to delete.

use std::collections::HashSet;

use blob::backend::{BoxFuture, CreateAttempt, Evidence};
use blob::{DELETE_KEYS_MAX, ListPage, ObjectMeta, Payload, ReadRange, StoreError};
use parking_lot::Mutex;
use stream::catalogue::{CatalogueClient, CommitRequest, NewObject, NewRange, ObjectKind, StateBelow, TrimRequest};

use super::*;
use crate::deleter::{Deleter, OBJECTS_PER_ROUND, Round};

/// A store in memory that keeps some objects whatever it is told, and counts what it is asked.
#[derive(Debug, Default)]
struct Refusing {
    beneath: MemoryBackend,
    refused: Mutex<HashSet<String>>,
    asked: Mutex<usize>,
}

impl Backend for Refusing {
    fn name(&self) -> String {
        "refusing".to_owned()
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
        self.beneath.get(key, range)
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
        Box::pin(async move {
            *self.asked.lock() += 1;
            let refused = keys.iter().find(|key| self.refused.lock().contains(*key)).cloned();
            match refused {
                Some(key) => {
                    Err(StoreError::AccessDenied { operation: "delete", key, reason: "it is locked".to_owned() })
                }
                None => self.beneath.delete_batch(keys).await,
            }
        })
    }
}

/// A broker with `count` objects whose grace is over, and their names in the order of their ids.
async fn retired(backend: &Arc<Refusing>, count: usize) -> (MetaHandle, Store, Vec<String>) {
    let store = Store::with_backend(backend.clone(), StoreOptions::default());
    let time = ManualTime::starting_at(1_000);
    let clock = Clock::from_source(time.clone());
    let (handle, registration) = serve(&store, MetaOptions { clock, ..options(1) }).await;
    let me = registration.incarnation;
    let stream = create(&handle, "t").await.partitions[0];
    let end = count as u64;
    let object = |sequence: u64| NewObject {
        sequence,
        kind: ObjectKind::Stream,
        length: 4,
        crc: 0,
        ranges: vec![NewRange {
            stream,
            epoch: base::StreamEpoch(0),
            range: base::OffsetRange::new(base::Offset(sequence), base::Offset(sequence + 1)),
            max_timestamp: base::TimestampMs(0),
            bytes: 4,
        }],
        checkpoints: vec![],
    };
    let commit = CommitRequest {
        writer: me,
        commit_sequence: 0,
        log: me,
        wal_position: base::WalPosition(4096),
        upload_floor: end,
        covers: Vec::new(),
        objects: (0..end).map(object).collect(),
    };
    handle.commit(commit).await.unwrap();
    let trim =
        TrimRequest { stream, epoch: base::StreamEpoch(0), start: base::Offset(end), state: StateBelow::NotKept };
    handle.trim(vec![trim]).await.unwrap().remove(0).unwrap();
    time.advance(Duration::from_secs(600));
    let names = handle.image().catalogue.pending_deletions().map(|(id, _)| id.key()).collect();
    (handle, store, names)
}

#[tokio::test]
async fn objects_that_the_store_refuses_to_delete_do_not_hold_up_the_others() {
    let backend = Arc::new(Refusing::default());
    let (handle, store, names) = retired(&backend, OBJECTS_PER_ROUND + 500).await;
    // One in each batch of the first round.
    let refused = || names.iter().step_by(DELETE_KEYS_MAX).take(OBJECTS_PER_ROUND / DELETE_KEYS_MAX).cloned();
    backend.refused.lock().extend(refused());
    let left = || handle.image().catalogue.pending_deletions().map(|(id, _)| id.key()).collect::<Vec<_>>();
    let mut deleter = Deleter::new(store);
    assert_eq!(deleter.round(&handle).await.unwrap(), Round::More);
    assert_eq!(deleter.round(&handle).await.unwrap(), Round::Done);
    assert_eq!(left(), refused().collect::<Vec<_>>());
    // Until somebody unlocks them.
    backend.refused.lock().clear();
    assert_eq!(deleter.round(&handle).await.unwrap(), Round::Done);
    assert!(left().is_empty());
}

#[tokio::test]
async fn a_store_that_refuses_every_deletion_is_asked_a_little_at_a_time() {
    let backend = Arc::new(Refusing::default());
    let (handle, store, names) = retired(&backend, 3 * DELETE_KEYS_MAX).await;
    backend.refused.lock().extend(names.iter().take(2 * DELETE_KEYS_MAX).cloned());
    let mut deleter = Deleter::new(store);
    let mut rounds = Vec::new();
    for _ in 0..3 {
        let before = *backend.asked.lock();
        let round = deleter.round(&handle).await.unwrap();
        rounds.push((round, *backend.asked.lock() - before));
    }
    let refused = (Round::Later, 1 + DELETE_KEYS_MAX);
    assert_eq!(rounds, [refused, refused, (Round::Done, 1)]);
    assert_eq!(handle.image().catalogue.pending_deletions().count(), 2 * DELETE_KEYS_MAX);
}
