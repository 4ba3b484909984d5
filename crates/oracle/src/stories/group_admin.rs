//! What administrators see of groups, and do to them.

use serde_json::{Value, json};

use super::Written;
use super::membership::{ONE, TWO, coordinated, described, gathered, stable};
use crate::story::Author;

pub const STORIES: &[Written] = &[
    Written { name: "groups: described in every state", write: describes },
    Written { name: "groups: several are described at once", write: several },
    Written { name: "groups: described with what one may do", write: authorized },
    Written { name: "groups: listed in every state", write: lists },
    Written { name: "groups: listed by state", write: lists_by_state },
    Written { name: "groups: listed by type", write: lists_by_type },
    Written { name: "groups: an empty one is deleted", write: deletes_empty },
    Written { name: "groups: one with members is not deleted", write: deletes_full },
    Written { name: "groups: one amid a rebalance is not deleted", write: deletes_amid },
    Written { name: "groups: one of offsets alone is deleted", write: deletes_offsets },
    Written { name: "groups: several are deleted at once", write: deletes_several },
    Written { name: "groups: one that was deleted begins anew", write: begins_anew },
    Written { name: "groups: one with a pending member is deleted", write: deletes_pending },
    Written { name: "groups: an emptied one is joined with another type", write: other_type },
];

fn describes(author: &mut Author<'_>) {
    coordinated(author);
    described(author);
    ONE.join(author);
    described(author);
    ONE.sync(author, &[(&ONE, "0102")]);
    described(author);
    TWO.join_only(author);
    described(author);
    ONE.leave(author);
    author.await_answer(TWO.name);
    described(author);
    TWO.leave(author);
    described(author).lasting();
    author.ask("delete_groups", json!({ "groups_names": ["@g"] }));
    described(author).lasting();
}

fn several(author: &mut Author<'_>) {
    stable(author, &[ONE]);
    author.ask("describe_groups", json!({ "groups": ["@none", "@g", "@other"] }));
    author.ask("describe_groups", json!({ "groups": ["@g", "@g"] }));
    author.ask("describe_groups", json!({ "groups": [] }));
    let odd = author.random.of(["", " ", ".", "\u{e4}", "a b/c"]);
    author.ask("describe_groups", json!({ "groups": [odd] }));
}

fn authorized(author: &mut Author<'_>) {
    stable(author, &[ONE]);
    for include in [true, false] {
        author.ask("describe_groups", json!({ "groups": ["@g"], "include_authorized_operations": include }));
        author.ask("describe_groups", json!({ "groups": ["@none"], "include_authorized_operations": include }));
    }
}

fn list<'s>(author: &'s mut Author<'_>, states: &[&str], types: &[&str]) -> crate::story::Asked<'s> {
    author.ask("list_groups", json!({ "states_filter": states, "types_filter": types }))
}

fn lists(author: &mut Author<'_>) {
    coordinated(author);
    list(author, &[], &[]);
    ONE.join(author);
    list(author, &[], &[]);
    ONE.sync(author, &[(&ONE, "01")]);
    list(author, &[], &[]);
    TWO.join_only(author);
    list(author, &[], &[]);
    ONE.leave(author);
    author.await_answer(TWO.name);
    list(author, &[], &[]);
    TWO.leave(author);
    list(author, &[], &[]).lasting();
    author.ask("delete_groups", json!({ "groups_names": ["@g"] }));
    list(author, &[], &[]).lasting();
}

fn lists_by_state(author: &mut Author<'_>) {
    let filters: [&[&str]; 10] = [
        &["Stable"],
        &["stable"],
        &["STABLE", "Empty"],
        &["PreparingRebalance"],
        &["CompletingRebalance"],
        &["Dead"],
        &["Empty"],
        &["nothing"],
        &["", "Stable"],
        &["Assigning", "Reconciling"],
    ];
    stable(author, &[ONE]);
    let ask = |author: &mut Author<'_>| {
        for states in filters {
            author.ask_in("list_groups", 4, i16::MAX, json!({ "states_filter": states }));
        }
    };
    ask(author);
    TWO.join_only(author);
    ask(author);
    ONE.rejoin(author);
    ask(author);
}

fn lists_by_type(author: &mut Author<'_>) {
    stable(author, &[ONE]);
    for types in [
        &["classic"] as &[&str],
        &["Classic"],
        &["CLASSIC", "consumer"],
        &["consumer"],
        &["share"],
        &["streams"],
        &["nothing"],
        &[""],
        &["classic", "nothing"],
    ] {
        let states: &[&str] = author.random.of([&[] as &[_], &["Stable"], &["Empty"], &["Dead", "stable"]]);
        author.ask_in("list_groups", 5, i16::MAX, json!({ "states_filter": states, "types_filter": types }));
    }
}

fn delete<'s>(author: &'s mut Author<'_>, groups: &[&str]) -> crate::story::Asked<'s> {
    author.ask("delete_groups", json!({ "groups_names": groups }))
}

fn deletes_empty(author: &mut Author<'_>) {
    stable(author, &[ONE]);
    ONE.leave(author);
    delete(author, &["@g"]);
    delete(author, &["@g"]);
    described(author).lasting();
    ONE.beat(author);
    ONE.leave(author);
}

fn deletes_full(author: &mut Author<'_>) {
    stable(author, &[ONE]);
    delete(author, &["@g"]);
    ONE.beat(author);
    described(author);
}

fn deletes_amid(author: &mut Author<'_>) {
    coordinated(author);
    gathered(author, &[ONE, TWO]);
    delete(author, &["@g"]);
    ONE.sync(author, &[]);
    TWO.leave(author);
    delete(author, &["@g"]);
    ONE.leave(author);
    delete(author, &["@g"]);
}

fn commit(author: &mut Author<'_>, group: &str) {
    let body = json!({
        "group_id": group, "generation_id_or_member_epoch": -1, "member_id": "",
        "topics": [{ "name": "@t", "topic_id": "#t", "partitions": [
            { "partition_index": 0, "committed_offset": 5, "committed_metadata": "here" },
        ] }],
    });
    author.ask_in("offset_commit", 2, i16::MAX, body);
}

fn fetched(group: &str, topics: &Value) -> Value {
    json!({ "group_id": group, "topics": topics })
}

fn deletes_offsets(author: &mut Author<'_>) {
    coordinated(author);
    author.topic("t", 1);
    commit(author, "@g");
    described(author);
    list(author, &[], &[]);
    delete(author, &["@g"]);
    author.ask_in("offset_fetch", 2, 7, fetched("@g", &Value::Null)).lasting();
    described(author).lasting();
    list(author, &[], &[]).lasting();
}

fn deletes_several(author: &mut Author<'_>) {
    stable(author, &[ONE]);
    author.topic("t", 1);
    for group in ["@a", "@b"] {
        author.ask_in("find_coordinator", 1, 3, json!({ "key": group, "key_type": 0 })).settled();
        commit(author, group);
    }
    delete(author, &["@none", "@a", "@g", "@b", "@a"]);
    delete(author, &[]);
    delete(author, &["@a"]);
    author.ask("describe_groups", json!({ "groups": ["@a", "@b"] })).lasting();
}

fn begins_anew(author: &mut Author<'_>) {
    stable(author, &[ONE, TWO]);
    author.topic("t", 1);
    ONE.commit(author, 0, 3);
    ONE.leave(author);
    TWO.leave(author);
    delete(author, &["@g"]);
    ONE.rejoin(author);
    TWO.join(author);
    TWO.sync(author, &[(&TWO, "01")]);
    author.ask_in("offset_fetch", 1, 7, fetched("@g", &json!([{ "name": "@t", "partition_indexes": [0] }]))).lasting();
    described(author);
}

fn deletes_pending(author: &mut Author<'_>) {
    coordinated(author);
    author.ask_in("join_group", 4, 9, ONE.body("")).on(1).label(ONE.name);
    described(author);
    list(author, &[], &[]);
    delete(author, &["@g"]);
    ONE.rejoin(author);
    described(author);
}

fn other_type(author: &mut Author<'_>) {
    stable(author, &[ONE]);
    ONE.leave(author);
    list(author, &[], &[]);
    let protocol_type = author.random.of(["connect", "x"]);
    let other = super::membership::Member { protocol_type, ..TWO };
    other.join(author);
    list(author, &[], &[]);
    other.leave(author);
    list(author, &[], &[]).lasting();
}
