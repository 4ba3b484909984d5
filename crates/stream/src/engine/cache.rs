//! The log cache: the budget of everything that was appended, and the generations that may leave it.
//!
//! A generation is what one cut took. Once committed it stays for tail readers until its room is needed. Nothing here
//! keeps a deleted stream. What leaves may be hundreds of thousands of entries: it is freed without a lock that an
//! acknowledgement waits for, and on no thread that serves, by one task that is rung ([`run`]). A generation names
//! only streams of which it has entries, and those that are deleted are passed over before they outnumber the others: what
//! is named here is bounded by what is cached.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use base::Offset;
use base::memory::{Budget, Charge};
use parking_lot::Mutex;

use super::Inner;
use super::bell::{Bell, Ringer, bell};
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
    evictable: Mutex<Evictable>,
    /// Rung when something may have to leave.
    evictor: Ringer,
}

/// Names of streams, in all generations, below which nobody looks for those that are deleted.
const LIVING_LOOKED_FOR_MIN: usize = 1024;

#[derive(Default)]
struct Evictable {
    generations: VecDeque<Generation>,
    /// Names of streams in all of them.
    names: usize,
    /// How many there were when the deleted ones went last.
    living: usize,
    /// Something was committed since the last eviction.
    has_grown: bool,
}

impl Evictable {
    fn push(&mut self, generation: Generation) {
        if generation.is_empty() {
            return;
        }
        self.names += generation.len();
        self.generations.push_back(generation);
        if self.names > LIVING_LOOKED_FOR_MIN.max(2 * self.living) {
            for generation in &mut self.generations {
                generation.retain(|(stream, _)| stream.upgrade().is_some_and(|stream| !stream.is_closed()));
            }
            self.generations.retain(|generation| !generation.is_empty());
            self.names = self.generations.iter().map(Vec::len).sum();
            self.living = self.names;
        }
    }

    fn pop(&mut self) -> Option<Generation> {
        let oldest = self.generations.pop_front()?;
        self.names -= oldest.len();
        Some(oldest)
    }
}

/// Up to where each stream may leave.
type Generation = Vec<(Weak<Shared>, Offset)>;

impl LogCache {
    /// A cache, and what its evictor listens to.
    pub fn new(limit: u64) -> (Self, Bell) {
        let (evictor, bell) = bell();
        let (wanted, evictable) = (AtomicU64::new(0), Mutex::default());
        (Self { budget: Budget::new(limit), wanted, evictable, evictor }, bell)
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

    /// Somebody waits for room of `bytes` as long as the answer lives: what is committed makes it.
    pub fn want(&self, bytes: u64) -> Wanted<'_> {
        self.wanted.fetch_add(bytes, Ordering::AcqRel);
        self.ring();
        Wanted { cache: self, bytes }
    }

    /// What a committed cut took may leave from now on.
    pub fn committed(&self, streams: &[CutStream]) {
        let cached = streams.iter().filter(|part| !part.range.is_empty() && !part.stream.is_closed());
        let generation = cached.map(|part| (Arc::downgrade(&part.stream), part.range.end)).collect();
        {
            let mut evictable = self.evictable.lock();
            evictable.push(generation);
            evictable.has_grown = true;
        }
        self.ring();
    }

    fn ring(&self) {
        // The evictor ends with the engine: nobody appends any more.
        let _ = self.evictor.ring();
    }

    /// Drops committed generations, the oldest first, until there is the room that somebody waits for and, after a commit,
    /// until they take no more than their share.
    fn evict(&self) {
        let limit = self.budget.limit();
        let has_grown = std::mem::take(&mut self.evictable.lock().has_grown);
        let share = if has_grown { limit / 100 * KEEP_PERCENT } else { limit };
        // Whoever waits for room needs it more than tail readers do.
        let keep = || share.min(limit.saturating_sub(self.wanted.load(Ordering::Acquire)));
        while self.budget.used() > keep() && self.evict_one() {}
    }

    /// Drops the oldest committed generation; `false` when there is none.
    fn evict_one(&self) -> bool {
        let Some(generation) = self.evictable.lock().pop() else { return false };
        for (stream, end) in generation {
            if let Some(stream) = stream.upgrade() {
                stream.evict_below(end);
            }
        }
        true
    }
}

/// Evicts whenever it is rung; ends with the engine.
pub(crate) async fn run(engine: Weak<Inner>, mut bell: Bell) {
    while bell.recv().await.is_some() {
        let Some(engine) = engine.upgrade() else { return };
        let evicting = engine.clone();
        if let Err(ended) = base::task::spawn_blocking("evict", move || evicting.cache.evict()).await {
            return engine.fail(ended.to_string());
        }
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

#[cfg(test)]
mod tests {
    use base::{BrokerId, Clock, OffsetRange};

    use super::super::{CatalogueClient, EngineOptions};
    use super::*;
    use crate::catalogue::local::LocalCatalogue;

    fn streams(count: usize) -> Vec<Arc<Shared>> {
        let catalogue = LocalCatalogue::new(Clock::system());
        let (me, _) = catalogue.register(BrokerId(1)).unwrap();
        let (id, view) = (catalogue.create_streams(1, me).unwrap()[0], catalogue.view());
        let open = || Arc::new(Shared::new(id, view.stream(id).unwrap(), &EngineOptions::default()));
        std::iter::repeat_with(open).take(count).collect()
    }

    fn cut(streams: &[Arc<Shared>], entries: u64) -> Vec<CutStream> {
        let range = OffsetRange::new(Offset(0), Offset(entries));
        streams.iter().map(|stream| CutStream { stream: stream.clone(), range, checkpoint: None }).collect()
    }

    #[test]
    fn what_is_remembered_of_cuts_is_bounded_by_what_they_left_in_the_cache() {
        let (cache, _bell) = LogCache::new(1 << 30);
        let kept = streams(10);
        for _ in 0..2_000 {
            // Cuts that took nothing but a checkpoint, and cuts of streams that are deleted then.
            cache.committed(&[]);
            cache.committed(&cut(&kept, 0));
            cache.committed(&cut(&streams(1), 1));
            let closed = streams(1);
            drop(closed[0].close());
            cache.committed(&cut(&closed, 1));
        }
        cache.committed(&cut(&kept, 1));
        let evictable = cache.evictable.lock();
        assert!(evictable.names <= LIVING_LOOKED_FOR_MIN, "{} names", evictable.names);
        assert_eq!(evictable.names, evictable.generations.iter().map(Vec::len).sum::<usize>());
        assert!(evictable.generations.iter().all(|generation| !generation.is_empty()));
        let newest = evictable.generations.back().unwrap();
        assert_eq!(newest.len(), kept.len(), "a living stream is not evicted any more");
    }
}
