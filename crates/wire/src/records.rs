//! The records of Kafka's internal topics (`__consumer_offsets`, `__transaction_state`, `__share_group_state`) and the
//! consumer protocol's metadata, generated from `schemas/records/`: one module per message, the message re-exported.
//!
//! Keys and values stand behind two bytes:
//!
//! | Part | Prefix | Body |
//! |---|---|---|
//! | record key | record type (i16): which key and value it is | key, always version 0 |
//! | record value | version (i16) | value in that version |
//! | consumer protocol data | version (i16) | data in that version |

#![allow(missing_docs, unused_variables, clippy::all, clippy::pedantic, reason = "generated code")]

use bytes::Bytes;

use crate::{DecodeError, EncodeError, Message, Reader, Writer};

include!(concat!(env!("OUT_DIR"), "/records.rs"));

/// The key of a record of an internal topic, with the value that goes with it.
pub trait RecordKey: Message {
    /// The number in front of the key.
    const RECORD_TYPE: i16;

    /// The value of such a record.
    type Value: Message;
}

/// The record type in front of a key.
pub fn record_type(key: &Bytes) -> Result<i16, DecodeError> {
    Reader::new(key.clone()).i16()
}

/// Reads a key whose [`record_type`] was found to be `K`'s.
pub fn decode_key<K: RecordKey>(key: Bytes) -> Result<K, DecodeError> {
    let mut reader = Reader::new(key);
    let found = reader.i16()?;
    if found != K::RECORD_TYPE {
        return Err(DecodeError::UnsupportedVersion { message: K::NAME, version: found.into() });
    }
    K::decode(&mut reader, 0)
}

/// Writes a key behind its record type.
pub fn encode_key<K: RecordKey>(key: &K) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::new();
    writer.i16(K::RECORD_TYPE);
    key.encode(&mut writer, 0)?;
    Ok(writer.finish().into_bytes())
}

/// Reads a message behind its version: a record's value or consumer protocol data.
pub fn decode_versioned<T: Message>(bytes: Bytes) -> Result<T, DecodeError> {
    let mut reader = Reader::new(bytes);
    let version = reader.i16()?;
    T::decode(&mut reader, version)
}

/// Writes a message behind its version.
pub fn encode_versioned<T: Message>(message: &T, version: i16) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::new();
    writer.i16(version);
    message.encode(&mut writer, version)?;
    Ok(writer.finish().into_bytes())
}
