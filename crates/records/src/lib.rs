//! Record batches: the bytes that producers send, the log keeps and consumers get.
//!
//! Layer 1. The life of a batch: a Produce request's records arrive as one slice of a network frame → [`validate()`]
//! checks everything that Kafka's `LogValidator` checks and hands back a [`StampedBatch`], whose 61-byte header is owned
//! and whose records are still the same slice → the partition stamps base offset and leader epoch under its lock → the log
//! stores header and slice. Readers get the bytes as they are, or through [`convert::down_convert`] when they are too old.
//!
//! Invariants:
//! - What the log stores is magic 2, always; formats 0 and 1 exist only in [`legacy`] and [`convert`].
//! - A batch's CRC covers everything after itself; base offset and leader epoch lie before it, so that stamping never
//!   touches checksummed bytes.
//! - No length or count from the bytes reserves memory: output grows with what was really decoded, up to the caller's limit.
//! - Header fields and record fields are wire values (`i64`, `i32`), since producers may send anything.

pub mod batch;
pub mod builder;
pub mod compression;
pub mod convert;
mod error;
pub mod legacy;
mod lookup;
mod record;
mod stamped;
pub mod validate;
mod varint;

pub use batch::{Batch, BatchHeader, BatchIter, TimestampType, batches, stamp};
pub use builder::BatchBuilder;
pub use compression::{Compression, Encoding};
pub use error::{InvalidRecord, RecordError, RecordErrors, RecordFault, RecordsError};
pub use lookup::{TimestampedOffset, find_max_timestamp, find_offset_by_timestamp};
pub use record::{Header, Record, Records};
pub use stamped::StampedBatch;
pub use validate::{
    Validated, ValidationConfig, ValidationLevel, check_produce_version, holds_nothing, is_first_transactional,
    validate,
};
