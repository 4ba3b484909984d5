//! A block log on a raw device, or on a file that is cut up like one.
//!
//! | Bytes | Hold |
//! |---|---|
//! | 0 – 4095 | device page: segment size and number of segments |
//! | 16 KiB × (1 + n) | header slot n of 63, four pages as in a header file; a blank header page is a free slot |
//! | 1 MiB + n × segment size | segment n; a blank segment page was never used |
//!
//! Segments of a device are not zero-filled: a device's blocks are there from the start, and stale bytes name another
//! incarnation. A slot becomes an incarnation by its header page, written last and on its own.
//!
//! The owner holds an exclusive lock (`flock`) on the device node, and on a real device the kernel's claim (`O_EXCL`), which
//! keeps out what knows no `flock`; both are known to this host only. A device attached to
//! several hosts is fenced by its fence pages, but it may be *recycled* by another host only once the former owner's host
//! is detached: a write that was under way there could still land.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::Incarnation;
use base::aligned::AlignedBuffer;
use base::file::{self, Files, Lock, Locked, Transfer};

use super::layout::{DevicePage, HEADER_PAGES, PAGE};
use super::log::write_page;
use super::volume::{BlockFile, HeaderName, NewSegment, SegmentId, Volume};
use crate::wal::{Access, WalError};

const SLOT_BYTES: u64 = (HEADER_PAGES * PAGE) as u64;
const SLOTS: u64 = 63;
const DIRECTORY_BYTES: u64 = 1 << 20;

/// A device cut into header slots and segments.
#[derive(Debug)]
pub struct DeviceVolume {
    files: Files,
    path: PathBuf,
    layout: DevicePage,
    transfer: Transfer,
    writable: bool,
    /// The claim of an owner lasts as long as what was opened with it.
    _claim: Arc<dyn BlockFile>,
    _lock: Option<Lock>,
}

impl DeviceVolume {
    /// Opens the device. Its owner cuts up a blank one; anything else that is no WAL is refused, never overwritten.
    ///
    /// # Errors
    /// [`WalError::InUse`], [`WalError::Foreign`], or what the device says.
    pub fn open(
        files: &Files,
        path: &Path,
        segment_bytes: u64,
        transfer: Transfer,
        access: Access,
    ) -> Result<Self, WalError> {
        let failed = |source| WalError::io(format!("opening the WAL device {}", path.display()), source);
        let in_use = |owner| WalError::InUse { path: path.display().to_string(), owner };
        let bytes = files.length(path).map_err(failed)?;
        let whole = match files.open(path, opened_for(access), transfer, 0..bytes) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                let owner = "a file system that is mounted, or another process that claimed the device";
                return Err(in_use(owner.to_owned()));
            }
            opened => opened.map_err(failed)?,
        };
        let held = if access == Access::Owner {
            match files.lock(path, None).map_err(failed)? {
                Locked::Held(lock) => Some(lock),
                Locked::Taken(holder) => return Err(in_use(holder.unwrap_or_else(|| "another process".to_owned()))),
            }
        } else {
            None
        };
        let foreign = |reason: String| WalError::Foreign { path: path.display().to_string(), reason };
        if bytes < DIRECTORY_BYTES + 2 * segment_bytes {
            return Err(foreign(format!("its {bytes} bytes are fewer than 1 MiB and two segments of {segment_bytes}")));
        }
        let mut start = AlignedBuffer::zeroed(DIRECTORY_BYTES as usize);
        whole.read_at(start.as_mut_slice(), 0).map_err(failed)?;
        let layout = match DevicePage::decode(&start.as_slice()[..PAGE]) {
            Ok(layout) => layout,
            Err(_) if access == Access::Owner && start.as_slice().iter().all(|&b| b == 0) => {
                let segments = (bytes - DIRECTORY_BYTES) / segment_bytes;
                let layout = DevicePage { segment_bytes, segments };
                blank_segment_pages(&*whole, layout).map_err(failed)?;
                write_page(&*whole, &layout.encode(), 0).map_err(failed)?;
                layout
            }
            Err(why) => return Err(foreign(format!("its first page: {why}"))),
        };
        let fits = layout.segments.checked_mul(layout.segment_bytes).and_then(|b| b.checked_add(DIRECTORY_BYTES));
        if fits.is_none_or(|needed| needed > bytes) {
            return Err(foreign(format!("it was made for {} segments, which its {bytes} bytes lack", layout.segments)));
        }
        let (files, path, writable) = (files.clone(), path.to_owned(), access != Access::Observer);
        Ok(Self { files, path, layout, transfer, writable, _claim: whole, _lock: held })
    }

    fn part(&self, start: u64, length: u64) -> io::Result<Arc<dyn BlockFile>> {
        let access = if self.writable { file::Access::Write } else { file::Access::Read };
        self.files.open(&self.path, access, self.transfer, start..start + length)
    }

    fn slot(&self, slot: u64) -> io::Result<Arc<dyn BlockFile>> {
        self.part(SLOT_BYTES * (1 + slot), SLOT_BYTES)
    }

    fn slot_named(&self, name: &HeaderName) -> io::Result<Arc<dyn BlockFile>> {
        let slot = name.0.strip_prefix("slot-").and_then(|n| n.parse().ok()).filter(|n| *n < SLOTS);
        self.slot(slot.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?)
    }

    fn free_slots(&self) -> io::Result<(Vec<u64>, Vec<u64>)> {
        let mut page = AlignedBuffer::zeroed(PAGE);
        let (mut free, mut used) = (Vec::new(), Vec::new());
        for slot in 0..SLOTS {
            // What cannot be read is not free; whether it can be done without is for the reader to say.
            let blank =
                self.slot(slot)?.read_at(page.as_mut_slice(), 0).map(|()| page.as_slice().iter().all(|&b| b == 0));
            if blank.unwrap_or(false) { free.push(slot) } else { used.push(slot) }
        }
        Ok((free, used))
    }
}

/// How the node is opened: the kernel keeps an exclusive claim on a block device from file systems, volume managers and
/// other claims, whatever they think of `flock`, for as long as the descriptor lives. A taker claims nothing: an owner that
/// is only paused must not keep it out.
fn opened_for(access: Access) -> file::Access {
    match access {
        Access::Owner => file::Access::WriteAlone,
        Access::Taker => file::Access::Write,
        Access::Observer => file::Access::Read,
    }
}

/// Whatever the device held where segment pages will be must not be taken for damage.
fn blank_segment_pages(device: &dyn BlockFile, layout: DevicePage) -> io::Result<()> {
    for segment in 0..layout.segments {
        write_page(device, &[0; PAGE], DIRECTORY_BYTES + segment * layout.segment_bytes)?;
    }
    Ok(())
}

impl Volume for DeviceVolume {
    fn path(&self) -> String {
        self.path.display().to_string()
    }

    fn segment_bytes(&self) -> u64 {
        self.layout.segment_bytes
    }

    fn segments_max(&self) -> Option<u64> {
        Some(self.layout.segments)
    }

    fn headers(&self) -> io::Result<Vec<(HeaderName, Option<Incarnation>)>> {
        let (_, used) = self.free_slots()?;
        Ok(used.into_iter().map(|slot| (HeaderName(format!("slot-{slot}")), None)).collect())
    }

    fn open_header(&self, name: &HeaderName) -> io::Result<Arc<dyn BlockFile>> {
        self.slot_named(name)
    }

    fn create_header(&self, _incarnation: Incarnation, pages: &[u8]) -> io::Result<Arc<dyn BlockFile>> {
        let (free, _) = self.free_slots()?;
        let slot = *free.first().ok_or_else(|| {
            io::Error::new(io::ErrorKind::StorageFull, format!("all {SLOTS} header slots of the device are taken"))
        })?;
        let file = self.slot(slot)?;
        file.write_at(&pages[PAGE..], PAGE as u64)?;
        file.write_at(&pages[..PAGE], 0)?;
        Ok(file)
    }

    fn remove_header(&self, name: &HeaderName) -> io::Result<()> {
        write_page(&*self.slot_named(name)?, &[0; PAGE], 0)
    }

    fn segments(&self) -> io::Result<Vec<SegmentId>> {
        Ok((0..self.layout.segments).map(SegmentId).collect())
    }

    fn open_segment(&self, id: SegmentId) -> io::Result<Arc<dyn BlockFile>> {
        if id.0 >= self.layout.segments {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.part(DIRECTORY_BYTES + id.0 * self.layout.segment_bytes, self.layout.segment_bytes)
    }

    fn create_segment(&self, _zeroed: u64) -> io::Result<NewSegment> {
        Err(io::Error::new(io::ErrorKind::StorageFull, "every segment of the device is in use"))
    }

    fn can_remove_segments(&self) -> bool {
        false
    }

    fn remove_segment(&self, _id: SegmentId) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_claims_a_device() {
        // For plain files the claim means nothing, which is the file port's affair.
        for (access, opened) in [
            (Access::Owner, file::Access::WriteAlone),
            (Access::Taker, file::Access::Write),
            (Access::Observer, file::Access::Read),
        ] {
            assert_eq!(opened_for(access), opened, "{access:?}");
        }
    }
}
