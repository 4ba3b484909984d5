//! What a node is told.

use std::fmt;
use std::path::PathBuf;

use base::file::Files;
use base::net::Network;
use base::{Clock, Entropy};
use broker::config::BrokerConfig;

/// Where a node keeps its own write-ahead log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogPlace {
    /// In memory: for a store that is in memory too, so that a trial leaves nothing behind.
    Memory,
    /// A directory or a device, by its absolute path: metadata remembers it, from whatever directory it is read.
    At(PathBuf),
}

impl fmt::Display for LogPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::At(path) => path.display().fmt(f),
        }
    }
}

/// What its host does once a node has ended. Storage may hang for as long as it likes, and what a thread waits for there
/// cannot be called off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterwards {
    /// It exits, which frees everything: storage that hangs is waited for up to [`crate::LEAVING_TIME_MAX`].
    ProcessExits,
    /// It goes on, and another node may take the place: waits, without limit, until nothing of this one is left.
    PlaceIsReused,
}

/// What a node is told.
#[derive(Debug)]
pub struct NodeOptions {
    /// The broker's configuration.
    pub broker: BrokerConfig,
    /// URL of the store.
    pub store: String,
    /// Its own write-ahead log.
    pub log: LogPlace,
    /// The directory whose `meta.properties` says which broker of which cluster keeps its files there. `None` when there is
    /// no such directory (the log is a device, the store is in memory): then the log's headers and the bucket say it.
    pub home: Option<PathBuf>,
    /// Where the console is, for browsers that come to the Kafka port.
    pub console: Option<String>,
    /// Where its listeners listen.
    pub network: Network,
    /// Where its identity and its logs are kept.
    pub files: Files,
    /// Source of time.
    pub clock: Clock,
    /// Source of ids and nonces.
    pub entropy: Entropy,
    /// What follows on its end.
    pub afterwards: Afterwards,
}
