//! Reading a part of the log from front to end for the broker itself, which cannot serve before it has.
//!
//! The first bytes of the next extents are fetched while those before them are looked at: each extent lies in another
//! object, and one after the other they would cost two round trips to the store each.

use base::memory::{Budget, Charge};
use base::{Offset, OffsetRange};
use futures::StreamExt;
use futures::stream::BoxStream;
use stream::engine::{FetchError, Fetched};
use stream::read::ReadFor;

use crate::limits::{SCAN_BYTES, SCAN_EXTENTS_AHEAD};
use crate::partition::Partition;

/// A part of the log that is being read.
pub(crate) struct Scan<'a> {
    partition: &'a Partition,
    /// The first bytes of each extent, in order, with where the extent ends.
    firsts: BoxStream<'a, (Offset, Result<Part, FetchError>)>,
    next: Offset,
    /// Where the extent ends in which `next` lies.
    end: Offset,
    /// What it may hold at a time, but for entries that are larger than what is asked for.
    _room: Charge,
}

/// Entries that were fetched.
pub(crate) struct Part {
    pub(crate) fetched: Fetched,
    /// What the first of them takes beyond what was asked for. It is there already: others wait for it to go.
    _beyond: Charge,
}

impl Part {
    fn new(fetched: Fetched, scans: &Budget) -> Self {
        let beyond = scans.force_charge(fetched.bytes.saturating_sub(SCAN_BYTES) as u64);
        Self { fetched, _beyond: beyond }
    }
}

impl Partition {
    /// Reads what lies in `range`, as soon as there is memory for it.
    pub(crate) async fn scan(&self, range: OffsetRange) -> Scan<'_> {
        let held = self.first_bytes_of(range);
        let room = self.shared.scans.charge(held).await;
        // Looked at anew: some may have been trimmed while it waited.
        let start = range.start.max(self.log_start()).min(range.end);
        let mut extents: Vec<OffsetRange> = Vec::new();
        let mut at = start;
        if let Some(state) = self.shared.engine.catalogue().stream(self.stream_id()) {
            for extent in state.extents_from(at).take_while(|extent| extent.range.start < range.end) {
                let end = extent.range.end.min(range.end);
                extents.push(OffsetRange::new(at, end));
                at = end;
            }
        }
        // What the catalogue does not hold yet, or will say that it does not hold.
        extents.push(OffsetRange::new(at, range.end));
        let firsts = extents.into_iter().filter(|extent| !extent.is_empty());
        let firsts = firsts.map(move |extent| async move { (extent.end, self.fetch(extent).await) });
        let firsts = futures::stream::iter(firsts).buffered(SCAN_EXTENTS_AHEAD).boxed();
        Scan { partition: self, firsts, next: start, end: start, _room: room }
    }

    /// How much a reader of `range` may hold at a time.
    fn first_bytes_of(&self, range: OffsetRange) -> u64 {
        let state = self.shared.engine.catalogue();
        let state = state.stream(self.stream_id()).filter(|_| !range.is_empty());
        let extents = state.into_iter().flat_map(|state| state.extents_from(range.start));
        first_bytes(extents.take_while(|extent| extent.range.start < range.end).map(|extent| extent.bytes))
    }

    /// The first bytes of `range`.
    async fn fetch(&self, range: OffsetRange) -> Result<Part, FetchError> {
        let fetched = self.stream.fetch_for(ReadFor::Broker, range.start, range.end, SCAN_BYTES, true).await?;
        Ok(Part::new(fetched, &self.shared.scans))
    }
}

/// How much the first bytes of extents of these sizes are that are held at a time.
fn first_bytes(extents: impl Iterator<Item = u64>) -> u64 {
    let mut firsts: Vec<u64> = extents.map(|bytes| bytes.min(SCAN_BYTES as u64)).collect();
    firsts.sort_unstable();
    firsts.iter().rev().take(SCAN_EXTENTS_AHEAD).sum()
}

impl Scan<'_> {
    /// The next entries with the offset where they were looked for; none at the end. Empty ones mean that the log holds
    /// nothing there.
    pub(crate) async fn next(&mut self) -> Result<Option<(Offset, Part)>, FetchError> {
        let at = self.next;
        let part = if at < self.end {
            self.partition.fetch(OffsetRange::new(at, self.end)).await?
        } else {
            let Some((end, part)) = self.firsts.next().await else { return Ok(None) };
            self.end = end;
            part?
        };
        self.next = part.fetched.range.end;
        Ok(Some((at, part)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_charged_for_the_largest_extents_that_it_may_hold_at_a_time() {
        let (small, large) = (1, 2 * SCAN_BYTES as u64);
        assert_eq!(first_bytes([small, large].into_iter()), small + SCAN_BYTES as u64);
        let small_first = [vec![small; SCAN_EXTENTS_AHEAD], vec![large; SCAN_EXTENTS_AHEAD + 1]].concat();
        assert_eq!(first_bytes(small_first.into_iter()), (SCAN_EXTENTS_AHEAD * SCAN_BYTES) as u64);
    }

    #[test]
    fn an_entry_that_is_larger_than_what_is_asked_for_is_charged_while_it_is_held() {
        let scans = Budget::new(1);
        let fetched = |bytes| Fetched { bytes, ..Fetched::default() };
        let small = Part::new(fetched(SCAN_BYTES), &scans);
        assert_eq!(scans.used(), 0, "there is room for it");
        let large = Part::new(fetched(3 * SCAN_BYTES), &scans);
        assert_eq!(scans.used(), 2 * SCAN_BYTES as u64);
        drop((small, large));
        assert_eq!(scans.used(), 0);
    }
}
