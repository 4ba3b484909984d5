//! The entries of a tail, [`RUN_ENTRIES`] to a run: a tail of small entries has millions, and acknowledgements wait for
//! its lock.
//!
//! A run tells of itself what a look-up asks, so that few entries are looked at one by one. It is memory of its own, that
//! grows no larger than a run and leaves with its last entry: what a tail takes follows what is in it.

use std::collections::VecDeque;

use base::{Offset, TimestampMs};

use super::tail::Entry;

/// Entries of a run at most; what a look-up looks at one by one is at most two of them.
pub(crate) const RUN_ENTRIES: usize = 1024;

/// Consecutive entries.
#[derive(Debug)]
struct Run {
    entries: Vec<Entry>,
    sum: Sum,
}

/// What is known of all entries of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sum {
    pub bytes: u64,
    /// The greatest timestamp.
    pub newest: TimestampMs,
}

/// A place before an entry, or at the end: which run, and which entry of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    run: usize,
    entry: usize,
}

/// Entries of one run, and what is known of them if they are all of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span<'a> {
    pub entries: &'a [Entry],
    pub whole: Option<Sum>,
}

/// The runs of a tail, oldest first. None is empty.
#[derive(Debug, Default)]
pub(crate) struct Runs(VecDeque<Run>);

impl Runs {
    /// An entry came.
    pub fn push(&mut self, entry: Entry) {
        match self.0.back_mut().filter(|run| run.entries.len() < RUN_ENTRIES) {
            Some(run) => run.push(entry),
            None => self.0.push_back(Run::of(vec![entry])),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The oldest entry.
    pub fn first(&self) -> Option<&Entry> {
        self.0.front()?.entries.first()
    }

    /// The place behind the entries of which `is_before` holds; these come first.
    pub fn place(&self, is_before: impl Fn(&Entry) -> bool) -> Place {
        let run = self.0.partition_point(|run| run.entries.last().is_some_and(&is_before));
        let entry = self.0.get(run).map_or(0, |run| run.entries.partition_point(is_before));
        Place { run, entry }
    }

    /// The place behind all entries.
    pub fn end(&self) -> Place {
        Place { run: self.0.len(), entry: 0 }
    }

    /// What lies between two places, in order.
    pub fn spans(&self, from: Place, to: Place) -> impl Iterator<Item = Span<'_>> {
        self.0.iter().enumerate().take(to.run.saturating_add(1)).skip(from.run).map(move |(at, run)| {
            let first = if at == from.run { from.entry } else { 0 };
            let end = if at == to.run { to.entry } else { run.entries.len() };
            let entries = run.entries.get(first..end).unwrap_or_default();
            Span { entries, whole: (entries.len() == run.entries.len()).then_some(run.sum) }
        })
    }

    /// Takes out what the first run has below `offset`, with the memory that it stood in; `None` when that is nothing.
    pub fn detach_below(&mut self, offset: Offset) -> Option<Vec<Entry>> {
        let first = self.0.front_mut()?;
        let count = first.entries.partition_point(|entry| entry.range.end <= offset);
        if count == 0 {
            return None;
        }
        let rest = first.entries.split_off(count);
        if !rest.is_empty() {
            return Some(std::mem::replace(first, Run::of(rest)).entries);
        }
        let gone = self.0.pop_front()?.entries;
        if self.0.len() < self.0.capacity() / 4 {
            self.0.shrink_to(self.0.len() * 2);
        }
        Some(gone)
    }

    /// Entries that there is memory for.
    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.0.capacity() + self.0.iter().map(|run| run.entries.capacity()).sum::<usize>()
    }
}

impl Run {
    fn of(entries: Vec<Entry>) -> Self {
        let mut sum = Sum { bytes: 0, newest: TimestampMs(i64::MIN) };
        entries.iter().for_each(|entry| sum.add(entry));
        Self { entries, sum }
    }

    fn push(&mut self, entry: Entry) {
        self.sum.add(&entry);
        self.entries.push(entry);
    }
}

impl Sum {
    fn add(&mut self, entry: &Entry) {
        self.bytes += entry.bytes as u64;
        self.newest = self.newest.max(entry.max_timestamp);
    }
}
