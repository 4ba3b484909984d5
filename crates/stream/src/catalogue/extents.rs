//! The ordered extents of a stream.
//!
//! ```text
//! sealed: [64][64][64] ...   shared, immutable chunks
//! tail:   up to 64 extents   copied when the stream changes
//! ```
//!
//! A commit copies the tail only, so its cost does not grow with the length of the stream; an idle stream with a few
//! extents pays for those and nothing else.

use std::sync::Arc;

use base::Offset;

use super::state::Extent;

/// Extents in one sealed chunk.
const CHUNK_EXTENTS: usize = 64;

/// Extents in offset order, without overlaps.
#[derive(Clone, Debug, Default)]
pub(super) struct Extents {
    sealed: Option<Arc<Vec<Arc<[Extent]>>>>,
    tail: Vec<Extent>,
}

impl PartialEq for Extents {
    fn eq(&self, other: &Self) -> bool {
        // Where the chunks are cut depends on history (trims cut the first one) and means nothing.
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for Extents {}

impl Extents {
    fn chunks(&self) -> &[Arc<[Extent]>] {
        self.sealed.as_deref().map_or(&[], Vec::as_slice)
    }

    pub(super) fn len(&self) -> usize {
        self.chunks().iter().map(|c| c.len()).sum::<usize>() + self.tail.len()
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Extent> + Clone {
        self.chunks().iter().flat_map(|c| c.iter()).chain(self.tail.iter())
    }

    /// Extents whose end lies beyond `offset`.
    pub(super) fn from(&self, offset: Offset) -> impl Iterator<Item = &Extent> {
        let ends_before = |e: &Extent| e.range.end <= offset;
        let chunks = self.chunks();
        let first = chunks.partition_point(|c| c.last().is_none_or(ends_before));
        let skipped = chunks.get(first).map_or(0, |c| c.partition_point(ends_before));
        let in_tail = if first == chunks.len() { self.tail.partition_point(ends_before) } else { 0 };
        chunks[first..].iter().flat_map(|c| c.iter()).skip(skipped).chain(self.tail[in_tail..].iter())
    }

    /// Adds `extent`, which begins at or after the end of the last one.
    pub(super) fn push(&mut self, extent: Extent) {
        if self.tail.len() == CHUNK_EXTENTS {
            let chunk: Arc<[Extent]> = std::mem::take(&mut self.tail).into();
            Arc::make_mut(self.sealed.get_or_insert_default()).push(chunk);
        }
        // One at a time: most streams have one or two extents, and a vector's own first step is four.
        if self.tail.len() == self.tail.capacity() && self.tail.len() < 4 {
            self.tail.reserve_exact(1);
        }
        self.tail.push(extent);
    }

    /// Removes and returns the extents that end at or below `start`.
    pub(super) fn trim(&mut self, start: Offset) -> Vec<Extent> {
        let dead = |e: &Extent| e.range.end <= start;
        let mut removed = Vec::new();
        if let Some(sealed) = &mut self.sealed {
            let whole = sealed.partition_point(|c| c.last().is_none_or(dead));
            let part = sealed.get(whole).map_or(0, |c| c.partition_point(dead));
            if whole > 0 || part > 0 {
                let chunks = Arc::make_mut(sealed);
                removed.extend(chunks.drain(..whole).flat_map(|c| c.to_vec()));
                if part > 0 {
                    removed.extend_from_slice(&chunks[0][..part]);
                    chunks[0] = chunks[0][part..].into();
                }
            }
            if sealed.is_empty() {
                self.sealed = None;
            }
        }
        if self.sealed.is_none() {
            let part = self.tail.partition_point(dead);
            removed.extend(self.tail.drain(..part));
            if part > 0 {
                self.tail.shrink_to_fit();
            }
        }
        removed
    }
}

#[cfg(test)]
mod tests {
    use base::{ObjectId, OffsetRange, StreamEpoch};

    use super::super::newest::Newest;
    use super::*;

    fn extents(count: u64) -> Extents {
        let mut all = Extents::default();
        for n in 0..count {
            all.push(Extent {
                range: OffsetRange::new(Offset(n * 10), Offset(n * 10 + 10)),
                epoch: StreamEpoch(0),
                object: ObjectId { sequence: n, ..ObjectId::default() },
                newest: Newest::Unknown,
                bytes: 1,
            });
        }
        all
    }

    #[test]
    fn looking_up_an_offset_finds_its_extent_in_every_chunk() {
        for count in [0, 1, 63, 64, 65, 128, 129, 300] {
            let all = extents(count);
            assert_eq!(all.len() as u64, count);
            for offset in 0..count * 10 + 20 {
                let found = all.from(Offset(offset)).next().map(|e| e.object.sequence);
                assert_eq!(found, (offset / 10 < count).then_some(offset / 10));
                assert_eq!(all.from(Offset(offset)).count() as u64, count.saturating_sub(offset / 10));
            }
        }
    }

    #[test]
    fn a_trim_removes_what_ends_at_or_below_it_and_keeps_the_rest() {
        for count in [1, 64, 65, 300] {
            for start in [0, 5, 10, 639, 640, 641, 1285, 2990, 3000, 9999] {
                let mut all = extents(count);
                let removed = all.trim(Offset(start));
                let dead = (start / 10).min(count);
                assert_eq!(removed.len() as u64, dead, "{count} extents trimmed to {start}");
                assert_eq!(all.len() as u64, count - dead);
                assert_eq!(all.iter().next().map(|e| e.object.sequence), (dead < count).then_some(dead));
                let mut again = extents(count);
                for step in (0..=start).step_by(7).chain([start]) {
                    again.trim(Offset(step));
                }
                assert_eq!(all, again, "steps and one jump agree");
            }
        }
    }
}
