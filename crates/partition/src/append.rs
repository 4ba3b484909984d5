//! Appending: from a request's bytes to an acknowledgement.
//!
//! ```text
//! validate ─► [ lock: producer check ─► offsets ─► stamp ─► queue to the WAL ] ─► … ─► Durable
//! ```
//!
//! [`Partition::append`] returns once the batch is queued, so that a connection that pipelines keeps its order by calling
//! it once after another; [`Durable`] resolves when the batch may be acknowledged (I-1).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use base::{Offset, OffsetRange, StreamEpoch, TimestampMs};
use bytes::Bytes;
use records::{BatchHeader, TimestampType, Validated, validate};
use stream::{Fragments, NewEntry, Room};

use crate::epochs::check_current;
use crate::error::{AppendError, PartitionError};
use crate::partition::Partition;
use crate::producers::{Identity, Origin, Verdict};

/// How to append.
#[derive(Clone, Copy, Debug)]
pub struct AppendOptions {
    /// Who appends.
    pub origin: Origin,
    /// The leader epoch that the caller believes in; negative when it does not say.
    pub leader_epoch: i32,
}

impl AppendOptions {
    /// For a client's request, the rules of whose version have been looked at.
    pub fn client() -> Self {
        Self { origin: Origin::Client, leader_epoch: -1 }
    }

    /// For a coordinator that opened its partition in `leader_epoch`.
    pub fn coordinator(leader_epoch: StreamEpoch) -> Self {
        Self { origin: Origin::Coordinator, leader_epoch: leader_epoch.0 }
    }
}

/// A batch that is queued.
#[derive(Debug)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// The time it was given, for topics with LogAppendTime; for a duplicate the first one's greatest timestamp, as
    /// from Kafka; else -1.
    pub log_append_time: TimestampMs,
    /// The log start now.
    pub log_start: Offset,
    /// Whether it stood in the log already.
    pub duplicate: bool,
    /// Resolves when it may be acknowledged. Not awaiting it (acks=0) is fine.
    pub durable: Durable,
}

impl Partition {
    /// Waits until a request of `bytes` fits into the log cache. Comes before any work on it, so that a full cache costs no
    /// CPU.
    pub async fn reserve(&self, bytes: usize) -> Room {
        self.shared.engine.reserve(bytes as u64).await
    }

    /// Appends a request's records, which are slices of the buffer that `room` was reserved for.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was then appended.
    pub async fn append(
        self: &Arc<Self>,
        records: Bytes,
        room: &Room,
        options: AppendOptions,
    ) -> Result<Appended, AppendError> {
        self.check_open()?;
        check_current(options.leader_epoch, self.leader_epoch())?;
        let now = self.shared.clock.now();
        let validated = {
            let config = self.topic.config();
            validate(&records, &config.validation(self.shared.options.validation, options.origin), now)?
        };
        let header = *validated.batch.header();
        if header.is_transactional() || header.is_control() {
            return Err(AppendError::Transactional);
        }
        let bytes = validated.batch.len() as u64;
        let max = self.shared.engine.entry_bytes_max();
        if max != 0 && bytes > max {
            return Err(AppendError::TooLargeForLog { bytes, max });
        }
        if header.has_producer() {
            self.ready().await?;
        } else {
            self.load_beside();
        }
        // A batch that was rebuilt is no slice of the request.
        let room = (!validated.converted).then(|| room.clone());
        self.enqueue(validated, room, options.origin, now)
    }

    /// The part under the lock: order is decided here.
    fn enqueue(
        self: &Arc<Self>,
        validated: Validated,
        room: Option<Room>,
        origin: Origin,
        now: TimestampMs,
    ) -> Result<Appended, AppendError> {
        let Validated { mut batch, max_timestamp, .. } = validated;
        let producer = identity(batch.header());
        let count = u64::from(batch.header().last_offset_delta.cast_unsigned()) + 1;
        let bytes = batch.len() as u64;
        let log_append_time = match batch.header().timestamp_type() {
            TimestampType::LogAppendTime => max_timestamp,
            TimestampType::CreateTime => TimestampMs(-1),
        };
        let expiration_ms = self.shared.producer_id_expiration_ms();

        let mut state = self.state.lock();
        self.check_open()?;
        if let (Some(producer), Some(producers)) = (producer, &state.producers)
            && let Verdict::Duplicate(original) = producers.check(producer, origin, now, expiration_ms)?
            // Planted: what was stored is stored again.
            && !base::plant::bug("no-dedup")
        {
            return Ok(Appended {
                base_offset: original.first,
                last_offset: original.last,
                log_append_time: original.timestamp,
                log_start: self.log_start(),
                duplicate: true,
                durable: Durable::new(self, original.last + 1),
            });
        }
        let base = self.log_end();
        if base.0 > i64::MAX as u64 - count {
            return Err(AppendError::OffsetsExhausted);
        }
        let end = base + count;
        let last = Offset(end.0 - 1);
        batch.stamp(base.kafka(), self.leader_epoch().0);
        // Dropped before `state`: nobody appends behind a half of one.
        let half = Half(Some(self));
        if let (Some(producer), Some(producers)) = (producer, &mut state.producers) {
            producers.record(producer, last, max_timestamp, now, self.high_watermark());
        }
        self.log_end.store(end.0, Ordering::Release);
        base::plant::place("in-append");
        let (head, tail) = batch.into_parts();
        let payload = Fragments::from_buf([Bytes::copy_from_slice(&head), tail]);
        let partition = self.clone();
        let done = Box::new(move |outcome: Result<(), stream::engine::Fenced>| match outcome {
            Ok(()) => partition.signals.durable(end, bytes, partition.high_watermark()),
            // What was promised to nobody may or may not be in the log: only the next owner can tell.
            Err(_) => partition.close_as_moved(),
        });
        self.stream.append(NewEntry { range: OffsetRange::new(base, end), max_timestamp, payload, room, done });
        half.queued();
        drop(state);
        Ok(Appended {
            base_offset: base,
            last_offset: last,
            log_append_time,
            log_start: self.log_start(),
            duplicate: false,
            durable: Durable::new(self, end),
        })
    }
}

/// An append that has taken its offsets and is not queued yet. If a panic ends it there, the partition closes: what followed
/// would stand behind a hole in the log, and be acknowledged.
struct Half<'p>(Option<&'p Partition>);

impl Half<'_> {
    /// It is queued.
    fn queued(mut self) {
        self.0 = None;
    }
}

impl Drop for Half<'_> {
    fn drop(&mut self) {
        if let Some(partition) = self.0 {
            tracing::error!(
                ?partition,
                "an append broke off half-way: the partition is closed in this leader epoch; restart"
            );
            partition.close_as_moved();
        }
    }
}

/// The producer's part of a header, if an idempotent producer wrote the batch.
pub(crate) fn identity(header: &BatchHeader) -> Option<Identity> {
    header.has_producer().then(|| Identity {
        producer_id: header.producer_id,
        epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        last_offset_delta: header.last_offset_delta.cast_unsigned(),
    })
}

/// Resolves when everything below an offset is durable in a log that was seen unfenced afterwards, or never will be.
#[derive(Debug)]
#[must_use = "an append may be acknowledged only after this resolved with success"]
pub struct Durable {
    partition: Arc<Partition>,
    end: Offset,
    ticket: Option<u64>,
}

impl Durable {
    fn new(partition: &Arc<Partition>, end: Offset) -> Self {
        Self { partition: partition.clone(), end, ticket: None }
    }
}

impl Future for Durable {
    type Output = Result<(), PartitionError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { partition, end, ticket } = self.get_mut();
        let settled = || {
            // A partition that closed afterwards does not undo what was durable and unfenced before.
            if partition.high_watermark() >= *end { Some(Ok(())) } else { partition.check_open().err().map(Err) }
        };
        match partition.signals.wait_for(*end, ticket, context.waker(), settled) {
            Some(outcome) => Poll::Ready(outcome),
            None => Poll::Pending,
        }
    }
}

impl Drop for Durable {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.partition.signals.stop_waiting(self.end, ticket);
        }
    }
}
