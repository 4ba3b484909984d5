//! Loading.

use crate::limits::LOAD_RETRY;
use crate::runtime::memory::Fate;

use super::requests::stable;
use super::*;

#[tokio::test]
async fn a_new_shard_has_what_the_log_says() {
    let broker = Broker::new();
    broker.disk.write(&[record("a", 1), record("b", 5), record("c", 3)]);
    broker.disk.write(&[record("a", 2), tombstone("c")]);
    let shard = broker.shard().await;
    let state = shard.read(|counters| counters.stored.clone()).await.unwrap();
    assert_eq!(state, BTreeMap::from([("a".to_owned(), 2), ("b".to_owned(), 5)]));
    assert_eq!(broker.add("a").await, Ok(3));
    assert_eq!(broker.disk.records().last(), Some(&(5, record("a", 3))));
}

#[tokio::test]
async fn a_load_begins_at_the_log_start_even_in_the_middle_of_a_batch() {
    let broker = Broker::new();
    broker.disk.write(&[record("a", 1), record("b", 1)]);
    broker.disk.write(&[record("c", 1)]);
    broker.disk.cut(1);
    let shard = broker.shard().await;
    let names = shard.read(|counters| counters.stored.keys().cloned().collect::<Vec<_>>()).await.unwrap();
    assert_eq!(names, ["b", "c"]);
}

#[tokio::test]
async fn a_load_waits_for_batches_that_are_still_on_their_way() {
    let broker = Broker::new();
    assert_eq!(broker.add("a").await, Ok(1));
    let shard = broker.shard().await;
    broker.disk.hold();
    let second = adding(&shard, "a");
    settle().await;
    broker.disk.fail(Fate::OnItsWay);
    assert_eq!(second.answer().await, Err(ShardError::NotCoordinator));
    let again = broker.shards.open(0).unwrap();
    settle().await;
    assert!(!again.is_active(), "its next record would follow on what it has not seen");
    broker.disk.release();
    settle().await;
    assert_eq!(again.read(|counters| counters.get("a")).await, Ok(Some(2)));
}

#[tokio::test]
async fn a_load_waits_until_the_writer_before_it_is_done() {
    let broker = Broker::new();
    let before = broker.shard().await;
    broker.disk.hold();
    let request = adding(&before, "a");
    settle().await;
    broker.shards.discard(0);
    assert_eq!(request.answer().await, Err(ShardError::NotCoordinator));
    let after = broker.shards.open(0).unwrap();
    settle().await;
    assert!(!after.is_active());
    broker.disk.release();
    settle().await;
    assert_eq!(after.read(|counters| counters.get("a")).await, Ok(Some(1)));
}

#[tokio::test(start_paused = true)]
async fn requests_wait_a_moment_for_a_load_and_are_then_told_of_it() {
    let broker = Broker::new();
    broker.disk.write(&[record("a", 1)]);
    broker.disk.hold_reads(true);
    // The paused clock moves on its own while everybody waits.
    assert_eq!(broker.add("a").await, Err(ShardError::Loading));
    assert_eq!(broker.get("a").await, Err(ShardError::Loading));
    let shard = broker.shards.open(0).unwrap();
    assert_eq!(stable(&shard, "a").await, Err(ShardError::Loading));
    let patient = broker.shards.clone();
    let request = Request::begin(async move { patient.get(0).await.map(|shard| shard.is_active()) });
    settle().await;
    broker.disk.hold_reads(false);
    assert_eq!(request.answer().await, Ok(true));
    assert_eq!(broker.add("a").await, Ok(2));
}

#[tokio::test]
async fn a_load_that_fails_is_tried_again_after_a_while() {
    let broker = Broker::new();
    broker.disk.write(&[record("a", 1)]);
    broker.disk.refuse_reads(true);
    assert_eq!(broker.add("a").await, Err(ShardError::NotCoordinator));
    broker.disk.refuse_reads(false);
    assert_eq!(broker.add("a").await, Err(ShardError::NotLoaded), "the log is left alone for a while");
    broker.advance(LOAD_RETRY - Duration::from_millis(1));
    assert_eq!(broker.add("a").await, Err(ShardError::NotLoaded));
    broker.advance(Duration::from_millis(1));
    assert_eq!(broker.add("a").await, Ok(2));
}

#[tokio::test]
async fn a_record_of_a_newer_release_stops_the_load() {
    let broker = Broker::new();
    broker.disk.write(&[record("a", 1), record("newer", 1)]);
    assert_eq!(broker.get("a").await, Err(ShardError::NotCoordinator));
    assert_eq!(broker.get("a").await, Err(ShardError::NotLoaded));
    assert_eq!(broker.disk.records().len(), 2, "nothing was written on top of it");
}

#[tokio::test]
async fn a_malformed_record_is_passed_over() {
    let broker = Broker::new();
    broker.disk.write(&[record("a", 1), record("malformed", 1), record("b", 1)]);
    assert_eq!(broker.get("a").await, Ok(Some(1)));
    assert_eq!(broker.get("b").await, Ok(Some(1)));
}

#[tokio::test]
async fn shards_are_apart() {
    let broker = Broker::new();
    let other = broker.logs.disk(1);
    other.hold();
    assert_eq!(broker.add("a").await, Ok(1));
    let shard = broker.shards.get(1).await.unwrap();
    let mut request = adding(&shard, "a");
    assert!(!request.is_answered().await);
    assert_eq!(broker.add("a").await, Ok(2));
    assert_eq!(broker.shards.all().len(), 2);
    other.release();
    assert_eq!(request.answer().await, Ok(1));
}
