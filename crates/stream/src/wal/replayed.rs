//! What a replay shows, and how it ends.

use base::{Offset, StreamEpoch, StreamId, TimestampMs, WalPosition};
use bytes::Bytes;
use thiserror::Error;

/// A record read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayedRecord {
    /// The stream.
    pub stream: StreamId,
    /// The stream's epoch when it was appended.
    pub epoch: StreamEpoch,
    /// First offset.
    pub base: Offset,
    /// First offset after.
    pub end: Offset,
    /// Newest timestamp inside.
    pub max_timestamp: TimestampMs,
    /// The bytes, in one piece: a slice of the segment, which stays in memory as long as they do.
    pub payload: Bytes,
    /// Number of the record in its incarnation.
    pub sequence: u64,
    /// Where it lies.
    pub position: WalPosition,
    /// Where it ends: a position to replay from.
    pub next: WalPosition,
}

/// How a replay ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayEnd {
    /// Nothing follows the last record.
    Clean {
        /// The position after everything.
        end: WalPosition,
    },
    /// A write was under way when the owner died; none of it was acknowledged.
    TornTail {
        /// The position after everything whole.
        end: WalPosition,
        /// Where the torn bytes begin.
        at: WalPosition,
    },
    /// Something that was durable is missing or broken.
    Corrupt {
        /// Where.
        at: WalPosition,
        /// What.
        reason: DamageReason,
    },
    /// The visitor asked to stop.
    Stopped {
        /// The position after the record that it was shown last.
        end: WalPosition,
    },
}

/// What is wrong with an incarnation.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DamageReason {
    /// No header file or slot.
    #[error("its header is missing")]
    MissingHeader,
    /// The header is there, but not what it should be.
    #[error("{0}")]
    BadHeader(String),
    /// A segment that must exist does not, or its page cannot be recognised.
    #[error("segment {0} is missing or its first page is broken")]
    MissingSegment(u64),
    /// Records that were written later than the broken place survive.
    #[error("a record is broken, but record {sequence} at {position}, written after it was durable, is whole")]
    LaterRecord {
        /// Sequence of a survivor.
        sequence: u64,
        /// Its position.
        position: WalPosition,
    },
}
