//! **deleted-topic**: what was deleted was read.
//!
//! Flagged: a poll of a record that was acknowledged before its topic's deletion began, when that deletion was done so
//! long before the fetch that every broker knew of it ([`crate::Fetches`]). Brokers hear of a deletion one after the other, so one that has
//! not may still serve the topic until it has. A record that was sent while the topic was deleted may lie in a successor of
//! the same name, where it may be read.

use super::Findings;
use crate::Key;
use crate::index::{Index, Place};

const FETCHES: &str = "fetches of deleted topics";
pub(super) const PARTS: &[&str] = &[FETCHES];

pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    // Refused, as it should be.
    for fetch in &index.polls.refused {
        if deletion(index, fetch.key, fetch.began).is_some() {
            findings.looks_at(FETCHES);
        }
    }
    for poll in &index.polls.closed {
        let Some((deleted, done)) = deletion(index, poll.key, poll.began) else { continue };
        findings.looks_at(FETCHES);
        for &(offset, value) in poll.records {
            let Some(send) = index.sends.get(value).filter(|send| send.key == poll.key) else { continue };
            if let Some(acknowledged) = send.done().filter(|&acknowledged| acknowledged < deleted) {
                let words = format!("{value} at {offset} was read after the topic had been deleted");
                findings.add(
                    Some(poll.key),
                    words,
                    [acknowledged, done].into_iter().chain(poll.began).chain([poll.place]),
                );
            }
        }
    }
}

/// Where the topic's deletion began and where it was done, if whoever answers a fetch that began there must know of it.
fn deletion(index: &Index<'_>, key: &Key, began: Option<Place>) -> Option<(Place, Place)> {
    let deletion = index.topics.deletion(&key.topic)?;
    let since = index.current_since(began)?;
    deletion.done.filter(|&done| done < since).map(|done| (deletion.began, done))
}
