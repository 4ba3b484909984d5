//! What must be true while a run goes on, looked at from outside: one file for each invariant.
//!
//! A checker sees what the store and the disks did, and what brokers were asked and answered; never what a broker thinks.
//! It knows what must hold, not how brokers make it hold.

mod durable;
mod ends;
mod i1;
mod i2;
mod i3;
mod i4;
mod i5;
mod i6;
mod i7;
mod i8;
mod i9;
mod kafka;
mod metadata;
mod snapshots;
mod tap;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base::collections::HashMap;
use meta::Image;
use meta::format::Header;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::counts::Counts;
use crate::disk::Disk;
use crate::net::Net;
use crate::process::Process;
use crate::store::{Effect, ObjectStore, Observer};
use crate::trace::Trace;

pub use ends::{Cause, Ends};
pub use i6::watched as watched_creates;
pub use kafka::judge_history;
pub use metadata::View;

/// Most findings of one checker in a run: what goes wrong once goes wrong often, and must not hide what others see.
const FINDINGS_MAX: usize = 8;

/// What checkers look at: one that has looked at nothing says nothing. What the judge looks at, it counts itself.
pub fn looks() -> impl Iterator<Item = &'static str> {
    let looks = [
        i1::LOOKS,
        i3::LOOKS,
        i4::LOOKS,
        i5::LOOKS,
        i6::LOOKS,
        i7::LOOKS,
        i8::LOOKS,
        i9::LOOKS,
        ends::LOOKS,
        metadata::LOOKS,
        snapshots::LOOKS,
    ];
    looks.into_iter().flatten().copied()
}

/// Something that must not be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// When it was seen.
    pub at: Duration,
    /// Which checker saw it.
    pub checker: String,
    /// What, in words.
    pub words: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>4}.{:06} {}: {}", self.at.as_secs(), self.at.subsec_micros(), self.checker, self.words)
    }
}

/// What all checkers of a run found; clones are the same.
#[derive(Clone, Debug)]
pub struct Findings {
    trace: Trace,
    found: Arc<Mutex<Vec<Finding>>>,
    looked: Counts<&'static str>,
}

impl Findings {
    /// None yet.
    pub fn new(trace: &Trace) -> Self {
        Self { trace: trace.clone(), found: Arc::default(), looked: Counts::default() }
    }

    /// One more.
    pub fn add(&self, checker: &'static str, words: impl fmt::Display) {
        self.trace.note(checker, format_args!("VIOLATED {words}"));
        let mut found = self.found.lock();
        if found.iter().filter(|finding| finding.checker == checker).count() < FINDINGS_MAX {
            found.push(Finding { at: self.trace.now(), checker: checker.to_owned(), words: words.to_string() });
        }
    }

    /// A checker looked at something, as its `LOOKS` call it.
    pub fn looked(&self, at: &'static str) {
        self.looked.did(at);
    }

    /// How much checkers looked at.
    pub fn looks(&self) -> BTreeMap<&'static str, u64> {
        self.looked.counts()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Finding> {
        self.found.lock().clone()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.found.lock().is_empty()
    }
}

/// An entry of the metadata log that was just made.
pub(crate) struct Entry<'a> {
    /// Who made it.
    pub(crate) process: &'a Process,
    /// Its header.
    pub(crate) header: &'a Header,
    /// What the log said before.
    pub(crate) before: &'a Image,
    /// What it says with it.
    pub(crate) after: &'a Image,
}

/// A checker that follows the metadata log and the store.
pub(crate) trait FollowsMetadata: Send + Sync {
    /// An entry was made.
    fn entry(&self, entry: &Entry<'_>) {
        let _ = entry;
    }

    /// The store did something else, while metadata said `image`.
    fn effect(&self, effect: &Effect<'_>, image: &Image) {
        let _ = (effect, image);
    }
}

/// Wall clocks of processes, by their names: what a grace is measured by.
pub type Clocks = Arc<Mutex<HashMap<String, base::Clock>>>;

/// Has the checker of ends look at what befalls processes.
pub fn look_at_ends(disk: &Disk, store: &ObjectStore, findings: &Findings) -> Ends {
    let ends = Ends::new(findings);
    disk.observe(Arc::new(ends.clone()));
    store.observe(Arc::new(ends.clone()));
    ends
}

/// Has all checkers that look at the store look at this one. What they read there is returned.
pub fn look_at_store(store: &ObjectStore, disk: &Disk, clocks: &Clocks, ends: &Ends, findings: &Findings) -> Arc<View> {
    let followers: Vec<Box<dyn FollowsMetadata>> = vec![
        Box::new(i4::Checker::new(findings)),
        Box::new(i5::Checker::new(findings, store, clocks)),
        Box::new(i7::Checker::new(findings, store)),
        Box::new(ends.clone()),
        Box::new(snapshots::Checker::new(findings)),
    ];
    let view = Arc::new(View::new(findings, followers));
    let observer: Arc<dyn Observer> = view.clone();
    store.observe(observer);
    let says = view.clone();
    let committed = move |log| says.image().catalogue.incarnation(log).map(|log| log.committed);
    disk.observe(Arc::new(i4::Trims::new(findings, committed)));
    view
}

/// Has all checkers that look at what clients are told look at these.
pub fn look_at_answers(net: &Net, disk: &Disk, store: &ObjectStore, trace: &Trace, findings: &Findings) {
    let durable = durable::Durable::new(trace);
    let of = |findings: &Findings| (findings.clone(), durable.clone());
    let listeners: Vec<Arc<dyn tap::Listens>> = vec![
        Arc::new(i1::Checker::new(of(findings))),
        Arc::new(i3::Checker::new(of(findings))),
        Arc::new(i8::Checker::new(of(findings))),
        Arc::new(i9::Checker::new(findings)),
    ];
    store.observe(Arc::new(durable.clone()));
    disk.observe(Arc::new(durable));
    net.observe(Arc::new(tap::Tap::new(listeners)));
}
