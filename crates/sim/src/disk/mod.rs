//! Disks: files that tear, forget and fail.
//!
//! All processes of the world see one tree of paths, as if each machine's disk were attached to the other. A write takes
//! its time; until it returns each of its sectors holds what was or what is to be, and nothing makes them agree. When its
//! process dies meanwhile that is decided once, sector by sector, and a sector may be torn. Names are seen at once and
//! durable when their directory was synced: a machine that loses power forgets the last of the others.
//!
//! Invariants:
//! * What a call returned as durable stays, whatever happens.
//! * A sector that was read as new stays new.
//! * Who is dead writes nothing more; its locks are free once what it had in flight has landed.

mod content;
mod plan;
mod port;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::file::Files;
use parking_lot::Mutex;

use crate::dice::Dice;
use crate::faults::{Fault, Faults};
use crate::process::Process;
use crate::trace::Trace;

use content::Content;
pub use plan::DiskPlan;

/// Who is told of what disks do, as they do it.
pub trait Observer: Send + Sync {
    /// Bytes of a file became durable.
    fn written(&self, by: &Process, path: &Path, offset: u64, bytes: &[u8]) {
        let _ = (by, path, offset, bytes);
    }

    /// A file got this name.
    fn named(&self, by: &Process, path: &Path) {
        let _ = (by, path);
    }

    /// A file lost its name.
    fn removed(&self, by: &Process, path: &Path) {
        let _ = (by, path);
    }

    /// A write failed.
    fn write_failed(&self, by: &Process, path: &Path) {
        let _ = (by, path);
    }
}

/// The disks; clones are the same.
#[derive(Clone)]
pub struct Disk(Arc<Inner>);

struct Inner {
    dice: Dice,
    faults: Faults,
    trace: Trace,
    observers: Mutex<Arc<Vec<Arc<dyn Observer>>>>,
    state: Mutex<State>,
}

/// Kills a process.
type Kill = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct State {
    plan: DiskPlan,
    /// What lies where.
    files: BTreeMap<PathBuf, u64>,
    directories: BTreeMap<PathBuf, u64>,
    contents: BTreeMap<u64, Content>,
    ids_given: u64,
    writes_begun: u64,
    /// Changes of names that are not durable, oldest first.
    unsynced: Vec<NameChange>,
    locks: BTreeMap<PathBuf, (u64, Process)>,
    crashes: Vec<(Process, u64, Kill)>,
    /// The next write, or read, of a file below fails.
    fails_write: Option<PathBuf>,
    fails_read: Option<PathBuf>,
    is_full: bool,
}

/// What takes a change of names back.
#[derive(Debug)]
struct NameChange {
    machine: u32,
    path: PathBuf,
    /// What the name led to before.
    before: Option<u64>,
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "disks with {} files", self.0.state.lock().files.len())
    }
}

impl Disk {
    /// Empty disks without faults.
    pub fn new(dice: Dice, faults: Faults, trace: Trace) -> Self {
        let mut state = State::default();
        state.directories.insert(PathBuf::from("/"), 0);
        state.ids_given = 1;
        Self(Arc::new(Inner { dice, faults, trace, observers: Mutex::default(), state: Mutex::new(state) }))
    }

    /// Changes the plan from now on.
    pub fn set_plan(&self, plan: DiskPlan) {
        self.0.state.lock().plan = plan;
    }

    /// Tells this one, too, from now on.
    pub fn observe(&self, observer: Arc<dyn Observer>) {
        Arc::make_mut(&mut self.0.observers.lock()).push(observer);
    }

    /// The disks as a process reaches them.
    pub fn files(&self, process: &Process) -> Files {
        Files::from_source(Arc::new(port::Port { disk: self.clone(), process: process.clone() }))
    }

    /// The process dies in one of its next calls, `calls` of them at most, at its beginning or amid it.
    pub fn crash_within(&self, process: &Process, calls: u64, kill: Kill) {
        self.0.state.lock().crashes.push((process.clone(), calls, kill));
    }

    /// Takes that back.
    pub fn spare(&self, process: &Process) {
        let mut state = self.0.state.lock();
        state.crashes.retain(|(other, ..)| !other.is(process));
        (state.fails_write, state.fails_read) = (None, None);
    }

    /// The next write of a file below `path` fails, and leaves any mix of old and new.
    pub fn fail_write(&self, path: impl Into<PathBuf>) {
        self.0.state.lock().fails_write = Some(path.into());
    }

    /// The next read of a file below `path` fails.
    pub fn fail_read(&self, path: impl Into<PathBuf>) {
        self.0.state.lock().fails_read = Some(path.into());
    }

    /// Whether there is room for new files.
    pub fn set_full(&self, is_full: bool) {
        self.0.state.lock().is_full = is_full;
    }

    /// A bit turns over.
    pub fn flip(&self, path: &Path, offset: u64) {
        let mut state = self.0.state.lock();
        let Some(id) = state.files.get(path).copied() else { return };
        if let Some(content) = state.contents.get_mut(&id) {
            let mut byte = [0];
            content.read(&mut byte, offset);
            content.write(&[byte[0] ^ 1], offset);
        }
    }

    /// What a process that has died had in flight lands as it may, and its locks are free.
    pub fn process_died(&self, process: &Process) {
        let mut state = self.0.state.lock();
        let mut torn = 0;
        for content in state.contents.values_mut() {
            torn += content.settle(|write| write.process.is(process), &self.0.dice);
        }
        state.locks.retain(|_, (_, holder)| !holder.is(process));
        state.crashes.retain(|(other, ..)| !other.is(process));
        drop(state);
        for _ in 0..torn {
            self.did(Fault::TornWrite, process.name());
        }
    }

    /// A machine forgets its last changes of names, in each directory those after some moment.
    pub fn power_loss(&self, machine: u32) {
        let mut state = self.0.state.lock();
        let (own, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut state.unsynced).into_iter().partition(|change| change.machine == machine);
        state.unsynced = others;
        let directories: BTreeSet<PathBuf> = own.iter().filter_map(|change| parent(&change.path)).collect();
        let mut lost = Vec::new();
        for directory in directories {
            let changes: Vec<&NameChange> =
                own.iter().filter(|change| parent(&change.path).as_ref() == Some(&directory)).collect();
            let kept = self.0.dice.index(changes.len() + 1);
            for change in changes[kept..].iter().rev() {
                match change.before {
                    Some(id) => state.files.insert(change.path.clone(), id),
                    None => state.files.remove(&change.path),
                };
                lost.push(change.path.display().to_string());
            }
        }
        drop(state);
        for path in lost {
            self.did(Fault::LostName, path);
        }
    }

    fn did(&self, fault: Fault, what: impl fmt::Display) {
        self.0.faults.did(fault);
        self.0.trace.note("disk", format_args!("{}: {what}", fault.label()));
    }

    /// Outside of all locks.
    fn tell(&self, what: impl Fn(&dyn Observer)) {
        let observers = self.0.observers.lock().clone();
        observers.iter().for_each(|observer| what(&**observer));
    }
}

impl State {
    fn new_id(&mut self) -> u64 {
        self.ids_given += 1;
        self.ids_given
    }

    /// Changes what a name leads to.
    fn rename_to(&mut self, machine: u32, path: &Path, to: Option<u64>) {
        let before = match to {
            Some(id) => self.files.insert(path.to_owned(), id),
            None => self.files.remove(path),
        };
        self.unsynced.push(NameChange { machine, path: path.to_owned(), before });
    }

    fn file(&self, path: &Path) -> io::Result<u64> {
        if self.directories.contains_key(path) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        self.files.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn parent(path: &Path) -> Option<PathBuf> {
    path.parent().map(Path::to_owned)
}
