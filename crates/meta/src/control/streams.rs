//! Streams and their objects. What is decided, replayed and kept of them is the catalogue's.

use base::{ObjectId, StreamEpoch, StreamId, TimestampMs};
use stream::catalogue::{
    CommitRejection, CommitRequest, Committed, Decision, OpenStream, StreamRejection, TrimRequest,
};

use super::Operation;
use crate::image::Image;

/// Opens streams for new owners, all or none.
#[derive(Clone, Debug)]
pub(crate) struct OpenStreams {
    pub requests: Vec<OpenStream>,
}

impl Operation for OpenStreams {
    type Answer = Result<(), StreamRejection>;

    fn decide(self, image: &Image, _: TimestampMs) -> Decision<Self::Answer> {
        image.catalogue.open_streams(&self.requests)
    }
}

/// Closes a stream at its present epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CloseStream {
    pub stream: StreamId,
    pub epoch: StreamEpoch,
}

impl Operation for CloseStream {
    type Answer = Result<(), StreamRejection>;

    fn decide(self, image: &Image, _: TimestampMs) -> Decision<Self::Answer> {
        image.catalogue.close_stream(self.stream, self.epoch)
    }
}

/// Makes uploaded objects part of their streams.
#[derive(Clone, Debug)]
pub(crate) struct Commit {
    pub request: CommitRequest,
}

impl Operation for Commit {
    type Answer = Result<Committed, CommitRejection>;

    fn decide(self, image: &Image, now: TimestampMs) -> Decision<Self::Answer> {
        image.catalogue.commit(&self.request, now)
    }
}

/// Moves first offsets up.
#[derive(Clone, Debug)]
pub(crate) struct Trim {
    pub requests: Vec<TrimRequest>,
}

impl Operation for Trim {
    type Answer = Vec<Result<(), StreamRejection>>;

    fn decide(self, image: &Image, now: TimestampMs) -> Decision<Self::Answer> {
        image.catalogue.trim(&self.requests, now)
    }
}

/// Retires objects that batches before had no room for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retire;

impl Operation for Retire {
    type Answer = ();

    fn decide(self, image: &Image, now: TimestampMs) -> Decision<Self::Answer> {
        image.catalogue.retire(now)
    }
}

/// Retired objects are deleted.
#[derive(Clone, Debug)]
pub(crate) struct ObjectsRemoved {
    pub objects: Vec<ObjectId>,
}

impl Operation for ObjectsRemoved {
    type Answer = ();

    fn decide(self, image: &Image, _: TimestampMs) -> Decision<Self::Answer> {
        image.catalogue.objects_removed(&self.objects)
    }
}
