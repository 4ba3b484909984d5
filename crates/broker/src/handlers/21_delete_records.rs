//! DeleteRecords (key 21), versions 0–2.
//!
//! Raises the log start; -1 means the high watermark. Of a partition that is named more than once the last mention counts. The answer's low watermark is the log start afterwards. Where the log
//! starts and ends, only an unfenced broker knows (I-3): one check for all that the request names.

use futures::future::join_all;
use wire::ErrorCode;
use wire::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use wire::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use crate::core::Core;
use crate::deadline::within;
use crate::errors::{ApiError, NONE, code};
use crate::fenced::told_if_unfenced;
use crate::mentions::keep_last;
use crate::topics::is_internal;

pub(crate) async fn handle(core: &Core, mut request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    keep_last(&mut request.topics, |t| t.name.clone(), |t| &mut t.partitions, |p| p.partition_index);
    // Side by side: their trims share an entry of the metadata log.
    let topics = request.topics.into_iter().map(|topic| async move {
        let partitions = topic.partitions.iter().map(|asked| async {
            let (index, offset) = (asked.partition_index, asked.offset);
            let outcome = within(request.timeout_ms, delete(core, &topic.name, index, offset), |error| error).await;
            let (low_watermark, error_code) = match outcome {
                Ok(start) => (start, NONE),
                Err(error) => {
                    tracing::info!(topic = %topic.name, partition = index, offset, error.message, "records not deleted");
                    (-1, error.code)
                }
            };
            DeleteRecordsPartitionResult {
                partition_index: index,
                low_watermark,
                error_code,
                ..DeleteRecordsPartitionResult::default()
            }
        });
        let partitions = join_all(partitions).await;
        DeleteRecordsTopicResult { name: topic.name, partitions, ..DeleteRecordsTopicResult::default() }
    });
    let topics = told_if_unfenced(join_all(topics), core.partitions.check_unfenced(), |mut topics| {
        let told = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        for told in told.filter(|told| told.error_code == NONE || told.error_code == code(ErrorCode::OffsetOutOfRange))
        {
            (told.low_watermark, told.error_code) = (-1, code(ErrorCode::NotLeaderOrFollower));
        }
        topics
    });
    DeleteRecordsResponse { topics: topics.await, ..DeleteRecordsResponse::default() }
}

async fn delete(core: &Core, topic: &str, index: i32, offset: i64) -> Result<i64, ApiError> {
    let partition = core
        .partitions
        .get(topic, index)
        .map_err(|error| ApiError { code: error.code(), message: error.to_string() })?;
    if is_internal(topic) {
        return Err(ApiError::new(ErrorCode::InvalidTopicException, "The topic is internal."));
    }
    let deleted = partition.delete_records(offset).await;
    deleted.map(|start| start.kafka()).map_err(|error| ApiError { code: error.code(), message: error.to_string() })
}
