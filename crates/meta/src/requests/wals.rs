//! Operations on WAL incarnations.

use stream::catalogue::{IncarnationRejection, Recovered, WalPlace};
use wire::broker::{
    IncarnationRefusal, MetaAbandonWalRequest, MetaAbandonWalResponse, MetaAdoptStreamsRequest,
    MetaAdoptStreamsResponse, MetaOpenWalRequest, MetaOpenWalResponse, MetaRemoveWalRequest, MetaRemoveWalResponse,
    MetaWalClearedRequest, MetaWalClearedResponse, MetaWalDamagedRequest, MetaWalDamagedResponse,
    MetaWalDrainedRequest, MetaWalDrainedResponse, MetaWalRecoveredRequest, MetaWalRecoveredResponse,
};

use super::refusals::{incarnation_refusal, incarnation_rejection};
use super::values::{count, incarnation, position, shared, signed, signed_count, streams, streams_bits};
use super::{Misfit, Request};
use crate::control::wals::{
    ADOPT_STREAMS_MAX, AbandonWal, AdoptStreams, OpenWal, RemoveWal, WalCleared, WalDamaged, WalDrained, WalRecovered,
};

fn refusal(answer: Result<(), IncarnationRejection>) -> Result<Option<IncarnationRefusal>, Misfit> {
    answer.err().map(|why| incarnation_refusal(&why)).transpose()
}

fn outcome(refusal: Option<IncarnationRefusal>) -> Result<Result<(), IncarnationRejection>, Misfit> {
    refusal.map_or(Ok(Ok(())), |refusal| incarnation_rejection(refusal).map(Err))
}

impl Request for OpenWal {
    type Message = MetaOpenWalRequest;

    fn to_request(&self) -> Result<Self::Message, Misfit> {
        let Self { id, place } = self;
        Ok(MetaOpenWalRequest {
            broker_id: id.broker.0,
            broker_epoch: id.epoch.0,
            wal_kind: place.kind,
            wal_location: (&*place.location).into(),
        })
    }

    fn from_request(request: Self::Message) -> Result<Self, Misfit> {
        let place = WalPlace { kind: request.wal_kind, location: shared(&request.wal_location) };
        Ok(Self { id: incarnation(request.broker_id, request.broker_epoch), place })
    }

    fn to_response(answer: Self::Answer) -> Result<MetaOpenWalResponse, Misfit> {
        Ok(MetaOpenWalResponse { refusal: refusal(answer)?, ..Default::default() })
    }

    fn from_response(response: MetaOpenWalResponse) -> Result<Self::Answer, Misfit> {
        outcome(response.refusal)
    }
}

impl Request for AdoptStreams {
    type Message = MetaAdoptStreamsRequest;

    fn to_request(&self) -> Result<Self::Message, Misfit> {
        let Self { id, max } = self;
        let streams_max = signed_count(*max, "streams to adopt")?;
        Ok(MetaAdoptStreamsRequest { broker_id: id.broker.0, broker_epoch: id.epoch.0, streams_max })
    }

    fn from_request(request: Self::Message) -> Result<Self, Misfit> {
        let field = "streams to adopt";
        let max = count(request.streams_max, field)?;
        if max > ADOPT_STREAMS_MAX {
            return Err(Misfit::Senseless { field, value: request.streams_max.into() });
        }
        Ok(Self { id: incarnation(request.broker_id, request.broker_epoch), max })
    }

    fn to_response(answer: Self::Answer) -> Result<MetaAdoptStreamsResponse, Misfit> {
        Ok(MetaAdoptStreamsResponse { stream_ids: streams_bits(&answer), ..Default::default() })
    }

    fn from_response(response: MetaAdoptStreamsResponse) -> Result<Self::Answer, Misfit> {
        Ok(streams(response.stream_ids))
    }
}

impl Request for WalRecovered {
    type Message = MetaWalRecoveredRequest;

    fn to_request(&self) -> Result<Self::Message, Misfit> {
        let Self { log, taker, final_position } = self;
        Ok(MetaWalRecoveredRequest {
            broker_id: log.broker.0,
            broker_epoch: log.epoch.0,
            taker_id: taker.broker.0,
            taker_epoch: taker.epoch.0,
            final_position: signed(final_position.0, "final position")?,
        })
    }

    fn from_request(request: Self::Message) -> Result<Self, Misfit> {
        Ok(Self {
            log: incarnation(request.broker_id, request.broker_epoch),
            taker: incarnation(request.taker_id, request.taker_epoch),
            final_position: position(request.final_position, "final position")?,
        })
    }

    fn to_response(answer: Self::Answer) -> Result<MetaWalRecoveredResponse, Misfit> {
        Ok(match answer {
            Ok(Recovered { opened, more }) => {
                MetaWalRecoveredResponse { stream_ids: streams_bits(&opened), more, ..Default::default() }
            }
            Err(why) => MetaWalRecoveredResponse { refusal: refusal(Err(why))?, ..Default::default() },
        })
    }

    fn from_response(response: MetaWalRecoveredResponse) -> Result<Self::Answer, Misfit> {
        let MetaWalRecoveredResponse { refusal, stream_ids, more, .. } = response;
        Ok(outcome(refusal)?.map(|()| Recovered { opened: streams(stream_ids), more }))
    }
}

impl Request for WalDamaged {
    type Message = MetaWalDamagedRequest;

    fn to_request(&self) -> Result<Self::Message, Misfit> {
        let Self { log, taker, reason } = self;
        Ok(MetaWalDamagedRequest {
            broker_id: log.broker.0,
            broker_epoch: log.epoch.0,
            taker_id: taker.broker.0,
            taker_epoch: taker.epoch.0,
            reason: reason.into(),
        })
    }

    fn from_request(request: Self::Message) -> Result<Self, Misfit> {
        Ok(Self {
            log: incarnation(request.broker_id, request.broker_epoch),
            taker: incarnation(request.taker_id, request.taker_epoch),
            reason: request.reason.into(),
        })
    }

    fn to_response(answer: Self::Answer) -> Result<MetaWalDamagedResponse, Misfit> {
        Ok(MetaWalDamagedResponse { refusal: refusal(answer)?, ..Default::default() })
    }

    fn from_response(response: MetaWalDamagedResponse) -> Result<Self::Answer, Misfit> {
        outcome(response.refusal)
    }
}

impl Request for WalDrained {
    type Message = MetaWalDrainedRequest;

    fn to_request(&self) -> Result<Self::Message, Misfit> {
        let final_position = signed(self.final_position.0, "final position")?;
        Ok(MetaWalDrainedRequest { broker_id: self.log.broker.0, broker_epoch: self.log.epoch.0, final_position })
    }

    fn from_request(request: Self::Message) -> Result<Self, Misfit> {
        let final_position = position(request.final_position, "final position")?;
        Ok(Self { log: incarnation(request.broker_id, request.broker_epoch), final_position })
    }

    fn to_response(answer: Self::Answer) -> Result<MetaWalDrainedResponse, Misfit> {
        Ok(MetaWalDrainedResponse { refusal: refusal(answer)?, ..Default::default() })
    }

    fn from_response(response: MetaWalDrainedResponse) -> Result<Self::Answer, Misfit> {
        outcome(response.refusal)
    }
}

/// A step of which nothing is said but the incarnation.
macro_rules! plain_steps {
    ($($operation:ident: $request:ident, $response:ident;)*) => {$(
        impl Request for $operation {
            type Message = $request;

            fn to_request(&self) -> Result<Self::Message, Misfit> {
                Ok($request { broker_id: self.id.broker.0, broker_epoch: self.id.epoch.0 })
            }

            fn from_request(request: Self::Message) -> Result<Self, Misfit> {
                Ok(Self { id: incarnation(request.broker_id, request.broker_epoch) })
            }

            fn to_response(answer: Self::Answer) -> Result<$response, Misfit> {
                Ok($response { refusal: refusal(answer)?, ..Default::default() })
            }

            fn from_response(response: $response) -> Result<Self::Answer, Misfit> {
                outcome(response.refusal)
            }
        }
    )*};
}

plain_steps! {
    AbandonWal: MetaAbandonWalRequest, MetaAbandonWalResponse;
    WalCleared: MetaWalClearedRequest, MetaWalClearedResponse;
    RemoveWal: MetaRemoveWalRequest, MetaRemoveWalResponse;
}
