//! **reset**: a reader was told that its position is gone, and it is there.
//!
//! Flagged: a reset from an offset that the high watermark was known to have reached before the fetch began, and that lies
//! below no log start that was ever told. What lies between the two is there, and so is the end itself, where a reader waits.
//! A broker that was replaced knows less, but refuses a position only after a look at the fence, and does not do so then.
//!
//! Excused is what may have been removed unnoticed: by a trim that somebody had asked for, or by its age, unless whoever asked
//! later for the earliest offset was told one that is not above the position.

use std::collections::BTreeMap;

use super::Findings;
use crate::Key;
use crate::index::{Index, Place, Reset};

const RESETS: &str = "resets from below a known end";
pub(super) const PARTS: &[&str] = &[RESETS];

pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    // Where the last question for the earliest offset began that was answered.
    let mut asked: BTreeMap<&Key, Place> = BTreeMap::new();
    for ask in index.asks.iter().filter(|ask| ask.earliest.is_some()) {
        let last = asked.entry(ask.key).or_default();
        *last = ask.began.unwrap_or(0).max(*last);
    }
    for reset in &index.polls.resets {
        let (stood, position) = reset.stood;
        let Some(log) = index.logs.get(reset.key) else { continue };
        // What its own last answer told was told before it, too.
        let known = log.high.before(reset.began + 1);
        let Some((said, high)) = known.filter(|&(_, high)| position <= high) else { continue };
        findings.looks_at(RESETS);
        let is_below = log.start.highest().is_some_and(|start| position < start);
        let is_known = asked.get(reset.key).is_some_and(|&asked| asked > reset.place);
        if !is_below && (is_known || !may_be_removed(index, reset)) {
            let words = format!("{position} was said to be out of range, though the log reaches from there to {high}");
            findings.add(Some(reset.key), words, [said, stood, reset.began, reset.place]);
        }
    }
}

/// Something at the position, or behind it, may have been removed before the reset: of what is there it is known that it was
/// too young.
fn may_be_removed(index: &Index<'_>, reset: &Reset<'_>) -> bool {
    let (key, place, position) = (reset.key, reset.place, reset.stood.1);
    position < index.trims.may_reach(&index.topics, key, place) || may_be_too_old(index, reset)
}

/// Records are removed in the order of their offsets: the first one that is known from the position on decides.
fn may_be_too_old(index: &Index<'_>, reset: &Reset<'_>) -> bool {
    let (key, place) = (reset.key, reset.place);
    let first = index.logs.get(key).and_then(|log| log.stored.range(reset.stood.1..).next());
    let value = first.and_then(|(_, stored)| stored.values.first());
    match value {
        Some(&(value, _)) => index.may_be_too_old(key, value, place),
        // What nobody knows may be as old as it likes.
        None => index.retention.is_limited(key),
    }
}
