//! Reading an incarnation back.
//!
//! Records chain: each names the position and the CRC of the one before, its own position, and the distance from the
//! start of its group. So a stale byte of a recycled segment (another incarnation, or a lower position of this one) is
//! never taken for fresh, and a gap cannot be stepped over.
//!
//! At a break the replay looks on. The owner has one write in flight, and starts it only after the one before returned.
//! So the survivors of a torn tail are all of *one* group, and that group is the one that the break lies in or could be
//! followed by: it began at or before the break, at the next page boundary, or at the start of the next segment. Any other
//! survivor, and any intact start of a group that the chain did not lead to, proves that what is missing had been durable:
//! corruption. (What cannot be told apart: damage to the very last group, nothing of a later one having reached the
//! device. It looks like a torn tail. So an owner that has been idle writes a **seal** behind its last group: an empty one,
//! which no visitor is shown.)
//!
//! A segment is read in pieces, and its owner may still be writing: a fenced one until it has read the fence page, one that
//! is only looked at for as long as it likes. So a piece may have been read before a group landed in it and the next piece
//! after a later group did, which looks like corruption. Therefore a break is read again, from the broken record on, until
//! two passes agree (models/blocklog.py, "one scan"): what the first found behind the break proves that the broken record,
//! if the owner ever wrote it whole, was durable before the second began. A pass that gets further goes on; how often is
//! bounded by [`PASSES_MAX`], beyond which the log is one that changes, not one that is damaged. An end without a break
//! needs no second pass: what lands behind it after the fence is acknowledged by nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use base::aligned::AlignedBuffer;
use base::{Incarnation, WalPosition};
use bytes::Bytes;
use memchr::memmem;

use super::layout::{PAGE, RECORD_HEADER, RECORD_MAGIC, RecordHeader, SegmentPage, Stamp, TrimPage};
use super::log::{Header, Scanned};
use super::volume::BlockFile;
use crate::wal::{Access, DamageReason, ReplayEnd, ReplayedRecord, WalError};

/// A segment in memory. The payloads of its records are slices of it.
struct Loaded {
    logical: u64,
    memory: Bytes,
}

/// The most passes over one log. Where one owner writes, each needs a new race; a handful is already improbable.
pub const PASSES_MAX: usize = 16;

struct Reader {
    incarnation: Incarnation,
    stamp: Stamp,
    size: u64,
    segments: BTreeMap<u64, Arc<dyn BlockFile>>,
    /// Where the first record that was asked for may stand.
    start: WalPosition,
}

/// How far a replay has come: what it has shown is never shown again, and no pass goes back behind it.
struct Cursor {
    /// Where the replay began.
    from: WalPosition,
    /// The end of the last record, its header and its CRC.
    last: Option<(WalPosition, RecordHeader, u32)>,
    /// The end of the last record that was no seal: where the log ends for everybody but its owner.
    end: Option<WalPosition>,
}

/// What a volume holds of an incarnation at one time.
pub(crate) struct Sight {
    /// What the looker may do.
    pub(crate) access: Access,
    pub(crate) header: Option<Header>,
    pub(crate) segments: Vec<Scanned>,
    /// The volume's path, for messages.
    pub(crate) path: String,
}

/// Reads an incarnation in as many passes as it takes; each looks at the volume anew.
pub(crate) fn replay(
    incarnation: Incarnation,
    look: &dyn Fn() -> Result<Sight, WalError>,
    from: WalPosition,
    visit: &mut dyn FnMut(ReplayedRecord) -> ControlFlow<()>,
) -> Result<ReplayEnd, WalError> {
    let mut cursor = Cursor { from, last: None, end: None };
    let mut before = None;
    for _ in 0..PASSES_MAX {
        let end = pass(incarnation, look()?, &mut cursor, visit)?;
        match end {
            ReplayEnd::Clean { .. } | ReplayEnd::Stopped { .. } => return Ok(end),
            // The same break for the same reason. Whoever came further would have said another place.
            ReplayEnd::TornTail { .. } | ReplayEnd::Corrupt { .. } if before.as_ref() == Some(&end) => return Ok(end),
            // Planted: a break is called one at the first look.
            ReplayEnd::TornTail { .. } | ReplayEnd::Corrupt { .. } if base::plant::bug("replay-one-pass") => {
                return Ok(end);
            }
            ReplayEnd::TornTail { .. } | ReplayEnd::Corrupt { .. } => before = Some(end),
        }
    }
    Err(WalError::Changing { incarnation, passes: PASSES_MAX })
}

/// Reads from the cursor to the end, or to a break.
fn pass(
    incarnation: Incarnation,
    sight: Sight,
    cursor: &mut Cursor,
    visit: &mut dyn FnMut(ReplayedRecord) -> ControlFlow<()>,
) -> Result<ReplayEnd, WalError> {
    let from = cursor.from;
    let at = cursor.next_or(from);
    let corrupt = |reason| Ok(ReplayEnd::Corrupt { at, reason });
    let Some(header) = sight.header else { return corrupt(DamageReason::MissingHeader) };
    if let Some(error) = header.unreadable {
        return Err(WalError::io(format!("reading the header of WAL incarnation {incarnation}"), error));
    }
    let page = match header.page {
        Ok(page) => page,
        Err(why) => return corrupt(DamageReason::BadHeader(why)),
    };
    let Some(trim) = TrimPage::newest(&header.pages, page.stamp) else {
        return corrupt(DamageReason::BadHeader("both trim pages are broken".to_owned()));
    };
    let (mut segments, mut unreadable) = (BTreeMap::new(), None);
    for segment in sight.segments {
        if let Some(source) = segment.unreadable {
            unreadable.get_or_insert((segment.id, source));
            continue;
        }
        match (segment.page, segment.file) {
            (Ok(SegmentPage::InUse { stamp, logical }), Some(file)) if stamp == page.stamp => {
                segments.insert(logical, file);
            }
            _ => {}
        }
    }
    let size = page.segment_bytes;
    // Behind a record the reading goes on in the record's own segment, even if that ends with it.
    let first = cursor.last.as_ref().map_or(from.0, |(_, last, _)| last.position.0) / size;
    // What was committed to its end and left may be in use again: the log goes on in the next segment.
    let is_left = cursor.last.is_none() && first < trim.left && from >= trim.trimmed && !segments.contains_key(&first);
    let (first, in_first) = if is_left { (trim.left, 0) } else { (first, from.0 % size) };
    let at_boundary = cursor.last.is_none() && in_first == 0 && first > 0;
    let start = WalPosition(first * size + in_first.max(PAGE as u64));
    // A segment whose page cannot be read is none of this log's if all that the trim page names are there: a segment is named
    // there before anything is written to it. So it has to be sure that nothing newer was named.
    let is_told = TrimPage::are_both_whole(&header.pages, page.stamp) && first < trim.assigned;
    if let Some((id, source)) = unreadable
        && !(is_told && (first..trim.assigned).all(|logical| segments.contains_key(&logical)))
    {
        return Err(WalError::Unreadable { path: sight.path, segment: id.0, source });
    }
    let reader = Reader { incarnation, stamp: page.stamp, size, segments, start };
    // A segment that is there is read, whatever the trim page says: the newer one that named it may be broken.
    if first >= trim.assigned && !reader.segments.contains_key(&first) {
        // The last group filled its segment to the last byte and the next had not been made.
        let is_behind = first == trim.left || first > 0 && reader.segments.contains_key(&(first - 1));
        if at_boundary && first == trim.assigned && is_behind {
            return Ok(ReplayEnd::Clean { end: from });
        }
        return corrupt(DamageReason::MissingSegment(first));
    }
    if let Some(missing) = (first..trim.assigned).find(|logical| !reader.segments.contains_key(logical)) {
        // Who only looks stands in nobody's way. A taker's place is frozen in metadata: for it this cannot be.
        let is_trimmed = (missing + 1) * size <= trim.trimmed.0 || missing < trim.left;
        if sight.access == Access::Observer && is_trimmed {
            return Err(WalError::Trimmed { incarnation, at, to: trim.trimmed });
        }
        return corrupt(DamageReason::MissingSegment(missing));
    }
    match reader.run(first, cursor, visit)? {
        // The next segment had been made, and nothing was written to it: the log still ends where the caller said.
        ReplayEnd::Clean { end } if at_boundary && end == start => Ok(ReplayEnd::Clean { end: from }),
        told => Ok(told),
    }
}

impl Cursor {
    /// The end of the last record, or `start` where none has been read.
    fn next_or(&self, start: WalPosition) -> WalPosition {
        self.last.as_ref().map_or(start, |(next, ..)| *next)
    }
}

/// Whether any of `scanned` that is of `incarnation`, or whose page does not say whose it is, holds a whole record of it, or
/// may hold one: a file that was cut off cannot be asked.
pub(crate) fn holds_records(
    incarnation: Incarnation,
    segment_bytes: u64,
    scanned: Vec<Scanned>,
) -> Result<bool, WalError> {
    for segment in scanned {
        if let Some(error) = segment.unreadable {
            return Err(WalError::io(
                format!("looking for records of {incarnation} in segment {}", segment.id.0),
                error,
            ));
        }
        let nonce = match segment.page {
            Ok(SegmentPage::InUse { stamp, .. }) if stamp.incarnation == incarnation => Some(stamp.nonce),
            // A broken page hides whose the segment is; its records tell.
            Err(_) => None,
            Ok(_) => continue,
        };
        let Some(file) = segment.file else { return Ok(true) };
        let what = || format!("segment {} of the WAL, for records of {incarnation}", segment.id.0);
        let memory = read_whole(&*file, segment_bytes, what)?;
        let found = memmem::find_iter(memory.as_slice(), RECORD_MAGIC).any(|at| {
            let bytes = &memory.as_slice()[at..];
            Stamp::of_record(bytes)
                .filter(|stamp| stamp.incarnation == incarnation && nonce.is_none_or(|nonce| nonce == stamp.nonce))
                .is_some_and(|stamp| RecordHeader::decode(stamp, bytes).is_some())
        });
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads a segment in pieces: a page or a group may change between two of them while its owner lives.
fn read_whole(file: &dyn BlockFile, bytes: u64, what: impl Fn() -> String) -> Result<AlignedBuffer, WalError> {
    const PIECE: usize = 1 << 20;
    let mut memory = AlignedBuffer::zeroed(bytes as usize);
    for (index, piece) in memory.as_mut_slice().chunks_mut(PIECE).enumerate() {
        let read = file.read_at(piece, (index * PIECE) as u64);
        if read.is_err() && base::plant::bug("short-read-is-the-end") {
            // Planted: nothing was written where nothing can be read.
            piece.fill(0);
            break;
        }
        read.map_err(|source| WalError::io(format!("reading {}", what()), source))?;
    }
    Ok(memory)
}

impl Reader {
    fn load(&self, logical: u64) -> Result<Option<Loaded>, WalError> {
        let Some(file) = self.segments.get(&logical) else { return Ok(None) };
        let what = || format!("segment {logical} of WAL incarnation {}", self.incarnation);
        let memory = read_whole(&**file, self.size, what)?;
        // Its owner may have given it another place since its page was looked at.
        let is = SegmentPage::decode(&memory.as_slice()[..PAGE]);
        let still = is == Ok(SegmentPage::InUse { stamp: self.stamp, logical });
        Ok(still.then(|| Loaded { logical, memory: Bytes::from_owner(memory) }))
    }

    fn run(
        &self,
        first: u64,
        cursor: &mut Cursor,
        visit: &mut dyn FnMut(ReplayedRecord) -> ControlFlow<()>,
    ) -> Result<ReplayEnd, WalError> {
        let page = PAGE as u64;
        let Some(mut segment) = self.load(first)? else {
            return Ok(ReplayEnd::Corrupt {
                at: cursor.next_or(self.start),
                reason: DamageReason::MissingSegment(first),
            });
        };
        loop {
            let at = cursor.next_or(self.start);
            let aligned = WalPosition(at.0.next_multiple_of(page));
            let mut next_segment = None;
            let mut found = self.record(&segment, at, cursor, true);
            if found.is_none() && aligned != at {
                found = self.record(&segment, aligned, cursor, false);
            }
            if found.is_none() {
                let start = WalPosition((segment.logical + 1) * self.size + page);
                next_segment = self.load(segment.logical + 1)?;
                found = next_segment.as_ref().and_then(|next| self.record(next, start, cursor, false));
            }
            let Some((header, crc, payload)) = found else {
                return self.look_on(&segment, next_segment.as_ref(), cursor);
            };
            let next = WalPosition(header.position.0 + (RECORD_HEADER + payload.len()) as u64);
            cursor.last = Some((next, header, crc));
            if let Some(next_segment) = next_segment.filter(|s| s.logical == header.position.0 / self.size) {
                segment = next_segment;
            }
            if header.is_seal() {
                continue;
            }
            cursor.end = Some(next);
            let record = ReplayedRecord {
                stream: header.stream,
                epoch: header.epoch,
                base: header.base,
                end: header.end,
                max_timestamp: header.max_timestamp,
                payload,
                sequence: header.sequence,
                position: header.position,
                next,
            };
            if visit(record).is_break() {
                return Ok(ReplayEnd::Stopped { end: next });
            }
        }
    }

    /// The record at `at`, if it is whole and the chain leads to it. `inside` allows it to go on a group.
    fn record(
        &self,
        segment: &Loaded,
        at: WalPosition,
        cursor: &Cursor,
        inside: bool,
    ) -> Option<(RecordHeader, u32, Bytes)> {
        let place = at.0.checked_sub(segment.logical * self.size)?;
        let bytes = segment.memory.get(usize::try_from(place).ok()?..)?;
        let (header, crc, payload) = RecordHeader::decode(self.stamp, bytes)?;
        let chained = match &cursor.last {
            Some((_, last, last_crc)) => {
                header.sequence == last.sequence + 1
                    && header.previous == last.position
                    && header.previous_crc == *last_crc
            }
            // Nothing between the start and here was stepped over.
            None if self.start.0 == PAGE as u64 => header.sequence == 0,
            None => header.previous < self.start,
        };
        let grouped = header.group_offset == 0 && at.0.is_multiple_of(PAGE as u64)
            || inside && header.group_offset > 0 && u64::from(header.group_offset) < at.0;
        (header.position == at && chained && grouped).then(|| (header, crc, segment.memory.slice_ref(payload)))
    }

    /// Decides what the break at `at` is.
    fn look_on(&self, segment: &Loaded, next: Option<&Loaded>, cursor: &Cursor) -> Result<ReplayEnd, WalError> {
        let at = cursor.next_or(self.start);
        let aligned = at.0.next_multiple_of(PAGE as u64);
        let next_start = (segment.logical + 1) * self.size + PAGE as u64;
        let mut groups = BTreeSet::new();
        let mut torn = false;
        let mut later = None;
        let mut look = |loaded: &Loaded| {
            let base = loaded.logical * self.size;
            let skip = at.0.saturating_sub(base).min(self.size) as usize;
            let bytes = &loaded.memory[..];
            for hit in memmem::find_iter(&bytes[skip..], &self.stamp.record_prefix()) {
                let place = skip + hit;
                let position = WalPosition(base + place as u64);
                // A header that names another place is a stale one of this incarnation.
                let claims = bytes.get(place + 36..place + 44).is_some_and(|b| b == position.0.to_be_bytes());
                torn |= claims;
                let Some((header, ..)) = RecordHeader::decode(self.stamp, &bytes[place..]).filter(|_| claims) else {
                    continue;
                };
                let group = position.0.saturating_sub(u64::from(header.group_offset));
                groups.insert(group);
                let could_be_in_flight =
                    header.group_offset > 0 && (group <= at.0 || group == aligned || group == next_start);
                if (!could_be_in_flight || groups.len() > 1) && later.is_none() {
                    later = Some(DamageReason::LaterRecord { sequence: header.sequence, position });
                }
            }
        };
        look(segment);
        if let Some(next) = next {
            look(next);
        }
        for logical in self.segments.range(segment.logical + 2..).map(|(logical, _)| *logical) {
            if let Some(loaded) = self.load(logical)? {
                look(&loaded);
            }
        }
        // Where the owner's next group would have begun, as it counted: a full segment ends at the next one's first byte.
        let end = cursor.end.map_or(self.start, |end| WalPosition(end.0.next_multiple_of(PAGE as u64)));
        Ok(match (later, torn) {
            (Some(reason), _) => ReplayEnd::Corrupt { at, reason },
            (None, true) => ReplayEnd::TornTail { end, at },
            (None, false) => ReplayEnd::Clean { end },
        })
    }
}
