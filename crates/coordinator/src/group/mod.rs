//! Classic consumer groups and committed offsets, as Kafka's `GroupMetadataManager` and `OffsetMetadataManager`.
//!
//! [`Groups`] is the machine of one partition of `__consumer_offsets`. Its replicated state ([`stored`]) is what the log
//! says: offsets, and of each group the last generation whose assignment was written. Its soft state ([`classic`]) is the
//! groups as members see them: who waits, which generation is being formed, when sessions end. After a load soft state
//! begins at the stored generation, as after a move of Kafka's coordinator: members that are still there go on in it.
//!
//! ```text
//!            join                     all joined, or time is up               leader's sync is durable
//!  Empty ─────────► PreparingRebalance ───────────────────► CompletingRebalance ───────────────► Stable
//!    ▲                    ▲  │ nobody left                      │ join, leave, expiry               │
//!    └────────────────────┼──┘                                  │                                   │
//!                         └─────────────────────────────────────┴───────────────────────────────────┘
//! ```
//!
//! One file per kind of request: [`join`], [`sync`], [`membership`] (heartbeat, leave), [`offsets`] (commit, fetch, delete),
//! [`admin`] (describe, list, delete groups); [`rebalance`] moves groups from state to state, [`expiry`] does what is due.
//! Nothing here does I/O or waits: a request that waits for others leaves the sending end of its answer in the group.

pub mod admin;
pub mod classic;
pub mod expiry;
pub mod join;
pub mod membership;
pub mod memory;
pub mod offsets;
mod rebalance;
pub mod records;
pub mod stored;
pub mod sync;
mod timers;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use base::collections::HashMap;
use base::{Entropy, Uuid};
use bytes::Bytes;
use wire::{EncodeError, Str};

use crate::GroupConfig;
use crate::runtime::{Machine, Output, Record, ReplayError};
use classic::ClassicGroup;
use memory::{GroupsMemory, OffsetsMemory};
use records::{GroupRecord, owned};
use stored::Stored;
use timers::{Timer, Timers};

/// Whether there is a topic of this name and, unless that is nil, this id.
///
/// What it says is never older than the offsets of the shard: a topic is created before an offset of it is committed, and a
/// broker knows of all that was decided before it was given the shard. So a topic that is not there is not there any more.
pub type TopicExists = Arc<dyn Fn(&str, Uuid) -> bool + Send + Sync>;

/// Who sent a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// The request's version.
    pub version: i16,
    /// The client's id.
    pub id: String,
    /// Its address, as Java prints it.
    pub host: String,
}

/// What follows once a group's records are durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    /// The leader's assignment is stored: members get it.
    AssignmentStored {
        /// The group.
        group: Str,
        /// The generation that it is for.
        generation: i32,
    },
    /// A static member's new id is stored: the member hears it.
    StaticMemberStored {
        /// The group.
        group: Str,
        /// The new id.
        member: Str,
        /// The leader before, for clients that cannot be told to skip the assignment.
        leader_before: Str,
        /// Whether the client understands `skip_assignment` (JoinGroup v9).
        skips_assignment: bool,
    },
}

/// What a decision of the group machine yields.
pub type Out<'a> = Output<'a, After>;

/// The groups of one partition of `__consumer_offsets`.
pub struct Groups {
    config: Arc<GroupConfig>,
    entropy: Entropy,
    topic_exists: TopicExists,
    memory: GroupsMemory,
    stored: Stored,
    offsets_memory: OffsetsMemory,
    live: BTreeMap<Str, ClassicGroup>,
    timers: Timers,
    queued: Queued,
    /// The last group that the check of offsets has looked at, while one is under way.
    checked: Option<Str>,
}

/// How many records of each group are decided and not replayed: the queue is too long to be looked through for a request.
#[derive(Default)]
struct Queued {
    by_group: HashMap<Str, QueuedOf>,
    /// How many records of the present decision are counted already.
    counted: usize,
    /// Records that were read to be counted.
    #[cfg(test)]
    read: usize,
}

/// Those of one group; never none.
#[derive(Clone, Copy, Default)]
struct QueuedOf {
    offsets: u32,
    generations: u32,
}

impl QueuedOf {
    fn of(&mut self, kind: Kind) -> &mut u32 {
        match kind {
            Kind::Offset => &mut self.offsets,
            Kind::Generation => &mut self.generations,
        }
    }
}

impl Queued {
    /// Counts what the present decision has yielded so far.
    fn count(&mut self, decided: &[Record]) {
        for record in decided.iter().skip(self.counted) {
            #[cfg(test)]
            {
                self.read += 1;
            }
            if let Some((group, kind)) = group_of(record) {
                *self.by_group.entry(group).or_default().of(kind) += 1;
            }
        }
        self.counted = decided.len();
    }

    /// Counts the last records of what the present decision has yielded so far, which are offsets of one group: there may be
    /// very many, and all that each says is known.
    fn count_offsets(&mut self, group: &Str, offsets: usize, decided: &[Record]) {
        self.count(&decided[..decided.len().saturating_sub(offsets)]);
        if offsets > 0 {
            self.by_group.entry(owned(group)).or_default().offsets += offsets as u32;
        }
        self.counted = decided.len();
    }

    fn uncount(&mut self, record: &Record) {
        let Some((group, kind)) = group_of(record) else { return };
        let Some(queued) = self.by_group.get_mut(&group) else { return };
        let count = queued.of(kind);
        *count = count.saturating_sub(1);
        if queued.offsets == 0 && queued.generations == 0 {
            self.by_group.remove(&group);
        }
    }
}

/// What moving a group from state to state needs besides the group.
struct Step<'s, 'a> {
    config: &'s GroupConfig,
    timers: &'s mut Timers,
    out: &'s mut Out<'a>,
}

impl Groups {
    /// No groups.
    pub fn new(config: Arc<GroupConfig>, entropy: Entropy, topic_exists: TopicExists, memory: GroupsMemory) -> Self {
        Self {
            config,
            entropy,
            topic_exists,
            offsets_memory: memory.of_offsets(),
            memory,
            stored: Stored::default(),
            live: BTreeMap::default(),
            timers: Timers::default(),
            queued: Queued::default(),
            checked: None,
        }
    }

    /// Whether something of a group is decided and not replayed, in this decision or before.
    fn is_being_written(&mut self, id: &str, out: &Out<'_>) -> bool {
        self.queued.count(&out.records);
        self.queued.by_group.contains_key(id)
    }

    /// Whether something of a group is decided and not replayed.
    pub fn is_queued(&self, id: &str) -> bool {
        self.queued.by_group.contains_key(id)
    }

    /// Whether a look at a group, its offsets aside, shows nothing that is to be stored and is not yet. Who comes and
    /// goes without a record is no such thing.
    fn is_shown_durably(&self, id: &str) -> bool {
        self.queued.by_group.get(id).is_none_or(|queued| self.is_queued_unseen(id, *queued))
    }

    /// As [`Self::is_shown_durably`], of all groups.
    fn are_shown_durably(&self) -> bool {
        self.queued.by_group.iter().all(|(id, queued)| self.is_queued_unseen(id, *queued))
    }

    /// Offsets show in nothing but that there is their group, or that it is gone.
    fn is_queued_unseen(&self, id: &str, queued: QueuedOf) -> bool {
        queued.generations == 0 && self.live.contains_key(id) && self.stored.group(id).is_some()
    }

    /// The replicated state.
    #[cfg(test)]
    pub fn stored(&self) -> &Stored {
        &self.stored
    }

    /// A group as it is now.
    #[cfg(test)]
    pub fn group(&self, id: &str) -> Option<&ClassicGroup> {
        self.live.get(id)
    }

    /// A group that exists, with what is needed to move it on.
    fn step<'s, 'a>(&'s mut self, id: &str, out: &'s mut Out<'a>) -> Option<(&'s mut ClassicGroup, Step<'s, 'a>)> {
        let group = self.live.get_mut(id)?;
        Some((group, Step { config: &self.config, timers: &mut self.timers, out }))
    }

    /// Forgets a group that nobody is in and nothing is stored of, now or soon.
    fn forget_if_nothing(&mut self, id: &str, out: &Out<'_>) {
        let abandoned = self.live.get(id).is_some_and(ClassicGroup::is_abandoned);
        if !abandoned || self.stored.group(id).is_some() {
            return;
        }
        if !self.is_being_written(id, out) {
            self.forget(id);
        }
    }

    /// Forgets a group without members.
    fn forget(&mut self, id: &str) {
        let Some(group) = self.live.remove(id) else { return };
        // Clients that were given an id may still be about to join with it.
        group.pending.keys().for_each(|member| self.timers.cancel(&group.session(member)));
    }
}

/// What a record of a group says something of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Offset,
    Generation,
}

/// The group that a record is about, and what of it.
fn group_of(record: &Record) -> Option<(Str, Kind)> {
    let key = Record { key: record.key.clone(), value: None };
    match records::decode(&key) {
        Ok(GroupRecord::Offset { group, .. }) => Some((group, Kind::Offset)),
        Ok(GroupRecord::Group { group, .. }) => Some((group, Kind::Generation)),
        Ok(GroupRecord::Other) | Err(_) => None,
    }
}

impl Machine for Groups {
    type After = After;

    fn replay(&mut self, record: &Record) -> Result<(), ReplayError> {
        self.stored.replay(record)?;
        self.offsets_memory.follow(self.stored.bytes());
        Ok(())
    }

    fn queued(&mut self, records: &[Record]) {
        self.queued.count(records);
        self.queued.counted = 0;
    }

    fn unqueued(&mut self, record: &Record) {
        self.queued.uncount(record);
    }

    fn loaded(&mut self, out: &mut Out<'_>) {
        self.live = self
            .stored
            .groups()
            .map(|(id, stored)| {
                let group = match &stored.metadata {
                    Some(value) => ClassicGroup::from_value(id.clone(), value, &self.memory),
                    // Only offsets: a group without members that never had a protocol.
                    None => ClassicGroup::new(id.clone(), &self.memory),
                };
                (id.clone(), group)
            })
            .collect();
        self.begin_sessions(out);
        self.forget_absent_topics(out);
        self.timers.set(out.now.monotonic_ms + self.config.offsets_retention_check_ms, Timer::Retention);
    }

    fn durable(&mut self, after: After, out: &mut Out<'_>) {
        match after {
            After::AssignmentStored { group, generation } => self.assignment_stored(&group, generation, out),
            After::StaticMemberStored { group, member, leader_before, skips_assignment } => {
                self.static_member_stored(&group, &member, leader_before, skips_assignment, out);
            }
        }
    }

    fn tick(&mut self, out: &mut Out<'_>) {
        self.expire_due(out);
    }

    fn next_deadline_ms(&self) -> Option<u64> {
        self.timers.next_ms()
    }

    fn snapshot_records(&self) -> u64 {
        self.stored.record_count()
    }

    fn snapshot(
        &self,
        after: Option<&Bytes>,
        each: &mut dyn FnMut(Record) -> ControlFlow<()>,
    ) -> Result<(), EncodeError> {
        self.stored.snapshot(after, each)
    }
}
