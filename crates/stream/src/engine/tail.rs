//! The tail of one stream in the log cache: entries that are durable, in offset order, the newest at the back.

use std::collections::VecDeque;

use base::{Offset, OffsetRange, TimestampMs};

use super::room::Room;
use super::stream::Fetched;
use crate::Fragments;

/// One durable entry.
#[derive(Debug)]
pub(crate) struct Entry {
    pub range: OffsetRange,
    pub max_timestamp: TimestampMs,
    pub payload: Fragments,
    pub bytes: usize,
    /// What the payload lies in; given back when the last entry in it leaves the cache.
    pub _room: Room,
}

#[derive(Debug, Default)]
pub(crate) struct Tail {
    entries: VecDeque<Entry>,
    /// First offset that no cut has taken.
    pub uncut: Offset,
    /// Whether the stream is on the list of the next cut.
    pub dirty: bool,
    /// Payload at or above `uncut`.
    pub uncut_bytes: u64,
    bytes: usize,
}

impl Tail {
    pub fn new(end: Offset) -> Self {
        Self { uncut: end, ..Self::default() }
    }

    pub fn push(&mut self, entry: Entry) {
        self.bytes += entry.bytes;
        self.uncut_bytes += entry.bytes as u64;
        self.entries.push_back(entry);
    }

    /// First offset that the cache can serve.
    pub fn start(&self) -> Option<Offset> {
        self.entries.front().map(|e| e.range.start)
    }

    pub fn bytes_from(&self, offset: Offset) -> u64 {
        self.entries.iter().rev().take_while(|e| e.range.start >= offset).map(|e| e.bytes as u64).sum()
    }

    /// Whole entries from the one that contains `from`, none reaching beyond `limit`; `None` when the cache does not
    /// hold `from`.
    pub fn collect(&self, from: Offset, limit: Offset, max_bytes: usize, min_one: bool) -> Option<Fetched> {
        if self.start()? > from {
            return None;
        }
        let first = self.entries.partition_point(|e| e.range.end <= from);
        let mut out = Fetched::empty(from);
        for entry in self.entries.iter().skip(first) {
            let fits = out.bytes + entry.bytes <= max_bytes || (out.slices.is_empty() && min_one);
            if entry.range.end > limit || !fits {
                break;
            }
            out.take(entry.range, &entry.payload, entry.bytes);
        }
        Some(out)
    }

    /// The first entries of `range`, which a cut has taken, `max` at most.
    pub fn cut_entries(
        &self,
        range: OffsetRange,
        max: usize,
        mut each: impl FnMut(OffsetRange, TimestampMs, &Fragments),
    ) {
        let first = self.entries.partition_point(|e| e.range.end <= range.start);
        for entry in self.entries.iter().skip(first).take(max).take_while(|e| e.range.end <= range.end) {
            each(entry.range, entry.max_timestamp, &entry.payload);
        }
    }

    /// Takes out entries that end at or below `offset`, which the catalogue holds, `max` at most, and with the last of all
    /// what they stood in: to be dropped where no lock is held.
    pub fn detach_below(&mut self, offset: Offset, max: usize, out: &mut Vec<Entry>) -> VecDeque<Entry> {
        let count = self.entries.partition_point(|e| e.range.end <= offset).min(max);
        for entry in self.entries.drain(..count) {
            self.bytes -= entry.bytes;
            out.push(entry);
        }
        if self.entries.is_empty() { std::mem::take(&mut self.entries) } else { VecDeque::new() }
    }

    /// Takes out everything, to be dropped where no lock is held.
    pub fn detach_all(&mut self) -> VecDeque<Entry> {
        (self.bytes, self.uncut_bytes) = (0, 0);
        std::mem::take(&mut self.entries)
    }

    /// Range of the first cached entry below `limit` with a timestamp of at least `at_least`.
    pub fn find_timestamp(&self, from: Offset, at_least: TimestampMs, limit: Offset) -> Option<OffsetRange> {
        let found = self.entries.iter().find(|e| e.range.end > from && e.max_timestamp >= at_least)?;
        (found.range.end <= limit).then_some(found.range)
    }

    /// The greatest timestamp among cached entries at or above `from` and below `limit`, with the first entry that has it.
    pub fn max_timestamp(&self, from: Offset, limit: Offset) -> Option<(TimestampMs, OffsetRange)> {
        let mut best: Option<(TimestampMs, OffsetRange)> = None;
        for e in self.entries.iter().filter(|e| e.range.end > from && e.range.end <= limit) {
            if best.is_none_or(|(t, _)| e.max_timestamp > t) {
                best = Some((e.max_timestamp, e.range));
            }
        }
        best
    }
}
