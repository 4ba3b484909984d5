//! The life of groups of the classic protocol.

use serde_json::{Value, json};

use super::Written;
use super::membership::{Member, ONE, THREE, TWO, assigned, coordinated, described, gathered, stable};
use crate::story::Author;

pub const STORIES: &[Written] = &[
    Written { name: "groups: one member joins, syncs, beats and leaves", write: whole_life },
    Written { name: "groups: a member that has no id yet is taken in at once", write: taken_in },
    Written { name: "groups: a member is sent back for an id", write: sent_back },
    Written { name: "groups: an id that was given is no id elsewhere", write: id_elsewhere },
    Written { name: "groups: a stranger's id is refused", write: stranger },
    Written { name: "groups: two members share", write: |author| share(author, &[ONE, TWO]) },
    Written { name: "groups: three members share", write: |author| share(author, &[ONE, TWO, THREE]) },
    Written { name: "groups: a follower syncs before its leader", write: sync_before },
    Written { name: "groups: two followers wait for a leader's sync", write: two_wait },
    Written { name: "groups: a follower's sync hears of the next rebalance", write: sync_interrupted },
    Written { name: "groups: a leader assigns nothing", write: |author| assigns(author, &[]) },
    Written { name: "groups: a leader assigns to itself alone", write: |author| assigns(author, &[(&ONE, "0102")]) },
    Written {
        name: "groups: a leader assigns twice to the same member",
        write: |author| assigns(author, &[(&ONE, "01"), (&TWO, "02"), (&TWO, "03")]),
    },
    Written { name: "groups: a leader assigns to a stranger", write: assigns_to_stranger },
    Written { name: "groups: who syncs again hears the same", write: sync_again },
    Written { name: "groups: a sync in every state but the right one", write: wrong_syncs },
    Written { name: "groups: a sync names another protocol", write: other_protocol },
    Written { name: "groups: heartbeats in every state", write: beats },
    Written { name: "groups: heartbeats of old and coming generations", write: generations },
    Written { name: "groups: no protocol in common", write: nothing_in_common },
    Written { name: "groups: the protocol that most prefer", write: votes },
    Written { name: "groups: a protocol type that differs", write: other_type },
    Written { name: "groups: neither protocol type nor protocols", write: no_protocols },
    Written { name: "groups: a group without a name", write: nameless },
    Written { name: "groups: sessions too short and too long", write: wrong_sessions },
    Written { name: "groups: who leaves cannot leave again", write: leaves_twice },
    Written { name: "groups: several leave at once", write: several_leave },
    Written { name: "groups: a follower leaves", write: |author| leaves(author, &TWO, &ONE) },
    Written { name: "groups: the leader leaves", write: |author| leaves(author, &ONE, &TWO) },
    Written { name: "groups: a member leaves while others wait for it", write: leaves_amid },
    Written { name: "groups: a member with a pending id leaves", write: pending_leaves },
    Written { name: "groups: a follower joins again as it is", write: |author| joins_again(author, &TWO) },
    Written { name: "groups: a follower joins again with other metadata", write: rejoins_otherwise },
    Written { name: "groups: the leader joins again as it is", write: leader_again },
    Written { name: "groups: a member joins again before it syncs", write: again_before_sync },
    Written { name: "groups: a member joins twice at once", write: joins_twice },
    Written { name: "groups: a connection breaks while its join waits", write: breaks },
    Written { name: "groups: a session ends", write: session_ends },
    Written { name: "groups: a session that beats goes on", write: session_goes_on },
    Written { name: "groups: an id that is not used is forgotten", write: id_forgotten },
    Written { name: "groups: who does not join again in time is left behind", write: left_behind },
    Written { name: "groups: who does not sync in time is left behind", write: never_syncs },
    Written { name: "groups: an emptied group counts its generations on", write: counts_on },
    Written { name: "groups: a group of offsets is joined", write: joined_later },
    Written { name: "groups: metadata of every size", write: metadata_sizes },
];

fn whole_life(author: &mut Author<'_>) {
    coordinated(author);
    ONE.join(author);
    described(author);
    ONE.sync(author, &[(&ONE, "00010203")]);
    described(author);
    for _ in 0..author.random.of([1, 3]) {
        ONE.beat(author);
    }
    ONE.leave(author);
    ONE.beat(author);
    described(author).lasting();
}

fn taken_in(author: &mut Author<'_>) {
    coordinated(author);
    author.ask_in("join_group", 0, 3, ONE.body("")).on(1).label("one");
    ONE.sync(author, &[(&ONE, "01")]);
    described(author);
    ONE.leave(author);
}

fn sent_back(author: &mut Author<'_>) {
    coordinated(author);
    for _ in 0..author.random.of([1, 2]) {
        author.ask_in("join_group", 4, 9, ONE.body("")).on(1).label("one");
    }
    described(author);
    ONE.beat(author);
    ONE.sync(author, &[]);
    author.ask_in("join_group", 4, 9, ONE.body(&ONE.id())).on(1).label("one");
    described(author);
}

fn id_elsewhere(author: &mut Author<'_>) {
    coordinated(author);
    author.ask_in("join_group", 4, 9, ONE.body("")).on(1).label("one");
    let mut elsewhere = ONE.body(&ONE.id());
    elsewhere["group_id"] = json!("@elsewhere");
    author.ask("join_group", elsewhere).on(1);
    author.ask("join_group", ONE.body(&ONE.id())).on(1).label("one");
    author.ask("describe_groups", json!({ "groups": ["@elsewhere", "@g"] }));
}

fn stranger(author: &mut Author<'_>) {
    coordinated(author);
    author.ask("join_group", ONE.body("stranger")).on(1);
    TWO.join(author);
    author.ask("join_group", ONE.body("stranger")).on(1);
    TWO.sync(author, &[(&TWO, "01")]);
    author.ask("join_group", ONE.body("stranger")).on(1);
    let generation = json!(TWO.generation());
    for id in ["stranger", ""] {
        author.ask("heartbeat", json!({ "group_id": "@g", "generation_id": generation, "member_id": id }));
        let mut sync = TWO.sync_body(&[]);
        sync["member_id"] = json!(id);
        author.ask("sync_group", sync);
        let leave = json!({ "group_id": "@g", "member_id": id, "members": [{ "member_id": id }] });
        author.ask("leave_group", leave);
    }
    described(author);
}

fn share(author: &mut Author<'_>, members: &[Member]) {
    stable(author, members);
    described(author);
    for member in members {
        member.beat(author);
    }
    for member in members {
        member.leave(author);
        described(author);
    }
}

fn sync_before(author: &mut Author<'_>) {
    coordinated(author);
    gathered(author, &[ONE, TWO]);
    TWO.sync_only(author, "waiting");
    TWO.beat(author).on(5);
    described(author);
    ONE.sync(author, &[(&ONE, "01"), (&TWO, "0202")]);
    author.await_answer("waiting");
    described(author);
}

fn two_wait(author: &mut Author<'_>) {
    coordinated(author);
    gathered(author, &[ONE, TWO, THREE]);
    TWO.sync_only(author, "second");
    THREE.sync_only(author, "third");
    ONE.sync(author, &[(&THREE, "03"), (&TWO, "02")]);
    author.await_answer("second");
    author.await_answer("third");
    described(author);
}

fn sync_interrupted(author: &mut Author<'_>) {
    coordinated(author);
    gathered(author, &[ONE, TWO]);
    TWO.sync_only(author, "waiting");
    THREE.join_only(author);
    author.await_answer("waiting");
    ONE.sync(author, &[(&ONE, "01")]);
    described(author);
    ONE.rejoin(author).send_only();
    TWO.rejoin(author).send_only();
    for member in [&THREE, &TWO, &ONE] {
        author.await_answer(member.name);
    }
    assigned(author, &[ONE, TWO, THREE]);
}

fn assigns(author: &mut Author<'_>, assignments: &[(&Member, &str)]) {
    coordinated(author);
    gathered(author, &[ONE, TWO]);
    ONE.sync(author, assignments);
    TWO.sync(author, &[]);
    described(author);
}

fn assigns_to_stranger(author: &mut Author<'_>) {
    coordinated(author);
    ONE.join(author);
    let mut sync = ONE.sync_body(&[(&ONE, "01"), (&ONE, "02")]);
    sync["assignments"][1] = json!({ "member_id": author.random.of(["stranger", ""]), "assignment": "02" });
    author.ask("sync_group", sync).on(1);
    described(author);
}

fn sync_again(author: &mut Author<'_>) {
    stable(author, &[ONE, TWO]);
    TWO.sync(author, &[]);
    // A leader's second thoughts come too late.
    ONE.sync(author, &[(&ONE, "ff"), (&TWO, "ff")]);
    TWO.sync(author, &[(&TWO, "fe")]);
    described(author);
}

fn wrong_syncs(author: &mut Author<'_>) {
    coordinated(author);
    let unknown = json!({ "group_id": "@none", "generation_id": author.random.of([-1, 0, 1]), "member_id": "m" });
    author.ask("sync_group", unknown);
    stable(author, &[ONE, TWO]);
    for generation in [-1, 0, 1, 2, 3, i32::MAX] {
        let mut sync = ONE.sync_body(&[(&ONE, "01")]);
        sync["generation_id"] = json!(generation);
        author.ask("sync_group", sync).on(1);
    }
    THREE.join_only(author);
    TWO.sync(author, &[]);
    // Who leads after a leader is left to a hash table: it stays.
    TWO.leave(author);
    ONE.rejoin(author).send_only();
    author.await_answer(THREE.name);
    author.await_answer(ONE.name);
    TWO.sync(author, &[]);
}

fn other_protocol(author: &mut Author<'_>) {
    coordinated(author);
    gathered(author, &[ONE, TWO]);
    for (field, value) in [("protocol_type", "connect"), ("protocol_name", "roundrobin")] {
        for value in [value, ""] {
            let mut sync = TWO.sync_body(&[]);
            sync[field] = json!(value);
            author.ask_in("sync_group", 5, 5, sync).on(2);
        }
    }
    let mut sync = ONE.sync_body(&[(&ONE, "01"), (&TWO, "02")]);
    sync["protocol_type"] = Value::Null;
    sync["protocol_name"] = Value::Null;
    author.ask("sync_group", sync).on(1);
    TWO.sync(author, &[]);
}

fn beats(author: &mut Author<'_>) {
    coordinated(author);
    author.ask("heartbeat", json!({ "group_id": "@none", "generation_id": 1, "member_id": "m" }));
    ONE.join(author);
    ONE.beat(author);
    ONE.sync(author, &[(&ONE, "01")]);
    ONE.beat(author);
    TWO.join_only(author);
    ONE.beat(author);
    TWO.beat_of(author, &json!(1)).on(5);
    ONE.rejoin(author).send_only();
    author.await_answer(TWO.name);
    author.await_answer(ONE.name);
    ONE.beat(author);
    TWO.beat(author);
    assigned(author, &[ONE, TWO]);
    ONE.beat(author);
    TWO.beat(author);
    ONE.leave(author);
    TWO.beat(author);
    TWO.leave(author);
    TWO.beat(author);
}

fn generations(author: &mut Author<'_>) {
    stable(author, &[ONE, TWO]);
    for generation in [-2, -1, 0, 1, 2, 3, i32::MAX, i32::MIN] {
        TWO.beat_of(author, &json!(generation));
    }
    THREE.join_only(author);
    for generation in [-1, 1, 2, 3] {
        TWO.beat_of(author, &json!(generation));
    }
}

fn nothing_in_common(author: &mut Author<'_>) {
    const OTHER: Member = TWO.speaks(&[("sticky", "%t")]);
    stable(author, &[ONE]);
    author.ask("join_group", OTHER.body("")).on(2);
    const BOTH: Member = TWO.speaks(&[("sticky", "%t"), ("range", "%t")]);
    BOTH.join_only(author);
    ONE.rejoin(author).send_only();
    author.await_answer(TWO.name);
    author.await_answer(ONE.name);
    assigned(author, &[ONE, TWO]);
    // What one of two no longer speaks.
    ONE.speaks(&[("roundrobin", "%t")]).rejoin(author);
    described(author);
}

fn votes(author: &mut Author<'_>) {
    const FIRST: Member = ONE.speaks(&[("range", "%t"), ("sticky", "%t"), ("own", "01")]);
    const SECOND: Member = TWO.speaks(&[("own", "02"), ("sticky", "%t"), ("range", "%t")]);
    const THIRD: Member = THREE.speaks(&[("sticky", "%t"), ("own", "03"), ("other", "")]);
    const ALSO: Member = THREE.speaks(&[("own", "03"), ("sticky", "%t")]);
    let third = author.random.of([THIRD, ALSO]);
    stable(author, &[FIRST, SECOND, third]);
    described(author);
}

fn other_type(author: &mut Author<'_>) {
    stable(author, &[ONE]);
    for protocol_type in ["connect", "Consumer", ""] {
        author.ask("join_group", Member { protocol_type, ..TWO }.body("")).on(2);
    }
    ONE.leave(author);
    // An empty group takes another.
    let protocol_type = author.random.of(["connect", "x", "consumer"]);
    Member { protocol_type, ..TWO }.join(author);
    described(author);
    // The member may be taken for dead during a restart.
    author.ask("list_groups", json!({}));
}

fn no_protocols(author: &mut Author<'_>) {
    coordinated(author);
    for member in [
        Member { protocol_type: "", ..ONE },
        ONE.speaks(&[]),
        Member { protocol_type: "", ..ONE.speaks(&[]) },
        ONE.speaks(&[("", "")]),
    ] {
        author.ask("join_group", member.body("")).on(1).label("one");
    }
    described(author);
}

fn nameless(author: &mut Author<'_>) {
    coordinated(author);
    let with = |mut body: Value| {
        body["group_id"] = json!("");
        body
    };
    author.ask("join_group", with(ONE.body("")));
    author.ask("join_group", with(ONE.body("stranger")));
    for body in [json!({ "generation_id": 1, "member_id": "m" }), json!({ "generation_id": -1, "member_id": "" })] {
        author.ask("heartbeat", with(body.clone()));
        author.ask("sync_group", with(body));
    }
    author.ask("leave_group", with(json!({ "member_id": "m", "members": [{ "member_id": "m" }] })));
    author.ask("describe_groups", json!({ "groups": ["", "@g"] }));
    author.ask("delete_groups", json!({ "groups_names": [""] }));
}

fn wrong_sessions(author: &mut Author<'_>) {
    coordinated(author);
    for session_ms in [99, 100, 600_000, 600_001, 0, -1, i32::MAX, i32::MIN] {
        let rebalance_ms = author.random.of([-1, 0, 1000, i32::MAX]);
        let mut body = Member { session_ms, rebalance_ms, ..ONE }.body("");
        body["group_id"] = json!(format!("@g{session_ms}"));
        author.ask("join_group", body).on(1);
    }
}

fn leaves_twice(author: &mut Author<'_>) {
    stable(author, &[ONE]);
    ONE.leave(author);
    ONE.leave(author);
    ONE.rejoin(author);
    let none = json!({ "group_id": "@none", "member_id": "m", "members": [{ "member_id": "m" }] });
    author.ask("leave_group", none);
    described(author).lasting();
}

fn several_leave(author: &mut Author<'_>) {
    stable(author, &[ONE, TWO, THREE]);
    let mut members = vec![json!({ "member_id": ONE.id() }), json!({ "member_id": "stranger" })];
    members.push(json!({ "member_id": author.random.of(["$two/member_id", "$one/member_id", ""]), "reason": "" }));
    members.push(json!({ "member_id": "", "group_instance_id": "nobody" }));
    author.ask_in("leave_group", 3, 5, json!({ "group_id": "@g", "members": members }));
    author.ask_in("leave_group", 3, 5, json!({ "group_id": "@g", "members": [] }));
    author.ask_in("leave_group", 3, 5, json!({ "group_id": "@none", "members": members[1..2] }));
    author.ask("describe_groups", json!({ "groups": ["@g"] }));
    THREE.beat(author);
}

fn leaves(author: &mut Author<'_>, who: &Member, stays: &Member) {
    stable(author, &[ONE, TWO]);
    who.leave(author);
    stays.beat(author);
    described(author);
    stays.rejoin(author);
    stays.sync(author, &[(stays, "0909")]);
    described(author);
    who.beat(author);
}

fn leaves_amid(author: &mut Author<'_>) {
    stable(author, &[ONE, TWO]);
    THREE.join_only(author);
    ONE.rejoin_only(author);
    TWO.leave(author);
    author.await_answer(THREE.name);
    author.await_answer(ONE.name);
    described(author);
    ONE.beat(author);
}

fn pending_leaves(author: &mut Author<'_>) {
    stable(author, &[ONE]);
    author.ask_in("join_group", 4, 9, TWO.body("")).on(2).label(TWO.name);
    TWO.leave(author);
    TWO.rejoin(author);
    described(author);
    ONE.beat(author);
}

fn joins_again(author: &mut Author<'_>, who: &Member) {
    stable(author, &[ONE, TWO]);
    who.rejoin(author);
    who.beat(author);
    who.sync(author, &[]);
    described(author);
}

fn rejoins_otherwise(author: &mut Author<'_>) {
    stable(author, &[ONE, TWO]);
    const OTHER: Member = TWO.speaks(&[("range", "%u,t")]);
    OTHER.rejoin_only(author);
    ONE.beat(author);
    ONE.rejoin(author).send_only();
    author.await_answer(TWO.name);
    author.await_answer(ONE.name);
    assigned(author, &[ONE, TWO]);
    described(author);
}

fn leader_again(author: &mut Author<'_>) {
    stable(author, &[ONE, TWO]);
    ONE.rejoin_only(author);
    TWO.beat(author);
    TWO.rejoin(author);
    author.await_answer(ONE.name);
    assigned(author, &[ONE, TWO]);
}

fn again_before_sync(author: &mut Author<'_>) {
    coordinated(author);
    gathered(author, &[ONE, TWO]);
    // As it is, it hears again what it heard.
    TWO.rejoin(author);
    ONE.rejoin(author);
    TWO.speaks(&[("range", "ff")]).rejoin_only(author);
    ONE.sync(author, &[(&ONE, "01")]);
    ONE.rejoin(author).send_only();
    author.await_answer(TWO.name);
    author.await_answer(ONE.name);
    assigned(author, &[ONE, TWO]);
}

fn joins_twice(author: &mut Author<'_>) {
    stable(author, &[ONE, TWO]);
    THREE.join_only(author);
    ONE.rejoin_only(author);
    // The same member on another connection: both joins are answered, or one is refused.
    author.ask("join_group", ONE.body(&ONE.id())).on(5).label("again").send_only();
    author.sleep_ms(150);
    TWO.rejoin(author);
    author.await_answer("again");
    author.await_answer(THREE.name);
    described(author);
}

fn breaks(author: &mut Author<'_>) {
    stable(author, &[ONE]);
    TWO.join_only(author);
    author.close(2);
    author.sleep_ms(100);
    ONE.rejoin(author);
    ONE.sync(author, &[(&ONE, "01")]);
    described(author);
}

fn session_ends(author: &mut Author<'_>) {
    coordinated(author);
    let session_ms = author.random.of([100, 200, 400]);
    Member { session_ms, ..ONE }.join(author);
    author.sleep_ms(1200);
    ONE.beat(author);
    ONE.sync(author, &[]);
    ONE.rejoin(author);
    described(author).lasting();
}

fn session_goes_on(author: &mut Author<'_>) {
    coordinated(author);
    let beating = Member { session_ms: 3000, ..ONE };
    beating.join(author);
    beating.sync(author, &[(&beating, "01")]);
    for _ in 0..4 {
        author.sleep_ms(900);
        beating.beat(author);
    }
    described(author);
}

fn id_forgotten(author: &mut Author<'_>) {
    coordinated(author);
    let hasty = Member { session_ms: author.random.of([100, 300]), ..ONE };
    author.ask_in("join_group", 4, 9, hasty.body("")).on(1).label("one");
    author.sleep_ms(1000);
    ONE.rejoin(author);
    described(author);
}

fn left_behind(author: &mut Author<'_>) {
    let hasty = |member: Member| Member { rebalance_ms: 700, ..member };
    coordinated(author);
    hasty(ONE).join(author);
    ONE.sync(author, &[(&ONE, "01")]);
    hasty(TWO).join_only(author);
    // Who was first does not come back, and is not waited for.
    author.await_answer(TWO.name);
    described(author);
    ONE.beat(author);
    TWO.sync(author, &[(&TWO, "02")]);
    ONE.rejoin(author);
}

fn never_syncs(author: &mut Author<'_>) {
    coordinated(author);
    let hasty = Member { rebalance_ms: 500, ..ONE };
    author.ask_in("join_group", 4, 9, hasty.body("")).on(1).label(ONE.name);
    author.ask_in("join_group", 4, 9, hasty.body(&ONE.id())).on(1).label(ONE.name);
    author.sleep_ms(1500);
    ONE.beat(author);
    described(author);
    ONE.sync(author, &[(&ONE, "01")]);
}

fn counts_on(author: &mut Author<'_>) {
    coordinated(author);
    for _ in 0..author.random.of([2, 3, 4]) {
        ONE.join(author);
        ONE.sync(author, &[(&ONE, "01")]);
        ONE.leave(author);
    }
    ONE.join(author);
    ONE.rejoin(author);
    ONE.sync(author, &[]);
    ONE.rejoin(author);
    described(author);
}

fn joined_later(author: &mut Author<'_>) {
    coordinated(author);
    author.topic("t", 1);
    let commit = json!({
        "group_id": "@g", "generation_id_or_member_epoch": -1, "member_id": "",
        "topics": [{ "name": "@t", "topic_id": "#t", "partitions": [
            { "partition_index": 0, "committed_offset": 5, "committed_metadata": "" },
        ] }],
    });
    author.ask_in("offset_commit", 2, 10, commit.clone());
    described(author);
    ONE.join(author);
    author.ask_in("offset_commit", 2, 10, commit.clone());
    ONE.sync(author, &[(&ONE, "01")]);
    author.ask_in("offset_commit", 2, 10, commit.clone());
    ONE.commit(author, 0, 6);
    ONE.leave(author);
    author.ask_in("offset_commit", 2, 10, commit);
    described(author).lasting();
}

fn metadata_sizes(author: &mut Author<'_>) {
    coordinated(author);
    let size = author.random.of([0, 1, 1000, 100_000]);
    let mut body = ONE.body("");
    body["protocols"][0]["metadata"] = json!("5a".repeat(size));
    author.ask_in("join_group", 0, 3, body.clone()).on(1).label(ONE.name);
    author.ask_in("join_group", 4, 9, body.clone()).on(1).label(ONE.name);
    body["member_id"] = json!(ONE.id());
    author.ask("join_group", body).on(1).label(ONE.name);
    author.ask("sync_group", {
        let mut sync = ONE.sync_body(&[(&ONE, "")]);
        sync["assignments"][0]["assignment"] = json!("a5".repeat(size));
        sync
    });
    described(author);
}
