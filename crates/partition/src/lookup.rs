//! ListOffsets: offsets by time, and the log's ends.
//!
//! Follows Kafka's `UnifiedLog.fetchOffsetByTimestamp`. The stream narrows a search to one batch by the timestamps in its
//! index; only that batch is opened.

use std::sync::Arc;

use base::{Offset, TimestampMs};
use records::compression::DECOMPRESSED_BYTES_MAX;
use records::{TimestampedOffset, find_max_timestamp, find_offset_by_timestamp};
use stream::engine::FetchError;

use crate::epochs::check_current;
use crate::error::ReadError;
use crate::limits::SCAN_BYTES;
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
        let Some((_, range)) = self.stream.max_timestamp(end).await.map_err(ReadError::Storage)? else {
            return Ok(FoundOffset::NONE);
        };
        let entry = self.read_entry(range).await?;
        Ok(find_max_timestamp(&entry, DECOMPRESSED_BYTES_MAX)?.map_or(FoundOffset::NONE, Into::into))
    }

    async fn find_timestamp(self: &Arc<Self>, at_least: TimestampMs, end: Offset) -> Result<FoundOffset, ReadError> {
        let Some(range) = self.stream.find_timestamp(at_least, end).await.map_err(ReadError::Storage)? else {
            return Ok(FoundOffset::NONE);
        };
        // The batch that the index names may hold matching records below the log start only; then the search goes on
        // behind it, batch by batch.
        let mut next = range.start.max(self.log_start());
        while next < end {
            let fetched = match self.stream.fetch(next, end, SCAN_BYTES, true).await {
                Ok(fetched) => fetched,
                // Trimmed meanwhile: search from the new start.
                Err(FetchError::OutOfRange { .. }) if self.log_start() > next => {
                    next = self.log_start();
                    continue;
                }
                Err(error) => return Err(ReadError::Storage(error)),
            };
            let bytes = fetched.slices.concat().into();
            let start = self.log_start().kafka();
            if let Some(found) = find_offset_by_timestamp(&bytes, at_least.0, start, DECOMPRESSED_BYTES_MAX)? {
                return Ok(found.into());
            }
            if fetched.range.end <= next {
                break;
            }
            next = fetched.range.end;
        }
        Ok(FoundOffset::NONE)
    }
}
