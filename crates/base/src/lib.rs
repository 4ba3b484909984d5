//! Vocabulary shared by every crate: newtyped ids, offsets, epochs and sizes, and the ports through which code
//! reaches what is not deterministic (clock, randomness, task spawning).
//!
//! Layer 0: imports nothing of the project. Holds no policy and does no I/O of its own.

pub mod aligned;
pub mod checksum;
pub mod clock;
pub mod entropy;
pub mod id;
pub mod memory;
pub mod task;

pub use clock::Clock;
pub use entropy::Entropy;
pub use id::{
    BrokerEpoch, BrokerId, ControllerEpoch, Incarnation, MetaSequence, ObjectId, Offset, OffsetRange, StreamEpoch,
    StreamId, TimestampMs, WalPosition,
};
pub use uuid::Uuid;
