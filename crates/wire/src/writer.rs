//! [`Writer`] and [`Frame`]: a message on its way out, for one vectored write.
//!
//! Small values go into one growing buffer. Large byte strings (record batches) are not copied: the writer notes where
//! they belong and [`Writer::finish`] cuts its buffer around them.
//!
//! ```text
//! buffer    [ size | header | topic … | partition … ]
//! inserts             at 57: Bytes(1 MiB)     at 91: Bytes(64 KiB)
//! frame     [0..57] [1 MiB] [57..91] [64 KiB] [91..]
//! ```

use std::collections::VecDeque;
use std::io::IoSlice;

use base::Uuid;
use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::error::EncodeError;
use crate::reader::{RawTaggedField, STRING_BYTES_MAX};

/// Byte strings from this size on are shared, shorter ones copied: below it a copy costs less than one more segment in
/// a vectored write.
pub const SHARE_BYTES_MIN: usize = 1024;

/// Collects a message.
#[derive(Debug, Default)]
pub struct Writer {
    buffer: BytesMut,
    /// Shared byte strings and the length of `buffer` when they were added, rising.
    inserts: Vec<(usize, Bytes)>,
    inserted: usize,
}

impl Writer {
    /// An empty writer.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty writer with room for `bytes` bytes of small values.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { buffer: BytesMut::with_capacity(bytes), inserts: Vec::new(), inserted: 0 }
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.buffer.len() + self.inserted
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The message as it stands.
    pub fn finish(self) -> Frame {
        let length = self.len();
        let mut rest = self.buffer.freeze();
        let mut segments = VecDeque::with_capacity(2 * self.inserts.len() + 1);
        let mut cut = 0;
        for (at, bytes) in self.inserts {
            if at > cut {
                segments.push_back(rest.split_to(at - cut));
                cut = at;
            }
            segments.push_back(bytes);
        }
        if !rest.is_empty() {
            segments.push_back(rest);
        }
        Frame { segments, length }
    }

    /// The message as a frame of the Kafka protocol: its length in four bytes, then the message.
    pub fn finish_framed(self) -> Result<Frame, EncodeError> {
        let length = self.len();
        let size = i32::try_from(length).map_err(|_| EncodeError::TooLong { length, limit: i32::MAX as usize })?;
        let mut frame = self.finish();
        frame.segments.push_front(Bytes::copy_from_slice(&size.to_be_bytes()));
        frame.length += size_of::<i32>();
        Ok(frame)
    }

    /// One byte, 0 or 1.
    pub fn bool(&mut self, value: bool) {
        self.buffer.put_u8(value.into());
    }

    /// A signed byte.
    pub fn i8(&mut self, value: i8) {
        self.buffer.put_i8(value);
    }

    /// A big-endian 16-bit integer.
    pub fn i16(&mut self, value: i16) {
        self.buffer.put_i16(value);
    }

    /// A big-endian 32-bit integer.
    pub fn i32(&mut self, value: i32) {
        self.buffer.put_i32(value);
    }

    /// A big-endian 64-bit integer.
    pub fn i64(&mut self, value: i64) {
        self.buffer.put_i64(value);
    }

    /// A big-endian unsigned 16-bit integer.
    pub fn u16(&mut self, value: u16) {
        self.buffer.put_u16(value);
    }

    /// A big-endian unsigned 32-bit integer.
    pub fn u32(&mut self, value: u32) {
        self.buffer.put_u32(value);
    }

    /// A big-endian IEEE 754 double.
    pub fn f64(&mut self, value: f64) {
        self.buffer.put_f64(value);
    }

    /// Sixteen bytes.
    pub fn uuid(&mut self, value: Uuid) {
        self.buffer.put_slice(value.as_bytes());
    }

    /// An unsigned LEB128 integer.
    pub fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.buffer.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.put_u8(value as u8);
    }

    /// Raw bytes, copied.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buffer.put_slice(bytes);
    }

    /// Raw bytes, shared if they are many.
    pub fn share(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARE_BYTES_MIN {
            self.buffer.put_slice(bytes);
        } else {
            self.inserted += bytes.len();
            self.inserts.push((self.buffer.len(), bytes.clone()));
        }
    }

    /// All that `other` holds.
    pub fn append(&mut self, other: &Self) {
        let before = self.buffer.len();
        self.buffer.put_slice(&other.buffer);
        self.inserted += other.inserted;
        self.inserts.extend(other.inserts.iter().map(|(at, bytes)| (before + at, bytes.clone())));
    }

    /// A length in front of a string, byte string or array.
    fn length<N: TryFrom<usize> + Into<i64>>(
        &mut self,
        flexible: bool,
        length: usize,
        limit: usize,
    ) -> Result<Option<N>, EncodeError> {
        let too_long = || EncodeError::TooLong { length, limit };
        if length > limit {
            return Err(too_long());
        }
        if flexible {
            // `limit` is at most i32::MAX, so that one more fits.
            self.varint(length as u32 + 1);
            Ok(None)
        } else {
            N::try_from(length).map(Some).map_err(|_| too_long())
        }
    }

    /// A string.
    pub fn string(&mut self, flexible: bool, value: &str) -> Result<(), EncodeError> {
        if let Some(length) = self.length::<i16>(flexible, value.len(), STRING_BYTES_MAX)? {
            self.i16(length);
        }
        self.buffer.put_slice(value.as_bytes());
        Ok(())
    }

    /// A string or null.
    pub fn nullable_string(&mut self, flexible: bool, value: Option<&str>) -> Result<(), EncodeError> {
        match value {
            Some(value) => self.string(flexible, value),
            None if flexible => {
                self.varint(0);
                Ok(())
            }
            None => {
                self.i16(-1);
                Ok(())
            }
        }
    }

    /// The length of an array or a byte string.
    pub fn array_length(&mut self, flexible: bool, length: usize) -> Result<(), EncodeError> {
        if let Some(length) = self.length::<i32>(flexible, length, i32::MAX as usize)? {
            self.i32(length);
        }
        Ok(())
    }

    /// A null array or byte string.
    pub fn null(&mut self, flexible: bool) {
        if flexible { self.varint(0) } else { self.i32(-1) }
    }

    /// A byte string, shared if it is long.
    pub fn bytes(&mut self, flexible: bool, value: &Bytes) -> Result<(), EncodeError> {
        self.array_length(flexible, value.len())?;
        self.share(value);
        Ok(())
    }

    /// A byte string or null.
    pub fn nullable_bytes(&mut self, flexible: bool, value: Option<&Bytes>) -> Result<(), EncodeError> {
        match value {
            Some(value) => self.bytes(flexible, value)?,
            None => self.null(flexible),
        }
        Ok(())
    }

    /// An array.
    pub fn array<T>(
        &mut self,
        flexible: bool,
        values: &[T],
        mut element: impl FnMut(&mut Self, &T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.array_length(flexible, values.len())?;
        values.iter().try_for_each(|value| element(self, value))
    }

    /// An array or null.
    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        values: Option<&[T]>,
        element: impl FnMut(&mut Self, &T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        match values {
            Some(values) => self.array(flexible, values, element),
            None => {
                self.null(flexible);
                Ok(())
            }
        }
    }

    /// Tagged fields where the schema defines none.
    pub fn unknown_tags(&mut self, fields: &[RawTaggedField]) -> Result<(), EncodeError> {
        if fields.is_empty() {
            self.varint(0);
            return Ok(());
        }
        TagSection::new(fields).finish(self)
    }

    /// Refuses tagged fields in a version that has no place for them.
    pub fn no_unknown_tags(fields: &[RawTaggedField]) -> Result<(), EncodeError> {
        match fields.first() {
            None => Ok(()),
            Some(field) => Err(EncodeError::BadTag { tag: field.tag, reason: "the version is not flexible" }),
        }
    }
}

/// The tagged fields of one struct being written: those of the schema in the order of their tags, the unknown ones
/// merged in between.
#[derive(Debug)]
pub struct TagSection<'a> {
    unknown: &'a [RawTaggedField],
    next_tag_min: u64,
    count: u32,
    body: Writer,
}

impl<'a> TagSection<'a> {
    /// A section with the given unknown fields.
    pub fn new(unknown: &'a [RawTaggedField]) -> Self {
        Self { unknown, next_tag_min: 0, count: 0, body: Writer::new() }
    }

    /// Adds a field of the schema; call in the order of the tags.
    pub fn field(
        &mut self,
        tag: u32,
        content: impl FnOnce(&mut Writer) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.unknown_below(u64::from(tag))?;
        let mut writer = Writer::new();
        content(&mut writer)?;
        self.head(tag, writer.len())?;
        self.body.append(&writer);
        Ok(())
    }

    fn head(&mut self, tag: u32, length: usize) -> Result<(), EncodeError> {
        if u64::from(tag) < self.next_tag_min {
            return Err(EncodeError::BadTag { tag, reason: "tags must rise and must not be tags of the schema" });
        }
        let size = u32::try_from(length).map_err(|_| EncodeError::TooLong { length, limit: u32::MAX as usize })?;
        self.next_tag_min = u64::from(tag) + 1;
        self.count += 1;
        self.body.varint(tag);
        self.body.varint(size);
        Ok(())
    }

    fn unknown_below(&mut self, bound: u64) -> Result<(), EncodeError> {
        while let [first, rest @ ..] = self.unknown {
            if u64::from(first.tag) >= bound {
                break;
            }
            self.head(first.tag, first.data.len())?;
            self.body.share(&first.data);
            self.unknown = rest;
        }
        Ok(())
    }

    /// Writes the section.
    pub fn finish(mut self, into: &mut Writer) -> Result<(), EncodeError> {
        self.unknown_below(u64::MAX)?;
        into.varint(self.count);
        into.append(&self.body);
        Ok(())
    }
}

/// A finished message: its segments in order, to be written with vectored writes (it is a [`Buf`]).
#[derive(Clone, Debug, Default)]
pub struct Frame {
    segments: VecDeque<Bytes>,
    length: usize,
}

impl Frame {
    /// Bytes left.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether no byte is left.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The segments left, in order; none is empty.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = &Bytes> {
        self.segments.iter()
    }

    /// All bytes in one buffer; copies if there is more than one segment.
    pub fn into_bytes(mut self) -> Bytes {
        match self.segments.len() {
            0 => Bytes::new(),
            1 => self.segments.pop_front().unwrap_or_default(),
            _ => {
                let mut all = BytesMut::with_capacity(self.length);
                self.segments.iter().for_each(|segment| all.put_slice(segment));
                all.freeze()
            }
        }
    }
}

impl Buf for Frame {
    fn remaining(&self) -> usize {
        self.length
    }

    fn chunk(&self) -> &[u8] {
        self.segments.front().map_or(&[], |segment| segment)
    }

    fn chunks_vectored<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slot, segment) in into.iter_mut().zip(&self.segments) {
            *slot = IoSlice::new(segment);
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.length, "cannot advance by {count} in a frame with {} bytes left", self.length);
        self.length -= count;
        while let Some(first) = self.segments.front_mut() {
            if count < first.len() {
                first.advance(count);
                return;
            }
            count -= first.len();
            self.segments.pop_front();
        }
    }
}
