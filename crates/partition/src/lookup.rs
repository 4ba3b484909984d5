//! ListOffsets: offsets by time, and the log's ends.
//!
//! Follows Kafka's `UnifiedLog.fetchOffsetByTimestamp`. The stream narrows a search to one batch by the timestamps in its
//! index; only that batch is opened.
//!
//! The log may start inside a batch (DeleteRecords). A look-up by time passes over the records below the start; the
//! greatest timestamp is that of a batch as a whole, wherever in it the record stands, as in Kafka.

use std::sync::Arc;

use base::{Offset, TimestampMs};
use records::compression::DECOMPRESSED_BYTES_MAX;
use records::{TimestampedOffset, batches, find_max_timestamp, find_offset_by_timestamp};

use crate::epochs::check_current;
use crate::error::ReadError;
use crate::partition::Partition;
use crate::read::Isolation;

/// What ListOffsets asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// -1: the end that the isolation level lets a reader see.
    Latest,
    /// -2: the log start.
    Earliest,
    /// -3 (KIP-734): the record with the greatest timestamp.
    MaxTimestamp,
    /// -4 (KIP-405): the earliest offset in local storage; here the log start.
    EarliestLocal,
    /// -5 (KIP-1005): the last offset in tiered storage; none, as from Kafka without tiered storage.
    LatestTiered,
    /// -6 (KIP-1023): the earliest offset not in tiered storage yet; none, as from Kafka without tiered storage.
    EarliestPendingUpload,
    /// The first record at or after a time.
    At(TimestampMs),
}

impl OffsetSpec {
    /// From a request's timestamp field; `None` for a sentinel that does not exist.
    pub fn from_wire(timestamp: i64) -> Option<Self> {
        match timestamp {
            -1 => Some(Self::Latest),
            -2 => Some(Self::Earliest),
            -3 => Some(Self::MaxTimestamp),
            -4 => Some(Self::EarliestLocal),
            -5 => Some(Self::LatestTiered),
            -6 => Some(Self::EarliestPendingUpload),
            0.. => Some(Self::At(TimestampMs(timestamp))),
            _ => None,
        }
    }
}

/// The answer of a look-up; `-1` in every field means "none", which is no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundOffset {
    /// The offset.
    pub offset: i64,
    /// The record's timestamp; -1 for the log's ends.
    pub timestamp: TimestampMs,
    /// The leader epoch of the record, or of the log at that end.
    pub leader_epoch: i32,
}

impl FoundOffset {
    /// Nothing found.
    pub const NONE: Self = Self { offset: -1, timestamp: TimestampMs(-1), leader_epoch: -1 };
}

impl From<TimestampedOffset> for FoundOffset {
    fn from(found: TimestampedOffset) -> Self {
        let TimestampedOffset { offset, timestamp, leader_epoch } = found;
        Self { offset, timestamp: TimestampMs(timestamp), leader_epoch }
    }
}

impl Partition {
    /// ListOffsets for one partition. `current` is the request's `current_leader_epoch`.
    ///
    /// # Errors
    /// When the partition is closed, `current` is not its epoch, or the store failed.
    pub async fn find_offset(
        self: &Arc<Self>,
        spec: OffsetSpec,
        isolation: Isolation,
        current: i32,
    ) -> Result<FoundOffset, ReadError> {
        self.check_open()?;
        check_current(current, self.leader_epoch())?;
        let end = match isolation {
            Isolation::ReadUncommitted => self.high_watermark(),
            Isolation::ReadCommitted => self.last_stable_offset(),
        };
        match spec {
            OffsetSpec::Latest => Ok(self.log_edge(end, self.epochs().latest())),
            OffsetSpec::Earliest | OffsetSpec::EarliestLocal => {
                let start = self.log_start();
                Ok(self.log_edge(start, self.epochs().epoch_of(start)))
            }
            OffsetSpec::LatestTiered | OffsetSpec::EarliestPendingUpload => Ok(FoundOffset::NONE),
            OffsetSpec::MaxTimestamp => self.find_max_timestamp(end).await,
            OffsetSpec::At(timestamp) => self.find_timestamp(timestamp, end).await,
        }
    }

    fn log_edge(&self, offset: Offset, epoch: Option<base::StreamEpoch>) -> FoundOffset {
        let leader_epoch = epoch.unwrap_or(self.leader_epoch()).0;
        FoundOffset { offset: offset.kafka(), timestamp: TimestampMs(-1), leader_epoch }
    }

    async fn find_max_timestamp(self: &Arc<Self>, end: Offset) -> Result<FoundOffset, ReadError> {
        loop {
            let Some((timestamp, range)) = self.stream.max_timestamp(end).await.map_err(ReadError::Storage)? else {
                return Ok(FoundOffset::NONE);
            };
            // Trimmed meanwhile: another batch is the newest.
            let Some(entry) = self.read_entry(range).await? else { continue };
            if timestamp.0 >= 0 {
                return Ok(find_max_timestamp(&entry, DECOMPRESSED_BYTES_MAX)?.map_or(FoundOffset::NONE, Into::into));
            }
            // No record has a timestamp: they are all equally old, and the first of them is told. It says "none" as
            // Kafka does, by -1; any other negative number is no timestamp that could be the greatest.
            let first = batches(&entry).next().transpose()?.filter(|batch| batch.header.max_timestamp == -1);
            return Ok(first.map_or(FoundOffset::NONE, |batch| FoundOffset {
                offset: batch.header.base_offset,
                timestamp: TimestampMs(-1),
                leader_epoch: batch.header.leader_epoch,
            }));
        }
    }

    async fn find_timestamp(self: &Arc<Self>, at_least: TimestampMs, end: Offset) -> Result<FoundOffset, ReadError> {
        let mut from = self.log_start();
        // The batch that the index names may hold matching records below the log start only; then the next one is
        // looked for in the index.
        while let Some(range) = self.stream.find_timestamp(from, at_least, end).await.map_err(ReadError::Storage)? {
            if let Some(entry) = self.read_entry(range).await? {
                let start = self.log_start().kafka();
                if let Some(found) = find_offset_by_timestamp(&entry, at_least.0, start, DECOMPRESSED_BYTES_MAX)? {
                    return Ok(found.into());
                }
            }
            from = range.end;
        }
        Ok(FoundOffset::NONE)
    }
}
