//! The tail of one stream in the log cache: entries that are durable, in offset order, the newest at the back.
//!
//! Acknowledgements wait for its lock, and it may hold millions of entries. Nothing here looks at more of them than a
//! few runs ([`super::runs`]) or than its caller allows.

use std::collections::VecDeque;
use std::ops::Range;

use base::{Offset, OffsetRange, TimestampMs};

use super::room::Room;
use super::runs::Runs;
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

/// How much a reader takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub max_bytes: usize,
    /// One entry, even if it is larger.
    pub min_one: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Tail {
    entries: VecDeque<Entry>,
    runs: Runs,
    /// First offset that no cut has taken.
    pub uncut: Offset,
    /// Whether the stream is on the list of the next cut.
    pub dirty: bool,
    /// Payload at or above `uncut`.
    pub uncut_bytes: u64,
    /// Entries that were looked at one by one.
    #[cfg(test)]
    pub looked: std::cell::Cell<usize>,
}

impl Tail {
    pub fn new(end: Offset) -> Self {
        Self { uncut: end, ..Self::default() }
    }

    pub fn push(&mut self, entry: Entry) {
        self.uncut_bytes += entry.bytes as u64;
        self.runs.push(entry.bytes, entry.max_timestamp);
        self.entries.push_back(entry);
    }

    /// First offset that the cache can serve.
    pub fn start(&self) -> Option<Offset> {
        self.entries.front().map(|e| e.range.start)
    }

    /// The place of the first entry that reaches beyond `offset`.
    fn place(&self, offset: Offset) -> usize {
        self.entries.partition_point(|e| e.range.end <= offset)
    }

    /// Entries, to be looked at one by one.
    fn look(&self, places: Range<usize>) -> impl Iterator<Item = &Entry> {
        let entries = self.entries.range(places);
        #[cfg(test)]
        let entries = entries.inspect(|_| self.looked.set(self.looked.get() + 1));
        entries
    }

    /// Payload of the entries that begin at or above `offset`.
    pub fn bytes_from(&self, offset: Offset) -> u64 {
        let first = self.entries.partition_point(|e| e.range.start < offset);
        let spans = self.runs.spans(first..self.entries.len());
        let bytes = spans.map(|span| match span.whole {
            Some(run) => run.bytes,
            None => self.look(span.entries).map(|e| e.bytes as u64).sum(),
        });
        bytes.sum()
    }

    /// Whole entries from the one that contains `from`, none reaching beyond `limit`, at most `max` of them; `None` when
    /// the cache does not hold `from`. `out` is what was found before, which ends at `from`; `false` when there is no
    /// more that fits.
    pub fn collect(&self, from: Offset, limit: Offset, wanted: Wanted, max: usize, out: &mut Fetched) -> Option<bool> {
        if self.start()? > from {
            return None;
        }
        let first = self.place(from);
        for entry in self.look(first..self.entries.len()).take(max) {
            let fits = out.bytes + entry.bytes <= wanted.max_bytes || (out.range.is_empty() && wanted.min_one);
            if entry.range.end > limit || !fits {
                return Some(false);
            }
            out.take(entry.range, &entry.payload, entry.bytes);
        }
        Some(self.entries.len() - first > max)
    }

    /// The first entries of `range`, which a cut has taken, `max` at most.
    pub fn cut_entries(
        &self,
        range: OffsetRange,
        max: usize,
        mut each: impl FnMut(OffsetRange, TimestampMs, &Fragments),
    ) {
        let first = self.place(range.start);
        for entry in self.look(first..self.entries.len()).take(max).take_while(|e| e.range.end <= range.end) {
            each(entry.range, entry.max_timestamp, &entry.payload);
        }
    }

    /// Takes out entries that end at or below `offset`, which the catalogue holds, `max` at most, and with the last of all
    /// what they stood in: to be dropped where no lock is held.
    pub fn detach_below(&mut self, offset: Offset, max: usize, out: &mut Vec<Entry>) -> VecDeque<Entry> {
        let count = self.place(offset).min(max);
        for entry in self.entries.drain(..count) {
            self.runs.pop(entry.bytes);
            out.push(entry);
        }
        if self.entries.is_empty() { std::mem::take(&mut self.entries) } else { VecDeque::new() }
    }

    /// Takes out everything, to be dropped where no lock is held.
    pub fn detach_all(&mut self) -> VecDeque<Entry> {
        self.uncut_bytes = 0;
        self.runs = Runs::default();
        std::mem::take(&mut self.entries)
    }

    /// Range of the first cached entry below `limit` with a timestamp of at least `at_least`.
    pub fn find_timestamp(&self, from: Offset, at_least: TimestampMs, limit: Offset) -> Option<OffsetRange> {
        for span in self.runs.spans(self.place(from)..self.entries.len()) {
            if span.whole.is_some_and(|run| run.newest < at_least) {
                continue;
            }
            if let Some(found) = self.look(span.entries).find(|e| e.max_timestamp >= at_least) {
                return (found.range.end <= limit).then_some(found.range);
            }
        }
        None
    }

    /// The greatest timestamp among cached entries at or above `from` and below `limit`, with the first entry that has it.
    pub fn max_timestamp(&self, from: Offset, limit: Offset) -> Option<(TimestampMs, OffsetRange)> {
        // Where the first entry stands that has it: found, or in a run that is yet to be looked at.
        let mut best: Option<(TimestampMs, Range<usize>)> = None;
        for span in self.runs.spans(self.place(from)..self.place(limit)) {
            let newest = match span.whole {
                Some(run) => Some(run.newest),
                None => self.look(span.entries.clone()).map(|e| e.max_timestamp).max(),
            };
            let beats = |newest: &TimestampMs| best.as_ref().is_none_or(|(greatest, _)| newest > greatest);
            if let Some(newest) = newest.filter(beats) {
                best = Some((newest, span.entries));
            }
        }
        let (newest, places) = best?;
        self.look(places).find(|e| e.max_timestamp == newest).map(|e| (newest, e.range))
    }
}

#[cfg(test)]
mod tests;
