//! What a broker tells of topics, of itself and of its disks.

use serde_json::{Value, json};

use super::Written;
use crate::story::{Asked, Author};

pub const STORIES: &[Written] = &[
    Written { name: "topics: metadata by name", write: by_name },
    Written { name: "topics: metadata by id", write: by_id },
    Written { name: "topics: metadata of names that are none", write: no_names },
    Written { name: "topics: metadata by both or neither", write: both },
    Written { name: "topics: metadata of all, and of none", write: all_and_none },
    Written { name: "topics: metadata of one that is named twice", write: named_twice },
    Written { name: "topics: metadata with what one may do", write: authorized },
    Written { name: "topics: metadata creates none", write: creates_none },
    Written { name: "topics: metadata while one comes and goes", write: comes_and_goes },
    Written { name: "topics: partitions described", write: described },
    Written { name: "topics: partitions described within a limit", write: limited },
    Written { name: "topics: partitions described from a cursor on", write: cursor },
    Written { name: "topics: partitions described of what is not there", write: not_there },
    Written { name: "topics: the cluster described", write: cluster },
    Written { name: "topics: the cluster described by endpoints", write: endpoints },
    Written { name: "topics: no reassignments", write: reassignments },
    Written { name: "log dirs: of some topics", write: dirs_of_some },
    Written { name: "log dirs: of what is not there", write: dirs_not_there },
    Written { name: "log dirs: sizes grow with what is produced", write: dirs_grow },
    Written { name: "log dirs: in every version", write: dirs_in_versions },
];

fn metadata<'s>(author: &'s mut Author<'_>, low: i16, topics: &Value) -> Asked<'s> {
    author.ask_in("metadata", low, i16::MAX, json!({ "topics": topics, "allow_auto_topic_creation": false }))
}

fn by_name(author: &mut Author<'_>) {
    author.topic("t", 3);
    author.topic("u", 1);
    let mut names = vec![json!({ "name": "@u" }), json!({ "name": "@none" }), json!({ "name": "@t" })];
    let turn = author.random.below(3);
    names.rotate_left(turn);
    metadata(author, 4, &json!(names)).lasting();
    author.ask_in("metadata", 0, 3, json!({ "topics": [{ "name": "@t" }] }));
}

fn by_id(author: &mut Author<'_>) {
    author.topic("t", 2);
    author.topic("u", 1);
    for ids in [&["#t"] as &[&str], &["#none"], &["#u", "#none", "#t"], &["#t", "#t"]] {
        let topics: Vec<Value> = ids.iter().map(|id| json!({ "topic_id": id, "name": null })).collect();
        metadata(author, 12, &json!(topics)).lasting();
        metadata(author, 10, &json!(topics));
    }
}

fn no_names(author: &mut Author<'_>) {
    for name in ["", ".", "..", "a b", "a/b", "\u{e4}", &"x".repeat(249), &"x".repeat(250)] {
        metadata(author, 4, &json!([{ "name": name }]));
    }
    author.topic("t", 1);
    metadata(author, 4, &json!([{ "name": "a b" }, { "name": "@t" }, { "name": "" }]));
}

fn both(author: &mut Author<'_>) {
    author.topic("t", 1);
    author.topic("u", 1);
    for topics in [
        json!([{ "name": "@t", "topic_id": "#t" }]),
        json!([{ "name": "@t", "topic_id": "#u" }]),
        json!([{ "name": null, "topic_id": "00000000-0000-0000-0000-000000000000" }]),
        json!([{ "name": "@t" }, { "name": null, "topic_id": "#u" }]),
        json!([{ "name": "", "topic_id": "#u" }]),
    ] {
        for version in 10..=13 {
            if author.versions("metadata", version, version).is_empty() {
                continue;
            }
            let body = json!({ "topics": topics, "allow_auto_topic_creation": false });
            author.ask_in("metadata", version, version, body);
        }
    }
}

fn all_and_none(author: &mut Author<'_>) {
    author.topic("t", 1);
    author.topic("u", 2);
    author.ask_in("metadata", 0, 0, json!({ "topics": [] }));
    metadata(author, 4, &json!([])).lasting();
    for version in 1..=13 {
        if author.versions("metadata", version, version).is_empty() {
            continue;
        }
        author.ask_in("metadata", version, version, json!({ "topics": null, "allow_auto_topic_creation": false }));
    }
}

fn named_twice(author: &mut Author<'_>) {
    author.topic("t", 1);
    metadata(author, 4, &json!([{ "name": "@t" }, { "name": "@t" }]));
    metadata(author, 4, &json!([{ "name": "@none" }, { "name": "@t" }, { "name": "@none" }]));
}

fn authorized(author: &mut Author<'_>) {
    author.topic("t", 1);
    for (topic, cluster) in [(true, true), (true, false), (false, true), (false, false)] {
        let body = json!({
            "topics": [{ "name": "@t" }, { "name": "@none" }], "allow_auto_topic_creation": false,
            "include_topic_authorized_operations": topic, "include_cluster_authorized_operations": cluster,
        });
        author.ask_in("metadata", 8, 10, body.clone());
        author.ask_in("metadata", 11, i16::MAX, body);
        author.ask("describe_cluster", json!({ "include_cluster_authorized_operations": cluster }));
    }
}

fn creates_none(author: &mut Author<'_>) {
    // Neither broker is configured to.
    for allow in [true, false] {
        author.ask_in(
            "metadata",
            4,
            i16::MAX,
            json!({ "topics": [{ "name": "@t" }], "allow_auto_topic_creation": allow }),
        );
    }
    author.ask_in("metadata", 0, 3, json!({ "topics": [{ "name": "@t" }] }));
    author.sleep_ms(300);
    metadata(author, 4, &json!([{ "name": "@t" }]));
}

fn comes_and_goes(author: &mut Author<'_>) {
    for _ in 0..2 {
        metadata(author, 4, &json!([{ "name": "@t" }]));
        let partitions = author.random.of([1, 4]);
        author.topic("t", partitions);
        metadata(author, 4, &json!([{ "name": "@t" }]));
        author.ask_in("delete_topics", 1, 5, json!({ "topic_names": ["@t"], "timeout_ms": 30_000 }));
        author.sleep_ms(300);
    }
    metadata(author, 4, &json!([{ "name": "@t" }])).lasting();
}

fn describe<'s>(author: &'s mut Author<'_>, topics: &[&str], limit: i32, cursor: &Value) -> Asked<'s> {
    let topics: Vec<Value> = topics.iter().map(|name| json!({ "name": name })).collect();
    let body = json!({ "topics": topics, "response_partition_limit": limit, "cursor": cursor });
    author.ask("describe_topic_partitions", body)
}

fn described(author: &mut Author<'_>) {
    author.topic("t", 3);
    author.topic("a", 1);
    describe(author, &["@t", "@a"], 2000, &Value::Null).lasting();
    describe(author, &["@t", "@t"], 2000, &Value::Null);
    describe(author, &["@t", "@none", "@a"], 2000, &Value::Null);
}

fn limited(author: &mut Author<'_>) {
    author.topic("t", 3);
    author.topic("a", 2);
    for limit in [0, 1, 2, 3, 4, 5, 6, -1, i32::MAX] {
        describe(author, &["@t", "@none", "@a"], limit, &Value::Null);
    }
}

fn cursor(author: &mut Author<'_>) {
    author.topic("t", 3);
    author.topic("a", 2);
    for (name, partition) in
        [("@a", 0), ("@a", 1), ("@a", 2), ("@b", 0), ("@t", 2), ("@t", 3), ("@t", 99), ("@t", -1), ("@z", 0), ("", 0)]
    {
        let limit = author.random.of([1, 2, 3, 2000]);
        describe(author, &["@t", "@a"], limit, &json!({ "topic_name": name, "partition_index": partition }));
    }
    describe(author, &["@t"], 1, &Value::Null).label("first");
    describe(
        author,
        &["@t"],
        1,
        &json!({ "topic_name": "$first/next_cursor/topic_name", "partition_index": "$first/next_cursor/partition_index" }),
    );
}

fn not_there(author: &mut Author<'_>) {
    for name in ["@none", "", ".", "a b", "__consumer_offsets_not"] {
        describe(author, &[name], 2000, &Value::Null);
    }
    describe(author, &["@none", "@other"], 1, &Value::Null);
    describe(author, &["@none"], 1, &json!({ "topic_name": "@none", "partition_index": 0 }));
}

fn cluster(author: &mut Author<'_>) {
    for fenced in [false, true] {
        let body = json!({ "include_cluster_authorized_operations": author.random.one_in(2), "endpoint_type": 1, "include_fenced_brokers": fenced });
        author.ask("describe_cluster", body).lasting();
    }
}

fn endpoints(author: &mut Author<'_>) {
    for endpoint_type in [0, 1, 2, 3, -1, 127] {
        author.ask_in(
            "describe_cluster",
            1,
            i16::MAX,
            json!({ "include_cluster_authorized_operations": false, "endpoint_type": endpoint_type }),
        );
    }
}

fn reassignments(author: &mut Author<'_>) {
    author.topic("t", 2);
    for topics in [
        Value::Null,
        json!([]),
        json!([{ "name": "@t", "partition_indexes": [0, 1] }]),
        json!([{ "name": "@t", "partition_indexes": [] }]),
        json!([{ "name": "@t", "partition_indexes": [7] }, { "name": "@none", "partition_indexes": [0] }]),
    ] {
        author.ask("list_partition_reassignments", json!({ "timeout_ms": 30_000, "topics": topics }));
    }
}

fn dirs<'s>(author: &'s mut Author<'_>, topics: &Value) -> Asked<'s> {
    author.ask("describe_log_dirs", json!({ "topics": topics }))
}

/// A topic whose partition has a log: it is told of before.
fn logged(author: &mut Author<'_>, topic: &str) {
    author.topic(topic, 1);
    let partitions = json!([{ "partition_index": 0, "timestamp": -1 }]);
    let wanted = json!({ "replica_id": -1, "topics": [{ "name": format!("@{topic}"), "partitions": partitions }] });
    author.ask_in("list_offsets", 1, i16::MAX, wanted).settled();
}

fn dirs_of_some(author: &mut Author<'_>) {
    logged(author, "t");
    logged(author, "u");
    dirs(author, &json!([{ "topic": "@t", "partitions": [0] }]));
    dirs(author, &json!([{ "topic": "@t", "partitions": [0] }, { "topic": "@u", "partitions": [0] }]));
    dirs(author, &json!([{ "topic": "@t", "partitions": [] }]));
    dirs(author, &json!([]));
    dirs(author, &json!([{ "topic": "@t", "partitions": [0, 0] }, { "topic": "@t", "partitions": [0] }]));
}

fn dirs_not_there(author: &mut Author<'_>) {
    logged(author, "t");
    dirs(author, &json!([{ "topic": "@none", "partitions": [0] }]));
    let odd = author.random.of([1, 7, -1]);
    dirs(author, &json!([{ "topic": "@t", "partitions": [odd] }]));
    dirs(author, &json!([{ "topic": "@t", "partitions": [0, odd] }, { "topic": "", "partitions": [0] }]));
}

fn dirs_grow(author: &mut Author<'_>) {
    logged(author, "t");
    for at in 0..3_i64 {
        let value = "v".repeat(author.random.of([1, 10, 1000]));
        let record = json!({ "key": "k", "value": value, "timestamp": 1_600_000_000_000_i64 + at });
        author.produce_in(3, 12, "t", 0, &json!([{ "records": [record] }])).settled();
        dirs(author, &json!([{ "topic": "@t", "partitions": [0] }]));
    }
    dirs(author, &json!([{ "topic": "@t", "partitions": [0] }])).lasting();
}

fn dirs_in_versions(author: &mut Author<'_>) {
    logged(author, "t");
    for version in 0..=5 {
        if author.versions("describe_log_dirs", version, version).is_empty() {
            continue;
        }
        let topics = json!([{ "topic": "@t", "partitions": [0] }]);
        author.ask_in("describe_log_dirs", version, version, json!({ "topics": topics }));
        // What others made is not shown.
        author.ask_in("describe_log_dirs", version, version, json!({ "topics": [] }));
    }
}
