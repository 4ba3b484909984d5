//! Streams: create, open, close, trim, remove.

use base::{Incarnation, Offset, StreamEpoch, StreamId, TimestampMs};
use thiserror::Error;
use wire::meta::{
    MetadataRecord, RemoveStreamRecord, StreamClosedRecord, StreamOpenedRecord, StreamRecord, StreamTrimRecord,
};

use super::convert::{raw, raw_stream};
use super::replay::ReplayError;
use super::state::{StreamState, StreamStatus};
use super::{Catalogue, Decision};

/// A stream and the epoch and owner it should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenStream {
    /// The stream.
    pub stream: StreamId,
    /// The new epoch, above the present one.
    pub epoch: StreamEpoch,
    /// The new owner.
    pub owner: Incarnation,
}

/// What tells the state that the records below a new start made: which sequence a producer sent last, for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateBelow {
    /// The newest checkpoint, so a trim beyond its offset is refused.
    Checkpointed,
    /// Nothing: those records made none, or it is lost with them already.
    NotKept,
    /// The records from the new start up to this offset. So they must be in objects, and a trim before that is refused:
    /// else it would take what is in the store on account of what is lost with a write-ahead log that is given up.
    ToldUpTo(Offset),
}

/// A new first offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrimRequest {
    /// The stream.
    pub stream: StreamId,
    /// The epoch of the owner that asks.
    pub epoch: StreamEpoch,
    /// First offset to keep. May lie beyond the committed end, where no state is kept: what lies between is not wanted.
    pub start: Offset,
    /// What tells the state that the records below made.
    pub state: StateBelow,
}

/// Why nothing happened to a stream.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StreamRejection {
    /// There is no such stream.
    #[error("stream {0} does not exist")]
    Unknown(StreamId),
    /// The epoch is not the one it would have to be.
    #[error("stream {stream}: epoch {epoch} is stale, the present one is {present}")]
    StaleEpoch {
        /// The stream.
        stream: StreamId,
        /// The epoch sent.
        epoch: StreamEpoch,
        /// The stream's epoch.
        present: StreamEpoch,
    },
    /// Its owner may still append, or its WAL is not recovered.
    #[error("stream {stream} still belongs to {owner}, whose WAL is {phase}")]
    Owned {
        /// The stream.
        stream: StreamId,
        /// Its owner.
        owner: Incarnation,
        /// Where the owner's WAL incarnation is in its life.
        phase: String,
    },
    /// The records that tell the state below the new start are not in objects yet.
    #[error(
        "stream {stream} cannot begin at {start}: what tells the state below goes on to {needed}, and is in the store up to {committed} only"
    )]
    Uncommitted {
        /// The stream.
        stream: StreamId,
        /// The start asked for.
        start: Offset,
        /// The end of what tells the state.
        needed: Offset,
        /// The committed end.
        committed: Offset,
    },
    /// The records below the new start made a state that no checkpoint tells yet.
    #[error("stream {stream} cannot begin at {start}: its newest checkpoint tells the state up to {checkpoint} only")]
    Untold {
        /// The stream.
        stream: StreamId,
        /// The start asked for.
        start: Offset,
        /// What the newest checkpoint covers.
        checkpoint: Offset,
    },
    /// The change contradicts the image.
    #[error("the change cannot be made: {0}")]
    Invalid(ReplayError),
}

fn opened(id: StreamId, epoch: StreamEpoch, owner: Incarnation, start: Offset) -> MetadataRecord {
    StreamOpenedRecord {
        stream_id: raw_stream(id),
        stream_epoch: epoch.0,
        owner_broker: owner.broker.0,
        owner_epoch: owner.epoch.0,
        start: raw(start.0),
        ..Default::default()
    }
    .into()
}

impl Catalogue {
    /// Creates `count` streams and opens them for `owner` at epoch 0. Ids are never used twice.
    pub fn create_streams(&self, count: usize, owner: Incarnation) -> Decision<Vec<StreamId>> {
        let ids: Vec<StreamId> = (self.next_stream..).take(count).map(StreamId).collect();
        let records = ids.iter().flat_map(|id| {
            let created = StreamRecord { stream_id: raw_stream(*id), ..Default::default() };
            [created.into(), opened(*id, StreamEpoch(0), owner, Offset(0))]
        });
        Decision { records: records.collect(), response: ids }
    }

    /// Opens streams for new owners, all or none. A stream can be opened when it is closed, or when nothing more can
    /// come from its owner's WAL.
    pub fn open_streams(&self, requests: &[OpenStream]) -> Decision<Result<(), StreamRejection>> {
        let mut records = Vec::with_capacity(requests.len());
        for request in requests {
            let stream = request.stream;
            let Some(state) = self.stream(stream) else {
                return Decision::unchanged(Err(StreamRejection::Unknown(stream)));
            };
            let repeated = state.epoch == request.epoch && state.owner == request.owner;
            if repeated && state.status == StreamStatus::Open {
                continue;
            }
            if request.epoch <= state.epoch {
                let (epoch, present) = (request.epoch, state.epoch);
                return Decision::unchanged(Err(StreamRejection::StaleEpoch { stream, epoch, present }));
            }
            if let Err(rejection) = self.vacant(stream, state) {
                return Decision::unchanged(Err(rejection));
            }
            records.push(opened(stream, request.epoch, request.owner, state.start.max(state.end)));
        }
        Decision { records, response: Ok(()) }
    }

    /// Whether a stream may get a new owner.
    fn vacant(&self, stream: StreamId, state: &StreamState) -> Result<(), StreamRejection> {
        match self.incarnation(state.owner) {
            Some(wal) if state.status == StreamStatus::Open && !wal.phase.is_final() => {
                Err(StreamRejection::Owned { stream, owner: state.owner, phase: wal.phase.to_string() })
            }
            _ => Ok(()),
        }
    }

    /// Streams that nobody can append to any more, although they are open: their owner's WAL has ended, or never began
    /// and the owner is gone. They wait for a new owner.
    pub fn orphaned_streams(&self) -> impl Iterator<Item = (StreamId, &StreamState)> {
        self.streams().filter(|(_, state)| {
            let registered = self.writers.get(&state.owner.broker).is_some_and(|w| w.epoch == state.owner.epoch);
            match self.incarnation(state.owner) {
                Some(wal) => wal.phase.is_final(),
                None => !registered,
            }
        })
    }

    /// Opens up to `limit` orphaned streams that fall to `owner` ([`Catalogue::falls_to`]), each at its next epoch.
    pub fn adopt_orphans(&self, owner: Incarnation, limit: usize) -> Decision<Vec<StreamId>> {
        self.adopt(owner, limit, |former| self.falls_to(former, owner))
    }

    /// Opens up to `limit` orphaned streams of former owners that are `told`.
    pub(super) fn adopt(
        &self,
        owner: Incarnation,
        limit: usize,
        told: impl Fn(Incarnation) -> bool,
    ) -> Decision<Vec<StreamId>> {
        let mut records = Vec::new();
        let mut adopted = Vec::new();
        for (id, state) in self.orphaned_streams().filter(|(_, state)| told(state.owner)).take(limit) {
            adopted.push(id);
            // Planted: the tenure that was goes on under its epoch.
            let epoch =
                if base::plant::bug("stale-epoch-goes-on") { state.epoch } else { StreamEpoch(state.epoch.0 + 1) };
            records.push(opened(id, epoch, owner, state.start.max(state.end)));
        }
        Decision { records, response: adopted }
    }

    /// Closes a stream at its present epoch.
    pub fn close_stream(&self, stream: StreamId, epoch: StreamEpoch) -> Decision<Result<(), StreamRejection>> {
        let Some(state) = self.stream(stream) else {
            return Decision::unchanged(Err(StreamRejection::Unknown(stream)));
        };
        if epoch != state.epoch {
            let present = state.epoch;
            return Decision::unchanged(Err(StreamRejection::StaleEpoch { stream, epoch, present }));
        }
        if state.status == StreamStatus::Closed {
            return Decision::unchanged(Ok(()));
        }
        let record = StreamClosedRecord { stream_id: raw_stream(stream), stream_epoch: epoch.0, ..Default::default() };
        Decision { records: vec![record.into()], response: Ok(()) }
    }

    /// Moves first offsets up, each by itself; objects that lose their last use are retired in the same batch. A start
    /// at or below the present one is a success that changes nothing. One is refused below which nothing in the store tells
    /// the state ([`StateBelow`]), unless the owner says that none is kept: the trimmed records cannot be asked any more.
    pub fn trim(&self, requests: &[TrimRequest], now: TimestampMs) -> Decision<Vec<Result<(), StreamRejection>>> {
        let mut starts = std::collections::BTreeMap::new();
        let mut answers: Vec<_> = Vec::with_capacity(requests.len());
        for TrimRequest { stream, epoch, start, state: below } in requests.iter().copied() {
            answers.push(match self.stream(stream) {
                None => Err(StreamRejection::Unknown(stream)),
                Some(state) if state.epoch != epoch => {
                    Err(StreamRejection::StaleEpoch { stream, epoch, present: state.epoch })
                }
                Some(state) if start > state.start => {
                    let told = told_below(stream, state, start, below);
                    if told.is_ok() {
                        let highest = starts.entry(stream).or_insert(start);
                        *highest = start.max(*highest);
                    }
                    told
                }
                Some(_) => Ok(()),
            });
        }
        let records = starts.into_iter().map(|(stream, start)| {
            let record = StreamTrimRecord { stream_id: raw_stream(stream), start: raw(start.0), ..Default::default() };
            MetadataRecord::from(record)
        });
        match self.with_retirements(records.collect(), now) {
            Ok(records) => Decision { records, response: answers },
            Err(error) => {
                let invalid = StreamRejection::Invalid(error);
                let refused = answers.into_iter().map(|a| a.and_then(|()| Err(invalid.clone())));
                Decision::unchanged(refused.collect())
            }
        }
    }

    /// Removes streams with everything in them; unknown ones are passed over. Objects that lose their last use are left
    /// to [`Catalogue::retire`], which the caller adds to the batch once.
    pub fn delete_streams(&self, streams: &[StreamId]) -> Decision<()> {
        let unique: std::collections::BTreeSet<_> = streams.iter().filter(|id| self.stream(**id).is_some()).collect();
        let records = unique
            .into_iter()
            .map(|id| MetadataRecord::from(RemoveStreamRecord { stream_id: raw_stream(*id), ..Default::default() }));
        Decision { records: records.collect(), response: () }
    }
}

/// Whether what is to tell the state below a new start is there.
fn told_below(stream: StreamId, state: &StreamState, start: Offset, below: StateBelow) -> Result<(), StreamRejection> {
    match below {
        StateBelow::Checkpointed if start > state.covered() => {
            Err(StreamRejection::Untold { stream, start, checkpoint: state.covered() })
        }
        StateBelow::ToldUpTo(needed) if needed > state.end => {
            Err(StreamRejection::Uncommitted { stream, start, needed, committed: state.end })
        }
        StateBelow::Checkpointed | StateBelow::ToldUpTo(_) | StateBelow::NotKept => Ok(()),
    }
}
