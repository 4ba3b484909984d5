use base::{BrokerEpoch, BrokerId, Incarnation, Offset, OffsetRange, StreamEpoch, StreamId, TimestampMs};
use bytes::Bytes;
use proptest::prelude::*;

use super::object::{FOOTER_BYTES, Footer};
use super::*;
use crate::Fragments;

const WRITER: Incarnation = Incarnation { broker: BrokerId(3), epoch: BrokerEpoch(77) };

fn fragments(parts: &[&[u8]]) -> Fragments {
    parts.iter().map(|p| Bytes::copy_from_slice(p)).collect()
}

fn range(start: u64, end: u64) -> OffsetRange {
    OffsetRange::new(Offset(start), Offset(end))
}

fn sample() -> BuiltObject {
    let mut object = ObjectBuilder::new(WRITER, ObjectKind::StreamSet, 16);
    object.push(StreamId(1), StreamEpoch(0), range(0, 2), TimestampMs(1_000), &fragments(&[b"he", b"ader"]));
    object.push(StreamId(1), StreamEpoch(0), range(2, 3), TimestampMs(900), &fragments(&[b"second"]));
    object.push(
        StreamId(1),
        StreamEpoch(0),
        range(3, 9),
        TimestampMs(-1),
        &fragments(&[b"third, in a block of its own"]),
    );
    object.push_checkpoint(StreamId(1), StreamEpoch(0), Offset(9), Bytes::from_static(b"state"));
    object.push(StreamId(7), StreamEpoch(4), range(100, 101), TimestampMs(5), &fragments(&[b"other"]));
    object.finish()
}

fn whole(object: &BuiltObject) -> Vec<u8> {
    object.payload.concat()
}

fn open(bytes: &[u8]) -> Result<(Footer, Index), FormatError> {
    let footer = Footer::decode(&bytes[bytes.len() - FOOTER_BYTES..], bytes.len() as u64)?;
    let at = footer.index_position as usize;
    let index = footer.index(&bytes[at..at + footer.index_length as usize])?;
    Ok((footer, index))
}

#[test]
fn an_object_gives_back_what_was_put_in() {
    let object = sample();
    let bytes = whole(&object);
    assert_eq!(bytes.len() as u64, object.length);
    let (footer, index) = open(&bytes).unwrap();
    assert_eq!((footer.writer, footer.kind), (WRITER, ObjectKind::StreamSet));
    let rows = index.blocks_of(StreamId(1));
    assert_eq!(rows.iter().map(|r| r.range).collect::<Vec<_>>(), [range(0, 3), range(3, 9)]);
    let row = rows[0];
    let at = row.position as usize;
    let block = Block::decode(Bytes::copy_from_slice(&bytes[at..at + row.length as usize])).unwrap();
    assert_eq!(&block.payload(0, 2)[..], b"headersecond");
    assert_eq!(block.first_above(Offset(1)), 0);
    assert_eq!(block.first_above(Offset(2)), 1);
    assert_eq!(row.max_timestamp, TimestampMs(1_000));
    let side = index.side_of(StreamId(1)).unwrap();
    assert_eq!(&bytes[side.position as usize..][..side.length as usize], b"state");
    assert_eq!(side.offset, Offset(9));
    assert_eq!(object.extents.len(), 2);
    assert_eq!((object.extents[0].range, object.extents[0].bytes), (range(0, 9), 40));
    assert!(index.blocks_of(StreamId(2)).is_empty() && index.side_of(StreamId(7)).is_none());
}

/// The bytes of format 1. A change here is a new format version, not a new golden file.
#[test]
fn format_1_is_these_bytes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/object-1.bin");
    let bytes = whole(&sample());
    if std::env::var_os("HEADWATER_WRITE_GOLDEN").is_some() {
        std::fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
        std::fs::write(path, &bytes).unwrap();
    }
    assert_eq!(std::fs::read(path).unwrap(), bytes);
}

#[test]
fn every_flipped_bit_is_found() {
    let good = whole(&sample());
    let (_, index) = open(&good).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let found = match open(&bad) {
            Err(error) => {
                assert!(!error.is_newer(), "a flipped bit at {at} is taken for a newer format");
                true
            }
            Ok((_, now)) => {
                // The footer's two zero words carry nothing; a flip in a side block is found by its CRC in the index.
                let block_bad = now.blocks.iter().any(|b| {
                    let bytes = &bad[b.position as usize..][..b.length as usize];
                    let refused = Block::decode(Bytes::copy_from_slice(bytes)).err();
                    assert!(!refused.as_ref().is_some_and(FormatError::is_newer), "at {at}: {refused:?}");
                    refused.is_some()
                });
                let side_bad = now
                    .sides
                    .iter()
                    .any(|s| base::checksum::crc32c(&bad[s.position as usize..][..s.length as usize]) != s.crc);
                let unused = bad.len() - FOOTER_BYTES + 36..bad.len() - FOOTER_BYTES + 40;
                block_bad || side_bad || (unused.contains(&at) && now == index)
            }
        };
        assert!(found, "a flipped bit at {at} goes unnoticed");
    }
}

#[test]
fn what_a_newer_release_wrote_is_not_damaged() {
    let good = whole(&sample());
    let (_, index) = open(&good).unwrap();
    let row = &index.blocks_of(StreamId(1))[0];
    let mut block = good[row.position as usize..][..row.length as usize].to_vec();
    block[5] += 1;
    let crc = base::checksum::crc32c(&[&block[..44], &block[48..]].concat());
    block[44..48].copy_from_slice(&crc.to_be_bytes());
    let newer = Block::decode(block.into()).unwrap_err();
    assert!(newer.is_newer(), "{newer}");

    let mut bytes = good;
    let footer = bytes.len() - FOOTER_BYTES;
    let kind = footer + 28;
    assert_eq!(bytes[kind], ObjectKind::StreamSet.code() as u8);
    bytes[kind] = 9;
    let crc = base::checksum::crc32c(&bytes[footer..footer + 32]);
    bytes[footer + 32..footer + 36].copy_from_slice(&crc.to_be_bytes());
    let newer = open(&bytes).unwrap_err();
    assert!(newer.is_newer(), "{newer}");
}

#[test]
fn an_object_cut_short_anywhere_is_refused() {
    let good = whole(&sample());
    for length in 0..good.len() {
        let cut = &good[..length];
        let refused = cut.len() < FOOTER_BYTES || open(cut).is_err();
        assert!(refused, "cut at {length}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Block::decode(Bytes::from(bytes.clone()));
        let _ = Index::decode(&bytes, u64::MAX);
        let _ = Footer::decode(&bytes, bytes.len() as u64);
    }

    #[test]
    fn entries_survive_any_cutting(
        lengths in proptest::collection::vec((0usize..40, 1u64..5), 1..60),
        block_bytes in 1usize..100,
    ) {
        let mut object = ObjectBuilder::new(WRITER, ObjectKind::Stream, block_bytes);
        let mut next = 10;
        let mut expected = Vec::new();
        for (i, (length, covered)) in lengths.iter().enumerate() {
            let payload = vec![i as u8; *length];
            object.push(StreamId(5), StreamEpoch(1), range(next, next + covered), TimestampMs(i as i64), &fragments(&[&payload]));
            expected.push((range(next, next + covered), payload));
            next += covered;
        }
        let bytes = whole(&object.finish());
        let (_, index) = open(&bytes).unwrap();
        let mut found = Vec::new();
        for row in index.blocks_of(StreamId(5)) {
            let block = Block::decode(Bytes::copy_from_slice(&bytes[row.position as usize..][..row.length as usize])).unwrap();
            for (i, e) in block.entries().iter().enumerate() {
                found.push((e.range, block.payload(i, i + 1).to_vec()));
            }
        }
        prop_assert_eq!(found, expected);
    }
}
