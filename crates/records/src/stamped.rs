//! A batch on its way into the log: its own copy of the header, everybody's copy of the records.
//!
//! The records stay in the network frame in which they came, shared with the frame's other readers. Only the header is
//! copied, because base offset and leader epoch become known (and differ) only under the partition's lock.

use base::checksum::crc32c_of;
use bytes::{Bytes, BytesMut};

use crate::batch::{
    self, AT_ATTRIBUTES, AT_CRC, AT_MAX_TIMESTAMP, BatchHeader, CRC_COVERS_FROM, HEADER_BYTES, TIMESTAMP_TYPE_BIT,
};
use crate::{Batch, TimestampType};

/// A batch as two slices: an owned header and shared records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StampedBatch {
    header: BatchHeader,
    head: [u8; HEADER_BYTES],
    tail: Bytes,
}

impl StampedBatch {
    /// Splits a batch into its header, copied, and its records, shared.
    pub fn new(batch: &Batch) -> Self {
        let head = *batch.bytes.first_chunk().expect("a batch holds at least its header");
        Self { header: batch.header, head, tail: batch.bytes.slice(HEADER_BYTES..) }
    }

    /// The header as it now is.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Sets base offset and leader epoch; the CRC stays right.
    pub fn stamp(&mut self, base_offset: i64, leader_epoch: i32) {
        batch::stamp(&mut self.head, base_offset, leader_epoch);
        self.header.base_offset = base_offset;
        self.header.leader_epoch = leader_epoch;
    }

    /// Sets timestamp type and max timestamp, and the CRC if either changed.
    pub(crate) fn set_timestamps(&mut self, timestamp_type: TimestampType, max_timestamp: i64) {
        if self.header.timestamp_type() == timestamp_type && self.header.max_timestamp == max_timestamp {
            return;
        }
        let header = &mut self.header;
        header.max_timestamp = max_timestamp;
        match timestamp_type {
            TimestampType::CreateTime => header.attributes &= !TIMESTAMP_TYPE_BIT,
            TimestampType::LogAppendTime => header.attributes |= TIMESTAMP_TYPE_BIT,
        }
        self.head[AT_ATTRIBUTES..AT_ATTRIBUTES + 2].copy_from_slice(&header.attributes.to_be_bytes());
        self.head[AT_MAX_TIMESTAMP..AT_MAX_TIMESTAMP + 8].copy_from_slice(&max_timestamp.to_be_bytes());
        header.crc = crc32c_of([&self.head[CRC_COVERS_FROM..], &self.tail]);
        self.head[AT_CRC..AT_CRC + 4].copy_from_slice(&header.crc.to_be_bytes());
    }

    /// The batch's size in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a batch is never empty")]
    pub fn len(&self) -> usize {
        HEADER_BYTES + self.tail.len()
    }

    /// The batch's bytes, in order, for a scatter write.
    pub fn slices(&self) -> [&[u8]; 2] {
        [&self.head, &self.tail]
    }

    /// The header's bytes and the records' bytes.
    pub fn into_parts(self) -> ([u8; HEADER_BYTES], Bytes) {
        (self.head, self.tail)
    }

    /// The batch in one piece; copies the records.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.len());
        out.extend_from_slice(&self.head);
        out.extend_from_slice(&self.tail);
        out.freeze()
    }
}
