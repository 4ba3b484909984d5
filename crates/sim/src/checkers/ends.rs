//! How brokers end, and what becomes of their logs: each end is explained by what befell that very process.
//!
//! A node that ends by itself says so by its [`End`], and for each kind of end there are few things that can bring a right
//! node to it: an order, another process in its place, a disk that failed it. What is decided here is decided on types, and
//! where a node hands on no more than words (a failed engine) on what befell it alone. A log that is called damaged is
//! explained by nothing: no disk of the world loses what it has taken.

mod explained;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use blob::Operation;
use meta::format::EntryKind;
use node::{End, Order};
use parking_lot::Mutex;
use stream::catalogue::IncarnationPhase;

use super::{Entry, Findings, FollowsMetadata};
use crate::faults::Fault;
use crate::process::Process;

const NAME: &str = "ends";
const ENDS: &str = "ends: processes that ended by themselves";
pub(super) const LOOKS: &[&str] = &[ENDS];

/// What can befall a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// It was told to drain.
    ToldToDrain,
    /// It was told to stop.
    ToldToStop,
    /// Another process has taken the metadata log's office since this one did, or since it started.
    Replaced,
    /// A task of it panicked at a planted place.
    Panic,
    /// A call of its disk failed as planned.
    DiskError,
    /// There was no room for its files.
    FullDisk,
    /// Another process held what it wanted to lock.
    Locked,
    /// The store failed a request of it, or did not answer in time.
    Store,
    /// It stood still: when it went on, whatever it had waited for was late.
    Pause,
    /// What it read of the metadata log was damaged on its way.
    DamagedMetadata,
}

/// What befell processes, by their names; clones are the same.
#[derive(Clone)]
pub struct Ends {
    findings: Findings,
    befell: Arc<Mutex<BTreeMap<String, BTreeSet<Cause>>>>,
}

impl Ends {
    pub(super) fn new(findings: &Findings) -> Self {
        Self { findings: findings.clone(), befell: Arc::default() }
    }

    /// A process starts.
    pub fn started(&self, process: &Process) {
        self.befell.lock().insert(process.name().to_owned(), BTreeSet::new());
    }

    /// Something befell it.
    pub fn befell(&self, process: &Process, cause: Cause) {
        if let Some(causes) = self.befell.lock().get_mut(process.name()) {
            causes.insert(cause);
        }
    }

    /// It was given an order that it had not been given before.
    pub fn told(&self, process: &Process, order: Order) {
        match order {
            Order::Serve => {}
            Order::Drain => self.befell(process, Cause::ToldToDrain),
            Order::Stop => self.befell(process, Cause::ToldToStop),
        }
    }

    /// It has ended by itself.
    pub fn ended(&self, process: &Process, end: &End) {
        self.findings.looked(ENDS);
        let befell = self.befell.lock().remove(process.name()).unwrap_or_default();
        if !explained::by(end).iter().any(|cause| befell.contains(cause)) {
            let end = Whole(end);
            let words =
                format_args!("{process:?} ended, and nothing that it met explains that: {end} (it met {befell:?})");
            self.findings.add(NAME, words);
        }
    }

    /// It has died, and is asked no more.
    pub fn died(&self, process: &Process) {
        self.befell.lock().remove(process.name());
    }
}

/// An error with all that it came from.
struct Whole<'a>(&'a dyn std::error::Error);

impl fmt::Display for Whole<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0, f)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl FollowsMetadata for Ends {
    fn entry(&self, entry: &Entry<'_>) {
        if entry.header.kind == EntryKind::Claim {
            for (name, causes) in &mut *self.befell.lock() {
                if name == entry.process.name() {
                    causes.remove(&Cause::Replaced);
                } else {
                    causes.insert(Cause::Replaced);
                }
            }
        }
        let before = &entry.before.catalogue;
        for (id, state) in entry.after.catalogue.incarnations() {
            let is_new = before.incarnation(id).is_none_or(|before| before.phase != state.phase);
            if let IncarnationPhase::Damaged { reason } = &state.phase
                && is_new
            {
                let (sequence, by) = (entry.header.sequence, entry.process);
                let words =
                    format_args!("entry {sequence} by {by:?} calls the log {id} damaged, and it is whole: {reason}");
                self.findings.add(NAME, words);
            }
        }
    }
}

impl crate::disk::Observer for Ends {
    fn write_failed(&self, by: &Process, _: &Path) {
        self.befell(by, Cause::DiskError);
    }

    fn read_failed(&self, by: &Process, _: &Path, _: u64) {
        self.befell(by, Cause::DiskError);
    }

    fn had_no_room(&self, by: &Process, _: &Path) {
        self.befell(by, Cause::FullDisk);
    }

    fn found_locked(&self, by: &Process, _: &Path) {
        self.befell(by, Cause::Locked);
    }
}

impl crate::store::Observer for Ends {
    fn failed(&self, by: &Process, _: Operation, key: &str, fault: Fault) {
        match fault {
            Fault::DamagedRead if key.starts_with("meta/") => self.befell(by, Cause::DamagedMetadata),
            // Whoever reads compares checksums, and reads again.
            Fault::DamagedRead => {}
            _ => self.befell(by, Cause::Store),
        }
    }
}
