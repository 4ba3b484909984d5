//! Bytes of entries, snapshots and floor markers.
//!
//! Entry:
//!
//! | Offset | Field | Type |
//! |---|---|---|
//! | 0 | magic | `HWML` |
//! | 4 | format | u16, 1 |
//! | 6 | kind | u8: 0 claim, 1 batch |
//! | 7 | reserved | u8, 0 |
//! | 8 | sequence | u64 |
//! | 16 | controller epoch | i64 |
//! | 24 | writer nonce | 16 bytes |
//! | 40 | record count | u32 |
//! | 44 | length of the records | u32 |
//! | 48 | CRC-32C of bytes 0..48 and of the records | u32 |
//! | 52 | records | self-delimiting, see `wire::meta` |
//!
//! Snapshot: the same 52 bytes with magic `HWMS`, kind 0 and the sequence, epoch and nonce of the state after that
//! entry; its records rebuild everything but the catalogue, which follows. The CRC covers all of it.
//!
//! | Offset | Field | Type |
//! |---|---|---|
//! | 52 | records | as in an entry |
//! | … | names that stay | u32 count, then the sequence of each claim and of each name that one calls void, u64 |
//! | … | catalogue | see `stream::catalogue::snapshot` |
//!
//! Floor marker (32 bytes):
//!
//! | Offset | Field | Type |
//! |---|---|---|
//! | 0 | magic | `HWMF` |
//! | 4 | format | u16, 1 |
//! | 6 | reserved | u16, 0 |
//! | 8 | range | u64: entries `[range × 1024, (range + 1) × 1024)` may be gone |
//! | 16 | snapshot | u64: a snapshot at or above the range's end that was durable before the marker |
//! | 24 | reserved | u32, 0 |
//! | 28 | CRC-32C of bytes 0..28 | u32 |
//!
//! Numbers are big-endian.

use std::ops::Range;

use base::checksum::crc32c_of;
use base::{ControllerEpoch, MetaSequence, Uuid};
use bytes::Bytes;
use thiserror::Error;
use wire::meta::MetadataRecord;
use wire::{Reader, Writer};

/// Bytes before the records.
pub const HEADER_BYTES: usize = 52;
/// Where the writer's nonce stands.
const NONCE: Range<usize> = 24..40;
/// Where the checksum stands.
const CRC: usize = 48;
/// So many bytes of a nonce in their places are no coincidence.
const NONCE_BYTES_ENOUGH: usize = 8;
/// Most bytes of an entry; one PUT.
pub const ENTRY_BYTES_MAX: usize = 8 << 20;
const FORMAT: u16 = 1;
const ENTRY_MAGIC: [u8; 4] = *b"HWML";
const SNAPSHOT_MAGIC: [u8; 4] = *b"HWMS";
const FLOOR_MAGIC: [u8; 4] = *b"HWMF";

/// Why bytes of the metadata log are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FormatError {
    /// Too short, or longer or shorter than its header says.
    #[error("its length is wrong")]
    Length,
    /// Another magic.
    #[error("it does not begin as it should: it is corrupt")]
    Magic,
    /// Another format number, or a kind that this release does not know.
    #[error("it is not of a format that this release reads")]
    Unknown,
    /// Bytes have changed since they were written.
    #[error("its checksum does not match: it is corrupt")]
    Checksum,
    /// It stands under another name than it was written for.
    #[error("it says that it is number {found}")]
    Misplaced {
        /// The number inside.
        found: u64,
    },
    /// It is whole, and another than was sent to be there.
    #[error("it is not what this process wrote there")]
    Another,
    /// A record cannot be read, or not all of it.
    #[error("record {index}: {reason}")]
    Record {
        /// Which, from 0.
        index: u32,
        /// Why.
        reason: String,
    },
}

impl FormatError {
    /// Whether the bytes are what became of an entry on its way, or since. What a newer release wrote is not.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Length | Self::Magic | Self::Checksum | Self::Misplaced { .. } => true,
            Self::Unknown | Self::Another | Self::Record { .. } => false,
        }
    }
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A broker takes the controller's office.
    Claim,
    /// Records of the controller in office.
    Batch,
}

/// An entry's header, or a snapshot's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Claim or batch.
    pub kind: EntryKind,
    /// Its place in the log.
    pub sequence: MetaSequence,
    /// The term of its writer.
    pub epoch: ControllerEpoch,
    /// Tells this process's bytes from any other's (I-6).
    pub nonce: Uuid,
}

/// The records of a batch, encoded as they come.
#[derive(Debug, Default)]
pub(crate) struct EncodedRecords {
    pub(crate) bytes: Vec<u8>,
    pub(crate) count: u32,
}

impl EncodedRecords {
    pub(crate) fn of(records: &[MetadataRecord]) -> Result<Self, wire::EncodeError> {
        let mut writer = Writer::new();
        for record in records {
            record.encode(&mut writer)?;
        }
        let count = u32::try_from(records.len()).unwrap_or(u32::MAX);
        Ok(Self { bytes: writer.finish().into_bytes().to_vec(), count })
    }

    pub(crate) fn append(&mut self, other: &Self) {
        self.bytes.extend_from_slice(&other.bytes);
        self.count += other.count;
    }
}

fn seal(magic: [u8; 4], header: &Header, records: &EncodedRecords, tail: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(HEADER_BYTES + records.bytes.len() + tail.len());
    out.extend(magic);
    out.extend(FORMAT.to_be_bytes());
    out.push(u8::from(header.kind == EntryKind::Batch));
    out.push(0);
    out.extend(header.sequence.0.to_be_bytes());
    out.extend(header.epoch.0.to_be_bytes());
    out.extend(header.nonce.as_bytes());
    out.extend(records.count.to_be_bytes());
    out.extend(u32::try_from(records.bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    let crc = crc32c_of([&out[..], &records.bytes, tail]);
    out.extend(crc.to_be_bytes());
    out.extend(&records.bytes);
    out.extend(tail);
    Bytes::from(out)
}

/// The bytes of an entry.
pub(crate) fn encode_entry(header: &Header, records: &EncodedRecords) -> Bytes {
    seal(ENTRY_MAGIC, header, records, &[])
}

/// The bytes of a snapshot.
pub(crate) fn encode_snapshot(header: &Header, records: &EncodedRecords, tail: &[u8]) -> Bytes {
    seal(SNAPSHOT_MAGIC, header, records, tail)
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], FormatError> {
    bytes.get(at..).and_then(|b| b.first_chunk::<N>()).copied().ok_or(FormatError::Length)
}

/// The header of what is whole.
fn open_header(magic: [u8; 4], bytes: &Bytes, at: MetaSequence) -> Result<Header, FormatError> {
    if bytes.len() < HEADER_BYTES {
        return Err(FormatError::Length);
    }
    if field::<4>(bytes, 0)? != magic {
        return Err(FormatError::Magic);
    }
    // As if it bore our number: what another release wrote has its own in its checksum, and does not match. What matches
    // was written by ours, and its number is what is damaged.
    let crc = crc32c_of([&bytes[..4], &FORMAT.to_be_bytes(), &bytes[6..CRC], &bytes[HEADER_BYTES..]]);
    let is_ours = crc == u32::from_be_bytes(field(bytes, CRC)?);
    match (u16::from_be_bytes(field(bytes, 4)?), is_ours) {
        (FORMAT, true) => {}
        (FORMAT, false) | (_, true) => return Err(FormatError::Checksum),
        (_, false) => return Err(FormatError::Unknown),
    }
    let sequence = u64::from_be_bytes(field(bytes, 8)?);
    if sequence != at.0 {
        return Err(FormatError::Misplaced { found: sequence });
    }
    let kind = match bytes[6] {
        0 => EntryKind::Claim,
        1 => EntryKind::Batch,
        _ => return Err(FormatError::Unknown),
    };
    Ok(Header {
        kind,
        sequence: at,
        epoch: ControllerEpoch(i64::from_be_bytes(field(bytes, 16)?)),
        nonce: Uuid::from_bytes(field(bytes, 24)?),
    })
}

/// Header, records and what follows them.
fn open(magic: [u8; 4], bytes: &Bytes, at: MetaSequence) -> Result<(Header, Vec<MetadataRecord>, Bytes), FormatError> {
    let header = open_header(magic, bytes, at)?;
    let count = u32::from_be_bytes(field(bytes, 40)?);
    let end = HEADER_BYTES + u32::from_be_bytes(field(bytes, 44)?) as usize;
    if end > bytes.len() {
        return Err(FormatError::Length);
    }
    let mut reader = Reader::new(bytes.slice(HEADER_BYTES..end));
    let mut records = Vec::new();
    for index in 0..count {
        let record = MetadataRecord::decode(&mut reader);
        let record = record.map_err(|e| FormatError::Record { index, reason: e.to_string() })?;
        // The image has no place for it, and a snapshot would lose it: as with a kind that is unknown, stop.
        if reader.met_unknown_tags() {
            let reason =
                format!("{} has a field that this release does not know; a newer release wrote it", record.name());
            return Err(FormatError::Record { index, reason });
        }
        records.push(record);
    }
    if reader.remaining() != 0 {
        return Err(FormatError::Length);
    }
    Ok((header, records, bytes.slice(end..)))
}

/// Reads the entry that stands at `at`.
///
/// # Errors
/// [`FormatError`].
pub fn decode_entry(bytes: &Bytes, at: MetaSequence) -> Result<(Header, Vec<MetadataRecord>), FormatError> {
    let (header, records, rest) = open(ENTRY_MAGIC, bytes, at)?;
    if rest.is_empty() { Ok((header, records)) } else { Err(FormatError::Length) }
}

/// Whether `found` is what became of `sent`, or of another entry of its writer: enough of the nonce stands where it belongs.
pub(crate) fn has_nonce_of(found: &[u8], sent: &[u8]) -> bool {
    let same = found.iter().zip(sent).skip(NONCE.start).take(NONCE.len()).filter(|(found, sent)| found == sent);
    same.count() >= NONCE_BYTES_ENOUGH
}

/// Reads the snapshot that stands at `at`, and what follows its records.
///
/// # Errors
/// [`FormatError`].
pub fn decode_snapshot(bytes: &Bytes, at: MetaSequence) -> Result<(Header, Vec<MetadataRecord>, Bytes), FormatError> {
    open(SNAPSHOT_MAGIC, bytes, at)
}

/// What this process remembers of a snapshot that it sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SentSnapshot {
    pub(crate) sequence: MetaSequence,
    bytes: usize,
    /// The checksum that it bears.
    crc: [u8; 4],
}

impl SentSnapshot {
    /// `bytes` are an encoded snapshot.
    pub(crate) fn of(sequence: MetaSequence, bytes: &Bytes) -> Self {
        Self { sequence, bytes: bytes.len(), crc: field(bytes, CRC).unwrap_or_default() }
    }
}

/// Whether `bytes` are the snapshot that was sent. It may be large: the checksum that it bears is compared with its bytes,
/// and with what was sent.
pub(crate) fn check_snapshot(bytes: &Bytes, sent: SentSnapshot) -> Result<(), FormatError> {
    open_header(SNAPSHOT_MAGIC, bytes, sent.sequence)?;
    if SentSnapshot::of(sent.sequence, bytes) == sent { Ok(()) } else { Err(FormatError::Another) }
}

/// The bytes of the marker that releases `range`.
pub(crate) fn encode_floor(range: u64, snapshot: MetaSequence) -> Bytes {
    let mut out = Vec::with_capacity(32);
    out.extend(FLOOR_MAGIC);
    out.extend(FORMAT.to_be_bytes());
    out.extend([0; 2]);
    out.extend(range.to_be_bytes());
    out.extend(snapshot.0.to_be_bytes());
    out.extend([0; 4]);
    let crc = crc32c_of([&out[..]]);
    out.extend(crc.to_be_bytes());
    Bytes::from(out)
}
