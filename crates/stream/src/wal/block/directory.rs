//! A block log in a directory.
//!
//! | Name | Holds |
//! |---|---|
//! | `LOCK` | locked (`flock`) by the owner for as long as it lives; its process id in decimal |
//! | `incarnation-<broker>-<epoch>.wal` | an incarnation's header, four pages |
//! | `segment-<number>.wal` | a segment |
//! | `incarnation-….new`, `segment-….new` | one of these being made; removed at the next start |
//!
//! A file gets its lasting name only when its contents are durable, and the directory is synced after every change.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::file::{Access, Files, Lock, Locked, Transfer};
use base::{BrokerEpoch, BrokerId, Incarnation};
use parking_lot::Mutex;

use super::layout::{HEADER_PAGES, PAGE};
use super::volume::{BlockFile, HeaderName, NewSegment, SegmentId, Volume};
use crate::wal::WalError;

const LOCK_FILE: &str = "LOCK";
const HEADER_BYTES: u64 = (HEADER_PAGES * PAGE) as u64;

/// A directory of headers and segments.
#[derive(Debug)]
pub struct DirectoryVolume {
    files: Files,
    path: PathBuf,
    segment_bytes: u64,
    transfer: Transfer,
    access: Access,
    /// The lowest number that no segment has been made under here: two that are made at once must not share a file.
    next_segment: Mutex<u64>,
    _lock: Option<Lock>,
}

impl DirectoryVolume {
    /// Opens the directory as its owner: makes it where it is missing, locks it and clears what a crash left half made.
    ///
    /// # Errors
    /// [`WalError::InUse`] while another process owns it.
    pub fn own(files: &Files, path: &Path, segment_bytes: u64, transfer: Transfer) -> Result<Self, WalError> {
        let failed = |source| WalError::io(format!("opening the WAL directory {}", path.display()), source);
        files.create_directory(path).map_err(failed)?;
        let note = format!("{}\n", std::process::id());
        let lock = match files.lock(&path.join(LOCK_FILE), Some(&note)).map_err(failed)? {
            Locked::Held(lock) => lock,
            Locked::Taken(holder) => {
                let owner = match holder {
                    Some(id) if id.bytes().all(|digit| digit.is_ascii_digit()) => format!("process {id}"),
                    Some(holder) => holder,
                    None => "another process".to_owned(),
                };
                return Err(WalError::InUse { path: path.display().to_string(), owner });
            }
        };
        for name in files.list(path).map_err(failed)? {
            if is_half_made(&name) {
                files.remove(&path.join(name)).map_err(failed)?;
            }
        }
        let segment_bytes = existing_segment_bytes(files, path).map_err(failed)?.unwrap_or(segment_bytes);
        let (files, path, next_segment) = (files.clone(), path.to_owned(), Mutex::default());
        Ok(Self { files, path, segment_bytes, transfer, access: Access::Write, next_segment, _lock: Some(lock) })
    }

    /// Opens the directory without owning it.
    ///
    /// # Errors
    /// When it is not there.
    pub fn visit(
        files: &Files,
        path: &Path,
        segment_bytes: u64,
        transfer: Transfer,
        writable: bool,
    ) -> Result<Self, WalError> {
        let segment_bytes = existing_segment_bytes(files, path)
            .map_err(|source| WalError::io(format!("opening the WAL directory {}", path.display()), source))?
            .unwrap_or(segment_bytes);
        let access = if writable { Access::Write } else { Access::Read };
        let (files, path, next_segment) = (files.clone(), path.to_owned(), Mutex::default());
        Ok(Self { files, path, segment_bytes, transfer, access, next_segment, _lock: None })
    }

    fn segment_path(&self, id: SegmentId) -> PathBuf {
        self.path.join(segment_name(id))
    }

    /// A number that no segment has, nor will have that is being made.
    fn number_segment(&self) -> io::Result<SegmentId> {
        let mut next = self.next_segment.lock();
        let free = self.segments()?.last().map_or(0, |last| last.0 + 1).max(*next);
        *next = free + 1;
        Ok(SegmentId(free))
    }

    fn open(&self, path: &Path, length: u64) -> io::Result<Arc<dyn BlockFile>> {
        let there = self.files.length(path)?;
        if there < length {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("{} has {there} bytes instead of {length}", path.display()),
            ));
        }
        self.files.open(path, self.access, self.transfer, 0..length)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files.remove(path)?;
        self.files.sync_directory(&self.path)
    }
}

/// The size of the segments that are there: the largest, so that a shortened one is found out.
fn existing_segment_bytes(files: &Files, path: &Path) -> io::Result<Option<u64>> {
    let mut largest = None;
    for name in files.list(path)? {
        if name.starts_with("segment-") && name.ends_with(".wal") {
            largest = largest.max(Some(files.length(&path.join(name))?));
        }
    }
    Ok(largest.filter(|bytes| *bytes >= 2 * PAGE as u64 && bytes.is_multiple_of(PAGE as u64)))
}

fn header_name(incarnation: Incarnation) -> String {
    format!("incarnation-{}-{}.wal", incarnation.broker, incarnation.epoch)
}

fn parse_header(name: &str) -> Option<Incarnation> {
    let (broker, epoch) = name.strip_prefix("incarnation-")?.strip_suffix(".wal")?.split_once('-')?;
    Some(Incarnation { broker: BrokerId(broker.parse().ok()?), epoch: BrokerEpoch(epoch.parse().ok()?) })
}

fn segment_name(id: SegmentId) -> String {
    format!("segment-{:08}.wal", id.0)
}

fn parse_segment(name: &str) -> Option<SegmentId> {
    name.strip_prefix("segment-")?.strip_suffix(".wal")?.parse().ok().map(SegmentId)
}

/// Whether a file was being made under that name here. Nobody was asked yet whose the directory is, so that all else in it
/// may be a stranger's.
fn is_half_made(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(".new") else { return false };
    let lasting = format!("{stem}.wal");
    parse_header(&lasting).is_some_and(|id| header_name(id) == lasting)
        || parse_segment(&lasting).is_some_and(|id| segment_name(id) == lasting)
}

impl Volume for DirectoryVolume {
    fn path(&self) -> String {
        self.path.display().to_string()
    }

    fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    fn headers(&self) -> io::Result<Vec<(HeaderName, Option<Incarnation>)>> {
        let names = self.files.list(&self.path)?.into_iter();
        Ok(names.filter_map(|name| parse_header(&name).map(|inc| (HeaderName(name), Some(inc)))).collect())
    }

    fn open_header(&self, name: &HeaderName) -> io::Result<Arc<dyn BlockFile>> {
        self.open(&self.path.join(&name.0), HEADER_BYTES)
    }

    fn create_header(&self, incarnation: Incarnation, pages: &[u8]) -> io::Result<Arc<dyn BlockFile>> {
        let path = self.path.join(header_name(incarnation));
        let fresh = path.with_extension("new");
        self.files.write(&fresh, pages)?;
        // A hard link, not a rename: it never replaces a header that is there.
        let linked = self.files.link(&fresh, &path);
        self.files.remove(&fresh)?;
        linked?;
        self.files.sync_directory(&self.path)?;
        self.open(&path, HEADER_BYTES)
    }

    fn remove_header(&self, name: &HeaderName) -> io::Result<()> {
        self.remove(&self.path.join(&name.0))
    }

    fn segments(&self) -> io::Result<Vec<SegmentId>> {
        let mut ids: Vec<_> = self.files.list(&self.path)?.iter().filter_map(|name| parse_segment(name)).collect();
        ids.sort();
        Ok(ids)
    }

    fn open_segment(&self, id: SegmentId) -> io::Result<Arc<dyn BlockFile>> {
        self.open(&self.segment_path(id), self.segment_bytes)
    }

    fn create_segment(&self, zeroed: u64) -> io::Result<NewSegment> {
        let id = self.number_segment()?;
        let path = self.segment_path(id);
        let fresh = path.with_extension("new");
        let made = self.files.create_zeroed(&fresh, self.segment_bytes, zeroed, self.transfer);
        let made = made.and_then(|zeroed| self.files.rename(&fresh, &path).map(|()| zeroed));
        let zeroed = match made {
            Ok(zeroed) => zeroed,
            Err(error) => {
                self.remove(&fresh)?;
                return Err(error);
            }
        };
        self.files.sync_directory(&self.path)?;
        Ok(NewSegment { id, file: self.open_segment(id)?, zeroed })
    }

    fn remove_segment(&self, id: SegmentId) -> io::Result<()> {
        self.remove(&self.segment_path(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An incarnation that ends and its successor may want one at the same time.
    #[test]
    fn segments_that_are_made_at_once_are_not_the_same_file() {
        let dir = tempfile::tempdir().unwrap();
        let volume = DirectoryVolume::own(&Files::system(), dir.path(), 64 << 10, Transfer::Auto).unwrap();
        let make = || (0..8).map(|_| volume.create_segment(0).unwrap().id).collect::<Vec<_>>();
        let made: Vec<_> = std::thread::scope(|scope| {
            let makers = [(); 4].map(|()| scope.spawn(make));
            makers.into_iter().flat_map(|maker| maker.join().unwrap()).collect()
        });
        let mut there = made.clone();
        there.sort_unstable();
        there.dedup();
        assert_eq!((made.len(), there), (32, volume.segments().unwrap()));
    }

    #[test]
    fn an_owner_removes_only_what_was_being_made_there() {
        let dir = tempfile::tempdir().unwrap();
        let half_made = ["incarnation-1-5.new", "segment-00000003.new", "segment-123456789.new"];
        let strange =
            ["thesis.new", ".new", "incarnation-x.new", "incarnation-1-05.new", "segment-3.new", "segment-.new"];
        for name in half_made.iter().chain(&strange) {
            std::fs::write(dir.path().join(name), "half").unwrap();
        }
        std::fs::create_dir(dir.path().join("backup.new")).unwrap();
        drop(DirectoryVolume::own(&Files::system(), dir.path(), 1 << 20, Transfer::Auto).unwrap());
        let mut expected: Vec<&str> = strange.into_iter().chain([LOCK_FILE, "backup.new"]).collect();
        expected.sort_unstable();
        assert_eq!(Files::system().list(dir.path()).unwrap(), expected);
    }
}
