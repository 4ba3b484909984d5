//! An open file of a process.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base::file::BlockFile;
use bytes::Bytes;
use parking_lot::Mutex;

use super::content::{Content, SECTOR, Settled};
use super::port::{Port, dead};
use crate::faults::Fault;

/// Zeros that are written as one.
static ZEROS: [u8; 1 << 20] = [0; 1 << 20];
/// For how long a write that has failed may land.
const LANDS_FOR: Range<Duration> = Duration::ZERO..Duration::from_secs(5);

/// An open file: a descriptor.
pub(super) struct Block {
    port: Port,
    path: PathBuf,
    id: u64,
    writes: bool,
    range: Range<u64>,
    /// Where writes of this descriptor have failed. The system has told it so, and does not tell it twice.
    failed: Mutex<Vec<Range<u64>>>,
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
        let is_it = |write: &super::content::Write| write.number == self.number && !write.has_failed();
        let settled = self.block.with_content(|content| content.settle(is_it, &disk.0.dice));
        disk.settled(settled, self.block.port.process.name());
    }
}

impl Block {
    pub(super) fn new(port: Port, path: &Path, id: u64, writes: bool, range: Range<u64>) -> Self {
        Self { port, path: path.to_owned(), id, writes, range, failed: Mutex::default() }
    }

    fn with_content<T>(&self, does: impl FnOnce(&mut Content) -> T) -> T {
        does(self.port.disk.0.state.lock().content(self.id))
    }

    /// Where bytes of the range lie in the file.
    fn place(&self, offset: u64, length: usize) -> io::Result<u64> {
        let (place, end) = (self.range.start + offset, self.range.start + offset + length as u64);
        if end > self.range.end || end > self.with_content(|content| content.length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(place)
    }

    /// What had failed long ago lands no more.
    fn expire(&self) {
        let disk = &self.port.disk;
        let now = disk.0.trace.now();
        let settled = self.with_content(|content| content.expire(now, &disk.0.dice));
        disk.settled(Settled { torn: 0, ..settled }, self.path.display());
    }

    /// Reads what has landed by now.
    fn glimpse(&self, buffer: &mut [u8], place: u64) {
        self.expire();
        let disk = &self.port.disk;
        let is_split = self.with_content(|content| {
            let is_split = content.glimpse(place, buffer.len(), &disk.0.dice);
            content.read(buffer, place);
            is_split
        });
        if is_split {
            disk.did(Fault::SplitRead, self.path.display());
        }
    }

    /// Begins a write. It is given up when the answer is dropped before it has ended.
    fn begin(&self, bytes: &Bytes, place: u64) -> UnderWay<'_> {
        self.expire();
        let disk = &self.port.disk;
        let end = place + bytes.len() as u64;
        let is_again = self.failed.lock().iter().any(|range| range.start < end && place < range.end);
        let is_cached = is_again && disk.0.dice.chance(0.7);
        let (number, settled) = {
            let mut state = disk.0.state.lock();
            state.writes_begun += 1;
            let number = state.writes_begun;
            let what = (place, bytes.clone());
            (number, state.content(self.id).begin(number, &self.port.process, what, is_cached, &disk.0.dice))
        };
        disk.settled(Settled { torn: 0, ..settled }, self.path.display());
        UnderWay { block: self, number }
    }

    /// A write fails: what has not landed of it does, or does not, at once or within seconds.
    fn fail(&self, number: u64, range: Range<u64>) -> io::Error {
        let disk = &self.port.disk;
        self.failed.lock().push(range);
        if disk.0.dice.chance(0.5) {
            let until = disk.0.trace.now() + disk.0.dice.time(LANDS_FOR);
            self.with_content(|content| content.fail(number, until));
        } else {
            self.with_content(|content| content.settle(|write| write.number == number, &disk.0.dice));
        }
        self.port.failed(&self.path)
    }

    fn write(&self, bytes: &Bytes, offset: u64) -> io::Result<()> {
        let (port, disk) = (&self.port, &self.port.disk);
        port.alive()?;
        if !self.writes {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let place = self.place(offset, bytes.len())?;
        let under_way = self.begin(bytes, place);
        disk.writing(&port.process, &self.path);
        let time = port.draw_time();
        port.pass(time / 2)?;
        port.pass(time - time / 2)?;
        if port.must_fail(&self.path) {
            return Err(self.fail(under_way.number, place..place + bytes.len() as u64));
        }
        let overtakes = {
            let mut state = disk.0.state.lock();
            if !state.content(self.id).finish(under_way.number) {
                return Err(dead());
            }
            state.contents.values().any(|content| content.has_older(under_way.number, &port.process))
        };
        if overtakes {
            disk.0.faults.did(Fault::ReorderedWrite);
        }
        disk.tell(|observer| observer.written(&port.process, &self.path, place, bytes));
        Ok(())
    }
}

impl BlockFile for Block {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.port.alive()?;
        let place = self.place(offset, buffer.len())?;
        let began = self.port.disk.0.trace.now();
        self.port.fails_read(&self.path, place, buffer.len())?;
        // What is read first was read at another moment than the rest: anywhere, or where it matters most, behind what is
        // under way just now.
        let mut time = self.port.draw_time();
        let dice = &self.port.disk.0.dice;
        let mut cut = dice.index(buffer.len() / SECTOR + 1) * SECTOR;
        let behind = self.port.disk.0.state.lock().content(self.id).end_of_write_within(place, buffer.len());
        if let Some(end) = behind
            && dice.chance(0.7)
        {
            cut = (end - place) as usize;
            time *= 1 + dice.below(4) as u32;
        }
        let (first, rest) = buffer.split_at_mut(cut);
        self.port.pass(time / 2)?;
        self.glimpse(first, place);
        self.port.disk.visited(&self.port.process, &self.path, behind.is_some());
        self.port.pass(time - time / 2)?;
        self.glimpse(rest, place + cut as u64);
        self.port.disk.tell(|observer| observer.read(&self.port.process, &self.path, place, began));
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write(&Bytes::copy_from_slice(bytes), offset)
    }

    fn write_zeros(&self, length: u64, offset: u64) -> io::Result<()> {
        let mut at = 0;
        while at < length {
            let piece = (ZEROS.len() as u64).min(length - at);
            self.write(&Bytes::from_static(&ZEROS[..piece as usize]), offset + at)?;
            at += piece;
        }
        Ok(())
    }
}
