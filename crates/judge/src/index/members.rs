//! What the members of a group have read between them, and from where they went on without having read what lies before.

use std::collections::BTreeMap;

use super::{Place, Topics};
use crate::{Client, Event, GroupName, Key, Start, What};

/// A group and a partition.
#[derive(Default)]
pub(crate) struct GroupReads {
    /// Offset and the first poll of it by a member.
    pub polled: BTreeMap<i64, Place>,
    /// Commits, in order: where they began and of which offset.
    pub commits: Vec<(Place, i64)>,
    /// Offsets to which somebody moved the group by will, in order: what lies before need not have been read.
    pub jumps: Vec<(Place, i64)>,
}

/// Where a member stands.
struct Member<'h> {
    group: Option<&'h GroupName>,
    wants: BTreeMap<&'h Key, i64>,
}

/// All groups.
pub(crate) struct Members<'h>(BTreeMap<(&'h GroupName, &'h Key), GroupReads>);

impl<'h> Members<'h> {
    pub fn new(events: &'h [Event], topics: &Topics<'_>) -> Self {
        let mut reads: BTreeMap<(&'h GroupName, &'h Key), GroupReads> = BTreeMap::new();
        let mut members: BTreeMap<Client, Member<'h>> = BTreeMap::new();
        for (place, event) in events.iter().enumerate() {
            match &event.what {
                What::Assigned { keys, group, .. } => {
                    let before = members.remove(&event.client).filter(|member| member.group == group.as_ref());
                    for (key, start) in keys {
                        // Without a committed offset it begins where it likes; what it had before, it goes on with.
                        let had = before.as_ref().and_then(|member| member.wants.get(key)).copied();
                        match (group, start) {
                            (Some(group), Start::At(offset)) if had.is_none_or(|had| *offset > had) => {
                                reads.entry((group, key)).or_default().jumps.push((place, *offset));
                            }
                            _ => {}
                        }
                    }
                    let start = |(key, start): &'h (Key, Start)| {
                        let (Start::At(offset) | Start::Committed(offset)) = *start;
                        (key, offset)
                    };
                    let member = Member { group: group.as_ref(), wants: keys.iter().map(start).collect() };
                    members.insert(event.client, member);
                }
                What::Reset { key, to } => {
                    let Some(Member { group: Some(group), wants }) = members.get_mut(&event.client) else { continue };
                    wants.insert(key, *to);
                    reads.entry((*group, key)).or_default().jumps.push((place, *to));
                }
                What::Polled { key, records, garbage, .. } if topics.is_open(key, place) => {
                    let Some(Member { group: Some(group), wants }) = members.get_mut(&event.client) else { continue };
                    let Some(want) = wants.get_mut(key) else { continue };
                    let polled = &mut reads.entry((*group, key)).or_default().polled;
                    let garbage = garbage.iter().map(|&(offset, _)| offset);
                    for offset in records.iter().map(|&(offset, _)| offset).chain(garbage) {
                        polled.entry(offset).or_insert(place);
                        *want = (*want).max(offset.saturating_add(1));
                    }
                }
                What::CommitBegan { group, key, offset, .. } if topics.is_open(key, place) => {
                    let member = members.get(&event.client).filter(|member| member.group == Some(group));
                    let wants = member.and_then(|member| member.wants.get(key));
                    let reads = reads.entry((group, key)).or_default();
                    if wants.is_none_or(|wants| offset > wants) {
                        reads.jumps.push((place, *offset));
                    }
                    reads.commits.push((place, *offset));
                }
                _ => {}
            }
        }
        Self(reads)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'h GroupName, &'h Key, &GroupReads)> {
        self.0.iter().map(|(&(group, key), reads)| (group, key, reads))
    }
}
