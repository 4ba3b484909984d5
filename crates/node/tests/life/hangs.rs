//! Storage of the log that hangs: what was ordered is heard, nobody is served after the end, and the place is free once
//! the node has gone.

use std::time::Duration;

use meta::LogLost;
use node::{End, NodeOptions, Order, Status};
use tokio::net::TcpStream;

use crate::gate::{Call, Gate};
use crate::support::{Begun, Hung, LONG, Node, ends, options};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_ended_serves_nobody_while_its_log_hangs() {
    let (dir, gate) = (tempfile::tempdir().unwrap(), Gate::default());
    let node = Node::start(NodeOptions { files: gate.files(), ..options(dir.path()) }).await.unwrap();
    let (mut client, mut other) = (node.client().await, node.client().await);
    client.create_topic().await;
    gate.hang(Call::WriteAt, "segment-");
    let producing = base::task::spawn("produces", async move { client.produce().await });
    gate.reached().await;
    let address = node.facts.addresses[0].clone();
    let ending = base::task::spawn("ends", node.end(Order::Stop));
    let nobody = async {
        while TcpStream::connect(&address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        other.latest().await
    };
    let served = tokio::time::timeout(Duration::from_secs(20), nobody).await;
    let early = ending.is_finished();
    gate.open();
    assert_eq!(served, Ok(None), "it serves on");
    assert!(!early, "its log was not waited for");
    assert!(!producing.await.unwrap(), "it acknowledged a record that is not durable");
    let end = ending.await.unwrap();
    assert!(matches!(end, End::Stopped { serving: true }), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_heard_while_the_storage_of_the_log_hangs() {
    let (dir, gate) = (tempfile::tempdir().unwrap(), Gate::default());
    let gated = || NodeOptions { files: gate.files(), ..options(dir.path()) };
    // A start, at its first touch, while it asks what kind of storage it is, and in the making of its log.
    for (call, at) in
        [(Call::Lock, "LOCK"), (Call::IsInMemory, "wal"), (Call::IsInMemory, "store"), (Call::Make, "incarnation-")]
    {
        gate.hang(call, at);
        let begun = Begun::begin(gated(), Status::default());
        gate.reached().await;
        begun.orders.send_replace(Order::Stop);
        let heard = ends(begun.status.phases()).await;
        gate.open();
        assert!(heard, "{call:?} of {at}");
        let end = begun.life.await.unwrap();
        assert!(matches!(end, End::Stopped { serving: false }), "{end:?}");
    }
    // A drain, at its last.
    let node = Node::start(gated()).await.unwrap();
    let mut client = node.client().await;
    client.create_topic().await;
    assert!(client.produce().await);
    gate.hang(Call::Remove, "incarnation-");
    node.order(Order::Drain);
    gate.reached().await;
    node.order(Order::Stop);
    let heard = ends(node.status.phases()).await;
    gate.open();
    assert!(heard, "a drain");
    let end = node.ended().await;
    assert!(matches!(end, End::Stopped { serving: true }), "{end:?}");
    let again = Node::start(options(dir.path())).await.unwrap();
    assert_eq!(again.client().await.latest().await, Some(1));
    assert!(again.end(Order::Drain).await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_stopped_while_its_log_opened_leaves_no_thread_of_it() {
    let (dir, gate) = (tempfile::tempdir().unwrap(), Gate::default());
    // The claim and the registration are written; that the log is open is not.
    let hung = Hung::entry(&dir.path().join("store"), 2);
    gate.hang(Call::Zero, "segment-");
    let begun = Begun::begin(NodeOptions { files: gate.files(), ..options(dir.path()) }, Status::default());
    gate.reached().await;
    begun.orders.send_replace(Order::Stop);
    let heard = ends(begun.status.phases()).await;
    drop(hung);
    let mut life = begun.life;
    let early = tokio::time::timeout(Duration::from_millis(500), &mut life).await;
    gate.open();
    assert!(heard);
    assert!(early.is_err(), "a thread of its log is left: {early:?}");
    let end = life.await.unwrap();
    assert!(matches!(end, End::Stopped { serving: false }), "{end:?}");
    let again = Node::start(options(dir.path())).await.unwrap();
    assert!(again.end(Order::Drain).await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_during_which_the_metadata_log_ends_ends_for_that_reason() {
    let (dir, gate) = (tempfile::tempdir().unwrap(), Gate::default());
    gate.hang(Call::Make, "incarnation-");
    let begun = Begun::begin(NodeOptions { files: gate.files(), ..options(dir.path()) }, Status::default());
    gate.reached().await;
    // It has registered; its next entry will say that its log is open.
    let entries = dir.path().join("store/meta/log");
    let name = |sequence: u64| entries.join(format!("{sequence:020}"));
    let next = (0..).find(|sequence| !name(*sequence).exists()).unwrap();
    std::fs::write(name(next), "garbage").unwrap();
    gate.open();
    let end = tokio::time::timeout(LONG, begun.life).await.expect("the start goes on").unwrap();
    assert!(matches!(end, End::MetadataLost(LogLost::Unreadable(place)) if place.0 == next), "{end:?}");
}
