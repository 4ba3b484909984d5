//! Finding records by time, as ListOffsets asks.

use bytes::Bytes;

use crate::{RecordsError, TimestampType, batches};

/// A record's place and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampedOffset {
    /// The record's offset.
    pub offset: i64,
    /// Its timestamp.
    pub timestamp: i64,
    /// Leader epoch of its batch.
    pub leader_epoch: i32,
}

/// The first record in `bytes` at or after `first_offset` with a timestamp of at least `timestamp`. Only batches whose
/// max timestamp qualifies are opened.
///
/// # Errors
/// Broken batches, or one that decompresses to more than `limit` bytes.
pub fn find_offset_by_timestamp(
    bytes: &Bytes,
    timestamp: i64,
    first_offset: i64,
    limit: usize,
) -> Result<Option<TimestampedOffset>, RecordsError> {
    for batch in batches(bytes) {
        let batch = batch?;
        if batch.header.max_timestamp < timestamp || batch.header.last_offset() < first_offset {
            continue;
        }
        for record in batch.records(limit)? {
            let record = record?;
            if record.timestamp >= timestamp && record.offset >= first_offset {
                return Ok(Some(TimestampedOffset {
                    offset: record.offset,
                    timestamp: record.timestamp,
                    leader_epoch: batch.header.leader_epoch,
                }));
            }
        }
    }
    Ok(None)
}

/// The first record in `bytes` with the highest timestamp; none if no record has one.
///
/// # Errors
/// Broken batches, or one that decompresses to more than `limit` bytes.
pub fn find_max_timestamp(bytes: &Bytes, limit: usize) -> Result<Option<TimestampedOffset>, RecordsError> {
    let mut best = None;
    for batch in batches(bytes) {
        let batch = batch?;
        if batch.header.max_timestamp > best.as_ref().map_or(-1, |best: &crate::Batch| best.header.max_timestamp) {
            best = Some(batch);
        }
    }
    let Some(batch) = best else { return Ok(None) };
    let (leader_epoch, timestamp) = (batch.header.leader_epoch, batch.header.max_timestamp);
    if batch.header.timestamp_type() == TimestampType::LogAppendTime {
        return Ok(Some(TimestampedOffset { offset: batch.header.base_offset, timestamp, leader_epoch }));
    }
    for record in batch.records(limit)? {
        let record = record?;
        if record.timestamp == timestamp {
            return Ok(Some(TimestampedOffset { offset: record.offset, timestamp, leader_epoch }));
        }
    }
    Err(RecordsError::Malformed("no record has the batch's max timestamp"))
}
