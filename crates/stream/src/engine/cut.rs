//! Cuts: what the uploader takes at once, and the generations that may leave the cache afterwards.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use base::{Clock, OffsetRange, WalPosition};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::Inner;
use super::stream::Shared;
use crate::catalogue::COMMIT_ITEMS_MAX;

/// Part of a cut: one stream's range and the checkpoint that describes its end.
pub(crate) struct CutStream {
    pub stream: Arc<Shared>,
    pub range: OffsetRange,
    pub checkpoint: Option<Bytes>,
}

/// Everything durable since the previous cut.
pub(crate) struct Cut {
    pub streams: Vec<CutStream>,
    /// Where the WAL stood: everything below is in this cut or an earlier one.
    pub position: WalPosition,
    /// Told when the cut is committed.
    pub waiters: Vec<oneshot::Sender<()>>,
}

/// Streams in one cut: well below what one commit may name.
const CUT_STREAMS_MAX: usize = COMMIT_ITEMS_MAX / 4;

/// What has gathered for the next cut. Its lock is held while a WAL group is completed, so that a cut stands between
/// two groups.
pub(crate) struct Active {
    pub dirty: Vec<Arc<Shared>>,
    pub bytes: u64,
    pub position: WalPosition,
    since: Option<Duration>,
    cut_bytes: u64,
    /// Where the WAL stood at the last cut, and how far it may go on before the next: small groups fill it faster than
    /// their bytes say.
    cut_at: WalPosition,
    cut_span: u64,
    clock: Clock,
}

impl Active {
    pub fn new(cut_bytes: u64, clock: Clock) -> Self {
        let position = WalPosition(0);
        Self {
            dirty: Vec::new(),
            bytes: 0,
            position,
            since: None,
            cut_bytes,
            cut_at: position,
            cut_span: u64::MAX,
            clock,
        }
    }

    /// Cuts from now on at so many bytes of payload, or at a quarter of a WAL of so many bytes.
    pub fn set_limits(&mut self, cut_bytes: u64, wal_capacity: u64) {
        (self.cut_bytes, self.cut_span) = (cut_bytes, wal_capacity / 4);
    }

    pub fn is_full(&self) -> bool {
        self.bytes >= self.cut_bytes
            || self.dirty.len() >= CUT_STREAMS_MAX
            || self.position.0.saturating_sub(self.cut_at.0) >= self.cut_span
    }

    pub fn group_ended(&mut self, position: WalPosition) {
        self.position = position;
        if self.since.is_none() {
            self.since = Some(self.clock.monotonic());
        }
    }

    /// Whether a group has ended since the last cut.
    fn has_groups(&self) -> bool {
        self.since.is_some()
    }

    fn age(&self) -> Option<Duration> {
        self.since.map(|since| self.clock.monotonic().saturating_sub(since))
    }

    /// Takes the cut: ranges first, then each stream's checkpoint as of exactly that end.
    pub fn cut(&mut self, waiters: Vec<oneshot::Sender<()>>) -> Cut {
        let mut streams = Vec::with_capacity(self.dirty.len());
        for stream in self.dirty.drain(..) {
            let range = stream.take_uncut();
            let checkpoint = stream.checkpoint(range.end);
            if !range.is_empty() {
                streams.push(CutStream { stream, range, checkpoint });
            }
        }
        streams.sort_unstable_by_key(|s| s.stream.id);
        self.since = None;
        self.bytes = 0;
        self.cut_at = self.position;
        Cut { streams, position: self.position, waiters }
    }
}

/// Cuts that are committed and still cached, oldest first.
#[derive(Default)]
pub(crate) struct Generations(VecDeque<Vec<(Arc<Shared>, OffsetRange)>>);

impl Generations {
    /// Lets go of streams that hold nothing any more.
    fn forget_closed(&mut self) {
        for generation in &mut self.0 {
            generation.retain(|(stream, _)| !stream.is_closed());
        }
        self.0.retain(|generation| !generation.is_empty());
    }
}

/// Share of the log cache, in percent, that committed entries may keep for tail readers.
const KEEP_PERCENT: u64 = 60;

impl Inner {
    /// Lets the WAL forget what is committed.
    pub(crate) fn trim_wal(&self, to: WalPosition) {
        if let Some(wal) = self.wal.read().as_ref() {
            wal.trim(to);
        }
    }

    /// Cuts now, whatever has gathered. An empty cut still tells its waiter when everything before it is committed.
    pub(crate) fn request_cut(&self, waiter: Option<oneshot::Sender<()>>) {
        let mut active = self.active.lock();
        // Groups may have ended without leaving a dirty stream: theirs is deleted. Their place in the log counts.
        if !active.has_groups() && waiter.is_none() {
            return;
        }
        let cut = active.cut(waiter.into_iter().collect());
        self.send_cut(cut);
    }

    /// Hands a cut to the uploader. The lock of [`Active`] must be held, so that cuts are queued in order. The queue needs
    /// no bound of its own: what is in it is charged to the log cache.
    pub(crate) fn send_cut(&self, cut: Cut) {
        if self.cuts.send(cut).is_err() {
            self.fail("the uploader has ended");
        }
    }

    /// A committed cut may leave the cache from now on; leaves at once what the cache has no room to keep.
    pub(crate) fn committed(&self, cut: &Cut) {
        let generation = cut.streams.iter().map(|s| (s.stream.clone(), s.range)).collect();
        {
            let mut generations = self.evictable.lock();
            generations.0.push_back(generation);
            if self.forgot.swap(false, Ordering::AcqRel) {
                generations.forget_closed();
            }
        }
        // Whoever waits for room needs it more than tail readers do.
        let limit = self.cache.limit();
        let keep = (limit / 100 * KEEP_PERCENT).min(limit.saturating_sub(self.wanted.load(Ordering::Acquire)));
        while self.cache.used() > keep && self.evict_one() {}
    }

    /// Drops the oldest committed generation from the cache; `false` when there is none.
    pub(crate) fn evict_one(&self) -> bool {
        let Some(generation) = self.evictable.lock().0.pop_front() else { return false };
        for (stream, range) in generation {
            stream.tail.lock().evict_below(range.end);
        }
        true
    }
}

/// How often the age of un-uploaded appends is looked at.
const TICK: Duration = Duration::from_millis(250);

/// Cuts by age; ends with the engine.
pub(crate) async fn tick(engine: Weak<Inner>) {
    loop {
        tokio::time::sleep(TICK).await;
        let Some(engine) = engine.upgrade() else { return };
        let due = engine.active.lock().age().is_some_and(|age| age >= engine.options.upload_interval);
        if due {
            engine.request_cut(None);
        }
    }
}
