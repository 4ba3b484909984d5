//! A log goes only by the hand of its own cluster, and only when metadata says that it has ended.

use std::path::Path;

use base::{BrokerEpoch, BrokerId, Incarnation, Offset, StreamEpoch, StreamId, TimestampMs};
use bytes::Bytes;
use node::{End, LogPlace, NodeOptions, Order, StartError};
use stream::Fragments;
use stream::wal::{Access, Append, BlockLog, BlockLogOptions, Claim, DurableSink, Group, WalFailure};
use tokio::sync::oneshot;

use crate::gate::{Call, Gate};
use crate::support::{Node, options};

/// A node that has acknowledged one record and died; its registration and its cluster.
pub async fn dead(directory: &Path) -> (Incarnation, String) {
    let node = Node::start(options(directory)).await.unwrap();
    let mut client = node.client().await;
    client.create_topic().await;
    assert!(client.produce().await);
    let facts = node.facts.clone();
    node.end(Order::Stop).await;
    (facts.me, facts.cluster_id.to_string())
}

async fn refused(options: NodeOptions) -> StartError {
    match Node::start(options).await {
        Err(End::NotStarted(why)) => why,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("a node started that must not"),
    }
}

/// What was acknowledged there is there.
pub async fn kept(directory: &Path) {
    let node = Node::start(options(directory)).await.unwrap();
    assert_eq!(node.facts.recovered.batches, 1);
    assert_eq!(node.client().await.latest().await, Some(1));
    assert!(node.end(Order::Drain).await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_memory_leaves_a_durable_brokers_log_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (id, cluster) = dead(dir.path()).await;
    let memory = || NodeOptions { store: "memory://".to_owned(), home: None, ..options(dir.path()) };
    let why = refused(memory()).await;
    assert!(matches!(&why, StartError::LogBesideMemory { incarnation, .. } if *incarnation == id), "{why}");
    let (said, place) = (why.to_string(), dir.path().join("wal").display().to_string());
    for part in [&*place, "--wal PATH", &format!("wal remove {id} --cluster {cluster}")] {
        assert!(said.contains(part), "{said}");
    }
    kept(dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_memory_has_its_log_in_memory_and_leaves_nothing() {
    let memory = || {
        let nowhere = Path::new("/proc/nowhere");
        NodeOptions { store: "memory://".to_owned(), home: None, log: LogPlace::Memory, ..options(nowhere) }
    };
    let node = Node::start(memory()).await.unwrap();
    let mut client = node.client().await;
    client.create_topic().await;
    assert!(client.produce().await);
    assert_eq!(client.latest().await, Some(1));
    assert!(node.end(Order::Drain).await.is_clean());
    let again = Node::start(memory()).await.unwrap();
    assert!(again.end(Order::Stop).await.to_string().contains("told to stop"));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_clusters_log_is_refused_before_anybody_is_fenced() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_, cluster) = dead(other.path()).await;
    let living = Node::start(options(dir.path())).await.unwrap();
    let mut client = living.client().await;
    client.create_topic().await;
    let strange = || NodeOptions { log: LogPlace::At(other.path().join("wal")), ..options(dir.path()) };
    // Its identity says of which cluster it is.
    let why = refused(strange()).await;
    assert!(matches!(&why, StartError::LogOfOtherCluster { cluster: found, .. } if *found == cluster), "{why}");
    // Without one, the log does.
    let why = refused(NodeOptions { home: None, ..strange() }).await;
    assert!(matches!(why, StartError::OtherStore { .. }), "{why}");
    assert!(client.produce().await, "the living node was fenced");
    assert!(living.end(Order::Drain).await.is_clean());
    kept(other.path()).await;
}

struct Telling;

impl DurableSink<oneshot::Sender<()>> for Telling {
    fn durable(&mut self, group: Group<oneshot::Sender<()>>) {
        group.tokens.into_iter().for_each(|(_, told)| told.send(()).unwrap());
    }

    fn failed(&mut self, error: WalFailure) {
        panic!("{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_metadata_does_not_know_is_kept_if_it_holds_a_record() {
    let dir = tempfile::tempdir().unwrap();
    let (_, cluster) = dead(dir.path()).await;
    let id = |epoch| Incarnation { broker: BrokerId(1), epoch: BrokerEpoch(epoch) };
    let open = || BlockLog::open(BlockLogOptions::new(dir.path().join("wal"), Access::Owner)).unwrap();
    {
        let log = open();
        // A start that died before its log was opened, and a log of a history that the store has lost.
        log.create::<oneshot::Sender<()>>(id(900), &cluster, Telling).unwrap().shutdown().unwrap();
        let wal = log.create(id(901), &cluster, Telling).unwrap();
        let (told, durable) = oneshot::channel();
        let append = Append {
            stream: StreamId(0),
            epoch: StreamEpoch(0),
            base: Offset(0),
            end: Offset(1),
            max_timestamp: TimestampMs(0),
            payload: Fragments::from_elem(Bytes::from_static(b"acknowledged"), 1),
        };
        wal.append(append, told);
        durable.await.unwrap();
        wal.shutdown().unwrap();
    }
    for _ in 0..2 {
        let why = refused(options(dir.path())).await;
        assert!(matches!(&why, StartError::UnknownLog { incarnation, .. } if *incarnation == id(901)), "{why}");
        assert!(why.to_string().contains(&format!("wal remove 1-901 --cluster {cluster}")), "{why}");
    }
    let log = open();
    assert!(log.incarnations().unwrap().iter().any(|found| found.incarnation == id(901)));
    log.remove(id(901), Claim::Cluster(&cluster)).unwrap();
    drop(log);
    let node = Node::start(options(dir.path())).await.unwrap();
    assert_eq!(node.client().await.latest().await, Some(1));
    let left = BlockLog::open(BlockLogOptions::new(dir.path().join("wal"), Access::Observer)).unwrap();
    assert!(left.incarnations().unwrap().iter().all(|found| found.incarnation == node.facts.me));
    assert!(node.end(Order::Drain).await.is_clean());
}

/// One bad page, of a segment that may be nobody's, keeps files; it keeps no broker from draining, nor from starting.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_has_ended_stays_while_a_segment_cannot_be_read_and_stops_nobody() {
    let (dir, gate) = (tempfile::tempdir().unwrap(), Gate::default());
    let gated = || NodeOptions { files: gate.files(), ..options(dir.path()) };
    let (first, _) = dead(dir.path()).await;
    kept(dir.path()).await;
    let bad = dir.path().join("wal/segment-00000099.wal");
    std::fs::File::create(&bad).unwrap().set_len(gated().segments.bytes).unwrap();
    let logs = || {
        let log = BlockLog::open(BlockLogOptions::new(dir.path().join("wal"), Access::Observer)).unwrap();
        log.incarnations().unwrap().into_iter().map(|found| found.incarnation).collect::<Vec<_>>()
    };

    let node = Node::start(gated()).await.unwrap();
    let ended = node.facts.me;
    gate.fail(Call::ReadAt, "segment-00000099");
    assert!(node.end(Order::Drain).await.is_clean());
    assert_eq!(logs(), [ended], "nothing of it was removed");

    let node = Node::start(gated()).await.unwrap();
    assert_eq!(node.client().await.latest().await, Some(1));
    assert_eq!(logs(), [ended, node.facts.me], "nor at the next start");
    assert!(node.end(Order::Drain).await.is_clean());

    gate.open();
    let node = Node::start(gated()).await.unwrap();
    assert_eq!(logs(), [node.facts.me], "metadata still knew {ended}, and not {first}");
    assert!(node.end(Order::Drain).await.is_clean());
}
