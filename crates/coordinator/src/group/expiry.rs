//! What happens when time passes: sessions, rebalance deadlines, and the retention of offsets.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use base::Uuid;
use base::collections::HashMap;
use wire::Str;

use super::classic::{ClassicGroup, GroupState};
use super::records::GroupRecord;
use super::stored::{CommittedOffset, StoredGroup};
use super::timers::Timer;
use super::{Groups, Out, records};
use crate::limits::GROUPS_WALK_OFFSETS_MAX;

impl Groups {
    /// Does what is due.
    pub(super) fn expire_due(&mut self, out: &mut Out<'_>) {
        let now_ms = out.now.monotonic_ms;
        while let Some(timer) = self.timers.pop_due(now_ms) {
            match timer {
                Timer::Session { group, member } => self.session_timer(&group, &member, out),
                Timer::Join { group } => {
                    if let Some((group, mut step)) = self.step(&group, out) {
                        step.join_deadline(group);
                    }
                }
                Timer::Sync { group } => {
                    if let Some((group, mut step)) = self.step(&group, out) {
                        step.sync_deadline(group);
                    }
                }
                Timer::Retention => {
                    let is_done = self.check_offsets(out);
                    let again_ms = if is_done { self.config.offsets_retention_check_ms } else { WALK_PAUSE_MS };
                    self.timers.set(now_ms + again_ms, Timer::Retention);
                }
            }
        }
    }

    fn session_timer(&mut self, id: &Str, member: &Str, out: &mut Out<'_>) {
        let Some((group, mut step)) = self.step(id, out) else { return };
        if !group.session_ended(member, step.out.now.monotonic_ms, step.timers) {
            return;
        }
        tracing::info!(group = %id, %member, "member removed: its session ended");
        let was_pending = group.pending.contains_key(member);
        step.remove(group, member);
        if group.state == GroupState::PreparingRebalance {
            // Nobody is waited for any more, as in Kafka: a first wait ends with this, too, though with no member's leave.
            if group.all_joined() {
                step.complete_join(group);
            }
        } else if !was_pending {
            step.after_removal(group, "a member's session ended");
        }
        self.forget_if_nothing(id, out);
    }

    /// After a load: members have one session's time to show that they are still there.
    pub(super) fn begin_sessions(&mut self, out: &mut Out<'_>) {
        for id in self.live.keys().cloned().collect::<Vec<_>>() {
            let Some((group, mut step)) = self.step(&id, out) else { continue };
            for member in group.members.keys().cloned().collect::<Vec<_>>() {
                step.renew_session(group, &member);
            }
            if group.members.len() > step.config.members_max {
                step.prepare(group, "the group is larger than group.max.size");
            }
        }
    }

    /// Removes the offsets of topics that are not there any more, whenever they were deleted.
    pub(super) fn forget_absent_topics(&mut self, out: &mut Out<'_>) {
        let all: Vec<Str> = self.live.keys().cloned().collect();
        self.forget_absent(&all, Look::StoredOnly, out);
    }

    fn forget_absent(&mut self, groups: &[Str], look: Look, out: &mut Out<'_>) {
        let exists = self.topic_exists.clone();
        self.forget_offsets(groups, &|topic, topic_id| !exists(topic, topic_id), look, out);
    }

    /// Removes the offsets of deleted topics, by name and id, from the groups behind `after`, as many as may be looked at
    /// at once; the last of them, if there are more. There may be a new topic of the same name by now, whose offsets stay;
    /// those without an id go with the name. Kafka's `OffsetMetadataManager.onTopicsDeleted`.
    pub fn topics_deleted(
        &mut self,
        topics: &HashMap<Str, Uuid>,
        after: Option<&Str>,
        out: &mut Out<'_>,
    ) -> Option<Str> {
        let is_deleted = |topic: &str, topic_id: Uuid| {
            topics.get(topic).is_some_and(|deleted| topic_id.is_nil() || topic_id == *deleted)
        };
        let (groups, last) = self.walk(after);
        self.forget_offsets(&groups, &is_deleted, Look::at_first(after), out);
        last
    }

    /// The groups behind `after`, as many as may be looked at under the shard's lock at once; the last of them, if there are
    /// more.
    fn walk(&self, after: Option<&Str>) -> (Vec<Str>, Option<Str>) {
        let behind = after.map_or(Unbounded, |group| Excluded(group.as_str()));
        let (mut groups, mut looked_at) = (Vec::new(), 0);
        for id in self.live.range::<str, _>((behind, Unbounded)).map(|(id, _)| id) {
            if looked_at >= GROUPS_WALK_OFFSETS_MAX {
                let last = groups.last().cloned();
                return (groups, last);
            }
            looked_at +=
                1 + self.committed(id).into_iter().flatten().map(|(_, partitions)| partitions.len()).sum::<usize>();
            groups.push(id.clone());
        }
        (groups, None)
    }

    /// Removes offsets of groups by their topic's name and id, as they will be once everything decided is replayed.
    fn forget_offsets(&mut self, groups: &[Str], goes: &dyn Fn(&str, Uuid) -> bool, look: Look, out: &mut Out<'_>) {
        let mut queued = None;
        let mut gone = Vec::new();
        if look == Look::StoredAndQueued {
            let queued = queued.get_or_insert_with(|| queued_offsets(out));
            let going = queued.iter().filter(|((_, topic, _), id)| id.is_some_and(|id| goes(topic, id)));
            gone.extend(going.map(|(key, _)| key.clone()));
        }
        for group in groups {
            let is_being_written = self.is_being_written(group, out);
            for (topic, partitions) in self.committed(group).into_iter().flatten() {
                for (partition, _) in partitions.iter().filter(|(_, offset)| goes(topic, offset.topic_id)) {
                    let key = (group.clone(), topic.clone(), *partition);
                    // A newer offset, or none, stands in its place.
                    let is_replaced =
                        is_being_written && queued.get_or_insert_with(|| queued_offsets(out)).contains_key(&key);
                    if !is_replaced {
                        gone.push(key);
                    }
                }
            }
        }
        for (group, topic, partition) in gone {
            push_tombstone(&group, &topic, partition, out);
        }
    }

    /// Goes on with the check of all groups: their expired offsets, and those of topics that are gone. Whether it is done.
    fn check_offsets(&mut self, out: &mut Out<'_>) -> bool {
        let after = self.checked.take();
        let (groups, last) = self.walk(after.as_ref());
        self.expire_offsets(&groups, out);
        // Whoever should have removed them when their topics were deleted may have failed.
        self.forget_absent(&groups, Look::at_first(after.as_ref()), out);
        self.checked = last;
        self.checked.is_none()
    }

    /// Removes offsets that nobody has needed for as long as the retention says, and groups that have nothing left.
    fn expire_offsets(&mut self, groups: &[Str], out: &mut Out<'_>) {
        let now = out.now.wall.0;
        for id in groups {
            // What is being written now is not looked at: its turn comes with the next check.
            if self.is_being_written(id, out) {
                continue;
            }
            let Some(group) = self.live.get(id.as_str()) else { continue };
            let stored = self.stored.group(id);
            let kept = expire_group(group, stored, now, self.config.offsets_retention_ms, out);
            if kept || !group.is_abandoned() {
                continue;
            }
            tracing::info!(group = %id, "group removed: it has no members and no offsets");
            let has_metadata = stored.is_some_and(|stored| stored.metadata.is_some());
            self.forget(id);
            if has_metadata {
                push_group_tombstone(id, out);
            }
        }
    }
}

/// How long a walk over all groups pauses after each piece.
const WALK_PAUSE_MS: u64 = 1;

/// Whether a removal looks for offsets that are decided and not replayed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    StoredOnly,
    StoredAndQueued,
}

impl Look {
    /// A walk looks into the queue where it begins.
    fn at_first(after: Option<&Str>) -> Self {
        if after.is_none() { Self::StoredAndQueued } else { Self::StoredOnly }
    }
}

/// A group, a topic and a partition.
type OffsetKey = (Str, Str, i32);

/// The offsets that are decided and not replayed, with their topics' ids; none where an offset goes.
fn queued_offsets(out: &Out<'_>) -> BTreeMap<OffsetKey, Option<Uuid>> {
    let offset = |record| match records::decode(record) {
        Ok(GroupRecord::Offset { group, topic, partition, value }) => {
            Some(((group, topic, partition), value.map(|offset| offset.topic_id)))
        }
        Ok(_) | Err(_) => None,
    };
    out.pending().filter_map(offset).collect()
}

/// Writes the end of a group's expired offsets; whether any are left.
fn expire_group(
    group: &ClassicGroup,
    stored: Option<&StoredGroup>,
    now: i64,
    retention_ms: i64,
    out: &mut Out<'_>,
) -> bool {
    let Some(stored) = stored else { return false };
    if stored.offsets.is_empty() {
        return false;
    }
    let Some(since) = retention_base(group) else { return true };
    let mut kept = false;
    for (topic, partitions) in &stored.offsets {
        if group.is_subscribed(topic) {
            kept = true;
            continue;
        }
        for (partition, offset) in partitions {
            let expired = match offset.expire_timestamp {
                Some(expires) => now >= expires,
                None => now.saturating_sub(since(offset)) >= retention_ms,
            };
            if expired {
                push_tombstone(&group.id, topic, *partition, out);
            } else {
                kept = true;
            }
        }
    }
    kept
}

/// From when an offset ages.
type AgesSince = Box<dyn Fn(&CommittedOffset) -> i64>;

/// From when a group's offsets age; `None` while they do not.
fn retention_base(group: &ClassicGroup) -> Option<AgesSince> {
    let commit_time = |offset: &CommittedOffset| offset.commit_timestamp;
    if group.protocol_type.is_none() {
        // A consumer that assigns itself: nobody knows whether it is there.
        return Some(Box::new(commit_time));
    }
    match group.state {
        GroupState::Empty => {
            let since = group.state_timestamp;
            Some(Box::new(move |offset| since.unwrap_or(offset.commit_timestamp)))
        }
        GroupState::Stable if group.uses_consumer_protocol() && group.subscribed.is_some() => {
            Some(Box::new(commit_time))
        }
        _ => None,
    }
}

/// Records that an offset is gone.
pub(super) fn push_tombstone(group: &Str, topic: &Str, partition: i32, out: &mut Out<'_>) {
    match records::offset(group, topic, partition, None) {
        Ok(record) => out.records.push(record),
        // Impossible for what was read from a record or from a request.
        Err(error) => tracing::error!(%group, %topic, partition, %error, "an offset cannot be removed"),
    }
}

/// Records that a group is gone.
pub(super) fn push_group_tombstone(group: &Str, out: &mut Out<'_>) {
    match records::group(group, None) {
        Ok(record) => out.records.push(record),
        Err(error) => tracing::error!(%group, %error, "a group cannot be removed"),
    }
}
