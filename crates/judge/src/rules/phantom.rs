//! **phantom**: something was read that nobody had sent there.
//!
//! Flagged: a polled value that nobody had begun to send before, one that was sent to another partition, and a record that
//! holds no value at all. Excused is a value whose topic's deletion had begun before its send had ended, found in the same
//! partition of another topic that may have the same name: a request that names the topic reaches the one that has the name
//! now. Not so one that names its id, where that was promised of all ([`crate::Promises`]).

use std::collections::BTreeSet;

use super::Findings;
use crate::index::{Index, Poll, Send};

const VALUES: &str = "values that were read";
pub(super) const PARTS: &[&str] = &[VALUES];

pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    let (mut known, mut garbage) = (BTreeSet::new(), BTreeSet::new());
    for poll in &index.polls.open {
        for (offset, why) in poll.garbage {
            if garbage.insert((poll.key, offset)) {
                findings.add(
                    Some(poll.key),
                    format!("the record at {offset} is none that was sent: {why}"),
                    [poll.place],
                );
            }
        }
        for &(offset, value) in poll.records {
            if !known.insert((poll.key, value)) {
                continue;
            }
            findings.looks_at(VALUES);
            match index.sends.get(value) {
                None => {
                    let words = format!("{value} at {offset} was never sent");
                    findings.add(Some(poll.key), words, [poll.place]);
                }
                Some(send) if send.began > poll.place => {
                    let words = format!("{value} at {offset} was read before it was sent");
                    findings.add(Some(poll.key), words, [poll.place, send.began]);
                }
                Some(send) if send.key != poll.key && !may_have_strayed(index, send, poll) => {
                    let words = format!("{value} at {offset} was sent to {}", send.key);
                    findings.add(Some(poll.key), words, [send.began, poll.place]);
                }
                Some(_) => {}
            }
        }
    }
}

fn may_have_strayed(index: &Index<'_>, send: &Send<'_>, poll: &Poll<'_>) -> bool {
    if index.promises.sends_by_id {
        return false;
    }
    let Some(deletion) = index.topics.deletion(&send.key.topic) else { return false };
    let is_successor =
        send.key.partition == poll.key.partition && index.topics.may_share_name(&send.key.topic, &poll.key.topic);
    is_successor && deletion.began < poll.place && send.done().is_none()
}
