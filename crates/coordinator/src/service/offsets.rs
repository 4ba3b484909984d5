//! OffsetFetch and OffsetDelete.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;
use meta::{Image, TopicImage};
use wire::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use wire::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use wire::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use wire::messages::{OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest, OffsetFetchResponse};
use wire::{ErrorCode, Str};

use super::{ClientContext, GroupCoordinator, Pace, check_group_id, code};
use crate::group::Groups;
use crate::group::stored::{CommittedOffset, Offsets};
use crate::runtime::{Looks, Shard, ShardError};

/// From this version on topics have ids instead of names.
pub(super) const TOPIC_IDS_FROM: i16 = 10;
/// From this version on a response says what is wrong with a group as a whole.
const GROUP_ERROR_FROM: i16 = 2;
/// From this version on a request is for many groups.
const MANY_GROUPS_FROM: i16 = 8;
/// "No offset committed".
const NO_OFFSET: i64 = -1;

impl GroupCoordinator {
    /// OffsetFetch, for one group or many.
    pub async fn fetch_offsets(&self, client: &ClientContext, request: &OffsetFetchRequest) -> OffsetFetchResponse {
        if client.version >= MANY_GROUPS_FROM {
            let groups = self.fetch_groups(client, &request.groups, request.require_stable).await;
            return OffsetFetchResponse { groups, ..OffsetFetchResponse::default() };
        }
        let topics = request.topics.as_ref().map(|topics| {
            let topic =
                |topic: &wire::messages::offset_fetch_request::OffsetFetchRequestTopic| OffsetFetchRequestTopics {
                    name: topic.name.clone(),
                    partition_indexes: topic.partition_indexes.clone(),
                    ..OffsetFetchRequestTopics::default()
                };
            topics.iter().map(topic).collect()
        });
        let group = OffsetFetchRequestGroup {
            group_id: request.group_id.clone(),
            topics,
            ..OffsetFetchRequestGroup::default()
        };
        let mut answers = self.fetch_groups(client, std::slice::from_ref(&group), request.require_stable).await;
        one_group(client.version, &group, answers.pop().unwrap_or_default())
    }

    /// Each shard is asked once for all of its groups.
    async fn fetch_groups(
        &self,
        client: &ClientContext,
        groups: &[OffsetFetchRequestGroup],
        require_stable: bool,
    ) -> Vec<OffsetFetchResponseGroup> {
        let answer = |group: &OffsetFetchRequestGroup, found: Result<_, ErrorCode>| OffsetFetchResponseGroup {
            group_id: group.group_id.clone(),
            error_code: found.as_ref().err().map_or(0, |error| error.code()),
            topics: found.unwrap_or_default(),
            ..OffsetFetchResponseGroup::default()
        };
        let shards = match self.by_shard(groups, |group| &group.group_id).await {
            Ok(shards) => shards,
            Err(error) => return Pace::each(groups, |group| answer(group, Err(error))).await,
        };
        let looks = &Looks::small();
        let found =
            shards.iter().map(|(shard, asked)| self.fetch_in(client, *shard, &asked.groups, require_stable, looks));
        let found = join_all(found).await;
        let mut answers = Pace::each(groups, |_| OffsetFetchResponseGroup::default()).await;
        let mut pace = Pace::default();
        for (asked, mut found) in shards.values().zip(found) {
            for (at, place) in asked.places.iter().enumerate() {
                pace.step().await;
                let found = match &mut found {
                    Ok(found) => Ok(std::mem::take(&mut found[at])),
                    Err(error) => Err((*error).into()),
                };
                answers[*place] = answer(&groups[*place], found);
            }
        }
        answers
    }

    /// The offsets of groups that one shard has.
    async fn fetch_in(
        &self,
        client: &ClientContext,
        shard: i32,
        asked: &[&OffsetFetchRequestGroup],
        require_stable: bool,
        looks: &Looks,
    ) -> Result<Vec<Vec<OffsetFetchResponseTopics>>, ShardError> {
        let shard = self.0.shards.get(shard).await?;
        let image = self.0.meta.image();
        fetched(&shard, &image, client.version >= TOPIC_IDS_FROM, asked, require_stable, looks).await
    }

    /// OffsetDelete.
    pub async fn delete_offsets(&self, request: &OffsetDeleteRequest) -> OffsetDeleteResponse {
        let image = self.0.meta.image();
        let known = |topic: &str, partition| image.topic(topic).is_some_and(|topic| has_partition(topic, partition));
        let asked: Vec<(Str, i32)> = request
            .topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(|partition| (topic.name.clone(), partition.partition_index)))
            .filter(|(topic, partition)| known(topic, *partition))
            .collect();
        let mut outcomes = match self.try_delete_offsets(&request.group_id, &asked).await {
            Ok(outcomes) => outcomes.into_iter(),
            Err(error) => {
                return OffsetDeleteResponse { error_code: error.code(), ..OffsetDeleteResponse::default() };
            }
        };
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                let outcome = if known(&topic.name, partition.partition_index) {
                    outcomes.next().unwrap_or(Err(ErrorCode::UnknownServerError))
                } else {
                    Err(ErrorCode::UnknownTopicOrPartition)
                };
                OffsetDeleteResponsePartition { partition_index: partition.partition_index, error_code: code(outcome) }
            });
            OffsetDeleteResponseTopic { name: topic.name.clone(), partitions: partitions.collect() }
        });
        OffsetDeleteResponse { topics: topics.collect(), ..OffsetDeleteResponse::default() }
    }

    async fn try_delete_offsets(
        &self,
        group: &Str,
        asked: &[(Str, i32)],
    ) -> Result<Vec<Result<(), ErrorCode>>, ErrorCode> {
        check_group_id(group)?;
        let shard = self.shard(group).await?;
        shard.write(|groups, out| groups.delete_offsets(group, asked, out)).await?
    }
}

/// The offsets of groups of a shard. A stable answer comes after everything that was being committed of them when it
/// was asked for.
pub(super) async fn fetched(
    shard: &Shard<Groups>,
    image: &Image,
    by_id: bool,
    groups: &[&OffsetFetchRequestGroup],
    require_stable: bool,
    looks: &Looks,
) -> Result<Vec<Vec<OffsetFetchResponseTopics>>, ShardError> {
    let none = Offsets::new();
    let look = |groups: &Groups, group: &&OffsetFetchRequestGroup| {
        let offsets = groups.committed(&group.group_id).unwrap_or(&none);
        match &group.topics {
            Some(topics) => topics.iter().map(|topic| asked(image, by_id, topic, offsets)).collect(),
            None => all(image, by_id, offsets),
        }
    };
    if require_stable {
        shard.read_stable(groups, looks, |groups, group| groups.is_queued(&group.group_id), look).await
    } else {
        shard.read_each(groups, looks, look).await
    }
}

/// Whether the topic has such a partition.
pub(super) fn has_partition(topic: &TopicImage, index: i32) -> bool {
    usize::try_from(index).is_ok_and(|index| index < topic.partitions.len())
}

fn found(partition_index: i32, offset: Option<&CommittedOffset>) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: offset.map_or(NO_OFFSET, |offset| offset.offset),
        committed_leader_epoch: offset.map_or(-1, |offset| offset.leader_epoch),
        metadata: Some(offset.map(|offset| offset.metadata.clone()).unwrap_or_default()),
        ..OffsetFetchResponsePartitions::default()
    }
}

/// The offset, unless there is a topic of its name that it is not of: what an earlier topic's consumers had read must not
/// be skipped in the new one. Kafka looks at ids only where the request has them; but a client that asks by name cannot
/// tell the offsets apart either.
fn of_topic(known: Option<&TopicImage>, offset: &CommittedOffset) -> bool {
    known.is_none_or(|known| offset.is_of(known.id))
}

/// The offsets of one topic that was asked for.
fn asked(image: &Image, by_id: bool, topic: &OffsetFetchRequestTopics, offsets: &Offsets) -> OffsetFetchResponseTopics {
    let known = if by_id { image.topic_by_id(topic.topic_id) } else { image.topic(&topic.name) }.map(Arc::as_ref);
    let name = if by_id { known.map(|known| &*known.name) } else { Some(&*topic.name) };
    let partitions = topic.partition_indexes.iter().map(|index| match name {
        Some(name) => {
            let offset = offsets.get(name).and_then(|partitions| partitions.get(index));
            found(*index, offset.filter(|offset| of_topic(known, offset)))
        }
        None => OffsetFetchResponsePartitions { error_code: ErrorCode::UnknownTopicId.code(), ..found(*index, None) },
    });
    OffsetFetchResponseTopics {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: partitions.collect(),
        ..OffsetFetchResponseTopics::default()
    }
}

/// All offsets of a group. Where topics have ids, those of a topic that is being deleted have none to be named by.
fn all(image: &Image, by_id: bool, offsets: &Offsets) -> Vec<OffsetFetchResponseTopics> {
    let topics = offsets.iter().filter_map(|(name, partitions): (&Str, &BTreeMap<i32, CommittedOffset>)| {
        let known = image.topic(name).map(Arc::as_ref);
        let partitions = partitions.iter().filter(|(_, offset)| of_topic(known, offset));
        let partitions: Vec<_> = partitions.map(|(index, offset)| found(*index, Some(offset))).collect();
        if partitions.is_empty() || (by_id && known.is_none()) {
            return None;
        }
        Some(OffsetFetchResponseTopics {
            name: name.clone(),
            topic_id: known.map(|known| known.id).unwrap_or_default(),
            partitions,
            ..OffsetFetchResponseTopics::default()
        })
    });
    topics.collect()
}

/// The response of versions that ask for one group.
fn one_group(version: i16, request: &OffsetFetchRequestGroup, group: OffsetFetchResponseGroup) -> OffsetFetchResponse {
    let mut topics = group.topics;
    if group.error_code != 0 && version < GROUP_ERROR_FROM {
        // Without a place of its own the error stands at each partition.
        let refuse =
            |index: &i32| OffsetFetchResponsePartitions { error_code: group.error_code, ..found(*index, None) };
        topics = request
            .topics
            .iter()
            .flatten()
            .map(|topic| OffsetFetchResponseTopics {
                name: topic.name.clone(),
                partitions: topic.partition_indexes.iter().map(refuse).collect(),
                ..OffsetFetchResponseTopics::default()
            })
            .collect();
    }
    let partition = |partition: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
        ..OffsetFetchResponsePartition::default()
    };
    let topic = |topic: OffsetFetchResponseTopics| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
        ..OffsetFetchResponseTopic::default()
    };
    OffsetFetchResponse {
        topics: topics.into_iter().map(topic).collect(),
        error_code: group.error_code,
        ..OffsetFetchResponse::default()
    }
}

#[cfg(test)]
mod tests {
    use base::Uuid;

    use super::*;

    const FIRST_ID: Uuid = Uuid::from_u128(1);
    const SECOND_ID: Uuid = Uuid::from_u128(2);

    /// Metadata with one topic.
    fn image(name: &str, id: Uuid) -> Image {
        let mut image = Image::default();
        image.topics.insert(id, Arc::new(TopicImage { id, name: name.into(), partitions: Vec::new() }));
        image.topics_by_name.insert(name.into(), id);
        image
    }

    /// Partition 0 of a topic with an offset of each of these ids.
    fn committed(topic: &str, ids: &[Uuid]) -> Offsets {
        let offset = |topic_id| CommittedOffset {
            offset: 7,
            leader_epoch: -1,
            metadata: Str::default(),
            commit_timestamp: 0,
            expire_timestamp: None,
            topic_id,
            unknown_tagged_fields: Vec::new(),
        };
        Offsets::from([(topic.into(), (0..).zip(ids.iter().map(|id| offset(*id))).collect())])
    }

    fn fetch_one(image: &Image, by_id: bool, offsets: &Offsets) -> Vec<(i64, ErrorCode)> {
        let topic = OffsetFetchRequestTopics {
            name: if by_id { Str::default() } else { "t".into() },
            topic_id: if by_id { SECOND_ID } else { Uuid::nil() },
            partition_indexes: vec![0, 1, 2],
            ..OffsetFetchRequestTopics::default()
        };
        let answer = asked(image, by_id, &topic, offsets).partitions;
        answer.iter().map(|found| (found.committed_offset, ErrorCode::from_code(found.error_code))).collect()
    }

    #[test]
    fn the_offset_of_an_earlier_topic_of_the_name_is_no_offset() {
        let image = image("t", SECOND_ID);
        let offsets = committed("t", &[FIRST_ID, SECOND_ID, Uuid::nil()]);
        for by_id in [false, true] {
            let expected = [NO_OFFSET, 7, 7].map(|offset| (offset, ErrorCode::None));
            assert_eq!(fetch_one(&image, by_id, &offsets), expected);
            let all = super::all(&image, by_id, &offsets);
            assert_eq!((all.len(), all[0].topic_id), (1, SECOND_ID));
            assert_eq!(all[0].partitions.iter().map(|found| found.partition_index).collect::<Vec<_>>(), [1, 2]);
            assert_eq!(super::all(&image, by_id, &committed("t", &[FIRST_ID])), []);
        }
    }

    #[test]
    fn the_offset_of_a_deleted_topic_is_there_by_name_until_it_is_removed() {
        let (image, offsets) = (image("other", FIRST_ID), committed("t", &[FIRST_ID]));
        assert_eq!(fetch_one(&image, false, &offsets)[0], (7, ErrorCode::None));
        assert_eq!(fetch_one(&image, true, &offsets)[0], (NO_OFFSET, ErrorCode::UnknownTopicId));
        assert_eq!((all(&image, false, &offsets).len(), all(&image, true, &offsets).len()), (1, 0));
    }
}
