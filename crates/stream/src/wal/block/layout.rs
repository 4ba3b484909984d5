//! Every byte of a block log. Integers are big-endian; a page is 4096 bytes.
//!
//! **Header** of an incarnation: four pages, a file `incarnation-<broker>-<epoch>.wal` of the directory or a slot of the
//! raw device.
//!
//! | Page | Holds | Written by |
//! |---|---|---|
//! | 0 | header page | the owner, once |
//! | 1, 2 | trim pages, alternating; the valid one with the higher sequence counts | the owner |
//! | 3 | fence page | the owner once, at creation; then takers only |
//!
//! **Every page** begins alike, is zero-filled to its end, and carries a CRC-32C of the whole page but the CRC field:
//!
//! | Offset | Size | Field |
//! |---|---|---|
//! | 0 | 4 | magic: `HWLH` header, `HWLT` trim, `HWLF` fence, `HWLS` segment, `HWLD` device |
//! | 4 | 4 | CRC |
//! | 8 | 8 | nonce of the incarnation: random, so that two incarnations of one name (a bucket made anew) never mix |
//! | 16 | 4 | broker id |
//! | 20 | 8 | broker epoch |
//!
//! | Page | Offset | Size | Field |
//! |---|---|---|---|
//! | header | 28 | 2 | format version, 1 |
//! | | 30 | 8 | segment size |
//! | | 38 | 2 + n | cluster id, length and UTF-8 |
//! | trim | 28 | 8 | sequence of this trim page, from 1 |
//! | | 36 | 8 | trimmed: records below this position are committed |
//! | | 44 | 8 | assigned: logical segments `[trimmed / segment size, assigned)` exist, but those that were left |
//! | | 52 | 8 | left: logical segments below hold nothing at or above `trimmed`, and never will; 0 in most logs |
//! | fence | 28 | 4 | state: 0 open, 1 fenced |
//! | segment | 28 | 4 | state: 0 free (nonce, broker and epoch are then 0), 1 in use |
//! | | 32 | 8 | logical number: its place in the incarnation |
//!
//! **Segment**: the segment page, then groups of records. A group begins at a page boundary, is zero-padded to the next,
//! and is written by one write. A record never spans segments.
//!
//! | Offset | Size | Record field |
//! |---|---|---|
//! | 0 | 4 | magic `HWLR` |
//! | 4 | 20 | nonce, broker id, broker epoch, as in the pages |
//! | 24 | 4 | CRC-32C of bytes 0–23, 28–99 and the payload |
//! | 28 | 8 | sequence, from 0, without gaps |
//! | 36 | 8 | position: logical segment × segment size + place in the segment |
//! | 44 | 8 | position of the previous record; 0 for the first |
//! | 52 | 4 | CRC of the previous record; 0 for the first |
//! | 56 | 4 | distance from the start of its group |
//! | 60 | 8 | stream |
//! | 68 | 4 | stream epoch |
//! | 72 | 8 | base offset |
//! | 80 | 8 | end offset |
//! | 88 | 8 | max timestamp |
//! | 96 | 4 | payload length |
//! | 100 | n | payload |
//!
//! A record of stream `u64::MAX`, without offsets and payload, is a **seal**: it is alone in its group and says only that
//! everything before it was durable. Who does not know seals takes it for a record of a stream that does not exist.

use base::checksum::{Crc32c, crc32c_of};
use base::{BrokerEpoch, BrokerId, Incarnation, Offset, StreamEpoch, StreamId, TimestampMs, WalPosition};

use crate::wal::FenceState;

/// The unit of direct I/O and of every layout here.
pub const PAGE: usize = 4096;
/// Pages of an incarnation's header.
pub const HEADER_PAGES: usize = 4;
/// Byte offset of the fence page in a header.
pub const FENCE_OFFSET: u64 = 3 * PAGE as u64;
/// Bytes of a record before its payload.
pub const RECORD_HEADER: usize = 100;
/// Format version of everything here.
pub const VERSION: u16 = 1;
/// The longest cluster id a header page takes.
pub const CLUSTER_ID_BYTES_MAX: usize = 256;

const STAMP_END: usize = 28;
/// The first bytes of every record.
pub const RECORD_MAGIC: &[u8; 4] = b"HWLR";

/// One page.
pub type Page = [u8; PAGE];

/// What marks bytes as belonging to one incarnation and no other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// The incarnation.
    pub incarnation: Incarnation,
    /// Its random number.
    pub nonce: u64,
}

impl Stamp {
    fn bytes(self) -> [u8; 20] {
        let mut out = [0; 20];
        out[..8].copy_from_slice(&self.nonce.to_be_bytes());
        out[8..12].copy_from_slice(&self.incarnation.broker.0.to_be_bytes());
        out[12..].copy_from_slice(&self.incarnation.epoch.0.to_be_bytes());
        out
    }

    fn parse(bytes: &[u8]) -> Self {
        Self {
            nonce: u64_at(bytes, 0),
            incarnation: Incarnation {
                broker: BrokerId(u32_at(bytes, 8) as i32),
                epoch: BrokerEpoch(u64_at(bytes, 12) as i64),
            },
        }
    }

    /// The stamp that bytes which begin like a record bear. Whether it is one is for [`RecordHeader::decode`] to say.
    pub fn of_record(bytes: &[u8]) -> Option<Self> {
        bytes.get(..24).filter(|bytes| bytes[..4] == *RECORD_MAGIC).map(|bytes| Self::parse(&bytes[4..]))
    }

    /// The first bytes of every record of this incarnation: what a search for survivors looks for.
    pub fn record_prefix(self) -> [u8; 24] {
        let mut out = [0; 24];
        out[..4].copy_from_slice(RECORD_MAGIC);
        out[4..].copy_from_slice(&self.bytes());
        out
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) << 32 | u64::from(u32_at(bytes, at + 4))
}

fn page(magic: [u8; 4], stamp: Stamp, fill: impl FnOnce(&mut [u8])) -> Page {
    let mut page = [0; PAGE];
    page[..4].copy_from_slice(&magic);
    page[8..STAMP_END].copy_from_slice(&stamp.bytes());
    fill(&mut page);
    let crc = crc32c_of([&page[..4], &page[8..]]);
    page[4..8].copy_from_slice(&crc.to_be_bytes());
    page
}

/// Checks magic and CRC of a page.
fn open(magic: [u8; 4], page: &[u8]) -> Result<Stamp, &'static str> {
    if page.len() != PAGE || page[..4] != magic {
        return Err(if page.iter().all(|&b| b == 0) { "it is blank" } else { "it holds something else" });
    }
    if crc32c_of([&page[..4], &page[8..]]) != u32_at(page, 4) {
        return Err("its checksum is wrong");
    }
    Ok(Stamp::parse(&page[8..]))
}

/// The header page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderPage {
    /// Whose.
    pub stamp: Stamp,
    /// The size of its segments.
    pub segment_bytes: u64,
    /// The cluster it belongs to.
    pub cluster_id: String,
}

impl HeaderPage {
    /// The page's bytes. The cluster id was checked against [`CLUSTER_ID_BYTES_MAX`].
    pub fn encode(&self) -> Page {
        page(*b"HWLH", self.stamp, |p| {
            let id = self.cluster_id.as_bytes();
            p[28..30].copy_from_slice(&VERSION.to_be_bytes());
            p[30..38].copy_from_slice(&self.segment_bytes.to_be_bytes());
            p[38..40].copy_from_slice(&(id.len() as u16).to_be_bytes());
            p[40..40 + id.len()].copy_from_slice(id);
        })
    }

    /// # Errors
    /// Says what is wrong with the page.
    pub fn decode(page: &[u8]) -> Result<Self, &'static str> {
        let stamp = open(*b"HWLH", page)?;
        if u16_at(page, 28) != VERSION {
            return Err("its format is newer than this program");
        }
        let length = u16_at(page, 38) as usize;
        let id =
            page.get(40..40 + length).filter(|_| length <= CLUSTER_ID_BYTES_MAX).ok_or("its cluster id is too long")?;
        let cluster_id = std::str::from_utf8(id).map_err(|_| "its cluster id is not UTF-8")?.to_owned();
        let segment_bytes = u64_at(page, 30);
        if segment_bytes < 2 * PAGE as u64 || !segment_bytes.is_multiple_of(PAGE as u64) {
            return Err("its segment size makes no sense");
        }
        Ok(Self { stamp, segment_bytes, cluster_id })
    }
}

/// A trim page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrimPage {
    /// Whose.
    pub stamp: Stamp,
    /// Number of this trim page, from 1.
    pub sequence: u64,
    /// Records below are committed.
    pub trimmed: WalPosition,
    /// Logical segments below exist, unless trimmed or left.
    pub assigned: u64,
    /// Logical segments below hold nothing at or above `trimmed`, and never will: they need not exist.
    pub left: u64,
}

impl TrimPage {
    /// The page's bytes.
    pub fn encode(&self) -> Page {
        page(*b"HWLT", self.stamp, |p| {
            p[28..36].copy_from_slice(&self.sequence.to_be_bytes());
            p[36..44].copy_from_slice(&self.trimmed.0.to_be_bytes());
            p[44..52].copy_from_slice(&self.assigned.to_be_bytes());
            p[52..60].copy_from_slice(&self.left.to_be_bytes());
        })
    }

    /// # Errors
    /// Says what is wrong with the page.
    pub fn decode(page: &[u8]) -> Result<Self, &'static str> {
        let stamp = open(*b"HWLT", page)?;
        Ok(Self {
            stamp,
            sequence: u64_at(page, 28),
            trimmed: WalPosition(u64_at(page, 36)),
            assigned: u64_at(page, 44),
            left: u64_at(page, 52),
        })
    }

    /// Where in the header the trim page of `sequence` goes.
    pub fn offset(sequence: u64) -> u64 {
        (1 + (sequence + 1) % 2) * PAGE as u64
    }

    /// The one that counts of the two pages of `stamp` in a header.
    pub fn newest(header: &[u8], stamp: Stamp) -> Option<Self> {
        Self::whole(header, stamp).max_by_key(|page| page.sequence)
    }

    /// Whether both pages are whole, so that the one that counts is the newest that was written.
    pub fn are_both_whole(header: &[u8], stamp: Stamp) -> bool {
        Self::whole(header, stamp).count() == 2
    }

    fn whole(header: &[u8], stamp: Stamp) -> impl Iterator<Item = Self> {
        let at = |n: usize| header.get(n * PAGE..(n + 1) * PAGE).and_then(|page| Self::decode(page).ok());
        [at(1), at(2)].into_iter().flatten().filter(move |page| page.stamp == stamp)
    }
}

/// The stamp that the trim pages and the fence page of a header bear, where one of them is whole.
pub fn stamp_in(header: &[u8]) -> Option<Stamp> {
    let page = |n: usize| header.get(n * PAGE..(n + 1) * PAGE);
    let kinds = [(1, *b"HWLT"), (2, *b"HWLT"), (3, *b"HWLF")];
    kinds.into_iter().find_map(|(n, magic)| open(magic, page(n)?).ok())
}

/// The fence page of `stamp`, open or fenced.
pub fn fence_page(stamp: Stamp, fenced: FenceState) -> Page {
    let state = u32::from(fenced != FenceState::Open);
    page(*b"HWLF", stamp, |p| p[28..32].copy_from_slice(&state.to_be_bytes()))
}

/// Reads a fence page. Only the very bytes that the owner wrote mean open.
pub fn fence_state(page: &[u8], stamp: Stamp) -> FenceState {
    if page == fence_page(stamp, FenceState::Open) {
        FenceState::Open
    } else if page == fence_page(stamp, FenceState::Fenced) {
        FenceState::Fenced
    } else {
        FenceState::Unreadable
    }
}

/// A segment page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentPage {
    /// In no incarnation.
    Free,
    /// Segment `logical` of the incarnation.
    InUse {
        /// Whose.
        stamp: Stamp,
        /// Its place in the incarnation, from 0.
        logical: u64,
    },
}

impl SegmentPage {
    /// The page's bytes.
    pub fn encode(&self) -> Page {
        let (stamp, state, logical) = match *self {
            Self::Free => (Stamp::default(), 0u32, 0),
            Self::InUse { stamp, logical } => (stamp, 1, logical),
        };
        page(*b"HWLS", stamp, |p| {
            p[28..32].copy_from_slice(&state.to_be_bytes());
            p[32..40].copy_from_slice(&logical.to_be_bytes());
        })
    }

    /// A blank page is a free segment that was never used.
    ///
    /// # Errors
    /// Says what is wrong with the page.
    pub fn decode(page: &[u8]) -> Result<Self, &'static str> {
        if page.iter().all(|&b| b == 0) {
            return Ok(Self::Free);
        }
        let stamp = open(*b"HWLS", page)?;
        match u32_at(page, 28) {
            0 => Ok(Self::Free),
            1 => Ok(Self::InUse { stamp, logical: u64_at(page, 32) }),
            _ => Err("its state is unknown"),
        }
    }
}

/// The first page of a raw device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DevicePage {
    /// The size of its segments.
    pub segment_bytes: u64,
    /// How many segments it is cut into.
    pub segments: u64,
}

impl DevicePage {
    /// The page's bytes.
    pub fn encode(&self) -> Page {
        page(*b"HWLD", Stamp::default(), |p| {
            p[28..30].copy_from_slice(&VERSION.to_be_bytes());
            p[30..38].copy_from_slice(&self.segment_bytes.to_be_bytes());
            p[38..46].copy_from_slice(&self.segments.to_be_bytes());
        })
    }

    /// # Errors
    /// Says what is wrong with the page.
    pub fn decode(page: &[u8]) -> Result<Self, &'static str> {
        open(*b"HWLD", page)?;
        if u16_at(page, 28) != VERSION {
            return Err("its format is newer than this program");
        }
        Ok(Self { segment_bytes: u64_at(page, 30), segments: u64_at(page, 38) })
    }
}

/// Everything of a record but its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Number of the record, from 0.
    pub sequence: u64,
    /// Where it lies.
    pub position: WalPosition,
    /// Where the previous record lies; 0 for the first.
    pub previous: WalPosition,
    /// CRC of the previous record; 0 for the first.
    pub previous_crc: u32,
    /// Distance from the start of its group.
    pub group_offset: u32,
    /// The stream.
    pub stream: StreamId,
    /// The stream's epoch.
    pub epoch: StreamEpoch,
    /// First offset.
    pub base: Offset,
    /// First offset after.
    pub end: Offset,
    /// Newest timestamp.
    pub max_timestamp: TimestampMs,
    /// Bytes of payload.
    pub payload_bytes: u32,
}

/// The stream of a seal; never a stream's.
pub const SEAL_STREAM: StreamId = StreamId(u64::MAX);

impl RecordHeader {
    /// The seal behind the record of `sequence - 1`.
    pub fn seal(sequence: u64, position: WalPosition, previous: WalPosition, previous_crc: u32) -> Self {
        Self {
            sequence,
            position,
            previous,
            previous_crc,
            group_offset: 0,
            stream: SEAL_STREAM,
            epoch: StreamEpoch(0),
            base: Offset(0),
            end: Offset(0),
            max_timestamp: TimestampMs(0),
            payload_bytes: 0,
        }
    }

    /// Whether it is a seal, which is no record of anything.
    pub fn is_seal(&self) -> bool {
        self.stream == SEAL_STREAM && self.base == self.end && self.payload_bytes == 0
    }

    /// Writes the header and the payload to the front of `out` and returns the record's CRC. `out` is exactly as long as
    /// the record. Each payload slice is read once: copied in pieces that stay in the cache until the CRC has seen them.
    pub fn encode<'a>(&self, stamp: Stamp, payload: impl Iterator<Item = &'a [u8]>, out: &mut [u8]) -> u32 {
        const PIECE: usize = 64 << 10;
        let (header, body) = out.split_at_mut(RECORD_HEADER);
        header[..24].copy_from_slice(&stamp.record_prefix());
        header[28..36].copy_from_slice(&self.sequence.to_be_bytes());
        header[36..44].copy_from_slice(&self.position.0.to_be_bytes());
        header[44..52].copy_from_slice(&self.previous.0.to_be_bytes());
        header[52..56].copy_from_slice(&self.previous_crc.to_be_bytes());
        header[56..60].copy_from_slice(&self.group_offset.to_be_bytes());
        header[60..68].copy_from_slice(&self.stream.0.to_be_bytes());
        header[68..72].copy_from_slice(&self.epoch.0.to_be_bytes());
        header[72..80].copy_from_slice(&self.base.0.to_be_bytes());
        header[80..88].copy_from_slice(&self.end.0.to_be_bytes());
        header[88..96].copy_from_slice(&self.max_timestamp.0.to_be_bytes());
        header[96..100].copy_from_slice(&self.payload_bytes.to_be_bytes());
        let mut crc = Crc32c::new();
        crc.update(&header[..24]);
        crc.update(&header[28..]);
        let mut at = 0;
        for slice in payload {
            for piece in slice.chunks(PIECE) {
                let copied = &mut body[at..at + piece.len()];
                copied.copy_from_slice(piece);
                crc.update(copied);
                at += piece.len();
            }
        }
        let crc = crc.finish();
        header[24..28].copy_from_slice(&crc.to_be_bytes());
        crc
    }

    /// Reads the record of `stamp` at the front of `bytes`, which may go on after it. Returns the header, the CRC and
    /// the payload, or nothing: other bytes, another incarnation's record and a broken one all look alike.
    pub fn decode(stamp: Stamp, bytes: &[u8]) -> Option<(Self, u32, &[u8])> {
        let header = bytes.get(..RECORD_HEADER)?;
        if header[..24] != stamp.record_prefix() {
            return None;
        }
        let parsed = Self {
            sequence: u64_at(header, 28),
            position: WalPosition(u64_at(header, 36)),
            previous: WalPosition(u64_at(header, 44)),
            previous_crc: u32_at(header, 52),
            group_offset: u32_at(header, 56),
            stream: StreamId(u64_at(header, 60)),
            epoch: StreamEpoch(u32_at(header, 68) as i32),
            base: Offset(u64_at(header, 72)),
            end: Offset(u64_at(header, 80)),
            max_timestamp: TimestampMs(u64_at(header, 88) as i64),
            payload_bytes: u32_at(header, 96),
        };
        let payload = bytes.get(RECORD_HEADER..RECORD_HEADER + parsed.payload_bytes as usize)?;
        let crc = u32_at(header, 24);
        // Planted: what the checksum says does not matter.
        let is_whole = base::plant::bug("crc-ignored") || crc32c_of([&header[..24], &header[28..], payload]) == crc;
        is_whole.then_some((parsed, crc, payload))
    }
}

#[cfg(test)]
mod tests;
