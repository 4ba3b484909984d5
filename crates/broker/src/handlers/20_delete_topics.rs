//! DeleteTopics (key 20), versions 0–6.
//!
//! v5 adds messages, v6 topic ids. A topic that is named twice by its name, twice by its id, or once by each, is not deleted
//! (KIP-516); a name that is given twice does not count beside its id. An internal topic may be deleted, as in KRaft.

use std::sync::Arc;

use base::Uuid;
use base::collections::HashSet;
use meta::{DeleteTopicError, TopicImage};
use wire::messages::delete_topics_request::DeleteTopicState;
use wire::messages::delete_topics_response::DeletableTopicResult;
use wire::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use wire::{ErrorCode, Str};

use crate::call::Call;
use crate::core::Core;
use crate::deadline::{told, within};
use crate::errors::{ApiError, NO_SUCH_TOPIC, NO_SUCH_TOPIC_ID};
use crate::mentions::repeated;

/// From this version on clients know the error for it.
const DELETION_DISABLED_FROM: i16 = 3;

pub(crate) async fn handle(core: &Core, call: &Call, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let asked: Vec<DeleteTopicState> = if call.version >= 6 {
        request.topics
    } else {
        let by_name = |name| DeleteTopicState { name: Some(name), ..DeleteTopicState::default() };
        request.topic_names.into_iter().map(by_name).collect()
    };
    if !core.config.is("delete.topic.enable") {
        let is_known = call.version >= DELETION_DISABLED_FROM;
        let code = if is_known { ErrorCode::TopicDeletionDisabled } else { ErrorCode::InvalidRequest };
        return refuse_all(core, call, asked, code).await;
    }
    let sorted = sort(core, call, &asked).await;
    let (mut responses, wanted) = (sorted.refused, sorted.wanted);
    let deleted = if wanted.is_empty() {
        Ok(Vec::new())
    } else {
        let ids = wanted.iter().map(|wanted| wanted.topic.id).collect();
        within(request.timeout_ms, core.meta.delete_topics(ids), ApiError::from).await
    };
    let mut deleted = deleted.map(Vec::into_iter);
    for wanted in wanted {
        call.peer.breathe(&core.clock).await;
        let outcome = match &mut deleted {
            Ok(results) => match results.next() {
                Some(Ok(_)) => {
                    tracing::info!(topic = %wanted.topic.name, id = %wanted.topic.id, "topic deleted");
                    Ok(())
                }
                Some(Err(error)) => Err(not_deleted(error, wanted.unknown)),
                None => Err(ApiError::new(ErrorCode::UnknownServerError, "metadata gave no result for this topic")),
            },
            Err(error) => Err(error.clone()),
        };
        let outcome = told(request.timeout_ms, outcome);
        responses.push(result(Some((&*wanted.topic.name).into()), wanted.topic.id, outcome));
    }
    DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() }
}

/// A topic to be deleted.
struct Wanted {
    topic: Arc<TopicImage>,
    /// What it means that it is no more.
    unknown: ErrorCode,
}

/// What a client is told of a topic that was not deleted. `unknown` is what it means that there is none.
fn not_deleted(error: DeleteTopicError, unknown: ErrorCode) -> ApiError {
    match error {
        // Somebody else was faster.
        DeleteTopicError::Unknown(_) => ApiError::bare(unknown),
        DeleteTopicError::Unfit(unfit) => unfit.into(),
    }
}

/// What becomes of the mentions of topics.
struct Sorted {
    refused: Vec<DeletableTopicResult>,
    wanted: Vec<Wanted>,
}

/// Finds the topics that are named once. What is named more than once is answered once; so is a topic that both its name and
/// its id are given of, with both.
async fn sort(core: &Core, call: &Call, asked: &[DeleteTopicState]) -> Sorted {
    let image = core.image();
    let repeated = repeated((&call.peer, &core.clock), asked, |topic| (topic.name.clone(), topic.topic_id)).await;
    let (mut told, mut ids) = (HashSet::default(), HashSet::default());
    let (mut refused, mut by_id, mut by_name) = (Vec::new(), Vec::new(), Vec::new());
    let invalid = |name: &Option<Str>, id: Uuid, why: &str| {
        result(name.clone(), id, Err(ApiError::new(ErrorCode::InvalidRequest, why)))
    };
    for DeleteTopicState { name, topic_id, .. } in asked {
        call.peer.breathe(&core.clock).await;
        let (named, id) = ((name.clone(), *topic_id), *topic_id);
        match (name, id.is_nil()) {
            (Some(_), false) => {
                refused.push(invalid(name, id, "You may not specify both topic name and topic id."));
            }
            (None, true) => refused.push(invalid(name, id, "Neither topic name nor id were specified.")),
            (_, is_by_name) if repeated.contains(&named) => {
                ids.insert(id);
                if told.insert(named) {
                    let what = if is_by_name { "Duplicate topic name." } else { "Duplicate topic id." };
                    refused.push(invalid(name, id, what));
                }
            }
            (Some(topic), true) => match image.topic(topic) {
                Some(topic) => by_name.push(topic.clone()),
                None => {
                    let unknown = ApiError::new(ErrorCode::UnknownTopicOrPartition, NO_SUCH_TOPIC);
                    refused.push(result(name.clone(), id, Err(unknown)));
                }
            },
            (None, false) => match image.topic_by_id(id) {
                Some(topic) => {
                    ids.insert(id);
                    by_id.push(topic.clone());
                }
                None => {
                    let unknown = ApiError::new(ErrorCode::UnknownTopicId, NO_SUCH_TOPIC_ID);
                    refused.push(result(None, id, Err(unknown)));
                }
            },
        }
    }
    let mut clashing = HashSet::default();
    let mut wanted = Vec::with_capacity(by_name.len() + by_id.len());
    for topic in by_name {
        call.peer.breathe(&core.clock).await;
        if ids.contains(&topic.id) {
            clashing.insert(topic.id);
            let name = Some((&*topic.name).into());
            refused.push(invalid(&name, topic.id, "The provided topic name maps to an ID that was already supplied."));
        } else {
            wanted.push(Wanted { topic, unknown: ErrorCode::UnknownTopicOrPartition });
        }
    }
    let by_id = by_id.into_iter().filter(|topic| !clashing.contains(&topic.id));
    wanted.extend(by_id.map(|topic| Wanted { topic, unknown: ErrorCode::UnknownTopicId }));
    Sorted { refused, wanted }
}

fn result(name: Option<Str>, topic_id: Uuid, outcome: Result<(), ApiError>) -> DeletableTopicResult {
    let found = DeletableTopicResult { name, topic_id, ..DeletableTopicResult::default() };
    match outcome {
        Ok(()) => found,
        Err(error) => DeletableTopicResult { error_code: error.code, error_message: error.told(), ..found },
    }
}

/// The same error for each mention, and no message.
async fn refuse_all(core: &Core, call: &Call, asked: Vec<DeleteTopicState>, code: ErrorCode) -> DeleteTopicsResponse {
    let mut responses = Vec::with_capacity(asked.len());
    for topic in asked {
        call.peer.breathe(&core.clock).await;
        responses.push(result(topic.name, topic.topic_id, Err(ApiError::bare(code))));
    }
    DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() }
}

#[cfg(test)]
mod tests {
    use meta::Unfit;

    use super::*;

    #[test]
    fn a_topic_that_was_not_deleted_has_kafkas_code() {
        let unfit = Unfit("a test".into());
        let why = unfit.to_string();
        for unknown in [ErrorCode::UnknownTopicOrPartition, ErrorCode::UnknownTopicId] {
            let gone = DeleteTopicError::Unknown(Uuid::from_u128(1));
            assert_eq!(not_deleted(gone, unknown), ApiError::bare(unknown));
            let unfit = DeleteTopicError::Unfit(unfit.clone());
            assert_eq!(not_deleted(unfit, unknown), ApiError::new(ErrorCode::UnknownServerError, why.as_str()));
        }
    }
}
