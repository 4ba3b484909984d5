//! The four codecs of Kafka, with bounded decompression.
//!
//! Decompression streams through [`Decompressor`], which counts what comes out and stops at the caller's limit. No
//! codec's claim about the size of its output reserves memory beyond what the input can really hold.

mod gzip;
mod lz4;
mod snappy;
mod stream;

use std::fmt;
use std::io::{self, Read, Write};

use bytes::Bytes;

use flate2::write::GzEncoder;

use crate::RecordsError;
pub(crate) use stream::StreamInput;

/// The usual limit on what one batch may decompress to: what an uncompressed request could have carried
/// (`socket.request.max.bytes`).
pub const DECOMPRESSED_BYTES_MAX: usize = 100 * 1024 * 1024;

/// Largest zstd window accepted, as a power of two; the library's own default, and what level 22 writes. The window is
/// virtual memory that is touched only as far as output is produced.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// How much output `decompress` asks for at a time; its buffer never outgrows the real output by more than doubling.
const STEP_BYTES: usize = 16 * 1024;

/// How the records of a batch are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy; in the framing of xerial's Java library, or raw.
    Snappy,
    /// The LZ4 frame format.
    Lz4,
    /// Zstandard; only in magic 2.
    Zstd,
}

impl Compression {
    /// From the low three bits of a batch's attributes.
    ///
    /// # Errors
    /// Numbers that Kafka never assigned.
    pub fn from_id(id: u8) -> Result<Self, RecordsError> {
        match id {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            other => Err(RecordsError::UnknownCompression(other)),
        }
    }

    /// The number in a batch's attributes.
    pub fn id(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// Kafka's name, as in `compression.type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// From Kafka's name; `uncompressed` is the topic setting's word for `none`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "none" | "uncompressed" => Some(Self::None),
            "gzip" => Some(Self::Gzip),
            "snappy" => Some(Self::Snappy),
            "lz4" => Some(Self::Lz4),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A codec and how hard it should try.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Encoding {
    /// The codec.
    pub codec: Compression,
    /// Its level, brought into the codec's range; `None` for the codec's default. Snappy and lz4 have one level only.
    pub level: Option<i32>,
}

impl From<Compression> for Encoding {
    fn from(codec: Compression) -> Self {
        Self { codec, level: None }
    }
}

/// The output of a codec over a slice, counted against a limit.
pub(crate) struct Decompressor<'a> {
    codec: Compression,
    kind: Kind<'a>,
    limit: usize,
    produced: usize,
}

enum Kind<'a> {
    None(&'a [u8]),
    Gzip(Box<gzip::Reader<'a>>),
    Snappy(snappy::Reader<'a>),
    Lz4(Box<lz4::Reader<'a>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, &'a [u8]>>),
}

impl<'a> Decompressor<'a> {
    /// A decompressor that fails once more than `limit` bytes come out. `magic` matters to lz4 alone.
    pub(crate) fn new(codec: Compression, magic: i8, bytes: &'a [u8], limit: usize) -> Result<Self, RecordsError> {
        let kind = match codec {
            Compression::None => Kind::None(bytes),
            Compression::Gzip => Kind::Gzip(Box::new(gzip::Reader::new(bytes))),
            Compression::Snappy => Kind::Snappy(snappy::Reader::new(bytes, limit)),
            Compression::Lz4 => Kind::Lz4(Box::new(lz4::reader(bytes, magic))),
            Compression::Zstd => {
                let zstd = zstd::stream::read::Decoder::with_buffer(bytes).and_then(|mut decoder| {
                    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                    Ok(decoder)
                });
                Kind::Zstd(Box::new(zstd.map_err(|error| failed(codec, &error))?))
            }
        };
        Ok(Self { codec, kind, limit, produced: 0 })
    }

    /// Fills some of `buffer`; 0 means the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, RecordsError> {
        let read = match &mut self.kind {
            Kind::None(reader) => reader.read(buffer),
            Kind::Gzip(reader) => reader.read(buffer),
            Kind::Snappy(reader) => reader.read(buffer),
            Kind::Lz4(reader) => reader.read(buffer),
            Kind::Zstd(reader) => reader.read(buffer),
        };
        let read = match read {
            Ok(read) => read,
            Err(error) if snappy::is_too_large(&error) => {
                return Err(RecordsError::DecompressedTooLarge { limit: self.limit });
            }
            Err(error) => return Err(failed(self.codec, &error)),
        };
        self.produced += read;
        if self.produced > self.limit {
            return Err(RecordsError::DecompressedTooLarge { limit: self.limit });
        }
        Ok(read)
    }
}

fn failed(codec: Compression, error: &io::Error) -> RecordsError {
    RecordsError::Decompress { codec, cause: error.to_string() }
}

/// Decompresses all of `bytes`.
///
/// # Errors
/// Broken data, or more than `limit` bytes of output.
pub fn decompress(codec: Compression, magic: i8, bytes: &[u8], limit: usize) -> Result<Bytes, RecordsError> {
    let mut source = Decompressor::new(codec, magic, bytes, limit)?;
    let mut out = Vec::new();
    let mut filled = 0;
    loop {
        if filled == out.len() {
            // Grows with what came out, never with what was claimed.
            out.resize((filled * 2).clamp(STEP_BYTES, limit.saturating_add(1).max(STEP_BYTES)), 0);
        }
        let read = source.read(&mut out[filled..])?;
        if read == 0 {
            out.truncate(filled);
            return Ok(Bytes::from(out));
        }
        filled += read;
    }
}

/// Compresses all of `bytes`, in the framing that Kafka's Java client writes. `magic` matters to lz4 alone.
///
/// # Errors
/// A codec that refuses, which means that memory ran out.
pub fn compress(encoding: Encoding, magic: i8, bytes: &[u8]) -> Result<Vec<u8>, RecordsError> {
    let Encoding { codec, level } = encoding;
    let out = match codec {
        Compression::None => Ok(bytes.to_vec()),
        Compression::Gzip => {
            let level = level.and_then(|level| u32::try_from(level).ok()).map(|level| level.clamp(1, 9));
            let level = level.map_or_else(flate2::Compression::default, flate2::Compression::new);
            let mut encoder = GzEncoder::new(Vec::new(), level);
            encoder.write_all(bytes).and_then(|()| encoder.finish())
        }
        Compression::Snappy => snappy::compress(bytes),
        Compression::Lz4 => lz4::compress(bytes, magic),
        Compression::Zstd => {
            let range = zstd::compression_level_range();
            let level = level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL).clamp(*range.start(), *range.end());
            zstd::stream::encode_all(bytes, level)
        }
    };
    out.map_err(|error| RecordsError::Compress { codec, cause: error.to_string() })
}
