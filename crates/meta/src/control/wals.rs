//! WAL incarnations: opened, recovered by who takes them over, drained, given up, forgotten. What is decided, replayed and
//! kept of them is the catalogue's.

use base::{Incarnation, StreamId, TimestampMs, WalPosition};
use stream::catalogue::{Decision, IncarnationRejection, Recovered, WalPlace};

use super::Operation;
use crate::image::Image;

/// Most streams that change owner in one batch when a broker opens its WAL.
pub(crate) const ADOPT_STREAMS_MAX: usize = 50_000;

/// A broker's own WAL exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpenWal {
    pub id: Incarnation,
    pub place: WalPlace,
}

impl Operation for OpenWal {
    type Answer = Result<(), IncarnationRejection>;

    fn decide(self, image: &Image, _: TimestampMs) -> Decision<Self::Answer> {
        image.catalogue.open_incarnation(self.id, self.place)
    }
}

/// Opens for a broker streams that wait for an owner and fall to it, so many at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AdoptStreams {
    pub id: Incarnation,
    pub max: usize,
}

impl Operation for AdoptStreams {
    type Answer = Vec<StreamId>;

    fn decide(self, image: &Image, _: TimestampMs) -> Decision<Self::Answer> {
        image.catalogue.adopt_orphans(self.id, self.max)
    }
}

/// The taker has committed everything acknowledged in a WAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WalRecovered {
    pub log: Incarnation,
    pub taker: Incarnation,
    pub final_position: WalPosition,
}

impl Operation for WalRecovered {
    type Answer = Result<Recovered, IncarnationRejection>;

    fn decide(self, image: &Image, _: TimestampMs) -> Decision<Self::Answer> {
        image.catalogue.recovered(self.log, self.taker, self.final_position)
    }
}

/// The taker found a WAL corrupt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WalDamaged {
    pub log: Incarnation,
    pub taker: Incarnation,
    pub reason: String,
}

impl Operation for WalDamaged {
    type Answer = Result<(), IncarnationRejection>;

    fn decide(self, image: &Image, _: TimestampMs) -> Decision<Self::Answer> {
        image.catalogue.damaged(self.log, self.taker, &self.reason)
    }
}

/// The owner of a WAL has committed everything and acknowledges nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WalDrained {
    pub log: Incarnation,
    pub final_position: WalPosition,
}

impl Operation for WalDrained {
    type Answer = Result<(), IncarnationRejection>;

    fn decide(self, image: &Image, _: TimestampMs) -> Decision<Self::Answer> {
        image.catalogue.drained(self.log, self.final_position)
    }
}

/// The operator gives up what a WAL held and was not committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AbandonWal {
    pub id: Incarnation,
}

impl Operation for AbandonWal {
    type Answer = Result<(), IncarnationRejection>;

    fn decide(self, image: &Image, _: TimestampMs) -> Decision<Self::Answer> {
        image.catalogue.abandon(self.id)
    }
}

/// The files of a WAL that was given up were found and removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WalCleared {
    pub id: Incarnation,
}

impl Operation for WalCleared {
    type Answer = Result<(), IncarnationRejection>;

    fn decide(self, image: &Image, _: TimestampMs) -> Decision<Self::Answer> {
        image.catalogue.cleared(self.id)
    }
}

/// Forgets a WAL whose life has ended and whose files are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RemoveWal {
    pub id: Incarnation,
}

impl Operation for RemoveWal {
    type Answer = Result<(), IncarnationRejection>;

    fn decide(self, image: &Image, _: TimestampMs) -> Decision<Self::Answer> {
        image.catalogue.remove_incarnation(self.id)
    }
}
