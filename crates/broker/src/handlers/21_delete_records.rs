//! DeleteRecords (key 21), versions 0–2.
//!
//! Raises the log start; -1 means the high watermark. The answer's low watermark is the log start afterwards.

use wire::ErrorCode;
use wire::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use wire::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use crate::core::Core;
use crate::errors::{NONE, code};
use crate::topics::is_internal;

pub(crate) async fn handle(core: &Core, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        // Side by side: their trims share an entry of the metadata log.
        let partitions = topic.partitions.iter().map(|asked| {
            let name = &topic.name;
            async move {
                let (low_watermark, error_code) = match delete(core, name, asked.partition_index, asked.offset).await {
                    Ok(start) => (start, NONE),
                    Err(error_code) => (-1, error_code),
                };
                DeleteRecordsPartitionResult {
                    partition_index: asked.partition_index,
                    low_watermark,
                    error_code,
                    ..DeleteRecordsPartitionResult::default()
                }
            }
        });
        let partitions = futures::future::join_all(partitions).await;
        topics.push(DeleteRecordsTopicResult { name: topic.name, partitions, ..DeleteRecordsTopicResult::default() });
    }
    DeleteRecordsResponse { topics, ..DeleteRecordsResponse::default() }
}

async fn delete(core: &Core, topic: &str, index: i32, offset: i64) -> Result<i64, i16> {
    let partition = core.partitions.get(topic, index).map_err(|error| error.code())?;
    if is_internal(topic) {
        return Err(code(ErrorCode::InvalidTopicException));
    }
    partition.delete_records(offset).await.map(|start| start.kafka()).map_err(|error| {
        tracing::info!(topic, partition = index, offset, %error, "records not deleted");
        error.code()
    })
}
