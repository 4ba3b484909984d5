//! Producer ids, handed out in blocks.

use std::ops::Range;

use base::{Incarnation, TimestampMs};
use stream::catalogue::Decision;
use wire::meta::{MetadataRecord, ProducerIdsRecord};

use super::Operation;
use crate::image::Image;

/// Producer ids in one block.
pub const PRODUCER_IDS_BLOCK: i64 = 1_000;

/// Hands out a block of [`PRODUCER_IDS_BLOCK`] producer ids that nobody else ever gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AllocateProducerIds {
    pub owner: Incarnation,
}

impl Operation for AllocateProducerIds {
    type Answer = Range<i64>;

    fn decide(self, image: &Image, _: TimestampMs) -> Decision<Self::Answer> {
        let start = image.next_producer_id;
        let next = start.saturating_add(PRODUCER_IDS_BLOCK);
        let record = ProducerIdsRecord {
            broker_id: self.owner.broker.0,
            broker_epoch: self.owner.epoch.0,
            next_producer_id: next,
            ..Default::default()
        };
        Decision { records: vec![record.into()], response: start..next }
    }
}

pub(crate) fn replay(image: &mut Image, r: &ProducerIdsRecord) {
    image.next_producer_id = r.next_producer_id;
}

/// The record that says which ids were handed out.
pub(crate) fn snapshot(image: &Image, out: &mut Vec<MetadataRecord>) {
    let next_producer_id = image.next_producer_id;
    out.push(ProducerIdsRecord { broker_id: -1, broker_epoch: -1, next_producer_id, ..Default::default() }.into());
}
