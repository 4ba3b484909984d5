//! Reading: whole batches in offset order, never beyond what isolation allows.

use std::sync::Arc;

use base::{Offset, OffsetRange};
use bytes::Bytes;
use smallvec::SmallVec;
use stream::engine::{FetchError, Fetched};
use stream::read::ReadFor;

use crate::epochs::check_current;
use crate::error::ReadError;
use crate::partition::Partition;

/// What a reader may see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Everything below the high watermark.
    #[default]
    ReadUncommitted,
    /// Everything below the last stable offset.
    ReadCommitted,
}

impl Isolation {
    /// What a request's `isolation_level` says, if it says anything.
    pub fn from_wire(level: i8) -> Option<Self> {
        match level {
            0 => Some(Self::ReadUncommitted),
            1 => Some(Self::ReadCommitted),
            _ => None,
        }
    }
}

/// What to read.
#[derive(Clone, Copy, Debug)]
pub struct ReadRequest {
    /// The first offset wanted, as the client sent it.
    pub offset: i64,
    /// Most bytes to return.
    pub max_bytes: usize,
    /// Return the first batch even if it is larger than `max_bytes`.
    pub min_one: bool,
    /// What may be seen.
    pub isolation: Isolation,
    /// The request's `current_leader_epoch`; negative when it does not say.
    pub leader_epoch: i32,
}

/// A transaction that was aborted, for read_committed consumers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Its producer.
    pub producer_id: i64,
    /// Its first offset.
    pub first_offset: Offset,
}

/// What was read.
#[derive(Clone, Debug)]
pub struct ReadResult {
    /// Whole batches, cut into slices anywhere. The first batch contains the offset asked for and may begin before it.
    pub slices: SmallVec<[Bytes; 4]>,
    /// Sum of the slices.
    pub bytes: usize,
    /// Offsets covered; empty at the offset asked for when there was nothing.
    pub range: OffsetRange,
    /// More could be seen behind what was read: the limit stopped the read, or the end of what lies in objects.
    pub has_more: bool,
    /// The high watermark, taken before reading; the log start where that lies above it by now.
    pub high_watermark: Offset,
    /// The last stable offset, likewise.
    pub last_stable_offset: Offset,
    /// The log start.
    pub log_start: Offset,
    /// Aborted transactions among what was read; none while there are no transactions.
    pub aborted: Vec<AbortedTransaction>,
}

/// A request that may be answered, with the ends it was checked against.
struct Admitted {
    from: Offset,
    limit: Offset,
    high_watermark: Offset,
    last_stable_offset: Offset,
}

impl Partition {
    /// Reads from the log cache, or from objects if need be. Nothing new is an empty result, not an error.
    ///
    /// # Errors
    /// [`ReadError`]; below the log start and above the log end it is [`ReadError::OutOfRange`].
    pub async fn read(&self, request: ReadRequest) -> Result<ReadResult, ReadError> {
        self.read_for(ReadFor::Clients, request).await
    }

    /// As [`Self::read`], for whom it is told.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn read_for(&self, reads_for: ReadFor, request: ReadRequest) -> Result<ReadResult, ReadError> {
        let admitted = self.admit(&request)?;
        let (from, limit, ReadRequest { max_bytes, min_one, .. }) = (admitted.from, admitted.limit, request);
        match self.stream.fetch_for(reads_for, from, limit, max_bytes, min_one).await {
            Ok(fetched) => self.result(&request, &admitted, fetched),
            Err(FetchError::OutOfRange { .. }) => Err(self.out_of_range(request.offset)),
            Err(error) => Err(ReadError::Storage(error)),
        }
    }

    /// As [`Self::read`], but `None` when the log cache does not hold the offset.
    pub fn try_read(&self, request: ReadRequest) -> Option<Result<ReadResult, ReadError>> {
        let admitted = match self.admit(&request) {
            Ok(admitted) => admitted,
            Err(error) => return Some(Err(error)),
        };
        let Admitted { from, limit, .. } = admitted;
        let fetched = self.stream.try_fetch_cached(from, limit, request.max_bytes, request.min_one)?;
        Some(self.result(&request, &admitted, fetched))
    }

    fn admit(&self, request: &ReadRequest) -> Result<Admitted, ReadError> {
        self.check_open()?;
        // Kafka takes any negative one of a fetch for none, and of the other requests only -1.
        check_current(request.leader_epoch.max(-1), self.leader_epoch())?;
        let (high_watermark, last_stable_offset) = (self.high_watermark(), self.last_stable_offset());
        let in_range = |&offset: &Offset| self.log_start() <= offset && offset <= self.log_end();
        let from =
            Offset::from_kafka(request.offset).filter(in_range).ok_or_else(|| self.out_of_range(request.offset))?;
        let visible = match request.isolation {
            Isolation::ReadUncommitted => high_watermark,
            Isolation::ReadCommitted => last_stable_offset,
        };
        // Between the high watermark and the log end there is nothing to see yet.
        let from = from.min(visible.max(self.log_start()));
        Ok(Admitted { from, limit: visible, high_watermark, last_stable_offset })
    }

    pub(crate) fn out_of_range(&self, offset: i64) -> ReadError {
        ReadError::OutOfRange { offset, log: OffsetRange::new(self.log_start(), self.log_end()) }
    }

    fn result(&self, request: &ReadRequest, admitted: &Admitted, fetched: Fetched) -> Result<ReadResult, ReadError> {
        // It may have been moved beyond the ends that were taken before; these have been moved at least as far by then.
        let log_start = self.log_start();
        if log_start > admitted.high_watermark
            && Offset::from_kafka(request.offset).is_none_or(|wanted| wanted < log_start)
        {
            // All that this could show has been trimmed meanwhile, and so has what was asked for.
            return Err(self.out_of_range(request.offset));
        }
        Ok(ReadResult {
            has_more: fetched.range.end < admitted.limit,
            slices: fetched.slices,
            bytes: fetched.bytes,
            range: fetched.range,
            high_watermark: admitted.high_watermark.max(log_start),
            last_stable_offset: admitted.last_stable_offset.max(log_start),
            log_start,
            aborted: Vec::new(),
        })
    }

    /// The entry at `range`, whole and in one piece, though the log may start inside it; `None` when the log starts
    /// behind it.
    pub(crate) async fn read_entry(self: &Arc<Self>, range: OffsetRange) -> Result<Option<Bytes>, ReadError> {
        loop {
            let from = range.start.max(self.log_start());
            if from >= range.end {
                return Ok(None);
            }
            let fetched = match self.stream.fetch(from, range.end, 1, true).await {
                Ok(fetched) => fetched,
                // Trimmed meanwhile. The start only rises, so this ends.
                Err(FetchError::OutOfRange { .. }) if self.log_start() > from => continue,
                Err(error) => return Err(ReadError::Storage(error)),
            };
            return Ok(Some(match fetched.slices.len() {
                1 => fetched.slices[0].clone(),
                _ => fetched.slices.concat().into(),
            }));
        }
    }
}
