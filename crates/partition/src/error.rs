//! What can go wrong with a partition, and the Kafka error code of each.

use base::{Offset, OffsetRange};
use records::{InvalidRecord, RecordError, RecordsError};
use stream::engine::{FetchError, TrimError};
use thiserror::Error;

use crate::directory::Absent;
use crate::epochs::EpochMismatch;
use crate::producers::{CheckpointError, ProducerError};

/// Kafka's error codes that a partition answers with (`org.apache.kafka.common.protocol.Errors`).
mod code {
    pub const OFFSET_OUT_OF_RANGE: i16 = 1;
    pub const CORRUPT_MESSAGE: i16 = 2;
    pub const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
    pub const NOT_LEADER_OR_FOLLOWER: i16 = 6;
    pub const RECORD_LIST_TOO_LARGE: i16 = 18;
    pub const INVALID_REQUEST: i16 = 42;
    pub const POLICY_VIOLATION: i16 = 44;
    pub const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
    pub const INVALID_PRODUCER_EPOCH: i16 = 47;
    pub const KAFKA_STORAGE_ERROR: i16 = 56;
    pub const FENCED_LEADER_EPOCH: i16 = 74;
    pub const UNKNOWN_LEADER_EPOCH: i16 = 75;
    pub const UNKNOWN_TOPIC_ID: i16 = 100;
}

/// Why a partition cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PartitionError {
    /// There is none.
    #[error(transparent)]
    Absent(#[from] Absent),
    /// It was deleted while it was in use.
    #[error("the topic was deleted")]
    Deleted,
    /// Another broker leads it, or this one may not acknowledge any more.
    #[error("this broker does not lead the partition: refresh metadata")]
    NotLeader,
}

impl PartitionError {
    /// Kafka's error code.
    pub fn code(&self) -> i16 {
        match self {
            Self::Absent(Absent::Id(_)) => code::UNKNOWN_TOPIC_ID,
            Self::Absent(Absent::Name { .. } | Absent::Index { .. }) | Self::Deleted => {
                code::UNKNOWN_TOPIC_OR_PARTITION
            }
            Self::NotLeader => code::NOT_LEADER_OR_FOLLOWER,
        }
    }
}

impl EpochMismatch {
    /// Kafka's error code.
    pub fn code(&self) -> i16 {
        match self {
            Self::Fenced { .. } => code::FENCED_LEADER_EPOCH,
            Self::Unknown { .. } => code::UNKNOWN_LEADER_EPOCH,
        }
    }
}

/// Why producer state could not be loaded.
#[derive(Clone, Debug, Error)]
pub enum LoadError {
    /// The store failed.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The checkpoint is unusable.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The log holds bytes that are no batches.
    #[error("the log is damaged at offset {at}: {why}")]
    Log {
        /// Where.
        at: Offset,
        /// What is wrong.
        why: RecordsError,
    },
    /// The log holds what this release cannot have written.
    #[error("the log holds transactional batches (offset {0}), which this release cannot serve: upgrade the broker")]
    Transactional(Offset),
}

/// Why records were not appended.
#[derive(Clone, Debug, Error)]
pub enum AppendError {
    /// The partition cannot be used.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// The request's leader epoch is not this leader's.
    #[error(transparent)]
    Epoch(#[from] EpochMismatch),
    /// The records are refused.
    #[error(transparent)]
    Records(#[from] InvalidRecord),
    /// The producer's epoch or sequence is refused.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// The batch cannot stand in the write-ahead log.
    #[error(
        "a batch of {bytes} bytes exceeds what the write-ahead log takes ({max}): lower max.message.bytes or batch.size"
    )]
    TooLargeForLog {
        /// Its size.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// Transactions are not served.
    #[error("transactional batches are not supported yet: remove transactional.id from the producer's configuration")]
    Transactional,
    /// The log is full: offsets end at 2^63 - 1.
    #[error("the partition has no offsets left")]
    OffsetsExhausted,
    /// Producer state could not be loaded.
    #[error("producer state could not be loaded: {0}")]
    Load(#[from] LoadError),
}

impl AppendError {
    /// Kafka's error code.
    pub fn code(&self) -> i16 {
        match self {
            Self::Partition(error) => error.code(),
            Self::Epoch(error) => error.code(),
            Self::Records(error) => error.code(),
            Self::Producer(ProducerError::OutOfOrderSequence { .. }) => code::OUT_OF_ORDER_SEQUENCE_NUMBER,
            Self::Producer(ProducerError::InvalidEpoch { .. }) => code::INVALID_PRODUCER_EPOCH,
            Self::TooLargeForLog { .. } => code::RECORD_LIST_TOO_LARGE,
            Self::Transactional => code::INVALID_REQUEST,
            Self::OffsetsExhausted | Self::Load(_) => code::KAFKA_STORAGE_ERROR,
        }
    }

    /// The records to blame, where single records are; for Produce v8 and later.
    pub fn record_errors(&self) -> &[RecordError] {
        match self {
            Self::Records(error) => error.record_errors(),
            _ => &[],
        }
    }
}

/// Why records, or an offset, could not be read.
#[derive(Clone, Debug, Error)]
pub enum ReadError {
    /// The partition cannot be used.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// The request's leader epoch is not this leader's.
    #[error(transparent)]
    Epoch(#[from] EpochMismatch),
    /// The offset is below the log start or above the log end.
    #[error("offset {offset} is outside the log {log}")]
    OutOfRange {
        /// What was asked for; negative offsets are never in range.
        offset: i64,
        /// Log start and log end.
        log: OffsetRange,
    },
    /// The store, or the bytes in it, failed.
    #[error(transparent)]
    Storage(FetchError),
    /// The log holds bytes that are no batches.
    #[error("the log is damaged: {0}")]
    Damaged(#[from] RecordsError),
}

impl ReadError {
    /// Kafka's error code.
    pub fn code(&self) -> i16 {
        match self {
            Self::Partition(error) => error.code(),
            Self::Epoch(error) => error.code(),
            Self::OutOfRange { .. } => code::OFFSET_OUT_OF_RANGE,
            Self::Storage(_) => code::KAFKA_STORAGE_ERROR,
            Self::Damaged(_) => code::CORRUPT_MESSAGE,
        }
    }
}

/// Why records were not deleted.
#[derive(Clone, Debug, Error)]
pub enum DeleteRecordsError {
    /// The partition cannot be used.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// Beyond the high watermark, or negative and not -1.
    #[error("offset {offset} is not between 0 and the high watermark {high_watermark}")]
    OutOfRange {
        /// What was asked for.
        offset: i64,
        /// The high watermark.
        high_watermark: Offset,
    },
    /// The topic's `cleanup.policy` has no `delete`.
    #[error("records of topic {topic} cannot be deleted: its cleanup.policy does not include delete")]
    Policy {
        /// The topic.
        topic: String,
    },
    /// The metadata log refused.
    #[error(transparent)]
    Trim(#[from] TrimError),
}

impl DeleteRecordsError {
    /// Kafka's error code.
    pub fn code(&self) -> i16 {
        match self {
            Self::Partition(error) => error.code(),
            Self::OutOfRange { .. } => code::OFFSET_OUT_OF_RANGE,
            Self::Policy { .. } => code::POLICY_VIOLATION,
            Self::Trim(_) => code::KAFKA_STORAGE_ERROR,
        }
    }
}
