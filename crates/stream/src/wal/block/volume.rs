//! The port to the storage of a block log. Real files and devices stand behind it, and so do the faults of tests.
//!
//! A [`Volume`] holds two kinds of things: **headers**, one small file of four pages per incarnation, and **segments**,
//! all of one size. It knows nothing of what the pages say.

use std::fmt;
use std::io;
use std::sync::Arc;

use base::Incarnation;
pub use base::file::{BlockFile, is_full};

/// A header of a volume, by the name the volume gave it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderName(pub String);

/// A segment of a volume, by the number the volume gave it. It says nothing about its place in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub u64);

/// A segment just made.
#[derive(Clone, Debug)]
pub struct NewSegment {
    /// Its number.
    pub id: SegmentId,
    /// Its bytes.
    pub file: Arc<dyn BlockFile>,
    /// So many of its bytes, from the first, are written with zeros.
    pub zeroed: u64,
}

/// Where headers and segments live.
pub trait Volume: Send + Sync + fmt::Debug {
    /// The directory or device, for messages.
    fn path(&self) -> String;

    /// The size of every segment. A volume made earlier keeps the size it was made with.
    fn segment_bytes(&self) -> u64;

    /// The headers there are; `Some` incarnation where the name itself tells.
    ///
    /// # Errors
    /// When they cannot be listed.
    fn headers(&self) -> io::Result<Vec<(HeaderName, Option<Incarnation>)>>;

    /// Opens a header.
    ///
    /// # Errors
    /// `NotFound` when there is none of that name.
    fn open_header(&self, name: &HeaderName) -> io::Result<Arc<dyn BlockFile>>;

    /// Makes a header holding `pages`, durable in contents and name; after a crash it is there whole or not at all.
    ///
    /// # Errors
    /// `AlreadyExists`, `StorageFull`, or whatever the device says.
    fn create_header(&self, incarnation: Incarnation, pages: &[u8]) -> io::Result<Arc<dyn BlockFile>>;

    /// Removes a header, durably; one that is gone already is no error.
    ///
    /// # Errors
    /// Whatever the device says.
    fn remove_header(&self, name: &HeaderName) -> io::Result<()>;

    /// The segments there are, in order.
    ///
    /// # Errors
    /// When they cannot be listed.
    fn segments(&self) -> io::Result<Vec<SegmentId>>;

    /// Opens a segment.
    ///
    /// # Errors
    /// `NotFound`, or `UnexpectedEof` for one that is shorter than it was made.
    fn open_segment(&self, id: SegmentId) -> io::Result<Arc<dyn BlockFile>>;

    /// Makes one more segment that reads as zeros, durable in contents and name, with room on the device for all of it. At
    /// least `zeroed` bytes are written with zeros; the caller may write more zeros later, so that the first write of data
    /// finds blocks that need no change to the file system's own records.
    ///
    /// # Errors
    /// `StorageFull` or `QuotaExceeded` when there is no room now: nothing is left behind.
    fn create_segment(&self, zeroed: u64) -> io::Result<NewSegment>;

    /// How many segments there can ever be, where that is known.
    fn segments_max(&self) -> Option<u64> {
        None
    }

    /// Whether room can be given back: a device keeps all its segments.
    fn can_remove_segments(&self) -> bool {
        true
    }

    /// Gives a segment's room back, where the volume can.
    ///
    /// # Errors
    /// Whatever the device says.
    fn remove_segment(&self, id: SegmentId) -> io::Result<()>;
}
