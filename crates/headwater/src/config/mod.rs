//! Where configuration comes from, in rising precedence: file, environment, `--override`, flags.

mod environment;
mod properties;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use base::file::Files;
use broker::config::{BrokerConfig, Parsed};
use node::LogPlace;

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
    /// Where the write-ahead log is.
    pub log: LogPlace,
    /// The directory that says which broker of which cluster keeps its files here, if there is one.
    pub home: Option<PathBuf>,
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
    let in_memory = store.starts_with("memory:");
    let log = match config.get("wal.url") {
        Some(url) if url.contains("://") && !url.starts_with("file://") => {
            bail!("--wal {url}: the write-ahead log needs a local directory or a block device; give its path");
        }
        Some(url) => {
            let path = url.strip_prefix("file://").unwrap_or(url);
            // Metadata remembers the place: it must mean the same from every working directory.
            let place = std::path::absolute(path).with_context(|| format!("{path} has no absolute path"))?;
            LogPlace::At(place)
        }
        None if in_memory => LogPlace::Memory,
        None => LogPlace::At(absolute.join("wal")),
    };
    let home = if in_memory { None } else { home(&config, &log, absolute) };
    let http = config.get("http.listen").filter(|h| !h.is_empty() && !http_off).map(str::to_owned);
    Ok(Settings { broker: config, unneeded, warnings, store, log, home, http })
}

/// Where the broker keeps its identity: in the data directory, unless the operator named none and put the log elsewhere.
/// Then in the log's directory, so that nothing is written outside of what was named; a device has no room for it.
fn home(config: &BrokerConfig, log: &LogPlace, data: PathBuf) -> Option<PathBuf> {
    let names_data = config.explicit("log.dirs").is_some() || config.explicit("log.dir").is_some();
    match log {
        LogPlace::At(path) if config.get("wal.url").is_some() && !names_data => {
            (path.is_dir() || !path.exists()).then(|| path.clone())
        }
        _ => Some(data),
    }
}

fn directory_url(path: &Path) -> anyhow::Result<String> {
    let absolute = std::path::absolute(path)?;
    let text = absolute.to_str().with_context(|| format!("{} is not UTF-8", absolute.display()))?;
    Ok(format!("file://{text}"))
}

/// The most that a properties file may have: far more than there are keys.
const FILE_BYTES_MAX: usize = 16 << 20;

/// The file's keys, with the lines on which they stand.
fn read_file(path: &Path) -> anyhow::Result<Vec<(String, String, String)>> {
    let file =
        Files::system().read(path, FILE_BYTES_MAX).with_context(|| format!("{} cannot be read", path.display()))?;
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
        let data = Path::new("/data/hw");
        assert_eq!(settings.store, "file:///data/hw/store");
        assert_eq!((settings.log, settings.home.as_deref()), (LogPlace::At(data.join("wal")), Some(data)));
    }

    #[test]
    fn the_identity_is_kept_in_what_the_operator_named() {
        let dir = tempfile::tempdir().unwrap();
        let device = dir.path().join("device");
        std::fs::write(&device, "").unwrap();
        let home = |store: Option<&str>, wal: Option<&Path>, dirs: Option<&str>| {
            let mut given = options();
            given.store = store.map(str::to_owned);
            given.wal = wal.map(|path| path.display().to_string());
            given.overrides.extend(dirs.map(|dirs| format!("log.dirs={dirs}")));
            load(&given, env(&[])).unwrap().home
        };
        let wal = dir.path().join("wal");
        assert_eq!(home(Some("/s"), Some(&wal), None), Some(wal.clone()), "beside the log");
        assert_eq!(home(Some("/s"), Some(&wal), Some("/data")), Some("/data".into()), "it is named too");
        assert_eq!(home(Some("/s"), Some(&device), None), None, "a device has no room for it");
        assert_eq!(home(Some("memory://"), None, Some("/data")), None, "a new cluster every time");
        assert_eq!(home(None, None, None), Some(std::path::absolute("headwater-data").unwrap()));
    }

    #[test]
    fn a_store_in_memory_has_its_log_there_unless_it_is_named() {
        let log = |wal: Option<&str>| {
            let mut given = options();
            (given.store, given.wal) = (Some("memory://".into()), wal.map(str::to_owned));
            load(&given, env(&[])).unwrap().log
        };
        assert_eq!((log(None), log(Some("/wal"))), (LogPlace::Memory, LogPlace::At("/wal".into())));
    }
}
