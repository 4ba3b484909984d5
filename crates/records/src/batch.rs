//! The record batch of magic 2: header, slicing, checksum, stamping.
//!
//! ```text
//! offset  bytes  field
//!      0      8  base offset             ┐ outside the CRC: the log stamps these
//!      8      4  length of what follows  │
//!     12      4  partition leader epoch  ┘
//!     16      1  magic = 2
//!     17      4  CRC-32C of everything from byte 21
//!     21      2  attributes: 0–2 compression · 3 timestamp type · 4 transactional · 5 control · 6 delete horizon
//!     23      4  last offset delta
//!     27      8  base timestamp
//!     35      8  max timestamp
//!     43      8  producer id
//!     51      2  producer epoch
//!     53      4  base sequence
//!     57      4  record count
//!     61      …  records, as a whole compressed by the codec of the attributes
//! ```
//!
//! All integers are big-endian. The layout is Kafka's `DefaultRecordBatch`.

use base::checksum::crc32c;
use bytes::Bytes;

use crate::record::{Records, RecordsPayload};
use crate::{Compression, RecordsError, compression};

/// Bytes of a batch before its records.
pub const HEADER_BYTES: usize = 61;
/// Bytes before what the length field counts: base offset and length.
pub const LENGTH_OVERHEAD: usize = 12;
/// Where the bytes covered by the CRC begin.
pub const CRC_COVERS_FROM: usize = 21;
/// The magic of this layout.
pub const MAGIC: i8 = 2;
/// "No producer id", "no timestamp", "no sequence" and the like.
pub const NONE: i64 = -1;

pub(crate) const AT_LENGTH: usize = 8;
pub(crate) const AT_LEADER_EPOCH: usize = 12;
pub(crate) const AT_MAGIC: usize = 16;
pub(crate) const AT_CRC: usize = 17;
pub(crate) const AT_ATTRIBUTES: usize = 21;
pub(crate) const AT_MAX_TIMESTAMP: usize = 35;

const COMPRESSION_MASK: i16 = 0x07;
pub(crate) const TIMESTAMP_TYPE_BIT: i16 = 0x08;
pub(crate) const TRANSACTIONAL_BIT: i16 = 0x10;
const CONTROL_BIT: i16 = 0x20;
const DELETE_HORIZON_BIT: i16 = 0x40;

/// Whose clock gave the timestamps of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// The producer's: each record has its own.
    #[default]
    CreateTime,
    /// The broker's, at append: all records have the batch's max timestamp.
    LogAppendTime,
}

/// The parsed header of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record (of the first that there was, after log compaction).
    pub base_offset: i64,
    /// Bytes after the length field; a batch has 12 more.
    pub length: i32,
    /// Epoch of the leader that appended it.
    pub leader_epoch: i32,
    /// Always 2 in a header that `parse` returned.
    pub magic: i8,
    /// CRC-32C of everything from the attributes.
    pub crc: u32,
    /// Codec and flags; see the layout.
    pub attributes: i16,
    /// Last offset minus base offset.
    pub last_offset_delta: i32,
    /// What records' timestamp deltas count from.
    pub base_timestamp: i64,
    /// Highest timestamp, or the append time.
    pub max_timestamp: i64,
    /// Idempotent producer's id, or -1.
    pub producer_id: i64,
    /// Idempotent producer's epoch, or -1.
    pub producer_epoch: i16,
    /// Sequence of the first record, or -1.
    pub base_sequence: i32,
    /// Records inside.
    pub record_count: i32,
}

fn array<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("field positions lie within the header")
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`, which may hold more or less than the whole batch.
    ///
    /// # Errors
    /// Fewer than 61 bytes, another magic, or a length that leaves no room for the header.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordsError> {
        let Some(head) = bytes.first_chunk::<HEADER_BYTES>() else {
            // The magic says more than the size where it can be seen.
            return match bytes.get(AT_MAGIC).map(|&magic| magic as i8) {
                Some(magic) if magic != MAGIC => Err(RecordsError::BadMagic(magic)),
                _ => Err(RecordsError::Truncated { have: bytes.len(), need: HEADER_BYTES }),
            };
        };
        let header = Self {
            base_offset: i64::from_be_bytes(array(head, 0)),
            length: i32::from_be_bytes(array(head, AT_LENGTH)),
            leader_epoch: i32::from_be_bytes(array(head, AT_LEADER_EPOCH)),
            magic: head[AT_MAGIC] as i8,
            crc: u32::from_be_bytes(array(head, AT_CRC)),
            attributes: i16::from_be_bytes(array(head, AT_ATTRIBUTES)),
            last_offset_delta: i32::from_be_bytes(array(head, 23)),
            base_timestamp: i64::from_be_bytes(array(head, 27)),
            max_timestamp: i64::from_be_bytes(array(head, AT_MAX_TIMESTAMP)),
            producer_id: i64::from_be_bytes(array(head, 43)),
            producer_epoch: i16::from_be_bytes(array(head, 51)),
            base_sequence: i32::from_be_bytes(array(head, 53)),
            record_count: i32::from_be_bytes(array(head, 57)),
        };
        if header.magic != MAGIC {
            return Err(RecordsError::BadMagic(header.magic));
        }
        if header.length < (HEADER_BYTES - LENGTH_OVERHEAD) as i32 {
            return Err(RecordsError::BadLength(header.length));
        }
        Ok(header)
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[0..8].copy_from_slice(&self.base_offset.to_be_bytes());
        out[8..12].copy_from_slice(&self.length.to_be_bytes());
        out[12..16].copy_from_slice(&self.leader_epoch.to_be_bytes());
        out[AT_MAGIC] = self.magic as u8;
        out[17..21].copy_from_slice(&self.crc.to_be_bytes());
        out[21..23].copy_from_slice(&self.attributes.to_be_bytes());
        out[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        out[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        out[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        out[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        out[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        out[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        out[57..61].copy_from_slice(&self.record_count.to_be_bytes());
        out
    }

    /// The whole batch's size in bytes.
    pub fn batch_bytes(&self) -> usize {
        LENGTH_OVERHEAD + usize::try_from(self.length).expect("parse refuses lengths below 49")
    }

    /// The codec of the records.
    ///
    /// # Errors
    /// A codec number that Kafka never assigned.
    pub fn compression(&self) -> Result<Compression, RecordsError> {
        Compression::from_id((self.attributes & COMPRESSION_MASK) as u8)
    }

    /// Whose clock gave the timestamps.
    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & TIMESTAMP_TYPE_BIT == 0 { TimestampType::CreateTime } else { TimestampType::LogAppendTime }
    }

    /// Whether the records are part of a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    /// Whether the records are markers for consumers' libraries, not data.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    /// When log compaction may drop this batch's tombstones, if it said so; it then takes the base timestamp's place.
    pub fn delete_horizon(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON_BIT != 0).then_some(self.base_timestamp)
    }

    /// Whether an idempotent producer wrote it.
    pub fn has_producer(&self) -> bool {
        self.producer_id > NONE
    }

    /// Offset of the last record.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.wrapping_add(i64::from(self.last_offset_delta))
    }

    /// The first offset after the batch.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().wrapping_add(1)
    }

    /// Sequence number of the last record, or -1; sequences wrap to 0 after `i32::MAX`.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return self.base_sequence;
        }
        let modulus = i64::from(i32::MAX) + 1;
        ((i64::from(self.base_sequence) + i64::from(self.last_offset_delta)).rem_euclid(modulus)) as i32
    }
}

/// Attribute bits from their parts.
pub(crate) fn attributes(
    compression: Compression,
    timestamp_type: TimestampType,
    transactional: bool,
    control: bool,
) -> i16 {
    let mut bits = i16::from(compression.id());
    if timestamp_type == TimestampType::LogAppendTime {
        bits |= TIMESTAMP_TYPE_BIT;
    }
    if transactional {
        bits |= TRANSACTIONAL_BIT;
    }
    if control {
        bits |= CONTROL_BIT;
    }
    bits
}

/// One whole batch of magic 2: a parsed header and its bytes, a slice of what it was found in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The parsed first 61 bytes.
    pub header: BatchHeader,
    /// The batch, header included.
    pub bytes: Bytes,
}

impl Batch {
    /// Splits the first batch off `bytes`, sharing them.
    ///
    /// # Errors
    /// What [`BatchHeader::parse`] refuses, or fewer bytes than the length field says.
    pub fn first(bytes: &Bytes) -> Result<Self, RecordsError> {
        let header = BatchHeader::parse(bytes)?;
        let need = header.batch_bytes();
        if bytes.len() < need {
            return Err(RecordsError::Truncated { have: bytes.len(), need });
        }
        Ok(Self { header, bytes: bytes.slice(..need) })
    }

    /// Compares the stored CRC with the bytes'.
    ///
    /// # Errors
    /// [`RecordsError::Checksum`].
    pub fn verify_crc(&self) -> Result<(), RecordsError> {
        let computed = crc32c(&self.bytes[CRC_COVERS_FROM..]);
        if computed == self.header.crc {
            Ok(())
        } else {
            Err(RecordsError::Checksum { stored: self.header.crc, computed })
        }
    }

    /// The records' bytes as they are stored, compressed or not.
    pub fn payload(&self) -> Bytes {
        self.bytes.slice(HEADER_BYTES..)
    }

    /// Iterates the records. Keys and values share the batch's memory, or that of its decompressed form.
    ///
    /// # Errors
    /// An unknown codec, or data that does not decompress to at most `limit` bytes.
    pub fn records(&self, limit: usize) -> Result<Records, RecordsError> {
        let payload = match self.header.compression()? {
            Compression::None => self.payload(),
            codec => compression::decompress(codec, MAGIC, &self.bytes[HEADER_BYTES..], limit)?,
        };
        Ok(Records::new(&self.header, RecordsPayload(payload)))
    }
}

/// Iterates the batches in `bytes`, sharing them. Ends after the first error: what follows cannot be found.
///
/// An incomplete batch at the end gives [`RecordsError::Truncated`]; a consumer passes over that.
pub fn batches(bytes: &Bytes) -> BatchIter {
    BatchIter { rest: bytes.clone() }
}

/// See [`batches`].
#[derive(Clone, Debug)]
pub struct BatchIter {
    rest: Bytes,
}

impl Iterator for BatchIter {
    type Item = Result<Batch, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let first = Batch::first(&self.rest);
        match &first {
            Ok(batch) => drop(self.rest.split_to(batch.bytes.len())),
            Err(_) => self.rest.clear(),
        }
        Some(first)
    }
}

/// Writes base offset and leader epoch into a batch in place. Neither is under the CRC.
///
/// # Panics
/// If `bytes` has fewer than 16 bytes; a batch has at least 61.
pub fn stamp(bytes: &mut [u8], base_offset: i64, leader_epoch: i32) {
    bytes[0..8].copy_from_slice(&base_offset.to_be_bytes());
    bytes[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
}
