//! Checkpoints: which cut takes one of which stream.
//!
//! A checkpoint of a large state costs much more than the records that changed it, and whoever opens the stream replays
//! what came after the newest one. So one is due when as much has gathered as makes it worth its bytes: every
//! [`EngineOptions::checkpoint_bytes`] of the stream, or [`STATE_SHARE`] times the state where that is more; at the latest
//! after [`EngineOptions::checkpoint_cuts`] cuts, because what lies in many objects is slow to read; when a trim wants it
//! ([`super::Stream::trim`]), because nothing else tells what the trimmed records made (that cut takes this stream and no
//! other); and when the log start lies past the newest all the same. Cuts spend no more than
//! [`EngineOptions::checkpoint_cut_bytes`] on them (one more may go beyond): the rest takes its turn with the next cuts,
//! whether their streams have data by then or not.
//!
//! A state is *frozen* by the uploader under its owner's lock, which must cost next to nothing, and encoded later, on a
//! thread where nobody waits for an acknowledgement.

use base::Offset;
use bytes::Bytes;

use super::EngineOptions;
use crate::catalogue::StreamState;

/// A checkpoint is written for at least so many times its own bytes.
const STATE_SHARE: u64 = 8;

/// State that can be frozen as of an exact offset (Kafka's producer state, for one).
pub trait CheckpointSource: Send + Sync {
    /// Calls `end` under the lock under which appends are made, and freezes the state after every append below the
    /// answered offset and none at or above it: the stream's durable end at that moment. Appends in flight lie above it.
    ///
    /// Must be quick, whatever the size of the state: appends wait meanwhile. `None`: the state is not known now.
    fn freeze(&self, end: &mut dyn FnMut() -> Offset) -> Option<Box<dyn FrozenState>>;
}

/// A state that changes no more.
pub trait FrozenState: Send {
    /// About how many bytes it will be.
    fn bytes(&self) -> u64;

    /// Its bytes. Called on a thread for blocking work.
    fn encode(self: Box<Self>) -> Bytes;
}

/// What a stream has put into objects since the newest checkpoint that a cut took.
#[derive(Debug)]
pub(super) struct Uncovered {
    /// Where that checkpoint stands.
    checkpoint: Offset,
    bytes: u64,
    cuts: u32,
    /// Size of that checkpoint.
    state_bytes: u64,
    /// A trim waits for one.
    wanted: bool,
}

impl Uncovered {
    /// Of a stream as the catalogue has it. What other owners left uncovered counts, or it would grow from one to the next.
    pub fn of(state: &StreamState, options: &EngineOptions) -> Self {
        let checkpoint = state.covered();
        let mut uncovered = Self { checkpoint, bytes: 0, cuts: 0, state_bytes: 0, wanted: false };
        // No more need to be looked at: then one is due.
        for extent in state.extents_from(checkpoint).take(options.checkpoint_cuts as usize) {
            uncovered.add(extent.bytes);
        }
        uncovered
    }

    /// Whether a checkpoint is due at a cut that takes `bytes` more; the greater the more urgent.
    pub fn overdue(&self, bytes: u64, log_start: Offset, options: &EngineOptions) -> Option<u32> {
        let (bytes, cuts) = (self.bytes.saturating_add(bytes), self.cuts.saturating_add(1));
        let is_due = bytes >= options.checkpoint_bytes.max(self.state_bytes.saturating_mul(STATE_SHARE))
            || cuts >= options.checkpoint_cuts
            || self.wanted
            || self.is_trimmed(log_start);
        is_due.then_some(cuts)
    }

    /// Whether a log that begins at `log_start` has lost what the newest checkpoint does not tell.
    pub fn is_trimmed(&self, log_start: Offset) -> bool {
        log_start > self.checkpoint
    }

    /// One is due, whatever has gathered.
    pub fn want(&mut self) {
        self.wanted = true;
    }

    /// A cut took `bytes` without a checkpoint.
    pub fn add(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.cuts = self.cuts.saturating_add(1);
    }

    /// A cut took a checkpoint.
    pub fn covered(&mut self, end: Offset, state_bytes: u64) {
        *self = Self { checkpoint: end, bytes: 0, cuts: 0, state_bytes, wanted: false };
    }
}
