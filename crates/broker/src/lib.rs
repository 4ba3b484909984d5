//! The broker: what Kafka clients talk to.
//!
//! Layer 5. A frame's way: [`net`] reads it and keeps the order of requests → `dispatch` decodes it → one file of
//! `handlers/` for each API key answers from metadata, partitions and coordinators → the reply goes out in a vectored
//! write of shared buffers. A handler knows nothing of connections, a connection nothing of requests. What all of them have
//! to know of an API stands in the table of `api`.
//!
//! Invariants:
//! - replies leave in request order, appends enter the log in request order;
//! - no input makes the broker panic or take memory that is not charged;
//! - nothing is acknowledged before it is durable: a produce reply waits for the partition's word.

mod api;
mod broker;
mod call;
pub mod config;
mod core;
mod deadline;
mod directory;
mod dispatch;
mod endpoints;
mod errors;
mod fenced;
mod fetch;
mod first_mentions;
mod first_use;
mod handlers;
mod in_order;
mod limits;
mod mentions;
mod net;
mod principal;
mod producer_ids;
mod replies;
mod topic_counters;
mod topics;

pub use broker::{Broker, BrokerDeps, BrokerHandle, ListenError, Listeners};
pub use directory::ImageDirectory;
