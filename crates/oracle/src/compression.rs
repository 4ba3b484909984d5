//! The codecs as clients frame them.

use std::io::{Read, Write};

use anyhow::{Context, Result, bail, ensure};

/// Kafka's codecs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// As it is.
    None,
    /// RFC 1952.
    Gzip,
    /// Blocks behind the header of snappy-java.
    Snappy,
    /// Frames.
    Lz4,
    /// RFC 8878.
    Zstd,
}

/// What snappy-java writes first: its magic, version 1, compatible with 1.
const XERIAL: &[u8] = &[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
/// Plain bytes in one block of it.
const XERIAL_BLOCK: usize = 32 << 10;

impl Codec {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// By the name that configurations use.
    ///
    /// # Errors
    /// When there is none.
    pub fn named(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|codec| codec.name() == name).with_context(|| format!("no codec is called '{name}'"))
    }

    /// The name that configurations use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The lowest bits of a batch's attributes.
    pub const fn bits(self) -> i64 {
        self as i64
    }

    /// The codec of a batch's attributes.
    ///
    /// # Errors
    /// When there is none.
    pub fn of_bits(attributes: i64) -> Result<Self> {
        Self::ALL.get((attributes & 7) as usize).copied().with_context(|| format!("no codec {}", attributes & 7))
    }
}

/// Compresses as a client does for a format of the log.
///
/// # Errors
/// When the codec fails.
pub fn compress(codec: Codec, plain: &[u8], magic: u8) -> Result<Vec<u8>> {
    Ok(match codec {
        Codec::None => plain.to_vec(),
        Codec::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(plain)?;
            encoder.finish()?
        }
        Codec::Snappy => {
            let mut out = XERIAL.to_vec();
            for block in plain.chunks(XERIAL_BLOCK) {
                let packed = snap::raw::Encoder::new().compress_vec(block)?;
                out.extend((packed.len() as u32).to_be_bytes());
                out.extend(packed);
            }
            out
        }
        Codec::Lz4 => {
            let info = lz4_flex::frame::FrameInfo::new().block_size(lz4_flex::frame::BlockSize::Max64KB);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(plain)?;
            let mut out = encoder.finish()?;
            if magic == 0 {
                // KAFKA-3160: the descriptor's checksum took in the magic number.
                let end = descriptor_end(&out)?;
                out[end] = (xxhash_rust::xxh32::xxh32(&out[..end], 0) >> 8) as u8;
            }
            out
        }
        Codec::Zstd => zstd::bulk::compress(plain, 3)?,
    })
}

/// Where the checksum of a frame's descriptor stands.
fn descriptor_end(frame: &[u8]) -> Result<usize> {
    let flags = *frame.get(4).context("no frame")?;
    Ok(6 + if flags & 8 != 0 { 8 } else { 0 })
}

/// The plain bytes.
///
/// # Errors
/// When they are not what the codec writes.
pub fn decompress(codec: Codec, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    match codec {
        Codec::None => out.extend(bytes),
        Codec::Gzip => drop(flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut out)?),
        Codec::Snappy if bytes.starts_with(&XERIAL[..8]) => {
            let mut rest = &bytes[16..];
            while let Some((length, behind)) = rest.split_first_chunk::<4>() {
                let length = u32::from_be_bytes(*length) as usize;
                ensure!(length <= behind.len(), "a block of {length} bytes");
                out.extend(snap::raw::Decoder::new().decompress_vec(&behind[..length])?);
                rest = &behind[length..];
            }
        }
        Codec::Snappy => out = snap::raw::Decoder::new().decompress_vec(bytes)?,
        Codec::Lz4 => {
            // The checksum of formats 0 is wrong on purpose: it is set right before it is looked at.
            let mut frame = bytes.to_vec();
            let end = descriptor_end(&frame)?;
            if end >= frame.len() {
                bail!("no frame");
            }
            frame[end] = (xxhash_rust::xxh32::xxh32(&frame[4..end], 0) >> 8) as u8;
            lz4_flex::frame::FrameDecoder::new(&frame[..]).read_to_end(&mut out)?;
        }
        Codec::Zstd => drop(zstd::stream::read::Decoder::new(bytes)?.read_to_end(&mut out)?),
    }
    Ok(out)
}
