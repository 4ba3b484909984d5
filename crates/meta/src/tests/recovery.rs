//! Snapshots, floors, deletion, and recovery from the bucket alone.

use parking_lot::Mutex;

use super::*;
use crate::format::SentSnapshot;

/// Writes `count` entries, one operation each.
async fn fill(handle: &MetaHandle, me: Incarnation, count: u64) {
    for _ in 0..count {
        handle.allocate_producer_ids(me).await.unwrap();
    }
}

async fn entries_in(bucket: &Bucket) -> Vec<u64> {
    let all = bucket.plain.list_all(Purpose::Metadata, "meta/log/").await.unwrap();
    all.iter().filter_map(|o| names::number(&o.key, "meta/log/")).collect()
}

/// A round of a process that has put no snapshot before.
async fn round(log: &Log, image: &Arc<Image>) -> Result<(), LogError> {
    crate::housekeeping::round(log, image, &Mutex::default()).await
}

/// A log of more than three ranges with a restart inside, gone through by housekeeping twice.
async fn aged() -> (Bucket, MetaHandle, Incarnation) {
    let bucket = bucket();
    let (first, registration) = serve(&bucket.store, options(1)).await;
    create(&first, "t").await;
    fill(&first, registration.incarnation, 1500).await;
    let (handle, registration) = serve(&bucket.store, options(1)).await;
    fill(&handle, registration.incarnation, 700).await;
    let log = Log { store: bucket.store.clone() };
    round(&log, &handle.image()).await.unwrap();
    fill(&handle, registration.incarnation, 20).await;
    round(&log, &handle.image()).await.unwrap();
    fill(&handle, registration.incarnation, 3).await;
    (bucket, handle, registration.incarnation)
}

#[tokio::test]
async fn metalog_claims_outlive_the_deletion_of_their_range() {
    let (bucket, handle, _) = aged().await;
    let left = entries_in(&bucket).await;
    let below: Vec<u64> = left.iter().copied().filter(|s| *s < 2 * names::RANGE_ENTRIES).collect();
    let claims: Vec<u64> = handle.image().kept.iter().copied().collect();
    assert_eq!(below, claims, "of the released ranges exactly the claims stay");
    assert_eq!(claims.len(), 2);
    assert_eq!(*handle.image(), from_bucket(&bucket).await);
}

#[tokio::test]
async fn metalog_a_stalled_controller_stays_fenced_after_its_range_was_deleted() {
    let (bucket, handle, _) = aged().await;
    // The first controller's next name is its successor's claim, for ever.
    let claim = *handle.image().kept.iter().nth(1).unwrap();
    let stalled = Header {
        kind: EntryKind::Batch,
        sequence: MetaSequence(claim),
        epoch: base::ControllerEpoch(1),
        nonce: Uuid::from_u128(1),
    };
    let bytes = encode_entry(&stalled, &EncodedRecords::default());
    let outcome = Log { store: bucket.store.clone() }.append(stalled.sequence, &bytes).await;
    assert_ne!(outcome, Appended::Won);
}

#[tokio::test]
async fn a_corrupt_newest_snapshot_costs_a_longer_replay_and_nothing_else() {
    let (bucket, handle, _) = aged().await;
    let snapshots = bucket.plain.list_all(Purpose::Metadata, names::SNAPSHOTS).await.unwrap();
    assert_eq!(snapshots.len(), 2);
    let newest = &snapshots[1].key;
    let mut bytes = bucket.plain.get(Purpose::Metadata, newest, ..).await.unwrap().to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    bucket.plain.put(Purpose::Metadata, newest, bytes).await.unwrap();
    assert_eq!(*handle.image(), from_bucket(&bucket).await);
    // With both gone the log is cut: an error, never an older or empty cluster.
    bucket.plain.delete(Purpose::Metadata, &[snapshots[0].key.clone(), newest.clone()]).await.unwrap();
    let outcome = Meta::inspect(bucket.plain.clone()).await;
    assert!(matches!(outcome, Err(LogError::SnapshotMissing { .. })), "{outcome:?}");
}

/// A put without success may have left anything under its name.
#[tokio::test(start_paused = true)]
async fn a_snapshot_that_was_never_seen_whole_lets_nothing_go() {
    let bucket = bucket();
    let (handle, registration) = serve(&bucket.store, options(1)).await;
    let log = Log { store: bucket.store.clone() };
    let put = Mutex::default();
    let mut snapshots = Vec::new();
    for damaged in [false, true, false] {
        fill(&handle, registration.incarnation, 1100).await;
        let sequence = MetaSequence(handle.image().next_sequence.0 - 1);
        snapshots.push(sequence);
        let plan = FaultPlan { damaged: if damaged { 1.0 } else { 0.0 }, ..FaultPlan::default() };
        bucket.faults.set_plan(plan);
        assert_eq!(crate::housekeeping::round(&log, &handle.image(), &put).await.is_err(), damaged);
        bucket.faults.set_plan(FaultPlan::default());
    }
    let [good, damaged, newest] = snapshots[..] else { panic!("{snapshots:?}") };
    assert!(log.load_snapshot(damaged, 0).await.is_err());
    assert_eq!(
        entries_in(&bucket).await.iter().find(|s| **s > good.0),
        Some(&(good.0 + 1)),
        "all that follows the good one"
    );
    // The newest rots: the good one is there, and the log behind it.
    let key = names::snapshot(newest);
    bucket.plain.put(Purpose::Metadata, &key, Bytes::from_static(b"rotten")).await.unwrap();
    assert_eq!(*handle.image(), from_bucket(&bucket).await);
    // The next one that is put with success makes the one before it the older of two; the damaged one goes.
    bucket.plain.put(Purpose::Metadata, &key, handle.image().to_snapshot().unwrap().1.unwrap()).await.unwrap();
    fill(&handle, registration.incarnation, 1).await;
    crate::housekeeping::round(&log, &handle.image(), &put).await.unwrap();
    let left = bucket.plain.list_all(Purpose::Metadata, names::SNAPSHOTS).await.unwrap();
    let left: Vec<_> = left.iter().filter_map(|object| names::number(&object.key, names::SNAPSHOTS)).collect();
    assert_eq!(left, [newest.0, newest.0 + 1]);
}

#[tokio::test]
async fn metalog_a_reader_whose_run_lies_below_the_floor_starts_again() {
    let (bucket, _handle, _) = aged().await;
    // A late PUT re-creates a deleted name; a reader that stalled in between must not believe it.
    let stale = Image::default();
    let log = Log { store: bucket.plain.clone() };
    assert!(log.follow(stale).await.unwrap().is_none());
}

#[tokio::test]
async fn metalog_a_marker_stands_before_anything_below_it_is_deleted() {
    let bucket = bucket();
    let (handle, registration) = serve(&bucket.store, options(1)).await;
    fill(&handle, registration.incarnation, 1100).await;
    let log = Log { store: bucket.store.clone() };
    round(&log, &handle.image()).await.unwrap();
    fill(&handle, registration.incarnation, 1).await;
    let before = entries_in(&bucket).await.len();
    bucket.faults.fail_next(Operation::Create, Fault::LostReply);
    assert!(round(&log, &handle.image()).await.is_err(), "an unknown marker releases nothing");
    assert_eq!(entries_in(&bucket).await.len(), before);
    round(&log, &handle.image()).await.unwrap();
    // The round above made a snapshot at the same entry, so the older one is the first round's.
    assert!(entries_in(&bucket).await.len() < before);
    assert_eq!(*handle.image(), from_bucket(&bucket).await);
}

/// A store that was asked for an object's length and end alone may have damaged the rest.
#[tokio::test]
async fn a_snapshot_that_was_put_with_success_lets_nothing_go_unless_it_is_read_back_whole() {
    let bucket = bucket();
    let (handle, registration) = serve(&bucket.store, options(1)).await;
    fill(&handle, registration.incarnation, 1100).await;
    let log = Log { store: bucket.store.clone() };
    let put = Mutex::default();
    crate::housekeeping::round(&log, &handle.image(), &put).await.unwrap();
    let key = names::snapshot(MetaSequence(handle.image().next_sequence.0 - 1));
    let mut bytes = bucket.plain.get(Purpose::Metadata, &key, ..).await.unwrap().to_vec();
    bytes[crate::format::HEADER_BYTES] ^= 1;
    bucket.plain.put(Purpose::Metadata, &key, bytes).await.unwrap();
    let another = async || {
        fill(&handle, registration.incarnation, 1).await;
        crate::housekeeping::round(&log, &handle.image(), &put).await.unwrap();
    };
    another().await;
    let next = handle.image().next_sequence.0;
    assert!(entries_in(&bucket).await.into_iter().eq(0..next), "nothing is gone");
    another().await;
    assert!(entries_in(&bucket).await.len() < 100, "the next one was read back whole");
    assert_eq!(bucket.plain.list_all(Purpose::Metadata, names::SNAPSHOTS).await.unwrap().len(), 2);
    assert_eq!(*handle.image(), from_bucket(&bucket).await);
}

/// An older image, or one of another history, that stands where this process put its own is whole by its own checksum.
#[tokio::test]
async fn another_snapshot_at_the_name_of_the_one_that_was_sent_lets_nothing_go() {
    let bucket = bucket();
    let (handle, registration) = serve(&bucket.store, options(1)).await;
    fill(&handle, registration.incarnation, 1100).await;
    let log = Log { store: bucket.store.clone() };
    let put = Mutex::default();
    crate::housekeeping::round(&log, &handle.image(), &put).await.unwrap();
    let (sequence, sent) = handle.image().to_snapshot().unwrap();
    let mut another = (*handle.image()).clone();
    another.next_producer_id -= 1;
    let another = another.to_snapshot().unwrap().1.unwrap();
    assert_eq!(another.len(), sent.unwrap().len());
    let key = names::snapshot(sequence);
    bucket.plain.put(Purpose::Metadata, &key, another).await.unwrap();
    assert!(log.load_snapshot(sequence, 0).await.is_ok(), "it is whole");
    fill(&handle, registration.incarnation, 1).await;
    crate::housekeeping::round(&log, &handle.image(), &put).await.unwrap();
    let next = handle.image().next_sequence.0;
    assert!(entries_in(&bucket).await.into_iter().eq(0..next), "nothing is gone");
    assert!(!log.is_cut(MetaSequence(0)).await.unwrap(), "the floor stays");
    // Nor does it count when the one after it is lost.
    let lost = names::snapshot(MetaSequence(next - 1));
    bucket.plain.delete(Purpose::Metadata, &[lost]).await.unwrap();
    fill(&handle, registration.incarnation, 1).await;
    crate::housekeeping::round(&log, &handle.image(), &put).await.unwrap();
    assert!(!log.is_cut(MetaSequence(0)).await.unwrap(), "the floor stays");
    // The one before the next is what was sent.
    fill(&handle, registration.incarnation, 1).await;
    crate::housekeeping::round(&log, &handle.image(), &put).await.unwrap();
    assert!(log.is_cut(MetaSequence(0)).await.unwrap());
    assert_eq!(*handle.image(), from_bucket(&bucket).await);
}

/// The pool for blocking work is busy: what is made there waits, what is made by tasks does not.
#[test]
fn a_snapshot_is_neither_encoded_nor_looked_through_by_a_task() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    let bucket = bucket();
    let snapshots = || bucket.plain.list_all(Purpose::Metadata, names::SNAPSHOTS);
    runtime.block_on(async {
        let (handle, _) = serve(&bucket.store, options(1)).await;
        let (release, busy) = keep_busy();
        let (log, image) = (Log { store: bucket.store.clone() }, handle.image());
        let mut once = std::pin::pin!(round(&log, &image));
        assert!(futures::poll!(&mut once).is_pending());
        assert!(snapshots().await.unwrap().is_empty());
        drop(release);
        assert!(busy.await.unwrap());
        once.await.unwrap();
        assert_eq!(snapshots().await.unwrap().len(), 1);
        let (release, busy) = keep_busy();
        let (sequence, sent) = image.to_snapshot().unwrap();
        let mut load = std::pin::pin!(log.load_snapshot(sequence, 0));
        let mut check = std::pin::pin!(log.check_snapshot(SentSnapshot::of(sequence, &sent.unwrap()), 0));
        assert!(futures::poll!(&mut load).is_pending() && futures::poll!(&mut check).is_pending());
        drop(release);
        assert!(busy.await.unwrap());
        assert_eq!(load.await.unwrap(), *image);
        check.await.unwrap();
    });
}

/// Work for the pool until the sender is dropped.
fn keep_busy() -> (std::sync::mpsc::Sender<()>, base::task::JoinHandle<bool>) {
    let (release, busy) = std::sync::mpsc::channel();
    (release, base::task::spawn_blocking("busy", move || busy.recv().is_err()))
}

/// "removed: monotone floor (stalled deleter overwrites it)": every range has a marker of its own, and none is overwritten.
#[tokio::test]
async fn metalog_a_stalled_deleter_does_not_lower_the_floor() {
    let bucket = bucket();
    let (first, registration) = serve(&bucket.store, options(1)).await;
    fill(&first, registration.incarnation, 1100).await;
    let log = Log { store: bucket.store.clone() };
    round(&log, &first.image()).await.unwrap();
    let stalled = first.image();
    let (handle, registration) = serve(&bucket.store, options(1)).await;
    fill(&handle, registration.incarnation, 1100).await;
    for _ in 0..2 {
        round(&log, &handle.image()).await.unwrap();
        fill(&handle, registration.incarnation, 20).await;
    }
    let floor = || async {
        let mut cut = Vec::new();
        for range in 0..4 {
            cut.push(log.is_cut(MetaSequence(range * names::RANGE_ENTRIES)).await.unwrap());
        }
        cut
    };
    let before = floor().await;
    assert_eq!(before, [true, true, false, false]);
    for range in 0..2 {
        // Whoever made it, and sent it again after another snapshot, sent these bytes.
        let last = MetaSequence((range + 1) * names::RANGE_ENTRIES - 1);
        let held = bucket.plain.get(Purpose::Metadata, &names::floor(range), ..).await.unwrap();
        assert_eq!(held, crate::format::encode_floor(range, last));
    }
    // Whatever the stalled one is told, what the others rely on stands.
    drop(round(&log, &stalled).await);
    assert_eq!(floor().await, before);
    assert_eq!(*handle.image(), from_bucket(&bucket).await);
}

#[tokio::test]
async fn image_from_the_log_and_from_snapshot_and_tail_are_one() {
    let bucket = bucket();
    let (handle, registration) = serve(&bucket.store, options(1)).await;
    for n in 0..5 {
        create(&handle, &format!("t{n}")).await;
    }
    let whole = from_bucket(&bucket).await;
    assert_eq!(*handle.image(), whole);
    let (sequence, bytes) = whole.to_snapshot().unwrap();
    let key = names::snapshot(sequence);
    let bytes = bytes.unwrap();
    assert_eq!(Image::from_snapshot(&bytes, sequence, &key).unwrap(), whole);
    bucket.plain.put(Purpose::Metadata, &key, bytes).await.unwrap();
    handle.delete_topics(vec![whole.topic("t3").unwrap().id]).await.unwrap();
    fill(&handle, registration.incarnation, 2).await;
    assert_eq!(*handle.image(), from_bucket(&bucket).await);
}

#[tokio::test]
async fn snapshots_are_made_by_policy_while_the_controller_serves() {
    let bucket = bucket();
    let snapshots = SnapshotPolicy { entries: 10, bytes: u64::MAX };
    let (handle, registration) = serve(&bucket.store, MetaOptions { snapshots, ..options(1) }).await;
    fill(&handle, registration.incarnation, 30).await;
    let made = async {
        while bucket.plain.list_all(Purpose::Metadata, names::SNAPSHOTS).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), made).await.expect("a snapshot is made");
    assert_eq!(*handle.image(), from_bucket(&bucket).await);
}

#[tokio::test]
async fn a_failed_read_is_an_error_and_never_the_end_of_the_log() {
    let bucket = bucket();
    let (handle, registration) = serve(&bucket.store, options(1)).await;
    fill(&handle, registration.incarnation, 3).await;
    bucket.faults.set_plan(FaultPlan { unavailable: 1.0, ..FaultPlan::default() });
    let outcome = Meta::inspect(bucket.store.clone()).await;
    assert!(matches!(outcome, Err(LogError::Store(_))), "{outcome:?}");
}

/// A lost answer about a name behind the end held a start up for as long as the store's retries took.
#[tokio::test]
async fn whoever_reads_the_log_does_not_wait_for_names_behind_its_end() {
    for entries in 1..6 {
        let bucket = bucket();
        let (handle, registration) = serve(&bucket.store, options(1)).await;
        fill(&handle, registration.incarnation, entries).await;
        let end = from_bucket(&bucket).await.next_sequence.0;
        for behind in end + 1..end + 33 {
            bucket.faults.never_answers(&names::entry(MetaSequence(behind)));
        }
        let read = tokio::time::timeout(Duration::from_secs(20), Meta::inspect(bucket.store.clone())).await;
        assert_eq!(read.expect("waits for a name that nobody wrote").unwrap().next_sequence.0, end);
    }
}

#[tokio::test]
async fn a_corrupt_entry_stops_the_start_and_names_the_object() {
    let bucket = bucket();
    let (handle, registration) = serve(&bucket.store, options(1)).await;
    fill(&handle, registration.incarnation, 1).await;
    let key = names::entry(MetaSequence(2));
    let mut bytes = bucket.plain.get(Purpose::Metadata, &key, ..).await.unwrap().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    bucket.plain.put(Purpose::Metadata, &key, bytes).await.unwrap();
    let error = Meta::inspect(bucket.plain.clone()).await.unwrap_err();
    assert!(error.to_string().contains(&key), "{error}");
}

/// A broker that restarts before it has written a snapshot's worth of entries makes one all the same.
#[tokio::test]
async fn entries_of_former_processes_count_towards_the_next_snapshot() {
    let bucket = bucket();
    let snapshots = SnapshotPolicy { entries: 20, bytes: u64::MAX };
    let mut made = false;
    for _ in 0..12 {
        // Fewer entries than the policy asks for.
        let (handle, _) = serve(&bucket.store, MetaOptions { snapshots, ..options(1) }).await;
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(*handle.image(), from_bucket(&bucket).await);
        made |= !bucket.plain.list_all(Purpose::Metadata, names::SNAPSHOTS).await.unwrap().is_empty();
    }
    assert!(made, "no snapshot in {} entries", entries_in(&bucket).await.len());
}

/// An entry of the controller in office with one record, as a newer release may write it.
async fn append_newer(bucket: &Bucket, record: &[u8]) -> MetaSequence {
    let image = from_bucket(bucket).await;
    let header = Header {
        kind: EntryKind::Batch,
        sequence: image.next_sequence,
        epoch: image.controller_epoch,
        nonce: image.controller_nonce,
    };
    let records = EncodedRecords { bytes: record.to_vec(), count: 1 };
    let log = Log { store: bucket.plain.clone() };
    assert_eq!(log.append(header.sequence, &encode_entry(&header, &records)).await, Appended::Won);
    header.sequence
}

#[tokio::test]
async fn who_meets_a_record_of_a_newer_release_stops_and_neither_claims_nor_snapshots() {
    use wire::RawTaggedField;
    use wire::meta::{FeatureRecord, MetadataRecord};
    let unknown_tagged_fields = vec![RawTaggedField { tag: 3, data: Bytes::from_static(b"more to say") }];
    let feature = FeatureRecord { name: "f".into(), level: 1, unknown_tagged_fields };
    let field = EncodedRecords::of(&[MetadataRecord::from(feature)]).unwrap().bytes;
    // Type 9,999 in version 0; a feature in version 77.
    let cases: [(&[u8], &str); 3] =
        [(&[0x8f, 0x4e, 0, 0], "9999"), (&[3, 77], "version 77"), (&field, "field that this release does not know")];
    for (record, says) in cases {
        let bucket = bucket();
        let (handle, _) = serve(&bucket.store, options(1)).await;
        create(&handle, "t").await;
        drop(handle);
        let at = append_newer(&bucket, record).await;
        let objects = async || bucket.plain.list_all(Purpose::Metadata, "meta/").await.unwrap();
        let before = objects().await.len();
        let every = MetaOptions { snapshots: SnapshotPolicy { entries: 1, bytes: 1 }, ..options(1) };
        let error = Meta::start(bucket.store.clone(), every).await.unwrap_err().to_string();
        assert!(error.contains(says) && error.contains(&names::entry(at)), "{error}");
        assert_eq!(objects().await.len(), before, "nothing was written");
    }
}
