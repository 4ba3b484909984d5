//! Whatever ends a part of a node ends the node, and only that one, with the reason.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base::Clock;
use base::clock::TimeSource;
use node::{Afterwards, End, NodeOptions, Order, Phase, Status};
use tokio::sync::watch;

use crate::support::{Hung, Node, options};

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

/// A clock that panics once it is broken, and while the node that it is given is in a phase.
#[derive(Debug)]
struct Breakable {
    clock: Clock,
    broken: AtomicBool,
    phases: watch::Receiver<Phase>,
    breaks_in: Option<Phase>,
}

impl Breakable {
    fn of(status: &Status, breaks_in: Option<Phase>) -> Arc<Self> {
        let (clock, broken, phases) = (Clock::system(), AtomicBool::new(false), status.phases());
        Arc::new(Self { clock, broken, phases, breaks_in })
    }

    fn look(&self) {
        // The log's threads have ends of their own.
        if std::thread::current().name().is_some_and(|name| name.starts_with("wal-")) {
            return;
        }
        let broken = self.broken.load(Ordering::SeqCst) || self.breaks_in.as_ref() == Some(&*self.phases.borrow());
        assert!(!broken, "broken on purpose");
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

/// Starts a node by that clock, and has it acknowledge a record.
async fn by(time: &Arc<Breakable>, status: Status, directory: &Path) -> Node {
    let options = NodeOptions { clock: Clock::from_source(time.clone()), ..options(directory) };
    let node = Node::start_seen(options, status).await.unwrap();
    let mut client = node.client().await;
    client.create_topic().await;
    assert!(client.produce().await);
    node
}

/// The record is there for the next node, which is not held up by what is left of the last.
async fn acknowledged_is_kept(directory: &Path) {
    let again = Node::start(options(directory)).await.unwrap();
    assert_eq!(again.client().await.latest().await, Some(1));
    assert!(again.end(Order::Drain).await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_vital_task_panicked_is_not_ready_but_ended() {
    let (dir, status) = (tempfile::tempdir().unwrap(), Status::default());
    let time = Breakable::of(&status, None);
    let node = by(&time, status, dir.path()).await;
    time.broken.store(true, Ordering::SeqCst);
    let end = node.ended().await;
    assert!(matches!(end, End::Panicked(_)), "{end:?}");
    acknowledged_is_kept(dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_a_panicked_task_holds_up_for_ever_ends() {
    let (dir, status) = (tempfile::tempdir().unwrap(), Status::default());
    let time = Breakable::of(&status, Some(Phase::Draining));
    let node = by(&time, status, dir.path()).await;
    let end = node.end(Order::Drain).await;
    assert!(matches!(end, End::Panicked(_)), "{end:?}");
    acknowledged_is_kept(dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_replaced_unawares_does_not_say_that_it_drained() {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_process_exits_does_not_wait_for_a_store_that_hangs() {
    let dir = tempfile::tempdir().unwrap();
    let first = Node::start(options(dir.path())).await.unwrap();
    let mut client = first.client().await;
    client.create_topic().await;
    assert!(client.produce().await);
    assert!(first.end(Order::Drain).await.is_clean());

    let exits = NodeOptions { afterwards: Afterwards::ProcessExits, ..options(dir.path()) };
    let node = Node::start(exits).await.unwrap();
    let hung = Hung::objects_below(&dir.path().join("store"));
    let mut client = node.client().await;
    let answer = tokio::time::timeout(Duration::from_secs(1), client.fetch()).await;
    assert!(answer.is_err(), "the read does not hang: {answer:?}");
    let ended = tokio::time::timeout(10 * node::LEAVING_TIME_MAX, node.end(Order::Stop)).await;
    // Before anything is asserted: the runtime of the test waits for the read.
    drop(hung);
    let end = ended.expect("the node waits for its store");
    assert!(matches!(end, End::Stopped { serving: true }), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_place_is_used_again_waits_for_all_that_it_left_in_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let first = Node::start(options(dir.path())).await.unwrap();
    let mut client = first.client().await;
    client.create_topic().await;
    assert!(client.produce().await);
    assert!(first.end(Order::Drain).await.is_clean());

    let node = Node::start(options(dir.path())).await.unwrap();
    let hung = Hung::objects_below(&dir.path().join("store"));
    let mut client = node.client().await;
    let answer = tokio::time::timeout(Duration::from_secs(1), client.fetch()).await;
    assert!(answer.is_err(), "the read does not hang: {answer:?}");
    let mut ending = std::pin::pin!(node.end(Order::Stop));
    let early = tokio::time::timeout(2 * node::LEAVING_TIME_MAX, &mut ending).await;
    drop(hung);
    assert!(early.is_err(), "something of the node is left: {early:?}");
    ending.await;
}
