//! Where configuration comes from, in rising precedence: file, environment, `--override`, flags.

mod environment;
mod properties;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use broker::config::{BrokerConfig, Parsed};

use self::properties::Property;
use crate::cli::ServerOptions;

/// The configuration in force.
#[derive(Debug)]
pub struct Settings {
    /// The broker's own.
    pub broker: BrokerConfig,
    /// Keys that Kafka knows and that change nothing here.
    pub unneeded: Vec<String>,
    /// What the operator should know and need not act upon.
    pub warnings: Vec<String>,
    /// URL of the store.
    pub store: String,
    /// Directory or device of the write-ahead log.
    pub wal: PathBuf,
    /// The directory that says which broker of which cluster keeps its files here.
    pub directory: PathBuf,
    /// Address of the HTTP listener.
    pub http: Option<String>,
}

/// Reads every source, the process's environment among them. To be called before the process has threads that look into
/// the environment.
///
/// # Errors
/// Says which key of which source is wrong and how to mend it.
pub fn of_process(options: &ServerOptions) -> anyhow::Result<Settings> {
    let settings = load(options, std::env::vars_os())?;
    // SAFETY: the runtime is not started yet, and the allocator's thread has no business with the environment.
    unsafe { environment::remove_what_is_not_text() };
    Ok(settings)
}

fn load(options: &ServerOptions, environment: impl Iterator<Item = (OsString, OsString)>) -> anyhow::Result<Settings> {
    let mut pairs: Vec<(String, String, String)> = Vec::new();
    if let Some(path) = &options.config {
        pairs.extend(read_file(path)?);
    }
    let environment::Found { pairs: of_environment, warnings } = environment::read(environment)?;
    pairs.extend(of_environment);
    for text in &options.overrides {
        let Some((key, value)) = text.split_once('=') else {
            bail!("--override {text}: write it as KEY=VALUE");
        };
        pairs.push((key.trim().to_owned(), value.to_owned(), format!("--override {key}")));
    }
    let mut flag = |key: &str, value: Option<String>, name: &str| {
        if let Some(value) = value {
            pairs.push((key.to_owned(), value, name.to_owned()));
        }
    };
    flag("store.url", options.store.clone(), "--store");
    flag("wal.url", options.wal.clone(), "--wal");
    let listen =
        options.listen.as_ref().map(|l| if l.contains("://") { l.clone() } else { format!("PLAINTEXT://{l}") });
    flag("listeners", listen, "--listen");
    let http = options.http.as_ref().map(|h| if h == "off" { String::new() } else { h.clone() });
    let http_off = http.as_ref().is_some_and(String::is_empty);
    flag("http.listen", http.filter(|h| !h.is_empty()), "--http");

    let Parsed { config, unneeded } = BrokerConfig::parse(pairs.iter().map(|(k, v, _)| (k, v))).map_err(|errors| {
        let lines: Vec<String> = errors
            .iter()
            .map(|error| {
                let source = pairs.iter().rev().find(|(k, ..)| k == error.key()).map(|(.., source)| source.as_str());
                source.map_or_else(|| error.to_string(), |source| format!("{source}: {error}"))
            })
            .collect();
        anyhow::anyhow!("the configuration cannot be used\n  {}", lines.join("\n  "))
    })?;

    let directory = PathBuf::from(config.directory());
    let absolute = std::path::absolute(&directory).with_context(|| format!("{} has no path", directory.display()))?;
    let store = match config.get("store.url") {
        Some(url) if url.contains("://") => url.to_owned(),
        Some(path) => directory_url(Path::new(path))?,
        None => directory_url(&absolute.join("store"))?,
    };
    let wal = match config.get("wal.url") {
        Some(url) => {
            let path = url.strip_prefix("file://").unwrap_or(url);
            // Metadata remembers the place: it must mean the same from every working directory.
            std::path::absolute(path).with_context(|| format!("{path} has no absolute path"))?
        }
        None => absolute.join("wal"),
    };
    if let Some(url) = config.get("wal.url").filter(|url| url.contains("://") && !url.starts_with("file://")) {
        bail!("--wal {url}: the write-ahead log needs a local directory or a block device; give its path");
    }
    let http = config.get("http.listen").filter(|h| !h.is_empty() && !http_off).map(str::to_owned);
    Ok(Settings { broker: config, unneeded, warnings, store, wal, directory: absolute, http })
}

fn directory_url(path: &Path) -> anyhow::Result<String> {
    let absolute = std::path::absolute(path)?;
    let text = absolute.to_str().with_context(|| format!("{} is not UTF-8", absolute.display()))?;
    Ok(format!("file://{text}"))
}

/// The file's keys, with the lines on which they stand.
fn read_file(path: &Path) -> anyhow::Result<Vec<(String, String, String)>> {
    let file = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let properties = properties::parse(&file).with_context(|| format!("{} cannot be used", path.display()))?;
    let located = properties.into_iter().map(|Property { line, key, value }| {
        let source = format!("{}:{line}", path.display());
        (key, value, source)
    });
    Ok(located.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> ServerOptions {
        ServerOptions {
            config: None,
            store: None,
            wal: None,
            listen: None,
            http: None,
            overrides: Vec::new(),
            log: String::new(),
        }
    }

    fn env(pairs: &[(&str, &str)]) -> impl Iterator<Item = (OsString, OsString)> {
        pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn later_sources_win() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("server.properties");
        std::fs::write(
            &file,
            "# comment\nnum.partitions 3\nlog.retention.hours:5\nlisteners=PLAINTEXT\\://\\\n  \\:9000\n",
        )
        .unwrap();
        let mut given = options();
        given.config = Some(file);
        given.overrides = vec!["num.partitions=7".into()];
        given.listen = Some("127.0.0.1:9100".into());
        let settings = load(&given, env(&[("KAFKA_NUM_PARTITIONS", "5"), ("KAFKA_LOG_RETENTION_HOURS", "6")])).unwrap();
        assert_eq!(settings.broker.int("num.partitions"), 7);
        assert_eq!(settings.broker.int("log.retention.hours"), 6);
        assert_eq!(settings.broker.listeners[0].to_string(), "PLAINTEXT://127.0.0.1:9100");
    }

    #[test]
    fn a_mistake_names_its_source_and_the_likely_key() {
        let mut given = options();
        given.overrides = vec!["num.partition=7".into()];
        let error = load(&given, env(&[])).unwrap_err().to_string();
        assert!(error.contains("--override num.partition") && error.contains("num.partitions"), "{error}");
    }

    #[test]
    fn an_unknown_variable_is_a_mistake_only_if_it_can_be_nobody_elses() {
        let settings = load(&options(), env(&[("KAFKA_BROKERS", "a:9092"), ("KAFKA_VERSION", "4.4.0")])).unwrap();
        assert_eq!(settings.warnings.len(), 1, "{:?}", settings.warnings);
        let error = load(&options(), env(&[("HEADWATER_BROKERS", "a:9092")])).unwrap_err().to_string();
        assert!(error.contains("environment variable HEADWATER_BROKERS: unknown configuration key brokers"), "{error}");
    }

    #[test]
    fn store_and_log_default_to_one_directory() {
        let mut given = options();
        given.overrides = vec!["log.dirs=/data/hw".into()];
        let settings = load(&given, env(&[])).unwrap();
        assert_eq!(
            (settings.store.as_str(), settings.wal.as_path()),
            ("file:///data/hw/store", Path::new("/data/hw/wal"))
        );
    }
}
