//! What is due when. Entries are never removed: whoever set one again remembers the newest deadline, and an older entry
//! finds that it is not the one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use wire::Str;

/// What an entry is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
pub struct Timers(BinaryHeap<Reverse<(u64, Timer)>>);

impl Timers {
    /// Sets a deadline.
    pub fn set(&mut self, at_ms: u64, timer: Timer) {
        self.0.push(Reverse((at_ms, timer)));
    }

    /// Takes the next entry that is due, with its deadline.
    pub fn pop_due(&mut self, now_ms: u64) -> Option<(u64, Timer)> {
        let due = self.0.peek().is_some_and(|Reverse((at_ms, _))| *at_ms <= now_ms);
        if due { self.0.pop().map(|Reverse(entry)| entry) } else { None }
    }

    /// The next deadline; it may be of an entry that is not the newest of its kind.
    pub fn next_ms(&self) -> Option<u64> {
        self.0.peek().map(|Reverse((at_ms, _))| *at_ms)
    }
}
