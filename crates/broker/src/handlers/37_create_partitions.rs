//! CreatePartitions (key 37), versions 0–3.
//!
//! A topic grows to `count` partitions; it never shrinks. Manual assignments are checked and mean nothing further, since
//! one replica on the broker with the fewest streams is what every partition gets.

use meta::{CreatePartitionsError, Image, PARTITIONS_PER_TOPIC_MAX};
use wire::ErrorCode;
use wire::messages::create_partitions_request::CreatePartitionsTopic;
use wire::messages::create_partitions_response::CreatePartitionsTopicResult;
use wire::messages::{CreatePartitionsRequest, CreatePartitionsResponse};

use super::create_topics::check_replicas;
use crate::call::Call;
use crate::core::Core;
use crate::deadline::{ForAWhile, told};
use crate::errors::{ApiError, of_meta};
use crate::in_order::InOrder;
use crate::limits::CHANGED_AT_ONCE_MAX;
use crate::mentions::keep_first;

pub(crate) async fn handle(core: &Core, call: &Call, mut request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let image = core.image();
    let of = (&*call.peer, &core.clock);
    let repeated = keep_first(of, &mut request.topics, |topic| topic.name.clone()).await;
    let time = ForAWhile::begin(&core.clock, Some(request.timeout_ms));
    // Side by side: they share an entry of the metadata log.
    let mut growing = InOrder::new(CHANGED_AT_ONCE_MAX, &call.peer, &core.clock);
    for topic in &request.topics {
        let (image, repeated, time) = (&image, &repeated, &time);
        let grown = async move {
            if repeated.contains(&topic.name) {
                return Err(ApiError::new(ErrorCode::InvalidRequest, "Duplicate topic name."));
            }
            grow(core, image, topic, request.validate_only, time).await
        };
        growing.push(grown).await;
    }
    let grown = growing.finish().await;
    let mut results = Vec::with_capacity(request.topics.len());
    for (topic, outcome) in request.topics.into_iter().zip(grown) {
        call.peer.breathe(&core.clock).await;
        let empty = CreatePartitionsTopicResult { name: topic.name, ..CreatePartitionsTopicResult::default() };
        results.push(match told(request.timeout_ms, outcome) {
            Ok(()) => empty,
            Err(error) => CreatePartitionsTopicResult { error_code: error.code, error_message: error.told(), ..empty },
        });
    }
    CreatePartitionsResponse { results, ..CreatePartitionsResponse::default() }
}

async fn grow(
    core: &Core,
    image: &Image,
    asked: &CreatePartitionsTopic,
    validate_only: bool,
    time: &ForAWhile,
) -> Result<(), ApiError> {
    let topic = image.topic(&asked.name).ok_or_else(|| ApiError::bare(ErrorCode::UnknownTopicOrPartition))?;
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
        // Every partition has one replica.
        assignments.iter().try_for_each(|a| check_replicas(image, &a.broker_ids, Some(1))).map_err(wrong)?;
    }
    time.wait_for(core.meta.create_partitions(topic.id, total, validate_only)).await??;
    if !validate_only {
        tracing::info!(topic = %topic.name, from = present, to = total, "partitions added");
    }
    Ok(())
}

/// What a client is told when a topic did not grow that it named: never an error about ids, even where the topic was
/// deleted, or made anew, since its id was looked up.
impl From<CreatePartitionsError> for ApiError {
    fn from(error: CreatePartitionsError) -> Self {
        let code = match &error {
            CreatePartitionsError::Unknown(_) => return Self::bare(ErrorCode::UnknownTopicOrPartition),
            CreatePartitionsError::NotMore { .. } | CreatePartitionsError::TooManyPartitions(_) => {
                ErrorCode::InvalidPartitions
            }
            CreatePartitionsError::NoBroker(_) => ErrorCode::InvalidReplicationFactor,
            CreatePartitionsError::Meta(error) => of_meta(error),
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use base::Uuid;
    use meta::{MetaError, NoBroker, TooManyPartitions};

    use super::*;

    #[test]
    fn a_topic_that_did_not_grow_has_kafkas_code_and_the_reason() {
        let unknown = CreatePartitionsError::Unknown(Uuid::from_u128(1));
        assert_eq!(ApiError::from(unknown), ApiError::bare(ErrorCode::UnknownTopicOrPartition));
        let all = [
            (CreatePartitionsError::NotMore { present: 2, wanted: 1 }, ErrorCode::InvalidPartitions),
            (TooManyPartitions { wanted: 2, limit: 1 }.into(), ErrorCode::InvalidPartitions),
            (NoBroker.into(), ErrorCode::InvalidReplicationFactor),
            (MetaError::Closed.into(), ErrorCode::NotController),
            (MetaError::TooLarge { bytes: 2, limit: 1 }.into(), ErrorCode::PolicyViolation),
        ];
        for (error, code) in all {
            assert_eq!(ApiError::from(error.clone()), ApiError::new(code, error.to_string()));
        }
    }
}
