//! Golden bytes: what stands in buckets must be readable for ever.

use std::fmt::Write;

use wire::meta::{ControllerRecord, NoOpRecord, TopicRecord};

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
