//! Cuts: what the uploader takes at once.
//!
//! ```text
//! under the lock of the group that ends:   Active ──take──► Gathered      which streams, up to which WAL position
//! by the uploader, without that lock:      Gathered ──resolve──► Cut      which offsets, and what to checkpoint
//! ```
//!
//! Everything below the position of a cut is in it or in an earlier one. More may be in it: what a stream took in after
//! the cut was taken goes with it, and its place in the log is covered by the next one. So cuts are resolved in the order
//! in which they were taken.
//!
//! What gathered up to a moment is cut in one round, of as many cuts as it takes. The cuts before the last take streams
//! beyond the position that they bear: replay finds that committed already, as it does with a cut that took more.
//!
//! A trim that needs a checkpoint of a stream has that stream cut ahead of its turn, by a cut that covers no place in the
//! log either. It costs what that stream has, not an object and a step towards a checkpoint for every other.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use base::{Clock, Offset, OffsetRange, WalPosition};
use tokio::sync::oneshot;

use super::checkpoint::FrozenState;
use super::stream::Shared;
use super::{EngineOptions, Inner};
use crate::catalogue::{COMMIT_ITEMS_MAX, Catalogue};

/// Part of a cut: one stream's range and, when one is due, the state at its end.
pub(crate) struct CutStream {
    pub stream: Arc<Shared>,
    pub range: OffsetRange,
    pub checkpoint: Option<Box<dyn FrozenState>>,
}

/// How a stream comes to be in a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Its turn on the list of streams with something to cut has come: it is off the list.
    Listed,
    /// Ahead of it. Where it stands on the list, it stays.
    Ahead,
}

/// What had gathered when a cut was taken.
pub(crate) struct Gathered {
    streams: Vec<Arc<Shared>>,
    turn: Turn,
    position: WalPosition,
    waiters: Vec<oneshot::Sender<()>>,
}

/// A cut whose ranges are known.
pub(crate) struct Cut {
    pub streams: Vec<CutStream>,
    /// Where the WAL stood: everything below is in this cut or an earlier one.
    pub position: WalPosition,
    /// Told when the cut is committed.
    pub waiters: Vec<oneshot::Sender<()>>,
    /// Streams whose checkpoint is due, and for which this cut had nothing left to spend: the next one looks at them, though
    /// they may have no data by then.
    pub owed: Vec<Arc<Shared>>,
}

/// Streams in one cut: well below what one commit may name.
pub(super) const CUT_STREAMS_MAX: usize = COMMIT_ITEMS_MAX / 4;

/// From so many streams on that somebody wants cut ahead, those that nobody waits for any more are looked for, each time
/// that their number has doubled.
const GONE_LOOKED_FOR_MIN: usize = 1024;

/// What has gathered for the next cuts. Its lock is held while a WAL group is completed, so that a cut stands between
/// two groups; whoever else takes it does so for a moment.
pub(crate) struct Active {
    /// Streams of which there may be something to cut, each once, in the order in which they came: parts of one cut each.
    dirty: VecDeque<Vec<Arc<Shared>>>,
    /// What is left of a moment that is too much for one cut.
    round: Option<Round>,
    /// Streams to be cut ahead of their turn, and who is told. Those who have gone are forgotten when there are
    /// [`Self::looked_for_gone_at`].
    ahead: VecDeque<(Arc<Shared>, oneshot::Sender<()>)>,
    looked_for_gone_at: usize,
    /// How the last cut was taken: both kinds go on, whatever comes of the other.
    last: Turn,
    bytes: u64,
    position: WalPosition,
    since: Option<Duration>,
    /// Somebody asked for a cut of what the log holds.
    requested: bool,
    waiters: Vec<oneshot::Sender<()>>,
    /// Only what somebody waits for is cut any more: the log has ended.
    closed: bool,
    cut_bytes: u64,
    interval: Duration,
    /// Where the WAL stood when the last round began, and how far it may go on before the next: small groups fill it
    /// faster than their bytes say.
    round_at: WalPosition,
    cut_span: u64,
    /// Everything below is in cuts that were taken.
    covered: WalPosition,
    clock: Clock,
}

/// The cuts that together take what had gathered at one moment. Streams that come later wait for the next round, so that
/// this one ends however many do: only its last cut covers the moment's place in the log.
struct Round {
    /// Parts of the list that are yet to be taken.
    parts: usize,
    position: WalPosition,
    waiters: Vec<oneshot::Sender<()>>,
}

impl Active {
    pub fn new(options: &EngineOptions, clock: Clock) -> Self {
        let position = WalPosition(0);
        Self {
            dirty: VecDeque::new(),
            round: None,
            ahead: VecDeque::new(),
            looked_for_gone_at: GONE_LOOKED_FOR_MIN,
            last: Turn::Listed,
            bytes: 0,
            position,
            since: None,
            requested: false,
            waiters: Vec::new(),
            closed: false,
            cut_bytes: options.cut_bytes(u64::MAX),
            interval: options.upload_interval,
            round_at: position,
            cut_span: u64::MAX,
            covered: position,
            clock,
        }
    }

    /// Cuts from now on at so many bytes of payload, or at a quarter of a WAL of so many bytes.
    pub fn set_limits(&mut self, cut_bytes: u64, wal_capacity: u64) {
        (self.cut_bytes, self.cut_span) = (cut_bytes, wal_capacity / 4);
    }

    /// A stream that is not on the list has something to cut.
    pub fn push(&mut self, stream: Arc<Shared>) {
        let taken = self.round.as_ref().map_or(0, |round| round.parts);
        let is_open = self.dirty.len() > taken;
        match self.dirty.back_mut().filter(|part| is_open && part.len() < CUT_STREAMS_MAX) {
            Some(part) => part.push(stream),
            None => self.dirty.push_back(vec![stream]),
        }
    }

    /// So many bytes more are durable.
    pub fn gather(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    pub fn group_ended(&mut self, position: WalPosition) {
        self.position = position;
        self.gathers();
    }

    /// The next cut looks at a stream, though it may have no data. It waits for its time.
    pub fn mark(&mut self, stream: &Arc<Shared>) {
        if stream.mark_dirty() {
            self.push(stream.clone());
        }
        self.gathers();
    }

    /// There is something for a cut.
    fn gathers(&mut self) {
        if self.since.is_none() {
            self.since = Some(self.clock.monotonic());
        }
    }

    /// Asks for a cut of what the log holds and no cut has taken, now or as soon as the next group has ended; with a
    /// waiter even of nothing.
    pub fn request(&mut self, waiter: Option<oneshot::Sender<()>>) {
        self.requested |= waiter.is_none();
        self.waiters.extend(waiter);
    }

    /// Asks for a cut of a stream as it is now, whatever else has gathered.
    pub fn request_ahead(&mut self, stream: &Arc<Shared>, waiter: oneshot::Sender<()>) {
        if self.closed {
            // Whoever waits is told that nothing will come of it.
            return;
        }
        if self.ahead.len() >= self.looked_for_gone_at {
            self.ahead.retain(|(_, waiter)| !waiter.is_closed());
            self.looked_for_gone_at = (self.ahead.len() * 2).max(GONE_LOOKED_FOR_MIN);
        }
        self.ahead.push_back((stream.clone(), waiter));
    }

    /// Whether [`Self::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// From here on nothing is cut but what is asked for with a waiter.
    pub fn close(&mut self) {
        self.closed = true;
        self.ahead.clear();
    }

    /// Whether a cut should be taken as soon as there is a place for it.
    pub fn is_due(&self, room_is_wanted: bool) -> bool {
        !self.ahead.is_empty() || self.is_round_due(room_is_wanted)
    }

    fn is_round_due(&self, room_is_wanted: bool) -> bool {
        // Groups may have ended without leaving a dirty stream: theirs is deleted. Their place in the log counts.
        let gathered = self.position.0.saturating_sub(self.round_at.0);
        if self.closed {
            return self.round.is_some() || !self.waiters.is_empty();
        }
        self.round.is_some()
            || !self.waiters.is_empty()
            || (self.requested && gathered > 0)
            || self.bytes >= self.cut_bytes
            || gathered >= self.cut_span
            || (room_is_wanted && self.bytes > 0)
            || self.since.is_some_and(|since| self.clock.monotonic().saturating_sub(since) >= self.interval)
    }

    /// Takes the next cut if one is due.
    pub fn take(&mut self, room_is_wanted: bool) -> Option<Gathered> {
        let gathered = match (self.is_round_due(room_is_wanted), self.ahead.is_empty()) {
            (false, true) => return None,
            (true, false) if self.last == Turn::Ahead => self.take_part(),
            (_, false) => self.take_ahead(),
            (true, true) => self.take_part(),
        };
        self.last = gathered.turn;
        Some(gathered)
    }

    fn take_ahead(&mut self) -> Gathered {
        let count = self.ahead.len().min(CUT_STREAMS_MAX);
        let (streams, waiters) = self.ahead.drain(..count).unzip();
        Gathered { streams, turn: Turn::Ahead, position: self.covered, waiters }
    }

    /// Takes the next part of the round, which begins with it if there is none.
    fn take_part(&mut self) -> Gathered {
        let mut round = self.round.take().unwrap_or_else(|| self.begin_round());
        let streams = self.dirty.pop_front().unwrap_or_default();
        round.parts = round.parts.saturating_sub(1);
        if round.parts > 0 {
            self.round = Some(round);
            return Gathered { streams, turn: Turn::Listed, position: self.covered, waiters: Vec::new() };
        }
        self.covered = round.position;
        Gathered { streams, turn: Turn::Listed, position: round.position, waiters: round.waiters }
    }

    fn begin_round(&mut self) -> Round {
        (self.since, self.requested, self.bytes, self.round_at) = (None, false, 0, self.position);
        let (parts, waiters) = (self.dirty.len(), std::mem::take(&mut self.waiters));
        Round { parts, position: self.position, waiters }
    }
}

impl Gathered {
    /// Fixes the range of each stream, and freezes the checkpoints that are due.
    pub fn resolve(mut self, view: &Catalogue, options: &EngineOptions) -> Cut {
        // Several trims may have asked for one stream.
        self.streams.sort_unstable_by_key(|stream| (stream.id, stream.epoch));
        self.streams.dedup_by(|stream, other| Arc::ptr_eq(stream, other));
        let log_start = |stream: &Shared| view.stream(stream.id).map_or(Offset(0), |s| s.start).max(stream.start());
        let mut streams: Vec<_> =
            self.streams.into_iter().map(|stream| (stream.overdue(log_start(&stream), options), stream)).collect();
        // Who has waited longest for a checkpoint has the first claim on what this cut may spend on them.
        streams.sort_unstable_by_key(|(overdue, stream)| (std::cmp::Reverse(*overdue), stream.id));
        let mut left = options.checkpoint_cut_bytes;
        let mut parts = Vec::with_capacity(streams.len());
        let mut owed = Vec::new();
        for (overdue, stream) in streams {
            let (range, checkpoint) = stream.cut(self.turn, overdue.is_some() && left > 0);
            if overdue.is_some() && left == 0 && stream.keeps_state() {
                owed.push(stream.clone());
            }
            left = left.saturating_sub(checkpoint.as_ref().map_or(0, |state| state.bytes()));
            if !range.is_empty() || checkpoint.is_some() {
                parts.push(CutStream { stream, range, checkpoint });
            }
        }
        parts.sort_unstable_by_key(|part| (part.stream.id, part.stream.epoch));
        Cut { streams: parts, position: self.position, waiters: self.waiters, owed }
    }
}

/// How often the age of un-uploaded appends is looked at.
const TICK: Duration = Duration::from_millis(250);

/// Has the uploader look at it; ends with the engine.
pub(crate) async fn tick(engine: Weak<Inner>) {
    loop {
        tokio::time::sleep(TICK).await;
        let Some(engine) = engine.upgrade() else { return };
        engine.ring();
    }
}
