//! A data block: consecutive entries of one stream.
//!
//! | at | bytes | field |
//! |---:|---:|---|
//! | 0 | 4 | magic `HWDB` |
//! | 4 | 2 | format, 1 |
//! | 6 | 2 | zero |
//! | 8 | 8 | stream |
//! | 16 | 4 | stream epoch |
//! | 20 | 4 | number of entries, n |
//! | 24 | 8 | base offset |
//! | 32 | 8 | end offset |
//! | 40 | 4 | payload length, p |
//! | 44 | 4 | CRC-32C of the block without these four bytes |
//! | 48 | 20·n | entry table: offset from base (4), offsets covered (4), payload length (4), greatest timestamp (8) |
//! | 48+20·n | p | payload of the entries, one after the other |
//!
//! Later formats keep magic, format and checksum where they are: damage is told from a newer format by the checksum.
//!
//! The table stands apart from the payload so that a run of entries is one slice, sent as it is.

use base::checksum::Crc32c;
use base::{Offset, OffsetRange, StreamEpoch, StreamId, TimestampMs};
use bytes::{BufMut, Bytes, BytesMut};

use super::{Fields, FormatError};
use crate::Fragments;

const MAGIC: u32 = u32::from_be_bytes(*b"HWDB");
const FORMAT: u16 = 1;
const WHAT: &str = "data block";
/// Bytes before the entry table.
pub const HEADER_BYTES: usize = 48;
/// Bytes of one row of the entry table.
pub const ROW_BYTES: usize = 20;
const CRC_AT: usize = 44;

/// One entry of a decoded block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockEntry {
    /// Offsets that the entry covers.
    pub range: OffsetRange,
    /// Greatest timestamp inside.
    pub max_timestamp: TimestampMs,
    /// Where its payload stands in the block's bytes.
    at: usize,
    length: usize,
}

/// A decoded, verified block.
#[derive(Debug, Clone)]
pub struct Block {
    /// The stream.
    pub stream: StreamId,
    /// The tenure in which the entries were appended.
    pub epoch: StreamEpoch,
    /// Offsets from the first entry's base to the last entry's end.
    pub range: OffsetRange,
    entries: Box<[BlockEntry]>,
    crc: u32,
    bytes: Bytes,
}

impl Block {
    /// Verifies and decodes a block that fills `bytes`.
    ///
    /// # Errors
    /// [`FormatError`] when the bytes are not a whole, intact block.
    pub fn decode(bytes: Bytes) -> Result<Self, FormatError> {
        let mut f = Fields::new(WHAT, &bytes, HEADER_BYTES)?;
        if f.u32()? != MAGIC {
            return Err(FormatError::Magic { what: WHAT });
        }
        let format = f.u16()?;
        if format != FORMAT {
            let mut at_checksum = Fields::new(WHAT, &bytes[CRC_AT..], size_of::<u32>())?;
            check(&bytes, at_checksum.u32()?)?;
            return Err(FormatError::Version { what: WHAT, found: format, known: FORMAT });
        }
        f.u16()?;
        let stream = StreamId(f.u64()?);
        let epoch = StreamEpoch(f.i32()?);
        let count = f.u32()? as usize;
        let base = Offset(f.u64()?);
        let end = Offset(f.u64()?);
        let payload = f.u32()? as usize;
        let found = f.u32()?;
        let need = count
            .checked_mul(ROW_BYTES)
            .and_then(|table| table.checked_add(HEADER_BYTES))
            .and_then(|n| n.checked_add(payload))
            .ok_or(FormatError::Inconsistent { what: WHAT, why: "its lengths overflow" })?;
        if bytes.len() != need {
            return Err(FormatError::Truncated { what: WHAT, have: bytes.len(), need });
        }
        check(&bytes, found)?;
        let mut rows = Fields::new(WHAT, &bytes[HEADER_BYTES..], count * ROW_BYTES)?;
        let mut entries = Vec::with_capacity(count);
        let (mut at, mut next) = (HEADER_BYTES + count * ROW_BYTES, base);
        for _ in 0..count {
            let from = u64::from(rows.u32()?);
            let covered = u64::from(rows.u32()?);
            let length = rows.u32()? as usize;
            let max_timestamp = TimestampMs(rows.i64()?);
            let start = base.0.checked_add(from).map(Offset).filter(|start| *start >= next);
            let stop = start.and_then(|start| start.0.checked_add(covered)).map(Offset).filter(|stop| *stop <= end);
            let (Some(start), Some(stop)) = (start, stop) else {
                return Err(FormatError::Inconsistent { what: WHAT, why: "its entries overlap or leave its range" });
            };
            entries.push(BlockEntry { range: OffsetRange::new(start, stop), max_timestamp, at, length });
            at += length;
            next = stop;
        }
        if at != bytes.len() || base > end || entries.last().is_some_and(|e| e.range.end != end) {
            return Err(FormatError::Inconsistent { what: WHAT, why: "its entries do not fill it" });
        }
        Ok(Self { stream, epoch, range: OffsetRange::new(base, end), entries: entries.into(), crc: found, bytes })
    }

    /// The checksum that its bytes have.
    pub fn crc(&self) -> u32 {
        self.crc
    }

    /// The entries in offset order.
    pub fn entries(&self) -> &[BlockEntry] {
        &self.entries
    }

    /// The payload of entries `from..to` (indexes into [`Self::entries`]) as one slice.
    pub fn payload(&self, from: usize, to: usize) -> Bytes {
        if from >= to {
            return Bytes::new();
        }
        let last = self.entries[to - 1];
        self.bytes.slice(self.entries[from].at..last.at + last.length)
    }

    /// The payload length of one entry.
    pub fn entry_bytes(&self, index: usize) -> usize {
        self.entries[index].length
    }

    /// Index of the first entry whose end lies above `offset`.
    pub fn first_above(&self, offset: Offset) -> usize {
        self.entries.partition_point(|e| e.range.end <= offset)
    }

    /// Memory that the block holds.
    pub fn weight(&self) -> usize {
        self.bytes.len() + self.entries.len() * size_of::<BlockEntry>() + size_of::<Self>()
    }
}

/// Compares a block's bytes, which are at least a header, with their checksum.
fn check(bytes: &[u8], found: u32) -> Result<(), FormatError> {
    let computed = checksum(&bytes[..CRC_AT], [&bytes[HEADER_BYTES..]]);
    // Planted: what the checksum says does not matter.
    if computed == found || base::plant::bug("crc-ignored") {
        Ok(())
    } else {
        Err(FormatError::Checksum { what: WHAT, found, computed })
    }
}

fn checksum<'a>(head: &[u8], rest: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    let mut crc = Crc32c::new();
    crc.update(head);
    for part in rest {
        crc.update(part);
    }
    crc.finish()
}

/// Gathers entries of one stream until the block is large enough.
#[derive(Debug)]
pub struct BlockBuilder {
    stream: StreamId,
    epoch: StreamEpoch,
    range: OffsetRange,
    max_timestamp: TimestampMs,
    table: BytesMut,
    payload: Vec<Bytes>,
    payload_bytes: usize,
    count: u32,
}

/// A finished block: its bytes as slices, and what the index says of it.
#[derive(Debug)]
pub struct FinishedBlock {
    /// Header and table, then the payload as it was handed in.
    pub parts: Vec<Bytes>,
    /// Sum of the parts.
    pub length: usize,
    /// The block's CRC.
    pub crc: u32,
    /// Offsets covered.
    pub range: OffsetRange,
    /// Greatest timestamp inside.
    pub max_timestamp: TimestampMs,
}

impl BlockBuilder {
    /// An empty block that will start at `base`.
    pub fn new(stream: StreamId, epoch: StreamEpoch, base: Offset) -> Self {
        Self {
            stream,
            epoch,
            range: OffsetRange::new(base, base),
            max_timestamp: TimestampMs(-1),
            table: BytesMut::new(),
            payload: Vec::new(),
            payload_bytes: 0,
            count: 0,
        }
    }

    /// Whether an entry ending at `end` with `bytes` of payload still fits the 32-bit fields of the table.
    pub fn fits(&self, end: Offset, bytes: usize) -> bool {
        end - self.range.start <= u64::from(u32::MAX) && self.payload_bytes + bytes <= u32::MAX as usize
    }

    /// Adds an entry; the caller asked [`Self::fits`] first and keeps entries in order.
    pub fn push(&mut self, range: OffsetRange, max_timestamp: TimestampMs, payload: &Fragments) {
        let length: usize = payload.iter().map(Bytes::len).sum();
        self.table.put_u32((range.start - self.range.start) as u32);
        self.table.put_u32((range.end - range.start) as u32);
        self.table.put_u32(length as u32);
        self.table.put_i64(max_timestamp.0);
        self.payload.extend(payload.iter().filter(|part| !part.is_empty()).cloned());
        self.payload_bytes += length;
        self.range.end = range.end;
        self.max_timestamp = self.max_timestamp.max(max_timestamp);
        self.count += 1;
    }

    /// Payload gathered so far.
    pub fn bytes(&self) -> usize {
        self.payload_bytes
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The finished block.
    pub fn finish(self) -> FinishedBlock {
        let mut head = BytesMut::with_capacity(HEADER_BYTES + self.table.len());
        head.put_u32(MAGIC);
        head.put_u16(FORMAT);
        head.put_u16(0);
        head.put_u64(self.stream.0);
        head.put_i32(self.epoch.0);
        head.put_u32(self.count);
        head.put_u64(self.range.start.0);
        head.put_u64(self.range.end.0);
        head.put_u32(self.payload_bytes as u32);
        let crc = checksum(&head, std::iter::once(&self.table[..]).chain(self.payload.iter().map(|p| &p[..])));
        head.put_u32(crc);
        head.put_slice(&self.table);
        let length = head.len() + self.payload_bytes;
        let mut parts = Vec::with_capacity(self.payload.len() + 1);
        parts.push(head.freeze());
        parts.extend(self.payload);
        FinishedBlock { parts, length, crc, range: self.range, max_timestamp: self.max_timestamp }
    }
}
