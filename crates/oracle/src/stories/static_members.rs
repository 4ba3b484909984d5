//! Static members: instances that are replaced and fenced.

use serde_json::json;

use super::Written;
use super::membership::{Member, ONE, THREE, TWO, assigned, coordinated, described, gathered, stable};
use crate::story::Author;

pub const STORIES: &[Written] = &[
    Written { name: "groups: a static member joins, syncs, beats and leaves", write: whole_life },
    Written { name: "groups: a static member restarts while all is stable", write: |author| restarts(author, &FIRST) },
    Written {
        name: "groups: a static follower restarts while all is stable",
        write: |author| restarts(author, &SECOND),
    },
    Written { name: "groups: a static member restarts with other metadata", write: restarts_otherwise },
    Written { name: "groups: who was replaced is fenced", write: fenced },
    Written { name: "groups: a static member restarts amid a rebalance", write: restarts_amid },
    Written { name: "groups: a static member restarts before it syncs", write: restarts_before_sync },
    Written { name: "groups: an instance with another's id", write: anothers_id },
    Written { name: "groups: an instance that nobody knows", write: unknown_instance },
    Written { name: "groups: static members leave by instance", write: leaves_by_instance },
    Written { name: "groups: a static member's session ends", write: session_ends },
    Written { name: "groups: a static and a dynamic member share", write: mixed },
    Written { name: "groups: a static member drops its instance", write: drops_instance },
    Written { name: "groups: a static member commits", write: commits },
    Written { name: "groups: an instance without a name", write: nameless },
];

const FIRST: Member = ONE.is("first");
const SECOND: Member = TWO.is("second");

/// The same instance, as a process that does not know its id.
const FIRST_ANEW: Member = Member { name: "anew", connection: 4, ..FIRST };

fn whole_life(author: &mut Author<'_>) {
    stable(author, &[FIRST]);
    described(author);
    FIRST.beat(author);
    FIRST.rejoin(author);
    FIRST.leave(author);
    FIRST.beat(author);
    described(author).lasting();
}

fn restarts(author: &mut Author<'_>, who: &Member) {
    stable(author, &[FIRST, SECOND]);
    let anew = Member { name: "anew", connection: 4, ..*who };
    anew.join(author);
    anew.beat(author);
    anew.sync(author, &[]);
    who.beat(author);
    described(author);
    // Once more, as who it is now.
    anew.rejoin(author);
}

fn restarts_otherwise(author: &mut Author<'_>) {
    stable(author, &[FIRST, SECOND]);
    let protocols: &[(&str, &str)] = author.random.of([&[("range", "%u")] as &[_], &[("range", "%t"), ("own", "")]]);
    let anew = Member { protocols, ..FIRST_ANEW };
    anew.join_only(author);
    SECOND.beat(author);
    SECOND.rejoin(author);
    author.await_answer(anew.name);
    described(author);
    FIRST.beat(author);
}

fn fenced(author: &mut Author<'_>) {
    author.topic("t", 1);
    stable(author, &[FIRST]);
    FIRST_ANEW.join(author);
    author.ask_in("heartbeat", 3, 4, FIRST.beat_body(&json!(FIRST.generation())));
    author.ask_in("sync_group", 3, 5, FIRST.sync_body(&[]));
    author.ask_in("join_group", 5, 9, FIRST.body(&FIRST.id()));
    FIRST.commit(author, 0, 3);
    FIRST.leave(author);
    FIRST_ANEW.commit(author, 0, 4);
    described(author);
}

fn restarts_amid(author: &mut Author<'_>) {
    stable(author, &[FIRST, SECOND]);
    THREE.join_only(author);
    FIRST.rejoin_only(author);
    // The join that waits is answered as fenced.
    FIRST_ANEW.join_only(author);
    author.await_answer(FIRST.name);
    SECOND.rejoin(author).send_only();
    for member in [&THREE, &SECOND, &FIRST_ANEW] {
        author.await_answer(member.name);
    }
    FIRST_ANEW.beat(author);
    described(author);
}

fn restarts_before_sync(author: &mut Author<'_>) {
    coordinated(author);
    gathered(author, &[FIRST, SECOND]);
    FIRST_ANEW.join_only(author);
    SECOND.beat(author);
    SECOND.rejoin(author);
    author.await_answer(FIRST_ANEW.name);
    FIRST.sync(author, &[(&FIRST, "01")]);
    assigned(author, &[FIRST_ANEW, SECOND]);
    described(author);
}

fn anothers_id(author: &mut Author<'_>) {
    stable(author, &[FIRST, SECOND]);
    let swapped = Member { instance: SECOND.instance, ..FIRST };
    author.ask_in("join_group", 5, 9, swapped.body(&FIRST.id())).on(4);
    author.ask_in("heartbeat", 3, 4, swapped.beat_body(&json!(FIRST.generation())));
    author.ask_in("sync_group", 3, 5, swapped.sync_body(&[]));
    let members = json!([{ "member_id": FIRST.id(), "group_instance_id": "second" }]);
    author.ask_in("leave_group", 3, 5, json!({ "group_id": "@g", "members": members }));
    described(author);
}

fn unknown_instance(author: &mut Author<'_>) {
    stable(author, &[FIRST]);
    let other = Member { instance: Some("other"), ..FIRST };
    author.ask_in("heartbeat", 3, 4, other.beat_body(&json!(FIRST.generation())));
    author.ask_in("sync_group", 3, 5, other.sync_body(&[]));
    author.ask_in("join_group", 5, 9, other.body("stranger")).on(4);
    author.ask_in("join_group", 5, 9, FIRST.body("stranger")).on(4);
    author.ask_in(
        "heartbeat",
        3,
        4,
        json!({ "group_id": "@none", "generation_id": 1, "member_id": "m", "group_instance_id": "first" }),
    );
    author.ask_in("join_group", 5, 9, {
        let mut body = FIRST.body("stranger");
        body["group_id"] = json!("@none");
        body
    });
}

fn leaves_by_instance(author: &mut Author<'_>) {
    stable(author, &[FIRST, SECOND]);
    let mut members = vec![
        json!({ "member_id": "", "group_instance_id": "first" }),
        json!({ "member_id": "stranger", "group_instance_id": "second" }),
        json!({ "member_id": "", "group_instance_id": "nobody" }),
    ];
    if author.random.one_in(2) {
        members.swap(0, 2);
    }
    author.ask_in("leave_group", 3, 5, json!({ "group_id": "@g", "members": members }));
    described(author);
    let members = json!([{ "member_id": SECOND.id(), "group_instance_id": "second" }, { "member_id": "", "group_instance_id": "first" }]);
    author.ask_in("leave_group", 3, 5, json!({ "group_id": "@g", "members": members }));
    described(author);
}

fn session_ends(author: &mut Author<'_>) {
    coordinated(author);
    let hasty = Member { session_ms: author.random.of([100, 400]), ..FIRST };
    hasty.join(author);
    author.sleep_ms(1200);
    described(author);
    FIRST.beat(author);
    FIRST_ANEW.join(author);
    described(author);
}

fn mixed(author: &mut Author<'_>) {
    stable(author, &[FIRST, TWO]);
    described(author);
    FIRST_ANEW.join(author);
    TWO.beat(author);
    TWO.leave(author);
    FIRST_ANEW.beat(author);
    FIRST_ANEW.rejoin(author);
    described(author);
}

fn drops_instance(author: &mut Author<'_>) {
    stable(author, &[FIRST, SECOND]);
    // By its id alone it is still known.
    let alone = Member { instance: None, ..SECOND };
    alone.beat(author);
    alone.sync(author, &[]);
    alone.rejoin(author);
    described(author);
    alone.leave(author);
    described(author);
}

fn commits(author: &mut Author<'_>) {
    author.topic("t", 2);
    stable(author, &[FIRST]);
    FIRST.commit(author, 0, 7);
    FIRST_ANEW.commit(author, 0, 8);
    FIRST_ANEW.join(author);
    FIRST_ANEW.commit(author, 1, 9);
    FIRST.commit(author, 1, 10);
    let wanted = json!({ "group_id": "@g", "topics": [{ "name": "@t", "partition_indexes": [0, 1] }] });
    author.ask_in("offset_fetch", 1, 7, wanted).lasting();
}

fn nameless(author: &mut Author<'_>) {
    coordinated(author);
    let instance = author.random.of(["", ".", "a b", "\u{e4}"]);
    let odd = Member { instance: Some(instance), ..ONE };
    odd.join(author);
    odd.sync(author, &[(&odd, "01")]);
    odd.beat(author);
    described(author);
    Member { name: "anew", connection: 4, ..odd }.join(author);
}
