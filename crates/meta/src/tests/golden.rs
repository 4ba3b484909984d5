//! Golden bytes: what stands in buckets must be readable for ever.

use std::fmt::Write;

use wire::meta::{
    BrokerEndpoint, BrokerRecord, BrokerStateRecord, ClusterRecord, CommitRecord, CommittedCheckpoint, CommittedObject,
    CommittedRange, ConfigRecord, ControllerRecord, FeatureRecord, IncarnationRecord, MetadataRecord, NoOpRecord,
    ObjectRemovedRecord, ObjectRetiredRecord, PartitionRecord, ProducerIdsRecord, RemoveIncarnationRecord,
    RemoveStreamRecord, RemoveTopicRecord, RetiredInput, StreamClosedRecord, StreamOpenedRecord, StreamRecord,
    StreamTrimRecord, TopicRecord, UnregisterBrokerRecord, VoidEntryRecord,
};
use wire::registry::{Kind, MESSAGES};

use super::*;
use crate::format::{decode_entry, decode_snapshot, encode_floor};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    })
}

fn header(kind: EntryKind) -> Header {
    Header { kind, sequence: MetaSequence(9), epoch: base::ControllerEpoch(3), nonce: Uuid::from_u128(0xabcd) }
}

fn claim() -> Bytes {
    let record = ControllerRecord {
        controller_epoch: 3,
        broker_id: 1,
        broker_epoch: -1,
        address: "h:1".into(),
        nonce: Uuid::from_u128(0xabcd),
        ..Default::default()
    };
    encode_entry(&header(EntryKind::Claim), &EncodedRecords::of(&[record.into()]).unwrap())
}

fn batch() -> Bytes {
    let topic = TopicRecord { topic_id: Uuid::from_u128(7), name: "t".into(), ..Default::default() };
    let records = [topic.into(), NoOpRecord::default().into()];
    encode_entry(&header(EntryKind::Batch), &EncodedRecords::of(&records).unwrap())
}

#[test]
fn entries_and_markers_have_the_bytes_they_always_had() {
    assert_eq!(hex(&claim()), CLAIM);
    assert_eq!(hex(&batch()), BATCH);
    assert_eq!(hex(&encode_floor(2, MetaSequence(4000))), FLOOR);
    let image = Image { next_sequence: MetaSequence(10), ..Image::default() };
    let (_, snapshot) = image.to_snapshot().unwrap();
    assert_eq!(hex(&snapshot.unwrap()), SNAPSHOT);
}

/// A record of every kind, with a value of its own in every field.
fn one_of_each() -> Vec<MetadataRecord> {
    let endpoint = BrokerEndpoint {
        name: "PLAINTEXT".into(),
        host: "h".into(),
        port: 9092,
        security_protocol: 1,
        ..Default::default()
    };
    let object = CommittedObject {
        sequence: 27,
        kind: 1,
        length: 28,
        crc: 29,
        ranges: vec![CommittedRange {
            stream_id: 30,
            stream_epoch: 31,
            start: 32,
            end: 33,
            max_timestamp: 34,
            bytes: 35,
            ..Default::default()
        }],
        checkpoints: vec![CommittedCheckpoint { stream_id: 36, stream_epoch: 37, offset: 38, ..Default::default() }],
        ..Default::default()
    };
    let commit = CommitRecord {
        writer_id: 20,
        writer_epoch: 21,
        commit_sequence: 22,
        log_id: 23,
        log_epoch: 24,
        wal_position: 25,
        upload_floor: 26,
        objects: vec![object],
        retired: vec![RetiredInput { writer_id: 39, writer_epoch: 40, sequence: 41, ..Default::default() }],
        ..Default::default()
    };
    let broker = BrokerRecord {
        broker_id: 1,
        broker_epoch: 2,
        directory_id: Uuid::from_u128(3),
        rack: Some("rack".into()),
        endpoints: vec![endpoint],
        wal_kind: 4,
        wal_location: "/wal".into(),
        wal_reach: "reach".into(),
        state: 5,
        ..Default::default()
    };
    let controller = ControllerRecord {
        controller_epoch: 1,
        broker_id: 2,
        broker_epoch: 3,
        address: "h:1".into(),
        nonce: Uuid::from_u128(4),
        ..Default::default()
    };
    let config = ConfigRecord {
        resource_type: 2,
        resource_name: "t".into(),
        key: "k".into(),
        value: Some("v".into()),
        ..Default::default()
    };
    let opened = StreamOpenedRecord {
        stream_id: 1,
        stream_epoch: 2,
        owner_broker: 3,
        owner_epoch: 4,
        start: 5,
        ..Default::default()
    };
    let incarnation = IncarnationRecord {
        broker_id: 1,
        broker_epoch: 2,
        wal_kind: 3,
        wal_location: "/wal".into(),
        state: 4,
        committed_position: 5,
        taker_id: 6,
        taker_epoch: 7,
        final_position: 8,
        reason: Some("reason".into()),
        ..Default::default()
    };
    let retired =
        ObjectRetiredRecord { writer_id: 1, writer_epoch: 2, sequence: 3, retired_ms: 4, ..Default::default() };
    vec![
        NoOpRecord::default().into(),
        ClusterRecord { cluster_id: "cluster".into(), created_ms: 1, ..Default::default() }.into(),
        FeatureRecord { name: "feature".into(), level: 1, ..Default::default() }.into(),
        controller.into(),
        VoidEntryRecord { sequence: 1, crc: 2, ..Default::default() }.into(),
        broker.into(),
        BrokerStateRecord { broker_id: 1, broker_epoch: 2, state: 3, ..Default::default() }.into(),
        UnregisterBrokerRecord { broker_id: 1, broker_epoch: 2, ..Default::default() }.into(),
        TopicRecord { topic_id: Uuid::from_u128(1), name: "t".into(), ..Default::default() }.into(),
        RemoveTopicRecord { topic_id: Uuid::from_u128(1), ..Default::default() }.into(),
        PartitionRecord { topic_id: Uuid::from_u128(1), partition: 2, stream_id: 3, ..Default::default() }.into(),
        config.into(),
        ProducerIdsRecord { broker_id: 1, broker_epoch: 2, next_producer_id: 3, ..Default::default() }.into(),
        StreamRecord { stream_id: 1, ..Default::default() }.into(),
        opened.into(),
        StreamClosedRecord { stream_id: 1, stream_epoch: 2, ..Default::default() }.into(),
        StreamTrimRecord { stream_id: 1, start: 2, ..Default::default() }.into(),
        RemoveStreamRecord { stream_id: 1, ..Default::default() }.into(),
        incarnation.into(),
        RemoveIncarnationRecord { broker_id: 1, broker_epoch: 2, ..Default::default() }.into(),
        commit.into(),
        retired.into(),
        ObjectRemovedRecord { writer_id: 1, writer_epoch: 2, sequence: 3, ..Default::default() }.into(),
    ]
}

#[test]
fn records_of_every_kind_have_the_bytes_they_always_had() {
    let mut text = String::new();
    for record in one_of_each() {
        let bytes = EncodedRecords::of(std::slice::from_ref(&record)).unwrap().bytes;
        writeln!(text, "{} {}", record.name(), hex(&bytes)).unwrap();
        let mut reader = wire::Reader::new(bytes.into());
        assert_eq!(MetadataRecord::decode(&mut reader).unwrap(), record);
        assert_eq!(reader.remaining(), 0);
    }
    assert_eq!(text, include_str!("golden/records.hex"));
    let kinds = MESSAGES.iter().filter(|entry| matches!(entry.kind, Kind::Metadata(_)));
    let missing: Vec<_> = kinds.map(|entry| entry.name).filter(|name| !text.contains(&format!("{name} "))).collect();
    assert!(missing.is_empty(), "no golden bytes of {missing:?}");
}

#[test]
fn any_flipped_or_missing_byte_is_found() {
    let good = batch();
    assert_eq!(decode_entry(&good, MetaSequence(9)).unwrap().1.len(), 2);
    assert!(decode_entry(&good, MetaSequence(8)).is_err(), "under another name");
    assert!(decode_snapshot(&good, MetaSequence(9)).is_err(), "an entry is no snapshot");
    for at in 0..good.len() {
        let mut bad = good.to_vec();
        bad[at] ^= 0x10;
        assert!(decode_entry(&bad.into(), MetaSequence(9)).is_err(), "byte {at}");
        assert!(decode_entry(&good.slice(..at), MetaSequence(9)).is_err(), "cut at {at}");
    }
}

const CLAIM: &str = "48574d4c00010000000000000000000900000000000000030000000000000000000000000000abcd000000010000002bbf79b6a00400000000000000000300000001ffffffffffffffff04683a310000000000000000000000000000abcd00";
const BATCH: &str = "48574d4c00010100000000000000000900000000000000030000000000000000000000000000abcd00000002000000188bc83b95140000000000000000000000000000000007027400010000";
const FLOOR: &str = "48574d460001000000000000000000020000000000000fa00000000032278708";
const SNAPSHOT: &str = "48574d53000100000000000000000009000000000000000000000000000000000000000000000000000000010000001787a071e91f00ffffffffffffffffffffffff00000000000000000000000000000100000000000000000000000000000000000000000000000000000000";
