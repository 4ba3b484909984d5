//! Limits and intervals of an engine.

use std::time::Duration;

const MIB: u64 = 1024 * 1024;

/// Every bound of the engine in one place (I-10).
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Log cache: what was appended and is not in objects yet, plus a tail for readers. Bytes.
    pub log_cache_bytes: u64,
    /// Block cache: decoded blocks and object indexes. Bytes.
    pub block_cache_bytes: u64,
    /// Un-uploaded bytes that start an upload.
    pub upload_bytes: u64,
    /// Age of the oldest un-uploaded append that starts an upload.
    pub upload_interval: Duration,
    /// Bytes of one stream that go by between two checkpoints of its state, and with them what is replayed when it is
    /// opened. Large states are written more rarely, see the module of checkpoints.
    pub checkpoint_bytes: u64,
    /// Cuts with data of one stream between two checkpoints of its state.
    pub checkpoint_cuts: u32,
    /// Bytes of checkpoints that one cut takes; what is due beyond waits for the next.
    pub checkpoint_cut_bytes: u64,
    /// Uploads that may overlap; their commits stay in order.
    pub uploads_max: usize,
    /// Payload of one data block.
    pub block_bytes: usize,
    /// Bytes of one stream in one upload from which it gets an object of its own.
    pub stream_object_bytes: u64,
    /// Bytes of clients' cold reads that may be in flight at once.
    pub cold_read_bytes: u64,
    /// Bytes of what the broker itself reads that may be in flight beside them.
    pub broker_read_bytes: u64,
    /// First read-ahead of a sequential reader; doubles with every step.
    pub read_ahead_bytes_min: u64,
    /// Greatest read-ahead.
    pub read_ahead_bytes_max: u64,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            log_cache_bytes: 512 * MIB,
            block_cache_bytes: 256 * MIB,
            upload_bytes: 128 * MIB,
            upload_interval: Duration::from_secs(30),
            checkpoint_bytes: 4 * MIB,
            checkpoint_cuts: 16,
            checkpoint_cut_bytes: 16 * MIB,
            uploads_max: 3,
            block_bytes: 256 * 1024,
            stream_object_bytes: 8 * MIB,
            cold_read_bytes: 64 * MIB,
            broker_read_bytes: 16 * MIB,
            read_ahead_bytes_min: MIB / 2,
            read_ahead_bytes_max: 4 * MIB,
        }
    }
}

impl EngineOptions {
    /// The cut size in force: an upload must start long before the cache or the WAL is full.
    pub(crate) fn cut_bytes(&self, wal_capacity: u64) -> u64 {
        self.upload_bytes.min(self.log_cache_bytes / 4).min(wal_capacity / 4).max(1)
    }
}
