//! Offsets are deleted, and outlive or do not outlive their topics and members.

use serde_json::{Value, json};

use super::Written;
use super::membership::{Member, ONE, TWO, coordinated, described, stable};
use super::offsets::{begun, commit, everything, fetch, fetched, partition, simply, topic};
use crate::story::{Asked, Author};

pub const STORIES: &[Written] = &[
    Written { name: "offsets: deleted", write: deletes },
    Written { name: "offsets: deleted while a member is subscribed", write: deletes_subscribed },
    Written { name: "offsets: deleted while members subscribe in no known way", write: deletes_opaque },
    Written { name: "offsets: deleted of another protocol type", write: deletes_other_type },
    Written { name: "offsets: deleted of groups, topics and partitions that there are not", write: deletes_not_there },
    Written { name: "offsets: deleted, repeated in one request", write: deletes_repeated },
    Written { name: "offsets: the last ones are deleted", write: deletes_last },
    Written { name: "offsets: their topic is deleted", write: topic_deleted },
    Written { name: "offsets: their topic is created anew", write: topic_anew },
    Written { name: "offsets: their topic grows", write: topic_grows },
    Written { name: "offsets: many partitions of many topics", write: many },
    Written { name: "offsets: a group remembers them when its members are gone", write: members_gone },
];

fn delete<'s>(author: &'s mut Author<'_>, topics: &[(&str, &[i32])]) -> Asked<'s> {
    let one = |(name, partitions): &(&str, &[i32])| {
        let partitions: Vec<Value> = partitions.iter().map(|index| json!({ "partition_index": index })).collect();
        json!({ "name": format!("@{name}"), "partitions": partitions })
    };
    let topics: Vec<Value> = topics.iter().map(one).collect();
    author.ask("offset_delete", json!({ "group_id": "@g", "topics": topics }))
}

fn deletes(author: &mut Author<'_>) {
    begun(author);
    commit(author, &[topic("t", &[partition(0, 1), partition(1, 2), partition(2, 3)])]);
    delete(author, &[("t", &[1])]);
    everything(author);
    delete(author, &[("t", &[1, 2])]);
    everything(author);
}

fn deletes_subscribed(author: &mut Author<'_>) {
    begun(author);
    author.topic("u", 1);
    commit(author, &[topic("t", &[partition(0, 1), partition(1, 2)]), topic("u", &[partition(0, 3)])]);
    stable(author, &[ONE]);
    delete(author, &[("t", &[0]), ("u", &[0])]);
    everything(author);
    TWO.speaks(&[("range", "%u")]).join_only(author);
    delete(author, &[("t", &[0]), ("u", &[0])]);
    ONE.leave(author);
    author.await_answer(TWO.name);
    delete(author, &[("t", &[0])]);
    everything(author);
}

fn deletes_opaque(author: &mut Author<'_>) {
    begun(author);
    commit(author, &[topic("t", &[partition(0, 1), partition(1, 2)])]);
    let odd: &[&[(&str, &str)]] = &[
        &[("range", "")],
        &[("range", "ff")],
        &[("range", "0063")],
        &[("range", "000100000000")],
        &[("range", "7fff00000000ffffffff")],
    ];
    let protocols = author.random.pick(odd).copied().unwrap_or_default();
    let member = Member { protocols, ..ONE };
    member.join(author);
    delete(author, &[("t", &[0])]);
    member.sync(author, &[(&ONE, "01")]);
    delete(author, &[("t", &[1])]);
    everything(author);
}

fn deletes_other_type(author: &mut Author<'_>) {
    begun(author);
    commit(author, &[topic("t", &[partition(0, 1), partition(1, 2)])]);
    let member = Member { protocol_type: author.random.of(["connect", "x"]), ..ONE };
    member.join(author);
    delete(author, &[("t", &[0])]);
    member.sync(author, &[(&ONE, "01")]);
    delete(author, &[("t", &[0])]);
    member.leave(author);
    delete(author, &[("t", &[0])]);
    everything(author);
}

fn deletes_not_there(author: &mut Author<'_>) {
    begun(author);
    delete(author, &[("t", &[0])]);
    commit(author, &[topic("t", &[partition(0, 1)])]);
    delete(author, &[("none", &[0]), ("t", &[1, 7, -1])]);
    delete(author, &[]);
    delete(author, &[("t", &[])]);
    everything(author);
}

fn deletes_repeated(author: &mut Author<'_>) {
    begun(author);
    commit(author, &[topic("t", &[partition(0, 1), partition(1, 2)])]);
    delete(author, &[("t", &[0, 0])]);
    delete(author, &[("t", &[1]), ("t", &[1, 0])]);
    everything(author);
}

fn deletes_last(author: &mut Author<'_>) {
    begun(author);
    commit(author, &[topic("t", &[partition(0, 1)])]);
    delete(author, &[("t", &[0])]);
    described(author).lasting();
    author.ask("list_groups", json!({})).lasting();
    author.ask("delete_groups", json!({ "groups_names": ["@g"] }));
    everything(author);
}

fn drops(author: &mut Author<'_>) {
    author.ask_in("delete_topics", 1, 5, json!({ "topic_names": ["@t"], "timeout_ms": 30_000 }));
    author.sleep_ms(500);
}

fn topic_deleted(author: &mut Author<'_>) {
    begun(author);
    author.topic("u", 1);
    commit(author, &[topic("t", &[partition(0, 1)]), topic("u", &[partition(0, 2)])]);
    drops(author);
    author.ask_in("offset_fetch", 1, 9, fetched(Some(&[("t", &[0]), ("u", &[0])]))).lasting();
    author.ask_in("offset_fetch", 2, 9, fetched(None)).lasting();
    author.ask_in("offset_commit", 2, 9, simply(&[topic("t", &[partition(0, 3)])]));
    described(author).lasting();
}

fn topic_anew(author: &mut Author<'_>) {
    begun(author);
    author.pin("t", "before");
    commit(author, &[topic("t", &[partition(0, 1)])]);
    drops(author);
    author.topic("t", 2);
    everything(author);
    let mut before = topic("t", &[partition(0, 3)]);
    before["topic_id"] = json!("#before");
    author.ask_in("offset_commit", 10, 10, simply(&[before]));
    commit(author, &[topic("t", &[partition(1, 8), partition(2, 9)])]);
    everything(author);
}

fn topic_grows(author: &mut Author<'_>) {
    begun(author);
    author.ask_in("offset_commit", 2, 9, simply(&[topic("t", &[partition(3, 1)])]));
    author.ask(
        "create_partitions",
        json!({ "topics": [{ "name": "@t", "count": 5, "assignments": null }], "timeout_ms": 30_000 }),
    );
    author.sleep_ms(300);
    commit(author, &[topic("t", &[partition(3, 1), partition(4, 2)])]);
    fetch(author, Some(&[("t", &[3, 4, 5])])).lasting();
}

fn many(author: &mut Author<'_>) {
    coordinated(author);
    author.topic("t", 12);
    author.topic("u", 12);
    let all = |from: i64| (0..12).map(|at| partition(at, from + i64::from(at))).collect::<Vec<_>>();
    commit(author, &[topic("u", &all(100)), topic("t", &all(200))]);
    fetch(author, None).lasting();
    fetch(author, Some(&[("t", &[11, 3, 0, 7]), ("u", &[5, 4])])).lasting();
}

fn members_gone(author: &mut Author<'_>) {
    begun(author);
    stable(author, &[ONE, TWO]);
    ONE.commit(author, 0, 4);
    TWO.commit(author, 1, 5);
    ONE.leave(author);
    TWO.leave(author);
    everything(author);
    described(author).lasting();
    author.ask("list_groups", json!({})).lasting();
}
