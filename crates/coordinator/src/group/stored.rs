//! The replicated state of a shard: committed offsets and the last stored generation of each group. It changes in
//! [`Stored::replay`] and nowhere else.
//!
//! What a newer release wrote is carried, or a snapshot would lose it and the log would then be trimmed: records of unknown
//! kinds as they are, by their keys, and tagged fields of known records that this release does not know.

use std::collections::BTreeMap;
use std::ops::Bound::{self, Excluded, Unbounded};
use std::ops::ControlFlow;
use std::sync::Arc;

use base::Uuid;
use bytes::Bytes;
use wire::records::{GroupMetadataValue, OffsetCommitValue};
use wire::{EncodeError, RawTaggedField, Str};

use super::records::{self, GroupRecord, owned, owned_bytes};
use crate::limits::STORED_BYTES_MIN;
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
    /// The topic; nil where the record does not tell: in value versions before 4, which earlier releases wrote for an
    /// offset that expires by itself.
    pub topic_id: Uuid,
    /// What a newer release says of it besides.
    pub unknown_tagged_fields: Vec<RawTaggedField>,
}

impl CommittedOffset {
    /// Whether it may be of this topic. Kafka's `isMismatchedTopicId`, the other way round.
    pub fn is_of(&self, topic_id: Uuid) -> bool {
        self.topic_id.is_nil() || self.topic_id == topic_id
    }

    pub(super) fn from_value(value: &OffsetCommitValue) -> Self {
        let mut unknown_tagged_fields = value.unknown_tagged_fields.clone();
        let expires = records::take_expiry(&mut unknown_tagged_fields);
        Self {
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata: value.metadata.clone(),
            commit_timestamp: value.commit_timestamp,
            // In version 1, which Kafka and earlier releases wrote, it is a field.
            expire_timestamp: expires.or((value.expire_timestamp != -1).then_some(value.expire_timestamp)),
            topic_id: value.topic_id,
            unknown_tagged_fields,
        }
    }

    /// What it takes in memory.
    fn bytes(&self) -> u64 {
        let tagged: usize = self.unknown_tagged_fields.iter().map(|field| STORED_BYTES_MIN + field.data.len()).sum();
        (STORED_BYTES_MIN + self.metadata.len() + tagged) as u64
    }

    /// The same, in memory of its own.
    fn owned(self) -> Self {
        let mut offset = self;
        offset.metadata = owned(&offset.metadata);
        own_tags(&mut offset.unknown_tagged_fields);
        offset
    }

    pub(super) fn to_value(&self) -> OffsetCommitValue {
        let mut unknown_tagged_fields = self.unknown_tagged_fields.clone();
        if let Some(expires) = self.expire_timestamp {
            records::put_expiry(&mut unknown_tagged_fields, expires);
        }
        OffsetCommitValue {
            offset: self.offset,
            leader_epoch: self.leader_epoch,
            metadata: self.metadata.clone(),
            commit_timestamp: self.commit_timestamp,
            // A field of version 1 only.
            expire_timestamp: -1,
            topic_id: self.topic_id,
            unknown_tagged_fields,
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
    groups: BTreeMap<Str, StoredGroup>,
    /// Records of kinds that this release does not know, by key.
    carried: BTreeMap<Bytes, Bytes>,
    /// Offsets, generations and carried records, to know what a snapshot costs.
    records: u64,
    /// What offsets, their topics and carried records take in memory.
    bytes: u64,
}

impl Stored {
    /// Takes in a record.
    pub fn replay(&mut self, record: &Record) -> Result<(), ReplayError> {
        match records::decode(record)? {
            GroupRecord::Offset { group, topic, partition, value: Some(value) } => {
                let value = value.owned();
                let mut bytes = value.bytes();
                let offsets = &mut self.group_mut(&group).offsets;
                let of_topic = match offsets.get_mut(topic.as_str()) {
                    Some(of_topic) => of_topic,
                    None => {
                        bytes += entry_bytes(topic.len());
                        offsets.entry(owned(&topic)).or_default()
                    }
                };
                let before = of_topic.insert(partition, value);
                self.records += u64::from(before.is_none());
                self.bytes += bytes;
                self.bytes -= before.map_or(0, |before| before.bytes());
            }
            GroupRecord::Offset { group, topic, partition, value: None } => {
                let Some(stored) = self.groups.get_mut(group.as_str()) else { return Ok(()) };
                if let Some(of_topic) = stored.offsets.get_mut(topic.as_str()) {
                    let before = of_topic.remove(&partition);
                    self.records -= u64::from(before.is_some());
                    self.bytes -= before.map_or(0, |before| before.bytes());
                    if of_topic.is_empty() {
                        stored.offsets.remove(topic.as_str());
                        self.bytes -= entry_bytes(topic.len());
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
            GroupRecord::Other => match &record.value {
                Some(value) => {
                    let before = self.carried.insert(owned_bytes(&record.key), owned_bytes(value));
                    self.records += u64::from(before.is_none());
                    self.bytes += entry_bytes(record.key.len() + value.len());
                    self.bytes -= before.map_or(0, |before| entry_bytes(record.key.len() + before.len()));
                }
                None => {
                    let before = self.carried.remove(&record.key);
                    self.records -= u64::from(before.is_some());
                    self.bytes -= before.map_or(0, |before| entry_bytes(record.key.len() + before.len()));
                }
            },
        }
        Ok(())
    }

    fn group_mut(&mut self, group: &Str) -> &mut StoredGroup {
        self.groups.entry(owned(group)).or_default()
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

    /// Everything, by the names of the groups.
    pub fn groups(&self) -> impl Iterator<Item = (&Str, &StoredGroup)> {
        self.groups.iter()
    }

    /// How many records [`Stored::snapshot`] gives.
    pub fn record_count(&self) -> u64 {
        self.records
    }

    /// What it takes in memory, groups and their generations aside: those are charged as they live.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The state as records, from behind that with the key `after`, until `each` has enough: group by group, a generation
    /// before the group's offsets, and then what is carried.
    ///
    /// # Errors
    /// [`EncodeError`] when a record cannot be written again; what was given until then is not the state.
    pub fn snapshot(
        &self,
        after: Option<&Bytes>,
        each: &mut dyn FnMut(Record) -> ControlFlow<()>,
    ) -> Result<(), EncodeError> {
        match self.give(&Place::behind(after), each) {
            ControlFlow::Continue(()) | ControlFlow::Break(None) => Ok(()),
            ControlFlow::Break(Some(error)) => Err(error),
        }
    }

    fn give(&self, from: &Place, each: &mut dyn FnMut(Record) -> ControlFlow<()>) -> ControlFlow<Option<EncodeError>> {
        let mut give = |record: Result<Record, EncodeError>| match record {
            Ok(record) => each(record).map_break(|()| None),
            Err(error) => ControlFlow::Break(Some(error)),
        };
        let carried = match from {
            Place::Carried(key) => Excluded(key),
            Place::Start | Place::Group(_) | Place::Offset(..) => Unbounded,
        };
        let groups: (Bound<&str>, _) = match from {
            Place::Start => (Unbounded, Unbounded),
            Place::Group(group) | Place::Offset(group, ..) => {
                if let Some(stored) = self.groups.get(group.as_str()) {
                    give_offsets(group, stored, from, &mut give)?;
                }
                (Excluded(group.as_str()), Unbounded)
            }
            Place::Carried(_) => return self.give_carried(carried, &mut give),
        };
        for (group, stored) in self.groups.range::<str, _>(groups) {
            if let Some(metadata) = &stored.metadata {
                give(records::group(group, Some(metadata)))?;
            }
            give_offsets(group, stored, &Place::Start, &mut give)?;
        }
        self.give_carried(carried, &mut give)
    }

    fn give_carried(&self, from: Bound<&Bytes>, give: &mut Give<'_>) -> ControlFlow<Option<EncodeError>> {
        for (key, value) in self.carried.range::<Bytes, _>((from, Unbounded)) {
            give(Ok(Record { key: key.clone(), value: Some(value.clone()) }))?;
        }
        ControlFlow::Continue(())
    }
}

type Give<'a> = dyn FnMut(Result<Record, EncodeError>) -> ControlFlow<Option<EncodeError>> + 'a;

/// Where a snapshot goes on.
enum Place {
    Start,
    /// With the offsets of this group.
    Group(Str),
    /// Behind this offset.
    Offset(Str, Str, i32),
    /// Behind this key of what is carried.
    Carried(Bytes),
}

impl Place {
    fn behind(key: Option<&Bytes>) -> Self {
        let Some(key) = key else { return Self::Start };
        match records::decode(&Record { key: key.clone(), value: None }) {
            Ok(GroupRecord::Group { group, .. }) => Self::Group(group),
            Ok(GroupRecord::Offset { group, topic, partition, .. }) => Self::Offset(group, topic, partition),
            Ok(GroupRecord::Other) | Err(_) => Self::Carried(key.clone()),
        }
    }
}

/// A group's offsets, behind a place in it or all.
fn give_offsets(
    group: &Str,
    stored: &StoredGroup,
    from: &Place,
    give: &mut Give<'_>,
) -> ControlFlow<Option<EncodeError>> {
    let (topics, within) = match from {
        Place::Offset(_, topic, partition) => (Bound::Included(topic.as_str()), Some((topic, *partition))),
        Place::Start | Place::Group(_) | Place::Carried(_) => (Unbounded, None),
    };
    for (topic, partitions) in stored.offsets.range::<str, _>((topics, Unbounded)) {
        let behind = within.filter(|(of, _)| *of == topic).map_or(Unbounded, |(_, partition)| Excluded(partition));
        for (partition, value) in partitions.range((behind, Unbounded)) {
            give(records::offset(group, topic, *partition, Some(value)))?;
        }
    }
    ControlFlow::Continue(())
}

/// What an entry of a map takes.
fn entry_bytes(bytes: usize) -> u64 {
    (STORED_BYTES_MIN + bytes) as u64
}

fn own_tags(fields: &mut Vec<RawTaggedField>) {
    fields.iter_mut().for_each(|field| field.data = owned_bytes(&field.data));
    fields.shrink_to_fit();
}

fn owned_metadata(value: &GroupMetadataValue) -> GroupMetadataValue {
    let mut value = value.clone();
    let text = |text: &mut Str| *text = owned(text);
    own_tags(&mut value.unknown_tagged_fields);
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
        own_tags(&mut member.unknown_tagged_fields);
    }
    value
}
