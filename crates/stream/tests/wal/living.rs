//! Reading a log whose owner lives: what it writes meanwhile is never taken for damage.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use base::WalPosition;
use stream::wal::block::replay::PASSES_MAX;
use stream::wal::block::volume::SegmentId;
use stream::wal::{Access, DamageReason, ReplayEnd, WalError};

use crate::memory::{MemoryVolume, Operation, Place};
use crate::support::{append, append_each, create, incarnation, over, replay};

/// A segment of several pieces.
const SEGMENT: u64 = 4 << 20;
const PIECE: usize = 1 << 20;

/// The first piece of a segment, as a scan reads it.
fn is_first_piece(operation: Operation) -> bool {
    matches!(operation.place, Place::Segment(_)) && operation.offset == 0 && operation.length == PIECE
}

/// `models/blocklog.py`, "removed: the second pass". The first piece is read, then two groups land: one whose beginning lies
/// in that piece and one behind it.
#[test]
fn groups_that_land_while_a_segment_is_read_are_no_damage() {
    for access in [Access::Taker, Access::Observer] {
        let volume = MemoryVolume::new(SEGMENT);
        let log = over(&volume, Access::Owner);
        let (wal, sink) = create(&log, 1);
        append_each(&wal, &sink, 0..1, |_| 600 << 10);
        let reader = over(&volume, access);
        if access == Access::Taker {
            reader.fence(incarnation(1)).unwrap();
        }
        let wal = Arc::new(wal);
        let (owner, landed) = (wal.clone(), AtomicBool::new(false));
        let (release, released) = channel::<()>();
        let released = Mutex::new(released);
        volume.faults.reads(move |operation| {
            if is_first_piece(operation) && !landed.swap(true, Ordering::SeqCst) {
                for n in 1..3 {
                    let before = owner.position();
                    owner.append(append(n, 600 << 10), n);
                    while owner.position() == before {
                        std::thread::yield_now();
                    }
                }
            }
            // The owner does not learn of the fence until the test is over.
            if operation.place == Place::Header && operation.length == 4096 {
                let _ = released.lock().unwrap().recv();
            }
            Ok(())
        });
        let (records, end) = replay(&reader, 1, 0);
        assert_eq!((records.len(), end), (3, ReplayEnd::Clean { end: wal.position() }), "{access:?}");
        drop(release);
        let _ = wal.shutdown();
    }
}

/// Without two passes that agree nothing is said of the log; with them, damage is damage also to a reader of a living log.
#[test]
fn damage_is_told_only_when_two_passes_agree() {
    let volume = MemoryVolume::new(SEGMENT);
    let log = over(&volume, Access::Owner);
    let (wal, sink) = create(&log, 1);
    append_each(&wal, &sink, 0..3, |_| 100);
    let segment = Arc::clone(&volume.segments.lock().unwrap()[&SegmentId(0)]);
    let spoil = move |page: usize| segment.bytes.lock().unwrap()[page * 4096 + 110] ^= 1;
    spoil(2);
    let taker = over(&volume, Access::Taker);
    let (records, end) = replay(&taker, 1, 0);
    let later = DamageReason::LaterRecord { sequence: 2, position: WalPosition(3 * 4096) };
    assert_eq!((records.len(), end), (1, ReplayEnd::Corrupt { at: records[0].next, reason: later }));
    // From one pass to the next the survivor comes and goes.
    let passes = Arc::new(AtomicUsize::new(0));
    let count = passes.clone();
    volume.faults.reads(move |operation| {
        if matches!(operation.place, Place::Segment(0)) && operation.length == 4096 {
            count.fetch_add(1, Ordering::SeqCst);
            spoil(3);
        }
        Ok(())
    });
    let mut shown = 0;
    let outcome = taker.replay(incarnation(1), WalPosition(0), &mut |_| {
        shown += 1;
        ControlFlow::Continue(())
    });
    assert!(matches!(outcome, Err(WalError::Changing { .. })), "{outcome:?}");
    assert_eq!((shown, passes.load(Ordering::SeqCst)), (1, PASSES_MAX), "and no record is shown twice");
    volume.faults.heal();
    wal.shutdown().unwrap();
}

/// What an owner has committed it recycles, also under the eyes of one who looks.
#[test]
fn a_log_that_is_recycled_while_it_is_looked_at_is_trimmed_and_not_damaged() {
    let volume = MemoryVolume::new(64 << 10);
    let log = over(&volume, Access::Owner);
    let (wal, sink) = create(&log, 1);
    append_each(&wal, &sink, 0..6, |_| 30_000);
    let observer = over(&volume, Access::Observer);
    let mut next = 6;
    let outcome = observer.replay(incarnation(1), WalPosition(0), &mut |record| {
        if record.sequence == 0 {
            // One segment after the other is committed and written over, until two are gone.
            loop {
                let lowest = observer.incarnations().unwrap()[0].segments[0];
                if lowest >= 2 {
                    break;
                }
                wal.trim(WalPosition((lowest + 1) * (64 << 10)));
                append_each(&wal, &sink, next..next + 1, |_| 30_000);
                next += 1;
            }
        }
        ControlFlow::Continue(())
    });
    assert!(matches!(outcome, Err(WalError::Trimmed { .. })), "{outcome:?}");
    wal.shutdown().unwrap();
}
