//! The record of magic 2, inside a batch.
//!
//! ```text
//! varint   length of what follows
//! int8     attributes (none are defined)
//! varlong  timestamp − the batch's base timestamp
//! varint   offset − the batch's base offset
//! varint   key length, -1 for null      then the key
//! varint   value length, -1 for null    then the value
//! varint   header count                 then per header:
//!            varint key length, key, varint value length or -1, value
//! ```

use bytes::{BufMut, Bytes};

use crate::batch::{BatchHeader, TimestampType};
use crate::varint::{self, Input, SliceInput};
use crate::{RecordsError, batch};

/// One header of a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// UTF-8 by convention; not checked, as in Kafka.
    pub key: Bytes,
    /// May be null.
    pub value: Option<Bytes>,
}

/// One record, sharing memory with its batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The record's offset: the batch's base offset plus its own delta.
    pub offset: i64,
    /// Milliseconds since 1970, or -1 for none; the append time where the batch says so.
    pub timestamp: i64,
    /// May be null.
    pub key: Option<Bytes>,
    /// May be null: a tombstone on compacted topics.
    pub value: Option<Bytes>,
    /// In the producer's order; keys may repeat.
    pub headers: Vec<Header>,
}

/// Uncompressed records of one batch.
pub(crate) struct RecordsPayload(pub Bytes);

/// Iterates the records of a batch. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Records {
    payload: Bytes,
    at: usize,
    left: i32,
    base_offset: i64,
    base_timestamp: i64,
    append_time: Option<i64>,
}

impl Records {
    pub(crate) fn new(header: &BatchHeader, payload: RecordsPayload) -> Self {
        Self {
            payload: payload.0,
            at: 0,
            left: header.record_count.max(0),
            base_offset: header.base_offset,
            base_timestamp: header.base_timestamp,
            append_time: append_time(header),
        }
    }

    fn read(&mut self) -> Result<Record, RecordsError> {
        let mut input = SliceInput::new(&self.payload[self.at..]);
        let slice = |input: &mut SliceInput<'_>| -> Result<Option<Bytes>, RecordsError> {
            let length = varint::read_i32(input)?;
            let Ok(length) = usize::try_from(length) else { return Ok(None) };
            let start = self.at + input.at();
            input.skip(length)?;
            Ok(Some(self.payload.slice(start..start + length)))
        };
        let end = RecordEnd::read(&mut input)?;
        input.byte()?;
        let timestamp = self.base_timestamp.wrapping_add(varint::read_i64(&mut input)?);
        let offset = self.base_offset.wrapping_add(i64::from(varint::read_i32(&mut input)?));
        let key = slice(&mut input)?;
        let value = slice(&mut input)?;
        let mut headers = Vec::new();
        for _ in 0..header_count(&mut input)? {
            let key = slice(&mut input)?.ok_or(RecordsError::Malformed("a record header has a null key"))?;
            headers.push(Header { key, value: slice(&mut input)? });
        }
        end.check(&input)?;
        if self.left == 1 && input.remaining() > 0 {
            return Err(RecordsError::Malformed("bytes follow the last record of the batch"));
        }
        self.at += input.at();
        Ok(Record { offset, timestamp: self.append_time.unwrap_or(timestamp), key, value, headers })
    }
}

impl Iterator for Records {
    type Item = Result<Record, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let record = self.read();
        self.left = if record.is_ok() { self.left - 1 } else { 0 };
        Some(record)
    }
}

/// The timestamp of all records of a batch, where the broker gave it.
pub(crate) fn append_time(header: &BatchHeader) -> Option<i64> {
    (header.timestamp_type() == TimestampType::LogAppendTime).then_some(header.max_timestamp)
}

/// Where a record must end.
struct RecordEnd(u64);

impl RecordEnd {
    #[inline]
    fn read<I: Input>(input: &mut I) -> Result<Self, RecordsError> {
        let length = u64::try_from(varint::read_i32(input)?)
            .map_err(|_| RecordsError::Malformed("a record has a negative length"))?;
        Ok(Self(input.position() + length))
    }

    #[inline]
    fn check<I: Input>(&self, input: &I) -> Result<(), RecordsError> {
        if input.position() == self.0 {
            Ok(())
        } else {
            Err(RecordsError::Malformed("a record's fields do not fill its length"))
        }
    }
}

#[inline]
fn header_count<I: Input>(input: &mut I) -> Result<u32, RecordsError> {
    u32::try_from(varint::read_i32(input)?).map_err(|_| RecordsError::Malformed("a negative number of record headers"))
}

/// What validation wants to know of a record.
pub(crate) struct RecordScan {
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i32,
    /// Lengths as they stand there: below zero for null.
    pub(crate) key_bytes: i32,
    pub(crate) value_bytes: i32,
}

/// Reads one record of at most `bytes_max`, passing over key, value and headers.
#[inline]
pub(crate) fn scan<I: Input>(input: &mut I, bytes_max: usize) -> Result<RecordScan, RecordsError> {
    #[inline]
    fn pass<I: Input>(input: &mut I) -> Result<i32, RecordsError> {
        let length = varint::read_i32(input)?;
        if length > 0 {
            input.skip(length as usize)?;
        }
        Ok(length)
    }
    let end = RecordEnd::read(input)?;
    let size = end.0 - input.position();
    if size > bytes_max as u64 {
        return Err(RecordsError::RecordTooLarge { size: size as usize, max: bytes_max });
    }
    input.byte()?;
    let timestamp_delta = varint::read_i64(input)?;
    let offset_delta = varint::read_i32(input)?;
    let (key_bytes, value_bytes) = (pass(input)?, pass(input)?);
    for _ in 0..header_count(input)? {
        if pass(input)? < 0 {
            return Err(RecordsError::Malformed("a record header has a null key"));
        }
        pass(input)?;
    }
    end.check(input)?;
    Ok(RecordScan { timestamp_delta, offset_delta, key_bytes, value_bytes })
}

/// What to write as a record.
#[derive(Clone, Copy)]
pub(crate) struct RecordParts<'a> {
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i32,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: &'a [Header],
}

fn field_bytes(field: Option<&[u8]>) -> usize {
    field.map_or(1, |bytes| varint::size(bytes.len() as i64) + bytes.len())
}

fn write_field(out: &mut impl BufMut, field: Option<&[u8]>) {
    match field {
        None => varint::write(out, batch::NONE),
        Some(bytes) => {
            varint::write(out, bytes.len() as i64);
            out.put_slice(bytes);
        }
    }
}

impl RecordParts<'_> {
    /// Bytes after the length field.
    pub(crate) fn body_bytes(&self) -> usize {
        let headers: usize = self
            .headers
            .iter()
            .map(|header| field_bytes(Some(&header.key)) + field_bytes(header.value.as_deref()))
            .sum();
        1 + varint::size(self.timestamp_delta)
            + varint::size(i64::from(self.offset_delta))
            + field_bytes(self.key)
            + field_bytes(self.value)
            + varint::size(self.headers.len() as i64)
            + headers
    }

    /// Writes the record; `body_bytes` is what the method of that name gave.
    pub(crate) fn write(&self, body_bytes: usize, out: &mut impl BufMut) {
        varint::write(out, body_bytes as i64);
        out.put_u8(0);
        varint::write(out, self.timestamp_delta);
        varint::write(out, i64::from(self.offset_delta));
        write_field(out, self.key);
        write_field(out, self.value);
        varint::write(out, self.headers.len() as i64);
        for header in self.headers {
            write_field(out, Some(&header.key));
            write_field(out, header.value.as_deref());
        }
    }
}
