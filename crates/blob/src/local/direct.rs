//! Reading past the page cache, into page-aligned memory that is used again and again.
//!
//! Filling the page cache would cost more processor time than everything else that a cold read does, for pages that the
//! block cache above holds anyway. Memory is pooled because a page that the allocator takes fresh from the kernel costs
//! as much again.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Weak};

use base::aligned::{AlignedBuffer, PAGE};
use bytes::Bytes;
use parking_lot::Mutex;
use rustix::fs::OFlags;
use rustix::io::Errno;

/// Reads below this go through the page cache, whose read-ahead serves neighbours.
pub(super) const DIRECT_READ_BYTES_MIN: u64 = 64 * 1024;

/// Idle memory that is kept for the next reads. Bytes.
const POOL_BYTES_MAX: usize = 16 << 20;
/// A buffer may be larger than what is read into it by one part in this many, so that it serves reads of about its size.
const SLACK: usize = 8;

/// The most memory that a part of `bytes` read from a directory store may hold.
pub fn padded(bytes: usize) -> usize {
    bytes + bytes / SLACK + 2 * PAGE
}

/// Buffers waiting to be used again, the one that waits longest first.
#[derive(Debug, Default)]
pub(super) struct BufferPool(Mutex<Idle>);

#[derive(Debug, Default)]
struct Idle {
    buffers: VecDeque<AlignedBuffer>,
    bytes: usize,
}

impl BufferPool {
    fn take(&self, len: usize) -> AlignedBuffer {
        let mut idle = self.0.lock();
        // From the back: what was used last is still warm.
        let found = idle.buffers.iter().rposition(|b| (len..=len + len / SLACK).contains(&b.len()));
        if let Some(buffer) = found.and_then(|at| idle.buffers.remove(at)) {
            idle.bytes -= buffer.len();
            return buffer;
        }
        drop(idle);
        AlignedBuffer::zeroed(len)
    }

    fn give_back(&self, buffer: AlignedBuffer) {
        let mut idle = self.0.lock();
        idle.bytes += buffer.len();
        idle.buffers.push_back(buffer);
        // Sizes that nobody asks for any more end at the front and go first.
        while idle.bytes > POOL_BYTES_MAX {
            let Some(oldest) = idle.buffers.pop_front() else { return };
            idle.bytes -= oldest.len();
        }
    }

    #[cfg(test)]
    pub(super) fn idle_bytes(&self) -> usize {
        self.0.lock().bytes
    }
}

/// Part of a buffer, as [`Bytes`] own it; the buffer returns to its pool with the last of them.
struct Part {
    buffer: Option<AlignedBuffer>,
    from: usize,
    len: usize,
    pool: Weak<BufferPool>,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], |buffer| &buffer.as_slice()[self.from..self.from + self.len])
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let (Some(buffer), Some(pool)) = (self.buffer.take(), self.pool.upgrade()) {
            pool.give_back(buffer);
        }
    }
}

/// Opens a file for reads past the page cache; `None` when the file system has no such thing.
pub(super) fn open(path: &Path) -> io::Result<Option<File>> {
    let opened = File::options().read(true).custom_flags(OFlags::DIRECT.bits().cast_signed()).open(path);
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(None),
        Err(error) => Err(error),
    }
}

/// Consecutive parts from `start`, each in memory of its own, with as few reads as the kernel allows. `None` when the
/// file system refuses direct reads; an error of kind `UnexpectedEof` when the file is shorter than the parts.
///
/// Every part's buffer covers the whole pages that the part touches. Where two parts meet inside a page, that page is
/// read for the first of them and copied to the second, so that the pages of the file are read once and in order.
pub(super) fn read_parts(
    file: &File,
    pool: &Arc<BufferPool>,
    start: u64,
    lengths: &[u32],
) -> io::Result<Option<Vec<Bytes>>> {
    let page = PAGE as u64;
    let first_page = start - start % page;
    let mut places = Vec::with_capacity(lengths.len());
    let mut position = start;
    for length in lengths {
        let end = position + u64::from(*length);
        let from = (position % page) as usize;
        let pages = (end.next_multiple_of(page) - (position - position % page)) as usize;
        // What lies before the part's own first page, or in it, may have been read for the part before.
        let shared = position > start && from > 0 && pages > 0;
        places.push((from, *length as usize, pages, shared));
        position = end;
    }
    let mut buffers: Vec<AlignedBuffer> = places.iter().map(|(_, _, pages, _)| pool.take(*pages)).collect();
    let (mut done, need) = (0, position - first_page);
    while done < need {
        let mut skip = done as usize;
        let mut slices = Vec::with_capacity(buffers.len());
        for (buffer, (_, _, pages, shared)) in buffers.iter_mut().zip(&places) {
            let own = &mut buffer.as_mut_slice()[..*pages][if *shared { PAGE } else { 0 }..];
            let skipped = skip.min(own.len());
            skip -= skipped;
            if skipped < own.len() {
                slices.push(IoSliceMut::new(&mut own[skipped..]));
            }
        }
        slices.truncate(SLICES_MAX);
        let read = match rustix::io::preadv(file, &mut slices, first_page + done) {
            Ok(count) => done + count as u64,
            Err(Errno::INTR) => continue,
            Err(Errno::INVAL) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // The next read begins at a page again. One that did not come that far stands at the end of the file.
        let whole = read - read % page;
        if read < need && whole == done {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        done = if read < need { whole } else { read };
    }
    // The latest part that has pages, and how many bytes of them.
    let mut before: Option<(usize, usize)> = None;
    for (at, (_, _, pages, shared)) in places.iter().enumerate() {
        if let (true, Some((last, filled))) = (*shared, before) {
            let (left, right) = buffers.split_at_mut(at);
            let page = &left[last].as_slice()[filled - PAGE..filled];
            right[0].as_mut_slice()[..PAGE].copy_from_slice(page);
        }
        if *pages > 0 {
            before = Some((at, *pages));
        }
    }
    let parts = buffers.into_iter().zip(places).map(|(buffer, (from, len, _, _))| {
        Bytes::from_owner(Part { buffer: Some(buffer), from, len, pool: Arc::downgrade(pool) })
    });
    Ok(Some(parts.collect()))
}

/// Slices of one read: Linux takes 1024.
const SLICES_MAX: usize = 1024;
