//! CreatePartitions (key 37), versions 0–3.
//!
//! A topic grows to `count` partitions; it never shrinks. Manual assignments are checked and mean nothing further, since
//! one replica on the broker with the fewest streams is what every partition gets.

use base::collections::HashSet;
use futures::future::join_all;
use meta::{Image, PARTITIONS_PER_TOPIC_MAX};
use wire::messages::create_partitions_request::CreatePartitionsTopic;
use wire::messages::create_partitions_response::CreatePartitionsTopicResult;
use wire::messages::{CreatePartitionsRequest, CreatePartitionsResponse};
use wire::{ErrorCode, Str};

use super::create_topics::{check_replicas, of_topic};
use crate::core::Core;
use crate::deadline::within;
use crate::errors::ApiError;
use crate::mentions::keep_first;

pub(crate) async fn handle(core: &Core, mut request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let image = core.image();
    let mut seen = HashSet::default();
    let twice: HashSet<Str> =
        request.topics.iter().filter(|t| !seen.insert(t.name.clone())).map(|t| t.name.clone()).collect();
    keep_first(&mut request.topics, |topic| topic.name.clone());
    // Side by side: they share an entry of the metadata log.
    let results = request.topics.iter().map(|topic| async {
        let outcome = if twice.contains(&topic.name) {
            Err(ApiError::new(ErrorCode::InvalidRequest, "Duplicate topic in request."))
        } else {
            let growth = grow(core, &image, topic, request.validate_only);
            within(request.timeout_ms, growth, |error| error).await
        };
        let empty = CreatePartitionsTopicResult { name: topic.name.clone(), ..CreatePartitionsTopicResult::default() };
        match outcome {
            Ok(()) => empty,
            Err(error) => CreatePartitionsTopicResult {
                error_code: error.code,
                error_message: Some(error.message.into()),
                ..empty
            },
        }
    });
    CreatePartitionsResponse { results: join_all(results).await, ..CreatePartitionsResponse::default() }
}

async fn grow(core: &Core, image: &Image, asked: &CreatePartitionsTopic, validate_only: bool) -> Result<(), ApiError> {
    let unknown = || ApiError::new(ErrorCode::UnknownTopicOrPartition, ErrorCode::UnknownTopicOrPartition.message());
    let topic = image.topic(&asked.name).ok_or_else(unknown)?;
    let present = topic.partitions.len();
    let invalid = |why: String| ApiError::new(ErrorCode::InvalidPartitions, why);
    let total = match usize::try_from(asked.count) {
        Ok(count) if count == present => return Err(invalid(format!("Topic already has {present} partition(s)."))),
        Ok(count) if count > present && count <= PARTITIONS_PER_TOPIC_MAX => count,
        Ok(count) if count > present => {
            return Err(invalid(format!("A topic may have {PARTITIONS_PER_TOPIC_MAX} partitions at most.")));
        }
        _ => {
            return Err(invalid(format!(
                "The topic {} currently has {present} partition(s); {} would not be an increase.",
                asked.name, asked.count
            )));
        }
    };
    if let Some(assignments) = &asked.assignments {
        let wrong = |why: String| ApiError::new(ErrorCode::InvalidReplicaAssignment, why);
        if assignments.len() != total - present {
            return Err(wrong(format!(
                "Attempted to add {} additional partition(s), but only {} assignment(s) were specified.",
                total - present,
                assignments.len()
            )));
        }
        assignments.iter().try_for_each(|a| check_replicas(image, &a.broker_ids)).map_err(wrong)?;
    }
    core.meta.create_partitions(topic.id, total, validate_only).await.map_err(|error| of_topic(&error))?;
    if !validate_only {
        tracing::info!(topic = %topic.name, from = present, to = total, "partitions added");
    }
    Ok(())
}
