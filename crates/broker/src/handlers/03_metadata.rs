//! Metadata (key 3), versions 0–13.
//!
//! | Version | What changes |
//! |---|---|
//! | 0 | no topics asked means all; nobody may refuse auto-creation |
//! | 1 | null means all, empty means none; racks, controller, internal flag |
//! | 2 | cluster id |
//! | 4 | the client may refuse auto-creation |
//! | 5 | offline replicas: there are none |
//! | 7 | leader epochs (KIP-320) |
//! | 8–10 | authorized operations (KIP-430): all, while there is no access control |
//! | 10 | topic ids in the answer, 12: in the request (KIP-516) |
//! | 13 | an error of the whole response |

use std::sync::Arc;

use base::collections::HashSet;
use meta::{Image, TopicImage};
use wire::messages::metadata_request::MetadataRequestTopic;
use wire::messages::metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic};
use wire::messages::{MetadataRequest, MetadataResponse};
use wire::{ErrorCode, Str};

use crate::call::Call;
use crate::core::Core;
use crate::endpoints;
use crate::limits::AUTO_CREATED_TOPICS_MAX;
use crate::topics::{
    CLUSTER_OPERATIONS, OPERATIONS_OMITTED, TOPIC_OPERATIONS, check_name, is_internal, leaders, reserved,
};

pub(crate) async fn handle(core: &Core, call: &Call, request: MetadataRequest) -> MetadataResponse {
    let version = call.version;
    let asked = request.topics.unwrap_or_default_for(version);
    let mut topics = match asked {
        Asked::All => {
            let image = core.image();
            let mut topics = Vec::with_capacity(image.topics.len());
            for topic in image.topics_from("") {
                call.peer.breathe(&core.clock).await;
                topics.push(describe(&image, topic));
            }
            topics
        }
        Asked::Some(asked) => {
            let image = core.image();
            if request.allow_auto_topic_creation && core.config.is("auto.create.topics.enable") {
                create_missing(core, call, &image, &asked).await;
            }
            let mut seen = HashSet::default();
            let mut topics = Vec::new();
            for topic in &asked {
                call.peer.breathe(&core.clock).await;
                if seen.insert((topic.topic_id, topic.name.clone())) {
                    topics.push(answer(&image, topic, version));
                }
            }
            topics
        }
    };
    if version >= 8 && request.include_topic_authorized_operations {
        topics.iter_mut().for_each(|topic| topic.topic_authorized_operations = TOPIC_OPERATIONS);
    }
    let cluster_operations =
        if request.include_cluster_authorized_operations { CLUSTER_OPERATIONS } else { OPERATIONS_OMITTED };
    let (host, port) = endpoints::advertised(&core.config, &call.peer);
    let broker = MetadataResponseBroker {
        node_id: core.id().0,
        host: host.into(),
        port,
        rack: core.config.rack.as_deref().map(Str::from),
        ..MetadataResponseBroker::default()
    };
    MetadataResponse {
        brokers: vec![broker],
        cluster_id: Some((&*core.cluster_id()).into()),
        controller_id: core.id().0,
        topics,
        cluster_authorized_operations: if (8..=10).contains(&version) {
            cluster_operations
        } else {
            OPERATIONS_OMITTED
        },
        ..MetadataResponse::default()
    }
}

/// Which topics are asked for.
enum Asked {
    All,
    Some(Vec<MetadataRequestTopic>),
}

trait OrAll {
    fn unwrap_or_default_for(self, version: i16) -> Asked;
}

impl OrAll for Option<Vec<MetadataRequestTopic>> {
    fn unwrap_or_default_for(self, version: i16) -> Asked {
        match self {
            None => Asked::All,
            Some(topics) if version == 0 && topics.is_empty() => Asked::All,
            Some(topics) => Asked::Some(topics),
        }
    }
}

fn answer(image: &Image, asked: &MetadataRequestTopic, version: i16) -> MetadataResponseTopic {
    let refuse = |error: ErrorCode| MetadataResponseTopic {
        error_code: error.code(),
        // The name is null only where the version allows it.
        name: asked.name.clone().or_else(|| (version < 12).then(Str::default)),
        topic_id: asked.topic_id,
        is_internal: asked.name.as_deref().is_some_and(is_internal),
        ..MetadataResponseTopic::default()
    };
    match (&asked.name, asked.topic_id.is_nil()) {
        (_, false) if version < 12 => refuse(ErrorCode::InvalidRequest),
        (None, true) => refuse(ErrorCode::InvalidRequest),
        (_, false) => match image.topic_by_id(asked.topic_id) {
            Some(topic) => describe(image, topic),
            None => MetadataResponseTopic { name: None, ..refuse(ErrorCode::UnknownTopicId) },
        },
        (Some(name), true) => match image.topic(name) {
            Some(topic) => describe(image, topic),
            None if check_name(name).is_err() => refuse(ErrorCode::InvalidTopicException),
            None => refuse(ErrorCode::UnknownTopicOrPartition),
        },
    }
}

fn describe(image: &Image, topic: &Arc<TopicImage>) -> MetadataResponseTopic {
    let partitions = leaders(image, topic).zip(0..).map(|(leadership, partition_index)| MetadataResponsePartition {
        error_code: leadership.error_code,
        partition_index,
        leader_id: leadership.leader,
        leader_epoch: leadership.epoch,
        isr_nodes: leadership.replicas.clone(),
        replica_nodes: leadership.replicas,
        ..MetadataResponsePartition::default()
    });
    MetadataResponseTopic {
        name: Some((&*topic.name).into()),
        topic_id: topic.id,
        is_internal: is_internal(&topic.name),
        partitions: partitions.collect(),
        ..MetadataResponseTopic::default()
    }
}

/// Begins to create the topics that are asked for by name and do not exist in `image`, which the answer is made from: as
/// from Kafka, in every version, they show as unknown to the request that has them created, and the client asks again.
/// Some clients tell a topic that is missing by it.
async fn create_missing(core: &Core, call: &Call, image: &Image, asked: &[MetadataRequestTopic]) {
    let creatable = |name: &str| {
        image.topic(name).is_none()
            && check_name(name).is_ok()
            && reserved(name).is_none()
            && image.collision(name).is_none()
    };
    let (mut seen, mut missing) = (HashSet::default(), Vec::new());
    for topic in asked {
        call.peer.breathe(&core.clock).await;
        let name = topic.name.as_deref().filter(|_| topic.topic_id.is_nil());
        missing.extend(name.filter(|name| creatable(name) && seen.insert(*name)));
        if missing.len() >= AUTO_CREATED_TOPICS_MAX {
            break;
        }
    }
    if !missing.is_empty() {
        core.first_use.begin(&missing, &core.config);
    }
}
