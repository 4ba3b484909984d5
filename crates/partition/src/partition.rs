//! One open partition: its state, its offsets, and its end of the stream.
//!
//! What a partition does stands in its own file each: [`crate::append`], [`crate::read`], [`crate::lookup`],
//! [`crate::delete`] and [`crate::load`].

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use base::memory::Budget;
use base::{Clock, Offset, StreamEpoch, StreamId, TimestampMs};
use bytes::Bytes;
use parking_lot::Mutex;
use stream::engine::OpenStreamError;
use stream::{CheckpointSource, Engine, FrozenState, Stream};

use crate::config::BrokerSettings;
use crate::directory::Placement;
use crate::epochs::{EpochEnd, EpochHistory, check_current};
use crate::error::{PartitionError, ReadError};
use crate::limits::{PRODUCER_EXPIRY_CHECK_MS, SCANS_BYTES_MAX};
use crate::producers::{FrozenProducers, Producers};
use crate::signals::{Signals, Watcher};
use crate::topic::Topic;

/// What all partitions of a broker share.
pub(crate) struct Shared {
    pub engine: Engine,
    pub clock: Clock,
    pub options: Options,
    /// Memory of logs that are being read for producer state, of all partitions together.
    pub scans: Budget,
    /// `producer.id.expiration.ms`: how long a silent producer is remembered. It changes while the broker runs.
    producer_id_expiration_ms: AtomicI64,
}

impl Shared {
    pub(crate) fn new(engine: Engine, clock: Clock, options: Options, settings: &BrokerSettings) -> Self {
        let scans = Budget::new(options.scans_bytes_max);
        let producer_id_expiration_ms = AtomicI64::new(PRODUCER_ID_EXPIRATION_MS);
        let shared = Self { engine, clock, options, scans, producer_id_expiration_ms };
        shared.take(settings);
        shared
    }

    /// The broker's settings are these now.
    pub(crate) fn take(&self, settings: &BrokerSettings) {
        let expiration = settings.get(PRODUCER_ID_EXPIRATION_KEY).and_then(|value| value.trim().parse().ok());
        self.producer_id_expiration_ms.store(expiration.unwrap_or(PRODUCER_ID_EXPIRATION_MS), Ordering::Relaxed);
    }

    pub(crate) fn producer_id_expiration_ms(&self) -> i64 {
        self.producer_id_expiration_ms.load(Ordering::Relaxed)
    }
}

const PRODUCER_ID_EXPIRATION_KEY: &str = "producer.id.expiration.ms";
/// Its default, as in Kafka.
const PRODUCER_ID_EXPIRATION_MS: i64 = 86_400_000;

/// Settings of a broker that partitions honour.
#[derive(Clone, Debug)]
pub struct Options {
    /// How deep produced batches are looked into.
    pub validation: records::ValidationLevel,
    /// Bytes of logs that all partitions together hold while they replay producer state.
    pub scans_bytes_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { validation: records::ValidationLevel::Full, scans_bytes_max: SCANS_BYTES_MAX }
    }
}

const OPEN: u8 = 0;
const NOT_LEADER: u8 = 1;
const DELETED: u8 = 2;

/// An open partition that this broker leads in one leader epoch.
pub struct Partition {
    pub(crate) shared: Arc<Shared>,
    pub(crate) topic: Arc<Topic>,
    pub(crate) index: i32,
    pub(crate) stream: Stream,
    /// End of the log when it was opened; everything below is durable and written by others.
    pub(crate) opened_end: Offset,
    /// The next offset to assign; written under `state`'s lock.
    pub(crate) log_end: AtomicU64,
    status: AtomicU8,
    pub(crate) state: Mutex<State>,
    pub(crate) signals: Signals,
    /// Held while producer state is loaded, so that it is loaded once.
    pub(crate) loading: tokio::sync::Mutex<()>,
    /// A checkpoint was due and no producer state known: the next append has it loaded, so that the tail to replay stays
    /// short.
    pub(crate) load_wanted: AtomicBool,
}

/// What appends change, under one short lock.
pub(crate) struct State {
    /// `None` until loaded.
    pub producers: Option<Producers>,
    /// When expired producers were last looked for.
    pub expiry_checked: TimestampMs,
}

impl Partition {
    pub(crate) fn open(
        shared: &Arc<Shared>,
        topic: Arc<Topic>,
        placement: &Placement,
    ) -> Result<Arc<Self>, PartitionError> {
        let open = |source| shared.engine.open(placement.stream, placement.epoch, source);
        let stream = open(None).map_err(|error| not_leader(&error))?;
        let end = stream.durable_end();
        // A log that never held a record has no producers: nothing to load.
        let producers = (end == Offset(0)).then(Producers::new);
        let partition = Arc::new(Self {
            shared: shared.clone(),
            topic,
            index: placement.index,
            stream,
            opened_end: end,
            log_end: AtomicU64::new(end.0),
            status: AtomicU8::new(OPEN),
            state: Mutex::new(State { producers, expiry_checked: shared.clock.now() }),
            signals: Signals::default(),
            loading: tokio::sync::Mutex::default(),
            load_wanted: AtomicBool::new(false),
        });
        let source: Weak<dyn CheckpointSource> = Arc::downgrade(&(partition.clone() as Arc<dyn CheckpointSource>));
        open(Some(source)).map_err(|error| not_leader(&error))?;
        Ok(partition)
    }

    /// The topic.
    pub fn topic(&self) -> &Arc<Topic> {
        &self.topic
    }

    /// The partition's number.
    pub fn index(&self) -> i32 {
        self.index
    }

    /// The stream that holds the log.
    pub fn stream_id(&self) -> StreamId {
        self.stream.id()
    }

    /// The leader epoch in which it is open.
    pub fn leader_epoch(&self) -> StreamEpoch {
        self.stream.epoch()
    }

    /// The first offset that can be read.
    pub fn log_start(&self) -> Offset {
        self.stream.start()
    }

    /// The next offset to be assigned. Records between the high watermark and here are not durable yet.
    pub fn log_end(&self) -> Offset {
        Offset(self.log_end.load(Ordering::Acquire))
    }

    /// The end of what is durable and may be read (I-3).
    pub fn high_watermark(&self) -> Offset {
        self.stream.durable_end()
    }

    /// The end of what read_committed consumers may read. There are no transactions yet: the high watermark.
    pub fn last_stable_offset(&self) -> Offset {
        self.high_watermark()
    }

    /// Leader epochs and where they begin.
    pub fn epochs(&self) -> EpochHistory {
        let epochs = self.stream.epochs().into_iter().map(|epoch| (epoch.epoch, epoch.start));
        EpochHistory::new(epochs, self.log_start())
    }

    /// OffsetForLeaderEpoch: where leader epoch `asked` ends. `current` is the request's `current_leader_epoch`.
    ///
    /// # Errors
    /// When the partition is closed or `current` is not this leader's epoch.
    pub fn offset_for_leader_epoch(&self, asked: i32, current: i32) -> Result<EpochEnd, ReadError> {
        self.check_open()?;
        check_current(current, self.leader_epoch())?;
        Ok(self.epochs().end_of(asked, self.high_watermark()))
    }

    /// Hangs a long poll's bell: it rings whenever the high watermark moves, and once when the partition closes. Look
    /// at the partition *after* this call: what became readable before it does not ring.
    pub fn watch(self: &Arc<Self>, watcher: &Arc<Watcher>) -> Watch {
        Watch { ticket: self.signals.watch(watcher.clone()), partition: self.clone() }
    }

    /// Whether the partition still serves.
    ///
    /// # Errors
    /// Why not.
    pub fn check_open(&self) -> Result<(), PartitionError> {
        match self.status.load(Ordering::Acquire) {
            OPEN => Ok(()),
            DELETED => Err(PartitionError::Deleted),
            _ => Err(PartitionError::NotLeader),
        }
    }

    /// The largest batch that may be asked of it now: what the topic takes, or the write-ahead log if that is less.
    pub fn batch_bytes_max(&self) -> u64 {
        let topic = u64::from(self.topic.config().max_message_bytes);
        match self.shared.engine.entry_bytes_max() {
            // It is not open yet, and takes nothing.
            0 => topic,
            log => topic.min(log),
        }
    }

    /// Whether this broker may still speak for the partition: what was known of it before this call no other broker had
    /// contradicted (I-3). See [`Engine::check_unfenced`].
    ///
    /// # Errors
    /// When another broker leads it, this one's log has failed, or the topic is gone.
    pub async fn check_unfenced(&self) -> Result<(), PartitionError> {
        let checked = self.shared.engine.check_unfenced().await;
        self.check_open()?;
        checked.map_err(|why| {
            tracing::debug!(partition = ?self, %why, "a broker that was replaced does not tell what it knows");
            PartitionError::NotLeader
        })
    }

    /// Another broker leads the partition from now on, or an append failed: nothing more is acknowledged.
    pub(crate) fn close_as_moved(&self) {
        self.close(NOT_LEADER);
    }

    /// The topic is gone.
    pub(crate) fn close_as_deleted(&self) {
        self.close(DELETED);
    }

    fn close(&self, why: u8) {
        // The first reason stays, whatever follows from it.
        if self.status.compare_exchange(OPEN, why, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.signals.closed();
        }
    }
}

fn not_leader(error: &OpenStreamError) -> PartitionError {
    tracing::debug!(%error, "partition not opened");
    PartitionError::NotLeader
}

impl CheckpointSource for Partition {
    fn freeze(&self, end: &mut dyn FnMut() -> Offset) -> Option<Box<dyn FrozenState>> {
        let (now, expiration_ms) = (self.shared.clock.now(), self.shared.producer_id_expiration_ms());
        // Under this lock batches are recorded before they are queued, and told what was durable: no batch below the end
        // is missing, and nothing was forgotten that the end needs.
        let mut state = self.state.lock();
        let end = end();
        let State { producers, expiry_checked } = &mut *state;
        let Some(producers) = producers.as_mut() else {
            self.load_wanted.store(true, Ordering::Release);
            return None;
        };
        if now.0.saturating_sub(expiry_checked.0) >= PRODUCER_EXPIRY_CHECK_MS {
            producers.expire(now, expiration_ms, end);
            *expiry_checked = now;
        }
        let frozen = producers.freeze(end, TimestampMs(now.0.saturating_sub(expiration_ms)))?;
        Some(Box::new(frozen))
    }
}

impl FrozenState for FrozenProducers {
    fn bytes(&self) -> u64 {
        Self::bytes(self)
    }

    fn encode(self: Box<Self>) -> Bytes {
        Self::encode(&self)
    }
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}@{}", self.topic.name(), self.index, self.leader_epoch())
    }
}

/// A bell that hangs in a partition; taken down on drop.
#[derive(Debug)]
pub struct Watch {
    partition: Arc<Partition>,
    ticket: u64,
}

impl Watch {
    /// The partition watched.
    pub fn partition(&self) -> &Arc<Partition> {
        &self.partition
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.partition.signals.unwatch(self.ticket);
    }
}
