//! Settings of topics and brokers.

use std::sync::Arc;

use base::TimestampMs;
use stream::catalogue::Decision;
use wire::meta::{ConfigRecord, MetadataRecord};

use super::Operation;
use crate::error::ConfigError;
use crate::image::{Configs, Image};

/// Kafka's resource type of a topic.
pub(crate) const TOPIC: i8 = 2;

/// What has settings.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConfigResource {
    /// Kafka's resource type (2 topic, 4 broker).
    pub kind: i8,
    /// The topic's name or the broker's id; empty for the default of all brokers.
    pub name: String,
}

/// One setting to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    /// The setting.
    pub key: String,
    /// Its new value, or `None` to fall back to the default.
    pub value: Option<String>,
}

/// Changes settings of one resource, if what is set for it is still what the caller `saw` when it decided. Validation is
/// the broker's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AlterConfigs {
    pub of: ConfigResource,
    pub saw: Configs,
    pub changes: Vec<ConfigChange>,
}

impl Operation for AlterConfigs {
    type Answer = Result<(), ConfigError>;

    fn decide(self, image: &Image, _: TimestampMs) -> Decision<Self::Answer> {
        let Self { of, saw, changes } = self;
        if of.kind == TOPIC && image.topic(&of.name).is_none() {
            return Decision::unchanged(Err(ConfigError::UnknownTopic(of.name)));
        }
        let same = image.configs_of(of.kind, &of.name).map_or(saw.is_empty(), |configs| **configs == saw);
        if !same {
            return Decision::unchanged(Err(ConfigError::Changed));
        }
        let records = changes.iter().map(|change| record(of.kind, &of.name, &change.key, change.value.as_deref()));
        Decision { records: records.collect(), response: Ok(()) }
    }
}

/// A setting of a resource, or that it is set no more.
pub(crate) fn record(kind: i8, resource: &str, key: &str, value: Option<&str>) -> MetadataRecord {
    MetadataRecord::from(ConfigRecord {
        resource_type: kind,
        resource_name: resource.into(),
        key: key.into(),
        value: value.map(Into::into),
        ..Default::default()
    })
}

pub(crate) fn replay(image: &mut Image, r: &ConfigRecord) {
    let resource = (r.resource_type, Arc::from(r.resource_name.as_str()));
    let mut configs = image.configs.get(&resource).cloned().unwrap_or_default();
    match &r.value {
        Some(value) => {
            Arc::make_mut(&mut configs).insert(r.key.as_str().into(), value.as_str().into());
        }
        None => {
            Arc::make_mut(&mut configs).remove(r.key.as_str());
        }
    }
    if configs.is_empty() {
        image.configs.remove(&resource);
    } else {
        image.configs.insert(resource, configs);
    }
}

/// The records that rebuild all settings.
pub(crate) fn snapshot(image: &Image, out: &mut Vec<MetadataRecord>) {
    for ((kind, resource), configs) in &image.configs {
        out.extend(configs.iter().map(|(key, value)| record(*kind, resource, key, Some(value))));
    }
}
