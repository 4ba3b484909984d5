//! Deadlines and ticks.

use crate::limits::TIMER_SLEEP_MAX;

use super::requests::stable;
use super::*;

async fn alarm(broker: &Broker, at_ms: u64, name: &'static str) {
    let shard = broker.shard().await;
    shard.write(|counters, _| drop(counters.alarms.insert(at_ms, name.to_owned()))).await.unwrap();
}

#[tokio::test]
async fn what_is_due_is_done_and_stored_like_any_decision() {
    let broker = Broker::new();
    alarm(&broker, 100, "a").await;
    alarm(&broker, 250, "b").await;
    assert_eq!(broker.shards.tick().await, Some(100));
    assert_eq!(broker.get("a").await, Ok(None));
    broker.advance(Duration::from_millis(100));
    assert_eq!(broker.shards.tick().await, Some(250));
    settle().await;
    assert_eq!(broker.get("a").await, Ok(Some(1)));
    assert_eq!(broker.get("b").await, Ok(None));
    broker.advance(Duration::from_secs(1));
    assert_eq!(broker.shards.tick().await, None);
    settle().await;
    assert_eq!(broker.get("b").await, Ok(Some(1)));
}

#[tokio::test]
async fn a_discarded_shard_has_nothing_due() {
    let broker = Broker::new();
    alarm(&broker, 100, "a").await;
    let shard = broker.shard().await;
    broker.shards.discard(0);
    broker.advance(Duration::from_secs(1));
    assert_eq!(broker.shards.tick().await, None);
    shard.tick();
    settle().await;
    assert!(broker.disk.records().is_empty());
}

#[tokio::test]
async fn ticks_go_on_while_requests_are_refused() {
    let broker = Broker::new();
    alarm(&broker, 100, "due").await;
    let shard = broker.shard().await;
    broker.disk.hold();
    let fill = crate::limits::WRITES_WAITING_MAX;
    // Pieces of one decision count one by one.
    broker.disk.set_batch_bytes_max(110);
    let writer = shard.clone();
    let filled = Request::begin(async move { writer.write(|counters, out| counters.add_many("a", fill, out)).await });
    settle().await;
    assert_eq!(broker.add("a").await, Err(ShardError::Overloaded));
    broker.advance(Duration::from_millis(100));
    assert_eq!(broker.shards.tick().await, None);
    broker.disk.release();
    filled.0.await.unwrap().unwrap();
    stable(&shard, "due").await.unwrap();
    assert_eq!(broker.get("due").await, Ok(Some(1)));
}

#[tokio::test(start_paused = true)]
async fn the_timer_wakes_for_a_nearer_deadline() {
    let broker = Broker::new();
    broker.shard().await;
    let shards = broker.shards.clone();
    let mut timer = Request::begin(async move { shards.timer().await });
    assert!(!timer.is_answered().await);
    alarm(&broker, 5_000, "a").await;
    assert!(timer.is_answered().await, "a deadline where none was");
    let shards = broker.shards.clone();
    let mut timer = Request::begin(async move { shards.timer().await });
    assert!(!timer.is_answered().await);
    alarm(&broker, 9_000, "b").await;
    assert!(!timer.is_answered().await, "a later deadline can wait");
    alarm(&broker, 1_000, "c").await;
    assert!(timer.is_answered().await);
}

#[tokio::test(start_paused = true)]
async fn the_timer_sleeps_until_the_deadline_and_never_for_ever() {
    let broker = Broker::new();
    alarm(&broker, 5_000, "a").await;
    let shards = broker.shards.clone();
    settle().await;
    // The wake-up of the deadline that was just set.
    shards.timer().await;
    let mut timer = Request::begin({
        let shards = shards.clone();
        async move { shards.timer().await }
    });
    settle().await;
    tokio::time::advance(Duration::from_millis(5_000)).await;
    assert!(!timer.is_answered().await, "the deadline must have passed, not just begun");
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(timer.is_answered().await);
    broker.advance(Duration::from_millis(5_001));
    let mut timer = Request::begin(async move { shards.timer().await });
    settle().await;
    assert_eq!(broker.get("a").await, Ok(Some(1)), "the timer begins with what is due");
    tokio::time::advance(TIMER_SLEEP_MAX).await;
    assert!(timer.is_answered().await);
}
