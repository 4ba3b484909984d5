//! What a replay says after a crash, after damage, over stale bytes.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base::WalPosition;
use proptest::prelude::*;
use stream::wal::block::layout::PAGE;
use stream::wal::block::volume::SegmentId;
use stream::wal::{Access, BlockLog, DamageReason, ReplayEnd};

use crate::memory::{MemoryVolume, Place, WriteFate};
use crate::support::{OURS, append, append_each, create, incarnation, options, over, replay};

const SEGMENT: u64 = 64 << 10;

/// Runs bursts of appends until group write number `crash_at` lands only in the sectors of `mask`.
fn crash(volume: &Arc<MemoryVolume>, epoch: i64, bursts: &[Vec<usize>], crash_at: usize, mask: u128) -> (usize, usize) {
    let log = over(volume, Access::Owner);
    let (wal, sink) = create(&log, epoch);
    let writes = AtomicUsize::new(0);
    volume.faults.writes(move |operation| match operation.place {
        Place::Segment(_) if operation.offset > 0 && writes.fetch_add(1, Ordering::SeqCst) == crash_at => {
            WriteFate::Crashes(Box::new(move |sector| mask >> (sector % 128) & 1 == 1))
        }
        _ => WriteFate::Lands,
    });
    let mut sent = 0;
    for burst in bursts {
        for length in burst {
            wal.append(append(sent as u64, *length), sent as u64);
            sent += 1;
        }
        let goal = sent;
        sink.wait("a burst", |told| told.durable.len() == goal || !told.failures.is_empty());
    }
    let _ = wal.shutdown();
    let acknowledged = sink.told(|told| {
        assert_eq!(told.durable, (0..told.durable.len() as u64).collect::<Vec<_>>(), "in WAL order");
        told.durable.len()
    });
    volume.faults.heal();
    (sent, acknowledged)
}

fn bursts() -> impl Strategy<Value = Vec<Vec<usize>>> {
    let length = prop_oneof![3 => 0usize..600, 2 => 3000usize..9000, 1 => 40_000usize..61_000];
    prop::collection::vec(prop::collection::vec(length, 1..6), 1..10)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn every_acknowledged_append_survives_a_torn_write(bursts in bursts(), crash_at in 0usize..20, mask: u128, again: u128) {
        let volume = MemoryVolume::new(SEGMENT);
        // Twice: the second incarnation is written over the stale bytes of the first.
        for (epoch, mask) in [(1, mask), (2, again)] {
            let (sent, acknowledged) = crash(&volume, epoch, &bursts, crash_at, mask);
            let log = over(&volume, Access::Owner);
            let (records, end) = replay(&log, epoch, 0);
            prop_assert!(records.len() >= acknowledged, "{} acknowledged, {} replayed", acknowledged, records.len());
            prop_assert!(records.len() <= sent);
            prop_assert!(!matches!(end, ReplayEnd::Corrupt { .. } | ReplayEnd::Stopped { .. }), "{:?}", end);
            log.remove(incarnation(epoch), OURS).unwrap();
        }
    }

    #[test]
    fn damage_is_corruption_unless_nothing_was_written_later(
        lengths in prop::collection::vec(0usize..30_000, 2..12), victim in 0usize..12, at in 0.0f64..1.0,
    ) {
        let volume = MemoryVolume::new(SEGMENT);
        let log = over(&volume, Access::Owner);
        let (wal, sink) = create(&log, 1);
        append_each(&wal, &sink, 0..lengths.len() as u64, |n| lengths[n as usize]);
        wal.shutdown().unwrap();
        let victim = victim % lengths.len();
        let group = sink.told(|told| told.groups[victim].clone());
        let place = group.start + ((100 + lengths[victim]) as f64 * at) as u64;
        let mut segment = None;
        for file in volume.segments.lock().unwrap().values() {
            let page = file.bytes.lock().unwrap()[32..40].to_vec();
            if u64::from_be_bytes(page.try_into().unwrap()) == place / SEGMENT {
                segment = Some(Arc::clone(file));
            }
        }
        segment.unwrap().bytes.lock().unwrap()[(place % SEGMENT) as usize] ^= 0x10;
        let (records, end) = replay(&log, 1, 0);
        prop_assert_eq!(records.len(), victim, "everything before the damage is replayed");
        let corrupt = matches!(end, ReplayEnd::Corrupt { reason: DamageReason::LaterRecord { .. }, .. });
        prop_assert_eq!(corrupt, victim + 1 < lengths.len(), "{:?}", end);
    }
}

#[test]
fn a_replay_goes_on_from_every_position_it_gave() {
    let volume = MemoryVolume::new(SEGMENT);
    let log = over(&volume, Access::Owner);
    let (wal, sink) = create(&log, 1);
    for n in 0..40 {
        wal.append(append(n, (n as usize * 977) % 20_000), n);
    }
    let last = wal.shutdown().unwrap();
    let (all, end) = replay(&log, 1, 0);
    assert_eq!(all.len(), 40);
    assert_eq!(end, ReplayEnd::Clean { end: last });
    for (index, record) in all.iter().enumerate() {
        assert_eq!(replay(&log, 1, record.next.0).0[..], all[index + 1..]);
    }
    let mut before = 0;
    for group in sink.told(|told| told.groups.clone()) {
        before += all[before..].iter().filter(|record| record.position.0 < group.end).count();
        assert_eq!(replay(&log, 1, group.end).0[..], all[before..], "from the end of a group");
    }
    let stopped = log.replay(incarnation(1), WalPosition(0), &mut |_| ControlFlow::Break(())).unwrap();
    assert_eq!(stopped, ReplayEnd::Stopped { end: all[0].next });
}

#[test]
fn a_group_that_vanished_between_two_segments_is_corruption() {
    let volume = MemoryVolume::new(SEGMENT);
    let log = over(&volume, Access::Owner);
    let (wal, sink) = create(&log, 1);
    // Two groups fill segment 0 but for some pages; the third is in segment 1.
    append_each(&wal, &sink, 0..3, |_| 25_000);
    wal.shutdown().unwrap();
    let groups = sink.told(|told| told.groups.clone());
    assert_eq!(groups[2].start / SEGMENT, 1);
    let segment = Arc::clone(&volume.segments.lock().unwrap()[&SegmentId(0)]);
    segment.bytes.lock().unwrap()[groups[1].start as usize..groups[1].end as usize].fill(0);
    // From the first record, and from the end of the first group, where no earlier record gives the chain.
    for from in [0, groups[0].end] {
        let (_, end) = replay(&log, 1, from);
        assert!(
            matches!(end, ReplayEnd::Corrupt { reason: DamageReason::LaterRecord { sequence: 2, .. }, .. }),
            "{end:?}"
        );
    }
}

#[test]
fn missing_pieces_of_an_open_incarnation_are_never_empty() {
    let volume = MemoryVolume::new(SEGMENT);
    let log = over(&volume, Access::Owner);
    let (wal, sink) = create(&log, 1);
    append_each(&wal, &sink, 0..6, |_| 30_000);
    wal.shutdown().unwrap();
    let reason = |volume: &Arc<MemoryVolume>| match replay(&over(volume, Access::Observer), 1, 0).1 {
        ReplayEnd::Corrupt { reason, .. } => reason,
        other => panic!("{other:?}"),
    };
    // Any segment that was ever assigned, the newest included.
    let ids: Vec<_> = volume.segments.lock().unwrap().keys().copied().collect();
    for id in ids {
        let file = volume.segments.lock().unwrap().remove(&id).unwrap();
        assert!(matches!(reason(&volume), DamageReason::MissingSegment(_)));
        volume.segments.lock().unwrap().insert(id, Arc::clone(&file));
        file.bytes.lock().unwrap()[20] ^= 1;
        assert!(matches!(reason(&volume), DamageReason::MissingSegment(_)), "a broken segment page");
        file.bytes.lock().unwrap()[20] ^= 1;
    }
    let header = volume.header();
    for pages in [vec![0], vec![1, 2]] {
        let saved = header.bytes.lock().unwrap().clone();
        for page in pages {
            header.bytes.lock().unwrap()[page * 4096 + 40] ^= 1;
        }
        assert!(matches!(reason(&volume), DamageReason::BadHeader(_)));
        *header.bytes.lock().unwrap() = saved;
    }
    volume.headers.lock().unwrap().clear();
    assert_eq!(reason(&volume), DamageReason::MissingHeader);
    let summary = &log.incarnations().unwrap()[0];
    assert_eq!((summary.incarnation, summary.cluster_id.is_err()), (incarnation(1), true), "still shown");
}

/// The trim page that named the newest segment rots, and the older one that counts then does not know of it.
#[test]
fn a_segment_that_only_a_broken_trim_page_named_is_read() {
    let volume = MemoryVolume::new(SEGMENT);
    // The two segments that it may have are there, so that no trim page comes after the one that named the second.
    let log = BlockLog::over(Arc::clone(&volume) as _, options(Access::Owner, 2 * SEGMENT)).unwrap();
    let (wal, sink) = create(&log, 1);
    let most = wal.max_record_bytes();
    append_each(&wal, &sink, 0..2, |n| if n == 0 { most } else { 10 });
    let end = wal.shutdown().unwrap();
    {
        let header = volume.header();
        let mut bytes = header.bytes.lock().unwrap();
        let sequence = |page: usize| bytes[page * PAGE + 28..page * PAGE + 36].to_vec();
        let newest = if sequence(1) > sequence(2) { 1 } else { 2 };
        bytes[newest * PAGE + 40] ^= 1;
    }
    // From the end of the first segment, and from within the second.
    let second = sink.told(|told| told.groups[1].clone());
    let (records, told) = replay(&log, 1, SEGMENT);
    assert_eq!((records.len(), told), (1, ReplayEnd::Clean { end }));
    assert_eq!(replay(&log, 1, second.end), (vec![], ReplayEnd::Clean { end }));
}

#[test]
fn an_unreadable_sector_is_an_error_and_not_an_end() {
    let volume = MemoryVolume::new(SEGMENT);
    let log = over(&volume, Access::Owner);
    let (wal, sink) = create(&log, 1);
    append_each(&wal, &sink, 0..4, |_| 30_000);
    wal.shutdown().unwrap();
    for skip in 0..12 {
        let reads = AtomicUsize::new(0);
        volume.faults.reads(move |_| {
            if reads.fetch_add(1, Ordering::SeqCst) == skip { Err(std::io::Error::other("EIO")) } else { Ok(()) }
        });
        let outcome = log.replay(incarnation(1), WalPosition(0), &mut |_| ControlFlow::Continue(()));
        volume.faults.heal();
        let full = replay(&log, 1, 0).1;
        assert!(outcome.is_err() || outcome.as_ref().unwrap() == &full, "read {skip}: {outcome:?}");
        if skip < 4 {
            assert!(outcome.is_err(), "read {skip} fails the replay");
        }
    }
}
