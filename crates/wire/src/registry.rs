//! Every message by name, for tools that treat them alike: round-trip tests, fuzzers, the comparison with Kafka's codec.

use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::{DecodeError, EncodeError, Frame, Message};

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request, with its API key.
    Request(i16),
    /// A response, with its API key.
    Response(i16),
    /// A request or response header.
    Header,
    /// Bytes inside other messages.
    Data,
    /// The key of a record of an internal topic, with the record type.
    Key(i16),
    /// The value of a record of an internal topic, with the record type.
    Value(i16),
    /// A metadata record, with its type id.
    Metadata(i16),
    /// A request of one broker to another, with its number.
    BrokerRequest(i16),
    /// The answer to it, with its number.
    BrokerResponse(i16),
    /// What several of those hold.
    BrokerData,
}

/// What came out of a message that was decoded and encoded again.
#[derive(Debug)]
pub struct Recoded {
    /// Bytes the decoder used.
    pub consumed: usize,
    /// What the encoder made of the message.
    pub encoded: Result<Frame, EncodeError>,
}

/// One message.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Kafka's name, or ours.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// The versions that exist.
    pub versions: RangeInclusive<i16>,
    /// Whether a version is flexible.
    pub is_flexible: fn(i16) -> bool,
    /// Decodes a message.
    pub decode: fn(Bytes, i16) -> Result<(), DecodeError>,
    /// Decodes a message and encodes it again.
    pub recode: fn(Bytes, i16) -> Result<Recoded, DecodeError>,
}

const fn entry<T: Message>(kind: Kind) -> Entry {
    Entry {
        name: T::NAME,
        kind,
        versions: T::VERSIONS,
        is_flexible: T::is_flexible,
        decode: |bytes, version| T::from_bytes(bytes, version).map(drop),
        recode: |bytes, version| {
            let mut reader = crate::Reader::new(bytes);
            let message = T::decode(&mut reader, version)?;
            Ok(Recoded { consumed: reader.position(), encoded: message.to_frame(version) })
        },
    }
}

include!(concat!(env!("OUT_DIR"), "/registry.rs"));
