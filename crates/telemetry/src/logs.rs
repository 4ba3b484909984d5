//! Log set-up: text on a terminal, one JSON object a line anywhere else.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

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
    /// Another subscriber is in place.
    #[error("logging is already set up in this process: {0}")]
    Twice(#[from] TryInitError),
}

/// Sends every event that passes `filter` to standard error; standard output stays free for what a command answers.
///
/// # Errors
/// When `filter` does not parse, or when logging was set up before.
pub fn init(format: Format, filter: &str) -> Result<(), InitError> {
    let env = EnvFilter::try_new(filter).map_err(|source| InitError::Filter { filter: filter.to_owned(), source })?;
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = tracing_subscriber::fmt().with_env_filter(env).with_writer(std::io::stderr);
    match format {
        Format::Text => lines.with_ansi(colour && std::io::stderr().is_terminal()).finish().try_init()?,
        Format::Json => lines.json().flatten_event(true).finish().try_init()?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_does_not_parse_is_named_in_the_error() {
        let error = init(Format::Text, "broker=loud=er").unwrap_err();
        assert!(error.to_string().contains("broker=loud=er"), "{error}");
    }
}
