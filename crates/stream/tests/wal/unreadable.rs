//! One bad page of a place: what is known for sure all the same, and what is not.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use base::WalPosition;
use stream::wal::block::layout::PAGE;
use stream::wal::block::volume::Volume;
use stream::wal::{Access, BlockLog, ReplayEnd, ReplayedRecord, WalError};

use crate::memory::{MemoryVolume, Place};
use crate::support::{OURS, append_each, create, incarnation, options, over, replay};

const SEGMENT: u64 = 64 << 10;

/// A log of three records, one to a segment, in a place with one more segment, whose number it answers.
fn with_a_free_segment() -> (Arc<MemoryVolume>, u64) {
    let volume = MemoryVolume::new(SEGMENT);
    let log = over(&volume, Access::Owner);
    let (wal, sink) = create(&log, 1);
    append_each(&wal, &sink, 0..3, |_| 60_000);
    wal.shutdown().unwrap();
    let free = volume.create_segment(0).unwrap().id.0;
    (volume, free)
}

/// From now on the page of that segment cannot be read.
fn spoil(volume: &MemoryVolume, segment: u64) {
    volume.faults.reads(move |operation| match operation.place {
        Place::Segment(id) if id == segment => Err(io::Error::other("EIO")),
        _ => Ok(()),
    });
}

fn tried(log: &BlockLog, from: u64) -> (Vec<ReplayedRecord>, Result<ReplayEnd, WalError>) {
    let mut records = Vec::new();
    let end = log.replay(incarnation(1), WalPosition(from), &mut |record| {
        records.push(record);
        ControlFlow::Continue(())
    });
    (records, end)
}

/// Breaks the page of that number of the only header.
fn break_trim_page(volume: &MemoryVolume, page: usize) {
    volume.header().bytes.lock().unwrap()[page * PAGE + 40] ^= 1;
}

/// As `headwater wal show` and a recovery look at it.
#[test]
fn a_log_is_replayed_whole_beside_a_segment_that_is_none_of_it() {
    let (volume, free) = with_a_free_segment();
    spoil(&volume, free);
    for access in [Access::Observer, Access::Taker, Access::Owner] {
        let log = over(&volume, access);
        let listed = log.incarnations().unwrap();
        assert_eq!((listed.len(), listed[0].segments.len()), (1, volume.segments.lock().unwrap().len() - 1));
        let (records, end) = replay(&log, 1, 0);
        assert_eq!(records.len(), 3);
        assert!(matches!(end, ReplayEnd::Clean { .. }), "{end:?}");
        // From a place behind the first segment, too.
        assert_eq!(replay(&log, 1, records[0].next.0).0.len(), 2);
    }
}

/// Nothing is known of the records in it, so that is neither an end of the log nor damage.
#[test]
fn a_log_that_misses_a_segment_which_cannot_be_read_is_not_damaged() {
    let (volume, free) = with_a_free_segment();
    let own: Vec<u64> = volume.segments.lock().unwrap().keys().map(|id| id.0).filter(|id| *id != free).collect();
    assert!(own.len() >= 3, "those that hold records, and one that was made ahead");
    for segment in own {
        spoil(&volume, segment);
        let (_, end) = tried(&over(&volume, Access::Taker), 0);
        assert!(matches!(&end, Err(WalError::Unreadable { segment: bad, .. }) if *bad == segment), "{end:?}");
        assert!(end.unwrap_err().to_string().contains("or free"));
    }
    volume.faults.heal();
    assert_eq!(replay(&over(&volume, Access::Taker), 1, 0).0.len(), 3);
}

/// What it named may be missing: then the segment may hold the newest records.
#[test]
fn a_broken_trim_page_leaves_no_word_for_a_segment_that_cannot_be_read() {
    for page in [1, 2] {
        let (volume, free) = with_a_free_segment();
        break_trim_page(&volume, page);
        let log = over(&volume, Access::Taker);
        assert_eq!(replay(&log, 1, 0).0.len(), 3, "all can be read");
        spoil(&volume, free);
        let (records, end) = tried(&log, 0);
        assert!(matches!(end, Err(WalError::Unreadable { .. })), "{end:?}");
        assert!(records.is_empty());
    }
}

/// Behind all that the trim page names there is nothing that could be missing; whether that is where the log ends is not told.
#[test]
fn a_replay_from_behind_the_last_segment_waits_for_one_that_cannot_be_read() {
    let (volume, free) = with_a_free_segment();
    spoil(&volume, free);
    let assigned = over(&volume, Access::Taker).incarnations().unwrap()[0].segments.len() as u64;
    let (_, end) = tried(&over(&volume, Access::Taker), assigned * SEGMENT);
    assert!(matches!(end, Err(WalError::Unreadable { .. })), "{end:?}");
}

/// It is removed then: an error would say that something of it is left.
#[test]
fn a_log_whose_superfluous_segments_stay_is_removed_all_the_same() {
    let volume = MemoryVolume::new(SEGMENT);
    let small = || BlockLog::over(Arc::clone(&volume) as _, options(Access::Owner, 2 * SEGMENT)).unwrap();
    let log = small();
    for epoch in [1, 2] {
        let (wal, sink) = create(&log, epoch);
        append_each(&wal, &sink, 0..2, |_| 60_000);
        wal.shutdown().unwrap();
    }
    volume.faults.keeps_segments.store(true, Ordering::SeqCst);
    for epoch in [1, 2] {
        assert_eq!(log.remove(incarnation(epoch), OURS).unwrap(), 0);
    }
    assert!(log.incarnations().unwrap().is_empty());
    assert!(volume.segments.lock().unwrap().len() > 2);
    volume.faults.keeps_segments.store(false, Ordering::SeqCst);
    assert_eq!(small().free_segments(), 2, "the next start has fewer");
}
