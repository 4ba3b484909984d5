//! The catalogue: the pure state machine of streams, objects and WAL incarnations.
//!
//! ```text
//! request ──decide──► records + response        (commit.rs, streams.rs, incarnations.rs, deletion.rs)
//! records ──apply───► next image                (replay.rs: the only mutation, at run time and at recovery)
//! ```
//!
//! It does no I/O and knows no clock: whoever hosts it (the metadata controller, or [`local::LocalCatalogue`] for a
//! stand-alone S3Stream) makes the records durable before it answers. The image is persistent: a clone costs a few
//! reference counts, so readers hold one while the host moves on.
//!
//! Invariants:
//! * A stream's committed end moves by commits, per range: unknown stream, stale epoch or nothing new → skipped;
//!   overlap → the new part is taken; a hole → the whole commit is refused and its sender fenced (I-4).
//! * A log's committed position never passes a record that is in no stream, unless that is deleted: a commit that would
//!   leave out some of what it covers is refused whole.
//! * A commit is answered as a repeat only if all that it names stands in the image already; another one under a used
//!   sequence is refused and its sender fenced.
//! * A commit is taken from the present registration of a broker only, for its own open WAL incarnation or one that is
//!   assigned to it (`models/blocklog.py`, `models/handover.py`).
//! * An object is live while an extent or a newest checkpoint stands in it. The batch that takes its last use also
//!   retires it, or, where that are very many, one of the next; deletion follows the grace period and is recorded afterwards (I-5).

mod commit;
mod convert;
mod deletion;
mod extents;
mod incarnations;
mod newest;
mod replay;
mod state;
mod streams;

pub mod client;
pub mod local;
pub mod snapshot;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use base::{BrokerId, Incarnation, ObjectId, StreamId};
use imbl::ordmap::DiffItem;
use imbl::{OrdMap, OrdSet};
use wire::meta::MetadataRecord;

pub use client::{CatalogueClient, ClientError, CommitError, IncarnationError, TrimError};
pub use commit::{COMMIT_ITEMS_MAX, CommitRejection, CommitRequest, Committed, NewCheckpoint, NewObject, NewRange};
pub use deletion::{DELETION_GRACE, RETIREMENTS_MAX};
pub use incarnations::{IncarnationRejection, Recovered};
pub use newest::Newest;
pub use replay::ReplayError;
pub use state::{
    Checkpoint, EpochStart, Extent, IncarnationPhase, IncarnationState, NOBODY, ObjectKind, ObjectState,
    PendingDeletion, StreamState, StreamStatus, WalPlace, WriterState,
};
pub use streams::{OpenStream, StateBelow, StreamRejection, TrimRequest};

/// What a request comes to: the records to make durable and replay, and the answer once they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<T> {
    /// One atomic batch; empty when nothing changes.
    pub records: Vec<MetadataRecord>,
    /// The answer.
    pub response: T,
}

impl<T> Decision<T> {
    /// An answer that changes nothing.
    pub fn unchanged(response: T) -> Self {
        Self { records: Vec::new(), response }
    }
}

/// The image of all streams, objects and WAL incarnations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalogue {
    streams: OrdMap<StreamId, Arc<StreamState>>,
    objects: OrdMap<ObjectId, ObjectState>,
    incarnations: OrdMap<Incarnation, Arc<IncarnationState>>,
    writers: OrdMap<BrokerId, WriterState>,
    pending: OrdMap<ObjectId, PendingDeletion>,
    /// Objects whose last use has gone; decisions end by retiring them, as many as a batch has room for.
    unreferenced: OrdSet<ObjectId>,
    next_stream: u64,
}

impl Catalogue {
    /// The catalogue of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A stream.
    pub fn stream(&self, id: StreamId) -> Option<&StreamState> {
        self.streams.get(&id).map(AsRef::as_ref)
    }

    /// A stream that the caller keeps.
    pub fn stream_shared(&self, id: StreamId) -> Option<Arc<StreamState>> {
        self.streams.get(&id).cloned()
    }

    /// Every stream, by id.
    pub fn streams(&self) -> impl Iterator<Item = (StreamId, &StreamState)> {
        self.streams.iter().map(|(id, state)| (*id, state.as_ref()))
    }

    /// The streams that are in both and differ from what they were `before`. Costs what has changed, where one was made from
    /// the other.
    pub fn streams_changed_since<'c>(&'c self, before: &'c Self) -> impl Iterator<Item = StreamId> + 'c {
        before.streams.diff(&self.streams).filter_map(|change| match change {
            DiffItem::Update { new: (id, _), .. } => Some(*id),
            DiffItem::Add(..) | DiffItem::Remove(..) => None,
        })
    }

    /// How many streams there are.
    pub fn stream_count(&self) -> usize {
        self.streams.len()
    }

    /// A live object. Retired ones are not found: whoever still reads one refreshes its view.
    pub fn object(&self, id: ObjectId) -> Option<&ObjectState> {
        self.objects.get(&id)
    }

    /// Every live object, by id.
    pub fn objects(&self) -> impl Iterator<Item = (ObjectId, &ObjectState)> {
        self.objects.iter().map(|(id, state)| (*id, state))
    }

    /// How many live objects there are.
    pub fn object_count(&self) -> usize {
        self.objects.len()
    }

    /// A WAL incarnation.
    pub fn incarnation(&self, id: Incarnation) -> Option<&IncarnationState> {
        self.incarnations.get(&id).map(AsRef::as_ref)
    }

    /// Every WAL incarnation that metadata still knows.
    pub fn incarnations(&self) -> impl Iterator<Item = (Incarnation, &IncarnationState)> {
        self.incarnations.iter().map(|(id, state)| (*id, state.as_ref()))
    }

    /// A broker as a sender of commits.
    pub fn writer(&self, broker: BrokerId) -> Option<&WriterState> {
        self.writers.get(&broker)
    }

    /// Streams whose present or last owner is `owner`.
    pub fn streams_of(&self, owner: Incarnation) -> impl Iterator<Item = StreamId> {
        self.streams.iter().filter(move |(_, s)| s.owner == owner).map(|(id, _)| *id)
    }

    /// Retired objects that wait for deletion.
    pub fn pending_deletions(&self) -> impl Iterator<Item = (ObjectId, &PendingDeletion)> {
        self.pending.iter().map(|(id, pending)| (*id, pending))
    }
}
