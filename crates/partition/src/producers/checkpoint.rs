//! The checkpoint: producer state at one offset, as bytes that ride in the object beside the data they describe.
//!
//! All integers are big-endian.
//!
//! ```text
//! version        u16   0
//! reserved       u16   0
//! producers      u32
//! end            u64   the state after every batch below this offset
//! producers × {                                    sorted by id
//!   id                 i64
//!   epoch              i16
//!   batches            u16   1 ..= 5
//!   coordinator epoch  i32   -1: no transaction marker seen
//!   transaction start  i64   -1: no transaction open
//!   touched            i64   wall-clock ms of the last append
//!   batches × {                                    oldest first
//!     last sequence      i32   -1: none
//!     last offset delta  u32
//!     last offset        u64
//!     timestamp          i64   largest in the batch, or log append time
//!   }
//! }
//! aborted        u32   0: place of the aborted transactions
//! crc            u32   CRC-32C of everything before
//! ```

use std::sync::Arc;

use base::checksum::crc32c;
use base::{Offset, TimestampMs};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use imbl::OrdMap;
use thiserror::Error;

use super::{Batch, Producer, Producers, in_flight};
use crate::limits::PRODUCER_BATCHES;

/// The format version written.
pub const VERSION: u16 = 0;

const HEADER_BYTES: usize = 16;
const PRODUCER_BYTES: usize = 32;
const BATCH_BYTES: usize = 24;
const TRAILER_BYTES: usize = 8;
const NO_COORDINATOR_EPOCH: i32 = -1;
const NO_TRANSACTION: i64 = -1;

/// Why a checkpoint cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CheckpointError {
    /// Shorter than its own counts say.
    #[error("a producer checkpoint ends early")]
    Truncated,
    /// A newer release wrote it.
    #[error("a producer checkpoint has format version {0}, and this release reads up to {VERSION}: upgrade the broker")]
    Version(u16),
    /// A newer release wrote it, in the format that this one reads.
    #[error("a producer checkpoint holds {0}, which only a newer release keeps: upgrade the broker")]
    Newer(&'static str),
    /// The checksum does not match.
    #[error("a producer checkpoint is corrupt: CRC-32C {found:#010x}, stored {stored:#010x}")]
    Corrupt {
        /// Computed.
        found: u32,
        /// Stored.
        stored: u32,
    },
    /// A field that cannot be.
    #[error("a producer checkpoint is invalid: {0}")]
    Invalid(&'static str),
    /// It describes another offset than the one it was stored for.
    #[error("a producer checkpoint describes offset {described}, but was stored for {stored_for}")]
    OtherOffset {
        /// In the checkpoint.
        described: Offset,
        /// In the object's index.
        stored_for: Offset,
    },
}

/// The producers as of one offset. Shares what has not changed since with the state that goes on.
#[derive(Clone, Debug)]
pub struct FrozenProducers {
    by_id: OrdMap<i64, Arc<Producer>>,
    end: Offset,
    /// Producers last heard of at or before this are left out.
    expired: TimestampMs,
}

impl FrozenProducers {
    /// At most so many bytes, unless more batches than are kept lie below the end.
    pub fn bytes(&self) -> u64 {
        (HEADER_BYTES + self.by_id.len() * (PRODUCER_BYTES + PRODUCER_BATCHES * BATCH_BYTES) + TRAILER_BYTES) as u64
    }

    /// The checkpoint.
    pub fn encode(&self) -> Bytes {
        let end = self.end;
        let mut out = BytesMut::with_capacity(self.bytes() as usize);
        out.put_u16(VERSION);
        out.put_u16(0);
        out.put_u32(0);
        out.put_u64(end.0);
        let mut producers = 0_u32;
        for (&id, producer) in &self.by_id {
            let batches = producer.at(end).count();
            let Some(newest) = producer.at(end).last() else { continue };
            if producer.touched <= self.expired && !in_flight(producer, end) {
                continue;
            }
            producers += 1;
            out.put_i64(id);
            out.put_i16(newest.epoch);
            out.put_u16(batches as u16);
            out.put_i32(NO_COORDINATOR_EPOCH);
            out.put_i64(NO_TRANSACTION);
            out.put_i64(producer.touched.0);
            for batch in producer.at(end) {
                out.put_i32(batch.last_sequence);
                out.put_u32(batch.last_offset_delta);
                out.put_u64(batch.last.0);
                out.put_i64(batch.timestamp.0);
            }
        }
        out[4..8].copy_from_slice(&producers.to_be_bytes());
        out.put_u32(0);
        let crc = crc32c(&out);
        out.put_u32(crc);
        out.freeze()
    }
}

impl Producers {
    /// Freezes the state at exactly `end`, without the producers last heard of at or before `expired`; `None` when `end`
    /// lies before what is still known. Costs a few reference counts.
    pub fn freeze(&self, end: Offset, expired: TimestampMs) -> Option<FrozenProducers> {
        (end >= self.durable).then(|| FrozenProducers { by_id: self.by_id.clone(), end, expired })
    }

    /// The state at exactly `end`, with every producer; `None` when `end` lies before what is still known.
    pub fn checkpoint(&self, end: Offset) -> Option<Bytes> {
        self.freeze(end, TimestampMs(i64::MIN)).map(|frozen| frozen.encode())
    }

    /// The state that `bytes` describe, which must be that at `end`.
    ///
    /// # Errors
    /// When the bytes are no whole checkpoint of a known version for `end`.
    pub fn from_checkpoint(bytes: &[u8], end: Offset) -> Result<Self, CheckpointError> {
        let (body, stored) = bytes.split_last_chunk::<4>().ok_or(CheckpointError::Truncated)?;
        if body.len() < HEADER_BYTES + TRAILER_BYTES - 4 {
            return Err(CheckpointError::Truncated);
        }
        let version = u16::from_be_bytes([body[0], body[1]]);
        if version > VERSION {
            return Err(CheckpointError::Version(version));
        }
        let (found, stored) = (crc32c(body), u32::from_be_bytes(*stored));
        if found != stored {
            return Err(CheckpointError::Corrupt { found, stored });
        }
        let mut input = &body[4..];
        let count = input.get_u32() as usize;
        let described = Offset(input.get_u64());
        if described != end {
            return Err(CheckpointError::OtherOffset { described, stored_for: end });
        }
        // There may be more than the limit: those in flight are not forgotten.
        let mut producers = Self { by_id: OrdMap::new(), durable: end };
        for _ in 0..count {
            let (id, producer) = read_producer(&mut input, end)?;
            if producers.by_id.insert(id, Arc::new(producer)).is_some() {
                return Err(CheckpointError::Invalid("a producer appears twice"));
            }
        }
        if input.remaining() < 4 {
            return Err(CheckpointError::Truncated);
        }
        if input.get_u32() != 0 {
            return Err(CheckpointError::Newer("aborted transactions"));
        }
        if input.has_remaining() {
            return Err(CheckpointError::Invalid("more than its counts say"));
        }
        Ok(producers)
    }
}

fn read_producer(input: &mut &[u8], end: Offset) -> Result<(i64, Producer), CheckpointError> {
    if input.remaining() < PRODUCER_BYTES {
        return Err(CheckpointError::Truncated);
    }
    let id = input.get_i64();
    let epoch = input.get_i16();
    let count = usize::from(input.get_u16());
    let coordinator_epoch = input.get_i32();
    let transaction = input.get_i64();
    let touched = TimestampMs(input.get_i64());
    if coordinator_epoch < NO_COORDINATOR_EPOCH || transaction < NO_TRANSACTION {
        return Err(CheckpointError::Invalid("a coordinator epoch or the start of a transaction is negative"));
    }
    // The format has a place for both. Forgotten, an open transaction would be read as committed.
    if coordinator_epoch != NO_COORDINATOR_EPOCH || transaction != NO_TRANSACTION {
        return Err(CheckpointError::Newer("transaction state"));
    }
    if count == 0 || count > PRODUCER_BATCHES {
        return Err(CheckpointError::Invalid("a producer without batches, or with more than five"));
    }
    if input.remaining() < count * BATCH_BYTES {
        return Err(CheckpointError::Truncated);
    }
    let mut producer = Producer { batches: std::collections::VecDeque::with_capacity(count), touched };
    for _ in 0..count {
        let batch = Batch {
            epoch,
            last_sequence: input.get_i32(),
            last_offset_delta: input.get_u32(),
            last: Offset(input.get_u64()),
            timestamp: TimestampMs(input.get_i64()),
        };
        let rises = producer.batches.back().is_none_or(|before| before.last < batch.last);
        if !rises || batch.last >= end || u64::from(batch.last_offset_delta) > batch.last.0 {
            return Err(CheckpointError::Invalid("offsets of a producer's batches are out of order"));
        }
        producer.batches.push_back(batch);
    }
    Ok((id, producer))
}
