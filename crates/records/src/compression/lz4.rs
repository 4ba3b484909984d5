//! LZ4 frames, and the broken ones of record format (magic) 0.
//!
//! ```text
//! bytes  field
//!     4  magic 04 22 4d 18
//!     1  FLG: version, block independence, checksums, content size present
//!     1  BD: largest block
//!     8  content size, if FLG says so
//!     1  second byte of the xxHash32 of the descriptor: FLG, BD and content size
//!   then blocks
//! ```
//!
//! Kafka's Java client hashed the frame's magic along with the descriptor (KAFKA-3160). Magic 0 keeps that mistake for
//! ever: writers must make it and readers must not look, since other clients wrote magic 0 with the right hash.

use std::io::{self, Chain, Cursor, Read, Write};

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
use xxhash_rust::xxh32::xxh32;

const MAGIC_BYTES: usize = 4;
const CONTENT_SIZE_BIT: u8 = 0x08;
const HEADER_BYTES_MAX: usize = MAGIC_BYTES + 2 + 8 + 1;

/// A frame whose header was checked or mended, and the rest of it.
pub(super) type Reader<'a> = FrameDecoder<Chain<io::Take<Cursor<[u8; HEADER_BYTES_MAX]>>, &'a [u8]>>;

/// Where the header's hash is, if the header is whole.
fn hash_at(frame: &[u8]) -> Option<usize> {
    let flags = *frame.get(MAGIC_BYTES)?;
    let at = MAGIC_BYTES + 2 + if flags & CONTENT_SIZE_BIT == 0 { 0 } else { 8 };
    (at < frame.len()).then_some(at)
}

fn second_byte(hash: u32) -> u8 {
    (hash >> 8) as u8
}

/// Reads one frame. For magic 0 the header's hash is made right first, whatever it was.
pub(super) fn reader(frame: &[u8], magic: i8) -> Reader<'_> {
    let mut header = [0; HEADER_BYTES_MAX];
    let mut length = 0;
    if magic == 0
        && let Some(at) = hash_at(frame)
    {
        length = at + 1;
        header[..at].copy_from_slice(&frame[..at]);
        header[at] = second_byte(xxh32(&frame[MAGIC_BYTES..at], 0));
    }
    FrameDecoder::new(Cursor::new(header).take(length as u64).chain(&frame[length..]))
}

/// Writes one frame as Kafka's Java client does: independent blocks of at most 64 KiB, no checksums of content.
pub(super) fn compress(bytes: &[u8], magic: i8) -> io::Result<Vec<u8>> {
    let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(bytes)?;
    let mut frame = encoder.finish().map_err(io::Error::other)?;
    if frame.is_empty() {
        return Ok(frame);
    }
    if magic == 0
        && let Some(at) = hash_at(&frame)
    {
        frame[at] = second_byte(xxh32(&frame[..at], 0));
    }
    Ok(frame)
}
