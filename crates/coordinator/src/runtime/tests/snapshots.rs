//! Snapshots and trims.

use base::Offset;

use crate::limits::{
    SNAPSHOT_PIECE_KEYS_MAX, SNAPSHOT_PIECES_WAITING_MAX, SNAPSHOT_RECORDS_FACTOR, SNAPSHOT_RECORDS_MIN,
};
use crate::runtime::load::{Cut, load};
use crate::runtime::marker::{Edge, Marker};
use crate::runtime::memory::Fate;

use super::requests::undurable;
use super::*;

/// Records until a snapshot is worth it, for a small state.
const ENOUGH: usize = SNAPSHOT_RECORDS_MIN as usize;

async fn add_many(broker: &Broker, name: &'static str, times: usize) -> Result<(), ShardError> {
    let shard = broker.shards.get(0).await?;
    shard.write(move |counters, out| counters.add_many(name, times, out)).await
}

/// The markers in the log.
fn markers(disk: &Disk) -> Vec<(u64, Marker)> {
    let found = disk.records().into_iter().filter_map(|(offset, record)| Some((offset, Marker::decode(&record)?)));
    found.collect()
}

#[tokio::test]
async fn the_state_is_written_again_after_enough_records_and_the_log_starts_there() {
    let broker = Broker::new();
    assert_eq!(broker.add("a").await, Ok(1));
    add_many(&broker, "b", ENOUGH - 2).await.unwrap();
    settle().await;
    assert_eq!(broker.disk.start(), 0);
    assert!(markers(&broker.disk).is_empty());
    assert_eq!(broker.add("a").await, Ok(2));
    settle().await;
    let begin = ENOUGH as u64;
    assert_eq!(broker.disk.start(), begin);
    let marker = |edge| Marker { edge, snapshot: begin as i64, records: 2 };
    let expected = [
        (begin, marker(Edge::Begin).encode()),
        (begin + 1, record("a", 2)),
        (begin + 2, record("b", ENOUGH as u64 - 2)),
        (begin + 3, marker(Edge::End).encode()),
    ];
    assert_eq!(broker.disk.records(), expected);
}

#[tokio::test]
async fn a_load_starts_from_the_snapshot() {
    let broker = Broker::new();
    assert_eq!(broker.add("a").await, Ok(1));
    add_many(&broker, "b", ENOUGH).await.unwrap();
    settle().await;
    assert_eq!(broker.add("a").await, Ok(2));
    let restarted = Broker::on(broker.logs.clone());
    assert_eq!(restarted.get("a").await, Ok(Some(2)));
    assert_eq!(restarted.get("b").await, Ok(Some(ENOUGH as u64)));
    assert_eq!(restarted.seen.replayed.lock().len(), 3, "two of the snapshot, and one that followed");
}

#[tokio::test]
async fn a_snapshot_is_worth_a_multiple_of_its_own_records() {
    let broker = Broker::new();
    let names: Vec<Record> = (0..ENOUGH).map(|index| record(&format!("{index}"), 1)).collect();
    broker.disk.write(&names);
    let shard = broker.shard().await;
    settle().await;
    let worth = ENOUGH * SNAPSHOT_RECORDS_FACTOR as usize;
    add_many(&broker, "0", worth - ENOUGH - 1).await.unwrap();
    settle().await;
    assert_eq!(broker.disk.start(), 0);
    assert_eq!(broker.add("0").await, Ok((worth - ENOUGH + 1) as u64));
    settle().await;
    settle().await;
    assert!(shard.is_active());
    assert_eq!(broker.disk.start(), worth as u64);
    assert_eq!(broker.disk.records().len(), ENOUGH + 2);
}

/// What a broker that loads the log finds, and what the one that wrote it has.
async fn loaded_and_kept(broker: &Broker) -> [BTreeMap<String, u64>; 2] {
    let stored = async |shard: Arc<Shard<Counters>>| shard.read(|counters| counters.stored.clone()).await.unwrap();
    let restarted = Broker::on(broker.logs.clone());
    [stored(restarted.shard().await).await, stored(broker.shard().await).await]
}

/// Removes a counter, meanwhile.
fn removing(shard: &Arc<Shard<Counters>>, name: &'static str) -> Request<Result<(), ShardError>> {
    let shard = shard.clone();
    Request::begin(async move { shard.write(|counters, out| counters.remove(name, out)).await })
}

/// Lets a snapshot become worth it, of which nothing is durable yet, and decides something before that joins the queue.
async fn begin_snapshot<D>(broker: &Broker, decide: impl FnOnce() -> D) -> D {
    let shard = broker.shard().await;
    broker.disk.hold();
    let enough = shard.clone();
    let enough = Request::begin(async move { enough.write(|counters, out| counters.add_many("b", ENOUGH, out)).await });
    settle().await;
    let ahead = broker.disk.waiting();
    let decided = decide();
    settle().await;
    for _ in 0..ahead {
        broker.disk.release_one();
    }
    settle().await;
    enough.answer().await.unwrap();
    decided
}

#[tokio::test]
async fn decisions_on_either_side_of_where_a_snapshot_begins_outlive_it() {
    // Behind the begin marker, before that is durable; and before it, not durable when it joins the queue.
    for is_behind in [false, true] {
        let broker = Broker::new();
        for name in ["kept", "changed", "removed"] {
            assert_eq!(broker.add(name).await, Ok(1));
        }
        let shard = broker.shard().await;
        let decide = || (adding(&shard, "changed"), adding(&shard, "new"), removing(&shard, "removed"));
        let decided = if is_behind {
            begin_snapshot(&broker, || ()).await;
            assert_eq!(markers(&broker.disk).len(), 1, "it begins");
            let decided = decide();
            settle().await;
            assert!(broker.disk.release_one(), "the begin marker");
            settle().await;
            decided
        } else {
            begin_snapshot(&broker, decide).await
        };
        broker.disk.release();
        assert_eq!((decided.0.answer().await, decided.1.answer().await), (Ok(2), Ok(1)));
        decided.2.answer().await.unwrap();
        settle().await;
        let [(begin, _), (end, _)] = markers(&broker.disk)[..] else { panic!("one snapshot") };
        assert_eq!(broker.disk.start(), begin);
        let inside = broker.disk.records().into_iter().map(|(_, record)| record).take((end - begin) as usize);
        let mut inside: Vec<Record> = inside.skip(1).collect();
        let removals = inside.iter().filter(|record| **record == tombstone("removed")).count();
        assert_eq!(removals, usize::from(is_behind));
        inside.retain(|record| record.value.is_some());
        inside.sort_by(|a, b| a.key.cmp(&b.key));
        let expected = [record("b", ENOUGH as u64), record("changed", 2), record("kept", 1), record("new", 1)];
        assert_eq!(inside, expected, "behind the begin marker: {is_behind}");
        let [loaded, kept] = loaded_and_kept(&broker).await;
        assert_eq!(loaded, kept);
        assert_eq!((loaded.get("removed"), loaded["changed"]), (None, 2));
    }
}

#[tokio::test]
async fn a_large_state_is_written_in_pieces_between_which_others_are_served() {
    const NAMES: usize = 5 * SNAPSHOT_PIECE_KEYS_MAX;
    let broker = Broker::new();
    let names: Vec<&'static str> = (0..NAMES).map(|index| &*format!("{index:05}").leak()).collect();
    broker.disk.write(&names.iter().map(|name| record(name, 1)).collect::<Vec<_>>());
    let shard = broker.shard().await;
    begin_snapshot(&broker, || ()).await;
    let (mut served, mut removals) = (Vec::new(), Vec::new());
    for round in 0.. {
        assert!(broker.disk.waiting() <= 2 * SNAPSHOT_PIECES_WAITING_MAX, "few pieces, and decisions between them");
        if !broker.disk.release_one() {
            break;
        }
        // What was given out already, what is next, and what comes last.
        for name in [names[0], names[(round * SNAPSHOT_PIECE_KEYS_MAX).min(NAMES - 1)], names[NAMES - 1]] {
            served.push(adding(&shard, name));
        }
        removals.push(removing(&shard, names[NAMES - 2 - round]));
        settle().await;
        broker.disk.release_one();
        settle().await;
        if markers(&broker.disk).len() == 2 {
            break;
        }
    }
    broker.disk.release();
    settle().await;
    for request in served {
        request.answer().await.unwrap();
    }
    for request in removals {
        request.answer().await.unwrap();
    }
    let [(begin, _), (end, Marker { records, .. })] = markers(&broker.disk)[..] else { panic!("one snapshot") };
    assert!(end - begin > records as u64 + 1, "decisions stand between the pieces");
    assert_eq!(broker.disk.start(), begin);
    let [loaded, kept] = loaded_and_kept(&broker).await;
    assert_eq!(loaded, kept);
}

/// A log of four counters, with a snapshot of which only the first `written` batches are there.
async fn interrupted(written: usize) -> Broker {
    let broker = Broker::new();
    broker.disk.refuse_trims(true);
    broker.disk.set_batch_bytes_max(160);
    for name in ["a", "b", "c", "d"] {
        broker.add(name).await.unwrap();
    }
    // Enough that one more record makes a snapshot.
    let filler: Vec<Record> = (0..ENOUGH - 5).map(|index| record("filler", index as u64)).collect();
    broker.disk.write(&filler);
    broker.shards.discard(0);
    settle().await;
    let shard = broker.shard().await;
    broker.disk.hold();
    let request = adding(&shard, "a");
    settle().await;
    assert!(broker.disk.release_one());
    assert_eq!(request.answer().await, Ok(2));
    settle().await;
    for _ in 0..written {
        broker.disk.release_one();
        settle().await;
    }
    broker.disk.fail(Fate::Lost);
    settle().await;
    broker.disk.release();
    broker
}

#[tokio::test]
async fn a_crash_in_a_snapshot_is_harmless() {
    let mut reached = std::collections::BTreeSet::new();
    for written in 0..6 {
        let crashed = interrupted(written).await;
        reached.insert(markers(&crashed.disk).len());
        assert_eq!(crashed.disk.start(), 0, "{written}");
        let restarted = Broker::on(crashed.logs.clone());
        let state = restarted.shard().await.read(|counters| counters.stored.clone()).await.unwrap();
        let expected = [("a", 2), ("b", 1), ("c", 1), ("d", 1), ("filler", ENOUGH as u64 - 6)];
        assert_eq!(state, expected.map(|(name, value)| (name.to_owned(), value)).into(), "{written}");
    }
    assert_eq!(Vec::from_iter(reached), [0, 1, 2], "before, in and after the snapshot");
}

#[tokio::test]
async fn an_unfinished_snapshot_is_made_again_by_the_next_load() {
    let crashed = interrupted(2).await;
    crashed.disk.refuse_trims(false);
    let restarted = Broker::on(crashed.logs.clone());
    restarted.shard().await;
    settle().await;
    let found = markers(&restarted.disk);
    let [(begin, first), (_, second)] = found[..] else { panic!("{found:?}") };
    assert_eq!((first.edge, second.edge), (Edge::Begin, Edge::End));
    assert_eq!(first.snapshot, second.snapshot);
    assert_eq!(restarted.disk.start(), begin);
}

#[tokio::test]
async fn a_snapshot_that_was_not_trimmed_to_is_by_the_next_load() {
    let broker = Broker::new();
    broker.disk.refuse_trims(true);
    add_many(&broker, "a", ENOUGH).await.unwrap();
    settle().await;
    assert_eq!(broker.disk.start(), 0);
    let [(begin, _), (_, _)] = markers(&broker.disk)[..] else { panic!("one snapshot") };
    assert_eq!(broker.add("a").await, Ok(ENOUGH as u64 + 1), "a failed trim costs nothing but length");
    broker.disk.refuse_trims(false);
    let restarted = Broker::on(broker.logs.clone());
    assert_eq!(restarted.get("a").await, Ok(Some(ENOUGH as u64 + 1)));
    settle().await;
    assert_eq!(restarted.disk.start(), begin);
    assert_eq!(markers(&restarted.disk).len(), 2, "no second snapshot is worth it");
}

#[tokio::test]
async fn a_deposed_leader_does_not_trim() {
    let broker = Broker::new();
    broker.shard().await;
    broker.disk.hold();
    let shard = broker.shard().await;
    let enough = shard.clone();
    let enough = Request::begin(async move { enough.write(|counters, out| counters.add_many("b", ENOUGH, out)).await });
    settle().await;
    while markers(&broker.disk).len() < 2 {
        assert!(broker.disk.release_one());
        settle().await;
    }
    enough.answer().await.unwrap();
    assert_eq!(broker.disk.waiting(), 1, "the snapshot is appended and not durable");
    // The batch becomes durable for the next leader, who has a new epoch; the one before hears of it late.
    broker.disk.elect();
    broker.disk.release();
    settle().await;
    assert_eq!(broker.disk.start(), 0);
    let next = Broker::on(broker.logs.clone());
    assert_eq!(next.get("b").await, Ok(Some(ENOUGH as u64)));
}

#[tokio::test]
async fn the_end_of_another_snapshot_does_not_complete_one() {
    let broker = Broker::new();
    let marker = |edge, snapshot| Marker { edge, snapshot, records: 1 }.encode();
    broker.disk.write(&[record("a", 1), record("b", 1)]);
    broker.disk.write(&[marker(Edge::Begin, 2), record("a", 1)]);
    broker.disk.write(&[marker(Edge::Begin, 4), record("a", 1), marker(Edge::End, 2)]);
    assert_eq!(broker.get("b").await, Ok(Some(1)));
    settle().await;
    assert_eq!(broker.disk.start(), 0);
}

#[tokio::test]
async fn a_log_that_was_trimmed_by_something_else_is_loaded_and_told_of() {
    let cut = async |broker: &Broker| {
        let log = broker.logs.open(0).unwrap();
        let (stored, decided, alarms) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        load(&*log, &mut Counters { stored, decided, alarms, seen: Arc::default() }).await.unwrap().cut
    };
    let marker = |edge, snapshot| Marker { edge, snapshot, records: 1 }.encode();
    let broker = Broker::new();
    broker.disk.write(&[record("a", 1), record("b", 1)]);
    assert_eq!(cut(&broker).await, None);
    broker.disk.cut(1);
    assert_eq!(cut(&broker).await, Some(Cut { start: Offset(1), is_made_up_for: false }));
    broker.disk.write(&[marker(Edge::Begin, 2), record("a", 1), marker(Edge::End, 2)]);
    assert_eq!(cut(&broker).await, Some(Cut { start: Offset(1), is_made_up_for: true }));
    assert_eq!(broker.get("a").await, Ok(Some(1)));
    settle().await;
    assert_eq!((broker.disk.start(), cut(&broker).await), (2, None), "its coordinator trims it to its snapshot");
    broker.disk.cut(5);
    assert_eq!(cut(&broker).await, Some(Cut { start: Offset(5), is_made_up_for: false }), "nothing is left");
}

#[tokio::test]
async fn a_log_that_starts_in_half_a_snapshot_is_not_loaded() {
    let marker = |edge, snapshot| Marker { edge, snapshot, records: 2 }.encode();
    let broker = Broker::new();
    broker.disk.write(&[record("a", 1), record("b", 1)]);
    broker.disk.write(&[marker(Edge::Begin, 2), record("a", 1)]);
    assert_eq!(Broker::on(broker.logs.clone()).get("b").await, Ok(Some(1)), "what stands before it is there");
    broker.disk.cut(2);
    assert!(broker.get("a").await.is_err());
    // A whole one that follows has everything.
    broker.disk.write(&[marker(Edge::Begin, 5), record("a", 1), record("b", 1), marker(Edge::End, 5)]);
    let restarted = Broker::on(broker.logs.clone());
    assert_eq!(restarted.get("b").await, Ok(Some(1)));
    settle().await;
    assert_eq!(restarted.disk.start(), 4);
}

#[tokio::test]
async fn a_state_that_cannot_be_written_whole_is_not_trimmed() {
    let broker = Broker::new();
    assert_eq!(broker.add("unwritable").await, Ok(1));
    add_many(&broker, "b", 2 * ENOUGH).await.unwrap();
    assert_eq!(broker.add("b").await, Ok(2 * ENOUGH as u64 + 1));
    settle().await;
    assert!(markers(&broker.disk).iter().all(|(_, marker)| marker.edge == Edge::Begin));
    assert_eq!(broker.disk.start(), 0);
    let shard = broker.shard().await;
    shard.write(|counters, out| counters.remove("unwritable", out)).await.unwrap();
    add_many(&broker, "b", ENOUGH).await.unwrap();
    settle().await;
    assert_eq!(markers(&broker.disk).len(), 2, "a snapshot follows once it can be written");
}

/// A snapshot writes what is durable already.
#[tokio::test]
async fn nobody_waits_for_a_snapshot() {
    let broker = Broker::new();
    assert_eq!(broker.add("a").await, Ok(1));
    let shard = broker.shard().await;
    begin_snapshot(&broker, || ()).await;
    assert_eq!(markers(&broker.disk).len(), 1, "it begins, and is not durable");
    let looks = Looks::small();
    let told = shard.read_decided(&["a"], &looks, |counters, name| undurable(counters.decided.get(*name).copied()));
    assert_eq!(futures::FutureExt::now_or_never(told), Some(Ok(vec![Some(1)])));
}

/// `max.message.bytes` may be lowered, and the segments of a write-ahead log be made smaller, below what is stored.
#[tokio::test]
async fn a_snapshot_that_the_log_does_not_take_is_given_up_and_the_shard_goes_on() {
    let large: &'static str = "n".repeat(2_000).leak();
    for begins_late in [false, true] {
        let broker = Broker::new();
        assert_eq!(broker.add(large).await, Ok(1));
        broker.disk.set_batch_bytes_max(500);
        add_many(&broker, "b", ENOUGH - 2).await.unwrap();
        let shard = broker.shard().await;
        broker.disk.set_entry_bytes_max(1_000);
        broker.disk.hold();
        let last = adding(&shard, "a");
        settle().await;
        // What is decided while the snapshot is on its way stands behind it.
        broker.disk.hold_appends(true);
        assert!(broker.disk.release_one());
        assert_eq!(last.answer().await, Ok(1));
        let behind = adding(&shard, "behind");
        let told = shard.clone();
        let told = Request::begin(async move {
            told.read_decided(&["behind"], &Looks::small(), |counters, name| {
                undurable(counters.decided.get(*name).copied())
            })
            .await
        });
        settle().await;
        if !begins_late {
            broker.disk.release();
        }
        broker.disk.hold_appends(false);
        settle().await;
        broker.disk.release();
        assert_eq!(behind.answer().await, Ok(1));
        assert_eq!(
            told.answer().await,
            Ok(vec![Some(1)]),
            "whoever waits for a decision does not go with the snapshot"
        );
        assert_eq!(broker.add("a").await, Ok(2));
        assert!(shard.is_active());
        let edges: Vec<Edge> = markers(&broker.disk).into_iter().map(|(_, marker)| marker.edge).collect();
        assert_eq!((edges, broker.disk.start()), (vec![Edge::Begin], 0));
        broker.disk.set_entry_bytes_max(usize::MAX);
        add_many(&broker, "b", ENOUGH).await.unwrap();
        settle().await;
        assert_eq!(markers(&broker.disk).len(), 2, "the next one is taken");
        assert!(broker.disk.start() > ENOUGH as u64);
        let restarted = Broker::on(broker.logs.clone());
        let state = restarted.shard().await.read(|counters| counters.stored.clone()).await.unwrap();
        let expected = [(large, 1), ("a", 2), ("b", 2 * ENOUGH as u64 - 2), ("behind", 1)];
        assert_eq!(state, expected.map(|(name, value)| (name.to_owned(), value)).into());
    }
}

#[tokio::test]
async fn a_decision_that_the_log_does_not_take_discards_the_machine() {
    let broker = Broker::new();
    assert_eq!(broker.add("a").await, Ok(1));
    broker.disk.set_entry_bytes_max(10);
    assert_eq!(broker.add("a").await, Err(ShardError::NotCoordinator));
    broker.disk.set_entry_bytes_max(usize::MAX);
    assert_eq!(broker.add("a").await, Ok(2));
}
