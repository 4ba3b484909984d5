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
use base::collections::{HashMap, HashSet};
use wire::messages::offset_fetch_request::OffsetFetchRequestGroup;
use wire::messages::offset_fetch_response::{OffsetFetchResponsePartition, OffsetFetchResponseTopic};
use wire::messages::{OffsetFetchRequest, OffsetFetchResponse};
use wire::{ErrorCode, Str};

use crate::call::Call;
use crate::core::Core;

pub(crate) async fn handle(core: &Core, call: &Call, mut request: OffsetFetchRequest) -> OffsetFetchResponse {
    ask_once(&mut request);
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

/// Leaves each partition of a group in the request once: with their metadata a small request could otherwise ask for any
/// amount. A group may be named again, with other partitions, and is answered each time, as by Kafka.
fn ask_once(request: &mut OffsetFetchRequest) {
    let mut first = HashMap::default();
    let groups = request.groups.iter().enumerate();
    let first_mention: Vec<usize> =
        groups.map(|(at, group)| *first.entry(group.group_id.as_str()).or_insert(at)).collect();
    drop(first);
    let again = first_mention.iter().enumerate().filter(|(at, first)| at != *first);
    let mut asked: HashMap<usize, Asked> = again.map(|(_, first)| (*first, Asked::default())).collect();
    let mut first_mention = first_mention.into_iter();
    request.groups.retain_mut(|group| {
        let of_many = first_mention.next().and_then(|first| asked.get_mut(&first));
        of_many.unwrap_or(&mut Asked::default()).keep_new(group)
    });
    let mut seen = HashSet::default();
    for topic in request.topics.iter_mut().flatten() {
        let name = topic.name.clone();
        topic.partition_indexes.retain(|partition| seen.insert((name.clone(), *partition)));
    }
}

/// What was asked for of one group.
#[derive(Default)]
struct Asked {
    is_again: bool,
    all: bool,
    seen: HashSet<(Str, Uuid, i32)>,
}

impl Asked {
    /// Leaves in a mention of the group what is asked for the first time; whether it is the first mention, or that is
    /// anything.
    fn keep_new(&mut self, group: &mut OffsetFetchRequestGroup) -> bool {
        let is_again = std::mem::replace(&mut self.is_again, true);
        let Some(topics) = &mut group.topics else {
            return !std::mem::replace(&mut self.all, true);
        };
        let mut any = false;
        for topic in topics {
            let (name, id) = (topic.name.clone(), topic.topic_id);
            topic.partition_indexes.retain(|partition| self.seen.insert((name.clone(), id, *partition)));
            any |= !topic.partition_indexes.is_empty();
        }
        any || !is_again
    }
}

#[cfg(test)]
mod tests {
    use wire::messages::offset_fetch_request::{
        OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    };

    use super::*;

    #[test]
    fn what_is_asked_twice_is_asked_once() {
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
        ask_once(&mut request);
        let ids: Vec<&str> = request.groups.iter().map(|group| &*group.group_id).collect();
        assert_eq!(ids, ["x", "y"]);
        let asked: Vec<_> =
            request.groups[1].topics.iter().flatten().map(|topic| topic.partition_indexes.clone()).collect();
        assert_eq!(asked, [vec![0, 1], vec![0], vec![2]]);
        assert_eq!(request.topics.unwrap()[0].partition_indexes, [5]);
    }

    #[test]
    fn a_group_that_is_named_again_is_asked_for_what_is_new() {
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
        ask_once(&mut request);
        let expected = [
            group(Some(&[("a", &[0])])),
            group(Some(&[("b", &[0])])),
            group(None),
            group(Some(&[("a", &[1]), ("b", &[])])),
        ];
        assert_eq!(request.groups, expected);
    }
}
