//! The block cache: decoded blocks and indexes under one byte budget, loaded once however many clients wait.
//!
//! Clients' reads are one [`Lane`], and what the broker must read before it can serve is another: producers wait for its
//! checkpoints, groups for their logs, and neither is to stand behind what consumers have asked for.
//!
//! Invariants: whoever waits for a load is told how it ended, even when it was dropped or panicked ([`Load`]): nobody
//! looks again and again. Every read of an object is charged to the budget of a lane and then takes a place in it,
//! always in this order and never one while it holds another, so that they cannot wait for each other. What does
//! not have the checksum that its writer stored is read once more, for the way from the store may have damaged it, and
//! is kept only when it is right.

use std::ops::Range;
use std::sync::Arc;

use base::ObjectId;
use base::checksum::{crc32c, crc32c_of};
use base::collections::{HashMap, SeededState};
use base::memory::{Budget, Charge};
use blob::{Purpose, ReadRange, Store};
use bytes::Bytes;
use parking_lot::Mutex;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};
use tokio::sync::{Semaphore, SemaphorePermit, watch};

use super::{ReadError, ReadFor};
use crate::engine::EngineOptions;
use crate::format::block::Block;
use crate::format::object::{FOOTER_BYTES, Footer};
use crate::format::{BlockIndex, FormatError, Index, SideIndex};

/// What the first read of an object's tail fetches: footer and, for most objects, the whole index.
const TAIL_BYTES: u64 = 64 * 1024;

/// Share of the cache for what was read more than once. The rest is for what was loaded ahead of its reader: were it
/// small, as is this cache's default, blocks would go before they were read.
const HOT_SHARE: f64 = 0.5;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    object: ObjectId,
    /// Position of a block; `u64::MAX` for the index.
    position: u64,
}

const INDEX: u64 = u64::MAX;

#[derive(Debug, Clone)]
enum Cached {
    Block(Arc<Block>),
    Index(Arc<Index>),
}

/// Weighs by the memory that is held.
#[derive(Debug, Clone)]
struct ByBytes {
    /// Blocks of a directory store lie in whole pages of buffers that are used again.
    padded: bool,
}

impl Weighter<Key, Cached> for ByBytes {
    fn weight(&self, _: &Key, value: &Cached) -> u64 {
        match value {
            Cached::Block(block) if self.padded => blob::local::padded(block.weight()) as u64,
            Cached::Block(block) => block.weight() as u64,
            Cached::Index(index) => index.weight() as u64,
        }
    }
}

type Outcome = Option<Result<Cached, ReadError>>;

/// Shared by all readers of a broker.
pub(super) struct BlockCache {
    cached: Cache<Key, Cached, ByBytes, SeededState>,
    loading: Mutex<Loading>,
    clients: Lane,
    broker: Lane,
}

/// What is being loaded, and by whom.
#[derive(Default)]
struct Loading(HashMap<(Key, ReadFor), watch::Receiver<Outcome>>);

impl Loading {
    /// The load that whoever reads waits for. A client joins any; the broker none that may wait among those of clients.
    fn get(&self, key: Key, reads_for: ReadFor) -> Option<&watch::Receiver<Outcome>> {
        let theirs = match reads_for {
            ReadFor::Clients => self.0.get(&(key, ReadFor::Clients)),
            ReadFor::Broker => None,
        };
        self.0.get(&(key, ReadFor::Broker)).or(theirs)
    }
}

/// The reads of one kind: their memory, their places, so that they leave threads and connections to others, and their
/// allowance of retries.
struct Lane {
    store: Store,
    budget: Budget,
    places: Semaphore,
}

/// What a byte of an index that is read costs: itself, and what is decoded from it.
const INDEX_COPIES: u64 = 2;

/// Reads of objects under way at once for clients.
const CLIENT_READS_MAX: usize = 128;

/// Reads of objects under way at once for the broker itself, beside those for which clients have left a place.
const BROKER_READS_MAX: usize = 128;

impl Lane {
    fn new(store: Store, bytes: u64, places: usize) -> Self {
        Self { store, budget: Budget::new(bytes), places: Semaphore::new(places) }
    }

    /// Room for `bytes` that are read, and a place to read them.
    async fn admit(&self, bytes: u64) -> Admission<'_> {
        let charge = self.budget.charge(bytes).await;
        let place = self.places.acquire().await.expect("the places are never closed");
        Admission { _charge: charge, _place: place }
    }

    /// As [`Self::admit`], if nobody has to wait for it.
    fn try_admit(&self, bytes: u64) -> Option<Admission<'_>> {
        let place = self.places.try_acquire().ok()?;
        Some(Admission { _charge: self.budget.try_charge(bytes)?, _place: place })
    }

    async fn get(&self, object: ObjectId, range: Range<u64>) -> Result<Bytes, ReadError> {
        let bytes = self.store.get(Purpose::Read, &object.key(), ReadRange::from(range)).await;
        bytes.map_err(|error| ReadError::store(object, &error))
    }
}

/// A load under way and those who wait for it. However it ends, they are told, and the next one who asks starts another.
struct Load {
    cache: Arc<BlockCache>,
    key: Key,
    reads_for: ReadFor,
    told: watch::Sender<Outcome>,
    /// What came of it; nothing when it was broken off.
    outcome: Outcome,
}

impl Load {
    /// Enters a load among those under way.
    fn enter(
        cache: &Arc<BlockCache>,
        loading: &mut Loading,
        key: Key,
        reads_for: ReadFor,
    ) -> (Self, watch::Receiver<Outcome>) {
        let (told, waiting) = watch::channel(None);
        loading.0.insert((key, reads_for), waiting.clone());
        (Self { cache: cache.clone(), key, reads_for, told, outcome: None }, waiting)
    }

    fn end(mut self, outcome: Result<Cached, ReadError>) {
        if let Ok(cached) = &outcome {
            self.cache.cached.insert(self.key, cached.clone());
        }
        self.outcome = Some(outcome);
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // First: whoever is told may ask again at once.
        self.cache.loading.lock().0.remove(&(self.key, self.reads_for));
        let outcome = self.outcome.take().unwrap_or_else(|| Err(broken(self.key.object)));
        self.told.send_replace(Some(outcome));
    }
}

fn broken(object: ObjectId) -> ReadError {
    ReadError::Store { object, missing: false, why: "the read was broken off".into() }
}

/// Waits for whoever loads.
async fn loaded(object: ObjectId, mut waiting: watch::Receiver<Outcome>) -> Result<Cached, ReadError> {
    match waiting.wait_for(Option::is_some).await {
        Ok(outcome) => outcome.clone().unwrap_or_else(|| Err(broken(object))),
        Err(_) => Err(broken(object)),
    }
}

/// Blocks that one ranged read will bring.
struct Run {
    object: ObjectId,
    reads_for: ReadFor,
    blocks: Vec<(BlockIndex, Load)>,
}

/// Room and a place for one read.
struct Admission<'a> {
    _charge: Charge,
    _place: SemaphorePermit<'a>,
}

impl BlockCache {
    pub fn new(store: &Store, options: &EngineOptions) -> Self {
        let bytes = options.block_cache_bytes;
        let sizes = OptionsBuilder::new()
            .estimated_items_capacity((bytes / (128 * 1024)).max(64) as usize)
            .weight_capacity(bytes)
            .hot_allocation(HOT_SHARE)
            .build();
        let by_bytes = ByBytes { padded: !store.is_remote() };
        Self {
            cached: Cache::with_options(
                sizes.expect("both capacities are given"),
                by_bytes,
                SeededState::default(),
                DefaultLifecycle::default(),
            ),
            loading: Mutex::default(),
            clients: Lane::new(store.aside(), options.cold_read_bytes, CLIENT_READS_MAX),
            broker: Lane::new(store.aside(), options.broker_read_bytes, BROKER_READS_MAX),
        }
    }

    fn lane(&self, reads_for: ReadFor) -> &Lane {
        match reads_for {
            ReadFor::Clients => &self.clients,
            ReadFor::Broker => &self.broker,
        }
    }

    /// Room and a place. What clients leave free serves the broker too: after a start it has much to load, and few fetch.
    async fn admit(&self, reads_for: ReadFor, bytes: u64) -> Admission<'_> {
        match reads_for {
            ReadFor::Clients => self.clients.admit(bytes).await,
            ReadFor::Broker => match self.clients.try_admit(bytes) {
                Some(admission) => admission,
                None => self.broker.admit(bytes).await,
            },
        }
    }

    /// The block that `rows` begins with. If it must be loaded, the adjacent blocks of `rows` come along, up to `window`
    /// bytes.
    pub async fn block(
        self: &Arc<Self>,
        object: ObjectId,
        rows: &[BlockIndex],
        window: u64,
        reads_for: ReadFor,
    ) -> Result<Arc<Block>, ReadError> {
        let key = Key { object, position: rows[0].position };
        loop {
            if let Some(Cached::Block(block)) = self.cached.get(&key) {
                return Ok(block);
            }
            let Some(waiting) = self.join_or_load(object, rows, window, reads_for) else { continue };
            return match loaded(object, waiting).await? {
                Cached::Block(block) => Ok(block),
                Cached::Index(_) => Err(broken(object)),
            };
        }
    }

    /// Keeps the next `bytes` of a sequential reader loaded: `rows` begins where it will go on. Loads what is missing, at most
    /// a window at once, as soon as that is half a window or all that is left, so that small steps do not become small
    /// reads. Returns the bytes that lie beyond `rows`.
    pub fn prefetch(
        self: &Arc<Self>,
        object: ObjectId,
        rows: &[BlockIndex],
        bytes: u64,
        window: u64,
        reads_for: ReadFor,
    ) -> u64 {
        let Some(first) = rows.first() else { return bytes };
        let to = rows.partition_point(|row| row.position + u64::from(row.length) - first.position <= bytes);
        let wanted = &rows[..to.max(1)];
        let beyond = if to == rows.len() {
            let whole = wanted.iter().map(|row| u64::from(row.length)).sum();
            bytes.saturating_sub(whole)
        } else {
            0
        };
        let budget = &self.lane(reads_for).budget;
        if budget.used() >= budget.limit() / 2 {
            return 0;
        }
        let missing = {
            let loading = self.loading.lock();
            let known = |row: &BlockIndex| {
                let key = Key { object, position: row.position };
                loading.get(key, reads_for).is_some() || self.cached.peek(&key).is_some()
            };
            wanted.iter().position(|row| !known(row)).map(|at| &wanted[at..])
        };
        if let Some(missing) = missing {
            let length: u64 = missing.iter().map(|row| u64::from(row.length)).sum();
            if length >= window / 2 || to == rows.len() {
                self.join_or_load(object, missing, window, reads_for);
            }
        }
        beyond
    }

    /// A place in the queue of whoever loads the first of `rows`; `None` when it turns out to be cached already.
    fn join_or_load(
        self: &Arc<Self>,
        object: ObjectId,
        rows: &[BlockIndex],
        window: u64,
        reads_for: ReadFor,
    ) -> Option<watch::Receiver<Outcome>> {
        // Dropped after the lock, which they take.
        let mut blocks: Vec<(BlockIndex, Load)> = Vec::new();
        let mut loading = self.loading.lock();
        let first = Key { object, position: rows[0].position };
        if let Some(waiting) = loading.get(first, reads_for) {
            return Some(waiting.clone());
        }
        if self.cached.peek(&first).is_some() {
            return None;
        }
        let mut end = rows[0].position;
        let mut waiting = None;
        for row in rows {
            let key = Key { object, position: row.position };
            let beyond = row.position + u64::from(row.length) - rows[0].position > window;
            let known = loading.get(key, reads_for).is_some() || self.cached.peek(&key).is_some();
            if !blocks.is_empty() && (beyond || row.position != end || known) {
                break;
            }
            let (load, receiver) = Load::enter(self, &mut loading, key, reads_for);
            waiting.get_or_insert(receiver);
            blocks.push((*row, load));
            end = row.position + u64::from(row.length);
        }
        drop(loading);
        base::task::spawn("cold-read", self.clone().load(Run { object, reads_for, blocks }));
        waiting
    }

    async fn load(self: Arc<Self>, run: Run) {
        let start = run.blocks[0].0.position;
        let lengths: Vec<u32> = run.blocks.iter().map(|(row, _)| row.length).collect();
        let lane = self.lane(run.reads_for);
        // What comes over a network is there twice until it has been cut into blocks.
        let copies = if lane.store.is_remote() { 2 } else { 1 };
        let bytes = lengths.iter().map(|length| u64::from(*length)).sum::<u64>();
        let _admission = self.admit(run.reads_for, copies * bytes).await;
        // Each block in memory of its own: the cache then holds what it weighs, whichever of them stay.
        let mut parts =
            lane.store.get_parts(Purpose::Read, &run.object.key(), start, &lengths).await.map(Vec::into_iter);
        for (row, load) in run.blocks {
            let outcome = match &mut parts {
                Err(error) => Err(ReadError::store(run.object, error)),
                Ok(parts) => {
                    let range = row.position..row.position + u64::from(row.length);
                    let bytes = parts.next().unwrap_or_default();
                    let (object, row) = (run.object, &row);
                    let check = move |bytes| decode(object, row, bytes);
                    let again = || {
                        let bytes = lane.get(object, range.clone());
                        async move { Ok(Reading::of(&bytes.await?, check)) }
                    };
                    let first = Reading::of(&bytes, check);
                    // What comes again is charged in its place.
                    drop(bytes);
                    settled(object, first, again).await
                }
            };
            load.end(outcome);
        }
    }

    /// The index of an object of `length` bytes whose commit carried `crc`.
    pub async fn index(
        self: &Arc<Self>,
        object: ObjectId,
        length: u64,
        crc: u32,
        reads_for: ReadFor,
    ) -> Result<Arc<Index>, ReadError> {
        let key = Key { object, position: INDEX };
        loop {
            if let Some(Cached::Index(index)) = self.cached.get(&key) {
                return Ok(index);
            }
            let waiting = {
                let mut loading = self.loading.lock();
                match loading.get(key, reads_for) {
                    Some(waiting) => waiting.clone(),
                    // Ended between the look into the cache and this one.
                    None if self.cached.peek(&key).is_some() => continue,
                    None => {
                        let (load, receiver) = Load::enter(self, &mut loading, key, reads_for);
                        drop(loading);
                        base::task::spawn("index-read", async move {
                            let index = load.cache.load_index(object, length, crc, reads_for).await;
                            load.end(index.map(Cached::Index));
                        });
                        receiver
                    }
                }
            };
            return match loaded(object, waiting).await? {
                Cached::Index(index) => Ok(index),
                Cached::Block(_) => Err(broken(object)),
            };
        }
    }

    async fn load_index(
        &self,
        object: ObjectId,
        length: u64,
        crc: u32,
        reads_for: ReadFor,
    ) -> Result<Arc<Index>, ReadError> {
        let read = || self.read_index(object, length, crc, reads_for);
        settled(object, read().await?, read).await
    }

    async fn read_index(
        &self,
        object: ObjectId,
        length: u64,
        crc: u32,
        reads_for: ReadFor,
    ) -> Result<Reading<Arc<Index>>, ReadError> {
        let lane = self.lane(reads_for);
        let damaged = |why| ReadError::Damaged { object, why };
        if length < FOOTER_BYTES as u64 {
            let why = FormatError::Truncated { what: "object", have: length as usize, need: FOOTER_BYTES };
            return Err(damaged(why));
        }
        let tail_from = length.saturating_sub(TAIL_BYTES);
        let (footer_bytes, footer, index_end) = {
            // The bytes and what is decoded from them.
            let _admission = self.admit(reads_for, INDEX_COPIES * (length - tail_from)).await;
            let tail = lane.get(object, tail_from..length).await?;
            let footer_bytes = tail.slice(tail.len() - FOOTER_BYTES..);
            let footer = match Footer::decode(&footer_bytes, length) {
                Ok(footer) => footer,
                Err(why) => return Ok(Reading::of(&footer_bytes, |_| Err(damaged(why.clone())))),
            };
            let index_end = footer.index_position + u64::from(footer.index_length);
            if footer.index_position >= tail_from {
                let index = (footer.index_position - tail_from) as usize..(index_end - tail_from) as usize;
                let check = |tail: Bytes| decode_index(object, &footer, &tail[index.clone()], &footer_bytes, crc);
                return Ok(Reading::of(&tail, check));
            }
            (Bytes::copy_from_slice(&footer_bytes), footer, index_end)
        };
        let _admission = self.admit(reads_for, INDEX_COPIES * u64::from(footer.index_length)).await;
        let index_bytes = lane.get(object, footer.index_position..index_end).await?;
        Ok(Reading::of(&index_bytes, |bytes| decode_index(object, &footer, &bytes, &footer_bytes, crc)))
    }

    /// A side block's bytes. Only the broker reads any.
    pub async fn side(&self, object: ObjectId, side: &SideIndex) -> Result<Bytes, ReadError> {
        let range = side.position..side.position + u64::from(side.length);
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let _admission = self.admit(ReadFor::Broker, u64::from(side.length)).await;
        let check = move |bytes| check_side(object, side, bytes);
        let read = || {
            let bytes = self.broker.get(object, range.clone());
            async move { Ok(Reading::of(&bytes.await?, check)) }
        };
        settled(object, read().await?, read).await
    }
}

/// Most readings of what is damaged.
const READINGS_MAX: usize = 4;

/// What came of one reading.
struct Reading<T> {
    outcome: Result<T, ReadError>,
    /// Where it is damaged, what tells it from another that is: CRC-32C of the bytes.
    damage: u32,
}

impl<T> Reading<T> {
    fn of(bytes: &Bytes, check: impl Fn(Bytes) -> Result<T, ReadError>) -> Self {
        let outcome = check(bytes.clone());
        let damage = damage(&outcome).map_or(0, |_| crc32c(bytes));
        Self { outcome, damage }
    }
}

fn damage<T>(outcome: &Result<T, ReadError>) -> Option<&FormatError> {
    match outcome {
        Err(ReadError::Damaged { why, .. }) => Some(why),
        _ => None,
    }
}

/// Damage is what two readings in a row agree on: one may have been damaged on its way, and so may the next. Where none do
/// nothing is known of the object, and a later read may be whole.
async fn settled<T, F>(object: ObjectId, first: Reading<T>, again: impl Fn() -> F) -> Result<T, ReadError>
where
    F: Future<Output = Result<Reading<T>, ReadError>>,
{
    let mut last = first;
    for _ in 1..READINGS_MAX {
        let Some(why) = damage(&last.outcome) else { return last.outcome };
        read_again(object, why);
        let next = again().await?;
        if damage(&next.outcome).is_some() && next.damage == last.damage {
            return next.outcome;
        }
        last = next;
    }
    if let Some(why) = damage(&last.outcome) {
        let why = format!("it is read otherwise each time, and damaged; last: {why}").into();
        return Err(ReadError::Store { object, missing: false, why });
    }
    last.outcome
}

fn read_again(object: ObjectId, why: &FormatError) {
    tracing::warn!(%object, %why, "what came from the store is damaged and is read again");
}

fn decode_index(
    object: ObjectId,
    footer: &Footer,
    index: &[u8],
    footer_bytes: &[u8],
    crc: u32,
) -> Result<Arc<Index>, ReadError> {
    let damaged = |why| ReadError::Damaged { object, why };
    let computed = crc32c_of([index, footer_bytes]);
    if computed != crc {
        return Err(damaged(FormatError::Checksum { what: "object", found: crc, computed }));
    }
    footer.index(index).map(Arc::new).map_err(damaged)
}

fn check_side(object: ObjectId, side: &SideIndex, bytes: Bytes) -> Result<Bytes, ReadError> {
    let computed = crc32c(&bytes);
    if computed == side.crc {
        return Ok(bytes);
    }
    Err(ReadError::Damaged { object, why: FormatError::Checksum { what: "side block", found: side.crc, computed } })
}

/// The block that `row` names: its own checksum is right, and it is the one that the index holds, which the commit's
/// checksum covers. A whole and valid block of another write has another one.
fn decode(object: ObjectId, row: &BlockIndex, bytes: Bytes) -> Result<Cached, ReadError> {
    let block = Block::decode(bytes).map_err(|why| ReadError::Damaged { object, why })?;
    if (block.stream, block.epoch, block.range) != (row.stream, row.epoch, row.range) {
        let why = FormatError::Inconsistent { what: "data block", why: "it is not the block that the index names" };
        return Err(ReadError::Damaged { object, why });
    }
    if block.crc() != row.crc {
        let why = FormatError::Checksum { what: "data block", found: row.crc, computed: block.crc() };
        return Err(ReadError::Damaged { object, why });
    }
    Ok(Cached::Block(Arc::new(block)))
}

#[cfg(test)]
mod tests;
