//! Decisions, their batches, and their answers.

use crate::limits::{BATCH_BYTES_MAX, BATCHES_IN_FLIGHT_MAX, WRITES_WAITING_BYTES_MAX, WRITES_WAITING_MAX};
use crate::runtime::memory::Fate;

use super::*;

#[tokio::test]
async fn a_write_is_answered_when_it_is_durable_and_not_before() {
    let broker = Broker::new();
    let shard = broker.shard().await;
    broker.disk.hold();
    let mut request = adding(&shard, "a");
    assert!(!request.is_answered().await);
    assert_eq!(broker.disk.waiting(), 1);
    assert_eq!(broker.get("a").await, Ok(None), "what is not durable is not read");
    broker.disk.release();
    assert_eq!(request.answer().await, Ok(1));
    assert_eq!(broker.get("a").await, Ok(Some(1)));
}

/// What a counter is by what is decided, for somebody who changes nothing.
fn asking(shard: &Arc<Shard<Counters>>, name: &'static str) -> Request<Result<Option<u64>, ShardError>> {
    let shard = shard.clone();
    Request::begin(async move { shard.write(|counters, _| counters.decided.get(name).copied()).await })
}

/// What a crash could take back.
pub(super) fn undurable<R>(what: R) -> Seen<R> {
    Seen { what, is_durable: false }
}

#[tokio::test]
async fn a_request_that_decides_nothing_is_answered_when_what_was_decided_before_it_is_durable() {
    for is_lost in [false, true] {
        let broker = Broker::new();
        assert_eq!(broker.add("a").await, Ok(1));
        let shard = broker.shard().await;
        broker.disk.hold();
        assert_eq!(asking(&shard, "a").answer().await, Ok(Some(1)), "nothing was decided before it");
        let remover = shard.clone();
        let removed = Request::begin(async move { remover.write(|counters, out| counters.remove("a", out)).await });
        settle().await;
        let looker = shard.clone();
        let look = async move {
            let seen = looker
                .read_decided(&["a"], &Looks::small(), |counters, name| undurable(counters.decided.get(*name).copied()))
                .await;
            seen.map(|seen| seen[0])
        };
        let mut told = [asking(&shard, "a"), Request::begin(look)];
        settle().await;
        let behind = adding(&shard, "b");
        for told in &mut told {
            assert!(!told.is_answered().await, "that it is gone could be taken back by a crash");
        }
        if is_lost {
            broker.disk.fail(Fate::Lost);
        } else {
            assert!(broker.disk.release_one());
        }
        let (done, gone) = if is_lost {
            (Err(ShardError::NotCoordinator), Err(ShardError::NotCoordinator))
        } else {
            (Ok(()), Ok(None))
        };
        assert_eq!(removed.answer().await, done);
        for told in told {
            assert_eq!(told.answer().await, gone);
        }
        broker.disk.release();
        settle().await;
        assert_eq!(behind.answer().await, if is_lost { Err(ShardError::NotCoordinator) } else { Ok(1) });
        assert_eq!(broker.get("a").await, Ok(is_lost.then_some(1)));
    }
}

/// What operators ask for while a log does not move, of groups that nothing is written of.
#[tokio::test]
async fn who_only_looks_waits_for_what_it_sees_and_once_for_all_that_it_asks() {
    let broker = Broker::new();
    assert_eq!(broker.add("kept").await, Ok(1));
    let shard = broker.shard().await;
    broker.disk.hold();
    let first = adding(&shard, "a");
    settle().await;
    let of = |counters: &Counters, name: &&str| {
        let (decided, stored) = (counters.decided.get(*name).copied(), counters.get(name));
        Seen { what: decided, is_durable: decided == stored }
    };
    assert_eq!(shard.read_decided(&["kept", "none"], &Looks::small(), of).await, Ok(vec![Some(1), None]));
    let is_written = |counters: &Counters, name: &&str| counters.decided.get(*name).copied() != counters.get(name);
    let stable = |counters: &Counters, name: &&str| counters.get(name);
    assert_eq!(
        shard.read_stable(&["kept", "none"], &Looks::small(), is_written, stable).await,
        Ok(vec![Some(1), None])
    );
    let (looker, reader) = (shard.clone(), shard.clone());
    let mut told = [
        Request::begin(async move { looker.read_decided(&["kept", "a", "none"], &Looks::small(), of).await }),
        Request::begin(
            async move { reader.read_stable(&["kept", "a", "none"], &Looks::small(), is_written, stable).await },
        ),
    ];
    for told in &mut told {
        assert!(!told.is_answered().await, "of one of them something is not durable");
    }
    let mut behind = adding(&shard, "a");
    settle().await;
    assert!(broker.disk.release_one());
    for told in told {
        assert_eq!(told.answer().await, Ok(vec![Some(1), Some(1), None]));
    }
    assert_eq!(first.answer().await, Ok(1));
    assert!(!behind.is_answered().await);
}

#[tokio::test]
async fn who_waits_for_others_takes_no_place_of_a_write() {
    let broker = Broker::new();
    let shard = broker.shard().await;
    broker.disk.hold();
    let first = adding(&shard, "a");
    settle().await;
    for _ in 0..WRITES_WAITING_MAX {
        let looks = Looks::small();
        let look = shard.read_decided(&["a"], &looks, |counters, name| undurable(counters.decided[*name]));
        assert!(waits(look).await);
    }
    let second = adding(&shard, "a");
    settle().await;
    broker.disk.release();
    assert_eq!(first.answer().await, Ok(1));
    assert_eq!(second.answer().await, Ok(2));
}

/// Sessions end by the clock, which does not wait for a log that does not move.
#[tokio::test]
async fn who_is_told_of_soft_state_does_not_wait_for_what_others_write() {
    let broker = Broker::new();
    let shard = broker.shard().await;
    broker.disk.hold();
    let pending = adding(&shard, "a");
    settle().await;
    assert_eq!(shard.sign_of_life(|counters, _| counters.decided["a"]).await, Ok(1));
    let (answer, answered) = tokio::sync::oneshot::channel();
    let taker = shard.clone();
    let mut part = Request::begin(async move { taker.take_part(|_, _| answered).await });
    assert!(!part.is_answered().await, "the others have not come yet");
    answer.send(7).unwrap();
    assert_eq!(part.answer().await, Ok(7));
    broker.disk.release();
    assert_eq!(pending.answer().await, Ok(1));
}

#[tokio::test]
async fn a_coordinator_that_was_replaced_tells_nothing_that_no_record_of_its_own_vouches_for() {
    let broker = Broker::new();
    assert_eq!(broker.add("a").await, Ok(1));
    let shard = broker.shard().await;
    broker.disk.hold();
    let pending = adding(&shard, "a");
    settle().await;
    let mut waiting = asking(&shard, "a");
    assert!(!waiting.is_answered().await);
    broker.disk.fence();
    // What was written before it was replaced is durable all the same, and says nothing of what was known later.
    broker.disk.release();
    assert_eq!(pending.answer().await, Ok(2));
    let refused = Err(ShardError::NotCoordinator);
    assert_eq!(waiting.answer().await, refused);
    assert_eq!(asking(&shard, "a").answer().await, refused);
    assert_eq!(shard.read(|counters| counters.get("a")).await, refused);
    let refused_all = Err(ShardError::NotCoordinator);
    assert_eq!(
        shard.read_stable(&["a"], &Looks::small(), |_, _| true, |counters, name| counters.get(name)).await,
        refused_all
    );
    for is_durable in [false, true] {
        let looks = Looks::small();
        let look = shard.read_decided(&["a"], &looks, |counters, name| Seen { what: counters.get(name), is_durable });
        assert_eq!(look.await, refused_all);
    }
    assert_eq!(shard.sign_of_life(|counters, _| counters.get("a")).await, refused);
    let (answer, answered) = tokio::sync::oneshot::channel();
    answer.send(Some(2)).unwrap();
    assert_eq!(shard.take_part(|_, _| answered).await, refused);
}

#[tokio::test]
async fn a_panic_in_the_machine_discards_it_and_the_log_tells_what_holds() {
    let broker = Broker::new();
    assert_eq!(broker.add("a").await, Ok(1));
    let shard = broker.shard().await;
    shard.write(|counters, _| drop(counters.alarms.insert(100, "due".to_owned()))).await.unwrap();
    broker.disk.hold();
    let pending = adding(&shard, "a");
    settle().await;
    let panicking = shard.clone();
    let half = Request::begin(async move {
        let half = |counters: &mut Counters, out: &mut Out<'_>| -> u64 {
            counters.add("a", out);
            panic!("the test says so")
        };
        panicking.write(half).await
    });
    assert!(half.0.await.unwrap_err().is_panic());
    assert_eq!(pending.answer().await, Err(ShardError::NotCoordinator));
    assert!(!shard.is_active());
    broker.advance(Duration::from_secs(1));
    assert_eq!(broker.shards.tick().await, None, "and nothing of it is due");
    broker.disk.release();
    assert_eq!(broker.add("a").await, Ok(3), "what was appended stands, and half a decision does not");
    assert_eq!(*broker.seen.loads.lock(), 2);
}

/// What a counter is by what is durable, once all that is decided is.
pub(super) async fn stable(shard: &Shard<Counters>, name: &str) -> Result<Option<u64>, ShardError> {
    Ok(shard.read_stable(&[name], &Looks::small(), |_, _| true, |counters, name| counters.get(name)).await?[0])
}

#[tokio::test]
async fn a_stable_read_waits_for_what_was_decided_before_it_and_not_for_what_follows() {
    let broker = Broker::new();
    let shard = broker.shard().await;
    broker.disk.hold();
    let first = adding(&shard, "a");
    settle().await;
    let reader = shard.clone();
    let mut read = Request::begin(async move { stable(&reader, "a").await });
    assert!(!read.is_answered().await);
    let mut second = adding(&shard, "a");
    settle().await;
    assert!(broker.disk.release_one());
    assert_eq!(read.answer().await, Ok(Some(1)));
    assert_eq!(first.answer().await, Ok(1));
    assert!(!second.is_answered().await);
    broker.disk.release();
    assert_eq!(second.answer().await, Ok(2));
    assert_eq!(stable(&shard, "a").await, Ok(Some(2)));
}

#[tokio::test]
async fn the_log_and_the_replay_have_the_order_of_decisions() {
    let broker = Broker::new();
    let shard = broker.shard().await;
    broker.disk.hold();
    let names = ["a", "b", "c"];
    let mut requests = Vec::new();
    for round in 0..40 {
        requests.push(adding(&shard, names[round % names.len()]));
        if round % 7 == 0 {
            settle().await;
        }
        if round % 11 == 0 {
            broker.disk.release_one();
        }
    }
    broker.disk.release();
    let mut decided: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (round, request) in requests.into_iter().enumerate() {
        decided.entry(names[round % names.len()]).or_default().push(request.answer().await.unwrap());
    }
    let logged: Vec<Record> = broker.disk.records().into_iter().map(|(_, record)| record).collect();
    assert_eq!(*broker.seen.replayed.lock(), logged);
    for name in names {
        let expected: Vec<Record> = decided[name].iter().map(|value| record(name, *value)).collect();
        let of_name: Vec<Record> = logged.iter().filter(|record| *record.key == *name.as_bytes()).cloned().collect();
        assert_eq!(of_name, expected);
        assert_eq!(of_name.last(), Some(&record(name, decided[name].len() as u64)));
    }
}

#[tokio::test]
async fn requests_that_come_while_the_writer_is_busy_share_a_batch() {
    let broker = Broker::new();
    let shard = broker.shard().await;
    broker.disk.hold();
    let mut requests: Vec<_> = (0..BATCHES_IN_FLIGHT_MAX).map(|_| None).collect();
    for request in &mut requests {
        *request = Some(adding(&shard, "a"));
        settle().await;
    }
    assert_eq!(broker.disk.appends(), BATCHES_IN_FLIGHT_MAX);
    let more: Vec<_> = (0..100).map(|_| adding(&shard, "b")).collect();
    settle().await;
    assert_eq!(broker.disk.appends(), BATCHES_IN_FLIGHT_MAX, "no more batches are on their way at a time");
    broker.disk.release();
    settle().await;
    assert_eq!(broker.disk.appends(), BATCHES_IN_FLIGHT_MAX + 1);
    for (index, request) in more.into_iter().enumerate() {
        assert_eq!(request.answer().await, Ok(index as u64 + 1));
    }
}

#[tokio::test]
async fn a_decision_that_is_larger_than_a_batch_is_answered_after_its_last_piece() {
    let broker = Broker::new();
    broker.disk.set_batch_bytes_max(2_000);
    let shard = broker.shard().await;
    broker.disk.hold();
    let writer = shard.clone();
    let mut request = Request::begin(async move {
        writer
            .write(|counters, out| {
                counters.add_many("a", 100, out);
                out.after.push(After::Note("all of it".to_owned()));
            })
            .await
    });
    settle().await;
    let pieces = broker.disk.waiting();
    assert!(pieces > 1, "{pieces}");
    for _ in 1..pieces {
        broker.disk.release_one();
        assert!(!request.is_answered().await);
        assert!(broker.seen.durable.lock().is_empty());
    }
    broker.disk.release();
    assert_eq!(request.answer().await, Ok(()));
    assert_eq!(*broker.seen.durable.lock(), ["all of it"]);
    assert_eq!(broker.get("a").await, Ok(Some(100)));
}

/// As an OffsetCommit in Kafka: half of it never stands.
#[tokio::test]
async fn a_decision_that_the_log_takes_in_one_batch_is_one() {
    let broker = Broker::new();
    let shard = broker.shard().await;
    // Few enough that no snapshot follows.
    let name = "n".repeat(1_000);
    let many = 2 * BATCH_BYTES_MAX / record(&name, 1).bytes();
    shard.write(|counters, out| counters.add_many(&name, many, out)).await.unwrap();
    assert_eq!(broker.disk.appends(), 1);
}

#[tokio::test]
async fn one_batch_gathers_no_more_than_its_bound() {
    let broker = Broker::new();
    let shard = broker.shard().await;
    let big = BATCH_BYTES_MAX / 3;
    let writes = (0..4).map(|_| {
        let shard = shard.clone();
        let record = Record { key: Bytes::from_static(b"big"), value: Some(Bytes::from("0".repeat(big))) };
        Request::begin(async move { shard.write(|_, out| out.records.push(record)).await })
    });
    for request in writes.collect::<Vec<_>>() {
        assert_eq!(request.answer().await, Ok(()));
    }
    assert_eq!(broker.disk.appends(), 2);
}

#[tokio::test]
async fn what_follows_a_durable_decision_may_decide_more() {
    let broker = Broker::new();
    let shard = broker.shard().await;
    broker.disk.hold();
    let writer = shard.clone();
    let request = Request::begin(async move {
        writer
            .write(|counters, out| {
                counters.add("a", out);
                out.after.push(After::Add("b".to_owned()));
            })
            .await
    });
    settle().await;
    broker.disk.release_one();
    assert_eq!(request.answer().await, Ok(()));
    settle().await;
    assert_eq!(broker.disk.waiting(), 1, "its own record follows");
    broker.disk.release();
    settle().await;
    assert_eq!(broker.get("b").await, Ok(Some(1)));
}

#[tokio::test]
async fn a_decision_sees_the_records_that_are_not_replayed_yet() {
    let broker = Broker::new();
    let shard = broker.shard().await;
    broker.disk.hold();
    for name in ["a", "b", "c"] {
        adding(&shard, name);
        settle().await;
    }
    broker.disk.release_one();
    settle().await;
    let pending = shard.sign_of_life(|_, out| out.pending().cloned().collect::<Vec<_>>()).await;
    assert_eq!(pending, Ok(vec![record("b", 1), record("c", 1)]));
    broker.disk.release();
    settle().await;
    assert_eq!(shard.write(|_, out| out.pending().count()).await, Ok(0));
}

/// Nobody who beats meanwhile is to wait for all of it.
#[tokio::test]
async fn a_large_decision_is_replayed_a_piece_at_a_time_and_answered_when_all_of_it_is() {
    const RECORDS: usize = 9;
    let broker = Broker::new();
    let shard = broker.shard().await;
    broker.disk.hold();
    let name = |at: usize| format!("{at}{}", "n".repeat(100_000));
    let mut large = Box::pin(shard.write(|_, out| out.records.extend((0..RECORDS).map(|at| record(&name(at), 1)))));
    assert!(waits(large.as_mut()).await);
    settle().await;
    assert_eq!(broker.disk.waiting(), 1, "it is one batch");
    broker.disk.release();
    let mut seen = vec![0];
    while *seen.last().unwrap() < RECORDS {
        tokio::task::yield_now().await;
        let look = |counters: &mut Counters, out: &mut Out<'_>| (counters.stored.len(), out.pending().count());
        let (replayed, pending) = shard.sign_of_life(look).await.unwrap();
        assert_eq!(replayed + pending, RECORDS, "none is both or neither");
        if replayed != *seen.last().unwrap() {
            seen.push(replayed);
            assert_eq!(waits(large.as_mut()).await, replayed < RECORDS);
        }
    }
    assert_eq!(seen, [0, 3, 6, 9]);
}

#[tokio::test]
async fn too_many_waiting_writes_are_refused_and_the_shard_goes_on() {
    let broker = Broker::new();
    let shard = broker.shard().await;
    broker.disk.hold();
    let mut waiting = Vec::with_capacity(WRITES_WAITING_MAX);
    for _ in 0..WRITES_WAITING_MAX {
        let shard = shard.clone();
        let mut write = Box::pin(async move { shard.write(|counters, out| counters.add("a", out)).await });
        assert!(waits(write.as_mut()).await);
        waiting.push(write);
    }
    assert_eq!(broker.add("a").await, Err(ShardError::Overloaded));
    broker.disk.release();
    for (index, write) in waiting.into_iter().enumerate() {
        assert_eq!(write.await, Ok(index as u64 + 1));
    }
    assert_eq!(broker.add("a").await, Ok(WRITES_WAITING_MAX as u64 + 1));
}

#[tokio::test]
async fn a_failed_append_discards_the_machine_and_the_log_tells_what_holds() {
    for (fate, holds) in [(Fate::Lost, 1), (Fate::Written, 3)] {
        let broker = Broker::new();
        assert_eq!(broker.add("a").await, Ok(1));
        let shard = broker.shard().await;
        broker.disk.hold();
        let (second, third) = (adding(&shard, "a"), adding(&shard, "a"));
        let reader = shard.clone();
        let stable = Request::begin(async move { stable(&reader, "a").await });
        settle().await;
        broker.disk.fail(fate);
        assert_eq!(second.answer().await, Err(ShardError::NotCoordinator));
        assert_eq!(third.answer().await, Err(ShardError::NotCoordinator));
        assert_eq!(stable.answer().await, Err(ShardError::NotCoordinator));
        assert!(!shard.is_active());
        assert_eq!(shard.read(|counters| counters.get("a")).await, Err(ShardError::NotCoordinator));
        broker.disk.release();
        assert_eq!(broker.get("a").await, Ok(Some(holds)), "{fate:?}");
        assert_eq!(*broker.seen.loads.lock(), 2);
        assert_eq!(broker.add("a").await, Ok(holds + 1));
    }
}

#[tokio::test]
async fn a_refused_append_discards_the_machine_too() {
    let broker = Broker::new();
    assert_eq!(broker.add("a").await, Ok(1));
    broker.disk.refuse_appends(true);
    assert_eq!(broker.add("a").await, Err(ShardError::NotCoordinator));
    broker.disk.refuse_appends(false);
    assert_eq!(broker.add("a").await, Ok(2), "nothing of the refused decision is left");
}

#[tokio::test]
async fn somebody_elses_record_in_the_log_discards_the_machine() {
    let broker = Broker::new();
    assert_eq!(broker.add("a").await, Ok(1));
    broker.disk.write(&[record("a", 70)]);
    assert_eq!(broker.add("a").await, Err(ShardError::NotCoordinator));
    // Its record stands in the log: the outcome was unknown.
    assert_eq!(broker.get("a").await, Ok(Some(2)));
}

#[tokio::test]
async fn a_requester_that_goes_away_does_not_undo_what_it_asked_for() {
    let broker = Broker::new();
    let shard = broker.shard().await;
    broker.disk.hold();
    let request = adding(&shard, "a");
    settle().await;
    request.0.abort();
    broker.disk.release();
    settle().await;
    assert_eq!(broker.get("a").await, Ok(Some(1)));
    assert_eq!(broker.add("a").await, Ok(2));
}

#[tokio::test]
async fn a_shard_at_rest_has_no_writer() {
    let broker = Broker::new();
    let shard = broker.shard().await;
    // Writers, loads and trims hold the shard while they live.
    let at_rest = Arc::strong_count(&shard);
    assert!(shard.turn.try_lock().is_ok());
    broker.disk.hold();
    let request = adding(&shard, "a");
    settle().await;
    assert!(shard.turn.try_lock().is_err(), "a writer is at work");
    broker.disk.release();
    assert_eq!(request.answer().await, Ok(1));
    settle().await;
    assert!(shard.turn.try_lock().is_ok());
    assert_eq!(Arc::strong_count(&shard), at_rest);
    // And the next write finds one again.
    assert_eq!(broker.add("a").await, Ok(2));
}

#[tokio::test]
async fn writes_that_wait_are_bounded_by_their_bytes_and_the_shard_goes_on() {
    let broker = Broker::new();
    let shard = broker.shard().await;
    broker.disk.hold();
    let mut waiting = Vec::new();
    let refused = loop {
        let shard = shard.clone();
        let mut write = Box::pin(async move {
            // As much as one batch holds of one record.
            shard.write(|_, out| out.records.push(record(&"n".repeat(100_000), 1))).await
        });
        match futures::poll!(write.as_mut()) {
            std::task::Poll::Ready(outcome) => break outcome,
            std::task::Poll::Pending => waiting.push(write),
        }
        assert!(waiting.len() < 2_000, "writes wait without end");
        settle().await;
    };
    assert_eq!(refused, Err(ShardError::Overloaded));
    let bytes = waiting.len() as u64 * 100_000;
    assert!(bytes > WRITES_WAITING_BYTES_MAX / 2 && bytes <= WRITES_WAITING_BYTES_MAX + 100_000, "{bytes} bytes wait");
    broker.disk.release();
    for write in waiting {
        write.await.unwrap();
    }
    assert_eq!(broker.add("a").await, Ok(1));
}

#[tokio::test]
async fn what_is_durable_is_answered_while_the_next_batch_waits_for_room_in_the_log() {
    let broker = Broker::new();
    let shard = broker.shard().await;
    broker.disk.hold();
    let first = adding(&shard, "a");
    settle().await;
    broker.disk.hold_appends(true);
    let mut second = adding(&shard, "a");
    settle().await;
    assert_eq!(broker.disk.waiting(), 1, "the second has no place in the log");
    assert!(broker.disk.release_one());
    assert_eq!(first.answer().await, Ok(1));
    assert!(!second.is_answered().await);
    broker.disk.hold_appends(false);
    broker.disk.release();
    assert_eq!(second.answer().await, Ok(2));
}
