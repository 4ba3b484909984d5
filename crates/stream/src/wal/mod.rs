//! The write-ahead log of a broker: where an append becomes durable.
//!
//! One log per broker, all streams interleaved, group commit. Every broker epoch writes a fresh **incarnation** that is
//! never reopened for append; its files go only after metadata says `RECOVERED` or `ABANDONED`. This module is the
//! **block log**: fixed-size segments in a directory or on a raw device.
//!
//! ```text
//!            append()            one write, synced            fence page read, begun afterwards
//! engine ──► queue ──► writer thread ──► segment ──► completer thread ──► DurableSink::durable
//!                          ▲
//!                          └── ready segments ◄── preparer thread ◄── trim()
//! ```
//!
//! | Module | Holds |
//! |---|---|
//! | [`layout`] | every byte: header, trim, fence and segment pages, records |
//! | [`volume`] | the port to storage: where segments and headers live ([`directory`], [`device`]) |
//! | [`log`] | [`BlockLog`]: the incarnations of one directory or device |
//! | [`replay`] | reading an incarnation back; torn tail or corruption |
//! | [`writer`] | [`Wal`]: the three threads that append |
//!
//! Invariants, with the model of `models/blocklog.py` that shows each load-bearing:
//!
//! - Nothing is acknowledged before its synced write returned *and* a fence-page read that began afterwards found the
//!   page unfenced (I-1; "header re-read", "read before the record's write").
//! - The fence page belongs to one incarnation; takers write it, the owner only reads it, and anything but the exact
//!   unfenced page (torn, other bytes, a failed read) means fenced ("a torn fence page is ignored", "one epoch page").
//! - Takers fence, then scan ("taker scans before it fences").
//! - The first failed write or sync ends the log: no acknowledgement follows and nothing is tried again (I-8).
//! - A full disk is met where segments are prepared: the writer waits, nobody fails.

pub mod device;
pub mod directory;
mod file;
pub mod layout;
pub mod log;
pub mod replay;
pub mod volume;
pub mod writer;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use base::{Incarnation, Offset, StreamEpoch, StreamId, TimestampMs, WalPosition};
use thiserror::Error;

pub use crate::Fragments;
pub use layout::FenceState;
pub use log::{Access, BlockLog, BlockLogOptions, Claim, IncarnationSummary, Transfer};
pub use replay::{DamageReason, ReplayEnd, ReplayedRecord};
pub use writer::{Wal, WalStatus};

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
    /// The bytes, in the slices they arrived in. At most [`Wal::max_record_bytes`].
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

/// Who is told that appends are durable. Called on the completer thread only, so calls never overlap.
pub trait DurableSink<T>: Send + 'static {
    /// A group is durable and the log was seen unfenced afterwards: it may be acknowledged. Groups come in WAL order.
    fn durable(&mut self, group: Group<T>);

    /// The log is dead: no `durable` follows, and the tokens still inside are dropped. Called at most once, last.
    fn failed(&mut self, error: WalFailure);

    /// The writer waits, or (`None`) goes on. While it waits no group becomes durable; for [`WriterWait::Trim`] the
    /// cure is to upload, commit and [`Wal::trim`].
    fn waiting(&mut self, wait: Option<WriterWait>) {
        let _ = wait;
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
    /// A thread of the log panicked, or ended although nobody had told it to: a bug.
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

/// The most a group holds, unless a single record is larger: enough to amortise a sync, small enough to keep latency.
pub const GROUP_BYTES_MAX: usize = 4 << 20;
/// How long the writer is idle before it seals its last group, by default.
pub const SEAL_AFTER: Duration = Duration::from_secs(1);
/// How long the preparer waits before it tries a full disk again.
pub const SPACE_RETRY_INTERVAL: Duration = Duration::from_millis(250);
