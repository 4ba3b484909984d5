//! What a look-up asks about consecutive entries of a tail, told for [`RUN_ENTRIES`] of them at once: a tail of small
//! entries has millions, and acknowledgements wait for its lock.
//!
//! Entries come at the back and go at the front. A run is exact about what it still holds, except that the greatest
//! timestamp of the first one may be that of an entry that has gone: there it is a bound.

use std::collections::VecDeque;
use std::ops::Range;

use base::TimestampMs;

/// Entries of a run; what a look-up looks at one by one is at most two of them.
pub(crate) const RUN_ENTRIES: usize = 1024;

/// Consecutive entries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    entries: usize,
    pub bytes: u64,
    /// The greatest timestamp, or more in the first run.
    pub newest: TimestampMs,
}

/// A part of what is looked at: entries by their places, and what is known of them if they are a whole run.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub entries: Range<usize>,
    pub whole: Option<Run>,
}

/// The runs of a tail, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Runs(VecDeque<Run>);

impl Runs {
    /// An entry came.
    pub fn push(&mut self, bytes: usize, newest: TimestampMs) {
        match self.0.back_mut().filter(|run| run.entries < RUN_ENTRIES) {
            Some(run) => {
                run.entries += 1;
                run.bytes += bytes as u64;
                run.newest = run.newest.max(newest);
            }
            None => self.0.push_back(Run { entries: 1, bytes: bytes as u64, newest }),
        }
    }

    /// The first entry went.
    pub fn pop(&mut self, bytes: usize) {
        let Some(first) = self.0.front_mut() else { return };
        first.entries -= 1;
        first.bytes -= bytes as u64;
        if first.entries == 0 {
            self.0.pop_front();
        }
    }

    /// The parts of `entries`, in order.
    pub fn spans(&self, entries: Range<usize>) -> impl Iterator<Item = Span> {
        let mut at = 0;
        let runs = self.0.iter().map(move |run| {
            let places = at..at + run.entries;
            at = places.end;
            (places, *run)
        });
        let (from, to) = (entries.start, entries.end);
        let met =
            runs.skip_while(move |(places, _)| places.end <= from).take_while(move |(places, _)| places.start < to);
        met.map(move |(places, run)| {
            let is_whole = places.start >= from && places.end <= to;
            let entries = places.start.max(from)..places.end.min(to);
            // Of the first run the timestamp is only a bound.
            Span { whole: (is_whole && places.start > 0).then_some(run), entries }
        })
    }
}
