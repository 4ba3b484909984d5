//! [`Reader`]: takes values off a received buffer.
//!
//! Invariants: nothing is copied (strings and byte strings are slices of the buffer); no input makes it panic; a length
//! is believed only as far as the bytes left can hold it, so that memory follows the input and never a number in it.

use std::ops::Range;

use base::Uuid;
use bytes::Bytes;

use crate::error::DecodeError;
use crate::text::Str;

/// A string's greatest length in bytes, in every version, as in Kafka.
pub const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// Array memory reserved at once on the word of a length, in bytes. Beyond it an array grows as its elements arrive.
const ARRAY_RESERVE_BYTES_MAX: usize = 16 * 1024;

/// Memory that the arrays of a message may take: this much, and so many times its bytes. A few bytes of an array can
/// stand for a large struct; no client's message comes near it.
const ARRAY_BYTES_MIN: usize = 16 << 20;
const ARRAY_BYTES_FACTOR: usize = 8;

/// A tagged field that the schema of the version does not know, kept as it came.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RawTaggedField {
    /// The tag.
    pub tag: u32,
    /// The content.
    pub data: Bytes,
}

/// A cursor over a buffer.
#[derive(Clone, Debug)]
pub struct Reader {
    data: Bytes,
    position: usize,
    /// What is left of the memory for arrays.
    array_bytes: usize,
}

impl Reader {
    /// Reads `data` from its start.
    pub fn new(data: Bytes) -> Self {
        let array_bytes = ARRAY_BYTES_MIN + data.len().saturating_mul(ARRAY_BYTES_FACTOR);
        Self { data, position: 0, array_bytes }
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
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(DecodeError::NegativeLength { field, length }),
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
        Str::from_utf8(self.take(length)?).map(Some).ok_or(DecodeError::InvalidUtf8 { field })
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

    /// Takes the memory of `count` elements off what the message's arrays may have.
    pub(crate) fn charge_array<T>(&mut self, count: usize, field: &'static str) -> Result<(), DecodeError> {
        let bytes = count.saturating_mul(size_of::<T>());
        self.array_bytes =
            self.array_bytes.checked_sub(bytes).ok_or(DecodeError::TooMuchMemory { field, bytes: self.data.len() })?;
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
        let at_once = ARRAY_RESERVE_BYTES_MAX.max(self.remaining()) / size_of::<T>().max(1);
        let mut elements = Vec::with_capacity(count.min(at_once));
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
                field: "tagged fields",
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
        let mut fields = Vec::new();
        for _ in 0..self.tag_count()? {
            let (tag, size) = self.tag()?;
            self.unknown_tag(tag, size, &mut fields)?;
        }
        Ok(fields)
    }
}
