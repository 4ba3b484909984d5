//! **lost-write**: a record that was there is there no more.
//!
//! Flagged: a reader passed over the place of a record, polled something behind it, and nobody polled the record after
//! that. The place is known from the record's acknowledgement or from an earlier poll. Records become readable in the
//! order of their offsets and leave none out; so who reads on from before the place to behind it meets the record, at
//! whatever moment it was stored and however stale the answer was. What was polled later is the reader's loss and not the
//! log's: that is poll-skip.
//!
//! Excused is what may have been removed by then: what somebody had asked to trim, or what was too old, below a log start
//! that was told at any time. What is removed lies below the log start, which does not go back.

use super::Findings;
use super::poll_skip::{Skipped, records_in_a_row, skipped};
use crate::index::Index;

const RECORDS: &str = "records that a reader was given where it stood";
pub(super) const PARTS: &[&str] = &[RECORDS];

pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    findings.looks_at_many(RECORDS, records_in_a_row(index));
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
