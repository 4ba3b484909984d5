//! The block cache: decoded blocks and indexes under one byte budget, loaded once however many wait.
//!
//! Invariants: whoever waits for a load is told how it ended, even when it was dropped or panicked ([`Load`]): nobody
//! looks again and again. Every read of an object is charged to the budget of cold reads and then takes a place among
//! them, always in this order and never one while it holds another, so that they cannot wait for each other. What does
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

use super::ReadError;
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
    store: Store,
    cached: Cache<Key, Cached, ByBytes, SeededState>,
    loading: Mutex<HashMap<Key, watch::Receiver<Outcome>>>,
    cold: Budget,
    /// Cold reads that may be under way, so that they leave threads and connections to others.
    places: Semaphore,
}

/// What a byte of an index that is read costs: itself, and what is decoded from it.
const INDEX_COPIES: u64 = 2;

/// Reads of objects under way at once.
const COLD_READS_MAX: usize = 128;

/// A load under way and those who wait for it. However it ends, they are told, and the next one who asks starts another.
struct Load {
    cache: Arc<BlockCache>,
    key: Key,
    told: watch::Sender<Outcome>,
    /// What came of it; nothing when it was broken off.
    outcome: Outcome,
}

impl Load {
    fn new(cache: &Arc<BlockCache>, key: Key, told: watch::Sender<Outcome>) -> Self {
        Self { cache: cache.clone(), key, told, outcome: None }
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
        self.cache.loading.lock().remove(&self.key);
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
    blocks: Vec<(BlockIndex, Load)>,
}

/// Room and a place for one cold read.
struct Admission<'a> {
    _charge: Charge,
    _place: SemaphorePermit<'a>,
}

impl BlockCache {
    pub fn new(store: Store, bytes: u64, cold_read_bytes: u64) -> Self {
        let options = OptionsBuilder::new()
            .estimated_items_capacity((bytes / (128 * 1024)).max(64) as usize)
            .weight_capacity(bytes)
            .hot_allocation(HOT_SHARE)
            .build();
        let by_bytes = ByBytes { padded: !store.is_remote() };
        Self {
            store,
            cached: Cache::with_options(
                options.expect("both capacities are given"),
                by_bytes,
                SeededState::default(),
                DefaultLifecycle::default(),
            ),
            loading: Mutex::new(HashMap::default()),
            cold: Budget::new(cold_read_bytes),
            places: Semaphore::new(COLD_READS_MAX),
        }
    }

    /// The block that `rows` begins with. If it must be loaded, the adjacent blocks of `rows` come along, up to `window`
    /// bytes.
    pub async fn block(
        self: &Arc<Self>,
        object: ObjectId,
        rows: &[BlockIndex],
        window: u64,
    ) -> Result<Arc<Block>, ReadError> {
        let key = Key { object, position: rows[0].position };
        loop {
            if let Some(Cached::Block(block)) = self.cached.get(&key) {
                return Ok(block);
            }
            let Some(waiting) = self.join_or_load(object, rows, window) else { continue };
            return match loaded(object, waiting).await? {
                Cached::Block(block) => Ok(block),
                Cached::Index(_) => Err(broken(object)),
            };
        }
    }

    /// Keeps the next `bytes` of a sequential reader loaded: `rows` begins where it will go on. Loads what is missing, at most
    /// a window at once, as soon as that is half a window or all that is left, so that small steps do not become small
    /// reads. Returns the bytes that lie beyond `rows`.
    pub fn prefetch(self: &Arc<Self>, object: ObjectId, rows: &[BlockIndex], bytes: u64, window: u64) -> u64 {
        let Some(first) = rows.first() else { return bytes };
        let to = rows.partition_point(|row| row.position + u64::from(row.length) - first.position <= bytes);
        let wanted = &rows[..to.max(1)];
        let beyond = if to == rows.len() {
            let whole = wanted.iter().map(|row| u64::from(row.length)).sum();
            bytes.saturating_sub(whole)
        } else {
            0
        };
        if self.cold.used() >= self.cold.limit() / 2 {
            return 0;
        }
        let missing = {
            let loading = self.loading.lock();
            let known = |row: &BlockIndex| {
                let key = Key { object, position: row.position };
                loading.contains_key(&key) || self.cached.peek(&key).is_some()
            };
            wanted.iter().position(|row| !known(row)).map(|at| &wanted[at..])
        };
        if let Some(missing) = missing {
            let length: u64 = missing.iter().map(|row| u64::from(row.length)).sum();
            if length >= window / 2 || to == rows.len() {
                self.join_or_load(object, missing, window);
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
    ) -> Option<watch::Receiver<Outcome>> {
        // Dropped after the lock, which they take.
        let mut blocks: Vec<(BlockIndex, Load)> = Vec::new();
        let mut loading = self.loading.lock();
        let first = Key { object, position: rows[0].position };
        if let Some(waiting) = loading.get(&first) {
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
            let known = loading.contains_key(&key) || self.cached.peek(&key).is_some();
            if !blocks.is_empty() && (beyond || row.position != end || known) {
                break;
            }
            let (outcome, receiver) = watch::channel(None);
            waiting.get_or_insert_with(|| receiver.clone());
            loading.insert(key, receiver);
            blocks.push((*row, Load::new(self, key, outcome)));
            end = row.position + u64::from(row.length);
        }
        drop(loading);
        base::task::spawn("cold-read", self.clone().load(Run { object, blocks }));
        waiting
    }

    /// Room for `bytes` that are read, and a place to read them.
    async fn admit(&self, bytes: u64) -> Admission<'_> {
        let charge = self.cold.charge(bytes).await;
        let place = self.places.acquire().await.expect("the places are never closed");
        Admission { _charge: charge, _place: place }
    }

    async fn load(self: Arc<Self>, run: Run) {
        let start = run.blocks[0].0.position;
        let lengths: Vec<u32> = run.blocks.iter().map(|(row, _)| row.length).collect();
        // What comes over a network is there twice until it has been cut into blocks.
        let copies = if self.store.is_remote() { 2 } else { 1 };
        let _admission = self.admit(copies * lengths.iter().map(|length| u64::from(*length)).sum::<u64>()).await;
        // Each block in memory of its own: the cache then holds what it weighs, whichever of them stay.
        let mut parts =
            self.store.get_parts(Purpose::Read, &run.object.key(), start, &lengths).await.map(Vec::into_iter);
        for (row, load) in run.blocks {
            let outcome = match &mut parts {
                Err(error) => Err(ReadError::store(run.object, error)),
                Ok(parts) => match decode(run.object, &row, parts.next().unwrap_or_default()) {
                    Err(ReadError::Damaged { why, .. }) => {
                        read_again(run.object, &why);
                        let range = row.position..row.position + u64::from(row.length);
                        self.get(run.object, range).await.and_then(|bytes| decode(run.object, &row, bytes))
                    }
                    outcome => outcome,
                },
            };
            load.end(outcome);
        }
    }

    async fn get(&self, object: ObjectId, range: Range<u64>) -> Result<Bytes, ReadError> {
        let bytes = self.store.get(Purpose::Read, &object.key(), ReadRange::from(range)).await;
        bytes.map_err(|error| ReadError::store(object, &error))
    }

    /// The index of an object of `length` bytes whose commit carried `crc`.
    pub async fn index(self: &Arc<Self>, object: ObjectId, length: u64, crc: u32) -> Result<Arc<Index>, ReadError> {
        let key = Key { object, position: INDEX };
        loop {
            if let Some(Cached::Index(index)) = self.cached.get(&key) {
                return Ok(index);
            }
            let waiting = {
                let mut loading = self.loading.lock();
                match loading.get(&key) {
                    Some(waiting) => waiting.clone(),
                    // Ended between the look into the cache and this one.
                    None if self.cached.peek(&key).is_some() => continue,
                    None => {
                        let (outcome, receiver) = watch::channel(None);
                        loading.insert(key, receiver.clone());
                        drop(loading);
                        let load = Load::new(self, key, outcome);
                        base::task::spawn("index-read", async move {
                            let index = load.cache.load_index(object, length, crc).await;
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

    async fn load_index(&self, object: ObjectId, length: u64, crc: u32) -> Result<Arc<Index>, ReadError> {
        match self.read_index(object, length, crc).await {
            Err(ReadError::Damaged { why, .. }) => {
                read_again(object, &why);
                self.read_index(object, length, crc).await
            }
            other => other,
        }
    }

    async fn read_index(&self, object: ObjectId, length: u64, crc: u32) -> Result<Arc<Index>, ReadError> {
        let damaged = |why| ReadError::Damaged { object, why };
        if length < FOOTER_BYTES as u64 {
            let why = FormatError::Truncated { what: "object", have: length as usize, need: FOOTER_BYTES };
            return Err(damaged(why));
        }
        let tail_from = length.saturating_sub(TAIL_BYTES);
        let (footer_bytes, footer, index_end) = {
            // The bytes and what is decoded from them.
            let _admission = self.admit(INDEX_COPIES * (length - tail_from)).await;
            let tail = self.get(object, tail_from..length).await?;
            let footer_bytes = tail.slice(tail.len() - FOOTER_BYTES..);
            let footer = Footer::decode(&footer_bytes, length).map_err(damaged)?;
            let index_end = footer.index_position + u64::from(footer.index_length);
            if footer.index_position >= tail_from {
                let index = (footer.index_position - tail_from) as usize..(index_end - tail_from) as usize;
                return decode_index(object, &footer, &tail[index], &footer_bytes, crc);
            }
            (Bytes::copy_from_slice(&footer_bytes), footer, index_end)
        };
        let _admission = self.admit(INDEX_COPIES * u64::from(footer.index_length)).await;
        let index_bytes = self.get(object, footer.index_position..index_end).await?;
        decode_index(object, &footer, &index_bytes, &footer_bytes, crc)
    }

    /// A side block's bytes.
    pub async fn side(&self, object: ObjectId, side: &SideIndex) -> Result<Bytes, ReadError> {
        let range = side.position..side.position + u64::from(side.length);
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let _admission = self.admit(u64::from(side.length)).await;
        match check_side(object, side, self.get(object, range.clone()).await?) {
            Err(ReadError::Damaged { why, .. }) => {
                read_again(object, &why);
                check_side(object, side, self.get(object, range).await?)
            }
            other => other,
        }
    }
}

fn read_again(object: ObjectId, why: &FormatError) {
    tracing::warn!(%object, %why, "what came from the store is damaged and is read once more");
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
