//! **watermark**: the ends of a log went back, or contradict each other.
//!
//! Flagged:
//!
//! - A latest (earliest) offset, or the end of a whole read, below what the high watermark (log start) had reached when it
//!   was asked for: an earlier answer, a record that was polled or acknowledged, an end that a fetch told, the log start
//!   after a trim. Neither goes back, and a broker that was replaced does not tell them.
//! - Likewise what a fetch tells, as far as it may not be older ([`crate::Fetches`]).
//! - What a fetch tells below what an earlier one told over the same connection: that is one process of one broker, and
//!   what it knew of the log it knows.
//! - A record at or above the high watermark of its own answer, and a log start above it. The answer's high watermark is
//!   the end of what it may hold, and nothing above it is trimmed.

use std::collections::BTreeMap;

use super::Findings;
use crate::index::{Index, Log, Place, Poll};
use crate::{Client, Key};

const ASKED: &str = "offsets that were asked for";
const WHOLE: &str = "ends of whole reads";
const FETCHED: &str = "fetches that are current";
const CONNECTED: &str = "fetches over one connection";
const WITHIN: &str = "answers with records";
pub(super) const PARTS: &[&str] = &[ASKED, WHOLE, FETCHED, CONNECTED, WITHIN];

pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    for ask in &index.asks {
        let Some(began) = ask.began else { continue };
        let told = |name, told: Option<i64>| told.map(|told| (name, told));
        for (what, told) in [told(HIGH, ask.latest), told(START, ask.earliest)].into_iter().flatten() {
            findings.looks_at(ASKED);
            not_below(index, findings, ask.key, what, told, [began, ask.ended]);
        }
    }
    for read in &index.whole_reads {
        // Whoever reads so had no part before.
        let healed = index.healed.filter(|&healed| healed < read.place);
        let Some(began) = healed.map(|healed| read.began.map_or(healed, |began| began.max(healed))) else { continue };
        findings.looks_at(WHOLE);
        not_below(index, findings, read.key, HIGH, read.end, [began, read.place]);
    }
    let mut told: BTreeMap<(Client, &Key, u64), &Poll<'_>> = BTreeMap::new();
    for poll in &index.polls.open {
        if let Some(before) = poll.connection.and_then(|over| told.insert((poll.client, poll.key, over), poll)) {
            findings.looks_at(CONNECTED);
            let ends = [(HIGH, before.high_watermark, poll.high_watermark), (START, before.log_start, poll.log_start)];
            for (what, reached, now) in ends.into_iter().filter(|(_, reached, now)| now < reached) {
                let words = format!("{what} is {now}, but was {reached} before, over the same connection");
                findings.add(Some(poll.key), words, [before.place, poll.place]);
            }
        }
        findings.looks_at_many(WITHIN, usize::from(!poll.records.is_empty()));
        let last = poll.records.iter().map(|&(offset, _)| offset).max();
        if let Some(last) = last.filter(|&last| last >= poll.high_watermark) {
            let words = format!("{last} was read, though the high watermark is {}", poll.high_watermark);
            findings.add(Some(poll.key), words, [poll.place]);
        }
        if poll.log_start > poll.high_watermark {
            let words = format!("the log starts at {}, above its end {}", poll.log_start, poll.high_watermark);
            findings.add(Some(poll.key), words, [poll.place]);
        }
        if let Some(since) = index.current_since(poll.began) {
            findings.looks_at(FETCHED);
            not_below(index, findings, poll.key, HIGH, poll.high_watermark, [since, poll.place]);
            not_below(index, findings, poll.key, START, poll.log_start, [since, poll.place]);
        }
    }
}

const HIGH: &str = "the high watermark";
const START: &str = "the log start";

fn not_below(index: &Index<'_>, findings: &mut Findings, key: &Key, what: &str, told: i64, [began, ended]: [Place; 2]) {
    let floor = |log: &Log| if what == HIGH { log.high.before(began) } else { log.start.before(began) };
    if let Some((said, reached)) = index.logs.get(key).and_then(floor).filter(|&(_, reached)| told < reached) {
        findings.add(Some(key), format!("{what} is {told}, but was {reached} before"), [said, began, ended]);
    }
}
