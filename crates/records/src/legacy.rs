//! Message sets of magic 0 and 1: what clients before Kafka 0.11 write and read.
//!
//! ```text
//! bytes  field
//!     8  offset
//!     4  length of what follows
//!     4  CRC-32 of everything from the magic
//!     1  magic: 0 or 1
//!     1  attributes: 0–2 compression · 3 timestamp type (magic 1)
//!     8  timestamp (magic 1 only)
//!     4  key length, -1 for null      then the key
//!     4  value length, -1 for null    then the value
//! ```
//!
//! A compressed set is the value of one wrapper message. Messages inside a magic 0 wrapper have their own offsets; inside
//! a magic 1 wrapper they count from 0 and the wrapper has the offset of the last. A magic 1 wrapper at offset 0 is legal
//! all the same: old librdkafka wrote it, and its messages then count from offset 0. Wrappers do not nest.

use bytes::{Buf, BufMut, Bytes};

use crate::batch::{LENGTH_OVERHEAD, NONE, TIMESTAMP_TYPE_BIT, TimestampType};
use crate::{Compression, Encoding, RecordsError, compression};

/// Bytes of a magic 0 message besides offset, length, key and value.
pub const OVERHEAD_V0: usize = 14;
/// The same for magic 1.
pub const OVERHEAD_V1: usize = OVERHEAD_V0 + 8;

const COMPRESSION_MASK: u8 = 0x07;

/// One message, sharing memory with its set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// As stored; see [`Message::inner`] for those inside a wrapper.
    pub offset: i64,
    /// 0 or 1.
    pub magic: i8,
    /// Codec and timestamp type.
    pub attributes: u8,
    /// -1 in magic 0.
    pub timestamp: i64,
    /// May be null.
    pub key: Option<Bytes>,
    /// May be null.
    pub value: Option<Bytes>,
    /// The message from its CRC on.
    body: Bytes,
}

fn sized(buffer: &mut Bytes) -> Result<Option<Bytes>, RecordsError> {
    const SHORT: RecordsError = RecordsError::Malformed("a message's fields run past its end");
    let length = buffer.try_get_i32().map_err(|_| SHORT)?;
    let Ok(length) = usize::try_from(length) else { return Ok(None) };
    if length > buffer.len() {
        return Err(SHORT);
    }
    Ok(Some(buffer.split_to(length)))
}

/// Checks a message from its CRC on.
fn check_crc(body: &[u8]) -> Result<(), RecordsError> {
    let (stored, covered) =
        body.split_first_chunk().ok_or(RecordsError::Malformed("a message is shorter than its CRC"))?;
    let (stored, computed) = (u32::from_be_bytes(*stored), crc32fast::hash(covered));
    if stored == computed { Ok(()) } else { Err(RecordsError::Checksum { stored, computed }) }
}

impl Message {
    fn parse(offset: i64, body: &Bytes) -> Result<Self, RecordsError> {
        // Lengths that make no sense are damage if the checksum says so.
        Self::fields(offset, body).map_err(|error| match check_crc(body) {
            Err(damage @ RecordsError::Checksum { .. }) => damage,
            _ => error,
        })
    }

    fn fields(offset: i64, body: &Bytes) -> Result<Self, RecordsError> {
        const SHORT: RecordsError = RecordsError::Malformed("a message is shorter than its fields");
        let mut rest = body.clone();
        rest.try_get_u32().map_err(|_| SHORT)?;
        let magic = rest.try_get_i8().map_err(|_| SHORT)?;
        if magic != 0 && magic != 1 {
            return Err(RecordsError::BadMagic(magic));
        }
        let attributes = rest.try_get_u8().map_err(|_| SHORT)?;
        let timestamp = if magic == 0 { NONE } else { rest.try_get_i64().map_err(|_| SHORT)? };
        let key = sized(&mut rest)?;
        let value = sized(&mut rest)?;
        Ok(Self { offset, magic, attributes, timestamp, key, value, body: body.clone() })
    }

    /// The bytes after the length field.
    pub(crate) fn body_bytes(&self) -> usize {
        self.body.len()
    }

    /// The message's size in its set.
    pub fn message_bytes(&self) -> usize {
        LENGTH_OVERHEAD + self.body.len()
    }

    /// The codec; not none for a wrapper.
    ///
    /// # Errors
    /// An unknown codec, or zstd, which these formats do not have.
    pub fn compression(&self) -> Result<Compression, RecordsError> {
        match Compression::from_id(self.attributes & COMPRESSION_MASK)? {
            codec @ Compression::Zstd => Err(RecordsError::UnsupportedCompression { codec, magic: self.magic }),
            codec => Ok(codec),
        }
    }

    /// Whether the attributes name a codec, known or not.
    pub fn is_compressed(&self) -> bool {
        self.attributes & COMPRESSION_MASK != 0
    }

    /// Whose clock gave the timestamp.
    pub fn timestamp_type(&self) -> TimestampType {
        if self.magic == 1 && i16::from(self.attributes) & TIMESTAMP_TYPE_BIT != 0 {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        }
    }

    /// Compares the stored CRC with the bytes'.
    ///
    /// # Errors
    /// [`RecordsError::Checksum`].
    pub fn verify_crc(&self) -> Result<(), RecordsError> {
        check_crc(&self.body)
    }

    /// The messages that this one stands for: itself, or those it wraps, with absolute offsets and, under a wrapper with
    /// append time, the wrapper's timestamp. A cut-off message at the end of a wrapper is passed over, as Kafka does.
    ///
    /// # Errors
    /// A wrapper that cannot be decompressed to at most `limit` bytes, is empty, or contradicts its messages' offsets.
    pub fn inner(&self, limit: usize) -> Result<InnerMessages, RecordsError> {
        if !self.is_compressed() {
            return Ok(InnerMessages { single: Some(self.clone()), ..InnerMessages::default() });
        }
        let value = self.value.as_ref().ok_or(RecordsError::Malformed("a compressed message has a null value"))?;
        let set = compression::decompress(self.compression()?, self.magic, value, limit)?;
        let mut last_offset = None;
        let mut passed = MessageIter { rest: set.clone() };
        while let Some((offset, _)) = passed.cut_whole()? {
            last_offset = Some(offset);
        }
        let last_offset = last_offset.ok_or(RecordsError::Malformed("a compressed message wraps no messages"))?;
        let base_offset = match self.magic {
            1 if self.offset == 0 => 0,
            1 if self.offset < last_offset => {
                return Err(RecordsError::Malformed("a wrapper's offset lies below its last message's"));
            }
            1 => self.offset.wrapping_sub(last_offset),
            _ => 0,
        };
        let append_time = (self.timestamp_type() == TimestampType::LogAppendTime).then_some(self.timestamp);
        Ok(InnerMessages { single: None, set: MessageIter { rest: set }, base_offset, append_time })
    }
}

/// Iterates the messages of a set, wrappers as they are. Ends after the first error.
pub fn messages(bytes: &Bytes) -> MessageIter {
    MessageIter { rest: bytes.clone() }
}

/// See [`messages`].
#[derive(Clone, Debug, Default)]
pub struct MessageIter {
    rest: Bytes,
}

impl MessageIter {
    /// Cuts off the next message: its offset and its bytes from the CRC on. None at the end or before a cut-off message.
    fn cut_whole(&mut self) -> Result<Option<(i64, Bytes)>, RecordsError> {
        match self.cut() {
            Err(RecordsError::Truncated { .. }) => Ok(None),
            other => other,
        }
    }

    fn cut(&mut self) -> Result<Option<(i64, Bytes)>, RecordsError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let have = self.rest.len();
        if have < LENGTH_OVERHEAD {
            return Err(RecordsError::Truncated { have, need: LENGTH_OVERHEAD });
        }
        let mut head = &self.rest[..LENGTH_OVERHEAD];
        let (offset, length) = (head.get_i64(), head.get_i32());
        let size =
            usize::try_from(length).ok().filter(|&size| size >= OVERHEAD_V0).ok_or(RecordsError::BadLength(length))?;
        if have - LENGTH_OVERHEAD < size {
            return Err(RecordsError::Truncated { have, need: LENGTH_OVERHEAD + size });
        }
        self.rest.advance(LENGTH_OVERHEAD);
        Ok(Some((offset, self.rest.split_to(size))))
    }
}

impl Iterator for MessageIter {
    type Item = Result<Message, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let message = self.cut().transpose()?.and_then(|(offset, body)| Message::parse(offset, &body));
        if message.is_err() {
            self.rest.clear();
        }
        Some(message)
    }
}

/// See [`Message::inner`].
#[derive(Clone, Debug, Default)]
pub struct InnerMessages {
    single: Option<Message>,
    set: MessageIter,
    base_offset: i64,
    append_time: Option<i64>,
}

impl Iterator for InnerMessages {
    type Item = Result<Message, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(message) = self.single.take() {
            return Some(Ok(message));
        }
        let message = match self.set.next()? {
            Err(RecordsError::Truncated { .. }) => return None,
            Ok(message) if message.is_compressed() => Err(RecordsError::Malformed("compressed messages are nested")),
            Ok(mut message) => {
                message.offset = message.offset.wrapping_add(self.base_offset);
                if let (1, Some(time)) = (message.magic, self.append_time) {
                    message.timestamp = time;
                }
                Ok(message)
            }
            error => error,
        };
        if message.is_err() {
            self.set.rest.clear();
        }
        Some(message)
    }
}

/// Writes one message set: plain messages, or one wrapper around them.
#[derive(Clone, Debug)]
pub struct MessageSetBuilder {
    magic: i8,
    encoding: Encoding,
    append_time: Option<i64>,
    base_offset: Option<i64>,
    last_offset: i64,
    max_timestamp: i64,
    out: Vec<u8>,
}

impl MessageSetBuilder {
    /// An empty set of magic 0 or 1. With an append time, all messages of magic 1 get it.
    pub fn new(magic: i8, encoding: impl Into<Encoding>, append_time: Option<i64>) -> Self {
        Self {
            magic,
            encoding: encoding.into(),
            append_time: append_time.filter(|_| magic == 1),
            base_offset: None,
            last_offset: 0,
            max_timestamp: NONE,
            out: Vec::new(),
        }
    }

    /// Appends a message. Offsets must rise.
    ///
    /// # Errors
    /// [`RecordsError::BatchFull`] at 2 GiB.
    pub fn append(
        &mut self,
        offset: i64,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), RecordsError> {
        let timestamp = self.append_time.unwrap_or(timestamp);
        let base_offset = *self.base_offset.get_or_insert(offset);
        let relative = self.magic == 1 && self.encoding.codec != Compression::None;
        let stored_offset = if relative { offset.wrapping_sub(base_offset) } else { offset };
        let attributes = self.attributes(Compression::None);
        write_message(&mut self.out, self.magic, stored_offset, attributes, timestamp, key, value)?;
        self.last_offset = offset;
        self.max_timestamp = self.max_timestamp.max(timestamp);
        Ok(())
    }

    fn attributes(&self, codec: Compression) -> u8 {
        codec.id() | if self.append_time.is_some() { TIMESTAMP_TYPE_BIT as u8 } else { 0 }
    }

    /// The set's bytes, wrapped if a codec was asked for; nothing if nothing was appended.
    ///
    /// # Errors
    /// A codec that refuses or that the format does not have; [`RecordsError::BatchFull`] at 2 GiB.
    pub fn build(self) -> Result<Vec<u8>, RecordsError> {
        let codec = self.encoding.codec;
        if codec == Compression::Zstd {
            return Err(RecordsError::UnsupportedCompression { codec, magic: self.magic });
        }
        if codec == Compression::None || self.out.is_empty() {
            return Ok(self.out);
        }
        let value = compression::compress(self.encoding, self.magic, &self.out)?;
        let mut out = Vec::with_capacity(LENGTH_OVERHEAD + OVERHEAD_V1 + value.len());
        let attributes = self.attributes(codec);
        write_message(&mut out, self.magic, self.last_offset, attributes, self.max_timestamp, None, Some(&value))?;
        Ok(out)
    }
}

fn write_message(
    out: &mut Vec<u8>,
    magic: i8,
    offset: i64,
    attributes: u8,
    timestamp: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Result<(), RecordsError> {
    let overhead = if magic == 0 { OVERHEAD_V0 } else { OVERHEAD_V1 };
    let length = overhead + key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
    if out.len().saturating_add(length) > i32::MAX as usize - LENGTH_OVERHEAD {
        return Err(RecordsError::BatchFull("2 GiB"));
    }
    out.put_i64(offset);
    out.put_i32(length as i32);
    let crc_at = out.len();
    out.put_u32(0);
    out.put_i8(magic);
    out.put_u8(attributes);
    if magic == 1 {
        out.put_i64(timestamp);
    }
    for field in [key, value] {
        match field {
            None => out.put_i32(-1),
            Some(bytes) => {
                out.put_i32(bytes.len() as i32);
                out.put_slice(bytes);
            }
        }
    }
    let crc = crc32fast::hash(&out[crc_at + 4..]);
    out[crc_at..crc_at + 4].copy_from_slice(&crc.to_be_bytes());
    Ok(())
}
