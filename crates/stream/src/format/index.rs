//! The index of an object: one row per data block and per side block, in the order they stand in the object.
//!
//! | at | bytes | field |
//! |---:|---:|---|
//! | 0 | 4 | magic `HWIX` |
//! | 4 | 2 | format, 1 |
//! | 6 | 2 | zero |
//! | 8 | 4 | data rows, d |
//! | 12 | 4 | side rows, s |
//! | 16 | 56·d | data rows: stream (8), stream epoch (4), base offset (8), end offset (8), greatest timestamp (8), position (8), length (4), CRC (4), entries' payload (4) |
//! | … | 36·s | side rows: stream (8), stream epoch (4), offset described (8), position (8), length (4), CRC (4) |
//!
//! The CRC of the index stands in the footer. Rows are sorted by (stream, base offset), so a stream's blocks are found
//! by binary search; the greatest timestamp answers time look-ups without reading blocks.

use base::{Offset, OffsetRange, StreamEpoch, StreamId, TimestampMs};
use bytes::{BufMut, BytesMut};

use super::{Fields, FormatError};

const MAGIC: u32 = u32::from_be_bytes(*b"HWIX");
const FORMAT: u16 = 1;
const WHAT: &str = "object index";
const HEADER_BYTES: usize = 16;
const DATA_ROW_BYTES: usize = 56;
const SIDE_ROW_BYTES: usize = 36;

/// Where one data block stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockIndex {
    /// The stream.
    pub stream: StreamId,
    /// The tenure in which its entries were appended.
    pub epoch: StreamEpoch,
    /// Offsets covered.
    pub range: OffsetRange,
    /// Greatest timestamp inside.
    pub max_timestamp: TimestampMs,
    /// First byte in the object.
    pub position: u64,
    /// Length in bytes.
    pub length: u32,
    /// The block's CRC.
    pub crc: u32,
    /// Payload of its entries, in bytes.
    pub payload: u32,
}

/// Where one side block (a checkpoint) stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SideIndex {
    /// The stream.
    pub stream: StreamId,
    /// The tenure in which it was taken.
    pub epoch: StreamEpoch,
    /// The offset that it describes: the state after everything below.
    pub offset: Offset,
    /// First byte in the object.
    pub position: u64,
    /// Length in bytes.
    pub length: u32,
    /// CRC-32C of its bytes.
    pub crc: u32,
}

/// A decoded index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    /// Data blocks, sorted by stream and offset.
    pub blocks: Vec<BlockIndex>,
    /// Side blocks, sorted by stream.
    pub sides: Vec<SideIndex>,
}

impl Index {
    /// The index's bytes.
    pub fn encode(&self) -> BytesMut {
        let mut out = BytesMut::with_capacity(
            HEADER_BYTES + self.blocks.len() * DATA_ROW_BYTES + self.sides.len() * SIDE_ROW_BYTES,
        );
        out.put_u32(MAGIC);
        out.put_u16(FORMAT);
        out.put_u16(0);
        out.put_u32(self.blocks.len() as u32);
        out.put_u32(self.sides.len() as u32);
        for b in &self.blocks {
            out.put_u64(b.stream.0);
            out.put_i32(b.epoch.0);
            out.put_u64(b.range.start.0);
            out.put_u64(b.range.end.0);
            out.put_i64(b.max_timestamp.0);
            out.put_u64(b.position);
            out.put_u32(b.length);
            out.put_u32(b.crc);
            out.put_u32(b.payload);
        }
        for s in &self.sides {
            out.put_u64(s.stream.0);
            out.put_i32(s.epoch.0);
            out.put_u64(s.offset.0);
            out.put_u64(s.position);
            out.put_u32(s.length);
            out.put_u32(s.crc);
        }
        out
    }

    /// Decodes an index that fills `bytes` and whose CRC the caller has checked against the footer.
    ///
    /// # Errors
    /// [`FormatError`] when the rows do not fill the bytes, stand out of order or reach beyond `data_bytes`.
    pub fn decode(bytes: &[u8], data_bytes: u64) -> Result<Self, FormatError> {
        let mut f = Fields::new(WHAT, bytes, HEADER_BYTES)?;
        if f.u32()? != MAGIC {
            return Err(FormatError::Magic { what: WHAT });
        }
        let format = f.u16()?;
        if format != FORMAT {
            return Err(FormatError::Version { what: WHAT, found: format, known: FORMAT });
        }
        f.u16()?;
        let (data, side) = (f.u32()? as usize, f.u32()? as usize);
        let need = (data as u64) * DATA_ROW_BYTES as u64 + (side as u64) * SIDE_ROW_BYTES as u64 + HEADER_BYTES as u64;
        if bytes.len() as u64 != need {
            return Err(FormatError::Truncated { what: WHAT, have: bytes.len(), need: need as usize });
        }
        let mut blocks = Vec::with_capacity(data);
        for _ in 0..data {
            blocks.push(BlockIndex {
                stream: StreamId(f.u64()?),
                epoch: StreamEpoch(f.i32()?),
                range: OffsetRange::new(Offset(f.u64()?), Offset(f.u64()?)),
                max_timestamp: TimestampMs(f.i64()?),
                position: f.u64()?,
                length: f.u32()?,
                crc: f.u32()?,
                payload: f.u32()?,
            });
        }
        let mut sides = Vec::with_capacity(side);
        for _ in 0..side {
            sides.push(SideIndex {
                stream: StreamId(f.u64()?),
                epoch: StreamEpoch(f.i32()?),
                offset: Offset(f.u64()?),
                position: f.u64()?,
                length: f.u32()?,
                crc: f.u32()?,
            });
        }
        let index = Self { blocks, sides };
        index.check(data_bytes)?;
        Ok(index)
    }

    fn check(&self, data_bytes: u64) -> Result<(), FormatError> {
        let inside = |at: u64, length: u32| at.checked_add(u64::from(length)).is_some_and(|end| end <= data_bytes);
        let blocks_inside = self.blocks.iter().all(|b| inside(b.position, b.length));
        if !blocks_inside || !self.sides.iter().all(|s| inside(s.position, s.length)) {
            return Err(FormatError::Inconsistent { what: WHAT, why: "a row points beyond the data" });
        }
        let in_order = |a: &BlockIndex, b: &BlockIndex| {
            a.stream < b.stream || (a.stream == b.stream && a.range.end <= b.range.start)
        };
        if !self.blocks.is_sorted_by(in_order) || !self.sides.is_sorted_by(|a, b| a.stream < b.stream) {
            return Err(FormatError::Inconsistent { what: WHAT, why: "its rows are out of order" });
        }
        Ok(())
    }

    /// The blocks of one stream, in offset order.
    pub fn blocks_of(&self, stream: StreamId) -> &[BlockIndex] {
        let from = self.blocks.partition_point(|b| b.stream < stream);
        let to = self.blocks.partition_point(|b| b.stream <= stream);
        &self.blocks[from..to]
    }

    /// The checkpoint of one stream.
    pub fn side_of(&self, stream: StreamId) -> Option<&SideIndex> {
        self.sides.binary_search_by_key(&stream, |s| s.stream).ok().map(|i| &self.sides[i])
    }

    /// Memory that the index holds.
    pub fn weight(&self) -> usize {
        self.blocks.len() * size_of::<BlockIndex>() + self.sides.len() * size_of::<SideIndex>() + size_of::<Self>()
    }
}
