//! Coordinators: state machines that are replicated by a partition of an internal topic.
//!
//! Layer 4. [`runtime`] keeps one state machine (a *shard*) for each partition of an internal topic: a write is decided on
//! the machine, its records are appended, and what they say is replayed once they are durable; only then is the request
//! answered. [`group`] is such a machine: classic consumer groups and committed offsets on `__consumer_offsets`, in Kafka's
//! record layouts. [`GroupCoordinator`] is what request handlers call.
//!
//! Life of a commit: handler → [`GroupCoordinator::commit_offsets`] → the group's shard, by `hash(group) % partitions` →
//! under the shard's lock the group machine checks member and generation and makes records → the shard's writer appends
//! them, many requests to a batch → durable → replay → answer. Life of a join: the same lock, but the answer waits in the
//! group for the other members.
//!
//! Invariants:
//! - replaying records is the only way in which replicated state (offsets, group metadata) changes, at run time and at
//!   load alike, in log order and never beyond the durable end: an offset that was once read never goes back;
//! - nothing that a request wrote is answered before it is durable, nor what it may follow from: an answer that changes
//!   nothing waits for the changes before it, unless it is told of who is in a group now (heartbeat, join, sync);
//! - every answer was known before the log was seen not to be fenced: by the append of its own records, or by a look;
//! - when an append fails, its outcome is unknown: the shard is discarded with everything that waits in it, and loaded
//!   again from the log; as when the machine panics. A snapshot that the log does not take is given up instead;
//! - there is no task and no timer per group.

mod config;
mod group;
mod limits;
mod runtime;
mod service;
mod topic;

pub use config::GroupConfig;
pub use service::{ClientContext, GroupCoordinator, GroupCoordinatorDeps};
