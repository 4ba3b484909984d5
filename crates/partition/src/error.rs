//! What can go wrong with a partition, and the Kafka error code of each.

use base::{Offset, OffsetRange};
use records::batch::MAGIC;
use records::{InvalidRecord, RecordError, RecordsError};
use stream::catalogue::ClientError;
use stream::engine::{FetchError, NotTrimmed};
use thiserror::Error;
use wire::ErrorCode;

use crate::directory::Absent;
use crate::epochs::EpochMismatch;
use crate::producers::{CheckpointError, ProducerError};

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
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::Absent(Absent::Id(_)) => ErrorCode::UnknownTopicId,
            Self::Absent(Absent::Name { .. } | Absent::Index { .. }) | Self::Deleted => {
                ErrorCode::UnknownTopicOrPartition
            }
            Self::NotLeader => ErrorCode::NotLeaderOrFollower,
        }
    }

    /// The number of [`Self::error_code`].
    pub fn code(&self) -> i16 {
        self.error_code().code()
    }
}

impl EpochMismatch {
    /// Kafka's error code.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::Fenced { .. } => ErrorCode::FencedLeaderEpoch,
            Self::Unknown { .. } => ErrorCode::UnknownLeaderEpoch,
        }
    }

    /// The number of [`Self::error_code`].
    pub fn code(&self) -> i16 {
        self.error_code().code()
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

impl LoadError {
    /// Whether loading again cannot help, nor could another release: the log is damaged.
    pub(crate) fn is_lasting(&self) -> bool {
        match self {
            Self::Fetch(error) => error.is_lasting(),
            Self::Log { why, .. } => !matches!(why, RecordsError::BadMagic(magic) if *magic > MAGIC),
            // A lost checkpoint fails no load.
            Self::Checkpoint(_) | Self::Transactional(_) => false,
        }
    }

    /// Whether a checkpoint that cannot be read for this reason will never be: then the log has to tell what it held. One
    /// of a newer release can be read, by that release.
    pub(crate) fn is_lost_checkpoint(&self) -> bool {
        match self {
            Self::Fetch(error) => error.is_lasting(),
            Self::Checkpoint(error) => !matches!(error, CheckpointError::Version(_) | CheckpointError::Newer(_)),
            Self::Log { .. } | Self::Transactional(_) => false,
        }
    }
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
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::Partition(error) => error.error_code(),
            Self::Epoch(error) => error.error_code(),
            Self::Records(error) => ErrorCode::from_code(error.code()),
            Self::Producer(ProducerError::OutOfOrderSequence { .. }) => ErrorCode::OutOfOrderSequenceNumber,
            Self::Producer(ProducerError::InvalidEpoch { .. }) => ErrorCode::InvalidProducerEpoch,
            Self::TooLargeForLog { .. } => ErrorCode::RecordListTooLarge,
            Self::Transactional => ErrorCode::InvalidRequest,
            Self::OffsetsExhausted | Self::Load(_) => ErrorCode::KafkaStorageError,
        }
    }

    /// The number of [`Self::error_code`].
    pub fn code(&self) -> i16 {
        self.error_code().code()
    }

    /// What Kafka's clients are told besides the code of a refusal by the partition of this name (`topic-0`): what Kafka
    /// tells, and what is wrong where Kafka knows no such error.
    pub fn message(&self, partition: &str) -> Option<String> {
        match self {
            Self::Records(error) => error.message(partition),
            Self::TooLargeForLog { .. } | Self::Transactional | Self::OffsetsExhausted | Self::Load(_) => {
                Some(self.to_string())
            }
            Self::Partition(_) | Self::Epoch(_) | Self::Producer(_) => None,
        }
    }

    /// The records to blame, where single records are; for Produce v8 and later.
    pub fn record_errors(&self) -> &[RecordError] {
        match self {
            Self::Records(error) => error.record_errors(),
            Self::Partition(_)
            | Self::Epoch(_)
            | Self::Producer(_)
            | Self::TooLargeForLog { .. }
            | Self::Transactional
            | Self::OffsetsExhausted
            | Self::Load(_) => &[],
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
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::Partition(error) => error.error_code(),
            Self::Epoch(error) => error.error_code(),
            Self::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            Self::Storage(_) => ErrorCode::KafkaStorageError,
            Self::Damaged(_) => ErrorCode::CorruptMessage,
        }
    }

    /// The number of [`Self::error_code`].
    pub fn code(&self) -> i16 {
        self.error_code().code()
    }
}

/// Why the log start was not moved.
#[derive(Clone, Debug, Error)]
pub enum TrimError {
    /// What the records tell of producers could not be loaded.
    #[error("producer state could not be loaded: {0}")]
    Load(#[from] LoadError),
    /// The metadata log refused, or no checkpoint could be written before.
    #[error(transparent)]
    Stream(#[from] stream::engine::TrimError),
}

impl TrimError {
    /// Kafka's error code: of the store's, after which clients ask again, unless that is in vain.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::Load(_) => ErrorCode::KafkaStorageError,
            Self::Stream(error) => match &error.why {
                NotTrimmed::Catalogue(ClientError::Refused(_)) => ErrorCode::UnknownServerError,
                NotTrimmed::Untold(_)
                | NotTrimmed::Engine(_)
                | NotTrimmed::Rejected(_)
                | NotTrimmed::Catalogue(ClientError::Fenced(_) | ClientError::Unavailable(_) | ClientError::Ended(_)) => {
                    ErrorCode::KafkaStorageError
                }
            },
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
    /// The log start was not moved.
    #[error(transparent)]
    Trim(#[from] TrimError),
}

impl DeleteRecordsError {
    /// Kafka's error code.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::Partition(error) => error.error_code(),
            Self::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            Self::Policy { .. } => ErrorCode::PolicyViolation,
            Self::Trim(error) => error.error_code(),
        }
    }

    /// The number of [`Self::error_code`].
    pub fn code(&self) -> i16 {
        self.error_code().code()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base::{ObjectId, StreamId};
    use stream::catalogue::StreamRejection;
    use stream::engine::EngineFailure;
    use stream::format::FormatError;
    use stream::read::ReadError as StoreError;

    use super::*;

    #[test]
    fn records_that_are_not_deleted_are_asked_for_again_unless_the_metadata_will_never_take_it() {
        let why = || Arc::from("a test");
        let stream = StreamId(1);
        let again = [
            NotTrimmed::Untold(why()),
            EngineFailure(why()).into(),
            StreamRejection::Unknown(stream).into(),
            ClientError::Fenced(why()).into(),
            ClientError::Unavailable(why()).into(),
            ClientError::Ended(why()).into(),
        ];
        let code = |why| {
            let error = stream::engine::TrimError { stream, start: Offset(5), why };
            DeleteRecordsError::Trim(error.into()).error_code()
        };
        for why in again {
            assert_eq!(code(why.clone()), ErrorCode::KafkaStorageError, "{why}");
        }
        assert_eq!(code(ClientError::Refused(why()).into()), ErrorCode::UnknownServerError);
    }

    #[test]
    fn what_only_a_newer_release_can_read_is_no_lasting_damage() {
        let damaged = |why| {
            let error = StoreError::Damaged { object: ObjectId::default(), why };
            LoadError::Fetch(FetchError::Read(error))
        };
        let rotten = damaged(FormatError::Checksum { what: "it", found: 1, computed: 2 });
        assert!(rotten.is_lasting() && rotten.is_lost_checkpoint());
        for newer in
            [FormatError::Version { what: "it", found: 2, known: 1 }, FormatError::Kind { what: "it", found: 9 }]
        {
            let newer = damaged(newer);
            assert!(!newer.is_lasting() && !newer.is_lost_checkpoint(), "{newer}");
        }
        let log = |magic| LoadError::Log { at: Offset(0), why: RecordsError::BadMagic(magic) };
        assert!(log(1).is_lasting() && log(-1).is_lasting() && !log(MAGIC + 1).is_lasting());
    }
}
