//! The block log: a write-ahead log in fixed-size segments, in a directory or on a raw device.
//!
//! ```text
//!            append()            one write, synced            fence page read, begun afterwards
//! engine ──► queue ──► writer ──► segment ──► completer ──► DurableSink::durable
//!                        ▲
//!                        └── ready segments ◄── preparer ◄── trim()
//! ```
//!
//! | Module | Holds |
//! |---|---|
//! | [`layout`] | every byte: header, trim, fence and segment pages, records |
//! | [`volume`] | the port to storage: where segments and headers live ([`directory`], [`device`]) |
//! | [`log`] | [`BlockLog`]: the incarnations of one directory or device |
//! | [`replay`] | reading an incarnation back; torn tail or corruption |
//! | [`writer`] | [`BlockWal`](writer::BlockWal): the three machines that append |
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
pub mod layout;
pub mod log;
pub mod replay;
pub mod volume;
pub mod writer;

use std::ops::ControlFlow;
use std::time::Duration;

use base::{Incarnation, WalPosition};

use super::{Claim, DurableSink, IncarnationSummary, Log, OwnLog, ReplayEnd, ReplayedRecord, Wal, WalError};
pub use base::file::Transfer;
pub use log::{BlockLog, BlockLogOptions};
pub use writer::machine;

/// The most a group holds, unless a single record is larger: enough to amortise a sync, small enough to keep latency.
pub const GROUP_BYTES_MAX: usize = 4 << 20;
/// How long the writer is idle before it seals its last group, by default.
pub const SEAL_AFTER: Duration = Duration::from_secs(1);
/// How long the preparer waits before it tries a full disk again.
pub const SPACE_RETRY_INTERVAL: Duration = Duration::from_millis(250);

impl Log for BlockLog {
    fn incarnations(&self) -> Result<Vec<IncarnationSummary>, WalError> {
        self.incarnations()
    }

    fn fence(&self, incarnation: Incarnation) -> Result<(), WalError> {
        self.fence(incarnation)
    }

    fn replay(
        &self,
        incarnation: Incarnation,
        from: WalPosition,
        visit: &mut dyn FnMut(ReplayedRecord) -> ControlFlow<()>,
    ) -> Result<ReplayEnd, WalError> {
        self.replay(incarnation, from, visit)
    }

    fn holds_records(&self, incarnation: Incarnation) -> Result<bool, WalError> {
        self.holds_records(incarnation)
    }

    fn remove(&self, incarnation: Incarnation, claim: Claim<'_>) -> Result<usize, WalError> {
        self.remove(incarnation, claim)
    }
}

impl<T: Send + 'static> OwnLog<T> for BlockLog {
    fn create(
        &self,
        incarnation: Incarnation,
        cluster_id: &str,
        sink: Box<dyn DurableSink<T>>,
    ) -> Result<Wal<T>, WalError> {
        self.create(incarnation, cluster_id, sink)
    }
}
