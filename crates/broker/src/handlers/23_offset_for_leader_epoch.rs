//! OffsetForLeaderEpoch (key 23), versions 0–4.
//!
//! Tells a consumer where a leader epoch ended, so that it finds out whether the log was cut below its position (KIP-320).
//! v1 names the epoch in the answer, v2 checks the client's current leader epoch, v3 names the replica that asks.

use wire::ErrorCode;
use wire::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use wire::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use crate::core::Core;
use crate::errors::code;

pub(crate) async fn handle(core: &Core, request: OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse {
    // The present epoch's end is the latest offset, which only an unfenced broker knows (I-3).
    let unfenced = core.partitions.check_unfenced().await.is_ok();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let partition = core.partitions.get(&topic.topic, asked.partition).map_err(|error| error.code());
            let end = partition.and_then(|partition| {
                if !unfenced {
                    return Err(code(ErrorCode::NotLeaderOrFollower));
                }
                let end = partition.offset_for_leader_epoch(asked.leader_epoch, asked.current_leader_epoch);
                end.map_err(|error| error.code())
            });
            let empty = EpochEndOffset { partition: asked.partition, ..EpochEndOffset::default() };
            match end {
                Ok(end) => EpochEndOffset { leader_epoch: end.epoch, end_offset: end.end, ..empty },
                Err(error_code) => EpochEndOffset { error_code, ..empty },
            }
        });
        let partitions = partitions.collect();
        OffsetForLeaderTopicResult { topic: topic.topic, partitions, ..OffsetForLeaderTopicResult::default() }
    });
    OffsetForLeaderEpochResponse { topics: topics.collect(), ..OffsetForLeaderEpochResponse::default() }
}
