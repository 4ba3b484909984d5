//! ListOffsets (key 2), versions 0–11.
//!
//! | Version | What changes |
//! |---|---|
//! | 0 | up to `max_num_offsets` offsets in an array, newest first; only -1 and -2 are special |
//! | 1 | one offset with its timestamp; found nothing is -1, not an error |
//! | 2 | isolation level |
//! | 4 | leader epochs (KIP-320) |
//! | 7 | -3, the greatest timestamp (KIP-734); 8: -4 (KIP-405); 9: -5 (KIP-1005); 10: a timeout; 11: -6 (KIP-1023) |

use std::collections::HashSet;

use partition::{FoundOffset, Isolation, OffsetSpec, ReadError};
use wire::messages::list_offsets_request::ListOffsetsPartition;
use wire::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use wire::messages::{ListOffsetsRequest, ListOffsetsResponse};
use wire::{ErrorCode, Str};

use crate::call::Call;
use crate::core::Core;

pub(crate) async fn handle(core: &Core, call: &Call, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let isolation = if request.isolation_level == 1 { Isolation::ReadCommitted } else { Isolation::ReadUncommitted };
    let twice = repeated(&request);
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let found = if twice.contains(&(topic.name.clone(), asked.partition_index)) {
                Err(ErrorCode::InvalidRequest.code())
            } else {
                find(core, call.version, &topic.name, &asked, isolation).await
            };
            partitions.push(respond(call.version, &asked, found));
        }
        topics.push(ListOffsetsTopicResponse { name: topic.name, partitions, ..ListOffsetsTopicResponse::default() });
    }
    // Another broker may have moved on from these offsets, and this one be too late to know: then none of them is said.
    if let Err(why) = core.partitions.check_unfenced().await {
        tracing::debug!(%why, "offsets are not told by a broker that was replaced");
        for partition in topics.iter_mut().flat_map(|t| &mut t.partitions).filter(|p| p.error_code == 0) {
            *partition = ListOffsetsPartitionResponse {
                partition_index: partition.partition_index,
                error_code: ErrorCode::NotLeaderOrFollower.code(),
                ..ListOffsetsPartitionResponse::default()
            };
        }
    }
    ListOffsetsResponse { topics, ..ListOffsetsResponse::default() }
}

/// Partitions that the request names more than once, which Kafka refuses from version 1 on.
fn repeated(request: &ListOffsetsRequest) -> HashSet<(Str, i32)> {
    let mut seen = HashSet::new();
    let all = request.topics.iter().flat_map(|t| t.partitions.iter().map(|p| (t.name.clone(), p.partition_index)));
    all.filter(|partition| !seen.insert(partition.clone())).collect()
}

/// The oldest version that knows a special timestamp.
fn known_from(spec: OffsetSpec) -> i16 {
    match spec {
        OffsetSpec::Latest | OffsetSpec::Earliest | OffsetSpec::At(_) => 0,
        OffsetSpec::MaxTimestamp => 7,
        OffsetSpec::EarliestLocal => 8,
        OffsetSpec::LatestTiered => 9,
        OffsetSpec::EarliestPendingUpload => 11,
    }
}

async fn find(
    core: &Core,
    version: i16,
    topic: &str,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
) -> Result<FoundOffset, i16> {
    let spec = OffsetSpec::from_wire(asked.timestamp).filter(|spec| known_from(*spec) <= version);
    let spec = spec.ok_or(ErrorCode::UnsupportedVersion.code())?;
    let partition = core.partitions.get(topic, asked.partition_index).map_err(|error| error.code())?;
    partition.find_offset(spec, isolation, asked.current_leader_epoch).await.map_err(|error| {
        if matches!(error, ReadError::Storage(_) | ReadError::Damaged(_)) {
            tracing::warn!(%error, topic, partition = asked.partition_index, "an offset cannot be looked up");
        }
        error.code()
    })
}

fn respond(
    version: i16,
    asked: &ListOffsetsPartition,
    found: Result<FoundOffset, i16>,
) -> ListOffsetsPartitionResponse {
    let partition_index = asked.partition_index;
    let empty = ListOffsetsPartitionResponse { partition_index, ..ListOffsetsPartitionResponse::default() };
    match found {
        Err(error_code) => ListOffsetsPartitionResponse { error_code, ..empty },
        Ok(found) if version == 0 => {
            // The old array listed segment starts below the time asked for. There are no segments here: the offset
            // looked for is what its readers (resets to the earliest, the latest or a time) use.
            let offsets = (found.offset >= 0 && asked.max_num_offsets > 0).then_some(found.offset);
            ListOffsetsPartitionResponse { old_style_offsets: offsets.into_iter().collect(), ..empty }
        }
        Ok(found) => ListOffsetsPartitionResponse {
            timestamp: found.timestamp.0,
            offset: found.offset,
            leader_epoch: if version >= 4 { found.leader_epoch } else { -1 },
            ..empty
        },
    }
}
