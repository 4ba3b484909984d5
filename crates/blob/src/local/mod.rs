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
//! the names lost. That this store has failed for good is told ([`Backend::failed`]).

mod direct;
mod list;
mod scratch;
mod write;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::aligned::{AlignedBuffer, PAGE};
use base::{Entropy, task};
use bytes::Bytes;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::backend::{Backend, BoxFuture, CreateAttempt, Evidence, ListPage, ObjectMeta, ReadRange, parts_range};
use crate::error::{OpenError, StoreError};
use crate::payload::Payload;
use crate::range::resolve_range;

use direct::BufferPool;
pub use direct::padded;
use scratch::Scratch;
use write::Writer;
pub use write::create_dir_all_synced;

/// Objects as files under one directory.
#[derive(Debug)]
pub struct LocalBackend {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    writer: Writer,
    buffers: Arc<BufferPool>,
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
            Ok(Inner { writer: Writer::new(root.clone(), scratch), buffers: Arc::default(), root })
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
        if length >= DIRECT_BYTES_MIN
            && range.end - range.start >= direct::DIRECT_READ_BYTES_MIN
            && let Some(parts) = self.get_parts_direct(key, &range, lengths)?
        {
            return Ok(parts);
        }
        let mut position = start;
        let mut parts = Vec::with_capacity(lengths.len());
        for length in lengths {
            parts.push(self.read(key, &file, position, *length as usize)?);
            position += u64::from(*length);
        }
        Ok(parts)
    }

    /// `None` when the file system does not read past its cache.
    fn get_parts_direct(
        &self,
        key: &str,
        range: &std::ops::Range<u64>,
        lengths: &[u32],
    ) -> Result<Option<Vec<Bytes>>, StoreError> {
        let opened = direct::open(&self.path(key)).map_err(|error| self.read_error("get", key, &error))?;
        let Some(file) = opened else { return Ok(None) };
        direct::read_parts(&file, &self.buffers, range.start, lengths).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => StoreError::ShortRead { key: key.to_owned(), got: 0, range: range.clone() },
            _ => self.read_error("get", key, &error),
        })
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

/// Bodies from this size on are written past the page cache: filling it costs more processor time than everything else
/// that is done for a produced byte, and most objects are read late or never.
const DIRECT_BYTES_MIN: u64 = 1 << 20;
/// Bytes of one direct write.
const DIRECT_PIECE: usize = 1 << 20;

/// Writes `body` to a fresh file and syncs it. The kernel says of every write how much it took; the length is compared
/// all the same before the file gets its name, for it is all that stands between a part and an object.
fn write_synced(file: &File, body: &Payload) -> io::Result<()> {
    if body.len() < DIRECT_BYTES_MIN {
        file.write_all_at(&body.to_contiguous(), 0)?;
    } else if !set_direct(file, Direct::On) || !written_direct(file, body)? {
        write_pieces(file, body)?;
    }
    file.sync_all()?;
    let length = file.metadata()?.len();
    if length == body.len() {
        Ok(())
    } else {
        Err(io::Error::other(format!("{length} bytes are in the file of the {} that were written", body.len())))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direct {
    On,
    Off,
}

/// Whether the file system went along.
fn set_direct(file: &File, direct: Direct) -> bool {
    let Ok(flags) = rustix::fs::fcntl_getfl(file) else { return false };
    let flags = match direct {
        Direct::On => flags | OFlags::DIRECT,
        Direct::Off => flags - OFlags::DIRECT,
    };
    rustix::fs::fcntl_setfl(file, flags).is_ok()
}

/// Writes past the page cache; `false` when the file system accepts the flag and then refuses the writes.
fn written_direct(file: &File, body: &Payload) -> io::Result<bool> {
    match write_pieces(file, body) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            set_direct(file, Direct::Off);
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Gathers the slices into aligned pieces; what is left over after the last whole page goes through the cache.
fn write_pieces(file: &File, body: &Payload) -> io::Result<()> {
    let mut piece = AlignedBuffer::zeroed(DIRECT_PIECE);
    let (mut filled, mut position) = (0, 0_u64);
    for part in body.parts() {
        let mut part = &part[..];
        while !part.is_empty() {
            let count = part.len().min(DIRECT_PIECE - filled);
            piece.as_mut_slice()[filled..filled + count].copy_from_slice(&part[..count]);
            filled += count;
            part = &part[count..];
            if filled == DIRECT_PIECE {
                file.write_all_at(piece.as_slice(), position)?;
                position += filled as u64;
                filled = 0;
            }
        }
    }
    let whole = filled - filled % PAGE;
    file.write_all_at(&piece.as_slice()[..whole], position)?;
    if filled > whole {
        if !set_direct(file, Direct::Off) {
            return Err(io::Error::other("direct I/O cannot be ended on a file of the store"));
        }
        file.write_all_at(&piece.as_slice()[whole..filled], position + whole as u64)?;
    }
    Ok(())
}

impl Backend for LocalBackend {
    fn name(&self) -> String {
        format!("file://{}", self.inner.root.display())
    }

    fn is_remote(&self) -> bool {
        false
    }

    fn failed(&self) -> BoxFuture<'static, StoreError> {
        self.inner.writer.failed()
    }

    fn put<'a>(&'a self, key: &'a str, body: Payload) -> BoxFuture<'a, Result<Evidence, StoreError>> {
        let owned = key.to_owned();
        Box::pin(self.blocking("put", key, move |inner| inner.writer.put(&owned, &body).map(|()| Evidence::Local)))
    }

    fn create<'a>(&'a self, key: &'a str, body: Payload) -> BoxFuture<'a, CreateAttempt> {
        let owned = key.to_owned();
        Box::pin(async move {
            match self.blocking("create", key, move |inner| inner.writer.create(&owned, &body)).await {
                Ok(true) => CreateAttempt::Created(Evidence::Local),
                Ok(false) => CreateAttempt::Exists,
                Err(cause) => CreateAttempt::Unknown(cause),
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
