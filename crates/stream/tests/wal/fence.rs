//! The fence, step by step as `models/blocklog.py` has it, and the first error that ends all.

use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use base::{BrokerId, Clock, Offset, StreamId, WalPosition};
use blob::Store;
use stream::catalogue::WalPlace;
use stream::catalogue::local::LocalCatalogue;
use stream::wal::block::layout::{FENCE_OFFSET, PAGE};
use stream::wal::{
    Access, Append, Claim, DamageReason, DurableSink, FenceState, Group, ReplayEnd, WalError, WalFailure,
};
use stream::{Engine, EngineOptions};

use crate::memory::{MemoryFile, MemoryVolume, Operation, Place, WriteFate};
use crate::support::{CLUSTER, OURS, Sink, append, append_each, create, incarnation, over, replay};

const SEGMENT: u64 = 64 << 10;

fn is_fence_read(operation: Operation) -> bool {
    operation.place == Place::Header && operation.offset == FENCE_OFFSET && operation.length == 4096
}

/// Holds the first read of the fence page on its way back: tells when it has read, and lets it go when told.
fn hold_first_fence_read(volume: &MemoryVolume) -> (Receiver<()>, Sender<()>) {
    let (reading, is_reading) = channel();
    let (release, released) = channel();
    let (reading, released) = (Mutex::new(reading), Mutex::new(released));
    let held = AtomicBool::new(false);
    volume.faults.reads(move |operation| {
        if is_fence_read(operation) && !held.swap(true, Ordering::SeqCst) {
            reading.lock().unwrap().send(()).unwrap();
            released.lock().unwrap().recv().unwrap();
        }
        Ok(())
    });
    (is_reading, release)
}

/// What a taker writes, as far as the owner is concerned: anything but the open page.
fn fence_by_hand(volume: &MemoryVolume) {
    let header = volume.header();
    header.bytes.lock().unwrap()[FENCE_OFFSET as usize + 100] = 1;
}

#[test]
fn a_zombie_owner_acknowledges_nothing_after_the_fence() {
    let volume = MemoryVolume::new(SEGMENT);
    let log = over(&volume, Access::Owner);
    let (wal, sink) = create(&log, 1);
    append_each(&wal, &sink, 0..3, |_| 100);
    let taker = over(&volume, Access::Taker);
    taker.fence(incarnation(1)).unwrap();
    taker.fence(incarnation(1)).unwrap();
    let (scanned, _) = replay(&taker, 1, 0);
    assert_eq!(scanned.len(), 3);
    for n in 3..10 {
        wal.append(append(n, 100), n);
    }
    sink.wait("the failure", |told| !told.failures.is_empty());
    assert!(matches!(wal.shutdown(), Err(WalFailure::Fenced(_))));
    sink.told(|told| {
        assert_eq!(told.durable, [0, 1, 2], "not one more than the taker scanned");
        assert_eq!(told.failures.len(), 1);
    });
    assert_eq!(taker.incarnations().unwrap()[0].fence, FenceState::Fenced);
}

/// "changed: taker scans before it fences": until the fence stands the owner may still write what the scan has passed.
#[tokio::test(flavor = "multi_thread")]
async fn a_taker_fences_before_it_scans() {
    let volume = MemoryVolume::new(SEGMENT);
    let catalogue = LocalCatalogue::new(Clock::system());
    let (owner, _) = catalogue.register(BrokerId(1)).unwrap();
    let (log, sink) = (over(&volume, Access::Owner), Sink::default());
    let wal = log.create(owner, "cluster", sink.clone()).unwrap();
    catalogue.open_incarnation(owner, WalPlace { kind: 0, location: "memory".into() }).unwrap();
    append_each(&wal, &sink, 0..3, |_| 100);

    let fence = |header: &MemoryFile| header.bytes.lock().unwrap()[FENCE_OFFSET as usize..][..PAGE].to_vec();
    let (header, open) = (volume.header(), fence(&volume.header()));
    let scans = Arc::new(Mutex::new(Vec::new()));
    volume.faults.reads({
        let scans = scans.clone();
        move |operation| {
            if matches!(operation.place, Place::Segment(_)) {
                scans.lock().unwrap().push(fence(&header) != open);
            }
            Ok(())
        }
    });
    let (taker, former) = catalogue.register(BrokerId(1)).unwrap();
    assert_eq!(former, [owner]);
    let client = Arc::new(catalogue.clone());
    let engine = Engine::new(EngineOptions::default(), Store::memory(), client, taker, Clock::system());
    let memory = base::memory::Budget::new(64 << 20);
    engine.recover(&Arc::new(over(&volume, Access::Taker)), owner, WalPosition(0), &memory).await.unwrap();
    let scans = scans.lock().unwrap();
    assert!(!scans.is_empty() && scans.iter().all(|fenced| *fenced), "{scans:?}");
}

/// "removed: header re-read", "header read before the record's write": a read covers only what was durable when it began.
#[test]
fn a_group_that_became_durable_during_the_fence_read_waits_for_the_next() {
    let volume = MemoryVolume::new(SEGMENT);
    let log = over(&volume, Access::Owner);
    let (wal, sink) = create(&log, 1);
    let (is_reading, release) = hold_first_fence_read(&volume);
    wal.append(append(0, 100), 0);
    is_reading.recv().unwrap();
    // The read has seen "open" and is on its way back. Meanwhile group 1 becomes durable, and a taker fences and scans.
    let after_first = wal.position();
    wal.append(append(1, 100), 1);
    while wal.position() == after_first {
        std::thread::yield_now();
    }
    fence_by_hand(&volume);
    release.send(()).unwrap();
    sink.wait("the failure", |told| !told.failures.is_empty());
    let _ = wal.shutdown();
    sink.told(|told| assert_eq!(told.durable, [0], "group 1 was durable only after that read had begun"));
}

/// "changed: a torn fence page is ignored".
#[test]
fn anything_but_the_open_page_means_fenced() {
    let tear: [fn(&mut [u8]); 4] = [|p| p[31] = 1, |p| p[4095] = 1, |p| p.fill(0), |p| p[..512].fill(0xff)];
    for tear in tear {
        let volume = MemoryVolume::new(SEGMENT);
        let log = over(&volume, Access::Owner);
        let (wal, sink) = create(&log, 1);
        tear(&mut volume.header().bytes.lock().unwrap()[FENCE_OFFSET as usize..]);
        wal.append(append(0, 10), 0);
        sink.wait("the failure", |told| !told.failures.is_empty());
        assert!(matches!(wal.shutdown(), Err(WalFailure::FenceUnreadable { .. })));
        assert!(sink.told(|told| told.durable.is_empty()));
    }
    let volume = MemoryVolume::new(SEGMENT);
    let log = over(&volume, Access::Owner);
    let (wal, sink) = create(&log, 1);
    volume.faults.reads(|operation| if is_fence_read(operation) { Err(io::Error::other("EIO")) } else { Ok(()) });
    wal.append(append(0, 10), 0);
    sink.wait("the failure", |told| !told.failures.is_empty());
    assert!(sink.told(|told| told.durable.is_empty()), "a failed read means fenced");
}

/// "design as written: 2 alternating pages, owner trims + fence": nobody but takers writes the fence page, and takers
/// write nothing else.
#[test]
fn the_fence_page_is_written_by_takers_only_and_takers_write_nothing_else() {
    let volume = MemoryVolume::new(SEGMENT);
    let writes = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&writes);
    volume.faults.writes(move |operation| {
        seen.lock().unwrap().push(operation);
        WriteFate::Lands
    });
    let log = over(&volume, Access::Owner);
    let (wal, sink) = create(&log, 1);
    append_each(&wal, &sink, 0..20, |_| 20_000);
    wal.trim(WalPosition(wal.position().0));
    wal.shutdown().unwrap();
    let owners = std::mem::take(&mut *writes.lock().unwrap());
    assert!(owners.iter().any(|w| w.place == Place::Header), "trim pages were written");
    assert!(owners.iter().all(|w| w.place != Place::Header || w.offset + w.length as u64 <= FENCE_OFFSET));
    over(&volume, Access::Taker).fence(incarnation(1)).unwrap();
    let takers = writes.lock().unwrap();
    assert_eq!(takers.len(), 1);
    assert_eq!((takers[0].place, takers[0].offset, takers[0].length), (Place::Header, FENCE_OFFSET, 4096));
}

/// "changed: one epoch page reused by later incarnations".
#[test]
fn a_fence_of_one_incarnation_is_not_one_of_the_next() {
    let volume = MemoryVolume::new(SEGMENT);
    let log = over(&volume, Access::Owner);
    let (first, first_sink) = create(&log, 1);
    let (second, second_sink) = create(&log, 5);
    log.fence(incarnation(1)).unwrap();
    append_each(&second, &second_sink, 0..1, |_| 10);
    first.append(append(0, 10), 0);
    first_sink.wait("the failure", |told| !told.failures.is_empty());
    second.shutdown().unwrap();
}

#[test]
fn after_the_first_failed_write_nothing_is_acknowledged_or_tried_again() {
    let volume = MemoryVolume::new(SEGMENT);
    let log = over(&volume, Access::Owner);
    let (wal, sink) = create(&log, 1);
    append_each(&wal, &sink, 0..2, |_| 10);
    // Group 2 is durable and its fence read is held back while the write of group 3 fails.
    let (reading, is_reading) = channel();
    let (release, released) = channel::<()>();
    let (reading, released) = (Mutex::new(reading), Mutex::new(released));
    volume.faults.reads(move |operation| {
        if is_fence_read(operation) {
            reading.lock().unwrap().send(()).unwrap();
            released.lock().unwrap().recv().unwrap();
        }
        Ok(())
    });
    wal.append(append(2, 10), 2);
    is_reading.recv().unwrap();
    let writes = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&writes);
    volume.faults.writes(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        WriteFate::Fails(io::ErrorKind::Other)
    });
    wal.append(append(3, 10), 3);
    while wal.status().failure.is_none() {
        std::thread::yield_now();
    }
    release.send(()).unwrap();
    wal.append(append(4, 10), 4);
    assert!(matches!(wal.shutdown(), Err(WalFailure::Io { .. })));
    sink.told(|told| {
        assert_eq!(told.durable, [0, 1]);
        assert_eq!(told.failures.len(), 1);
    });
    assert_eq!(writes.load(Ordering::SeqCst), 1, "no second try");
}

#[test]
fn an_append_that_no_segment_can_hold_ends_the_log_and_the_largest_one_fits() {
    let volume = MemoryVolume::new(SEGMENT);
    let log = over(&volume, Access::Owner);
    let (wal, sink) = create(&log, 1);
    let most = wal.max_record_bytes();
    append_each(&wal, &sink, 0..3, |_| most);
    wal.append(append(3, most + 1), 3);
    assert!(matches!(wal.shutdown(), Err(WalFailure::RecordTooLarge { .. })));
    assert_eq!(replay(&log, 1, 0).0.len(), 3);
}

/// "never deleted without asking whose it is": what the header says decides, not what the remover wishes.
#[test]
fn a_log_goes_only_at_the_word_of_the_cluster_that_its_header_names() {
    let volume = MemoryVolume::new(SEGMENT);
    let log = over(&volume, Access::Owner);
    let (wal, sink) = create(&log, 1);
    append_each(&wal, &sink, 0..3, |_| 100);
    wal.shutdown().unwrap();
    let refused = |claim| match log.remove(incarnation(1), claim) {
        Err(WalError::NotOwned { owner, .. }) => owner,
        other => panic!("{claim:?}: {other:?}"),
    };
    assert!(refused(Claim::Cluster("another")).contains("of cluster cluster"));
    refused(Claim::GivenUp("another"));
    // A header that says nothing bears out no claim but an operator's.
    let saved = volume.header().bytes.lock().unwrap().clone();
    volume.header().bytes.lock().unwrap()[40] ^= 1;
    assert!(refused(OURS).contains("checksum"));
    *volume.header().bytes.lock().unwrap() = saved;
    let header = std::mem::take(&mut *volume.headers.lock().unwrap());
    assert!(refused(OURS).contains("missing"));
    assert_eq!(replay(&log, 1, 0).1, ReplayEnd::Corrupt { at: WalPosition(0), reason: DamageReason::MissingHeader });
    volume.headers.lock().unwrap().extend(header);
    assert_eq!(replay(&log, 1, 0).0.len(), 3, "every refusal left it whole");
    volume.headers.lock().unwrap().clear();
    log.remove(incarnation(1), Claim::GivenUp(CLUSTER)).unwrap();
    assert!(log.incarnations().unwrap().is_empty());
}

#[test]
fn a_log_says_whether_it_holds_a_record() {
    let volume = MemoryVolume::new(SEGMENT);
    let log = over(&volume, Access::Owner);
    let (empty, _) = create(&log, 1);
    empty.shutdown().unwrap();
    let holds = |epoch| log.holds_records(incarnation(epoch)).unwrap();
    assert!(!holds(1) && !holds(9));
    let (wal, sink) = create(&log, 2);
    append_each(&wal, &sink, 0..1, |_| 60_000);
    wal.shutdown().unwrap();
    assert!(holds(2) && !holds(1));
    log.remove(incarnation(2), OURS).unwrap();
    // Written over stale bytes of the former, by one of the same name.
    let (stale, _) = create(&log, 2);
    stale.shutdown().unwrap();
    assert!(!holds(2), "stale records bear another number");
    log.remove(incarnation(2), OURS).unwrap();

    let (wal, sink) = create(&log, 3);
    append_each(&wal, &sink, 0..1, |_| 100);
    wal.shutdown().unwrap();
    // Neither a lost header nor a broken segment page hides it, and what cannot be read is not "none".
    volume.headers.lock().unwrap().retain(|_, (of, _)| *of != incarnation(3));
    assert!(holds(3));
    for file in volume.segments.lock().unwrap().values() {
        file.bytes.lock().unwrap()[20] ^= 1;
    }
    assert!(holds(3));
    volume.faults.reads(|operation| match operation.place {
        Place::Segment(_) => Err(io::Error::other("EIO")),
        Place::Header => Ok(()),
    });
    assert!(log.holds_records(incarnation(3)).is_err());
}

/// Found by the simulator: the header went, and a segment that could not be read at that moment stayed, a log unknown to all.
#[test]
fn a_log_goes_whole_or_not_at_all_when_something_cannot_be_read() {
    let volume = MemoryVolume::new(SEGMENT);
    let log = over(&volume, Access::Owner);
    let (wal, sink) = create(&log, 1);
    append_each(&wal, &sink, 0..4, |_| 30_000);
    wal.shutdown().unwrap();
    let (before, held) = (log.incarnations().unwrap(), volume.segments.lock().unwrap().len());
    let mut skip = 0;
    loop {
        let reads = AtomicUsize::new(0);
        volume.faults.reads(move |_| {
            if reads.fetch_add(1, Ordering::SeqCst) == skip { Err(io::Error::other("EIO")) } else { Ok(()) }
        });
        let outcome = log.remove(incarnation(1), OURS);
        volume.faults.heal();
        let left = log.incarnations().unwrap();
        match outcome {
            Ok(passed_over) => {
                assert_eq!(passed_over, 0);
                assert!(left.is_empty(), "read {skip}: {left:?}");
                break;
            }
            Err(WalError::Io { .. } | WalError::Unreadable { .. }) => assert_eq!(left, before, "read {skip}"),
            Err(other) => panic!("read {skip}: {other:?}"),
        }
        skip += 1;
    }
    assert_eq!(skip, held + 1, "each segment's page and the header were read");
}

/// There only the header itself says whose it is.
#[test]
fn a_header_of_a_device_that_cannot_be_read_is_not_one_that_is_missing() {
    let volume = MemoryVolume::new(SEGMENT);
    volume.is_device.store(true, Ordering::SeqCst);
    let log = over(&volume, Access::Owner);
    let (wal, sink) = create(&log, 1);
    append_each(&wal, &sink, 0..3, |_| 100);
    wal.shutdown().unwrap();
    assert_eq!(replay(&log, 1, 0).0.len(), 3);
    volume.faults.reads(|operation| match operation.place {
        Place::Segment(_) => Ok(()),
        Place::Header => Err(io::Error::other("EIO")),
    });
    let replayed = log.replay(incarnation(1), WalPosition(0), &mut |_| ControlFlow::Continue(()));
    assert!(matches!(replayed, Err(WalError::Io { .. })), "{replayed:?}");
    let fenced = log.fence(incarnation(1));
    assert!(matches!(fenced, Err(WalError::Io { .. })), "{fenced:?}");
    volume.faults.heal();
    assert_eq!(replay(&log, 1, 0).0.len(), 3);
    assert!(matches!(log.fence(incarnation(2)), Err(WalError::NotFound { .. })));
}

/// What is said of the other segments is true, and whoever gives a log up does not wait for a page that may never be read.
#[test]
fn one_unreadable_page_hides_no_log_and_keeps_none_that_is_given_up() {
    let volume = MemoryVolume::new(SEGMENT);
    let log = over(&volume, Access::Owner);
    let (wal, sink) = create(&log, 1);
    append_each(&wal, &sink, 0..4, |_| 30_000);
    wal.shutdown().unwrap();
    let whole = log.incarnations().unwrap().remove(0);
    assert!(whole.segments.len() > 1);
    let bad = volume.segments.lock().unwrap().keys().next().unwrap().0;
    volume.faults.reads(move |operation| match operation.place {
        Place::Segment(id) if id == bad => Err(io::Error::other("EIO")),
        _ => Ok(()),
    });
    let listed = log.incarnations().unwrap();
    assert_eq!((listed.len(), listed[0].segments.len()), (1, whole.segments.len() - 1));
    assert!(matches!(log.remove(incarnation(1), OURS), Err(WalError::Unreadable { segment, .. }) if segment == bad));
    assert_eq!(log.incarnations().unwrap(), listed);
    assert_eq!(log.remove(incarnation(1), Claim::GivenUp(CLUSTER)).unwrap(), 1, "segments that may be of it");
    assert!(log.incarnations().unwrap().is_empty());

    // Readable again, it says whose it was, and goes the same way.
    volume.faults.heal();
    let left = log.incarnations().unwrap();
    assert_eq!((left.len(), left[0].segments.len(), left[0].cluster_id.is_err()), (1, 1, true));
    assert_eq!(log.remove(incarnation(1), Claim::GivenUp(CLUSTER)).unwrap(), 0);
    assert!(log.incarnations().unwrap().is_empty());
}

#[test]
fn access_bounds_what_an_opener_may_do() {
    let volume = MemoryVolume::new(SEGMENT);
    let log = over(&volume, Access::Owner);
    let (wal, _) = create(&log, 1);
    assert!(matches!(log.remove(incarnation(1), OURS), Err(WalError::InUse { .. })), "it is being written");
    assert!(matches!(
        log.create::<u64>(incarnation(1), "cluster", crate::support::Sink::default()),
        Err(WalError::Exists { .. })
    ));
    wal.shutdown().unwrap();
    let taker = over(&volume, Access::Taker);
    let observer = over(&volume, Access::Observer);
    assert!(matches!(taker.remove(incarnation(1), OURS), Err(WalError::Access { .. })));
    assert!(matches!(observer.fence(incarnation(1)), Err(WalError::Access { .. })));
    assert!(matches!(taker.fence(incarnation(9)), Err(WalError::NotFound { .. })));
    log.remove(incarnation(1), OURS).unwrap();
    log.remove(incarnation(1), OURS).unwrap();
    assert!(log.incarnations().unwrap().is_empty());
}

/// "fence" is a promise about the owner: a header page that has rotted, or cannot be read, must not keep it alive.
#[test]
fn a_broken_header_page_does_not_keep_the_fence_from_its_owner() {
    type Break = fn(&MemoryVolume);
    let breaks: [Break; 3] = [
        |volume| volume.header().bytes.lock().unwrap()[40] ^= 1,
        // Header and trim pages: nothing tells the nonce but the fence page.
        |volume| volume.header().bytes.lock().unwrap()[..3 * PAGE].fill(7),
        |volume| {
            volume.faults.reads(|operation| match operation.place {
                Place::Header if operation.offset < FENCE_OFFSET => Err(io::Error::other("EIO")),
                _ => Ok(()),
            });
        },
    ];
    for (n, damage) in breaks.into_iter().enumerate() {
        let volume = MemoryVolume::new(SEGMENT);
        let log = over(&volume, Access::Owner);
        let (wal, sink) = create(&log, 1);
        append_each(&wal, &sink, 0..1, |_| 10);
        damage(&volume);
        over(&volume, Access::Taker).fence(incarnation(1)).unwrap();
        wal.append(append(1, 10), 1);
        sink.wait("the failure", |told| !told.failures.is_empty());
        assert!(matches!(wal.shutdown(), Err(WalFailure::Fenced(_))), "break {n}");
        sink.told(|told| assert_eq!(told.durable, [0]));
    }
}

/// However a thread of the log ends, the log has failed, its sink and whoever waits for it know, and no token is kept.
#[test]
fn a_panic_on_any_thread_of_the_log_ends_it_and_is_told() {
    // A group on the writer's thread; a trim page on the preparer's; a read of the fence page on the completer's.
    for name in ["writer", "preparer", "completer"] {
        let volume = MemoryVolume::new(SEGMENT);
        let log = over(&volume, Access::Owner);
        let sink = Sink::default();
        let wal = log.create(incarnation(1), CLUSTER, Forward(sink.clone())).unwrap();
        let append_one = |n| {
            let (token, dropped) = tokio::sync::oneshot::channel::<()>();
            wal.append(append(n, 10), (n, token));
            dropped
        };
        let first = append_one(0);
        sink.wait("an acknowledgement", |told| told.durable == [0]);
        assert!(first.blocking_recv().is_err());
        volume.faults.writes(move |operation| {
            let on = if operation.place == Place::Header { "preparer" } else { "writer" };
            assert!(on != name, "planted");
            WriteFate::Lands
        });
        volume.faults.reads(move |operation| {
            assert!(!(name == "completer" && is_fence_read(operation)), "planted");
            Ok(())
        });
        wal.trim(wal.position());
        let second = append_one(1);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let failure = runtime.block_on(wal.failed());
        assert!(matches!(failure, Some(WalFailure::ThreadEnded(who)) if who == name), "{name}: {failure:?}");
        let _ = second.blocking_recv();
        assert!(append_one(2).blocking_recv().is_err());
        assert!(wal.check_unfenced().blocking_recv().is_err());
        assert!(wal.shutdown().is_err());
        // The completer cannot tell its sink of its own end; that is what `failed` is for.
        assert_eq!(sink.told(|told| told.failures.len()), usize::from(name != "completer"), "{name}");
    }
}

#[test]
fn a_log_that_ends_in_order_has_not_failed() {
    let volume = MemoryVolume::new(SEGMENT);
    let log = over(&volume, Access::Owner);
    let (wal, _sink) = create(&log, 1);
    let failed = wal.failed();
    wal.shutdown().unwrap();
    drop(wal);
    assert!(tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(failed).is_none());
}

/// Tells the numbers of what is durable; the tokens beside them are dropped.
struct Forward(Sink);

type Numbered = (u64, tokio::sync::oneshot::Sender<()>);

impl DurableSink<Numbered> for Forward {
    fn durable(&mut self, group: Group<Numbered>) {
        let Group { tokens, start, end } = group;
        let tokens = tokens.into_iter().map(|(append, (number, _))| (append, number)).collect();
        self.0.durable(Group { tokens, start, end });
    }

    fn failed(&mut self, error: WalFailure) {
        self.0.failed(error);
    }
}

/// What cannot be told from a seal, or from nothing, does not enter the log.
#[test]
fn an_append_without_offsets_ends_the_log() {
    let seal = StreamId(u64::MAX);
    for bad in [Append { end: Offset(0), ..append(0, 10) }, Append { stream: seal, ..append(0, 10) }] {
        let volume = MemoryVolume::new(SEGMENT);
        let log = over(&volume, Access::Owner);
        let (wal, _sink) = create(&log, 1);
        wal.append(bad, 0);
        assert!(matches!(wal.shutdown(), Err(WalFailure::BadAppend { .. })));
        assert!(replay(&log, 1, 0).0.is_empty());
    }
}

/// Answers that another broker could contradict: a check covers what was known when it was asked for, and no more.
#[test]
fn a_check_resolves_while_open_and_fails_once_fenced() {
    let volume = MemoryVolume::new(SEGMENT);
    let log = over(&volume, Access::Owner);
    let (wal, sink) = create(&log, 1);
    wal.check_unfenced().blocking_recv().unwrap();
    append_each(&wal, &sink, 0..2, |_| 100);
    wal.check_unfenced().blocking_recv().unwrap();
    over(&volume, Access::Taker).fence(incarnation(1)).unwrap();
    assert!(wal.check_unfenced().blocking_recv().is_err(), "a fenced log speaks for nobody");
    sink.wait("the failure", |told| !told.failures.is_empty());
    assert!(wal.check_unfenced().blocking_recv().is_err());
    let (next, _sink) = create(&log, 2);
    next.shutdown().unwrap();
    assert!(next.check_unfenced().blocking_recv().is_err(), "a log that has ended neither");
}

/// The read that answers a check begins after it was asked for: one that is under way has seen an older page.
#[test]
fn a_check_is_not_answered_by_a_read_that_began_before_it() {
    let volume = MemoryVolume::new(SEGMENT);
    let log = over(&volume, Access::Owner);
    let (wal, _sink) = create(&log, 1);
    let (is_reading, release) = hold_first_fence_read(&volume);
    let before = wal.check_unfenced();
    is_reading.recv().unwrap();
    fence_by_hand(&volume);
    let after = wal.check_unfenced();
    release.send(()).unwrap();
    before.blocking_recv().unwrap();
    assert!(after.blocking_recv().is_err(), "it was asked for after the fence");
}
