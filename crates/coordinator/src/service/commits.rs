//! OffsetCommit.

use std::hash::BuildHasher;
use std::sync::Arc;

use base::Uuid;
use base::collections::{HashMap, HashTable, SeededState};
use meta::{Image, TopicImage};
use tokio::sync::oneshot;
use wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use wire::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use wire::messages::{OffsetCommitRequest, OffsetCommitResponse};
use wire::{ErrorCode, Str};

use super::offsets::{TOPIC_IDS_FROM, has_partition};
use super::{ClientContext, GroupCoordinator, Pace, code};
use crate::group::offsets::{Committer, NewOffset, offset_bytes, too_large};
use crate::group::{Groups, Out};
use crate::limits::{COMMIT_BYTES_AT_ONCE, COMMIT_BYTES_MAX};

/// The version whose judge, Kafka 3.9, commits each partition once: what it is named with last.
const EACH_ONCE: i16 = 1;

impl GroupCoordinator {
    /// OffsetCommit. Version 0 means ZooKeeper: as of a Kafka 3.9 without it, what is there is refused, with all the rest.
    pub async fn commit_offsets(&self, client: &ClientContext, request: &OffsetCommitRequest) -> OffsetCommitResponse {
        let image = self.0.meta.image();
        let Sifted { there, bytes, refused } = sift(&image, client.version, request).await;
        if client.version == 0 && !there.is_empty() {
            return unsupported(request).await;
        }
        let outcomes = self.try_commit(client, request, &there, bytes).await;
        answered(refused, &there, outcomes, client.version == EACH_ONCE).await
    }

    async fn try_commit(
        &self,
        client: &ClientContext,
        request: &OffsetCommitRequest,
        there: &[There<'_>],
        bytes: u64,
    ) -> Result<Vec<Result<(), ErrorCode>>, ErrorCode> {
        if there.is_empty() {
            return Ok(Vec::new());
        }
        let shard = self.shard(&request.group_id).await?;
        if bytes > COMMIT_BYTES_MAX {
            return Err(too_large(client.version));
        }
        let charge = self.0.commits.charge(bytes).await;
        shard.check_room()?;
        let committer = Committer {
            version: client.version,
            group: &request.group_id,
            generation: request.generation_id_or_member_epoch,
            member: &request.member_id,
            instance: request.group_instance_id.as_ref(),
        };
        let retention_ms = (request.retention_time_ms != -1).then_some(request.retention_time_ms);
        let (now, config) = (self.0.clock.now(), &self.0.config);
        let (mut encoded, mut bytes) = (Vec::with_capacity(there.len()), 0);
        let mut of: Option<(&There<'_>, Str)> = None;
        for one in there {
            if bytes > COMMIT_BYTES_AT_ONCE {
                tokio::task::yield_now().await;
                bytes = 0;
            }
            let name = match &of {
                Some((other, name)) if one.is_of_topic_of(other) => name.clone(),
                _ => Str::from(&*one.known.name),
            };
            of = Some((one, name.clone()));
            let offset = one.offset(name);
            bytes += offset.bytes(&request.group_id);
            encoded.push(offset.encode(&request.group_id, now, retention_ms, config));
        }
        let decide = |groups: &mut Groups, out: &mut Out<'_>| {
            // What is decided is charged to what waits to be written.
            let _charge = charge;
            groups.commit(&committer, encoded, out)
        };
        if base::plant::bug("offset-commit-before-durable") {
            // Planted: the answer follows from the decision and does not wait for its records.
            let decided = |groups: &mut Groups, out: &mut Out<'_>| {
                let (tell, told) = oneshot::channel();
                drop(tell.send(decide(groups, out)));
                told
            };
            return shard.take_part(decided).await?;
        }
        shard.write(decide).await?
    }
}

/// A partition of a commit that is there.
struct There<'r> {
    topic: &'r OffsetCommitRequestTopic,
    known: &'r TopicImage,
    partition: &'r OffsetCommitRequestPartition,
}

impl There<'_> {
    /// Whether it stands at the same place of the request.
    fn is_of_topic_of(&self, other: &There<'_>) -> bool {
        std::ptr::eq(self.topic, other.topic)
    }

    /// What its offset takes once it is encoded.
    fn bytes(&self, group: &Str) -> u64 {
        offset_bytes(group, &self.known.name, self.partition.committed_metadata.as_deref()) as u64
    }

    fn offset(&self, topic: Str) -> NewOffset {
        let partition = self.partition;
        NewOffset {
            topic,
            topic_id: self.known.id,
            partition: partition.partition_index,
            offset: partition.committed_offset,
            leader_epoch: partition.committed_leader_epoch,
            metadata: partition.committed_metadata.clone(),
            commit_timestamp: (partition.commit_timestamp != -1).then_some(partition.commit_timestamp),
        }
    }
}

/// What can be said of a commit without its group.
struct Sifted<'r> {
    there: Vec<There<'r>>,
    /// What their offsets take once they are encoded. The name of the group stands in each record: a small request may
    /// become any amount.
    bytes: u64,
    /// The answer to the rest.
    refused: CommitAnswer,
}

/// Looks once at each partition of a commit, of which there may be very many.
async fn sift<'r>(image: &'r Image, version: i16, request: &'r OffsetCommitRequest) -> Sifted<'r> {
    let (mut there, mut bytes, mut refused) = (Vec::<There<'r>>::new(), 0, CommitAnswer::default());
    let mut places = HashMap::<(Uuid, i32), usize>::default();
    if version == EACH_ONCE {
        places.reserve(request.topics.iter().map(|topic| topic.partitions.len()).sum());
    }
    let mut pace = Pace::default();
    for topic in &request.topics {
        pace.step().await;
        let known = known_topic(image, topic, version >= TOPIC_IDS_FROM);
        let mut place = known.is_err().then(|| refused.place(topic, request.topics.len()));
        for partition in &topic.partitions {
            pace.step().await;
            match known {
                Ok(known) if has_partition(known, partition.partition_index) => {
                    let one = There { topic, known, partition };
                    bytes += one.bytes(&request.group_id);
                    let place = match version {
                        EACH_ONCE => *places.entry((known.id, partition.partition_index)).or_insert(there.len()),
                        _ => there.len(),
                    };
                    match there.get_mut(place) {
                        Some(named_before) => {
                            bytes -= named_before.bytes(&request.group_id);
                            *named_before = one;
                        }
                        None => there.push(one),
                    }
                }
                _ => {
                    let place = *place.get_or_insert_with(|| refused.place(topic, request.topics.len()));
                    refused.push(place, partition, Err(known.err().unwrap_or(ErrorCode::UnknownTopicOrPartition)));
                }
            }
        }
    }
    Sifted { there, bytes, refused }
}

/// What a commit is answered: first what is refused without its group, a topic that is named again where it is named first.
/// Kafka's `OffsetCommitResponse.Builder`.
#[derive(Default)]
struct CommitAnswer {
    topics: Vec<OffsetCommitResponseTopic>,
    /// Where each of them stands, by name and id.
    places: HashTable<u32>,
    hashing: SeededState,
}

impl CommitAnswer {
    /// Where a topic is answered, of at most so many.
    fn place(&mut self, topic: &OffsetCommitRequestTopic, topics_max: usize) -> usize {
        let Self { topics, places, hashing } = self;
        let hash = |name: &Str, id: &Uuid| hashing.hash_one((name.as_str(), id));
        let hash_at = |place: &u32| hash(&topics[*place as usize].name, &topics[*place as usize].topic_id);
        let is_same = |place: &u32| {
            let other = &topics[*place as usize];
            other.topic_id == topic.topic_id && other.name == topic.name
        };
        if places.capacity() == 0 {
            // At once: hashing all of them anew as they become more would keep others waiting.
            places.reserve(topics_max, hash_at);
        }
        let hashed = hash(&topic.name, &topic.topic_id);
        match places.find(hashed, is_same) {
            Some(place) => *place as usize,
            None => {
                places.insert_unique(hashed, topics.len() as u32, hash_at);
                self.add(topic)
            }
        }
    }

    /// Adds a topic, whether it is there or not; where it is answered.
    fn add(&mut self, topic: &OffsetCommitRequestTopic) -> usize {
        self.topics.push(OffsetCommitResponseTopic {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            ..OffsetCommitResponseTopic::default()
        });
        self.topics.len() - 1
    }

    fn push(&mut self, place: usize, partition: &OffsetCommitRequestPartition, outcome: Result<(), ErrorCode>) {
        self.topics[place].partitions.push(OffsetCommitResponsePartition {
            partition_index: partition.partition_index,
            error_code: code(outcome),
            ..OffsetCommitResponsePartition::default()
        });
    }
}

/// The answer to a commit, with what became of the partitions that are there. Without any that were refused they stand as in
/// the request, as in Kafka, or, where each counts once, each topic once.
async fn answered(
    refused: CommitAnswer,
    there: &[There<'_>],
    outcomes: Result<Vec<Result<(), ErrorCode>>, ErrorCode>,
    each_once: bool,
) -> OffsetCommitResponse {
    let (mut answer, mut pace) = (refused, Pace::default());
    let is_merged = each_once || !answer.topics.is_empty();
    let mut outcomes = outcomes.map(Vec::into_iter);
    let mut of: Option<(&There<'_>, usize)> = None;
    for one in there {
        pace.step().await;
        let place = match of {
            Some((other, place)) if one.is_of_topic_of(other) => place,
            _ if is_merged => answer.place(one.topic, there.len()),
            _ => answer.add(one.topic),
        };
        of = Some((one, place));
        let outcome = match &mut outcomes {
            Ok(outcomes) => outcomes.next().unwrap_or(Err(ErrorCode::UnknownServerError)),
            Err(error) => Err(*error),
        };
        answer.push(place, one.partition, outcome);
    }
    OffsetCommitResponse { topics: answer.topics, ..OffsetCommitResponse::default() }
}

/// Each partition that a commit names is refused.
async fn unsupported(request: &OffsetCommitRequest) -> OffsetCommitResponse {
    let (mut answer, mut pace) = (CommitAnswer::default(), Pace::default());
    for topic in &request.topics {
        pace.step().await;
        let place = answer.add(topic);
        for partition in &topic.partitions {
            pace.step().await;
            answer.push(place, partition, Err(ErrorCode::UnsupportedVersion));
        }
    }
    OffsetCommitResponse { topics: answer.topics, ..OffsetCommitResponse::default() }
}

fn known_topic<'i>(
    image: &'i Image,
    topic: &OffsetCommitRequestTopic,
    by_id: bool,
) -> Result<&'i TopicImage, ErrorCode> {
    let known = if by_id {
        image.topic_by_id(topic.topic_id).ok_or(ErrorCode::UnknownTopicId)
    } else {
        image.topic(&topic.name).ok_or(ErrorCode::UnknownTopicOrPartition)
    };
    known.map(Arc::as_ref)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(1);

    /// What a commit of partitions of topics by name is answered, of which "t" has two.
    async fn committed_as(version: i16, topics: &[(&str, &[i32])]) -> Vec<(String, Vec<(i32, i16)>)> {
        let mut image = Image::default();
        let topic = TopicImage { id: ID, name: "t".into(), partitions: vec![base::StreamId(1); 2] };
        image.topics.insert(ID, Arc::new(topic));
        image.topics_by_name.insert("t".into(), ID);
        let partition = |index: &i32| OffsetCommitRequestPartition { partition_index: *index, ..Default::default() };
        let topic = |(name, partitions): &(&str, &[i32])| OffsetCommitRequestTopic {
            name: (*name).into(),
            partitions: partitions.iter().map(partition).collect(),
            ..Default::default()
        };
        let request = OffsetCommitRequest { topics: topics.iter().map(topic).collect(), ..Default::default() };
        let Sifted { there, bytes, refused } = sift(&image, version, &request).await;
        let known = topics.iter().filter(|(name, _)| *name == "t");
        let indexes = known.flat_map(|(_, partitions)| partitions.iter()).filter(|index| (0..2).contains(*index));
        let (mut indexes, mut seen) = (indexes.collect::<Vec<_>>(), HashMap::default());
        indexes.retain(|index| version != EACH_ONCE || seen.insert(*index, ()).is_none());
        assert!(there.iter().map(|there| &there.partition.partition_index).eq(indexes));
        assert_eq!(bytes, there.iter().map(|there| there.offset("t".into()).bytes(&"".into()) as u64).sum::<u64>());
        let outcomes = vec![Err(ErrorCode::OffsetMetadataTooLarge); there.len()];
        let answer = answered(refused, &there, Ok(outcomes), version == EACH_ONCE).await;
        let partitions = |topic: &OffsetCommitResponseTopic| {
            topic.partitions.iter().map(|partition| (partition.partition_index, partition.error_code)).collect()
        };
        answer.topics.iter().map(|topic| (topic.name.to_string(), partitions(topic))).collect()
    }

    /// Kafka's `OffsetCommitResponse.Builder`, as `handleOffsetCommitRequest` uses it.
    #[tokio::test]
    async fn what_a_commit_refuses_without_its_group_is_answered_first() {
        let (unknown, decided) = (ErrorCode::UnknownTopicOrPartition.code(), ErrorCode::OffsetMetadataTooLarge.code());
        let topic = |name: &str, partitions: &[(i32, i16)]| (name.to_owned(), partitions.to_vec());
        assert_eq!(
            committed_as(2, &[("t", &[0, 7]), ("none", &[0])]).await,
            [topic("t", &[(7, unknown), (0, decided)]), topic("none", &[(0, unknown)])]
        );
        assert_eq!(
            committed_as(2, &[("t", &[1]), ("none", &[3]), ("t", &[0, -1]), ("none", &[]), ("t", &[])]).await,
            [topic("none", &[(3, unknown)]), topic("t", &[(-1, unknown), (1, decided), (0, decided)])]
        );
        // Without any they stand as they were named, but for topics of nothing.
        assert_eq!(
            committed_as(2, &[("t", &[1]), ("t", &[]), ("t", &[0, 1])]).await,
            [topic("t", &[(1, decided)]), topic("t", &[(0, decided), (1, decided)])]
        );
        assert_eq!(committed_as(2, &[("none", &[])]).await, [topic("none", &[])]);
    }

    /// Kafka 3.9's `GroupCoordinatorAdapter.commitOffsets`.
    #[tokio::test]
    async fn what_version_1_names_again_counts_once() {
        let (unknown, decided) = (ErrorCode::UnknownTopicOrPartition.code(), ErrorCode::OffsetMetadataTooLarge.code());
        let topic = |name: &str, partitions: &[(i32, i16)]| (name.to_owned(), partitions.to_vec());
        assert_eq!(
            committed_as(1, &[("t", &[1, 1]), ("none", &[3, 3]), ("t", &[0, 7, 1])]).await,
            [topic("none", &[(3, unknown), (3, unknown)]), topic("t", &[(7, unknown), (1, decided), (0, decided)])]
        );
        assert_eq!(committed_as(1, &[("t", &[1]), ("t", &[0, 1])]).await, [topic("t", &[(1, decided), (0, decided)])]);
    }

    #[tokio::test]
    async fn what_version_1_names_last_is_committed() {
        let mut image = Image::default();
        let known = TopicImage { id: ID, name: "t".into(), partitions: vec![base::StreamId(1)] };
        image.topics.insert(ID, Arc::new(known));
        image.topics_by_name.insert("t".into(), ID);
        let partition = |offset| OffsetCommitRequestPartition { committed_offset: offset, ..Default::default() };
        let topic = |offsets: &[i64]| OffsetCommitRequestTopic {
            name: "t".into(),
            partitions: offsets.iter().copied().map(partition).collect(),
            ..Default::default()
        };
        let request = OffsetCommitRequest { topics: vec![topic(&[5, 6]), topic(&[3])], ..Default::default() };
        for (version, offsets) in [(1, vec![3]), (2, vec![5, 6, 3])] {
            let there = sift(&image, version, &request).await.there;
            assert_eq!(there.iter().map(|there| there.partition.committed_offset).collect::<Vec<_>>(), offsets);
        }
    }
}
