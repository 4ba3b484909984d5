//! Between record formats: old producers' messages into batches, batches into what old consumers can read.

use bytes::{BufMut, Bytes, BytesMut};

use crate::batch::{HEADER_BYTES, LENGTH_OVERHEAD};
use crate::legacy::{self, MessageSetBuilder};
use crate::{BatchBuilder, Compression, Encoding, RecordsError, batches, record};

/// Makes one batch of magic 2 of a message set of magic 0 or 1, with offsets counted from 0. Checks CRCs; applies none of
/// the rules of [`crate::validate()`]. A cut-off message at the end is passed over.
///
/// # Errors
/// Broken messages, or a wrapper that decompresses to more than `limit` bytes.
pub fn up_convert(
    messages: &Bytes,
    encoding: impl Into<Encoding>,
    limit: usize,
) -> Result<Option<Bytes>, RecordsError> {
    let mut builder = BatchBuilder::new(encoding);
    for message in legacy::messages(messages) {
        let message = match message {
            Err(RecordsError::Truncated { .. }) => break,
            other => other?,
        };
        message.verify_crc()?;
        for inner in message.inner(limit)? {
            let inner = inner?;
            inner.verify_crc()?;
            builder.append(inner.timestamp, inner.key.as_deref(), inner.value.as_deref(), &[])?;
        }
    }
    if builder.record_count() == 0 { Ok(None) } else { builder.build().map(Some) }
}

/// Makes a message set of magic 0 or 1 of batches of magic 2, for a fetch from `first_offset`. Control batches and headers
/// are dropped; offsets and codecs stay. One batch's decompressed form is held at a time.
///
/// If nothing survives, the answer is the start of a message that is longer than the response: a consumer then knows that
/// there is data here and either fetches on with a larger size or reports it, instead of waiting for ever.
///
/// # Errors
/// [`RecordsError::UnsupportedCompression`] for zstd, which Kafka answers with UNSUPPORTED_COMPRESSION_TYPE; broken
/// batches; a batch that decompresses to more than `limit` bytes.
pub fn down_convert(bytes: &Bytes, to_magic: i8, first_offset: i64, limit: usize) -> Result<Bytes, RecordsError> {
    down_convert_within(bytes, to_magic, first_offset, limit, usize::MAX)
}

/// The same, cut to `size`, in the middle of a message if need be, or to what the first batch gives where that is more: so
/// much Kafka sends of batches of that size.
///
/// # Errors
/// As of [`down_convert`].
pub fn down_convert_within(
    bytes: &Bytes,
    to_magic: i8,
    first_offset: i64,
    limit: usize,
    size: usize,
) -> Result<Bytes, RecordsError> {
    if to_magic != 0 && to_magic != 1 {
        return Err(RecordsError::BadMagic(to_magic));
    }
    let (mut out, mut size) = (BytesMut::new(), size);
    for batch in batches(bytes) {
        if !out.is_empty() && out.len() >= size {
            break;
        }
        let batch = batch?;
        if batch.header.is_control() {
            continue;
        }
        let codec = batch.header.compression()?;
        if codec == Compression::Zstd {
            // What was readable before goes out; the next fetch starts here and gets the error.
            if !out.is_empty() {
                break;
            }
            return Err(RecordsError::UnsupportedCompression { codec, magic: to_magic });
        }
        let mut builder = MessageSetBuilder::new(to_magic, codec, record::append_time(&batch.header));
        for record in batch.records(limit)? {
            let record = record?;
            if codec == Compression::None && record.offset < first_offset {
                continue;
            }
            builder.append(record.offset, record.timestamp, record.key.as_deref(), record.value.as_deref())?;
        }
        let is_first = out.is_empty();
        out.extend_from_slice(&builder.build()?);
        if is_first {
            size = size.max(out.len());
        }
    }
    out.truncate(size);
    if out.is_empty() && !bytes.is_empty() {
        out.put_i64(-1);
        out.put_i32(HEADER_BYTES as i32);
        const { assert!(size_of::<i64>() + size_of::<i32>() == LENGTH_OVERHEAD) };
    }
    Ok(out.freeze())
}
