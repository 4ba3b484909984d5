//! Vocabulary shared by every crate: newtyped ids, offsets, epochs and sizes, and the ports through which code
//! reaches what is not deterministic.
//!
//! | Port | What is not deterministic | How it is handed down |
//! |---|---|---|
//! | [`clock`] | time | a value, [`Clock`] |
//! | [`entropy`] | nonces and ids | a value, [`Entropy`] |
//! | [`net`] | listening, connecting, streams | a value, [`net::Network`] |
//! | [`file`] | files, block devices, locks | a value, [`file::Files`] |
//! | [`task`] | tasks, blocking work, threads | the [`host`] of whoever runs |
//! | [`select`] | which ready future is taken first | likewise |
//! | [`collections`] | the order of hash maps | likewise |
//!
//! What is planted for a simulator to find ([`plant`]) is not there in what ships.
//!
//! Timers are tokio's own: its clock can be paused and moved, and [`Clock::runtime`] goes with it.
//!
//! Layer 0: imports nothing of the project. Holds no policy; only the ports reach the operating system.

pub mod aligned;
pub mod checksum;
pub mod clock;
pub mod collections;
pub mod entropy;
pub mod file;
pub mod host;
pub mod id;
pub mod memory;
pub mod net;
pub mod plant;
pub mod select;
pub mod task;

pub use clock::Clock;
pub use entropy::Entropy;
pub use id::{
    BrokerEpoch, BrokerId, ControllerEpoch, Incarnation, MetaSequence, ObjectId, Offset, OffsetRange, StreamEpoch,
    StreamId, TimestampMs, WalPosition,
};
pub use uuid::Uuid;
