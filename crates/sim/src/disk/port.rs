//! The disks as one process reaches them.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base::file::{Access, BlockFile, FileIdentity, FileSource, Lock, Locked, Transfer};

use super::block::Block;
use super::content::SECTOR;
use super::{Disk, strikes};
use crate::faults::Fault;
use crate::fiber;
use crate::process::Process;

#[derive(Clone)]
pub(super) struct Port {
    pub(super) disk: Disk,
    pub(super) process: Process,
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "disks of {:?}", self.process)
    }
}

pub(super) fn dead() -> io::Error {
    io::Error::other("the process is dead")
}

impl Port {
    /// A call begins, or goes on: this may be the end of its process.
    pub(super) fn alive(&self) -> io::Result<()> {
        let mut state = self.disk.0.state.lock();
        let due = state.crashes.iter_mut().position(|(process, calls, _)| {
            *calls = calls.saturating_sub(u64::from(process.is(&self.process)));
            *calls == 0
        });
        if let Some(at) = due {
            let (process, _, kill) = state.crashes.remove(at);
            drop(state);
            if !process.is_dead() {
                self.disk.0.faults.did(Fault::CrashInIo);
                self.disk.0.trace.note(process.name(), "dies in a call of its disk");
                kill();
            }
        }
        if self.process.is_dead() { Err(dead()) } else { Ok(()) }
    }

    /// Takes a part of a call's time.
    pub(super) fn pass(&self, time: Duration) -> io::Result<()> {
        self.alive()?;
        if fiber::may_wait() && !time.is_zero() {
            base::task::wait(tokio::time::sleep(time));
        }
        self.alive()
    }

    pub(super) fn draw_time(&self) -> Duration {
        let plan = self.disk.0.state.lock().plan.clone();
        let dice = &self.disk.0.dice;
        let mut time = dice.time(plan.latency);
        if dice.chance(plan.slow) {
            self.disk.0.faults.did(Fault::SlowDisk);
            time += dice.time(plan.slow_by);
        }
        time
    }

    /// A call that does one thing, at some moment within its time.
    fn takes_time(&self) -> io::Result<()> {
        self.pass(self.draw_time())
    }

    pub(super) fn fails_read(&self, path: &Path, offset: u64, bytes: usize) -> io::Result<()> {
        let now = {
            let time = self.disk.0.trace.now();
            let planned = &mut self.disk.0.state.lock().fails_read;
            let (now, later) = planned.as_mut().map_or((false, false), |planned| planned.strikes(path, bytes, time));
            if !later {
                *planned = None;
            }
            now
        };
        if now {
            self.disk.did(Fault::ReadError, path.display());
            self.disk.tell(|observer| observer.read_failed(&self.process, path, offset));
            return Err(io::Error::other("a planned fault: the device cannot read this"));
        }
        Ok(())
    }

    /// Whether a write or sync fails now, as planned. Whoever asks does what a failure leaves behind, and says so.
    pub(super) fn must_fail(&self, path: &Path) -> bool {
        strikes(&mut self.disk.0.state.lock().fails_write, path)
    }

    /// A write or sync has failed, as planned.
    pub(super) fn failed(&self, path: &Path) -> io::Error {
        self.disk.did(Fault::WriteError, path.display());
        self.disk.tell(|observer| observer.write_failed(&self.process, path));
        io::Error::other("a planned fault: the device cannot write this")
    }

    /// Makes a file, or empties one.
    fn make(&self, path: &Path) -> io::Result<u64> {
        let id = self.disk.0.state.lock().make(self.process.machine(), path)?;
        self.disk.tell(|observer| observer.named(&self.process, path));
        Ok(id)
    }

    fn room(&self, path: &Path) -> io::Result<()> {
        if self.disk.0.state.lock().is_full {
            self.disk.did(Fault::FullDisk, path.display());
            self.disk.tell(|observer| observer.had_no_room(&self.process, path));
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl FileSource for Port {
    fn open(&self, path: &Path, access: Access, _: Transfer, range: Range<u64>) -> io::Result<Arc<dyn BlockFile>> {
        self.takes_time()?;
        let id = self.disk.0.state.lock().file(path)?;
        Ok(Arc::new(Block::new(self.clone(), path, id, access != Access::Read, range)))
    }

    fn create_zeroed(&self, path: &Path, length: u64, zeroed: u64, _: Transfer) -> io::Result<u64> {
        let time = self.draw_time();
        self.pass(time / 2)?;
        let id = self.make(path)?;
        self.room(path)?;
        let so_far = self.disk.0.dice.below(length / SECTOR as u64 + 1) * SECTOR as u64;
        self.disk.0.state.lock().content(id).replace(so_far);
        self.pass(time - time / 2)?;
        if self.must_fail(path) {
            return Err(self.failed(path));
        }
        self.disk.0.state.lock().content(id).replace(length);
        self.alive()?;
        Ok(if self.disk.0.dice.chance(0.5) { zeroed.min(length) } else { length })
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let (time, dice) = (self.draw_time(), &self.disk.0.dice);
        self.pass(time / 2)?;
        let id = self.make(path)?;
        if !bytes.is_empty() {
            self.room(path)?;
        }
        {
            // So far some of it is there, or all of its length.
            let mut state = self.disk.0.state.lock();
            let content = state.content(id);
            let so_far = &bytes[..dice.index(bytes.len() + 1)];
            content.replace(if dice.chance(0.5) { bytes.len() } else { so_far.len() } as u64);
            content.write(so_far, 0);
        }
        self.pass(time - time / 2)?;
        if self.must_fail(path) {
            return Err(self.failed(path));
        }
        {
            let mut state = self.disk.0.state.lock();
            state.content(id).replace(bytes.len() as u64);
            state.content(id).write(bytes, 0);
        }
        self.disk.tell(|observer| observer.written(&self.process, path, 0, bytes));
        self.alive()
    }

    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        self.takes_time()?;
        self.fails_read(path, 0, 1)?;
        let (now, mut state) = (self.disk.0.trace.now(), self.disk.0.state.lock());
        let id = state.file(path)?;
        let content = state.content(id);
        content.expire(now, &self.disk.0.dice);
        if content.length > limit as u64 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        content.glimpse(0, content.length as usize, &self.disk.0.dice);
        let mut bytes = vec![0; content.length as usize];
        content.read(&mut bytes, 0);
        Ok(bytes)
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        self.takes_time()?;
        let state = self.disk.0.state.lock();
        Ok(state.contents[&state.file(path)?].length)
    }

    fn identity(&self, path: &Path) -> io::Result<FileIdentity> {
        self.takes_time()?;
        let state = self.disk.0.state.lock();
        if let Some(id) = state.names.directories.get(path) {
            return Ok(FileIdentity(1, *id));
        }
        Ok(FileIdentity(0, state.file(path)?))
    }

    /// It survives a loss of power.
    fn is_in_memory(&self, _: &Path) -> bool {
        false
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.takes_time()?;
        self.fails_read(path, 0, 1)?;
        let state = self.disk.0.state.lock();
        if !state.names.directories.contains_key(path) {
            return Err(state.missing(path).into());
        }
        let all = state.names.files.keys().chain(state.names.directories.keys());
        let within = all.filter(|name| name.parent() == Some(path));
        let mut names: Vec<String> = within.filter_map(|name| name.file_name()?.to_str().map(str::to_owned)).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.takes_time()?;
        {
            let mut state = self.disk.0.state.lock();
            let id = state.file(from)?;
            state.rename_to(self.process.machine(), vec![(to.to_owned(), Some(id)), (from.to_owned(), None)]);
        }
        self.disk.tell(|observer| {
            observer.named(&self.process, to);
            observer.removed(&self.process, from);
        });
        self.alive()
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.takes_time()?;
        {
            let mut state = self.disk.0.state.lock();
            let id = state.file(from)?;
            if state.names.files.contains_key(to) || state.names.directories.contains_key(to) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.rename_to(self.process.machine(), vec![(to.to_owned(), Some(id))]);
        }
        self.disk.tell(|observer| observer.named(&self.process, to));
        self.alive()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.takes_time()?;
        {
            let mut state = self.disk.0.state.lock();
            if !state.names.files.contains_key(path) {
                return Ok(());
            }
            state.rename_to(self.process.machine(), vec![(path.to_owned(), None)]);
        }
        self.disk.tell(|observer| observer.removed(&self.process, path));
        self.alive()
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.takes_time()?;
        let mut state = self.disk.0.state.lock();
        for directory in path.ancestors() {
            if state.names.files.contains_key(directory) {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            if !state.names.directories.contains_key(directory) {
                let id = state.new_id();
                state.names.directories.insert(directory.to_owned(), id);
            }
        }
        Ok(())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let before = {
            let state = self.disk.0.state.lock();
            if !state.names.directories.contains_key(path) {
                return Err(state.missing(path).into());
            }
            state.names.changes_made()
        };
        self.takes_time()?;
        if strikes(&mut self.disk.0.state.lock().fails_sync, path) || self.must_fail(path) {
            self.disk.0.state.lock().names.doubt(&self.process, path);
            return Err(self.failed(path));
        }
        self.disk.0.state.lock().names.sync(&self.process, path, before);
        self.alive()
    }

    fn lock(&self, path: &Path, note: Option<&str>) -> io::Result<Locked> {
        self.takes_time()?;
        let lock = {
            let mut state = self.disk.0.state.lock();
            match state.file(path) {
                Err(error) if note.is_none() || error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            if let Some((_, holder)) = state.locks.get(path) {
                let is_over = holder.is_dead() && !state.contents.values().any(|content| content.awaits(holder));
                if !is_over {
                    let holder = holder.name().to_owned();
                    drop(state);
                    self.disk.tell(|observer| observer.found_locked(&self.process, path));
                    return Ok(Locked::Taken(Some(holder)));
                }
            }
            let token = state.new_id();
            state.locks.insert(path.to_owned(), (token, self.process.clone()));
            Held { disk: self.disk.clone(), path: path.to_owned(), token }
        };
        if let Some(note) = note {
            let id = self.make(path)?;
            let mut state = self.disk.0.state.lock();
            state.content(id).replace(note.len() as u64);
            state.content(id).write(note.as_bytes(), 0);
        }
        Ok(Locked::Held(Lock::new(lock)))
    }
}

/// A lock that is held.
struct Held {
    disk: Disk,
    path: PathBuf,
    token: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.disk.0.state.lock();
        if state.locks.get(&self.path).is_some_and(|(token, _)| *token == self.token) {
            state.locks.remove(&self.path);
        }
    }
}
