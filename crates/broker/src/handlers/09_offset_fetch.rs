//! OffsetFetch (key 9), versions 0–10.
//!
//! | Version | What changes |
//! |---|---|
//! | 0 | meant ZooKeeper: refused, as by a Kafka 3.9 without it |
//! | 2 | no topics means all of them; an error of the whole response |
//! | 5 | leader epochs (KIP-320) |
//! | 7 | a stable answer, which waits for commits that are under way (KIP-447) |
//! | 8 | many groups (KIP-709) |
//! | 9 | member and epoch, which classic groups do not look at (KIP-848) |
//! | 10 | topic ids in place of names |

use base::Uuid;
use wire::messages::offset_fetch_response::{OffsetFetchResponsePartition, OffsetFetchResponseTopic};
use wire::messages::{OffsetFetchRequest, OffsetFetchResponse};
use wire::{ErrorCode, Str};

use crate::call::Call;
use crate::core::Core;
use crate::first_mentions::{Pace, first_mentions};

pub(crate) async fn handle(core: &Core, call: &Call, mut request: OffsetFetchRequest) -> OffsetFetchResponse {
    ask_once(&mut request).await;
    if call.version == 0 {
        return refused(request);
    }
    core.groups.fetch_offsets(&call.group_client(), &request).await
}

fn refused(request: OffsetFetchRequest) -> OffsetFetchResponse {
    let topics = request.topics.into_iter().flatten().map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|index| OffsetFetchResponsePartition {
            partition_index: *index,
            committed_offset: -1,
            metadata: Some(Str::default()),
            error_code: ErrorCode::UnsupportedVersion.code(),
            ..OffsetFetchResponsePartition::default()
        });
        let partitions = partitions.collect();
        OffsetFetchResponseTopic { name: topic.name, partitions, ..OffsetFetchResponseTopic::default() }
    });
    OffsetFetchResponse { topics: topics.collect(), ..OffsetFetchResponse::default() }
}

/// A topic that is asked for.
struct Asked<'r> {
    /// The first mention of its group.
    group: u32,
    name: &'r Str,
    id: &'r Uuid,
    partitions: &'r mut Vec<i32>,
}

/// Leaves each partition of a group in the request once: with their metadata a small request could otherwise ask for any
/// amount. A group may be named again, with other partitions, and is answered each time, as by Kafka.
async fn ask_once(request: &mut OffsetFetchRequest) {
    let mut pace = Pace::default();
    let groups = &request.groups;
    let first = first_mentions(groups.len(), |at| groups[at].group_id.as_str(), &mut pace).await;
    let mut topics = Vec::new();
    for (group, first) in request.groups.iter_mut().zip(&first) {
        for topic in group.topics.iter_mut().flatten() {
            pace.step().await;
            let (name, id, partitions) = (&topic.name, &topic.topic_id, &mut topic.partition_indexes);
            topics.push(Asked { group: *first, name, id, partitions });
        }
    }
    ask_partitions_once(topics, &mut pace).await;
    let mut all = vec![false; first.len()];
    let mut kept = 0;
    for (at, first) in first.into_iter().map(|first| first as usize).enumerate() {
        pace.step().await;
        let asks_for_more = match &request.groups[at].topics {
            None => !std::mem::replace(&mut all[first], true),
            Some(topics) => at == first || topics.iter().any(|topic| !topic.partition_indexes.is_empty()),
        };
        if asks_for_more {
            request.groups.swap(kept, at);
            kept += 1;
        }
    }
    request.groups.truncate(kept);

    let nil = Uuid::nil();
    let mut topics = Vec::new();
    for topic in request.topics.iter_mut().flatten() {
        pace.step().await;
        topics.push(Asked { group: 0, name: &topic.name, id: &nil, partitions: &mut topic.partition_indexes });
    }
    ask_partitions_once(topics, &mut pace).await;
}

/// Leaves each partition of a topic of a group once.
async fn ask_partitions_once(topics: Vec<Asked<'_>>, pace: &mut Pace) {
    let topic = |at: usize| (topics[at].group, topics[at].name.as_str(), topics[at].id);
    let first_topic = first_mentions(topics.len(), topic, pace).await;
    let mut asked = Vec::new();
    for (topic, first) in topics.iter().zip(first_topic) {
        for partition in &*topic.partitions {
            pace.step().await;
            asked.push((first, *partition));
        }
    }
    let mut first = first_mentions(asked.len(), |at| asked[at], pace).await.into_iter().enumerate();
    for topic in topics {
        let mut kept = 0;
        for at in 0..topic.partitions.len() {
            pace.step().await;
            if first.next().is_some_and(|(asked, first)| first as usize == asked) {
                topic.partitions.swap(kept, at);
                kept += 1;
            }
        }
        topic.partitions.truncate(kept);
    }
}

#[cfg(test)]
mod tests {
    use wire::messages::offset_fetch_request::{
        OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    };

    use super::*;

    #[tokio::test]
    async fn what_is_asked_twice_is_asked_once() {
        let topic = |name: &str, partitions: &[i32]| OffsetFetchRequestTopics {
            name: name.into(),
            partition_indexes: partitions.to_vec(),
            ..Default::default()
        };
        let group = |id: &str| OffsetFetchRequestGroup {
            group_id: id.into(),
            topics: Some(vec![topic("a", &[0, 1, 0]), topic("b", &[0]), topic("a", &[1, 2])]),
            ..Default::default()
        };
        let old = OffsetFetchRequestTopic { name: "a".into(), partition_indexes: vec![5, 5], ..Default::default() };
        let mut request = OffsetFetchRequest {
            groups: vec![group("x"), group("y"), group("x")],
            topics: Some(vec![old]),
            ..Default::default()
        };
        ask_once(&mut request).await;
        let ids: Vec<&str> = request.groups.iter().map(|group| &*group.group_id).collect();
        assert_eq!(ids, ["x", "y"]);
        let asked: Vec<_> =
            request.groups[1].topics.iter().flatten().map(|topic| topic.partition_indexes.clone()).collect();
        assert_eq!(asked, [vec![0, 1], vec![0], vec![2]]);
        assert_eq!(request.topics.unwrap()[0].partition_indexes, [5]);
    }

    #[tokio::test]
    async fn a_group_that_is_named_again_is_asked_for_what_is_new() {
        let group = |topics: Option<&[(&str, &[i32])]>| OffsetFetchRequestGroup {
            group_id: "g".into(),
            topics: topics.map(|topics| {
                let topic = |(name, partitions): &(&str, &[i32])| OffsetFetchRequestTopics {
                    name: (*name).into(),
                    partition_indexes: partitions.to_vec(),
                    ..Default::default()
                };
                topics.iter().map(topic).collect()
            }),
            ..Default::default()
        };
        let mentions = [
            group(Some(&[("a", &[0])])),
            group(Some(&[("b", &[0])])),
            group(Some(&[("b", &[0])])),
            group(None),
            group(Some(&[("a", &[0, 1]), ("b", &[])])),
            group(None),
        ];
        let mut request = OffsetFetchRequest { groups: mentions.to_vec(), ..Default::default() };
        ask_once(&mut request).await;
        let expected = [
            group(Some(&[("a", &[0])])),
            group(Some(&[("b", &[0])])),
            group(None),
            group(Some(&[("a", &[1]), ("b", &[])])),
        ];
        assert_eq!(request.groups, expected);
    }
}
