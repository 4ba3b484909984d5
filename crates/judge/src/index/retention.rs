//! Records that are removed because of their age, and what the brokers' clocks have shown.

use std::collections::BTreeMap;

use super::Place;
use crate::{Event, Key, Moment, What};

/// How old records become, and how old they may be taken for.
pub(crate) struct Retention<'h> {
    /// In microseconds.
    limits: BTreeMap<&'h Key, u64>,
    /// What clocks show, in order of the places from which on that holds.
    clocks: Vec<Clocks>,
}

struct Clocks {
    place: Place,
    /// By how much the first of them is ahead of the history, from here on.
    ahead: i64,
    /// The latest time that any of them has shown before, by the history's clock.
    shown: i64,
}

impl<'h> Retention<'h> {
    pub fn new(events: &'h [Event]) -> Self {
        let mut limits: BTreeMap<&'h Key, u64> = BTreeMap::new();
        let mut clocks = vec![Clocks { place: 0, ahead: 0, shown: 0 }];
        let mut ahead_of: BTreeMap<u32, i64> = BTreeMap::new();
        for (place, event) in events.iter().enumerate() {
            match &event.what {
                What::Retained { key, milliseconds } => {
                    let limit = limits.entry(key).or_insert(u64::MAX);
                    *limit = milliseconds.saturating_mul(1_000).min(*limit);
                }
                What::ClockSet { clock, ahead } => {
                    ahead_of.insert(*clock, *ahead);
                    let shown = clocks.last().map_or(0, |last| last.shown.max(last.now(event.at)));
                    // A clock that was never set is not ahead.
                    let ahead = ahead_of.values().copied().max().unwrap_or(0).max(0);
                    clocks.push(Clocks { place, ahead, shown });
                }
                _ => {}
            }
        }
        Self { limits, clocks }
    }

    /// Whether records of this partition are removed by their age.
    pub fn is_limited(&self, key: &Key) -> bool {
        self.limits.contains_key(key)
    }

    /// A record that was made at a moment, or at an unknown one, may have been too old for some broker at a place, which is
    /// of the moment `at`.
    pub fn may_remove(&self, key: &Key, made: Option<Moment>, at: Moment, place: Place) -> bool {
        let Some(&limit) = self.limits.get(key) else { return false };
        let next = self.clocks.partition_point(|clocks| clocks.place < place);
        let clocks = &self.clocks[next.saturating_sub(1)];
        let shown = clocks.shown.max(clocks.now(at));
        made.is_none_or(|made| shown > microseconds(made).saturating_add_unsigned(limit))
    }
}

impl Clocks {
    fn now(&self, at: Moment) -> i64 {
        microseconds(at).saturating_add(self.ahead)
    }
}

fn microseconds(moment: Moment) -> i64 {
    i64::try_from(moment.0).unwrap_or(i64::MAX)
}
