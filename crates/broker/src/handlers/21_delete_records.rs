//! DeleteRecords (key 21), versions 0–2.
//!
//! Raises the log start; -1 means the high watermark. Of a partition that is named more than once the last mention counts. The answer's low watermark is the log start afterwards. Where the log
//! starts and ends, only an unfenced broker knows (I-3): one check for all that the request names.

use std::sync::Arc;

use partition::Partition;
use wire::ErrorCode;
use wire::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use wire::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use crate::call::Call;
use crate::core::Core;
use crate::deadline::ForAWhile;
use crate::errors::{ApiError, NONE, code};
use crate::fenced::told_if_unfenced;
use crate::in_order::InOrder;
use crate::limits::TRIMMED_AT_ONCE_MAX;
use crate::mentions::keep_last;
use crate::topics::is_internal;

pub(crate) async fn handle(core: &Core, call: &Call, mut request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let of = (&*call.peer, &core.clock);
    keep_last(of, &mut request.topics, |t| t.name.clone(), |t| &mut t.partitions, |p| p.partition_index).await;
    let topics = told_if_unfenced(delete_all(core, call, request), core.partitions.check_unfenced(), |mut topics| {
        let told = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        for told in told.filter(|told| told.error_code == NONE || told.error_code == code(ErrorCode::OffsetOutOfRange))
        {
            (told.low_watermark, told.error_code) = (-1, code(ErrorCode::NotLeaderOrFollower));
        }
        topics
    });
    DeleteRecordsResponse { topics: topics.await, ..DeleteRecordsResponse::default() }
}

async fn delete_all(core: &Core, call: &Call, request: DeleteRecordsRequest) -> Vec<DeleteRecordsTopicResult> {
    let time = ForAWhile::begin(&core.clock, Some(request.timeout_ms));
    let mut refused = Refused::default();
    let mut results = Vec::with_capacity(request.topics.len());
    // Side by side: their trims share an entry of the metadata log. What cannot be trimmed needs no place among them.
    let mut trims = InOrder::new(TRIMMED_AT_ONCE_MAX, &call.peer, &core.clock);
    let mut trimmed = Vec::new();
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            call.peer.breathe(&core.clock).await;
            let (index, offset) = (asked.partition_index, asked.offset);
            let mut result = DeleteRecordsPartitionResult { partition_index: index, ..Default::default() };
            match find(core, &topic.name, index) {
                Ok(partition) => {
                    trimmed.push((results.len(), partitions.len(), offset));
                    let time = &time;
                    trims.push(Box::pin(async move { trim(&partition, offset, time).await })).await;
                }
                Err(error) => {
                    (result.low_watermark, result.error_code) = (-1, error.code);
                    refused.add(&topic.name, index, offset, &error);
                }
            }
            partitions.push(result);
        }
        results.push(DeleteRecordsTopicResult { name: topic.name, partitions, ..Default::default() });
    }
    for ((topic, partition, offset), outcome) in trimmed.into_iter().zip(trims.finish().await) {
        call.peer.breathe(&core.clock).await;
        let topic = &mut results[topic];
        let result = &mut topic.partitions[partition];
        (result.low_watermark, result.error_code) = match outcome {
            Ok(start) => (start, NONE),
            Err(error) => {
                refused.add(&topic.name, result.partition_index, offset, &error);
                (-1, error.code)
            }
        };
    }
    refused.log();
    results
}

/// A partition of this broker whose records a client may delete.
fn find(core: &Core, topic: &str, index: i32) -> Result<Arc<Partition>, ApiError> {
    let partition = core
        .partitions
        .get(topic, index)
        .map_err(|error| ApiError { code: error.code(), message: error.to_string() })?;
    if is_internal(topic) {
        return Err(ApiError::new(ErrorCode::InvalidTopicException, "The topic is internal."));
    }
    Ok(partition)
}

async fn trim(partition: &Partition, offset: i64, time: &ForAWhile) -> Result<i64, ApiError> {
    let deleted = time.wait_for(partition.delete_records(offset)).await?;
    deleted.map(|start| start.kafka()).map_err(|error| ApiError { code: error.code(), message: error.to_string() })
}

/// The partitions whose records are not deleted. A request may name very many: one line tells of all, and why of the first.
#[derive(Default)]
struct Refused {
    partitions: usize,
    first: Option<String>,
}

impl Refused {
    fn add(&mut self, topic: &str, partition: i32, offset: i64, error: &ApiError) {
        tracing::debug!(topic, partition, offset, error.message, "records not deleted");
        self.partitions += 1;
        self.first.get_or_insert_with(|| format!("{topic}-{partition} at {offset}: {}", error.message));
    }

    fn log(self) {
        if let Some(first) = self.first {
            tracing::info!(partitions = self.partitions, first, "records not deleted");
        }
    }
}
