//! The parser's view of a decompressor's output, through one reused buffer.

use std::cell::RefCell;

use super::{Compression, Decompressor};
use crate::RecordsError;
use crate::varint::Input;

/// Output held at a time. Large enough that small records do not notice the seams.
const BUFFER_BYTES: usize = 32 * 1024;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Decompressed bytes, produced as they are consumed.
pub(crate) struct StreamInput<'a> {
    source: Decompressor<'a>,
    buffer: &'a mut [u8],
    at: usize,
    end: usize,
    /// Bytes that left the buffer.
    passed: u64,
}

impl StreamInput<'_> {
    /// Runs `read` over the decompressed form of `bytes`, with this thread's buffer.
    pub(crate) fn with<T>(
        codec: Compression,
        magic: i8,
        bytes: &[u8],
        limit: usize,
        read: impl FnOnce(&mut StreamInput<'_>) -> Result<T, RecordsError>,
    ) -> Result<T, RecordsError> {
        BUFFER.with_borrow_mut(|buffer| {
            buffer.resize(BUFFER_BYTES, 0);
            let source = Decompressor::new(codec, magic, bytes, limit)?;
            read(&mut StreamInput { source, buffer, at: 0, end: 0, passed: 0 })
        })
    }

    /// Whether everything was consumed.
    pub(crate) fn at_end(&mut self) -> Result<bool, RecordsError> {
        Ok(self.at == self.end && !self.fill()?)
    }

    /// Replaces the consumed buffer; false at the end.
    #[cold]
    fn fill(&mut self) -> Result<bool, RecordsError> {
        self.passed += self.end as u64;
        (self.at, self.end) = (0, 0);
        self.end = self.source.read(self.buffer)?;
        Ok(self.end > 0)
    }
}

const ENDS_EARLY: RecordsError = RecordsError::Malformed("the records end before their count is reached");

impl Input for StreamInput<'_> {
    #[inline]
    fn byte(&mut self) -> Result<u8, RecordsError> {
        if self.at == self.end && !self.fill()? {
            return Err(ENDS_EARLY);
        }
        let byte = self.buffer[self.at];
        self.at += 1;
        Ok(byte)
    }

    #[inline]
    fn skip(&mut self, mut count: usize) -> Result<(), RecordsError> {
        while count > self.end - self.at {
            count -= self.end - self.at;
            if !self.fill()? {
                return Err(ENDS_EARLY);
            }
        }
        self.at += count;
        Ok(())
    }

    #[inline]
    fn position(&self) -> u64 {
        self.passed + self.at as u64
    }
}
