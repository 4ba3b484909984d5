//! The operating system's files and devices.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Read, Seek, Write};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::{Access, BlockFile, FileIdentity, FileSource, Lock, Locked, Transfer, zeros};

/// Bytes of one write of zeros.
const ZERO_PIECE: u64 = 1 << 20;
/// Bytes of a lock's note that are read.
const NOTE_BYTES_MAX: u64 = 1024;

#[derive(Debug)]
pub(super) struct System;

/// Bytes `[start, start + length)` of a file or device.
#[derive(Debug)]
struct SystemBlock {
    file: File,
    start: u64,
    length: u64,
    sync_after_write: bool,
    path: PathBuf,
}

impl SystemBlock {
    fn check(&self, bytes: usize, offset: u64) -> io::Result<()> {
        if offset.checked_add(bytes as u64).is_none_or(|end| end > self.length) {
            let text = format!("bytes {offset}+{bytes} lie beyond the {} of {}", self.length, self.path.display());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        Ok(())
    }
}

impl BlockFile for SystemBlock {
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

    fn write_zeros(&self, length: u64, offset: u64) -> io::Result<()> {
        self.check(length as usize, offset)?;
        write_zeros(&self.file, length, self.start + offset)?;
        if self.sync_after_write { self.file.sync_data() } else { Ok(()) }
    }
}

/// Writes many zeros with one call, all from the same few.
fn write_zeros(file: &File, length: u64, offset: u64) -> io::Result<()> {
    let zeros = zeros();
    let mut at = 0;
    while at < length {
        let piece = ZERO_PIECE.min(length - at) as usize;
        let last = piece % zeros.len();
        let pieces: Vec<_> = std::iter::repeat_n(zeros, piece / zeros.len())
            .chain((last > 0).then_some(&zeros[..last]))
            .map(IoSlice::new)
            .collect();
        match rustix::io::pwritev(file, &pieces, offset + at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            // A direct write that was cut short at a page boundary is continued.
            Ok(written) => at += written as u64,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Opens with `direct` flags added, or without where the file system refuses them; says whether it took them.
fn open_direct(path: &Path, flags: OFlags, direct: OFlags, mode: Mode, transfer: Transfer) -> io::Result<(File, bool)> {
    let open = |flags| rustix::fs::open(path, flags, mode).map(|file: OwnedFd| File::from(file));
    if transfer == Transfer::Auto {
        match open(flags | direct) {
            Ok(file) => return Ok((file, true)),
            Err(Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok((open(flags)?, false))
}

impl FileSource for System {
    fn open(
        &self,
        path: &Path,
        access: Access,
        transfer: Transfer,
        range: Range<u64>,
    ) -> io::Result<Arc<dyn BlockFile>> {
        let flags = match access {
            Access::Read => OFlags::RDONLY,
            Access::Write => OFlags::RDWR,
            // Without O_CREAT it says nothing of files, and of a device that nobody else of this host may hold it so.
            Access::WriteAlone => OFlags::RDWR | OFlags::EXCL,
        };
        let direct = OFlags::DIRECT | OFlags::DSYNC;
        let (file, synced) = open_direct(path, flags | OFlags::CLOEXEC, direct, Mode::empty(), transfer)?;
        let length = range.end.saturating_sub(range.start);
        Ok(Arc::new(SystemBlock { file, start: range.start, length, sync_after_write: !synced, path: path.to_owned() }))
    }

    fn create_zeroed(&self, path: &Path, length: u64, zeroed: u64, transfer: Transfer) -> io::Result<u64> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let (file, _) = open_direct(path, flags, OFlags::DIRECT, Mode::RUSR | Mode::WUSR, transfer)?;
        // Asking for all the room first meets a full disk before the disk is full. Not every file system can promise it.
        let zeroed = match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, length) {
            Ok(()) => zeroed.min(length),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => length,
            Err(error) => return Err(error.into()),
        };
        write_zeros(&file, zeroed, 0)?;
        file.sync_all()?;
        Ok(zeroed)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > limit {
            let text = format!("{} has more than {limit} bytes", path.display());
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        Ok(bytes)
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        // The metadata of a device has no length.
        File::open(path)?.seek(io::SeekFrom::End(0))
    }

    fn identity(&self, path: &Path) -> io::Result<FileIdentity> {
        let found = fs::metadata(path)?;
        // A device is the same by whichever of its nodes it is reached.
        let is_device = found.file_type().is_block_device();
        Ok(if is_device { FileIdentity(u64::MAX, found.rdev()) } else { FileIdentity(found.dev(), found.ino()) })
    }

    fn is_in_memory(&self, path: &Path) -> bool {
        const TMPFS: u64 = 0x0102_1994;
        const RAMFS: u64 = 0x8584_58f6;
        let is_device = path.metadata().is_ok_and(|found| !found.is_dir() && !found.is_file());
        let found = path.ancestors().find_map(|path| rustix::fs::statfs(path).ok());
        !is_device && found.is_some_and(|found| matches!(found.f_type as u64 & 0xffff_ffff, TMPFS | RAMFS))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let mut made = fs::create_dir(path);
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let (Err(error), Some(parent)) = (&made, parent)
            && error.kind() == io::ErrorKind::NotFound
        {
            self.create_directory(parent)?;
            made = fs::create_dir(path);
        }
        let above = parent.unwrap_or(Path::new("."));
        match made {
            Ok(()) => self.sync_directory(above),
            // Whoever made it may have died before the sync. Where that cannot be done, whoever prepared the directory
            // answers for its name.
            Err(_) if path.is_dir() => File::open(above).map_or(Ok(()), |above| above.sync_all()),
            Err(error) => Err(error),
        }
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn lock(&self, path: &Path, note: Option<&str>) -> io::Result<Locked> {
        let mut file = match note {
            Some(_) => OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?,
            None => OpenOptions::new().read(true).write(true).open(path)?,
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(Locked::Taken(holder(&file, note.is_some()))),
            Err(error) => return Err(error.into()),
        }
        if let Some(note) = note {
            file.set_len(0)?;
            file.write_all(note.as_bytes())?;
        }
        Ok(Locked::Held(Lock::new(file)))
    }
}

/// Who holds a lock: what it noted, or the process that this host knows to hold it.
fn holder(file: &File, noted: bool) -> Option<String> {
    let mut note = String::new();
    if noted && file.take(NOTE_BYTES_MAX).read_to_string(&mut note).is_ok() && !note.trim().is_empty() {
        return Some(note.trim().to_owned());
    }
    let inode = file.metadata().ok()?.ino().to_string();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let held = fields.get(1) == Some(&"FLOCK") && fields.get(5)?.rsplit(':').next() == Some(&inode);
        held.then(|| fields.get(4).map(|process| format!("process {process}"))).flatten()
    })
}
