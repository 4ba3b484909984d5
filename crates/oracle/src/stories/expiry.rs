//! What brokers forget by themselves. Told on a pair that looks for it all the time ([`CONFIGURATION`]): elsewhere it would
//! take from other stories what they are about.

use serde_json::{Value, json};

use super::Written;
use super::membership::{ONE, described, stable};
use super::offsets::{begun, commit, fetch, partition, simply, topic};
use crate::story::Author;

/// The family.
pub const STORIES: &[Written] = &[
    Written { name: "expiry: offsets whose commit says for how long", write: by_the_request },
    Written { name: "expiry: some of a group", write: some },
    Written { name: "expiry: offsets of topics that members subscribe to stay", write: subscribed },
    Written { name: "expiry: a group that its members left", write: left },
    Written { name: "expiry: a group of offsets whose last one is deleted", write: last_deleted },
    Written { name: "expiry: a group whose topic is deleted", write: topic_deleted },
    Written { name: "expiry: committed anew", write: anew },
    Written { name: "expiry: commits that say when they were made", write: dated },
];

/// What such a pair is configured with beside the rest.
pub const CONFIGURATION: [(&str, &str); 1] = [("offsets.retention.check.interval.ms", "300")];

/// Long enough for both to have looked.
const LOOKED_MS: u64 = 1500;

const ALL: [(&str, &[i32]); 1] = [("t", &[0, 1, 2])];

fn kept_for(ms: i64, topics: &[Value]) -> Value {
    let mut body = simply(topics);
    body["retention_time_ms"] = json!(ms);
    body
}

fn looked_at(author: &mut Author<'_>) {
    author.sleep_ms(LOOKED_MS);
    fetch(author, Some(&ALL));
    described(author);
    author.ask("list_groups", json!({ "states_filter": [], "types_filter": [] }));
}

fn by_the_request(author: &mut Author<'_>) {
    begun(author);
    let ms = author.random.of([0, 1, 200]);
    author.ask_in("offset_commit", 2, 4, kept_for(ms, &[topic("t", &[partition(0, 3), partition(1, 4)])]));
    looked_at(author);
}

fn some(author: &mut Author<'_>) {
    begun(author);
    author.ask_in("offset_commit", 2, 4, kept_for(200, &[topic("t", &[partition(0, 3)])]));
    author.ask_in("offset_commit", 2, 4, kept_for(3_600_000, &[topic("t", &[partition(1, 4)])]));
    commit(author, &[topic("t", &[partition(2, 5)])]);
    looked_at(author);
}

fn subscribed(author: &mut Author<'_>) {
    author.topic("t", 3);
    author.topic("u", 1);
    stable(author, &[ONE.speaks(&[("range", "%t")])]);
    let mut body = kept_for(200, &[topic("t", &[partition(0, 3)]), topic("u", &[partition(0, 4)])]);
    body["generation_id_or_member_epoch"] = json!(ONE.generation());
    body["member_id"] = json!(ONE.id());
    author.ask_in("offset_commit", 2, 4, body).on(ONE.connection);
    author.sleep_ms(LOOKED_MS);
    fetch(author, Some(&[("t", &[0]), ("u", &[0])]));
    ONE.leave(author);
    author.sleep_ms(LOOKED_MS);
    fetch(author, Some(&[("t", &[0]), ("u", &[0])]));
    described(author);
}

fn left(author: &mut Author<'_>) {
    author.topic("t", 3);
    stable(author, &[ONE]);
    if author.random.one_in(2) {
        ONE.commit(author, 0, 3);
    }
    ONE.leave(author);
    looked_at(author);
}

fn last_deleted(author: &mut Author<'_>) {
    begun(author);
    commit(author, &[topic("t", &[partition(0, 3)])]);
    looked_at(author);
    let body = json!({ "group_id": "@g", "topics": [{ "name": "@t", "partitions": [{ "partition_index": 0 }] }] });
    author.ask("offset_delete", body);
    looked_at(author);
}

fn topic_deleted(author: &mut Author<'_>) {
    begun(author);
    commit(author, &[topic("t", &[partition(0, 3)])]);
    author.ask_in("delete_topics", 1, 5, json!({ "topic_names": ["@t"], "timeout_ms": 30_000 }));
    author.step(crate::story::Step::Gone("t".to_owned()));
    author.sleep_ms(LOOKED_MS);
    fetch(author, None);
    described(author);
}

fn anew(author: &mut Author<'_>) {
    begun(author);
    author.ask_in("offset_commit", 2, 4, kept_for(200, &[topic("t", &[partition(0, 3)])]));
    author.sleep_ms(LOOKED_MS);
    author.ask_in("offset_commit", 2, 4, kept_for(3_600_000, &[topic("t", &[partition(0, 4)])]));
    looked_at(author);
}

/// Of version 1 alone: what was committed long ago is old already.
fn dated(author: &mut Author<'_>) {
    author.of_old();
    begun(author);
    let mut timed = partition(0, 4);
    timed["commit_timestamp"] = json!(author.random.of([-1, 0, 1_600_000_000_000_i64]));
    author.ask_in("offset_commit", 1, 1, simply(&[topic("t", &[timed])]));
    looked_at(author);
}
