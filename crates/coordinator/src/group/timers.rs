//! What is due when: one deadline at most for each thing that can be due. Whoever forgets a group or a member cancels what
//! was set for it, so that there are never more deadlines than live groups and members account for: clients choose how far
//! away theirs are, up to 24 days, and how often they set a new one.

use std::collections::BTreeSet;

use base::collections::HashMap;
use wire::Str;

/// What a deadline is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// A member's session, or the wait for a pending member to join.
    Session {
        /// The group.
        group: Str,
        /// The member.
        member: Str,
    },
    /// The end of a group's wait for joins.
    Join {
        /// The group.
        group: Str,
    },
    /// The end of a group's wait for sync requests.
    Sync {
        /// The group.
        group: Str,
    },
    /// Expired offsets are to be looked for.
    Retention,
}

/// Deadlines, on the monotonic clock.
#[derive(Debug, Default)]
pub struct Timers {
    by_time: BTreeSet<(u64, Timer)>,
    by_timer: HashMap<Timer, u64>,
}

impl Timers {
    /// Sets a deadline, in place of the one before.
    pub fn set(&mut self, at_ms: u64, timer: Timer) {
        self.cancel(&timer);
        self.by_time.insert((at_ms, timer.clone()));
        self.by_timer.insert(timer, at_ms);
    }

    /// Sees to it that the timer is due at this time or earlier. A deadline that keeps moving away is looked at again when
    /// the one that is set comes up: heartbeats then cost one look-up each.
    pub fn set_no_later(&mut self, at_ms: u64, timer: Timer) {
        if self.by_timer.get(&timer).is_none_or(|set_ms| *set_ms > at_ms) {
            self.set(at_ms, timer);
        }
    }

    /// Takes a deadline back, if there is one.
    pub fn cancel(&mut self, timer: &Timer) {
        if let Some((timer, at_ms)) = self.by_timer.remove_entry(timer) {
            self.by_time.remove(&(at_ms, timer));
        }
    }

    /// Takes the next timer that is due.
    pub fn pop_due(&mut self, now_ms: u64) -> Option<Timer> {
        let (_, timer) = self.by_time.first().filter(|(at_ms, _)| *at_ms <= now_ms)?.clone();
        self.cancel(&timer);
        Some(timer)
    }

    /// The next deadline.
    pub fn next_ms(&self) -> Option<u64> {
        self.by_time.first().map(|(at_ms, _)| *at_ms)
    }

    /// All that are set, in the order of their deadlines.
    #[cfg(test)]
    pub fn iter(&self) -> impl Iterator<Item = &Timer> {
        self.by_time.iter().map(|(_, timer)| timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(group: &str) -> Timer {
        Timer::Join { group: group.into() }
    }

    #[test]
    fn a_timer_has_one_deadline() {
        let mut timers = Timers::default();
        timers.set(10, join("a"));
        timers.set(20, join("b"));
        timers.set(30, join("a"));
        assert_eq!((timers.next_ms(), timers.iter().count()), (Some(20), 2));
        assert_eq!(timers.pop_due(19), None);
        assert_eq!(timers.pop_due(30), Some(join("b")));
        assert_eq!(timers.pop_due(30), Some(join("a")));
        assert_eq!((timers.pop_due(30), timers.next_ms()), (None, None));
        timers.set(40, join("a"));
        timers.cancel(&join("a"));
        timers.cancel(&join("a"));
        assert_eq!(timers.next_ms(), None);
    }

    #[test]
    fn a_deadline_that_moves_away_leaves_its_timer_where_it_is() {
        let mut timers = Timers::default();
        for (at_ms, set_ms) in [(20, 20), (30, 20), (10, 10)] {
            timers.set_no_later(at_ms, join("a"));
            assert_eq!((timers.next_ms(), timers.iter().count()), (Some(set_ms), 1));
        }
    }
}
