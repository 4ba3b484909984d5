//! The group machine's records, in the layouts of Kafka's `__consumer_offsets`.
//!
//! | Record | Key | Value version written |
//! |---|---|---|
//! | a committed offset | `OffsetCommitKey` (type 1; type 0 is read too) | 4 |
//! | a group's generation | `GroupMetadataKey` (type 2) | 3 |
//!
//! These are the versions that Kafka 4.4 writes, but for an offset with an expiry time of its own, for which it writes
//! version 1. That has no place for the topic's id: the offset would go with an earlier topic of the name that is being
//! deleted, though it was acknowledged, or be taken over by a later one. So its value is of version 4, too, with a tagged
//! field of ours (Kafka passes over it, and lets the offset expire as all others):
//!
//! | Tag | Content |
//! |---|---|
//! | 18519 (0x4857, "HW") | when the offset expires: 8 bytes, milliseconds since 1970, big-endian |
//!
//! A group's generation with tagged fields that this release does not know is written in version 4, which has them (KIP-915).
//!
//! A null value says that there is no such offset or group any more. Records of other kinds, those of Kafka's newer group
//! types and of newer releases, are carried as they are.

use bytes::Bytes;
use wire::records::{
    GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue, RecordKey, decode_key, decode_versioned,
    encode_key, encode_versioned, record_type,
};
use wire::{DecodeError, EncodeError, RawTaggedField, Str};

use super::stored::CommittedOffset;
use crate::runtime::{Record, ReplayError};

/// `OffsetCommitKey` before Kafka 0.9; the layout is the same.
const LEGACY_OFFSET_COMMIT: i16 = 0;
const OFFSET_COMMIT: i16 = OffsetCommitKey::RECORD_TYPE;
const GROUP_METADATA: i16 = GroupMetadataKey::RECORD_TYPE;

/// Value version with a leader epoch and the topic's id.
const OFFSET_VALUE_VERSION: i16 = 4;
/// The tagged field of an offset's value that says when it expires. Far above what Kafka will ever use.
const EXPIRES_TAG: u32 = 18_519;
const GROUP_VALUE_VERSION: i16 = 3;
/// The value version with tagged fields.
const TAGGED_GROUP_VALUE_VERSION: i16 = 4;

/// What a record says.
#[derive(Clone, Debug, PartialEq)]
pub enum GroupRecord {
    /// An offset was committed, or is gone.
    Offset {
        /// By which group.
        group: Str,
        /// Of which topic.
        topic: Str,
        /// Of which partition.
        partition: i32,
        /// `None`: gone.
        value: Option<CommittedOffset>,
    },
    /// A group has a new generation, or is gone.
    Group {
        /// The group.
        group: Str,
        /// `None`: gone.
        value: Option<GroupMetadataValue>,
    },
    /// Of a kind that this release does not know.
    Other,
}

/// Text of its own memory: what is decoded shares the buffer that it came in.
pub(super) fn owned(text: &Str) -> Str {
    Str::from(text.as_str())
}

/// Bytes of their own memory.
pub(super) fn owned_bytes(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn refused(kind: &'static str, error: &DecodeError) -> ReplayError {
    let why = error.to_string();
    match error {
        DecodeError::UnsupportedVersion { .. } => ReplayError::Newer { kind, why },
        DecodeError::UnexpectedEnd { .. }
        | DecodeError::LengthTooLarge { .. }
        | DecodeError::TooMuchMemory { .. }
        | DecodeError::UnexpectedNull { .. }
        | DecodeError::InvalidUtf8 { .. }
        | DecodeError::VarintTooLong
        | DecodeError::TaggedFieldSize { .. }
        | DecodeError::UnknownRecordType { .. } => ReplayError::Malformed { kind, why },
    }
}

/// Reads a record.
pub fn decode(record: &Record) -> Result<GroupRecord, ReplayError> {
    let kind = record_type(&record.key).map_err(|error| refused("an unknown kind", &error))?;
    match kind {
        LEGACY_OFFSET_COMMIT | OFFSET_COMMIT => {
            let refused = |error| refused("a committed offset", &error);
            let key = decode_offset_key(record, kind).map_err(refused)?;
            let value = record.value.clone().map(decode_versioned::<OffsetCommitValue>).transpose().map_err(refused)?;
            Ok(GroupRecord::Offset {
                group: key.group,
                topic: key.topic,
                partition: key.partition,
                value: value.map(|value| CommittedOffset::from_value(&value)),
            })
        }
        GROUP_METADATA => {
            let refused = |error| refused("group metadata", &error);
            let key: GroupMetadataKey = decode_key(record.key.clone()).map_err(refused)?;
            let value = record.value.clone().map(decode_versioned).transpose().map_err(refused)?;
            Ok(GroupRecord::Group { group: key.group, value })
        }
        _ => Ok(GroupRecord::Other),
    }
}

fn decode_offset_key(record: &Record, kind: i16) -> Result<OffsetCommitKey, DecodeError> {
    if kind == OFFSET_COMMIT {
        return decode_key(record.key.clone());
    }
    let key: wire::records::LegacyOffsetCommitKey = decode_key(record.key.clone())?;
    Ok(OffsetCommitKey { group: key.group, topic: key.topic, partition: key.partition })
}

/// The record of a committed offset, or of its end.
pub fn offset(
    group: &Str,
    topic: &Str,
    partition: i32,
    value: Option<&CommittedOffset>,
) -> Result<Record, EncodeError> {
    let key = OffsetCommitKey { group: group.clone(), topic: topic.clone(), partition };
    let value = value.map(|offset| encode_versioned(&offset.to_value(), OFFSET_VALUE_VERSION));
    Ok(Record { key: encode_key(&key)?, value: value.transpose()? })
}

/// Adds when an offset expires to the tagged fields of its value, which stay in order.
pub(super) fn put_expiry(fields: &mut Vec<RawTaggedField>, expires: i64) {
    let at = fields.partition_point(|field| field.tag < EXPIRES_TAG);
    fields.insert(at, RawTaggedField { tag: EXPIRES_TAG, data: Bytes::copy_from_slice(&expires.to_be_bytes()) });
}

/// Takes it out again, if it is there.
pub(super) fn take_expiry(fields: &mut Vec<RawTaggedField>) -> Option<i64> {
    let at = fields.iter().position(|field| field.tag == EXPIRES_TAG)?;
    let expires = i64::from_be_bytes(fields[at].data[..].try_into().ok()?);
    fields.remove(at);
    Some(expires)
}

/// The record of a group's generation, or of its end.
pub fn group(group: &Str, value: Option<&GroupMetadataValue>) -> Result<Record, EncodeError> {
    let key = GroupMetadataKey { group: group.clone() };
    let value = value.map(|value| {
        let tagged = !value.unknown_tagged_fields.is_empty()
            || value.members.iter().any(|member| !member.unknown_tagged_fields.is_empty());
        encode_versioned(value, if tagged { TAGGED_GROUP_VALUE_VERSION } else { GROUP_VALUE_VERSION })
    });
    let value = value.transpose()?;
    Ok(Record { key: encode_key(&key)?, value })
}

#[cfg(test)]
mod tests {
    use base::Uuid;
    use wire::records::group_metadata_value::MemberMetadata;

    use super::*;

    /// What Kafka's own classes write: see the folder's README.
    const KAFKA: &str = include_str!("../../tests/golden/kafka-4.4.0.txt");

    fn from_hex(hex: &str) -> Bytes {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    /// What we write otherwise, in the same form.
    const HEADWATER: &str = include_str!("../../tests/golden/headwater.txt");
    /// The name of an offset with an expiry time of its own.
    const EXPIRING: &str = "expiring-offset";

    /// A record that Kafka wrote, by its name in the file.
    fn kafka(name: &str) -> Record {
        golden(KAFKA, name)
    }

    fn golden(file: &str, name: &str) -> Record {
        let mut fields = file.lines().map(|line| line.split(' ')).find(|fields| fields.clone().next() == Some(name));
        let mut field = || fields.as_mut().and_then(Iterator::next).expect("the file has the record");
        let (_, key, value) = (field(), field(), field());
        Record { key: from_hex(key), value: (value != "-").then(|| from_hex(value)) }
    }

    #[test]
    fn records_have_kafkas_bytes() {
        let topic_id = Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
        let of = |value: Option<CommittedOffset>| GroupRecord::Offset {
            group: "g".into(),
            topic: "t".into(),
            partition: 3,
            value,
        };
        let value = CommittedOffset {
            offset: 258,
            leader_epoch: 7,
            metadata: "m".into(),
            commit_timestamp: 1_000,
            expire_timestamp: None,
            topic_id,
            unknown_tagged_fields: Vec::new(),
        };
        let without_id =
            CommittedOffset { leader_epoch: -1, metadata: "".into(), topic_id: Uuid::nil(), ..value.clone() };
        let expiring =
            CommittedOffset { offset: 1, commit_timestamp: 2, expire_timestamp: Some(3), ..without_id.clone() };
        let metadata = GroupMetadataValue {
            protocol_type: "consumer".into(),
            generation: 5,
            protocol: Some("range".into()),
            leader: Some("a-1".into()),
            current_state_timestamp: 9,
            members: vec![MemberMetadata {
                member_id: "a-1".into(),
                group_instance_id: None,
                client_id: "a".into(),
                client_host: "/::1".into(),
                rebalance_timeout: 60_000,
                session_timeout: 45_000,
                subscription: Bytes::from_static(&[1, 2]),
                assignment: Bytes::from_static(&[3]),
                ..Default::default()
            }],
            ..Default::default()
        };
        let cases = [
            ("offset", of(Some(value))),
            ("offset-without-id", of(Some(without_id))),
            (EXPIRING, of(Some(expiring))),
            ("offset-tombstone", of(None)),
            ("group", GroupRecord::Group { group: "g".into(), value: Some(metadata) }),
            ("group-tombstone", GroupRecord::Group { group: "g".into(), value: None }),
        ];
        assert_eq!(cases.len(), KAFKA.lines().count());
        for (name, says) in cases {
            assert_eq!(decode(&kafka(name)).unwrap(), says, "{name}");
            // It is written as our own golden record says.
            if name == EXPIRING {
                continue;
            }
            let written = match &says {
                GroupRecord::Offset { group, topic, partition, value } => {
                    offset(group, topic, *partition, value.as_ref())
                }
                GroupRecord::Group { group: id, value } => group(id, value.as_ref()),
                GroupRecord::Other => unreachable!("no case has a stranger"),
            };
            assert_eq!(written.unwrap(), kafka(name), "{name}");
        }
    }

    /// Kafka's has no place for it: see the module.
    #[test]
    fn an_offset_that_expires_by_itself_keeps_its_topics_id() {
        let of_newer = |tag| RawTaggedField { tag, data: Bytes::from_static(b"newer") };
        let value = CommittedOffset {
            offset: 1,
            leader_epoch: 7,
            metadata: "".into(),
            commit_timestamp: 2,
            expire_timestamp: Some(3),
            topic_id: Uuid::from_u128(4),
            unknown_tagged_fields: Vec::new(),
        };
        let written = |value: &CommittedOffset| offset(&"g".into(), &"t".into(), 3, Some(value)).unwrap();
        assert_eq!(written(&value), golden(HEADWATER, EXPIRING));
        let carrying =
            CommittedOffset { unknown_tagged_fields: vec![of_newer(9), of_newer(u32::MAX)], ..value.clone() };
        for value in [value, carrying] {
            let read = decode(&written(&value)).unwrap();
            assert!(matches!(read, GroupRecord::Offset { value: Some(read), .. } if read == value), "{value:?}");
        }
    }

    #[test]
    fn tombstones_and_strangers_are_told_apart() {
        let gone = offset(&"g".into(), &"t".into(), 1, None).unwrap();
        assert!(matches!(decode(&gone).unwrap(), GroupRecord::Offset { value: None, .. }));
        let legacy = Record { key: Bytes::from([&[0, 0], &gone.key[2..]].concat()), value: None };
        assert_eq!(decode(&legacy).unwrap(), decode(&gone).unwrap());
        let consumer_group = Record { key: Bytes::from_static(b"\0\x03\0\x01g"), value: None };
        assert_eq!(decode(&consumer_group).unwrap(), GroupRecord::Other);
        let short = Record { key: Bytes::from_static(b"\0\x01\0\x09g"), value: None };
        assert!(matches!(decode(&short), Err(ReplayError::Malformed { .. })));
        let newer = Record { value: Some(Bytes::from_static(b"\0\x63")), ..gone };
        assert!(matches!(decode(&newer), Err(ReplayError::Newer { .. })));
    }
}
