//! ListOffsets (key 2), versions 0–11.
//!
//! | Version | What changes |
//! |---|---|
//! | 0 | the starts of segments last written at or before a time, newest first, `max_num_offsets` of them |
//! | 1 | one offset with its timestamp; found nothing is -1, not an error |
//! | 2 | isolation level |
//! | 4 | leader epochs (KIP-320) |
//! | 7 | -3, the greatest timestamp (KIP-734); 8: -4 (KIP-405); 9: -5 (KIP-1005); 10: a timeout; 11: -6 (KIP-1023) |

use std::sync::Arc;

use base::collections::HashSet;
use partition::{FoundOffset, Isolation, OffsetSpec, Partition, ReadError};
use wire::ErrorCode;
use wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use wire::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use wire::messages::{ListOffsetsRequest, ListOffsetsResponse};

use crate::call::Call;
use crate::core::Core;
use crate::in_order::InOrder;
use crate::limits::{OFFSET_LOOKUPS_MAX, OLD_STYLE_OFFSETS_MAX};
use crate::mentions::keep_last;

/// What is said of a partition, or its error code.
type Found = Result<ListOffsetsPartitionResponse, i16>;

pub(crate) async fn handle(core: &Core, call: &Call, mut request: ListOffsetsRequest) -> ListOffsetsResponse {
    let Some(isolation) = Isolation::from_wire(request.isolation_level) else { return refused(request) };
    // Version 0 answers a partition as often as it is named; later ones refuse it then, each once, as in Kafka 4.4.0
    // (3.9.2 refuses each mention).
    let twice = match call.version {
        0 => HashSet::default(),
        _ => {
            let of = (&*call.peer, &core.clock);
            keep_last(of, &mut request.topics, |t| t.name.clone(), |t| &mut t.partitions, |p| p.partition_index).await
        }
    };
    let mut found = if call.version == 0 {
        find_all_old_style(core, call, &request).await.into_iter()
    } else {
        let mut lookups = InOrder::new(OFFSET_LOOKUPS_MAX, &call.peer, &core.clock);
        for topic in &request.topics {
            for asked in &topic.partitions {
                call.peer.breathe(&core.clock).await;
                let twice = twice.contains(&(topic.name.clone(), asked.partition_index));
                lookups.push(find(core, call.version, &topic.name, asked, isolation, twice)).await;
            }
        }
        lookups.finish().await.into_iter()
    };
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let answered = topic.partitions.iter().zip(&mut found).map(|(asked, found)| {
            let refused = |error_code| ListOffsetsPartitionResponse { error_code, ..Default::default() };
            let partition_index = asked.partition_index;
            ListOffsetsPartitionResponse { partition_index, ..found.unwrap_or_else(refused) }
        });
        let partitions = answered.collect();
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

/// What is told when nobody knows what may be seen: each mention of a partition is refused. So Kafka says it: it takes the
/// level for a number that it knows, and fails.
fn refused(request: ListOffsetsRequest) -> ListOffsetsResponse {
    let of_partition = |asked: ListOffsetsPartition| ListOffsetsPartitionResponse {
        partition_index: asked.partition_index,
        error_code: ErrorCode::UnknownServerError.code(),
        ..ListOffsetsPartitionResponse::default()
    };
    let of_topic = |topic: ListOffsetsTopic| ListOffsetsTopicResponse {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(of_partition).collect(),
        ..ListOffsetsTopicResponse::default()
    };
    let topics = request.topics.into_iter().map(of_topic).collect();
    ListOffsetsResponse { topics, ..ListOffsetsResponse::default() }
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

/// What is asked for, if the version knows it, and the partition of which it is asked.
fn admit(
    core: &Core,
    version: i16,
    topic: &str,
    asked: &ListOffsetsPartition,
) -> Result<(OffsetSpec, Arc<Partition>), i16> {
    let spec = OffsetSpec::from_wire(asked.timestamp).filter(|spec| known_from(*spec) <= version);
    let spec = spec.ok_or(ErrorCode::UnsupportedVersion.code())?;
    let partition = core.partitions.get(topic, asked.partition_index).map_err(|error| error.code())?;
    Ok((spec, partition))
}

/// Looks one partition up, unless it is named `twice`.
async fn find(
    core: &Core,
    version: i16,
    topic: &str,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
    twice: bool,
) -> Found {
    if twice {
        return Err(ErrorCode::InvalidRequest.code());
    }
    let (spec, partition) = admit(core, version, topic, asked)?;
    let found = partition.find_offset(spec, isolation, asked.current_leader_epoch).await;
    let FoundOffset { offset, timestamp, leader_epoch } = found.map_err(|error| refusal(topic, asked, &error))?;
    Ok(ListOffsetsPartitionResponse {
        timestamp: timestamp.0,
        offset,
        leader_epoch: if version >= 4 { leader_epoch } else { -1 },
        ..ListOffsetsPartitionResponse::default()
    })
}

/// For version 0. These look-ups wait for nothing.
async fn find_all_old_style(core: &Core, call: &Call, request: &ListOffsetsRequest) -> Vec<Found> {
    let (mut room, mut found) = (OLD_STYLE_OFFSETS_MAX, Vec::new());
    for topic in &request.topics {
        for asked in &topic.partitions {
            call.peer.breathe(&core.clock).await;
            found.push(find_old_style(core, &topic.name, asked, &mut room));
        }
    }
    found
}

/// `room` is what the answer may still hold.
fn find_old_style(core: &Core, topic: &str, asked: &ListOffsetsPartition, room: &mut usize) -> Found {
    let (spec, partition) = admit(core, 0, topic, asked)?;
    // Kafka fails to make an array of a negative length, and says so in the same way.
    let limit = usize::try_from(asked.max_num_offsets).map_err(|_| ErrorCode::UnknownServerError.code())?;
    let limit = limit.min((*room).max(1));
    let found = partition.offsets_before(spec, limit).map_err(|error| refusal(topic, asked, &error))?;
    *room = room.saturating_sub(found.len());
    let old_style_offsets = found.into_iter().map(|offset| offset.kafka()).collect();
    Ok(ListOffsetsPartitionResponse { old_style_offsets, ..ListOffsetsPartitionResponse::default() })
}

/// The error code of a look-up that failed.
fn refusal(topic: &str, asked: &ListOffsetsPartition, error: &ReadError) -> i16 {
    if matches!(error, ReadError::Storage(_) | ReadError::Damaged(_)) {
        tracing::warn!(%error, topic, partition = asked.partition_index, "an offset cannot be looked up");
    }
    error.code()
}
