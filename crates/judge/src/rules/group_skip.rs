//! **group-skip**: a group went past a record that none of its members was given.
//!
//! A member commits where it reads on, and begins where the group has committed. So when it commits an offset, all records
//! before it were given to some member, step by step: what lies between its start and its position to itself, what lies
//! before its start to whoever committed that.
//!
//! Flagged: a member commits an offset, and below it lies a record that somebody polled (so it is there), but no member of
//! the group before that commit. Excused is what lies below an offset to which somebody moved the group by will: a start
//! that is no committed one and does not go on with what the member had, a reset, a commit of who is not a member or has
//! not read so far; what may have been removed ([`super::lost_write`]); and a group that has committed offsets of the same
//! partition of a deleted topic that may have had the same name, for it may begin there.

use super::Findings;
use crate::index::{GroupReads, Index, Place};
use crate::{GroupName, Key};

const RECORDS: &str = "records below committed offsets";
pub(super) const PARTS: &[&str] = &[RECORDS];

pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    for (group, key, reads) in index.members.iter() {
        if index.commits.may_be_of_another(&index.topics, group, key, None) {
            continue;
        }
        follow(index, findings, group, key, reads);
    }
}

/// Each offset is looked at once: what was given before a commit was given before a later one.
fn follow(index: &Index<'_>, findings: &mut Findings, group: &GroupName, key: &Key, reads: &GroupReads) {
    let Some(log) = index.logs.get(key) else { return };
    let mut jumps = reads.jumps.iter().peekable();
    let mut checked = 0;
    for &(place, offset) in &reads.commits {
        while let Some(&(_, to)) = jumps.next_if(|&&(jumped, _)| jumped <= place) {
            checked = to.max(checked);
        }
        if checked >= offset {
            continue;
        }
        for (at, stored) in log.stored.range(checked..offset) {
            let (Some((polled, _)), Some(&(value, _))) = (stored.polled, stored.values.first()) else { continue };
            if index.may_be_removed(key, *at, value, place) {
                continue;
            }
            findings.looks_at(RECORDS);
            if reads.polled.get(at).is_none_or(|&given| given > place) {
                let words = format!("{group} commits {offset}, but no member was given {value} at {at}");
                findings.add(Some(key), words, shows(reads, *at, polled, place));
            }
        }
        checked = offset;
    }
}

fn shows(reads: &GroupReads, at: i64, polled: Place, commit: Place) -> Vec<Place> {
    let behind = reads.polled.range(at..).map(|(_, &given)| given).find(|&given| given < commit);
    [polled, commit].into_iter().chain(behind).collect()
}
