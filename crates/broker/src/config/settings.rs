//! `server.properties` turned into what the broker uses.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use base::BrokerId;
use base::collections::HashSet;

use super::broker_keys::BROKER_KEYS;
use super::define::{ConfigDef, Fault, Invalid, Update};
use super::endpoint::{self, Endpoint};
use super::inert_keys::INERT_KEYS;
use super::known_keys::{REFUSED_KEYS, UNNEEDED_KEYS};

/// What is wrong with one key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Neither we nor Kafka know the key.
    #[error("unknown configuration key {key}{}", suggestion.map(|s| format!("; did you mean {s}?")).unwrap_or_default())]
    Unknown {
        /// The key.
        key: String,
        /// The known key that looks most like it.
        suggestion: Option<&'static str>,
    },
    /// A key that must not be ignored and cannot be honoured.
    #[error("{key}={value} cannot be honoured: {reason}")]
    Refused {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// Why, and what to do.
        reason: String,
    },
    /// A value fails its key's type or validator.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

impl ConfigError {
    /// The key it is about, for a reader that knows on which line it stood.
    pub fn key(&self) -> &str {
        match self {
            Self::Unknown { key, .. } | Self::Refused { key, .. } => key,
            Self::Invalid(invalid) => &invalid.key,
        }
    }
}

/// The outcome of [`BrokerConfig::parse`].
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The configuration.
    pub config: BrokerConfig,
    /// Keys that Kafka knows and that change nothing here, sorted; to be listed once.
    pub unneeded: Vec<String>,
}

/// The broker's static configuration.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// What was set, in canonical form; everything else has its default.
    explicit: BTreeMap<&'static str, String>,
    /// `node.id`.
    pub node_id: BrokerId,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// `listeners`.
    pub listeners: Vec<Endpoint>,
    /// `advertised.listeners`; empty when clients are told the address they dialled.
    pub advertised: Vec<Endpoint>,
    /// `connections.max.idle.ms`; `None` never closes.
    pub idle_max: Option<Duration>,
}

impl BrokerConfig {
    /// Reads keys and values, which may come from a file, the environment and the command line in rising precedence
    /// (the last value of a key wins).
    ///
    /// # Errors
    /// Everything that is wrong, not only the first thing.
    pub fn parse<K, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Result<Parsed, Vec<ConfigError>>
    where
        K: AsRef<str>,
        V: AsRef<str>,
    {
        let (mut explicit, mut unneeded, mut errors) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut last: BTreeMap<String, String> = BTreeMap::new();
        for (key, value) in pairs {
            last.insert(key.as_ref().trim().to_owned(), value.as_ref().to_owned());
        }
        for (key, value) in last {
            if let Some(def) = definition(&key) {
                if find(&key).is_none() {
                    unneeded.push(key.clone());
                }
                // An empty value of a key without a default unsets it, as in Kafka's files.
                if def.default.is_none() && value.trim().is_empty() {
                    continue;
                }
                match def.parse(&value) {
                    Ok(value) => drop(explicit.insert(def.name, value)),
                    Err(invalid) => errors.push(invalid.into()),
                }
            } else if let Some((_, reason)) = REFUSED_KEYS.iter().find(|(name, _)| *name == key) {
                let harmless =
                    ["", "none", "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder"];
                if harmless.contains(&value.trim()) {
                    unneeded.push(key);
                } else {
                    errors.push(ConfigError::Refused { key, value, reason: (*reason).to_owned() });
                }
            } else if is_unneeded(&key) {
                unneeded.push(key);
            } else {
                let suggestion = suggest(&key);
                errors.push(ConfigError::Unknown { key, suggestion });
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Self::from_explicit(explicit).map(|config| Parsed { config, unneeded })
    }

    fn from_explicit(explicit: BTreeMap<&'static str, String>) -> Result<Self, Vec<ConfigError>> {
        let invalid = |key: &str, value: &str, reason: String| {
            vec![ConfigError::Invalid(Invalid { key: key.to_owned(), fault: Fault::Value(value.to_owned()), reason })]
        };
        check_together(|key| explicit.get(key).map(String::as_str)).map_err(|error| vec![error.into()])?;
        let mut config = Self {
            explicit,
            node_id: BrokerId(0),
            rack: None,
            listeners: Vec::new(),
            advertised: Vec::new(),
            idle_max: None,
        };
        let listeners = config.get("listeners").unwrap_or_default().to_owned();
        config.listeners = Endpoint::parse_list(&listeners).map_err(|e| invalid("listeners", &listeners, e))?;
        if let Some(advertised) = config.get("advertised.listeners").map(str::to_owned) {
            config.advertised =
                Endpoint::parse_list(&advertised).map_err(|e| invalid("advertised.listeners", &advertised, e))?;
            let unknown = config.advertised.iter().find(|a| config.listeners.iter().all(|l| l.name != a.name));
            if let Some(unknown) = unknown {
                let reason = format!("{} is not one of the names in listeners={listeners}", unknown.name);
                return Err(invalid("advertised.listeners", &advertised, reason));
            }
        }
        let map = config.get("listener.security.protocol.map").unwrap_or_default();
        let protocols = endpoint::protocols(map).map_err(|e| invalid("listener.security.protocol.map", map, e))?;
        for listener in &config.listeners {
            let protocol = protocols.get(&listener.name).map_or(listener.name.as_str(), String::as_str);
            if protocol != "PLAINTEXT" {
                let reason = match protocol {
                    "SSL" | "SASL_PLAINTEXT" | "SASL_SSL" => {
                        format!("{protocol} is not served yet; use PLAINTEXT://… and protect the port by other means")
                    }
                    name => {
                        format!("no protocol is set for it; add {name}:PLAINTEXT to listener.security.protocol.map")
                    }
                };
                let value = listener.to_string();
                return Err(vec![ConfigError::Refused { key: "listeners".to_owned(), value, reason }]);
            }
        }
        let node = if config.explicit.contains_key("node.id") || !config.explicit.contains_key("broker.id") {
            config.int("node.id")
        } else {
            config.int("broker.id")
        };
        config.node_id = BrokerId(i32::try_from(node).unwrap_or_default().max(0));
        config.rack = config.get("broker.rack").map(str::to_owned);
        config.idle_max = u64::try_from(config.int("connections.max.idle.ms")).ok().map(Duration::from_millis);
        Ok(config)
    }

    /// What was set for a key, in canonical form.
    pub fn explicit(&self, key: &str) -> Option<&str> {
        self.explicit.get(key).map(String::as_str)
    }

    /// The value of a key: what was set, else its default.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.explicit(key).or_else(|| find(key).and_then(|def| def.default))
    }

    /// The value of a numeric key.
    ///
    /// # Panics
    /// Only if the key is not a numeric one of ours with a default: a mistake in the program, not in a file.
    pub fn int(&self, key: &str) -> i64 {
        self.get(key).and_then(|value| value.parse().ok()).expect("the key is numeric and has a default")
    }

    /// The value of a boolean key.
    pub fn is(&self, key: &str) -> bool {
        self.get(key) == Some("true")
    }

    /// The value of a numeric key as a count of something that fits into memory.
    pub fn count(&self, key: &str) -> usize {
        usize::try_from(self.int(key)).unwrap_or(0)
    }

    /// The data directory when no URLs are set: the first of `log.dirs`, else `log.dir`.
    pub fn directory(&self) -> &str {
        let listed = self.get("log.dirs").and_then(|dirs| dirs.split(',').map(str::trim).find(|d| !d.is_empty()));
        listed.or_else(|| self.get("log.dir")).unwrap_or_default()
    }
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self::from_explicit(BTreeMap::new()).expect("the defaults are valid; a test parses them")
    }
}

/// Checks values that contradict each other. `explicit` gives what is set for a key, in canonical form.
///
/// # Errors
/// The first contradiction.
pub(crate) fn check_together<'a>(explicit: impl Fn(&str) -> Option<&'a str>) -> Result<(), Invalid> {
    let value = |key: &str| explicit(key).or_else(|| definition(key).and_then(|def| def.default)).unwrap_or_default();
    let invalid = |key: &str, reason: String| {
        Err(Invalid { key: key.to_owned(), fault: Fault::Value(value(key).to_owned()), reason })
    };
    // Kafka finds this one only when it makes a topic.
    let lag = |key: &str| value(key).parse::<i64>();
    let (min, max) = ("log.cleaner.min.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms");
    if let (Ok(at_least), Ok(at_most)) = (lag(min), lag(max))
        && at_least > at_most
    {
        return invalid(min, format!("Value must be no more than {max} ({at_most}), or no topic could be created"));
    }
    if let (key, Some(0)) = retention_ms(&explicit) {
        let limit = "log.retention.ms must be unlimited (-1) or, greater than or equal to 1";
        return Err(Invalid::required(key, limit));
    }
    let number = |key: &str| value(key).parse::<i64>().unwrap_or(0);
    let (buffer, threads) = ("log.cleaner.dedupe.buffer.size", "log.cleaner.threads");
    if number(buffer) / number(threads).max(1) <= 1 << 20 {
        return Err(Invalid::required(buffer, &format!("{buffer} must be at least 1MB per cleaner thread.")));
    }
    let (per_ip, overrides) = ("max.connections.per.ip", "max.connections.per.ip.overrides");
    if value(per_ip) == "0" && value(overrides).is_empty() {
        let only = format!("{per_ip} can be set to zero only if {overrides} property is set.");
        return Err(Invalid::required(per_ip, &only));
    }
    Ok(())
}

/// The key that says how long records are kept, and for how many milliseconds; `None` is without limit.
fn retention_ms<'a>(explicit: &impl Fn(&str) -> Option<&'a str>) -> (&'static str, Option<i64>) {
    let [ms, minutes, hours] =
        [("log.retention.ms", 1), ("log.retention.minutes", 60_000), ("log.retention.hours", 3_600_000)];
    let (key, unit) = [ms, minutes].into_iter().find(|(key, _)| explicit(key).is_some()).unwrap_or(hours);
    let default = || definition(key).and_then(|def| def.default);
    let number = explicit(key).or_else(default).and_then(|value| value.parse::<i64>().ok());
    (key, number.filter(|number| *number >= 0).map(|number| number.saturating_mul(unit)))
}

/// Checks that the keys of tiered storage, where a change touches them, go together with how much is kept at all. They
/// change nothing here. `before` and `after` give what is set for a key.
///
/// Kafka takes any of them from a file and these only while it runs (`DynamicLogConfig.validateReconfiguration` of 4.4.0,
/// whose 3.9.2 does not look at the lag).
///
/// # Errors
/// The first contradiction.
pub(crate) fn check_tiers<'a>(
    before: impl Fn(&str) -> Option<&'a str>,
    after: impl Fn(&str) -> Option<&'a str>,
) -> Result<(), Invalid> {
    const LIKE_THE_WHOLE: i64 = -2;
    for (local, lag, all_kept) in [
        ("log.local.retention.ms", "log.remote.copy.lag.ms", "log.retention.ms"),
        ("log.local.retention.bytes", "log.remote.copy.lag.bytes", "log.retention.bytes"),
    ] {
        let number = |set: &dyn Fn(&str) -> Option<&'a str>, key: &str| {
            let value = set(key).or_else(|| definition(key).and_then(|def| def.default));
            value.and_then(|value| value.parse::<i64>().ok()).unwrap_or(-1)
        };
        let all = |set: &dyn Fn(&str) -> Option<&'a str>| {
            let whole = match local {
                "log.local.retention.ms" => retention_ms(&set).1.unwrap_or(-1),
                _ => number(set, "log.retention.bytes"),
            };
            (whole, number(set, local), number(set, lag))
        };
        let now = all(&after);
        if now == all(&before) {
            continue;
        }
        let (whole, kept, delay) = now;
        let invalid = |key: &str, number: i64, reason: String| {
            let fault = Fault::Value(number.to_string());
            Err(Invalid::running(key, Invalid { key: key.to_owned(), fault, reason }))
        };
        if whole > -1 && kept != LIKE_THE_WHOLE {
            if kept == -1 {
                return invalid(local, kept, format!("Value must not be -1 as {all_kept} value is set as {whole}."));
            }
            if kept > whole {
                let why = format!("Value must not be more than {all_kept} property value: {whole}");
                return invalid(local, kept, why);
            }
        }
        let kept = if kept == LIKE_THE_WHOLE { whole } else { kept };
        if delay > 0 && kept >= 0 && delay > kept {
            return invalid(lag, delay, format!("Value must not exceed {local} (effective value: {kept})"));
        }
    }
    Ok(())
}

/// The definition of a broker key that we honour.
pub fn find(key: &str) -> Option<&'static ConfigDef> {
    BROKER_KEYS.iter().find(|def| def.name == key)
}

/// The definition of a broker key that is kept and described, whether it does anything here or not.
pub fn definition(key: &str) -> Option<&'static ConfigDef> {
    find(key).or_else(|| INERT_KEYS.iter().find(|def| def.name == key))
}

/// Keys that we or Kafka know, whole.
static NAMES: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    let kept = BROKER_KEYS.iter().chain(INERT_KEYS).map(|def| def.name);
    kept.chain(UNNEEDED_KEYS.iter().copied()).chain(REFUSED_KEYS.iter().map(|(name, _)| *name)).collect()
});

/// How many keys are known.
pub(crate) fn known_count() -> usize {
    NAMES.len()
}

/// Whether we or Kafka know a key by its whole name.
pub(crate) fn is_name(key: &str) -> bool {
    NAMES.contains(key)
}

/// Whether we or Kafka know a key at all.
pub fn is_known(key: &str) -> bool {
    is_name(key) || is_unneeded(key)
}

/// What a key of one listener begins with.
const OF_A_LISTENER: &str = "listener.name.";

/// Whether Kafka knows a key that changes nothing here and is not kept. Keys prefixed for one listener count too.
pub fn is_unneeded(key: &str) -> bool {
    UNNEEDED_KEYS.contains(&key)
        || [OF_A_LISTENER, "rsm.config.", "rlmm.config.", "confluent."].iter().any(|prefix| key.starts_with(prefix))
}

/// Whether a key that is set while the broker runs is kept for what is plugged in: no broker knows it. Those of one listener
/// are none: who sets how it is secured shall not believe that it was done.
pub(crate) fn is_custom(key: &str) -> bool {
    !is_name(key) && !key.starts_with(OF_A_LISTENER)
}

/// Whether a key is known that cannot be set while the broker runs, also one that Kafka 4.4 knows no more and would keep:
/// whoever sets `zookeeper.connect` is told that nothing comes of it.
pub(crate) fn is_fixed(key: &str) -> bool {
    match definition(key) {
        Some(def) => def.update == Update::Restart,
        None => !is_custom(key),
    }
}

/// The known key that looks most like `key`, if any looks like it at all.
pub fn suggest(key: &str) -> Option<&'static str> {
    const NAME_BYTES_MAX: usize = 256;
    // It is like none of them, and finding that out takes long.
    if key.len() > NAME_BYTES_MAX {
        return None;
    }
    let kept = BROKER_KEYS.iter().chain(INERT_KEYS).map(|def| def.name);
    let known = kept.chain(UNNEEDED_KEYS.iter().copied());
    known
        .map(|name| (strsim::jaro_winkler(key, name), name))
        .filter(|(likeness, _)| *likeness >= 0.85)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_broker_knows_is_kept_for_what_is_plugged_in() {
        for key in ["rsm.config.a", "rlmm.config.b", "confluent.c", "anything", ""] {
            assert!(is_custom(key) && !is_fixed(key), "{key}");
        }
        for key in ["listener.name.a.ssl.keystore.location", "node.id", "zookeeper.connect", "log.dirs"] {
            assert!(!is_custom(key) && is_fixed(key), "{key}");
        }
        assert!(!is_custom("log.retention.ms") && !is_fixed("log.retention.ms"));
    }

    #[test]
    fn every_default_passes_its_own_validator() {
        let mut names = base::collections::HashSet::default();
        for def in BROKER_KEYS.iter().chain(INERT_KEYS) {
            if let Some(default) = def.default {
                assert_eq!(def.parse(default).as_deref(), Ok(default), "{}", def.name);
            }
            assert!(names.insert(def.name), "{} is there twice", def.name);
            assert!(!UNNEEDED_KEYS.contains(&def.name), "{} is in both tables", def.name);
        }
        let config = BrokerConfig::default();
        assert_eq!(config.listeners[0].to_string(), "PLAINTEXT://:9092");
        assert_eq!(config.node_id, BrokerId(1));
    }

    #[test]
    fn a_typical_kafka_file_starts_unchanged() {
        let parsed = BrokerConfig::parse([
            ("process.roles", "broker,controller"),
            ("node.id", "7"),
            ("controller.quorum.voters", "7@localhost:9093"),
            ("listeners", "PLAINTEXT://localhost:9092"),
            ("advertised.listeners", "PLAINTEXT://localhost:9092"),
            ("num.network.threads", "3"),
            ("log.dirs", "/var/lib/kafka"),
            ("log.retention.hours", "24"),
            ("socket.send.buffer.bytes", "102400"),
            ("principal.builder.class", ""),
        ])
        .unwrap();
        assert_eq!(parsed.config.node_id, BrokerId(7));
        assert_eq!(parsed.config.directory(), "/var/lib/kafka");
        assert_eq!(
            parsed.unneeded,
            ["controller.quorum.voters", "num.network.threads", "principal.builder.class", "process.roles"]
        );
    }

    #[test]
    fn mistakes_are_all_reported_with_the_way_out() {
        let errors = BrokerConfig::parse([
            ("num.partition", "3"),
            ("num.partitions", "0"),
            ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
        ])
        .unwrap_err();
        let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert!(said.iter().any(|s| s.contains("did you mean num.partitions?")), "{said:?}");
        assert!(said.iter().any(|s| s.contains("Value must be at least 1")), "{said:?}");
        assert!(said.iter().any(|s| s.contains("access control is not served yet")), "{said:?}");
    }

    #[test]
    fn values_that_contradict_each_other_are_refused() {
        let refused = |pairs: &[(&str, &str)]| BrokerConfig::parse(pairs.iter().copied()).unwrap_err()[0].to_string();
        let lag = ("log.cleaner.min.compaction.lag.ms", "10");
        assert!(refused(&[lag, ("log.cleaner.max.compaction.lag.ms", "5")]).contains("no more than log.cleaner.max"));
        let nobody = ("max.connections.per.ip", "0");
        assert!(refused(&[nobody]).contains("only if max.connections.per.ip.overrides"));
        let somebody = ("max.connections.per.ip.overrides", "127.0.0.1:5");
        assert!(BrokerConfig::parse([lag, nobody, somebody]).is_ok());
    }

    #[test]
    fn retention_by_time_is_without_limit_or_not_zero() {
        let parse = |pairs: &[(&str, &str)]| BrokerConfig::parse(pairs.iter().copied()).map(drop);
        for family in ["log.retention.ms", "log.retention.minutes", "log.retention.hours"] {
            assert!(parse(&[(family, "0")]).is_err(), "{family}=0 would delete every topic's records");
            for fine in ["-2", "-1", "1"] {
                assert_eq!(parse(&[(family, fine)]), Ok(()), "{family}={fine}");
            }
        }
        // What another key overrides does no harm.
        assert_eq!(parse(&[("log.retention.hours", "0"), ("log.retention.ms", "5")]), Ok(()));
    }

    #[test]
    fn keys_of_tiers_go_together_with_what_is_kept_where_a_change_touches_them() {
        // Each was asked of Kafka 4.4.0, from its defaults.
        for (pairs, taken) in [
            (&[("log.local.retention.ms", "-1")][..], false),
            (&[("log.local.retention.ms", "604800001")], false),
            (&[("log.local.retention.ms", "604800000")], true),
            (&[("log.local.retention.ms", "-1"), ("log.retention.ms", "-1")], true),
            (&[("log.local.retention.bytes", "-1")], true),
            (&[("log.local.retention.bytes", "5000"), ("log.retention.bytes", "1000")], false),
            (&[("log.remote.copy.lag.ms", "604800001")], false),
            (&[("log.remote.copy.lag.ms", "-1")], true),
            (&[("log.remote.copy.lag.ms", "6"), ("log.local.retention.ms", "5")], false),
            (&[("log.remote.copy.lag.bytes", "6"), ("log.retention.bytes", "5")], false),
            (&[("log.remote.copy.lag.bytes", "6")], true),
        ] {
            let after = |key: &str| pairs.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
            assert_eq!(check_tiers(|_| None, after).is_ok(), taken, "{pairs:?}");
            assert_eq!(check_tiers(after, after), Ok(()), "no change touches them");
        }
    }

    #[test]
    fn a_listener_that_would_need_tls_is_refused_not_served_in_the_clear() {
        let errors = BrokerConfig::parse([("listeners", "SSL://:9093")]).unwrap_err();
        assert!(errors[0].to_string().contains("SSL is not served yet"), "{errors:?}");
        let errors = BrokerConfig::parse([("listeners", "EXTERNAL://:9093")]).unwrap_err();
        assert!(errors[0].to_string().contains("EXTERNAL:PLAINTEXT"), "{errors:?}");
    }
}
