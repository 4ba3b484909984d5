use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base::{BrokerEpoch, BrokerId, Incarnation, Offset, OffsetRange, StreamEpoch, StreamId, TimestampMs};
use blob::backend::{BoxFuture, CreateAttempt, Evidence};
use blob::memory::MemoryBackend;
use blob::{Backend, ListPage, ObjectMeta, Payload, StoreError, StoreOptions};

use super::*;
use crate::Fragments;
use crate::format::{BuiltObject, ObjectBuilder, ObjectKind};

const STREAM: StreamId = StreamId(1);
const CLIENTS: ReadFor = ReadFor::Clients;

/// What happens to a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Panics,
    /// Alike, each time.
    Damaged,
    /// In another place.
    Otherwise,
}

/// A store in memory whose reads meet their fate, take a moment, and are counted.
#[derive(Debug, Default)]
struct Reads {
    beneath: MemoryBackend,
    fates: Mutex<VecDeque<Fate>>,
    taking: Mutex<Duration>,
    cold: Mutex<Option<Budget>>,
    /// Bytes asked for, and bytes of the budget that were charged meanwhile.
    seen: Mutex<Vec<(u64, u64)>>,
    under_way: AtomicUsize,
    under_way_max: AtomicUsize,
}

impl Backend for Reads {
    fn name(&self) -> String {
        "test".to_owned()
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
            self.under_way_max.fetch_max(now, Ordering::SeqCst);
            let taking = *self.taking.lock();
            if !taking.is_zero() {
                tokio::time::sleep(taking).await;
            }
            let got = self.beneath.get(key, range).await;
            self.under_way.fetch_sub(1, Ordering::SeqCst);
            let fate = self.fates.lock().pop_front();
            assert_ne!(fate, Some(Fate::Panics), "planned");
            let got = got?;
            let charged = self.cold.lock().as_ref().map_or(0, Budget::used);
            self.seen.lock().push((got.len() as u64, charged));
            let Some(fate) = fate else { return Ok(got) };
            // The end is part of the footer or of the block, whatever else was read with it.
            let mut bytes = got.to_vec();
            if let Some(last) = bytes.last_mut() {
                *last ^= if fate == Fate::Otherwise { 2 } else { 1 };
            }
            Ok(bytes.into())
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

struct Site {
    reads: Arc<Reads>,
    store: Store,
    cache: Arc<BlockCache>,
}

impl Site {
    fn new() -> Self {
        let reads = Arc::new(Reads::default());
        let store = Store::with_backend(reads.clone(), StoreOptions::default());
        let options = EngineOptions { block_cache_bytes: 64 << 20, ..EngineOptions::default() };
        let cache = Arc::new(BlockCache::new(&store, &options));
        *reads.cold.lock() = Some(cache.clients.budget.clone());
        Self { reads, store, cache }
    }

    /// An object of `blocks` blocks with one entry each, made of `byte`.
    async fn put(&self, sequence: u64, blocks: u64, byte: u8) -> (ObjectId, BuiltObject) {
        let writer = Incarnation { broker: BrokerId(1), epoch: BrokerEpoch(1) };
        let id = ObjectId { writer, sequence };
        let mut object = ObjectBuilder::new(writer, ObjectKind::Stream, 1);
        for at in 0..blocks {
            let payload: Fragments = [Bytes::from(vec![byte; 40])].into_iter().collect();
            let range = OffsetRange::new(Offset(at), Offset(at + 1));
            object.push(STREAM, StreamEpoch(0), range, TimestampMs(1), &payload);
        }
        let object = object.finish();
        self.store.put(Purpose::Upload, &id.key(), object.payload.clone()).await.unwrap();
        (id, object)
    }
}

async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("a reader waits for ever")
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_a_load_that_panics_are_told_and_the_next_one_loads_again() {
    let site = Site::new();
    let (id, object) = site.put(1, 3, 7).await;
    let index = || site.cache.index(id, object.length, object.crc, CLIENTS);
    site.reads.fates.lock().push_back(Fate::Panics);
    assert!(matches!(soon(index()).await, Err(ReadError::Store { missing: false, .. })));
    let index = soon(index()).await.unwrap();
    let rows = index.blocks_of(STREAM);
    site.reads.fates.lock().push_back(Fate::Panics);
    *site.reads.taking.lock() = Duration::from_millis(20);
    let block = |at: usize| site.cache.block(id, &rows[at..], 1 << 20, CLIENTS);
    let (first, second) = soon(async { tokio::join!(block(0), block(1)) }).await;
    assert!(matches!(first, Err(ReadError::Store { missing: false, .. })), "{first:?}");
    assert!(matches!(second, Err(ReadError::Store { missing: false, .. })), "{second:?}");
    assert!(soon(block(0)).await.is_ok() && soon(block(1)).await.is_ok());
    // The third block came with them, and nobody waited for it.
    soon(async {
        while !site.cache.loading.lock().0.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A runtime that ends takes its loads with it, and whoever waits in another one is told.
#[test]
fn readers_of_a_load_that_is_cancelled_are_told() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (ends, stays) = (runtime(), runtime());
    let site = Site::new();
    let (id, object) = stays.block_on(site.put(1, 1, 7));
    *site.reads.taking.lock() = Duration::from_secs(3600);
    let read_on = |runtime: &tokio::runtime::Runtime| {
        let (cache, _entered) = (site.cache.clone(), runtime.enter());
        base::task::spawn("reader", async move { cache.index(id, object.length, object.crc, CLIENTS).await })
    };
    drop(read_on(&ends));
    while site.reads.under_way.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    let waits = read_on(&stays);
    std::thread::sleep(Duration::from_millis(50));
    ends.shutdown_background();
    let told = stays.block_on(soon(waits)).unwrap();
    assert!(matches!(told, Err(ReadError::Store { missing: false, .. })), "{told:?}");
}

#[tokio::test]
async fn what_arrives_damaged_is_read_again_until_two_readings_agree_and_kept_only_when_it_is_right() {
    let site = Site::new();
    let (id, object) = site.put(1, 2, 7).await;
    let reads = |fates: &[Fate]| {
        site.reads.fates.lock().extend(fates);
        site.reads.seen.lock().clear();
    };
    reads(&[Fate::Damaged]);
    let index = site.cache.index(id, object.length, object.crc, CLIENTS).await.unwrap();
    assert_eq!(site.reads.seen.lock().len(), 2);
    let block = || site.cache.block(id, index.blocks_of(STREAM), 0, CLIENTS);
    reads(&[Fate::Damaged, Fate::Damaged]);
    assert!(matches!(block().await, Err(ReadError::Damaged { .. })));
    assert_eq!(site.reads.seen.lock().len(), 2);
    reads(&[Fate::Damaged]);
    assert_eq!(block().await.unwrap().payload(0, 1)[..], [7; 40]);
    assert_eq!(site.reads.seen.lock().len(), 2, "what was damaged had been kept");

    // Each damaged on its way, as it seems: the object may be whole.
    let (id, object) = site.put(2, 2, 7).await;
    let index = || site.cache.index(id, object.length, object.crc, CLIENTS);
    reads(&[Fate::Damaged, Fate::Otherwise, Fate::Damaged, Fate::Otherwise]);
    assert!(matches!(index().await, Err(ReadError::Store { missing: false, .. })));
    reads(&[Fate::Otherwise, Fate::Damaged]);
    let index = index().await.unwrap();
    let block = || site.cache.block(id, index.blocks_of(STREAM), 0, CLIENTS);
    reads(&[Fate::Damaged, Fate::Otherwise, Fate::Damaged, Fate::Otherwise]);
    assert!(matches!(block().await, Err(ReadError::Store { missing: false, .. })));
    assert_eq!(site.reads.seen.lock().len(), READINGS_MAX);
    reads(&[Fate::Damaged, Fate::Otherwise]);
    assert_eq!(block().await.unwrap().payload(0, 1)[..], [7; 40]);
}

#[tokio::test]
async fn a_whole_block_that_is_not_the_one_of_the_index_is_damage() {
    let site = Site::new();
    let (id, object) = site.put(1, 1, 7).await;
    let index = site.cache.index(id, object.length, object.crc, CLIENTS).await.unwrap();
    // The same stream, epoch, offsets and lengths.
    site.put(1, 1, 8).await;
    let block = site.cache.block(id, index.blocks_of(STREAM), 0, CLIENTS).await;
    assert!(matches!(block, Err(ReadError::Damaged { why: FormatError::Checksum { .. }, .. })), "{block:?}");
}

#[tokio::test]
async fn loads_of_indexes_are_charged_and_take_a_place_among_cold_reads() {
    let site = Site::new();
    let many = CLIENT_READS_MAX as u64 + 40;
    let mut objects = Vec::new();
    for sequence in 0..many {
        objects.push(site.put(sequence, 1, 7).await);
    }
    *site.reads.taking.lock() = Duration::from_millis(20);
    let loads = objects.iter().map(|(id, object)| site.cache.index(*id, object.length, object.crc, CLIENTS));
    assert!(futures::future::join_all(loads).await.iter().all(Result::is_ok));
    assert_eq!(site.reads.under_way_max.load(Ordering::SeqCst), CLIENT_READS_MAX);

    let (id, object) = site.put(many, 2_000, 7).await;
    let index = site.cache.index(id, object.length, object.crc, CLIENTS).await.unwrap();
    assert_eq!(index.blocks_of(STREAM).len(), 2_000);
    let (length, charged) = *site.reads.seen.lock().last().unwrap();
    assert!(length > TAIL_BYTES && charged >= 2 * length, "{length} bytes were read, {charged} charged");
    assert_eq!(site.cache.clients.budget.used(), 0);
}

/// Clients have asked for more than is read at once, of a store that does not answer; then it answers those who ask anew.
#[tokio::test]
async fn what_the_broker_must_read_does_not_stand_behind_the_reads_of_clients() {
    let site = Site::new();
    let many = CLIENT_READS_MAX as u64 + 1;
    let mut objects = Vec::new();
    for sequence in 0..many {
        objects.push(site.put(sequence, 3, 7).await);
    }
    let (id, object) = objects.last().unwrap();
    let index = site.cache.index(*id, object.length, object.crc, CLIENTS).await.unwrap();
    *site.reads.taking.lock() = Duration::from_secs(3600);
    let (first, rows) = (&objects[0], index.blocks_of(STREAM));
    let stuck = objects[..objects.len() - 1]
        .iter()
        .map(|(id, object)| async { site.cache.index(*id, object.length, object.crc, CLIENTS).await.map(drop) });
    let stuck = futures::future::join_all(stuck);
    let waits = async { site.cache.block(*id, rows, 0, CLIENTS).await.map(drop) };
    let broker = async {
        while site.reads.under_way.load(Ordering::SeqCst) < CLIENT_READS_MAX {
            tokio::task::yield_now().await;
        }
        *site.reads.taking.lock() = Duration::ZERO;
        // What a client waits for, what a client reads, and what is read ahead.
        let block = site.cache.block(*id, rows, 0, ReadFor::Broker).await.map(drop);
        let index = site.cache.index(first.0, first.1.length, first.1.crc, ReadFor::Broker).await.map(drop);
        (block, index)
    };
    let told = soon(async {
        base::select! {
            _ = futures::future::join(stuck, waits) => panic!("the store does not answer them"),
            told = broker => told,
        }
    });
    let (block, index) = told.await;
    assert!(block.is_ok() && index.is_ok(), "{block:?} {index:?}");
}
