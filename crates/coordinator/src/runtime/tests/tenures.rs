//! Leadership: it goes, it comes back, and the coordinator stops.

use super::*;

#[tokio::test]
async fn a_partition_of_another_broker_is_not_coordinated_here() {
    let broker = Broker::new();
    assert_eq!(broker.shards.get(7).await.err(), Some(ShardError::NotCoordinator));
    assert!(broker.shards.all().is_empty());
}

#[tokio::test]
async fn a_deposed_shard_is_unloaded_with_everything_that_waits_in_it() {
    let broker = Broker::new();
    assert_eq!(broker.add("a").await, Ok(1));
    let shard = broker.shard().await;
    broker.disk.hold();
    let waiting = adding(&shard, "a");
    settle().await;
    broker.disk.depose();
    assert_eq!(broker.add("a").await, Err(ShardError::NotCoordinator));
    assert_eq!(waiting.answer().await, Err(ShardError::NotCoordinator));
    assert!(!shard.is_active());
    assert!(broker.shards.all().is_empty());
    // A request that found the shard before it was unloaded.
    assert_eq!(shard.write(|counters, out| counters.add("a", out)).await, Err(ShardError::NotCoordinator));
}

#[tokio::test]
async fn what_a_deposed_leader_decides_is_not_appended() {
    let broker = Broker::new();
    assert_eq!(broker.add("a").await, Ok(1));
    let shard = broker.shard().await;
    broker.disk.depose();
    // It has not noticed.
    assert_eq!(adding(&shard, "a").answer().await, Err(ShardError::NotCoordinator));
    assert_eq!(broker.disk.records(), [(0, record("a", 1))]);
    assert!(!shard.is_active());
}

#[tokio::test]
async fn a_new_tenure_is_another_shard() {
    let broker = Broker::new();
    assert_eq!(broker.add("a").await, Ok(1));
    let before = broker.shard().await;
    broker.disk.depose();
    // Another broker coordinates meanwhile.
    broker.disk.write(&[record("a", 10)]);
    broker.disk.elect();
    let after = broker.shard().await;
    assert!(!Arc::ptr_eq(&before, &after));
    assert!(!before.is_active());
    assert_eq!(broker.add("a").await, Ok(11));
}

#[tokio::test]
async fn a_load_that_is_overtaken_by_a_new_tenure_changes_nothing() {
    let broker = Broker::new();
    broker.disk.write(&[record("a", 1)]);
    broker.disk.hold_reads(true);
    let before = broker.shards.open(0).unwrap();
    settle().await;
    broker.disk.elect();
    broker.disk.hold_reads(false);
    let after = broker.shard().await;
    settle().await;
    assert!(!Arc::ptr_eq(&before, &after));
    assert!(!before.is_active());
    assert_eq!(broker.add("a").await, Ok(2));
}

#[tokio::test]
async fn two_brokers_never_both_acknowledge() {
    let old = Broker::new();
    assert_eq!(old.add("a").await, Ok(1));
    let stale = old.shard().await;
    // The same stream, led anew.
    old.disk.elect();
    let new = Broker::on(old.logs.clone());
    assert_eq!(new.add("a").await, Ok(2));
    assert_eq!(adding(&stale, "a").answer().await, Err(ShardError::NotCoordinator));
    assert_eq!(new.add("a").await, Ok(3));
    assert_eq!(new.get("a").await, Ok(Some(3)));
}

#[tokio::test]
async fn after_a_stop_there_is_no_coordinator() {
    let broker = Broker::new();
    let shard = broker.shard().await;
    broker.disk.hold();
    let waiting = adding(&shard, "a");
    settle().await;
    broker.shards.stop();
    assert_eq!(waiting.answer().await, Err(ShardError::NotCoordinator));
    assert_eq!(broker.add("a").await, Err(ShardError::NotCoordinator));
    assert!(broker.shards.all().is_empty());
}
