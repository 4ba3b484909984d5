//! The tail of one stream in the log cache: entries that are durable, in offset order, the newest at the back.
//!
//! Acknowledgements wait for its lock, and it may hold millions of entries. Nothing here looks at, moves or copies more of
//! them than a few runs ([`super::runs`]) or than its caller allows.

use base::{Offset, OffsetRange, TimestampMs};

use super::room::Room;
use super::runs::{Runs, Span};
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
        self.runs.push(entry);
    }

    /// First offset that the cache can serve.
    pub fn start(&self) -> Option<Offset> {
        self.runs.first().map(|e| e.range.start)
    }

    /// The entries that reach beyond `from`, those beyond `to` left out, in spans.
    fn spans(&self, from: Offset, to: Option<Offset>) -> impl Iterator<Item = Span<'_>> {
        let place = |offset| self.runs.place(move |e| e.range.end <= offset);
        self.runs.spans(place(from), to.map_or_else(|| self.runs.end(), place))
    }

    /// Entries, to be looked at one by one.
    fn look<'a>(&'a self, entries: &'a [Entry]) -> impl Iterator<Item = &'a Entry> {
        let entries = entries.iter();
        #[cfg(test)]
        let entries = entries.inspect(|_| self.looked.set(self.looked.get() + 1));
        entries
    }

    /// The entries that reach beyond `from`.
    fn look_from(&self, from: Offset) -> impl Iterator<Item = &Entry> {
        self.spans(from, None).flat_map(|span| self.look(span.entries))
    }

    /// Payload of the entries that begin at or above `offset`.
    pub fn bytes_from(&self, offset: Offset) -> u64 {
        let first = self.runs.place(|e| e.range.start < offset);
        let bytes = self.runs.spans(first, self.runs.end()).map(|span| match span.whole {
            Some(sum) => sum.bytes,
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
        let mut entries = self.look_from(from);
        for entry in entries.by_ref().take(max) {
            let fits = out.bytes + entry.bytes <= wanted.max_bytes || (out.range.is_empty() && wanted.min_one);
            if entry.range.end > limit || !fits {
                return Some(false);
            }
            out.take(entry.range, &entry.payload, entry.bytes);
        }
        Some(entries.next().is_some())
    }

    /// The first entries of `range`, which a cut has taken, `max` at most.
    pub fn cut_entries(
        &self,
        range: OffsetRange,
        max: usize,
        mut each: impl FnMut(OffsetRange, TimestampMs, &Fragments),
    ) {
        for entry in self.look_from(range.start).take(max).take_while(|e| e.range.end <= range.end) {
            each(entry.range, entry.max_timestamp, &entry.payload);
        }
    }

    /// Takes out entries that end at or below `offset`, which the catalogue holds, a run at most: to be dropped where no
    /// lock is held. `None` when none is left.
    pub fn detach_below(&mut self, offset: Offset) -> Option<Vec<Entry>> {
        self.runs.detach_below(offset)
    }

    /// Takes out everything, to be dropped where no lock is held.
    pub fn detach_all(&mut self) -> Runs {
        self.uncut_bytes = 0;
        std::mem::take(&mut self.runs)
    }

    /// Range of the first cached entry below `limit` with a timestamp of at least `at_least`.
    pub fn find_timestamp(&self, from: Offset, at_least: TimestampMs, limit: Offset) -> Option<OffsetRange> {
        for span in self.spans(from, None) {
            if span.whole.is_some_and(|sum| sum.newest < at_least) {
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
        let mut best: Option<(TimestampMs, &[Entry])> = None;
        for span in self.spans(from, Some(limit)) {
            let newest = match span.whole {
                Some(sum) => Some(sum.newest),
                None => self.look(span.entries).map(|e| e.max_timestamp).max(),
            };
            let beats = |newest: &TimestampMs| best.as_ref().is_none_or(|(greatest, _)| newest > greatest);
            if let Some(newest) = newest.filter(beats) {
                best = Some((newest, span.entries));
            }
        }
        let (newest, entries) = best?;
        self.look(entries).find(|e| e.max_timestamp == newest).map(|e| (newest, e.range))
    }

    /// Entries that there is memory for.
    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.runs.capacity()
    }
}

#[cfg(test)]
mod tests;
