//! What can be wrong with bytes that claim to be records.

use crate::Compression;

/// Why a batch or message set cannot be read, written or converted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordsError {
    /// The bytes end inside a batch. Normal at the end of a fetch response to old clients; elsewhere corruption.
    #[error("the bytes end inside a batch: {have} of {need} bytes are there")]
    Truncated {
        /// Bytes present.
        have: usize,
        /// Bytes that the batch claims.
        need: usize,
    },
    /// A length field below the smallest possible.
    #[error("batch length {0} is below the smallest possible")]
    BadLength(i32),
    /// A format version that does not exist, or not where it was met.
    #[error("record format (magic) {0} is not valid here")]
    BadMagic(i8),
    /// The stored checksum is not that of the bytes.
    #[error("checksum mismatch: stored {stored:#010x}, computed {computed:#010x}")]
    Checksum {
        /// What the batch says.
        stored: u32,
        /// What its bytes give.
        computed: u32,
    },
    /// The inside of a batch breaks the format.
    #[error("malformed records: {0}")]
    Malformed(&'static str),
    /// The compressed part cannot be decompressed.
    #[error("{codec} data cannot be decompressed: {cause}")]
    Decompress {
        /// The codec named by the batch.
        codec: Compression,
        /// What the codec says.
        cause: String,
    },
    /// Records cannot be compressed.
    #[error("{codec} refused to compress: {cause}")]
    Compress {
        /// The codec asked for.
        codec: Compression,
        /// What the codec says.
        cause: String,
    },
    /// Decompression would produce more than the caller allows.
    #[error("the records decompress to more than the allowed {limit} bytes")]
    DecompressedTooLarge {
        /// The caller's limit.
        limit: usize,
    },
    /// A record of a compressed batch is larger than the caller allows.
    #[error("a record of {size} bytes exceeds the limit of {max} bytes (max.decompressed.message.bytes)")]
    RecordTooLarge {
        /// The record's size.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// A codec number that Kafka never assigned.
    #[error("unknown compression codec {0}")]
    UnknownCompression(u8),
    /// The codec exists, but not in this record format.
    #[error("{codec} does not exist in record format (magic) {magic}")]
    UnsupportedCompression {
        /// The codec.
        codec: Compression,
        /// The format.
        magic: i8,
    },
    /// A batch cannot grow any further.
    #[error("a batch cannot hold more than {0}")]
    BatchFull(&'static str),
}

/// One record's share of a refusal, as Produce v8 and later report it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// The record's place in its batch, from 0.
    pub batch_index: i32,
    /// What is wrong with it.
    pub fault: RecordFault,
}

impl RecordError {
    /// What is wrong, in Kafka's words, of a record for the partition of this name (`topic-0`).
    pub fn message(&self, partition: &str) -> String {
        match &self.fault {
            RecordFault::NoKey => {
                format!("Compacted topic cannot accept message without key in topic partition {partition}")
            }
            RecordFault::Magic { inner, outer } => {
                format!("A record's magic {inner} does not match outer magic {outer} in topic partition {partition}")
            }
            RecordFault::AppendTime { record } => format!(
                "Invalid timestamp type in message {record}. Producer should not set timestamp type to LogAppendTime."
            ),
            RecordFault::Negative { timestamp } => format!("Timestamp {timestamp} is negative"),
            RecordFault::OutOfRange { timestamp, offset, oldest, newest } => format!(
                "Timestamp {timestamp} of message with offset {offset} is out of range. \
                 The timestamp should be within [{oldest}, {newest}]"
            ),
        }
    }
}

/// What can be wrong with a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordFault {
    /// A compacted topic asks for a key.
    NoKey,
    /// A message has another format than the one that wraps it.
    Magic {
        /// Its own.
        inner: i8,
        /// The wrapper's.
        outer: i8,
    },
    /// Only the broker gives append times.
    AppendTime {
        /// The record, as Kafka shows one.
        record: String,
    },
    /// A timestamp below -1, where the format has none.
    Negative {
        /// It.
        timestamp: i64,
    },
    /// The timestamp is too old, or too far ahead.
    OutOfRange {
        /// It.
        timestamp: i64,
        /// The record's offset as the producer counts.
        offset: i64,
        /// The oldest that there may be.
        oldest: i64,
        /// The newest that there may be.
        newest: i64,
    },
}

impl RecordFault {
    /// Whether it is one of the timestamp, and its code that of the whole refusal.
    pub fn is_of_timestamp(&self) -> bool {
        matches!(self, Self::AppendTime { .. } | Self::Negative { .. } | Self::OutOfRange { .. })
    }
}

/// The records of a batch that are to blame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordErrors {
    /// The first of them; a batch of a million bad ones is refused with as much.
    pub first: Vec<RecordError>,
    /// How many there are.
    pub count: usize,
}

/// Why a produced batch is refused. Each variant is one Kafka error code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRecord {
    /// CORRUPT_MESSAGE: the bytes were damaged on the way; the client may send them again.
    #[error("corrupt record batch: {0}")]
    Corrupt(RecordsError),
    /// MESSAGE_TOO_LARGE: above `max.message.bytes`, or above the limit on decompressed bytes.
    #[error("record batch of {size} bytes exceeds the limit of {max} bytes ({which})")]
    TooLarge {
        /// The batch's size; for a decompression that was stopped, the limit itself.
        size: usize,
        /// The limit.
        max: usize,
        /// The limit's name.
        which: &'static str,
    },
    /// INVALID_TIMESTAMP: some records' timestamps are out of range or of the wrong type.
    #[error("timestamps of records are refused{}", first(.0))]
    Timestamp(RecordErrors),
    /// UNSUPPORTED_FOR_MESSAGE_FORMAT: the batch uses what its format or the request's version does not have.
    #[error("unsupported for this message format: {0}")]
    UnsupportedForMessageFormat(&'static str),
    /// UNSUPPORTED_COMPRESSION_TYPE: the codec may not be used by this request.
    #[error("{0} compression is not supported by this version of the request")]
    UnsupportedCompression(Compression),
    /// INVALID_RECORD: the batch as a whole breaks a rule; sending it again will not help.
    #[error("invalid record batch: {0}")]
    Batch(String),
    /// INVALID_RECORD: some records break a rule.
    #[error("{} records are refused{}", .0.count, first(.0))]
    Records(RecordErrors),
    /// UNKNOWN_SERVER_ERROR: what Kafka fails on, a codec number that it never assigned and data that its codec cannot read.
    #[error("{0}")]
    Unreadable(RecordsError),
}

/// Shows the first error of a list that may be as long as a batch.
fn first(errors: &RecordErrors) -> String {
    let first = errors.first.first();
    first.map(|error| format!(" (record {}: {:?})", error.batch_index, error.fault)).unwrap_or_default()
}

/// How many records a refusal names in its message.
const RECORDS_NAMED: usize = 3;

impl InvalidRecord {
    /// Kafka's error code.
    pub fn code(&self) -> i16 {
        match self {
            Self::Corrupt(_) => 2,
            Self::TooLarge { .. } => 10,
            Self::Timestamp(_) => 32,
            Self::UnsupportedForMessageFormat(_) => 43,
            Self::UnsupportedCompression(_) => 76,
            Self::Batch(_) | Self::Records(_) => 87,
            Self::Unreadable(_) => -1,
        }
    }

    /// What Kafka says of a refusal for the partition of this name (`topic-0`): something only where records are to blame.
    pub fn message(&self, partition: &str) -> Option<String> {
        const REJECTED: &str = "One or more records have been rejected due to";
        match self {
            Self::Timestamp(_) => Some(format!("{REJECTED} invalid timestamp")),
            Self::Records(RecordErrors { first, count }) => {
                let named = first.iter().take(RECORDS_NAMED).map(|error| {
                    format!("RecordError(batchIndex={}, message='{}')", error.batch_index, error.message(partition))
                });
                let named = named.collect::<Vec<_>>().join(", ");
                Some(format!(
                    "{REJECTED} {count} record errors in total, and only showing the first three errors at most: [{named}]"
                ))
            }
            _ => None,
        }
    }

    /// The records to blame, where single records are.
    pub fn record_errors(&self) -> &[RecordError] {
        match self {
            Self::Timestamp(errors) | Self::Records(errors) => &errors.first,
            _ => &[],
        }
    }
}

impl From<RecordsError> for InvalidRecord {
    fn from(error: RecordsError) -> Self {
        match error {
            RecordsError::Truncated { .. }
            | RecordsError::BadLength(_)
            | RecordsError::BadMagic(_)
            | RecordsError::Checksum { .. } => Self::Corrupt(error),
            RecordsError::DecompressedTooLarge { limit } => {
                Self::TooLarge { size: limit, max: limit, which: "decompressed bytes of one batch" }
            }
            RecordsError::UnknownCompression(_) | RecordsError::Decompress { .. } => Self::Unreadable(error),
            // The checksum was right, so the producer made it so: sending it again cannot help, and Java clients do
            // send again after CORRUPT_MESSAGE.
            RecordsError::Malformed(_)
            | RecordsError::Compress { .. }
            | RecordsError::RecordTooLarge { .. }
            | RecordsError::UnsupportedCompression { .. }
            | RecordsError::BatchFull(_) => Self::Batch(error.to_string()),
        }
    }
}
