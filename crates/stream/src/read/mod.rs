//! Reading what has left the log cache: object indexes and data blocks, through one cache with a byte budget.
//!
//! A fetch finds the extent that holds its offset in the catalogue view, the block in the object's index, and the block
//! in the cache or the store. Blocks of a stream are adjacent in an object, so a sequential reader's next blocks come
//! with one ranged read, ahead of need ([`Cursors`]). One load of a block serves everyone who waits for it. Cold loads
//! have a budget of their own, so that they cannot crowd out what tail reads and produce need, and what the broker itself
//! must read has another ([`ReadFor`]): producers and groups wait for it.
//!
//! Invariants: every block and index is verified against the CRC that its writer stored before it is used (I-9); a
//! missing object means that the view is old (the object was retired after the view was taken), so the read starts over
//! with a fresh view and fails only when that names the same object.

mod cache;
mod cursor;

use std::sync::Arc;

use base::{ObjectId, Offset, OffsetRange, StreamId, TimestampMs};
use blob::{Store, StoreError};
use bytes::Bytes;
use thiserror::Error;

use crate::catalogue::{Catalogue, CatalogueClient, Extent};
use crate::engine::SharedStream;
use crate::engine::{EngineOptions, FetchError, Fetched};
use crate::format::block::Block;
use crate::format::{BlockIndex, FormatError, Index};

use cache::BlockCache;
pub(crate) use cursor::Cursors;

/// Why bytes could not be read from the store.
#[derive(Debug, Clone, Error)]
pub enum ReadError {
    /// The store refused or failed.
    #[error("object {object} could not be read: {why}")]
    Store {
        /// The object.
        object: ObjectId,
        /// Whether it does not exist.
        missing: bool,
        /// What the store said.
        why: Arc<str>,
    },
    /// The object's bytes are not what was written.
    #[error("object {object} is damaged: {why}")]
    Damaged {
        /// The object.
        object: ObjectId,
        /// What is wrong.
        why: FormatError,
    },
    /// The catalogue and the objects contradict each other.
    #[error("stream {stream} has no data for offset {offset} below its end: {why}")]
    Hole {
        /// The stream.
        stream: StreamId,
        /// The offset.
        offset: Offset,
        /// Where it was looked for.
        why: &'static str,
    },
}

impl ReadError {
    pub(crate) fn store(object: ObjectId, error: &StoreError) -> Self {
        Self::Store { object, missing: error.is_not_found(), why: error.to_string().into() }
    }

    fn is_missing(&self) -> bool {
        matches!(self, Self::Store { missing: true, .. })
    }
}

/// For whom something is read: who must not wait for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReadFor {
    /// Clients: fetches and look-ups.
    Clients,
    /// The broker, which cannot serve before it: checkpoints, the ends of logs that they do not cover, logs of
    /// coordinators.
    Broker,
}

/// What is to be read of a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WantedRead {
    /// No entry reaches beyond.
    pub limit: Offset,
    /// Most bytes.
    pub max_bytes: usize,
    /// One entry at least, though it is larger.
    pub min_one: bool,
    /// For whom.
    pub reads_for: ReadFor,
}

/// Windows that are kept loaded ahead of a sequential reader: one is what it may ask for next, the other is read
/// meanwhile.
const AHEAD_WINDOWS: u64 = 2;

/// How often a read starts over with a fresh view when an object has gone.
const FRESH_VIEWS_MAX: usize = 4;

/// Reads objects through the block cache. Cheap to clone.
#[derive(Clone)]
pub struct BlockReader {
    cache: Arc<BlockCache>,
    ahead_min: u64,
    ahead_max: u64,
}

impl BlockReader {
    /// A reader of `store` with the budgets of `options`.
    pub fn new(store: &Store, options: &EngineOptions) -> Self {
        Self {
            cache: Arc::new(BlockCache::new(store, options)),
            ahead_min: options.read_ahead_bytes_min,
            ahead_max: options.read_ahead_bytes_max,
        }
    }

    /// Whole entries of a stream from the one that contains `from`, out of objects.
    pub(crate) async fn fetch(
        &self,
        catalogue: &dyn CatalogueClient,
        stream: &SharedStream,
        from: Offset,
        wanted: WantedRead,
    ) -> Result<Fetched, FetchError> {
        if wanted.max_bytes == 0 && !wanted.min_one {
            // Nothing that is read could be used.
            return Ok(Fetched::empty(from));
        }
        let mut views = 0;
        loop {
            let view = catalogue.view();
            match self.fetch_from(&view, stream, from, wanted).await {
                Err(error) if error.is_missing() && views < FRESH_VIEWS_MAX => views += 1,
                Err(ReadError::Hole { .. }) if from < start(&view, stream) => {
                    let range = OffsetRange::new(start(&view, stream), stream.durable_end());
                    return Err(FetchError::OutOfRange { offset: from, range });
                }
                Err(error @ ReadError::Hole { .. }) if views < FRESH_VIEWS_MAX => {
                    // The entries may have been committed between the look into the cache and the view.
                    views += 1;
                    tracing::debug!(%error, "reading again with a fresh view");
                }
                other => return Ok(other?),
            }
        }
    }

    async fn fetch_from(
        &self,
        view: &Catalogue,
        stream: &SharedStream,
        from: Offset,
        wanted: WantedRead,
    ) -> Result<Fetched, ReadError> {
        let WantedRead { limit, max_bytes, min_one, reads_for } = wanted;
        let hole = |why| ReadError::Hole { stream: stream.id, offset: from, why };
        let state = view.stream(stream.id).ok_or_else(|| hole("the stream is gone"))?;
        let window = stream.cursors.lock().window(from, self.ahead_min, self.ahead_max);
        let mut out = Fetched::empty(from);
        let mut next = from;
        let mut extents = state.extents_from(from).peekable();
        if extents.peek().is_none_or(|e| e.range.start > from) {
            return Err(hole("no extent of the catalogue holds it"));
        }
        'extents: for extent in extents {
            if extent.range.start >= limit || out.bytes >= max_bytes && !out.slices.is_empty() {
                break;
            }
            let index = self.index(view, extent.object, reads_for).await?;
            let rows = rows_of(&index, stream.id, extent);
            let mut at = rows.partition_point(|b| b.range.end <= next);
            while let Some(row) = rows.get(at) {
                if row.range.start >= limit.min(extent.range.end) {
                    break;
                }
                let block = self.cache.block(extent.object, &rows[at..], window, reads_for).await?;
                let before = out.bytes;
                let whole = take_entries(&block, extent, next, limit, max_bytes, min_one, &mut out);
                if out.bytes > before {
                    next = out.range.end;
                }
                if !whole {
                    break 'extents;
                }
                at += 1;
            }
            next = next.max(extent.range.end);
        }
        if out.slices.is_empty() && min_one {
            return Err(hole("its object does not hold it"));
        }
        self.read_ahead(view, stream, out.range.end, window, reads_for).await;
        stream.cursors.lock().advanced(from, out.range.end, window);
        Ok(out)
    }

    /// Starts loading what a sequential reader will ask for next, without waiting for it.
    async fn read_ahead(&self, view: &Catalogue, stream: &SharedStream, next: Offset, window: u64, reads_for: ReadFor) {
        if window <= self.ahead_min || stream.tail_start().is_some_and(|start| start <= next) {
            return;
        }
        let Some(state) = view.stream(stream.id) else { return };
        let mut bytes = AHEAD_WINDOWS * window;
        // Where an object ends the reader goes on in the next one.
        for extent in state.extents_from(next).take(2) {
            // An error here is met again, and reported, by the read that needs the bytes.
            let Ok(index) = self.index(view, extent.object, reads_for).await else { return };
            let rows = rows_of(&index, stream.id, extent);
            let at = rows.partition_point(|b| b.range.end <= next);
            bytes = self.cache.prefetch(extent.object, &rows[at..], bytes, window, reads_for);
            if bytes == 0 {
                return;
            }
        }
    }

    async fn index(&self, view: &Catalogue, object: ObjectId, reads_for: ReadFor) -> Result<Arc<Index>, ReadError> {
        let Some(state) = view.object(object) else {
            return Err(ReadError::Store {
                object,
                missing: true,
                why: "the catalogue does not hold it any more".into(),
            });
        };
        self.cache.index(object, state.length, state.crc, reads_for).await
    }

    /// The newest checkpoint of a stream and the offset that it describes.
    pub(crate) async fn checkpoint(
        &self,
        catalogue: &dyn CatalogueClient,
        stream: StreamId,
    ) -> Result<Option<(Offset, Bytes)>, ReadError> {
        let mut views = 0;
        loop {
            let view = catalogue.view();
            let Some(at) = view.stream(stream).and_then(|s| s.checkpoint) else { return Ok(None) };
            let read = async {
                let index = self.index(&view, at.object, ReadFor::Broker).await?;
                let side = index.side_of(stream).filter(|s| s.offset == at.offset).ok_or(ReadError::Hole {
                    stream,
                    offset: at.offset,
                    why: "its object has no such checkpoint",
                })?;
                self.cache.side(at.object, side).await.map(|bytes| Some((at.offset, bytes)))
            };
            match read.await {
                Err(error) if error.is_missing() && views < FRESH_VIEWS_MAX => views += 1,
                other => return other,
            }
        }
    }

    /// Offsets of the first stored entry at or above `from` with a timestamp of at least `at_least`.
    pub(crate) async fn find_timestamp(
        &self,
        catalogue: &dyn CatalogueClient,
        stream: StreamId,
        from: Offset,
        at_least: TimestampMs,
    ) -> Result<Option<OffsetRange>, ReadError> {
        let mut views = 0;
        loop {
            let view = catalogue.view();
            match self.find_timestamp_in(&view, stream, from, at_least).await {
                Err(error) if error.is_missing() && views < FRESH_VIEWS_MAX => views += 1,
                other => return other,
            }
        }
    }

    async fn find_timestamp_in(
        &self,
        view: &Catalogue,
        stream: StreamId,
        from: Offset,
        at_least: TimestampMs,
    ) -> Result<Option<OffsetRange>, ReadError> {
        let Some(state) = view.stream(stream) else { return Ok(None) };
        for extent in state.extents_from(from).filter(|e| e.newest.reaches(at_least)) {
            let index = self.index(view, extent.object, ReadFor::Clients).await?;
            let rows = rows_of(&index, stream, extent);
            for (at, row) in rows.iter().enumerate() {
                if row.max_timestamp < at_least || row.range.end <= from {
                    continue;
                }
                let block = self.cache.block(extent.object, &rows[at..], 0, ReadFor::Clients).await?;
                let entry = block.entries().iter().find(|e| {
                    e.max_timestamp >= at_least && e.range.end > from && extent.range.contains(e.range.start)
                });
                if let Some(entry) = entry {
                    return Ok(Some(entry.range));
                }
            }
        }
        Ok(None)
    }
}

/// The log start, as far as `view` or the open stream knows: a trim is in the catalogue before the stream takes note of it,
/// and one that went another way never comes to it.
fn start(view: &Catalogue, stream: &SharedStream) -> Offset {
    view.stream(stream.id).map_or(stream.start(), |state| state.start.max(stream.start()))
}

/// The blocks of an extent: a tenure's blocks outside its extent are dead bytes and no reader's business.
fn rows_of<'a>(index: &'a Index, stream: StreamId, extent: &Extent) -> &'a [BlockIndex] {
    let rows = index.blocks_of(stream);
    let from = rows.partition_point(|b| b.range.end <= extent.range.start || b.epoch < extent.epoch);
    let to = rows.partition_point(|b| b.range.start < extent.range.end && b.epoch <= extent.epoch);
    rows.get(from..to).unwrap_or_default()
}

/// Takes a run of entries; `false` when it stopped at a limit.
fn take_entries(
    block: &Block,
    extent: &Extent,
    from: Offset,
    limit: Offset,
    max_bytes: usize,
    min_one: bool,
    out: &mut Fetched,
) -> bool {
    let entries = block.entries();
    let first = block.first_above(from.max(extent.range.start));
    let mut to = first;
    let mut bytes = out.bytes;
    let mut whole = true;
    while let Some(entry) = entries.get(to) {
        let length = block.entry_bytes(to);
        let fits = bytes + length <= max_bytes || (bytes == 0 && min_one);
        if !fits || entry.range.end > limit.min(extent.range.end) {
            whole = false;
            break;
        }
        bytes += length;
        to += 1;
    }
    if to > first {
        let range = OffsetRange::new(entries[first].range.start, entries[to - 1].range.end);
        out.take(range, &[block.payload(first, to)], bytes - out.bytes);
    }
    whole
}
