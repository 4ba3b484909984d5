//! The log cache: the budget of everything that was appended, and the generations that may leave it.
//!
//! A generation is what one cut took. Once committed it stays for tail readers until its room is needed. Nothing here
//! keeps a deleted stream, and what leaves is freed without a lock that an acknowledgement waits for.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use base::Offset;
use base::memory::{Budget, Charge};
use parking_lot::Mutex;

use super::cut::CutStream;
use super::room::Room;
use super::stream::Shared;

/// Share of the log cache, in percent, that committed entries may keep for tail readers.
const KEEP_PERCENT: u64 = 60;

pub(crate) struct LogCache {
    budget: Budget,
    /// Bytes that appends wait for.
    wanted: AtomicU64,
    /// Cuts that are committed and still cached, oldest first.
    evictable: Mutex<VecDeque<Generation>>,
}

/// Up to where each stream may leave.
type Generation = Vec<(Weak<Shared>, Offset)>;

impl LogCache {
    pub fn new(limit: u64) -> Self {
        Self { budget: Budget::new(limit), wanted: AtomicU64::new(0), evictable: Mutex::default() }
    }

    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Memory that exists already, charged even past the limit.
    pub fn charge_existing(&self, bytes: u64) -> Charge {
        self.budget.force_charge(bytes)
    }

    /// Room that is there without waiting.
    pub fn try_room(&self, bytes: u64) -> Option<Room> {
        self.budget.try_charge(bytes).map(Room::new)
    }

    /// Whether somebody waits for room.
    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire) > 0
    }

    /// Somebody waits for room of `bytes` as long as the answer lives: commits make it.
    pub fn want(&self, bytes: u64) -> Wanted<'_> {
        self.wanted.fetch_add(bytes, Ordering::AcqRel);
        Wanted { cache: self, bytes }
    }

    /// What a committed cut took may leave from now on; leaves at once what there is no room to keep.
    pub fn committed(&self, streams: &[CutStream]) {
        let generation = streams.iter().map(|part| (Arc::downgrade(&part.stream), part.range.end)).collect();
        self.evictable.lock().push_back(generation);
        // Whoever waits for room needs it more than tail readers do.
        let limit = self.budget.limit();
        let keep = (limit / 100 * KEEP_PERCENT).min(limit.saturating_sub(self.wanted.load(Ordering::Acquire)));
        while self.budget.used() > keep && self.evict_one() {}
    }

    /// Drops the oldest committed generation; `false` when there is none.
    pub fn evict_one(&self) -> bool {
        let Some(generation) = self.evictable.lock().pop_front() else { return false };
        let mut piece = Vec::new();
        for (stream, end) in generation {
            if let Some(stream) = stream.upgrade() {
                stream.evict_below(end, &mut piece);
            }
        }
        true
    }
}

/// Room that somebody waits for, as long as it is waited for.
pub(crate) struct Wanted<'a> {
    cache: &'a LogCache,
    bytes: u64,
}

impl Wanted<'_> {
    /// Waits for the room.
    pub async fn room(self) -> Room {
        Room::new(self.cache.budget.charge(self.bytes).await)
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.cache.wanted.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}
