//! **trim**: records are removed as they were asked to be, and no others.
//!
//! Flagged:
//!
//! - A trim that was done, with a log start below the first offset that it was to keep.
//! - A log start, wherever it was told, above all that anybody had asked to trim by then: nothing else removes records.
//! - A record that was polled below a log start that was told so long before the fetch that its answer cannot be older
//!   ([`crate::Fetches`]): the log start does not go back. A broker that was replaced may give what was trimmed since.

use super::Findings;
use crate::Key;
use crate::index::{Index, Place};

pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    for trim in &index.trims.done {
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
    let mut reported = std::collections::BTreeSet::new();
    for (place, key, start) in told {
        let asked = index.trims.may_reach(key, place);
        if start > asked && reported.insert((key, start)) {
            let words = format!("the log starts at {start}, but nobody asked to trim more than what is below {asked}");
            findings.add(Some(key), words, [place]);
        }
    }
    for poll in &index.polls.open {
        let Some(since) = index.current_since(poll) else { continue };
        let Some((said, start)) = index.logs.get(poll.key).and_then(|log| log.start.before(since)) else { continue };
        if let Some((offset, value)) = poll.records.iter().find(|&&(offset, _)| offset < start) {
            let words = format!("{value} at {offset} was read, though the log starts at {start}");
            findings.add(Some(poll.key), words, [said].into_iter().chain(poll.began).chain([poll.place]));
        }
    }
}
