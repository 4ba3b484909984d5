//! Which cut takes a checkpoint, what it says, and who waits for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::ThreadId;

use super::*;

/// A state that says at which offset it was frozen, in as many bytes as it is told; and who asked for it.
#[derive(Default)]
struct State {
    bytes: AtomicU64,
    encoded: Arc<Mutex<Vec<Offset>>>,
    threads: Arc<Mutex<Vec<ThreadId>>>,
}

struct Frozen {
    end: Offset,
    bytes: u64,
    encoded: Arc<Mutex<Vec<Offset>>>,
    threads: Arc<Mutex<Vec<ThreadId>>>,
}

impl CheckpointSource for State {
    fn freeze(&self, end: &mut dyn FnMut() -> Offset) -> Option<Box<dyn FrozenState>> {
        self.threads.lock().push(std::thread::current().id());
        let (bytes, encoded) = (self.bytes.load(Ordering::Relaxed), self.encoded.clone());
        Some(Box::new(Frozen { end: end(), bytes, encoded, threads: self.threads.clone() }))
    }
}

impl FrozenState for Frozen {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn encode(self: Box<Self>) -> Bytes {
        self.threads.lock().push(std::thread::current().id());
        self.encoded.lock().push(self.end);
        let mut text = self.end.0.to_string().into_bytes();
        text.resize(text.len().max(self.bytes as usize), b' ');
        text.into()
    }
}

impl State {
    fn of(bytes: u64) -> Arc<Self> {
        Arc::new(Self { bytes: bytes.into(), ..Self::default() })
    }

    fn encoded(&self) -> usize {
        self.encoded.lock().len()
    }
}

fn open(broker: &Running, stream: StreamId, state: &Arc<State>) -> Stream {
    let weak: Weak<State> = Arc::downgrade(state);
    let epoch = broker.engine.catalogue().stream(stream).unwrap().epoch;
    broker.engine.open(stream, epoch, Some(weak)).unwrap()
}

async fn newest(stream: &Stream) -> Option<Offset> {
    let (offset, bytes) = stream.last_checkpoint().await.unwrap()?;
    assert_eq!(String::from_utf8_lossy(&bytes).trim(), offset.0.to_string());
    Some(offset)
}

async fn append_and_flush(broker: &Running, stream: &Stream, bytes: usize) {
    broker.append(stream, stream.durable_end().0, &payload(0, bytes)).await.unwrap();
    broker.engine.flush().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_describes_exactly_the_end_that_its_commit_made_durable() {
    let durable = Durable::new();
    let broker = durable.start(small()).await;
    let id = durable.catalogue.create_streams(1, broker.me).unwrap()[0];
    let state = State::of(0);
    let stream = open(&broker, id, &state);
    assert!(stream.last_checkpoint().await.unwrap().is_none());
    let mut acks = Vec::new();
    for i in 0..200 {
        acks.push(broker.enqueue(&stream, i, &payload(i, 1000)).await);
    }
    for ack in acks {
        ack.await.unwrap().unwrap();
    }
    broker.engine.flush().await.unwrap();
    let end = durable.catalogue.view().stream(id).unwrap().end;
    assert_eq!(newest(&stream).await, Some(end));
    assert!(state.encoded() >= 1);
    // Trimmed data may go; the newest checkpoint stays readable.
    stream.trim(end).await.unwrap();
    assert_eq!(newest(&stream).await, Some(end));
    assert!(matches!(stream.fetch(Offset(3), Offset(200), 100, true).await, Err(FetchError::OutOfRange { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledgement_waits_for_a_checkpoint() {
    let durable = Durable::new();
    let broker = durable.start(small()).await;
    let id = durable.catalogue.create_streams(1, broker.me).unwrap()[0];
    let state = State::of(0);
    let stream = open(&broker, id, &state);
    let acknowledging = Arc::new(Mutex::new(Vec::new()));
    for i in 0..100 {
        let room = broker.engine.reserve(4096).await;
        let (done, acknowledged) = oneshot::channel();
        let threads = acknowledging.clone();
        stream.append(NewEntry {
            range: OffsetRange::new(Offset(i), Offset(i + 1)),
            max_timestamp: TimestampMs(0),
            payload: Fragments::from_elem(Bytes::from(payload(i, 4096)), 1),
            room: Some(room),
            done: Box::new(move |result| {
                threads.lock().push(std::thread::current().id());
                done.send(result).unwrap();
            }),
        });
        acknowledged.await.unwrap().unwrap();
    }
    broker.engine.flush().await.unwrap();
    assert!(state.encoded() > 1, "cuts were made while appends went on");
    let acknowledging = acknowledging.lock();
    assert!(!state.threads.lock().iter().any(|thread| acknowledging.contains(thread)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_state_is_not_written_for_few_records() {
    let durable = Durable::new();
    let broker = durable.start(EngineOptions { checkpoint_bytes: 8 * KIB, checkpoint_cuts: 1000, ..small() }).await;
    let id = durable.catalogue.create_streams(1, broker.me).unwrap()[0];
    let state = State::of(4 * KIB);
    let stream = open(&broker, id, &state);
    for i in 1..=80 {
        append_and_flush(&broker, &stream, 1024).await;
        // Once when it is worth looking at, then for eight times its own bytes.
        assert_eq!(state.encoded(), if i < 8 { 0 } else { 1 + (i - 8) / 32 }, "after {i} KiB");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_replayed_beside_a_checkpoint_lies_in_few_objects() {
    let durable = Durable::new();
    let options = EngineOptions { checkpoint_bytes: u64::MAX, checkpoint_cuts: 4, ..small() };
    let broker = durable.start(options.clone()).await;
    let id = durable.catalogue.create_streams(1, broker.me).unwrap()[0];
    let state = State::of(0);
    let stream = open(&broker, id, &state);
    for _ in 0..10 {
        append_and_flush(&broker, &stream, 10).await;
    }
    assert_eq!(*state.encoded.lock(), [Offset(4), Offset(8)]);
    // What one owner left counts for the next.
    drop(stream);
    broker.engine.drain().await.unwrap();
    let broker = durable.start(options).await;
    let stream = open(&broker, id, &state);
    append_and_flush(&broker, &stream, 10).await;
    assert_eq!(newest(&stream).await, Some(Offset(8)));
    append_and_flush(&broker, &stream, 10).await;
    assert_eq!(newest(&stream).await, Some(Offset(12)));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_cut_spends_little_on_checkpoints_and_every_stream_has_its_turn() {
    const STREAMS: usize = 9;
    let durable = Durable::new();
    let broker = durable.start(EngineOptions { checkpoint_cut_bytes: 3 * KIB, checkpoint_cuts: 3, ..small() }).await;
    let ids = durable.catalogue.create_streams(STREAMS, broker.me).unwrap();
    let states: Vec<_> = ids.iter().map(|_| State::of(KIB)).collect();
    let streams: Vec<_> = ids.iter().zip(&states).map(|(id, state)| open(&broker, *id, state)).collect();
    for round in 1..=6 {
        for stream in &streams {
            broker.append(stream, stream.durable_end().0, b"x").await.unwrap();
        }
        broker.engine.flush().await.unwrap();
        assert_eq!(states.iter().map(|state| state.encoded()).sum::<usize>(), 3 * round);
    }
    assert!(states.iter().all(|state| state.encoded() == 2), "each had its turn twice");
    let (used, _) = broker.engine.log_cache();
    broker.engine.flush().await.unwrap();
    assert!(used < 9 * 6 * 400, "checkpoints are charged only while they are written: {used}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_outlives_the_records_that_made_it() {
    let durable = Durable::new();
    let options = EngineOptions { checkpoint_bytes: u64::MAX, checkpoint_cuts: 1000, ..small() };
    let broker = durable.start(options).await;
    let id = durable.catalogue.create_streams(1, broker.me).unwrap()[0];
    let state = State::of(0);
    let stream = open(&broker, id, &state);
    append_and_flush(&broker, &stream, 10).await;
    assert_eq!(newest(&stream).await, None);
    stream.trim(Offset(1)).await.unwrap();
    assert_eq!(newest(&stream).await, Some(Offset(1)), "though nothing was appended");
    broker.engine.flush().await.unwrap();
    assert_eq!(state.encoded(), 1);
    // What is not uploaded yet is uploaded with the state.
    broker.append(&stream, 1, b"x").await.unwrap();
    stream.trim(Offset(2)).await.unwrap();
    assert_eq!(newest(&stream).await, Some(Offset(2)));
    assert_eq!(durable.catalogue.view().stream(id).unwrap().start, Offset(2));
}

/// A state that is not known, as it is before it was loaded.
struct Unknown;

impl CheckpointSource for Unknown {
    fn freeze(&self, _: &mut dyn FnMut() -> Offset) -> Option<Box<dyn FrozenState>> {
        None
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_whose_state_nobody_can_tell_are_not_trimmed() {
    let durable = Durable::new();
    let broker = durable.start(small()).await;
    let ids = durable.catalogue.create_streams(2, broker.me).unwrap();
    let source: Arc<dyn CheckpointSource> = Arc::new(Unknown);
    let epoch = broker.engine.catalogue().stream(ids[0]).unwrap().epoch;
    let unknown = broker.engine.open(ids[0], epoch, Some(Arc::downgrade(&source))).unwrap();
    for stream in [unknown, broker.open(ids[1])] {
        append_and_flush(&broker, &stream, 10).await;
        stream.trim(Offset(1)).await.unwrap_err();
        assert_eq!(durable.catalogue.view().stream(stream.id()).unwrap().start, Offset(0));
        stream.trim_without_state(Offset(1)).await.unwrap();
        assert_eq!(durable.catalogue.view().stream(stream.id()).unwrap().start, Offset(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_for_which_a_cut_had_nothing_left_comes_with_the_next_though_nothing_is_appended() {
    const STREAMS: usize = 4;
    let durable = Durable::new();
    let broker = durable.start(EngineOptions { checkpoint_cut_bytes: KIB, ..small() }).await;
    let ids = durable.catalogue.create_streams(STREAMS, broker.me).unwrap();
    let states: Vec<_> = ids.iter().map(|_| State::of(KIB)).collect();
    let streams: Vec<_> = ids.iter().zip(&states).map(|(id, state)| open(&broker, *id, state)).collect();
    for stream in &streams {
        broker.append(stream, 0, b"x").await.unwrap();
    }
    for cuts in 1..=STREAMS {
        broker.engine.flush().await.unwrap();
        assert_eq!(states.iter().map(|state| state.encoded()).sum::<usize>(), cuts);
    }
    broker.engine.flush().await.unwrap();
    assert!(states.iter().all(|state| state.encoded() == 1), "and then no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn trims_at_once_wait_for_what_a_cut_spends_on_checkpoints() {
    const STREAMS: usize = 6;
    let durable = Durable::new();
    let options =
        EngineOptions { checkpoint_bytes: u64::MAX, checkpoint_cuts: 1000, checkpoint_cut_bytes: KIB, ..small() };
    let broker = durable.start(options).await;
    let ids = durable.catalogue.create_streams(STREAMS, broker.me).unwrap();
    let states: Vec<_> = ids.iter().map(|_| State::of(KIB)).collect();
    let streams: Vec<_> = ids.iter().zip(&states).map(|(id, state)| open(&broker, *id, state)).collect();
    for stream in &streams {
        broker.append(stream, 0, b"x").await.unwrap();
    }
    let trims = futures::future::join_all(streams.iter().map(|stream| stream.trim(Offset(1)))).await;
    assert!(trims.iter().all(Result::is_ok), "{trims:?}");
}

/// Somebody who deletes records often would else have everybody's state written, and an object for everybody, each time.
#[tokio::test(flavor = "multi_thread")]
async fn a_trim_uploads_its_own_stream_and_brings_no_other_nearer_to_a_checkpoint() {
    let durable = Durable::new();
    let options = EngineOptions { checkpoint_bytes: u64::MAX, checkpoint_cuts: 2, ..small() };
    let broker = durable.start(options).await;
    let ids = durable.catalogue.create_streams(2, broker.me).unwrap();
    let states = [State::of(0), State::of(0)];
    let (trimmed, other) = (open(&broker, ids[0], &states[0]), open(&broker, ids[1], &states[1]));
    let end = |id| durable.catalogue.view().stream(id).unwrap().end;
    for round in 1..=4 {
        broker.append(&other, round - 1, b"x").await.unwrap();
        broker.append(&trimmed, round - 1, b"x").await.unwrap();
        trimmed.trim(Offset(round)).await.unwrap();
        assert_eq!((end(ids[0]), end(ids[1])), (Offset(round), Offset(0)));
    }
    assert_eq!((states[0].encoded(), states[1].encoded()), (4, 0));
    // What went ahead is neither lost to the log's place nor there twice.
    broker.engine.flush().await.unwrap();
    assert_eq!((end(ids[1]), states[1].encoded()), (Offset(4), 0));
    assert_eq!(broker.engine.inner.log.wal().unwrap().backlog(), 0);
    assert_eq!(read_all(&other).await.len(), 4);
    drop((trimmed, other));
    broker.kill();
    let broker = durable.start(small()).await;
    assert_eq!(read_all(&broker.open(ids[1])).await.len(), 4);
}

/// A crash between a cut ahead of its turn and the one that covers its place in the log.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_cut_ahead_of_its_turn_is_known_at_recovery() {
    let durable = Durable::new();
    let broker = durable.start(small()).await;
    let ids = durable.catalogue.create_streams(2, broker.me).unwrap();
    let state = State::of(0);
    let (trimmed, other) = (open(&broker, ids[0], &state), broker.open(ids[1]));
    for i in 0..4 {
        broker.append(&other, i, &payload(i, 100)).await.unwrap();
        broker.append(&trimmed, i, &payload(i, 100)).await.unwrap();
        if i == 1 {
            trimmed.trim(Offset(1)).await.unwrap();
        }
    }
    let position = durable.catalogue.view().incarnation(broker.me).unwrap().committed;
    assert_eq!(position, WalPosition(0), "nothing of the other stream is committed");
    drop((trimmed, other));
    broker.kill();
    let broker = durable.start(small()).await;
    let all = read_all(&broker.open(ids[0])).await;
    assert_eq!(all, (1..4).map(|i| payload(i, 100)).collect::<Vec<_>>());
    assert_eq!(read_all(&broker.open(ids[1])).await.len(), 4);
}
