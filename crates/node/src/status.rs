//! What others may see of a node while it lives: its phase and its metrics.

use std::fmt::Write;
use std::sync::{Arc, OnceLock};

use blob::Store;
use telemetry::Metrics;
use tokio::sync::watch;

/// Where a node is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// It does not serve yet.
    Starting,
    /// It serves.
    Serving,
    /// It finishes what it has begun.
    Draining,
    /// It has ended, for this reason.
    Ended(String),
}

/// A view of one node, made before it starts. Cheap to clone.
#[derive(Clone)]
pub struct Status(Arc<Inner>);

struct Inner {
    metrics: Metrics,
    store: OnceLock<Store>,
    phase: watch::Sender<Phase>,
}

impl Default for Status {
    fn default() -> Self {
        let inner = Inner { metrics: Metrics::new(), store: OnceLock::new(), phase: watch::channel(Phase::Starting).0 };
        Self(Arc::new(inner))
    }
}

impl Status {
    /// Where the node is in its life.
    pub fn phase(&self) -> Phase {
        self.0.phase.borrow().clone()
    }

    /// Tells every change of the phase.
    pub fn phases(&self) -> watch::Receiver<Phase> {
        self.0.phase.subscribe()
    }

    /// The metrics registry and the store's request counters, as one page of OpenMetrics text.
    pub fn page(&self) -> String {
        let mut page = self.0.metrics.render();
        let end = page.trim_end().strip_suffix("# EOF").map_or(page.len(), str::len);
        page.truncate(end);
        if let Some(store) = self.0.store.get() {
            // Writing to a string cannot fail.
            let _ = write_store(&mut page, store);
        }
        page.push_str("# EOF\n");
        page
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(crate) fn store_is(&self, store: &Store) {
        // A status belongs to one node, which opens one store.
        let _ = self.0.store.set(store.clone());
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.0.phase.send_replace(phase);
    }
}

fn write_store(page: &mut String, store: &Store) -> std::fmt::Result {
    page.push_str(
        "# HELP headwater_store_requests Requests to the object store.\n# TYPE headwater_store_requests counter\n",
    );
    let rows = store.counters().rows;
    for row in &rows {
        for outcome in blob::Outcome::ALL {
            let count = row.with_outcome(*outcome);
            if count > 0 {
                let (purpose, operation, outcome) = (row.purpose.label(), row.operation.label(), outcome.label());
                writeln!(
                    page,
                    "headwater_store_requests_total{{purpose=\"{purpose}\",operation=\"{operation}\",outcome=\"{outcome}\"}} {count}"
                )?;
            }
        }
    }
    page.push_str(
        "# HELP headwater_store_bytes Bytes to and from the object store.\n# TYPE headwater_store_bytes counter\n",
    );
    for row in rows.iter().filter(|row| row.bytes > 0) {
        let (purpose, operation) = (row.purpose.label(), row.operation.label());
        writeln!(page, "headwater_store_bytes_total{{purpose=\"{purpose}\",operation=\"{operation}\"}} {}", row.bytes)?;
    }
    Ok(())
}
