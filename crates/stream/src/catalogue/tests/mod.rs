//! The rules of the catalogue, each with a test that fails without it. Rules that a model shows to be load-bearing bear
//! the model's name.

mod commit;
mod life;
mod random;

use std::time::Duration;

use base::{BrokerEpoch, BrokerId, Incarnation, Offset, OffsetRange, StreamEpoch, StreamId, TimestampMs, WalPosition};
use wire::meta::{
    BrokerRecord, IncarnationRecord, ObjectRetiredRecord, RemoveStreamRecord, StreamTrimRecord, UnregisterBrokerRecord,
};

use super::*;

const NOW: TimestampMs = TimestampMs(1_000);

fn broker(id: i32, epoch: i64) -> Incarnation {
    Incarnation { broker: BrokerId(id), epoch: BrokerEpoch(epoch) }
}

fn take<T>(catalogue: &mut Catalogue, decision: Decision<T>) -> T {
    for record in &decision.records {
        catalogue.apply(record).unwrap();
    }
    decision.response
}

fn register(catalogue: &mut Catalogue, id: Incarnation) {
    let record = BrokerRecord { broker_id: id.broker.0, broker_epoch: id.epoch.0, ..Default::default() };
    catalogue.apply(&record.into()).unwrap();
}

fn wal() -> WalPlace {
    WalPlace { kind: 0, location: "/wal".into() }
}

/// A registered broker with an open WAL.
fn serving(id: Incarnation) -> Catalogue {
    let mut catalogue = Catalogue::new();
    register(&mut catalogue, id);
    let decision = catalogue.open_incarnation(id, wal());
    take(&mut catalogue, decision).unwrap();
    catalogue
}

fn streams(catalogue: &mut Catalogue, count: usize, owner: Incarnation) -> Vec<StreamId> {
    let decision = catalogue.create_streams(count, owner);
    take(catalogue, decision)
}

fn range(stream: StreamId, epoch: i32, start: u64, end: u64) -> NewRange {
    NewRange {
        stream,
        epoch: StreamEpoch(epoch),
        range: OffsetRange::new(Offset(start), Offset(end)),
        max_timestamp: TimestampMs(5),
        bytes: (end - start) * 10,
    }
}

fn object(sequence: u64, ranges: Vec<NewRange>) -> NewObject {
    NewObject { sequence, kind: ObjectKind::StreamSet, length: 100, crc: 7, ranges, checkpoints: Vec::new() }
}

fn request(writer: Incarnation, commit_sequence: u64, objects: Vec<NewObject>) -> CommitRequest {
    CommitRequest {
        writer,
        commit_sequence,
        log: writer,
        wal_position: WalPosition(commit_sequence * 100),
        covers: Vec::new(),
        upload_floor: 0,
        objects,
    }
}

fn commit(catalogue: &mut Catalogue, request: &CommitRequest) -> Result<Committed, CommitRejection> {
    let decision = catalogue.commit(request, NOW);
    take(catalogue, decision)
}

/// One object with one range, which must be taken.
fn grow(catalogue: &mut Catalogue, writer: Incarnation, stream: StreamId, start: u64, end: u64) -> ObjectId {
    let sequence = catalogue.writer(writer.broker).unwrap().next_commit;
    let epoch = catalogue.stream(stream).unwrap().epoch.0;
    let request = request(writer, sequence, vec![object(sequence, vec![range(stream, epoch, start, end)])]);
    commit(catalogue, &request).unwrap();
    ObjectId { writer, sequence }
}

/// What must hold after every batch.
fn check(catalogue: &Catalogue) {
    let mut uses: std::collections::BTreeMap<ObjectId, u32> = std::collections::BTreeMap::new();
    for (id, state) in catalogue.streams() {
        let mut at = None;
        for extent in state.extents() {
            assert!(at.is_none_or(|at| at == extent.range.start), "stream {id} has a hole");
            assert!(extent.range.end > state.start, "stream {id} keeps a dead extent");
            at = Some(extent.range.end);
            *uses.entry(extent.object).or_default() += 1;
        }
        assert!(at.is_none_or(|at| at == state.end), "stream {id} ends elsewhere than its extents");
        if let Some(checkpoint) = state.checkpoint {
            *uses.entry(checkpoint.object).or_default() += 1;
        }
    }
    for (id, object) in catalogue.objects() {
        assert_eq!(uses.get(&id).copied(), Some(object.live), "object {id}");
        assert!(catalogue.pending.get(&id).is_none());
    }
    assert_eq!(uses.len(), catalogue.object_count(), "an extent names an object that is gone");
    assert!(catalogue.unreferenced.is_empty(), "an object without use was not retired");
    let bytes = snapshot::encode(catalogue);
    let mut rest = &bytes[..];
    assert_eq!(&snapshot::decode(&mut rest).unwrap(), catalogue);
    assert!(rest.is_empty());
}

/// Something of everything: brokers, logs in each phase, objects in use and retired, streams in several epochs.
fn filled() -> Catalogue {
    let (one, two) = (broker(1, 3), broker(2, 4));
    let mut catalogue = serving(one);
    register(&mut catalogue, two);
    let decision = catalogue.open_incarnation(two, WalPlace { kind: 1, location: "/dev/wal".into() });
    take(&mut catalogue, decision).unwrap();
    let ids = streams(&mut catalogue, 3, one);
    let mut first = object(0, vec![range(ids[0], 0, 0, 10), range(ids[1], 0, 0, 5)]);
    first.checkpoints.push(NewCheckpoint { stream: ids[0], epoch: StreamEpoch(0), offset: Offset(10) });
    commit(&mut catalogue, &request(one, 0, vec![first])).unwrap();
    commit(&mut catalogue, &request(one, 1, vec![object(1, vec![range(ids[1], 0, 5, 9)])])).unwrap();
    for (id, state) in [(5, 1), (6, 2), (7, 3), (8, 4), (9, 5)] {
        let record = IncarnationRecord {
            broker_id: 1,
            broker_epoch: id,
            wal_location: "/old".into(),
            state,
            committed_position: 7,
            taker_id: 2,
            taker_epoch: 4,
            final_position: 8,
            reason: Some("why".into()),
            ..Default::default()
        };
        catalogue.apply(&record.into()).unwrap();
    }
    let trims = [(ids[1], 6), (ids[0], 3)].map(|(stream, start)| StreamTrimRecord {
        stream_id: stream.0.cast_signed(),
        start,
        ..Default::default()
    });
    for trim in trims {
        catalogue.apply(&trim.into()).unwrap();
    }
    let dead = RemoveStreamRecord { stream_id: ids[1].0.cast_signed(), ..Default::default() };
    catalogue.apply(&dead.into()).unwrap();
    let retired =
        ObjectRetiredRecord { writer_id: 1, writer_epoch: 3, sequence: 1, retired_ms: 77, ..Default::default() };
    catalogue.apply(&retired.into()).unwrap();
    catalogue
}

#[test]
fn a_snapshot_has_the_bytes_it_always_had() {
    let filled = filled();
    let bytes = snapshot::encode(&filled);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, include_str!("golden/catalogue.hex").trim_end());
    assert_eq!(snapshot::decode(&mut &bytes[..]).unwrap(), filled);
}

#[test]
fn a_snapshot_cut_anywhere_is_an_error_and_never_a_smaller_catalogue() {
    let me = broker(1, 1);
    let mut catalogue = serving(me);
    let stream = streams(&mut catalogue, 1, me)[0];
    grow(&mut catalogue, me, stream, 0, 10);
    let bytes = snapshot::encode(&catalogue);
    for length in 0..bytes.len() {
        assert!(snapshot::decode(&mut &bytes[..length]).is_err(), "cut at {length}");
    }
}

#[test]
fn due_objects_are_those_whose_grace_is_over() {
    let me = broker(1, 1);
    let mut catalogue = serving(me);
    let stream = streams(&mut catalogue, 1, me)[0];
    let gone = grow(&mut catalogue, me, stream, 0, 10);
    let trim = catalogue
        .trim(&[TrimRequest { stream, epoch: StreamEpoch(0), start: Offset(10), state: StateBelow::NotKept }], NOW);
    assert_eq!(take(&mut catalogue, trim), vec![Ok(())]);
    assert!(catalogue.object(gone).is_none());
    let grace = Duration::from_secs(600);
    assert!(catalogue.due_for_deletion(TimestampMs(600_999), grace, None, 10).is_empty());
    assert_eq!(catalogue.due_for_deletion(TimestampMs(601_000), grace, None, 10), vec![gone]);
    assert!(catalogue.due_for_deletion(TimestampMs(601_000), grace, Some(gone), 10).is_empty());
    let removed = catalogue.objects_removed(&[gone, gone]);
    take(&mut catalogue, Decision { records: removed.records[..1].to_vec(), response: () });
    assert!(catalogue.objects_removed(&[gone]).records.is_empty());
    assert_eq!(catalogue.pending_deletions().count(), 0);
}
