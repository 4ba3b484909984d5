//! Configuration from environment variables.
//!
//! `KAFKA_NUM_PARTITIONS` is `num.partitions`, as for Kafka's own image (`KafkaDockerWrapper`): `_` stands for `.`, `__`
//! for `_`, `___` for `-`. Other programs have variables that begin with `KAFKA_` too, so one that names no key is only
//! warned of; `HEADWATER_` is ours alone, and a name that is not known is a mistake.

use std::ffi::{OsStr, OsString};

use anyhow::{anyhow, bail};
use broker::config::{is_known, suggest};

/// What the environment says.
#[derive(Debug, Default)]
pub struct Found {
    /// Key, value and variable.
    pub pairs: Vec<(String, String, String)>,
    /// What an operator should know and need not act upon.
    pub warnings: Vec<String>,
}

/// `KAFKA_…` variables that Kafka's scripts and image read and that set no key.
const KAFKA_ONLY: &[&str] = &[
    "CLUSTER_ID",
    "DEBUG",
    "DEBUG_SUSPEND_FLAG",
    "DIR",
    "GC_LOG_OPTS",
    "HEAP_OPTS",
    "HOME",
    "JMX_HOSTNAME",
    "JMX_OPTS",
    "JMX_PORT",
    "JVM_PERFORMANCE_OPTS",
    "LOG4J_CMD_OPTS",
    "LOG4J_LOGGERS",
    "LOG4J_OPTS",
    "LOG4J_ROOT_LOGLEVEL",
    "MODE",
    "OPTS",
    "TOOLS_LOG4J_LOGLEVEL",
    "VERSION",
];

/// `HEADWATER_…` variables that are read elsewhere.
const HEADWATER_ONLY: &[&str] = &["BIN", "BOOTSTRAP", "CACHE", "LOG"];

/// Looks through the environment.
///
/// # Errors
/// When a variable that is a key of ours is not text. An unknown `HEADWATER_` variable is taken for a key: whoever reads
/// the keys says what is wrong with it.
pub fn read(variables: impl Iterator<Item = (OsString, OsString)>) -> anyhow::Result<Found> {
    let mut found = Found::default();
    for (name, value) in variables {
        let name = name.to_string_lossy();
        let (rest, ours) = match (name.strip_prefix("KAFKA_"), name.strip_prefix("HEADWATER_")) {
            (Some(rest), _) => (rest, false),
            (None, Some(rest)) => (rest, true),
            (None, None) => continue,
        };
        let elsewhere = if ours { HEADWATER_ONLY } else { KAFKA_ONLY };
        if rest.is_empty() || elsewhere.contains(&rest) || is_service_link(rest, &value) {
            continue;
        }
        let key = key(rest);
        if !ours && !is_known(&key) {
            let hint = suggest(&key).map(|name| format!("; did you mean {name}?")).unwrap_or_default();
            found.warnings.push(format!("environment variable {name} sets nothing: there is no key {key}{hint}"));
            continue;
        }
        let variable = format!("environment variable {name}");
        if name.contains(char::REPLACEMENT_CHARACTER) {
            bail!("{variable}: its name is not UTF-8; unset it");
        }
        let value = value.into_string().map_err(|_| anyhow!("{variable}: its value is not UTF-8; set {key} anew"))?;
        found.pairs.push((key, value, variable));
    }
    Ok(found)
}

fn key(rest: &str) -> String {
    rest.to_lowercase().replace('_', ".").replace("...", "-").replace("..", "_")
}

/// Whether Kubernetes set it, to say where a service is that is called `kafka` or `headwater`.
fn is_service_link(rest: &str, value: &OsStr) -> bool {
    let address = value.to_string_lossy().contains("://");
    address && (rest.starts_with("PORT") || rest.contains("_PORT"))
        || rest.contains("SERVICE_HOST")
        || rest.contains("SERVICE_PORT")
        || ["_TCP_ADDR", "_TCP_PROTO", "_TCP_PORT"].iter().any(|end| rest.ends_with(end))
}

/// Takes variables that are not UTF-8 out of this process's environment: libraries that look for credentials there read
/// all of it as text, and panic.
///
/// # Safety
/// No other thread may read or write the environment meanwhile.
pub unsafe fn remove_what_is_not_text() {
    for (name, value) in std::env::vars_os() {
        if name.to_str().is_none() || value.to_str().is_none() {
            // SAFETY: the caller's promise.
            unsafe { std::env::remove_var(name) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn read_pairs(pairs: &[(&str, &[u8])]) -> anyhow::Result<Found> {
        let os = |text: &[u8]| OsString::from_vec(text.to_vec());
        read(pairs.iter().map(|(name, value)| (os(name.as_bytes()), os(value))))
    }

    #[test]
    fn names_are_translated_as_by_kafkas_image() {
        // From KafkaDockerWrapperTest.
        for (name, expected) in
            [("ABC", "abc"), ("ABC_DEF", "abc.def"), ("ABC__DEF", "abc_def"), ("ABC___DEF", "abc-def")]
        {
            assert_eq!(key(name), expected);
        }
        assert_eq!(key("A_B__C___D____E"), "a.b_c-d-.e");
    }

    #[test]
    fn variables_of_kafkas_image_and_of_kubernetes_are_not_configuration() {
        let mut names: Vec<String> = KAFKA_ONLY.iter().map(|name| format!("KAFKA_{name}")).collect();
        names.extend(
            ["KAFKA_SERVICE_HOST", "KAFKA_UI_SERVICE_PORT_HTTP", "KAFKA_PORT_9092_TCP_ADDR"].map(str::to_owned),
        );
        names.extend(["HEADWATER_LOG", "HEADWATER_SERVICE_PORT", "PATH", "KAFKA", "KAFKA_"].map(str::to_owned));
        let mut pairs: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"INFO\xff"[..])).collect();
        pairs.push(("KAFKA_PORT", b"tcp://10.0.0.1:9092"));
        let found = read_pairs(&pairs).unwrap();
        assert!(found.pairs.is_empty() && found.warnings.is_empty(), "{found:?}");
    }

    #[test]
    fn a_variable_of_another_program_is_warned_of_with_the_likely_key() {
        let found = read_pairs(&[("KAFKA_BROKERS", b"a:9092"), ("KAFKA_NUM_PARTITION", b"3\xff")]).unwrap();
        assert!(found.pairs.is_empty());
        assert!(found.warnings[0].contains("KAFKA_BROKERS sets nothing"), "{found:?}");
        assert!(found.warnings[1].contains("did you mean num.partitions?"), "{found:?}");
        let found = read_pairs(&[("HEADWATER_NUM_PARTITION", b"3")]).unwrap();
        assert_eq!(found.pairs[0].0, "num.partition", "ours alone: the reader of the keys refuses it");
    }

    #[test]
    fn a_variable_of_ours_that_is_not_text_is_named() {
        for name in ["KAFKA_BROKER_RACK", "HEADWATER_BROKER_RACK"] {
            let error = read_pairs(&[(name, b"Z\xfcrich")]).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("not UTF-8"), "{error}");
        }
        let names = [(OsString::from_vec(b"HEADWATER_R\xff".to_vec()), OsString::new())];
        assert!(read(names.into_iter()).unwrap_err().to_string().contains("its name is not UTF-8"));
        assert!(read_pairs(&[("OTHER", b"\xff")]).unwrap().pairs.is_empty());
    }
}
