//! One runtime for state machines that a partition replicates.
//!
//! ```text
//!  request ─► Shard::write ─[ lock: Machine decides, records join the queue ]─► … ─► answer
//!                                        │                                        ▲
//!                               writer: one batch of waiting writes               │
//!                                        │ append                                 │
//!                                        ▼                                        │
//!                                    partition ──── durable ──► [ lock: replay, then `Machine::durable` ]
//! ```
//!
//! A [`Machine`] has two kinds of state. *Replicated* state is what its records say; it changes in [`Machine::replay`] and
//! nowhere else. *Soft* state (who waits, timers, members between two generations) changes as requests are decided, so it
//! may run ahead of the log; it needs no way back, because a failed append discards the machine as a whole.
//!
//! Order: requests are decided under the shard's lock, and their records enter the queue under the same lock; one writer
//! appends the queue in order. So the order of the log is the order of decisions. The lock is never held over an await.
//! The writer is a task that lives while there is something to write; a shard at rest has none.
//!
//! Answers: what is decided follows from earlier decisions, durable or not. So a request that decides nothing waits for the
//! last of them, as in Kafka's `CoordinatorRuntime`; and what no records of its own vouch for is told only after a look at
//! the log's fence. A request that only looks waits only if what it sees follows from what is not durable: a log that
//! does not move holds up nobody else.
//!
//! # Snapshots
//!
//! The internal topics are compacted in Kafka; log compaction does not exist here yet, and a log of every commit ever made
//! would take for ever to load. So a shard now and then writes its whole live state again, as **ordinary records** between
//! two marker records ([`marker`]) whose type Kafka's tools pass over, and then moves the log start up to the first marker.
//! Loading is always the same: replay everything from the log start.
//!
//! *What is in it.* State is "the newest value of each key", the same meaning that log compaction gives the topic. The
//! first marker joins the queue as a decision does. Once it is replayed, so is everything before it, and the machine's
//! replicated state is given out key by key, in small pieces, one whenever the writer has sent the last but one: the shard's
//! lock is held for a moment each. Decisions go on meanwhile and stand between the pieces. A key of which something newer is
//! in the queue is passed over: that stands behind the first marker, as does every key that a piece came too early for, and
//! a piece must not follow it with what was before. See [`snapshot`].
//!
//! *A crash in between.* A snapshot without its end marker repeats values that stand before it in the log; replaying it
//! changes nothing, and the log start has not moved. A snapshot with its end marker and without the trim: the log is longer
//! than it must be, and the next load or snapshot trims it. The log start moves only when the whole snapshot is in objects:
//! what is trimmed was in the store, and a write-ahead log that is damaged or given up takes only what was not. The metadata
//! refuses a trim before that ([`stream::catalogue::StateBelow::ToldUpTo`]), as it refuses that of a former leader by its
//! stale epoch. A log that starts with a snapshot without an end has lost records and is not loaded.
//! A snapshot with a batch that the log does not take (of a record that was stored when it took more) is given up: the log
//! grows until the next one.
//!
//! *When.* After `max(10,000, 2 × records of the state)` records since the last one: at most every third record written is
//! a snapshot's, and a load reads at most about four times the state.

mod load;
mod log;
pub mod marker;
mod record;
mod shard;
mod shards;
mod snapshot;
mod writer;

#[cfg(test)]
pub(crate) mod memory;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::ops::ControlFlow;

use base::TimestampMs;
use bytes::Bytes;
use thiserror::Error;
use wire::EncodeError;

pub use log::{Log, LogError, LogId, OpenLog, PartitionLog};
pub use record::Record;
pub use shard::{Looks, Seen, Shard, ShardError};
pub use shards::Shards;

/// One moment on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since an arbitrary start; never goes back. For timeouts.
    pub monotonic_ms: u64,
    /// The time of day. For what is stored.
    pub wall: TimestampMs,
}

/// A record that a machine cannot take in.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReplayError {
    /// Of a known kind in a version that this release does not know.
    #[error("a record of {kind} was written by a newer release ({why}): upgrade this broker")]
    Newer {
        /// The kind of record.
        kind: &'static str,
        /// What the codec said.
        why: String,
    },
    /// Not what its key says.
    #[error("a record of {kind} is malformed: {why}")]
    Malformed {
        /// The kind of record.
        kind: &'static str,
        /// What the codec said.
        why: String,
    },
}

/// What a decision yields besides its result.
#[derive(Debug)]
pub struct Output<'a, A> {
    /// When it is made.
    pub now: Moment,
    /// The largest record, key and value together, that the log takes.
    pub record_bytes_max: usize,
    /// To be appended, in this order, and replayed once durable.
    pub records: Vec<Record>,
    /// To be done once all of `records` are replayed, of which there are some then.
    pub after: Vec<A>,
    pending: Option<&'a VecDeque<shard::Write<A>>>,
}

impl<'a, A> Output<'a, A> {
    fn new(now: Moment, record_bytes_max: usize, pending: Option<&'a VecDeque<shard::Write<A>>>) -> Self {
        Self { now, record_bytes_max, records: Vec::new(), after: Vec::new(), pending }
    }

    /// For machines that are tested without a shard: nothing is pending.
    #[cfg(test)]
    pub fn detached(now: Moment) -> Self {
        Self::new(now, usize::MAX, None)
    }

    /// Records that are not replayed yet, oldest first: those of earlier decisions, then this one's so far.
    pub fn pending(&self) -> impl Iterator<Item = &Record> {
        self.pending.into_iter().flatten().flat_map(|write| write.records()).chain(&self.records)
    }
}

/// A state machine that the runtime replicates.
pub trait Machine: Send + 'static {
    /// What is left to do when a decision's records are durable.
    type After: Send + std::fmt::Debug;

    /// Takes in a durable record. Records of unknown kinds are carried: a snapshot has them.
    ///
    /// # Errors
    /// [`ReplayError`].
    fn replay(&mut self, record: &Record) -> Result<(), ReplayError>;

    /// A decision's records join the queue, or none do: called after each decision.
    fn queued(&mut self, _records: &[Record]) {}

    /// A record that joined the queue has left it: it is replayed.
    fn unqueued(&mut self, _record: &Record) {}

    /// The log is replayed up to its end: builds soft state from replicated state.
    fn loaded(&mut self, out: &mut Output<'_, Self::After>);

    /// The records of a decision are replayed.
    fn durable(&mut self, after: Self::After, out: &mut Output<'_, Self::After>);

    /// Does what is due at `out.now`.
    fn tick(&mut self, out: &mut Output<'_, Self::After>);

    /// When [`Machine::tick`] is next due, on the monotonic clock.
    fn next_deadline_ms(&self) -> Option<u64>;

    /// How many records [`Machine::snapshot`] gives in all.
    fn snapshot_records(&self) -> u64;

    /// Gives the replicated state as records, one for each key, those of unknown kinds included: the log before is trimmed.
    /// They come in an order of the machine's own that does not change, from behind the record whose key is `after`, which
    /// may be gone by now, until `each` has enough.
    ///
    /// # Errors
    /// [`EncodeError`] when the state cannot be given whole; there is no snapshot then.
    fn snapshot(
        &self,
        after: Option<&Bytes>,
        each: &mut dyn FnMut(Record) -> ControlFlow<()>,
    ) -> Result<(), EncodeError>;
}
