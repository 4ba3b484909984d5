//! Metadata without a quorum: a log of objects in the bucket, one controller in office, an immutable image.
//!
//! ```text
//! MetaHandle ──operation──► controller ──entry──► log (one create per entry, group commit)
//!      ▲                        │                   │
//!      └── image, changes ◄─────┴─ replay ◄─────────┘ (also at start: snapshot + tail)
//! ```
//!
//! What a handle submits can come from another process, too, as a request of [`wire::broker`] ([`ControllerClient`]).
//!
//! Invariants:
//! * Replaying records is the only way the image changes, at run time and at recovery alike.
//! * Whoever creates the entry at the next sequence has decided it; a controller that loses that race never answers
//!   from what it speculated, and ends (I-6, I-7, `models/metalog.py`).
//! * A name that damage has burnt is void on the word of a claim behind it, and of nothing else; only who burnt it gives
//!   that word.
//! * No clock decides anything here: a claim fences the former controller, whatever it believes.
//! * Nothing is written per produce request.
//! * An answer names the entry that it rests on; who acts on it has an image with that entry.

pub mod error;
pub mod format;
pub mod image;
pub mod names;

mod control;
mod controller;
mod deleter;
mod follow;
mod handle;
mod housekeeping;
mod log;
mod office;
#[cfg_attr(not(test), expect(dead_code, reason = "nobody but the tests asks from another process yet"))]
mod requests;
mod start;

#[cfg(test)]
mod tests;

pub use control::configs::{ConfigChange, ConfigResource};
pub use control::producer_ids::PRODUCER_IDS_BLOCK;
pub use control::topics::{CreatedTopic, NewTopic, PARTITIONS_PER_TOPIC_MAX};
pub use deleter::DELETION_PERIOD;
pub use error::{
    BrokerError, ConfigError, CreatePartitionsError, CreateTopicError, DeleteTopicError, GiveUpError, LogError,
    LogLost, MetaError, NoBroker, StartError, TooManyPartitions, Unfit,
};
pub use handle::MetaHandle;
pub use housekeeping::SnapshotPolicy;
pub use image::{BrokerImage, BrokerState, Configs, Image, Leader, TopicImage};
pub use requests::{ControllerClient, ControllerRequest, Misfit, NoAnswer};
pub use start::{Endpoint, IncarnationToRecover, Meta, MetaOptions, Registration, WalOptions};
