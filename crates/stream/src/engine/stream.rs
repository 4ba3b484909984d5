//! One open stream.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use base::{Offset, OffsetRange, StreamEpoch, StreamId, TimestampMs};
use bytes::Bytes;
use parking_lot::Mutex;
use smallvec::SmallVec;
use thiserror::Error;

use super::checkpoint::Uncovered;
use super::cut::Turn;
use super::room::{Room, settle};
use super::runs::Runs;
use super::sink::{Gap, Pending, check_next};
use super::tail::{Entry, Tail, Wanted};
use super::{CheckpointSource, EngineFailure, EngineOptions, FrozenState, Inner};
use crate::Fragments;
use crate::catalogue::{
    Checkpoint, ClientError, EpochStart, Extent, StateBelow, StreamRejection, StreamState, TrimRequest,
};
use crate::read::{Cursors, ReadError, ReadFor, WantedRead};
use crate::wal::Append;

/// The stream takes no more appends and acknowledges none that are under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the stream was closed, or its broker's write-ahead log failed or was fenced")]
pub struct Fenced;

/// The timestamp of what has none, as in Kafka.
const NO_TIMESTAMP: TimestampMs = TimestampMs(-1);

/// Called once per append, in order.
pub type Done = Box<dyn FnOnce(Result<(), Fenced>) + Send>;

/// An append.
pub struct NewEntry {
    /// Offsets that the entry takes; its base is the end of the previous one.
    pub range: OffsetRange,
    /// Greatest timestamp inside.
    pub max_timestamp: TimestampMs,
    /// The bytes.
    pub payload: Fragments,
    /// Room for the buffer that the payload is a slice of; `None` when the payload is alone in its memory.
    pub room: Option<Room>,
    /// Called on the completion thread after the durable end has moved past the entry, and past all that became durable
    /// with it, or when that will never happen.
    pub done: Done,
}

/// Why a range could not be read.
#[derive(Debug, Clone, Error)]
pub enum FetchError {
    /// The offset lies outside the stream.
    #[error("offset {offset} is outside {range}")]
    OutOfRange {
        /// What was asked for.
        offset: Offset,
        /// What the stream holds.
        range: OffsetRange,
    },
    /// The store or the bytes in it failed.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl FetchError {
    /// Whether asking again cannot help, nor could another release: the bytes are gone, or not those that were written.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::OutOfRange { .. } => false,
            Self::Read(ReadError::Store { missing, .. }) => *missing,
            Self::Read(ReadError::Damaged { why, .. }) => !why.is_newer(),
            Self::Read(ReadError::Hole { .. }) => true,
        }
    }
}

/// A trim was not done.
#[derive(Debug, Clone, Error)]
#[error("the log start of stream {stream} could not be moved to {start}: {why}")]
pub struct TrimError {
    /// The stream.
    pub stream: StreamId,
    /// The start asked for.
    pub start: Offset,
    /// Why.
    pub why: NotTrimmed,
}

/// Why a trim was not done.
#[derive(Debug, Clone, Error)]
pub enum NotTrimmed {
    /// No checkpoint came before that tells the state below.
    #[error("{0}")]
    Untold(Arc<str>),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineFailure),
    /// The catalogue refused.
    #[error(transparent)]
    Rejected(#[from] StreamRejection),
    /// The catalogue gave no answer.
    #[error(transparent)]
    Catalogue(#[from] ClientError),
}

/// Consecutive whole entries.
#[derive(Debug, Clone, Default)]
pub struct Fetched {
    /// The payloads, in order.
    pub slices: SmallVec<[Bytes; 4]>,
    /// Offsets covered; empty at the offset asked for when there was nothing.
    pub range: OffsetRange,
    /// Sum of the slices.
    pub bytes: usize,
}

impl Fetched {
    pub(crate) fn empty(at: Offset) -> Self {
        Self { slices: SmallVec::new(), range: OffsetRange::new(at, at), bytes: 0 }
    }

    pub(crate) fn take(&mut self, range: OffsetRange, payload: &[Bytes], bytes: usize) {
        if self.slices.is_empty() {
            self.range.start = range.start;
        }
        self.slices.extend(payload.iter().filter(|p| !p.is_empty()).cloned());
        self.range.end = range.end;
        self.bytes += bytes;
    }
}

/// What retention needs to know of a stream's size and age.
#[derive(Debug, Clone)]
pub struct Extents {
    /// Uploaded parts, oldest first.
    pub uploaded: Vec<Extent>,
    /// What is durable and not uploaded yet; empty at the end of the stream when everything is uploaded.
    pub tail: OffsetRange,
    /// Payload bytes of the tail.
    pub tail_bytes: u64,
    /// The greatest timestamp in the tail, if an entry there has one.
    pub tail_newest: Option<TimestampMs>,
}

pub(crate) struct Shared {
    pub id: StreamId,
    pub epoch: StreamEpoch,
    start: AtomicU64,
    durable_end: AtomicU64,
    closed: AtomicBool,
    pub tail: Mutex<Tail>,
    source: Mutex<Option<Weak<dyn CheckpointSource>>>,
    uncovered: Mutex<Uncovered>,
    /// The newest checkpoint when the stream was opened, and whether it was read since. Every other is this owner's own.
    inherited: Option<Checkpoint>,
    inherited_is_readable: AtomicBool,
    pub cursors: Mutex<Cursors>,
}

/// Cuts that a trim waits for until one takes the checkpoint that it needs. Each spends little on checkpoints, so that many
/// trims at once take several; whoever still waits is told to come again.
const CHECKPOINT_CUTS_MAX: usize = 32;

/// Entries that are handled under one lock of a tail, for which acknowledgements wait.
pub(crate) const LOCKED_ENTRIES_MAX: usize = 1024;

impl Shared {
    pub fn new(id: StreamId, state: &StreamState, options: &EngineOptions) -> Self {
        let end = state.end.max(state.start);
        Self {
            id,
            epoch: state.epoch,
            start: AtomicU64::new(state.start.0),
            durable_end: AtomicU64::new(end.0),
            closed: AtomicBool::new(false),
            tail: Mutex::new(Tail::new(end)),
            source: Mutex::new(None),
            uncovered: Mutex::new(Uncovered::of(state, options)),
            inherited: state.checkpoint,
            inherited_is_readable: AtomicBool::new(false),
            cursors: Mutex::new(Cursors::default()),
        }
    }

    pub fn start(&self) -> Offset {
        Offset(self.start.load(Ordering::Acquire))
    }

    pub fn durable_end(&self) -> Offset {
        Offset(self.durable_end.load(Ordering::Acquire))
    }

    /// First offset that the log cache holds.
    pub fn tail_start(&self) -> Option<Offset> {
        self.tail.lock().start()
    }

    pub fn set_source(&self, source: Weak<dyn CheckpointSource>) {
        *self.source.lock() = Some(source);
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Takes no more, and gives what it had: to be dropped where nobody waits.
    #[must_use = "freeing it may take a while"]
    pub fn close(&self) -> Runs {
        self.closed.store(true, Ordering::Release);
        self.tail.lock().detach_all()
    }

    /// Drops entries that end at or below `offset`, which the catalogue holds. What is dropped is freed run by run
    /// outside the tail's lock; there may be very many.
    pub fn evict_below(&self, offset: Offset) {
        loop {
            let gone = self.tail.lock().detach_below(offset);
            if gone.is_none() {
                return;
            }
        }
    }

    /// Takes in a durable entry; `true` when the stream must go on the list of the next cut.
    pub fn complete(&self, entry: Entry) -> Result<bool, Gap> {
        let mut tail = self.tail.lock();
        check_next(self.id, self.durable_end(), entry.range)?;
        let end = entry.range.end;
        if !self.is_closed() {
            tail.push(entry);
        }
        self.durable_end.store(end.0, Ordering::Release);
        Ok(!std::mem::replace(&mut tail.dirty, true))
    }

    /// Planted: takes in an entry that is not durable.
    pub fn show(&self, entry: Entry) {
        let mut tail = self.tail.lock();
        let end = entry.range.end;
        tail.push(entry);
        self.durable_end.store(end.0, Ordering::Release);
    }

    /// Puts the stream on the list of the next cut; `false` when it is there.
    pub fn mark_dirty(&self) -> bool {
        !std::mem::replace(&mut self.tail.lock().dirty, true)
    }

    /// The range that a cut takes, and its payload bytes.
    fn take_uncut(&self, turn: Turn) -> (OffsetRange, u64) {
        let mut tail = self.tail.lock();
        tail.dirty &= turn == Turn::Ahead;
        let end = self.durable_end();
        let from = std::mem::replace(&mut tail.uncut, end);
        let bytes = std::mem::take(&mut tail.uncut_bytes);
        if self.is_closed() { (OffsetRange::new(end, end), 0) } else { (OffsetRange::new(from, end), bytes) }
    }

    /// Whether the next cut should take a checkpoint; the greater the more urgent.
    pub fn overdue(&self, log_start: Offset, options: &EngineOptions) -> Option<u32> {
        let bytes = self.tail.lock().uncut_bytes;
        self.uncovered.lock().overdue(bytes, log_start, options)
    }

    /// The next cut that looks at the stream should take a checkpoint.
    fn want_checkpoint(&self) {
        self.uncovered.lock().want();
    }

    /// What a cut takes: a range, and the state at exactly its end if it should and can.
    pub fn cut(&self, turn: Turn, with_checkpoint: bool) -> (OffsetRange, Option<Box<dyn FrozenState>>) {
        let source = if with_checkpoint { self.source.lock().as_ref().and_then(Weak::upgrade) } else { None };
        let mut taken = None;
        let frozen =
            source.and_then(|source| source.freeze(&mut || taken.get_or_insert_with(|| self.take_uncut(turn)).0.end));
        // A state that was frozen without an end describes none.
        let frozen = frozen.filter(|_| taken.is_some() && !self.is_closed());
        let (range, bytes) = taken.unwrap_or_else(|| self.take_uncut(turn));
        let mut uncovered = self.uncovered.lock();
        match &frozen {
            Some(state) => uncovered.covered(range.end, state.bytes()),
            None => uncovered.add(bytes),
        }
        (range, frozen)
    }

    /// Whether somebody keeps a state of the stream, which checkpoints tell.
    pub fn keeps_state(&self) -> bool {
        self.source.lock().as_ref().is_some_and(|source| source.strong_count() > 0)
    }

    /// Whether the log start has moved past the newest checkpoint of a state that somebody keeps.
    fn is_trimmed_uncovered(&self) -> bool {
        self.keeps_state() && self.uncovered.lock().is_trimmed(self.start())
    }
}

/// A handle on an open stream. Cheap to clone.
#[derive(Clone)]
pub struct Stream {
    pub(super) shared: Arc<Shared>,
    pub(super) engine: Arc<Inner>,
}

impl Stream {
    /// The stream's id.
    pub fn id(&self) -> StreamId {
        self.shared.id
    }

    /// The tenure in which it is open.
    pub fn epoch(&self) -> StreamEpoch {
        self.shared.epoch
    }

    /// First offset that is kept. A trim that went to the catalogue by another way than [`Self::trim`] counts too.
    pub fn start(&self) -> Offset {
        let view = self.engine.catalogue.view();
        view.stream(self.id()).map_or(self.shared.start(), |state| self.shared.start().max(state.start))
    }

    /// End of what is durable and may be read or acknowledged.
    pub fn durable_end(&self) -> Offset {
        self.shared.durable_end()
    }

    /// Queues an entry to the WAL; never blocks. The caller's own lock makes ranges contiguous and orders the calls.
    pub fn append(&self, entry: NewEntry) {
        let NewEntry { range, max_timestamp, payload, room, done } = entry;
        let bytes = payload.iter().map(Bytes::len).sum();
        let (payload, room) = settle(self.engine.cache.budget(), payload, bytes, room);
        // Planted: the end moves, and readers see the entry, before the log has it.
        let early = base::plant::bug("watermark-before-durable").then(|| Entry {
            range,
            max_timestamp,
            payload: payload.clone(),
            bytes,
            _room: room.clone(),
        });
        let pending = Pending { stream: self.shared.clone(), bytes, room: Some(room), done: Some(done) };
        if self.shared.is_closed() || self.engine.has_failed() {
            return; // dropping `pending` answers the appender
        }
        if let Some(entry) = early {
            self.shared.show(entry);
        }
        let (stream, epoch) = (self.shared.id, self.shared.epoch);
        let append = Append { stream, epoch, base: range.start, end: range.end, max_timestamp, payload };
        self.engine.log.append(append, pending);
    }

    /// Whole entries from the one that contains `from`, none reaching beyond `limit`, if the log cache holds them.
    pub fn try_fetch_cached(&self, from: Offset, limit: Offset, max_bytes: usize, min_one: bool) -> Option<Fetched> {
        let limit = limit.min(self.durable_end());
        let mut out = Fetched::empty(from);
        if from >= limit {
            return Some(out);
        }
        let wanted = Wanted { max_bytes, min_one };
        loop {
            let more = self.shared.tail.lock().collect(out.range.end, limit, wanted, LOCKED_ENTRIES_MAX, &mut out);
            match more {
                Some(true) => {}
                // What follows may have left the cache meanwhile.
                None if out.range.is_empty() => return None,
                Some(false) | None => return Some(out),
            }
        }
    }

    /// Whole entries from the one that contains `from`, none reaching beyond `limit`, at most `max_bytes` of them, or one
    /// that is larger if `min_one`. May return less than there is; never nothing below the limit when `min_one`.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn fetch(
        &self,
        from: Offset,
        limit: Offset,
        max_bytes: usize,
        min_one: bool,
    ) -> Result<Fetched, FetchError> {
        self.fetch_for(ReadFor::Clients, from, limit, max_bytes, min_one).await
    }

    /// As [`Self::fetch`], for whom it is told.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn fetch_for(
        &self,
        reads_for: ReadFor,
        from: Offset,
        limit: Offset,
        max_bytes: usize,
        min_one: bool,
    ) -> Result<Fetched, FetchError> {
        let limit = limit.min(self.durable_end());
        if from < self.start() || from > self.durable_end() {
            let range = OffsetRange::new(self.start(), self.durable_end());
            return Err(FetchError::OutOfRange { offset: from, range });
        }
        if let Some(hit) = self.try_fetch_cached(from, limit, max_bytes, min_one) {
            return Ok(hit);
        }
        let wanted = WantedRead { limit, max_bytes, min_one, reads_for };
        self.engine.reader.fetch(&*self.engine.catalogue, &self.shared, from, wanted).await
    }

    /// Everything below is told by the newest checkpoint: a trim up to here needs no other. One that a former owner left
    /// tells nothing before somebody has read it ([`Self::checkpoint_is_readable`]): it may have been damaged since.
    pub fn covered(&self) -> Offset {
        let view = self.engine.catalogue.view();
        let newest = view.stream(self.id()).and_then(|state| state.checkpoint);
        let is_known = |newest: &Checkpoint| {
            self.shared.inherited != Some(*newest) || self.shared.inherited_is_readable.load(Ordering::Acquire)
        };
        newest.filter(is_known).map_or(Offset(0), |newest| newest.offset)
    }

    /// The checkpoint that [`Self::last_checkpoint`] gave is one that this release or a newer one understands.
    pub fn checkpoint_is_readable(&self) {
        self.shared.inherited_is_readable.store(true, Ordering::Release);
    }

    /// The newest checkpoint can never be read again, and the source has made its state anew: the next cut takes another,
    /// whether the stream has data by then or not.
    pub fn checkpoint_is_lost(&self) {
        self.shared.inherited_is_readable.store(false, Ordering::Release);
        self.shared.want_checkpoint();
        self.engine.log.mark(&self.shared);
    }

    /// Moves the log start; what lies below is gone for readers at once and for the store after its grace. The state that
    /// the trimmed records made stays: before they go, a checkpoint that tells it is in the catalogue ([`Self::cover`]).
    ///
    /// # Errors
    /// [`TrimError`] when the catalogue refused, the metadata log failed, or nobody could tell the state. Nothing is then
    /// trimmed.
    pub async fn trim(&self, start: Offset) -> Result<(), TrimError> {
        self.cover(start).await?;
        self.trim_with(start, StateBelow::Checkpointed).await
    }

    /// As [`Self::trim`], of a stream of which no state is kept, or whose state cannot be told any more.
    ///
    /// # Errors
    /// [`TrimError`] when the catalogue refused or the metadata log failed.
    pub async fn trim_without_state(&self, start: Offset) -> Result<(), TrimError> {
        self.trim_with(start, StateBelow::NotKept).await
    }

    /// Has a checkpoint committed that tells the state at `start` or later, unless there is one. The source must know the
    /// state then, and what is durable of the stream is uploaded with it.
    ///
    /// # Errors
    /// [`TrimError`] when nobody could tell the state, or the engine failed.
    pub async fn cover(&self, start: Offset) -> Result<(), TrimError> {
        let failed = |why| TrimError { stream: self.id(), start, why };
        let untold = |why: String| failed(NotTrimmed::Untold(why.into()));
        for _ in 0..CHECKPOINT_CUTS_MAX {
            if start <= self.covered().max(self.start()) {
                return Ok(());
            }
            if start > self.durable_end() {
                let end = self.durable_end();
                return Err(untold(format!("a checkpoint tells the state up to {end} at most, where the log ends")));
            }
            if !self.shared.keeps_state() {
                return Err(untold("no checkpoint tells the state below, and nobody keeps it here".to_owned()));
            }
            // What a cut spends on checkpoints may be used up by other trims: then the next one takes it.
            self.shared.want_checkpoint();
            self.engine.flush_stream(&self.shared).await.map_err(|failure| failed(failure.into()))?;
        }
        if start <= self.covered() {
            return Ok(());
        }
        Err(untold(format!("none of {CHECKPOINT_CUTS_MAX} uploads took a checkpoint of the state below")))
    }

    async fn trim_with(&self, start: Offset, state: StateBelow) -> Result<(), TrimError> {
        let request = TrimRequest { stream: self.id(), epoch: self.epoch(), start, state };
        let failed = |why| TrimError { stream: self.id(), start, why };
        let answers = self.engine.catalogue.trim(vec![request]).await.map_err(|error| failed(error.into()))?;
        for answer in answers {
            answer.map_err(|rejection| failed(rejection.into()))?;
        }
        self.trimmed(start);
        Ok(())
    }

    /// Takes note of a trim that is committed. One that went beyond the newest checkpoint, because no older state can be
    /// told, has the next cut take one.
    fn trimmed(&self, start: Offset) {
        self.shared.start.fetch_max(start.0, Ordering::AcqRel);
        if self.shared.is_trimmed_uncovered() {
            self.engine.log.mark(&self.shared);
        }
    }

    /// The newest checkpoint in the store and the offset that it describes.
    ///
    /// # Errors
    /// [`FetchError`] when the store or the bytes failed.
    pub async fn last_checkpoint(&self) -> Result<Option<(Offset, Bytes)>, FetchError> {
        Ok(self.engine.reader.checkpoint(&*self.engine.catalogue, self.id()).await?)
    }

    /// Offsets of the first entry that ends above `from` and the stream's start, and not above `limit`, and whose
    /// greatest timestamp is at least `at_least`. The entry may begin below the start: a trim cuts anywhere, and the
    /// entry that it cuts is kept whole.
    ///
    /// # Errors
    /// [`FetchError`] when the store or the bytes failed.
    pub async fn find_timestamp(
        &self,
        from: Offset,
        at_least: TimestampMs,
        limit: Offset,
    ) -> Result<Option<OffsetRange>, FetchError> {
        let limit = limit.min(self.durable_end());
        loop {
            let (from, uploaded) = (from.max(self.start()), self.uploaded_end());
            let stored = self.engine.reader.find_timestamp(&*self.engine.catalogue, self.id(), from, at_least).await?;
            if let Some(range) = stored {
                return Ok((range.end <= limit).then_some(range));
            }
            let cached = self.shared.tail.lock().find_timestamp(uploaded.max(from), at_least, limit);
            // An upload in between may have taken entries out of the cache that were not in the store yet.
            if self.uploaded_end() == uploaded {
                return Ok(cached);
            }
        }
    }

    /// Everything below is in objects.
    fn uploaded_end(&self) -> Offset {
        self.engine.catalogue.view().stream(self.id()).map_or(self.start(), |state| state.end.max(self.start()))
    }

    /// The greatest timestamp of the entries that end above the stream's start and not above `limit`, with the offsets
    /// of the first that has it; -1 if there are entries and none has a timestamp.
    ///
    /// # Errors
    /// [`FetchError`] when the store or the bytes failed.
    pub async fn max_timestamp(&self, limit: Offset) -> Result<Option<(TimestampMs, OffsetRange)>, FetchError> {
        let limit = limit.min(self.durable_end());
        let (view, start, cached) = loop {
            let uploaded = self.uploaded_end();
            let view = self.engine.catalogue.view();
            let cached = self.shared.tail.lock().max_timestamp(uploaded, limit);
            // As in `find_timestamp`.
            if self.uploaded_end() == uploaded {
                break (view, self.start(), cached);
            }
        };
        let extents = || view.stream(self.id()).into_iter().flat_map(|s| s.extents());
        // An extent that is trimmed in part, or reaches beyond the limit, tells only what its greatest cannot exceed.
        let whole = extents().filter(|e| e.range.start >= start && e.range.end <= limit);
        let whole = whole.filter_map(|e| e.newest.record()).max();
        let cached = cached.filter(|(timestamp, _)| *timestamp > NO_TIMESTAMP);
        let Some(bound) = extents().filter_map(|e| e.newest.record()).max() else {
            if cached.is_some() {
                return Ok(cached);
            }
            let first = self.find_timestamp(start, NO_TIMESTAMP, limit).await?;
            return Ok(first.map(|range| (NO_TIMESTAMP, range)));
        };
        let known = whole.max(cached.map(|(timestamp, _)| timestamp));
        if let Some((timestamp, range)) = cached
            && timestamp > bound
        {
            return Ok(Some((timestamp, range)));
        }
        if let Some(range) = self.find_timestamp(start, bound, limit).await? {
            return Ok(Some((bound, range)));
        }
        // The greatest timestamp t for which an entry has at least t, between one that is there and one that is not.
        let (mut low, mut high) = (known.unwrap_or(NO_TIMESTAMP).0, bound.0);
        while high.abs_diff(low) > 1 {
            let middle = low + (high.abs_diff(low) / 2) as i64;
            let there = self.find_timestamp(start, TimestampMs(middle), limit).await?.is_some();
            if there { low = middle } else { high = middle }
        }
        let found = self.find_timestamp(start, TimestampMs(low), limit).await?;
        Ok(found.map(|range| (TimestampMs(low), range)))
    }

    /// The tenures of the stream with the offset at which each began, oldest first: Kafka's leader epochs.
    pub fn epochs(&self) -> Vec<EpochStart> {
        self.engine.catalogue.view().stream(self.id()).map_or_else(Vec::new, |s| s.epochs().to_vec())
    }

    /// Payload bytes of what is durable and not uploaded yet.
    pub fn tail_bytes(&self) -> u64 {
        let from = self.uploaded_end();
        self.shared.tail.lock().bytes_from(from)
    }

    /// Sizes and ages of all parts. It copies every extent; whoever needs only sizes asks the catalogue and
    /// [`Self::tail_bytes`].
    pub fn extents(&self) -> Extents {
        let view = self.engine.catalogue.view();
        let state = view.stream(self.id());
        let uploaded = state.map_or_else(Vec::new, |state| state.extents().copied().collect());
        let from = state.map_or(self.start(), |state| state.end.max(self.start()));
        let tail = self.shared.tail.lock();
        let end = self.durable_end().max(from);
        let newest = tail.max_timestamp(from, end).map(|(timestamp, _)| timestamp);
        Extents {
            uploaded,
            tail: OffsetRange::new(from, end),
            tail_bytes: tail.bytes_from(from),
            tail_newest: newest.filter(|timestamp| *timestamp > NO_TIMESTAMP),
        }
    }

    /// Whether the stream takes appends.
    pub fn is_open(&self) -> bool {
        !self.shared.is_closed() && !self.engine.has_failed()
    }
}
