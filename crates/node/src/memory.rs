//! A log volume in memory, for a store that is in memory too.
//!
//! Its files are sparse: what holds nothing but zeros takes no memory, so that segments prepared ahead cost nothing.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use base::Incarnation;
use parking_lot::Mutex;
use stream::wal::block::volume::{BlockFile, HeaderName, NewSegment, SegmentId, Volume};

/// Bytes that are kept, or not, as one.
const CHUNK_BYTES: u64 = 64 * 1024;

#[derive(Debug)]
struct MemoryFile {
    length: u64,
    chunks: Mutex<BTreeMap<u64, Box<[u8]>>>,
}

impl MemoryFile {
    fn new(length: u64) -> Arc<Self> {
        Arc::new(Self { length, chunks: Mutex::default() })
    }

    fn check(&self, bytes: usize, offset: u64) -> io::Result<()> {
        match offset.checked_add(bytes as u64) {
            Some(end) if end <= self.length => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// The pieces of `[offset, offset + length)` that lie in one chunk each: the chunk, where in it, and where in the range.
fn pieces(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let place = offset + at as u64;
        let within = (place % CHUNK_BYTES) as usize;
        let piece = at..length.min(at + CHUNK_BYTES as usize - within);
        at = piece.end;
        (!piece.is_empty()).then_some((place / CHUNK_BYTES, within, piece))
    })
}

impl BlockFile for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.check(buffer.len(), offset)?;
        let chunks = self.chunks.lock();
        for (chunk, within, piece) in pieces(offset, buffer.len()) {
            let out = &mut buffer[piece];
            match chunks.get(&chunk) {
                Some(bytes) => out.copy_from_slice(&bytes[within..within + out.len()]),
                None => out.fill(0),
            }
        }
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.check(bytes.len(), offset)?;
        let mut chunks = self.chunks.lock();
        for (chunk, within, piece) in pieces(offset, bytes.len()) {
            let piece = &bytes[piece];
            if !chunks.contains_key(&chunk) && piece.iter().all(|byte| *byte == 0) {
                continue;
            }
            let there = chunks.entry(chunk).or_insert_with(|| vec![0; CHUNK_BYTES as usize].into_boxed_slice());
            there[within..within + piece.len()].copy_from_slice(piece);
        }
        Ok(())
    }
}

/// Headers and segments in memory; gone with the node.
#[derive(Debug)]
pub(crate) struct MemoryVolume {
    segment_bytes: u64,
    headers: Mutex<BTreeMap<HeaderName, (Incarnation, Arc<MemoryFile>)>>,
    segments: Mutex<BTreeMap<SegmentId, Arc<MemoryFile>>>,
}

impl MemoryVolume {
    pub(crate) fn new(segment_bytes: u64) -> Self {
        Self { segment_bytes, headers: Mutex::default(), segments: Mutex::default() }
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
        Ok(self.headers.lock().iter().map(|(name, (incarnation, _))| (name.clone(), Some(*incarnation))).collect())
    }

    fn open_header(&self, name: &HeaderName) -> io::Result<Arc<dyn BlockFile>> {
        let headers = self.headers.lock();
        let (_, file) = headers.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(file.clone())
    }

    fn create_header(&self, incarnation: Incarnation, pages: &[u8]) -> io::Result<Arc<dyn BlockFile>> {
        let name = HeaderName(incarnation.to_string());
        let mut headers = self.headers.lock();
        if headers.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = MemoryFile::new(pages.len() as u64);
        file.write_at(pages, 0)?;
        headers.insert(name, (incarnation, file.clone()));
        Ok(file)
    }

    fn remove_header(&self, name: &HeaderName) -> io::Result<()> {
        self.headers.lock().remove(name);
        Ok(())
    }

    fn segments(&self) -> io::Result<Vec<SegmentId>> {
        Ok(self.segments.lock().keys().copied().collect())
    }

    fn open_segment(&self, id: SegmentId) -> io::Result<Arc<dyn BlockFile>> {
        let segments = self.segments.lock();
        Ok(segments.get(&id).ok_or(io::ErrorKind::NotFound)?.clone())
    }

    fn create_segment(&self, _zeroed: u64) -> io::Result<NewSegment> {
        let mut segments = self.segments.lock();
        let id = SegmentId(segments.last_key_value().map_or(0, |(last, _)| last.0 + 1));
        let file = MemoryFile::new(self.segment_bytes);
        segments.insert(id, file.clone());
        Ok(NewSegment { id, file, zeroed: self.segment_bytes })
    }

    fn remove_segment(&self, id: SegmentId) -> io::Result<()> {
        self.segments.lock().remove(&id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparse_file_reads_as_it_was_written_and_zeros_take_no_memory() {
        let file = MemoryFile::new(4 * CHUNK_BYTES);
        file.write_at(&vec![0; 4 * CHUNK_BYTES as usize], 0).unwrap();
        assert!(file.chunks.lock().is_empty());
        // Over the border of two chunks.
        let (at, written) = (CHUNK_BYTES - 4096, vec![7; 8192]);
        file.write_at(&written, at).unwrap();
        let mut read = vec![1; 16384];
        file.read_at(&mut read, at - 4096).unwrap();
        let expected = [vec![0; 4096], written, vec![0; 4096]].concat();
        assert!(read == expected);
        assert_eq!(file.chunks.lock().len(), 2);
        file.write_at(&vec![0; 8192], at).unwrap();
        file.read_at(&mut read, at - 4096).unwrap();
        assert!(read.iter().all(|byte| *byte == 0), "zeros over something are written");
        let beyond = file.read_at(&mut read, 4 * CHUNK_BYTES - 4096).unwrap_err();
        assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof);
    }
}
