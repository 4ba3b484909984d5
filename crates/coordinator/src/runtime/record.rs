//! A record of an internal topic, and batches of them.

use base::TimestampMs;
use bytes::Bytes;
use records::{BatchBuilder, Compression, RecordsError};

use crate::limits::RECORD_OVERHEAD_BYTES;

/// A record: the newest value of a key counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// What it is about.
    pub key: Bytes,
    /// What holds from now on; `None` for nothing.
    pub value: Option<Bytes>,
}

impl Record {
    /// Bytes that it takes in a batch, at most.
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Bytes::len) + RECORD_OVERHEAD_BYTES
    }
}

/// One batch.
pub(crate) fn batch<'a>(records: impl Iterator<Item = &'a Record>, now: TimestampMs) -> Result<Bytes, RecordsError> {
    let mut builder = BatchBuilder::new(Compression::None);
    for record in records {
        builder.append(now.0, Some(&record.key), record.value.as_deref(), &[])?;
    }
    builder.build()
}
