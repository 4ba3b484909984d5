//! Real files: a directory, a file cut up like a device, locks and names.

use std::fs;
use std::path::Path;

use base::WalPosition;
use stream::wal::{Access, BlockLog, BlockLogOptions, FenceState, ReplayEnd, Transfer, WalError, WriterWait};

use crate::support::{OURS, append, append_each, create, incarnation, replay};

const SEGMENT: u64 = 256 << 10;

fn open(path: &Path, access: Access, transfer: Transfer) -> Result<BlockLog, WalError> {
    BlockLog::open(BlockLogOptions {
        segment_bytes: SEGMENT,
        capacity_bytes: 8 * SEGMENT,
        transfer,
        ..BlockLogOptions::new(path, access)
    })
}

/// Three incarnations through the same storage, each replayed by a stranger, fenced, and removed.
fn lives(path: &Path, transfer: Transfer) {
    for epoch in [3, 7, 9] {
        let log = open(path, Access::Owner, transfer).unwrap();
        let (wal, sink) = create(&log, epoch);
        append_each(&wal, &sink, 0..8, |n| (n as usize + 1) * 9_000);
        for n in 8..60 {
            wal.append(append(n, 700), n);
        }
        let end = wal.shutdown().unwrap();
        drop((wal, log));
        let observer = open(path, Access::Observer, transfer).unwrap();
        let (records, told) = replay(&observer, epoch, 0);
        assert_eq!((records.len(), told), (60, ReplayEnd::Clean { end }));
        let taker = open(path, Access::Taker, transfer).unwrap();
        taker.fence(incarnation(epoch)).unwrap();
        assert_eq!(taker.incarnations().unwrap()[0].fence, FenceState::Fenced);
        open(path, Access::Owner, transfer).unwrap().remove(incarnation(epoch), OURS).unwrap();
    }
}

#[test]
fn incarnations_live_and_go_in_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    lives(&dir.path().join("deep/wal"), Transfer::Auto);
    lives(&dir.path().join("buffered"), Transfer::Buffered);
    let mut names: Vec<_> = fs::read_dir(dir.path().join("deep/wal"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names[..2], ["LOCK", "segment-00000000.wal"], "recycled, not removed");
}

#[test]
fn a_file_system_without_direct_io_works_too() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    lives(dir.path(), Transfer::Auto);
}

#[test]
fn incarnations_live_and_go_on_a_device() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len((1 << 20) + 8 * SEGMENT).unwrap();
    lives(file.path(), Transfer::Auto);
    let bytes = fs::read(file.path()).unwrap();
    assert_eq!(&bytes[..4], b"HWLD");
    assert_eq!(&bytes[1 << 20..][..4], b"HWLS", "segments begin at 1 MiB");
}

#[test]
fn a_device_tells_its_capacity_and_must_have_two_segments() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len((1 << 20) + 2 * SEGMENT - 1).unwrap();
    let error = open(file.path(), Access::Owner, Transfer::Auto).unwrap_err();
    assert!(error.to_string().contains("two segments"), "{error}");
    file.as_file().set_len((1 << 20) + 3 * SEGMENT).unwrap();
    let log = open(file.path(), Access::Owner, Transfer::Auto).unwrap();
    let (wal, sink) = create(&log, 1);
    assert_eq!(wal.capacity(), 3 * SEGMENT);
    for n in 0..9 {
        wal.append(append(n, SEGMENT as usize / 2 + 1), n);
    }
    sink.wait("the wait", |told| told.waits.contains(&Some(WriterWait::Trim)));
    while sink.told(|told| told.durable.len() < 9) {
        wal.trim(WalPosition(sink.told(|told| told.groups.last().unwrap().end)));
        std::thread::yield_now();
    }
    wal.shutdown().unwrap();
}

#[test]
fn a_device_that_holds_something_else_is_left_alone() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len((1 << 20) + 8 * SEGMENT).unwrap();
    fs::write(file.path(), [vec![7; 5000], vec![0; 4 << 20]].concat()).unwrap();
    let before = fs::read(file.path()).unwrap();
    assert!(matches!(open(file.path(), Access::Owner, Transfer::Auto), Err(WalError::Foreign { .. })));
    assert_eq!(fs::read(file.path()).unwrap(), before);
}

#[test]
fn a_second_owner_is_told_who_the_first_is() {
    let dir = tempfile::tempdir().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len((1 << 20) + 8 * SEGMENT).unwrap();
    for path in [dir.path(), file.path()] {
        let first = open(path, Access::Owner, Transfer::Auto).unwrap();
        let error = open(path, Access::Owner, Transfer::Auto).unwrap_err();
        let WalError::InUse { owner, .. } = &error else { panic!("{error}") };
        assert_eq!(owner, &format!("process {}", std::process::id()));
        let (wal, _) = create(&first, 1);
        drop(first);
        assert!(open(path, Access::Owner, Transfer::Auto).is_err(), "a log being written keeps the lock");
        wal.shutdown().unwrap();
        drop(wal);
        open(path, Access::Owner, Transfer::Auto).unwrap();
    }
}

#[test]
fn half_made_files_are_cleared_and_short_segments_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), Access::Owner, Transfer::Auto).unwrap();
    let (wal, sink) = create(&log, 1);
    append_each(&wal, &sink, 0..8, |_| 100_000);
    wal.shutdown().unwrap();
    drop((wal, log));
    fs::write(dir.path().join("segment-00000099.new"), b"half").unwrap();
    let last = dir.path().join("segment-00000003.wal");
    fs::OpenOptions::new().write(true).open(&last).unwrap().set_len(8192).unwrap();
    let log = open(dir.path(), Access::Owner, Transfer::Auto).unwrap();
    assert!(!dir.path().join("segment-00000099.new").exists());
    let (_, end) = replay(&log, 1, 0);
    assert!(matches!(end, ReplayEnd::Corrupt { .. }), "a cut-off segment is not an end: {end:?}");
}

#[test]
fn a_cut_off_segment_may_hold_records_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let log = open(dir.path(), Access::Owner, Transfer::Auto).unwrap();
    let (wal, sink) = create(&log, 1);
    append_each(&wal, &sink, 0..1, |_| 1_000);
    wal.shutdown().unwrap();
    drop((wal, log));
    let cut = path("segment-00000000.wal");
    fs::OpenOptions::new().write(true).open(&cut).unwrap().set_len(SEGMENT / 2).unwrap();
    let log = open(dir.path(), Access::Owner, Transfer::Auto).unwrap();
    assert!(log.holds_records(incarnation(1)).unwrap());
    // Nor does the next log of the directory unlink it, when the header is gone and nothing names it any more.
    for name in log.incarnations().unwrap().iter().map(|log| log.incarnation) {
        log.remove(name, OURS).unwrap();
    }
    let (wal, _) = create(&log, 2);
    wal.shutdown().unwrap();
    assert_eq!(fs::metadata(&cut).unwrap().len(), SEGMENT / 2);
}
