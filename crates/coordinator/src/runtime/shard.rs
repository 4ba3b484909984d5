//! A shard: one machine over one log, and the queue of its writes.

mod answers;
mod locked;

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base::memory::{Budget, Charge};
use base::{Clock, Offset, OffsetRange};
use bytes::Bytes;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::{Notify, oneshot, watch};

use self::answers::Purpose;
pub use self::answers::{Looks, Seen};
use super::load::Loaded;
use super::snapshot::{Piece, Snapshot};
use super::{Log, LogId, Machine, Moment, Output, Record, writer};
use crate::limits::{
    BATCH_BYTES_MAX, BATCH_OVERHEAD_BYTES, SNAPSHOT_RECORDS_FACTOR, SNAPSHOT_RECORDS_MIN, WHOLE_DECISION_BYTES_MAX,
    WRITES_WAITING_BYTES_MAX, WRITES_WAITING_MAX,
};

/// "No deadline" in an atomic.
pub(super) const NEVER: u64 = u64::MAX;

/// Why a shard did not do what it was asked. What a failed write decided may or may not stand in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ShardError {
    /// The log is being replayed.
    #[error("the coordinator is loading")]
    Loading,
    /// The log could not be replayed; it is tried again in a while.
    #[error("the coordinator could not be loaded")]
    NotLoaded,
    /// This broker does not coordinate it, or not any more.
    #[error("this broker is not the coordinator")]
    NotCoordinator,
    /// Too much waits to be written.
    #[error("the coordinator has too many writes waiting")]
    Overloaded,
}

/// Keeps a shard from loading while the writer of the one before it may still append: its records would follow, unseen, on
/// what the new shard has read.
pub(super) type Turn = Arc<tokio::sync::Mutex<()>>;

/// The moment on a clock.
pub(crate) fn moment(clock: &Clock) -> Moment {
    Moment { monotonic_ms: clock.monotonic().as_millis() as u64, wall: clock.now() }
}

/// One machine over one log.
pub struct Shard<M: Machine> {
    pub(super) index: i32,
    pub(super) id: LogId,
    pub(super) log: Arc<dyn Log>,
    /// Held by whoever writes to the log or loads from it.
    pub(super) turn: Turn,
    pub(super) clock: Clock,
    state: Mutex<State<M>>,
    memory: WriteMemory,
    /// Tells the writer that more waits.
    pub(super) more: Notify,
    /// When the machine is next due.
    deadline_ms: AtomicU64,
    /// Wakes the timer task when a deadline came nearer.
    timer: Arc<Notify>,
    /// `true` once the shard is loaded or never will be.
    settled: watch::Sender<bool>,
}

enum State<M: Machine> {
    Loading,
    Active(Box<Active<M>>),
    Closed,
}

struct Active<M: Machine> {
    machine: M,
    /// Decided and not replayed; the first `sent` of them are appended.
    writes: VecDeque<Write<M::After>>,
    sent: usize,
    /// Whether a writer runs.
    writing: bool,
    /// Everything below is replayed.
    replayed: Offset,
    /// Records since the last snapshot began.
    since_snapshot: u64,
    memory: WriteMemory,
    /// A snapshot that is not complete.
    snapshot: Option<Snapshot>,
}

/// Part of a decision that fits one batch.
#[derive(Debug)]
pub(super) struct Write<A> {
    records: Vec<Record>,
    /// How many of them are replayed.
    replayed: usize,
    bytes: usize,
    kind: Kind,
    after: Vec<A>,
    done: Option<oneshot::Sender<()>>,
    /// Becomes `true` when it is replayed, for those who decided nothing and wait for what was decided before. They
    /// have no place in the queue, however many they are.
    passed: Option<watch::Sender<bool>>,
    /// What it holds of the memory for writes that wait.
    _charge: Waiting,
}

/// Bytes of records that wait to be written: counted for the shard and for all shards, until they are dropped.
#[derive(Clone, Debug)]
pub(super) struct WriteMemory {
    shard: Budget,
    all: Budget,
}

type Waiting = [Charge; 2];

impl WriteMemory {
    /// That of one shard of many.
    pub fn new(all: &Budget) -> Self {
        Self { shard: Budget::new(WRITES_WAITING_BYTES_MAX), all: all.clone() }
    }

    fn is_used_up(&self) -> bool {
        [&self.shard, &self.all].iter().any(|budget| budget.used() >= budget.limit())
    }

    /// Decided is decided: what is there is charged, and the next request is refused. A snapshot must keep nobody out while
    /// it is written: few pieces of it wait at a time.
    fn charge(&self, kind: Kind, bytes: usize) -> Waiting {
        let bytes = if kind == Kind::Decision { bytes as u64 } else { 0 };
        [self.shard.force_charge(bytes), self.all.force_charge(bytes)]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Decision,
    SnapshotBegin,
    SnapshotPiece,
    SnapshotEnd,
}

impl<A> Write<A> {
    fn new(kind: Kind, records: Vec<Record>, memory: &WriteMemory) -> Self {
        let bytes = records.iter().map(Record::bytes).sum();
        let charge = memory.charge(kind, bytes);
        Self { records, replayed: 0, bytes, kind, after: Vec::new(), done: None, passed: None, _charge: charge }
    }

    /// Those that are not replayed.
    pub fn records(&self) -> &[Record] {
        self.records.get(self.replayed..).unwrap_or_default()
    }
}

/// A write that is replayed whole, and the snapshot that it ends.
type Replayed<M> = (Write<<M as Machine>::After>, Option<OffsetRange>);

/// A batch for the writer to append.
pub(super) struct Batch {
    pub bytes: Result<Bytes, records::RecordsError>,
    pub writes: usize,
}

/// A durable batch that is being replayed.
struct Applying {
    /// Where its first write stands that is not replayed whole.
    at: Offset,
    /// How many such writes are left.
    writes: usize,
    /// What follows from those that are.
    outcome: Applied,
    done: Vec<oneshot::Sender<()>>,
    passed: Vec<watch::Sender<bool>>,
}

/// What the shard wants done after a batch was replayed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Applied {
    Fine,
    /// A snapshot is complete: the log may start where it does.
    Trim(OffsetRange),
    /// The records could not be replayed, or are not where they should be.
    Broken(String),
}

impl<M: Machine> Shard<M> {
    pub(super) fn new(
        index: i32,
        id: LogId,
        log: Arc<dyn Log>,
        turn: Turn,
        clock: Clock,
        timer: Arc<Notify>,
        memory: WriteMemory,
    ) -> Arc<Self> {
        Arc::new(Self {
            index,
            id,
            log,
            turn,
            clock,
            state: Mutex::new(State::Loading),
            memory,
            more: Notify::new(),
            deadline_ms: AtomicU64::new(NEVER),
            timer,
            settled: watch::Sender::new(false),
        })
    }

    /// The shard's number: the partition of the internal topic.
    pub fn index(&self) -> i32 {
        self.index
    }

    /// Whether it is loaded and was not discarded.
    pub fn is_active(&self) -> bool {
        matches!(*self.lock(), State::Active(_))
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(*self.lock(), State::Closed)
    }

    /// Waits until it is loaded or never will be.
    pub async fn settled(&self) {
        // The sender lives in `self`.
        let _ = self.settled.subscribe().wait_for(|settled| *settled).await;
    }

    /// Does what is due.
    pub(super) fn tick(self: &Arc<Self>) {
        // A shard that is loading or gone has nothing due.
        let _ = self.decide(|machine, out| machine.tick(out), Purpose::Tick);
    }

    pub(super) fn deadline_ms(&self) -> u64 {
        self.deadline_ms.load(Ordering::Acquire)
    }

    /// Starts the writer if something waits, and tells the timer task what is due.
    fn after_change(self: &Arc<Self>, active: &mut Active<M>) {
        if active.sent < active.writes.len() {
            if active.writing {
                self.more.notify_one();
            } else {
                active.writing = true;
                base::task::spawn_vital("coordinator-writer", writer::run(self.clone()));
            }
        }
        let due = active.machine.next_deadline_ms().unwrap_or(NEVER);
        if due < self.deadline_ms.swap(due, Ordering::AcqRel) {
            self.timer.notify_one();
        }
    }

    fn batch_bytes_max(&self) -> usize {
        self.log.batch_bytes_max().saturating_sub(BATCH_OVERHEAD_BYTES)
    }

    /// The machine is loaded.
    pub(super) fn activate(self: &Arc<Self>, mut machine: M, loaded: &Loaded) {
        let mut state = self.lock();
        if !matches!(*state, State::Loading) {
            return;
        }
        let max = self.batch_bytes_max();
        let mut out = Output::new(moment(&self.clock), max, None);
        machine.loaded(&mut out);
        let Output { records, after, .. } = out;
        machine.queued(&records);
        let mut active = Box::new(Active {
            machine,
            writes: VecDeque::new(),
            sent: 0,
            writing: false,
            replayed: loaded.end,
            since_snapshot: loaded.records_since_snapshot,
            memory: self.memory.clone(),
            snapshot: None,
        });
        if !records.is_empty() {
            active.queue(records, after, None, max);
        }
        active.maybe_snapshot();
        self.after_change(&mut active);
        *state = State::Active(active);
        drop(state);
        self.settled.send_replace(true);
    }

    /// Discards the machine with everything that waits in it.
    pub(super) fn close(&self) {
        let before = std::mem::replace(&mut *self.lock(), State::Closed);
        self.closed();
        // Outside the lock: dropping it answers everybody who waits.
        drop(before);
    }

    /// It was closed: nothing is due, nobody waits for it to be loaded, and its writer has nothing to wait for.
    fn closed(&self) {
        self.deadline_ms.store(NEVER, Ordering::Release);
        self.settled.send_replace(true);
        self.more.notify_one();
    }

    /// The next batch to append: as many waiting writes as fit.
    pub(super) fn take_batch(&self) -> Option<Batch> {
        let mut state = self.lock();
        let State::Active(active) = &mut *state else { return None };
        let max = BATCH_BYTES_MAX.min(self.batch_bytes_max());
        active.go_on_with_snapshot(max);
        let (mut writes, mut bytes) = (0, 0);
        for write in active.writes.iter().skip(active.sent) {
            // A snapshot begins a batch, so that the log can be cut there.
            let apart = write.kind == Kind::SnapshotBegin || bytes + write.bytes > max;
            if writes > 0 && apart {
                break;
            }
            writes += 1;
            bytes += write.bytes;
        }
        if writes == 0 {
            return None;
        }
        let taken = active.writes.iter().skip(active.sent).take(writes);
        let bytes = super::record::batch(taken.flat_map(|write| &write.records), self.clock.now());
        active.sent += writes;
        Some(Batch { bytes, writes })
    }

    /// Whether the writer may go: nothing waits and nothing is on its way.
    pub(super) fn rest(&self) -> bool {
        match &mut *self.lock() {
            State::Active(active) if active.sent < active.writes.len() => false,
            State::Active(active) => {
                active.writing = false;
                true
            }
            State::Loading | State::Closed => true,
        }
    }

    /// The log does not take the newest batch, of so many writes. Gives a snapshot up if it is nothing else: the log stays as
    /// long as it is, and the shard goes on. Whether it did.
    pub(super) fn give_up_snapshot(&self, writes: usize, why: &dyn Display) -> bool {
        let mut state = self.lock();
        let State::Active(active) = &mut *state else { return false };
        let given_up = active.give_up_snapshot(writes);
        if given_up {
            tracing::error!(shard = self.index, %why, "no snapshot: the log does not take it, and grows");
        }
        given_up
    }

    /// A batch is durable: replays it. It may be as large as a whole decision; others may use the shard after as much of it
    /// as is in most batches.
    pub(super) async fn applied(self: &Arc<Self>, writes: usize, base: Offset) -> Applied {
        let mut batch = Applying { at: base, writes, outcome: Applied::Fine, done: Vec::new(), passed: Vec::new() };
        loop {
            self.apply_some(&mut batch);
            if batch.writes == 0 {
                break;
            }
            tokio::task::yield_now().await;
        }
        // A requester that went away does not undo what stands.
        for done in batch.done {
            let _ = done.send(());
        }
        for passed in batch.passed {
            passed.send_replace(true);
        }
        batch.outcome
    }

    /// Goes on with a batch.
    fn apply_some(self: &Arc<Self>, batch: &mut Applying) {
        let mut state = self.lock();
        let State::Active(active) = &mut *state else {
            batch.writes = 0;
            return;
        };
        let broken = |batch: &mut Applying, why: String| {
            batch.outcome = Applied::Broken(why);
            batch.writes = 0;
        };
        let active = &mut **active;
        if batch.at != active.replayed {
            return broken(
                batch,
                format!("somebody else wrote into the log: {} follows {}", batch.at, active.replayed),
            );
        }
        batch.writes = batch.writes.min(active.sent);
        let (max, mut room) = (self.batch_bytes_max(), BATCH_BYTES_MAX);
        while batch.writes > 0 {
            let write = match active.apply(&mut room) {
                Ok(Some((write, snapshot))) => {
                    if let Some(snapshot) = snapshot {
                        batch.outcome = Applied::Trim(snapshot);
                    }
                    write
                }
                Ok(None) => break,
                Err(error) => return broken(batch, error.to_string()),
            };
            (batch.at, batch.writes) = (active.replayed, batch.writes - 1);
            if !write.after.is_empty() {
                let mut out = Output::new(moment(&self.clock), max, Some(&active.writes));
                write.after.into_iter().for_each(|after| active.machine.durable(after, &mut out));
                let Output { records, after, .. } = out;
                active.machine.queued(&records);
                if !records.is_empty() {
                    active.queue(records, after, None, max);
                }
            }
            batch.done.extend(write.done);
            batch.passed.extend(write.passed);
        }
        active.maybe_snapshot();
        self.after_change(active);
    }
}

impl<M: Machine> Active<M> {
    /// Whether requests are refused because too much waits.
    fn is_full(&self) -> bool {
        self.writes.len() >= WRITES_WAITING_MAX || self.memory.is_used_up()
    }

    /// Queues a decision of some records, in pieces that fit a batch each; the last one carries what follows from it.
    fn queue(&mut self, records: Vec<Record>, after: Vec<M::After>, done: Option<oneshot::Sender<()>>, max: usize) {
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.queued(&records);
        }
        debug_assert!(!records.is_empty(), "nothing is decided: {after:?}");
        let all: usize = records.iter().map(Record::bytes).sum();
        let is_whole = all <= max.min(WHOLE_DECISION_BYTES_MAX);
        let max = if is_whole { all } else { max.min(BATCH_BYTES_MAX) };
        let mut piece = Vec::new();
        let mut bytes = 0;
        for record in records {
            if bytes + record.bytes() > max && !piece.is_empty() {
                self.writes.push_back(Write::new(Kind::Decision, std::mem::take(&mut piece), &self.memory));
                bytes = 0;
            }
            bytes += record.bytes();
            piece.push(record);
        }
        self.writes.push_back(Write { after, done, ..Write::new(Kind::Decision, piece, &self.memory) });
    }

    /// Tells when all that is decided is durable; `None` if it is. What a snapshot writes was decided before.
    fn passed(&mut self) -> Option<watch::Receiver<bool>> {
        let last = self.writes.iter_mut().rfind(|write| write.kind == Kind::Decision)?;
        Some(last.passed.get_or_insert_with(|| watch::Sender::new(false)).subscribe())
    }

    /// Replays the oldest write and takes it out, with the snapshot that it ends, if it ends one; `None` if there is no
    /// room for all of it.
    fn apply(&mut self, room: &mut usize) -> Result<Option<Replayed<M>>, super::ReplayError> {
        let base = self.replayed;
        let Some(write) = self.writes.front_mut() else { return Ok(None) };
        // What a snapshot says is replayed already.
        while write.kind == Kind::Decision
            && let Some(record) = write.records.get(write.replayed)
        {
            if *room == 0 {
                return Ok(None);
            }
            *room = room.saturating_sub(record.bytes());
            self.machine.replay(record)?;
            self.machine.unqueued(record);
            if let Some(snapshot) = &mut self.snapshot {
                snapshot.replayed(record);
            }
            write.replayed += 1;
        }
        let Some(write) = self.writes.pop_front() else { return Ok(None) };
        self.sent -= 1;
        self.replayed = base + write.records.len() as u64;
        match (write.kind, &mut self.snapshot) {
            (Kind::Decision, _) => self.since_snapshot += write.records.len() as u64,
            (Kind::SnapshotBegin, Some(snapshot)) => snapshot.begun(base),
            (Kind::SnapshotPiece, Some(snapshot)) => snapshot.piece_replayed(),
            (Kind::SnapshotEnd, snapshot) => {
                let begin = snapshot.take().and_then(|snapshot| snapshot.start());
                return Ok(Some((write, begin.map(|begin| OffsetRange::new(begin, self.replayed)))));
            }
            // Given up meanwhile.
            (Kind::SnapshotBegin | Kind::SnapshotPiece, None) => {}
        }
        Ok(Some((write, None)))
    }

    /// Begins a snapshot if one is worth it.
    fn maybe_snapshot(&mut self) {
        let records = self.machine.snapshot_records();
        let worth = SNAPSHOT_RECORDS_MIN.max(records.saturating_mul(SNAPSHOT_RECORDS_FACTOR));
        if self.snapshot.is_some() || self.since_snapshot < worth {
            return;
        }
        self.since_snapshot = 0;
        let (snapshot, begin) = Snapshot::begin(self.replayed, records);
        self.snapshot = Some(snapshot);
        self.writes.push_back(Write::new(Kind::SnapshotBegin, vec![begin], &self.memory));
    }

    /// Takes a snapshot out of the queue if the newest batch, of so many writes, is nothing else.
    fn give_up_snapshot(&mut self, writes: usize) -> bool {
        let Some(before) = self.sent.checked_sub(writes) else { return false };
        if self.writes.range(before..self.sent).any(|write| write.kind == Kind::Decision) {
            return false;
        }
        self.sent = before;
        let mut at = 0..;
        self.writes.retain(|write| at.next().is_some_and(|at| at < before) || write.kind == Kind::Decision);
        // What is on its way repeats what stands before it, and begins nothing.
        for write in self.writes.range_mut(..before).filter(|write| write.kind == Kind::SnapshotBegin) {
            write.kind = Kind::SnapshotPiece;
        }
        self.snapshot = None;
        true
    }

    /// Queues the next piece of the snapshot that is under way, unless enough of it waits.
    fn go_on_with_snapshot(&mut self, max: usize) {
        let Some(snapshot) = &mut self.snapshot else { return };
        match snapshot.next(&self.machine, max) {
            Ok(Some(Piece { records, end })) => {
                if !records.is_empty() {
                    self.writes.push_back(Write::new(Kind::SnapshotPiece, records, &self.memory));
                }
                if let Some(end) = end {
                    self.writes.push_back(Write::new(Kind::SnapshotEnd, vec![end], &self.memory));
                }
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(%error, "no snapshot: the coordinator's state cannot be written again; its log grows");
                self.snapshot = None;
            }
        }
    }
}
