//! The values in force for one topic.

use std::borrow::Cow;
use std::collections::BTreeMap;

use records::compression::DECOMPRESSED_BYTES_MAX;
use records::{Compression, Encoding, TimestampType, ValidationConfig, ValidationLevel};

use super::definition::{InvalidConfig, TopicKey, trimmed};
use super::keys::{CHECKED_IN_ORDER, topic_key};
use crate::producers::Origin;

/// A topic's own settings, by key.
pub type TopicSettings = BTreeMap<String, String>;

/// The broker's explicit settings (static or dynamic), by broker key.
pub type BrokerSettings = BTreeMap<String, String>;

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The topic's own setting.
    Topic,
    /// The broker's setting of this key.
    Broker(&'static str),
    /// The default.
    Default,
}

/// A key's value and its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective<'a> {
    /// The value.
    pub value: Cow<'a, str>,
    /// Where it comes from.
    pub source: Source,
}

/// The value of `key` in force.
pub fn effective<'a>(key: &'static TopicKey, topic: &'a TopicSettings, broker: &'a BrokerSettings) -> Effective<'a> {
    if let Some(value) = topic.get(key.name) {
        return Effective { value: key.shown(value), source: Source::Topic };
    }
    for synonym in key.synonyms {
        if let Some(value) = broker.get(synonym.broker_key) {
            return Effective { value: synonym.unit.convert(value).into(), source: Source::Broker(synonym.broker_key) };
        }
    }
    Effective { value: key.default.into(), source: Source::Default }
}

/// Checks a topic's settings, all of them as they would be after a change.
///
/// # Errors
/// The first that is unknown, not valid, or contradicts another.
pub fn validate_topic_settings(topic: &TopicSettings, broker: &BrokerSettings) -> Result<(), InvalidConfig> {
    let unknown = topic.keys().filter(|name| topic_key(name).is_none());
    if let Some(unknown) = unknown.min_by_key(|name| place_in_properties(name, topic.len())) {
        return Err(InvalidConfig::UnknownKey(unknown.clone()));
    }
    let set = CHECKED_IN_ORDER.iter().filter_map(|name| Some((topic_key(name)?, topic.get(*name)?)));
    for (key, value) in set {
        key.validate(value)?;
    }
    let lag = |name| number(name, topic, broker);
    let (min, max) = (lag("min.compaction.lag.ms"), lag("max.compaction.lag.ms"));
    if min > max {
        let what = format!("min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})");
        return Err(InvalidConfig::Conflict(what));
    }
    // Also where an older release took it: it can be unset, and nothing else be changed before.
    let tiers = topic_key("remote.storage.enable").expect("a key of the table");
    if effective(tiers, topic, broker).value == "true" {
        return Err(InvalidConfig::NoTiers);
    }
    Ok(())
}

/// Where a key stands among so many in Java's `HashMap`, so that of several that are wrong the same one is told of as by
/// Kafka, which goes through such a map.
pub fn place_in_hash_map(key: &str, count: usize) -> u32 {
    let hash = key.encode_utf16().fold(0_u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()));
    let mut buckets = 16;
    while count > buckets / 4 * 3 {
        buckets *= 2;
    }
    (hash ^ (hash >> 16)) & u32::try_from(buckets - 1).unwrap_or(u32::MAX)
}

/// Where it stands in Java's `Properties`, which grow when they have become that many, and not with one more.
fn place_in_properties(key: &str, count: usize) -> u32 {
    place_in_hash_map(key, count + 1)
}

/// What happens to old records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Removed by age and size.
    pub delete: bool,
    /// Only the newest record of each key need stay; every record must have a key.
    pub compact: bool,
}

/// The settings that the log works with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    /// What happens to old records.
    pub cleanup: CleanupPolicy,
    /// Largest batch as stored.
    pub max_message_bytes: u32,
    /// Largest record of a compressed batch.
    pub max_decompressed_message_bytes: u32,
    /// Whether records get the broker's time.
    pub log_append_time: bool,
    /// How old a record's timestamp may be.
    pub timestamp_before_max_ms: i64,
    /// How far ahead a record's timestamp may be.
    pub timestamp_after_max_ms: i64,
    /// Codec and level to store with; `None` keeps the producer's.
    pub compression: Option<Encoding>,
    /// Age limit; `None` is unlimited.
    pub retention_ms: Option<i64>,
    /// Size limit; `None` is unlimited.
    pub retention_bytes: Option<u64>,
}

impl TopicConfig {
    /// The values in force. A stored value that this release does not accept falls back to the next source: the log must
    /// open whatever was stored. But what says that records are deleted never falls back, least of all to the default,
    /// which deletes: where it is not understood it deletes nothing.
    pub fn resolve(topic: &TopicSettings, broker: &BrokerSettings) -> Self {
        let policy = effective(topic_key("cleanup.policy").expect("a key of the table"), topic, broker).value;
        let policies = || policy.split(',').map(str::trim);
        let level = |name| Some(number(name, topic, broker) as i32);
        let compression = match &*text("compression.type", topic, broker) {
            "uncompressed" => Some(Compression::None.into()),
            "gzip" => Some(Encoding { codec: Compression::Gzip, level: level("compression.gzip.level") }),
            "lz4" => Some(Encoding { codec: Compression::Lz4, level: level("compression.lz4.level") }),
            "zstd" => Some(Encoding { codec: Compression::Zstd, level: level("compression.zstd.level") }),
            "snappy" => Some(Compression::Snappy.into()),
            _ => None,
        };
        let limit = |name| {
            let limit: i64 = trimmed(&understood(name, topic, broker).ok()?).parse().ok()?;
            Some(limit).filter(|&limit| limit >= 0)
        };
        let bytes = |name| u32::try_from(number(name, topic, broker)).unwrap_or(0);
        Self {
            cleanup: CleanupPolicy {
                delete: understood("cleanup.policy", topic, broker).is_ok()
                    && policies().any(|policy| policy == "delete"),
                compact: policies().any(|policy| policy == "compact"),
            },
            max_message_bytes: bytes("max.message.bytes"),
            max_decompressed_message_bytes: bytes("max.decompressed.message.bytes"),
            log_append_time: text("message.timestamp.type", topic, broker) == "LogAppendTime",
            timestamp_before_max_ms: number("message.timestamp.before.max.ms", topic, broker),
            timestamp_after_max_ms: number("message.timestamp.after.max.ms", topic, broker),
            compression,
            retention_ms: limit("retention.ms"),
            retention_bytes: limit("retention.bytes").and_then(|bytes| u64::try_from(bytes).ok()),
        }
    }
}

impl TopicConfig {
    /// What a batch must be like to be appended. How large it may be and how old is asked of what clients send. A
    /// coordinator keeps to the size as it decides; but it must be able to write again what it has stored, whatever the
    /// limit was lowered to since, and what it decided long ago.
    pub fn validation(&self, level: ValidationLevel, origin: Origin) -> ValidationConfig {
        let timestamp_type =
            if self.log_append_time { TimestampType::LogAppendTime } else { TimestampType::CreateTime };
        let (max_message_bytes, timestamp_before_max_ms, timestamp_after_max_ms) = match origin {
            Origin::Client => {
                (self.max_message_bytes as usize, self.timestamp_before_max_ms, self.timestamp_after_max_ms)
            }
            Origin::Coordinator => (usize::MAX, i64::MAX, i64::MAX),
        };
        ValidationConfig {
            max_message_bytes,
            timestamp_type,
            timestamp_before_max_ms,
            timestamp_after_max_ms,
            compacted: self.cleanup.compact,
            compression: self.compression,
            level,
            decompressed_record_bytes_max: self.max_decompressed_message_bytes as usize,
            decompressed_bytes_max: DECOMPRESSED_BYTES_MAX,
        }
    }
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self::resolve(&TopicSettings::new(), &BrokerSettings::new())
    }
}

/// The keys whose values say that records are deleted.
const DELETING_KEYS: [&str; 3] = ["cleanup.policy", "retention.bytes", "retention.ms"];

/// What is wrong with the settings that would delete records: those of them delete nothing.
pub fn not_understood(topic: &TopicSettings, broker: &BrokerSettings) -> Vec<InvalidConfig> {
    DELETING_KEYS.iter().filter_map(|name| understood(name, topic, broker).err()).collect()
}

/// The value in force, if this release understands it.
fn understood<'a>(
    name: &str,
    topic: &'a TopicSettings,
    broker: &'a BrokerSettings,
) -> Result<Cow<'a, str>, InvalidConfig> {
    let key = topic_key(name).expect("callers name keys of the table");
    let value = effective(key, topic, broker).value;
    key.validate(&value).map(|()| value)
}

fn text<'a>(name: &str, topic: &'a TopicSettings, broker: &'a BrokerSettings) -> Cow<'a, str> {
    let key = topic_key(name).expect("callers name keys of the table");
    let value = effective(key, topic, broker).value;
    if key.validate(&value).is_ok() {
        return value;
    }
    let from_broker = key.synonyms.iter().find_map(|s| broker.get(s.broker_key).map(|value| s.unit.convert(value)));
    from_broker.filter(|value| key.validate(value).is_ok()).map_or(Cow::Borrowed(key.default), Cow::Owned)
}

fn number(name: &str, topic: &TopicSettings, broker: &BrokerSettings) -> i64 {
    trimmed(&text(name, topic, broker)).parse().expect("validated, and defaults are numbers")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConfigType, Constraint, TOPIC_KEYS};

    fn settings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    fn check(key: &str, value: &str) -> Result<(), InvalidConfig> {
        validate_topic_settings(&settings(&[(key, value)]), &BrokerSettings::new())
    }

    #[test]
    fn keys_are_sorted_and_their_defaults_are_valid() {
        assert!(TOPIC_KEYS.is_sorted_by(|a, b| a.name < b.name));
        let mut checked = CHECKED_IN_ORDER;
        checked.sort_unstable();
        assert!(checked.iter().eq(TOPIC_KEYS.iter().map(|key| &key.name)));
        for key in TOPIC_KEYS {
            key.validate(key.default).unwrap();
            assert!(!key.doc.is_empty());
            let numeric = matches!(key.kind, ConfigType::Int | ConfigType::Long);
            let ranged = matches!(key.valid, Constraint::AtLeast(_) | Constraint::Between(..) | Constraint::GzipLevel);
            assert!(numeric || !ranged, "{}", key.name);
        }
        assert_eq!(TOPIC_KEYS.len(), 37);
    }

    #[test]
    fn values_are_taken_and_refused_as_by_kafka() {
        // Each line was tried against LogConfig.validate of Kafka 4.4.0.
        let taken = [
            ("cleanup.policy", ""),
            ("cleanup.policy", "compact,compact"),
            ("cleanup.policy", " delete , compact "),
            ("cleanup.policy", "delete\t\n,\x0b\x0c\rcompact"),
            ("cleanup.policy", "\x01delete,compact\x01"),
            ("retention.bytes", "-5"),
            ("retention.ms", " 12 "),
            ("preallocate", "TRUE"),
            ("compression.gzip.level", "-1"),
            ("leader.replication.throttled.replicas", "*"),
            ("leader.replication.throttled.replicas", "0:1,2:3"),
            ("leader.replication.throttled.replicas", "0:1,"),
            ("leader.replication.throttled.replicas", "0:1\x01,\x010:2"),
            ("leader.replication.throttled.replicas", "*,"),
            ("min.cleanable.dirty.ratio", "NaN"),
            ("retention.ms", "\u{1f}12\n"),
            ("remote.storage.enable", "false"),
            ("remote.log.copy.disable", "true"),
            ("max.message.bytes", "+5"),
            ("min.compaction.lag.ms", "9223372036854775807"),
            ("local.retention.bytes", "5"),
        ];
        for (key, value) in taken {
            assert_eq!(check(key, value), Ok(()), "{key}={value}");
        }
        let refused = [
            ("cleanup.policy", "Delete", "String must be one of: compact, delete"),
            ("retention.ms", "-2", "Value must be at least -1"),
            ("retention.ms", "abc", "Not a number of type LONG"),
            ("retention.ms", "", "Not a number of type LONG"),
            ("min.cleanable.dirty.ratio", "1.5", "Value must be no more than 1"),
            ("min.cleanable.dirty.ratio", "x", "Not a number of type DOUBLE"),
            ("min.cleanable.dirty.ratio", "nan", "Not a number of type DOUBLE"),
            ("min.cleanable.dirty.ratio", "1ff", "Not a number of type DOUBLE"),
            ("min.cleanable.dirty.ratio", "Infinity", "Value must be no more than 1"),
            ("retention.ms", "\u{a0}12", "Not a number of type LONG"),
            ("preallocate", "yes", "Expected value to be either true or false"),
            ("compression.type", "GZIP", "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer"),
            ("compression.gzip.level", "0", "Value must be between 1 and 9 or equal to -1"),
            ("segment.bytes", "99999999999", "Not a number of type INT"),
        ];
        for (key, value, why) in refused {
            let expected = format!("Invalid value {value} for configuration {key}: {why}");
            assert_eq!(check(key, value).unwrap_err().to_string(), expected);
        }
        // What is understood is told as it was understood.
        for (key, value, told) in [
            ("cleanup.policy", "delete,forget", "Invalid value forget for"),
            ("cleanup.policy", "delete,\x01compact", "Invalid value \x01compact for"),
            ("cleanup.policy", "delete\x1f,compact", "Invalid value delete\x1f for"),
            ("cleanup.policy", "delete,", "Configuration 'cleanup.policy' values must not be empty."),
            ("segment.bytes", " 007 ", "Invalid value 7 for"),
            ("retention.ms", " x ", "Invalid value  x  for"),
            ("min.cleanable.dirty.ratio", "-1", "Invalid value -1.0 for"),
            (
                "leader.replication.throttled.replicas",
                "0-1,2",
                "Invalid value [0-1, 2] for configuration leader.replication.throttled.replicas: \
                 leader.replication.throttled.replicas must be",
            ),
            ("remote.storage.enable", "TRUE", "Tiered Storage functionality is disabled in the broker."),
            ("foo", "1", "Unknown topic config name: foo"),
            ("retention.m", "1", "Unknown topic config name: retention.m"),
        ] {
            let said = check(key, value).unwrap_err().to_string();
            assert!(said.starts_with(told), "{key}={value}: {said}");
        }
        // Names before values, and values in Kafka's order.
        let wrong = |pairs| validate_topic_settings(&settings(pairs), &BrokerSettings::new()).unwrap_err().to_string();
        assert!(wrong(&[("cleanup.policy", "x"), ("zzz", "1")]).contains("name: zzz"));
        assert!(wrong(&[("", "1"), (".", "1"), ("..", "1")]).ends_with("name: "));
        assert!(wrong(&[(".", "1"), ("..", "1")]).ends_with("name: .."));
        assert!(wrong(&[("cleanup.policy", "x"), ("segment.ms", "x")]).contains("segment.ms"));
        let both = settings(&[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")]);
        let conflict = validate_topic_settings(&both, &BrokerSettings::new()).unwrap_err().to_string();
        assert_eq!(conflict, "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)");
    }

    #[test]
    fn the_topic_beats_the_broker_and_the_first_synonym_the_others() {
        let key = topic_key("retention.ms").unwrap();
        let none = TopicSettings::new();
        let hours = settings(&[("log.retention.hours", "2")]);
        let both = settings(&[("log.retention.hours", "2"), ("log.retention.minutes", "3")]);
        let of = |topic: &TopicSettings, broker: &BrokerSettings| {
            let Effective { value, source } = effective(key, topic, broker);
            (value.into_owned(), source)
        };
        assert_eq!(of(&none, &none), ("604800000".into(), Source::Default));
        assert_eq!(of(&none, &hours), ("7200000".into(), Source::Broker("log.retention.hours")));
        assert_eq!(of(&none, &both), ("180000".into(), Source::Broker("log.retention.minutes")));
        assert_eq!(of(&settings(&[("retention.ms", "7")]), &both), ("7".into(), Source::Topic));
        for unlimited in [("log.retention.hours", "-1"), ("log.retention.ms", "-2")] {
            assert_eq!(TopicConfig::resolve(&none, &settings(&[unlimited])).retention_ms, None, "{unlimited:?}");
        }
    }

    #[test]
    fn a_value_is_shown_as_kafka_read_it() {
        // What DescribeConfigs of Kafka 4.4.0 made of each.
        for (key, set, shown) in [
            ("preallocate", "TRUE", "true"),
            ("min.cleanable.dirty.ratio", "0.50", "0.5"),
            ("min.cleanable.dirty.ratio", "5e-1", "0.5"),
            ("min.cleanable.dirty.ratio", ".00012", "1.2E-4"),
            ("min.cleanable.dirty.ratio", "1", "1.0"),
            ("min.cleanable.dirty.ratio", "0.5f", "0.5"),
            ("min.cleanable.dirty.ratio", "1D", "1.0"),
            ("min.cleanable.dirty.ratio", "NaN", "NaN"),
            ("cleanup.policy", "delete,delete", "delete"),
            ("leader.replication.throttled.replicas", "0:1,", "0:1,"),
            ("cleanup.policy", "compact , delete", "compact,delete"),
            ("cleanup.policy", "", ""),
            ("retention.ms", "007", "7"),
            ("segment.bytes", "+1048577", "1048577"),
            ("max.message.bytes", " 5000 ", "5000"),
        ] {
            assert_eq!(check(key, set), Ok(()));
            let own = settings(&[(key, set)]);
            assert_eq!(effective(topic_key(key).unwrap(), &own, &BrokerSettings::new()).value, shown, "{key}={set}");
        }
        assert_eq!(crate::config::shown_double(12_345_678.0), "1.2345678E7");
        assert_eq!(crate::config::shown_double(1e7), "1.0E7");
        assert_eq!(crate::config::shown_double(0.001), "0.001");
    }

    #[test]
    fn the_view_has_kafkas_defaults() {
        let config = TopicConfig::default();
        assert_eq!(config.cleanup, CleanupPolicy { delete: true, compact: false });
        assert_eq!(config.max_message_bytes, 1_048_588);
        assert!(!config.log_append_time);
        assert_eq!(config.timestamp_before_max_ms, i64::MAX);
        assert_eq!(config.timestamp_after_max_ms, 3_600_000);
        assert_eq!(config.compression, None);
        assert_eq!(config.retention_ms, Some(604_800_000));
        assert_eq!(config.retention_bytes, None);
    }

    #[test]
    fn a_stored_value_that_is_not_valid_falls_back() {
        let topic = settings(&[("max.message.bytes", "many")]);
        let config = TopicConfig::resolve(&topic, &settings(&[("message.max.bytes", "9")]));
        assert_eq!(config.max_message_bytes, 9);
        assert!(not_understood(&topic, &BrokerSettings::new()).is_empty());
    }

    #[test]
    fn a_setting_that_is_not_understood_deletes_nothing() {
        let none = settings(&[]);
        let broker =
            settings(&[("log.retention.ms", "9"), ("log.retention.bytes", "9"), ("log.cleanup.policy", "delete")]);
        let limits = |topic: &TopicSettings, broker: &BrokerSettings| {
            let config = TopicConfig::resolve(topic, broker);
            (config.cleanup.delete, config.retention_ms, config.retention_bytes)
        };
        assert_eq!(limits(&none, &broker), (true, Some(9), Some(9)));
        assert_eq!(limits(&settings(&[("retention.ms", "soon")]), &broker), (true, None, Some(9)));
        assert_eq!(limits(&settings(&[("retention.bytes", "few")]), &broker), (true, Some(9), None));
        assert_eq!(limits(&settings(&[("cleanup.policy", "delete,tier")]), &broker), (false, Some(9), Some(9)));
        let newer = settings(&[("log.retention.hours", "two"), ("log.cleanup.policy", "tier")]);
        assert_eq!(limits(&none, &newer), (false, None, None));
        let told: Vec<String> = not_understood(&none, &newer).iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 2);
        assert!(told[0].starts_with("Invalid value tier for configuration cleanup.policy"), "{told:?}");
        let compacted = TopicConfig::resolve(&settings(&[("cleanup.policy", "compact,tier")]), &none);
        assert_eq!(compacted.cleanup, CleanupPolicy { delete: false, compact: true });
    }
}
