//! Whatever ends a part of a node ends the node, and only that one, with the reason.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base::Clock;
use base::clock::TimeSource;
use node::{End, NodeOptions, Order};

use crate::support::{Node, options};

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_node_ends_and_its_successor_serves_on() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = Node::start(options(dir.path())).await.unwrap();
    let mut client = first.client().await;
    client.create_topic().await;
    assert!(client.produce().await);
    // The same broker id on the same store, with files of its own.
    let store = format!("file://{}", dir.path().join("store").display());
    let second = Node::start(NodeOptions { store, ..options(elsewhere.path()) }).await.unwrap();
    assert_eq!(second.facts.recovered.batches, 1);
    assert!(!client.produce().await, "a replaced node acknowledged a record");
    let end = first.ended().await;
    assert!(matches!(end, End::Fenced { .. } | End::LogFailed(_)), "{end:?}");
    assert!(second.client().await.produce().await);
    assert_eq!(second.client().await.latest().await, Some(2));
    assert!(second.end(Order::Drain).await.is_clean());
}

/// A clock that panics once it is broken.
#[derive(Debug)]
struct Breakable {
    clock: Clock,
    broken: AtomicBool,
}

impl Breakable {
    fn look(&self) {
        assert!(!self.broken.load(Ordering::SeqCst), "broken on purpose");
    }
}

impl TimeSource for Breakable {
    fn wall_ms(&self) -> i64 {
        self.look();
        self.clock.now().0
    }

    fn monotonic(&self) -> Duration {
        self.look();
        self.clock.monotonic()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_vital_task_panicked_is_not_ready_but_ended() {
    let dir = tempfile::tempdir().unwrap();
    let time = Arc::new(Breakable { clock: Clock::system(), broken: AtomicBool::new(false) });
    let node =
        Node::start(NodeOptions { clock: Clock::from_source(time.clone()), ..options(dir.path()) }).await.unwrap();
    let mut client = node.client().await;
    client.create_topic().await;
    assert!(client.produce().await);
    time.broken.store(true, Ordering::SeqCst);
    let end = node.ended().await;
    assert!(matches!(end, End::Panicked(_)), "{end:?}");
    let again = Node::start(options(dir.path())).await.unwrap();
    assert_eq!(again.client().await.latest().await, Some(1));
    assert!(again.end(Order::Drain).await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_with_what_ends_the_node_meanwhile() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = Node::start(options(dir.path())).await.unwrap();
    let mut client = first.client().await;
    client.create_topic().await;
    assert!(client.produce().await);
    let store = format!("file://{}", dir.path().join("store").display());
    let second = Node::start(NodeOptions { store, ..options(elsewhere.path()) }).await.unwrap();
    // It has not noticed yet that it was replaced.
    let end = first.end(Order::Drain).await;
    assert!(!end.is_clean(), "{end:?}");
    assert_eq!(second.client().await.latest().await, Some(1));
    assert!(second.end(Order::Drain).await.is_clean());
}
