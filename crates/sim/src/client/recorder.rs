//! Where lives write what they do and see.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use base::Uuid;
use judge::{Client, History, Moment, Value, What};
use parking_lot::Mutex;

use crate::deeds::{Deed, Deeds};
use crate::trace::Trace;

/// The history of a run; clones write into the same one.
#[derive(Clone, Debug)]
pub struct Recorder(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    history: Arc<Mutex<History>>,
    trace: Trace,
    next_client: AtomicU32,
    next_value: AtomicU64,
    next_connection: AtomicU64,
    /// Topics whose names are in the history.
    named: Mutex<BTreeSet<Uuid>>,
    complaints: Mutex<Vec<String>>,
    deeds: Deeds,
}

impl Recorder {
    /// Writes into `history`, by the time of `trace`.
    pub fn new(history: Arc<Mutex<History>>, trace: Trace) -> Self {
        Self(Arc::new(Shared {
            history,
            trace,
            next_client: AtomicU32::new(1),
            next_value: AtomicU64::new(1),
            next_connection: AtomicU64::new(1),
            named: Mutex::default(),
            complaints: Mutex::default(),
            deeds: Deeds::default(),
        }))
    }

    /// A new life; `name` is what the trace calls it.
    pub fn life(&self, name: &str) -> Life {
        let client = Client(self.0.next_client.fetch_add(1, Ordering::Relaxed));
        Life { shared: self.0.clone(), client, name: name.into() }
    }

    /// Who acts on no client's behalf, and writes what whoever reads the history must know of the world.
    pub fn onlooker(&self, name: &str) -> Life {
        Life { shared: self.0.clone(), client: Client(0), name: name.into() }
    }

    /// What happened so far.
    pub fn history(&self) -> History {
        self.0.history.lock().clone()
    }

    /// What a broker did that no broker may do, and that no history can hold: answers that are none. Empty, if all is well.
    pub fn complaints(&self) -> Vec<String> {
        self.0.complaints.lock().clone()
    }

    /// What clients got done so far.
    pub fn deeds(&self) -> &Deeds {
        &self.0.deeds
    }
}

/// One life of one client, as it writes about itself.
#[derive(Clone, Debug)]
pub struct Life {
    shared: Arc<Shared>,
    client: Client,
    name: Arc<str>,
}

impl Life {
    /// Time since the run began.
    pub fn now(&self) -> Duration {
        self.shared.trace.now()
    }

    /// What the trace calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number in the history.
    pub fn client(&self) -> Client {
        self.client
    }

    /// A value that nobody has sent.
    pub fn next_value(&self) -> Value {
        Value(self.shared.next_value.fetch_add(1, Ordering::Relaxed))
    }

    /// A number that no connection has had.
    pub fn next_connection(&self) -> u64 {
        self.shared.next_connection.fetch_add(1, Ordering::Relaxed)
    }

    /// A topic has this name: in the history once.
    pub fn named(&self, topic: Uuid, name: &Arc<str>) {
        if self.shared.named.lock().insert(topic) {
            self.event(What::Named { topic: topic.to_string().into(), name: name.clone() });
        }
    }

    /// Something for the history.
    pub fn event(&self, what: What) {
        let mut history = self.shared.history.lock();
        history.push(Moment(self.now().as_micros() as u64), self.client, what);
    }

    /// It got something done.
    pub fn did(&self, deed: Deed) {
        self.shared.deeds.did(deed);
    }

    /// Something for the trace.
    pub fn note(&self, what: impl fmt::Display) {
        self.shared.trace.note(&self.name, what);
    }

    /// A broker did what no broker may do.
    pub fn complain(&self, what: impl fmt::Display) {
        self.note(format_args!("COMPLAINS {what}"));
        self.shared.complaints.lock().push(format!("{}: {what}", self.name));
    }
}
