//! How the end of a log, and what is wrong with one, reaches whoever depends on it.

use futures::future::BoxFuture;

use super::*;
use crate::catalogue::client::{CommitError, IncarnationError, TrimAnswers, TrimError};
use crate::catalogue::{CommitRequest, Committed, Recovered as OpenedStreams};

/// Dies on the completion thread with the first group; what it was told before it passes on.
struct Dying(EngineSink);

impl crate::wal::DurableSink<Pending> for Dying {
    fn durable(&mut self, _: crate::wal::Group<Pending>) {
        panic!("planted");
    }

    fn failed(&mut self, error: crate::wal::WalFailure) {
        self.0.failed(error);
    }
}

/// The sink dies with the thread that it lives on: the engine learns of it all the same, and so does a drain.
#[tokio::test(flavor = "multi_thread")]
async fn the_engine_fails_when_a_thread_of_its_log_panics() {
    let durable = Durable::new();
    let (log, (me, _)) = (durable.log(), durable.catalogue.register(BROKER).unwrap());
    let client: Arc<dyn CatalogueClient> = Arc::new(durable.catalogue.clone());
    let engine = Engine::new(small(), durable.store.clone(), client, me, durable.clock.clone());
    let wal = log.create(me, "test-cluster", Dying(engine.sink())).unwrap();
    durable.catalogue.open_incarnation(me, WalPlace { kind: 0, location: "test".into() }).unwrap();
    engine.attach(wal).unwrap();
    let id = durable.catalogue.create_streams(1, me).unwrap()[0];
    let broker = Running { engine, me };
    let stream = broker.open(id);
    let soon = Duration::from_secs(30);
    let answer = tokio::time::timeout(soon, broker.append(&stream, 0, b"x")).await.expect("an answer");
    assert_eq!(answer, Err(Fenced), "nobody waits for a dead log");
    let why = tokio::time::timeout(soon, broker.engine.failed()).await.expect("the engine has failed");
    assert!(why.to_string().contains("completer thread"), "{why}");
    let drained = tokio::time::timeout(soon, broker.engine.drain()).await.expect("a drain ends too");
    assert!(drained.unwrap_err().to_string().contains("completer thread"));
    assert!(broker.engine.check_unfenced().await.is_err());
    assert_eq!(broker.append(&stream, 0, b"x").await, Err(Fenced));
}

/// In release builds too: durable ends move by whole entries, or not at all.
#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_does_not_continue_its_stream_stops_the_engine() {
    for (base, end) in [(5, 6), (0, 0)] {
        let durable = Durable::new();
        let broker = durable.start(small()).await;
        let stream = broker.open(durable.catalogue.create_streams(1, broker.me).unwrap()[0]);
        let (done, answered) = oneshot::channel();
        stream.append(NewEntry {
            range: OffsetRange::new(Offset(base), Offset(end)),
            max_timestamp: TimestampMs(0),
            payload: Fragments::from_elem(Bytes::from_static(b"x"), 1),
            room: None,
            done: Box::new(move |result| {
                let _ = done.send(result);
            }),
        });
        assert_eq!(answered.await.unwrap(), Err(Fenced), "[{base}, {end})");
        let why = broker.engine.failed().await;
        assert!(why.to_string().contains("this is a bug"), "{why}");
        assert_eq!(stream.durable_end(), Offset(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_before_a_gap_is_recovered_and_the_gap_is_told() {
    let durable = Durable::new();
    let log = durable.log();
    let (writer, _) = durable.catalogue.register(BROKER).unwrap();
    let wal = log.create(writer, "test-cluster", Telling).unwrap();
    durable.catalogue.open_incarnation(writer, WalPlace { kind: 0, location: "test".into() }).unwrap();
    let ids = durable.catalogue.create_streams(2, writer).unwrap();
    for (stream, base) in [(ids[0], 0), (ids[1], 0), (ids[0], 1), (ids[1], 5), (ids[0], 2)] {
        let (token, told) = oneshot::channel();
        let append = crate::wal::Append {
            stream,
            epoch: StreamEpoch(0),
            base: Offset(base),
            end: Offset(base + 1),
            max_timestamp: TimestampMs(0),
            payload: Fragments::from_elem(Bytes::from_static(b"acknowledged"), 1),
        };
        wal.append(append, token);
        told.await.unwrap();
    }
    drop(wal);
    let (me, _) = durable.catalogue.register(BROKER).unwrap();
    let client: Arc<dyn CatalogueClient> = Arc::new(durable.catalogue.clone());
    let taker = Engine::new(small(), durable.store.clone(), client, me, durable.clock.clone());
    let error = taker.recover(&log, writer, WalPosition(0), &memory()).await.unwrap_err();
    let RecoverError::Damaged { at, why, .. } = error else { panic!("{error}") };
    assert!(why.contains("offset 5") && why.contains("ends at 1"), "{why}");
    let view = durable.catalogue.view();
    assert_eq!((view.stream(ids[0]).unwrap().end, view.stream(ids[1]).unwrap().end), (Offset(2), Offset(1)));
    assert_eq!(view.incarnation(writer).unwrap().committed, at);
}

/// A catalogue that is told of objects without what they hold, as if a cut had missed it.
struct Missed(LocalCatalogue);

impl CatalogueClient for Missed {
    fn view(&self) -> Arc<Catalogue> {
        self.0.view()
    }

    fn commit(&self, mut request: CommitRequest) -> BoxFuture<'static, Result<Committed, CommitError>> {
        request.objects.iter_mut().for_each(|object| object.ranges.clear());
        self.0.commit(request)
    }

    fn trim(&self, requests: Vec<TrimRequest>) -> BoxFuture<'static, Result<TrimAnswers, TrimError>> {
        self.0.trim(requests)
    }

    fn recovered(
        &self,
        log: Incarnation,
        taker: Incarnation,
        end: WalPosition,
    ) -> BoxFuture<'static, Result<OpenedStreams, IncarnationError>> {
        self.0.recovered(log, taker, end)
    }

    fn damaged(
        &self,
        log: Incarnation,
        taker: Incarnation,
        reason: String,
    ) -> BoxFuture<'static, Result<(), IncarnationError>> {
        self.0.damaged(log, taker, reason)
    }

    fn drained(&self, log: Incarnation, end: WalPosition) -> BoxFuture<'static, Result<(), IncarnationError>> {
        self.0.drained(log, end)
    }
}

/// In the life of its writer and in its recoveries: the position that a recovery begins at never passes what is in no
/// stream.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_cut_missed_is_recovered_by_a_start_that_misses_nothing() {
    let durable = Durable::new();
    let (log, (me, _)) = (durable.log(), durable.catalogue.register(BROKER).unwrap());
    let client: Arc<dyn CatalogueClient> = Arc::new(Missed(durable.catalogue.clone()));
    let engine = Engine::new(small(), durable.store.clone(), client.clone(), me, durable.clock.clone());
    let wal = log.create(me, "test-cluster", engine.sink()).unwrap();
    durable.catalogue.open_incarnation(me, WalPlace { kind: 0, location: "test".into() }).unwrap();
    engine.attach(wal).unwrap();
    drop(log);
    let id = durable.catalogue.create_streams(1, me).unwrap()[0];
    let broker = Running { engine, me };
    let stream = broker.open(id);
    broker.append(&stream, 0, &payload(0, 700)).await.unwrap();
    broker.engine.flush().await.unwrap_err();
    drop(stream);
    broker.kill();

    let (taker, former) = durable.catalogue.register(BROKER).unwrap();
    assert_eq!(former, [me]);
    let engine = Engine::new(small(), durable.store.clone(), client, taker, durable.clock.clone());
    let committed = durable.catalogue.view().incarnation(me).unwrap().committed;
    let error = engine.recover(&durable.log(), me, committed, &memory()).await.unwrap_err();
    assert!(matches!(&error, RecoverError::Commit(why) if why.contains("stays in the write-ahead log")), "{error}");
    drop(engine);

    let next = durable.start(small()).await;
    assert_eq!(read_all(&next.open(id)).await, [payload(0, 700)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_metadata_does_not_hold_as_open_takes_no_append() {
    let durable = Durable::new();
    let (log, (me, _)) = (durable.log(), durable.catalogue.register(BROKER).unwrap());
    let client: Arc<dyn CatalogueClient> = Arc::new(durable.catalogue.clone());
    let engine = Engine::new(small(), durable.store.clone(), client, me, durable.clock.clone());
    let wal = log.create(me, "test-cluster", engine.sink()).unwrap();
    let ended = wal.ended();
    assert_eq!(engine.attach(wal), Err(NotOpen(me)));
    assert!(engine.check_unfenced().await.is_err());
    // It was dropped, which ends it as a crash does.
    tokio::time::timeout(Duration::from_secs(30), ended).await.expect("the log runs on").unwrap();
}
