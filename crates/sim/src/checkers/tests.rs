//! Each checker sees what it is for, and lets pass what is right: forged entries, effects, answers.

use std::path::Path;

use base::{
    BrokerEpoch, BrokerId, ControllerEpoch, Incarnation, MetaSequence, ObjectId, Offset, OffsetRange, StreamId,
    TimestampMs, Uuid, WalPosition,
};
use blob::Operation;
use bytes::Bytes;
use judge::Value;
use meta::format::{EntryKind, Header};
use meta::names::{FLOORS, SNAPSHOTS};
use stream::catalogue::{CommitRequest, DELETION_GRACE, Decision, NewObject, NewRange, ObjectKind, WalPlace};
use stream::wal::block::layout::{FENCE_OFFSET, PAGE, Stamp, TrimPage};
use wire::meta::BrokerRecord;

use super::tap::Listens;
use super::*;
use crate::client::value;
use crate::dice::Dice;
use crate::errands::Errands;
use crate::faults::Faults;

const ME: Incarnation = Incarnation { broker: BrokerId(1), epoch: BrokerEpoch(7) };
const SECOND: Duration = Duration::from_secs(1);

/// What checkers found, and a store for them to look at.
struct Forged {
    findings: Findings,
    store: ObjectStore,
    clocks: Clocks,
    by: Process,
}

impl Forged {
    fn new() -> Self {
        let trace = Trace::new(None);
        let store = ObjectStore::new(Dice::new(1), Faults::default(), trace.clone(), Errands::default());
        let by = Process::new("one-1", 1);
        let clocks = Clocks::default();
        clocks.lock().insert(by.name().to_owned(), trace.clock().clone());
        Self { findings: Findings::new(&trace), store, clocks, by }
    }

    /// How much that checker has found, which is forgotten then; others have found nothing.
    fn found(&self, checker: &str) -> usize {
        let found = std::mem::take(&mut *self.findings.found.lock());
        let others: Vec<_> = found.iter().filter(|finding| finding.checker != checker).collect();
        assert!(others.is_empty(), "{others:?}");
        found.len()
    }

    fn entry(&self, follower: &dyn FollowsMetadata, before: &Image, after: &Image) {
        let header =
            Header { kind: EntryKind::Batch, sequence: MetaSequence(9), epoch: ControllerEpoch(1), nonce: Uuid::nil() };
        follower.entry(&Entry { process: &self.by, header: &header, before, after });
    }

    fn effect(&self, follower: &dyn FollowsMetadata, operation: Operation, key: &str, image: &Image) {
        let body = Bytes::from_static(b"forged");
        let (before, after) = match operation {
            Operation::Delete => (Some(&body), None),
            _ => (None, Some(&body)),
        };
        follower.effect(&Effect { process: &self.by, operation, key, before, after }, image);
    }
}

fn apply<T>(image: &mut Image, decided: Decision<T>) -> T {
    for record in &decided.records {
        image.apply(record).unwrap();
    }
    decided.response
}

/// An image of one registration with an open log and a stream.
fn image() -> (Image, StreamId) {
    let mut image = Image::default();
    let registered = BrokerRecord { broker_id: 1, broker_epoch: ME.epoch.0, ..Default::default() };
    image.apply(&registered.into()).unwrap();
    let wal = WalPlace { kind: 0, location: "/one/wal".into() };
    let opened = image.catalogue.open_incarnation(ME, wal);
    apply(&mut image, opened).unwrap();
    let created = image.catalogue.create_streams(1, ME);
    let stream = apply(&mut image, created)[0];
    (image, stream)
}

/// The same image with so many records more in an object.
fn committed(before: &Image, stream: StreamId, records: u64) -> (Image, ObjectId) {
    let mut after = before.clone();
    let (writer, state) = (*before.catalogue.writer(ME.broker).unwrap(), before.catalogue.stream(stream).unwrap());
    let range = NewRange {
        stream,
        epoch: state.epoch,
        range: OffsetRange::new(state.end, Offset(state.end.0 + records)),
        max_timestamp: TimestampMs(0),
        bytes: 10,
    };
    let sequence = writer.upload_floor;
    let request = CommitRequest {
        writer: ME,
        commit_sequence: writer.next_commit,
        log: ME,
        wal_position: WalPosition(1_000 * (writer.next_commit + 1)),
        covers: vec![(stream, range.range)],
        upload_floor: sequence + 1,
        objects: vec![NewObject {
            sequence,
            kind: ObjectKind::StreamSet,
            length: 100,
            crc: 7,
            ranges: vec![range],
            checkpoints: Vec::new(),
        }],
    };
    let decided = after.catalogue.commit(&request, TimestampMs(0));
    apply(&mut after, decided).unwrap();
    (after, ObjectId { writer: ME, sequence })
}

/// A process whose log holds a value, durable a second after the log was made.
struct Logged {
    forged: Forged,
    durable: durable::Durable,
}

impl Logged {
    const HEADER: &str = "/one/wal/incarnation-1-7";
    const SEGMENT: &str = "/one/wal/segment-0";

    async fn new() -> Self {
        let forged = Forged::new();
        let durable = durable::Durable::new(&forged.findings.trace);
        let this = Self { forged, durable };
        this.disk().named(&this.forged.by, Path::new(Self::HEADER));
        tokio::time::sleep(SECOND).await;
        this
    }

    fn disk(&self) -> &dyn crate::disk::Observer {
        &self.durable
    }

    async fn writes(&self, number: u64) {
        tokio::time::sleep(SECOND).await;
        let bytes = value::encode(Value(number), 60);
        self.disk().written(&self.forged.by, Path::new(Self::SEGMENT), 4_096, &bytes);
        tokio::time::sleep(SECOND).await;
    }

    fn looks(&self) {
        self.disk().read(&self.forged.by, Path::new(Self::HEADER), FENCE_OFFSET, self.forged.findings.trace.now());
    }

    /// What two checkers of answers find of an acknowledgement, and of an answer to a fetch.
    fn told(&self, number: u64) -> [usize; 3] {
        let (forged, of) = (&self.forged, || (self.forged.findings.clone(), self.durable.clone()));
        i1::Checker::new(of()).acknowledged(&forged.by, &[Value(number)]);
        let first = forged.found("I-1");
        i3::Checker::new(of()).shown(&forged.by, &value::encode(Value(number), 60).into());
        let third = forged.found("I-3");
        i8::Checker::new(of()).acknowledged(&forged.by, &[Value(number)]);
        [first, third, forged.found("I-8")]
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_durable_and_was_looked_at_since_may_be_told() {
    let log = Logged::new().await;
    assert_eq!(log.told(1), [1, 1, 0], "it is nowhere");
    log.writes(1).await;
    assert_eq!(log.told(1), [1, 1, 0], "nobody has looked at the fence");
    log.looks();
    assert_eq!(log.told(1), [0, 0, 0]);
    log.writes(2).await;
    assert_eq!(log.told(2), [1, 1, 0], "the look was before it");
}

#[tokio::test(start_paused = true)]
async fn what_was_durable_elsewhere_before_may_be_shown_though_it_comes_again() {
    let log = Logged::new().await;
    let bytes = value::encode(Value(1), 60);
    log.disk().written(&Process::new("two-1", 2), Path::new("/two/wal/segment-0"), 4_096, &bytes);
    log.writes(1).await;
    assert_eq!(log.told(1), [1, 0, 0], "only this process's own may be what it acknowledges");
}

#[tokio::test(start_paused = true)]
async fn what_became_durable_behind_a_fence_may_not() {
    let log = Logged::new().await;
    log.disk().written(&Process::new("two-1", 2), Path::new(Logged::HEADER), FENCE_OFFSET, b"fenced");
    tokio::time::sleep(SECOND).await;
    log.writes(1).await;
    log.looks();
    assert_eq!(log.told(1), [1, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn nothing_may_be_told_that_a_failed_log_took_later() {
    let log = Logged::new().await;
    log.writes(1).await;
    log.looks();
    log.disk().write_failed(&log.forged.by, Path::new(Logged::SEGMENT));
    tokio::time::sleep(SECOND).await;
    log.writes(2).await;
    log.looks();
    assert_eq!([log.told(1), log.told(2)], [[0, 0, 0], [0, 0, 1]]);
}

#[tokio::test(start_paused = true)]
async fn nor_what_a_look_at_the_fence_that_failed_was_to_cover() {
    let log = Logged::new().await;
    log.writes(1).await;
    log.looks();
    log.writes(2).await;
    log.disk().read_failed(&log.forged.by, Path::new(Logged::HEADER), FENCE_OFFSET);
    tokio::time::sleep(SECOND).await;
    log.looks();
    assert_eq!([log.told(1), log.told(2)], [[0, 0, 0], [0, 0, 1]], "a later look does not mend it");
}

#[test]
fn the_rules_of_i2_are_rules_of_the_judge() {
    let unknown: Vec<_> = i2::RULES.iter().filter(|rule| !judge::NAMES.contains(rule)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn a_stream_and_a_log_go_on_and_never_back() {
    let (forged, (first, stream)) = (Forged::new(), image());
    let checker = i4::Checker::new(&forged.findings);
    let (second, _) = committed(&first, stream, 10);
    let (third, _) = committed(&second, stream, 5);
    forged.entry(&checker, &Image::default(), &first);
    forged.entry(&checker, &first, &second);
    forged.entry(&checker, &second, &third);
    assert_eq!(forged.found("I-4"), 0);
    forged.entry(&checker, &third, &second);
    assert_eq!(forged.found("I-4"), 2, "the stream's end and the log's");
    let mut adopted = second.clone();
    let decided = adopted.catalogue.drained(ME, WalPosition(1_000));
    apply(&mut adopted, decided).unwrap();
    let other = Incarnation { broker: BrokerId(1), epoch: BrokerEpoch(8) };
    let registered = BrokerRecord { broker_id: 1, broker_epoch: other.epoch.0, ..Default::default() };
    adopted.apply(&registered.into()).unwrap();
    let decided = adopted.catalogue.adopt_orphans(other, 10);
    apply(&mut adopted, decided);
    forged.entry(&checker, &second, &adopted);
    assert_eq!(forged.found("I-4"), 0, "its next owner has a new epoch");
    assert_eq!(adopted.catalogue.stream(stream).unwrap().owner, other);
    forged.entry(&checker, &adopted, &second);
    assert_eq!(forged.found("I-4"), 2, "the stream goes back, and passes on without a new epoch");
}

#[test]
fn a_log_is_trimmed_to_where_it_is_committed() {
    let forged = Forged::new();
    let checker = i4::Trims::new(&forged.findings, |log| (log == ME).then_some(WalPosition(8_192)));
    let writes = |log, trimmed| {
        let stamp = Stamp { incarnation: log, nonce: 1 };
        let page = TrimPage { stamp, sequence: 2, trimmed: WalPosition(trimmed), assigned: 3, left: 0 };
        let pages = [page.encode(), [0; PAGE]].concat();
        crate::disk::Observer::written(&checker, &forged.by, Path::new("/one/wal/header"), 4_096, &pages);
        forged.found("I-4")
    };
    assert_eq!([writes(ME, 0), writes(ME, 8_192), writes(ME, 8_193)], [0, 0, 1]);
    let other = Incarnation { broker: BrokerId(1), epoch: BrokerEpoch(8) };
    assert_eq!(writes(other, 8_193), 0, "metadata does not know it any more");
}

#[test]
fn an_object_is_there_before_it_is_named_and_goes_after_its_grace() {
    let (forged, (first, stream)) = (Forged::new(), image());
    let checker = i5::Checker::new(&forged.findings, &forged.store, &forged.clocks);
    let (second, object) = committed(&first, stream, 10);
    forged.entry(&checker, &first, &second);
    assert_eq!(forged.found("I-5"), 1, "it is not in the store");
    forged.effect(&checker, Operation::Delete, &object.key(), &second);
    assert_eq!(forged.found("I-5"), 2, "it is named, and was never retired");
    let (key, before, after) = (object.key(), Bytes::from_static(b"one"), Bytes::from_static(b"other"));
    let (before, after) = (Some(&before), Some(&after));
    checker.effect(&Effect { process: &forged.by, operation: Operation::Put, key: &key, before, after }, &second);
    assert_eq!(forged.found("I-5"), 1, "other bytes are written over it");
    let retired = |at: i64| {
        let mut image = second.clone();
        let decided = image.catalogue.delete_streams(&[stream]);
        apply(&mut image, decided);
        let decided = image.catalogue.retire(TimestampMs(at));
        apply(&mut image, decided);
        assert_eq!(image.catalogue.pending_deletions().count(), 1);
        image
    };
    forged.effect(&checker, Operation::Delete, &object.key(), &retired(0));
    assert_eq!(forged.found("I-5"), 1, "its grace is not over");
    let long_ago = -(DELETION_GRACE.as_millis() as i64) - 1;
    forged.effect(&checker, Operation::Delete, &object.key(), &retired(long_ago));
    assert_eq!(forged.found("I-5"), 0);
}

#[test]
fn an_object_that_nobody_named_goes_when_no_commit_can_name_it() {
    let (forged, (first, stream)) = (Forged::new(), image());
    let checker = i5::Checker::new(&forged.findings, &forged.store, &forged.clocks);
    let (second, _) = committed(&first, stream, 10);
    let of = |epoch, sequence| {
        let writer = Incarnation { broker: BrokerId(1), epoch: BrokerEpoch(epoch) };
        let key = ObjectId { writer, sequence }.key();
        forged.effect(&checker, Operation::Delete, &key, &second);
        forged.found("I-5")
    };
    assert_eq!([of(7, 0), of(6, 50)], [0, 0], "below the floor, and of a registration that has ended");
    assert_eq!([of(7, 1), of(8, 0)], [1, 1], "above the floor, and of one that is to come");
}

#[test]
fn entries_go_behind_a_snapshot_and_a_marker_and_markers_stay() {
    let forged = Forged::new();
    let checker = i7::Checker::new(&forged.findings, &forged.store);
    let (image, marker, entry) = (Image::default(), format!("{FLOORS}{:020}", 0), format!("meta/log/{:020}", 5));
    forged.effect(&checker, Operation::Create, &marker, &image);
    assert_eq!(forged.found("I-7"), 1, "no snapshot covers the range");
    forged.effect(&checker, Operation::Delete, &entry, &image);
    assert_eq!(forged.found("I-7"), 2, "nor is there a marker");
    forged.store.hold(&format!("{SNAPSHOTS}{:020}", 1_100), Bytes::new());
    forged.effect(&checker, Operation::Create, &marker, &image);
    forged.store.hold(&marker, Bytes::new());
    forged.effect(&checker, Operation::Delete, &entry, &image);
    assert_eq!(forged.found("I-7"), 0);
    forged.effect(&checker, Operation::Delete, &marker, &image);
    forged.effect(&checker, Operation::Put, &entry, &image);
    assert_eq!(forged.found("I-7"), 2);
    assert!(i7::is_cut(&forged.store, &entry) && !i7::is_cut(&forged.store, &format!("meta/log/{:020}", 1_024)));
}

#[test]
fn what_is_shown_has_the_checksum_of_its_producer() {
    let forged = Forged::new();
    let checker = i9::Checker::new(&forged.findings);
    let batch = |value: &[u8], base_offset| -> Bytes {
        let mut builder = records::BatchBuilder::new(records::Compression::None).base_offset(base_offset);
        builder.append(0, None, Some(value), &[]).unwrap();
        builder.build().unwrap()
    };
    let shown = |records: &Bytes| {
        checker.shown(&forged.by, records);
        forged.found("I-9")
    };
    assert_eq!(shown(&batch(b"value", 0)), 1, "nobody has sent it");
    checker.sent(&batch(b"value", 0));
    assert_eq!(shown(&batch(b"value", 0)), 0);
    assert_eq!(shown(&batch(b"value", 7)), 0, "the log gives it its offset");
    assert_eq!(shown(&batch(b"other", 7)), 1, "it is whole, and another");
    let mut damaged = batch(b"value", 0).to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(shown(&damaged.into()), 1);
}

#[test]
fn a_snapshot_and_an_entry_that_cannot_be_read_are_found() {
    let forged = Forged::new();
    let checker = snapshots::Checker::new(&forged.findings);
    forged.effect(&checker, Operation::Put, &format!("{SNAPSHOTS}{:020}", 3), &Image::default());
    assert_eq!(forged.found("snapshots"), 1);
    let view = View::new(&forged.findings, Vec::new());
    let (key, body) = (format!("meta/log/{:020}", 0), Bytes::from_static(b"forged"));
    let effect =
        Effect { process: &forged.by, operation: Operation::Create, key: &key, before: None, after: Some(&body) };
    view.effect(&effect);
    assert_eq!(forged.found("metadata"), 1);
}
