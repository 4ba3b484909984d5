//! [`Reader`]: takes values off a received buffer.
//!
//! Invariants: nothing is copied (strings and byte strings are slices of the buffer, but for text in a request that is not
//! UTF-8); no input makes it panic; a length
//! is believed only as far as the bytes left can hold it; what is decoded takes no more memory than
//! [`decoded_bytes_max`] says, so that memory follows the input and never a number in it.

use std::ops::Range;

use base::Uuid;
use bytes::Bytes;

use crate::error::DecodeError;
use crate::text::{self, Str};

/// A string's greatest length in bytes, in every version, as in Kafka.
pub const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// Memory that a message may decode to beside its own bytes, which strings and byte strings are slices of: so many times
/// its bytes, ...
const DECODED_FACTOR: usize = 8;

/// ... more for a small one, ...
const DECODED_SMALL_FACTOR: usize = 32;

/// ... by no more than this, which is what the shortest names come to: 3 bytes for a topic of one letter stand for a
/// struct of 48. As no name occurs twice and there are no more than 65 letters, all names of up to three letters together
/// take 2.3 MB beyond the factor, and longer ones stay below it.
const DECODED_SMALL_BYTES_MAX: usize = 4 << 20;

/// What the smallest message may decode to.
const DECODED_BYTES_MIN: usize = 1024;

/// Memory comes in steps of this many bytes at least.
const ALLOCATION_BYTES_MIN: usize = 16;

/// The most memory that a message of `bytes` bytes decodes to, beside these bytes. A message that needs more is refused
/// before it takes it.
pub const fn decoded_bytes_max(bytes: usize) -> usize {
    let extra = bytes.saturating_mul(DECODED_SMALL_FACTOR - DECODED_FACTOR);
    let extra = if extra < DECODED_SMALL_BYTES_MAX { extra } else { DECODED_SMALL_BYTES_MAX };
    bytes.saturating_mul(DECODED_FACTOR).saturating_add(extra).saturating_add(DECODED_BYTES_MIN)
}

/// What counting the references to a copied string takes.
const REFERENCES_BYTES: usize = 32;

/// What errors call them.
const UNKNOWN_TAGS: &str = "tagged fields";

/// A tagged field that the schema of the version does not know, kept as it came.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RawTaggedField {
    /// The tag.
    pub tag: u32,
    /// The content.
    pub data: Bytes,
}

/// What becomes of a string that is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    /// The message is refused: whoever wrote it cannot have meant it.
    Refused,
    /// It is read with U+FFFD in its place, as Kafka reads it. Clients in languages that have no type for text send
    /// names as the bytes they were given.
    Replaced,
}

/// A cursor over a buffer.
#[derive(Clone, Debug)]
pub struct Reader {
    data: Bytes,
    position: usize,
    /// Memory taken by what was decoded so far, within [`decoded_bytes_max`].
    decoded_bytes: usize,
    /// Whether a tagged field was kept that the schema does not know.
    met_unknown_tags: bool,
    text: Text,
}

impl Reader {
    /// Reads `data` from its start.
    pub fn new(data: Bytes) -> Self {
        Self { data, position: 0, decoded_bytes: 0, met_unknown_tags: false, text: Text::Refused }
    }

    /// From here on strings that are not UTF-8 are read as Kafka reads them.
    pub(crate) fn replace_what_is_no_text(&mut self) {
        self.text = Text::Replaced;
    }

    /// Bytes not read yet.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.data.len() - self.position
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Whether anything read so far had tagged fields that the schema does not know, where these are kept.
    pub fn met_unknown_tags(&self) -> bool {
        self.met_unknown_tags
    }

    /// Memory that was taken for what was decoded, beside the buffer: arrays, kept tagged fields, text that was no UTF-8.
    pub fn decoded_bytes(&self) -> usize {
        self.decoded_bytes
    }

    /// The whole buffer, shared.
    pub(crate) fn buffer(&self) -> &Bytes {
        &self.data
    }

    /// The bytes not read yet, shared.
    pub fn rest(&self) -> Bytes {
        self.data.slice(self.position..)
    }

    #[cold]
    fn ends_early(&self, needed: usize) -> DecodeError {
        DecodeError::UnexpectedEnd { needed, remaining: self.remaining() }
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.data[self.position..].first_chunk::<N>() {
            Some(bytes) => {
                self.position += N;
                Ok(*bytes)
            }
            None => Err(self.ends_early(N)),
        }
    }

    /// The next `length` bytes, shared.
    pub fn take(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if length > self.remaining() {
            return Err(self.ends_early(length));
        }
        let start = self.position;
        self.position += length;
        Ok(self.data.slice(start..self.position))
    }

    /// Passes over `length` bytes.
    #[inline]
    pub fn skip(&mut self, length: usize) -> Result<(), DecodeError> {
        if length > self.remaining() {
            return Err(self.ends_early(length));
        }
        self.position += length;
        Ok(())
    }

    /// One byte; anything but zero is true.
    #[inline]
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.fixed::<1>()?[0] != 0)
    }

    /// A signed byte.
    #[inline]
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        self.fixed().map(i8::from_be_bytes)
    }

    /// A big-endian 16-bit integer.
    #[inline]
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        self.fixed().map(i16::from_be_bytes)
    }

    /// A big-endian 32-bit integer.
    #[inline]
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.fixed().map(i32::from_be_bytes)
    }

    /// A big-endian 64-bit integer.
    #[inline]
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.fixed().map(i64::from_be_bytes)
    }

    /// A big-endian unsigned 16-bit integer.
    #[inline]
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.fixed().map(u16::from_be_bytes)
    }

    /// A big-endian unsigned 32-bit integer.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.fixed().map(u32::from_be_bytes)
    }

    /// A big-endian IEEE 754 double.
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        self.fixed().map(f64::from_be_bytes)
    }

    /// Sixteen bytes.
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        self.fixed().map(Uuid::from_bytes)
    }

    /// An unsigned LEB128 integer of at most five bytes; bits beyond the 32nd are dropped, as Kafka drops them.
    #[inline]
    pub fn varint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.fixed::<1>()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::VarintTooLong)
    }

    /// A compact length: 0 is null, otherwise one more than the length.
    #[inline]
    fn compact_length(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from(self.varint()?) - 1)
    }

    /// A length checked against the bytes left, `None` for null.
    #[inline]
    fn length(&self, length: i64, unit_bytes_min: usize, field: &'static str) -> Result<Option<usize>, DecodeError> {
        match usize::try_from(length) {
            Ok(units) if units <= self.remaining() / unit_bytes_min => Ok(Some(units)),
            Ok(_) => Err(DecodeError::LengthTooLarge { field, length, remaining: self.remaining() }),
            // -1; Kafka takes any other negative one for the same.
            Err(_) => Ok(None),
        }
    }

    /// A string or null.
    pub fn nullable_string(&mut self, flexible: bool, field: &'static str) -> Result<Option<Str>, DecodeError> {
        let sent = if flexible { self.compact_length()? } else { i64::from(self.i16()?) };
        let Some(length) = self.length(sent, 1, field)? else {
            return Ok(None);
        };
        if length > STRING_BYTES_MAX {
            return Err(DecodeError::LengthTooLarge { field, length: sent, remaining: self.remaining() });
        }
        let start = self.position;
        match (Str::from_utf8(self.take(length)?), self.text) {
            (Some(text), _) => Ok(Some(text)),
            (None, Text::Refused) => Err(DecodeError::InvalidUtf8 { field }),
            (None, Text::Replaced) => self.replaced(start..self.position, field).map(Some),
        }
    }

    /// A copy of a string that is not UTF-8.
    #[cold]
    fn replaced(&mut self, range: Range<usize>, field: &'static str) -> Result<Str, DecodeError> {
        self.charge(text::replaced_bytes_max(range.len()) + REFERENCES_BYTES, field)?;
        let text = text::replaced(&self.data[range]);
        // It could not be written any more.
        if text.len() > STRING_BYTES_MAX {
            return Err(DecodeError::LengthTooLarge { field, length: text.len() as i64, remaining: self.remaining() });
        }
        Ok(Str::from(text))
    }

    /// A string.
    pub fn string(&mut self, flexible: bool, field: &'static str) -> Result<Str, DecodeError> {
        self.nullable_string(flexible, field)?.ok_or(DecodeError::UnexpectedNull { field })
    }

    /// Where a byte string lies in the buffer, or null.
    #[inline]
    pub(crate) fn nullable_bytes_range(
        &mut self,
        flexible: bool,
        field: &'static str,
    ) -> Result<Option<Range<usize>>, DecodeError> {
        let length = if flexible { self.compact_length()? } else { i64::from(self.i32()?) };
        let Some(length) = self.length(length, 1, field)? else { return Ok(None) };
        let start = self.position;
        self.position += length;
        Ok(Some(start..self.position))
    }

    /// A byte string or null, shared.
    pub fn nullable_bytes(&mut self, flexible: bool, field: &'static str) -> Result<Option<Bytes>, DecodeError> {
        Ok(self.nullable_bytes_range(flexible, field)?.map(|range| self.data.slice(range)))
    }

    /// A byte string, shared.
    pub fn bytes(&mut self, flexible: bool, field: &'static str) -> Result<Bytes, DecodeError> {
        self.nullable_bytes(flexible, field)?.ok_or(DecodeError::UnexpectedNull { field })
    }

    /// The number of elements of an array, or null; every element takes at least `element_bytes_min` (1 or more).
    #[inline]
    pub fn array_length(
        &mut self,
        flexible: bool,
        element_bytes_min: usize,
        field: &'static str,
    ) -> Result<Option<usize>, DecodeError> {
        let length = if flexible { self.compact_length()? } else { i64::from(self.i32()?) };
        self.length(length, element_bytes_min, field)
    }

    /// Accounts for the memory of `count` elements, before it is taken.
    pub(crate) fn charge_array<T>(&mut self, count: usize, field: &'static str) -> Result<(), DecodeError> {
        self.charge(count.saturating_mul(size_of::<T>()), field)
    }

    /// Accounts for `bytes` of memory, before they are taken.
    pub(crate) fn charge(&mut self, bytes: usize, field: &'static str) -> Result<(), DecodeError> {
        let whole = bytes.checked_next_multiple_of(ALLOCATION_BYTES_MIN).unwrap_or(usize::MAX);
        let decoded = self.decoded_bytes.saturating_add(whole);
        if decoded > decoded_bytes_max(self.data.len()) {
            return Err(DecodeError::TooMuchMemory { field, bytes: self.data.len() });
        }
        self.decoded_bytes = decoded;
        Ok(())
    }

    /// An array or null.
    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        element_bytes_min: usize,
        field: &'static str,
        mut element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.array_length(flexible, element_bytes_min, field)? else {
            return Ok(None);
        };
        self.charge_array::<T>(count, field)?;
        // All at once: growing in steps would take up to three times as much.
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(Some(elements))
    }

    /// An array.
    pub fn array<T>(
        &mut self,
        flexible: bool,
        element_bytes_min: usize,
        field: &'static str,
        element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        self.nullable_array(flexible, element_bytes_min, field, element)?.ok_or(DecodeError::UnexpectedNull { field })
    }

    /// The number of tagged fields that follow.
    #[inline]
    pub fn tag_count(&mut self) -> Result<u32, DecodeError> {
        let count = self.varint()?;
        // A tag and a size take a byte each.
        if count as usize > self.remaining() / 2 {
            return Err(DecodeError::LengthTooLarge {
                field: UNKNOWN_TAGS,
                length: i64::from(count),
                remaining: self.remaining(),
            });
        }
        Ok(count)
    }

    /// A tagged field's tag and the size of its content, which is there.
    pub fn tag(&mut self) -> Result<(u32, usize), DecodeError> {
        let tag = self.varint()?;
        let size = i64::from(self.varint()?);
        let size = self.length(size, 1, "tagged field")?.unwrap_or_default();
        Ok((tag, size))
    }

    /// The content of a tagged field of the schema, which must take `size` bytes.
    pub fn tagged<T>(
        &mut self,
        size: usize,
        field: &'static str,
        content: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let start = self.position;
        let value = content(self)?;
        let taken = self.position - start;
        if taken != size {
            return Err(DecodeError::TaggedFieldSize { field, announced: size, taken });
        }
        Ok(value)
    }

    /// Keeps a tagged field that the schema does not know.
    pub fn unknown_tag(&mut self, tag: u32, size: usize, into: &mut Vec<RawTaggedField>) -> Result<(), DecodeError> {
        if into.len() == into.capacity() {
            let capacity = into.capacity().saturating_mul(2).max(1);
            // All of the new memory: while the fields move, the old is there as well.
            self.charge_array::<RawTaggedField>(capacity, UNKNOWN_TAGS)?;
            into.reserve_exact(capacity - into.len());
        }
        self.met_unknown_tags = true;
        into.push(RawTaggedField { tag, data: self.take(size)? });
        Ok(())
    }

    /// Passes over tagged fields where the schema knows none.
    #[inline]
    pub fn skip_tags(&mut self) -> Result<(), DecodeError> {
        for _ in 0..self.tag_count()? {
            let (_, size) = self.tag()?;
            self.skip(size)?;
        }
        Ok(())
    }

    /// Tagged fields where the schema knows none.
    pub fn unknown_tags(&mut self) -> Result<Vec<RawTaggedField>, DecodeError> {
        let count = self.tag_count()? as usize;
        self.met_unknown_tags |= count > 0;
        self.charge_array::<RawTaggedField>(count, UNKNOWN_TAGS)?;
        let mut fields = Vec::with_capacity(count);
        for _ in 0..count {
            let (tag, size) = self.tag()?;
            fields.push(RawTaggedField { tag, data: self.take(size)? });
        }
        Ok(fields)
    }
}
