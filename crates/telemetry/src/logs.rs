//! Log set-up: text on a terminal, one JSON object a line anywhere else.
//!
//! What libraries say through the `log` crate comes along ([`Libraries`]): a warning once, and without the path that its
//! source had on the machine where this program was built.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::IsTerminal;

use base::collections::HashSet;
use log::{Level, Log, Metadata, Record};
use parking_lot::Mutex;
use tracing::subscriber::set_global_default;
use tracing_log::{AsLog, LogTracer};
use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry};

/// Warnings of libraries that are remembered; past it they are forgotten, and each may be said once more.
const SAID_MAX: usize = 1_000;

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line, for log collectors.
    Json,
}

impl Format {
    /// Text when standard error is a terminal, JSON otherwise.
    pub fn for_stderr() -> Self {
        if std::io::stderr().is_terminal() { Self::Text } else { Self::Json }
    }
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The filter does not parse.
    #[error("log filter {filter:?} is not valid: {source}; write for example `info` or `warn,broker=debug`")]
    Filter {
        /// What was given.
        filter: String,
        /// Where it went wrong.
        source: ParseError,
    },
    /// The filter names a span or its fields.
    #[error(
        "log filter {filter:?} is not valid: it may choose targets and levels only; write for example `info` or `warn,broker=debug`"
    )]
    Span {
        /// What was given.
        filter: String,
    },
    /// Another subscriber is in place.
    #[error("logging is already set up in this process")]
    Twice,
}

/// Sends every event that passes `filter` to standard error; standard output stays free for what a command answers.
///
/// # Errors
/// When `filter` does not parse, or when logging was set up before.
pub fn init(format: Format, filter: &str) -> Result<(), InitError> {
    // It would parse, and choose nothing.
    if filter.contains(['[', '{']) {
        return Err(InitError::Span { filter: filter.to_owned() });
    }
    let targets: Targets = filter.parse().map_err(|source| InitError::Filter { filter: filter.to_owned(), source })?;
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let level = Layer::<Registry>::max_level_hint(&targets).unwrap_or(LevelFilter::TRACE);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    // A line that cannot be written is lost. To say so on standard error, as is the default, panics where that is what
    // is gone, in whoever had something to say.
    let lines = lines.log_internal_errors(false);
    match format {
        Format::Text => {
            let lines = lines.with_ansi(colour && std::io::stderr().is_terminal());
            set_global_default(Registry::default().with(targets).with(lines))
        }
        Format::Json => set_global_default(Registry::default().with(targets).with(lines.json().flatten_event(true))),
    }
    .map_err(|_| InitError::Twice)?;
    log::set_boxed_logger(Box::new(Libraries::default())).map_err(|_| InitError::Twice)?;
    log::set_max_level(level.as_log());
    Ok(())
}

/// What libraries say that do not know `tracing`. Some warn at every request, as where a credential is looked for in
/// many places and found in the last.
#[derive(Default)]
struct Libraries {
    events: LogTracer,
    said: Mutex<HashSet<u64>>,
}

impl Libraries {
    fn is_new(&self, record: &Record) -> bool {
        let mut hasher = DefaultHasher::new();
        (record.level(), record.target(), record.args().to_string()).hash(&mut hasher);
        let mut said = self.said.lock();
        if said.len() >= SAID_MAX {
            said.clear();
        }
        said.insert(hasher.finish())
    }
}

impl Log for Libraries {
    fn enabled(&self, metadata: &Metadata) -> bool {
        self.events.enabled(metadata)
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) || (record.level() <= Level::Warn && !self.is_new(record)) {
            return;
        }
        let mut builder = Record::builder();
        builder.args(*record.args()).metadata(record.metadata().clone());
        self.events.log(&builder.build());
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_library_warns_once_and_without_paths_of_the_build_machine() {
        let lines = Lines::default();
        let writer = lines.clone();
        let events = tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || writer.clone()).finish();
        log::set_max_level(log::LevelFilter::Trace);
        let libraries = Libraries::default();
        let say = |level, text: &str| {
            let mut record = Record::builder();
            record.level(level).target("lib::part").module_path(Some("lib::part"));
            record.file(Some("/home/builder/lib.rs")).line(Some(7));
            libraries.log(&record.args(format_args!("{text}")).build());
        };
        tracing::subscriber::with_default(events, || {
            for text in ["no credential", "no credential", "no route", "no credential"] {
                say(Level::Warn, text);
            }
            say(Level::Info, "hello");
            say(Level::Info, "hello");
        });
        let said = String::from_utf8(lines.0.lock().clone()).unwrap();
        assert_eq!(said.matches("no credential").count(), 1, "{said}");
        assert_eq!((said.matches("no route").count(), said.matches("hello").count()), (1, 2), "{said}");
        assert!(said.contains("lib::part") && !said.contains("builder"), "{said}");
    }

    #[test]
    fn a_filter_that_does_not_parse_is_named_in_the_error() {
        let error = init(Format::Text, "broker=loud=er").unwrap_err();
        assert!(error.to_string().contains("broker=loud=er"), "{error}");
        let error = init(Format::Text, "info,broker[request]=debug").unwrap_err();
        assert!(error.to_string().contains("broker[request]") && error.to_string().contains("targets"), "{error}");
    }
}
