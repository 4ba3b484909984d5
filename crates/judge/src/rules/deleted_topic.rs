//! **deleted-topic**: what was deleted was read.
//!
//! Flagged: a poll of a record that was acknowledged before its topic's deletion began, when that deletion was done so
//! long before the fetch that every broker knew of it ([`crate::Fetches`]). Brokers hear of a deletion one after the other, so one that has
//! not may still serve the topic until it has. A record that was sent while the topic was deleted may lie in a successor of
//! the same name, where it may be read.

use super::Findings;
use crate::index::Index;

pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    for poll in &index.polls.closed {
        let Some(deletion) = index.topics.deletion(&poll.key.topic) else { continue };
        let (Some(done), Some(since)) = (deletion.done, index.current_since(poll)) else { continue };
        if done >= since {
            continue;
        }
        for &(offset, value) in poll.records {
            let Some(send) = index.sends.get(value).filter(|send| send.key == poll.key) else { continue };
            if let Some(acknowledged) = send.done().filter(|&acknowledged| acknowledged < deletion.began) {
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
