//! What groups remember of topics.

use serde_json::{Value, json};

use super::Written;
use super::membership::{Member, ONE, TWO, coordinated, described, gathered, stable};
use crate::story::{Asked, Author};

pub const STORIES: &[Written] = &[
    Written { name: "offsets: a simple consumer commits and fetches", write: simple },
    Written { name: "offsets: committed again, back and forth", write: back_and_forth },
    Written { name: "offsets: a member commits", write: of_member },
    Written { name: "offsets: a commit of another generation", write: wrong_generation },
    Written { name: "offsets: a commit of a stranger", write: of_stranger },
    Written { name: "offsets: commits amid a rebalance", write: amid_rebalance },
    Written { name: "offsets: a commit without a member in a group that has some", write: without_member },
    Written { name: "offsets: a commit with an instance", write: with_instance },
    Written { name: "offsets: a group without a name", write: nameless },
    Written { name: "offsets: topics and partitions that there are not", write: not_there },
    Written { name: "offsets: ids that there are not", write: ids_not_there },
    Written { name: "offsets: metadata that is null, empty and just short enough", write: metadata },
    Written { name: "offsets: metadata that is too long", write: long_metadata },
    Written { name: "offsets: metadata in other scripts", write: scripts },
    Written { name: "offsets: one partition's metadata too long among others", write: partly_long },
    Written { name: "offsets: retention by the request", write: retention },
    Written { name: "offsets: commits in the oldest versions", write: oldest },
    Written { name: "offsets: named again in the oldest versions", write: oldest_again },
    Written { name: "offsets: leader epochs that come back", write: epochs },
    Written { name: "offsets: offsets of every size", write: sizes },
    Written { name: "offsets: a partition named twice", write: twice },
    Written { name: "offsets: a topic named twice", write: topic_twice },
    Written { name: "offsets: nothing committed", write: nothing },
    Written { name: "offsets: all of a group", write: all },
    Written { name: "offsets: some of a group, and none", write: some },
    Written { name: "offsets: several groups at once", write: several_groups },
    Written { name: "offsets: all and some of several groups at once", write: all_and_some },
    Written { name: "offsets: fetched by id", write: by_id },
    Written { name: "offsets: fetched as a member", write: as_member },
    Written { name: "offsets: fetched of topics that there are not", write: fetched_not_there },
    Written { name: "offsets: stable ones wanted", write: stable_ones },
];

pub(super) fn begun(author: &mut Author<'_>) {
    coordinated(author);
    author.topic("t", 3);
}

pub(super) fn partition(index: i32, offset: i64) -> Value {
    json!({ "partition_index": index, "committed_offset": offset, "committed_metadata": "here" })
}

pub(super) fn topic(name: &str, partitions: &[Value]) -> Value {
    json!({ "name": format!("@{name}"), "topic_id": format!("#{name}"), "partitions": partitions })
}

pub(super) fn simply(topics: &[Value]) -> Value {
    json!({ "group_id": "@g", "generation_id_or_member_epoch": -1, "member_id": "", "topics": topics })
}

pub(super) fn commit<'s>(author: &'s mut Author<'_>, topics: &[Value]) -> Asked<'s> {
    author.ask_in("offset_commit", 2, i16::MAX, simply(topics))
}

/// Offsets of `@g`, in any version; `None` is all of them.
pub(super) fn fetch<'s>(author: &'s mut Author<'_>, topics: Option<&[(&str, &[i32])]>) -> Asked<'s> {
    let low = if topics.is_none() { 2 } else { 1 };
    author.ask_in("offset_fetch", low, i16::MAX, fetched(topics))
}

pub(super) fn fetched(topics: Option<&[(&str, &[i32])]>) -> Value {
    let topics: Option<Vec<Value>> = topics.map(|topics| {
        let one = |(name, partitions): &(&str, &[i32])| json!({ "name": format!("@{name}"), "topic_id": format!("#{name}"), "partition_indexes": partitions });
        topics.iter().map(one).collect()
    });
    // The topics of versions without groups have no ids.
    let old: Option<Vec<Value>> = topics.as_ref().map(|topics| {
        topics
            .iter()
            .map(|topic| json!({ "name": topic["name"], "partition_indexes": topic["partition_indexes"] }))
            .collect()
    });
    json!({
        "group_id": "@g", "topics": old, "require_stable": false,
        "groups": [{ "group_id": "@g", "member_id": null, "member_epoch": -1, "topics": topics }],
    })
}

pub(super) fn everything(author: &mut Author<'_>) {
    fetch(author, Some(&[("t", &[0, 1, 2])])).lasting();
    fetch(author, None).lasting();
}

fn simple(author: &mut Author<'_>) {
    begun(author);
    let offset = author.random.below(100) as i64;
    commit(author, &[topic("t", &[partition(0, offset), partition(2, 1)])]);
    everything(author);
    described(author).lasting();
    author.ask("list_groups", json!({})).lasting();
}

fn back_and_forth(author: &mut Author<'_>) {
    begun(author);
    for _ in 0..4 {
        let (index, offset) = (author.random.of([0, 1, 2]), author.random.below(50) as i64);
        commit(author, &[topic("t", &[partition(index, offset)])]);
    }
    everything(author);
}

fn of_member(author: &mut Author<'_>) {
    begun(author);
    stable(author, &[ONE, TWO]);
    ONE.commit(author, 0, 5);
    TWO.commit(author, 1, 6);
    ONE.commit(author, 7, 6);
    everything(author);
}

fn wrong_generation(author: &mut Author<'_>) {
    begun(author);
    stable(author, &[ONE]);
    for generation in [-2, -1, 0, 1, 2, i32::MAX, i32::MIN] {
        let mut body = simply(&[topic("t", &[partition(0, i64::from(generation).abs())])]);
        body["generation_id_or_member_epoch"] = json!(generation);
        body["member_id"] = json!(ONE.id());
        author.ask_in("offset_commit", 1, i16::MAX, body);
    }
    everything(author);
}

fn of_stranger(author: &mut Author<'_>) {
    begun(author);
    for _ in 0..2 {
        for (generation, member) in [(1, "stranger"), (-1, "stranger"), (0, ""), (1, ""), (-2, "")] {
            let mut body = simply(&[topic("t", &[partition(0, 3)])]);
            body["generation_id_or_member_epoch"] = json!(generation);
            body["member_id"] = json!(member);
            author.ask_in("offset_commit", 1, i16::MAX, body);
        }
        ONE.join(author);
        ONE.sync(author, &[(&ONE, "01")]);
    }
    everything(author);
}

fn amid_rebalance(author: &mut Author<'_>) {
    begun(author);
    ONE.join(author);
    ONE.commit(author, 0, 1);
    ONE.sync(author, &[(&ONE, "01")]);
    TWO.join_only(author);
    ONE.commit(author, 0, 2);
    ONE.rejoin(author);
    author.await_answer(TWO.name);
    ONE.commit(author, 0, 3);
    TWO.commit(author, 1, 4);
    everything(author);
}

fn without_member(author: &mut Author<'_>) {
    begun(author);
    gathered(author, &[ONE]);
    commit(author, &[topic("t", &[partition(0, 1)])]);
    ONE.sync(author, &[]);
    commit(author, &[topic("t", &[partition(0, 2)])]);
    ONE.leave(author);
    commit(author, &[topic("t", &[partition(0, 3)])]);
    everything(author);
}

fn with_instance(author: &mut Author<'_>) {
    begun(author);
    let mut body = simply(&[topic("t", &[partition(0, 1)])]);
    body["group_instance_id"] = json!(author.random.of(["first", ""]));
    author.ask_in("offset_commit", 7, i16::MAX, body.clone());
    stable(author, &[ONE.is("first")]);
    author.ask_in("offset_commit", 7, i16::MAX, body);
    Member { instance: Some("other"), ..ONE }.commit(author, 0, 2);
    ONE.commit(author, 0, 3);
    everything(author);
}

fn nameless(author: &mut Author<'_>) {
    begun(author);
    for (generation, member) in [(-1, ""), (1, "m")] {
        let mut body = simply(&[topic("t", &[partition(0, 1)])]);
        body["group_id"] = json!("");
        body["generation_id_or_member_epoch"] = json!(generation);
        body["member_id"] = json!(member);
        author.ask("offset_commit", body);
    }
    // Other runs commit to this group, too: all of it is never the same.
    let mut body = fetched(Some(&[("t", &[0])]));
    body["group_id"] = json!("");
    body["groups"][0]["group_id"] = json!("");
    author.ask_in("offset_fetch", 2, i16::MAX, body).lasting();
    author.ask(
        "offset_delete",
        json!({ "group_id": "", "topics": [{ "name": "@t", "partitions": [{ "partition_index": 0 }] }] }),
    );
}

fn not_there(author: &mut Author<'_>) {
    begun(author);
    let odd = author.random.of([3, 7, i32::MAX]);
    author.ask_in(
        "offset_commit",
        2,
        9,
        simply(&[
            topic("t", &[partition(0, 4), partition(odd, 5), partition(-1, 6)]),
            topic("none", &[partition(0, 7)]),
        ]),
    );
    author.ask_in("offset_commit", 2, 9, simply(&[topic("none", &[partition(0, 7), partition(1, 7)])]));
    let mut nameless = topic("t", &[partition(1, 8)]);
    for name in ["", "not a name", ".", "__consumer_offsets"] {
        nameless["name"] = json!(name);
        author.ask_in("offset_commit", 2, 9, simply(&[nameless.clone()]));
    }
    everything(author);
}

fn ids_not_there(author: &mut Author<'_>) {
    begun(author);
    let mut strange = topic("t", &[partition(0, 4)]);
    for id in ["#none", "00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000001"] {
        strange["topic_id"] = json!(id);
        author.ask_in("offset_commit", 10, 10, simply(&[topic("t", &[partition(1, 5)]), strange.clone()]));
    }
    author.ask_in("offset_commit", 10, 10, simply(&[topic("t", &[partition(7, 5), partition(2, 6)])]));
    everything(author);
}

fn said(index: i32, metadata: &Value) -> Value {
    json!({ "partition_index": index, "committed_offset": 1, "committed_metadata": metadata })
}

fn metadata(author: &mut Author<'_>) {
    begun(author);
    let long = "m".repeat(author.random.of([4095, 4096]));
    commit(author, &[topic("t", &[said(0, &Value::Null), said(1, &json!("")), said(2, &json!(long))])]);
    everything(author);
}

fn long_metadata(author: &mut Author<'_>) {
    begun(author);
    commit(author, &[topic("t", &[said(0, &json!("short"))])]);
    let long = "m".repeat(author.random.of([4097, 5000, 30_000]));
    commit(author, &[topic("t", &[said(0, &json!(long))])]);
    everything(author);
}

fn scripts(author: &mut Author<'_>) {
    begun(author);
    // Counted in characters or in bytes?
    let letter = author.random.of(["\u{e4}", "\u{1f600}", "\u{4e2d}"]);
    for count in [1, 1024, 1366, 2048, 2049, 4096] {
        commit(author, &[topic("t", &[said(0, &json!(letter.repeat(count)))])]);
    }
    everything(author);
}

fn partly_long(author: &mut Author<'_>) {
    begun(author);
    let long = "m".repeat(4097);
    commit(author, &[topic("t", &[said(0, &json!("short")), said(1, &json!(long)), said(7, &json!(long))])]);
    everything(author);
}

fn retention(author: &mut Author<'_>) {
    begun(author);
    for (at, retention) in [-1, 0, 3_600_000, i64::MAX].into_iter().enumerate() {
        let mut body = simply(&[topic("t", &[partition(at as i32 % 3, at as i64)])]);
        body["retention_time_ms"] = json!(retention);
        author.ask_in("offset_commit", 2, 4, body);
    }
    everything(author);
}

fn oldest(author: &mut Author<'_>) {
    author.of_old();
    begun(author);
    author.ask_in("offset_commit", 0, 1, simply(&[topic("t", &[partition(0, 3)])]));
    let mut timed = partition(1, 4);
    timed["commit_timestamp"] = json!(author.random.of([-1, 0, 1_600_000_000_000_i64]));
    author.ask_in(
        "offset_commit",
        1,
        1,
        simply(&[topic("t", &[timed, partition(9, 1)]), topic("none", &[partition(0, 1)])]),
    );
    author.ask_in("offset_fetch", 0, 1, fetched(Some(&[("t", &[0, 1, 2, 9]), ("none", &[0])]))).lasting();
    everything(author);
}

/// Version 0 refuses what is there, or says what is not; of version 1 the last mention counts.
fn oldest_again(author: &mut Author<'_>) {
    author.of_old();
    begun(author);
    author.topic("u", 1);
    let none = || topic("none", &[partition(0, 1), partition(0, 2)]);
    author.ask_in("offset_commit", 0, 0, simply(&[none(), topic("t", &[partition(9, 3)]), none()]));
    author.ask_in("offset_commit", 0, 0, simply(&[none(), topic("t", &[partition(0, 3), partition(9, 3)]), none()]));
    let mut long = partition(0, 7);
    long["committed_metadata"] = json!("m".repeat(5000));
    let good = partition(0, author.random.of([3, 4]));
    let other = partition(1, 5);
    let all = |partitions: &[&Value]| {
        topic("t", &partitions.iter().map(|partition| (*partition).clone()).collect::<Vec<_>>())
    };
    let topics = [
        [all(&[&good, &long]), topic("u", &[partition(0, 1)]), all(&[&other])],
        [all(&[&long, &good]), none(), all(&[&other, &partition(9, 1)])],
        [all(&[&good]), topic("u", &[]), all(&[&long, &other, &other])],
        [all(&[&long]), topic("none", &[]), all(&[&good])],
    ];
    let at = author.random.of([0, 1, 2, 3]);
    author.ask_in("offset_commit", 1, 1, simply(&topics[at]));
    author.ask_in("offset_fetch", 1, 1, fetched(Some(&[("t", &[0, 1, 2]), ("u", &[0])]))).lasting();
}

fn epochs(author: &mut Author<'_>) {
    begun(author);
    let with = |index: i32, epoch: i32| {
        let mut with = partition(index, 5);
        with["committed_leader_epoch"] = json!(epoch);
        with
    };
    let epoch = author.random.of([0, 1, 77, i32::MAX, -2]);
    author.ask_in("offset_commit", 6, i16::MAX, simply(&[topic("t", &[with(0, epoch), with(1, -1), with(2, 0)])]));
    author.ask_in("offset_fetch", 5, i16::MAX, fetched(None)).lasting();
    everything(author);
}

fn sizes(author: &mut Author<'_>) {
    begun(author);
    for offset in [0, -1, -2, i64::MAX, i64::MIN, 1 << 40] {
        commit(author, &[topic("t", &[partition(0, offset), partition(1, 1)])]);
        fetch(author, Some(&[("t", &[0, 1])]));
    }
    everything(author);
}

fn twice(author: &mut Author<'_>) {
    begun(author);
    let last = author.random.of([1, 2, 9]);
    commit(author, &[topic("t", &[partition(0, 5), partition(0, last)])]);
    fetch(author, Some(&[("t", &[0, 0, 1, 1])])).lasting();
    everything(author);
}

fn topic_twice(author: &mut Author<'_>) {
    begun(author);
    commit(author, &[topic("t", &[partition(0, 5)]), topic("t", &[partition(0, 6), partition(1, 7)])]);
    fetch(author, Some(&[("t", &[0]), ("t", &[0, 1])])).lasting();
    everything(author);
}

fn nothing(author: &mut Author<'_>) {
    begun(author);
    commit(author, &[]);
    commit(author, &[topic("t", &[])]);
    everything(author);
    described(author).lasting();
}

fn all(author: &mut Author<'_>) {
    begun(author);
    author.topic("u", 2);
    author.ask_in("offset_fetch", 2, i16::MAX, fetched(None));
    commit(author, &[topic("t", &[partition(0, 1), partition(2, 3)]), topic("u", &[partition(1, 9)])]);
    for version in 2..=10 {
        if author.versions("offset_fetch", version, version).is_empty() {
            continue;
        }
        author.ask_in("offset_fetch", version, version, fetched(None)).lasting();
    }
}

fn some(author: &mut Author<'_>) {
    begun(author);
    commit(author, &[topic("t", &[partition(0, 1), partition(2, 3)])]);
    for version in 1..=10 {
        if author.versions("offset_fetch", version, version).is_empty() {
            continue;
        }
        for topics in [&[("t", &[0, 1, 2, 5] as &[i32])] as &[(&str, &[i32])], &[("t", &[])], &[]] {
            author.ask_in("offset_fetch", version, version, fetched(Some(topics)));
        }
    }
}

fn asks_for(groups: &[Value]) -> Value {
    json!({ "groups": groups, "require_stable": false })
}

fn several_groups(author: &mut Author<'_>) {
    begun(author);
    let wanted = json!([{ "name": "@t", "topic_id": "#t", "partition_indexes": [0, 1] }]);
    for group in ["@h", "@i"] {
        author.ask_in("find_coordinator", 1, 3, json!({ "key": group, "key_type": 0 })).settled();
        let mut body = simply(&[topic("t", &[partition(0, 3)])]);
        body["group_id"] = json!(group);
        author.ask_in("offset_commit", 2, i16::MAX, body);
    }
    let of = |group: &str| json!({ "group_id": group, "topics": wanted });
    author.ask_in("offset_fetch", 8, i16::MAX, asks_for(&[of("@h"), of("@none"), of("@i")])).lasting();
    author.ask_in("offset_fetch", 8, i16::MAX, asks_for(&[of("@h"), of("@h")]));
    author.ask_in("offset_fetch", 8, i16::MAX, asks_for(&[])).on(1).patience_ms(1500);
}

fn all_and_some(author: &mut Author<'_>) {
    begun(author);
    commit(author, &[topic("t", &[partition(0, 1), partition(1, 3)])]);
    let some = json!([{ "name": "@t", "topic_id": "#t", "partition_indexes": [1, 2] }]);
    let groups = [
        json!({ "group_id": "@g", "topics": null }),
        json!({ "group_id": "@none", "topics": some }),
        json!({ "group_id": "@other", "topics": null }),
    ];
    author.ask_in("offset_fetch", 8, i16::MAX, asks_for(&groups)).lasting();
    let groups = [json!({ "group_id": "@g", "topics": some }), json!({ "group_id": "", "topics": [] })];
    author.ask_in("offset_fetch", 8, i16::MAX, asks_for(&groups)).lasting();
}

fn by_id(author: &mut Author<'_>) {
    begun(author);
    author.ask_in("offset_commit", 10, 10, simply(&[topic("t", &[partition(0, 1)])]));
    for id in ["#t", "#none", "00000000-0000-0000-0000-000000000000"] {
        let topics = json!([{ "topic_id": id, "partition_indexes": [0, 1] }]);
        author.ask_in("offset_fetch", 10, 10, asks_for(&[json!({ "group_id": "@g", "topics": topics })]));
    }
    author.ask_in("offset_fetch", 10, 10, fetched(None));
    everything(author);
}

fn as_member(author: &mut Author<'_>) {
    begun(author);
    stable(author, &[ONE]);
    ONE.commit(author, 0, 4);
    let members = [
        (json!(ONE.id()), json!(ONE.generation())),
        (json!(ONE.id()), json!(7)),
        (json!("stranger"), json!(1)),
        (Value::Null, json!(1)),
        (json!(""), json!(-1)),
    ];
    for (member, epoch) in members {
        let topics = json!([{ "name": "@t", "topic_id": "#t", "partition_indexes": [0] }]);
        let group = json!({ "group_id": "@g", "member_id": member, "member_epoch": epoch, "topics": topics });
        author.ask_in("offset_fetch", 9, i16::MAX, asks_for(&[group]));
    }
}

fn fetched_not_there(author: &mut Author<'_>) {
    begun(author);
    commit(author, &[topic("t", &[partition(0, 1)])]);
    for body in [fetched(Some(&[("none", &[0, -1]), ("t", &[-1, 99, 0])])), fetched(Some(&[("", &[0])]))] {
        author.ask_in("offset_fetch", 1, 9, body.clone()).lasting();
        let mut unknown = body;
        unknown["group_id"] = json!("@none");
        unknown["groups"][0]["group_id"] = json!("@none");
        author.ask_in("offset_fetch", 1, 9, unknown).lasting();
    }
}

fn stable_ones(author: &mut Author<'_>) {
    begun(author);
    commit(author, &[topic("t", &[partition(0, 1)])]);
    for topics in [None, Some(&[("t", &[0, 1] as &[i32])] as &[_])] {
        let mut body = fetched(topics);
        body["require_stable"] = json!(true);
        author.ask_in("offset_fetch", 7, i16::MAX, body);
    }
}
