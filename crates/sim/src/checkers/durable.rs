//! Which records were durable when: read off what the disks and the store hold.
//!
//! A value is durable from the moment at which a write that holds it whole has returned, or an object that holds it was
//! made. Values in compressed batches are not seen, and nothing is said of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use judge::Value;
use parking_lot::Mutex;
use stream::wal::block::layout::FENCE_OFFSET;

use crate::client::value;
use crate::process::Process;
use crate::store::{Effect, Observer as StoreObserver};
use crate::trace::Trace;

/// What is known of durable records; clones are the same.
#[derive(Clone)]
pub(super) struct Durable(Arc<Inner>);

struct Inner {
    trace: Trace,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When a value first became durable by the hand of a process, in its log; by the process's name.
    by_process: BTreeMap<(String, Value), Duration>,
    /// When it first became durable by anybody's.
    at_all: BTreeMap<Value, Duration>,
    /// Who made the header of a log.
    headers: BTreeMap<PathBuf, String>,
    /// When a process's log was fenced by another.
    fenced: BTreeMap<String, Duration>,
    /// When a write of a process's log first failed.
    failed: BTreeMap<String, Duration>,
    /// When the last read of its fence page began that has come back: what was durable by then, it may tell of.
    covered: BTreeMap<String, Duration>,
    /// When a read of its fence page first failed, and what was covered by then.
    unread: BTreeMap<String, (Duration, Option<Duration>)>,
}

/// Why a record must not be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Objection {
    /// It is not durable anywhere.
    NotDurable,
    /// It became durable in a log that another had fenced by then, so that the owner must have seen that.
    Fenced {
        /// When it became durable.
        durable: Duration,
        /// When the fence did.
        fenced: Duration,
    },
    /// It became durable in a log of which a write had failed by then.
    Failed {
        /// When it became durable.
        durable: Duration,
        /// When the write failed.
        failed: Duration,
    },
    /// Its owner could not read whether the log was fenced by then, which counts as fenced.
    Unread {
        /// When it became durable.
        durable: Duration,
        /// When the read failed.
        failed: Duration,
    },
    /// Its owner has not looked since whether the log is fenced.
    Unseen {
        /// When it became durable.
        durable: Duration,
        /// When the owner last looked.
        looked: Option<Duration>,
    },
}

fn is_header(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("incarnation-"))
}

fn is_segment(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("segment-"))
}

/// The directory of a log, of which a sync may fail.
fn is_log(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "wal")
}

impl Durable {
    pub(super) fn new(trace: &Trace) -> Self {
        Self(Arc::new(Inner { trace: trace.clone(), state: Mutex::default() }))
    }

    /// What speaks against showing a value to a reader. One that was durable before this process had it may be there twice,
    /// as a producer that does not number its batches repeats them, and it is the other that is shown.
    pub(super) fn objection_to_showing(&self, by: &Process, value: Value) -> Option<Objection> {
        let objection = self.objection(by, value)?;
        let state = self.0.state.lock();
        let own = state.by_process.get(&(by.name().to_owned(), value));
        let is_elsewhere = own.is_some_and(|own| state.at_all.get(&value).is_some_and(|first| first < own));
        (!is_elsewhere).then_some(objection)
    }

    /// What speaks against acknowledging a value.
    pub(super) fn objection(&self, by: &Process, value: Value) -> Option<Objection> {
        let state = self.0.state.lock();
        if !state.at_all.contains_key(&value) {
            return Some(Objection::NotDurable);
        }
        // What others made durable is in the store or in this one's log by recovery; of one's own the log decides.
        let durable = *state.by_process.get(&(by.name().to_owned(), value))?;
        if let Some(fenced) = state.fenced.get(by.name()).copied().filter(|fenced| *fenced < durable) {
            return Some(Objection::Fenced { durable, fenced });
        }
        if let Some(failed) = state.failed.get(by.name()).copied().filter(|failed| *failed < durable) {
            return Some(Objection::Failed { durable, failed });
        }
        let is_uncovered = |covered: Option<Duration>| covered.is_none_or(|covered| covered < durable);
        if let Some((failed, covered)) = state.unread.get(by.name()).copied()
            && is_uncovered(covered)
        {
            return Some(Objection::Unread { durable, failed });
        }
        let looked = state.covered.get(by.name()).copied();
        is_uncovered(looked).then_some(Objection::Unseen { durable, looked })
    }

    /// Whether that is the fence page of a process's own log.
    fn is_own_fence(&self, by: &Process, path: &Path, offset: u64) -> bool {
        offset == FENCE_OFFSET && self.0.state.lock().headers.get(path).is_some_and(|owner| owner == by.name())
    }

    /// Bytes became durable in a file.
    fn made_durable(&self, by: &Process, path: &Path, offset: u64, bytes: &[u8]) {
        let now = self.0.trace.now();
        let mut state = self.0.state.lock();
        let state = &mut *state;
        if is_segment(path) {
            for value in value::find_all(bytes) {
                state.by_process.entry((by.name().to_owned(), value)).or_insert(now);
                state.at_all.entry(value).or_insert(now);
            }
        } else if is_header(path) {
            let owner = state.headers.entry(path.to_owned()).or_insert_with(|| by.name().to_owned());
            let is_fence = offset == FENCE_OFFSET && owner != by.name();
            if is_fence {
                state.fenced.entry(owner.clone()).or_insert(now);
            }
        }
    }
}

impl StoreObserver for Durable {
    fn effect(&self, effect: &Effect<'_>) {
        let Some(bytes) = effect.after.filter(|_| effect.key.contains("/obj/")) else { return };
        let now = self.0.trace.now();
        let mut state = self.0.state.lock();
        for value in value::find_all(bytes) {
            state.at_all.entry(value).or_insert(now);
        }
    }
}

impl crate::disk::Observer for Durable {
    fn written(&self, by: &Process, path: &Path, offset: u64, bytes: &[u8]) {
        self.made_durable(by, path, offset, bytes);
    }

    fn named(&self, by: &Process, path: &Path) {
        if is_header(path) {
            self.0.state.lock().headers.entry(path.to_owned()).or_insert_with(|| by.name().to_owned());
        }
    }

    fn read(&self, by: &Process, path: &Path, offset: u64, began: Duration) {
        if self.is_own_fence(by, path, offset) {
            let covered = &mut self.0.state.lock().covered;
            let last = covered.entry(by.name().to_owned()).or_insert(began);
            *last = began.max(*last);
        }
    }

    fn read_failed(&self, by: &Process, path: &Path, offset: u64) {
        if self.is_own_fence(by, path, offset) {
            let state = &mut *self.0.state.lock();
            let covered = state.covered.get(by.name()).copied();
            state.unread.entry(by.name().to_owned()).or_insert((self.0.trace.now(), covered));
        }
    }

    fn write_failed(&self, by: &Process, path: &Path) {
        if is_header(path) || is_segment(path) || is_log(path) {
            self.0.state.lock().failed.entry(by.name().to_owned()).or_insert(self.0.trace.now());
        }
    }
}
