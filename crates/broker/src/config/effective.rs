//! Where a broker key's value comes from: this broker's dynamic setting, the cluster-wide one, the file, the default.

use std::collections::BTreeMap;

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
    values_if(def, config, &|name, key| {
        image.configs_of(resource::BROKER, name).and_then(|configs| configs.get(key)).map(ToString::to_string)
    })
}

/// The same, if `set` told what is set for a broker, or the cluster, and a key.
fn values_if(def: &ConfigDef, config: &BrokerConfig, set: &dyn Fn(&str, &str) -> Option<String>) -> Vec<Sourced> {
    let node = config.node_id.to_string();
    let dynamic = |name: &str| set(name, def.name);
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
    explicit(|def| values(def, config, image))
}

/// The same, if `then` were what is set for the broker or cluster called `of`.
pub(crate) fn broker_settings_if(
    config: &BrokerConfig,
    image: &Image,
    of: &str,
    then: &BTreeMap<String, String>,
) -> BrokerSettings {
    let set = |name: &str, key: &str| match image.configs_of(resource::BROKER, name) {
        _ if name == of => then.get(key).cloned(),
        Some(configs) => configs.get(key).map(ToString::to_string),
        None => None,
    };
    explicit(|def| values_if(def, config, &set))
}

fn explicit(values: impl Fn(&ConfigDef) -> Vec<Sourced>) -> BrokerSettings {
    let mut settings = BrokerSettings::new();
    for def in BROKER_KEYS {
        let set = values(def).into_iter().find(|sourced| sourced.source != Source::Default);
        if let Some(Sourced { value: Some(value), .. }) = set {
            settings.insert(def.name.to_owned(), value);
        }
    }
    settings
}

/// The value of one broker key in force.
pub(crate) fn value(key: &str, config: &BrokerConfig, image: &Image) -> Option<String> {
    let def = super::settings::definition(key)?;
    values(def, config, image).into_iter().next().and_then(|sourced| sourced.value)
}
