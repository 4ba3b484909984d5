//! **lost-write**: a record that was there is there no more.
//!
//! Flagged: a reader passed over the place of a record, polled something behind it, and nobody polled the record after
//! that. The place is known from the record's acknowledgement or from an earlier poll. Records become readable in the
//! order of their offsets and leave none out; so who reads on from before the place to behind it meets the record, at
//! whatever moment it was stored and however stale the answer was. Excused is what somebody had asked to trim by then.
//! What was polled later is the reader's loss and not the log's: that is poll-skip.

use super::Findings;
use super::poll_skip::{Skipped, skipped};
use crate::index::Index;

pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    let mut lost = std::collections::BTreeSet::new();
    for Skipped { over, offset, value, shown, last_polled } in skipped(index) {
        let is_lost = last_polled.is_none_or(|last| last <= over.polled);
        if is_lost && lost.insert((over.key, offset)) {
            let words = format!("{value} at {offset} is missing between {} and {}", over.from, over.to);
            findings.add(Some(over.key), words, [shown, over.stood, over.polled]);
        }
        if findings.is_full() {
            return;
        }
    }
}
