//! **inconsistent-offset**: an offset of a partition holds two values.
//!
//! Flagged: an offset at which polls, or a poll and an acknowledgement, or two acknowledgements show different values. What
//! may be read at an offset is the same for ever, until it is removed; no acknowledgement and no poll comes before it may
//! be read. So neither faults nor stale answers excuse it.

use super::Findings;
use crate::index::Index;

const OFFSETS: &str = "offsets of which something is known";
pub(super) const PARTS: &[&str] = &[OFFSETS];

pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    for (key, log) in index.logs.iter() {
        findings.looks_at_many(OFFSETS, log.stored.len());
        for (offset, stored) in &log.stored {
            if let [(one, shown), (other, shown_too), ..] = stored.values[..] {
                let words = format!("offset {offset} holds {one} and {other}");
                findings.add(Some(key), words, [shown, shown_too]);
            }
        }
    }
}
