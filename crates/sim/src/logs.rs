//! What brokers log goes into the trace.

use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

use crate::trace;

/// What this thread logs up to `level` goes into the trace of the world that it runs, until the guard is dropped.
pub fn into_trace(level: LevelFilter) -> DefaultGuard {
    tracing::subscriber::set_default(tracing_subscriber::registry().with(IntoTrace.with_filter(level)))
}

struct IntoTrace;

impl<S: Subscriber> Layer<S> for IntoTrace {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        let level = match *event.metadata().level() {
            Level::ERROR => "ERROR",
            Level::WARN => "WARN",
            _ => "log",
        };
        trace::note_of_running(format_args!("{level} {}", line.0));
    }
}

/// The message, and what stands beside it.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
