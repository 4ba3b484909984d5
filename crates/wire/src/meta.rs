//! The records of the metadata log and of its snapshots, generated from `schemas/meta/`.
//!
//! One record is self-delimiting:
//!
//! | Field | Type |
//! |---|---|
//! | type id | unsigned varint |
//! | version | unsigned varint |
//! | body | the record in the flexible layout of that version |

#![allow(missing_docs, reason = "generated code; the schema files say what the records mean")]
#![allow(unused_variables, clippy::all, clippy::pedantic, reason = "generated code")]

use std::ops::RangeInclusive;

use base::Uuid;

use crate::codec::Codec;
use crate::{DecodeError, EncodeError, Message, RawTaggedField, Reader, Str, Writer};

/// Reads a record's version and body.
fn body<T: Message>(reader: &mut Reader) -> Result<T, DecodeError> {
    let version = reader.varint()?;
    let version = i16::try_from(version)
        .map_err(|_| DecodeError::UnsupportedVersion { message: T::NAME, version: version.into() })?;
    T::decode(reader, version)
}

include!(concat!(env!("OUT_DIR"), "/meta.rs"));
