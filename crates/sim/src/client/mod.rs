//! Kafka clients as real ones behave, over the network port, which write down what they do and see.
//!
//! A client is one life: it owns its connections and drives itself while it is awaited. Whoever drops it has made it go,
//! at whatever it was about; nothing of it writes history afterwards.
//!
//! | Module | Holds |
//! |---|---|
//! | [`recorder`] | where lives write what they do and see |
//! | [`value`] | values that are recognised wherever they turn up |
//! | [`connection`] | requests under way on one connection |
//! | [`metadata`] | what a client knows of the cluster, and its connections |
//! | [`lane`], [`producer`] | sends |
//! | [`fetching`], [`position`], [`consumer`] | reads |
//! | [`member`], [`names`], [`assignments`] | reads as a member of a group, under a name of its own at times, what its leader assigned |
//! | [`admin`] | makes, deletes, trims and probes |
//! | [`final_reader`], [`final_member`] | read everything once all is quiet |
//! | [`afterwards`] | asks for what is gone |
//! | [`workload`], [`healing`] | who does what in a run, and once its faults are over |

pub mod admin;
pub mod afterwards;
pub mod assignments;
pub mod committed;
pub mod connection;
pub mod consumer;
pub mod coordinator;
pub mod fetching;
pub mod final_member;
pub mod final_reader;
pub mod healing;
pub mod lane;
pub mod member;
pub mod metadata;
pub mod names;
pub mod offsets;
pub mod position;
pub mod producer;
pub mod recorder;
pub mod value;
pub mod workload;

use std::sync::Arc;

use base::Uuid;
use judge::Key;

pub use connection::{CallError, Connection};
pub use metadata::{Cluster, Settings};
pub use recorder::{Life, Recorder};
pub use workload::{Surroundings, Workload, WorkloadOptions};

/// A partition, as clients must name it: by the topic's name in some requests, by its id in others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The topic's id: what tells it from others of the same name.
    pub topic: Uuid,
    /// The partition.
    pub partition: i32,
    /// The topic's name.
    pub name: Arc<str>,
}

impl Place {
    /// What the history calls it.
    pub fn key(&self) -> Key {
        Key { topic: self.topic.to_string().into(), partition: self.partition }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.name, self.partition)
    }
}
