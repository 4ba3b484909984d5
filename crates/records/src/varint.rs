//! Zigzag variable-length integers, as protocol buffers write them and record batches of magic 2 use them.

use bytes::BufMut;

use crate::RecordsError;

/// The longest encoding of a 32-bit value.
pub(crate) const VARINT_BYTES_MAX: usize = 5;
/// The longest encoding of a 64-bit value.
const VARLONG_BYTES_MAX: usize = 10;

/// A forward-only view of bytes: a slice in memory, or the output of a decompressor.
///
/// One parser serves both: over a slice it compiles to a tight loop, over a stream it never holds more than a buffer.
pub(crate) trait Input {
    /// The next byte.
    fn byte(&mut self) -> Result<u8, RecordsError>;
    /// Passes over `count` bytes.
    fn skip(&mut self, count: usize) -> Result<(), RecordsError>;
    /// How many bytes were consumed so far.
    fn position(&self) -> u64;
}

/// Bytes in memory.
pub(crate) struct SliceInput<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> SliceInput<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }
}

impl Input for SliceInput<'_> {
    #[inline]
    fn byte(&mut self) -> Result<u8, RecordsError> {
        let byte =
            *self.bytes.get(self.at).ok_or(RecordsError::Malformed("a record runs past the end of its batch"))?;
        self.at += 1;
        Ok(byte)
    }

    #[inline]
    fn skip(&mut self, count: usize) -> Result<(), RecordsError> {
        if count > self.remaining() {
            return Err(RecordsError::Malformed("a length runs past the end of the batch"));
        }
        self.at += count;
        Ok(())
    }

    #[inline]
    fn position(&self) -> u64 {
        self.at as u64
    }
}

#[inline]
fn unsigned<I: Input>(input: &mut I, bytes_max: usize) -> Result<u64, RecordsError> {
    let first = input.byte()?;
    if first < 0x80 {
        return Ok(u64::from(first));
    }
    let mut value = u64::from(first & 0x7f);
    for index in 1..bytes_max {
        let byte = input.byte()?;
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(RecordsError::Malformed("a variable-length integer does not end"))
}

/// A 32-bit value.
#[inline]
pub(crate) fn read_i32<I: Input>(input: &mut I) -> Result<i32, RecordsError> {
    // Kafka drops the bits beyond the 32nd of a five-byte encoding, and so does this.
    let raw = unsigned(input, VARINT_BYTES_MAX)? as u32;
    Ok(((raw >> 1) as i32) ^ -((raw & 1) as i32))
}

/// A 64-bit value.
#[inline]
pub(crate) fn read_i64<I: Input>(input: &mut I) -> Result<i64, RecordsError> {
    let raw = unsigned(input, VARLONG_BYTES_MAX)?;
    Ok(((raw >> 1) as i64) ^ -((raw & 1) as i64))
}

/// Writes `value`; 32-bit values have the same encoding.
pub(crate) fn write(out: &mut impl BufMut, value: i64) {
    let mut raw = ((value << 1) ^ (value >> 63)) as u64;
    while raw >= 0x80 {
        out.put_u8((raw as u8 & 0x7f) | 0x80);
        raw >>= 7;
    }
    out.put_u8(raw as u8);
}

/// How many bytes `write` takes for `value`.
pub(crate) fn size(value: i64) -> usize {
    let raw = ((value << 1) ^ (value >> 63)) as u64;
    (64 - (raw | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(value: i64, small: i32) {
            let mut out = Vec::new();
            write(&mut out, value);
            prop_assert_eq!(out.len(), size(value));
            prop_assert_eq!(read_i64(&mut SliceInput::new(&out)).unwrap(), value);
            out.clear();
            write(&mut out, i64::from(small));
            prop_assert!(out.len() <= VARINT_BYTES_MAX);
            prop_assert_eq!(read_i32(&mut SliceInput::new(&out)).unwrap(), small);
        }
    }

    #[test]
    fn an_endless_integer_is_refused() {
        assert!(read_i32(&mut SliceInput::new(&[0xff; 5])).is_err());
        assert!(read_i64(&mut SliceInput::new(&[0xff; 10])).is_err());
        assert!(read_i64(&mut SliceInput::new(&[0x80])).is_err());
    }
}
