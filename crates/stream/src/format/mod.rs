//! The object format: what the uploader writes and the readers verify.
//!
//! An object is written once and never changed. A *stream object* holds one stream, a *stream set object* several; both
//! have the same layout. All integers are big-endian.
//!
//! ```text
//! object  = data block* · side block* · index · footer(48)
//! ```
//!
//! Data blocks are sorted by stream, then offset, and cut at about 256 KiB; blocks of one stream are adjacent, so a
//! sequential reader fetches several with one ranged read. Side blocks carry one checkpoint each. Every block, the
//! index and the footer carry a CRC-32C of their own, checked on every read from a store (I-9). The *object CRC* that
//! a commit carries covers index and footer, and through the blocks' CRCs in the index the whole object.
//!
//! See [`block`], [`index`] and [`object`] for the byte tables.

pub mod block;
pub mod index;
pub mod object;

pub use crate::catalogue::ObjectKind;
pub use block::{Block, BlockBuilder, BlockEntry};
pub use index::{BlockIndex, Index, SideIndex};
pub use object::{BuiltObject, ObjectBuilder};

use thiserror::Error;

/// Bytes that are not what this module once wrote.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FormatError {
    /// Fewer bytes than the layout needs.
    #[error("{what} is cut short: {have} bytes of {need}")]
    Truncated {
        /// The part of the object.
        what: &'static str,
        /// Bytes present.
        have: usize,
        /// Bytes needed.
        need: usize,
    },
    /// The magic number differs.
    #[error("{what} does not start with its magic number: these are not the bytes of such a part")]
    Magic {
        /// The part of the object.
        what: &'static str,
    },
    /// The format version is newer than this program.
    #[error("{what} has format {found}; this version reads up to {known}: start a newer version")]
    Version {
        /// The part of the object.
        what: &'static str,
        /// The version found.
        found: u16,
        /// The newest version known.
        known: u16,
    },
    /// The object is of a kind that is newer than this program.
    #[error("{what} is of kind {found}, which this version does not know: start a newer version")]
    Kind {
        /// The part of the object.
        what: &'static str,
        /// The kind found.
        found: u8,
    },
    /// The checksum differs.
    #[error("{what} is corrupt: CRC-32C {found:08x} stored, {computed:08x} computed")]
    Checksum {
        /// The part of the object.
        what: &'static str,
        /// Stored checksum.
        found: u32,
        /// Checksum of the bytes.
        computed: u32,
    },
    /// Lengths or offsets contradict each other although the checksum holds.
    #[error("{what} contradicts itself: {why}")]
    Inconsistent {
        /// The part of the object.
        what: &'static str,
        /// What contradicts what.
        why: &'static str,
    },
}

impl FormatError {
    /// Whether the bytes are whole and a newer version can read them. Parts that may be of a newer format are checked against
    /// their checksums first.
    pub fn is_newer(&self) -> bool {
        matches!(self, Self::Version { .. } | Self::Kind { .. })
    }
}

/// A cursor over big-endian fields.
pub(crate) struct Fields<'a> {
    bytes: &'a [u8],
    what: &'static str,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(what: &'static str, bytes: &'a [u8], need: usize) -> Result<Self, FormatError> {
        if bytes.len() < need {
            return Err(FormatError::Truncated { what, have: bytes.len(), need });
        }
        Ok(Self { bytes, what })
    }

    pub(crate) fn take<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let Some((head, tail)) = self.bytes.split_first_chunk::<N>() else {
            return Err(FormatError::Truncated { what: self.what, have: self.bytes.len(), need: N });
        };
        self.bytes = tail;
        Ok(*head)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, FormatError> {
        self.take().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FormatError> {
        self.take().map(u32::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, FormatError> {
        self.take().map(i32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, FormatError> {
        self.take().map(u64::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, FormatError> {
        self.take().map(i64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests;
