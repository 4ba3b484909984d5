//! Topic configuration: the keys of Kafka 4.4, how their values are checked, and which value is in force.
//!
//! [`TOPIC_KEYS`] is the one definition; CreateTopics and AlterConfigs validate with it, DescribeConfigs lists it, and
//! [`TopicConfig`] is the parsed view that the log works with. A value comes from the topic's own setting, else from the
//! broker's setting of the synonymous broker key, else from the default (Kafka's `LogConfig`,
//! `ServerTopicConfigSynonyms`).

mod definition;
mod keys;
mod topic;

pub use definition::{
    ConfigType, Constraint, InvalidConfig, Synonym, TopicKey, Unit, list_elements, parsed_double, shown_double, trimmed,
};
pub use keys::{TOPIC_KEYS, topic_key};
pub use topic::{
    BrokerSettings, CleanupPolicy, Effective, Source, TopicConfig, TopicSettings, effective, not_understood,
    place_in_hash_map, validate_topic_settings,
};
