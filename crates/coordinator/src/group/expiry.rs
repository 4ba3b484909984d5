//! What happens when time passes: sessions, rebalance deadlines, and the retention of offsets.

use base::Uuid;
use base::collections::{HashMap, HashSet};
use wire::Str;

use super::classic::{ClassicGroup, GroupState};
use super::records::GroupRecord;
use super::stored::{CommittedOffset, StoredGroup};
use super::timers::Timer;
use super::{Groups, Out, group_of, records};

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
                    self.expire_offsets(out);
                    // Whoever should have removed them when their topics were deleted may have failed.
                    self.forget_absent_topics(out);
                    self.timers.set(now_ms + self.config.offsets_retention_check_ms, Timer::Retention);
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
        if was_pending {
            step.complete_join_if_all_joined(group);
        } else {
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
        let exists = self.topic_exists.clone();
        self.forget_offsets(|topic, topic_id| !exists(topic, topic_id), out);
    }

    /// Removes the offsets of deleted topics, by name and id. There may be a new topic of the same name by now, whose
    /// offsets stay; those without an id go with the name. Kafka's `OffsetMetadataManager.onTopicsDeleted`.
    pub fn topics_deleted(&mut self, topics: &HashMap<Str, Uuid>, out: &mut Out<'_>) {
        let is_deleted = |topic: &str, topic_id: Uuid| {
            topics.get(topic).is_some_and(|deleted| topic_id.is_nil() || topic_id == *deleted)
        };
        self.forget_offsets(is_deleted, out);
    }

    /// Removes offsets by their topic's name and id, as they will be once everything decided is replayed.
    fn forget_offsets(&self, goes: impl Fn(&str, Uuid) -> bool, out: &mut Out<'_>) {
        let mut gone = HashSet::default();
        for (group, stored) in self.stored.groups() {
            for (topic, partitions) in &stored.offsets {
                let going = partitions.iter().filter(|(_, offset)| goes(topic, offset.topic_id));
                gone.extend(going.map(|(partition, _)| (group.clone(), topic.clone(), *partition)));
            }
        }
        for record in out.pending() {
            if let Ok(GroupRecord::Offset { group, topic, partition, value }) = records::decode(record) {
                let goes = value.is_some_and(|offset| goes(&topic, offset.topic_id));
                let key = (group, topic, partition);
                if goes {
                    gone.insert(key);
                } else {
                    // A newer offset, or none, stands in its place.
                    gone.remove(&key);
                }
            }
        }
        for (group, topic, partition) in gone {
            push_tombstone(&group, &topic, partition, out);
        }
    }

    /// Removes offsets that nobody has needed for as long as the retention says, and groups that have nothing left.
    fn expire_offsets(&mut self, out: &mut Out<'_>) {
        // What is being written now is not looked at: its turn comes with the next check.
        let busy: HashSet<Str> = out.pending().filter_map(group_of).collect();
        let now = out.now.wall.0;
        let mut gone = Vec::new();
        for (id, group) in self.live.iter().filter(|(id, _)| !busy.contains(*id)) {
            let stored = self.stored.group(id);
            let kept = expire_group(group, stored, now, self.config.offsets_retention_ms, out);
            if !kept && group.is_abandoned() {
                gone.push((id.clone(), stored.is_some_and(|stored| stored.metadata.is_some())));
            }
        }
        for (id, has_metadata) in gone {
            tracing::info!(group = %id, "group removed: it has no members and no offsets");
            self.forget(&id);
            if has_metadata {
                push_group_tombstone(&id, out);
            }
        }
    }
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
