//! **failed-read**: what certainly failed was read.
//!
//! Flagged: a polled value whose send ended in a failure, before or after. A producer says so only of what the broker
//! refused for good, or what it never sent (Jepsen's aborted read, G1a). Of all else the outcome is unknown, and it may
//! show at any later moment.

use std::collections::BTreeSet;

use super::Findings;
use crate::index::{Ending, Index};

const FAILED: &str = "sends that failed";
pub(super) const PARTS: &[&str] = &[FAILED];

pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    let failed = index.sends.iter().filter(|(_, send)| matches!(send.ended, Some((_, Ending::Failed))));
    findings.looks_at_many(FAILED, failed.count());
    let mut found = BTreeSet::new();
    for poll in &index.polls.open {
        for &(offset, value) in poll.records {
            let Some(send) = index.sends.get(value) else { continue };
            let Some((ended, Ending::Failed)) = send.ended else { continue };
            if found.insert(value) {
                let words = format!("{value} at {offset} was read, though sending it failed");
                findings.add(Some(poll.key), words, [send.began, ended, poll.place]);
            }
        }
    }
}
