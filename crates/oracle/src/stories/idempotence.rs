//! Idempotent producers: sequences, epochs, and what is said of a batch that came before.

use serde_json::{Value, json};

use super::Written;
use super::log::{given, present, producing, sequenced};
use crate::story::Author;

pub const STORIES: &[Written] = &[
    Written { name: "idempotence: sequences in order", write: in_order },
    Written { name: "idempotence: sequences that leave a gap", write: gap },
    Written { name: "idempotence: the last batch again", write: last_again },
    Written { name: "idempotence: each of the last five again", write: five_again },
    Written { name: "idempotence: a batch older than the last five again", write: older_again },
    Written { name: "idempotence: a batch again in part", write: part_again },
    Written { name: "idempotence: sequences wrap", write: wrap },
    Written { name: "idempotence: a batch lies across the wrap", write: across_the_wrap },
    Written { name: "idempotence: epochs rise", write: epochs_rise },
    Written { name: "idempotence: an epoch falls", write: epoch_falls },
    Written { name: "idempotence: producers that nobody knows", write: unknown },
    Written { name: "idempotence: a known producer on another partition", write: another_partition },
    Written { name: "idempotence: two producers in turn", write: two_in_turn },
    Written { name: "idempotence: five in flight", write: in_flight },
    Written { name: "idempotence: five in flight behind a gap", write: in_flight_behind_a_gap },
    Written { name: "idempotence: a topic is made anew", write: made_anew },
    Written { name: "idempotence: records are deleted meanwhile", write: trimmed },
    Written { name: "idempotence: numbers that make no sense", write: senseless },
    Written { name: "idempotence: a partition twice in one request", write: twice_in_one },
    Written { name: "idempotence: a broken batch in between", write: broken_between },
    Written { name: "idempotence: compressed batches again", write: compressed_again },
    Written { name: "idempotence: ids in every version", write: ids },
    Written { name: "idempotence: ids for producers that have one", write: ids_again },
];

fn start(author: &mut Author<'_>) {
    author.log("t", 2, &[]);
    author.producer("p");
}

fn put<'s>(author: &'s mut Author<'_>, sequence: i64, count: i64) -> crate::story::Asked<'s> {
    author.produce("t", 0, &sequenced("p", sequence, count))
}

/// A batch with numbers of one's own.
fn of(epoch: i64, sequence: i64, count: i64) -> Value {
    json!([{
        "producer_id": "$p/producer_id", "producer_epoch": epoch, "base_sequence": sequence,
        "records": present(sequence.rem_euclid(1000), count),
    }])
}

fn end(author: &mut Author<'_>) {
    author.read("t", 0, &[0]);
    author.look_up("t", 0, -1).lasting();
}

fn in_order(author: &mut Author<'_>) {
    start(author);
    let mut next = 0;
    for _ in 0..6 {
        let count = author.random.of([1, 2, 5]);
        put(author, next, count);
        next += count;
    }
    end(author);
}

fn gap(author: &mut Author<'_>) {
    start(author);
    put(author, 0, 2);
    let wide = author.random.of([1, 10, 1000]);
    put(author, 2 + wide, 1);
    put(author, 2, 1);
    put(author, 3 + wide, 1);
    put(author, 3, 1);
    end(author);
}

fn last_again(author: &mut Author<'_>) {
    start(author);
    let count = author.random.of([1, 2, 5]);
    for at in 0..3 {
        put(author, at * count, count);
    }
    put(author, 2 * count, count);
    put(author, 2 * count, count);
    // Kafka knows the last batch alone after a restart; Headwater the last five, as before.
    put(author, 3 * count, 1).lasting();
    end(author);
}

fn five_again(author: &mut Author<'_>) {
    start(author);
    for at in 0..7 {
        put(author, at * 2, 2);
    }
    let first = author.random.below(5) as i64;
    for at in 0..5 {
        put(author, (2 + (at + first) % 5) * 2, 2);
    }
    put(author, 14, 1);
    end(author);
}

fn older_again(author: &mut Author<'_>) {
    start(author);
    let many = author.random.of([6, 8]);
    for at in 0..many {
        put(author, at, 1);
    }
    for at in 0..many - 5 {
        put(author, at, 1);
    }
    put(author, 0, 3);
    end(author);
}

fn part_again(author: &mut Author<'_>) {
    start(author);
    put(author, 0, 4);
    put(author, 4, 4);
    for (sequence, count) in [(4, 3), (5, 3), (4, 5), (0, 8), (6, 4), (7, 1), (0, 1)] {
        put(author, sequence, count);
    }
    put(author, 8, 1);
    end(author);
}

fn wrap(author: &mut Author<'_>) {
    start(author);
    let last = i64::from(i32::MAX);
    let back = author.random.of([0, 1, 3]);
    put(author, last - back, back + 1);
    put(author, 1 + back, 1);
    put(author, 0, 2);
    put(author, last - back, back + 1);
    put(author, 2, 1);
    end(author);
}

fn across_the_wrap(author: &mut Author<'_>) {
    start(author);
    let last = i64::from(i32::MAX);
    let back = author.random.of([1, 2]);
    put(author, last - back, back + 3);
    put(author, last - back, back + 3);
    put(author, 1, 1);
    put(author, 2, 1);
    end(author);
}

fn epochs_rise(author: &mut Author<'_>) {
    start(author);
    author.produce("t", 0, &of(0, 0, 2));
    let up = author.random.of([1, 2, 100]);
    author.produce("t", 0, &of(up, 2, 1));
    author.produce("t", 0, &of(up, 0, 1));
    author.produce("t", 0, &of(up, 0, 1));
    author.produce("t", 0, &of(up, 1, 1));
    author.produce("t", 0, &of(0, 2, 1));
    author.produce("t", 0, &of(i64::from(i16::MAX), 0, 1)).label("top");
    author.produce("t", 0, &of(i64::from(i16::MAX), 0, 1)).lasting();
    end(author);
}

fn epoch_falls(author: &mut Author<'_>) {
    start(author);
    author.produce("t", 0, &of(3, 0, 2));
    for epoch in [2, 0] {
        let sequence = author.random.of([0, 2]);
        author.produce("t", 0, &of(epoch, sequence, 1)).lasting();
    }
    author.produce("t", 0, &of(3, 2, 1));
    end(author);
}

fn unknown(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    let id = author.random.of([1_i64 << 40, i64::MAX]);
    let sequence = author.random.of([0, 5, i64::from(i32::MAX)]);
    for (epoch, base) in [(0, sequence), (0, sequence), (0, 1000), (7, 3), (7, 0)] {
        let batch =
            json!([{ "producer_id": id, "producer_epoch": epoch, "base_sequence": base, "records": present(0, 1) }]);
        author.produce("t", 0, &batch);
    }
    author.look_up("t", 0, -1).lasting();
}

fn another_partition(author: &mut Author<'_>) {
    start(author);
    put(author, 0, 2);
    let sequence = author.random.of([0, 2, 9]);
    author.produce("t", 1, &sequenced("p", sequence, 1));
    author.produce("t", 1, &sequenced("p", sequence, 1));
    author.produce("t", 1, &sequenced("p", sequence + 1, 1));
    put(author, 2, 1);
    end(author);
    author.look_up("t", 1, -1).lasting();
}

fn two_in_turn(author: &mut Author<'_>) {
    start(author);
    author.producer("q");
    for at in 0..3 {
        let producers = if author.random.one_in(2) { ["p", "q"] } else { ["q", "p"] };
        for producer in producers {
            author.produce("t", 0, &sequenced(producer, at * 2, 2));
        }
    }
    for producer in ["q", "p"] {
        author.produce("t", 0, &sequenced(producer, 4, 2)).lasting();
        author.produce("t", 0, &sequenced(producer, 7, 1));
    }
    end(author);
}

fn send_five(author: &mut Author<'_>, first: i64) {
    let version = author.random.of([7, 9, 13]);
    for at in 0..5 {
        let set = sequenced("p", first + at * 2, 2);
        author.produce_in(version, version, "t", 0, &set).label(&format!("f{at}")).send_only();
    }
    for at in 0..5 {
        author.await_answer(&format!("f{at}"));
    }
}

fn in_flight(author: &mut Author<'_>) {
    start(author);
    send_five(author, 0);
    send_five(author, 10);
    send_five(author, 10);
    end(author);
}

fn in_flight_behind_a_gap(author: &mut Author<'_>) {
    start(author);
    put(author, 0, 2);
    let by = author.random.of([1, 2, 8]);
    send_five(author, 2 + by);
    put(author, 2, by);
    send_five(author, 2 + by);
    end(author);
}

fn made_anew(author: &mut Author<'_>) {
    start(author);
    put(author, 0, 3);
    author.remove("t");
    author.log("t", 2, &[]);
    let sequence = author.random.of([0, 3, 1]);
    put(author, sequence, 1);
    put(author, sequence, 1);
    put(author, sequence + 1, 1);
    end(author);
}

fn trimmed(author: &mut Author<'_>) {
    start(author);
    for at in 0..3 {
        put(author, at * 2, 2);
    }
    let offset = author.random.of([3, 6, -1]);
    author.trim("t", 0, offset);
    put(author, 4, 2);
    put(author, 0, 2);
    put(author, 7, 1);
    put(author, 6, 1);
    put(author, 6, 1).lasting();
    end(author);
}

fn senseless(author: &mut Author<'_>) {
    start(author);
    let with = |id: &Value, epoch: i64, sequence: i64| json!([{ "producer_id": id, "producer_epoch": epoch, "base_sequence": sequence, "records": present(0, 1) }]);
    let id = json!("$p/producer_id");
    for (epoch, sequence) in [(-1, 0), (0, -1), (-1, -1), (-2, 0), (0, -2), (i64::from(i16::MIN), 0)] {
        author.produce("t", 0, &with(&id, epoch, sequence));
    }
    for other in [-1, -2, i64::MIN] {
        author.produce("t", 0, &with(&json!(other), 0, 0));
    }
    put(author, 0, 1);
    author.look_up("t", 0, -1);
}

fn twice_in_one(author: &mut Author<'_>) {
    start(author);
    let partitions =
        json!([{ "index": 0, "records": sequenced("p", 0, 1) }, { "index": 0, "records": sequenced("p", 1, 1) }]);
    author.ask("produce", producing(-1, &json!([given("t", &partitions)])));
    let two = json!([
        { "producer_id": "$p/producer_id", "producer_epoch": 0, "base_sequence": 2, "records": present(2, 1) },
        { "producer_id": "$p/producer_id", "producer_epoch": 0, "base_sequence": 3, "records": present(3, 1) },
    ]);
    author.produce("t", 0, &two);
    end(author);
}

fn broken_between(author: &mut Author<'_>) {
    start(author);
    put(author, 0, 2);
    let mut broken = sequenced("p", 2, 2);
    let (field, value) = author.random.of([("crc", 1), ("count", 3), ("last_offset_delta", 5)]);
    broken[0][field] = json!(value);
    author.produce("t", 0, &broken);
    put(author, 4, 1);
    put(author, 2, 2);
    end(author);
}

fn compressed_again(author: &mut Author<'_>) {
    start(author);
    let codec = author.random.of(["gzip", "snappy", "lz4"]);
    let other = author.random.of(["none", "gzip"]);
    for (sequence, codec) in [(0, codec), (3, codec), (3, other), (0, other)] {
        let mut set = sequenced("p", sequence, 3);
        set[0]["codec"] = json!(codec);
        author.produce("t", 0, &set);
    }
    end(author);
}

fn ids(author: &mut Author<'_>) {
    for version in author.versions("init_producer_id", 0, i16::MAX) {
        let timeout = author.random.of([0, -1, 60_000, i64::from(i32::MAX)]);
        let body = json!({ "transactional_id": null, "transaction_timeout_ms": timeout });
        author.ask_in("init_producer_id", version, version, body).settled();
    }
}

fn ids_again(author: &mut Author<'_>) {
    author.producer("p");
    let own = json!("$p/producer_id");
    for (id, epoch) in [(own.clone(), 0), (own.clone(), 5), (own, -1), (json!(-1), 0), (json!(-1), -1), (json!(-5), -5)]
    {
        let body = json!({
            "transactional_id": null, "transaction_timeout_ms": 60_000, "producer_id": id, "producer_epoch": epoch,
        });
        author.ask_in("init_producer_id", 3, i16::MAX, body);
    }
    for id in [json!(""), json!("@tx")] {
        let timeout = author.random.of([0, -1]);
        author.ask("init_producer_id", json!({ "transactional_id": id, "transaction_timeout_ms": timeout })).settled();
    }
}
