//! Where a broker key's value comes from: this broker's dynamic setting, the cluster-wide one, the file, the default.

use meta::Image;
use partition::config::BrokerSettings;

use super::broker_keys::BROKER_KEYS;
use super::define::{ConfigDef, Update};
use super::settings::BrokerConfig;

/// Resource types of the config APIs, Kafka's `ConfigResource.Type`.
pub(crate) mod resource {
    pub(crate) const TOPIC: i8 = 2;
    pub(crate) const BROKER: i8 = 4;
}

/// The name under which the cluster-wide broker settings are kept.
pub(crate) const CLUSTER_WIDE: &str = "";

/// Sources in DescribeConfigs, Kafka's `ConfigSource`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Topic = 1,
    DynamicBroker = 2,
    DynamicDefault = 3,
    Static = 4,
    Default = 5,
}

/// A value and its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sourced {
    pub(crate) value: Option<String>,
    pub(crate) source: Source,
}

/// Every value set for a broker key, the one in force first; the default is last, if there is one.
pub(crate) fn values(def: &ConfigDef, config: &BrokerConfig, image: &Image) -> Vec<Sourced> {
    let node = config.node_id.to_string();
    let dynamic = |name: &str| {
        image.configs_of(resource::BROKER, name).and_then(|configs| configs.get(def.name)).map(ToString::to_string)
    };
    let mut values = Vec::new();
    let mut add = |value: Option<String>, source| {
        if value.is_some() {
            values.push(Sourced { value, source });
        }
    };
    if def.update == Update::Dynamic {
        add(dynamic(&node), Source::DynamicBroker);
        add(dynamic(CLUSTER_WIDE), Source::DynamicDefault);
    }
    add(config.explicit(def.name).map(str::to_owned), Source::Static);
    add(def.default.map(str::to_owned), Source::Default);
    values
}

/// Every broker key that is set, with the value in force.
pub(crate) fn broker_settings(config: &BrokerConfig, image: &Image) -> BrokerSettings {
    let mut settings = BrokerSettings::new();
    for def in BROKER_KEYS {
        let set = values(def, config, image).into_iter().find(|sourced| sourced.source != Source::Default);
        if let Some(Sourced { value: Some(value), .. }) = set {
            settings.insert(def.name.to_owned(), value);
        }
    }
    settings
}

/// The value of one broker key in force.
pub(crate) fn value(key: &str, config: &BrokerConfig, image: &Image) -> Option<String> {
    let def = super::settings::find(key)?;
    values(def, config, image).into_iter().next().and_then(|sourced| sourced.value)
}
