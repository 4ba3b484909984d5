//! A block log in a directory.
//!
//! | Name | Holds |
//! |---|---|
//! | `LOCK` | locked (`flock`) by the owner for as long as it lives; its process id in decimal |
//! | `incarnation-<broker>-<epoch>.wal` | an incarnation's header, four pages |
//! | `segment-<number>.wal` | a segment |
//! | `*.new` | a file being made; removed at the next start |
//!
//! A file gets its lasting name only when its contents are durable, and the directory is synced after every change.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::{BrokerEpoch, BrokerId, Incarnation};

use super::file::{FileBlock, Lock, Transfer, create_zeroed, lock, sync_directory};
use super::layout::{HEADER_PAGES, PAGE};
use super::volume::{BlockFile, HeaderName, NewSegment, SegmentId, Volume};
use crate::wal::WalError;

const LOCK_FILE: &str = "LOCK";
const HEADER_BYTES: u64 = (HEADER_PAGES * PAGE) as u64;

/// A directory of headers and segments.
#[derive(Debug)]
pub struct DirectoryVolume {
    path: PathBuf,
    segment_bytes: u64,
    transfer: Transfer,
    writable: bool,
    _lock: Option<Lock>,
}

impl DirectoryVolume {
    /// Opens the directory as its owner: makes it where it is missing, locks it and clears what a crash left half made.
    ///
    /// # Errors
    /// [`WalError::InUse`] while another process owns it.
    pub fn own(path: &Path, segment_bytes: u64, transfer: Transfer) -> Result<Self, WalError> {
        let failed = |source| WalError::io(format!("opening the WAL directory {}", path.display()), source);
        blob::create_dir_all_synced(path).map_err(failed)?;
        let name = path.join(LOCK_FILE);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&name).map_err(failed)?;
        let mut holder = file.try_clone().map_err(failed)?;
        let Some(lock) = lock(file.try_clone().map_err(failed)?).map_err(failed)? else {
            let mut text = String::new();
            let owner = match file.read_to_string(&mut text) {
                Ok(_) if !text.trim().is_empty() => format!("process {}", text.trim()),
                _ => "another process".to_owned(),
            };
            return Err(WalError::InUse { path: path.display().to_string(), owner });
        };
        holder.set_len(0).map_err(failed)?;
        writeln!(holder, "{}", std::process::id()).map_err(failed)?;
        for entry in fs::read_dir(path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name().to_str().is_some_and(|name| name.ends_with(".new")) {
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        let segment_bytes = existing_segment_bytes(path).map_err(failed)?.unwrap_or(segment_bytes);
        Ok(Self { path: path.to_owned(), segment_bytes, transfer, writable: true, _lock: Some(lock) })
    }

    /// Opens the directory without owning it.
    ///
    /// # Errors
    /// When it is not there.
    pub fn visit(path: &Path, segment_bytes: u64, transfer: Transfer, writable: bool) -> Result<Self, WalError> {
        let segment_bytes = existing_segment_bytes(path)
            .map_err(|source| WalError::io(format!("opening the WAL directory {}", path.display()), source))?
            .unwrap_or(segment_bytes);
        Ok(Self { path: path.to_owned(), segment_bytes, transfer, writable, _lock: None })
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            names.extend(entry?.file_name().to_str().map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }

    fn segment_path(&self, id: SegmentId) -> PathBuf {
        self.path.join(format!("segment-{:08}.wal", id.0))
    }

    fn open(&self, path: &Path, length: u64) -> io::Result<Arc<dyn BlockFile>> {
        let there = fs::metadata(path)?.len();
        if there < length {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("{} has {there} bytes instead of {length}", path.display()),
            ));
        }
        Ok(Arc::new(FileBlock::open(path, self.writable, self.transfer, 0, length)?))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => sync_directory(&self.path),
        }
    }
}

/// The size of the segments that are there: the largest, so that a shortened one is found out.
fn existing_segment_bytes(path: &Path) -> io::Result<Option<u64>> {
    let mut largest = None;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with("segment-") && name.ends_with(".wal")) {
            largest = largest.max(Some(entry.metadata()?.len()));
        }
    }
    Ok(largest.filter(|bytes| *bytes >= 2 * PAGE as u64 && bytes.is_multiple_of(PAGE as u64)))
}

fn parse_header(name: &str) -> Option<Incarnation> {
    let (broker, epoch) = name.strip_prefix("incarnation-")?.strip_suffix(".wal")?.split_once('-')?;
    Some(Incarnation { broker: BrokerId(broker.parse().ok()?), epoch: BrokerEpoch(epoch.parse().ok()?) })
}

impl Volume for DirectoryVolume {
    fn path(&self) -> String {
        self.path.display().to_string()
    }

    fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    fn headers(&self) -> io::Result<Vec<(HeaderName, Option<Incarnation>)>> {
        let names = self.names()?.into_iter();
        Ok(names.filter_map(|name| parse_header(&name).map(|inc| (HeaderName(name), Some(inc)))).collect())
    }

    fn open_header(&self, name: &HeaderName) -> io::Result<Arc<dyn BlockFile>> {
        self.open(&self.path.join(&name.0), HEADER_BYTES)
    }

    fn create_header(&self, incarnation: Incarnation, pages: &[u8]) -> io::Result<Arc<dyn BlockFile>> {
        let path = self.path.join(format!("incarnation-{}-{}.wal", incarnation.broker, incarnation.epoch));
        let fresh = path.with_extension("new");
        let mut file = File::create(&fresh)?;
        file.write_all(pages)?;
        file.sync_all()?;
        // A hard link, not a rename: it never replaces a header that is there.
        let linked = fs::hard_link(&fresh, &path);
        fs::remove_file(&fresh)?;
        linked?;
        sync_directory(&self.path)?;
        self.open(&path, HEADER_BYTES)
    }

    fn remove_header(&self, name: &HeaderName) -> io::Result<()> {
        self.remove(&self.path.join(&name.0))
    }

    fn segments(&self) -> io::Result<Vec<SegmentId>> {
        let number = |name: &str| name.strip_prefix("segment-")?.strip_suffix(".wal")?.parse().ok().map(SegmentId);
        let mut ids: Vec<_> = self.names()?.iter().filter_map(|name| number(name)).collect();
        ids.sort();
        Ok(ids)
    }

    fn open_segment(&self, id: SegmentId) -> io::Result<Arc<dyn BlockFile>> {
        self.open(&self.segment_path(id), self.segment_bytes)
    }

    fn create_segment(&self, zeroed: u64) -> io::Result<NewSegment> {
        let id = SegmentId(self.segments()?.last().map_or(0, |last| last.0 + 1));
        let path = self.segment_path(id);
        let fresh = path.with_extension("new");
        let made = create_zeroed(&fresh, self.segment_bytes, zeroed, self.transfer)
            .and_then(|zeroed| fs::rename(&fresh, &path).map(|()| zeroed));
        let zeroed = match made {
            Ok(zeroed) => zeroed,
            Err(error) => {
                self.remove(&fresh)?;
                return Err(error);
            }
        };
        sync_directory(&self.path)?;
        Ok(NewSegment { id, file: self.open_segment(id)?, zeroed })
    }

    fn remove_segment(&self, id: SegmentId) -> io::Result<()> {
        self.remove(&self.segment_path(id))
    }
}
