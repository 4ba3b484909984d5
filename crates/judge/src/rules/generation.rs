//! **generation**: who is of a generation that is over still has a part in the group.
//!
//! A group's generations follow each other, and each is told to its members when all have joined it. Flagged:
//!
//! - A commit for a generation that was done, though it began after somebody had been told a later one: it is to be refused
//!   (`ClassicGroup.validateOffsetCommit`: ILLEGAL_GENERATION). A coordinator that was replaced does not know of the later
//!   generation, but it cannot write either.
//! - A partition that two members were assigned in one generation. Excused are two of which the former did nothing any more
//!   when the latter was assigned it, and two under one static name: who comes under it is given what it had, and whoever had
//!   it before learns of that by its next request (KIP-345).
//!
//! That a commit of unknown outcome is not applied any more once its generation is over is a part of committed-offset.

use std::collections::BTreeMap;

use super::Findings;
use crate::index::{Index, Place};
use crate::{Client, GroupName, Key, Outcome, What};

const COMMITS: &str = "commits for a generation that is over";
const ASSIGNED: &str = "partitions that were assigned in a generation";
pub(super) const PARTS: &[&str] = &[COMMITS, ASSIGNED];

pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    let mut lasts: BTreeMap<Client, Place> = BTreeMap::new();
    lasts.extend(index.events.iter().enumerate().map(|(place, event)| (event.client, place)));
    let mut late: BTreeMap<(Client, u64), (Place, Place, &Key)> = BTreeMap::new();
    let mut assigned: BTreeMap<(&GroupName, i32, &Key), (Client, Place)> = BTreeMap::new();
    let mut names: BTreeMap<(Client, &GroupName), &str> = BTreeMap::new();
    for (place, event) in index.events.iter().enumerate() {
        match &event.what {
            What::CommitBegan { group, key, number, generation: Some(generation), .. } => {
                let over = index.generations.over(group, *generation).filter(|&over| over < place);
                late.extend(over.map(|over| ((event.client, *number), (over, place, key))));
            }
            What::CommitEnded { number, outcome } => {
                let Some((over, began, key)) = late.remove(&(event.client, *number)) else { continue };
                findings.looks_at(COMMITS);
                if *outcome == Outcome::Done(()) {
                    let words = "a commit was done for a generation that was over".to_owned();
                    findings.add(Some(key), words, [over, began, place]);
                }
            }
            What::Static { name, group } => {
                names.insert((event.client, group), name);
            }
            What::Assigned { keys, group: Some(group), generation: Some(generation) } => {
                for (key, _) in keys {
                    findings.looks_at(ASSIGNED);
                    let now = (event.client, place);
                    let Some((other, before)) = assigned.insert((group, *generation, key), now) else { continue };
                    let last = lasts.get(&other).copied().filter(|&last| other != event.client && last > place);
                    let name = |client| names.get(&(client, group));
                    let is_taken_over = name(other).is_some_and(|_| name(other) == name(event.client));
                    if let Some(last) = last.filter(|_| !is_taken_over) {
                        let words =
                            format!("{other} and {} have it in generation {generation} of {group}", event.client);
                        findings.add(Some(key), words, [before, place, last]);
                    }
                }
            }
            _ => {}
        }
    }
}
