//! A log in memory whose durability a test decides.
//!
//! A [`Disk`] is one stream with whatever happens to it; a [`MemoryLog`] is one tenure of it, as the runtime sees it;
//! [`MemoryLogs`] finds the disk of each shard. As in a real partition, offsets are assigned when a batch is appended, and
//! what is read is only what is durable.

use std::collections::VecDeque;
use std::sync::Arc;

use base::collections::HashMap;
use base::{Offset, OffsetRange, StreamEpoch, StreamId};
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use partition::{AppendError, PartitionError};
use tokio::sync::{oneshot, watch};

use super::log::{Appended, ReadBatches};
use super::record::batch;
use super::{Log, LogError, LogId, OpenLog, Record};

/// What became of a batch whose append failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is not in the log, nor is anything after it.
    Lost,
    /// It is in the log all the same.
    Written,
    /// It is still on its way: it is durable once the log is released.
    OnItsWay,
}

/// The streams of shards, by their number.
#[derive(Default)]
pub struct MemoryLogs(Mutex<HashMap<i32, Arc<Disk>>>);

impl MemoryLogs {
    /// The disk of a shard; there is one as soon as a test asks for it.
    pub fn disk(&self, index: i32) -> Arc<Disk> {
        self.0.lock().entry(index).or_insert_with(|| Arc::new(Disk::new(index))).clone()
    }

    fn led(&self, index: i32) -> Result<Arc<Disk>, PartitionError> {
        let disk = self.0.lock().get(&index).cloned().ok_or(PartitionError::NotLeader)?;
        if disk.state.lock().led { Ok(disk) } else { Err(PartitionError::NotLeader) }
    }
}

impl OpenLog for MemoryLogs {
    fn id(&self, index: i32) -> Result<LogId, PartitionError> {
        let disk = self.led(index)?;
        let epoch = disk.state.lock().epoch;
        Ok(LogId { stream: disk.stream, epoch })
    }

    fn open(&self, index: i32) -> Result<Arc<dyn Log>, PartitionError> {
        let disk = self.led(index)?;
        let epoch = disk.state.lock().epoch;
        Ok(Arc::new(MemoryLog { disk, epoch }))
    }
}

/// One stream.
pub struct Disk {
    stream: StreamId,
    state: Mutex<State>,
    /// Moves with everything that a waiting reader may wait for.
    moved: watch::Sender<u64>,
}

struct State {
    led: bool,
    epoch: StreamEpoch,
    start: Offset,
    durable: Offset,
    batches: VecDeque<Kept>,
    /// Appends that nobody has been told about, oldest first.
    waiting: VecDeque<Waiting>,
    /// Whether appends wait until they are released.
    held: bool,
    appends: usize,
    refuse_appends: bool,
    refuse_reads: bool,
    refuse_trims: bool,
    reads_wait: bool,
    /// Whether appends wait for room, before they have a place in the log.
    appends_wait: bool,
    batch_bytes_max: usize,
    /// What it takes at all.
    entry_bytes_max: usize,
    /// Whether another broker has taken this one's place, which does not know.
    fenced: bool,
    /// How often it was asked for.
    fence_checks: usize,
}

struct Kept {
    base: Offset,
    end: Offset,
    bytes: Bytes,
}

struct Waiting {
    base: Offset,
    end: Offset,
    told: oneshot::Sender<Result<(), LogError>>,
}

impl State {
    fn end(&self) -> Offset {
        self.batches.back().map_or(self.start.max(self.durable), |batch| batch.end)
    }

    fn check(&self, epoch: StreamEpoch) -> Result<(), LogError> {
        if self.led && self.epoch == epoch { Ok(()) } else { Err(PartitionError::NotLeader.into()) }
    }

    fn push(&mut self, bytes: &Bytes, records: u64) -> (Offset, Offset) {
        let base = self.end();
        let end = base + records;
        let mut stamped = BytesMut::from(&bytes[..]);
        records::stamp(&mut stamped, base.kafka(), self.epoch.0);
        self.batches.push_back(Kept { base, end, bytes: stamped.freeze() });
        (base, end)
    }

    fn trim(&mut self, start: Offset) {
        self.start = self.start.max(start);
        // Storage keeps or drops whole batches.
        self.batches.retain(|batch| batch.end > start);
    }
}

impl Disk {
    fn new(index: i32) -> Self {
        let state = State {
            led: true,
            epoch: StreamEpoch(1),
            start: Offset(0),
            durable: Offset(0),
            batches: VecDeque::new(),
            waiting: VecDeque::new(),
            held: false,
            appends: 0,
            refuse_appends: false,
            refuse_reads: false,
            refuse_trims: false,
            reads_wait: false,
            appends_wait: false,
            batch_bytes_max: 1024 * 1024,
            entry_bytes_max: usize::MAX,
            fenced: false,
            fence_checks: 0,
        };
        Self { stream: StreamId(1_000 + index as u64), state: Mutex::new(state), moved: watch::Sender::new(0) }
    }

    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let result = change(&mut self.state.lock());
        self.moved.send_modify(|moved| *moved += 1);
        result
    }

    /// From now on nothing becomes durable until it is released.
    pub fn hold(&self) {
        self.change(|state| state.held = true);
    }

    /// Makes everything durable, now and from now on.
    pub fn release(&self) {
        self.change(|state| state.held = false);
        while self.release_one() {}
        self.change(|state| state.durable = state.end());
    }

    /// Makes the oldest batch durable that waits; whether there was one.
    pub fn release_one(&self) -> bool {
        self.change(|state| {
            let Some(oldest) = state.waiting.pop_front() else { return false };
            state.durable = oldest.end;
            // Who waited for it may be gone.
            let _ = oldest.told.send(Ok(()));
            true
        })
    }

    /// Tells the oldest append that waits, and all behind it, that they failed.
    pub fn fail(&self, fate: Fate) {
        self.change(|state| {
            let Some(oldest) = state.waiting.front().map(|oldest| oldest.base) else { return };
            match fate {
                Fate::Lost => state.batches.retain(|batch| batch.base < oldest),
                Fate::Written => state.durable = state.end(),
                Fate::OnItsWay => {}
            }
            for failed in state.waiting.drain(..) {
                let _ = failed.told.send(Err(PartitionError::NotLeader.into()));
            }
        });
    }

    /// Whether appends are refused outright.
    pub fn refuse_appends(&self, refuse: bool) {
        self.change(|state| state.refuse_appends = refuse);
    }

    /// Whether reads fail.
    pub fn refuse_reads(&self, refuse: bool) {
        self.change(|state| state.refuse_reads = refuse);
    }

    /// Whether trims fail.
    pub fn refuse_trims(&self, refuse: bool) {
        self.change(|state| state.refuse_trims = refuse);
    }

    /// Whether reads wait.
    pub fn hold_reads(&self, wait: bool) {
        self.change(|state| state.reads_wait = wait);
    }

    /// Whether appends wait for room in the cache of the log.
    pub fn hold_appends(&self, wait: bool) {
        self.change(|state| state.appends_wait = wait);
    }

    /// The largest batch that is to be made, but of a single record.
    pub fn set_batch_bytes_max(&self, max: usize) {
        self.change(|state| state.batch_bytes_max = max);
    }

    /// The largest batch that it takes.
    pub fn set_entry_bytes_max(&self, max: usize) {
        self.change(|state| state.entry_bytes_max = max);
    }

    /// Another broker takes the place of this one, which finds out when it looks.
    pub fn fence(&self) {
        self.change(|state| state.fenced = true);
    }

    /// Another broker leads it.
    pub fn depose(&self) {
        self.change(|state| {
            state.led = false;
            state.epoch.0 += 1;
        });
    }

    /// This broker leads it, in a new tenure.
    pub fn elect(&self) {
        self.change(|state| {
            state.led = true;
            state.epoch.0 += 1;
        });
    }

    /// Writes a durable batch as if an earlier tenure had.
    pub fn write(&self, records: &[Record]) {
        let bytes = batch(records.iter(), base::TimestampMs(0)).unwrap();
        self.change(|state| {
            state.push(&bytes, records.len() as u64);
            state.durable = state.end();
        });
    }

    /// How many batches were appended by shards.
    pub fn appends(&self) -> usize {
        self.state.lock().appends
    }

    /// How often a shard asked whether the log is fenced.
    pub fn fence_checks(&self) -> usize {
        self.state.lock().fence_checks
    }

    /// How many batches are appended and not durable.
    pub fn waiting(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// The first offset that is kept.
    pub fn start(&self) -> u64 {
        self.state.lock().start.0
    }

    /// Moves the log start, whoever leads it.
    pub fn cut(&self, start: u64) {
        self.change(|state| state.trim(Offset(start)));
    }

    /// Everything that is kept, durable or not.
    pub fn records(&self) -> Vec<(u64, Record)> {
        let state = self.state.lock();
        let mut kept = Vec::new();
        for batch in &state.batches {
            for batch in records::batches(&batch.bytes) {
                for record in batch.unwrap().records(usize::MAX).unwrap() {
                    let record = record.unwrap();
                    let offset = record.offset as u64;
                    if offset >= state.start.0 {
                        kept.push((offset, Record { key: record.key.unwrap(), value: record.value }));
                    }
                }
            }
        }
        kept
    }
}

/// One tenure of a [`Disk`].
struct MemoryLog {
    disk: Arc<Disk>,
    epoch: StreamEpoch,
}

impl MemoryLog {
    /// Waits until `done` holds.
    async fn wait(&self, done: impl Fn(&State) -> bool) -> Result<(), LogError> {
        let mut moved = self.disk.moved.subscribe();
        loop {
            {
                let state = self.disk.state.lock();
                state.check(self.epoch)?;
                if done(&state) {
                    return Ok(());
                }
            }
            // The sender lives in the disk.
            let _ = moved.changed().await;
        }
    }

    fn append_now(&self, batch: &Bytes) -> Result<Appended, LogError> {
        self.disk.change(|state| {
            state.check(self.epoch)?;
            if state.refuse_appends {
                return Err(PartitionError::NotLeader.into());
            }
            let header = records::BatchHeader::parse(batch)
                .map_err(|error| LogError::Damaged { at: state.end(), why: error.to_string() })?;
            let (bytes, is_one) = (batch.len(), header.record_count == 1);
            assert!(is_one || bytes <= state.batch_bytes_max, "a batch of {bytes} bytes");
            if bytes > state.entry_bytes_max {
                let (bytes, max) = (bytes as u64, state.entry_bytes_max as u64);
                return Err(AppendError::TooLargeForLog { bytes, max }.into());
            }
            let (base, end) = state.push(batch, header.record_count as u64);
            state.appends += 1;
            if !state.held {
                state.durable = end;
                return Ok(Appended { base, durable: std::future::ready(Ok(())).boxed() });
            }
            let (told, waits) = oneshot::channel();
            state.waiting.push_back(Waiting { base, end, told });
            let durable = waits.map(|told| told.unwrap_or(Err(PartitionError::NotLeader.into()))).boxed();
            Ok(Appended { base, durable })
        })
    }
}

impl Log for MemoryLog {
    fn start(&self) -> Offset {
        self.disk.state.lock().start
    }

    fn end(&self) -> Offset {
        self.disk.state.lock().end()
    }

    fn durable_end(&self) -> Offset {
        self.disk.state.lock().durable
    }

    fn batch_bytes_max(&self) -> usize {
        self.disk.state.lock().batch_bytes_max
    }

    fn append(&self, batch: Bytes) -> BoxFuture<'_, Result<Appended, LogError>> {
        async move {
            self.wait(|state| !state.appends_wait).await?;
            self.append_now(&batch)
        }
        .boxed()
    }

    fn read(&self, from: Offset) -> BoxFuture<'_, Result<ReadBatches, LogError>> {
        async move {
            self.wait(|state| !state.reads_wait).await?;
            let state = self.disk.state.lock();
            let damaged = |why: &str| LogError::Damaged { at: from, why: why.to_owned() };
            if state.refuse_reads {
                return Err(damaged("the test says so"));
            }
            // One batch at a time, so that loads read often.
            let found = state.batches.iter().find(|batch| batch.end > from && batch.end <= state.durable);
            let batch = found.ok_or_else(|| damaged("nothing is there"))?;
            Ok(ReadBatches { bytes: batch.bytes.clone(), end: batch.end })
        }
        .boxed()
    }

    fn readable(&self, offset: Offset) -> BoxFuture<'_, Result<(), LogError>> {
        self.wait(move |state| state.durable > offset).boxed()
    }

    fn check_unfenced(&self) -> BoxFuture<'_, Result<(), LogError>> {
        let mut state = self.disk.state.lock();
        state.fence_checks += 1;
        let fenced = if state.fenced { Err(PartitionError::NotLeader.into()) } else { Ok(()) };
        std::future::ready(state.check(self.epoch).and(fenced)).boxed()
    }

    fn trim(&self, snapshot: OffsetRange) -> BoxFuture<'_, Result<(), LogError>> {
        let outcome = self.disk.change(|state| {
            let refused = |why: &str| Err(LogError::Trim(why.to_owned()));
            if state.check(self.epoch).is_err() {
                return refused("the epoch is stale");
            }
            if state.refuse_trims {
                return refused("the test says so");
            }
            assert!(snapshot.end <= state.durable, "{snapshot:?}");
            state.trim(snapshot.start);
            Ok(())
        });
        std::future::ready(outcome).boxed()
    }
}
