//! The block cache: decoded blocks and indexes under one byte budget, loaded once however many wait.

use std::collections::HashMap;
use std::sync::Arc;

use base::ObjectId;
use base::checksum::{crc32c, crc32c_of};
use base::memory::Budget;
use blob::{Purpose, ReadRange, Store};
use bytes::Bytes;
use parking_lot::Mutex;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use tokio::sync::{Semaphore, watch};

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
    cached: Cache<Key, Cached, ByBytes>,
    loading: Mutex<HashMap<Key, watch::Receiver<Outcome>>>,
    cold: Budget,
    /// Cold reads that may be under way, so that they leave threads and connections to others.
    places: Semaphore,
}

/// Reads of objects under way at once.
const COLD_READS_MAX: usize = 128;

/// Blocks that one ranged read will bring, with those who wait for each.
struct Run {
    object: ObjectId,
    blocks: Vec<(BlockIndex, watch::Sender<Outcome>)>,
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
                DefaultHashBuilder::default(),
                DefaultLifecycle::default(),
            ),
            loading: Mutex::new(HashMap::new()),
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
            let Some(mut waiting) = self.join_or_load(object, rows, window) else { continue };
            let outcome = waiting.wait_for(Option::is_some).await.map(|o| o.clone());
            match outcome {
                Ok(Some(Ok(Cached::Block(block)))) => return Ok(block),
                Ok(Some(Err(error))) => return Err(error),
                // The load was dropped with its runtime, or the slot held an index: look again.
                _ => tokio::task::yield_now().await,
            }
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
        let mut loading = self.loading.lock();
        let first = Key { object, position: rows[0].position };
        if let Some(waiting) = loading.get(&first) {
            return Some(waiting.clone());
        }
        if self.cached.peek(&first).is_some() {
            return None;
        }
        let mut blocks: Vec<(BlockIndex, watch::Sender<Outcome>)> = Vec::new();
        let mut end = rows[0].position;
        let mut waiting = None;
        for row in rows {
            let key = Key { object, position: row.position };
            let beyond = row.position + u64::from(row.length) - rows[0].position > window;
            let known = loading.contains_key(&key) || self.cached.peek(&key).is_some();
            if !blocks.is_empty() && (beyond || row.position != end || known) {
                break;
            }
            let (sender, receiver) = watch::channel(None);
            waiting.get_or_insert_with(|| receiver.clone());
            loading.insert(key, receiver);
            blocks.push((*row, sender));
            end = row.position + u64::from(row.length);
        }
        drop(loading);
        base::task::spawn("cold-read", self.clone().load(Run { object, blocks }));
        waiting
    }

    async fn load(self: Arc<Self>, run: Run) {
        let start = run.blocks[0].0.position;
        let lengths: Vec<u32> = run.blocks.iter().map(|(row, _)| row.length).collect();
        // What comes over a network is there twice until it has been cut into blocks.
        let copies = if self.store.is_remote() { 2 } else { 1 };
        let _charge = self.cold.charge(copies * lengths.iter().map(|length| u64::from(*length)).sum::<u64>()).await;
        // Never closed.
        let _place = self.places.acquire().await;
        // Each block in memory of its own: the cache then holds what it weighs, whichever of them stay.
        let mut parts =
            self.store.get_parts(Purpose::Read, &run.object.key(), start, &lengths).await.map(Vec::into_iter);
        for (row, waiting) in run.blocks {
            let key = Key { object: run.object, position: row.position };
            let outcome = match &mut parts {
                Err(error) => Err(ReadError::store(run.object, error)),
                Ok(parts) => decode(run.object, &row, parts.next().unwrap_or_default()),
            };
            if let Ok(block) = &outcome {
                self.cached.insert(key, block.clone());
            }
            self.loading.lock().remove(&key);
            waiting.send_replace(Some(outcome));
        }
    }

    /// The index of an object of `length` bytes whose commit carried `crc`.
    pub async fn index(self: &Arc<Self>, object: ObjectId, length: u64, crc: u32) -> Result<Arc<Index>, ReadError> {
        let key = Key { object, position: INDEX };
        loop {
            if let Some(Cached::Index(index)) = self.cached.get(&key) {
                return Ok(index);
            }
            let mut waiting = {
                let mut loading = self.loading.lock();
                if let Some(waiting) = loading.get(&key) {
                    waiting.clone()
                } else {
                    let (sender, receiver) = watch::channel(None);
                    loading.insert(key, receiver.clone());
                    let cache = self.clone();
                    base::task::spawn("index-read", async move {
                        let outcome = cache.load_index(object, length, crc).await.map(Cached::Index);
                        if let Ok(index) = &outcome {
                            cache.cached.insert(key, index.clone());
                        }
                        cache.loading.lock().remove(&key);
                        sender.send_replace(Some(outcome));
                    });
                    receiver
                }
            };
            let outcome = waiting.wait_for(Option::is_some).await.map(|o| o.clone());
            match outcome {
                Ok(Some(Ok(Cached::Index(index)))) => return Ok(index),
                Ok(Some(Err(error))) => return Err(error),
                _ => tokio::task::yield_now().await,
            }
        }
    }

    async fn load_index(&self, object: ObjectId, length: u64, crc: u32) -> Result<Arc<Index>, ReadError> {
        let damaged = |why| ReadError::Damaged { object, why };
        let name = object.key();
        let get = |range: std::ops::Range<u64>| self.store.get(Purpose::Read, &name, ReadRange::from(range));
        if length < FOOTER_BYTES as u64 {
            let why = FormatError::Truncated { what: "object", have: length as usize, need: FOOTER_BYTES };
            return Err(damaged(why));
        }
        let _charge = self.cold.charge(TAIL_BYTES.min(length)).await;
        let tail_from = length.saturating_sub(TAIL_BYTES);
        let tail = get(tail_from..length).await.map_err(|e| ReadError::store(object, &e))?;
        let footer_bytes = tail.slice(tail.len() - FOOTER_BYTES..);
        let footer = Footer::decode(&footer_bytes, length).map_err(damaged)?;
        let index_end = footer.index_position + u64::from(footer.index_length);
        let index_bytes = if footer.index_position >= tail_from {
            tail.slice((footer.index_position - tail_from) as usize..(index_end - tail_from) as usize)
        } else {
            get(footer.index_position..index_end).await.map_err(|e| ReadError::store(object, &e))?
        };
        let computed = crc32c_of([&index_bytes[..], &footer_bytes[..]]);
        if computed != crc {
            return Err(damaged(FormatError::Checksum { what: "object", found: crc, computed }));
        }
        footer.index(&index_bytes).map(Arc::new).map_err(damaged)
    }

    /// A side block's bytes.
    pub async fn side(&self, object: ObjectId, side: &SideIndex) -> Result<Bytes, ReadError> {
        let range = side.position..side.position + u64::from(side.length);
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let bytes =
            self.store.get(Purpose::Read, &object.key(), range).await.map_err(|e| ReadError::store(object, &e))?;
        let computed = crc32c(&bytes);
        if computed != side.crc {
            let why = FormatError::Checksum { what: "side block", found: side.crc, computed };
            return Err(ReadError::Damaged { object, why });
        }
        Ok(bytes)
    }
}

fn decode(object: ObjectId, row: &BlockIndex, bytes: Bytes) -> Result<Cached, ReadError> {
    let block = Block::decode(bytes).map_err(|why| ReadError::Damaged { object, why })?;
    if (block.stream, block.epoch, block.range) != (row.stream, row.epoch, row.range) {
        let why = FormatError::Inconsistent { what: "data block", why: "it is not the block that the index names" };
        return Err(ReadError::Damaged { object, why });
    }
    Ok(Cached::Block(Arc::new(block)))
}
