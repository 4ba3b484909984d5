//! Nodes in one process: real sockets, real files, no process of their own.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod abandon;
mod ends;
mod gate;
mod hangs;
mod logs;
mod support;

use base::BrokerId;
use node::{End, Order};

use crate::support::{Node, options};

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_serve_die_and_start_again_in_one_process() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let first = Node::start(options(dirs[0].path())).await.unwrap();
    let second = Node::start(options(dirs[1].path())).await.unwrap();
    assert_ne!(first.facts.cluster_id, second.facts.cluster_id);
    assert_eq!(first.facts.me.broker, BrokerId(1));
    for (node, records) in [(&first, 3), (&second, 5)] {
        let mut client = node.client().await;
        client.create_topic().await;
        for _ in 0..records {
            assert!(client.produce().await);
        }
    }
    assert!(first.status.page().contains("headwater_store_requests_total"));

    // One dies as in a crash. The other one does not notice.
    let (mut orphan, mut other) = (first.client().await, second.client().await);
    let end = first.end(Order::Stop).await;
    assert!(matches!(end, End::Stopped { serving: true }), "{end:?}");
    assert!(!orphan.produce().await, "a node that has ended acknowledges nothing");
    assert!(other.produce().await);

    // Its place is free at once, and what it had acknowledged is there.
    let first = Node::start(options(dirs[0].path())).await.unwrap();
    assert_eq!(first.facts.recovered.batches, 3);
    let mut client = first.client().await;
    assert_eq!(client.latest().await, Some(3));
    assert!(client.produce().await);

    // The other one ends as planned: nothing is left to recover.
    let (address, end) = (second.facts.addresses[0].clone(), second.end(Order::Drain).await);
    assert!(end.is_clean(), "{end:?}");
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "a drained node still listens");
    let second = Node::start(options(dirs[1].path())).await.unwrap();
    assert_eq!(second.facts.recovered.batches, 0);
    assert_eq!(second.client().await.latest().await, Some(6));
    assert_eq!(client.latest().await, Some(4));
    for node in [first, second] {
        assert!(node.end(Order::Drain).await.is_clean());
    }
}
