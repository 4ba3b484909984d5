//! The port to files and block devices, for what must survive a crash: logs, and the few small files beside them.
//!
//! A [`Files`] is handed down as [`Clock`](crate::Clock) is. Behind it stands the operating system
//! ([`Files::system`]), or a simulator's disk that tears and forgets what was not synced.
//!
//! All of it blocks. It is called from threads of their own or by [`task::spawn_blocking`](crate::task::spawn_blocking).
//!
//! Invariants:
//! * A write of a [`BlockFile`] that returned is durable. One that failed, or that a crash interrupted, leaves any mix of
//!   old, new and torn sectors in its range, now or later, and nothing outside it.
//! * A name made, renamed, linked or removed is durable after [`sync_directory`](FileSource::sync_directory) of its
//!   directory, and contents only by what says so.
//! * A lock is held until it is dropped or its process has died; who died writes nothing more.
//! * After an error nothing is retried here: the caller decides what it means (I-8).

mod system;

use std::any::Any;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use crate::aligned::AlignedBuffer;

/// A run of bytes that is read and written in whole pages.
pub trait BlockFile: Send + Sync + fmt::Debug {
    /// Fills `buffer` from `offset`, from the device and not from a cache that another host's write would miss. Both are
    /// multiples of the page. Bytes that are not there are an error (`UnexpectedEof`), never zeros.
    ///
    /// # Errors
    /// Whatever the device says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes `bytes` at `offset`; on return they are durable. Both are multiples of the page.
    ///
    /// # Errors
    /// Whatever the device says. After an error any part of the range may hold old, new or torn sectors, now or later.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Writes `length` bytes of zeros at `offset`, as [`write_at`](Self::write_at) does, without a buffer of as many.
    ///
    /// # Errors
    /// Whatever the device says, as there.
    fn write_zeros(&self, length: u64, offset: u64) -> io::Result<()> {
        let zeros = zeros();
        let mut at = 0;
        while at < length {
            let piece = zeros.len().min((length - at) as usize);
            self.write_at(&zeros[..piece], offset + at)?;
            at += piece as u64;
        }
        Ok(())
    }
}

/// How bytes reach the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// `O_DIRECT|O_DSYNC`, or [`Transfer::Buffered`] where the file system refuses it.
    Auto,
    /// Plain writes, each followed by `fdatasync`.
    Buffered,
}

/// What a file or device is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Read,
    /// Reading and writing.
    Write,
    /// Writing, as the only one of this host: `O_EXCL` of a device. For files it is [`Access::Write`].
    WriteAlone,
}

/// What came of asking for a lock.
#[derive(Debug)]
pub enum Locked {
    /// It is held now.
    Held(Lock),
    /// Another has it; who, as far as that is known.
    Taken(Option<String>),
}

/// What a path leads to, in two numbers of its source: the same for two paths that lead to one file, directory or device, and
/// for no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileIdentity(pub u64, pub u64);

/// An exclusive lock, held until it is dropped or the process has died, its last write included.
pub struct Lock(#[allow(dead_code, reason = "held for its drop")] Box<dyn Any + Send + Sync>);

impl Lock {
    /// A lock of the caller's files: whatever is given back when it is dropped.
    pub fn new(held: impl Any + Send + Sync) -> Self {
        Self(Box::new(held))
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lock")
    }
}

/// A source of files.
pub trait FileSource: Send + Sync + fmt::Debug {
    /// Opens bytes `range` of a file or device.
    ///
    /// # Errors
    /// `NotFound`, `ResourceBusy` for a device that another has alone, or whatever the device says.
    fn open(
        &self,
        path: &Path,
        access: Access,
        transfer: Transfer,
        range: Range<u64>,
    ) -> io::Result<Arc<dyn BlockFile>>;

    /// Makes or replaces a file that reads as `length` bytes of zeros, durable in contents, with room on the device for
    /// all of it. At least `zeroed` bytes are written; the answer says how many.
    ///
    /// # Errors
    /// `StorageFull` or `QuotaExceeded` when there is no room: what was made is for the caller to remove.
    fn create_zeroed(&self, path: &Path, length: u64, zeroed: u64, transfer: Transfer) -> io::Result<u64>;

    /// Makes or replaces a small file, durable in contents.
    ///
    /// # Errors
    /// Whatever the device says.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// The whole of a small file.
    ///
    /// # Errors
    /// `NotFound`, `FileTooLarge` beyond `limit` bytes, or whatever the device says.
    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>>;

    /// How many bytes a file or device has.
    ///
    /// # Errors
    /// `NotFound`, or whatever the device says.
    fn length(&self, path: &Path) -> io::Result<u64>;

    /// What a path leads to, through whatever links.
    ///
    /// # Errors
    /// `NotFound`, or whatever the device says.
    fn identity(&self, path: &Path) -> io::Result<FileIdentity>;

    /// Whether a file or directory lies in a file system that is gone with the machine's power, or would if it were made.
    fn is_in_memory(&self, path: &Path) -> bool;

    /// The names in a directory, sorted. Names that are not UTF-8 are none of ours and left out.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory` for a file or device, or whatever the device says.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;

    /// Gives a file another name, replacing what has it.
    ///
    /// # Errors
    /// Whatever the device says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name that is free.
    ///
    /// # Errors
    /// `AlreadyExists`: the name is taken.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file; one that is gone already is no error.
    ///
    /// # Errors
    /// Whatever the device says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory and those above it, each durable in its name. One that is there is no error.
    ///
    /// # Errors
    /// Whatever the device says.
    fn create_directory(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// Whatever the device says. What a later sync answers proves nothing about these names.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;

    /// Locks a file. With a `note` for whoever is refused the file is made where it is missing and holds the note
    /// afterwards; without one it is a device, and is not changed.
    ///
    /// # Errors
    /// Whatever the device says. That another has it is no error.
    fn lock(&self, path: &Path, note: Option<&str>) -> io::Result<Locked>;
}

/// A shared handle on a [`FileSource`].
#[derive(Clone, Debug)]
pub struct Files(Arc<dyn FileSource>);

impl Files {
    /// The operating system's.
    pub fn system() -> Self {
        Self(Arc::new(system::System))
    }

    /// Files of the caller's.
    pub fn from_source(source: Arc<dyn FileSource>) -> Self {
        Self(source)
    }
}

impl std::ops::Deref for Files {
    type Target = dyn FileSource;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

/// Some zeros, at a page boundary, for all who write them: memory that is asked for anew each time would be filled first.
fn zeros() -> &'static [u8] {
    static ZEROS: LazyLock<AlignedBuffer> = LazyLock::new(|| AlignedBuffer::zeroed(64 << 10));
    ZEROS.as_slice()
}

/// Whether an error says "no room now" rather than "broken".
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests;
