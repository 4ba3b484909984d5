//! Seals: an idle owner writes one empty group, so that rot in its last is not taken for a torn tail.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use stream::wal::block::volume::SegmentId;
use stream::wal::{Access, BlockLog, BlockLogOptions, DamageReason, ReplayEnd};

use crate::memory::{MemoryVolume, Place, WriteFate};
use crate::support::{append_each, create, options, replay};

const SEGMENT: u64 = 64 << 10;

/// A log whose owner is soon idle, and a count of the groups that were written.
fn sealing(volume: &Arc<MemoryVolume>) -> (BlockLog, Arc<AtomicUsize>) {
    let groups = Arc::new(AtomicUsize::new(0));
    let count = groups.clone();
    volume.faults.writes(move |operation| {
        if matches!(operation.place, Place::Segment(_)) && operation.offset > 0 {
            count.fetch_add(1, Ordering::SeqCst);
        }
        WriteFate::Lands
    });
    let options = BlockLogOptions { seal_after: Duration::from_millis(20), ..options(Access::Owner, SEGMENT * 64) };
    (BlockLog::over(Arc::clone(volume) as _, options).unwrap(), groups)
}

fn wait_for(groups: &AtomicUsize, count: usize) {
    while groups.load(Ordering::SeqCst) < count {
        std::thread::yield_now();
    }
}

/// `models/blocklog.py`, "removed: the sealing group of an idle owner".
#[test]
fn rot_in_the_last_group_of_an_idle_owner_is_damage() {
    let volume = MemoryVolume::new(SEGMENT);
    let (log, groups) = sealing(&volume);
    let (wal, sink) = create(&log, 1);
    append_each(&wal, &sink, 0..1, |_| 100);
    wait_for(&groups, 2);
    let end = wal.position();
    assert_eq!(sink.told(|told| told.groups.last().unwrap().end), end.0, "nobody is told of a seal");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(groups.load(Ordering::SeqCst), 2, "an idle log costs one seal, however long it is idle");
    assert_eq!(wal.shutdown().unwrap(), end);
    let (records, told) = replay(&log, 1, 0);
    assert_eq!((records.len(), told), (1, ReplayEnd::Clean { end }), "a seal is shown to nobody");
    assert_eq!(replay(&log, 1, end.0), (Vec::new(), ReplayEnd::Clean { end }));
    let segment = Arc::clone(&volume.segments.lock().unwrap()[&SegmentId(0)]);
    segment.bytes.lock().unwrap()[4096 + 110] ^= 1;
    let (records, told) = replay(&log, 1, 0);
    let damaged = matches!(told, ReplayEnd::Corrupt { reason: DamageReason::LaterRecord { sequence: 1, .. }, .. });
    assert!(records.is_empty() && damaged, "{told:?}");
}

#[test]
fn what_follows_a_seal_chains_to_it_in_every_place_of_a_segment() {
    let volume = MemoryVolume::new(SEGMENT);
    let (log, groups) = sealing(&volume);
    let (wal, sink) = create(&log, 1);
    let mut written = 0;
    // 15 pages to a segment: seals between groups, as the last page, and, behind a full segment, in the next.
    for (n, pages) in [3, 10, 14, 15, 15, 1].into_iter().enumerate() {
        let n = n as u64;
        append_each(&wal, &sink, n..n + 1, |_| pages * 4096 - 100);
        written += 2;
        wait_for(&groups, written);
    }
    let end = wal.shutdown().unwrap();
    let mut sequences = Vec::new();
    let told = log.replay(crate::support::incarnation(1), base::WalPosition(0), &mut |record| {
        sequences.push((record.base.0, record.sequence));
        std::ops::ControlFlow::Continue(())
    });
    assert_eq!(told.unwrap(), ReplayEnd::Clean { end });
    assert_eq!(sequences, [(0, 0), (1, 2), (2, 4), (3, 6), (4, 8), (5, 10)]);
}
