//! ListOffsets version 0: where segments begin.
//!
//! Before it could look up records by time, ListOffsets told where the log's segments begin: those that were last
//! written at or before a time, newest first, and before them the end of the log, which counts as written now. Follows
//! `UnifiedLog.legacyFetchOffsetsBefore` of Kafka 3.9, the last that serves it.
//!
//! There are no segments here. Their part is played by what retention, too, takes for segments: the uploaded extents,
//! and as the last of them what is not uploaded yet. The time at which one was last written is its greatest timestamp
//! or, where no record has one, when it was committed ([`stream::catalogue::Newest`]). One of which neither is known
//! cannot be newer than the next; if it is the first, it is found by every time: the start of the log is where a reader
//! finds the rest.

use std::sync::Arc;

use base::{Offset, TimestampMs};
use stream::engine::Extents;

use crate::error::ReadError;
use crate::lookup::OffsetSpec;
use crate::partition::Partition;

impl Partition {
    /// Up to `limit` offsets at which a segment begins, newest first, for [`OffsetSpec::Latest`] (all, led by the end of
    /// the log), [`OffsetSpec::Earliest`] (the first) or a time (those last written at or before it). Nothing for what
    /// version 0 cannot ask.
    ///
    /// # Errors
    /// When the partition is closed.
    pub fn offsets_before(self: &Arc<Self>, spec: OffsetSpec, limit: usize) -> Result<Vec<Offset>, ReadError> {
        self.check_open()?;
        let starts = starts(&self.stream.extents(), self.log_start(), self.shared.clock.now());
        Ok(before(&starts, spec, limit))
    }
}

/// Where segments begin and when they were last written, oldest first, and the end of the log.
fn starts(extents: &Extents, log_start: Offset, now: TimestampMs) -> Vec<(Offset, TimestampMs)> {
    let kept = extents.uploaded.iter().filter(|extent| extent.range.end > log_start);
    let mut segments: Vec<_> = kept.map(|e| (e.range.start.max(log_start), e.newest.time())).collect();
    if extents.tail.end > extents.tail.start.max(log_start) {
        // What was not uploaded yet was written of late, though its records may have no times.
        segments.push((extents.tail.start.max(log_start), extents.tail_newest.or(Some(now))));
    }
    // An empty log counts as written now: Kafka's is as old as its topic.
    let Some(first) = segments.first_mut() else { return vec![(log_start, now)] };
    first.1 = first.1.or(Some(TimestampMs(i64::MIN)));
    let mut later = now;
    let mut starts = vec![(extents.tail.end.max(log_start), now)];
    for (start, written) in segments.into_iter().rev() {
        later = written.unwrap_or(later);
        starts.push((start, later));
    }
    starts.reverse();
    starts
}

fn before(starts: &[(Offset, TimestampMs)], spec: OffsetSpec, limit: usize) -> Vec<Offset> {
    let found = match spec {
        OffsetSpec::Latest => starts.len(),
        OffsetSpec::Earliest => starts.len().min(1),
        OffsetSpec::At(time) => starts.iter().rposition(|(_, written)| *written <= time).map_or(0, |at| at + 1),
        OffsetSpec::MaxTimestamp
        | OffsetSpec::EarliestLocal
        | OffsetSpec::LatestTiered
        | OffsetSpec::EarliestPendingUpload => 0,
    };
    starts[..found].iter().rev().take(limit).map(|(start, _)| *start).collect()
}

#[cfg(test)]
mod tests {
    use base::{ObjectId, OffsetRange, StreamEpoch};
    use stream::catalogue::{Extent, Newest};

    use super::*;

    const NOW: i64 = 1_000;

    /// Extents of two records each, and what follows them.
    fn extents(uploaded: &[Newest], tail: u64, tail_newest: Option<i64>) -> Extents {
        let extent = |(at, &newest): (u64, &Newest)| Extent {
            range: OffsetRange::new(Offset(at * 2), Offset(at * 2 + 2)),
            epoch: StreamEpoch(0),
            object: ObjectId::default(),
            newest,
            bytes: 1,
        };
        let end = uploaded.len() as u64 * 2;
        Extents {
            uploaded: (0..).zip(uploaded).map(extent).collect(),
            tail: OffsetRange::new(Offset(end), Offset(end + tail)),
            tail_bytes: tail,
            tail_newest: tail_newest.map(TimestampMs),
        }
    }

    fn told(extents: &Extents, log_start: u64, asked: &[(i64, usize)]) -> Vec<Vec<u64>> {
        let starts = starts(extents, Offset(log_start), TimestampMs(NOW));
        let ask = |&(time, limit): &(i64, usize)| {
            before(&starts, OffsetSpec::from_wire(time).unwrap(), limit).into_iter().map(|o| o.0).collect()
        };
        asked.iter().map(ask).collect()
    }

    /// What Kafka 3.9.2 answered for four segments of two records, written 400 ms apart, the last one active.
    #[test]
    fn segments_are_told_as_kafka_3_9_tells_them() {
        let record = |time| Newest::Record(TimestampMs(time));
        let log = extents(&[record(100), record(200), record(300)], 2, Some(400));
        let asked = [(-1, 1), (-1, 10), (-1, 3), (-2, 10), (NOW - 1, 10), (NOW + 9, 10), (99, 5), (150, 10), (250, 10)];
        let all: Vec<u64> = vec![8, 6, 4, 2, 0];
        let expected =
            [&all[..1], &all, &all[..3], &all[4..], &all[1..], &all, &[], &all[4..], &all[3..]].map(<[u64]>::to_vec);
        assert_eq!(told(&log, 0, &asked), expected);
        assert_eq!(told(&log, 0, &[(350, 1), (-1, 0)]), [vec![4], vec![]]);
        // The log starts inside the second. Kafka's still has the first, also at 3; here it is gone.
        assert_eq!(told(&log, 3, &[(-1, 10), (-2, 10), (250, 10)]), [vec![8, 6, 4, 3], vec![3], vec![3]]);
        // An empty log has one segment, as old as the topic in Kafka and written now here.
        let asked = [(-1, 5), (-2, 5), (NOW, 5), (NOW - 1, 5)];
        assert_eq!(told(&extents(&[], 0, None), 5, &asked), [vec![5], vec![5], vec![5], vec![]]);
    }

    #[test]
    fn segments_without_timestamps_are_told_by_what_is_known_of_them() {
        let written = |time| Newest::Written(TimestampMs(time));
        let log = extents(&[Newest::Unknown, written(200), Newest::Unknown, written(400)], 2, None);
        assert_eq!(told(&log, 0, &[(100, 9), (250, 9), (400, 9)]), [vec![0], vec![2, 0], vec![6, 4, 2, 0]]);
        assert_eq!(told(&log, 0, &[(NOW - 1, 1), (NOW, 2)]), [vec![6], vec![10, 8]], "the tail is as young as can be");
        assert_eq!(
            told(&extents(&[], 2, None), 0, &[(NOW - 1, 1), (NOW, 2)]),
            [vec![], vec![2, 0]],
            "also the first one"
        );
        let unknown = extents(&[Newest::Unknown], 0, None);
        assert_eq!(told(&unknown, 0, &[(1, 1)]), [[0]], "nothing is older than the start of the log");
    }
}
