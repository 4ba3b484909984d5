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

use base::Uuid;
use meta::{Image, TopicImage};
use wire::messages::metadata_request::MetadataRequestTopic;
use wire::messages::metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic};
use wire::messages::{MetadataRequest, MetadataResponse};
use wire::{ErrorCode, Str};

use crate::call::Call;
use crate::core::Core;
use crate::endpoints;
use crate::limits::AUTO_CREATED_TOPICS_MAX;
use crate::mentions::keep_first;
use crate::topics::{
    CLUSTER_OPERATIONS, OPERATIONS_OMITTED, TOPIC_OPERATIONS, check_name, is_internal, leaders, reserved,
};

/// From this version on topics may be asked for by their ids.
const IDS_FROM: i16 = 12;

pub(crate) async fn handle(core: &Core, call: &Call, request: MetadataRequest) -> MetadataResponse {
    let version = call.version;
    let asked = match request.topics {
        None => Asked::All,
        Some(topics) if version == 0 && topics.is_empty() => Asked::All,
        Some(topics) => match sort(core, call, topics).await {
            Ok(asked) => asked,
            Err(refused) => return refused,
        },
    };
    let image = core.image();
    let mut topics = Vec::new();
    match asked {
        Asked::All => {
            topics.reserve(image.topics.len());
            for topic in image.topics_from("") {
                call.peer.breathe(&core.clock).await;
                topics.push(describe(&image, topic));
            }
        }
        Asked::Ids(ids) => {
            for id in ids {
                call.peer.breathe(&core.clock).await;
                topics.push(match image.topic_by_id(id) {
                    Some(topic) => describe(&image, topic),
                    None => refused(ErrorCode::UnknownTopicId, None, id),
                });
            }
        }
        Asked::Names(names) => {
            if request.allow_auto_topic_creation && core.config.is("auto.create.topics.enable") {
                create_missing(core, call, &image, &names).await;
            }
            for name in names {
                call.peer.breathe(&core.clock).await;
                topics.push(match image.topic(&name) {
                    Some(topic) => describe(&image, topic),
                    None if check_name(&name).is_err() => {
                        refused(ErrorCode::InvalidTopicException, Some(name), Uuid::nil())
                    }
                    None => refused(ErrorCode::UnknownTopicOrPartition, Some(name), Uuid::nil()),
                });
            }
        }
    }
    if version >= 8 && request.include_topic_authorized_operations {
        // Of a topic that is known by nothing but its id nobody can say.
        let named = topics.iter_mut().filter(|topic| topic.name.is_some());
        named.for_each(|topic| topic.topic_authorized_operations = TOPIC_OPERATIONS);
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
    /// Each once. Where one id is given, names do not count.
    Ids(Vec<Uuid>),
    Names(Vec<Str>),
}

/// Finds which topics are asked for. A request is refused as a whole, as by Kafka, where it is not sound: ids before they are
/// in it, and names that are null where no id is given, which Kafka's broker stumbles over from the version on that has ids.
async fn sort(core: &Core, call: &Call, topics: Vec<MetadataRequestTopic>) -> Result<Asked, MetadataResponse> {
    let (mut has_id, mut is_nameless) = (false, false);
    for topic in &topics {
        call.peer.breathe(&core.clock).await;
        has_id |= !topic.topic_id.is_nil();
        is_nameless |= topic.name.is_none();
    }
    let error = match call.version {
        ..IDS_FROM if has_id || is_nameless => ErrorCode::InvalidRequest,
        IDS_FROM.. if is_nameless && !has_id => ErrorCode::UnknownServerError,
        _ if has_id => {
            let mut ids: Vec<Uuid> = topics.into_iter().map(|topic| topic.topic_id).collect();
            ids.retain(|id| !id.is_nil());
            keep_first((&call.peer, &core.clock), &mut ids, |id| *id).await;
            return Ok(Asked::Ids(ids));
        }
        _ => {
            let mut names: Vec<Str> = topics.into_iter().filter_map(|topic| topic.name).collect();
            keep_first((&call.peer, &core.clock), &mut names, Str::clone).await;
            return Ok(Asked::Names(names));
        }
    };
    let mut answers = Vec::with_capacity(topics.len());
    for MetadataRequestTopic { name, topic_id, .. } in topics {
        call.peer.breathe(&core.clock).await;
        answers.push(MetadataResponseTopic {
            is_internal: false,
            ..refused(error, Some(name.unwrap_or_default()), topic_id)
        });
    }
    let nobody = MetadataResponse { cluster_id: None, controller_id: -1, ..MetadataResponse::default() };
    Err(MetadataResponse { topics: answers, error_code: error.code(), ..nobody })
}

fn refused(error: ErrorCode, name: Option<Str>, topic_id: Uuid) -> MetadataResponseTopic {
    MetadataResponseTopic {
        error_code: error.code(),
        is_internal: name.as_deref().is_some_and(is_internal),
        name,
        topic_id,
        ..MetadataResponseTopic::default()
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
async fn create_missing(core: &Core, call: &Call, image: &Image, asked: &[Str]) {
    let creatable = |name: &str| {
        image.topic(name).is_none()
            && check_name(name).is_ok()
            && reserved(name).is_none()
            && image.collision(name).is_none()
    };
    let mut missing = Vec::new();
    for name in asked {
        call.peer.breathe(&core.clock).await;
        missing.extend(Some(name.as_str()).filter(|name| creatable(name)));
        if missing.len() >= AUTO_CREATED_TOPICS_MAX {
            break;
        }
    }
    if !missing.is_empty() {
        core.first_use.begin(&missing, &core.config);
    }
}
