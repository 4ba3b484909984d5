//! Topics, their partitions and the names that tools could not tell apart.

use std::sync::Arc;

use base::{BrokerId, Incarnation, StreamId, TimestampMs, Uuid};
use stream::catalogue::{Decision, IncarnationPhase};
use wire::meta::{MetadataRecord, PartitionRecord, RemoveTopicRecord, TopicRecord};

use super::{Operation, configs, unfit};
use crate::error::{CreatePartitionsError, CreateTopicError, DeleteTopicError, NoBroker, TooManyPartitions, Unfit};
use crate::image::{BrokerState, Image, ImageError, TopicImage};

/// Most partitions of one topic, so that its creation fits one entry.
pub const PARTITIONS_PER_TOPIC_MAX: usize = 50_000;

/// A topic to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name, already validated.
    pub name: String,
    /// How many partitions.
    pub partitions: usize,
    /// Its settings, already validated.
    pub configs: Vec<(String, String)>,
}

/// A topic that was (or, when only validated, would be) created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its id.
    pub id: Uuid,
    /// The stream of each partition.
    pub partitions: Vec<StreamId>,
}

/// Creates topics, each by itself: a stream per partition, opened in the same batch for the active broker with the fewest
/// streams, at epoch 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CreateTopics {
    /// Each with the id that it gets.
    pub topics: Vec<(Uuid, NewTopic)>,
    pub validate_only: bool,
}

impl Operation for CreateTopics {
    type Answer = Vec<Result<CreatedTopic, CreateTopicError>>;

    fn decide(self, image: &Image, _: TimestampMs) -> Decision<Self::Answer> {
        let mut draft = image.clone();
        let mut records = Vec::new();
        let mut results = Vec::with_capacity(self.topics.len());
        for (id, topic) in &self.topics {
            // Names of one request may collide with each other, as Kafka has it.
            if image.topic(&topic.name).is_none()
                && let Some(other) = image.collision(&topic.name)
            {
                results.push(Err(CreateTopicError::Collides { name: topic.name.clone(), other: other.to_string() }));
                continue;
            }
            results.push(create(&draft, topic, *id).and_then(|(new, created)| {
                apply_all(&mut draft, &new)?;
                records.extend(new);
                Ok(created)
            }));
        }
        Decision { records: if self.validate_only { Vec::new() } else { records }, response: results }
    }
}

/// Deletes topics with their streams and settings; the objects of those are retired in the same batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeleteTopics {
    pub ids: Vec<Uuid>,
}

impl Operation for DeleteTopics {
    type Answer = Vec<Result<Arc<TopicImage>, DeleteTopicError>>;

    fn decide(self, image: &Image, now: TimestampMs) -> Decision<Self::Answer> {
        let mut draft = image.clone();
        let mut records = Vec::new();
        let mut results = Vec::with_capacity(self.ids.len());
        for id in self.ids {
            results.push(delete(&draft, id).and_then(|(new, topic)| {
                apply_all(&mut draft, &new)?;
                records.extend(new);
                Ok(topic)
            }));
        }
        records.extend(draft.catalogue.retire(now).records);
        Decision { records, response: results }
    }
}

/// Adds partitions to a topic until there are `total`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CreatePartitions {
    pub topic: Uuid,
    pub total: usize,
    pub validate_only: bool,
}

impl Operation for CreatePartitions {
    /// The streams of the new ones.
    type Answer = Result<Vec<StreamId>, CreatePartitionsError>;

    fn decide(self, image: &Image, _: TimestampMs) -> Decision<Self::Answer> {
        match add_partitions(image, self.topic, self.total) {
            Ok((records, streams)) => {
                Decision { records: if self.validate_only { Vec::new() } else { records }, response: Ok(streams) }
            }
            Err(error) => Decision::unchanged(Err(error)),
        }
    }
}

fn apply_all(draft: &mut Image, records: &[MetadataRecord]) -> Result<(), Unfit> {
    records.iter().try_for_each(|record| draft.apply(record)).map_err(Unfit::because)
}

/// The active broker with an open WAL that owns the fewest streams.
fn least_loaded(image: &Image) -> Result<Incarnation, NoBroker> {
    let able = |id: Incarnation| image.catalogue.incarnation(id).is_some_and(|wal| wal.phase == IncarnationPhase::Open);
    let candidates: Vec<(BrokerId, Incarnation)> = image
        .brokers
        .iter()
        .filter(|(_, b)| b.state() == BrokerState::Active && able(b.incarnation()))
        .map(|(id, b)| (*id, b.incarnation()))
        .collect();
    match candidates.as_slice() {
        [] => Err(NoBroker),
        // Counting streams costs a walk over all of them, which a lone broker need not pay for.
        [(_, only)] => Ok(*only),
        many => many
            .iter()
            .min_by_key(|(id, b)| (image.catalogue.streams_of(*b).count(), *id))
            .map(|(_, b)| *b)
            .ok_or(NoBroker),
    }
}

type Made<T, E> = Result<(Vec<MetadataRecord>, T), E>;

fn partitions_of(image: &Image, topic: Uuid, first: usize, count: usize) -> Made<Vec<StreamId>, NoBroker> {
    let owner = least_loaded(image)?;
    let Decision { mut records, response: streams } = image.catalogue.create_streams(count, owner);
    records.extend(streams.iter().zip(first..).map(|(stream, index)| {
        MetadataRecord::from(PartitionRecord {
            topic_id: topic,
            partition: i32::try_from(index).unwrap_or(i32::MAX),
            stream_id: stream.0.cast_signed(),
            ..Default::default()
        })
    }));
    Ok((records, streams))
}

/// Whether a topic may have so many partitions.
fn check_count(wanted: usize) -> Result<(), TooManyPartitions> {
    let limit = PARTITIONS_PER_TOPIC_MAX;
    if wanted > limit { Err(TooManyPartitions { wanted, limit }) } else { Ok(()) }
}

fn create(image: &Image, topic: &NewTopic, id: Uuid) -> Made<CreatedTopic, CreateTopicError> {
    if image.topic(&topic.name).is_some() {
        return Err(CreateTopicError::Exists(topic.name.clone()));
    }
    if topic.partitions == 0 {
        return Err(CreateTopicError::NoPartitions);
    }
    check_count(topic.partitions)?;
    let name = topic.name.as_str();
    let mut records = vec![TopicRecord { topic_id: id, name: name.into(), ..Default::default() }.into()];
    let (made, partitions) = partitions_of(image, id, 0, topic.partitions)?;
    records.extend(made);
    records.extend(topic.configs.iter().map(|(key, value)| configs::record(configs::TOPIC, name, key, Some(value))));
    Ok((records, CreatedTopic { id, partitions }))
}

fn add_partitions(image: &Image, id: Uuid, total: usize) -> Made<Vec<StreamId>, CreatePartitionsError> {
    let topic = image.topic_by_id(id).ok_or(CreatePartitionsError::Unknown(id))?;
    let present = topic.partitions.len();
    if total <= present {
        return Err(CreatePartitionsError::NotMore { present, wanted: total });
    }
    check_count(total)?;
    Ok(partitions_of(image, id, present, total - present)?)
}

fn delete(image: &Image, id: Uuid) -> Made<Arc<TopicImage>, DeleteTopicError> {
    let topic = image.topic_by_id(id).ok_or(DeleteTopicError::Unknown(id))?.clone();
    let Decision { mut records, .. } = image.catalogue.delete_streams(&topic.partitions);
    for key in image.configs_of(configs::TOPIC, &topic.name).iter().flat_map(|configs| configs.keys()) {
        records.push(configs::record(configs::TOPIC, &topic.name, key, None));
    }
    records.push(RemoveTopicRecord { topic_id: id, ..Default::default() }.into());
    Ok((records, topic))
}

/// The name with all of `.` and `_` alike, if it has any.
pub(crate) fn made_alike(name: &str) -> Option<Arc<str>> {
    name.contains(['.', '_']).then(|| name.replace('.', "_").into())
}

pub(crate) fn replay_topic(image: &mut Image, r: &TopicRecord) -> Result<(), ImageError> {
    let name: Arc<str> = r.name.as_str().into();
    if image.topics.contains_key(&r.topic_id) || image.topics_by_name.contains_key(&name) {
        return Err(unfit("TopicRecord", "the topic exists"));
    }
    image.topics_by_name.insert(name.clone(), r.topic_id);
    image.alike.extend(made_alike(&name).map(|alike| (alike, name.clone())));
    let topic = TopicImage { id: r.topic_id, name, partitions: Vec::new() };
    image.topics.insert(r.topic_id, Arc::new(topic));
    Ok(())
}

pub(crate) fn replay_removal(image: &mut Image, r: &RemoveTopicRecord) -> Result<(), ImageError> {
    let topic = image.topics.remove(&r.topic_id).ok_or(unfit("RemoveTopicRecord", "unknown topic"))?;
    image.topics_by_name.remove(&topic.name);
    if let Some(alike) = made_alike(&topic.name) {
        image.alike.remove(&(alike, topic.name.clone()));
    }
    image.partition_count -= topic.partitions.len();
    Ok(())
}

pub(crate) fn replay_partition(image: &mut Image, r: &PartitionRecord) -> Result<(), ImageError> {
    let topic = image.topics.get_mut(&r.topic_id).ok_or(unfit("PartitionRecord", "unknown topic"))?;
    let topic = Arc::make_mut(topic);
    if usize::try_from(r.partition) != Ok(topic.partitions.len()) {
        return Err(unfit("PartitionRecord", "partitions come in order"));
    }
    topic.partitions.push(StreamId(r.stream_id.cast_unsigned()));
    image.partition_count += 1;
    Ok(())
}

/// The records that rebuild all topics.
pub(crate) fn snapshot(image: &Image, out: &mut Vec<MetadataRecord>) {
    for topic in image.topics.values() {
        let name = (&*topic.name).into();
        out.push(TopicRecord { topic_id: topic.id, name, ..Default::default() }.into());
        out.extend(topic.partitions.iter().zip(0..).map(|(stream, partition)| {
            let stream_id = stream.0.cast_signed();
            PartitionRecord { topic_id: topic.id, partition, stream_id, ..Default::default() }.into()
        }));
    }
}
