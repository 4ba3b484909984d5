//! Reading a part of the log from front to end for the broker itself, which cannot serve before it has.
//!
//! The first bytes of the next extents are fetched while those before them are looked at: each extent lies in another
//! object, and one after the other they would cost two round trips to the store each.

use base::memory::Charge;
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
    firsts: BoxStream<'a, (Offset, Result<Fetched, FetchError>)>,
    next: Offset,
    /// Where the extent ends in which `next` lies.
    end: Offset,
    /// What it may hold at a time.
    _room: Charge,
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
        let extents = extents.take_while(|extent| extent.range.start < range.end).take(SCAN_EXTENTS_AHEAD);
        extents.map(|extent| extent.bytes.min(SCAN_BYTES as u64)).sum()
    }

    /// The first bytes of `range`.
    async fn fetch(&self, range: OffsetRange) -> Result<Fetched, FetchError> {
        self.stream.fetch_for(ReadFor::Broker, range.start, range.end, SCAN_BYTES, true).await
    }
}

impl Scan<'_> {
    /// The next entries with the offset where they were looked for; none at the end. Empty ones mean that the log holds
    /// nothing there.
    pub(crate) async fn next(&mut self) -> Result<Option<(Offset, Fetched)>, FetchError> {
        let at = self.next;
        let fetched = if at < self.end {
            self.partition.fetch(OffsetRange::new(at, self.end)).await?
        } else {
            let Some((end, fetched)) = self.firsts.next().await else { return Ok(None) };
            self.end = end;
            fetched?
        };
        self.next = fetched.range.end;
        Ok(Some((at, fetched)))
    }
}
