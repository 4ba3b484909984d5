//! What can be wrong with bytes that came in, and with a message that is to go out.

use thiserror::Error;

/// Why bytes are not the message they were said to be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The bytes end inside a value.
    #[error("the message ends early: {needed} more bytes needed, {remaining} left")]
    UnexpectedEnd {
        /// Bytes that the value takes.
        needed: usize,
        /// Bytes that are there.
        remaining: usize,
    },
    /// A string, array, byte string or tagged field announces more than the bytes left can hold.
    #[error("{field}: length {length} cannot fit into the {remaining} bytes left")]
    LengthTooLarge {
        /// The field.
        field: &'static str,
        /// The length as sent.
        length: i64,
        /// Bytes that are there.
        remaining: usize,
    },
    /// Arrays of small elements, or tagged fields, would take far more memory than the message has bytes.
    #[error("{field}: the message decodes to more memory than one of {bytes} bytes may")]
    TooMuchMemory {
        /// The field at which it became too much.
        field: &'static str,
        /// Bytes of the message.
        bytes: usize,
    },
    /// A field that cannot be null is null.
    #[error("{field} is null, which this version does not allow")]
    UnexpectedNull {
        /// The field.
        field: &'static str,
    },
    /// A string is not UTF-8.
    #[error("{field} is not UTF-8")]
    InvalidUtf8 {
        /// The field.
        field: &'static str,
    },
    /// A variable-length integer has more bytes than its type can need.
    #[error("a variable-length integer is longer than its type allows")]
    VarintTooLong,
    /// A tagged field takes another number of bytes than its size says.
    #[error("{field}: tagged field announces {announced} bytes and takes {taken}")]
    TaggedFieldSize {
        /// The field.
        field: &'static str,
        /// Bytes announced.
        announced: usize,
        /// Bytes read.
        taken: usize,
    },
    /// The message does not exist in this version.
    #[error("{message} does not exist in version {version}")]
    UnsupportedVersion {
        /// The message.
        message: &'static str,
        /// The version asked for.
        version: i64,
    },
    /// A metadata record has a type that this release does not know.
    #[error("metadata record type {id} is unknown; a newer release wrote it")]
    UnknownRecordType {
        /// The type id as read.
        id: u32,
    },
}

/// Why a message cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// The message does not exist in this version.
    #[error("{message} does not exist in version {version}")]
    UnsupportedVersion {
        /// The message.
        message: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A field is set that this version cannot carry and that may not be dropped silently.
    #[error("{field} is set, but version {version} of the message cannot carry it")]
    UnsupportedField {
        /// The field.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A field is null that cannot be null in this version.
    #[error("{field} is null, which version {version} of the message does not allow")]
    UnexpectedNull {
        /// The field.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A string, array or byte string is longer than the layout can say.
    #[error("a value of {length} is longer than the layout can say ({limit})")]
    TooLong {
        /// Length of the value.
        length: usize,
        /// The most there can be.
        limit: usize,
    },
    /// More or fewer elements were written than had been announced.
    #[error("{field}: not as many elements as announced")]
    WrongCount {
        /// The array.
        field: &'static str,
    },
    /// Unknown tagged fields are out of order, repeated, use a tag that the version defines, or the version has none.
    #[error("unknown tagged field {tag} cannot be written: {reason}")]
    BadTag {
        /// The tag.
        tag: u32,
        /// What is wrong with it.
        reason: &'static str,
    },
}
