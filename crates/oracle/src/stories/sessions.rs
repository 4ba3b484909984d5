//! Fetch sessions: what is asked once and answered only where something changes.

use serde_json::{Value, json};

use super::Written;
use super::log::{batch, from, wanted};
use crate::story::{Asked, Author};

pub const STORIES: &[Written] = &[
    Written { name: "sessions: a full request, then what changes", write: incremental },
    Written { name: "sessions: topics are forgotten", write: forgotten },
    Written { name: "sessions: partitions are added and moved", write: added },
    Written { name: "sessions: epochs that are not the next", write: epochs },
    Written { name: "sessions: ids that there are not", write: unknown },
    Written { name: "sessions: closed by its last epoch", write: closed },
    Written { name: "sessions: a new one replaces an old one", write: replaced },
    Written { name: "sessions: one over several connections", write: connections },
    Written { name: "sessions: two at a time", write: two },
    Written { name: "sessions: an error lasts", write: errors },
    Written { name: "sessions: a topic comes to be", write: appears },
    Written { name: "sessions: a topic is made anew", write: made_anew },
    Written { name: "sessions: the log start moves", write: trimmed },
    Written { name: "sessions: nothing is asked for", write: empty },
    Written { name: "sessions: names and ids in turn", write: names_and_ids },
    Written { name: "sessions: waits for what changes", write: waits },
];

/// A request in a session: by an id, in an epoch, of topics, without forgotten ones.
fn ask<'s>(
    author: &'s mut Author<'_>,
    bounds: (i16, i16),
    id: &Value,
    epoch: i64,
    topics: &Value,
    forgotten: &Value,
) -> Asked<'s> {
    let body = json!({
        "replica_id": -1, "max_wait_ms": 0, "min_bytes": 0, "max_bytes": 10_000_000, "session_id": id,
        "session_epoch": epoch, "topics": topics, "forgotten_topics_data": forgotten,
    });
    author.ask_in("fetch", bounds.0.max(7), bounds.1, body)
}

/// Versions that name topics, or those that say their ids: a session keeps to one kind.
fn kind(author: &mut Author<'_>) -> (i16, i16) {
    author.random.of([(7, 12), (13, i16::MAX)])
}

fn partitions(of: &[(i32, i64)]) -> Value {
    let all: Vec<Value> = of.iter().map(|(partition, offset)| from(*partition, *offset)).collect();
    json!([wanted("t", &Value::Array(all))])
}

/// Topic `t` of three partitions, two of which have records, and a session of all, labelled `s`.
fn start(author: &mut Author<'_>) -> (i16, i16) {
    author.log("t", 3, &[]);
    for partition in [0, 1] {
        author.produce("t", partition, &batch(0, 2));
    }
    let bounds = kind(author);
    let topics = partitions(&[(0, 0), (1, 2), (2, 0)]);
    ask(author, bounds, &json!(0), 0, &topics, &json!([])).label("s");
    bounds
}

fn next<'s>(author: &'s mut Author<'_>, bounds: (i16, i16), epoch: i64, topics: &Value) -> Asked<'s> {
    ask(author, bounds, &json!("$s/session_id"), epoch, topics, &json!([]))
}

fn incremental(author: &mut Author<'_>) {
    let bounds = start(author);
    next(author, bounds, 1, &json!([]));
    next(author, bounds, 2, &partitions(&[(0, 2)]));
    next(author, bounds, 3, &json!([]));
    let partition = author.random.of([0, 1, 2]);
    author.produce("t", partition, &batch(2, 1));
    next(author, bounds, 4, &json!([]));
    next(author, bounds, 5, &json!([]));
}

fn forgotten(author: &mut Author<'_>) {
    let bounds = start(author);
    let gone = author.random.of([0, 1]);
    let forgotten = json!([{ "topic": "@t", "topic_id": "#t", "partitions": [gone, 2, 9] }]);
    ask(author, bounds, &json!("$s/session_id"), 1, &json!([]), &forgotten);
    for partition in 0..3 {
        author.produce("t", partition, &batch(2, 1));
    }
    next(author, bounds, 2, &json!([]));
    next(author, bounds, 3, &partitions(&[(2, 0)]));
    let both = json!([{ "topic": "@t", "topic_id": "#t", "partitions": [0] }]);
    ask(author, bounds, &json!("$s/session_id"), 4, &partitions(&[(0, 0)]), &both);
    let all = json!([{ "topic": "@t", "topic_id": "#t", "partitions": [0, 1, 2] }]);
    ask(author, bounds, &json!("$s/session_id"), 5, &json!([]), &all);
    next(author, bounds, 6, &json!([]));
}

fn added(author: &mut Author<'_>) {
    author.log("t", 3, &[]);
    for partition in 0..3 {
        author.produce("t", partition, &batch(0, 2));
    }
    let bounds = kind(author);
    let first = author.random.of([0, 1, 2]);
    ask(author, bounds, &json!(0), 0, &partitions(&[(first, 2)]), &json!([])).label("s");
    next(author, bounds, 1, &partitions(&[((first + 1) % 3, 0), ((first + 2) % 3, 1)]));
    next(author, bounds, 2, &partitions(&[(first, 0), ((first + 1) % 3, 2)]));
    next(author, bounds, 3, &json!([]));
    next(author, bounds, 4, &json!([]));
}

fn epochs(author: &mut Author<'_>) {
    let bounds = start(author);
    for epoch in [2, 0x7fff_ffff, -2, 1, 1] {
        next(author, bounds, epoch, &json!([]));
    }
    next(author, bounds, 2, &json!([]));
}

fn unknown(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    let bounds = kind(author);
    let id = author.random.of([1, -1, i64::from(i32::MAX)]);
    for epoch in [1, 0, -1, -2, 7] {
        ask(author, bounds, &json!(id), epoch, &partitions(&[(0, 0)]), &json!([])).label(&format!("u{epoch}"));
    }
    for epoch in [1, -2] {
        ask(author, bounds, &json!(0), epoch, &partitions(&[(0, 0)]), &json!([]));
    }
}

fn closed(author: &mut Author<'_>) {
    let bounds = start(author);
    next(author, bounds, 1, &json!([]));
    let topics = partitions(&[(1, 0)]);
    next(author, bounds, -1, &topics);
    next(author, bounds, 2, &json!([]));
    next(author, bounds, -1, &topics);
}

fn replaced(author: &mut Author<'_>) {
    let bounds = start(author);
    next(author, bounds, 0, &partitions(&[(1, 0)])).label("n");
    next(author, bounds, 1, &json!([]));
    ask(author, bounds, &json!("$n/session_id"), 1, &json!([]), &json!([]));
}

fn connections(author: &mut Author<'_>) {
    let bounds = start(author);
    next(author, bounds, 1, &json!([])).on(1);
    author.close(0);
    author.produce("t", 2, &batch(0, 1)).on(2);
    next(author, bounds, 2, &json!([])).on(2);
    next(author, bounds, 2, &json!([])).on(1);
}

fn two(author: &mut Author<'_>) {
    let bounds = start(author);
    let topics = partitions(&[(0, 2), (1, 2)]);
    ask(author, bounds, &json!(0), 0, &topics, &json!([])).label("z").on(1);
    author.produce("t", 1, &batch(2, 1));
    for epoch in [1, 2] {
        ask(author, bounds, &json!("$z/session_id"), epoch, &json!([]), &json!([])).on(1);
        next(author, bounds, epoch, &json!([]));
    }
}

fn errors(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    author.produce("t", 0, &batch(0, 2));
    let bounds = kind(author);
    let wrong = author.random.of([(0, 9), (5, 0), (0, -3)]);
    ask(author, bounds, &json!(0), 0, &partitions(&[wrong]), &json!([])).label("s");
    next(author, bounds, 1, &json!([]));
    next(author, bounds, 2, &partitions(&[(0, 0)]));
    next(author, bounds, 3, &json!([]));
}

fn appears(author: &mut Author<'_>) {
    author.log("u", 1, &[]);
    let topics = json!([wanted("t", &json!([from(0, 0)])), wanted("u", &json!([from(0, 0)]))]);
    ask(author, (7, 12), &json!(0), 0, &topics, &json!([])).label("s");
    next(author, (7, 12), 1, &json!([]));
    author.log("t", 1, &[]);
    next(author, (7, 12), 2, &json!([]));
    author.produce("t", 0, &batch(0, 1));
    next(author, (7, 12), 3, &json!([]));
    let strange = json!([{ "topic_id": "0badc0de-0bad-40de-8bad-c0de0badc0de", "partitions": [from(0, 0)] }]);
    ask(author, (13, i16::MAX), &json!(0), 0, &strange, &json!([])).label("i");
    ask(author, (13, i16::MAX), &json!("$i/session_id"), 1, &json!([]), &json!([]));
}

fn made_anew(author: &mut Author<'_>) {
    author.log("u", 1, &[]);
    let bounds = start(author);
    author.pin("t", "old");
    author.remove("t");
    next(author, bounds, 1, &json!([]));
    author.log("t", 3, &[]);
    author.produce("t", 0, &batch(0, 1));
    next(author, bounds, 2, &json!([]));
    next(author, bounds, 3, &json!([{ "topic": "@t", "topic_id": "#old", "partitions": [from(0, 0)] }]));
}

fn trimmed(author: &mut Author<'_>) {
    let bounds = start(author);
    next(author, bounds, 1, &partitions(&[(0, 2)]));
    let offset = author.random.of([1, 2]);
    author.trim("t", 0, offset);
    next(author, bounds, 2, &json!([]));
    next(author, bounds, 3, &json!([]));
}

fn empty(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    let bounds = kind(author);
    ask(author, bounds, &json!(0), 0, &json!([]), &json!([])).label("s");
    next(author, bounds, 1, &partitions(&[(0, 0)]));
    ask(author, bounds, &json!(0), -1, &json!([]), &json!([]));
}

fn names_and_ids(author: &mut Author<'_>) {
    let bounds = start(author);
    let other = if bounds.0 == 7 { (13, i16::MAX) } else { (7, 12) };
    next(author, other, 1, &json!([]));
    next(author, other, 1, &partitions(&[(0, 0)]));
    next(author, bounds, 2, &json!([]));
}

fn waits(author: &mut Author<'_>) {
    let bounds = start(author);
    next(author, bounds, 1, &partitions(&[(0, 2)]));
    let body = json!({
        "replica_id": -1, "max_wait_ms": 14_000, "min_bytes": 1, "max_bytes": 10_000_000,
        "session_id": "$s/session_id", "session_epoch": 2,
    });
    author.ask_in("fetch", bounds.0, bounds.1, body).on(1).label("w").send_only();
    author.sleep_ms(100);
    let partition = author.random.of([0, 1, 2]);
    author.produce("t", partition, &batch(2, 1));
    author.await_answer("w");
}
