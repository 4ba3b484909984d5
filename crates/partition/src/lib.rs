//! The Kafka log over one stream: offsets, idempotent producers, leader epochs, time look-up, log start, retention.
//!
//! A partition is one stream whose offsets are Kafka's offsets. Life of a produce here: [`Partitions::get`] finds or opens
//! the partition → [`Partition::append`] validates the batch, and under one short lock checks its producer, gives it
//! offsets and queues it to the write-ahead log → [`Durable`] resolves when it may be acknowledged. Life of a fetch:
//! [`Partition::read`] returns whole batches below the high watermark; when there is nothing, [`Partition::watch`] hangs a
//! bell that the next commit rings.
//!
//! Invariants:
//! - offsets are assigned and entries queued under one lock, so log order is offset order;
//! - a batch, and a duplicate of it, is acknowledged only when it is durable in a log seen unfenced afterwards (I-1);
//! - after a failed or fenced append the partition acknowledges nothing any more: it answers NOT_LEADER_OR_FOLLOWER;
//! - nobody reads at or above the high watermark (I-3);
//! - a checkpoint describes producer state at exactly the offset it rides with;
//! - an idle partition has no task, no timer and no descriptor.
//!
//! Where partitions are, and how topics are configured, is asked through the [`Directory`] port.

mod append;
pub mod config;
mod delete;
mod directory;
mod epochs;
mod error;
mod limits;
mod load;
mod lookup;
mod partition;
pub mod producers;
mod read;
mod registry;
mod retention;
mod scan;
mod segments;
mod signals;
mod topic;

pub use append::{AppendOptions, Appended, Durable};
pub use config::TopicConfig;
pub use delete::HIGH_WATERMARK;
pub use directory::{Absent, Change, Directory, Placement};
pub use epochs::{EpochEnd, EpochHistory, EpochMismatch};
pub use error::{AppendError, DeleteRecordsError, LoadError, PartitionError, ReadError};
pub use lookup::{FoundOffset, OffsetSpec};
pub use partition::{Options, Partition, Watch};
pub use producers::Origin;
pub use read::{AbortedTransaction, Isolation, ReadRequest, ReadResult};
pub use registry::Partitions;
pub use signals::Watcher;
pub use stream::Room;
pub use topic::Topic;
