//! The partitions of one fetch session, in the order in which they are served; and those of a request, each once.
//!
//! ```text
//! places   | t-0 | t-1 | u-0 |      no gaps: the last one fills the place of one that is removed
//! order      first ─► t-1 ─► u-0 ─► t-0 ◄─ last
//! index    hash of (topic, partition) ─► place
//! ```
//!
//! A session may hold half a million partitions: one takes some 80 bytes, and none once it is removed.

use std::hash::BuildHasher;

use base::collections::{HashTable, SeededState};

use super::session::{TopicRef, Want};

/// No place.
const NONE: u32 = u32::MAX;

/// Memory is given back when no more than one part in so many of it is used, ...
const USED_SHARE_MIN: usize = 4;

/// ... unless it is less than so many places.
const KEPT_PLACES: usize = 64;

/// The most partitions of a request that are compared with each other.
const FEW_WANTS: usize = 32;

/// Partitions of a request that are gone through before others may run.
pub(crate) const WANTS_AT_ONCE: usize = 1_000;

/// What a session knows of a partition.
#[derive(Debug)]
pub(crate) struct Cached {
    pub(crate) want: Want,
    /// What the client was last told; -1 before that.
    pub(crate) high_watermark: i64,
    pub(crate) log_start: i64,
}

impl Cached {
    fn is(&self, topic: &TopicRef, partition: i32) -> bool {
        self.want.partition == partition && self.want.topic == *topic
    }
}

#[derive(Debug)]
struct Place {
    cached: Cached,
    before: u32,
    after: u32,
}

/// The partitions.
#[derive(Debug)]
pub(crate) struct Line {
    places: Vec<Place>,
    index: HashTable<u32>,
    hashing: SeededState,
    first: u32,
    last: u32,
}

fn hash(hashing: &SeededState, topic: &TopicRef, partition: i32) -> u64 {
    hashing.hash_one((topic, partition))
}

/// Leaves each partition once: where it is named first, and as it is wanted last. There may be very many, so others may run
/// now and then.
pub(crate) async fn once_each(wants: &mut Vec<Want>) {
    if wants.len() <= FEW_WANTS {
        few_once_each(wants);
        return;
    }
    let hashing = SeededState::default();
    let hash_of = |want: &Want| hash(&hashing, &want.topic, want.partition);
    let mut places: HashTable<u32> = HashTable::with_capacity(wants.len());
    let mut kept = 0;
    for at in 0..wants.len() {
        if (at + 1).is_multiple_of(WANTS_AT_ONCE) {
            tokio::task::yield_now().await;
        }
        let want = &wants[at];
        let is_same = |place: &u32| {
            let other = &wants[*place as usize];
            other.partition == want.partition && other.topic == want.topic
        };
        let place = match places.find(hash_of(want), is_same).copied() {
            Some(place) => place as usize,
            None => {
                places.insert_unique(hash_of(want), kept as u32, |place| hash_of(&wants[*place as usize]));
                kept += 1;
                kept - 1
            }
        };
        wants.swap(place, at);
    }
    wants.truncate(kept);
    wants.shrink_to_fit();
}

/// The same for so few that comparing them with each other costs less than a table of them.
fn few_once_each(wants: &mut Vec<Want>) {
    let mut kept = 0;
    for at in 0..wants.len() {
        let want = &wants[at];
        let is_same = |other: &Want| other.partition == want.partition && other.topic == want.topic;
        let place = wants[..kept].iter().position(is_same);
        wants.swap(place.unwrap_or(kept), at);
        kept += usize::from(place.is_none());
    }
    wants.truncate(kept);
}

impl Line {
    /// An empty one with room for so many partitions.
    pub(crate) fn with_capacity(partitions: usize) -> Self {
        Self {
            places: Vec::with_capacity(partitions),
            index: HashTable::with_capacity(partitions),
            hashing: SeededState::default(),
            first: NONE,
            last: NONE,
        }
    }

    /// How many there are; no more than fit into half of an `u32`, as their session sees to.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// What is wanted of each, in the order in which they are served.
    pub(crate) fn wants(&self) -> Vec<Want> {
        let mut wants = Vec::with_capacity(self.len());
        let mut at = self.first;
        while let Some(place) = self.places.get(at as usize) {
            wants.push(place.cached.want.clone());
            at = place.after;
        }
        wants
    }

    /// Changes what is wanted of a partition; a new one goes to the back.
    pub(crate) fn put(&mut self, want: Want) {
        if let Some(at) = self.find(&want.topic, want.partition) {
            self.places[at as usize].cached.want = want;
            return;
        }
        let at = self.places.len() as u32;
        let hash = hash(&self.hashing, &want.topic, want.partition);
        let cached = Cached { want, high_watermark: -1, log_start: -1 };
        self.places.push(Place { cached, before: NONE, after: NONE });
        self.link_last(at);
        self.enter(hash, at);
    }

    /// Removes a partition, if it is there.
    pub(crate) fn remove(&mut self, topic: &TopicRef, partition: i32) {
        let Some(at) = self.find(topic, partition) else { return };
        self.leave(at);
        self.unlink(at);
        let last = self.places.len() as u32 - 1;
        if at != last {
            let moved = &self.places[last as usize];
            let (before, after) = (moved.before, moved.after);
            let hash = hash(&self.hashing, &moved.cached.want.topic, moved.cached.want.partition);
            self.leave(last);
            self.places.swap_remove(at as usize);
            self.set_after(before, at);
            self.set_before(after, at);
            self.enter(hash, at);
        } else {
            self.places.pop();
        }
        self.shrink();
    }

    /// What is known of a partition.
    pub(crate) fn get_mut(&mut self, topic: &TopicRef, partition: i32) -> Option<&mut Cached> {
        let at = self.find(topic, partition)?;
        Some(&mut self.places[at as usize].cached)
    }

    /// A partition is served last from now on.
    pub(crate) fn put_last(&mut self, topic: &TopicRef, partition: i32) {
        if let Some(at) = self.find(topic, partition) {
            self.unlink(at);
            self.link_last(at);
        }
    }

    fn find(&self, topic: &TopicRef, partition: i32) -> Option<u32> {
        let is = |at: &u32| self.places[*at as usize].cached.is(topic, partition);
        self.index.find(hash(&self.hashing, topic, partition), is).copied()
    }

    fn enter(&mut self, hash_of_it: u64, at: u32) {
        let (places, hashing) = (&self.places, &self.hashing);
        self.index.insert_unique(hash_of_it, at, |at| {
            let want = &places[*at as usize].cached.want;
            hash(hashing, &want.topic, want.partition)
        });
    }

    fn leave(&mut self, at: u32) {
        let want = &self.places[at as usize].cached.want;
        if let Ok(entry) = self.index.find_entry(hash(&self.hashing, &want.topic, want.partition), |other| *other == at)
        {
            entry.remove();
        }
    }

    fn link_last(&mut self, at: u32) {
        let before = std::mem::replace(&mut self.last, at);
        let place = &mut self.places[at as usize];
        (place.before, place.after) = (before, NONE);
        self.set_after(before, at);
    }

    fn unlink(&mut self, at: u32) {
        let place = &self.places[at as usize];
        let (before, after) = (place.before, place.after);
        self.set_after(before, after);
        self.set_before(after, before);
    }

    /// What comes after a place, or first of all.
    fn set_after(&mut self, at: u32, after: u32) {
        match self.places.get_mut(at as usize) {
            Some(place) => place.after = after,
            None => self.first = after,
        }
    }

    /// What comes before a place, or last of all.
    fn set_before(&mut self, at: u32, before: u32) {
        match self.places.get_mut(at as usize) {
            Some(place) => place.before = before,
            None => self.last = before,
        }
    }

    /// Gives back memory that is hardly used.
    fn shrink(&mut self) {
        let (used, room) = (self.places.len(), self.places.capacity());
        if room <= KEPT_PLACES || used > room / USED_SHARE_MIN {
            return;
        }
        let room = (2 * used).max(KEPT_PLACES / 2);
        self.places.shrink_to(room);
        let (places, hashing) = (&self.places, &self.hashing);
        self.index.shrink_to(room, |at| {
            let want = &places[*at as usize].cached.want;
            hash(hashing, &want.topic, want.partition)
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn want(partition: i32, fetch_offset: i64) -> Want {
        let topic = TopicRef::Name(if partition % 2 == 0 { "even" } else { "odd" }.into());
        Want { topic, partition, fetch_offset, current_leader_epoch: -1, last_fetched_epoch: -1, max_bytes: 1 }
    }

    /// How often it is polled.
    fn all_at_once(wants: &mut Vec<Want>) -> usize {
        let mut work = std::pin::pin!(once_each(wants));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        1 + std::iter::from_fn(|| work.as_mut().poll(&mut cx).is_pending().then_some(())).count()
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Put(i32, i64),
        Remove(i32),
        PutLast(i32),
    }

    fn step() -> impl Strategy<Value = Step> {
        let partition = || 0..12;
        prop_oneof![
            (partition(), 0..100_i64).prop_map(|(partition, offset)| Step::Put(partition, offset)),
            partition().prop_map(Step::Remove),
            partition().prop_map(Step::PutLast),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_list_without_doubles(steps in proptest::collection::vec(step(), 0..200)) {
            let (mut line, mut list) = (Line::with_capacity(0), Vec::<Want>::new());
            for step in steps {
                let (Step::Put(partition, _) | Step::Remove(partition) | Step::PutLast(partition)) = step;
                let topic = want(partition, 0).topic;
                let at = list.iter().position(|want| want.partition == partition);
                match (step, at) {
                    (Step::Put(_, offset), Some(at)) => list[at] = want(partition, offset),
                    (Step::Put(_, offset), None) => list.push(want(partition, offset)),
                    (Step::Remove(_), Some(at)) => drop(list.remove(at)),
                    (Step::PutLast(_), Some(at)) => {
                        let moved = list.remove(at);
                        list.push(moved);
                    }
                    (_, None) => {}
                }
                match step {
                    Step::Put(_, offset) => line.put(want(partition, offset)),
                    Step::Remove(_) => line.remove(&topic, partition),
                    Step::PutLast(_) => line.put_last(&topic, partition),
                }
                prop_assert_eq!(line.wants(), list.clone());
                prop_assert_eq!(line.get_mut(&topic, partition).map(|cached| cached.want.clone()),
                    list.iter().find(|want| want.partition == partition).cloned());
            }
        }

        #[test]
        fn a_request_keeps_each_partition_where_a_session_would(
            named in proptest::collection::vec((0..60, 0..100_i64), 0..80)
        ) {
            let mut wants: Vec<Want> = named.into_iter().map(|(partition, offset)| want(partition, offset)).collect();
            let mut line = Line::with_capacity(0);
            wants.iter().for_each(|want| line.put(want.clone()));
            all_at_once(&mut wants);
            prop_assert_eq!(line.wants(), wants);
        }
    }

    #[test]
    fn others_may_run_while_very_many_partitions_of_a_request_are_gone_through() {
        let mut wants: Vec<Want> = (0..10 * WANTS_AT_ONCE as i32).map(|partition| want(partition, 0)).collect();
        let count = wants.len();
        assert_eq!(all_at_once(&mut wants), 1 + 10, "polls");
        assert_eq!(wants.len(), count);
    }

    #[test]
    fn what_was_large_once_is_small_when_it_has_little() {
        let mut line = Line::with_capacity(100_000);
        (0..100_000).for_each(|partition| line.put(want(partition, 0)));
        for partition in 1..100_000 {
            line.remove(&want(partition, 0).topic, partition);
        }
        assert_eq!(line.wants(), [want(0, 0)]);
        assert!(line.places.capacity() <= KEPT_PLACES && line.index.capacity() <= 2 * KEPT_PLACES);
    }
}
