//! The real-process harness: real Kafka clients, real brokers and the checkers that judge what came out.
//!
//! A development crate: nothing that ships imports it. It sees a broker only through a bootstrap address, so that the same code
//! proves itself against Apache Kafka (see the examples) and then judges ours. The flow is
//! [`Clients::installed`] (runs `clients/install`) → a broker ([`KafkaBroker`], [`Headwater`] or any address) →
//! [`matrix`], [`tools`] or [`killnine`] → a report that is either clean or says what went wrong.
//!
//! Everything here blocks: each client is a process of its own, and the harness has nothing else to do while it waits.

pub mod assault;
pub mod bucket;
pub mod checker;
pub mod client;
pub mod compare;
pub mod corpus;
pub mod headwater;
pub mod install;
pub mod kafka;
pub mod killnine;
pub mod matrix;
pub mod port;
pub mod process;
pub mod tools;
mod witness;

pub use assault::{Assault, Strike};
pub use bucket::Bucket;
pub use checker::History;
pub use client::{Client, ClientKind, Codec, Consume, Produce, ReadMode, Until};
pub use corpus::Corpus;
pub use headwater::{Headwater, HeadwaterOptions};
pub use install::Clients;
pub use kafka::{Jvm, KafkaBroker, KafkaVersion};
pub use port::Port;
pub use process::{Process, Signal};
