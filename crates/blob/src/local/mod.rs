//! The local-directory store: one file per object, written aside and moved into place.
//!
//! ```text
//! <root>/<key with its slashes as directories>
//! <root>/.headwater/tmp/<process nonce>.lock       flock-ed for as long as its process lives
//! <root>/.headwater/tmp/<process nonce>-<n>.tmp    a file not in place yet
//! ```
//!
//! Invariants: a file under a key is whole and never changes (a put replaces it by rename). An answer means that file,
//! its name and the directories above it are synced. A create is `link(2)`, which fails on a taken name whoever else
//! runs. After a failed directory sync nothing more is written: a later sync that "succeeds" would prove nothing about
//! the names lost.

mod list;
mod scratch;
mod write;

use std::fs::File;
use std::io::{self, IoSlice};
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::{Entropy, task};
use bytes::Bytes;
use rustix::fs::Advice;
use rustix::io::Errno;

use crate::backend::{Backend, BoxFuture, ListPage, ObjectMeta, ReadRange, parts_range};
use crate::error::{CreateOutcome, OpenError, StoreError};
use crate::payload::Payload;
use crate::range::resolve_range;

use scratch::Scratch;
use write::Writer;

/// Objects as files under one directory.
#[derive(Debug)]
pub struct LocalBackend {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    writer: Writer,
}

impl LocalBackend {
    /// Opens the store in `root`, making the directory if need be and removing what dead processes left half-written.
    ///
    /// # Errors
    /// When the directory cannot be made or written.
    pub async fn open(root: PathBuf, entropy: Entropy) -> Result<Self, OpenError> {
        let shown = root.display().to_string();
        let opened = task::spawn_blocking("blob-open", move || -> io::Result<Inner> {
            write::create_dir_all_synced(&root)?;
            let root = root.canonicalize()?;
            let scratch = Scratch::open(&root, &entropy)?;
            Ok(Inner { writer: Writer::new(root.clone(), scratch), root })
        });
        match opened.await {
            Ok(Ok(inner)) => Ok(Self { inner: Arc::new(inner) }),
            Ok(Err(error)) => Err(OpenError::NotWritable { path: shown, reason: error.to_string() }),
            Err(error) => Err(OpenError::NotWritable { path: shown, reason: error.to_string() }),
        }
    }

    /// Runs file-system work on the blocking pool.
    async fn blocking<T: Send + 'static>(
        &self,
        operation: &'static str,
        key: &str,
        work: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = Arc::clone(&self.inner);
        match task::spawn_blocking("blob-local", move || work(&inner)).await {
            Ok(result) => result,
            Err(error) => Err(StoreError::Failed { operation, key: key.to_owned(), reason: error.to_string() }),
        }
    }
}

impl Inner {
    fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    fn get(&self, key: &str, range: &ReadRange) -> Result<Bytes, StoreError> {
        let (file, length) = self.open(key)?;
        let range = resolve_range(key, range, length)?;
        let len = usize::try_from(range.end - range.start).map_err(|_| StoreError::InvalidInput {
            key: key.to_owned(),
            reason: "the range is too large".to_owned(),
        })?;
        self.read(key, &file, range.start, len)
    }

    fn get_parts(&self, key: &str, start: u64, lengths: &[u32]) -> Result<Vec<Bytes>, StoreError> {
        let (file, length) = self.open(key)?;
        let range = resolve_range(key, &ReadRange::Bytes(parts_range(start, lengths)), length)?;
        if lengths.len() > 1 {
            // All of it at once instead of a window after the other. Advice: whether it is taken is the kernel's affair.
            let _ = rustix::fs::fadvise(&file, start, NonZeroU64::new(range.end - range.start), Advice::WillNeed);
        }
        let mut position = start;
        let mut parts = Vec::with_capacity(lengths.len());
        for length in lengths {
            parts.push(self.read(key, &file, position, *length as usize)?);
            position += u64::from(*length);
        }
        Ok(parts)
    }

    /// The object's file and its length.
    fn open(&self, key: &str) -> Result<(File, u64), StoreError> {
        let fail = |error: io::Error| self.read_error("get", key, &error);
        let file = File::open(self.path(key)).map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        if metadata.is_file() { Ok((file, metadata.len())) } else { Err(StoreError::NotFound { key: key.to_owned() }) }
    }

    fn read(&self, key: &str, file: &File, start: u64, len: usize) -> Result<Bytes, StoreError> {
        // The buffer is filled by the kernel straight into fresh memory: no zero-filling, no second copy.
        let mut buffer = Vec::with_capacity(len);
        while buffer.len() < len {
            let position = start + buffer.len() as u64;
            match rustix::io::pread(file, rustix::buffer::spare_capacity(&mut buffer), position) {
                // Somebody cut the file while it was read.
                Ok(0) => {
                    let range = start..start + len as u64;
                    return Err(StoreError::ShortRead { key: key.to_owned(), got: buffer.len() as u64, range });
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(self.read_error("get", key, &error.into())),
            }
        }
        // The allocator may have given more room than was asked for, and pread may have used it.
        buffer.truncate(len);
        Ok(Bytes::from(buffer))
    }

    fn head(&self, key: &str) -> Result<ObjectMeta, StoreError> {
        match self.path(key).metadata() {
            Ok(metadata) if metadata.is_file() => Ok(ObjectMeta { key: key.to_owned(), len: metadata.len() }),
            Ok(_) => Err(StoreError::NotFound { key: key.to_owned() }),
            Err(error) => Err(self.read_error("head", key, &error)),
        }
    }

    /// A missing file is `NotFound` only while the root is there: an unmounted disk must not look like an empty store.
    fn read_error(&self, operation: &'static str, key: &str, error: &io::Error) -> StoreError {
        if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) && self.writer.is_alive() {
            return StoreError::NotFound { key: key.to_owned() };
        }
        io_error(operation, key, &self.root, error)
    }
}

/// Sorts an I/O error by what the caller must do.
fn io_error(operation: &'static str, key: &str, root: &Path, error: &io::Error) -> StoreError {
    let key = key.to_owned();
    let reason = error.to_string();
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOSPC | Errno::DQUOT) => StoreError::Full { key, reason },
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => StoreError::AccessDenied { operation, key, reason },
        Some(Errno::MFILE | Errno::NFILE | Errno::AGAIN | Errno::NOMEM) => {
            StoreError::Unavailable { operation, key, reason }
        }
        Some(Errno::NOENT) => {
            StoreError::NoSuchBucket { reason: format!("{} is gone or was replaced: {reason}", root.display()) }
        }
        Some(Errno::NOTDIR | Errno::ISDIR) => StoreError::InvalidInput {
            key,
            reason: format!("in a directory store a name cannot be both an object and a prefix of others ({reason})"),
        },
        _ => StoreError::Failed { operation, key, reason },
    }
}

/// Bytes that are handed to the kernel before it is waited for: what is on its way to the disk at any time is at most
/// twice this, so that the synced writes of a log on the same disk do not queue behind a whole object.
const PIECE_BYTES: u64 = 1 << 20;
/// Slices of one vectored write.
const SLICES_MAX: usize = 256;

/// Writes `body` to a fresh file and syncs it. Its pages stay in the page cache, clean, for whoever reads the object.
fn write_synced(file: &File, body: &Payload) -> io::Result<()> {
    let (mut written, mut started, mut finished) = (0, 0, 0);
    let mut parts = body.parts().iter().peekable();
    let mut slices = Vec::with_capacity(SLICES_MAX.min(body.parts().len()));
    while parts.peek().is_some() {
        slices.clear();
        let mut bytes = 0;
        while slices.len() < SLICES_MAX
            && bytes < PIECE_BYTES
            && let Some(part) = parts.next()
        {
            bytes += part.len() as u64;
            slices.push(IoSlice::new(part));
        }
        write_all_vectored(file, &mut slices, written)?;
        written += bytes;
        if written - started >= PIECE_BYTES {
            write_back(file, finished..started)?;
            finished = started;
            start_write_back(file, started..written)?;
            started = written;
        }
    }
    file.sync_all()
}

fn write_all_vectored(file: &File, slices: &mut [IoSlice<'_>], mut position: u64) -> io::Result<()> {
    let mut left = slices;
    while !left.is_empty() {
        match rustix::io::pwritev(file, left, position) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                position += count as u64;
                IoSlice::advance_slices(&mut left, count);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Has the kernel begin to write these bytes to the disk. Only a sync makes them durable.
fn start_write_back(file: &File, range: Range<u64>) -> io::Result<()> {
    sync_file_range(file, range, libc::SYNC_FILE_RANGE_WRITE)
}

/// Waits until these bytes were written to the disk.
fn write_back(file: &File, range: Range<u64>) -> io::Result<()> {
    let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    sync_file_range(file, range, flags)
}

fn sync_file_range(file: &File, range: Range<u64>, flags: libc::c_uint) -> io::Result<()> {
    if range.is_empty() {
        return Ok(());
    }
    let bytes = range.end - range.start;
    // SAFETY: takes no pointers; the descriptor is open as long as `file` is borrowed.
    let outcome =
        unsafe { libc::sync_file_range(file.as_raw_fd(), range.start.cast_signed(), bytes.cast_signed(), flags) };
    if outcome == 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        // Only a matter of pace: a file system without it is left to the sync that follows.
        error if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::ESPIPE | libc::EINVAL)) => Ok(()),
        error => Err(error),
    }
}

impl Backend for LocalBackend {
    fn name(&self) -> String {
        format!("file://{}", self.inner.root.display())
    }

    fn is_remote(&self) -> bool {
        false
    }

    fn put<'a>(&'a self, key: &'a str, body: Payload) -> BoxFuture<'a, Result<(), StoreError>> {
        let owned = key.to_owned();
        Box::pin(self.blocking("put", key, move |inner| inner.writer.put(&owned, &body)))
    }

    fn create<'a>(&'a self, key: &'a str, body: Payload) -> BoxFuture<'a, CreateOutcome> {
        let owned = key.to_owned();
        Box::pin(async move {
            match self.blocking("create", key, move |inner| inner.writer.create(&owned, &body)).await {
                Ok(true) => CreateOutcome::Created,
                Ok(false) => CreateOutcome::Exists,
                Err(cause) => CreateOutcome::Unknown(cause),
            }
        })
    }

    fn get<'a>(&'a self, key: &'a str, range: ReadRange) -> BoxFuture<'a, Result<Bytes, StoreError>> {
        let owned = key.to_owned();
        Box::pin(self.blocking("get", key, move |inner| inner.get(&owned, &range)))
    }

    fn get_parts<'a>(
        &'a self,
        key: &'a str,
        start: u64,
        lengths: &'a [u32],
    ) -> BoxFuture<'a, Result<Vec<Bytes>, StoreError>> {
        let (owned, lengths) = (key.to_owned(), lengths.to_vec());
        Box::pin(self.blocking("get", key, move |inner| inner.get_parts(&owned, start, &lengths)))
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<ObjectMeta, StoreError>> {
        let owned = key.to_owned();
        Box::pin(self.blocking("head", key, move |inner| inner.head(&owned)))
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        start_after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<ListPage, StoreError>> {
        let (owned, after) = (prefix.to_owned(), start_after.map(str::to_owned));
        Box::pin(self.blocking("list", prefix, move |inner| {
            if !inner.writer.is_alive() {
                return Err(io_error("list", &owned, &inner.root, &Errno::NOENT.into()));
            }
            list::list(&inner.root, &owned, after.as_deref(), limit)
                .map_err(|error| io_error("list", &owned, &inner.root, &error))
        }))
    }

    fn delete_batch<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), StoreError>> {
        let owned = keys.to_vec();
        Box::pin(self.blocking("delete", "(batch)", move |inner| inner.writer.delete(&owned)))
    }
}

#[cfg(test)]
mod tests;
