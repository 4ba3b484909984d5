//! The image: everything metadata says, after one entry of the log.
//!
//! Persistent maps: a clone costs a few reference counts, so every reader holds its own while the controller moves on.
//! [`Image::apply`] is the only thing that changes one.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{BrokerEpoch, BrokerId, ControllerEpoch, Incarnation, MetaSequence, StreamEpoch, StreamId, Uuid};
use imbl::ordmap::DiffItem;
use imbl::{OrdMap, OrdSet};
use stream::catalogue::{Catalogue, ReplayError};
use thiserror::Error;
use wire::meta::{BrokerRecord, ControllerRecord, MetadataRecord};

use crate::control::{brokers, cluster, configs, producer_ids, topics};

/// Why an entry cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ImageError {
    /// The catalogue refused it.
    #[error(transparent)]
    Catalogue(#[from] ReplayError),
    /// It does not fit the image.
    #[error("{record}: {reason}")]
    Unfit {
        /// The record's name.
        record: &'static str,
        /// What does not fit.
        reason: &'static str,
    },
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicImage {
    /// Its id; never reused.
    pub id: Uuid,
    /// Its name.
    pub name: Arc<str>,
    /// The stream of each partition.
    pub partitions: Vec<StreamId>,
}

/// Who leads a partition, and at which leader epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    /// The owner of its stream.
    pub owner: Incarnation,
    /// The stream's epoch.
    pub epoch: StreamEpoch,
}

/// What a broker may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerState {
    /// Registered, recovering, serves nothing.
    Starting,
    /// Serves.
    Active,
    /// Hands everything over.
    Draining,
    /// Its commits are refused.
    Fenced,
}

impl BrokerState {
    /// The number in records.
    pub fn code(self) -> i8 {
        match self {
            Self::Starting => 0,
            Self::Active => 1,
            Self::Draining => 2,
            Self::Fenced => 3,
        }
    }

    pub(crate) fn from_code(code: i8) -> Option<Self> {
        [Self::Starting, Self::Active, Self::Draining, Self::Fenced].into_iter().find(|s| s.code() == code)
    }
}

/// A registered broker.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerImage {
    /// As registered; its `state` is the present one.
    pub record: BrokerRecord,
}

impl BrokerImage {
    /// Its present registration.
    pub fn incarnation(&self) -> Incarnation {
        Incarnation { broker: BrokerId(self.record.broker_id), epoch: BrokerEpoch(self.record.broker_epoch) }
    }

    /// What it may do.
    pub fn state(&self) -> BrokerState {
        BrokerState::from_code(self.record.state).unwrap_or(BrokerState::Fenced)
    }
}

/// The settings of one resource.
pub type Configs = BTreeMap<Arc<str>, Arc<str>>;

/// The state of the cluster after one entry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    /// The sequence that comes next; everything below is in the image.
    pub next_sequence: MetaSequence,
    /// The present term; 0 before the first claim.
    pub controller_epoch: ControllerEpoch,
    /// The nonce of the claim, which every batch of the term bears.
    pub controller_nonce: Uuid,
    /// The claim.
    pub controller: Option<Arc<ControllerRecord>>,
    /// The cluster's id; `None` before the first registration.
    pub cluster_id: Option<Arc<str>>,
    /// When the cluster was made, in milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// Registered brokers.
    pub brokers: OrdMap<BrokerId, Arc<BrokerImage>>,
    /// Topics by id.
    pub topics: OrdMap<Uuid, Arc<TopicImage>>,
    /// Topic ids by name, in the order of names.
    pub topics_by_name: OrdMap<Arc<str>, Uuid>,
    /// Settings by resource type and name.
    pub configs: OrdMap<(i8, Arc<str>), Arc<Configs>>,
    /// Feature levels.
    pub features: OrdMap<Arc<str>, i16>,
    /// First producer id not handed out.
    pub next_producer_id: i64,
    /// Streams, objects, WAL incarnations.
    pub catalogue: Arc<Catalogue>,
    /// Sequences of all claims, and of the names that they call void: what stands there is never deleted (I-7).
    pub(crate) kept: OrdSet<u64>,
    pub(crate) partition_count: usize,
    /// Topic names that contain `.` or `_`, each behind its form with all of them alike.
    pub(crate) alike: OrdSet<(Arc<str>, Arc<str>)>,
}

impl Image {
    /// A topic by name.
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topics_by_name.get(name).and_then(|id| self.topics.get(id))
    }

    /// A topic by id.
    pub fn topic_by_id(&self, id: Uuid) -> Option<&Arc<TopicImage>> {
        self.topics.get(&id)
    }

    /// Topics in the order of their names, from `name` on.
    pub fn topics_from<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Arc<TopicImage>> {
        let from: Arc<str> = name.into();
        self.topics_by_name.range(from..).filter_map(|(_, id)| self.topics.get(id))
    }

    /// The topics that were there `before` and are not any more. Costs what has changed, where one image was made from the
    /// other.
    pub fn topics_removed_since<'i>(&'i self, before: &'i Self) -> impl Iterator<Item = &'i Arc<TopicImage>> {
        let removed = before.topics.diff(&self.topics).filter_map(|change| match change {
            DiffItem::Remove(_, topic) => Some(topic),
            DiffItem::Add(..) | DiffItem::Update { .. } => None,
        });
        // Records and offsets go on account of this: what is there is not removed, whatever a comparison says.
        removed.filter(|topic| !self.topics.contains_key(&topic.id))
    }

    /// A topic whose name differs from `name` only in `.` and `_`: metrics of Kafka's tools could not tell them apart.
    pub fn collision(&self, name: &str) -> Option<&Arc<str>> {
        let alike = topics::made_alike(name)?;
        let others = self.alike.range((alike.clone(), Arc::from(""))..).take_while(|(form, _)| *form == alike);
        others.map(|(_, other)| other).find(|other| ***other != *name)
    }

    /// The newest entry that is in the image.
    pub(crate) fn newest(&self) -> MetaSequence {
        MetaSequence(self.next_sequence.0.saturating_sub(1))
    }

    /// How many partitions all topics have.
    pub fn partition_count(&self) -> usize {
        self.partition_count
    }

    /// Whether what stands at this place of the log is never deleted: a claim, or a name that one calls void (I-7).
    pub fn keeps(&self, sequence: MetaSequence) -> bool {
        self.kept.contains(&sequence.0)
    }

    /// Who leads the partition of `stream`; `None` while nobody can.
    pub fn leader(&self, stream: StreamId) -> Option<Leader> {
        let state = self.catalogue.stream(stream)?;
        let present = self.brokers.get(&state.owner.broker).is_some_and(|b| b.incarnation() == state.owner);
        present.then_some(Leader { owner: state.owner, epoch: state.epoch })
    }

    /// The settings of a resource; `None` if none was ever changed.
    pub fn configs_of(&self, resource_type: i8, name: &str) -> Option<&Arc<Configs>> {
        self.configs.get(&(resource_type, Arc::from(name)))
    }

    /// Replays one record.
    ///
    /// # Errors
    /// When it does not fit; the image is then not to be used.
    pub fn apply(&mut self, record: &MetadataRecord) -> Result<(), ImageError> {
        match record {
            MetadataRecord::Cluster(r) => cluster::replay_cluster(self, r),
            MetadataRecord::Feature(r) => cluster::replay_feature(self, r),
            MetadataRecord::Controller(r) => cluster::replay_controller(self, r),
            MetadataRecord::Broker(r) => brokers::replay_broker(self, r)?,
            MetadataRecord::BrokerState(r) => brokers::replay_state(self, r)?,
            MetadataRecord::UnregisterBroker(r) => brokers::replay_unregistration(self, r)?,
            MetadataRecord::Topic(r) => topics::replay_topic(self, r)?,
            MetadataRecord::RemoveTopic(r) => topics::replay_removal(self, r)?,
            MetadataRecord::Partition(r) => topics::replay_partition(self, r)?,
            MetadataRecord::Config(r) => configs::replay(self, r),
            MetadataRecord::ProducerIds(r) => producer_ids::replay(self, r),
            // They change nothing, or the catalogue alone.
            MetadataRecord::NoOp(_)
            | MetadataRecord::VoidEntry(_)
            | MetadataRecord::Stream(_)
            | MetadataRecord::StreamOpened(_)
            | MetadataRecord::StreamClosed(_)
            | MetadataRecord::StreamTrim(_)
            | MetadataRecord::RemoveStream(_)
            | MetadataRecord::Incarnation(_)
            | MetadataRecord::RemoveIncarnation(_)
            | MetadataRecord::Commit(_)
            | MetadataRecord::ObjectRetired(_)
            | MetadataRecord::ObjectRemoved(_) => {}
        }
        Arc::make_mut(&mut self.catalogue).apply(record)?;
        Ok(())
    }

    /// The records that rebuild everything but the catalogue, in an order in which they replay.
    pub(crate) fn records(&self) -> Vec<MetadataRecord> {
        let mut out = Vec::new();
        cluster::snapshot(self, &mut out);
        brokers::snapshot(self, &mut out);
        topics::snapshot(self, &mut out);
        configs::snapshot(self, &mut out);
        producer_ids::snapshot(self, &mut out);
        out
    }
}

pub(crate) use persist::void_names;

mod persist {
    //! Entries and snapshots of an image.

    use super::{Image, ImageError};
    use std::sync::Arc;

    use base::{ControllerEpoch, MetaSequence};
    use bytes::Bytes;
    use wire::meta::MetadataRecord;

    use crate::error::LogError;
    use crate::format::{self, EncodedRecords, EntryKind, FormatError, Header};

    impl Image {
        /// Replays a whole entry, which must come next, or next behind the names that it calls void, and be written by the
        /// controller in office.
        ///
        /// # Errors
        /// When it does not come next, or does not fit; the image is then not to be used.
        pub fn replay_entry(&mut self, header: &Header, records: &[MetadataRecord]) -> Result<(), LogError> {
            let sequence = header.sequence;
            let foreign = |reason| LogError::Foreign { sequence, reason };
            let mut place = self.next_sequence;
            for void in void_names(records) {
                if void != place || header.kind != EntryKind::Claim {
                    return Err(foreign("it calls names void that do not lie right before it"));
                }
                self.kept.insert(void.0);
                place = MetaSequence(void.0 + 1);
            }
            if sequence != place {
                return Err(foreign("it is not the next one"));
            }
            match header.kind {
                EntryKind::Claim => {
                    if header.epoch != ControllerEpoch(self.controller_epoch.0 + 1) {
                        return Err(foreign("its term does not follow the present one"));
                    }
                    self.kept.insert(sequence.0);
                }
                EntryKind::Batch => {
                    if header.epoch != self.controller_epoch || header.nonce != self.controller_nonce {
                        return Err(foreign("it bears another term or nonce"));
                    }
                }
            }
            for record in records {
                self.apply(record).map_err(|reason| LogError::Replay { sequence, reason })?;
            }
            if header.epoch != self.controller_epoch || header.nonce != self.controller_nonce {
                return Err(foreign("its header and its claim disagree"));
            }
            self.next_sequence = MetaSequence(sequence.0 + 1);
            Ok(())
        }

        /// The bytes of the snapshot of this image, and the sequence under which it stands. `None` before any entry.
        pub(crate) fn to_snapshot(&self) -> Option<(MetaSequence, Result<Bytes, wire::EncodeError>)> {
            let sequence = MetaSequence(self.next_sequence.0.checked_sub(1)?);
            let header =
                Header { kind: EntryKind::Claim, sequence, epoch: self.controller_epoch, nonce: self.controller_nonce };
            let mut tail = Vec::new();
            tail.extend(u32::try_from(self.kept.len()).unwrap_or(u32::MAX).to_be_bytes());
            for kept in &self.kept {
                tail.extend(kept.to_be_bytes());
            }
            tail.extend(stream::catalogue::snapshot::encode(&self.catalogue));
            let records = EncodedRecords::of(&self.records());
            Some((sequence, records.map(|records| format::encode_snapshot(&header, &records, &tail))))
        }

        /// Reads the snapshot that stands at `sequence` under `key`.
        ///
        /// # Errors
        /// When it cannot be read, or what it says does not fit together.
        pub fn from_snapshot(bytes: &Bytes, sequence: MetaSequence, key: &str) -> Result<Self, LogError> {
            let unusable = |reason| LogError::Format { key: key.to_owned(), reason };
            let (header, records, tail) = format::decode_snapshot(bytes, sequence).map_err(unusable)?;
            let mut image = Self::default();
            for record in &records {
                image.apply(record).map_err(|reason| LogError::Replay { sequence, reason })?;
            }
            let mut rest = &tail[..];
            let count = take_u32(&mut rest).ok_or_else(|| unusable(FormatError::Length))?;
            for _ in 0..count {
                let kept = rest.split_first_chunk::<8>().ok_or_else(|| unusable(FormatError::Length))?;
                image.kept.insert(u64::from_be_bytes(*kept.0));
                rest = kept.1;
            }
            let catalogue = stream::catalogue::snapshot::decode(&mut rest)
                .map_err(|e| unusable(FormatError::Record { index: header_count(&records), reason: e.to_string() }))?;
            if !rest.is_empty() {
                return Err(unusable(FormatError::Length));
            }
            if image.controller_epoch != header.epoch || image.controller_nonce != header.nonce {
                let reason = ImageError::Unfit { record: "ControllerRecord", reason: "the header says otherwise" };
                return Err(LogError::Replay { sequence, reason });
            }
            image.catalogue = Arc::new(catalogue);
            image.next_sequence = MetaSequence(sequence.0 + 1);
            Ok(image)
        }
    }

    /// The names that a claim calls void.
    pub(crate) fn void_names(records: &[MetadataRecord]) -> impl Iterator<Item = MetaSequence> + '_ {
        records.iter().filter_map(|record| match record {
            MetadataRecord::VoidEntry(r) => Some(MetaSequence(r.sequence.cast_unsigned())),
            _ => None,
        })
    }

    fn take_u32(rest: &mut &[u8]) -> Option<u32> {
        let (head, tail) = rest.split_first_chunk::<4>()?;
        *rest = tail;
        Some(u32::from_be_bytes(*head))
    }

    fn header_count(records: &[MetadataRecord]) -> u32 {
        u32::try_from(records.len()).unwrap_or(u32::MAX)
    }
}
