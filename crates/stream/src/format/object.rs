//! A whole object: builder, footer, and the reading of footer and index.
//!
//! The footer is the last 48 bytes:
//!
//! | at | bytes | field |
//! |---:|---:|---|
//! | 0 | 8 | position of the index, which is also the length of all blocks |
//! | 8 | 4 | length of the index |
//! | 12 | 4 | CRC-32C of the index |
//! | 16 | 8 | writer: broker epoch |
//! | 24 | 4 | writer: broker id |
//! | 28 | 1 | kind: 0 stream set object, 1 stream object, 2 object of an object log |
//! | 29 | 1 | zero |
//! | 30 | 2 | format, 1 |
//! | 32 | 4 | CRC-32C of bytes 0–31 |
//! | 36 | 4 | zero |
//! | 40 | 8 | magic `HWOBJECT` |

use base::checksum::{crc32c, crc32c_of};
use base::{BrokerEpoch, BrokerId, Incarnation, Offset, OffsetRange, StreamEpoch, StreamId, TimestampMs};
use bytes::{BufMut, Bytes, BytesMut};

use super::ObjectKind;
use super::block::{BlockBuilder, FinishedBlock};
use super::index::{BlockIndex, Index, SideIndex};
use super::{Fields, FormatError};
use crate::Fragments;

const MAGIC: u64 = u64::from_be_bytes(*b"HWOBJECT");
const FORMAT: u16 = 1;
const WHAT: &str = "object footer";
/// Bytes of the footer.
pub const FOOTER_BYTES: usize = 48;

/// A decoded footer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footer {
    /// Position of the index and length of all blocks.
    pub index_position: u64,
    /// Length of the index.
    pub index_length: u32,
    /// CRC-32C of the index.
    pub index_crc: u32,
    /// Who wrote the object.
    pub writer: Incarnation,
    /// What it holds.
    pub kind: ObjectKind,
}

impl Footer {
    fn encode(&self) -> [u8; FOOTER_BYTES] {
        let mut out = BytesMut::with_capacity(FOOTER_BYTES);
        out.put_u64(self.index_position);
        out.put_u32(self.index_length);
        out.put_u32(self.index_crc);
        out.put_i64(self.writer.epoch.0);
        out.put_i32(self.writer.broker.0);
        out.put_i8(self.kind.code());
        out.put_u8(0);
        out.put_u16(FORMAT);
        let crc = crc32c(&out);
        out.put_u32(crc);
        out.put_u32(0);
        out.put_u64(MAGIC);
        let mut bytes = [0; FOOTER_BYTES];
        bytes.copy_from_slice(&out);
        bytes
    }

    /// Decodes the last bytes of an object of `object_length` bytes.
    ///
    /// # Errors
    /// [`FormatError`] when they are not an intact footer of an object of that length.
    pub fn decode(bytes: &[u8], object_length: u64) -> Result<Self, FormatError> {
        let mut f = Fields::new(WHAT, bytes, FOOTER_BYTES)?;
        let index_position = f.u64()?;
        let index_length = f.u32()?;
        let index_crc = f.u32()?;
        let epoch = BrokerEpoch(f.i64()?);
        let broker = BrokerId(f.i32()?);
        let kind = f.take::<1>()?[0];
        f.take::<1>()?;
        let format = f.u16()?;
        let found = f.u32()?;
        f.u32()?;
        if f.u64()? != MAGIC {
            return Err(FormatError::Magic { what: WHAT });
        }
        let computed = crc32c(&bytes[..32]);
        if computed != found {
            return Err(FormatError::Checksum { what: WHAT, found, computed });
        }
        if format != FORMAT {
            return Err(FormatError::Version { what: WHAT, found: format, known: FORMAT });
        }
        let known = i8::try_from(kind).ok().and_then(ObjectKind::from_code);
        let Some(kind) = known else { return Err(FormatError::Kind { what: WHAT, found: kind }) };
        if index_position.checked_add(u64::from(index_length) + FOOTER_BYTES as u64) != Some(object_length) {
            return Err(FormatError::Inconsistent { what: WHAT, why: "its lengths do not add up to the object's" });
        }
        Ok(Self { index_position, index_length, index_crc, writer: Incarnation { broker, epoch }, kind })
    }

    /// Checks and decodes the index bytes that this footer describes.
    ///
    /// # Errors
    /// [`FormatError`] when they differ from what was written.
    pub fn index(&self, bytes: &[u8]) -> Result<Index, FormatError> {
        let computed = crc32c(bytes);
        if computed != self.index_crc {
            return Err(FormatError::Checksum { what: "object index", found: self.index_crc, computed });
        }
        Index::decode(bytes, self.index_position)
    }
}

/// What a commit says of one stream in an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamExtent {
    /// The stream.
    pub stream: StreamId,
    /// The tenure in which the entries were appended.
    pub epoch: StreamEpoch,
    /// Offsets covered.
    pub range: OffsetRange,
    /// Greatest timestamp inside.
    pub max_timestamp: TimestampMs,
    /// Payload bytes.
    pub bytes: u64,
}

/// A finished object, ready to be put.
#[derive(Debug)]
pub struct BuiltObject {
    /// The bytes, as slices.
    pub payload: Vec<Bytes>,
    /// Sum of the slices.
    pub length: u64,
    /// CRC-32C of index and footer.
    pub crc: u32,
    /// What it holds.
    pub kind: ObjectKind,
    /// One per stream and epoch, in order.
    pub extents: Vec<StreamExtent>,
    /// (stream, epoch, offset described) of each checkpoint.
    pub checkpoints: Vec<(StreamId, StreamEpoch, Offset)>,
}

/// Gathers blocks into an object. Streams come in rising order, each with its entries and then its checkpoint.
#[derive(Debug)]
pub struct ObjectBuilder {
    writer: Incarnation,
    kind: ObjectKind,
    block_bytes: usize,
    payload: Vec<Bytes>,
    position: u64,
    index: Index,
    extents: Vec<StreamExtent>,
    sides: Vec<(StreamId, StreamEpoch, Offset, Bytes)>,
    open: Option<BlockBuilder>,
    open_stream: Option<(StreamId, StreamEpoch)>,
}

impl ObjectBuilder {
    /// An empty object of `kind`, cut into blocks of about `block_bytes`.
    pub fn new(writer: Incarnation, kind: ObjectKind, block_bytes: usize) -> Self {
        Self {
            writer,
            kind,
            block_bytes,
            payload: Vec::new(),
            position: 0,
            index: Index::default(),
            extents: Vec::new(),
            sides: Vec::new(),
            open: None,
            open_stream: None,
        }
    }

    /// Adds the next entry of a stream. Streams, and offsets within one, must rise; a change of epoch starts a new block.
    pub fn push(
        &mut self,
        stream: StreamId,
        epoch: StreamEpoch,
        range: OffsetRange,
        max_timestamp: TimestampMs,
        payload: &Fragments,
    ) {
        let bytes: usize = payload.iter().map(Bytes::len).sum();
        let continues = self.open_stream == Some((stream, epoch));
        let full = self.open.as_ref().is_some_and(|b| {
            !b.is_empty() && (b.bytes() + bytes > self.block_bytes || (continues && !b.fits(range.end, bytes)))
        });
        if full || !continues {
            self.finish_block();
        }
        if !continues {
            self.open_stream = Some((stream, epoch));
            let range = OffsetRange::new(range.start, range.start);
            self.extents.push(StreamExtent { stream, epoch, range, max_timestamp, bytes: 0 });
        }
        let extent = self.extents.last_mut().expect("an extent was opened above");
        extent.range.end = range.end;
        extent.max_timestamp = extent.max_timestamp.max(max_timestamp);
        extent.bytes += bytes as u64;
        self.open.get_or_insert_with(|| BlockBuilder::new(stream, epoch, range.start)).push(
            range,
            max_timestamp,
            payload,
        );
    }

    /// Adds a stream's checkpoint, describing the state after everything below `offset`.
    pub fn push_checkpoint(&mut self, stream: StreamId, epoch: StreamEpoch, offset: Offset, bytes: Bytes) {
        self.sides.push((stream, epoch, offset, bytes));
    }

    /// Payload gathered so far, in bytes.
    pub fn bytes(&self) -> u64 {
        self.position + self.open.as_ref().map_or(0, |b| b.bytes() as u64)
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.extents.is_empty() && self.sides.is_empty()
    }

    fn finish_block(&mut self) {
        let Some(block) = self.open.take() else { return };
        let payload = block.bytes() as u32;
        let (stream, epoch) = self.open_stream.expect("a block belongs to a stream");
        let FinishedBlock { parts, length, crc, range, max_timestamp } = block.finish();
        let position = self.position;
        let length = length as u32;
        self.index.blocks.push(BlockIndex { stream, epoch, range, max_timestamp, position, length, crc, payload });
        self.payload.extend(parts);
        self.position += u64::from(length);
    }

    /// The finished object.
    pub fn finish(mut self) -> BuiltObject {
        self.finish_block();
        let mut checkpoints = Vec::with_capacity(self.sides.len());
        for (stream, epoch, offset, bytes) in std::mem::take(&mut self.sides) {
            let (position, length) = (self.position, bytes.len() as u32);
            self.index.sides.push(SideIndex { stream, epoch, offset, position, length, crc: crc32c(&bytes) });
            checkpoints.push((stream, epoch, offset));
            self.position += u64::from(length);
            self.payload.push(bytes);
        }
        let index = self.index.encode();
        let footer = Footer {
            index_position: self.position,
            index_length: index.len() as u32,
            index_crc: crc32c(&index),
            writer: self.writer,
            kind: self.kind,
        }
        .encode();
        let crc = crc32c_of([&index[..], &footer[..]]);
        let length = self.position + (index.len() + FOOTER_BYTES) as u64;
        let mut tail = index;
        tail.put_slice(&footer);
        self.payload.push(tail.freeze());
        BuiltObject { payload: self.payload, length, crc, kind: self.kind, extents: self.extents, checkpoints }
    }
}
