//! Operations on producer ids.

use std::ops::Range;

use wire::broker::{MetaAllocateProducerIdsRequest, MetaAllocateProducerIdsResponse};

use super::values::incarnation;
use super::{Misfit, Request};
use crate::control::producer_ids::AllocateProducerIds;

impl Request for AllocateProducerIds {
    type Message = MetaAllocateProducerIdsRequest;

    fn to_request(&self) -> Result<Self::Message, Misfit> {
        Ok(MetaAllocateProducerIdsRequest { broker_id: self.owner.broker.0, broker_epoch: self.owner.epoch.0 })
    }

    fn from_request(request: Self::Message) -> Result<Self, Misfit> {
        Ok(Self { owner: incarnation(request.broker_id, request.broker_epoch) })
    }

    fn to_response(answer: Range<i64>) -> Result<MetaAllocateProducerIdsResponse, Misfit> {
        Ok(MetaAllocateProducerIdsResponse { start: answer.start, end: answer.end, ..Default::default() })
    }

    fn from_response(response: MetaAllocateProducerIdsResponse) -> Result<Range<i64>, Misfit> {
        let MetaAllocateProducerIdsResponse { start, end, .. } = response;
        if start < 0 || end < start {
            return Err(Misfit::Senseless { field: "end of the block of producer ids", value: end });
        }
        Ok(start..end)
    }
}
