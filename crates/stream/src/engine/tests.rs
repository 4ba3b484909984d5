mod beside;
mod checkpoints;
mod cuts;
mod ends;
mod halt;
mod recovery;
mod room;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base::memory::Budget;
use base::{BrokerId, Clock, Incarnation, Offset, OffsetRange, StreamEpoch, StreamId, TimestampMs, WalPosition};
use blob::Store;
use bytes::Bytes;
use tokio::sync::oneshot;

use super::*;
use crate::Fragments;
use crate::catalogue::local::LocalCatalogue;
use crate::catalogue::{StateBelow, TrimRequest, WalPlace};
use crate::read::{ReadFor, WantedRead};
use crate::wal::{Access, BlockLog, BlockLogOptions, Claim};

const BROKER: BrokerId = BrokerId(1);
const KIB: u64 = 1024;

fn small() -> EngineOptions {
    EngineOptions {
        log_cache_bytes: 256 * KIB,
        block_cache_bytes: 64 * KIB,
        upload_bytes: 32 * KIB,
        upload_interval: Duration::from_secs(3600),
        block_bytes: 4 * 1024,
        stream_object_bytes: 16 * KIB,
        // A checkpoint with every cut.
        checkpoint_bytes: 0,
        ..EngineOptions::default()
    }
}

/// Everything that outlives a broker process.
struct Durable {
    store: Store,
    catalogue: LocalCatalogue,
    clock: Clock,
    dir: tempfile::TempDir,
}

impl Durable {
    fn new() -> Self {
        let clock = Clock::system();
        let catalogue = LocalCatalogue::new(clock.clone());
        Self { store: Store::memory(), catalogue, clock, dir: tempfile::tempdir().unwrap() }
    }

    fn log(&self) -> Arc<BlockLog> {
        // A killed predecessor's threads let go of the directory's lock a moment later.
        loop {
            match BlockLog::open(log_options(self.dir.path())) {
                Ok(log) => return Arc::new(log),
                Err(crate::wal::WalError::InUse { .. }) => std::thread::sleep(Duration::from_millis(5)),
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// A broker process: registers, recovers what its predecessors left, opens its own log.
    async fn start(&self, options: EngineOptions) -> Running {
        let log = self.log();
        let (me, former) = self.catalogue.register(BROKER).unwrap();
        let client: Arc<dyn CatalogueClient> = Arc::new(self.catalogue.clone());
        let engine = Engine::new(options, self.store.clone(), client.clone(), me, self.clock.clone());
        for incarnation in former {
            let from = client.view().incarnation(incarnation).unwrap().committed;
            let recovered = engine.recover(&log, incarnation, from, &memory()).await.unwrap();
            client.recovered(incarnation, me, recovered.end).await.unwrap();
            log.remove(incarnation, Claim::Cluster("test-cluster")).unwrap();
        }
        self.catalogue.update(|image| image.adopt_orphans(me, usize::MAX)).unwrap();
        let wal = log.create(me, "test-cluster", engine.sink()).unwrap();
        self.catalogue.open_incarnation(me, WalPlace { kind: 0, location: "test".into() }).unwrap();
        engine.attach(wal).unwrap();
        Running { engine, me }
    }
}

fn log_options(dir: &Path) -> BlockLogOptions {
    let mut options = BlockLogOptions::new(dir, Access::Owner);
    options.segment_bytes = 256 * 1024;
    options.capacity_bytes = 1024 * 1024;
    options
}

struct Running {
    engine: Engine,
    me: Incarnation,
}

impl Running {
    fn open(&self, stream: StreamId) -> Stream {
        let epoch = self.engine.catalogue().stream(stream).unwrap().epoch;
        self.engine.open(stream, epoch, None).unwrap()
    }

    async fn append(&self, stream: &Stream, base: u64, payload: &[u8]) -> Result<(), Fenced> {
        self.enqueue(stream, base, payload).await.await.unwrap()
    }

    async fn enqueue(&self, stream: &Stream, base: u64, payload: &[u8]) -> oneshot::Receiver<Result<(), Fenced>> {
        self.enqueue_at(stream, base, base as i64 * 10, payload).await
    }

    async fn enqueue_at(
        &self,
        stream: &Stream,
        base: u64,
        timestamp: i64,
        payload: &[u8],
    ) -> oneshot::Receiver<Result<(), Fenced>> {
        let room = self.engine.reserve(payload.len() as u64).await;
        let (done, acknowledged) = oneshot::channel();
        stream.append(NewEntry {
            range: OffsetRange::new(Offset(base), Offset(base + 1)),
            max_timestamp: TimestampMs(timestamp),
            payload: Fragments::from_elem(Bytes::copy_from_slice(payload), 1),
            room: Some(room),
            done: Box::new(move |result| {
                let _ = done.send(result);
            }),
        });
        acknowledged
    }

    /// The process dies: nothing is drained.
    fn kill(self) {
        drop(self.engine.inner.log.detach());
        self.engine.inner.fail("killed");
    }
}

fn payload(i: u64, bytes: usize) -> Vec<u8> {
    format!("{i:>8}|").into_bytes().into_iter().cycle().take(bytes).collect()
}

async fn read_all(stream: &Stream) -> Vec<Vec<u8>> {
    let (mut from, mut out) = (stream.start(), Vec::new());
    while from < stream.durable_end() {
        let got = stream.fetch(from, stream.durable_end(), 1, true).await.unwrap();
        assert_eq!(got.range.start, from);
        assert!(!got.range.is_empty(), "a fetch below the end returned nothing");
        out.push(got.slices.concat());
        from = got.range.end;
    }
    out
}

/// Tells each append when it is durable.
struct Telling;

impl crate::wal::DurableSink<oneshot::Sender<()>> for Telling {
    fn durable(&mut self, group: crate::wal::Group<oneshot::Sender<()>>) {
        for (_, token) in group.tokens {
            token.send(()).unwrap();
        }
    }

    fn failed(&mut self, error: crate::wal::WalFailure) {
        panic!("{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_are_read_back_from_cache_and_from_objects() {
    let durable = Durable::new();
    let broker = durable.start(small()).await;
    let ids = durable.catalogue.create_streams(3, broker.me).unwrap();
    let streams: Vec<Stream> = ids.iter().map(|id| broker.open(*id)).collect();
    let mut acks = Vec::new();
    for i in 0..600 {
        let stream = &streams[(i % 3) as usize];
        acks.push(broker.enqueue(stream, i / 3, &payload(i, 700)).await);
    }
    for ack in acks {
        ack.await.unwrap().unwrap();
    }
    broker.engine.flush().await.unwrap();
    for (s, stream) in streams.iter().enumerate() {
        let all = read_all(stream).await;
        assert_eq!(all.len(), 200);
        for (i, bytes) in all.iter().enumerate() {
            assert_eq!(*bytes, payload(i as u64 * 3 + s as u64, 700));
        }
        assert_eq!(durable.catalogue.view().stream(stream.id()).unwrap().end, Offset(200));
    }
    // Larger reads return whole entries up to the size, across blocks and objects.
    let run = streams[0].fetch(Offset(7), Offset(200), 50_000, true).await.unwrap();
    assert_eq!(run.range.start, Offset(7));
    assert!(run.bytes <= 50_000 && run.range.end > Offset(20), "{run:?}");
    let expected: Vec<u8> = (7..run.range.end.0).flat_map(|i| payload(i * 3, 700)).collect();
    assert_eq!(run.slices.concat(), expected);
    // Time look-ups find the first entry that is late enough.
    let found = streams[1].find_timestamp(Offset(0), TimestampMs(555), Offset(200)).await.unwrap().unwrap();
    assert_eq!(found.start, Offset(56));
    assert_eq!(streams[1].max_timestamp(Offset(200)).await.unwrap().unwrap().0, TimestampMs(1990));
}

/// Whatever kept the data out of the stream, the log is the last that has it.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_of_which_the_catalogue_would_take_nothing_stops_the_engine_and_stays_in_the_log() {
    let durable = Durable::new();
    let broker = durable.start(small()).await;
    let ids = durable.catalogue.create_streams(1, broker.me).unwrap();
    let stream = broker.open(ids[0]);
    broker.append(&stream, 0, &payload(0, 700)).await.unwrap();
    // Closed behind its owner's back: a commit skips what its sender does not own.
    durable.catalogue.update(|image| image.close_stream(ids[0], stream.epoch())).unwrap().unwrap();
    let why = broker.engine.flush().await.unwrap_err();
    assert!(why.to_string().contains("stays in the write-ahead log"), "{why}");
    let view = durable.catalogue.view();
    assert_eq!(view.stream(ids[0]).unwrap().end, Offset(0));
    assert_eq!(view.incarnation(broker.me).unwrap().committed, WalPosition(0), "a recovery begins there");
    drop(stream);
    let dead = broker.me;
    broker.kill();
    // Recoveries refuse as well, however often one is tried; the log stays.
    for _ in 0..2 {
        let (me, _) = durable.catalogue.register(BROKER).unwrap();
        let client: Arc<dyn CatalogueClient> = Arc::new(durable.catalogue.clone());
        let taker = Engine::new(small(), durable.store.clone(), client, me, durable.clock.clone());
        let from = durable.catalogue.view().incarnation(dead).unwrap().committed;
        let error = taker.recover(&durable.log(), dead, from, &memory()).await.unwrap_err();
        assert!(error.to_string().contains("stays in the write-ahead log"), "{error}");
    }
    let view = durable.catalogue.view();
    assert_eq!(view.incarnation(dead).unwrap().committed, WalPosition(0));
    durable.catalogue.update(|image| image.delete_streams(&ids)).unwrap();
    // A deleted stream's data may go.
    let next = durable.start(small()).await;
    let ids = durable.catalogue.create_streams(1, next.me).unwrap();
    next.append(&next.open(ids[0]), 0, &payload(0, 700)).await.unwrap();
    durable.catalogue.update(|image| image.delete_streams(&ids)).unwrap();
    next.engine.flush().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequential_reader_loads_a_backlog_larger_than_the_cache_once() {
    const MIB: u64 = 1024 * KIB;
    let durable = Durable::new();
    let options = EngineOptions {
        log_cache_bytes: 16 * MIB,
        block_cache_bytes: 8 * MIB,
        upload_bytes: 4 * MIB,
        stream_object_bytes: MIB,
        block_bytes: 32 * KIB as usize,
        read_ahead_bytes_min: 64 * KIB,
        read_ahead_bytes_max: 512 * KIB,
        ..small()
    };
    let broker = durable.start(options.clone()).await;
    let ids = durable.catalogue.create_streams(1, broker.me).unwrap();
    let stream = broker.open(ids[0]);
    let written: u64 = 24 * MIB;
    for i in 0..written / (16 * KIB) {
        broker.append(&stream, i, &payload(i, 16 * KIB as usize)).await.unwrap();
    }
    broker.engine.drain().await.unwrap();

    let broker = durable.start(options).await;
    let stream = broker.open(ids[0]);
    let before = read_bytes(&durable.store);
    let (mut from, mut read) = (stream.start(), 0);
    while from < stream.durable_end() {
        let got = stream.fetch(from, stream.durable_end(), 500_000, true).await.unwrap();
        (from, read) = (got.range.end, read + got.bytes as u64);
    }
    assert_eq!(read, written);
    // Of every object its end is read for the index.
    let ends = 64 * KIB * stream.extents().uploaded.len() as u64;
    let loaded = read_bytes(&durable.store) - before;
    assert!(loaded < written + ends + written / 20, "{loaded} bytes were loaded for {written} and {ends} of indexes");
}

fn read_bytes(store: &Store) -> u64 {
    store.counters().rows.iter().filter(|r| r.purpose == blob::Purpose::Read).map(|r| r.bytes).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_kill_and_appends_go_on() {
    let durable = Durable::new();
    let (mut id, mut next) = (None, 0);
    for round in 0..4 {
        let broker = durable.start(small()).await;
        let id = *id.get_or_insert_with(|| durable.catalogue.create_streams(1, broker.me).unwrap()[0]);
        let stream = broker.open(id);
        assert_eq!(stream.durable_end(), Offset(next), "round {round}");
        for i in 0..100 {
            broker.append(&stream, next + i, &payload(next + i, 900)).await.unwrap();
        }
        next += 100;
        let all = read_all(&stream).await;
        assert!(all.iter().enumerate().all(|(i, bytes)| *bytes == payload(i as u64, 900)));
        assert_eq!(all.len() as u64, next);
        broker.kill();
    }
    let broker = durable.start(small()).await;
    let stream = broker.open(id.unwrap());
    assert_eq!(stream.epochs().len(), 5, "every tenure begins an epoch");
    assert_eq!(read_all(&stream).await.len() as u64, next);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_broker_leaves_everything_in_the_store() {
    let durable = Durable::new();
    let broker = durable.start(small()).await;
    let id = durable.catalogue.create_streams(1, broker.me).unwrap()[0];
    let stream = broker.open(id);
    for i in 0..10 {
        broker.append(&stream, i, b"kept").await.unwrap();
    }
    broker.engine.drain().await.unwrap();
    assert!(durable.catalogue.view().incarnation(broker.me).unwrap().phase.is_final());
    drop((stream, broker));
    std::fs::remove_dir_all(durable.dir.path()).unwrap();
    std::fs::create_dir_all(durable.dir.path()).unwrap();
    let broker = durable.start(small()).await;
    assert_eq!(read_all(&broker.open(id)).await, vec![b"kept".to_vec(); 10]);
}

/// `models/drain.py`, "removed: no acknowledgement after RECOVERED was sent", "removed: everything acknowledged is
/// committed first".
#[tokio::test(flavor = "multi_thread")]
async fn drain_ends_where_the_last_acknowledged_record_ends() {
    let durable = Durable::new();
    let broker = durable.start(small()).await;
    let id = durable.catalogue.create_streams(1, broker.me).unwrap()[0];
    let stream = broker.open(id);
    let appending = async {
        let mut acknowledged = 0;
        while let Ok(Ok(())) = broker.enqueue(&stream, acknowledged, b"some").await.await {
            acknowledged += 1;
        }
        acknowledged
    };
    let draining = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        broker.engine.drain().await
    };
    let (acknowledged, drained) = tokio::join!(appending, draining);
    drained.unwrap();
    assert!(acknowledged > 0);
    assert_eq!(durable.catalogue.view().stream(id).unwrap().end, Offset(acknowledged));
    let late = broker.enqueue(&stream, acknowledged, b"late").await.await;
    assert!(!matches!(late, Ok(Ok(()))), "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_cache_slows_appends_and_fails_none() {
    let durable = Durable::new();
    let broker = durable.start(small()).await;
    let id = durable.catalogue.create_streams(1, broker.me).unwrap()[0];
    let stream = broker.open(id);
    // Eight times the cache goes through it.
    for i in 0..64 {
        broker.append(&stream, i, &payload(i, 32 * 1024)).await.unwrap();
        let (used, limit) = broker.engine.log_cache();
        assert!(used <= limit);
    }
    assert_eq!(read_all(&stream).await.len(), 64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buffer_is_charged_whole_until_its_last_slice_has_left_the_cache() {
    let durable = Durable::new();
    let broker = durable.start(small()).await;
    let ids = durable.catalogue.create_streams(2, broker.me).unwrap();
    let streams = [broker.open(ids[0]), broker.open(ids[1])];
    let buffer = Bytes::from(payload(0, 100 * 1024));
    let used = || broker.engine.log_cache().0;
    let append = async |stream: &Stream, range: std::ops::Range<usize>, room: Room| {
        let (done, acknowledged) = oneshot::channel();
        stream.append(NewEntry {
            range: OffsetRange::new(stream.durable_end(), stream.durable_end() + 1),
            max_timestamp: TimestampMs(0),
            payload: Fragments::from_elem(buffer.slice(range), 1),
            room: Some(room),
            done: Box::new(move |result| done.send(result).unwrap()),
        });
        acknowledged.await.unwrap().unwrap();
    };
    let room = broker.engine.reserve(buffer.len() as u64).await;
    append(&streams[0], 0..5_000, room.clone()).await;
    append(&streams[1], 5_000..10_000, room.clone()).await;
    drop(room);
    assert_eq!(used(), buffer.len() as u64);
    // A small slice is copied out: what it came in may go.
    let room = broker.engine.reserve(100_000).await;
    append(&streams[0], 10_000..10_100, room).await;
    let small_one = used() - buffer.len() as u64;
    assert!((100..1_000).contains(&small_one), "{small_one}");
    streams[0].shared.evict_below(Offset(1));
    assert_eq!(used(), buffer.len() as u64 + small_one, "the second stream still has a slice of it");
    streams[1].shared.evict_below(Offset(1));
    assert_eq!(used(), small_one);
}

/// The log fills by what it holds in memory, not by what is appended: slices of larger buffers.
#[tokio::test(flavor = "multi_thread")]
async fn slices_of_large_buffers_do_not_outgrow_the_cache() {
    let durable = Durable::new();
    let broker = durable.start(small()).await;
    let id = durable.catalogue.create_streams(1, broker.me).unwrap()[0];
    let stream = broker.open(id);
    let work = async {
        for i in 0..64 {
            let buffer = Bytes::from(payload(i, 64 * 1024));
            let room = broker.engine.reserve(buffer.len() as u64).await;
            let (done, acknowledged) = oneshot::channel();
            stream.append(NewEntry {
                range: OffsetRange::new(Offset(i), Offset(i + 1)),
                max_timestamp: TimestampMs(0),
                payload: Fragments::from_elem(buffer.slice(..4096), 1),
                room: Some(room),
                done: Box::new(move |result| done.send(result).unwrap()),
            });
            acknowledged.await.unwrap().unwrap();
            let (used, limit) = broker.engine.log_cache();
            assert!(used <= limit);
        }
    };
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("room is made");
    assert_eq!(read_all(&stream).await.len(), 64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_broker_acknowledges_nothing_more() {
    let durable = Durable::new();
    let broker = durable.start(small()).await;
    let id = durable.catalogue.create_streams(1, broker.me).unwrap()[0];
    let stream = broker.open(id);
    broker.append(&stream, 0, b"before").await.unwrap();
    BlockLog::open(BlockLogOptions::new(durable.dir.path(), Access::Taker)).unwrap().fence(broker.me).unwrap();
    let outcome = broker.enqueue(&stream, 1, b"after").await.await;
    assert!(!matches!(outcome, Ok(Ok(()))), "an append was acknowledged behind the fence");
    let why = broker.engine.failed().await;
    assert!(why.to_string().contains("fenced"), "{why}");
    assert_eq!(stream.durable_end(), Offset(1), "readers must not see it either");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trim_by_way_of_the_catalogue_moves_the_start_of_an_open_stream() {
    let durable = Durable::new();
    let broker = durable.start(small()).await;
    let id = durable.catalogue.create_streams(1, broker.me).unwrap()[0];
    let stream = broker.open(id);
    for i in 0..10 {
        broker.append(&stream, i, b"x").await.unwrap();
    }
    broker.engine.flush().await.unwrap();
    let trim = TrimRequest { stream: id, epoch: stream.epoch(), start: Offset(10), state: StateBelow::NotKept };
    durable.catalogue.trim(vec![trim]).await.unwrap()[0].clone().unwrap();
    assert_eq!(stream.start(), Offset(10));
    // One that was let through before the trim, and finds the extents gone.
    let inner = &broker.engine.inner;
    let wanted = WantedRead { limit: Offset(10), max_bytes: 100, min_one: true, reads_for: ReadFor::Clients };
    let raced = inner.reader.fetch(&*inner.catalogue, &stream.shared, Offset(3), wanted).await;
    assert!(matches!(raced, Err(FetchError::OutOfRange { .. })), "{raced:?}");
    assert!(matches!(stream.fetch(Offset(3), Offset(10), 100, true).await, Err(FetchError::OutOfRange { .. })));
}

/// Memory of one recovery.
fn memory() -> Budget {
    Budget::new(64 << 20)
}

#[tokio::test(flavor = "multi_thread")]
async fn data_of_deleted_streams_does_not_fill_the_log() {
    let durable = Durable::new();
    let broker = durable.start(small()).await;
    // Four times the log's capacity.
    let work = async {
        for _ in 0..128 {
            let id = durable.catalogue.create_streams(1, broker.me).unwrap()[0];
            let stream = broker.open(id);
            let outcome = broker.enqueue(&stream, 0, &payload(0, 32 * 1024)).await;
            durable.catalogue.update(|image| image.delete_streams(&[id])).unwrap();
            broker.engine.forget(&[id]);
            // Acknowledged or not: it is in the log.
            let _ = outcome.await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("the log is emptied");
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_streams_are_not_kept_by_the_cuts_they_were_in() {
    let durable = Durable::new();
    let broker = durable.start(small()).await;
    let mut deleted = Vec::new();
    for n in 0..5 {
        let id = durable.catalogue.create_streams(1, broker.me).unwrap()[0];
        let stream = broker.open(id);
        broker.enqueue(&stream, 0, b"x").await.await.unwrap().unwrap();
        broker.engine.flush().await.unwrap();
        deleted.push(Arc::downgrade(&stream.shared));
        drop(stream);
        broker.engine.forget(&[id]);
        assert!(n == 0 || deleted[n - 1].upgrade().is_none(), "kept after the next cut");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn small_groups_are_cut_by_what_they_take_of_the_log() {
    let durable = Durable::new();
    let options = EngineOptions { upload_interval: Duration::from_secs(100_000), ..small() };
    let broker = durable.start(options).await;
    let id = durable.catalogue.create_streams(1, broker.me).unwrap()[0];
    let stream = broker.open(id);
    // A page of the log each, a third of it in all.
    for base in 0..100 {
        broker.enqueue(&stream, base, b"x").await.await.unwrap().unwrap();
    }
    tokio::time::timeout(Duration::from_secs(60), async {
        while durable.catalogue.view().stream(id).unwrap().end == Offset(0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("a cut long before the log is full");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_of_more_than_half_of_the_cache_gets_its_turn() {
    let durable = Durable::new();
    let broker = durable.start(small()).await;
    let id = durable.catalogue.create_streams(1, broker.me).unwrap()[0];
    let stream = broker.open(id);
    let work = async {
        let mut acks = Vec::new();
        for base in 0..20 {
            acks.push(broker.enqueue(&stream, base, &payload(base, 150 * 1024)).await);
        }
        for ack in acks {
            ack.await.unwrap().unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("room is made");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_greatest_timestamp_is_one_that_is_kept() {
    let durable = Durable::new();
    let broker = durable.start(small()).await;
    let id = durable.catalogue.create_streams(1, broker.me).unwrap()[0];
    let stream = broker.open(id);
    for (base, timestamp) in [(0, 1000), (1, 5), (2, 700), (3, 6)] {
        broker.enqueue_at(&stream, base, timestamp, &payload(base, 5000)).await.await.unwrap().unwrap();
    }
    broker.engine.flush().await.unwrap();
    let greatest = async || stream.max_timestamp(Offset(4)).await.unwrap().unwrap();
    assert_eq!(greatest().await, (TimestampMs(1000), OffsetRange::new(Offset(0), Offset(1))));
    stream.trim_without_state(Offset(1)).await.unwrap();
    assert_eq!(greatest().await, (TimestampMs(700), OffsetRange::new(Offset(2), Offset(3))));
    broker.enqueue_at(&stream, 4, 650, b"x").await.await.unwrap().unwrap();
    assert_eq!(greatest().await.0, TimestampMs(700));
    stream.trim_without_state(Offset(3)).await.unwrap();
    assert_eq!(stream.max_timestamp(Offset(5)).await.unwrap().unwrap().0, TimestampMs(650));
}

/// Or else what they do, for as many as wait, holds up every acknowledgement of the broker.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_told_of_an_append_holds_up_no_cut_and_finds_all_of_its_group_durable() {
    let durable = Durable::new();
    let broker = durable.start(small()).await;
    let stream = broker.open(durable.catalogue.create_streams(1, broker.me).unwrap()[0]);
    let appends = [0, 1, 2].map(|base| {
        let (done, told) = oneshot::channel();
        let (shared, engine) = (stream.shared.clone(), broker.engine.clone());
        let (base, end) = (Offset(base), Offset(base + 1));
        let done: Done = Box::new(move |result| {
            let seen = (result, engine.inner.log.is_held(), shared.durable_end());
            done.send(seen).unwrap();
        });
        let payload = Fragments::from_elem(Bytes::from_static(b"x"), 1);
        let append = crate::wal::Append {
            stream: stream.id(),
            epoch: stream.epoch(),
            base,
            end,
            max_timestamp: TimestampMs(0),
            payload,
        };
        let room = Room::new(broker.engine.inner.cache.charge_existing(1));
        let pending = Pending { stream: stream.shared.clone(), bytes: 1, room: Some(room), done: Some(done) };
        ((append, pending), told)
    });
    let (tokens, told): (Vec<_>, Vec<_>) = appends.into_iter().unzip();
    let group = crate::wal::Group { tokens, start: WalPosition(0), end: WalPosition(4096) };
    crate::wal::DurableSink::durable(&mut broker.engine.sink(), group);
    for told in told {
        assert_eq!(told.await.unwrap(), (Ok(()), false, Offset(3)));
    }
}
