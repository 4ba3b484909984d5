//! Committed offsets: commit, fetch, delete.

use std::collections::BTreeSet;

use base::{TimestampMs, Uuid};
use wire::{ErrorCode, Str};

use super::classic::{ClassicGroup, GroupState};
use super::expiry::push_tombstone;
use super::records::{self, GroupRecord, owned};
use super::stored::{CommittedOffset, Offsets};
use super::{Groups, Out, group_of};
use crate::GroupConfig;
use crate::limits::OFFSET_BYTES_MIN;
use crate::runtime::Record;

/// The version from which a commit into a group that does not exist is told so.
const GROUP_ID_NOT_FOUND_FROM: i16 = 9;

/// Who commits.
#[derive(Clone, Copy, Debug)]
pub struct Committer<'r> {
    /// The request's version.
    pub version: i16,
    /// The group.
    pub group: &'r Str,
    /// The generation, or negative for a consumer that assigns itself.
    pub generation: i32,
    /// The member, or empty.
    pub member: &'r Str,
    /// Its instance id.
    pub instance: Option<&'r Str>,
}

/// An offset to commit.
#[derive(Clone, Debug)]
pub struct NewOffset {
    /// Of which topic.
    pub topic: Str,
    /// The topic's id.
    pub topic_id: Uuid,
    /// Of which partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// Leader epoch of the last record consumed, or -1.
    pub leader_epoch: i32,
    /// The consumer's own text.
    pub metadata: Option<Str>,
    /// When it was committed, if the request says so (OffsetCommit v1). It ages from then.
    pub commit_timestamp: Option<i64>,
}

impl NewOffset {
    /// What it takes at most once it is encoded for a commit into `group`.
    pub fn bytes(&self, group: &Str) -> usize {
        offset_bytes(group, &self.topic, self.metadata.as_deref())
    }

    /// Its record, for a commit into `group` at `now`; `retention_ms` is the request's own, if it has one. A commit may
    /// be of very many, for which no group should wait: this is done before any is looked at.
    pub fn encode(
        &self,
        group: &Str,
        now: TimestampMs,
        retention_ms: Option<i64>,
        config: &GroupConfig,
    ) -> EncodedOffset {
        let metadata_max = config.offset_metadata_bytes_max;
        let metadata = self.metadata.clone().unwrap_or_default();
        // Kafka counts as Java does; there are never more units than bytes.
        let record = if metadata.len() > metadata_max && metadata.encode_utf16().count() > metadata_max {
            Err(ErrorCode::OffsetMetadataTooLarge)
        } else {
            let value = CommittedOffset {
                offset: self.offset,
                leader_epoch: self.leader_epoch,
                metadata,
                commit_timestamp: self.commit_timestamp.unwrap_or(now.0),
                expire_timestamp: retention_ms.map(|retention| now.0.saturating_add(retention)),
                topic_id: self.topic_id,
                unknown_tagged_fields: Vec::new(),
            };
            let record = records::offset(group, &self.topic, self.partition, Some(&value));
            record.map_err(|_| ErrorCode::UnknownServerError)
        };
        EncodedOffset { topic: self.topic.clone(), topic_id: self.topic_id, record }
    }
}

/// What an offset takes at most once it is encoded for a commit into `group`.
pub fn offset_bytes(group: &str, topic: &str, metadata: Option<&str>) -> usize {
    OFFSET_BYTES_MIN + group.len() + topic.len() + metadata.map_or(0, str::len)
}

/// What a commit is told that is too large for the log. Kafka 4.4 has no word for it in `commitOffsets`; 3.9, the last to
/// speak version 1, had.
pub fn too_large(version: i16) -> ErrorCode {
    if version < 2 { ErrorCode::InvalidCommitOffsetSize } else { ErrorCode::UnknownServerError }
}

/// An offset whose record is made.
#[derive(Clone, Debug)]
pub struct EncodedOffset {
    topic: Str,
    topic_id: Uuid,
    /// The record, or why there is none.
    record: Result<Record, ErrorCode>,
}

impl Groups {
    /// Commits offsets, each with its own outcome. They were encoded for this group.
    ///
    /// # Errors
    /// Why none was committed.
    pub fn commit(
        &mut self,
        committer: &Committer<'_>,
        offsets: Vec<EncodedOffset>,
        out: &mut Out<'_>,
    ) -> Result<Vec<Result<(), ErrorCode>>, ErrorCode> {
        let id = committer.group.as_str();
        if !self.live.contains_key(id) {
            if committer.generation >= 0 {
                let from = GROUP_ID_NOT_FOUND_FROM;
                let old = committer.version < from;
                return Err(if old { ErrorCode::IllegalGeneration } else { ErrorCode::GroupIdNotFound });
            }
            self.memory.check_room(id)?;
            let id = owned(committer.group);
            self.live.insert(id.clone(), ClassicGroup::new(id, &self.memory));
        }
        let topic_exists = self.topic_exists.clone();
        let before = out.records.len();
        let outcome = match self.step(id, out) {
            Some((group, mut step)) => check_commit(group, committer).and_then(|()| {
                if matches!(group.state, GroupState::Stable | GroupState::PreparingRebalance) {
                    step.renew_session(group, committer.member);
                }
                // One topic's partitions come together.
                let mut looked_at: Option<(Str, Uuid, bool)> = None;
                let mut is_too_large = false;
                let commit = |offset: EncodedOffset| {
                    let EncodedOffset { topic, topic_id, record } = offset;
                    let exists = match &looked_at {
                        Some((of, id, exists)) if *of == topic && *id == topic_id => *exists,
                        _ => topic_exists(&topic, topic_id),
                    };
                    looked_at = Some((topic, topic_id, exists));
                    // It may have been deleted since it was looked up, and whoever removes its offsets have been here.
                    if !exists {
                        return Err(ErrorCode::UnknownTopicOrPartition);
                    }
                    let record = record?;
                    if record.bytes() > step.out.record_bytes_max {
                        is_too_large = true;
                        return Err(too_large(committer.version));
                    }
                    step.out.records.push(record);
                    Ok(())
                };
                let outcomes: Vec<_> = offsets.into_iter().map(commit).collect();
                if is_too_large {
                    // As in Kafka, where all of them are one batch, which the log does not take.
                    step.out.records.truncate(before);
                    return Err(too_large(committer.version));
                }
                if outcomes.contains(&Ok(())) {
                    // It is there for its offsets, for as long as those.
                    group.is_new = None;
                }
                Ok(outcomes)
            }),
            None => Err(ErrorCode::UnknownServerError),
        };
        self.queued.count_offsets(committer.group, out.records.len() - before, &out.records);
        self.forget_if_nothing(id, out);
        outcome
    }

    /// A group's committed offsets.
    pub fn committed(&self, group: &str) -> Option<&Offsets> {
        self.stored.group(group).map(|stored| &stored.offsets)
    }

    /// Removes committed offsets, each with its own outcome: those of topics that members subscribe to stay.
    ///
    /// # Errors
    /// Why none was removed.
    pub fn delete_offsets(
        &mut self,
        id: &Str,
        asked: &[(Str, i32)],
        out: &mut Out<'_>,
    ) -> Result<Vec<Result<(), ErrorCode>>, ErrorCode> {
        let group = self.live.get(id.as_str()).ok_or(ErrorCode::GroupIdNotFound)?;
        if group.state != GroupState::Empty && !group.uses_consumer_protocol() {
            return Err(ErrorCode::NonEmptyGroup);
        }
        let mut there = self.offset_keys(id, out);
        let group = self.live.get(id.as_str()).ok_or(ErrorCode::GroupIdNotFound)?;
        let mut outcomes = Vec::with_capacity(asked.len());
        for (topic, partition) in asked {
            if group.is_subscribed(topic) {
                outcomes.push(Err(ErrorCode::GroupSubscribedToTopic));
                continue;
            }
            // One that is named again is gone already.
            if there.remove(&(topic.clone(), *partition)) {
                push_tombstone(id, topic, *partition, out);
            }
            outcomes.push(Ok(()));
        }
        Ok(outcomes)
    }

    /// The offsets that a group has or will have once everything decided is replayed.
    pub(super) fn offset_keys(&mut self, id: &str, out: &Out<'_>) -> BTreeSet<(Str, i32)> {
        let mut keys = BTreeSet::new();
        for (topic, partitions) in self.committed(id).into_iter().flatten() {
            keys.extend(partitions.keys().map(|partition| (topic.clone(), *partition)));
        }
        if !self.is_being_written(id, out) {
            return keys;
        }
        for record in out.pending().filter(|record| group_of(record).is_some_and(|(group, _)| group == *id)) {
            match records::decode(record) {
                Ok(GroupRecord::Offset { group, topic, partition, value }) if group == *id => {
                    if value.is_some() {
                        keys.insert((topic, partition));
                    } else {
                        keys.remove(&(topic, partition));
                    }
                }
                _ => {}
            }
        }
        keys
    }
}

/// Kafka's `ClassicGroup.validateOffsetCommit`.
fn check_commit(group: &ClassicGroup, committer: &Committer<'_>) -> Result<(), ErrorCode> {
    if committer.generation < 0 && group.state == GroupState::Empty {
        // An operator, or a consumer that assigns itself.
        return Ok(());
    }
    if committer.generation < 0 && committer.member.is_empty() && committer.instance.is_none() {
        return Err(ErrorCode::UnknownMemberId);
    }
    group.check_member(committer.member, committer.instance)?;
    if committer.generation != group.generation {
        return Err(ErrorCode::IllegalGeneration);
    }
    if group.state == GroupState::CompletingRebalance {
        // The member knows the new generation and has no assignment in it yet.
        return Err(ErrorCode::RebalanceInProgress);
    }
    Ok(())
}
