//! The traits that generated code implements.

use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::api_key::ApiKey;
use crate::error::{DecodeError, EncodeError};
use crate::reader::Reader;
use crate::writer::{Frame, Writer};

/// A struct of the schema, at the top of a message or nested in one.
///
/// The version must be one in which the struct exists; [`Message`] checks it once at the top.
pub trait Codec: Sized {
    /// The fewest bytes the struct takes in any version, at least 1.
    const BYTES_MIN: usize;

    /// Reads the struct.
    fn read(reader: &mut Reader, version: i16) -> Result<Self, DecodeError>;

    /// Writes the struct.
    fn write(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError>;
}

/// A message: what a request, a response, a header or a stored record holds.
pub trait Message: Codec {
    /// Kafka's name.
    const NAME: &'static str;

    /// The versions that exist.
    const VERSIONS: RangeInclusive<i16>;

    /// Whether the version has compact lengths and tagged fields.
    fn is_flexible(version: i16) -> bool;

    /// Reads a message; bytes behind it are left in the reader.
    fn decode(reader: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        if !Self::VERSIONS.contains(&version) {
            return Err(DecodeError::UnsupportedVersion { message: Self::NAME, version: version.into() });
        }
        Self::read(reader, version)
    }

    /// Writes a message. A field that the version lacks is an error if it is set and not ignorable, as in Kafka.
    fn encode(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError> {
        if !Self::VERSIONS.contains(&version) {
            return Err(EncodeError::UnsupportedVersion { message: Self::NAME, version });
        }
        self.write(writer, version)
    }

    /// Reads a message from the start of `bytes`.
    fn from_bytes(bytes: Bytes, version: i16) -> Result<Self, DecodeError> {
        Self::decode(&mut Reader::new(bytes), version)
    }

    /// Writes a message to a frame of its own, without a size in front.
    fn to_frame(&self, version: i16) -> Result<Frame, EncodeError> {
        let mut writer = Writer::new();
        self.encode(&mut writer, version)?;
        Ok(writer.finish())
    }
}

/// A request and the response that answers it.
pub trait Request: Message {
    /// The API.
    const API_KEY: ApiKey;

    /// What answers it, in the same version.
    type Response: Message;

    /// The version of the header in front of the request.
    fn request_header_version(version: i16) -> i16 {
        Self::API_KEY.request_header_version(version)
    }

    /// The version of the header in front of the response.
    fn response_header_version(version: i16) -> i16 {
        Self::API_KEY.response_header_version(version)
    }
}

/// An optional field in a version in which it cannot be null.
pub(crate) fn present<'a, T>(value: &'a Option<T>, field: &'static str, version: i16) -> Result<&'a T, EncodeError> {
    value.as_ref().ok_or(EncodeError::UnexpectedNull { field, version })
}

/// Refuses a field that is set in a version that lacks it.
pub(crate) fn absent(is_default: bool, field: &'static str, version: i16) -> Result<(), EncodeError> {
    if is_default { Ok(()) } else { Err(EncodeError::UnsupportedField { field, version }) }
}

/// Whether a nested struct holds nothing but defaults.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A nested struct or null.
pub(crate) fn read_nullable<T: Codec>(reader: &mut Reader, version: i16) -> Result<Option<T>, DecodeError> {
    if reader.i8()? < 0 { Ok(None) } else { T::read(reader, version).map(Some) }
}

/// A nested struct or null.
pub(crate) fn write_nullable<T: Codec>(
    value: Option<&T>,
    writer: &mut Writer,
    version: i16,
) -> Result<(), EncodeError> {
    match value {
        Some(value) => {
            writer.i8(1);
            value.write(writer, version)
        }
        None => {
            writer.i8(-1);
            Ok(())
        }
    }
}

/// A nested struct or null among the tagged fields: Kafka writes the marker there as an unsigned varint, 0 for null.
pub(crate) fn read_nullable_tagged<T: Codec>(reader: &mut Reader, version: i16) -> Result<Option<T>, DecodeError> {
    if reader.varint()? == 0 { Ok(None) } else { T::read(reader, version).map(Some) }
}

/// A nested struct or null among the tagged fields.
pub(crate) fn write_nullable_tagged<T: Codec>(
    value: Option<&T>,
    writer: &mut Writer,
    version: i16,
) -> Result<(), EncodeError> {
    writer.varint(value.is_some().into());
    value.map_or(Ok(()), |value| value.write(writer, version))
}
