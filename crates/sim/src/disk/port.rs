//! The disks as one process reaches them.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base::file::{Access, BlockFile, FileIdentity, FileSource, Lock, Locked, Transfer};
use bytes::Bytes;

use super::content::{Content, SECTOR};
use super::{Disk, parent};
use crate::faults::Fault;
use crate::fiber;
use crate::process::Process;

/// Zeros that are written as one.
static ZEROS: [u8; 1 << 20] = [0; 1 << 20];

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

fn dead() -> io::Error {
    io::Error::other("the process is dead")
}

impl Port {
    /// A call begins, or goes on: this may be the end of its process.
    fn alive(&self) -> io::Result<()> {
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
    fn pass(&self, time: Duration) -> io::Result<()> {
        self.alive()?;
        if fiber::may_wait() && !time.is_zero() {
            base::task::wait(tokio::time::sleep(time));
        }
        self.alive()
    }

    fn draw_time(&self) -> Duration {
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

    fn fails_read(&self, path: &Path) -> io::Result<()> {
        let mut state = self.disk.0.state.lock();
        if state.fails_read.as_ref().is_some_and(|below| path.starts_with(below)) {
            state.fails_read = None;
            drop(state);
            self.disk.did(Fault::ReadError, path.display());
            return Err(io::Error::other("a planned fault: the device cannot read this"));
        }
        Ok(())
    }

    /// Makes a file with these bytes, or replaces one.
    fn put(&self, path: &Path, content: Content) -> io::Result<()> {
        let mut state = self.disk.0.state.lock();
        if !parent(path).is_some_and(|directory| state.directories.contains_key(&directory)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let id = state.new_id();
        state.contents.insert(id, content);
        state.rename_to(self.process.machine(), path, Some(id));
        drop(state);
        self.disk.tell(|observer| observer.named(&self.process, path));
        Ok(())
    }

    fn room(&self, path: &Path) -> io::Result<()> {
        if self.disk.0.state.lock().is_full {
            self.disk.did(Fault::FullDisk, path.display());
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl FileSource for Port {
    fn open(&self, path: &Path, access: Access, _: Transfer, range: Range<u64>) -> io::Result<Arc<dyn BlockFile>> {
        self.takes_time()?;
        let id = self.disk.0.state.lock().file(path)?;
        Ok(Arc::new(Block { port: self.clone(), path: path.to_owned(), id, writes: access != Access::Read, range }))
    }

    fn create_zeroed(&self, path: &Path, length: u64, zeroed: u64, _: Transfer) -> io::Result<u64> {
        self.takes_time()?;
        self.room(path)?;
        self.put(path, Content::zeros(length))?;
        self.takes_time()?;
        Ok(if self.disk.0.dice.chance(0.5) { zeroed.min(length) } else { length })
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.takes_time()?;
        self.room(path)?;
        let mut content = Content::zeros(bytes.len() as u64);
        content.write(bytes, 0);
        self.put(path, content)?;
        self.disk.tell(|observer| observer.written(&self.process, path, 0, bytes));
        self.takes_time()
    }

    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        self.takes_time()?;
        self.fails_read(path)?;
        let state = self.disk.0.state.lock();
        let content = &state.contents[&state.file(path)?];
        if content.length > limit as u64 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
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
        if let Some(id) = state.directories.get(path) {
            return Ok(FileIdentity(1, *id));
        }
        Ok(FileIdentity(0, state.file(path)?))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.takes_time()?;
        self.fails_read(path)?;
        let state = self.disk.0.state.lock();
        if state.files.contains_key(path) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        if !state.directories.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let all = state.files.keys().chain(state.directories.keys());
        let within = all.filter(|name| name.parent() == Some(path));
        let mut names: Vec<String> = within.filter_map(|name| name.file_name()?.to_str().map(str::to_owned)).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.takes_time()?;
        let machine = self.process.machine();
        let mut state = self.disk.0.state.lock();
        let id = state.file(from)?;
        state.rename_to(machine, to, Some(id));
        state.rename_to(machine, from, None);
        drop(state);
        self.disk.tell(|observer| {
            observer.named(&self.process, to);
            observer.removed(&self.process, from);
        });
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.takes_time()?;
        let mut state = self.disk.0.state.lock();
        let id = state.file(from)?;
        if state.files.contains_key(to) || state.directories.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.rename_to(self.process.machine(), to, Some(id));
        drop(state);
        self.disk.tell(|observer| observer.named(&self.process, to));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.takes_time()?;
        let mut state = self.disk.0.state.lock();
        if state.files.contains_key(path) {
            state.rename_to(self.process.machine(), path, None);
            drop(state);
            self.disk.tell(|observer| observer.removed(&self.process, path));
        }
        Ok(())
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.takes_time()?;
        let mut state = self.disk.0.state.lock();
        for directory in path.ancestors() {
            if state.files.contains_key(directory) {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            if !state.directories.contains_key(directory) {
                let id = state.new_id();
                state.directories.insert(directory.to_owned(), id);
            }
        }
        Ok(())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        // What was changed before the call is durable on its return, and may be before.
        self.takes_time()?;
        let mut state = self.disk.0.state.lock();
        if !state.directories.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.unsynced.retain(|change| change.path.parent() != Some(path));
        Ok(())
    }

    fn lock(&self, path: &Path, note: Option<&str>) -> io::Result<Locked> {
        self.takes_time()?;
        let token = {
            let mut state = self.disk.0.state.lock();
            if let Some((_, holder)) = state.locks.get(path) {
                return Ok(Locked::Taken(Some(holder.name().to_owned())));
            }
            let token = state.new_id();
            state.locks.insert(path.to_owned(), (token, self.process.clone()));
            token
        };
        let lock = Held { disk: self.disk.clone(), path: path.to_owned(), token };
        if let Some(note) = note {
            let mut content = Content::zeros(note.len() as u64);
            content.write(note.as_bytes(), 0);
            self.put(path, content)?;
        } else if !self.disk.0.state.lock().files.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
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

/// An open file.
struct Block {
    port: Port,
    path: PathBuf,
    id: u64,
    writes: bool,
    range: Range<u64>,
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {:?}", self.path.display(), self.port)
    }
}

/// A write that may be given up, with its task or its process: it must not land on what is written there later.
struct UnderWay<'a> {
    block: &'a Block,
    number: u64,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let disk = &self.block.port.disk;
        let torn = {
            let mut state = disk.0.state.lock();
            let content = state.contents.get_mut(&self.block.id);
            content.map_or(0, |content| content.settle(|write| write.number == self.number, &disk.0.dice))
        };
        if torn > 0 {
            disk.did(Fault::TornWrite, self.block.port.process.name());
        }
    }
}

impl Block {
    /// Where bytes of the range lie in the file.
    fn place(&self, offset: u64, length: usize) -> io::Result<u64> {
        let state = self.port.disk.0.state.lock();
        let (place, end) = (self.range.start + offset, self.range.start + offset + length as u64);
        if end > self.range.end || end > state.contents[&self.id].length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(place)
    }

    /// Reads what has landed by now.
    fn glimpse(&self, buffer: &mut [u8], place: u64) {
        let disk = &self.port.disk;
        let is_split = {
            let mut state = disk.0.state.lock();
            let Some(content) = state.contents.get_mut(&self.id) else { return };
            let is_split = content.glimpse(place, buffer.len(), &disk.0.dice);
            content.read(buffer, place);
            is_split
        };
        if is_split {
            disk.did(Fault::SplitRead, self.path.display());
        }
    }

    fn write(&self, bytes: Bytes, offset: u64) -> io::Result<()> {
        let (port, disk) = (&self.port, &self.port.disk);
        port.alive()?;
        if !self.writes {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let place = self.place(offset, bytes.len())?;
        let number = {
            let mut state = disk.0.state.lock();
            state.writes_begun += 1;
            let number = state.writes_begun;
            state.contents.get_mut(&self.id).expect("files that are open stay").begin(
                number,
                &port.process,
                place,
                bytes.clone(),
            );
            number
        };
        let _under_way = UnderWay { block: self, number };
        let time = port.draw_time();
        port.pass(time / 2)?;
        port.pass(time - time / 2)?;
        let mut state = disk.0.state.lock();
        if state.fails_write.as_ref().is_some_and(|below| self.path.starts_with(below)) {
            state.fails_write = None;
            let content = state.contents.get_mut(&self.id).expect("files that are open stay");
            content.settle(|write| write.number == number, &disk.0.dice);
            drop(state);
            disk.did(Fault::WriteError, self.path.display());
            disk.tell(|observer| observer.write_failed(&port.process, &self.path));
            return Err(io::Error::other("a planned fault: the device cannot write this"));
        }
        let overtakes = state.contents.values().any(|content| content.has_older(number));
        if !state.contents.get_mut(&self.id).is_some_and(|content| content.finish(number)) {
            return Err(dead());
        }
        drop(state);
        if overtakes {
            disk.0.faults.did(Fault::ReorderedWrite);
        }
        disk.tell(|observer| observer.written(&port.process, &self.path, place, &bytes));
        Ok(())
    }
}

impl BlockFile for Block {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.port.alive()?;
        let place = self.place(offset, buffer.len())?;
        self.port.fails_read(&self.path)?;
        // What is read first was read at another moment than the rest.
        let time = self.port.draw_time();
        let cut = self.port.disk.0.dice.index(buffer.len() / SECTOR + 1) * SECTOR;
        let (first, rest) = buffer.split_at_mut(cut);
        self.port.pass(time / 2)?;
        self.glimpse(first, place);
        self.port.pass(time - time / 2)?;
        self.glimpse(rest, place + cut as u64);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write(Bytes::copy_from_slice(bytes), offset)
    }

    fn write_zeros(&self, length: u64, offset: u64) -> io::Result<()> {
        let mut at = 0;
        while at < length {
            let piece = (ZEROS.len() as u64).min(length - at);
            self.write(Bytes::from_static(&ZEROS[..piece as usize]), offset + at)?;
            at += piece;
        }
        Ok(())
    }
}
