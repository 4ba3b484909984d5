//! The replicated state of a shard: committed offsets and the last stored generation of each group. It changes in
//! [`Stored::replay`] and nowhere else.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::Uuid;
use hashbrown::HashMap;
use wire::Str;
use wire::records::{GroupMetadataValue, OffsetCommitValue};

use super::records::{self, GroupRecord, owned, owned_bytes};
use crate::runtime::{Record, ReplayError};

/// An offset that a group committed. It is of the topic with `topic_id`, and not of a later one of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to consume.
    pub offset: i64,
    /// Leader epoch of the last record consumed, or -1.
    pub leader_epoch: i32,
    /// The consumer's own text.
    pub metadata: Str,
    /// When it was committed.
    pub commit_timestamp: i64,
    /// When it expires, if its request said so (OffsetCommit v2–v4).
    pub expire_timestamp: Option<i64>,
    /// The topic; nil where the record does not tell: in value versions before 4.
    pub topic_id: Uuid,
}

impl CommittedOffset {
    /// Whether it may be of this topic. Kafka's `isMismatchedTopicId`, the other way round.
    pub fn is_of(&self, topic_id: Uuid) -> bool {
        self.topic_id.is_nil() || self.topic_id == topic_id
    }

    pub(super) fn from_value(value: &OffsetCommitValue) -> Self {
        Self {
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata: value.metadata.clone(),
            commit_timestamp: value.commit_timestamp,
            expire_timestamp: (value.expire_timestamp != -1).then_some(value.expire_timestamp),
            topic_id: value.topic_id,
        }
    }

    pub(super) fn to_value(&self) -> OffsetCommitValue {
        OffsetCommitValue {
            offset: self.offset,
            leader_epoch: self.leader_epoch,
            metadata: self.metadata.clone(),
            commit_timestamp: self.commit_timestamp,
            expire_timestamp: self.expire_timestamp.unwrap_or(-1),
            topic_id: self.topic_id,
            ..Default::default()
        }
    }
}

/// A group's offsets, by topic and partition.
pub type Offsets = BTreeMap<Str, BTreeMap<i32, CommittedOffset>>;

/// What is stored of one group; never both empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoredGroup {
    /// Committed offsets.
    pub offsets: Offsets,
    /// The last stored generation.
    pub metadata: Option<Arc<GroupMetadataValue>>,
}

/// The replicated state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stored {
    groups: HashMap<Str, StoredGroup>,
    /// Offsets and generations, to know what a snapshot costs.
    records: u64,
}

impl Stored {
    /// Takes in a record.
    pub fn replay(&mut self, record: &Record) -> Result<(), ReplayError> {
        match records::decode(record)? {
            GroupRecord::Offset { group, topic, partition, value: Some(value) } => {
                let value = CommittedOffset { metadata: owned(&value.metadata), ..value };
                let offsets = &mut self.group_mut(&group).offsets;
                let of_topic = match offsets.get_mut(topic.as_str()) {
                    Some(of_topic) => of_topic,
                    None => offsets.entry(owned(&topic)).or_default(),
                };
                self.records += u64::from(of_topic.insert(partition, value).is_none());
            }
            GroupRecord::Offset { group, topic, partition, value: None } => {
                let Some(stored) = self.groups.get_mut(group.as_str()) else { return Ok(()) };
                if let Some(of_topic) = stored.offsets.get_mut(topic.as_str()) {
                    self.records -= u64::from(of_topic.remove(&partition).is_some());
                    if of_topic.is_empty() {
                        stored.offsets.remove(topic.as_str());
                    }
                }
                self.forget_if_empty(&group);
            }
            GroupRecord::Group { group, value: Some(value) } => {
                let value = Arc::new(owned_metadata(&value));
                let before = self.group_mut(&group).metadata.replace(value);
                self.records += u64::from(before.is_none());
            }
            GroupRecord::Group { group, value: None } => {
                let Some(stored) = self.groups.get_mut(group.as_str()) else { return Ok(()) };
                self.records -= u64::from(stored.metadata.take().is_some());
                self.forget_if_empty(&group);
            }
            GroupRecord::Other => {}
        }
        Ok(())
    }

    fn group_mut(&mut self, group: &Str) -> &mut StoredGroup {
        self.groups.entry_ref(group.as_str()).or_default()
    }

    fn forget_if_empty(&mut self, group: &Str) {
        let empty = |stored: &StoredGroup| stored.offsets.is_empty() && stored.metadata.is_none();
        if self.groups.get(group.as_str()).is_some_and(empty) {
            self.groups.remove(group.as_str());
        }
    }

    /// What is stored of a group.
    pub fn group(&self, group: &str) -> Option<&StoredGroup> {
        self.groups.get(group)
    }

    /// Everything, in no order.
    pub fn groups(&self) -> impl Iterator<Item = (&Str, &StoredGroup)> {
        self.groups.iter()
    }

    /// How many records [`Stored::snapshot`] gives.
    pub fn record_count(&self) -> u64 {
        self.records
    }

    /// The state as records, a group's generation before its offsets.
    pub fn snapshot(&self, each: &mut dyn FnMut(Record)) {
        // What was decoded encodes: every field came from a record of the same layout.
        let mut give = |record: Result<Record, wire::EncodeError>| match record {
            Ok(record) => each(record),
            Err(error) => tracing::error!(%error, "a stored record cannot be written again"),
        };
        for (group, stored) in &self.groups {
            if let Some(metadata) = &stored.metadata {
                give(records::group(group, Some(metadata)));
            }
            for (topic, partitions) in &stored.offsets {
                for (partition, value) in partitions {
                    give(records::offset(group, topic, *partition, Some(value)));
                }
            }
        }
    }
}

fn owned_metadata(value: &GroupMetadataValue) -> GroupMetadataValue {
    let mut value = value.clone();
    let text = |text: &mut Str| *text = owned(text);
    text(&mut value.protocol_type);
    value.protocol.iter_mut().for_each(text);
    value.leader.iter_mut().for_each(text);
    for member in &mut value.members {
        text(&mut member.member_id);
        member.group_instance_id.iter_mut().for_each(text);
        text(&mut member.client_id);
        text(&mut member.client_host);
        member.subscription = owned_bytes(&member.subscription);
        member.assignment = owned_bytes(&member.assignment);
    }
    value
}
