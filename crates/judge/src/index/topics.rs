//! Deletions of topics, and from when on they make what is said of a topic uncertain; and names, by which one topic may be
//! taken for another.

use std::collections::BTreeMap;

use super::Place;
use crate::{Client, Event, Key, Outcome, What};

/// Topics that were deleted, or may have been.
#[derive(Default)]
pub(crate) struct Topics<'h> {
    closed: BTreeMap<&'h str, Deletion>,
    names: BTreeMap<&'h str, &'h str>,
}

/// The first deletion of a topic that did not certainly fail.
#[derive(Clone, Copy)]
pub(crate) struct Deletion {
    /// Where it began.
    pub began: Place,
    /// Where the first one ended of which it is known that it was done.
    pub done: Option<Place>,
}

impl<'h> Topics<'h> {
    pub fn new(events: &'h [Event]) -> Self {
        let mut pending: BTreeMap<(Client, &str), Vec<Place>> = BTreeMap::new();
        let mut topics = Self::default();
        for (place, event) in events.iter().enumerate() {
            match &event.what {
                What::Named { topic, name } => drop(topics.names.insert(topic, name)),
                What::DeleteBegan { topic } => pending.entry((event.client, topic)).or_default().push(place),
                What::DeleteEnded { topic, outcome } => {
                    let began = pending.remove(&(event.client, &**topic)).unwrap_or_default();
                    match (outcome, began.as_slice()) {
                        // Of several that are under way nobody knows which one failed.
                        (Outcome::Failed(_), [_]) => {}
                        (outcome, began) => {
                            let done = matches!(outcome, Outcome::Done(())).then_some(place);
                            topics.close(topic, began.first().copied().unwrap_or(place), done);
                        }
                    }
                }
                _ => {}
            }
        }
        for ((_, topic), began) in pending {
            if let Some(&began) = began.first() {
                topics.close(topic, began, None);
            }
        }
        topics
    }

    fn close(&mut self, topic: &'h str, began: Place, done: Option<Place>) {
        let deletion = self.closed.entry(topic).or_insert(Deletion { began, done });
        deletion.began = deletion.began.min(began);
        deletion.done = deletion.done.into_iter().chain(done).min();
    }

    /// The deletion of the topic, if it may have been deleted.
    pub fn deletion(&self, topic: &str) -> Option<Deletion> {
        self.closed.get(topic).copied()
    }

    /// A request that names one of these topics may reach the other one: they are two, and not known to have two names.
    pub fn may_share_name(&self, one: &str, other: &str) -> bool {
        let name = |topic: &str| self.names.get(topic);
        one != other && name(one).zip(name(other)).is_none_or(|(one, other)| one == other)
    }

    /// What is said of the key at this place is said of the topic that it names, and of no successor.
    pub fn is_open(&self, key: &Key, place: Place) -> bool {
        self.deletion(&key.topic).is_none_or(|deletion| place < deletion.began)
    }
}
