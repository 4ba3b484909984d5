//! DescribeTopicPartitions (key 75), version 0 (KIP-966): Metadata in pages, for admin clients and clusters with very many
//! partitions.
//!
//! Topics come in the order of their names. A page ends after `response_partition_limit` partitions, and the cursor names
//! the first partition of the next one. One that points to nothing asked for is refused, as by Kafka with each topic.

use std::collections::BTreeSet;
use std::sync::Arc;

use meta::{Image, TopicImage};
use wire::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use wire::messages::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};
use wire::{ErrorCode, Str};

use crate::call::Call;
use crate::core::Core;
use crate::limits::DESCRIBED_PARTITIONS_MAX;
use crate::topics::{TOPIC_OPERATIONS, check_name, is_internal, leaders};

pub(crate) async fn handle(
    core: &Core,
    call: &Call,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let image = core.image();
    let (from_topic, from_partition) = match &request.cursor {
        Some(cursor) => (cursor.topic_name.as_str(), cursor.partition_index),
        None => ("", 0),
    };
    let limit = request.response_partition_limit.clamp(1, DESCRIBED_PARTITIONS_MAX);
    let mut left = usize::try_from(limit).unwrap_or(1);
    let mut response = DescribeTopicPartitionsResponse { next_cursor: None, ..Default::default() };
    if let Some(error) = refusal(core, call, &request).await {
        // For each mention, in the order of asking.
        for topic in request.topics {
            call.peer.breathe(&core.clock).await;
            let refused = DescribeTopicPartitionsResponseTopic {
                error_code: error.code(),
                name: Some(topic.name),
                ..DescribeTopicPartitionsResponseTopic::default()
            };
            response.topics.push(refused);
        }
        return response;
    }
    // In order one by one: a million names are sorted in one go otherwise.
    let mut names = BTreeSet::new();
    for topic in request.topics {
        call.peer.breathe(&core.clock).await;
        names.insert(topic.name);
    }
    // All topics when none is named.
    let all = names.is_empty();
    let mut every = image.topics_from(from_topic);
    let mut named = names.into_iter();
    loop {
        call.peer.breathe(&core.clock).await;
        let (name, topic) = if all {
            let Some(topic) = every.next() else { break };
            (Str::from(&*topic.name), Some(topic))
        } else {
            let Some(name) = named.next() else { break };
            if name.as_str() < from_topic {
                continue;
            }
            let topic = image.topic(&name);
            (name, topic)
        };
        let first = if name == from_topic { usize::try_from(from_partition).unwrap_or(0) } else { 0 };
        // Also if it is not there: the next page tells so.
        if left == 0 {
            response.next_cursor = Some(cursor(&name, first));
            break;
        }
        let Some(topic) = topic else {
            response.topics.push(unknown(name));
            continue;
        };
        let described = describe(&image, topic, first, left);
        let next = first + described.partitions.len();
        left -= described.partitions.len();
        response.topics.push(described);
        if next < topic.partitions.len() {
            response.next_cursor = Some(cursor(&name, next));
            break;
        }
    }
    response
}

fn cursor(topic: &str, partition: usize) -> Cursor {
    Cursor {
        topic_name: topic.into(),
        partition_index: i32::try_from(partition).unwrap_or(i32::MAX),
        ..Cursor::default()
    }
}

/// Why the request is refused as a whole, if so: its cursor points to nothing that is asked for. A name that is empty is the
/// first of all, and Kafka's broker stumbles over it where there is no cursor.
async fn refusal(core: &Core, call: &Call, request: &DescribeTopicPartitionsRequest) -> Option<ErrorCode> {
    let (mut is_asked_for, mut is_nameless) = (request.topics.is_empty(), false);
    for topic in &request.topics {
        call.peer.breathe(&core.clock).await;
        is_asked_for |= request.cursor.as_ref().is_some_and(|cursor| cursor.topic_name == topic.name);
        is_nameless |= topic.name.is_empty();
    }
    match &request.cursor {
        Some(cursor) => (!is_asked_for || cursor.partition_index < 0).then_some(ErrorCode::InvalidRequest),
        None => is_nameless.then_some(ErrorCode::UnknownServerError),
    }
}

fn unknown(name: Str) -> DescribeTopicPartitionsResponseTopic {
    let error = match check_name(&name) {
        Ok(()) => ErrorCode::UnknownTopicOrPartition,
        Err(_) => ErrorCode::InvalidTopicException,
    };
    DescribeTopicPartitionsResponseTopic {
        error_code: error.code(),
        is_internal: is_internal(&name),
        name: Some(name),
        topic_authorized_operations: TOPIC_OPERATIONS,
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}

fn describe(image: &Image, topic: &Arc<TopicImage>, first: usize, most: usize) -> DescribeTopicPartitionsResponseTopic {
    let partitions = leaders(image, topic).zip(0..).skip(first).take(most).map(|(leadership, partition_index)| {
        DescribeTopicPartitionsResponsePartition {
            error_code: leadership.error_code,
            partition_index,
            leader_id: leadership.leader,
            leader_epoch: leadership.epoch,
            isr_nodes: leadership.replicas.clone(),
            replica_nodes: leadership.replicas,
            eligible_leader_replicas: Some(Vec::new()),
            last_known_elr: Some(Vec::new()),
            ..DescribeTopicPartitionsResponsePartition::default()
        }
    });
    DescribeTopicPartitionsResponseTopic {
        name: Some((&*topic.name).into()),
        topic_id: topic.id,
        is_internal: is_internal(&topic.name),
        partitions: partitions.collect(),
        topic_authorized_operations: TOPIC_OPERATIONS,
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}
