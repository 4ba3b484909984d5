//! The rules: one file each, which says what it flags and why no correct broker lets that happen.

mod committed_offset;
mod deleted_topic;
mod duplicate;
mod failed_read;
mod group_skip;
mod inconsistent_offset;
mod lost_write;
mod malformed;
mod nonmonotonic_poll;
mod phantom;
mod poll_skip;
mod send_order;
mod trim;
mod unseen;
mod watermark;

use crate::index::{Index, Place};
use crate::{Key, Violation};

/// More of one rule say nothing new.
pub const VIOLATIONS_MAX_PER_RULE: usize = 16;

/// A rule: its name, and what applies it.
type Rule = (&'static str, fn(&Index<'_>, &mut Findings));

const RULES: [Rule; 15] = [
    ("malformed", malformed::check),
    ("inconsistent-offset", inconsistent_offset::check),
    ("duplicate", duplicate::check),
    ("lost-write", lost_write::check),
    ("unseen", unseen::check),
    ("phantom", phantom::check),
    ("failed-read", failed_read::check),
    ("poll-skip", poll_skip::check),
    ("nonmonotonic-poll", nonmonotonic_poll::check),
    ("send-order", send_order::check),
    ("watermark", watermark::check),
    ("committed-offset", committed_offset::check),
    ("group-skip", group_skip::check),
    ("trim", trim::check),
    ("deleted-topic", deleted_topic::check),
];

/// The names of all rules.
pub const NAMES: [&str; RULES.len()] = {
    let mut names = [""; RULES.len()];
    let mut number = 0;
    while number < names.len() {
        names[number] = RULES[number].0;
        number += 1;
    }
    names
};

/// What one rule has found.
pub(crate) struct Findings {
    rule: &'static str,
    violations: Vec<Violation>,
}

impl Findings {
    fn add(&mut self, key: Option<&Key>, words: String, events: impl IntoIterator<Item = Place>) {
        if self.is_full() {
            return;
        }
        let mut events: Vec<Place> = events.into_iter().collect();
        events.sort_unstable();
        events.dedup();
        self.violations.push(Violation { rule: self.rule, key: key.cloned(), words, events });
    }

    /// Nothing more is taken; a rule may stop.
    fn is_full(&self) -> bool {
        self.violations.len() >= VIOLATIONS_MAX_PER_RULE
    }
}

/// What all rules find.
pub(crate) fn all(index: &Index<'_>) -> Vec<Violation> {
    let found = |&(rule, check): &Rule| {
        let mut findings = Findings { rule, violations: Vec::new() };
        check(index, &mut findings);
        findings.violations
    };
    RULES.iter().flat_map(found).collect()
}
