//! What a partition remembers of idempotent producers, so that a batch sent twice is stored once.
//!
//! Follows Kafka's `ProducerStateManager`, `ProducerAppendInfo` and `ProducerStateEntry` (KIP-98, KIP-360), with one
//! difference that the storage asks for: an append is *assigned* when it is enqueued and *durable* later, and a
//! checkpoint must describe the state at exactly the durable end while younger appends are in flight. So each producer
//! keeps one queue of batches, oldest first, each with the epoch it was sent under:
//!
//! ```text
//!            durable, newest epoch that is durable      in flight
//!          ┌──────────── at most 5 ──────────────┬──────────────────────┐
//! batches  │ e7 s0..9  e7 s10..12 … e7 s40..49   │ e7 s50..59  e8 s0..4 │
//!          └─────────────────────────────────────┴──────────────────────┘
//!                                    durable end ▲
//! ```
//!
//! Validation looks at the whole queue (the last batch gives the current epoch and sequence); a checkpoint at `end`
//! takes the batches below `end` only. Nothing older than the marked part is kept.
//!
//! The map is persistent, so that the state is frozen for a checkpoint in no time, whatever its size, and encoded where
//! nobody waits for it.
//!
//! A pure state machine: no clock, no lock, no I/O.

mod checkpoint;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use base::{Offset, TimestampMs};
use imbl::OrdMap;
use thiserror::Error;

pub use checkpoint::{CheckpointError, FrozenProducers, VERSION as CHECKPOINT_VERSION};

use crate::limits::{PRODUCER_BATCHES, PRODUCERS_MAX};

/// "No producer epoch", as in Kafka.
const NO_EPOCH: i16 = -1;

/// Where a batch comes from, which decides how much of its sequence is checked. Kafka's `AppendOrigin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client's Produce request: epoch and sequence are checked, duplicates found.
    Client,
    /// A coordinator of this broker writing to an internal topic: only the epoch is checked.
    Coordinator,
}

/// The producer's part of a batch's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Producer id, 0 or more.
    pub producer_id: i64,
    /// Producer epoch, 0 or more.
    pub epoch: i16,
    /// Sequence number of the first record; -1 for none.
    pub base_sequence: i32,
    /// Last offset − first offset.
    pub last_offset_delta: u32,
}

impl Identity {
    /// Sequence number of the last record: int32, wrapping from its maximum to 0.
    pub fn last_sequence(self) -> i32 {
        if self.base_sequence < 0 { self.base_sequence } else { advance(self.base_sequence, self.last_offset_delta) }
    }
}

/// What is to be done with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Append it.
    Fresh,
    /// It stands in the log already, or is on its way there.
    Duplicate(Original),
}

/// The first appearance of a batch that came again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Original {
    /// Offset of its first record.
    pub first: Offset,
    /// Offset of its last record.
    pub last: Offset,
    /// Its largest timestamp.
    pub timestamp: TimestampMs,
}

/// Why a producer's batch is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProducerError {
    /// The sequence does not follow the last one.
    #[error(
        "producer {producer_id} epoch {epoch} sent sequence {sequence}, but {expected} was expected: \
         a batch before it is missing; the producer must restart with a new epoch"
    )]
    OutOfOrderSequence {
        /// The producer.
        producer_id: i64,
        /// Its epoch in the request.
        epoch: i16,
        /// The batch's first sequence.
        sequence: i32,
        /// The sequence that would have been accepted.
        expected: i32,
    },
    /// A newer instance of the producer has written.
    #[error(
        "producer {producer_id} sent epoch {epoch}, but epoch {current} has written already: a newer instance took over"
    )]
    InvalidEpoch {
        /// The producer.
        producer_id: i64,
        /// Its epoch in the request.
        epoch: i16,
        /// The newest epoch seen.
        current: i16,
    },
}

/// One batch that is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Batch {
    epoch: i16,
    last_sequence: i32,
    last_offset_delta: u32,
    last: Offset,
    timestamp: TimestampMs,
}

impl Batch {
    fn first_sequence(&self) -> i32 {
        if self.last_sequence < 0 { self.last_sequence } else { retreat(self.last_sequence, self.last_offset_delta) }
    }

    fn first(&self) -> Offset {
        Offset(self.last.0 - u64::from(self.last_offset_delta))
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Producer {
    /// Oldest first; the last one's epoch is the producer's.
    batches: VecDeque<Batch>,
    /// When this broker last took a batch from it, by its own clock.
    touched: TimestampMs,
}

impl Producer {
    fn epoch(&self) -> i16 {
        self.batches.back().map_or(NO_EPOCH, |batch| batch.epoch)
    }

    /// The batches below `end` that the state at `end` consists of.
    fn at(&self, end: Offset) -> impl Iterator<Item = &Batch> {
        let below = self.batches.partition_point(|batch| batch.last < end);
        let epoch = below.checked_sub(1).map(|last| self.batches[last].epoch);
        let first_of_epoch =
            self.batches.iter().take(below).position(|batch| Some(batch.epoch) == epoch).unwrap_or(below);
        // Planted: only the last batch is remembered.
        let window = if base::plant::bug("sequence-window-of-one") { 1 } else { PRODUCER_BATCHES };
        let start = first_of_epoch.max(below.saturating_sub(window));
        self.batches.range(start..below)
    }

    /// Drops what no checkpoint at or after `durable` needs.
    fn forget_before(&mut self, durable: Offset) {
        let below = self.batches.partition_point(|batch| batch.last < durable);
        let kept = self.at(durable).count();
        self.batches.drain(..below - kept);
    }
}

/// The producers of one partition.
#[derive(Clone, Debug, Default)]
pub struct Producers {
    by_id: OrdMap<i64, Arc<Producer>>,
    /// State before this offset can no longer be told.
    durable: Offset,
}

impl Producers {
    /// No producers.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many producers are remembered.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether no producer is remembered.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Whether `batch` may be appended next, or was appended before.
    ///
    /// A producer that is not known, or was silent for `expiration_ms`, may start with any sequence: what it wrote may
    /// have been trimmed, or its state expired.
    ///
    /// # Errors
    /// When its epoch is old or its sequence does not follow.
    pub fn check(
        &self,
        batch: Identity,
        origin: Origin,
        now: TimestampMs,
        expiration_ms: i64,
    ) -> Result<Verdict, ProducerError> {
        let Identity { producer_id, epoch, base_sequence, .. } = batch;
        let Some(producer) = self.by_id.get(&producer_id) else { return Ok(Verdict::Fresh) };
        if self.is_expired(producer, now, expiration_ms) {
            return Ok(Verdict::Fresh);
        }
        let current = producer.epoch();
        if epoch < current {
            return Err(ProducerError::InvalidEpoch { producer_id, epoch, current });
        }
        if origin == Origin::Coordinator {
            return Ok(Verdict::Fresh);
        }
        let expected = if epoch == current {
            let last_sequence = batch.last_sequence();
            let same = |known: &&Batch| {
                known.epoch == epoch && known.last_sequence == last_sequence && known.first_sequence() == base_sequence
            };
            // More are remembered while the last ones are not durable yet. As from Kafka a producer is not told of them.
            if let Some(known) = producer.batches.iter().rev().take(PRODUCER_BATCHES).find(same) {
                let original = Original { first: known.first(), last: known.last, timestamp: known.timestamp };
                return Ok(Verdict::Duplicate(original));
            }
            producer
                .batches
                .back()
                .map_or(0, |last| if last.last_sequence < 0 { 0 } else { advance(last.last_sequence, 1) })
        } else {
            0
        };
        if base_sequence == expected {
            Ok(Verdict::Fresh)
        } else {
            Err(ProducerError::OutOfOrderSequence { producer_id, epoch, sequence: base_sequence, expected })
        }
    }

    /// Remembers a batch that was appended with its last record at `last`. `durable` is the durable end now.
    pub fn record(&mut self, batch: Identity, last: Offset, timestamp: TimestampMs, now: TimestampMs, durable: Offset) {
        self.durable = self.durable.max(durable);
        let durable = self.durable;
        if self.by_id.len() >= PRODUCERS_MAX && !self.by_id.contains_key(&batch.producer_id) {
            self.forget_longest_idle();
        }
        let producer = Arc::make_mut(self.by_id.entry(batch.producer_id).or_default());
        producer.batches.push_back(Batch {
            epoch: batch.epoch,
            last_sequence: batch.last_sequence(),
            last_offset_delta: batch.last_offset_delta,
            last,
            timestamp,
        });
        producer.touched = now;
        producer.forget_before(durable);
    }

    /// Forgets the producers that were silent for `expiration_ms`. Those with a batch in flight stay.
    pub fn expire(&mut self, now: TimestampMs, expiration_ms: i64, durable: Offset) {
        self.durable = self.durable.max(durable);
        let durable = self.durable;
        let expired = |producer: &Producer| {
            now.0.saturating_sub(producer.touched.0) >= expiration_ms && !in_flight(producer, durable)
        };
        let ids: Vec<i64> = self.by_id.iter().filter(|(_, p)| expired(p)).map(|(&id, _)| id).collect();
        for id in ids {
            self.by_id.remove(&id);
        }
    }

    fn is_expired(&self, producer: &Producer, now: TimestampMs, expiration_ms: i64) -> bool {
        now.0.saturating_sub(producer.touched.0) >= expiration_ms && !in_flight(producer, self.durable)
    }

    fn forget_longest_idle(&mut self) {
        let durable = self.durable;
        let mut idle: Vec<(TimestampMs, i64)> = (self.by_id.iter())
            .filter(|(_, producer)| !in_flight(producer, durable))
            .map(|(&id, producer)| (producer.touched, id))
            .collect();
        let forget = (PRODUCERS_MAX / 8).min(idle.len());
        if forget == 0 {
            return;
        }
        idle.select_nth_unstable(forget - 1);
        for (_, id) in idle.into_iter().take(forget) {
            self.by_id.remove(&id);
        }
    }
}

fn in_flight(producer: &Producer, durable: Offset) -> bool {
    producer.batches.back().is_some_and(|batch| batch.last >= durable)
}

/// `sequence + by` in the ring 0 ..= i32::MAX.
fn advance(sequence: i32, by: u32) -> i32 {
    let ring = 1_i64 << 31;
    ((i64::from(sequence) + i64::from(by)) % ring) as i32
}

/// `sequence - by` in the ring 0 ..= i32::MAX.
fn retreat(sequence: i32, by: u32) -> i32 {
    let ring = 1_i64 << 31;
    (i64::from(sequence) - i64::from(by)).rem_euclid(ring) as i32
}
