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

use base::TimestampMs;
use stream::catalogue::Decision;

use crate::image::{Image, ImageError};

/// A request to the controller.
pub(crate) trait Operation: Send + 'static {
    /// What is answered once the records stand.
    type Answer: Send + 'static;

    /// What it comes to on this image.
    fn decide(self, image: &Image, now: TimestampMs) -> Decision<Self::Answer>;
}

/// Why a record does not replay.
fn unfit(record: &'static str, reason: &'static str) -> ImageError {
    ImageError::Unfit { record, reason }
}
