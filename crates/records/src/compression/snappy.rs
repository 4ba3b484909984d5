//! Snappy, raw or in the framing of xerial's Java library, which Kafka's Java client writes.
//!
//! ```text
//! bytes  field
//!     8  82 'S' 'N' 'A' 'P' 'P' 'Y' 00
//!     4  version = 1
//!     4  lowest compatible version = 1
//!   then blocks:
//!     4  length
//!     …  one raw snappy block
//! ```
//!
//! Integers are big-endian. The header may come again between blocks, where streams were joined.

use std::io::{self, Read};

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const HEADER_BYTES: usize = 16;
/// What Kafka's Java client compresses at a time.
const BLOCK_BYTES: usize = 32 * 1024;
/// A snappy copy writes at most 64 bytes and takes at least 2; a block that claims more per byte lies.
const EXPANSION_MAX: usize = 32;

/// Decompresses block by block; of output it holds one block.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    framed: bool,
    block: Vec<u8>,
    at: usize,
    allowed: usize,
}

impl<'a> Reader<'a> {
    /// Stops with an error that [`is_too_large`] knows before it would make more than `limit` bytes.
    pub(super) fn new(bytes: &'a [u8], limit: usize) -> Self {
        let framed = bytes.len() >= HEADER_BYTES && bytes.starts_with(&MAGIC);
        Self { rest: bytes, framed, block: Vec::new(), at: 0, allowed: limit }
    }

    /// Cuts the next raw block off the input.
    fn cut(&mut self) -> io::Result<&'a [u8]> {
        if !self.framed {
            return Ok(std::mem::take(&mut self.rest));
        }
        while self.rest.starts_with(&MAGIC) {
            self.rest = self.rest.get(HEADER_BYTES..).ok_or(io::ErrorKind::UnexpectedEof)?;
        }
        if self.rest.is_empty() {
            return Ok(self.rest);
        }
        let (length, rest) = self.rest.split_first_chunk().ok_or(io::ErrorKind::UnexpectedEof)?;
        let (block, rest) =
            rest.split_at_checked(u32::from_be_bytes(*length) as usize).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.rest = rest;
        Ok(block)
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.block.len() {
            if self.rest.is_empty() {
                return Ok(0);
            }
            let block = self.cut()?;
            if block.is_empty() {
                continue;
            }
            let size = snap::raw::decompress_len(block)?;
            if size > block.len().saturating_mul(EXPANSION_MAX) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a block claims an impossible size"));
            }
            self.allowed = self.allowed.checked_sub(size).ok_or_else(|| io::Error::other(TooLarge))?;
            self.block.resize(size, 0);
            self.at = 0;
            snap::raw::Decoder::new().decompress(block, &mut self.block)?;
        }
        let count = buffer.len().min(self.block.len() - self.at);
        buffer[..count].copy_from_slice(&self.block[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("too many bytes")]
struct TooLarge;

/// Whether `error` says that the limit was reached.
pub(super) fn is_too_large(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|cause| cause.is::<TooLarge>())
}

/// Compresses in xerial's framing.
pub(super) fn compress(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(HEADER_BYTES + bytes.len() / 2);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&1u32.to_be_bytes());
    out.extend_from_slice(&1u32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    let mut block = vec![0; snap::raw::max_compress_len(BLOCK_BYTES)];
    for chunk in bytes.chunks(BLOCK_BYTES) {
        let length = encoder.compress(chunk, &mut block)?;
        out.extend_from_slice(&(length as u32).to_be_bytes());
        out.extend_from_slice(&block[..length]);
    }
    Ok(out)
}
