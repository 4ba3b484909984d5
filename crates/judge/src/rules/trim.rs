//! **trim**: records are removed as they were asked to be, and no others.
//!
//! Flagged:
//!
//! - A trim that was done, with a log start below the first offset that it was to keep.
//! - A log start, wherever it was told, above all that anybody had asked to trim by then: nothing else removes records.
//!   Where they are removed by their age ([`crate::What::Retained`]): one that is known to lie below it, and that no
//!   broker's clock can have taken for too old.
//! - A record that was polled below a log start that was told so long before the fetch that its answer cannot be older
//!   ([`crate::Fetches`]): the log start does not go back. A broker that was replaced may give what was trimmed since.

use std::collections::BTreeMap;

use super::Findings;
use crate::Key;
use crate::index::{Index, Place};

const DONE: &str = "trims that were done";
const STARTS: &str = "log starts";
const AGED: &str = "records removed by their age";
const BELOW: &str = "fetches from below a known log start";
pub(super) const PARTS: &[&str] = &[DONE, STARTS, AGED, BELOW];

pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    for trim in &index.trims.done {
        findings.looks_at_many(DONE, usize::from(trim.before.is_some()));
        if let Some(before) = trim.before.filter(|&before| trim.start < before) {
            let words = format!("a trim up to {before} was done, but the log starts at {}", trim.start);
            findings.add(Some(trim.key), words, [trim.began, trim.ended]);
        }
    }
    let mut told: Vec<(Place, &Key, i64)> = Vec::new();
    told.extend(index.polls.open.iter().map(|poll| (poll.place, poll.key, poll.log_start)));
    told.extend(index.asks.iter().filter_map(|ask| ask.earliest.map(|start| (ask.ended, ask.key, start))));
    told.extend(index.trims.done.iter().map(|trim| (trim.ended, trim.key, trim.start)));
    told.extend(index.whole_reads.iter().map(|read| (read.place, read.key, read.from)));
    told.sort_unstable();
    removed(index, findings, &told);
    let start = |key: &Key, began| {
        let since = index.current_since(began)?;
        index.logs.get(key)?.start.before(since).filter(|&(_, start)| start > 0)
    };
    for fetch in &index.polls.refused {
        let is_below = start(fetch.key, fetch.began).is_some_and(|(_, start)| fetch.offset < start);
        findings.looks_at_many(BELOW, usize::from(is_below));
    }
    for poll in &index.polls.open {
        let Some((said, start)) = start(poll.key, poll.began) else { continue };
        findings.looks_at_many(BELOW, usize::from(poll.wanted.is_some_and(|(_, wanted)| wanted < start)));
        if let Some((offset, value)) = poll.records.iter().find(|&&(offset, _)| offset < start) {
            let words = format!("{value} at {offset} was read, though the log starts at {start}");
            findings.add(Some(poll.key), words, [said].into_iter().chain(poll.began).chain([poll.place]));
        }
    }
}

/// By log starts that were told, in order.
fn removed(index: &Index<'_>, findings: &mut Findings, told: &[(Place, &Key, i64)]) {
    let mut highest: BTreeMap<&Key, i64> = BTreeMap::new();
    for &(place, key, start) in told {
        let highest = highest.entry(key).or_default();
        if start <= *highest {
            continue;
        }
        findings.looks_at(STARTS);
        let asked = index.trims.may_reach(&index.topics, key, place);
        let unasked = std::mem::replace(highest, start).max(asked)..start;
        if unasked.is_empty() {
            continue;
        }
        if !index.retention.is_limited(key) {
            let words = format!("the log starts at {start}, but nobody asked to trim more than what is below {asked}");
            findings.add(Some(key), words, [place]);
            continue;
        }
        for (offset, stored) in index.logs.get(key).into_iter().flat_map(|log| log.stored.range(unasked.clone())) {
            for &(value, shown) in &stored.values {
                findings.looks_at(AGED);
                if !index.may_be_too_old(key, value, place) {
                    let words = format!("the log starts at {start}, but {value} at {offset} is not too old yet");
                    findings.add(Some(key), words, [shown, place]);
                }
            }
        }
    }
}
