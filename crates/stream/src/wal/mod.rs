//! The write-ahead log of a broker: where an append becomes durable.
//!
//! One log per broker, all streams interleaved, group commit. Every broker epoch writes a fresh **incarnation** that is
//! never reopened for append; its files go only after metadata says `RECOVERED` or `ABANDONED`.
//!
//! | Module | Holds |
//! |---|---|
//! | [`port`] | what every kind of log does: [`Log`] and [`OwnLog`] for a place of logs, [`Wal`] for one that is written |
//! | [`replayed`] | what a replay shows, and how it ends |
//! | [`block`] | the block log: segments in a directory or on a raw device |
//!
//! Invariants of every kind:
//!
//! - Nothing is acknowledged before it is durable *and* a look at the fence that began afterwards found none (I-1).
//! - Acknowledgements come in the order of the appends, and so do the records of a replay (I-4).
//! - After the first failure of any sort nothing is acknowledged any more, and whoever waits is told (I-8).
//! - Nothing is removed before it was asked whose it is (I-5).

pub mod block;
pub mod port;
pub mod replayed;

use std::io;
use std::sync::Arc;

use base::{Incarnation, Offset, StreamEpoch, StreamId, TimestampMs, WalPosition};
use thiserror::Error;

pub use crate::Fragments;
pub use block::{BlockLog, BlockLogOptions, Transfer};
pub use port::{Access, Appender, Claim, Cuts, Ending, FenceState, IncarnationSummary, Log, OwnLog, Wal, WalStatus};
pub use replayed::{DamageReason, ReplayEnd, ReplayedRecord};

/// One entry for the log: a run of a stream's offsets and the bytes that hold them.
#[derive(Clone, Debug)]
pub struct Append {
    /// The stream it belongs to.
    pub stream: StreamId,
    /// The owner's epoch of that stream.
    pub epoch: StreamEpoch,
    /// First offset.
    pub base: Offset,
    /// First offset after.
    pub end: Offset,
    /// The newest timestamp inside, for time look-ups of whoever recovers it.
    pub max_timestamp: TimestampMs,
    /// The bytes, in the slices they arrived in. At most [`Appender::max_record_bytes`].
    pub payload: Fragments,
}

impl Append {
    /// Bytes of payload.
    pub fn payload_bytes(&self) -> usize {
        self.payload.iter().map(bytes::Bytes::len).sum()
    }
}

/// Appends that one synced write made durable.
#[derive(Debug)]
pub struct Group<T> {
    /// The appends in WAL order, each with the token it came with.
    pub tokens: Vec<(Append, T)>,
    /// Where the group begins.
    pub start: WalPosition,
    /// Where the next group may begin: commit and trim up to here once every append so far is safe elsewhere.
    pub end: WalPosition,
}

/// Who is told that appends are durable. Called by one thread or task of the log, so calls never overlap.
pub trait DurableSink<T>: Send + 'static {
    /// A group is durable and the log was seen unfenced afterwards: it may be acknowledged. Groups come in WAL order.
    fn durable(&mut self, group: Group<T>);

    /// The log is dead: no `durable` follows, and the tokens still inside are dropped. Called at most once, last.
    fn failed(&mut self, error: WalFailure);

    /// The writer waits, or (`None`) goes on. While it waits no group becomes durable; for [`WriterWait::Trim`] the
    /// cure is to upload, commit and [`Appender::trim`].
    fn waiting(&mut self, wait: Option<WriterWait>) {
        let _ = wait;
    }
}

impl<T> DurableSink<T> for Box<dyn DurableSink<T>>
where
    T: 'static,
{
    fn durable(&mut self, group: Group<T>) {
        (**self).durable(group);
    }

    fn failed(&mut self, error: WalFailure) {
        (**self).failed(error);
    }

    fn waiting(&mut self, wait: Option<WriterWait>) {
        (**self).waiting(wait);
    }
}

/// What the writer waits for. Back-pressure, not an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriterWait {
    /// The backlog has reached the log's capacity.
    Trim,
    /// The next segment is being prepared.
    Segment,
    /// The disk is full: preparing the next segment is tried again and again.
    Space,
}

/// Why a log died. It is fenced by its first error (I-8); the process should exit non-zero and recover as after a crash.
#[derive(Clone, Debug, Error)]
pub enum WalFailure {
    /// A taker fenced it.
    #[error("WAL incarnation {0} was fenced: another broker recovers it, this process must stop")]
    Fenced(Incarnation),
    /// The fence page could not be trusted, which counts as fenced.
    #[error("the fence page of WAL incarnation {incarnation} is unreadable ({reason}), which counts as fenced")]
    FenceUnreadable {
        /// Whose page.
        incarnation: Incarnation,
        /// What was wrong.
        reason: String,
    },
    /// A write or sync failed.
    #[error("WAL {what} failed: {error}; nothing is retried after a failed sync, restart the broker to recover")]
    Io {
        /// What was being done.
        what: String,
        /// The system's error.
        error: Arc<io::Error>,
    },
    /// An append without offsets, or to a stream that cannot be: a bug of whoever appends.
    #[error("an append to stream {stream} of offsets {base} to {end} is none; this is a bug")]
    BadAppend {
        /// Its stream.
        stream: StreamId,
        /// Its first offset.
        base: Offset,
        /// Its end.
        end: Offset,
    },
    /// An append larger than a segment can hold.
    #[error("an append of {bytes} bytes exceeds the {limit} bytes a WAL segment holds; raise the segment size")]
    RecordTooLarge {
        /// Its payload.
        bytes: usize,
        /// The most a record can hold.
        limit: usize,
    },
    /// A machine of the log panicked, or ended although nobody had told it to: a bug.
    #[error("the WAL's {0} thread ended unexpectedly (see the log for a panic); restart the broker to recover")]
    ThreadEnded(&'static str),
}

/// Why an operation on a log could not be done.
#[derive(Debug, Error)]
pub enum WalError {
    /// Storage refused.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, with the path.
        what: String,
        /// The system's error.
        source: io::Error,
    },
    /// A segment's page cannot be read, so that nobody knows whose it is. Nothing was written.
    #[error(
        "the page of segment {segment} of the WAL {path} cannot be read; it may be of this log, of another, or free: {source}"
    )]
    Unreadable {
        /// The directory or device.
        path: String,
        /// The segment's number there.
        segment: u64,
        /// The system's error.
        source: io::Error,
    },
    /// Another process owns the directory or device.
    #[error("the WAL {path} is in use by {owner}; stop it, or give this broker a WAL of its own")]
    InUse {
        /// The directory or device.
        path: String,
        /// The owner: "process 1234" where it is known.
        owner: String,
    },
    /// The operation needs more access than the log was opened with.
    #[error("the WAL {path} was opened for {access:?}, which does not allow to {operation}")]
    Access {
        /// The directory or device.
        path: String,
        /// How it was opened.
        access: Access,
        /// What was asked for.
        operation: &'static str,
    },
    /// No such incarnation here.
    #[error("WAL incarnation {incarnation} is not in {path}")]
    NotFound {
        /// Which.
        incarnation: Incarnation,
        /// Where it was looked for.
        path: String,
    },
    /// The incarnation exists already; every broker epoch needs a fresh one.
    #[error("WAL incarnation {incarnation} already exists in {path}")]
    Exists {
        /// Which.
        incarnation: Incarnation,
        /// Where.
        path: String,
    },
    /// Its owner goes on writing so fast that no two passes over the log said the same of its end.
    #[error("WAL incarnation {incarnation} is still being written: {passes} passes over it did not agree; try again")]
    Changing {
        /// Which.
        incarnation: Incarnation,
        /// How often it was read.
        passes: usize,
    },
    /// What was to be read has been committed and recycled by an owner that lives.
    #[error("WAL incarnation {incarnation} was trimmed to {to} while it was read from {at}")]
    Trimmed {
        /// Which.
        incarnation: Incarnation,
        /// Where the reading had come.
        at: WalPosition,
        /// Records below are committed.
        to: WalPosition,
    },
    /// The incarnation is another cluster's, or cannot say whose it is: nothing of it was removed.
    #[error("WAL incarnation {incarnation} in {path} {owner}, so it is not removed for cluster {expected}")]
    NotOwned {
        /// Which.
        incarnation: Incarnation,
        /// Where.
        path: String,
        /// What its header says: "is of cluster …", or why it says nothing.
        owner: String,
        /// The cluster it was to be removed for.
        expected: String,
    },
    /// Pages of the incarnation cannot be read as what they should be.
    #[error("WAL incarnation {incarnation} is damaged: {reason}")]
    Damaged {
        /// Which.
        incarnation: Incarnation,
        /// How.
        reason: String,
    },
    /// No room for the first segments.
    #[error("no room in {path} for a WAL segment of {bytes} bytes; free space or move the WAL")]
    NoSpace {
        /// Where.
        path: String,
        /// The segment size.
        bytes: u64,
    },
    /// The device holds something else.
    #[error("{path} is not a Headwater WAL and is not blank: {reason}; wipe its first MiB to use it")]
    Foreign {
        /// The device.
        path: String,
        /// What was found.
        reason: String,
    },
    /// An option that cannot work.
    #[error("WAL option {option}: {reason}")]
    Option {
        /// Which.
        option: &'static str,
        /// Why not.
        reason: String,
    },
}

impl WalError {
    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }
}
