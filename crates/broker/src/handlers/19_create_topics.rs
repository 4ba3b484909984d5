//! CreateTopics (key 19), versions 0–7.
//!
//! v1 adds messages and `validate_only`, v4 lets the broker choose partitions and replication (-1), v5 answers with the
//! topic's configuration (KIP-525), v7 with its id.
//!
//! The store replicates: a topic has one replica a partition. A higher replication factor is accepted when no more
//! brokers are asked for than exist, as Kafka demands, and means nothing further.

use base::collections::HashSet;
use meta::{CreateTopicError, Image, NewTopic, PARTITIONS_PER_TOPIC_MAX};
use partition::config::{BrokerSettings, TOPIC_KEYS, TopicSettings, effective, validate_topic_settings};
use wire::messages::create_topics_request::CreatableTopic;
use wire::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use wire::messages::{CreateTopicsRequest, CreateTopicsResponse};
use wire::{ErrorCode, Str};

use crate::call::Call;
use crate::config::alter::check_length;
use crate::config::effective::{self as broker_value, Source, broker_settings};
use crate::core::Core;
use crate::deadline::{told, within};
use crate::errors::ApiError;
use crate::limits::CREATED_TOPICS_MAX;
use crate::mentions::keep_first;
use crate::topics::{check_name, reserved};

pub(crate) async fn handle(core: &Core, call: &Call, mut request: CreateTopicsRequest) -> CreateTopicsResponse {
    let image = core.image();
    let of = (&*call.peer, &core.clock);
    // Kafka answers once for all mentions of a topic.
    let repeated = keep_first(of, &mut request.topics, |topic| topic.name.clone()).await;
    let broker = broker_settings(&core.config, &image);
    let mut results = Vec::with_capacity(request.topics.len());
    let mut planned = Vec::new();
    for topic in &request.topics {
        call.peer.breathe(&core.clock).await;
        let new = if repeated.contains(&topic.name) {
            Err(ApiError::new(ErrorCode::InvalidRequest, "Duplicate topic name."))
        } else if planned.len() >= CREATED_TOPICS_MAX {
            let why = format!("A request may create {CREATED_TOPICS_MAX} topics at most.");
            Err(ApiError::new(ErrorCode::PolicyViolation, why))
        } else {
            plan(core, call.version, &image, &broker, topic)
        };
        match new {
            Ok(new) => {
                planned.push((results.len(), new));
                // Until there is a result.
                results.push(refused(topic.name.clone(), &ApiError::bare(ErrorCode::UnknownServerError)));
            }
            Err(error) => results.push(refused(topic.name.clone(), &error)),
        }
    }
    if !planned.is_empty() {
        create(core, call, &request, planned, &mut results).await;
    }
    CreateTopicsResponse { topics: results, ..CreateTopicsResponse::default() }
}

async fn create(
    core: &Core,
    call: &Call,
    request: &CreateTopicsRequest,
    planned: Vec<(usize, NewTopic)>,
    results: &mut [CreatableTopicResult],
) {
    let topics: Vec<NewTopic> = planned.iter().map(|(_, new)| new.clone()).collect();
    let creation = core.meta.create_topics(topics, request.validate_only);
    let created = match within(request.timeout_ms, creation, ApiError::from).await {
        Ok(created) => created,
        Err(error) => {
            let Err(error) = told::<()>(request.timeout_ms, Err(error)) else { return };
            for (at, new) in planned {
                results[at] = refused(new.name.into(), &error);
            }
            return;
        }
    };
    let unset = if call.version >= 5 { configs(core) } else { Vec::new() };
    for ((at, new), created) in planned.into_iter().zip(created) {
        call.peer.breathe(&core.clock).await;
        let created = created.map_err(ApiError::from);
        if let (Ok(created), false) = (&created, request.validate_only) {
            tracing::info!(topic = new.name, id = %created.id, partitions = new.partitions, "topic created");
        }
        results[at] = match told(request.timeout_ms, created) {
            Ok(created) => {
                CreatableTopicResult {
                    // Of a topic that is not made, too: the id that it would have had.
                    topic_id: created.id,
                    num_partitions: i32::try_from(new.partitions).unwrap_or(i32::MAX),
                    replication_factor: 1,
                    configs: (call.version >= 5).then(|| with_own(unset.clone(), &new)),
                    error_message: None,
                    name: new.name.into(),
                    ..CreatableTopicResult::default()
                }
            }
            Err(error) => refused(new.name.into(), &error),
        };
    }
}

fn refused(name: Str, error: &ApiError) -> CreatableTopicResult {
    CreatableTopicResult {
        name,
        error_code: error.code,
        error_message: error.told(),
        configs: Some(Vec::new()),
        ..CreatableTopicResult::default()
    }
}

/// Checks one topic in the order in which Kafka checks it.
fn plan(
    core: &Core,
    version: i16,
    image: &Image,
    broker: &BrokerSettings,
    topic: &CreatableTopic,
) -> Result<NewTopic, ApiError> {
    if image.topic(&topic.name).is_some() {
        return Err(ApiError::new(ErrorCode::TopicAlreadyExists, format!("Topic '{}' already exists.", topic.name)));
    }
    if let Some(other) = image.collision(&topic.name) {
        let why = format!("Topic '{}' collides with existing topic: {other}", topic.name);
        return Err(ApiError::new(ErrorCode::InvalidTopicException, why));
    }
    check_name(&topic.name).map_err(|why| ApiError::new(ErrorCode::InvalidTopicException, why))?;
    if let Some(why) = reserved(&topic.name) {
        return Err(ApiError::new(ErrorCode::InvalidRequest, why));
    }
    let settings = settings(topic)?;
    settings.values().try_for_each(|value| check_length(value))?;
    validate_topic_settings(&settings, broker)
        .map_err(|error| ApiError::new(ErrorCode::InvalidConfig, error.to_string()))?;
    let partitions = partitions(core, version, image, topic)?;
    Ok(NewTopic { name: topic.name.to_string(), partitions, configs: settings.into_iter().collect() })
}

/// The settings that a topic is created with. Of those without a value all are named.
fn settings(topic: &CreatableTopic) -> Result<TopicSettings, ApiError> {
    let (mut settings, mut without) = (TopicSettings::new(), Vec::new());
    for config in &topic.configs {
        match &config.value {
            Some(value) => drop(settings.insert(config.name.to_string(), value.to_string())),
            None => without.push(&*config.name),
        }
    }
    if without.is_empty() {
        return Ok(settings);
    }
    let why = format!("Null value not supported for topic configs: {}", without.join(","));
    Err(ApiError::new(ErrorCode::InvalidConfig, why))
}

fn partitions(core: &Core, version: i16, image: &Image, topic: &CreatableTopic) -> Result<usize, ApiError> {
    if !topic.assignments.is_empty() {
        let set = match (topic.replication_factor, topic.num_partitions) {
            (-1, -1) => return assigned(image, topic),
            (-1, _) => "numPartitions",
            _ => "replication factor",
        };
        let why = format!("A manual partition assignment was specified, but {set} was not set to -1.");
        return Err(ApiError::new(ErrorCode::InvalidRequest, why));
    }
    let factor = topic.replication_factor;
    if factor < -1 || factor == 0 {
        let why = "Replication factor must be larger than 0, or -1 to use the default value.";
        return Err(ApiError::new(ErrorCode::InvalidReplicationFactor, why));
    }
    let invalid = |why: String| ApiError::new(ErrorCode::InvalidPartitions, why);
    if topic.num_partitions < -1 || topic.num_partitions == 0 {
        return Err(invalid("Number of partitions was set to an invalid non-positive value.".to_owned()));
    }
    let brokers = image.brokers.len().max(1);
    if usize::try_from(factor).is_ok_and(|factor| factor > brokers) {
        // Directories are cordoned since 4.1, which does not speak the older versions.
        let or = if version < 2 { "" } else { " or some brokers have all their log directories cordoned" };
        let why = format!(
            "Unable to replicate the partition {factor} time(s): The target replication factor of {factor} cannot be \
             reached because only {brokers} broker(s) are registered{or}."
        );
        return Err(ApiError::new(ErrorCode::InvalidReplicationFactor, why));
    }
    let wanted = match topic.num_partitions {
        -1 => {
            let default = broker_value::value("num.partitions", &core.config, image);
            default.and_then(|value| value.parse().ok()).unwrap_or(1)
        }
        wanted => wanted,
    };
    match usize::try_from(wanted).unwrap_or(0) {
        wanted if wanted > PARTITIONS_PER_TOPIC_MAX => {
            Err(invalid(format!("A topic may have {PARTITIONS_PER_TOPIC_MAX} partitions at most.")))
        }
        wanted => Ok(wanted),
    }
}

/// A manual assignment: consecutive partitions from 0, each on as many distinct brokers that exist.
fn assigned(image: &Image, topic: &CreatableTopic) -> Result<usize, ApiError> {
    let wrong = |why: String| ApiError::new(ErrorCode::InvalidReplicaAssignment, why);
    let (mut indexes, mut factor) = (HashSet::default(), None);
    for assignment in &topic.assignments {
        let index = assignment.partition_index;
        if !indexes.insert(index) {
            return Err(wrong(format!("Found multiple manual partition assignments for partition {index}")));
        }
        check_replicas(image, &assignment.broker_ids, factor).map_err(wrong)?;
        factor = Some(assignment.broker_ids.len());
    }
    if (0..).take(indexes.len()).any(|index| !indexes.contains(&index)) {
        return Err(wrong("partitions should be a consecutive 0-based integer sequence".to_owned()));
    }
    Ok(indexes.len())
}

/// Checks the brokers of one partition's manual assignment, of which there are `factor` of each partition before.
pub(crate) fn check_replicas(image: &Image, ids: &[i32], factor: Option<usize>) -> Result<(), String> {
    if ids.is_empty() {
        return Err("The manual partition assignment includes an empty replica list.".to_owned());
    }
    // Kafka looks at them in their order. Of very many, those after the first unknown one are not sorted.
    let unknown = ids.iter().copied().filter(|id| !image.brokers.contains_key(&base::BrokerId(*id))).min();
    let mut known: Vec<i32> = ids.iter().copied().filter(|id| unknown.is_none_or(|unknown| *id < unknown)).collect();
    known.sort_unstable();
    if let Some(twice) = known.windows(2).find(|two| two[0] == two[1]) {
        return Err(format!("The manual partition assignment includes the broker {} more than once.", twice[0]));
    }
    if let Some(id) = unknown {
        return Err(format!("The manual partition assignment includes broker {id}, but no such broker is registered."));
    }
    match factor {
        Some(factor) if factor != ids.len() => Err(format!(
            "The manual partition assignment includes a partition with {} replica(s), but this is not consistent with \
             previous partitions, which have {factor} replica(s).",
            ids.len()
        )),
        _ => Ok(()),
    }
}

/// The configuration of a topic that sets nothing itself, for v5 and later.
fn configs(core: &Core) -> Vec<CreatableTopicConfigs> {
    let image = core.image();
    let (own, broker) = (TopicSettings::new(), broker_settings(&core.config, &image));
    let all = TOPIC_KEYS.iter().map(|key| {
        let value = effective(key, &own, &broker);
        CreatableTopicConfigs {
            name: Str::from_static(key.name),
            config_source: super::describe_configs::source(value.source, &core.config, &image) as i8,
            value: Some((*value.value).into()),
            ..CreatableTopicConfigs::default()
        }
    });
    all.collect()
}

/// That of one which has settings of its own: they are told as they were sent, where DescribeConfigs tells how they are
/// understood (Kafka's `KafkaConfigSchema`).
fn with_own(mut configs: Vec<CreatableTopicConfigs>, new: &NewTopic) -> Vec<CreatableTopicConfigs> {
    for (key, value) in &new.configs {
        if let Some(config) = configs.iter_mut().find(|config| config.name == *key) {
            (config.value, config.config_source) = (Some(value.into()), Source::Topic as i8);
        }
    }
    configs
}

/// What a client is told when a topic was not created.
impl From<CreateTopicError> for ApiError {
    fn from(error: CreateTopicError) -> Self {
        let code = match &error {
            CreateTopicError::Exists(_) => ErrorCode::TopicAlreadyExists,
            CreateTopicError::Collides { .. } => ErrorCode::InvalidTopicException,
            CreateTopicError::NoPartitions | CreateTopicError::TooManyPartitions(_) => ErrorCode::InvalidPartitions,
            CreateTopicError::NoBroker(_) => ErrorCode::InvalidReplicationFactor,
            CreateTopicError::Unfit(_) => ErrorCode::UnknownServerError,
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use meta::{NoBroker, TooManyPartitions, Unfit};

    use super::*;

    #[test]
    fn a_topic_that_was_not_created_has_kafkas_code_and_the_reason() {
        let name = || "t".to_owned();
        let all = [
            (CreateTopicError::Exists(name()), ErrorCode::TopicAlreadyExists),
            (CreateTopicError::Collides { name: name(), other: name() }, ErrorCode::InvalidTopicException),
            (CreateTopicError::NoPartitions, ErrorCode::InvalidPartitions),
            (TooManyPartitions { wanted: 2, limit: 1 }.into(), ErrorCode::InvalidPartitions),
            (NoBroker.into(), ErrorCode::InvalidReplicationFactor),
            (Unfit("a test".into()).into(), ErrorCode::UnknownServerError),
        ];
        for (error, code) in all {
            assert_eq!(ApiError::from(error.clone()), ApiError::new(code, error.to_string()));
        }
    }
}
