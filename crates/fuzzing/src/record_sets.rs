//! Record batches and message sets as clients send them, with every codec inside.

use base::TimestampMs;
use bytes::Bytes;
use records::compression::decompress;
use records::{
    BatchBuilder, Compression, ValidationConfig, batches, convert, find_max_timestamp, find_offset_by_timestamp,
    legacy, validate,
};

/// Decompressed bytes allowed; small, so that a bomb would be seen as slowness at once.
const LIMIT: usize = 256 << 10;
const CODECS: [Compression; 4] = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

/// Everything that the broker does to bytes of a producer.
pub fn run(input: &Bytes) {
    everything(input);
    if let Some(resealed) = resealed(input) {
        everything(&resealed.into());
    }
    if let Some((codec, rest)) = input.split_first() {
        for magic in 0..=2 {
            let _ = decompress(CODECS[usize::from(codec % 4)], magic, rest, LIMIT);
        }
    }
}

/// One pass over the bytes as they are.
pub fn everything(bytes: &Bytes) {
    let now = TimestampMs(1_700_000_005_000);
    let config = ValidationConfig { decompressed_bytes_max: LIMIT, ..ValidationConfig::default() };
    if let Ok(valid) = validate(bytes, &config, now) {
        let again = validate(&valid.batch.to_bytes(), &config, now);
        assert!(again.is_ok(), "what was accepted is refused: {again:?}");
    }
    let recompressed = ValidationConfig { compression: Some(Compression::Lz4.into()), compacted: true, ..config };
    let _ = validate(bytes, &recompressed, now);
    for batch in batches(bytes).flatten() {
        let _ = batch.verify_crc();
        if let Ok(records) = batch.records(LIMIT) {
            let _ = records.count();
        }
    }
    for message in legacy::messages(bytes).flatten() {
        if let Ok(inner) = message.inner(LIMIT) {
            let _ = inner.count();
        }
    }
    let _ = convert::up_convert(bytes, Compression::None, LIMIT);
    let _ = convert::down_convert(bytes, 0, 0, LIMIT);
    let _ = convert::down_convert(bytes, 1, 0, LIMIT);
    let _ = find_offset_by_timestamp(bytes, 0, 0, LIMIT);
    let _ = find_max_timestamp(bytes, LIMIT);
}

/// With the right checksum in the first batch or message.
pub fn resealed(bytes: &[u8]) -> Option<Vec<u8>> {
    let length = u32::from_be_bytes(*bytes.get(8..)?.first_chunk()?) as usize;
    let end = length.saturating_add(12).min(bytes.len());
    let mut bytes = bytes.to_vec();
    if *bytes.get(16)? == 2 {
        let crc = base::checksum::crc32c(bytes.get(21..end)?);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    } else {
        let crc = crc32fast::hash(bytes.get(16..end)?);
        bytes[12..16].copy_from_slice(&crc.to_be_bytes());
    }
    Some(bytes)
}

/// A batch of each codec, and the same as message sets of magic 0 and 1.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for codec in [Compression::None].into_iter().chain(CODECS) {
        let mut batch = BatchBuilder::new(codec);
        for record in 0..3_u8 {
            let appended = batch.append(1_700_000_000_000, Some(&[record]), Some(&[record; 40]), &[]);
            appended.expect("a small record fits");
        }
        let batch = batch.build().expect("a small batch is built");
        for magic in 0..=1 {
            seeds.extend(convert::down_convert(&batch, magic, 0, LIMIT).ok().map(|bytes| bytes.to_vec()));
        }
        seeds.push(batch.to_vec());
    }
    seeds
}
