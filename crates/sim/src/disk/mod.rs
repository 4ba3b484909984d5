//! Disks: files that tear, forget and fail.
//!
//! All processes of the world see one tree of paths, as if each machine's disk were attached to the other. A write takes
//! its time; until it returns each of its sectors holds what was or what is to be, and nothing makes them agree. When its
//! process dies meanwhile that is decided once, sector by sector, and a sector may be torn. One that fails may land for
//! seconds afterwards; what is written to its place by the same descriptor then may return and never reach the device.
//! Names are seen at once and durable when their directory was synced: a machine that loses power forgets others.
//!
//! Invariants:
//! * What a call returned as durable stays, whatever happens; but for what one of its descriptor had failed to before.
//! * A sector that was read as new stays new.
//! * Who is dead writes nothing more; its locks are free once what it had in flight has landed.

mod block;
mod content;
mod names;
mod plan;
mod port;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base::file::Files;
use parking_lot::Mutex;

use crate::dice::Dice;
use crate::faults::{Fault, Faults};
use crate::process::Process;
use crate::trace::Trace;

use content::{Content, Settled};
use names::Names;
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

    /// Bytes of a file from `offset` on were read, by a call that had begun at that time of the trace.
    fn read(&self, by: &Process, path: &Path, offset: u64, began: Duration) {
        let _ = (by, path, offset, began);
    }

    /// A read of a file from `offset` on failed, or one of a directory.
    fn read_failed(&self, by: &Process, path: &Path, offset: u64) {
        let _ = (by, path, offset);
    }

    /// There was no room for a file.
    fn had_no_room(&self, by: &Process, path: &Path) {
        let _ = (by, path);
    }

    /// A lock was asked for that another held.
    fn found_locked(&self, by: &Process, path: &Path) {
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

/// Kills a process, or does something else to it.
type Kill = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct State {
    plan: DiskPlan,
    names: Names,
    contents: BTreeMap<u64, Content>,
    ids_given: u64,
    writes_begun: u64,
    locks: BTreeMap<PathBuf, (u64, Process)>,
    crashes: Vec<(Process, u64, Kill)>,
    /// The next write or sync, sync of a directory, or read below fails.
    fails_write: Option<PathBuf>,
    fails_sync: Option<PathBuf>,
    /// What happens when another than that process reads there.
    visits: Option<(PathBuf, Process, Kill)>,
    /// What happens when that process next has a write of a segment there under way.
    writes: Option<(PathBuf, Process, Kill)>,
    fails_read: Option<BadRead>,
    is_full: bool,
}

/// A read that will fail, and those of the same file that fail after it.
#[derive(Clone, Debug)]
pub struct BadRead {
    below: PathBuf,
    after: u64,
    /// Shorter ones pass.
    longer_than: usize,
    lasts: Duration,
    /// The file and when it can be read again, once it has failed.
    met: Option<(PathBuf, Duration)>,
}

impl BadRead {
    /// The next read at or below `path` fails, and no other.
    pub fn next(path: impl Into<PathBuf>) -> Self {
        Self { below: path.into(), after: 0, longer_than: 0, lasts: Duration::ZERO, met: None }
    }

    /// So many pass before.
    #[must_use]
    pub fn after(self, reads: u64) -> Self {
        Self { after: reads, ..self }
    }

    /// Reads of so many bytes or fewer pass, and do not count.
    #[must_use]
    pub fn longer_than(self, bytes: usize) -> Self {
        Self { longer_than: bytes, ..self }
    }

    /// For so long no other read of that file passes either.
    #[must_use]
    pub fn lasting(self, time: Duration) -> Self {
        Self { lasts: time, ..self }
    }

    /// Whether a read of so many bytes fails at that time, and whether any may after it.
    fn strikes(&mut self, path: &Path, bytes: usize, now: Duration) -> (bool, bool) {
        match &self.met {
            Some((_, until)) if *until <= now => (false, false),
            Some((file, _)) => (file == path, true),
            None if !path.starts_with(&self.below) || bytes <= self.longer_than => (false, true),
            None if self.after > 0 => {
                self.after -= 1;
                (false, true)
            }
            None => {
                self.met = Some((path.to_owned(), now + self.lasts));
                (true, !self.lasts.is_zero())
            }
        }
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "disks with {} files", self.0.state.lock().names.files.len())
    }
}

impl Disk {
    /// Empty disks without faults.
    pub fn new(dice: Dice, faults: Faults, trace: Trace) -> Self {
        let mut state = State::default();
        state.names.directories.insert(PathBuf::from("/"), 0);
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
        self.0.state.lock().crashes.retain(|(other, ..)| !other.is(process));
    }

    /// No planned fault waits any more for whom it meets, and there is room.
    pub fn mend(&self) {
        let mut state = self.0.state.lock();
        (state.fails_write, state.fails_sync, state.fails_read) = (None, None, None);
        (state.visits, state.writes) = (None, None);
        state.is_full = false;
    }

    /// The next write or sync at or below `path` fails, and leaves any mix of old and new, now or later.
    pub fn fail_write(&self, path: impl Into<PathBuf>) {
        self.0.state.lock().fails_write = Some(path.into());
    }

    /// The next sync of a directory at or below `path` fails, and none after it by the same process proves anything about
    /// its names.
    pub fn fail_sync(&self, path: impl Into<PathBuf>) {
        self.0.state.lock().fails_sync = Some(path.into());
    }

    /// A read will fail.
    pub fn fail_read(&self, read: BadRead) {
        self.0.state.lock().fails_read = Some(read);
    }

    /// As soon as `by` has a write of a segment below `path` under way, this happens.
    pub fn when_writing(&self, path: impl Into<PathBuf>, by: &Process, then: Kill) {
        self.0.state.lock().writes = Some((path.into(), by.clone(), then));
    }

    /// Nothing happens amid a write any more.
    pub fn spare_writes(&self) {
        self.0.state.lock().writes = None;
    }

    fn writing(&self, by: &Process, path: &Path) {
        let is_it =
            |(below, of, _): &mut (PathBuf, Process, Kill)| is_segment(path) && path.starts_with(&*below) && of.is(by);
        let then = self.0.state.lock().writes.take_if(is_it);
        if let Some((.., then)) = then {
            then();
        }
    }

    /// The first to read a segment below `path` that is not `of`, its owner, causes this in the middle of its read: of what the
    /// owner has under way there, or of anything where it has nothing under way.
    pub fn when_visited(&self, path: impl Into<PathBuf>, of: &Process, then: Kill) {
        self.0.state.lock().visits = Some((path.into(), of.clone(), then));
    }

    fn visited(&self, by: &Process, path: &Path, meets_write: bool) {
        let then = {
            let state = &mut *self.0.state.lock();
            let contents = &state.contents;
            state.visits.take_if(|(below, of, _)| {
                let is_there = is_segment(path) && path.starts_with(&*below) && !of.is(by);
                is_there && (meets_write || !contents.values().any(|content| content.awaits(of)))
            })
        };
        if let Some((.., then)) = then {
            then();
        }
    }

    /// Whether there is room for new files.
    pub fn set_full(&self, is_full: bool) {
        self.0.state.lock().is_full = is_full;
    }

    /// A bit turns over.
    pub fn flip(&self, path: &Path, offset: u64) {
        let mut state = self.0.state.lock();
        let Some(id) = state.names.files.get(path).copied() else { return };
        if let Some(content) = state.contents.get_mut(&id) {
            let mut byte = [0];
            content.read(&mut byte, offset);
            content.write(&[byte[0] ^ 1], offset);
        }
    }

    /// What a process that has died had in flight lands as it may, and its locks are free.
    pub fn process_died(&self, process: &Process) {
        let mut state = self.0.state.lock();
        let (mut all, mut lost) = (Settled::default(), 0);
        for content in state.contents.values_mut() {
            let settled = content.settle(|write| write.process.is(process), &self.0.dice);
            (all.torn, all.late) = (all.torn + settled.torn, all.late + settled.late);
            lost += content.forget(process, &self.0.dice);
        }
        state.locks.retain(|_, (_, holder)| !holder.is(process));
        state.crashes.retain(|(other, ..)| !other.is(process));
        drop(state);
        self.settled(all, process.name());
        if lost > 0 {
            // Who writes again after a failure deserves it, and others do not: no fault that must occur.
            self.0.trace.note(process.name(), format_args!("had {lost} sectors written again that are lost"));
        }
    }

    /// A machine forgets changes of names that were not synced.
    pub fn power_loss(&self, machine: u32) {
        let lost = self.0.state.lock().names.lose(machine, &self.0.dice);
        for path in lost {
            self.did(Fault::LostName, path.display());
        }
    }

    /// Tells what came of writes that ended otherwise than by returning.
    fn settled(&self, settled: Settled, what: impl fmt::Display) {
        (0..settled.torn).for_each(|_| self.did(Fault::TornWrite, &what));
        (0..settled.late).for_each(|_| self.did(Fault::LateWrite, &what));
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

    fn content(&mut self, id: u64) -> &mut Content {
        self.contents.get_mut(&id).expect("files stay")
    }

    /// Changes what names in one directory lead to.
    fn rename_to(&mut self, machine: u32, names: Vec<(PathBuf, Option<u64>)>) {
        let directory = names.first().and_then(|(name, _)| parent(name)).unwrap_or_default();
        self.names.change(machine, &directory, names);
    }

    fn file(&self, path: &Path) -> io::Result<u64> {
        if self.names.directories.contains_key(path) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        self.names.files.get(path).copied().ok_or_else(|| self.missing(path).into())
    }

    /// Why there is nothing of that name.
    fn missing(&self, path: &Path) -> io::ErrorKind {
        let is_below_file = path.ancestors().any(|above| self.names.files.contains_key(above));
        if is_below_file { io::ErrorKind::NotADirectory } else { io::ErrorKind::NotFound }
    }

    /// The file of that name, made anew: empty, and the same one if it was there.
    fn make(&mut self, machine: u32, path: &Path) -> io::Result<u64> {
        let found = self.file(path);
        match found {
            Ok(id) => {
                self.content(id).replace(0);
                Ok(id)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if !parent(path).is_some_and(|directory| self.names.directories.contains_key(&directory)) {
                    return Err(error);
                }
                let id = self.new_id();
                self.contents.insert(id, Content::default());
                self.rename_to(machine, vec![(path.to_owned(), Some(id))]);
                Ok(id)
            }
            Err(error) => Err(error),
        }
    }
}

/// Takes a planned fault that waits for a path at or below its own.
fn strikes(planned: &mut Option<PathBuf>, path: &Path) -> bool {
    planned.take_if(|below| path.starts_with(below)).is_some()
}

/// Whether a file is a segment of a log.
fn is_segment(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("segment-"))
}

fn parent(path: &Path) -> Option<PathBuf> {
    path.parent().map(Path::to_owned)
}
