//! Trim, recycling, capacity and a full disk.

use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use base::WalPosition;
use stream::wal::{Access, BlockLog, ReplayEnd, WalError, WriterWait};

use crate::memory::{MemoryVolume, Place, WriteFate};
use crate::support::{OURS, Sink, append, append_each, create, incarnation, options, over, replay};

const SEGMENT: u64 = 64 << 10;

#[test]
fn trimmed_segments_are_recycled_and_their_stale_bytes_never_replayed() {
    let volume = MemoryVolume::new(SEGMENT);
    let log = over(&volume, Access::Owner);
    let (wal, sink) = create(&log, 1);
    // Every record at the same place of its segment as the one before: the worst case for stale bytes.
    for n in 0..60 {
        append_each(&wal, &sink, n..n + 1, |_| 30_000);
        if n % 2 == 1 {
            wal.trim(wal.position());
        }
    }
    let made = volume.segments.lock().unwrap().len();
    assert!(made < 30, "30 segments were written through {made}");
    let from = wal.status().trimmed;
    append_each(&wal, &sink, 60..61, |_| 100);
    wal.shutdown().unwrap();
    let (records, end) = replay(&log, 1, from.0);
    assert_eq!(records.iter().map(|r| r.sequence).collect::<Vec<_>>(), [60]);
    assert!(matches!(end, ReplayEnd::Clean { .. }), "{end:?}");
}

#[test]
fn a_full_backlog_makes_the_writer_wait_until_it_is_trimmed() {
    let volume = MemoryVolume::new(SEGMENT);
    let log = BlockLog::over(Arc::clone(&volume) as _, options(Access::Owner, 3 * SEGMENT)).unwrap();
    let (wal, sink) = create(&log, 1);
    for n in 0..9 {
        wal.append(append(n, 50_000), n);
    }
    sink.wait("the wait", |told| told.waits.contains(&Some(WriterWait::Trim)));
    sink.told(|told| assert_eq!(told.durable.len(), 3, "a segment each"));
    assert_eq!(wal.status().waiting, Some(WriterWait::Trim));
    assert!(wal.backlog() <= wal.capacity() && wal.queued_bytes() >= 6 * 50_000);
    while sink.told(|told| told.durable.len() < 9) {
        wal.trim(WalPosition(sink.told(|told| told.groups.last().unwrap().end)));
        std::thread::yield_now();
    }
    sink.wait("the end of the wait", |told| told.waits.last() == Some(&None));
    assert!(volume.segments.lock().unwrap().len() <= 3, "never more than the capacity");
    wal.shutdown().unwrap();
    assert!(sink.told(|told| told.failures.is_empty()));
}

/// Only making a segment may find no room. Where a page cannot be written over, nobody knows what stands there: going on
/// with the next segment would look like a lost one.
#[test]
fn no_room_for_a_page_that_was_there_ends_the_log() {
    for place in [Place::Header, Place::Segment(2)] {
        let volume = MemoryVolume::new(SEGMENT);
        let log = over(&volume, Access::Owner);
        let (wal, sink) = create(&log, 1);
        volume.faults.writes(move |write| {
            if write.place == place { WriteFate::Fails(std::io::ErrorKind::StorageFull) } else { WriteFate::Lands }
        });
        for n in 0..4 {
            wal.append(append(n, 50_000), n);
        }
        sink.wait("the failure", |told| !told.failures.is_empty());
        drop(wal);
        volume.faults.heal();
        let (_, end) = replay(&log, 1, 0);
        assert!(matches!(end, ReplayEnd::Clean { .. } | ReplayEnd::TornTail { .. }), "{end:?}");
    }
}

#[test]
fn a_full_disk_is_waited_out() {
    let volume = MemoryVolume::new(SEGMENT);
    let log = over(&volume, Access::Owner);
    let (wal, sink) = create(&log, 1);
    append_each(&wal, &sink, 0..1, |_| 50_000);
    volume.faults.full.store(true, Ordering::SeqCst);
    for n in 1..6 {
        wal.append(append(n, 50_000), n);
    }
    sink.wait("the wait", |told| told.waits.contains(&Some(WriterWait::Space)));
    volume.faults.full.store(false, Ordering::SeqCst);
    sink.wait("everything", |told| told.durable.len() == 6);
    wal.shutdown().unwrap();
    assert!(sink.told(|told| told.failures.is_empty()));
    assert_eq!(replay(&log, 1, 0).0.len(), 6);
}

#[test]
fn a_disk_full_from_the_start_is_an_error_that_names_the_fix() {
    let volume = MemoryVolume::new(SEGMENT);
    volume.faults.full.store(true, Ordering::SeqCst);
    let log = over(&volume, Access::Owner);
    let error = log.create::<u64>(incarnation(1), "cluster", Sink::default()).unwrap_err();
    assert!(matches!(error, WalError::NoSpace { .. }) && error.to_string().contains("free space"), "{error}");
}

#[test]
fn the_pool_keeps_no_more_than_the_capacity() {
    let volume = MemoryVolume::new(SEGMENT);
    let log = over(&volume, Access::Owner);
    let (wal, sink) = create(&log, 1);
    append_each(&wal, &sink, 0..10, |_| 50_000);
    wal.shutdown().unwrap();
    drop(log);
    let small = BlockLog::over(Arc::clone(&volume) as _, options(Access::Owner, 4 * SEGMENT)).unwrap();
    small.remove(incarnation(1), OURS).unwrap();
    assert_eq!((small.free_segments(), volume.segments.lock().unwrap().len()), (4, 4));
}

#[test]
fn a_replay_may_begin_at_the_very_end_of_a_full_last_segment() {
    let volume = MemoryVolume::new(SEGMENT);
    let log = over(&volume, Access::Owner);
    let (wal, sink) = create(&log, 1);
    let most = wal.max_record_bytes();
    append_each(&wal, &sink, 0..2, |_| most);
    let end = wal.shutdown().unwrap();
    assert_eq!(end.0, 2 * SEGMENT);
    assert_eq!(replay(&log, 1, end.0), (vec![], ReplayEnd::Clean { end }));
    assert_eq!(replay(&log, 1, 0).1, ReplayEnd::Clean { end });
}

/// The first segment is used before all of it is zeroed: records wait for the zeros, and are not overwritten by them.
#[test]
fn records_wait_for_the_zeros_of_the_first_segment() {
    const LARGE: u64 = 6 << 20;
    const RECORD: usize = 400 << 10;
    let volume = MemoryVolume::new(LARGE);
    let held = Arc::new((std::sync::Mutex::new(true), std::sync::Condvar::new()));
    let hold = held.clone();
    volume.faults.writes(move |operation| {
        // Zeros come in pieces of 1 MiB from 2 MiB on; records are shorter.
        if operation.place == Place::Segment(0) && operation.length == 1 << 20 {
            drop(hold.1.wait_while(hold.0.lock().unwrap(), |held| *held).unwrap());
        }
        WriteFate::Lands
    });
    let log = over(&volume, Access::Owner);
    let (wal, sink) = create(&log, 1);
    for n in 0..12 {
        wal.append(append(n, RECORD), n);
        if n < 4 {
            sink.wait("the first records", |told| told.durable.last() == Some(&n));
        }
    }
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert!(wal.position().0 <= 2 << 20, "nothing is written where zeros are still to come");
    *held.0.lock().unwrap() = false;
    held.1.notify_all();
    sink.wait("all records", |told| told.durable.len() == 12);
    let end = wal.shutdown().unwrap();
    let (records, told) = replay(&over(&volume, Access::Observer), 1, 0);
    assert_eq!((records.len(), told), (12, ReplayEnd::Clean { end }));
}

/// A file system may take back the room that it promised: the writer waits, and says why.
#[test]
fn a_disk_that_fills_while_the_first_segment_is_zeroed_makes_the_writer_wait() {
    let volume = MemoryVolume::new(6 << 20);
    let full = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let is_full = full.clone();
    volume.faults.writes(move |operation| {
        let zeros = operation.place == Place::Segment(0) && operation.length == 1 << 20;
        if zeros && is_full.load(Ordering::SeqCst) {
            return WriteFate::Fails(std::io::ErrorKind::StorageFull);
        }
        WriteFate::Lands
    });
    let log = over(&volume, Access::Owner);
    let (wal, sink) = create(&log, 1);
    for n in 0..8 {
        wal.append(append(n, 400 << 10), n);
    }
    sink.wait("the wait for space", |told| told.waits.contains(&Some(WriterWait::Space)));
    full.store(false, Ordering::SeqCst);
    sink.wait("all records", |told| told.durable.len() == 8 && told.waits.last() == Some(&None));
    wal.shutdown().unwrap();
    assert_eq!(replay(&log, 1, 0).0.len(), 8);
}

#[test]
fn a_log_that_ends_while_a_trim_page_is_written_ends() {
    let volume = MemoryVolume::new(SEGMENT);
    let log = over(&volume, Access::Owner);
    let (wal, sink) = create(&log, 1);
    append_each(&wal, &sink, 0..2, |_| 1_000);
    let (writing, begun) = mpsc::channel();
    let (proceed, told) = mpsc::channel::<()>();
    let told = std::sync::Mutex::new(told);
    volume.faults.writes(move |operation| {
        if operation.place == Place::Header && writing.send(()).is_ok() {
            // Nothing is ever sent: it returns when the other end is dropped.
            told.lock().unwrap().recv().unwrap_err();
        }
        WriteFate::Lands
    });
    // The first segment's page may still be on its way; what is written after the trim was asked for is the trim's.
    wal.trim(wal.position());
    begun.recv_timeout(Duration::from_secs(30)).unwrap();
    let (ended, end) = mpsc::channel();
    let ending = base::task::spawn_thread("ending", move || ended.send(wal.shutdown()));
    // Long enough for the writer, which has nothing to do, to end and to wake whoever sleeps.
    std::thread::sleep(Duration::from_millis(100));
    drop(proceed);
    end.recv_timeout(Duration::from_secs(30)).expect("the log did not end").unwrap();
    ending.unwrap().join().unwrap().unwrap();
}
