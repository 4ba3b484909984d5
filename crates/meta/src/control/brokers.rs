//! Registered brokers. The registration itself comes with the claim of whoever starts (`start.rs`).

use std::sync::Arc;

use base::{BrokerId, Incarnation, TimestampMs};
use stream::catalogue::Decision;
use wire::meta::{BrokerRecord, BrokerStateRecord, MetadataRecord, UnregisterBrokerRecord};

use super::{Operation, unfit};
use crate::error::BrokerError;
use crate::image::{BrokerImage, BrokerState, Image, ImageError};

/// Says what a broker may do from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SetBrokerState {
    pub id: Incarnation,
    pub state: BrokerState,
}

impl Operation for SetBrokerState {
    type Answer = Result<(), BrokerError>;

    fn decide(self, image: &Image, _: TimestampMs) -> Decision<Self::Answer> {
        let Self { id, state } = self;
        let Some(broker) = image.brokers.get(&id.broker).filter(|b| b.incarnation() == id) else {
            return Decision::unchanged(Err(BrokerError::Stale(id)));
        };
        if broker.state() == state {
            return Decision::unchanged(Ok(()));
        }
        let record = BrokerStateRecord {
            broker_id: id.broker.0,
            broker_epoch: id.epoch.0,
            state: state.code(),
            ..Default::default()
        };
        Decision { records: vec![record.into()], response: Ok(()) }
    }
}

/// A broker has drained and leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnregisterBroker {
    pub id: Incarnation,
}

impl Operation for UnregisterBroker {
    type Answer = Result<(), BrokerError>;

    fn decide(self, image: &Image, _: TimestampMs) -> Decision<Self::Answer> {
        let id = self.id;
        if image.brokers.get(&id.broker).is_none_or(|b| b.incarnation() != id) {
            return Decision::unchanged(Err(BrokerError::Stale(id)));
        }
        if image.catalogue.incarnation(id).is_some_and(|wal| !wal.phase.is_final()) {
            return Decision::unchanged(Err(BrokerError::NotDrained(id)));
        }
        let record = UnregisterBrokerRecord { broker_id: id.broker.0, broker_epoch: id.epoch.0, ..Default::default() };
        Decision { records: vec![record.into()], response: Ok(()) }
    }
}

pub(crate) fn replay_broker(image: &mut Image, r: &BrokerRecord) -> Result<(), ImageError> {
    BrokerState::from_code(r.state).ok_or(unfit("BrokerRecord", "unknown broker state"))?;
    image.brokers.insert(BrokerId(r.broker_id), Arc::new(BrokerImage { record: r.clone() }));
    Ok(())
}

pub(crate) fn replay_state(image: &mut Image, r: &BrokerStateRecord) -> Result<(), ImageError> {
    let unfit = |reason| unfit("BrokerStateRecord", reason);
    BrokerState::from_code(r.state).ok_or(unfit("unknown broker state"))?;
    let broker = image.brokers.get_mut(&BrokerId(r.broker_id)).ok_or(unfit("unknown broker"))?;
    if broker.record.broker_epoch == r.broker_epoch {
        Arc::make_mut(broker).record.state = r.state;
    }
    Ok(())
}

pub(crate) fn replay_unregistration(image: &mut Image, r: &UnregisterBrokerRecord) -> Result<(), ImageError> {
    let removed = image.brokers.remove(&BrokerId(r.broker_id));
    removed.map(drop).ok_or(unfit("UnregisterBrokerRecord", "unknown broker"))
}

/// The records that rebuild all registrations.
pub(crate) fn snapshot(image: &Image, out: &mut Vec<MetadataRecord>) {
    out.extend(image.brokers.values().map(|b| MetadataRecord::from(b.record.clone())));
}
