//! What was asked to be trimmed, and what came of it.

use std::collections::BTreeMap;

use super::{Floor, Place, Topics};
use crate::{Client, Event, Key, Outcome, What};

/// The trims of all keys.
#[derive(Default)]
pub(crate) struct Trims<'h> {
    asked: BTreeMap<&'h Key, Floor>,
    /// Topics of which something was asked and that were closed at some time, by partition: a request that names the topic
    /// may reach its successor.
    astray: BTreeMap<i32, Vec<&'h Key>>,
    /// Those that were done, in the order of their answers.
    pub done: Vec<Trimmed<'h>>,
}

/// A trim that was done.
pub(crate) struct Trimmed<'h> {
    pub key: &'h Key,
    pub began: Place,
    pub ended: Place,
    /// The first offset that was to be kept; `None` when it was left to the broker, or it is unclear which trim this is.
    pub before: Option<i64>,
    /// The log start that was answered.
    pub start: i64,
}

impl<'h> Trims<'h> {
    pub fn new(events: &'h [Event], topics: &Topics<'_>) -> Self {
        let mut pending: BTreeMap<(Client, &'h Key), Vec<(Place, i64)>> = BTreeMap::new();
        let mut asked: BTreeMap<&'h Key, Vec<(Place, i64)>> = BTreeMap::new();
        let mut done = Vec::new();
        for (place, event) in events.iter().enumerate() {
            match &event.what {
                What::TrimBegan { key, before } => {
                    pending.entry((event.client, key)).or_default().push((place, *before));
                }
                What::TrimEnded { key, outcome } => {
                    let began = pending.remove(&(event.client, key)).unwrap_or_default();
                    let first = began.first().map_or(place, |&(place, _)| place);
                    match (outcome, began.as_slice()) {
                        (Outcome::Failed(_), [_]) => continue,
                        (Outcome::Done(start), began) if topics.is_open(key, place) => {
                            let before = match began {
                                [(_, before)] if *before >= 0 => Some(*before),
                                _ => None,
                            };
                            done.push(Trimmed { key, began: first, ended: place, before, start: *start });
                        }
                        _ => {}
                    }
                    asked.entry(key).or_default().extend(began);
                }
                _ => {}
            }
        }
        for ((_, key), began) in pending {
            asked.entry(key).or_default().extend(began);
        }
        // Below 0: up to the high watermark, which may be anywhere.
        let anywhere = |(place, before): (Place, i64)| (place, if before < 0 { i64::MAX } else { before });
        let mut trims = Self { done, ..Self::default() };
        for (key, said) in asked {
            if topics.deletion(&key.topic).is_some() {
                trims.astray.entry(key.partition).or_default().push(key);
            }
            trims.asked.insert(key, Floor::new(said.into_iter().map(anywhere).collect()));
        }
        trims
    }

    /// Below this a record may have been trimmed before the place: somebody had asked for it, and was not told that it
    /// failed.
    pub fn may_reach(&self, topics: &Topics<'_>, key: &Key, place: Place) -> i64 {
        let astray = self.astray.get(&key.partition).into_iter().flatten();
        let of = astray.copied().filter(|other| topics.may_share_name(&other.topic, &key.topic)).chain([key]);
        let reached = of.filter_map(|key| self.asked.get(key)?.before(place));
        reached.map(|(_, before)| before).max().unwrap_or(0)
    }
}
