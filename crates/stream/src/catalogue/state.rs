//! What the catalogue knows of a stream, an object, a WAL incarnation and a writer.
//!
//! Values only: they change in `replay.rs` and nowhere else.

use std::fmt;
use std::sync::Arc;

use base::{BrokerEpoch, Incarnation, ObjectId, Offset, OffsetRange, StreamEpoch, TimestampMs, WalPosition};

use super::extents::Extents;
use super::newest::Newest;

/// Whether a stream has an owner that may append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamStatus {
    /// Owned; commits at the present epoch are taken.
    Open,
    /// Closed by its owner; the next open starts a new epoch.
    Closed,
}

/// Where an epoch of a stream begins. It ends where the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochStart {
    /// The epoch.
    pub epoch: StreamEpoch,
    /// Its first offset.
    pub start: Offset,
}

/// A run of a stream's offsets that stands in one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The offsets taken from the object. The object may hold more of the stream; the rest is not part of the stream.
    pub range: OffsetRange,
    /// The epoch at which they were written.
    pub epoch: StreamEpoch,
    /// Where they stand.
    pub object: ObjectId,
    /// How new its records are, for time look-ups and time retention.
    pub newest: Newest,
    /// Stored bytes, for size retention.
    pub bytes: u64,
}

/// The newest checkpoint of a stream: a side block in `object` that describes everything below `offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The object that holds the side block.
    pub object: ObjectId,
    /// First offset that the checkpoint does not cover.
    pub offset: Offset,
}

/// A stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamState {
    /// The broker registration that owns it (or owned it last).
    pub owner: Incarnation,
    /// The present epoch; one owner each.
    pub epoch: StreamEpoch,
    /// Open or closed.
    pub status: StreamStatus,
    /// First offset that is not trimmed. May lie beyond `end`: records were trimmed before they were uploaded.
    pub start: Offset,
    /// Committed end: everything below is in objects (or trimmed). Moves by commits.
    pub end: Offset,
    pub(super) epochs: Vec<EpochStart>,
    pub(super) extents: Extents,
    /// The newest checkpoint.
    pub checkpoint: Option<Checkpoint>,
}

impl StreamState {
    pub(super) fn never_opened() -> Self {
        Self {
            owner: NOBODY,
            epoch: StreamEpoch(-1),
            status: StreamStatus::Closed,
            start: Offset(0),
            end: Offset(0),
            epochs: Vec::new(),
            extents: Extents::default(),
            checkpoint: None,
        }
    }

    /// Epochs that may still hold offsets of the stream, oldest first. Epochs without any offset are left out, except the
    /// present one.
    pub fn epochs(&self) -> &[EpochStart] {
        &self.epochs
    }

    /// The offsets of `epoch`: `None` if it never held any; the end is `None` for the present epoch, which still grows.
    /// Blocks of an epoch outside its range are not part of the stream.
    pub fn epoch_range(&self, epoch: StreamEpoch) -> Option<(Offset, Option<Offset>)> {
        let at = self.epochs.binary_search_by_key(&epoch, |e| e.epoch).ok()?;
        Some((self.epochs[at].start, self.epochs.get(at + 1).map(|next| next.start)))
    }

    /// Extents in offset order, from the one that holds `offset` or else the first after it.
    pub fn extents_from(&self, offset: Offset) -> impl Iterator<Item = &Extent> {
        self.extents.from(offset)
    }

    /// Every extent in offset order.
    pub fn extents(&self) -> impl DoubleEndedIterator<Item = &Extent> + Clone {
        self.extents.iter()
    }

    /// How many extents there are.
    pub fn extent_count(&self) -> usize {
        self.extents.len()
    }

    /// The newest checkpoint tells the state that the records below made.
    pub fn covered(&self) -> Offset {
        self.checkpoint.map_or(Offset(0), |checkpoint| checkpoint.offset)
    }

    /// Stored bytes of all extents.
    pub fn stored_bytes(&self) -> u64 {
        self.extents.iter().map(|e| e.bytes).sum()
    }
}

/// The owner of a stream that was never opened.
pub const NOBODY: Incarnation = Incarnation { broker: base::BrokerId(-1), epoch: BrokerEpoch(-1) };

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// Blocks of many streams, sorted by stream.
    StreamSet,
    /// Blocks of one stream.
    Stream,
    /// An object of an object log.
    Wal,
}

impl ObjectKind {
    /// The number in records.
    pub fn code(self) -> i8 {
        match self {
            Self::StreamSet => 0,
            Self::Stream => 1,
            Self::Wal => 2,
        }
    }

    /// From the number in records.
    pub fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(Self::StreamSet),
            1 => Some(Self::Stream),
            2 => Some(Self::Wal),
            _ => None,
        }
    }
}

/// A live object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectState {
    /// What it is.
    pub kind: ObjectKind,
    /// Its size in bytes.
    pub length: u64,
    /// CRC-32C of its index and footer, which hold the checksums of all the rest.
    pub crc: u32,
    /// Extents in it plus newest checkpoints in it; at zero the object is retired in the same batch.
    pub live: u32,
}

/// A retired object that waits for its deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingDeletion {
    /// When the retiring batch was made.
    pub retired_at: TimestampMs,
    /// Its size in bytes.
    pub length: u64,
}

/// Where a WAL stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalPlace {
    /// 0 block log, 1 object log.
    pub kind: i8,
    /// Directory, device or bucket, as the kind reads it; empty where it was given up and is gone.
    pub location: Arc<str>,
}

/// The life of a WAL incarnation: `Open → Fenced → Assigned → Recovered | Damaged | Abandoned`, and `Open → Recovered` by
/// an owner that drains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IncarnationPhase {
    /// Its owner appends to it.
    Open,
    /// The owner may no longer commit; the committed position is frozen.
    Fenced,
    /// This registration recovers it; only it may commit for it.
    Assigned(Incarnation),
    /// Everything acknowledged is committed; its files may go.
    Recovered {
        /// Where its last acknowledged record ends.
        final_position: WalPosition,
    },
    /// Corrupt in the middle; its streams stay offline until the operator decides.
    Damaged {
        /// What was found.
        reason: Arc<str>,
    },
    /// Given up by the operator.
    Abandoned,
}

impl IncarnationPhase {
    /// It holds, or may hold, acknowledged records that are not committed, and can be recovered.
    pub fn is_recoverable(&self) -> bool {
        matches!(self, Self::Open | Self::Fenced | Self::Assigned(_))
    }

    /// Nothing will ever be committed from it again.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Recovered { .. } | Self::Abandoned)
    }
}

impl fmt::Display for IncarnationPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("OPEN"),
            Self::Fenced => f.write_str("FENCED"),
            Self::Assigned(taker) => write!(f, "ASSIGNED to {taker}"),
            Self::Recovered { final_position } => write!(f, "RECOVERED at {final_position}"),
            Self::Damaged { reason } => write!(f, "DAMAGED ({reason})"),
            Self::Abandoned => f.write_str("ABANDONED"),
        }
    }
}

/// A WAL incarnation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncarnationState {
    /// Where it stands.
    pub wal: WalPlace,
    /// Where it is in its life.
    pub phase: IncarnationPhase,
    /// Everything below is in committed objects; replay begins here.
    pub committed: WalPosition,
}

impl IncarnationState {
    /// Whether it was given up and its files were removed: then it stands at no place. Only streams need it any more.
    pub fn is_nowhere(&self) -> bool {
        self.phase == IncarnationPhase::Abandoned && self.wal.location.is_empty()
    }
}

/// What the catalogue knows of a broker as a sender of commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterState {
    /// Its present registration; commits of any other are refused.
    pub epoch: BrokerEpoch,
    /// The sequence that its next commit bears; 0 for the first.
    pub next_commit: u64,
    /// Object sequences below are settled: a commit that names one is refused.
    pub upload_floor: u64,
    /// No commit is taken from it any more.
    pub fenced: bool,
}
