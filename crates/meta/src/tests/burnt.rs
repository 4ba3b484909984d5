//! Names that damage has burnt.

use wire::meta::{ControllerRecord, MetadataRecord, NoOpRecord, VoidEntryRecord};

use super::*;
use crate::follow::KEPT_BYTES_MAX;
use crate::log::{BACKOFF_MAX, BACKOFF_MIN, VOID_NAMES_MAX};
use crate::office;

const DAMAGES: [Fault; 2] = [Fault::Damaged, Fault::Truncated];

/// Which of the following creates arrive damaged, counted from 0. The writer of one asks three times more what stands there.
fn damage(bucket: &Bucket, fault: Fault, creates: &[usize]) {
    for create in 0..=creates.iter().copied().max().unwrap() {
        // Short reads do nothing to a create.
        let fault = if creates.contains(&create) { fault } else { Fault::ShortRead };
        bucket.faults.fail_next(Operation::Create, fault);
    }
}

/// Writes an entry without asking anybody.
async fn plant(bucket: &Bucket, header: Header, records: &[MetadataRecord]) {
    let log = Log { store: bucket.plain.clone() };
    let bytes = encode_entry(&header, &EncodedRecords::of(records).unwrap());
    assert_eq!(log.append(header.sequence, &bytes).await, Appended::Won);
}

fn void(sequence: MetaSequence) -> MetadataRecord {
    VoidEntryRecord { sequence: sequence.0.cast_signed(), crc: 7, ..Default::default() }.into()
}

/// The header and the record of another process's claim that follows `image`.
fn claim_after(image: &Image, place: MetaSequence) -> (Header, MetadataRecord) {
    let (epoch, nonce) = (base::ControllerEpoch(image.controller_epoch.0 + 1), Uuid::from_u128(99));
    let header = Header { kind: EntryKind::Claim, sequence: place, epoch, nonce };
    let record = ControllerRecord { controller_epoch: epoch.0, broker_id: 1, nonce, ..Default::default() };
    (header, record.into())
}

#[tokio::test(start_paused = true)]
async fn metalog_a_burnt_name_is_void_and_what_it_should_have_held_stands_behind() {
    for fault in DAMAGES {
        for times in 1..4 {
            let bucket = bucket();
            let (handle, _) = serve(&bucket.store, options(1)).await;
            create(&handle, "before").await;
            let (burnt, epoch) = (handle.image().next_sequence, handle.image().controller_epoch);
            damage(&bucket, fault, &(0..times).map(|n| n * 4).collect::<Vec<_>>());
            create(&handle, "t").await;
            create(&handle, "after").await;
            assert!(!handle.is_fenced());
            let image = handle.image();
            assert_eq!(*image, from_bucket(&bucket).await, "{fault:?}, {times} times");
            assert_eq!((image.topics.len(), image.controller_epoch.0), (3, epoch.0 + 1));
            assert_eq!(image.next_sequence.0, burnt.0 + times as u64 + 3, "burnt names, a claim, two batches");
            let (_, snapshot) = image.to_snapshot().unwrap();
            let last = MetaSequence(image.next_sequence.0 - 1);
            assert_eq!(Image::from_snapshot(&snapshot.unwrap(), last, "").unwrap(), *image);
            let (next, _) = serve(&bucket.store, options(1)).await;
            assert!(next.image().topic("t").is_some());
        }
    }
}

/// Whoever is told of a refusal takes what he asked for as certainly not done.
#[tokio::test(start_paused = true)]
async fn metalog_a_burnt_entry_that_cannot_be_called_void_is_no_refusal() {
    for fault in DAMAGES {
        let bucket = bucket();
        let (handle, _) = serve(&bucket.store, options(1)).await;
        let mut image = Image::clone(&handle.image());
        image.controller = None;
        damage(&bucket, fault, &[0]);
        let log = Log { store: bucket.store.clone() };
        let records = EncodedRecords::of(&[NoOpRecord::default().into()]).unwrap();
        let loss = office::write(&log, &image, &records, image.clone()).await.unwrap_err();
        assert!(matches!(loss, office::Loss::Unreadable(place) if place == image.next_sequence), "{loss:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_goes_on_behind_names_that_it_burns() {
    for fault in DAMAGES {
        // The claim, the registration, the next claim behind either, the claim and the registration behind its successor.
        for burnt in [&[0][..], &[1], &[0, 4], &[1, 5], &[0, 5]] {
            let bucket = bucket();
            damage(&bucket, fault, burnt);
            let (handle, registration) = serve(&bucket.store, options(1)).await;
            create(&handle, "t").await;
            let image = from_bucket(&bucket).await;
            assert_eq!(*handle.image(), image, "{fault:?} of {burnt:?}");
            assert_eq!(image.kept.len() as i64, image.controller_epoch.0 + burnt.len() as i64);
            assert_eq!(image.brokers[&BrokerId(1)].incarnation(), registration.incarnation);
        }
    }
}

/// Whoever called it void had read other bytes, and went on without it.
#[tokio::test]
async fn metalog_the_word_of_a_claim_counts_though_the_entry_can_be_read() {
    let bucket = bucket();
    let (handle, _) = serve(&bucket.store, options(1)).await;
    let before = handle.image();
    create(&handle, "void").await;
    drop(handle);
    let (header, claim) = claim_after(&before, MetaSequence(before.next_sequence.0 + 1));
    plant(&bucket, header, &[claim, void(before.next_sequence)]).await;
    let image = from_bucket(&bucket).await;
    assert!(image.topic("void").is_none());
    assert_eq!(image.controller_epoch, header.epoch);
    assert_eq!(image.topics, before.topics);
}

/// What was read is too large for its states to be kept.
#[tokio::test]
async fn a_reader_that_cannot_go_back_before_a_void_entry_begins_again() {
    let bucket = bucket();
    let (handle, _) = serve(&bucket.store, options(1)).await;
    create(&handle, "kept").await;
    let before = handle.image();
    create(&handle, "void").await;
    handle.create_topics(vec![topic("large", 40_000)], false).await.unwrap();
    drop(handle);
    let named = [0, 1].map(|n| MetaSequence(before.next_sequence.0 + n));
    let large = bucket.plain.get(Purpose::Metadata, &names::entry(named[1]), ..).await.unwrap().len();
    assert!(large as u64 > KEPT_BYTES_MAX, "{large} bytes");
    let (header, claim) = claim_after(&before, MetaSequence(named[1].0 + 1));
    plant(&bucket, header, &[claim, void(named[0]), void(named[1])]).await;
    let image = from_bucket(&bucket).await;
    assert_eq!((image.controller_epoch, &image.topics), (header.epoch, &before.topics));
}

/// It may be another's, who was told that it stands.
#[tokio::test(start_paused = true)]
async fn metalog_only_the_writer_of_a_burnt_name_calls_it_void() {
    let bucket = bucket();
    let (handle, _) = serve(&bucket.store, options(1)).await;
    create(&handle, "t").await;
    let place = handle.image().next_sequence;
    let mut rotten = entry(place.0, 5).to_vec();
    *rotten.last_mut().unwrap() ^= 1;
    rotten[50] ^= 1;
    bucket.plain.put(Purpose::Metadata, &names::entry(place), rotten).await.unwrap();
    let answer = handle.create_topics(vec![topic("u", 1)], false).await;
    assert_eq!(answer, Err(MetaError::Unreadable(LogLost::Unreadable(place))));
    assert_eq!(handle.fenced().await, LogLost::Unreadable(place), "nobody took its place");
    let log = bucket.plain.list_all(Purpose::Metadata, "meta/log/").await.unwrap();
    assert_eq!(log.last().unwrap().key, names::entry(place));
    let error = Meta::inspect(bucket.plain.clone()).await.unwrap_err();
    assert!(matches!(&error, LogError::LastEntry { key, .. } if *key == names::entry(place)), "{error}");
    // Its writer gives the word: whoever was in office has been replaced by that claim.
    let image = handle.image();
    let (header, claim) = claim_after(&image, MetaSequence(place.0 + 1));
    plant(&bucket, header, &[claim, void(place)]).await;
    let log = Log { store: bucket.store.clone() };
    assert_eq!(log.append(place, &entry(place.0, u128::MAX)).await, Appended::Lost);
    assert!(from_bucket(&bucket).await.topic("t").is_some());
}

/// The burnt entry may be whole, and whoever wrote the next one may have read it.
#[tokio::test(start_paused = true)]
async fn metalog_a_burnt_entry_whose_claim_was_lost_may_have_had_an_effect() {
    let bucket = bucket();
    let (handle, _) = serve(&bucket.store, options(1)).await;
    let image = handle.image();
    let (header, claim) = claim_after(&image, MetaSequence(image.next_sequence.0 + 1));
    plant(&bucket, header, &[claim]).await;
    bucket.faults.fail_next(Operation::Create, Fault::Damaged);
    let answer = handle.create_topics(vec![topic("t", 1)], false).await;
    assert!(matches!(answer, Err(MetaError::OutcomeUnknown(_))), "{answer:?}");
    assert!(matches!(handle.fenced().await, LogLost::Replaced(_)));
}

#[tokio::test]
async fn a_word_that_does_not_fit_what_it_is_about_stops_the_reader() {
    let bucket = bucket();
    let (handle, _) = serve(&bucket.store, options(1)).await;
    create(&handle, "t").await;
    let image = handle.image();
    let next = image.next_sequence;
    let (claim, office) = claim_after(&image, next);
    let batch =
        Header { kind: EntryKind::Batch, epoch: image.controller_epoch, nonce: image.controller_nonce, ..claim };
    let last = MetaSequence(next.0 - 1);
    let cases: [(Header, Vec<MetadataRecord>); 4] = [
        (batch, vec![void(last)]),
        (batch, vec![NoOpRecord::default().into(), void(next)]),
        (claim, vec![office.clone(), void(next)]),
        // Not the name right before it.
        (claim, vec![office, void(MetaSequence(last.0 - 1))]),
    ];
    for (header, records) in cases {
        let mut image = from_bucket(&bucket).await;
        let error = image.replay_entry(&header, &records).unwrap_err();
        assert!(matches!(error, LogError::Foreign { .. }), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn metalog_void_names_outlive_the_deletion_of_their_range() {
    let bucket = bucket();
    let (handle, registration) = serve(&bucket.store, options(1)).await;
    let burnt = handle.image().next_sequence.0;
    bucket.faults.fail_next(Operation::Create, Fault::Damaged);
    for _ in 0..1100 {
        handle.allocate_producer_ids(registration.incarnation).await.unwrap();
    }
    let log = Log { store: bucket.store.clone() };
    let put = parking_lot::Mutex::default();
    for _ in 0..2 {
        crate::housekeeping::round(&log, &handle.image(), &put).await.unwrap();
        handle.allocate_producer_ids(registration.incarnation).await.unwrap();
    }
    let left = bucket.plain.list_all(Purpose::Metadata, "meta/log/").await.unwrap();
    let left = left.iter().filter_map(|object| names::number(&object.key, "meta/log/"));
    let below: Vec<u64> = left.filter(|name| *name < names::RANGE_ENTRIES).collect();
    assert_eq!(below, [0, burnt, burnt + 1]);
    assert_eq!(*handle.image(), from_bucket(&bucket).await);
}

#[tokio::test(start_paused = true)]
async fn an_operator_gives_up_what_stands_last_and_cannot_be_read_and_nothing_else() {
    let bucket = bucket();
    let entropy = Entropy::system();
    let give_up = || Meta::give_up_last(bucket.store.clone(), BrokerId(1), &entropy);
    let (handle, _) = serve(&bucket.store, options(1)).await;
    create(&handle, "t").await;
    assert_eq!(give_up().await.unwrap(), [], "the log is whole");
    let place = handle.image().next_sequence;
    let garbage = [place, MetaSequence(place.0 + 1)];
    for name in garbage {
        bucket.plain.put(Purpose::Metadata, &names::entry(name), Bytes::from_static(b"garbage")).await.unwrap();
    }
    assert!(matches!(Meta::start(bucket.store.clone(), options(1)).await, Err(StartError::Log(_))));
    assert_eq!(give_up().await.unwrap(), garbage);
    let (handle, registration) = serve(&bucket.store, options(1)).await;
    assert!(handle.image().topic("t").is_some());
    assert_eq!(registration.recover.len(), 1);
    // An entry behind it was written by somebody who had read it: that is no end of the log.
    let key = names::entry(MetaSequence(place.0 - 1));
    bucket.plain.put(Purpose::Metadata, &key, Bytes::from_static(b"rotten")).await.unwrap();
    let error = give_up().await.unwrap_err();
    assert!(matches!(error, GiveUpError::Log(LogError::Format { .. })), "{error}");
}

#[tokio::test(start_paused = true)]
async fn as_many_entries_are_given_up_as_a_reader_passes_over_and_no_more() {
    for (count, is_given_up) in [(VOID_NAMES_MAX, true), (VOID_NAMES_MAX + 1, false)] {
        let bucket = bucket();
        let (handle, _) = serve(&bucket.store, options(1)).await;
        create(&handle, "t").await;
        let place = handle.image().next_sequence;
        drop(handle);
        for name in (place.0..place.0 + count as u64).map(MetaSequence) {
            bucket.plain.put(Purpose::Metadata, &names::entry(name), Bytes::from_static(b"garbage")).await.unwrap();
        }
        let answer = give_up(&bucket).await;
        assert_eq!(answer.is_ok_and(|given_up| given_up.len() == count), is_given_up, "{count} entries");
        let start = Meta::start(bucket.store.clone(), options(1)).await;
        assert_eq!(start.is_ok(), is_given_up, "{count} entries");
        if is_given_up {
            assert!(from_bucket(&bucket).await.topic("t").is_some());
        }
    }
}

/// A byte of the format's number makes one look as if a newer release had written it.
#[tokio::test]
async fn a_claim_is_found_behind_burnt_names_however_they_are_damaged() {
    for at in 0..entry(1, 5).len() {
        let bucket = bucket();
        let (handle, _) = serve(&bucket.store, options(1)).await;
        let image = handle.image();
        drop(handle);
        let names = [0, 1].map(|n| MetaSequence(image.next_sequence.0 + n));
        for (name, at) in names.into_iter().zip([40, at]) {
            let mut burnt = entry(name.0, 5).to_vec();
            burnt[at] ^= 1;
            bucket.plain.put(Purpose::Metadata, &names::entry(name), burnt).await.unwrap();
        }
        let (header, claim) = claim_after(&image, MetaSequence(names[1].0 + 1));
        plant(&bucket, header, &[claim, void(names[0]), void(names[1])]).await;
        assert_eq!(from_bucket(&bucket).await.next_sequence.0, names[1].0 + 2, "byte {at}");
    }
}

async fn give_up(bucket: &Bucket) -> Result<Vec<MetaSequence>, GiveUpError> {
    Meta::give_up_last(bucket.store.clone(), BrokerId(1), &Entropy::system()).await
}

/// Damages an object, and gives back what it was.
async fn rot(bucket: &Bucket, key: &str) -> Bytes {
    let whole = bucket.plain.get(Purpose::Metadata, key, ..).await.unwrap();
    let mut rotten = whole.to_vec();
    *rotten.last_mut().unwrap() ^= 1;
    bucket.plain.put(Purpose::Metadata, key, rotten).await.unwrap();
    whole
}

/// The last entry is a claim that calls the one before it void, and is given up because it cannot be read.
#[tokio::test(start_paused = true)]
async fn metalog_a_claim_that_was_given_up_says_nothing_should_it_be_readable_again() {
    let bucket = bucket();
    let (handle, _) = serve(&bucket.store, options(1)).await;
    let before = handle.image();
    create(&handle, "t").await;
    drop(handle);
    let named = before.next_sequence;
    let (header, office) = claim_after(&before, MetaSequence(named.0 + 1));
    plant(&bucket, header, &[office, void(named)]).await;
    assert!(from_bucket(&bucket).await.topic("t").is_none());
    let whole = rot(&bucket, &names::entry(header.sequence)).await;
    assert_eq!(give_up(&bucket).await.unwrap(), [header.sequence]);
    let image = from_bucket(&bucket).await;
    assert!(image.topic("t").is_some());
    bucket.plain.put(Purpose::Metadata, &names::entry(header.sequence), whole).await.unwrap();
    assert_eq!(from_bucket(&bucket).await, image);
    let (handle, _) = serve(&bucket.store, options(1)).await;
    assert_eq!(*handle.image(), from_bucket(&bucket).await);
    // What the void claim called void counts, so it is missed.
    rot(&bucket, &names::entry(named)).await;
    let error = Meta::inspect(bucket.plain.clone()).await.unwrap_err();
    assert!(matches!(&error, LogError::Format { key, .. } if *key == names::entry(named)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn metalog_an_entry_is_not_given_up_while_a_snapshot_may_hold_what_it_made() {
    let bucket = bucket();
    let (handle, _) = serve(&bucket.store, options(1)).await;
    create(&handle, "t").await;
    let last = MetaSequence(handle.image().next_sequence.0 - 1);
    let log = Log { store: bucket.plain.clone() };
    crate::housekeeping::round(&log, &handle.image(), &parking_lot::Mutex::default()).await.unwrap();
    drop(handle);
    let snapshot = names::snapshot(last);
    let whole = rot(&bucket, &snapshot).await;
    rot(&bucket, &names::entry(last)).await;
    let error = give_up(&bucket).await.unwrap_err();
    assert!(
        matches!(&error, GiveUpError::Snapshot { key, sequence } if (key, *sequence) == (&snapshot, last)),
        "{error}"
    );
    // Brought back it is all that is needed.
    bucket.plain.put(Purpose::Metadata, &snapshot, whole).await.unwrap();
    assert_eq!(give_up(&bucket).await.unwrap(), []);
    assert!(from_bucket(&bucket).await.topic("t").is_some());
    bucket.plain.delete(Purpose::Metadata, &[snapshot]).await.unwrap();
    assert_eq!(give_up(&bucket).await.unwrap(), [last]);
    assert!(from_bucket(&bucket).await.topic("t").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_last_entry_with_a_damaged_format_number_is_given_up_and_one_of_a_newer_release_is_not() {
    for at in [4, 5] {
        let bucket = bucket();
        let (handle, _) = serve(&bucket.store, options(1)).await;
        let last = handle.image().next_sequence;
        drop(handle);
        let key = names::entry(last);
        let stands = |bytes: Vec<u8>| bucket.plain.put(Purpose::Metadata, key.as_str(), bytes);
        let mut bytes = entry(last.0, 5).to_vec();
        bytes[at] ^= 2;
        let damaged = bytes.clone();
        let checksum = base::checksum::crc32c_of([&bytes[..48], &bytes[52..]]);
        bytes[48..52].copy_from_slice(&checksum.to_be_bytes());
        stands(bytes).await.unwrap();
        let error = give_up(&bucket).await.unwrap_err();
        assert!(
            matches!(&error, GiveUpError::Log(LogError::Format { key, .. }) if *key == names::entry(last)),
            "{error}"
        );
        stands(damaged).await.unwrap();
        assert_eq!(give_up(&bucket).await.unwrap(), [last]);
        serve(&bucket.store, options(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_given_up_in_a_store_that_refuses_writes() {
    let bucket = bucket();
    let (handle, _) = serve(&bucket.store, options(1)).await;
    create(&handle, "t").await;
    let last = MetaSequence(handle.image().next_sequence.0 - 1);
    drop(handle);
    rot(&bucket, &names::entry(last)).await;
    for _ in 0..100 {
        bucket.faults.fail_next(Operation::Put, Fault::Unavailable);
    }
    let error = give_up(&bucket).await.unwrap_err();
    assert!(matches!(&error, GiveUpError::Store(_)) && error.to_string().contains("planned fault"), "{error}");
    let log = bucket.plain.list_all(Purpose::Metadata, "meta/log/").await.unwrap();
    assert_eq!(log.last().unwrap().key, names::entry(last));
}

#[tokio::test(start_paused = true)]
async fn reading_a_log_takes_as_many_requests_as_it_is_long_however_many_names_are_void() {
    let bucket = bucket();
    let (handle, _) = serve(&bucket.store, options(1)).await;
    let mut image = Image::clone(&handle.image());
    drop(handle);
    for round in 0..120 {
        let burnt = image.next_sequence;
        if round % 3 == 0 {
            bucket.plain.put(Purpose::Metadata, &names::entry(burnt), Bytes::from_static(b"garbage")).await.unwrap();
        } else {
            let (sequence, epoch, nonce) = (burnt, image.controller_epoch, image.controller_nonce);
            let header = Header { kind: EntryKind::Batch, sequence, epoch, nonce };
            plant(&bucket, header, &[NoOpRecord::default().into()]).await;
        }
        let (header, office) = claim_after(&image, MetaSequence(burnt.0 + 1));
        let records = [office, void(burnt)];
        plant(&bucket, header, &records).await;
        image.replay_entry(&header, &records).unwrap();
    }
    let gets = || bucket.faults.journal().iter().filter(|request| request.operation == Operation::Get).count() as u64;
    let before = gets();
    let loaded = Log { store: bucket.store.clone() }.load().await.unwrap();
    assert_eq!((&loaded.image, loaded.tail.entries), (&image, image.next_sequence.0));
    let taken = gets() - before;
    assert!(taken <= 5 * image.next_sequence.0, "{taken} requests for {} entries", image.next_sequence);
}

#[tokio::test(start_paused = true)]
async fn metalog_a_writer_that_was_told_that_it_made_an_entry_vouches_for_whatever_is_left_of_it() {
    let bucket = bucket();
    let log = Log { store: bucket.store.clone() };
    let bytes = entry(0, 5);
    bucket.faults.fail_next(Operation::Create, Fault::Truncated);
    let outcome = log.append(MetaSequence(0), &bytes).await;
    assert_eq!(outcome, Appended::Burnt { crc: base::checksum::crc32c(&bytes[..26]) });
    // What another finds there is not its own.
    assert_eq!(log.append(MetaSequence(0), &entry(0, 6)).await, Appended::Unreadable);
}

/// The way lets claims and trials pass, and not that batch.
#[tokio::test(start_paused = true)]
async fn a_batch_that_never_passes_whole_is_tried_again_ever_more_slowly() {
    let bucket = bucket();
    let (handle, _) = serve(&bucket.store, options(1)).await;
    // The batch, three looks at it, the claim behind it.
    damage(&bucket, Fault::Damaged, &(0..10).map(|n| n * 5).collect::<Vec<_>>());
    let began = now();
    create(&handle, "t").await;
    let waits = (0..10).map(|n| (BACKOFF_MIN * (1 << n)).min(BACKOFF_MAX)).sum::<Duration>();
    assert!(began.elapsed() > waits, "it took {:?}", began.elapsed());
    assert_eq!(*handle.image(), from_bucket(&bucket).await);
}

#[allow(clippy::disallowed_methods, reason = "the paused clock of the test runtime is meant")]
fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// Its way lets trials pass, and no claim.
#[tokio::test(start_paused = true)]
async fn a_writer_that_burns_names_stops_where_an_operator_can_still_go_on_behind_them() {
    let bucket = bucket();
    let (handle, _) = serve(&bucket.store, options(1)).await;
    create(&handle, "t").await;
    let first = handle.image().next_sequence;
    let creates = || bucket.faults.journal().iter().filter(|request| request.operation == Operation::Create).count();
    let before = creates();
    blob::probe(&bucket.store, true).await.unwrap();
    let by_probe = creates() - before;
    // Each time the write, and three looks at it.
    let limit = VOID_NAMES_MAX / 2 + 2;
    damage(&bucket, Fault::Damaged, &(0..limit).map(|n| n * 4).collect::<Vec<_>>());
    let answer = handle.create_topics(vec![topic("u", 1)], false).await;
    let Err(MetaError::Unreadable(LogLost::Unreadable(last))) = answer else { panic!("{answer:?}") };
    let burnt = (last.0 + 1 - first.0) as usize;
    assert_eq!(burnt, limit);
    drop(handle);
    // The operator's claim burns as many as there is room for.
    let by_operator = VOID_NAMES_MAX - 2 - burnt;
    damage(&bucket, Fault::Damaged, &(0..by_operator).map(|n| by_probe + n * 4).collect::<Vec<_>>());
    assert_eq!(give_up(&bucket).await.unwrap().len(), burnt);
    let image = from_bucket(&bucket).await;
    assert_eq!(image.next_sequence.0, first.0 + (burnt + by_operator) as u64 + 1);
    assert!(image.topic("t").is_some());
    serve(&bucket.store, options(1)).await;
}
