//! A former log becomes objects, whoever does it and however often.

use super::*;
use crate::catalogue::COMMIT_ITEMS_MAX;

#[tokio::test(flavor = "multi_thread")]
async fn recovery_repeated_by_a_second_taker_changes_nothing() {
    let durable = Durable::new();
    let broker = durable.start(small()).await;
    let id = durable.catalogue.create_streams(1, broker.me).unwrap()[0];
    let stream = broker.open(id);
    for i in 0..50 {
        broker.append(&stream, i, &payload(i, 300)).await.unwrap();
    }
    let first = broker.me;
    drop(stream);
    broker.kill();
    {
        // A taker that commits what it replayed and dies before it says so.
        let log = durable.log();
        let (me, former) = durable.catalogue.register(BROKER).unwrap();
        assert_eq!(former, [first]);
        let client: Arc<dyn CatalogueClient> = Arc::new(durable.catalogue.clone());
        let taker = Engine::new(small(), durable.store.clone(), client, me, durable.clock.clone());
        let recovered = taker.recover(&log, first, WalPosition(0), &memory()).await.unwrap();
        assert_eq!(recovered.records, 50);
    }
    let broker = durable.start(small()).await;
    assert_eq!(read_all(&broker.open(id)).await.len(), 50);
    let view = durable.catalogue.view();
    assert_eq!(view.stream(id).unwrap().end, Offset(50));
}

/// A log of small records, each stream in its turn, whose writer has died.
async fn written(durable: &Durable, streams: usize, records: u64) -> (Arc<BlockLog>, Incarnation, Vec<StreamId>) {
    let mut options = log_options(durable.dir.path());
    options.capacity_bytes = 64 << 20;
    let log = Arc::new(BlockLog::open(options).unwrap());
    let (writer, _) = durable.catalogue.register(BROKER).unwrap();
    let wal = log.create(writer, "test-cluster", Telling).unwrap();
    durable.catalogue.open_incarnation(writer, WalPlace { kind: 0, location: "test".into() }).unwrap();
    let ids = durable.catalogue.create_streams(streams, writer).unwrap();
    let mut told = Vec::new();
    for i in 0..records {
        let (token, is_told) = oneshot::channel();
        let (stream, base) = (ids[i as usize % streams], Offset(i / streams as u64));
        let payload = Fragments::from_elem(Bytes::from(payload(i, 20)), 1);
        let (epoch, end, max_timestamp) = (StreamEpoch(0), base + 1, TimestampMs(0));
        wal.append(crate::wal::Append { stream, epoch, base, end, max_timestamp, payload }, token);
        told.push(is_told);
    }
    for is_told in told {
        is_told.await.unwrap();
    }
    (log, writer, ids)
}

/// How long a broker takes to start is up to what is in its log, not to how small the records are.
#[tokio::test(flavor = "multi_thread")]
async fn many_small_records_of_a_stream_are_recovered_with_one_commit() {
    const RECORDS: u64 = COMMIT_ITEMS_MAX as u64 / 4 + 100;
    let durable = Durable::new();
    let (log, writer, ids) = written(&durable, 1, RECORDS).await;
    let (me, _) = durable.catalogue.register(BROKER).unwrap();
    let client: Arc<dyn CatalogueClient> = Arc::new(durable.catalogue.clone());
    let taker = Engine::new(small(), durable.store.clone(), client, me, durable.clock.clone());
    let memory = memory();
    let recovered = taker.recover(&log, writer, WalPosition(0), &memory).await.unwrap();
    assert_eq!((recovered.records, memory.used()), (RECORDS, 0));
    let view = durable.catalogue.view();
    let state = view.stream(ids[0]).unwrap();
    assert_eq!((state.end, state.extents().count()), (Offset(RECORDS), 1));
}

/// A taker that dies while the uploads of two chunks overlap, after the first commit.
#[tokio::test(flavor = "multi_thread")]
async fn a_taker_that_dies_between_two_commits_is_followed_by_another() {
    // More than three commits may name.
    const STREAMS: usize = 3 * COMMIT_ITEMS_MAX / 4 + 100;
    let mut durable = Durable::new();
    let slow = blob::faulty::FaultPlan {
        latency: Some(Duration::from_millis(5)..Duration::from_millis(30)),
        ..Default::default()
    };
    let beneath = Arc::new(blob::memory::MemoryBackend::new());
    let backend = blob::faulty::FaultyBackend::new(beneath, slow, 7);
    durable.store = Store::with_backend(Arc::new(backend.clone()), blob::StoreOptions::default());
    let (log, writer, ids) = written(&durable, STREAMS, STREAMS as u64).await;
    let taker = || {
        let (me, _) = durable.catalogue.register(BROKER).unwrap();
        let client: Arc<dyn CatalogueClient> = Arc::new(durable.catalogue.clone());
        let options = EngineOptions {
            log_cache_bytes: 64 << 20,
            block_cache_bytes: 64 << 20,
            block_bytes: 256 * KIB as usize,
            ..small()
        };
        Engine::new(options, durable.store.clone(), client, me, durable.clock.clone())
    };
    let committed = || durable.catalogue.view().incarnation(writer).unwrap().committed;
    let (first, own) = (taker(), memory());
    let first_commit = async {
        while committed() == WalPosition(0) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    base::select! {
        recovered = first.recover(&log, writer, WalPosition(0), &own) => panic!("the first taker ended: {recovered:?}"),
        () = first_commit => first.inner.fail("killed"),
    }
    let from = committed();
    let second = taker();
    let recovered = second.recover(&log, writer, from, &memory()).await.unwrap();
    assert!(recovered.records < STREAMS as u64, "what the first one committed is not taken again");
    durable.catalogue.recovered(writer, second.writer(), recovered.end).await.unwrap();
    durable.catalogue.update(|image| image.adopt_orphans(second.writer(), usize::MAX)).unwrap();
    backend.set_plan(blob::faulty::FaultPlan::default());
    let view = second.catalogue();
    for (n, id) in (0..).zip(&ids) {
        let state = view.stream(*id).unwrap();
        assert_eq!(state.end, Offset(1));
        if n % 1_000 == 0 {
            let stream = second.open(*id, state.epoch, None).unwrap();
            assert_eq!(read_all(&stream).await, [payload(n, 20)]);
        }
    }
}
