//! A block file over a real file or device.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use base::aligned::AlignedBuffer;
use rustix::fs::{FlockOperation, Mode, OFlags};

use super::layout::PAGE;
use super::volume::BlockFile;

/// How bytes reach the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// `O_DIRECT|O_DSYNC`, or [`Transfer::Buffered`] where the file system refuses it.
    Auto,
    /// Plain writes, each followed by `fdatasync`.
    Buffered,
}

/// Bytes `[start, start + length)` of a file or device; the whole of it for a file of the directory.
#[derive(Debug)]
pub struct FileBlock {
    file: File,
    start: u64,
    length: u64,
    sync_after_write: bool,
    path: PathBuf,
}

impl FileBlock {
    /// Opens `[start, start + length)` of `path`, for reading alone unless `writable`.
    pub fn open(path: &Path, writable: bool, transfer: Transfer, start: u64, length: u64) -> io::Result<Self> {
        let access = if writable { OFlags::RDWR } else { OFlags::RDONLY };
        let flags = access | OFlags::CLOEXEC;
        let open = |flags| rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from);
        let direct = match transfer {
            Transfer::Buffered => None,
            Transfer::Auto => match open(flags | OFlags::DIRECT | OFlags::DSYNC) {
                Ok(file) => Some(file),
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => None,
                Err(error) => return Err(error),
            },
        };
        let sync_after_write = direct.is_none();
        let file: OwnedFd = match direct {
            Some(file) => file,
            None => open(flags)?,
        };
        Ok(Self { file: file.into(), start, length, sync_after_write, path: path.to_owned() })
    }

    fn check(&self, bytes: usize, offset: u64) -> io::Result<()> {
        if offset.checked_add(bytes as u64).is_none_or(|end| end > self.length) {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("bytes {offset}+{bytes} lie beyond the {} of {}", self.length, self.path.display()),
            ));
        }
        Ok(())
    }
}

impl BlockFile for FileBlock {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.check(buffer.len(), offset)?;
        self.file.read_exact_at(buffer, self.start + offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.check(bytes.len(), offset)?;
        // A direct write that was cut short at a page boundary is continued: nothing of it is lost or repeated.
        self.file.write_all_at(bytes, self.start + offset)?;
        if self.sync_after_write { self.file.sync_data() } else { Ok(()) }
    }
}

/// Bytes of one write of zeros.
pub const ZERO_PIECE: usize = 1 << 20;

/// Makes the file `path`, which reads as `length` bytes of zeros, durable in contents; the caller makes its name durable.
/// Where the file system can promise room without writing, only the first `zeroed` bytes are written. Returns how many were.
pub fn create_zeroed(path: &Path, length: u64, zeroed: u64, transfer: Transfer) -> io::Result<u64> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let open = |flags| rustix::fs::open(path, flags, mode).map_err(io::Error::from);
    let fd = match transfer {
        Transfer::Auto => match open(flags | OFlags::DIRECT) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => open(flags)?,
            other => other?,
        },
        Transfer::Buffered => open(flags)?,
    };
    // Asking for all the room first meets a full disk before the disk is full. Not every file system can promise it.
    let zeroed = match rustix::fs::fallocate(&fd, rustix::fs::FallocateFlags::empty(), 0, length) {
        Ok(()) => zeroed.min(length),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => length,
        Err(error) => return Err(error.into()),
    };
    let file = File::from(fd);
    let zeros = AlignedBuffer::zeroed(ZERO_PIECE.min(length as usize).next_multiple_of(PAGE));
    let mut at = 0;
    while at < zeroed {
        let piece = zeros.len().min((zeroed - at) as usize);
        file.write_all_at(&zeros.as_slice()[..piece], at)?;
        at += piece as u64;
    }
    file.sync_all()?;
    Ok(zeroed)
}

/// Makes the names in a directory durable.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// An exclusive lock on a file, held until it is dropped or the process has died, its last write included.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "held for its drop")] File);

/// Locks `file`; `None` when another open file holds it.
pub fn lock(file: File) -> io::Result<Option<Lock>> {
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(Lock(file))),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
