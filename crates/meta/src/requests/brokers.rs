//! Operations on registered brokers.

use wire::broker::{
    BrokerRefusal, MetaSetBrokerStateRequest, MetaSetBrokerStateResponse, MetaUnregisterBrokerRequest,
    MetaUnregisterBrokerResponse,
};

use super::refusals::{failure, incarnation_refusal, incarnation_rejection, meta_error};
use super::values::{incarnation, only, unknown_kind};
use super::{Misfit, Request};
use crate::control::brokers::{SetBrokerState, UnregisterBroker};
use crate::error::BrokerError;
use crate::image::BrokerState;

fn refusal(error: &BrokerError) -> Result<BrokerRefusal, Misfit> {
    let of = |kind| BrokerRefusal { kind, ..Default::default() };
    Ok(match error {
        BrokerError::Stale(id) => BrokerRefusal { broker_id: id.broker.0, broker_epoch: id.epoch.0, ..of(0) },
        BrokerError::NotDrained(id) => BrokerRefusal { broker_id: id.broker.0, broker_epoch: id.epoch.0, ..of(1) },
        BrokerError::Incarnation(rejection) => {
            BrokerRefusal { incarnation: vec![incarnation_refusal(rejection)?], ..of(2) }
        }
        BrokerError::Meta(error) => BrokerRefusal { meta: vec![failure(error)?], ..of(3) },
    })
}

fn error(r: BrokerRefusal) -> Result<BrokerError, Misfit> {
    let id = incarnation(r.broker_id, r.broker_epoch);
    Ok(match r.kind {
        0 => BrokerError::Stale(id),
        1 => BrokerError::NotDrained(id),
        2 => BrokerError::Incarnation(incarnation_rejection(only(r.incarnation, "refusals of an incarnation")?)?),
        3 => BrokerError::Meta(meta_error(&only(r.meta, "failures")?)?),
        kind => return Err(unknown_kind("kind of refusal of a broker", kind)),
    })
}

impl Request for SetBrokerState {
    type Message = MetaSetBrokerStateRequest;

    fn to_request(&self) -> Result<Self::Message, Misfit> {
        let Self { id, state } = self;
        Ok(MetaSetBrokerStateRequest { broker_id: id.broker.0, broker_epoch: id.epoch.0, state: state.code() })
    }

    fn from_request(request: Self::Message) -> Result<Self, Misfit> {
        let state = BrokerState::from_code(request.state).ok_or(unknown_kind("broker state", request.state))?;
        Ok(Self { id: incarnation(request.broker_id, request.broker_epoch), state })
    }

    fn to_response(answer: Self::Answer) -> Result<MetaSetBrokerStateResponse, Misfit> {
        let refusal = answer.err().map(|why| refusal(&why)).transpose()?;
        Ok(MetaSetBrokerStateResponse { refusal, ..Default::default() })
    }

    fn from_response(response: MetaSetBrokerStateResponse) -> Result<Self::Answer, Misfit> {
        response.refusal.map_or(Ok(Ok(())), |refusal| error(refusal).map(Err))
    }
}

impl Request for UnregisterBroker {
    type Message = MetaUnregisterBrokerRequest;

    fn to_request(&self) -> Result<Self::Message, Misfit> {
        Ok(MetaUnregisterBrokerRequest { broker_id: self.id.broker.0, broker_epoch: self.id.epoch.0 })
    }

    fn from_request(request: Self::Message) -> Result<Self, Misfit> {
        Ok(Self { id: incarnation(request.broker_id, request.broker_epoch) })
    }

    fn to_response(answer: Self::Answer) -> Result<MetaUnregisterBrokerResponse, Misfit> {
        let refusal = answer.err().map(|why| refusal(&why)).transpose()?;
        Ok(MetaUnregisterBrokerResponse { refusal, ..Default::default() })
    }

    fn from_response(response: MetaUnregisterBrokerResponse) -> Result<Self::Answer, Misfit> {
        response.refusal.map_or(Ok(Ok(())), |refusal| error(refusal).map(Err))
    }
}
