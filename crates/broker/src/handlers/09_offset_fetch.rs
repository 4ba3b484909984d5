//! OffsetFetch (key 9), versions 0–10.
//!
//! | Version | What changes |
//! |---|---|
//! | 0 | meant ZooKeeper: refused, as by a Kafka 3.9 without it, each partition once |
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
use crate::limits::{ASKED_AGAIN_MAX, ASKED_ALL_AGAIN_MAX};
use crate::mentions::keep_last;

pub(crate) async fn handle(core: &Core, call: &Call, mut request: OffsetFetchRequest) -> OffsetFetchResponse {
    if call.version == 0 {
        let (of, topics) = ((&*call.peer, &core.clock), request.topics.get_or_insert_default());
        keep_last(of, topics, |topic| topic.name.clone(), |topic| &mut topic.partition_indexes, |index| *index).await;
        return refused(request);
    }
    bound_repeats(&mut request).await;
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

/// Lets what is named again be asked for again, as of Kafka, so many times: with their metadata a small request could
/// otherwise ask for any amount. Of what is beyond that the first mention stays. A group may be named any number of times
/// with other partitions.
async fn bound_repeats(request: &mut OffsetFetchRequest) {
    let (mut pace, mut again, mut all_again) = (Pace::default(), ASKED_AGAIN_MAX, ASKED_ALL_AGAIN_MAX);
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
    bound_repeated_partitions(topics, &mut again, &mut pace).await;
    let mut all = vec![false; first.len()];
    let mut kept = 0;
    for (at, first) in first.into_iter().map(|first| first as usize).enumerate() {
        pace.step().await;
        let asks_for_more = match &request.groups[at].topics {
            None => !std::mem::replace(&mut all[first], true) || take(&mut all_again),
            Some(topics) => {
                let names_any = topics.iter().any(|topic| !topic.partition_indexes.is_empty());
                at == first || names_any || take(&mut again)
            }
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
    bound_repeated_partitions(topics, &mut again, &mut pace).await;
}

/// Takes one of what is left, if anything is.
fn take(left: &mut usize) -> bool {
    let is_left = *left > 0;
    *left = left.saturating_sub(1);
    is_left
}

/// Leaves each partition of a topic of a group once, and `again` times more in all.
async fn bound_repeated_partitions(topics: Vec<Asked<'_>>, again: &mut usize, pace: &mut Pace) {
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
            if first.next().is_some_and(|(asked, first)| first as usize == asked || take(again)) {
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

    fn topic(name: &str, partitions: &[i32]) -> OffsetFetchRequestTopics {
        OffsetFetchRequestTopics {
            name: name.into(),
            partition_indexes: partitions.to_vec(),
            ..OffsetFetchRequestTopics::default()
        }
    }

    fn group(id: &str, topics: Option<Vec<OffsetFetchRequestTopics>>) -> OffsetFetchRequestGroup {
        OffsetFetchRequestGroup { group_id: id.into(), topics, ..OffsetFetchRequestGroup::default() }
    }

    #[tokio::test]
    async fn what_is_asked_again_is_asked_again() {
        let twice = || group("x", Some(vec![topic("a", &[0, 1, 0]), topic("b", &[0]), topic("a", &[1, 2])]));
        let old = OffsetFetchRequestTopic { name: "a".into(), partition_indexes: vec![5, 5], ..Default::default() };
        let mut request = OffsetFetchRequest {
            groups: vec![twice(), group("y", None), twice(), group("y", None), group("y", Some(vec![]))],
            topics: Some(vec![old]),
            ..Default::default()
        };
        let asked = request.clone();
        bound_repeats(&mut request).await;
        assert_eq!(request, asked);
    }

    #[tokio::test]
    async fn beyond_the_limit_the_first_mention_stays() {
        let many = vec![7; ASKED_AGAIN_MAX + 1];
        let mut groups = vec![group("g", Some(vec![topic("a", &many)]))];
        groups.extend([group("g", Some(vec![topic("a", &[7, 8]), topic("b", &[])])), group("g", Some(vec![]))]);
        groups.extend(vec![group("h", None); ASKED_ALL_AGAIN_MAX + 10]);
        let mut request = OffsetFetchRequest { groups, ..Default::default() };
        bound_repeats(&mut request).await;
        let mut expected = vec![group("g", Some(vec![topic("a", &many)]))];
        expected.push(group("g", Some(vec![topic("a", &[8]), topic("b", &[])])));
        expected.extend(vec![group("h", None); ASKED_ALL_AGAIN_MAX + 1]);
        assert_eq!(request.groups, expected);
    }
}
