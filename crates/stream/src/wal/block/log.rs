//! The incarnations of one directory or device: made, fenced, removed.
//!
//! A segment page names its incarnation, so the segments of an incarnation are those whose pages say so; free ones form
//! the pool that the next incarnations recycle. A segment whose page names an incarnation without a header, or says
//! nothing sensible, is evidence of damage: it is recycled only after [`BlockLog::remove`] named its incarnation, or, if it
//! names none, once no incarnation is left that could miss it.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base::file::{Files, Transfer};
use base::{Clock, Entropy, Incarnation, WalPosition};
use parking_lot::Mutex;

use super::device::DeviceVolume;
use super::directory::DirectoryVolume;
use super::layout::{
    CLUSTER_ID_BYTES_MAX, FENCE_OFFSET, HEADER_PAGES, HeaderPage, PAGE, SegmentPage, Stamp, TrimPage, fence_page,
    fence_state, stamp_in,
};
use super::replay::{self, Sight};
use super::volume::{BlockFile, HeaderName, SegmentId, Volume, is_full};
use super::writer::machine::{self, Driver};
use super::{SEAL_AFTER, writer};
use crate::wal::{
    Access, Claim, DurableSink, FenceState, IncarnationSummary, ReplayEnd, ReplayedRecord, Wal, WalError,
};

/// How a log is opened.
#[derive(Clone, Debug)]
pub struct BlockLogOptions {
    /// A directory (made if missing), a block device, or a file to be cut up like a device.
    pub path: PathBuf,
    /// What the opener may do.
    pub access: Access,
    /// Bytes of a segment, a multiple of 4096; for a volume made earlier, what it was made with counts.
    pub segment_bytes: u64,
    /// The most un-trimmed bytes of one incarnation; beyond, the writer waits. At least two segments.
    pub capacity_bytes: u64,
    /// Segments kept ready ahead of the writer.
    pub segments_ahead: usize,
    /// How long the writer is idle before it seals its last group.
    pub seal_after: Duration,
    /// How bytes reach the device.
    pub transfer: Transfer,
    /// Where the path leads.
    pub files: Files,
    /// Where nonces come from.
    pub entropy: Entropy,
    /// What says how long the writer has been idle, and when a full disk is tried again.
    pub clock: Clock,
}

impl BlockLogOptions {
    /// The defaults: 64 MiB segments, 2 GiB, one segment ahead, direct I/O.
    pub fn new(path: impl Into<PathBuf>, access: Access) -> Self {
        Self {
            path: path.into(),
            access,
            segment_bytes: 64 << 20,
            capacity_bytes: 2 << 30,
            segments_ahead: 1,
            seal_after: SEAL_AFTER,
            transfer: Transfer::Auto,
            files: Files::system(),
            entropy: Entropy::system(),
            clock: Clock::system(),
        }
    }
}

/// Segments that belong to no incarnation, and the incarnations that are being written.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    pub(crate) free: Mutex<Vec<(SegmentId, Arc<dyn BlockFile>)>>,
    pub(crate) running: Mutex<Vec<Incarnation>>,
}

/// One segment of a volume and what its page says.
pub(crate) struct Scanned {
    pub(crate) id: SegmentId,
    pub(crate) file: Option<Arc<dyn BlockFile>>,
    pub(crate) page: Result<SegmentPage, String>,
    /// The page could not be read at all.
    pub(crate) unreadable: Option<std::io::Error>,
}

/// A header of a volume and its pages, where they could be read.
pub(crate) struct Header {
    pub(crate) name: HeaderName,
    pub(crate) incarnation: Option<Incarnation>,
    pub(crate) file: Option<Arc<dyn BlockFile>>,
    pub(crate) pages: Vec<u8>,
    pub(crate) page: Result<HeaderPage, String>,
    /// Pages of it could not be read at all.
    pub(crate) unreadable: Option<std::io::Error>,
}

/// One WAL directory or raw device.
#[derive(Debug)]
pub struct BlockLog {
    volume: Arc<dyn Volume>,
    options: BlockLogOptions,
    pool: Arc<Pool>,
}

impl BlockLog {
    /// Opens the log of `options.path`.
    ///
    /// # Errors
    /// [`WalError::InUse`] when another process owns it, [`WalError::Foreign`] when a device holds something else.
    pub fn open(options: BlockLogOptions) -> Result<Self, WalError> {
        let volume = open_volume(&options)?;
        Self::over(volume, options)
    }

    /// A log over storage of the caller's; `options.path` is not looked at.
    ///
    /// # Errors
    /// When an option cannot work or the volume cannot be listed.
    pub fn over(volume: Arc<dyn Volume>, mut options: BlockLogOptions) -> Result<Self, WalError> {
        let size = volume.segment_bytes();
        if size < 2 * PAGE as u64 || !size.is_multiple_of(PAGE as u64) || size > 1 << 30 {
            let reason = format!("{size} is not a multiple of {PAGE} from {} to 1 GiB", 2 * PAGE);
            return Err(WalError::Option { option: "segment_bytes", reason });
        }
        if let Some(segments) = volume.segments_max() {
            options.capacity_bytes = options.capacity_bytes.min(segments * size);
        }
        if options.capacity_bytes / size < 2 {
            let reason = format!("{} is less than two segments of {size}", options.capacity_bytes);
            return Err(WalError::Option { option: "capacity_bytes", reason });
        }
        let log = Self { volume, options, pool: Arc::default() };
        if log.options.access == Access::Owner {
            let mut free: Vec<_> = log.scan()?.into_iter().filter(|s| s.page == Ok(SegmentPage::Free)).collect();
            // Taken from the end: the lowest goes first.
            log.pool.free.lock().extend(free.drain(..).rev().filter_map(|s| Some((s.id, s.file?))));
            log.shrink_pool()?;
        }
        Ok(log)
    }

    /// The incarnations there are, each with what its header says; also those of which only segments are left.
    ///
    /// # Errors
    /// When the volume cannot be listed, or a header cannot be read. A segment whose page cannot be read is left out: it may be
    /// a free one, and what is said of the others is true.
    pub fn incarnations(&self) -> Result<Vec<IncarnationSummary>, WalError> {
        let segments = self.scan()?;
        Ok(self.summaries(&segments, &self.readable_headers()?))
    }

    fn summaries(&self, segments: &[Scanned], headers: &[Header]) -> Vec<IncarnationSummary> {
        let mut summaries: Vec<IncarnationSummary> = Vec::new();
        for header in headers {
            let Some(incarnation) = header.incarnation else { continue };
            let stamp = header.page.as_ref().map(|page| page.stamp).ok();
            let trim = stamp.and_then(|stamp| TrimPage::newest(&header.pages, stamp));
            let fence = header.pages.get(FENCE_OFFSET as usize..).zip(stamp);
            summaries.push(IncarnationSummary {
                incarnation,
                segment_bytes: header.page.as_ref().map_or(self.volume.segment_bytes(), |page| page.segment_bytes),
                cluster_id: header.page.as_ref().map(|page| page.cluster_id.clone()).map_err(String::clone),
                fence: fence.map_or(FenceState::Unreadable, |(page, stamp)| fence_state(page, stamp)),
                trimmed: trim.map_or(WalPosition(0), |trim| trim.trimmed),
                segments: Vec::new(),
            });
        }
        for segment in segments {
            let Ok(SegmentPage::InUse { stamp, logical }) = &segment.page else { continue };
            let known = summaries.iter().position(|summary| summary.incarnation == stamp.incarnation);
            let at = known.unwrap_or_else(|| {
                summaries.push(IncarnationSummary {
                    incarnation: stamp.incarnation,
                    cluster_id: Err("its header is missing".to_owned()),
                    fence: FenceState::Unreadable,
                    trimmed: WalPosition(0),
                    segments: Vec::new(),
                    segment_bytes: self.volume.segment_bytes(),
                });
                summaries.len() - 1
            });
            summaries[at].segments.push(*logical);
        }
        for summary in &mut summaries {
            summary.segments.sort_unstable();
        }
        summaries.sort_by_key(|summary| summary.incarnation);
        summaries
    }

    /// Makes a fresh incarnation and starts what appends to it: three threads, or, in a hosted program, three tasks. The
    /// caller commits it `OPEN` before the first append.
    ///
    /// # Errors
    /// [`WalError::Exists`], [`WalError::NoSpace`], or what storage says.
    pub fn create<T: Send + 'static>(
        &self,
        incarnation: Incarnation,
        cluster_id: &str,
        sink: impl DurableSink<T>,
    ) -> Result<Wal<T>, WalError> {
        let clock = self.options.clock.clone();
        self.create_driven(incarnation, cluster_id, sink, &mut |machine| machine::drive(machine, &clock))
    }

    /// As [`Self::create`]; what appends is handed to `driver`, machine by machine.
    ///
    /// # Errors
    /// As [`Self::create`], and what the driver says.
    pub fn create_driven<T: Send + 'static>(
        &self,
        incarnation: Incarnation,
        cluster_id: &str,
        sink: impl DurableSink<T>,
        driver: &mut Driver<'_>,
    ) -> Result<Wal<T>, WalError> {
        self.demand(&[Access::Owner], "append")?;
        if cluster_id.len() > CLUSTER_ID_BYTES_MAX {
            let reason = format!("longer than {CLUSTER_ID_BYTES_MAX} bytes");
            return Err(WalError::Option { option: "cluster_id", reason });
        }
        let others = self.incarnations()?;
        if others.iter().any(|summary| summary.incarnation == incarnation) {
            return Err(WalError::Exists { incarnation, path: self.volume.path() });
        }
        if others.is_empty() {
            self.reclaim_nameless()?;
        }
        let stamp = Stamp { incarnation, nonce: self.options.entropy.next_u64() };
        let segment_bytes = self.volume.segment_bytes();
        let header = HeaderPage { stamp, segment_bytes, cluster_id: cluster_id.to_owned() };
        let trim = TrimPage { stamp, sequence: 1, trimmed: WalPosition(0), assigned: 0, left: 0 };
        let mut pages = base::aligned::AlignedBuffer::zeroed(HEADER_PAGES * PAGE);
        let bytes = pages.as_mut_slice();
        bytes[..PAGE].copy_from_slice(&header.encode());
        bytes[TrimPage::offset(1) as usize..][..PAGE].copy_from_slice(&trim.encode());
        bytes[FENCE_OFFSET as usize..].copy_from_slice(&fence_page(stamp, FenceState::Open));
        let file = self.volume.create_header(incarnation, pages.as_slice()).map_err(|error| self.no_space(error))?;
        let setup = writer::Setup {
            volume: Arc::clone(&self.volume),
            pool: Arc::clone(&self.pool),
            header: file,
            trim,
            segments_max: (self.options.capacity_bytes / segment_bytes) as usize,
            segments_ahead: self.options.segments_ahead.max(1),
            seal_after: self.options.seal_after,
            clock: self.options.clock.clone(),
        };
        writer::start(setup, sink, driver).map(Wal::over).map_err(|error| self.no_space(error))
    }

    /// Writes the fence page of `incarnation`, and nothing else. May be repeated. A header page that cannot be read does
    /// not save its owner: anything but the open page means fenced.
    ///
    /// # Errors
    /// [`WalError::NotFound`], [`WalError::Damaged`] when the header is too short to hold a fence page, or what storage
    /// says: then nothing is known, and it is to be called again.
    pub fn fence(&self, incarnation: Incarnation) -> Result<(), WalError> {
        self.demand(&[Access::Owner, Access::Taker], "fence")?;
        let header = self.header_of(incarnation)?;
        let Some(file) = header.file else {
            let reason = header.page.err().unwrap_or_else(|| "its header cannot be opened".to_owned());
            return Err(WalError::Damaged { incarnation, reason });
        };
        let unknown = Stamp { incarnation, nonce: 0 };
        let stamp = header.page.map(|page| page.stamp).ok().or_else(|| stamp_in(&header.pages)).unwrap_or(unknown);
        write_page(&*file, &fence_page(stamp, FenceState::Fenced), FENCE_OFFSET)
            .map_err(|source| WalError::io(format!("fencing WAL incarnation {incarnation}"), source))
    }

    /// Reads the records of `incarnation` from `from`, which is 0, a [`Group::end`](crate::wal::Group::end) or a
    /// [`ReplayedRecord::next`]. Fence it first: what a living owner appends afterwards is missed. No record is shown
    /// twice, and damage is told only after a second look.
    ///
    /// # Errors
    /// When storage cannot be read, [`WalError::Unreadable`] when a segment is missing and may be one whose page cannot,
    /// [`WalError::Changing`] while the owner still writes, and for an observer [`WalError::Trimmed`]. Damage is not an error
    /// but a [`ReplayEnd::Corrupt`].
    pub fn replay(
        &self,
        incarnation: Incarnation,
        from: WalPosition,
        visit: &mut dyn FnMut(ReplayedRecord) -> ControlFlow<()>,
    ) -> Result<ReplayEnd, WalError> {
        let look = || {
            let header = match self.header_of(incarnation) {
                Ok(header) => Some(header),
                Err(WalError::NotFound { .. }) => None,
                Err(error) => return Err(error),
            };
            // The header first: what it says is assigned has its page by then.
            let (segments, path) = (self.scan()?, self.volume.path());
            Ok(Sight { access: self.options.access, header, segments, path })
        };
        replay::replay(incarnation, &look, from, visit)
    }

    /// Whether a segment of `incarnation` holds one whole record of it, wherever and whenever it was written, or may hold one,
    /// because its file was cut off. A log that metadata does not know, and of which that is so, was not made by a start that
    /// died half-way.
    ///
    /// # Errors
    /// When storage cannot be read: nothing is known then.
    pub fn holds_records(&self, incarnation: Incarnation) -> Result<bool, WalError> {
        replay::holds_records(incarnation, self.volume.segment_bytes(), self.scan()?)
    }

    /// Gives the segments of `incarnation` to the pool and removes its header. Only after metadata says `RECOVERED` or
    /// `ABANDONED`, or that it never knew it and [`Self::holds_records`] denied that there is anything to lose. May be
    /// repeated. Answers how many segments, that may be of it, could not be read and were passed over: none, unless it is given
    /// up.
    ///
    /// # Errors
    /// [`WalError::NotOwned`] when the header does not bear out the claim, [`WalError::InUse`] while the incarnation is being
    /// written here, [`WalError::Unreadable`] when a segment cannot be read, unless it is given up: nothing was written then.
    /// Or what storage says: the header is still there then.
    pub fn remove(&self, incarnation: Incarnation, claim: Claim<'_>) -> Result<usize, WalError> {
        self.demand(&[Access::Owner], "remove an incarnation")?;
        if self.pool.running.lock().contains(&incarnation) {
            let path = self.volume.path();
            return Err(WalError::InUse { path, owner: "this process, which still appends to it".to_owned() });
        }
        // A segment that cannot be read now may be one of them: left behind without its header, it would be a log that
        // nobody knows. An operator who gives it up may have to leave it.
        let segments = match claim {
            Claim::Cluster(_) => self.readable_segments()?,
            Claim::GivenUp(_) => self.scan()?,
        };
        let headers = self.readable_headers()?;
        let mut found =
            self.summaries(&segments, &headers).into_iter().filter(|found| found.incarnation == incarnation);
        found.try_for_each(|found| self.check_claim(found, claim))?;
        let failed = |source| WalError::io(format!("removing WAL incarnation {incarnation}"), source);
        let passed_over = segments.iter().filter(|segment| segment.unreadable.is_some()).count();
        for segment in segments {
            let (Ok(SegmentPage::InUse { stamp, .. }), Some(file)) = (segment.page, segment.file) else { continue };
            // Trimmed segments of a running incarnation may wait in the pool under their old page.
            let pooled = self.pool.free.lock().iter().any(|(id, _)| *id == segment.id);
            if stamp.incarnation == incarnation {
                write_page(&*file, &SegmentPage::Free.encode(), 0).map_err(failed)?;
                if !pooled {
                    self.pool.free.lock().push((segment.id, file));
                }
            }
        }
        for header in headers.into_iter().filter(|header| header.incarnation == Some(incarnation)) {
            self.volume.remove_header(&header.name).map_err(failed)?;
        }
        if let Err(error) = self.shrink_pool() {
            // All of it is gone. A segment too many waits to be recycled.
            tracing::warn!(%incarnation, %error, "a log was removed, and a segment that nobody needs stays");
        }
        Ok(passed_over)
    }

    /// Bytes of one segment.
    pub fn segment_bytes(&self) -> u64 {
        self.volume.segment_bytes()
    }

    /// Segments that wait to be recycled.
    pub fn free_segments(&self) -> usize {
        self.pool.free.lock().len()
    }

    fn demand(&self, allowed: &[Access], operation: &'static str) -> Result<(), WalError> {
        let access = self.options.access;
        if allowed.contains(&access) {
            return Ok(());
        }
        Err(WalError::Access { path: self.volume.path(), access, operation })
    }

    /// Whether an incarnation that is here is the claimant's to remove.
    fn check_claim(&self, found: IncarnationSummary, claim: Claim<'_>) -> Result<(), WalError> {
        let (expected, may_be_unreadable) = match claim {
            Claim::Cluster(expected) => (expected, false),
            Claim::GivenUp(expected) => (expected, true),
        };
        let owner = match found.cluster_id {
            Ok(cluster) if cluster == expected => return Ok(()),
            Err(_) if may_be_unreadable => return Ok(()),
            Ok(cluster) => format!("is of cluster {cluster}"),
            Err(why) => format!("cannot say of which cluster it is ({why})"),
        };
        let (path, expected) = (self.volume.path(), expected.to_owned());
        Err(WalError::NotOwned { incarnation: found.incarnation, path, owner, expected })
    }

    fn no_space(&self, error: std::io::Error) -> WalError {
        if is_full(&error) {
            return WalError::NoSpace { path: self.volume.path(), bytes: self.volume.segment_bytes() };
        }
        WalError::io(format!("making a WAL incarnation in {}", self.volume.path()), error)
    }

    fn header_of(&self, incarnation: Incarnation) -> Result<Header, WalError> {
        let mut headers = self.headers()?;
        if let Some(at) = headers.iter().position(|header| header.incarnation == Some(incarnation)) {
            return Ok(headers.swap_remove(at));
        }
        // On a device only the header itself says whose it is: one that cannot be read now may be this one.
        let nameless = headers.iter_mut().filter(|header| header.incarnation.is_none());
        match nameless.filter_map(|header| header.unreadable.take()).next() {
            Some(error) => Err(self.headers_failed(error)),
            None => Err(WalError::NotFound { incarnation, path: self.volume.path() }),
        }
    }

    fn headers(&self) -> Result<Vec<Header>, WalError> {
        let failed = |error| self.headers_failed(error);
        let mut headers = Vec::new();
        for (name, named) in self.volume.headers().map_err(failed)? {
            let mut pages = base::aligned::AlignedBuffer::zeroed(HEADER_PAGES * PAGE);
            let mut unreadable = None;
            let (file, page) = match self.volume.open_header(&name) {
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => (None, Err(error.to_string())),
                // Removed since it was listed.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
                Ok(file) => {
                    unreadable = read_pages(&*file, pages.as_mut_slice()).err();
                    let page = HeaderPage::decode(&pages.as_slice()[..PAGE]);
                    (Some(file), page.map_err(|why| format!("header page: {why}")))
                }
            };
            // Where the header page says nothing, the other pages may still tell whose they are.
            let told = page.as_ref().ok().map(|page| page.stamp).or_else(|| stamp_in(pages.as_slice()));
            let told = told.map(|stamp| stamp.incarnation);
            let page = match (named, told) {
                (Some(named), Some(told)) if named != told => Err(format!("header page: it names {told}")),
                _ => page,
            };
            let (incarnation, pages) = (named.or(told), pages.as_slice().to_vec());
            headers.push(Header { name, incarnation, file, pages, page, unreadable });
        }
        Ok(headers)
    }

    /// The headers, all of them read: what cannot be read now is an error, not damage.
    fn readable_headers(&self) -> Result<Vec<Header>, WalError> {
        let mut headers = self.headers()?;
        match headers.iter_mut().find_map(|header| header.unreadable.take()) {
            Some(error) => Err(self.headers_failed(error)),
            None => Ok(headers),
        }
    }

    fn headers_failed(&self, error: std::io::Error) -> WalError {
        WalError::io(format!("reading the WAL headers of {}", self.volume.path()), error)
    }

    fn scan(&self) -> Result<Vec<Scanned>, WalError> {
        let failed = |source| WalError::io(format!("reading the WAL segments of {}", self.volume.path()), source);
        let mut segments = Vec::new();
        let mut buffer = base::aligned::AlignedBuffer::zeroed(PAGE);
        for id in self.volume.segments().map_err(failed)? {
            let read = self.volume.open_segment(id).and_then(|file| {
                file.read_at(buffer.as_mut_slice(), 0)?;
                Ok(file)
            });
            segments.push(match read {
                // Removed since it was listed; whether it is missed is for others to say.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Ok(file) => {
                    let page = SegmentPage::decode(buffer.as_slice()).map_err(str::to_owned);
                    Scanned { id, file: Some(file), page, unreadable: None }
                }
                Err(error) => {
                    // A file that is too short is damage that can be told; any other failure may pass.
                    let short = error.kind() == std::io::ErrorKind::UnexpectedEof;
                    let page = Err(error.to_string());
                    Scanned { id, file: None, page, unreadable: (!short).then_some(error) }
                }
            });
        }
        Ok(segments)
    }

    /// The segments, all of them read: what cannot be read now is an error, and no other's.
    fn readable_segments(&self) -> Result<Vec<Scanned>, WalError> {
        let mut segments = self.scan()?;
        match segments.iter_mut().find_map(|segment| Some((segment.id, segment.unreadable.take()?))) {
            Some((id, source)) => Err(WalError::Unreadable { path: self.volume.path(), segment: id.0, source }),
            None => Ok(segments),
        }
    }

    /// Frees segments whose page says nothing sensible; only called while no incarnation could miss them. A file that was cut
    /// off is no segment any more and may hold records, so it stays.
    fn reclaim_nameless(&self) -> Result<(), WalError> {
        for segment in self.scan()?.into_iter().filter(|segment| segment.page.is_err() && segment.unreadable.is_none())
        {
            let failed = |source| WalError::io(format!("reclaiming a WAL segment of {}", self.volume.path()), source);
            match segment.file {
                Some(file) => {
                    write_page(&*file, &SegmentPage::Free.encode(), 0).map_err(failed)?;
                    self.pool.free.lock().push((segment.id, file));
                }
                None => tracing::warn!(
                    path = %self.volume.path(), segment = segment.id.0, why = ?segment.page,
                    "a segment of the write-ahead log was cut off and may hold records, so it stays"
                ),
            }
        }
        Ok(())
    }

    /// Keeps no more free segments than one incarnation can use.
    fn shrink_pool(&self) -> Result<(), WalError> {
        let most = (self.options.capacity_bytes / self.volume.segment_bytes()) as usize;
        loop {
            let mut free = self.pool.free.lock();
            if free.len() <= most || !self.volume.can_remove_segments() {
                return Ok(());
            }
            let Some((id, _)) = free.pop() else { return Ok(()) };
            drop(free);
            self.volume
                .remove_segment(id)
                .map_err(|source| WalError::io(format!("shrinking the WAL {}", self.volume.path()), source))?;
        }
    }
}

/// Reads a header's pages; after an error each that can be read, the rest stays zero: that may say enough to fence by.
fn read_pages(file: &dyn BlockFile, pages: &mut [u8]) -> std::io::Result<()> {
    let whole = file.read_at(pages, 0);
    if whole.is_err() {
        for (index, page) in pages.chunks_mut(PAGE).enumerate() {
            if file.read_at(page, (index * PAGE) as u64).is_err() {
                page.fill(0);
            }
        }
    }
    whole
}

/// Writes one page, from memory that direct I/O accepts.
pub(crate) fn write_page(file: &dyn BlockFile, page: &super::layout::Page, offset: u64) -> std::io::Result<()> {
    let mut buffer = base::aligned::AlignedBuffer::zeroed(PAGE);
    buffer.as_mut_slice().copy_from_slice(page);
    file.write_at(buffer.as_slice(), offset)
}

fn open_volume(options: &BlockLogOptions) -> Result<Arc<dyn Volume>, WalError> {
    let BlockLogOptions { files, path, access, segment_bytes, transfer, .. } = options;
    let (access, bytes, transfer) = (*access, *segment_bytes, *transfer);
    Ok(match access {
        _ if is_device(files, path) => Arc::new(DeviceVolume::open(files, path, bytes, transfer, access)?),
        Access::Owner => Arc::new(DirectoryVolume::own(files, path, bytes, transfer)?),
        _ => Arc::new(DirectoryVolume::visit(files, path, bytes, transfer, access == Access::Taker)?),
    })
}

/// Whether there is something that is no directory. What is not there will be one.
fn is_device(files: &Files, path: &Path) -> bool {
    let is_none = |error: std::io::Error| error.kind() == std::io::ErrorKind::NotADirectory;
    // Below a file there is nothing either.
    files.list(path).is_err_and(is_none) && !files.length(path).is_err_and(is_none)
}
