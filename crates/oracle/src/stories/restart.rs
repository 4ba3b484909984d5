//! What is begun before the brokers are restarted and goes on afterwards. Steps that are [asked
//! afterwards](crate::story::Asked::afterwards) are no part of the first telling.

use serde_json::json;

use super::Written;
use super::log::{batch, from, sequenced, wanted};
use super::membership::{Member, ONE, described, stable};
use super::offsets::fetch;
use crate::story::Author;

pub const STORIES: &[Written] = &[
    Written { name: "restart: a member goes on", write: member },
    Written { name: "restart: a static member comes back", write: static_member },
    Written { name: "restart: a group is joined by another", write: joined },
    Written { name: "restart: a producer goes on", write: producer },
    Written { name: "restart: a producer leaves a gap", write: gap },
    Written { name: "restart: a producer with another epoch", write: epochs },
    Written { name: "restart: another producer", write: other_producer },
    Written { name: "restart: records are added", write: records },
    Written { name: "restart: records are deleted", write: deleted },
    Written { name: "restart: sessions are forgotten", write: session },
    Written { name: "restart: a topic is deleted", write: topic },
    Written { name: "restart: partitions are added", write: partitions },
    Written { name: "restart: configurations are changed", write: configs },
];

/// A member whose session lasts over a restart, however late that comes.
const PATIENT: Member = Member { session_ms: 600_000, rebalance_ms: 5000, ..ONE };

fn member(author: &mut Author<'_>) {
    author.topic("t", 3);
    stable(author, &[PATIENT]);
    PATIENT.commit(author, 0, 3);
    PATIENT.beat(author).afterwards();
    described(author).afterwards();
    PATIENT.commit(author, 0, 4).afterwards();
    fetch(author, Some(&[("t", &[0, 1])])).afterwards();
    PATIENT.sync(author, &[]).afterwards();
    PATIENT.beat_of(author, &json!(7)).afterwards();
    PATIENT.leave(author).afterwards();
    described(author).afterwards();
}

fn static_member(author: &mut Author<'_>) {
    const STATIC: Member = PATIENT.is("first");
    author.topic("t", 3);
    stable(author, &[STATIC]);
    STATIC.beat(author).afterwards();
    author.ask_in("join_group", 5, i16::MAX, STATIC.body("")).label("anew").afterwards();
    STATIC.beat(author).afterwards();
    let body = json!({
        "group_id": "@g", "generation_id": "$anew/generation_id", "member_id": "$anew/member_id",
        "group_instance_id": "first",
    });
    author.ask_in("heartbeat", 3, i16::MAX, body).afterwards();
}

fn joined(author: &mut Author<'_>) {
    author.topic("t", 3);
    stable(author, &[PATIENT]);
    PATIENT.leave(author);
    author.ask_in("join_group", 0, 3, PATIENT.body("")).label("anew").afterwards();
    described(author).afterwards();
}

fn producer(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    author.producer("p");
    for at in 0..3 {
        author.produce("t", 0, &sequenced("p", at * 2, 2));
    }
    for sequence in [4, 0, 6, 6, 8] {
        author.produce("t", 0, &sequenced("p", sequence, 2)).afterwards();
    }
    author.look_up("t", 0, -1).afterwards();
}

fn gap(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    author.producer("p");
    author.produce("t", 0, &sequenced("p", 0, 2));
    for sequence in [5, 1, 2] {
        author.produce("t", 0, &sequenced("p", sequence, 1)).afterwards();
    }
    author.look_up("t", 0, -1).afterwards();
}

fn epochs(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    author.producer("p");
    let of = |epoch: i64, sequence: i64| {
        let records = super::log::present(sequence, 1);
        json!([{ "producer_id": "$p/producer_id", "producer_epoch": epoch, "base_sequence": sequence, "records": records }])
    };
    author.produce("t", 0, &of(3, 0));
    for (epoch, sequence) in [(2, 1), (4, 1), (4, 0), (3, 1), (4, 1)] {
        author.produce("t", 0, &of(epoch, sequence)).afterwards();
    }
    author.look_up("t", 0, -1).afterwards();
}

fn other_producer(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    author.producer("p");
    author.produce("t", 0, &sequenced("p", 0, 2));
    let body =
        json!({ "transactional_id": null, "transaction_timeout_ms": 60_000, "producer_id": -1, "producer_epoch": -1 });
    author.ask("init_producer_id", body).label("q").afterwards();
    for producer in ["q", "p"] {
        author.produce("t", 0, &sequenced(producer, 2, 1)).afterwards();
    }
    author.produce("t", 0, &sequenced("q", 0, 1)).afterwards();
}

fn records(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    author.produce("t", 0, &batch(0, 3));
    author.produce("t", 0, &batch(3, 3)).afterwards();
    // What lies in the store already and what does not come one after the other from Headwater.
    for offset in [3, 5] {
        author.fetch("t", 0, offset).afterwards();
    }
    for timestamp in [-1, -2, -3, 1_600_000_004_000_i64] {
        author.look_up("t", 0, timestamp).afterwards();
    }
}

fn deleted(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    author.produce("t", 0, &batch(0, 3));
    author.produce("t", 0, &batch(3, 3));
    for offset in [4, 2, 6, 7] {
        let topics = json!([{ "name": "@t", "partitions": [{ "partition_index": 0, "offset": offset }] }]);
        author.ask("delete_records", json!({ "topics": topics, "timeout_ms": 10_000 })).afterwards();
        author.look_up("t", 0, -2).afterwards();
    }
    author.produce("t", 0, &batch(6, 1)).afterwards();
    author.fetch("t", 0, 6).afterwards();
}

fn session(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    author.produce("t", 0, &batch(0, 2));
    let body = |id: &str, epoch: i64| {
        json!({
            "replica_id": -1, "max_wait_ms": 0, "min_bytes": 0, "max_bytes": 10_000_000, "session_id": id,
            "session_epoch": epoch, "topics": [wanted("t", &json!([from(0, 0)]))],
        })
    };
    let mut first = body("", 0);
    first["session_id"] = json!(0);
    author.ask_in("fetch", 7, i16::MAX, first).label("s");
    author.ask_in("fetch", 7, i16::MAX, body("$s/session_id", 1)).afterwards();
}

fn topic(author: &mut Author<'_>) {
    author.log("t", 2, &[]);
    author.produce("t", 0, &batch(0, 2));
    author.pin("t", "old");
    author.ask_in("delete_topics", 1, 5, json!({ "topic_names": ["@t"], "timeout_ms": 30_000 })).afterwards();
}

fn partitions(author: &mut Author<'_>) {
    author.log("t", 2, &[]);
    for count in [2, 4, 3] {
        let topics = json!([{ "name": "@t", "count": count, "assignments": null }]);
        let body = json!({ "topics": topics, "timeout_ms": 30_000, "validate_only": false });
        author.ask("create_partitions", body).afterwards();
    }
    author.sleep_ms(300);
    let body = json!({ "topics": [{ "name": "@t" }], "allow_auto_topic_creation": false });
    author.ask_in("metadata", 4, i16::MAX, body).afterwards();
}

fn configs(author: &mut Author<'_>) {
    author.topic_with("t", 1, &[("retention.ms", "5000"), ("cleanup.policy", "compact")]);
    let change = |operation: i64| {
        let configs = json!([{ "name": "retention.ms", "config_operation": operation, "value": "6000" }]);
        let resources = json!([{ "resource_type": 2, "resource_name": "@t", "configs": configs }]);
        json!({ "resources": resources, "validate_only": false })
    };
    let shown = json!({ "resources": [{
        "resource_type": 2, "resource_name": "@t", "configuration_keys": ["retention.ms", "cleanup.policy"],
    }], "include_synonyms": true });
    for operation in [0, 1] {
        author.ask_in("incremental_alter_configs", 0, i16::MAX, change(operation)).afterwards();
        author.sleep_ms(300);
        author.ask_in("describe_configs", 1, i16::MAX, shown.clone()).afterwards();
    }
}
