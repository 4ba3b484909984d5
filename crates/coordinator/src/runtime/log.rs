//! The log under a shard: what the runtime needs of a partition.

use std::sync::Arc;

use base::{Offset, OffsetRange, StreamEpoch, StreamId};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use meta::MetaHandle;
use partition::{AppendError, AppendOptions, Isolation, Partition, PartitionError, ReadError, ReadRequest, Watcher};
use stream::catalogue::{CatalogueClient, StateBelow, TrimRequest};
use stream::read::ReadFor;
use thiserror::Error;

use crate::limits::LOAD_READ_BYTES;

/// Which log it is: another tenure of the same stream is another log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogId {
    /// The stream.
    pub stream: StreamId,
    /// The tenure.
    pub epoch: StreamEpoch,
}

/// Why the log did not do what it was asked.
#[derive(Clone, Debug, Error)]
pub enum LogError {
    /// There is none, or it is another broker's.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// A batch was refused.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log start was not moved.
    #[error("the log start was not moved: {0}")]
    Trim(String),
    /// What was read is not a sequence of batches.
    #[error("the log is damaged at offset {at}: {why}")]
    Damaged {
        /// Where.
        at: Offset,
        /// What is wrong.
        why: String,
    },
}

impl LogError {
    /// Whether it is this batch that the log does not take: nothing of it stands there, and another may be taken.
    pub fn refuses_the_batch(&self) -> bool {
        matches!(self, Self::Append(AppendError::Records(_) | AppendError::TooLargeForLog { .. }))
    }
}

/// A batch on its way into the log.
pub struct Appended {
    /// The offset of its first record.
    pub base: Offset,
    /// Resolves when it is durable in a log that was seen unfenced afterwards, or when nobody can tell.
    pub durable: BoxFuture<'static, Result<(), LogError>>,
}

/// Batches that were read.
#[derive(Clone, Debug)]
pub struct ReadBatches {
    /// Whole batches; the first may begin before the offset asked for.
    pub bytes: Bytes,
    /// The first offset after them.
    pub end: Offset,
}

/// A log that one shard writes and nobody else.
pub trait Log: Send + Sync + 'static {
    /// The first offset that is kept.
    fn start(&self) -> Offset;
    /// The next offset to be assigned, durable or not.
    fn end(&self) -> Offset;
    /// Everything below may be read.
    fn durable_end(&self) -> Offset;
    /// The largest batch that decisions may make. What stands in the log already may be larger.
    fn batch_bytes_max(&self) -> usize;
    /// Appends a batch behind all that were appended before.
    fn append(&self, batch: Bytes) -> BoxFuture<'_, Result<Appended, LogError>>;
    /// Reads from an offset below the durable end; never nothing.
    fn read(&self, from: Offset) -> BoxFuture<'_, Result<ReadBatches, LogError>>;
    /// Waits until the durable end is above `offset`.
    fn readable(&self, offset: Offset) -> BoxFuture<'_, Result<(), LogError>>;
    /// Makes sure that no other broker has taken this one's place: what was known before this call was not contradicted.
    fn check_unfenced(&self) -> BoxFuture<'_, Result<(), LogError>>;
    /// Moves the log start to that of a snapshot, once the whole of it is where nothing that is given up can take it away.
    fn trim(&self, snapshot: OffsetRange) -> BoxFuture<'_, Result<(), LogError>>;
}

/// Finds the log of each shard.
pub trait OpenLog: Send + Sync + 'static {
    /// Which log shard `index` has now.
    ///
    /// # Errors
    /// When it is not here.
    fn id(&self, index: i32) -> Result<LogId, PartitionError>;

    /// Opens it.
    ///
    /// # Errors
    /// When it is not here.
    fn open(&self, index: i32) -> Result<Arc<dyn Log>, PartitionError>;
}

/// A partition of an internal topic as a log.
pub struct PartitionLog {
    partition: Arc<Partition>,
    meta: MetaHandle,
}

impl PartitionLog {
    /// The log that `partition` is.
    pub fn new(partition: Arc<Partition>, meta: MetaHandle) -> Self {
        Self { partition, meta }
    }

    /// Waits until everything below `end` is in objects. It asks for no upload: a trim is in no hurry.
    async fn uploaded(&self, end: Offset) -> Result<(), LogError> {
        let mut changes = self.meta.changes();
        loop {
            changes.borrow_and_update();
            self.partition.check_open()?;
            let image = self.meta.image();
            if image.catalogue.stream(self.partition.stream_id()).is_some_and(|state| state.end >= end) {
                return Ok(());
            }
            changes
                .changed()
                .await
                .map_err(|_| LogError::Trim("this process follows the metadata no more".to_owned()))?;
        }
    }
}

impl Log for PartitionLog {
    fn start(&self) -> Offset {
        self.partition.log_start()
    }

    fn end(&self) -> Offset {
        self.partition.log_end()
    }

    fn durable_end(&self) -> Offset {
        self.partition.high_watermark()
    }

    fn batch_bytes_max(&self) -> usize {
        usize::try_from(self.partition.batch_bytes_max()).unwrap_or(usize::MAX)
    }

    fn append(&self, batch: Bytes) -> BoxFuture<'_, Result<Appended, LogError>> {
        async move {
            let options = AppendOptions::coordinator(self.partition.leader_epoch());
            let room = self.partition.reserve(batch.len()).await;
            let appended = self.partition.append(batch, &room, options).await?;
            let durable = appended.durable.map(|outcome| outcome.map_err(LogError::from)).boxed();
            Ok(Appended { base: appended.base_offset, durable })
        }
        .boxed()
    }

    fn read(&self, from: Offset) -> BoxFuture<'_, Result<ReadBatches, LogError>> {
        async move {
            let request = ReadRequest {
                offset: from.kafka(),
                max_bytes: LOAD_READ_BYTES,
                min_one: true,
                isolation: Isolation::ReadUncommitted,
                leader_epoch: self.partition.leader_epoch().0,
            };
            let read = self.partition.read_for(ReadFor::Broker, request).await?;
            if read.range.end <= from {
                let why = "it holds nothing below its end".to_owned();
                return Err(LogError::Damaged { at: from, why });
            }
            let bytes = match read.slices.as_slice() {
                [only] => only.clone(),
                many => many.concat().into(),
            };
            Ok(ReadBatches { bytes, end: read.range.end })
        }
        .boxed()
    }

    fn readable(&self, offset: Offset) -> BoxFuture<'_, Result<(), LogError>> {
        async move {
            let bell = Watcher::new();
            let _watch = self.partition.watch(&bell);
            while self.partition.high_watermark() <= offset {
                self.partition.check_open()?;
                bell.woken().await;
            }
            Ok(())
        }
        .boxed()
    }

    fn check_unfenced(&self) -> BoxFuture<'_, Result<(), LogError>> {
        async move { Ok(self.partition.check_unfenced().await?) }.boxed()
    }

    fn trim(&self, snapshot: OffsetRange) -> BoxFuture<'_, Result<(), LogError>> {
        // Not DeleteRecords, which a compacted topic refuses to clients with good reason.
        async move {
            self.uploaded(snapshot.end).await?;
            let (stream, epoch) = (self.partition.stream_id(), self.partition.leader_epoch());
            // A coordinator writes without a producer id: its batches make no producer state.
            let state = StateBelow::ToldUpTo(snapshot.end);
            let request = TrimRequest { stream, epoch, start: snapshot.start, state };
            let answers = self.meta.trim(vec![request]).await;
            let answers = answers.map_err(|error| LogError::Trim(error.to_string()))?;
            answers.into_iter().try_for_each(|answer| answer.map_err(|error| LogError::Trim(error.to_string())))
        }
        .boxed()
    }
}
