//! Records of a newer release: carried through loads and snapshots.

use wire::RawTaggedField;
use wire::records::group_metadata_value::MemberMetadata;
use wire::records::{GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue};
use wire::records::{encode_key, encode_versioned};

use super::*;

fn sorted_snapshot(fixture: &Fixture) -> Vec<Record> {
    let mut records = snapshot(&fixture.groups, usize::MAX);
    assert_eq!(snapshot(&fixture.groups, 2), records, "in pieces");
    records.sort_by(|a, b| a.key.cmp(&b.key));
    records
}

fn tag(data: &'static [u8]) -> Vec<RawTaggedField> {
    vec![RawTaggedField { tag: 77, data: Bytes::from_static(data) }]
}

/// Kinds that exist in Kafka and not here, one that exists nowhere, and known kinds with more to say.
fn written_by_a_newer_release() -> Vec<Record> {
    let record = |key: Bytes, value: Bytes| Record { key, value: Some(value) };
    let offset = OffsetCommitValue {
        offset: 5,
        leader_epoch: 1,
        metadata: "m".into(),
        commit_timestamp: 7,
        topic_id: FIRST_ID,
        unknown_tagged_fields: tag(b"of an offset"),
        ..Default::default()
    };
    let member = MemberMetadata {
        member_id: "a-1".into(),
        client_id: "a".into(),
        client_host: "/::1".into(),
        rebalance_timeout: 60_000,
        session_timeout: 45_000,
        unknown_tagged_fields: tag(b"of a member"),
        ..Default::default()
    };
    let group = GroupMetadataValue {
        protocol_type: "consumer".into(),
        generation: 5,
        protocol: Some("range".into()),
        leader: Some("a-1".into()),
        current_state_timestamp: 9,
        members: vec![member],
        unknown_tagged_fields: tag(b"of a group"),
    };
    let key = OffsetCommitKey { group: "group".into(), topic: "topic".into(), partition: 0 };
    vec![
        record(encode_key(&key).unwrap(), encode_versioned(&offset, 4).unwrap()),
        record(encode_key(&GroupMetadataKey { group: "group".into() }).unwrap(), encode_versioned(&group, 4).unwrap()),
        record(Bytes::from_static(b"\0\x03\0\x01g"), Bytes::from_static(b"\0\0a consumer group")),
        record(Bytes::from_static(b"\x12\x34what is this?"), Bytes::from_static(b"nobody knows")),
    ]
}

#[test]
fn a_snapshot_carries_what_a_newer_release_wrote() {
    let mut fixture = Fixture::new();
    let written = written_by_a_newer_release();
    fixture.log.extend(written.clone());
    fixture.restart();
    assert_eq!(sorted_snapshot(&fixture), written);
    assert_eq!(fixture.groups.snapshot_records(), 4);
    // From the snapshot alone, as after a trim.
    fixture.log = sorted_snapshot(&fixture);
    fixture.restart();
    assert_eq!(sorted_snapshot(&fixture), written);
}

#[test]
fn a_carried_record_ends_with_its_tombstone_and_the_newest_counts() {
    let mut fixture = Fixture::new();
    let key = Bytes::from_static(b"\x12\x34key");
    for value in [Some("first"), Some("second"), None, None, Some("third")] {
        let value = value.map(|text| Bytes::from_static(text.as_bytes()));
        fixture.log.push(Record { key: key.clone(), value: value.clone() });
        fixture.restart();
        let expected: Vec<Record> =
            value.into_iter().map(|value| Record { key: key.clone(), value: Some(value) }).collect();
        assert_eq!(sorted_snapshot(&fixture), expected);
        assert_eq!(fixture.groups.snapshot_records(), expected.len() as u64);
    }
}
