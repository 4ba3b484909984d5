//! A volume in memory with a hook before every read and write.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use base::Incarnation;
use stream::wal::block::volume::{BlockFile, HeaderName, NewSegment, SegmentId, Volume};

/// Which file an operation is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Header,
    Segment(u64),
}

/// An operation about to happen.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    pub place: Place,
    pub offset: u64,
    pub length: usize,
}

/// What becomes of a write.
pub enum WriteFate {
    Lands,
    Fails(io::ErrorKind),
    /// The sectors (512 bytes) for which the function says so land; then the device is dead.
    Crashes(Box<dyn FnMut(usize) -> bool>),
}

type WriteHook = Arc<dyn Fn(Operation) -> WriteFate + Send + Sync>;
/// Called after the bytes were read: what it does is too late for them.
type ReadHook = Arc<dyn Fn(Operation) -> io::Result<()> + Send + Sync>;

#[derive(Default)]
pub struct Faults {
    pub on_write: Mutex<Option<WriteHook>>,
    pub on_read: Mutex<Option<ReadHook>>,
    pub dead: AtomicBool,
    pub full: AtomicBool,
    /// Segments cannot be removed.
    pub keeps_segments: AtomicBool,
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Faults")
    }
}

impl Faults {
    pub fn writes(&self, hook: impl Fn(Operation) -> WriteFate + Send + Sync + 'static) {
        *self.on_write.lock().unwrap() = Some(Arc::new(hook));
    }

    pub fn reads(&self, hook: impl Fn(Operation) -> io::Result<()> + Send + Sync + 'static) {
        *self.on_read.lock().unwrap() = Some(Arc::new(hook));
    }

    /// The device works again, as after a restart of the machine.
    pub fn heal(&self) {
        *self.on_write.lock().unwrap() = None;
        *self.on_read.lock().unwrap() = None;
        self.dead.store(false, Ordering::SeqCst);
    }
}

#[derive(Debug)]
pub struct MemoryFile {
    place: Place,
    pub bytes: Mutex<Vec<u8>>,
    faults: Arc<Faults>,
}

impl BlockFile for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let operation = Operation { place: self.place, offset, length: buffer.len() };
        buffer.copy_from_slice(&self.bytes.lock().unwrap()[offset as usize..][..buffer.len()]);
        let hook = self.faults.on_read.lock().unwrap().clone();
        hook.map_or(Ok(()), |hook| hook(operation))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        assert!(bytes.len().is_multiple_of(4096) && offset.is_multiple_of(4096), "direct I/O takes pages");
        if self.faults.dead.load(Ordering::SeqCst) {
            return Err(io::Error::other("the device is dead"));
        }
        let operation = Operation { place: self.place, offset, length: bytes.len() };
        let hook = self.faults.on_write.lock().unwrap().clone();
        match hook.map_or(WriteFate::Lands, |hook| hook(operation)) {
            WriteFate::Lands => {
                self.bytes.lock().unwrap()[offset as usize..][..bytes.len()].copy_from_slice(bytes);
                Ok(())
            }
            WriteFate::Fails(kind) => Err(kind.into()),
            WriteFate::Crashes(mut lands) => {
                let mut memory = self.bytes.lock().unwrap();
                for (sector, content) in bytes.chunks(512).enumerate().filter(|(sector, _)| lands(*sector)) {
                    memory[offset as usize + sector * 512..][..512].copy_from_slice(content);
                }
                self.faults.dead.store(true, Ordering::SeqCst);
                Err(io::Error::other("the device has died"))
            }
        }
    }

    /// One operation, as on a device.
    fn write_zeros(&self, length: u64, offset: u64) -> io::Result<()> {
        self.write_at(&vec![0; length as usize], offset)
    }
}

#[derive(Debug)]
pub struct MemoryVolume {
    segment_bytes: u64,
    pub headers: Mutex<BTreeMap<HeaderName, (Incarnation, Arc<MemoryFile>)>>,
    pub segments: Mutex<BTreeMap<SegmentId, Arc<MemoryFile>>>,
    pub faults: Arc<Faults>,
    /// Whether the place of a header does not tell whose it is, as on a device.
    pub is_device: AtomicBool,
}

impl MemoryVolume {
    pub fn new(segment_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            segment_bytes,
            headers: Mutex::default(),
            segments: Mutex::default(),
            faults: Arc::default(),
            is_device: AtomicBool::new(false),
        })
    }

    fn file(&self, place: Place, bytes: Vec<u8>) -> Arc<MemoryFile> {
        Arc::new(MemoryFile { place, bytes: Mutex::new(bytes), faults: Arc::clone(&self.faults) })
    }

    /// The header of the only incarnation.
    pub fn header(&self) -> Arc<MemoryFile> {
        Arc::clone(&self.headers.lock().unwrap().values().next().unwrap().1)
    }
}

impl Volume for MemoryVolume {
    fn path(&self) -> String {
        "memory".to_owned()
    }

    fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    fn headers(&self) -> io::Result<Vec<(HeaderName, Option<Incarnation>)>> {
        let names = |named: bool| {
            let headers = self.headers.lock().unwrap();
            headers.iter().map(|(name, (inc, _))| (name.clone(), named.then_some(*inc))).collect()
        };
        Ok(names(!self.is_device.load(Ordering::SeqCst)))
    }

    fn open_header(&self, name: &HeaderName) -> io::Result<Arc<dyn BlockFile>> {
        Ok(Arc::clone(&self.headers.lock().unwrap().get(name).ok_or(io::ErrorKind::NotFound)?.1) as _)
    }

    fn create_header(&self, incarnation: Incarnation, pages: &[u8]) -> io::Result<Arc<dyn BlockFile>> {
        let file = self.file(Place::Header, pages.to_vec());
        let name = HeaderName(incarnation.to_string());
        self.headers.lock().unwrap().insert(name, (incarnation, Arc::clone(&file)));
        Ok(file)
    }

    fn remove_header(&self, name: &HeaderName) -> io::Result<()> {
        self.headers.lock().unwrap().remove(name);
        Ok(())
    }

    fn segments(&self) -> io::Result<Vec<SegmentId>> {
        Ok(self.segments.lock().unwrap().keys().copied().collect())
    }

    fn open_segment(&self, id: SegmentId) -> io::Result<Arc<dyn BlockFile>> {
        Ok(Arc::clone(self.segments.lock().unwrap().get(&id).ok_or(io::ErrorKind::NotFound)?) as _)
    }

    fn create_segment(&self, zeroed: u64) -> io::Result<NewSegment> {
        if self.faults.full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut segments = self.segments.lock().unwrap();
        let id = SegmentId(segments.len() as u64);
        let file = self.file(Place::Segment(id.0), vec![0; self.segment_bytes as usize]);
        segments.insert(id, Arc::clone(&file));
        Ok(NewSegment { id, file, zeroed: zeroed.min(self.segment_bytes) })
    }

    fn remove_segment(&self, id: SegmentId) -> io::Result<()> {
        if self.faults.keeps_segments.load(Ordering::SeqCst) {
            return Err(io::Error::other("EIO"));
        }
        self.segments.lock().unwrap().remove(&id);
        Ok(())
    }
}
