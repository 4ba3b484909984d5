//! DeleteTopics (key 20), versions 0–6.
//!
//! v5 adds messages, v6 topic ids. A topic named twice, or by name and id, is refused (KIP-516), the former once; an internal topic may be
//! deleted, as in KRaft.

use std::sync::Arc;

use base::Uuid;
use base::collections::HashMap;
use meta::{Image, TopicError, TopicImage};
use wire::messages::delete_topics_request::DeleteTopicState;
use wire::messages::delete_topics_response::DeletableTopicResult;
use wire::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use wire::{ErrorCode, Str};

use super::create_topics::{of_meta, of_topic};
use crate::call::Call;
use crate::core::Core;
use crate::deadline::within;
use crate::errors::ApiError;
use crate::mentions::keep_first;

pub(crate) async fn handle(core: &Core, call: &Call, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let mut asked: Vec<DeleteTopicState> = if call.version >= 6 {
        request.topics
    } else {
        let by_name = |name| DeleteTopicState { name: Some(name), ..DeleteTopicState::default() };
        request.topic_names.into_iter().map(by_name).collect()
    };
    let repeated =
        keep_first((&call.peer, &core.clock), &mut asked, |topic| (topic.name.clone(), topic.topic_id)).await;
    let image = core.image();
    let mut found = Vec::with_capacity(asked.len());
    let mut times: HashMap<Uuid, usize> = HashMap::default();
    for topic in &asked {
        call.peer.breathe(&core.clock).await;
        let is_repeated = repeated.contains(&(topic.name.clone(), topic.topic_id));
        let topic = find(core, call.version, &image, topic, is_repeated);
        if let Ok(topic) = &topic {
            *times.entry(topic.id).or_default() += 1;
        }
        found.push(topic);
    }
    let mut ids = Vec::new();
    for topic in &mut found {
        call.peer.breathe(&core.clock).await;
        match topic {
            Ok(named) if times[&named.id] > 1 => {
                *topic = Err(ApiError::new(ErrorCode::InvalidRequest, "The topic is named more than once."));
            }
            Ok(named) => ids.push(named.id),
            Err(_) => {}
        }
    }
    let deleted = if ids.is_empty() {
        Ok(Vec::new())
    } else {
        within(request.timeout_ms, core.meta.delete_topics(ids), |error| of_meta(&error)).await
    };
    let mut deleted = deleted.map(Vec::into_iter);
    let mut responses = Vec::with_capacity(asked.len());
    for (asked, found) in asked.iter().zip(found) {
        call.peer.breathe(&core.clock).await;
        let outcome = found.and_then(|topic| match &mut deleted {
            Ok(results) => match results.next() {
                Some(Ok(_)) => {
                    tracing::info!(topic = %topic.name, id = %topic.id, "topic deleted");
                    Ok(topic)
                }
                Some(Err(TopicError::Unknown(_))) => Err(unknown(asked)),
                Some(Err(error)) => Err(of_topic(&error)),
                None => Err(ApiError::new(ErrorCode::UnknownServerError, "metadata gave no result for this topic")),
            },
            Err(error) => Err(error.clone()),
        });
        responses.push(respond(asked, outcome));
    }
    DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() }
}

fn find(
    core: &Core,
    version: i16,
    image: &Image,
    asked: &DeleteTopicState,
    is_repeated: bool,
) -> Result<Arc<TopicImage>, ApiError> {
    if !core.config.is("delete.topic.enable") {
        // Clients before version 3 do not know the error.
        let code = if version < 3 { ErrorCode::InvalidRequest } else { ErrorCode::TopicDeletionDisabled };
        return Err(ApiError::new(code, "Topic deletion is disabled (delete.topic.enable=false)."));
    }
    if is_repeated {
        return Err(ApiError::new(ErrorCode::InvalidRequest, "Duplicate topic name."));
    }
    let topic = match (&asked.name, asked.topic_id.is_nil()) {
        (Some(_), false) => {
            let why = "You may not specify both topic name and topic id.";
            return Err(ApiError::new(ErrorCode::InvalidRequest, why));
        }
        (None, true) => {
            return Err(ApiError::new(ErrorCode::InvalidRequest, "Neither topic name nor id were specified."));
        }
        (Some(name), true) => image.topic(name),
        (None, false) => image.topic_by_id(asked.topic_id),
    };
    topic.cloned().ok_or_else(|| unknown(asked))
}

fn unknown(asked: &DeleteTopicState) -> ApiError {
    let code = if asked.name.is_some() { ErrorCode::UnknownTopicOrPartition } else { ErrorCode::UnknownTopicId };
    ApiError::new(code, code.message())
}

fn respond(asked: &DeleteTopicState, outcome: Result<Arc<TopicImage>, ApiError>) -> DeletableTopicResult {
    match outcome {
        Ok(topic) => DeletableTopicResult {
            name: Some(Str::from(&*topic.name)),
            topic_id: topic.id,
            ..DeletableTopicResult::default()
        },
        Err(error) => DeletableTopicResult {
            name: asked.name.clone(),
            topic_id: asked.topic_id,
            error_code: error.code,
            error_message: Some(error.message.into()),
            ..DeletableTopicResult::default()
        },
    }
}
