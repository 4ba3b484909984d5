//! The rules: one file each, which says what it flags and why no correct broker lets that happen.

mod committed_offset;
mod deleted_topic;
mod duplicate;
mod failed_read;
mod generation;
mod group_skip;
mod inconsistent_offset;
mod lost_write;
mod malformed;
mod nonmonotonic_poll;
mod phantom;
mod poll_skip;
mod reset;
mod send_order;
mod trim;
mod unseen;
mod watermark;

use std::collections::BTreeMap;
use std::fmt;

use crate::index::{Index, Place};
use crate::{Key, Violation};

/// More of one rule say nothing new.
pub const VIOLATIONS_MAX_PER_RULE: usize = 16;

/// A rule: its name, its parts, and what applies it.
type Rule = (&'static str, &'static [&'static str], fn(&Index<'_>, &mut Findings));

const RULES: [Rule; 17] = [
    ("malformed", malformed::PARTS, malformed::check),
    ("inconsistent-offset", inconsistent_offset::PARTS, inconsistent_offset::check),
    ("duplicate", duplicate::PARTS, duplicate::check),
    ("lost-write", lost_write::PARTS, lost_write::check),
    ("unseen", unseen::PARTS, unseen::check),
    ("phantom", phantom::PARTS, phantom::check),
    ("failed-read", failed_read::PARTS, failed_read::check),
    ("poll-skip", poll_skip::PARTS, poll_skip::check),
    ("nonmonotonic-poll", nonmonotonic_poll::PARTS, nonmonotonic_poll::check),
    ("reset", reset::PARTS, reset::check),
    ("send-order", send_order::PARTS, send_order::check),
    ("watermark", watermark::PARTS, watermark::check),
    ("committed-offset", committed_offset::PARTS, committed_offset::check),
    ("group-skip", group_skip::PARTS, group_skip::check),
    ("generation", generation::PARTS, generation::check),
    ("trim", trim::PARTS, trim::check),
    ("deleted-topic", deleted_topic::PARTS, deleted_topic::check),
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

/// A part of a rule: one of the things that it looks at. A part that has never found anything to look at says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// The rule.
    pub rule: &'static str,
    /// What is looked at, in words.
    pub what: &'static str,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)
    }
}

/// The parts of all rules.
pub fn parts() -> impl Iterator<Item = Part> {
    RULES.iter().flat_map(|&(rule, parts, _)| parts.iter().map(move |&what| Part { rule, what }))
}

/// What became of a history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What no correct broker shows.
    pub violations: Vec<Violation>,
    /// How much each part of a rule has looked at.
    pub applied: BTreeMap<Part, u64>,
}

/// What one rule has found.
pub(crate) struct Findings {
    rule: &'static str,
    applied: Vec<(&'static str, u64)>,
    violations: Vec<Violation>,
}

impl Findings {
    /// Something was looked at.
    fn looks_at(&mut self, part: &'static str) {
        self.looks_at_many(part, 1);
    }

    /// So much was looked at.
    fn looks_at_many(&mut self, part: &'static str, many: usize) {
        let (_, count) = self.applied.iter_mut().find(|(of, _)| *of == part).expect("a rule names its parts");
        *count += many as u64;
    }

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
pub(crate) fn all(index: &Index<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    for &(rule, parts, check) in &RULES {
        let applied = parts.iter().map(|&part| (part, 0)).collect();
        let mut findings = Findings { rule, applied, violations: Vec::new() };
        check(index, &mut findings);
        verdict.violations.extend(findings.violations);
        verdict.applied.extend(findings.applied.into_iter().map(|(what, count)| (Part { rule, what }, count)));
    }
    verdict
}
