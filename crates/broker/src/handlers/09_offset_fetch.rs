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
use wire::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use wire::messages::{OffsetFetchRequest, OffsetFetchResponse};
use wire::{ErrorCode, Str};

use crate::call::Call;
use crate::core::Core;
use crate::first_mentions::{Pace, first_mentions};
use crate::limits::{ASKED_AGAIN_MAX, ASKED_ALL_AGAIN_MAX, TOLD_ALL_AGAIN_BYTES_MAX};
use crate::mentions::keep_last;

pub(crate) async fn handle(core: &Core, call: &Call, mut request: OffsetFetchRequest) -> OffsetFetchResponse {
    if call.version == 0 {
        let (of, topics) = ((&*call.peer, &core.clock), request.topics.get_or_insert_default());
        keep_last(of, topics, |topic| topic.name.clone(), |topic| &mut topic.partition_indexes, |index| *index).await;
        return refused(request);
    }
    let again = bound_repeats(&mut request).await;
    let mut response = core.groups.fetch_offsets(&call.group_client(), &request).await;
    tell_again(&mut response.groups, again).await;
    response
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

/// A group that is asked again for all of its offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AllAgain {
    /// Where among those that stayed it was named.
    before: usize,
    /// Where the one stands that says what this one does.
    of: usize,
}

/// Tells all offsets of groups again, as Kafka does, as long as that is no large amount.
async fn tell_again(answers: &mut Vec<OffsetFetchResponseGroup>, again: Vec<AllAgain>) {
    let (mut pace, mut left, mut told) = (Pace::default(), TOLD_ALL_AGAIN_BYTES_MAX, Vec::new());
    for AllAgain { before, of } in again {
        let Some(first) = answers.get(of) else { continue };
        let mut bytes = 0;
        for topic in &first.topics {
            bytes += size_of_val(topic) + topic.name.len();
            for partition in &topic.partitions {
                pace.step().await;
                bytes += size_of_val(partition) + partition.metadata.as_ref().map_or(0, |metadata| metadata.len());
            }
            if bytes > left {
                break;
            }
        }
        if let Some(rest) = left.checked_sub(bytes) {
            left = rest;
            told.push((before, first.clone()));
        }
    }
    if told.is_empty() {
        return;
    }
    let (once, mut told) = (std::mem::take(answers), told.into_iter().peekable());
    answers.reserve_exact(once.len() + told.len());
    for (at, answer) in once.into_iter().enumerate() {
        pace.step().await;
        while let Some((_, again)) = told.next_if(|(before, _)| *before <= at) {
            answers.push(again);
        }
        answers.push(answer);
    }
    answers.extend(told.map(|(_, again)| again));
}

/// Lets what is named again be asked for again, as of Kafka, so many times: with their metadata a small request could
/// otherwise ask for any amount. Of what is beyond that the first mention stays. A group may be named any number of times
/// with other partitions. Those that are asked again for all offsets are not asked, but told again ([`tell_again`]).
async fn bound_repeats(request: &mut OffsetFetchRequest) -> Vec<AllAgain> {
    let (mut pace, mut again, mut all_again) = (Pace::default(), ASKED_AGAIN_MAX, Vec::new());
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
    let mut all = vec![None; first.len()];
    let mut kept = 0;
    for (at, first) in first.into_iter().map(|first| first as usize).enumerate() {
        pace.step().await;
        let asks_for_more = match &request.groups[at].topics {
            None => match all[first] {
                Some(of) => {
                    if all_again.len() < ASKED_ALL_AGAIN_MAX {
                        all_again.push(AllAgain { before: kept, of });
                    }
                    false
                }
                None => {
                    all[first] = Some(kept);
                    true
                }
            },
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
    all_again
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
    use wire::messages::offset_fetch_response::{OffsetFetchResponsePartitions, OffsetFetchResponseTopics};

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
        let mut asked = request.clone();
        assert_eq!(bound_repeats(&mut request).await, [AllAgain { before: 3, of: 1 }]);
        asked.groups.remove(3);
        assert_eq!(request, asked);
    }

    #[tokio::test]
    async fn all_offsets_are_told_again_where_they_are_few() {
        let answer = |id: &str, metadata: usize| {
            let metadata = Some("m".repeat(metadata).into());
            let partition = OffsetFetchResponsePartitions { metadata, ..OffsetFetchResponsePartitions::default() };
            let topic =
                OffsetFetchResponseTopics { partitions: vec![partition], ..OffsetFetchResponseTopics::default() };
            OffsetFetchResponseGroup { group_id: id.into(), topics: vec![topic], ..Default::default() }
        };
        let (few, many) = (answer("few", 1), answer("many", TOLD_ALL_AGAIN_BYTES_MAX));
        let mut answers = vec![few.clone(), many.clone(), answer("other", 0)];
        let again = [(1, 0), (2, 1), (3, 0)].map(|(before, of)| AllAgain { before, of });
        tell_again(&mut answers, again.to_vec()).await;
        assert_eq!(answers, [few.clone(), few.clone(), many, answer("other", 0), few]);
    }

    #[tokio::test]
    async fn beyond_the_limit_the_first_mention_stays() {
        let many = vec![7; ASKED_AGAIN_MAX + 1];
        let mut groups = vec![group("g", Some(vec![topic("a", &many)]))];
        groups.extend([group("g", Some(vec![topic("a", &[7, 8]), topic("b", &[])])), group("g", Some(vec![]))]);
        groups.extend(vec![group("h", None); ASKED_ALL_AGAIN_MAX + 10]);
        let mut request = OffsetFetchRequest { groups, ..Default::default() };
        let again = bound_repeats(&mut request).await;
        assert_eq!(again, [AllAgain { before: 3, of: 2 }; ASKED_ALL_AGAIN_MAX]);
        let mut expected = vec![group("g", Some(vec![topic("a", &many)]))];
        expected.push(group("g", Some(vec![topic("a", &[8]), topic("b", &[])])));
        expected.push(group("h", None));
        assert_eq!(request.groups, expected);
    }
}
