//! Writes record batches of magic 2.

use bytes::{BufMut, Bytes};

use crate::batch::{self, BatchHeader, CRC_COVERS_FROM, HEADER_BYTES, MAGIC, NONE, TimestampType};
use crate::record::RecordParts;
use crate::{Compression, Encoding, Header, RecordsError, compression};

/// Builds one batch, record by record.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    encoding: Encoding,
    /// Space for the header, then the records, uncompressed.
    out: Vec<u8>,
    timestamp_type: TimestampType,
    append_time: i64,
    transactional: bool,
    control: bool,
    base_offset: i64,
    leader_epoch: i32,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    offset_of_max_timestamp: i32,
    last_offset_delta: i32,
    record_count: i32,
}

impl BatchBuilder {
    /// An empty batch at offset 0 with no producer.
    pub fn new(encoding: impl Into<Encoding>) -> Self {
        Self {
            encoding: encoding.into(),
            out: vec![0; HEADER_BYTES],
            timestamp_type: TimestampType::CreateTime,
            append_time: NONE,
            transactional: false,
            control: false,
            base_offset: 0,
            leader_epoch: -1,
            producer_id: NONE,
            producer_epoch: -1,
            base_sequence: -1,
            base_timestamp: NONE,
            max_timestamp: NONE,
            offset_of_max_timestamp: -1,
            last_offset_delta: -1,
            record_count: 0,
        }
    }

    /// Sets the base offset.
    #[must_use]
    pub fn base_offset(mut self, offset: i64) -> Self {
        self.base_offset = offset;
        self
    }

    /// Sets the leader epoch.
    #[must_use]
    pub fn leader_epoch(mut self, epoch: i32) -> Self {
        self.leader_epoch = epoch;
        self
    }

    /// Gives all records the broker's append time.
    #[must_use]
    pub fn log_append_time(mut self, now: i64) -> Self {
        self.timestamp_type = TimestampType::LogAppendTime;
        self.append_time = now;
        self
    }

    /// Sets an idempotent producer's id, epoch and first sequence.
    #[must_use]
    pub fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> Self {
        self.producer_id = id;
        self.producer_epoch = epoch;
        self.base_sequence = base_sequence;
        self
    }

    /// Marks the batch as part of a transaction.
    #[must_use]
    pub fn transactional(mut self) -> Self {
        self.transactional = true;
        self
    }

    /// Marks the batch's records as control records.
    #[must_use]
    pub fn control(mut self) -> Self {
        self.control = true;
        self
    }

    /// Appends a record at the next offset.
    ///
    /// # Errors
    /// [`RecordsError::BatchFull`] at 2 GiB or 2^31 records.
    pub fn append(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> Result<(), RecordsError> {
        let next = self.last_offset_delta.checked_add(1).ok_or(RecordsError::BatchFull("2^31 records"))?;
        self.append_at(next, timestamp, key, value, headers)
    }

    /// Appends a record at an offset of its own, which lies above the last one's.
    ///
    /// # Errors
    /// [`RecordsError::BatchFull`] at 2 GiB; [`RecordsError::Malformed`] for an offset that does not rise.
    pub fn append_at(
        &mut self,
        offset_delta: i32,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> Result<(), RecordsError> {
        if offset_delta <= self.last_offset_delta {
            return Err(RecordsError::Malformed("record offsets do not rise"));
        }
        if self.record_count == 0 {
            self.base_timestamp = timestamp;
        }
        let timestamp_delta = timestamp.wrapping_sub(self.base_timestamp);
        let record = RecordParts { timestamp_delta, offset_delta, key, value, headers };
        let body_bytes = record.body_bytes();
        if body_bytes.saturating_add(self.out.len()) > i32::MAX as usize - crate::varint::VARINT_BYTES_MAX {
            return Err(RecordsError::BatchFull("2 GiB"));
        }
        record.write(body_bytes, &mut self.out);
        if timestamp > self.max_timestamp {
            self.max_timestamp = timestamp;
            self.offset_of_max_timestamp = offset_delta;
        }
        self.last_offset_delta = offset_delta;
        self.record_count += 1;
        Ok(())
    }

    /// Records so far.
    pub fn record_count(&self) -> i32 {
        self.record_count
    }

    /// Size so far, before compression.
    pub fn uncompressed_bytes(&self) -> usize {
        self.out.len()
    }

    /// Highest timestamp so far (or the append time), and the delta of the first offset that has it; -1 for none.
    pub fn max_timestamp(&self) -> (i64, i32) {
        match self.timestamp_type {
            TimestampType::CreateTime => (self.max_timestamp, self.offset_of_max_timestamp),
            TimestampType::LogAppendTime => (self.append_time, 0),
        }
    }

    /// Compresses the records, writes the header and its CRC.
    ///
    /// # Errors
    /// A codec that refuses, which means that memory ran out.
    pub fn build(self) -> Result<Bytes, RecordsError> {
        let mut out = self.out;
        if self.encoding.codec != Compression::None {
            let compressed = compression::compress(self.encoding, MAGIC, &out[HEADER_BYTES..])?;
            out.truncate(HEADER_BYTES);
            out.put_slice(&compressed);
        }
        let length = out.len() - batch::LENGTH_OVERHEAD;
        let mut header = BatchHeader {
            base_offset: self.base_offset,
            length: i32::try_from(length).map_err(|_| RecordsError::BatchFull("2 GiB"))?,
            leader_epoch: self.leader_epoch,
            magic: MAGIC,
            crc: 0,
            attributes: batch::attributes(self.encoding.codec, self.timestamp_type, self.transactional, self.control),
            last_offset_delta: self.last_offset_delta.max(0),
            base_timestamp: self.base_timestamp,
            max_timestamp: if self.timestamp_type == TimestampType::LogAppendTime {
                self.append_time
            } else {
                self.max_timestamp
            },
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            base_sequence: self.base_sequence,
            record_count: self.record_count,
        };
        out[..HEADER_BYTES].copy_from_slice(&header.encode());
        header.crc = base::checksum::crc32c(&out[CRC_COVERS_FROM..]);
        out[batch::AT_CRC..CRC_COVERS_FROM].copy_from_slice(&header.crc.to_be_bytes());
        Ok(Bytes::from(out))
    }
}
