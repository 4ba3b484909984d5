//! OffsetForLeaderEpoch (key 23), versions 0–4.
//!
//! Tells a consumer where a leader epoch ended, so that it finds out whether the log was cut below its position (KIP-320).
//! v1 names the epoch in the answer, v2 checks the client's current leader epoch, v3 names the replica that asks.

use wire::ErrorCode;
use wire::messages::offset_for_leader_epoch_request::OffsetForLeaderTopic;
use wire::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use wire::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use crate::call::Call;
use crate::core::Core;
use crate::errors::{NONE, code};
use crate::fenced::told_if_unfenced;

pub(crate) async fn handle(
    core: &Core,
    call: &Call,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    // The present epoch's end is the latest offset, which only an unfenced broker knows (I-3).
    let topics = told_if_unfenced(
        async {
            let mut topics = Vec::with_capacity(request.topics.len());
            for topic in &request.topics {
                topics.push(ends(core, call, topic).await);
            }
            topics
        },
        core.partitions.check_unfenced(),
        |mut topics| {
            let ends = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
            for end in ends.filter(|end| end.error_code == NONE) {
                *end = refused(end.partition, code(ErrorCode::NotLeaderOrFollower));
            }
            topics
        },
    );
    OffsetForLeaderEpochResponse { topics: topics.await, ..OffsetForLeaderEpochResponse::default() }
}

async fn ends(core: &Core, call: &Call, topic: &OffsetForLeaderTopic) -> OffsetForLeaderTopicResult {
    let mut partitions = Vec::with_capacity(topic.partitions.len());
    for asked in &topic.partitions {
        call.peer.breathe(&core.clock).await;
        let partition = core.partitions.get(&topic.topic, asked.partition).map_err(|error| error.code());
        let end = partition.and_then(|partition| {
            let end = partition.offset_for_leader_epoch(asked.leader_epoch, asked.current_leader_epoch);
            end.map_err(|error| error.code())
        });
        partitions.push(match end {
            Ok(end) => EpochEndOffset {
                partition: asked.partition,
                leader_epoch: end.epoch,
                end_offset: end.end,
                ..EpochEndOffset::default()
            },
            Err(error_code) => refused(asked.partition, error_code),
        });
    }
    OffsetForLeaderTopicResult { topic: topic.topic.clone(), partitions, ..OffsetForLeaderTopicResult::default() }
}

fn refused(partition: i32, error_code: i16) -> EpochEndOffset {
    EpochEndOffset { partition, error_code, ..EpochEndOffset::default() }
}
