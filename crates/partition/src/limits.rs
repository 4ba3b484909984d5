//! Every bound of this crate, in one place (I-10).

/// Batches remembered per producer, Kafka's `ProducerStateEntry.NUM_BATCHES_TO_RETAIN`: the most that an idempotent
/// client keeps in flight.
pub const PRODUCER_BATCHES: usize = 5;

/// Producers remembered per partition. Beyond it the longest idle ones are forgotten, an eighth at a time: they are
/// sessions long ended (every restart of a client makes a new producer id). It bounds a checkpoint to 1.6 MB.
pub const PRODUCERS_MAX: usize = 10_000;

/// How long expired producers may still take memory, in milliseconds; Kafka's `producer.id.expiration.check.interval.ms`.
pub const PRODUCER_EXPIRY_CHECK_MS: i64 = 600_000;

/// Bytes asked of the stream at once while producer state is replayed, or a timestamp looked for.
pub const SCAN_BYTES: usize = 1 << 20;

/// Extents whose first bytes are on their way while producer state is replayed: as many as lie behind a checkpoint by the
/// rules for them.
pub const SCAN_EXTENTS_AHEAD: usize = 16;

/// Bytes of logs that all partitions together hold while they replay producer state. What one entry takes beyond
/// [`SCAN_BYTES`] counts, and may exceed it.
pub const SCANS_BYTES_MAX: u64 = 64 << 20;

/// Bytes at the end of a log that are always read when an unreadable producer checkpoint is made anew, whatever the
/// timestamps there say of their age: producers give the timestamps.
pub const REBUILD_BYTES_MIN: u64 = 64 << 20;

/// Partitions whose retention is worked on at the same time: enough for the metadata log to batch their trims.
pub const RETENTION_CONCURRENCY: usize = 64;

/// Changes of the metadata that are followed, and topics whose settings are resolved again, before others may run.
pub const CHANGES_AT_ONCE: usize = 1_000;
