//! DescribeConfigs (key 32), versions 0–4.
//!
//! Lists every topic key and every broker key that is kept, with the value in force and where it comes from. v1 adds
//! synonyms (every place that could have set the value, the one in force first), v3 types and documentation (KIP-569).
//! v0 has a flag for values that are the default, which Kafka 3.9, the last that speaks it, never sets.
//!
//! | Resource | Name | Listed |
//! |---|---|---|
//! | topic (2) | the topic | its keys |
//! | broker (4) | this broker's id | broker keys |
//! | broker (4) | empty | what is set for all brokers together |
//! | loggers (8) | this broker's id | nothing |
//!
//! Groups (32) and clients' metrics (16) have no configuration here.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use base::Clock;
use base::collections::HashSet;
use meta::Image;
use partition::config::{self as topic_config, BrokerSettings, TOPIC_KEYS, TopicKey, TopicSettings};
use wire::messages::describe_configs_request::DescribeConfigsResource;
use wire::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use wire::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use wire::{Codec, ErrorCode, Str};

use crate::call::Call;
use crate::config::alter::check_node;
use crate::config::effective::{
    CLUSTER_WIDE, Source, Sourced, resource, synonyms as effective_synonyms, values, with_own,
};
use crate::config::unserved_keys::no_configuration;
use crate::config::{BROKER_KEYS, BrokerConfig, ConfigDef, INERT_KEYS, Update, settings};
use crate::core::Core;
use crate::endpoints;
use crate::errors::{ApiError, INVALID_REQUEST, NONE};
use crate::limits::DESCRIBED_AGAIN_MAX;
use crate::net::peer::Peer;
use crate::topics::check_name;

pub(crate) async fn handle(core: &Core, call: &Call, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let image = core.image();
    let (synonyms, documentation) = (request.include_synonyms, request.include_documentation);
    let asking = Asking { core, image: &image, synonyms, documentation, topics: OnceCell::new() };
    let resources = request.resources;
    // Kafka asks for leave before it looks, and has nobody to ask here: it refuses the request, for each resource.
    // The last that speaks version 0 does not know of groups.
    let is_kind = |kind: i8| resource::ALL.contains(&kind) && (call.version > 0 || kind != resource::GROUP);
    if resources.iter().any(|asked| !is_kind(asked.resource_type)) {
        let error = ErrorCode::InvalidRequest;
        let refused = |asked| told(asked, Err(ApiError::new(error, INVALID_REQUEST)));
        let mut results = Vec::with_capacity(resources.len());
        for asked in resources {
            call.peer.breathe(&core.clock).await;
            results.push(refused(asked));
        }
        return DescribeConfigsResponse { results, ..DescribeConfigsResponse::default() };
    }
    let keys = TOPIC_KEYS.iter().map(|key| key.name).chain(broker_keys().map(|def| def.name));
    let node = core.id().0.to_string();
    let known = keys.chain(customs(&image, &node)).chain(customs(&image, CLUSTER_WIDE)).collect();
    let (mut seen, mut again_left) = (HashSet::default(), DESCRIBED_AGAIN_MAX);
    let mut results = Vec::with_capacity(resources.len());
    for mut asked in resources {
        call.peer.breathe(&core.clock).await;
        let keys = asked.configuration_keys.take().filter(|keys| !keys.is_empty());
        let only = match &keys {
            Some(keys) => Some(there_among(keys, &known, (&call.peer, &core.clock)).await),
            None => None,
        };
        let is_own = asked.resource_type == resource::BROKER && check_broker(core, &asked.resource_name).is_ok();
        let name =
            if is_own && !asked.resource_name.is_empty() { node.as_str().into() } else { asked.resource_name.clone() };
        let is_again = !seen.insert((asked.resource_type, name, only.clone()));
        // A small request could otherwise ask for any amount.
        let configs = match again_left.checked_sub(usize::from(is_again)) {
            Some(left) => {
                again_left = left;
                asking.describe(&asked, only.as_deref())
            }
            None if is_own => {
                let why = "This broker is asked for too many times, its id perhaps written in different ways.";
                Err(ApiError::new(ErrorCode::InvalidRequest, why))
            }
            None => continue,
        };
        results.push(told(asked, configs));
    }
    DescribeConfigsResponse { results, ..DescribeConfigsResponse::default() }
}

/// Those of the keys that there are, in order, each once. A request may name a million.
async fn there_among<'a>(keys: &[Str], known: &HashSet<&'a str>, (peer, clock): (&Peer, &Clock)) -> Vec<&'a str> {
    let mut found = HashSet::default();
    for key in keys {
        peer.breathe(clock).await;
        found.extend(known.get(key.as_str()).copied());
    }
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_unstable();
    found
}

/// The answer for a resource. Where there is nothing to say Kafka's message is empty, and also of a topic that is not there.
fn told(
    asked: DescribeConfigsResource,
    configs: Result<Vec<DescribeConfigsResourceResult>, ApiError>,
) -> DescribeConfigsResult {
    let (error_code, error_message, configs) = match configs {
        Ok(configs) => (NONE, Str::default(), configs),
        Err(error) => (error.code, error.message.into(), Vec::new()),
    };
    DescribeConfigsResult {
        error_code,
        error_message: Some(error_message),
        resource_type: asked.resource_type,
        resource_name: asked.resource_name,
        configs,
        ..DescribeConfigsResult::default()
    }
}

/// What the answer to a request of so many bytes takes while it is made and written, with all that may be asked for. It
/// is hardly ever more: values are longer than [`VALUE_BYTES`], or have further synonyms, as exceptions. Errors are
/// charged with the request.
pub(crate) fn reply_bytes(core: &Core, frame_bytes: usize) -> u64 {
    let image = core.image();
    let named = frame_bytes / DescribeConfigsResource::BYTES_MIN;
    let (topics, again) = (image.topics.len().min(named), DESCRIBED_AGAIN_MAX.min(named));
    let node = core.id().0.to_string();
    let customs = customs(&image, &node).chain(customs(&image, CLUSTER_WIDE));
    let (mut broker, mut share) = (broker_bytes(), entry_share_max());
    for name in customs {
        let bytes = entry_bytes(name, "", 2);
        broker += bytes;
        // Before each name stands its length.
        share = share.max(bytes / (name.len() + 1));
    }
    // This one, and all together. Resources may be named again with other keys.
    let by_keys = frame_bytes * share;
    (topics * topic_bytes() + 2 * broker + again * topic_bytes().max(broker) + by_keys) as u64
}

/// How many times larger what is told of a key is than its name in a request.
fn entry_share_max() -> usize {
    let topic = TOPIC_KEYS.iter().map(|key| entry_bytes(key.name, key.doc, 1 + key.synonyms.len()) / key.name.len());
    let broker = broker_keys().map(|def| entry_bytes(def.name, def.doc, 2) / def.name.len());
    topic.chain(broker).max().unwrap_or(0)
}

/// Kafka's `ConfigType.UNKNOWN`.
const UNKNOWN_TYPE: i8 = 0;

/// What a value takes by itself.
const VALUE_BYTES: usize = 32;

fn topic_bytes() -> usize {
    // Its own value, and that of each broker key.
    let keys = TOPIC_KEYS.iter().map(|key| entry_bytes(key.name, key.doc, 1 + key.synonyms.len()));
    size_of::<DescribeConfigsResult>() + keys.sum::<usize>()
}

fn broker_bytes() -> usize {
    // What is set and what would be without that.
    broker_keys().map(|def| entry_bytes(def.name, def.doc, 2)).sum()
}

/// What is told of one key.
fn entry_bytes(name: &str, doc: &str, synonyms: usize) -> usize {
    // Values are there to be written, and once more when they are.
    let synonym = size_of::<DescribeConfigsSynonym>() + name.len() + 2 * VALUE_BYTES;
    size_of::<DescribeConfigsResourceResult>() + name.len() + 2 * VALUE_BYTES + doc.len() + synonyms * synonym
}

/// What a request asks of each resource, and what all its topics share.
struct Asking<'a> {
    core: &'a Core,
    image: &'a Image,
    synonyms: bool,
    documentation: bool,
    topics: OnceCell<OfTopics>,
}

/// What the brokers' settings say of topics.
struct OfTopics {
    broker: BrokerSettings,
    /// For each of [`TOPIC_KEYS`], the broker keys that may set it, with their values.
    synonyms: Vec<Vec<DescribeConfigsSynonym>>,
}

impl Asking<'_> {
    /// `only` are the keys that are asked for, in order; no keys asked for, or none named, means all.
    fn describe(
        &self,
        asked: &DescribeConfigsResource,
        only: Option<&[&str]>,
    ) -> Result<Vec<DescribeConfigsResourceResult>, ApiError> {
        let (core, image) = (self.core, self.image);
        let wanted = |name: &str| only.is_none_or(|keys| keys.binary_search(&name).is_ok());
        match asked.resource_type {
            resource::TOPIC => {
                let name = &asked.resource_name;
                check_name(name).map_err(|why| ApiError::new(ErrorCode::InvalidTopicException, why))?;
                if image.topic(name).is_none() {
                    return Err(ApiError::new(ErrorCode::UnknownTopicOrPartition, ""));
                }
                let own = topic_settings(image, name);
                let shared = self.topics.get_or_init(|| self.of_topics());
                let keys = TOPIC_KEYS.iter().zip(&shared.synonyms).filter(|(key, _)| wanted(key.name));
                Ok(keys.map(|(key, synonyms)| self.topic_entry(key, &own, &shared.broker, synonyms)).collect())
            }
            resource::BROKER if asked.resource_name.is_empty() => {
                let keys = broker_keys().filter(|def| wanted(def.name));
                let custom = customs(image, CLUSTER_WIDE).filter(|name| wanted(name));
                let custom = custom.map(|name| self.custom_entry(name, &[Source::DynamicDefault]));
                Ok(keys.filter_map(|def| self.cluster_entry(def)).chain(custom).collect())
            }
            resource::BROKER => {
                check_broker(core, &asked.resource_name)?;
                let keys = broker_keys().filter(|def| wanted(def.name));
                let keys = keys.map(|def| (def, of_broker(core, image, def)));
                // A key without effect and without a default is told where it is set.
                let told = keys.filter(|(def, values)| !values.is_empty() || settings::find(def.name).is_some());
                let of = |def: &ConfigDef| of_broker(core, image, def);
                let told = told.map(|(def, values)| self.broker_entry(def, &values, of));
                let node = core.id().0.to_string();
                let own: BTreeSet<&str> = customs(image, &node).filter(|name| wanted(name)).collect();
                let of_all: BTreeSet<&str> = customs(image, CLUSTER_WIDE).filter(|name| wanted(name)).collect();
                let custom = own.union(&of_all).map(|name| {
                    let sources = [(&own, Source::DynamicBroker), (&of_all, Source::DynamicDefault)];
                    let sources = sources.into_iter().filter(|(keys, _)| keys.contains(name));
                    self.custom_entry(name, &sources.map(|(_, source)| source).collect::<Vec<_>>())
                });
                Ok(told.chain(custom).collect())
            }
            resource::BROKER_LOGGER => {
                let name = &asked.resource_name;
                if name.is_empty() {
                    return Err(ApiError::new(ErrorCode::InvalidRequest, "Broker id must not be empty"));
                }
                let unexpected = |id| format!("Unexpected broker id, expected {id} but received {name}");
                check_node(core, name, "Broker", unexpected).map(|()| Vec::new())
            }
            other => {
                let why = match other {
                    resource::GROUP => "Group name must not be empty",
                    _ => "Client metrics subscription name must not be empty",
                };
                let nameless = ApiError::new(ErrorCode::InvalidRequest, why);
                Err(if asked.resource_name.is_empty() { nameless } else { no_configuration(other) })
            }
        }
    }

    /// A key that no broker knows. Nobody can tell what it is for, so nobody is told its value.
    fn custom_entry(&self, name: &str, sources: &[Source]) -> DescribeConfigsResourceResult {
        let synonyms = self.synonyms.then_some(sources).into_iter().flatten();
        DescribeConfigsResourceResult {
            name: name.into(),
            value: None,
            read_only: true,
            config_source: sources.first().map_or(Source::Default as i8, |source| *source as i8),
            is_sensitive: true,
            synonyms: synonyms
                .map(|source| DescribeConfigsSynonym {
                    name: name.into(),
                    value: None,
                    source: *source as i8,
                    ..DescribeConfigsSynonym::default()
                })
                .collect(),
            config_type: UNKNOWN_TYPE,
            documentation: None,
            ..DescribeConfigsResourceResult::default()
        }
    }

    fn of_topics(&self) -> OfTopics {
        let (config, image) = (&self.core.config, self.image);
        let synonyms_of = |key: &TopicKey| {
            let def = key.synonyms.first().and_then(|first| settings::definition(first.broker_key));
            let all = def.map(|def| effective_synonyms(def, |def| values(def, config, image)));
            all.into_iter().flatten().map(|(name, v)| synonym(name, v.as_set(), v.source)).collect()
        };
        OfTopics { broker: self.core.broker_settings(), synonyms: TOPIC_KEYS.iter().map(synonyms_of).collect() }
    }

    fn topic_entry(
        &self,
        key: &'static TopicKey,
        own: &TopicSettings,
        broker: &BrokerSettings,
        of_brokers: &[DescribeConfigsSynonym],
    ) -> DescribeConfigsResourceResult {
        let value = topic_config::effective(key, own, broker);
        let own = own.get(key.name).map(|value| synonym(key.name, Some(&key.shown(value)), Source::Topic));
        // Also where the value comes from a key that is not told, such as `log.retention.hours`.
        let config_source = own.iter().chain(of_brokers).next().map_or(Source::Default as i8, |first| first.source);
        let synonyms =
            if self.synonyms { own.into_iter().chain(of_brokers.iter().cloned()).collect() } else { Vec::new() };
        DescribeConfigsResourceResult {
            name: Str::from_static(key.name),
            value: Some((*value.value).into()),
            config_source,
            synonyms,
            config_type: key.kind.wire_code(),
            documentation: self.documentation.then(|| Str::from_static(key.doc)),
            ..DescribeConfigsResourceResult::default()
        }
    }

    /// `of` gives the values of this key and of those that say the same.
    fn broker_entry(
        &self,
        def: &'static ConfigDef,
        values: &[Sourced],
        of: impl Fn(&ConfigDef) -> Vec<Sourced>,
    ) -> DescribeConfigsResourceResult {
        let (value, source) =
            values.first().map_or((None, Source::Default), |first| (first.value.clone(), first.source));
        let synonyms = self.synonyms.then(|| effective_synonyms(def, of)).into_iter().flatten();
        DescribeConfigsResourceResult {
            name: Str::from_static(def.name),
            value: value.map(Str::from),
            read_only: def.update == Update::Restart,
            config_source: source as i8,
            synonyms: synonyms.map(|(name, v)| synonym(name, v.as_set(), v.source)).collect(),
            config_type: def.kind.describe_configs_type(),
            documentation: self.documentation.then(|| Str::from_static(def.doc)),
            ..DescribeConfigsResourceResult::default()
        }
    }

    /// What is set for all brokers together, if anything is.
    fn cluster_entry(&self, def: &'static ConfigDef) -> Option<DescribeConfigsResourceResult> {
        let (config, image) = (&self.core.config, self.image);
        image.configs_of(resource::BROKER, CLUSTER_WIDE)?.get(def.name)?;
        let of_all = |def: &ConfigDef| {
            let mut values = values(def, config, image);
            values.retain(|sourced| sourced.source == Source::DynamicDefault);
            values
        };
        let values = of_all(def);
        // What an older release let be set, and no longer heeds, is not told. The rest is told as it was set: nothing is
        // made of it but by a broker.
        let value = values.first()?.as_set().map(Str::from);
        Some(DescribeConfigsResourceResult { value, ..self.broker_entry(def, &values, of_all) })
    }
}

/// The broker keys that are kept, whether they do anything here or not.
fn broker_keys() -> impl Iterator<Item = &'static ConfigDef> {
    BROKER_KEYS.iter().chain(INERT_KEYS)
}

/// The keys that are set for the broker, or all together, called so, and that no broker knows.
fn customs<'a>(image: &'a Image, name: &str) -> impl Iterator<Item = &'a str> {
    let configs = image.configs_of(resource::BROKER, name);
    let keys = configs.into_iter().flat_map(|configs| configs.keys());
    keys.map(|key| &**key).filter(|key| settings::is_custom(key))
}

/// Whether a broker resource names this broker.
fn check_broker(core: &Core, name: &str) -> Result<(), ApiError> {
    let unexpected = |id| format!("Unexpected broker id, expected {id} or empty string, but received {name}");
    check_node(core, name, "Broker", unexpected)
}

/// The values of a broker's key, and of one that every broker has, whether somebody set it or not.
fn of_broker(core: &Core, image: &Image, def: &ConfigDef) -> Vec<Sourced> {
    let own = match def.name {
        "node.id" | "broker.id" => Some(core.id().0.to_string()),
        "listeners" => Some(endpoints::joined(&core.config.listeners)),
        _ => None,
    };
    let mut values = with_own(values(def, &core.config, image), own);
    // Kafka's has no default.
    values.retain(|sourced| def.name != "node.id" || sourced.source != Source::Default);
    values
}

/// What is set for a topic itself.
pub(crate) fn topic_settings(image: &Image, topic: &str) -> TopicSettings {
    let configs = image.configs_of(resource::TOPIC, topic);
    let pairs = configs.iter().flat_map(|configs| configs.iter());
    pairs.map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

/// The source of a topic key's value as clients name it.
pub(crate) fn source(from: topic_config::Source, config: &BrokerConfig, image: &Image) -> Source {
    match from {
        topic_config::Source::Topic => Source::Topic,
        topic_config::Source::Default => Source::Default,
        topic_config::Source::Broker(key) => settings::definition(key)
            .and_then(|def| values(def, config, image).into_iter().next())
            .map_or(Source::Default, |sourced| sourced.source),
    }
}

fn synonym(name: &'static str, value: Option<&str>, source: Source) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym {
        name: Str::from_static(name),
        value: value.map(Str::from),
        source: source as i8,
        ..DescribeConfigsSynonym::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With its default and the same from each broker key, as nearly all topics have it.
    #[test]
    fn a_topic_takes_what_is_foreseen_and_not_much_less() {
        let entry = |key: &'static TopicKey| DescribeConfigsResourceResult {
            name: Str::from_static(key.name),
            value: Some(key.default.into()),
            synonyms: key
                .synonyms
                .iter()
                .map(|of| synonym(of.broker_key, Some(key.default), Source::Default))
                .collect(),
            documentation: Some(Str::from_static(key.doc)),
            ..DescribeConfigsResourceResult::default()
        };
        let configs: Vec<_> = TOPIC_KEYS.iter().map(entry).collect();
        let of_key = |entry: &DescribeConfigsResourceResult| {
            let of_value = |value: &Option<Str>| value.as_ref().map_or(0, |value| value.len());
            let synonyms = entry.synonyms.iter().map(|v| size_of::<DescribeConfigsSynonym>() + of_value(&v.value));
            size_of::<DescribeConfigsResourceResult>() + of_value(&entry.value) + synonyms.sum::<usize>()
        };
        let made = size_of::<DescribeConfigsResult>() + configs.iter().map(of_key).sum::<usize>();
        let mut writer = wire::Writer::new();
        let result =
            DescribeConfigsResult { resource_name: "topic".into(), configs, ..DescribeConfigsResult::default() };
        result.write(&mut writer, 4).unwrap();
        let (taken, foreseen) = (made + writer.len(), topic_bytes());
        assert!((taken..2 * taken).contains(&foreseen), "{taken} of {foreseen} bytes");
    }
}
