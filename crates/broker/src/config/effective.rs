//! Where a broker key's value comes from: this broker's dynamic setting, the cluster-wide one, the file, the default.

use std::collections::BTreeMap;

use meta::Image;
use partition::config::BrokerSettings;

use super::broker_keys::BROKER_KEYS;
use super::define::{ConfigDef, Invalid, Update};
use super::inert_keys::INERT_KEYS;
use super::settings::{self, BrokerConfig};

/// Resource types of the config APIs, Kafka's `ConfigResource.Type`.
pub(crate) mod resource {
    pub(crate) const TOPIC: i8 = 2;
    pub(crate) const BROKER: i8 = 4;
    /// The loggers of a broker, of which there are none here.
    pub(crate) const BROKER_LOGGER: i8 = 8;
    /// These have no settings here.
    pub(crate) const CLIENT_METRICS: i8 = 16;
    pub(crate) const GROUP: i8 = 32;
    pub(crate) const ALL: [i8; 5] = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];
}

/// How much longer a text may be than what is understood of it, to be told as it was set: some blanks, signs and zeros.
const TEXT_BYTES_MORE_MAX: usize = 32;

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
    /// As it is understood.
    pub(crate) value: Option<String>,
    /// As it was set with AlterConfigs, where that differs.
    text: Option<String>,
    pub(crate) source: Source,
}

impl Sourced {
    /// The value as it was set, which is how Kafka's `ConfigHelper` tells where a value may come from.
    pub(crate) fn as_set(&self) -> Option<&str> {
        self.text.as_deref().or(self.value.as_deref())
    }
}

/// Every value set for a broker key, the one in force first; the default is last, if there is one. What is kept with the
/// metadata and is not valid here does not count ([`unheeded`]).
pub(crate) fn values(def: &ConfigDef, config: &BrokerConfig, image: &Image) -> Vec<Sourced> {
    values_if(def, config, &|name, key| {
        image.configs_of(resource::BROKER, name).and_then(|configs| configs.get(key)).map(ToString::to_string)
    })
}

/// The same, if `set` told what is set for a broker, or the cluster, and a key.
fn values_if(def: &ConfigDef, config: &BrokerConfig, set: &dyn Fn(&str, &str) -> Option<String>) -> Vec<Sourced> {
    let node = config.node_id.to_string();
    let dynamic = |name: &str, source| {
        let text = set(name, def.name)?;
        let value = def.parse_running(&text).ok()?;
        // Replies are foreseen by what is understood: a text of thirty thousand zeros is not told again for each topic.
        let is_told = text != value && text.len() <= value.len() + TEXT_BYTES_MORE_MAX;
        Some(Sourced { text: is_told.then_some(text), value: Some(value), source })
    };
    let fixed = |value: &str, source| Sourced { value: Some(value.to_owned()), text: None, source };
    let mut values = Vec::new();
    if def.update == Update::Dynamic {
        values.extend(dynamic(&node, Source::DynamicBroker));
        values.extend(dynamic(CLUSTER_WIDE, Source::DynamicDefault));
    }
    values.extend(config.explicit(def.name).map(|value| fixed(value, Source::Static)));
    values.extend(def.default.map(|value| fixed(value, Source::Default)));
    values
}

/// What is kept with the metadata for this broker, or for all, and does not count, since it is not valid here: another
/// release let it be set. The broker's file, or the default, has its place, so that a broker always starts and can be
/// told otherwise.
pub(crate) fn unheeded(config: &BrokerConfig, image: &Image) -> Vec<Invalid> {
    let node = config.node_id.to_string();
    let kept = [node.as_str(), CLUSTER_WIDE].into_iter().filter_map(|name| image.configs_of(resource::BROKER, name));
    let pairs = kept.flat_map(|configs| configs.iter());
    pairs.filter_map(|(key, value)| settings::definition(key)?.parse_running(value).err()).collect()
}

/// Sees to it that a key which every broker has by itself is not said to be a default: `own` is its value, set or not.
///
/// Kafka's brokers have `node.id` and `listeners` from their files, where nothing starts without them, and show them as
/// such; tools that list what is special about a broker rely on it.
pub(crate) fn with_own(mut values: Vec<Sourced>, own: Option<String>) -> Vec<Sourced> {
    let at = values.iter().position(|sourced| sourced.source == Source::Default).unwrap_or(values.len());
    let is_set = values.iter().any(|sourced| sourced.source == Source::Static);
    if let (Some(value), false) = (own, is_set) {
        values.insert(at, Sourced { value: Some(value), text: None, source: Source::Static });
    }
    values
}

/// Every broker key that is set, with the value in force. Topics follow some that change nothing.
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
    explicit(|def| values_then(def, config, image, of, then))
}

/// [`values`], if `then` were what is set for the broker or cluster called `of`.
pub(crate) fn values_then(
    def: &ConfigDef,
    config: &BrokerConfig,
    image: &Image,
    of: &str,
    then: &BTreeMap<String, String>,
) -> Vec<Sourced> {
    values_if(def, config, &|name, key| match image.configs_of(resource::BROKER, name) {
        _ if name == of => then.get(key).cloned(),
        Some(configs) => configs.get(key).map(ToString::to_string),
        None => None,
    })
}

/// Keys that say the same in different units, the finest first: a value of one is one for all.
const FAMILIES: &[&[&str]] = &[
    &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
    &["log.roll.ms", "log.roll.hours"],
    &["log.roll.jitter.ms", "log.roll.jitter.hours"],
];

/// With `log.flush.interval.ms` the other is its default, and not the other way round.
const FLUSH: &[&str] = &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"];

/// Every value of a key and of those that say the same, by where they come from. What would go before the key's own value
/// is left out, and so there is nothing if it has none: so Kafka's `ConfigHelper` tells them, of brokers and of topics.
pub(crate) fn synonyms(
    def: &'static ConfigDef,
    of: impl Fn(&ConfigDef) -> Vec<Sourced>,
) -> Vec<(&'static str, Sourced)> {
    let family = FAMILIES.iter().find(|family| family.contains(&def.name)).copied();
    let family = family.or_else(|| (def.name == FLUSH[0]).then_some(FLUSH));
    let defs = match family {
        Some(names) => names.iter().filter_map(|name| settings::definition(name)).collect(),
        None => vec![def],
    };
    let named = |def: &'static ConfigDef| of(def).into_iter().map(|sourced| (def.name, sourced)).collect::<Vec<_>>();
    let mut all: Vec<_> = defs.into_iter().flat_map(named).collect();
    all.sort_by_key(|(_, sourced)| sourced.source as i8);
    all.into_iter().skip_while(|(name, _)| *name != def.name).collect()
}

fn explicit(values: impl Fn(&ConfigDef) -> Vec<Sourced>) -> BrokerSettings {
    let mut settings = BrokerSettings::new();
    for def in BROKER_KEYS.iter().chain(INERT_KEYS) {
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
