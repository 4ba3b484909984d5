//! What is asked of the controller: operations as data, one file for each kind of resource.
//!
//! A file holds the operations on its resource, what they come to (records and an answer), how those records replay into
//! the image, and which records rebuild it from a snapshot. Nothing here does I/O: an operation is decided on the image as
//! it will be when its entry is written, and its answer is given once that entry stands.

pub(crate) mod brokers;
pub(crate) mod cluster;
pub(crate) mod configs;
pub(crate) mod producer_ids;
pub(crate) mod streams;
pub(crate) mod topics;
pub(crate) mod wals;

use base::{MetaSequence, TimestampMs};
use stream::catalogue::Decision;

use crate::image::{Image, ImageError};

/// A request to the controller.
pub(crate) trait Operation: Send + 'static {
    /// What is answered once the records stand.
    type Answer: Send + 'static;

    /// What it comes to on this image.
    fn decide(self, image: &Image, now: TimestampMs) -> Decision<Self::Answer>;
}

/// An answer, and the last entry of the log that it may rest on: whoever has seen that one sees what the answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answered<T> {
    /// The entry in which the records of the operation stand; the newest one where nothing was written.
    pub(crate) sequence: MetaSequence,
    pub(crate) answer: T,
}

/// Why a record does not replay.
fn unfit(record: &'static str, reason: &'static str) -> ImageError {
    ImageError::Unfit { record, reason }
}
