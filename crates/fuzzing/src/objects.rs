//! Objects of streams: footer, index, blocks.

use base::{BrokerEpoch, BrokerId, Incarnation, Offset, OffsetRange, StreamEpoch, StreamId, TimestampMs};
use bytes::Bytes;
use stream::format::object::{FOOTER_BYTES, Footer};
use stream::format::{Block, Index, ObjectBuilder, ObjectKind};

/// Where a block's checksum stands.
const BLOCK_CRC_AT: usize = 44;

/// The bytes as an object, as an index, and as a block with the right checksum.
pub fn run(input: &Bytes) {
    object(input);
    if let Ok(index) = Index::decode(input, u64::MAX) {
        let again = Index::decode(&index.encode(), u64::MAX);
        assert_eq!(again.as_ref(), Ok(&index), "an index does not read itself");
    }
    let _ = Block::decode(input.clone());
    if let Some(sealed) = crate::sealed(input, BLOCK_CRC_AT)
        && let Ok(block) = Block::decode(sealed.into())
    {
        for at in 0..block.entries().len() {
            let _ = (block.entry_bytes(at), block.payload(at, at + 1));
        }
        let _ = (block.first_above(Offset(1)), block.weight());
    }
}

/// An object as readers walk it.
fn object(bytes: &Bytes) {
    let Some(footer_at) = bytes.len().checked_sub(FOOTER_BYTES) else { return };
    let Ok(footer) = Footer::decode(&bytes[footer_at..], bytes.len() as u64) else { return };
    let Ok(index) = footer.index(&bytes[footer.index_position as usize..footer_at]) else { return };
    for row in &index.blocks {
        let from = row.position as usize;
        let _ = Block::decode(bytes.slice(from..from + row.length as usize));
    }
}

/// A small object, its index and one of its blocks.
pub fn seeds() -> Vec<Vec<u8>> {
    let writer = Incarnation { broker: BrokerId(1), epoch: BrokerEpoch(2) };
    let mut builder = ObjectBuilder::new(writer, ObjectKind::StreamSet, 64);
    for stream in 1..3 {
        for base in 0..5 {
            let range = OffsetRange::new(Offset(base * 2), Offset(base * 2 + 2));
            let payload = [Bytes::from_static(&[7; 40])].into_iter().collect();
            builder.push(StreamId(stream), StreamEpoch(1), range, TimestampMs(5), &payload);
        }
        builder.push_checkpoint(StreamId(stream), StreamEpoch(1), Offset(10), Bytes::from_static(b"checkpoint"));
    }
    let object = builder.finish().payload.concat();
    let footer = Footer::decode(&object[object.len() - FOOTER_BYTES..], object.len() as u64).expect("a fresh footer");
    let index_at = footer.index_position as usize;
    let index = object[index_at..object.len() - FOOTER_BYTES].to_vec();
    let first = Index::decode(&index, footer.index_position).expect("a fresh index").blocks[0];
    let block = object[first.position as usize..][..first.length as usize].to_vec();
    vec![object, index, block]
}
