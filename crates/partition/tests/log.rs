//! Partitions over a real engine: block log in a directory, memory store, catalogue in process.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

#[path = "log/breaking.rs"]
mod breaking;
mod slow;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::thread::{self, ThreadId};
use std::time::Duration;

use base::memory::Budget;
use base::{BrokerId, Clock, Incarnation, MetaSequence, Offset, StreamEpoch, StreamId, TimestampMs, Uuid};
use blob::{Purpose, Store, StoreOptions};
use breaking::Breaking;
use bytes::Bytes;
use futures::FutureExt;
use parking_lot::Mutex;
use partition::config::{BrokerSettings, TopicSettings};
use partition::producers::{Identity, Producers, Verdict};
use partition::{
    Absent, AppendError, AppendOptions, Appended, Change, Directory, FoundOffset, Isolation, OffsetSpec, Options,
    Origin, Partition, PartitionError, Partitions, Placement, ReadError, ReadRequest, Watcher,
};
use records::{BatchBuilder, Compression, batches};
use stream::catalogue::local::LocalCatalogue;
use stream::catalogue::{CatalogueClient, StateBelow, TrimRequest, WalPlace};
use stream::wal::{Access, BlockLog, BlockLogOptions, Wal};
use stream::{CheckpointSource, Engine, EngineOptions, FrozenState};

const TOPIC: Uuid = Uuid::from_u128(7);

/// Metadata of one topic named `t`.
struct Image {
    catalogue: LocalCatalogue,
    me: Incarnation,
    streams: Vec<StreamId>,
    settings: Mutex<TopicSettings>,
    gone: Mutex<bool>,
    /// What the settings become after each time that they were asked for.
    later: Mutex<VecDeque<TopicSettings>>,
    /// The threads on which the topic's settings were asked for.
    asked: Mutex<Vec<ThreadId>>,
    sequence: AtomicU64,
    is_coordinators: AtomicBool,
}

impl Image {
    /// It is another one from now on.
    fn moves(&self) {
        self.sequence.fetch_add(1, Ordering::SeqCst);
    }

    /// The topic's settings are these from now on.
    fn set(&self, key: &str, value: &str) {
        *self.settings.lock() = TopicSettings::from([(key.to_owned(), value.to_owned())]);
        self.moves();
    }

    fn place(&self, index: i32) -> Option<Placement> {
        let stream = *self.streams.get(usize::try_from(index).ok()?)?;
        let view = CatalogueClient::view(&self.catalogue);
        let state = view.stream(stream)?;
        let led_here = state.owner == self.me;
        let placement = Placement { topic_id: TOPIC, topic: "t".into(), index, stream, epoch: state.epoch, led_here };
        (!*self.gone.lock()).then_some(placement)
    }
}

impl Directory for Image {
    fn by_name(&self, topic: &str, index: i32) -> Result<Placement, Absent> {
        let absent = || Absent::Name { topic: topic.to_owned(), index };
        if topic == "t" { self.place(index).ok_or_else(absent) } else { Err(absent()) }
    }

    fn by_id(&self, topic: Uuid, index: i32) -> Result<Placement, Absent> {
        if topic != TOPIC {
            return Err(Absent::Id(topic));
        }
        self.place(index).ok_or(Absent::Index { topic_id: topic, index })
    }

    fn topic_settings(&self, _: Uuid) -> TopicSettings {
        self.asked.lock().push(thread::current().id());
        let mut settings = self.settings.lock();
        let now = settings.clone();
        if let Some(later) = self.later.lock().pop_front() {
            *settings = later;
            self.moves();
        }
        now
    }

    fn broker_settings(&self) -> Arc<BrokerSettings> {
        Arc::default()
    }

    fn sequence(&self) -> MetaSequence {
        MetaSequence(self.sequence.load(Ordering::SeqCst))
    }

    fn is_coordinators(&self, _: &str) -> bool {
        self.is_coordinators.load(Ordering::SeqCst)
    }

    fn led_here(&self, each: &mut dyn FnMut(Placement)) {
        (0..self.streams.len() as i32).filter_map(|index| self.place(index)).for_each(each);
    }
}

/// What outlives a broker process.
struct Cluster {
    dir: tempfile::TempDir,
    log: Option<Arc<BlockLog>>,
    store: Store,
    catalogue: LocalCatalogue,
    streams: Vec<StreamId>,
    /// Where an append to the log panics.
    breaks_at: Option<Offset>,
    options: Options,
}

struct Broker {
    engine: Engine,
    image: Arc<Image>,
    partitions: Partitions,
}

impl Cluster {
    fn new() -> Self {
        let catalogue = LocalCatalogue::new(Clock::system());
        let dir = tempfile::tempdir().unwrap();
        let (store, streams, options) = (Store::memory(), Vec::new(), Options::default());
        Self { dir, log: None, store, catalogue, streams, breaks_at: None, options }
    }

    /// Starts a broker process; whichever ran before is fenced and its log recovered.
    async fn start(&mut self) -> Broker {
        let clock = Clock::system();
        let mut options = BlockLogOptions::new(self.dir.path(), Access::Owner);
        options.segment_bytes = 1 << 20;
        options.capacity_bytes = 8 << 20;
        let log = self.log.get_or_insert_with(|| Arc::new(BlockLog::open(options).unwrap())).clone();
        let (me, former) = self.catalogue.register(BrokerId(1)).unwrap();
        let client: Arc<dyn CatalogueClient> = Arc::new(self.catalogue.clone());
        let options = EngineOptions {
            upload_interval: Duration::from_secs(3600),
            // A checkpoint with every cut.
            checkpoint_bytes: 0,
            ..EngineOptions::default()
        };
        let engine = Engine::new(options, self.store.clone(), client.clone(), me, clock.clone());
        for incarnation in former {
            let from = client.view().incarnation(incarnation).unwrap().committed;
            let recovered = engine.recover(&log, incarnation, from, &Budget::new(64 << 20)).await.unwrap();
            client.recovered(incarnation, me, recovered.end).await.unwrap();
        }
        self.catalogue.update(|image| image.adopt_orphans(me, usize::MAX)).unwrap();
        let wal = log.create(me, "test-cluster", engine.sink()).unwrap();
        self.catalogue.open_incarnation(me, WalPlace { kind: 0, location: "test".into() }).unwrap();
        let wal = match self.breaks_at {
            Some(at) => Wal::over(Breaking { wal, at }),
            None => wal,
        };
        engine.attach(wal).unwrap();
        if self.streams.is_empty() {
            self.streams = self.catalogue.create_streams(2, me).unwrap();
        }
        let image = Arc::new(Image {
            catalogue: self.catalogue.clone(),
            me,
            streams: self.streams.clone(),
            settings: Mutex::default(),
            gone: Mutex::default(),
            later: Mutex::default(),
            asked: Mutex::default(),
            sequence: AtomicU64::default(),
            is_coordinators: AtomicBool::default(),
        });
        let partitions = Partitions::new(engine.clone(), image.clone(), clock, self.options.clone());
        Broker { engine, image, partitions }
    }
}

impl Broker {
    /// The follower has come to where the metadata is, and found this to differ.
    fn follow(&self, changes: &[Change]) {
        let followed = self.partitions.follow(self.image.sequence(), changes.to_vec());
        followed.now_or_never().expect("a few changes take one turn");
    }

    fn told(&self, change: Change) {
        self.image.moves();
        self.follow(&[change]);
    }

    fn partition(&self) -> Arc<Partition> {
        self.partitions.get("t", 0).unwrap()
    }
}

/// A batch of one-byte-keyed records with the given values and timestamps from `time` on.
fn batch(values: &[&str], time: i64, producer: Option<(i64, i16, i32)>) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    if let Some((id, epoch, sequence)) = producer {
        builder = builder.producer(id, epoch, sequence);
    }
    for (at, value) in values.iter().enumerate() {
        builder.append(time + at as i64, Some(b"k"), Some(value.as_bytes()), &[]).unwrap();
    }
    builder.build().unwrap()
}

/// A batch of records with these timestamps.
fn stamped(timestamps: &[i64]) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    for timestamp in timestamps {
        builder.append(*timestamp, Some(b"k"), Some(b"v"), &[]).unwrap();
    }
    builder.build().unwrap()
}

/// Flips a bit in every checkpoint of one producer with the id 9 that describes the state at `end`.
async fn damage_checkpoints(store: &Store, end: u64) {
    let mut start = vec![0, 0, 0, 0, 0, 0, 0, 1];
    start.extend(end.to_be_bytes());
    start.extend(9_u64.to_be_bytes());
    let mut damaged = 0;
    for object in store.list_all(Purpose::Scrub, "").await.unwrap() {
        let mut bytes = store.get(Purpose::Scrub, &object.key, ..).await.unwrap().to_vec();
        if let Some(at) = bytes.windows(start.len()).position(|window| window == start) {
            bytes[at + start.len() + 8] ^= 1;
            store.put(Purpose::Scrub, &object.key, Bytes::from(bytes)).await.unwrap();
            damaged += 1;
        }
    }
    assert_eq!(damaged, 1, "there is one checkpoint at {end}");
}

fn now() -> i64 {
    Clock::system().now().0
}

async fn append(partition: &Arc<Partition>, records: Bytes, options: AppendOptions) -> Result<Appended, AppendError> {
    let room = partition.reserve(records.len()).await;
    partition.append(records, &room, options).await
}

async fn produce(partition: &Arc<Partition>, records: Bytes) -> Result<Appended, AppendError> {
    let mut appended = append(partition, records, AppendOptions::client()).await?;
    (&mut appended.durable).await?;
    Ok(appended)
}

async fn read(partition: &Partition, offset: i64) -> Result<partition::ReadResult, ReadError> {
    let request = ReadRequest {
        offset,
        max_bytes: 1 << 20,
        min_one: true,
        isolation: Isolation::ReadUncommitted,
        leader_epoch: -1,
    };
    partition.read(request).await
}

/// All values from `offset` on, with their offsets.
async fn values(partition: &Partition, offset: u64) -> Vec<(i64, String)> {
    let (mut next, mut out) = (offset, Vec::new());
    while next < partition.high_watermark().0 {
        let result = read(partition, next as i64).await.unwrap();
        for batch in batches(&result.slices.concat().into()) {
            let batch = batch.unwrap();
            batch.verify_crc().unwrap();
            for record in batch.records(1 << 20).unwrap() {
                let record = record.unwrap();
                if record.offset >= offset as i64 {
                    out.push((record.offset, String::from_utf8(record.value.unwrap().to_vec()).unwrap()));
                }
            }
        }
        next = result.range.end.0;
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn records_come_back_at_their_offsets_before_and_after_a_restart() {
    let mut cluster = Cluster::new();
    let broker = cluster.start().await;
    let log = broker.partition();
    let first = produce(&log, batch(&["a", "b"], now(), None)).await.unwrap();
    let second = produce(&log, batch(&["c"], now(), None)).await.unwrap();
    assert_eq!((first.base_offset, first.last_offset, second.base_offset), (Offset(0), Offset(1), Offset(2)));
    assert_eq!(first.log_append_time, TimestampMs(-1));
    let expected: Vec<_> = [(0, "a"), (1, "b"), (2, "c")].map(|(o, v)| (o, v.to_owned())).into();
    assert_eq!(values(&log, 0).await, expected);
    assert_eq!(values(&log, 1).await, expected[1..]);
    assert_eq!(read(&log, 1).await.unwrap().range.start, Offset(0), "the whole batch that holds the offset");

    let empty = read(&log, 3).await.unwrap();
    assert!(empty.range.is_empty() && empty.high_watermark == Offset(3));
    for outside in [-1, 4, i64::MAX] {
        assert!(matches!(read(&log, outside).await, Err(ReadError::OutOfRange { .. })), "{outside}");
    }

    let again = cluster.start().await;
    let reopened = again.partition();
    assert_eq!(values(&reopened, 0).await, expected);
    assert_eq!(reopened.leader_epoch(), StreamEpoch(log.leader_epoch().0 + 1));
    let third = produce(&reopened, batch(&["d"], now(), None)).await.unwrap();
    assert_eq!(third.base_offset, Offset(3));
    let ends = [log.leader_epoch().0, reopened.leader_epoch().0]
        .map(|epoch| reopened.offset_for_leader_epoch(epoch, -1).unwrap().end);
    assert_eq!(ends, [3, 4]);
    let stale = AppendOptions { leader_epoch: log.leader_epoch().0, ..AppendOptions::client() };
    assert_eq!(append(&reopened, batch(&["x"], now(), None), stale).await.unwrap_err().code(), 74);
    // The first process is fenced: what it still tries is never acknowledged.
    let late = append(&log, batch(&["x"], now(), None), AppendOptions::client()).await;
    match late {
        Ok(appended) => {
            let outcome = tokio::time::timeout(Duration::from_secs(30), appended.durable).await;
            assert_eq!(outcome.expect("a fenced append is answered"), Err(PartitionError::NotLeader));
        }
        Err(error) => assert_eq!(error.code(), 6),
    }
    assert_eq!(values(&reopened, 3).await, [(3, "d".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_sent_again_is_answered_and_not_stored_over_checkpoints_and_restarts() {
    let mut cluster = Cluster::new();
    let mut sent = 0;
    for cut_before_restart in [false, true, true, false] {
        let broker = cluster.start().await;
        let log = broker.partition();
        if sent > 0 {
            // The last five of before the restart are known, whether by checkpoint or by replay.
            for back in 1..=sent.min(5) {
                let sequence = sent - back;
                let again = produce(&log, batch(&["v"], 1, Some((9, 0, sequence)))).await.unwrap();
                assert!(again.duplicate);
                assert_eq!(again.base_offset, Offset(sequence as u64));
            }
        }
        for _ in 0..7 {
            let fresh = produce(&log, batch(&["v"], now(), Some((9, 0, sent)))).await.unwrap();
            assert!(!fresh.duplicate);
            assert_eq!(fresh.base_offset, Offset(sent as u64));
            sent += 1;
            if cut_before_restart && sent % 7 == 4 {
                broker.engine.flush().await.unwrap();
            }
        }
        let gap = produce(&log, batch(&["v"], now(), Some((9, 0, sent + 1)))).await.unwrap_err();
        assert_eq!(gap.code(), 45);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn producers_whose_checkpoint_cannot_be_read_are_found_again_in_the_log() {
    let mut cluster = Cluster::new();
    let broker = cluster.start().await;
    let log = broker.partition();
    for sequence in 0..7 {
        produce(&log, batch(&["v"], now(), Some((9, 0, sequence)))).await.unwrap();
    }
    broker.engine.flush().await.unwrap();
    produce(&log, batch(&["v"], now(), Some((9, 0, 7)))).await.unwrap();
    damage_checkpoints(&cluster.store, 7).await;
    for restarts in 1..=2 {
        let again = cluster.start().await;
        let log = again.partition();
        for sequence in 3..8 {
            let repeated = produce(&log, batch(&["v"], now(), Some((9, 0, sequence)))).await.unwrap();
            assert!(repeated.duplicate, "sequence {sequence} after {restarts} restarts");
            assert_eq!(repeated.base_offset, Offset(sequence as u64));
        }
        let gap = produce(&log, batch(&["v"], now(), Some((9, 0, 9)))).await.unwrap_err();
        assert_eq!(gap.code(), 45);
    }
    let log = cluster.start().await.partition();
    let next = produce(&log, batch(&["v"], now(), Some((9, 0, 8)))).await.unwrap();
    assert_eq!((next.duplicate, next.base_offset), (false, Offset(8)));
}

/// One after the other they would cost a producer two round trips each before its first append.
#[tokio::test(flavor = "multi_thread")]
async fn objects_behind_a_checkpoint_are_read_side_by_side() {
    const CUTS: i32 = 5;
    let mut cluster = Cluster::new();
    let reads = Arc::new(slow::SlowReads::default());
    cluster.store = Store::with_backend(reads.clone(), StoreOptions::default());
    let broker = cluster.start().await;
    let log = broker.partition();
    for sequence in 0..CUTS {
        produce(&log, batch(&["v"], now(), Some((9, 0, sequence)))).await.unwrap();
        broker.engine.flush().await.unwrap();
    }
    let broker = cluster.start().await;
    let log = broker.partition();
    let covered = broker.engine.catalogue().stream(log.stream_id()).unwrap().checkpoint.unwrap().offset;
    let behind = CUTS as usize - covered.0 as usize;
    assert!(behind > 2, "the first checkpoint is as large as what was written since");
    reads.at_once.store(0, Ordering::SeqCst);
    for sequence in 0..CUTS {
        let repeated = produce(&log, batch(&["v"], now(), Some((9, 0, sequence)))).await.unwrap();
        assert_eq!((repeated.duplicate, repeated.base_offset), (true, Offset(sequence as u64)));
    }
    assert_eq!(reads.at_once.load(Ordering::SeqCst), behind);
}

/// A coordinator's log is trimmed by whoever keeps its state, whatever the partition is at.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_waits_for_memory_goes_on_where_the_log_begins_by_then() {
    let mut cluster = Cluster::new();
    let reads = Arc::new(slow::SlowReads::default());
    cluster.store = Store::with_backend(reads.clone(), StoreOptions::default());
    // Room for one load at a time.
    cluster.options.scans_bytes_max = 1;
    for sequence in 0..2 {
        let broker = cluster.start().await;
        for index in 0..2 {
            let log = broker.partitions.get("t", index).unwrap();
            produce(&log, batch(&["v"], now(), Some((9, 0, sequence)))).await.unwrap();
        }
    }
    // What recovery commits comes without a checkpoint.
    let broker = cluster.start().await;
    let [first, second] = [0, 1].map(|index| broker.partitions.get("t", index).unwrap());
    let gate = reads.gate.write().await;
    let mut loads_first = Box::pin(first.ready());
    while reads.under_way.load(Ordering::SeqCst) == 0 {
        assert!(futures::poll!(loads_first.as_mut()).is_pending());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut loads_second = Box::pin(second.ready());
    assert!(futures::poll!(loads_second.as_mut()).is_pending());
    let state = StateBelow::ToldUpTo(Offset(2));
    let trim = TrimRequest { stream: second.stream_id(), epoch: second.leader_epoch(), start: Offset(1), state };
    CatalogueClient::trim(&cluster.catalogue, vec![trim]).await.unwrap().remove(0).unwrap();
    drop(gate);
    loads_first.await.unwrap();
    loads_second.await.unwrap();
    assert_eq!(second.log_start(), Offset(1));
    let again = produce(&second, batch(&["v"], now(), Some((9, 0, 1)))).await.unwrap();
    assert_eq!((again.duplicate, again.base_offset), (true, Offset(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_producers_each_keep_their_order_and_a_pipelined_duplicate_waits_for_its_original() {
    const PRODUCERS: i64 = 6;
    const BATCHES: i32 = 60;
    let mut cluster = Cluster::new();
    let broker = cluster.start().await;
    let log = broker.partition();
    let watcher = Watcher::new();
    let watch = log.watch(&watcher);
    let mut tasks = Vec::new();
    for id in 0..PRODUCERS {
        let log = log.clone();
        tasks.push(base::task::spawn("producer", async move {
            let mut pending = Vec::new();
            for sequence in 0..BATCHES {
                let value = format!("{id}/{sequence}");
                let records = batch(&[&value], now(), Some((id, 0, sequence)));
                let original = append(&log, records.clone(), AppendOptions::client()).await.unwrap();
                let copy = append(&log, records, AppendOptions::client()).await.unwrap();
                assert!(!original.duplicate && copy.duplicate);
                assert_eq!(original.base_offset, copy.base_offset);
                let offset = copy.base_offset;
                let log = log.clone();
                pending.push(base::task::spawn("ack", async move {
                    copy.durable.await.unwrap();
                    assert!(log.high_watermark() > offset, "a duplicate is answered only when its original is durable");
                    original.durable.await.unwrap();
                }));
            }
            for ack in pending {
                ack.await.unwrap();
            }
        }));
    }
    // A long poll that is woken by commits alone reads everything.
    let mut seen: HashMap<String, i32> = HashMap::new();
    let (mut next, total) = (0, PRODUCERS as u64 * BATCHES as u64);
    while next < total {
        let batch = values(&log, next).await;
        if batch.is_empty() {
            tokio::time::timeout(Duration::from_secs(30), watcher.woken()).await.expect("a commit wakes the poll");
            continue;
        }
        for (offset, value) in batch {
            assert_eq!(offset as u64, next);
            next += 1;
            let (id, sequence) = value.split_once('/').unwrap();
            let expected = seen.entry(id.to_owned()).or_insert(0);
            assert_eq!(*expected, sequence.parse::<i32>().unwrap());
            *expected += 1;
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert!(watcher.bytes() > 0);
    drop(watch);
    assert_eq!(log.log_end(), Offset(total));
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_found_by_time_and_the_ends_by_name() {
    let mut cluster = Cluster::new();
    let broker = cluster.start().await;
    let log = broker.partition();
    let find = async |spec| log.find_offset(spec, Isolation::ReadUncommitted, -1).await.unwrap();
    assert_eq!(find(OffsetSpec::MaxTimestamp).await, FoundOffset::NONE);
    let t = now() - 10_000;
    produce(&log, batch(&["a", "b", "c"], t, None)).await.unwrap();
    produce(&log, batch(&["d"], t + 500, None)).await.unwrap();
    broker.engine.flush().await.unwrap();
    produce(&log, batch(&["e", "f"], t + 100, None)).await.unwrap();
    let epoch = log.leader_epoch().0;
    let found = |offset, timestamp| FoundOffset { offset, timestamp: TimestampMs(timestamp), leader_epoch: epoch };
    assert_eq!(find(OffsetSpec::At(TimestampMs(0))).await, found(0, t));
    assert_eq!(find(OffsetSpec::At(TimestampMs(t + 1))).await, found(1, t + 1));
    assert_eq!(find(OffsetSpec::At(TimestampMs(t + 3))).await, found(3, t + 500));
    assert_eq!(find(OffsetSpec::At(TimestampMs(t + 501))).await, FoundOffset::NONE);
    assert_eq!(find(OffsetSpec::MaxTimestamp).await, found(3, t + 500));
    assert_eq!(find(OffsetSpec::Latest).await, found(6, -1));
    assert_eq!(find(OffsetSpec::Earliest).await, found(0, -1));
    // A log start inside a batch hides the records below it.
    assert_eq!(log.delete_records(1).await.unwrap(), Offset(1));
    assert_eq!(find(OffsetSpec::Earliest).await, found(1, -1));
    assert_eq!(find(OffsetSpec::At(TimestampMs(0))).await, found(1, t + 1));
    assert!(matches!(read(&log, 0).await, Err(ReadError::OutOfRange { .. })));
    assert_eq!(log.delete_records(7).await.unwrap_err().code(), 1);
    assert_eq!(log.delete_records(-1).await.unwrap(), Offset(6));
    assert!(read(&log, 6).await.unwrap().range.is_empty());
}

/// What 3.9.2 and 4.4.0 answered for the same batches and DeleteRecords, in every version that knows the look-up:
///
/// | log start | -1 | -2, -4 | -3 | time 0 | 2500 | 5000 |
/// |---|---|---|---|---|---|---|
/// | 0 | 6 | 0 | 5000 at 1 | 1000 at 0 | 5000 at 1 | 5000 at 1 |
/// | 2 | 6 | 2 | 5000 at 1 | 2000 at 2 | 3000 at 3 | none |
/// | 3 | 6 | 3 | 5000 at 1 | 3000 at 3 | 3000 at 3 | none |
/// | 5 | 6 | 5 | 5000 at 1 | 1600 at 5 | none | none |
/// | 6 | 6 | 6 | 5000 at 1 | none | none | none |
///
/// The same here, but that a batch is gone at once when the log starts behind it, not when its segment is deleted: -3
/// is then the greatest of what is kept. A fetch gets the whole batch that holds the offset.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_starts_inside_a_batch_answers_every_look_up() {
    for uploaded in [false, true] {
        let mut cluster = Cluster::new();
        let mut broker = cluster.start().await;
        let mut log = broker.partition();
        // The times are long past, and nothing is to expire.
        let keep = |broker: &Broker| drop(broker.image.settings.lock().insert("retention.ms".into(), "-1".into()));
        keep(&broker);
        broker.told(Change::TopicSettings(TOPIC));
        produce(&log, stamped(&[1000, 5000, 2000, 3000])).await.unwrap();
        produce(&log, stamped(&[1500, 1600])).await.unwrap();
        if uploaded {
            broker.engine.flush().await.unwrap();
        }
        let none = FoundOffset::NONE;
        let found = |offset, timestamp| FoundOffset { offset, timestamp: TimestampMs(timestamp), leader_epoch: 0 };
        let newest = found(1, 5000);
        let expected = [
            (0, [newest, found(0, 1000), newest, newest]),
            (2, [newest, found(2, 2000), found(3, 3000), none]),
            (3, [newest, found(3, 3000), found(3, 3000), none]),
            (5, [found(5, 1600), found(5, 1600), none, none]),
            (6, [none, none, none, none]),
        ];
        for (start, look_ups) in expected {
            log.delete_records(start).await.unwrap();
            for restarted in [false, true] {
                if restarted {
                    broker = cluster.start().await;
                    keep(&broker);
                    log = broker.partition();
                }
                let at = format!("log start {start}, uploaded {uploaded}, restarted {restarted}");
                let find = async |spec| log.find_offset(spec, Isolation::ReadUncommitted, -1).await.unwrap();
                let times = [0, 2500, 5000].map(|time| OffsetSpec::At(TimestampMs(time)));
                for (spec, found) in [OffsetSpec::MaxTimestamp, times[0], times[1], times[2]].into_iter().zip(look_ups)
                {
                    assert_eq!(find(spec).await, found, "{spec:?} at {at}");
                }
                for (spec, offset) in [
                    (OffsetSpec::Latest, 6),
                    (OffsetSpec::Earliest, start),
                    (OffsetSpec::EarliestLocal, start),
                    (OffsetSpec::LatestTiered, -1),
                    (OffsetSpec::EarliestPendingUpload, -1),
                ] {
                    assert_eq!(find(spec).await.offset, offset, "{spec:?} at {at}");
                }
                assert_eq!(broker.partitions.sweep_retention().await, 0, "{at}");
                let kept: Vec<i64> = values(&log, start as u64).await.into_iter().map(|(offset, _)| offset).collect();
                assert_eq!(kept, (start..6).collect::<Vec<_>>(), "{at}");
                assert!(matches!(read(&log, start - 1).await, Err(ReadError::OutOfRange { .. })), "{at}");
                assert_eq!(log.offset_for_leader_epoch(0, -1).unwrap().end, 6.max(start), "{at}");
            }
        }
        let next = produce(&log, stamped(&[7000])).await.unwrap();
        assert_eq!(next.base_offset, Offset(6));
    }
}

/// Records that all have no timestamp: 3.9.2 and 4.4.0 answer -3 with the first of them and -1 for its time, and no time
/// with none; one with a timestamp goes before them.
#[tokio::test(flavor = "multi_thread")]
async fn records_without_timestamps_are_found_by_no_time() {
    for uploaded in [false, true] {
        let mut cluster = Cluster::new();
        let broker = cluster.start().await;
        let log = broker.partition();
        let find = async |spec| log.find_offset(spec, Isolation::ReadUncommitted, -1).await.unwrap();
        let found = |offset, timestamp| FoundOffset { offset, timestamp: TimestampMs(timestamp), leader_epoch: 0 };
        produce(&log, stamped(&[-1, -1])).await.unwrap();
        produce(&log, stamped(&[-1])).await.unwrap();
        if uploaded {
            broker.engine.flush().await.unwrap();
        }
        assert_eq!(find(OffsetSpec::MaxTimestamp).await, found(0, -1));
        assert_eq!(find(OffsetSpec::At(TimestampMs(0))).await, FoundOffset::NONE);
        produce(&log, stamped(&[400])).await.unwrap();
        if uploaded {
            broker.engine.flush().await.unwrap();
        }
        assert_eq!(find(OffsetSpec::MaxTimestamp).await, found(3, 400));
        assert_eq!(find(OffsetSpec::At(TimestampMs(0))).await, found(3, 400));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_apply_at_once_and_refusals_carry_kafkas_codes() {
    let mut cluster = Cluster::new();
    let broker = cluster.start().await;
    let log = broker.partition();
    produce(&log, batch(&["a"], now(), None)).await.unwrap();
    let set = |key: &str, value: &str| {
        broker.image.settings.lock().insert(key.to_owned(), value.to_owned());
        broker.told(Change::TopicSettings(TOPIC));
    };
    set("max.message.bytes", "70");
    let big = produce(&log, batch(&["a value that is too long for the limit"], now(), None)).await.unwrap_err();
    assert_eq!(big.code(), 10);
    set("max.message.bytes", "1000");
    set("message.timestamp.type", "LogAppendTime");
    let stamped = produce(&log, batch(&["b"], 5, None)).await.unwrap();
    assert!(stamped.log_append_time.0 > 5);
    set("cleanup.policy", "compact");
    assert_eq!(log.delete_records(1).await.unwrap_err().code(), 44);
    // A topic that removes nothing by itself leaves it to its users.
    set("cleanup.policy", "");
    assert_eq!(log.delete_records(1).await.unwrap(), Offset(1));
    set("cleanup.policy", "compact,delete");
    assert_eq!(log.delete_records(2).await.unwrap(), Offset(2));

    let mut corrupt = batch(&["c"], now(), None).to_vec();
    *corrupt.last_mut().unwrap() ^= 1;
    assert_eq!(produce(&log, corrupt.into()).await.unwrap_err().code(), 2);
    let options = AppendOptions { leader_epoch: log.leader_epoch().0 + 1, ..AppendOptions::client() };
    assert_eq!(append(&log, batch(&["d"], now(), None), options).await.unwrap_err().code(), 75);
    assert_eq!(broker.partitions.get("t", 9).unwrap_err().code(), 3);
    assert_eq!(broker.partitions.get_by_id(Uuid::from_u128(8), 0).unwrap_err().code(), 100);
}

/// What a coordinator has stored it writes again in a snapshot, and what it decided may have waited for room.
#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_appends_what_the_topic_does_not_take_from_clients_any_more() {
    let mut cluster = Cluster::new();
    let broker = cluster.start().await;
    let log = broker.partition();
    let text = "a value that is too long for the limit";
    for (key, value, code) in [("max.message.bytes", "70", 10), ("message.timestamp.before.max.ms", "1000", 32)] {
        *broker.image.settings.lock() = TopicSettings::from([(key.to_owned(), value.to_owned())]);
        broker.told(Change::TopicSettings(TOPIC));
        let old = batch(&[text], now() - 60_000, None);
        assert_eq!(append(&log, old.clone(), AppendOptions::client()).await.unwrap_err().code(), code);
        let options = AppendOptions::coordinator(log.leader_epoch());
        append(&log, old, options).await.unwrap().durable.await.unwrap();
    }
    assert_eq!(values(&log, 0).await, [(0, text.to_owned()), (1, text.to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_batch_is_bounded_by_the_topic_and_by_the_log() {
    let mut cluster = Cluster::new();
    let broker = cluster.start().await;
    let log = broker.partition();
    let set = |value: &str| {
        *broker.image.settings.lock() = TopicSettings::from([("max.message.bytes".to_owned(), value.to_owned())]);
        broker.told(Change::TopicSettings(TOPIC));
    };
    set("1000");
    assert_eq!(log.batch_bytes_max(), 1000);
    set("100000000");
    assert_eq!(log.batch_bytes_max(), broker.engine.entry_bytes_max());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_appended_behind_an_append_that_broke_off() {
    let mut cluster = Cluster::new();
    cluster.breaks_at = Some(Offset(2));
    let broker = cluster.start().await;
    let log = broker.partition();
    for value in ["a", "b"] {
        produce(&log, batch(&[value], now(), None)).await.unwrap();
    }
    let broken = log.clone();
    let broken = base::task::spawn("producer", async move { produce(&broken, batch(&["c"], now(), None)).await });
    assert!(broken.await.unwrap_err().is_panic());
    let behind = produce(&log, batch(&["d"], now(), None)).await.unwrap_err();
    assert!(matches!(behind, AppendError::Partition(PartitionError::NotLeader)), "{behind}");
    drop((log, broker));
    cluster.breaks_at = None;
    let again = cluster.start().await.partition();
    produce(&again, batch(&["e"], now(), None)).await.unwrap();
    let expected = ["a", "b", "e"].iter().zip(0..).map(|(value, offset)| (offset, (*value).to_owned()));
    assert_eq!(values(&again, 0).await, expected.collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_topic_wakes_its_waiters_and_answers_unknown() {
    let mut cluster = Cluster::new();
    let broker = cluster.start().await;
    let log = broker.partition();
    produce(&log, batch(&["a"], now(), None)).await.unwrap();
    let watcher = Watcher::new();
    let _watch = log.watch(&watcher);
    *broker.image.gone.lock() = true;
    broker.told(Change::TopicDeleted { topic_id: TOPIC, streams: cluster.streams.clone() });
    tokio::time::timeout(Duration::from_secs(10), watcher.woken()).await.expect("deletion wakes long polls");
    assert!(matches!(read(&log, 0).await, Err(ReadError::Partition(PartitionError::Deleted))));
    let refused = produce(&log, batch(&["b"], now(), None)).await.unwrap_err();
    assert_eq!(refused.code(), 3);
    assert_eq!(broker.partitions.open_count(), 0);
}

/// How the images differ at which the follower looks does not tell of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_set_and_set_back_while_a_topic_was_opened_or_resolved_again_is_not_in_force() {
    let limit = |broker: &Broker| broker.partition().topic().config().max_message_bytes;
    let key = "max.message.bytes";
    let mut cluster = Cluster::new();
    let broker = cluster.start().await;
    broker.image.set(key, "1000");
    broker.follow(&[]);
    broker.image.set(key, "2000");
    assert_eq!(limit(&broker), 2000, "opened");
    broker.image.set(key, "1000");
    broker.follow(&[]);
    assert_eq!(limit(&broker), 1000);
    // The follower tells of a change, and finds the next one when it resolves.
    *broker.image.settings.lock() = TopicSettings::from([(key.to_owned(), "3000".to_owned())]);
    let found = broker.image.sequence();
    broker.image.set(key, "4000");
    let followed = broker.partitions.follow(MetaSequence(found.0 + 1), [Change::TopicSettings(TOPIC)]);
    broker.image.set(key, "5000");
    followed.now_or_never().unwrap();
    assert_eq!(limit(&broker), 5000, "newer than what it was told of");
    broker.image.set(key, "4000");
    broker.follow(&[]);
    assert_eq!(limit(&broker), 4000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_while_a_topic_is_opened_is_in_force() {
    let mut cluster = Cluster::new();
    let broker = cluster.start().await;
    broker.image.set("max.message.bytes", "1000");
    broker.follow(&[]);
    let later = TopicSettings::from([("max.message.bytes".to_owned(), "2000".to_owned())]);
    broker.image.later.lock().push_back(later);
    assert_eq!(broker.partition().topic().config().max_message_bytes, 2000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_made_and_deleted_between_two_looks_is_closed() {
    let mut cluster = Cluster::new();
    let broker = cluster.start().await;
    broker.follow(&[]);
    broker.image.moves();
    let log = broker.partition();
    *broker.image.gone.lock() = true;
    broker.image.moves();
    broker.follow(&[]);
    assert_eq!(broker.partitions.open_count(), 0);
    assert_eq!(log.check_open(), Err(PartitionError::Deleted));
}

/// The deletion tells of the partitions that there were at the last look.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_was_added_between_the_looks_at_its_topic_and_at_its_deletion_is_closed() {
    let mut cluster = Cluster::new();
    let broker = cluster.start().await;
    let first = broker.partition();
    broker.follow(&[]);
    broker.image.moves();
    let added = broker.partitions.get("t", 1).unwrap();
    *broker.image.gone.lock() = true;
    broker.told(Change::TopicDeleted { topic_id: TOPIC, streams: vec![cluster.streams[0]] });
    assert_eq!(broker.partitions.open_count(), 0);
    for log in [first, added] {
        assert_eq!(log.check_open(), Err(PartitionError::Deleted));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn others_run_while_very_many_changes_are_followed() {
    let mut cluster = Cluster::new();
    let broker = cluster.start().await;
    let changes = (0..10_000).map(|id| Change::TopicSettings(Uuid::from_u128(100 + id)));
    let mut following = std::pin::pin!(broker.partitions.follow(MetaSequence(1), changes));
    let mut cx = Context::from_waker(Waker::noop());
    let pauses = std::iter::from_fn(|| following.as_mut().poll(&mut cx).is_pending().then_some(())).count();
    assert_eq!(pauses, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_trims_partitions_that_nobody_opened() {
    let mut cluster = Cluster::new();
    let broker = cluster.start().await;
    let log = broker.partition();
    produce(&log, batch(&["old"], now() - 60_000, None)).await.unwrap();
    broker.engine.flush().await.unwrap();
    produce(&log, batch(&["new"], now(), None)).await.unwrap();
    broker.engine.flush().await.unwrap();
    let again = cluster.start().await;
    assert_eq!(again.partitions.sweep_retention().await, 0);
    again.image.settings.lock().insert("retention.ms".into(), "30000".into());
    assert_eq!(again.partitions.sweep_retention().await, 1);
    assert_eq!(again.partitions.open_count(), 0);
    let reopened = again.partition();
    assert_eq!(reopened.log_start(), Offset(1));
    assert_eq!(values(&reopened, 1).await, [(1, "new".to_owned())]);
}

/// A producer that was not answered sends again, whatever was deleted meanwhile (I-2).
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_sent_again_is_known_though_its_records_are_deleted_and_the_broker_was_killed() {
    let sent = || batch(&["a", "b", "c"], now(), Some((9, 0, 0)));
    for killed_before in [false, true] {
        for deleted in [3, -1] {
            let mut cluster = Cluster::new();
            let mut broker = cluster.start().await;
            produce(&broker.partition(), sent()).await.unwrap();
            if killed_before {
                // What recovery commits comes without a checkpoint, and nobody has asked for the producers yet.
                broker = cluster.start().await;
            }
            assert_eq!(broker.partition().delete_records(deleted).await.unwrap(), Offset(3));
            let case = format!("killed before {killed_before}, deleted to {deleted}");
            for restarts in 0..2 {
                let again = produce(&broker.partition(), sent()).await.unwrap();
                assert!(again.duplicate, "{case}, {restarts} restarts");
                assert_eq!(again.base_offset, Offset(0), "{case}, {restarts} restarts");
                broker = cluster.start().await;
            }
            assert_eq!(broker.partition().log_end(), Offset(3), "{case}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_sent_again_is_known_though_its_records_expired_while_nobody_used_the_partition() {
    let mut cluster = Cluster::new();
    let old = now() - 60_000;
    let broker = cluster.start().await;
    produce(&broker.partition(), batch(&["old"], old, Some((9, 0, 0)))).await.unwrap();
    for restarts in 0..2 {
        let broker = cluster.start().await;
        broker.image.settings.lock().insert("retention.ms".into(), "30000".into());
        assert_eq!(broker.partitions.sweep_retention().await, usize::from(restarts == 0));
        assert_eq!(broker.partition().log_start(), Offset(1));
        let again = produce(&broker.partition(), batch(&["old"], old, Some((9, 0, 0)))).await.unwrap();
        assert!(again.duplicate, "{restarts} restarts later");
    }
}

/// What was told by a checkpoint is needed again when that turns out to be damaged.
#[tokio::test(flavor = "multi_thread")]
async fn records_are_not_deleted_on_account_of_a_checkpoint_that_cannot_be_read() {
    for by_retention in [false, true] {
        for is_loaded in [false, true] {
            let case = format!("by retention {by_retention}, loaded {is_loaded}");
            let old = now() - 60_000;
            let sent = || batch(&["a", "b", "c"], old, Some((9, 0, 0)));
            let mut cluster = Cluster::new();
            let broker = cluster.start().await;
            produce(&broker.partition(), sent()).await.unwrap();
            broker.engine.flush().await.unwrap();
            let mut broker = cluster.start().await;
            damage_checkpoints(&cluster.store, 3).await;
            if is_loaded {
                produce(&broker.partition(), batch(&["x"], now(), Some((8, 0, 0)))).await.unwrap();
            }
            if by_retention {
                broker.image.settings.lock().insert("retention.ms".into(), "30000".into());
                assert_eq!(broker.partitions.sweep_retention().await, 1, "{case}");
            } else {
                assert_eq!(broker.partition().delete_records(3).await.unwrap(), Offset(3), "{case}");
            }
            assert_eq!(broker.partition().log_start(), Offset(3), "{case}");
            for restarts in 0..2 {
                let again = produce(&broker.partition(), sent()).await.unwrap();
                assert!(again.duplicate, "{case}, {restarts} restarts");
                broker = cluster.start().await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_a_checkpoint_tells_are_deleted_though_what_lies_behind_it_cannot_be_read() {
    let sent = || batch(&["told"], now(), Some((9, 0, 0)));
    let mut cluster = Cluster::new();
    let reads = Arc::new(slow::SlowReads::default());
    cluster.store = Store::with_backend(reads.clone(), StoreOptions::default());
    let broker = cluster.start().await;
    let log = broker.partition();
    produce(&log, sent()).await.unwrap();
    broker.engine.flush().await.unwrap();
    produce(&log, batch(&["untold"], now(), Some((9, 0, 1)))).await.unwrap();
    let before = cluster.store.list_all(Purpose::Scrub, "").await.unwrap();
    let log = cluster.start().await.partition();
    let behind = cluster.store.list_all(Purpose::Scrub, "").await.unwrap();
    let behind = behind.into_iter().filter(|object| !before.contains(object)).map(|object| object.key);
    reads.refused.lock().extend(behind);
    assert_eq!(log.delete_records(1).await.unwrap(), Offset(1));
    log.ready().await.unwrap_err();
    assert_eq!(log.delete_records(2).await.unwrap_err().code(), 56, "of which no checkpoint tells");
    reads.refused.lock().clear();
    let again = produce(&log, sent()).await.unwrap();
    assert_eq!((again.duplicate, again.base_offset), (true, Offset(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_cannot_be_read_is_written_anew_by_the_next_upload() {
    let mut cluster = Cluster::new();
    let broker = cluster.start().await;
    produce(&broker.partition(), batch(&["v"], now(), Some((9, 0, 0)))).await.unwrap();
    broker.engine.flush().await.unwrap();
    damage_checkpoints(&cluster.store, 1).await;
    let broker = cluster.start().await;
    let log = broker.partition();
    log.ready().await.unwrap();
    let stream = broker.engine.open(log.stream_id(), log.leader_epoch(), None).unwrap();
    stream.last_checkpoint().await.unwrap_err();
    broker.engine.flush().await.unwrap();
    let (at, bytes) = stream.last_checkpoint().await.unwrap().unwrap();
    assert_eq!(Producers::from_checkpoint(&bytes, at).unwrap().len(), 1);
}

/// What such a producer sends changes no producer's state.
#[tokio::test(flavor = "multi_thread")]
async fn appends_without_a_producer_go_on_though_producers_cannot_be_known() {
    let mut cluster = Cluster::new();
    let broker = cluster.start().await;
    produce(&broker.partition(), batch(&["old"], now(), Some((9, 0, 0)))).await.unwrap();
    let broker = cluster.start().await;
    for object in cluster.store.list_all(Purpose::Scrub, "").await.unwrap() {
        let mut bytes = cluster.store.get(Purpose::Scrub, &object.key, ..).await.unwrap().to_vec();
        bytes.iter_mut().for_each(|byte| *byte ^= 1);
        cluster.store.put(Purpose::Scrub, &object.key, Bytes::from(bytes)).await.unwrap();
    }
    let log = broker.partition();
    for offset in 1..4 {
        let appended = produce(&log, batch(&["new"], now(), None)).await.unwrap();
        assert_eq!(appended.base_offset, Offset(offset));
        // A checkpoint is due with every cut, and nobody can tell the state.
        broker.engine.flush().await.unwrap();
        let refused = produce(&log, batch(&["new"], now(), Some((9, 0, 1)))).await.unwrap_err();
        assert_eq!(refused.code(), 56);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_without_a_producer_have_the_producers_loaded_that_a_checkpoint_waits_for() {
    let mut cluster = Cluster::new();
    let broker = cluster.start().await;
    produce(&broker.partition(), batch(&["old"], now(), Some((9, 0, 0)))).await.unwrap();
    let broker = cluster.start().await;
    let log = broker.partition();
    produce(&log, batch(&["new"], now(), None)).await.unwrap();
    broker.engine.flush().await.unwrap();
    assert!(log.waits_for_load());
    produce(&log, batch(&["new"], now(), None)).await.unwrap();
    let loaded = async {
        while log.waits_for_load() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), loaded).await.expect("they are loaded beside");
}

/// Whoever took `compact` from its `cleanup.policy` did not mean to lose committed offsets.
#[tokio::test(flavor = "multi_thread")]
async fn retention_passes_over_what_a_coordinator_trims_itself() {
    let mut cluster = Cluster::new();
    let broker = cluster.start().await;
    produce(&broker.partition(), batch(&["old"], now() - 60_000, None)).await.unwrap();
    broker.engine.flush().await.unwrap();
    broker.image.set("retention.ms", "30000");
    broker.image.is_coordinators.store(true, Ordering::SeqCst);
    assert_eq!(broker.partitions.sweep_retention().await, 0);
    broker.image.is_coordinators.store(false, Ordering::SeqCst);
    assert_eq!(broker.partitions.sweep_retention().await, 1);
}

/// Counts what is logged as a warning or worse.
#[derive(Clone, Default)]
struct Warnings(Arc<AtomicU64>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// There may be a hundred thousand partitions to say it of.
#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_the_end_of_the_log_cuts_off_says_nothing_of_each_partition() {
    let mut cluster = Cluster::new();
    let broker = cluster.start().await;
    produce(&broker.partition(), batch(&["old"], now() - 60_000, Some((9, 0, 0)))).await.unwrap();
    // What recovery commits comes without a checkpoint, so that a trim asks for one.
    let broker = cluster.start().await;
    broker.image.set("retention.ms", "30000");
    broker.engine.drain().await.unwrap();
    let warnings = Warnings::default();
    let told = tracing::subscriber::set_default(warnings.clone());
    assert_eq!(broker.partitions.sweep_retention().await, 0);
    drop(told);
    assert_eq!(warnings.0.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_longer_retention_holds_for_what_a_sweep_has_found_due_before_it_was_set() {
    // What was found due is looked at again before producers are loaded for it, and before it is trimmed.
    for asked_before in 1..=5 {
        let mut cluster = Cluster::new();
        let broker = cluster.start().await;
        produce(&broker.partition(), batch(&["old"], now() - 60_000, Some((9, 0, 0)))).await.unwrap();
        // What recovery commits comes without a checkpoint.
        let broker = cluster.start().await;
        let of = |limit: &str| TopicSettings::from([("retention.ms".to_owned(), limit.to_owned())]);
        *broker.image.settings.lock() = of("30000");
        let then = (1..asked_before).map(|_| of("30000")).chain([of("3600000")]);
        broker.image.later.lock().extend(then);
        let trimmed = broker.partitions.sweep_retention().await;
        let start = broker.partition().log_start().0;
        let asked = broker.image.asked.lock().len();
        if asked_before < 5 {
            assert_eq!((trimmed, start), (0, 0), "{asked_before}");
        } else {
            assert_eq!(
                (trimmed, start, asked),
                (1, 1, 5),
                "asked by the sweep, before the load, twice at the opening for they changed meanwhile, at the end"
            );
        }
    }
}

/// Producers that a newer release wrote down, with transactions that this one knows nothing of.
struct Newer;

impl CheckpointSource for Newer {
    fn freeze(&self, end: &mut dyn FnMut() -> Offset) -> Option<Box<dyn FrozenState>> {
        Some(Box::new(NewerState(end())))
    }
}

struct NewerState(Offset);

impl FrozenState for NewerState {
    fn bytes(&self) -> u64 {
        28
    }

    fn encode(self: Box<Self>) -> Bytes {
        let mut bytes = vec![0; 8];
        bytes.extend(self.0.0.to_be_bytes());
        bytes.extend(1_u32.to_be_bytes());
        bytes.extend([0; 24]);
        bytes.extend(base::checksum::crc32c(&bytes).to_be_bytes());
        bytes.into()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_a_newer_release_can_read_is_neither_made_anew_nor_trimmed_before_it_was_read() {
    let mut cluster = Cluster::new();
    let broker = cluster.start().await;
    let log = broker.partition();
    let newer: Arc<dyn CheckpointSource> = Arc::new(Newer);
    broker.engine.open(log.stream_id(), log.leader_epoch(), Some(Arc::downgrade(&newer))).unwrap();
    let old = now() - 60_000;
    produce(&log, batch(&["told"], old, Some((9, 0, 0)))).await.unwrap();
    broker.engine.flush().await.unwrap();
    produce(&log, batch(&["untold"], old, Some((9, 0, 1)))).await.unwrap();
    let broker = cluster.start().await;
    let log = broker.partition();
    let refused = produce(&log, batch(&["x"], now(), Some((9, 0, 1)))).await.unwrap_err();
    assert!(refused.to_string().contains("upgrade"), "{refused}");
    assert_eq!(log.delete_records(2).await.unwrap_err().code(), 56);
    broker.image.settings.lock().insert("retention.ms".into(), "30000".into());
    broker.told(Change::TopicSettings(TOPIC));
    assert_eq!(broker.partitions.sweep_retention().await, 1, "what the checkpoint tells goes");
    assert_eq!(log.log_start(), Offset(1));
    assert_eq!(broker.partitions.sweep_retention().await, 0);
    assert_eq!(values(&log, 1).await, [(1, "untold".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_can_never_be_read_again_do_not_stop_retention() {
    let mut cluster = Cluster::new();
    let broker = cluster.start().await;
    produce(&broker.partition(), batch(&["old"], now() - 60_000, Some((9, 0, 0)))).await.unwrap();
    let broker = cluster.start().await;
    for object in cluster.store.list_all(Purpose::Scrub, "").await.unwrap() {
        let mut bytes = cluster.store.get(Purpose::Scrub, &object.key, ..).await.unwrap().to_vec();
        bytes.iter_mut().for_each(|byte| *byte ^= 1);
        cluster.store.put(Purpose::Scrub, &object.key, Bytes::from(bytes)).await.unwrap();
    }
    broker.image.settings.lock().insert("retention.ms".into(), "30000".into());
    assert_eq!(broker.partitions.sweep_retention().await, 1);
    let log = broker.partition();
    assert_eq!(log.log_start(), Offset(1));
    // Behind them the log is whole again.
    let next = produce(&log, batch(&["new"], now(), Some((9, 0, 1)))).await.unwrap();
    assert_eq!(next.base_offset, Offset(1));
}

/// As Kafka 3.9.2 and 4.4.0, which then go by the time of the segment's file.
#[tokio::test(flavor = "multi_thread")]
async fn records_without_timestamps_expire_by_the_time_at_which_they_were_written() {
    let mut cluster = Cluster::new();
    let broker = cluster.start().await;
    let log = broker.partition();
    produce(&log, stamped(&[-1, -1])).await.unwrap();
    broker.engine.flush().await.unwrap();
    let set = |value: &str| {
        broker.image.settings.lock().insert("retention.ms".into(), value.into());
        broker.told(Change::TopicSettings(TOPIC));
    };
    set("600000");
    assert_eq!(broker.partitions.sweep_retention().await, 0, "just written");
    set("1");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(broker.partitions.sweep_retention().await, 1);
    assert_eq!(log.log_start(), Offset(2));
}

/// Runs on one thread, so that any other is not the runtime's.
#[tokio::test]
async fn a_retention_sweep_asks_once_for_a_topics_settings_and_not_on_a_thread_that_serves_clients() {
    let mut cluster = Cluster::new();
    let broker = cluster.start().await;
    assert_eq!(broker.partitions.sweep_retention().await, 0);
    let asked = broker.image.asked.lock().clone();
    assert_eq!(asked.len(), 1, "for two partitions of one topic");
    assert_ne!(asked[0], thread::current().id());
}

/// Cuts are resolved on another thread than appends are made and become durable on.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_checkpoint_made_while_appends_go_on_tells_exactly_what_lies_below_its_end() {
    const PRODUCERS: usize = 4;
    let mut cluster = Cluster::new();
    let broker = cluster.start().await;
    let log = broker.partition();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..PRODUCERS as i64)
        .map(|id| {
            let (log, stop) = (log.clone(), stop.clone());
            base::task::spawn("producer", async move {
                let mut sequence = 0;
                while !stop.load(Ordering::Relaxed) {
                    let mut flying = Vec::new();
                    for _ in 0..5 {
                        let records = batch(&["v"], now(), Some((id, 0, sequence)));
                        flying.push(append(&log, records, AppendOptions::client()).await.unwrap().durable);
                        sequence += 1;
                    }
                    for durable in flying {
                        durable.await.unwrap();
                    }
                }
            })
        })
        .collect();
    let stream = broker.engine.open(log.stream_id(), log.leader_epoch(), None).unwrap();
    let (mut at, mut written, mut told) = (0, [0; PRODUCERS], 0);
    while told < 30 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        broker.engine.flush().await.unwrap();
        let Some((end, bytes)) = stream.last_checkpoint().await.unwrap() else { continue };
        told += usize::from(end.0 > at);
        while at < end.0 {
            let result = read(&log, at as i64).await.unwrap();
            for batch in batches(&result.slices.concat().into()) {
                let header = batch.unwrap().header;
                if (at..end.0).contains(&(header.last_offset() as u64)) {
                    written[header.producer_id as usize] += 1;
                }
            }
            at = result.range.end.0.min(end.0);
        }
        let restored = Producers::from_checkpoint(&bytes, end).unwrap();
        for (producer_id, &next) in (0..).zip(&written) {
            let verdict = |base_sequence| {
                let batch = Identity { producer_id, epoch: 0, base_sequence, last_offset_delta: 0 };
                restored.check(batch, Origin::Client, TimestampMs(now()), i64::MAX)
            };
            assert_eq!(verdict(next), Ok(Verdict::Fresh), "producer {producer_id} at {end}");
            assert!(next == 0 || matches!(verdict(next - 1), Ok(Verdict::Duplicate(_))));
        }
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
}
