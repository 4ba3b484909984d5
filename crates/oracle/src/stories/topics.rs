//! Topics come, grow and go.

use serde_json::{Value, json};

use super::Written;
use crate::story::{Asked, Author};

pub const STORIES: &[Written] = &[
    Written { name: "topics: created with everything said", write: created },
    Written { name: "topics: created with defaults", write: defaults },
    Written { name: "topics: created where one is", write: exists },
    Written { name: "topics: several are created, some wrongly", write: several },
    Written { name: "topics: one is created twice in a request", write: twice },
    Written { name: "topics: names that are none", write: names },
    Written { name: "topics: names that clash", write: clashes },
    Written { name: "topics: numbers of partitions that are wrong", write: partitions },
    Written { name: "topics: replication factors", write: factors },
    Written { name: "topics: assignments", write: assignments },
    Written { name: "topics: configurations that are wrong", write: wrong_configs },
    Written { name: "topics: configurations that show", write: right_configs },
    Written { name: "topics: only validated", write: validated },
    Written { name: "topics: nothing is created", write: nothing },
    Written { name: "topics: refused, and late", write: late },
    Written { name: "topics: deleted by name", write: deletes },
    Written { name: "topics: deleted by id", write: deletes_by_id },
    Written { name: "topics: deleted by what they are not called", write: deletes_unknown },
    Written { name: "topics: one is deleted twice in a request", write: deletes_twice },
    Written { name: "topics: a name and an id at once", write: name_and_id },
    Written { name: "topics: created anew with another id", write: anew },
    Written { name: "topics: created anew, nothing is left of it", write: nothing_left },
    Written { name: "topics: partitions are added", write: grows },
    Written { name: "topics: partitions are not taken away", write: shrinks },
    Written { name: "topics: partitions are added on validation only", write: grows_validated },
    Written { name: "topics: partitions are added with assignments", write: grows_assigned },
    Written { name: "topics: partitions of several topics are added", write: grows_several },
    Written { name: "topics: added partitions can be used", write: grown_used },
];

fn create<'s>(author: &'s mut Author<'_>, topics: &Value) -> Asked<'s> {
    author.ask("create_topics", json!({ "topics": topics, "timeout_ms": 30_000, "validate_only": false }))
}

fn plain(name: &str, partitions: i32, factor: i32) -> Value {
    json!({ "name": name, "num_partitions": partitions, "replication_factor": factor, "assignments": [], "configs": [] })
}

fn shown(author: &mut Author<'_>, names: &[&str]) {
    let topics: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
    author.ask_in("metadata", 4, i16::MAX, json!({ "topics": topics, "allow_auto_topic_creation": false })).lasting();
}

/// What is done shows in the end.
fn soon(author: &mut Author<'_>) {
    author.sleep_ms(300);
}

fn created(author: &mut Author<'_>) {
    let mut topic = plain("@t", author.random.of([1, 2, 5]), 1);
    topic["configs"] = json!([{ "name": "retention.ms", "value": author.random.of(["1000", "86400000", "-1"]) }]);
    create(author, &json!([topic]));
    soon(author);
    shown(author, &["@t"]);
}

fn defaults(author: &mut Author<'_>) {
    author.ask_in("create_topics", 4, i16::MAX, json!({ "topics": [plain("@t", -1, -1)], "timeout_ms": 30_000 }));
    author.ask_in(
        "create_topics",
        4,
        i16::MAX,
        json!({ "topics": [plain("@u", 3, -1), plain("@v", -1, 1)], "timeout_ms": 30_000 }),
    );
    author.ask_in("create_topics", 0, 3, json!({ "topics": [plain("@w", -1, 1)], "timeout_ms": 30_000 }));
    author.ask_in("create_topics", 0, 3, json!({ "topics": [plain("@x", 1, -1)], "timeout_ms": 30_000 }));
    soon(author);
    shown(author, &["@t", "@u", "@v", "@w", "@x"]);
}

fn exists(author: &mut Author<'_>) {
    author.topic("t", 2);
    let (partitions, factor) = (author.random.of([1, 2, 0, -1]), author.random.of([1, 0, 5]));
    create(author, &json!([plain("@t", partitions, factor)]));
    author.ask_in(
        "create_topics",
        1,
        i16::MAX,
        json!({ "topics": [plain("@t", 1, 1)], "timeout_ms": 30_000, "validate_only": true }),
    );
    shown(author, &["@t"]);
}

fn several(author: &mut Author<'_>) {
    author.topic("there", 1);
    create(
        author,
        &json!([
            plain("@a", 1, 1),
            plain("not a name", 1, 1),
            plain("@there", 1, 1),
            plain("@b", 0, 1),
            plain("@c", 2, 1)
        ]),
    );
    soon(author);
    shown(author, &["@a", "@b", "@c", "@there"]);
}

fn twice(author: &mut Author<'_>) {
    let other = plain("@t", author.random.of([1, 2]), 1);
    create(author, &json!([plain("@t", 1, 1), other, plain("@u", 1, 1)]));
    soon(author);
    shown(author, &["@t", "@u"]);
}

fn names(author: &mut Author<'_>) {
    for name in ["", ".", "..", "a b", "a/b", "\u{e4}", "a:b", "a\u{0}", &"x".repeat(250), "__consumer_offsets"] {
        create(author, &json!([plain(name, 1, 1)]));
    }
    let long = format!("@{}", "x".repeat(author.random.of([239, 240, 241])));
    create(author, &json!([plain(&long, 1, 1)]));
    soon(author);
    shown(author, &[&long]);
}

fn clashes(author: &mut Author<'_>) {
    author.topic("a.b", 1);
    create(author, &json!([plain("@a_b", 1, 1)]));
    create(author, &json!([plain("@c.d_e", 1, 1), plain("@c_d.e", 1, 1), plain("@c.d.e", 1, 1)]));
    soon(author);
    shown(author, &["@a.b", "@a_b", "@c.d_e", "@c_d.e", "@c.d.e"]);
}

fn partitions(author: &mut Author<'_>) {
    for count in [0, -2, i32::MIN, 1] {
        create(author, &json!([plain(&format!("@t{}", count.unsigned_abs()), count, 1)]));
    }
}

fn factors(author: &mut Author<'_>) {
    for factor in [0, -2, 2, 3, i32::from(i16::MAX), i32::from(i16::MIN), 1] {
        create(author, &json!([plain(&format!("@t{}", factor.unsigned_abs()), 1, factor)]));
    }
}

fn assignments(author: &mut Author<'_>) {
    let one = |index: i32, brokers: &[i32]| json!({ "partition_index": index, "broker_ids": brokers });
    let all = [
        (-1, -1, vec![one(0, &[1]), one(1, &[1])]),
        (-1, -1, vec![one(1, &[1])]),
        (-1, -1, vec![one(0, &[1]), one(2, &[1])]),
        (-1, -1, vec![one(0, &[2])]),
        (-1, -1, vec![one(0, &[])]),
        (-1, -1, vec![one(0, &[1, 1])]),
        (-1, -1, vec![one(0, &[1]), one(0, &[1])]),
        (-1, -1, vec![one(0, &[-1])]),
        (1, 1, vec![one(0, &[1])]),
        (2, -1, vec![one(0, &[1])]),
        (-1, 1, vec![one(0, &[1])]),
    ];
    for (at, (partitions, factor, assignments)) in all.into_iter().enumerate() {
        let mut topic = plain(&format!("@t{at}"), partitions, factor);
        topic["assignments"] = json!(assignments);
        create(author, &json!([topic]));
    }
    soon(author);
    shown(author, &["@t0"]);
}

fn wrong_configs(author: &mut Author<'_>) {
    let wrong = [
        ("no.such.setting", json!("1")),
        ("", json!("1")),
        ("retention.ms", json!("soon")),
        ("retention.ms", json!("-2")),
        ("retention.ms", Value::Null),
        ("retention.ms", json!("")),
        ("cleanup.policy", json!("forget")),
        ("cleanup.policy", json!("")),
        ("compression.type", json!("zip")),
        ("min.insync.replicas", json!("0")),
        ("max.message.bytes", json!("-1")),
        ("segment.bytes", json!("1")),
        ("preallocate", json!("maybe")),
        ("min.cleanable.dirty.ratio", json!("1.5")),
        ("message.timestamp.type", json!("NoTime")),
        ("Retention.ms", json!("1")),
    ];
    for (at, (name, value)) in wrong.into_iter().enumerate() {
        let mut topic = plain(&format!("@t{at}"), 1, 1);
        topic["configs"] = json!([{ "name": name, "value": value }]);
        create(author, &json!([topic]));
    }
    let mut topic = plain("@twice", 1, 1);
    topic["configs"] = json!([{ "name": "retention.ms", "value": "1" }, { "name": "retention.ms", "value": "2" }]);
    create(author, &json!([topic]));
    soon(author);
    shown(author, &["@t0", "@t4", "@t7", "@twice"]);
}

fn right_configs(author: &mut Author<'_>) {
    let mut topic = plain("@t", 1, 1);
    let policy = author.random.of(["compact", "delete", "compact,delete", "delete,compact"]);
    let codec = author.random.of(["gzip", "producer", "uncompressed"]);
    topic["configs"] = json!([
        { "name": "cleanup.policy", "value": policy },
        { "name": "compression.type", "value": codec },
        { "name": "retention.ms", "value": " 1000 " },
        { "name": "max.message.bytes", "value": "2000" },
    ]);
    create(author, &json!([topic]));
    soon(author);
    let keys = json!(["cleanup.policy", "compression.type", "retention.ms", "max.message.bytes"]);
    author
        .ask(
            "describe_configs",
            json!({ "resources": [{ "resource_type": 2, "resource_name": "@t", "configuration_keys": keys }] }),
        )
        .lasting();
}

fn validated(author: &mut Author<'_>) {
    let topics = json!([
        plain("@t", 2, 1),
        plain("@u", -1, -1),
        plain("@v", 0, 1),
        plain("@w", 1, 3),
        plain("not a name", 1, 1)
    ]);
    author.ask_in(
        "create_topics",
        4,
        i16::MAX,
        json!({ "topics": topics, "timeout_ms": 30_000, "validate_only": true }),
    );
    soon(author);
    shown(author, &["@t", "@u"]);
}

/// What is refused whatever the time, and would be late.
fn late(author: &mut Author<'_>) {
    author.topic("t", 2);
    let topics = [plain("@t", 1, 1), plain("not a name", 1, 1), plain("@u", 0, 1)];
    let topic = &topics[author.random.of([0, 1, 2])];
    author.ask("create_topics", json!({ "topics": [topic], "timeout_ms": 0 }));
    author.ask_in("delete_topics", 0, 5, json!({ "topic_names": ["@none"], "timeout_ms": 0 }));
    let none = json!({ "name": null, "topic_id": "#none" });
    author.ask_in("delete_topics", 6, 6, json!({ "topics": [none], "timeout_ms": 0 }));
    let growth = json!({ "name": "@t", "count": author.random.of([1, 2]), "assignments": null });
    author.ask("create_partitions", json!({ "topics": [growth], "timeout_ms": 0 }));
    shown(author, &["@t", "@u"]);
}

fn nothing(author: &mut Author<'_>) {
    create(author, &json!([]));
    let timeout = author.random.of([0, -1]);
    author.ask("create_topics", json!({ "topics": [plain("@t", 1, 1)], "timeout_ms": timeout }));
    author.ask_in("delete_topics", 0, 5, json!({ "topic_names": [], "timeout_ms": 30_000 }));
    author.ask_in("delete_topics", 6, 6, json!({ "topics": [], "timeout_ms": 30_000 }));
    author.ask("create_partitions", json!({ "topics": [], "timeout_ms": 30_000 }));
}

fn delete_names<'s>(author: &'s mut Author<'_>, names: &[&str]) -> Asked<'s> {
    let topics: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
    author.ask("delete_topics", json!({ "topic_names": names, "topics": topics, "timeout_ms": 30_000 }))
}

fn delete_ids<'s>(author: &'s mut Author<'_>, ids: &[&str]) -> Asked<'s> {
    let topics: Vec<Value> = ids.iter().map(|id| json!({ "name": null, "topic_id": id })).collect();
    author.ask_in("delete_topics", 6, i16::MAX, json!({ "topics": topics, "timeout_ms": 30_000 }))
}

fn deletes(author: &mut Author<'_>) {
    author.topic("t", 1);
    author.topic("u", 2);
    delete_names(author, &["@t", "@none", "@u"]);
    soon(author);
    shown(author, &["@t", "@u"]);
    delete_names(author, &["@t"]);
}

fn deletes_by_id(author: &mut Author<'_>) {
    author.topic("t", 1);
    author.topic("u", 1);
    author.pin("t", "gone");
    delete_ids(author, &["#t", "#none"]);
    soon(author);
    delete_ids(author, &["#gone"]);
    delete_ids(author, &["#gone", "#u", "00000000-0000-0000-0000-000000000000"]);
    shown(author, &["@t", "@u"]);
}

fn deletes_unknown(author: &mut Author<'_>) {
    let long = "x".repeat(250);
    let name = author.random.of(["", ".", "a b", &long, "__transaction_state"]);
    delete_names(author, &["@none", name]);
    delete_ids(author, &["#none", "00000000-0000-0000-0000-000000000001"]);
}

fn deletes_twice(author: &mut Author<'_>) {
    author.topic("t", 1);
    author.topic("u", 1);
    delete_names(author, &["@t", "@u", "@t"]);
    soon(author);
    shown(author, &["@t", "@u"]);
    delete_ids(author, &["#none", "#none"]);
}

fn name_and_id(author: &mut Author<'_>) {
    author.topic("t", 1);
    author.topic("u", 1);
    for topics in [
        json!([{ "name": "@t", "topic_id": "#t" }]),
        json!([{ "name": "@t" }, { "name": null, "topic_id": "#t" }]),
        json!([{ "name": null }]),
        json!([{ "name": "@t", "topic_id": "#u" }, { "name": "@u" }]),
    ] {
        author.ask_in("delete_topics", 6, 6, json!({ "topics": topics, "timeout_ms": 30_000 }));
        soon(author);
        shown(author, &["@t", "@u"]);
    }
}

fn anew(author: &mut Author<'_>) {
    for _ in 0..author.random.of([1, 2, 3]) {
        let partitions = author.random.of([1, 2]);
        author.topic("t", partitions);
        shown(author, &["@t"]);
        delete_names(author, &["@t"]);
        soon(author);
    }
    author.topic("t", 3);
    shown(author, &["@t"]);
    author.ask_in("metadata", 12, i16::MAX, json!({ "topics": [{ "topic_id": "#t", "name": null }] })).lasting();
}

fn nothing_left(author: &mut Author<'_>) {
    author.topic_with("t", 1, &[("retention.ms", "-1"), ("max.message.bytes", "5000")]);
    author.pin("t", "before");
    author
        .produce_in(
            3,
            12,
            "t",
            0,
            &json!([{ "records": [{ "key": "k", "value": "v", "timestamp": 1_600_000_000_000_i64 }] }]),
        )
        .settled();
    delete_names(author, &["@t"]);
    soon(author);
    author.topic("t", 1);
    author.fetch_in(4, 12, "t", 0, 0).settled();
    let partitions = json!([{ "partition_index": 0, "timestamp": -1, "max_num_offsets": 1 }]);
    author
        .ask("list_offsets", json!({ "replica_id": -1, "topics": [{ "name": "@t", "partitions": partitions }] }))
        .lasting();
    author.ask_in("metadata", 12, i16::MAX, json!({ "topics": [{ "topic_id": "#before", "name": null }] })).lasting();
    let keys = json!(["retention.ms", "max.message.bytes"]);
    // After a restart Kafka 4.4.0 has what the topic before was configured with again.
    let resources = json!([{ "resource_type": 2, "resource_name": "@t", "configuration_keys": keys }]);
    author.ask("describe_configs", json!({ "resources": resources }));
}

fn grow<'s>(author: &'s mut Author<'_>, topics: &Value) -> Asked<'s> {
    author.ask("create_partitions", json!({ "topics": topics, "timeout_ms": 30_000, "validate_only": false }))
}

fn grows(author: &mut Author<'_>) {
    author.topic("t", 1);
    let count = author.random.of([2, 3, 10]);
    grow(author, &json!([{ "name": "@t", "count": count, "assignments": null }]));
    soon(author);
    shown(author, &["@t"]);
}

fn shrinks(author: &mut Author<'_>) {
    author.topic("t", 3);
    for count in [3, 2, 1, 0, -1, i32::MIN, 4] {
        grow(author, &json!([{ "name": "@t", "count": count, "assignments": null }]));
    }
    grow(
        author,
        &json!([{ "name": "@none", "count": 3, "assignments": null }, { "name": "", "count": 3, "assignments": null }]),
    );
    soon(author);
    shown(author, &["@t"]);
}

fn grows_validated(author: &mut Author<'_>) {
    author.topic("t", 2);
    for count in [3, 2, 1, 0] {
        let topics = json!([{ "name": "@t", "count": count, "assignments": null }]);
        author.ask("create_partitions", json!({ "topics": topics, "timeout_ms": 30_000, "validate_only": true }));
    }
    soon(author);
    shown(author, &["@t"]);
}

fn grows_assigned(author: &mut Author<'_>) {
    author.topic("t", 1);
    let brokers = |lists: &[&[i32]]| lists.iter().map(|ids| json!({ "broker_ids": ids })).collect::<Vec<_>>();
    let wrong: [&[&[i32]]; 8] = [
        &[],
        &[&[1]],
        &[&[1], &[1], &[1]],
        &[&[2], &[1]],
        &[&[1, 1], &[1]],
        &[&[], &[1]],
        &[&[1, 2], &[1]],
        &[&[-1], &[1]],
    ];
    for lists in wrong {
        grow(author, &json!([{ "name": "@t", "count": 3, "assignments": brokers(lists) }]));
    }
    grow(author, &json!([{ "name": "@t", "count": 3, "assignments": brokers(&[&[1], &[1]]) }]));
    soon(author);
    shown(author, &["@t"]);
}

fn grows_several(author: &mut Author<'_>) {
    author.topic("t", 1);
    author.topic("u", 2);
    let of = |name: &str, count: i32| json!({ "name": name, "count": count, "assignments": null });
    grow(author, &json!([of("@t", 2), of("@none", 2), of("@u", 2)]));
    grow(author, &json!([of("@u", 3), of("@u", 4), of("@t", 3)]));
    soon(author);
    shown(author, &["@t", "@u"]);
}

fn grown_used(author: &mut Author<'_>) {
    author.topic("t", 1);
    let batch = json!([{ "records": [{ "key": "k", "value": "v", "timestamp": 1_600_000_000_000_i64 }] }]);
    author.produce_in(3, 12, "t", 1, &batch);
    grow(author, &json!([{ "name": "@t", "count": 2, "assignments": null }]));
    author.produce_in(3, 12, "t", 1, &batch).settled();
    author.fetch_in(4, 12, "t", 1, 0).lasting();
    author.fetch_in(4, 12, "t", 0, 0).lasting();
}
