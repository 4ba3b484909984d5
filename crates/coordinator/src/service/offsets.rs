//! OffsetFetch and OffsetDelete.

use std::collections::BTreeMap;

use base::Uuid;
use base::collections::HashMap;
use futures::future::join_all;
use meta::{Image, TopicImage};
use wire::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use wire::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use wire::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use wire::messages::{OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest, OffsetFetchResponse};
use wire::{ErrorCode, Str};

use super::{ClientContext, GroupCoordinator, Pace, check_group_id, code};
use crate::group::Groups;
use crate::group::stored::{CommittedOffset, Offsets};
use crate::limits::PARTITIONS_AT_A_LOOK;
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
        let topic = |topic: &OffsetFetchRequestTopic| OffsetFetchRequestTopics {
            name: topic.name.clone(),
            partition_indexes: topic.partition_indexes.clone(),
            ..OffsetFetchRequestTopics::default()
        };
        let topics = match &request.topics {
            Some(topics) => Some(Pace::each(topics, topic).await),
            None => None,
        };
        let group = OffsetFetchRequestGroup {
            group_id: request.group_id.clone(),
            topics,
            ..OffsetFetchRequestGroup::default()
        };
        let mut answers = self.fetch_groups(client, std::slice::from_ref(&group), request.require_stable).await;
        one_group(client.version, &group, answers.pop().unwrap_or_default()).await
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

    /// OffsetDelete. As from Kafka a topic that is there is answered for each mention that names a partition of it, unless
    /// anything that there is not is named: then each topic is answered once.
    pub async fn delete_offsets(&self, request: &OffsetDeleteRequest) -> OffsetDeleteResponse {
        let image = self.0.meta.image();
        let mut pace = Pace::default();
        // Those that are there, each once, and of every mention of a topic where among them its partitions are.
        let (mut asked, mut mentions) = (Vec::new(), Vec::new());
        let mut seen: HashMap<(Uuid, i32), usize> = HashMap::default();
        let mut absent = OncePerTopic::default();
        for topic in &request.topics {
            pace.step().await;
            let known = image.topic(&topic.name);
            if known.is_none() {
                absent.partitions_of(&topic.name);
            }
            let mut places = Vec::new();
            for partition in &topic.partitions {
                pace.step().await;
                let index = partition.partition_index;
                match known.filter(|topic| has_partition(topic, index)) {
                    Some(known) => places.push(*seen.entry((known.id, index)).or_insert_with(|| {
                        asked.push((topic.name.clone(), index));
                        asked.len() - 1
                    })),
                    None => {
                        absent.partitions_of(&topic.name).push(deleted(index, Err(ErrorCode::UnknownTopicOrPartition)));
                    }
                }
            }
            if !places.is_empty() {
                mentions.push((&topic.name, places));
            }
        }
        let outcomes = match self.try_delete_offsets(&request.group_id, &asked).await {
            Ok(outcomes) => outcomes,
            Err(error) => {
                return OffsetDeleteResponse { error_code: error.code(), ..OffsetDeleteResponse::default() };
            }
        };
        let names_absent = !absent.topics.is_empty();
        let mut topics = Vec::new();
        for (name, places) in mentions {
            pace.step().await;
            let of_place = |place: usize| {
                let outcome = outcomes.get(place).copied().unwrap_or(Err(ErrorCode::UnknownServerError));
                deleted(asked[place].1, outcome)
            };
            let partitions = pace.go_on_with(places, of_place).await;
            if names_absent {
                absent.partitions_of(name).extend(partitions);
            } else {
                topics.push(OffsetDeleteResponseTopic { name: name.clone(), partitions });
            }
        }
        if names_absent {
            topics = absent.topics;
        }
        OffsetDeleteResponse { topics, ..OffsetDeleteResponse::default() }
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

fn deleted(partition_index: i32, outcome: Result<(), ErrorCode>) -> OffsetDeleteResponsePartition {
    OffsetDeleteResponsePartition { partition_index, error_code: code(outcome) }
}

/// An answer that names each topic once.
#[derive(Default)]
struct OncePerTopic {
    topics: Vec<OffsetDeleteResponseTopic>,
    places: HashMap<Str, usize>,
}

impl OncePerTopic {
    fn partitions_of(&mut self, name: &Str) -> &mut Vec<OffsetDeleteResponsePartition> {
        let place = *self.places.entry(name.clone()).or_insert(self.topics.len());
        if place == self.topics.len() {
            self.topics.push(OffsetDeleteResponseTopic { name: name.clone(), partitions: Vec::new() });
        }
        &mut self.topics[place].partitions
    }
}

/// Where in what is asked of a group: before this partition of this topic, by their places in the request.
type At = (usize, usize);

/// What of a group is looked at at a time.
struct Part<'r> {
    /// The group's place among those that are asked for.
    place: usize,
    group: &'r OffsetFetchRequestGroup,
    from: At,
    to: At,
}

impl<'r> Part<'r> {
    /// Groups in parts of [`PARTITIONS_AT_A_LOOK`] at most. Those of a group with more are not of one moment: a commit may
    /// come between, as between two requests. What all of a group's offsets are is told in one look: nobody has more of
    /// them than were committed.
    async fn all_of(groups: &[&'r OffsetFetchRequestGroup]) -> Vec<Self> {
        let (mut parts, mut pace) = (Vec::with_capacity(groups.len()), Pace::default());
        for (place, group) in groups.iter().copied().enumerate() {
            pace.step().await;
            let (mut from, mut room) = ((0, 0), PARTITIONS_AT_A_LOOK);
            let mut cut = |to| parts.push(Self { place, group, from: std::mem::replace(&mut from, to), to });
            for (at, topic) in group.topics.iter().flatten().enumerate() {
                pace.step().await;
                // Looking a topic up counts as well.
                let mut left = 1 + topic.partition_indexes.len();
                while left > room {
                    left -= room;
                    room = PARTITIONS_AT_A_LOOK;
                    cut((at, (topic.partition_indexes.len()).saturating_sub(left)));
                }
                room -= left;
            }
            cut((group.topics.as_ref().map_or(0, Vec::len), 0));
        }
        parts
    }

    /// Adds what is found to the group's answer.
    fn look(&self, image: &Image, by_id: bool, offsets: &Offsets, answer: &mut Vec<OffsetFetchResponseTopics>) {
        let Some(topics) = &self.group.topics else {
            *answer = all(image, by_id, offsets);
            return;
        };
        let ((first, begin), (last, end)) = (self.from, self.to);
        for (at, topic) in topics.iter().enumerate().take(last + 1).skip(first) {
            let indexes = &topic.partition_indexes;
            let begin = if at == first { begin } else { 0 };
            let end = if at == last { end } else { indexes.len() };
            if at == last && end == 0 {
                break;
            }
            let found = found_of(image, by_id, topic, &indexes[begin..end], offsets);
            match answer.last_mut().filter(|_| begin > 0) {
                Some(topic) => topic.partitions.extend(found),
                None => {
                    let mut partitions = Vec::with_capacity(indexes.len());
                    partitions.extend(found);
                    answer.push(OffsetFetchResponseTopics {
                        name: topic.name.clone(),
                        topic_id: topic.topic_id,
                        partitions,
                        ..OffsetFetchResponseTopics::default()
                    });
                }
            }
        }
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
    let parts = Part::all_of(groups).await;
    let mut answers = Pace::each(groups, |_| Vec::new()).await;
    let look = |groups: &Groups, part: &Part<'_>| {
        let offsets = groups.committed(&part.group.group_id).unwrap_or(&none);
        part.look(image, by_id, offsets, &mut answers[part.place]);
    };
    if require_stable {
        shard.read_stable(&parts, looks, |groups, part| groups.is_queued(&part.group.group_id), look).await?;
    } else {
        shard.read_each(&parts, looks, look).await?;
    }
    if by_id {
        for (_, answer) in groups.iter().zip(&mut answers).filter(|(group, _)| group.topics.is_some()) {
            *answer = unknown_last(image, std::mem::take(answer)).await;
        }
    }
    Ok(answers)
}

/// Topics with ids that nobody knows come behind the others, as in Kafka's `fetchOffsetsForGroup`.
async fn unknown_last(image: &Image, topics: Vec<OffsetFetchResponseTopics>) -> Vec<OffsetFetchResponseTopics> {
    let (mut known, mut unknown, mut pace) = (Vec::with_capacity(topics.len()), Vec::new(), Pace::default());
    for topic in topics {
        pace.step().await;
        if image.topic_by_id(topic.topic_id).is_some() { known.push(topic) } else { unknown.push(topic) }
    }
    known.append(&mut unknown);
    known
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
fn of_topic(known: Option<base::Uuid>, offset: &CommittedOffset) -> bool {
    known.is_none_or(|id| offset.is_of(id))
}

/// The offsets of partitions of one topic that are asked for.
fn found_of<'f>(
    image: &Image,
    by_id: bool,
    topic: &OffsetFetchRequestTopics,
    indexes: &'f [i32],
    offsets: &'f Offsets,
) -> impl Iterator<Item = OffsetFetchResponsePartitions> + use<'f> {
    let known = if by_id { image.topic_by_id(topic.topic_id) } else { image.topic(&topic.name) };
    let name = if by_id { known.map(|known| &*known.name) } else { Some(&*topic.name) };
    let of_topic_name = name.and_then(|name| offsets.get(name));
    let (error_code, id) = (name.map_or(ErrorCode::UnknownTopicId.code(), |_| 0), known.map(|known| known.id));
    indexes.iter().map(move |index| {
        let offset = of_topic_name.and_then(|partitions| partitions.get(index));
        let offset = offset.filter(|offset| of_topic(id, offset));
        OffsetFetchResponsePartitions { error_code, ..found(*index, offset) }
    })
}

/// All offsets of a group. Where topics have ids, those of a topic that is being deleted have none to be named by.
fn all(image: &Image, by_id: bool, offsets: &Offsets) -> Vec<OffsetFetchResponseTopics> {
    let topics = offsets.iter().filter_map(|(name, partitions): (&Str, &BTreeMap<i32, CommittedOffset>)| {
        let known = image.topic(name).map(|known| known.id);
        let partitions = partitions.iter().filter(|(_, offset)| of_topic(known, offset));
        let partitions: Vec<_> = partitions.map(|(index, offset)| found(*index, Some(offset))).collect();
        if partitions.is_empty() || (by_id && known.is_none()) {
            return None;
        }
        Some(OffsetFetchResponseTopics {
            name: name.clone(),
            topic_id: known.unwrap_or_default(),
            partitions,
            ..OffsetFetchResponseTopics::default()
        })
    });
    topics.collect()
}

/// The response of versions that ask for one group.
async fn one_group(
    version: i16,
    request: &OffsetFetchRequestGroup,
    group: OffsetFetchResponseGroup,
) -> OffsetFetchResponse {
    let (mut answers, mut pace) = (Vec::new(), Pace::default());
    if group.error_code != 0 && version < GROUP_ERROR_FROM {
        // Without a place of its own the error stands at each partition.
        for topic in request.topics.iter().flatten() {
            pace.step().await;
            let (name, indexes) = (topic.name.clone(), &topic.partition_indexes);
            let refuse = |index: &i32| {
                alone(OffsetFetchResponsePartitions { error_code: group.error_code, ..found(*index, None) })
            };
            let partitions = pace.go_on_with(indexes, refuse).await;
            answers.push(OffsetFetchResponseTopic { name, partitions, ..OffsetFetchResponseTopic::default() });
        }
    }
    for topic in group.topics {
        pace.step().await;
        let partitions = pace.go_on_with(topic.partitions, alone).await;
        answers.push(OffsetFetchResponseTopic { name: topic.name, partitions, ..OffsetFetchResponseTopic::default() });
    }
    OffsetFetchResponse { topics: answers, error_code: group.error_code, ..OffsetFetchResponse::default() }
}

fn alone(partition: OffsetFetchResponsePartitions) -> OffsetFetchResponsePartition {
    OffsetFetchResponsePartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
        ..OffsetFetchResponsePartition::default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

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
        let found = found_of(image, by_id, &topic, &topic.partition_indexes, offsets);
        found.map(|found| (found.committed_offset, ErrorCode::from_code(found.error_code))).collect()
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

    /// The shard's lock is held for a part.
    #[tokio::test]
    async fn a_group_is_looked_at_in_parts_of_so_many_partitions_at_most() {
        let many = PARTITIONS_AT_A_LOOK;
        let topic = |partitions: usize| OffsetFetchRequestTopics {
            partition_indexes: vec![0; partitions],
            ..OffsetFetchRequestTopics::default()
        };
        for (topics, parts) in [
            (vec![], 1),
            (vec![many - 1], 1),
            (vec![many], 2),
            (vec![1; many / 2], 1),
            (vec![1; many], 2),
            (vec![0; 3 * many], 3),
            (vec![10 * many, 7, many - 8], 12),
        ] {
            let topics = Some(topics.into_iter().map(topic).collect());
            let group = OffsetFetchRequestGroup { topics, ..OffsetFetchRequestGroup::default() };
            let all = Part::all_of(&[&group]).await;
            assert_eq!(all.len(), parts);
            let (mut answer, mut looked_at) = (Vec::new(), 0);
            for part in &all {
                part.look(&Image::default(), false, &Offsets::new(), &mut answer);
                let now: usize = answer.iter().map(|topic| topic.partitions.len()).sum();
                assert!(now - looked_at <= many, "{}", now - looked_at);
                looked_at = now;
            }
            let asked: Vec<usize> = group.topics.iter().flatten().map(|topic| topic.partition_indexes.len()).collect();
            assert_eq!(answer.iter().map(|topic| topic.partitions.len()).collect::<Vec<_>>(), asked);
        }
    }
}
