//! What a node is told.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use base::file::Files;
use base::net::Network;
use base::{Clock, Entropy};
use blob::Stores;
use broker::config::BrokerConfig;
use meta::SnapshotPolicy;
use stream::wal::{Access, BlockLogOptions};

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

/// How a log is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segments {
    /// Bytes of each, a multiple of 4096; for a place that was used before, what it was made with counts.
    pub bytes: u64,
    /// Un-trimmed bytes at which the writer waits: at least two segments.
    pub capacity_bytes: u64,
}

impl Default for Segments {
    /// The block log's own.
    fn default() -> Self {
        let BlockLogOptions { segment_bytes, capacity_bytes, .. } = BlockLogOptions::new("", Access::Owner);
        Self { bytes: segment_bytes, capacity_bytes }
    }
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
    /// Bytes of the log's segments, and how many there may be.
    pub segments: Segments,
    /// When metadata snapshots are made.
    pub snapshots: SnapshotPolicy,
    /// How often objects whose grace is over are looked for.
    pub deletion_period: Duration,
    /// Where the URL of the store leads.
    pub stores: Stores,
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
