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

use base::collections::HashSet;
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

/// Leaves each group and partition in the request once: with their metadata a small request could otherwise ask for any
/// amount.
fn ask_once(request: &mut OffsetFetchRequest) {
    let mut groups = HashSet::default();
    request.groups.retain(|group| groups.insert(group.group_id.clone()));
    for group in &mut request.groups {
        let mut seen = HashSet::default();
        for topic in group.topics.iter_mut().flatten() {
            let (name, id) = (topic.name.clone(), topic.topic_id);
            topic.partition_indexes.retain(|partition| seen.insert((name.clone(), id, *partition)));
        }
    }
    let mut seen = HashSet::default();
    for topic in request.topics.iter_mut().flatten() {
        let name = topic.name.clone();
        topic.partition_indexes.retain(|partition| seen.insert((name.clone(), *partition)));
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
}
