//! Offsets by time and by epoch, and what deleting records makes of them.

use serde_json::{Value, json};

use super::Written;
use super::log::{ANY, TIME, batch, messages, numbered};
use crate::story::Author;

pub const STORIES: &[Written] = &[
    Written { name: "list offsets: what is special, in every version", write: special },
    Written { name: "list offsets: of a partition without records", write: of_nothing },
    Written { name: "list offsets: times between, equal and after", write: times },
    Written { name: "list offsets: times out of order", write: out_of_order },
    Written { name: "list offsets: equal times", write: equal_times },
    Written { name: "list offsets: within compressed batches", write: compressed },
    Written { name: "list offsets: the broker's own time", write: append_time },
    Written { name: "list offsets: old formats", write: old_formats },
    Written { name: "list offsets: records without times", write: timeless },
    Written { name: "list offsets: several at once, as version 0 does", write: several_at_once },
    Written { name: "list offsets: partitions and topics that there are not", write: unknown },
    Written { name: "list offsets: partitions twice", write: twice },
    Written { name: "list offsets: leader epochs", write: leader_epochs },
    Written { name: "list offsets: isolation levels and replicas", write: isolation },
    Written { name: "list offsets: after records were deleted within a batch", write: trimmed },
    Written { name: "leader epoch: the end of an epoch", write: epoch_ends },
    Written { name: "leader epoch: of a partition without records", write: epoch_of_nothing },
    Written { name: "leader epoch: the current one, known and unknown", write: current_epochs },
    Written { name: "leader epoch: after records were deleted", write: epoch_trimmed },
    Written { name: "leader epoch: partitions that there are not", write: epoch_unknown },
    Written { name: "delete records: up to the middle of a batch", write: delete_mid_batch },
    Written { name: "delete records: all of them", write: delete_all },
    Written { name: "delete records: beyond the end, and nonsense", write: delete_beyond },
    Written { name: "delete records: again and backwards", write: delete_again },
    Written { name: "delete records: and produce on", write: delete_and_produce },
    Written { name: "delete records: of topics that there are not, and of internal ones", write: delete_unknown },
    Written { name: "delete records: of a compacted topic", write: delete_compacted },
    Written { name: "delete records: partitions and topics twice", write: delete_twice },
    Written { name: "delete records: of an empty partition", write: delete_nothing },
];

fn all_versions(author: &mut Author<'_>, timestamp: i64) {
    for version in author.versions("list_offsets", 0, i16::MAX) {
        author.look_up_in((version, version), "t", 0, timestamp);
    }
}

fn fill(author: &mut Author<'_>, batches: i64) -> i64 {
    author.log("t", 1, &[]);
    let count = author.random.of([1, 2, 5]);
    for at in 0..batches {
        author.produce("t", 0, &batch(at * count, count));
    }
    count
}

fn special(author: &mut Author<'_>) {
    fill(author, 3);
    for timestamp in [-1, -2, -3, -4, -5, -6, -7, i64::MIN] {
        all_versions(author, timestamp);
    }
}

fn of_nothing(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    for timestamp in [-1, -2, -3, -4, -5, 0, TIME, i64::MAX] {
        author.look_up("t", 0, timestamp).lasting();
        author.look_up_in((7, i16::MAX), "t", 0, timestamp);
    }
}

fn times(author: &mut Author<'_>) {
    let count = fill(author, 3);
    for timestamp in [
        0,
        TIME,
        TIME + 1,
        TIME + 1000,
        TIME + count * 1000 - 1,
        TIME + count * 3000 - 1000,
        TIME + count * 3000,
        i64::MAX,
    ] {
        author.look_up("t", 0, timestamp).lasting();
    }
    all_versions(author, TIME + 500);
}

fn at_times(author: &mut Author<'_>, codec: &str, times: &[&[i64]]) {
    for batch in times {
        let records: Vec<Value> =
            batch.iter().map(|time| json!({ "value": format!("v{time}"), "timestamp": TIME + time })).collect();
        author.produce("t", 0, &json!([{ "codec": codec, "records": records }]));
    }
}

fn out_of_order(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    let codec = author.random.of(["none", "gzip"]);
    at_times(author, codec, &[&[50, 10, 90], &[20, 70], &[95, 5, 95], &[1]]);
    for time in [0, 1, 10, 11, 51, 60, 90, 91, 95, 96] {
        author.look_up_in((1, i16::MAX), "t", 0, TIME + time).lasting();
    }
    author.bounds("t", 0);
}

fn equal_times(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    at_times(author, "none", &[&[5, 5], &[5], &[9, 9, 9], &[9], &[7]]);
    for time in [5, 6, 9, 10] {
        author.look_up_in((1, i16::MAX), "t", 0, TIME + time).lasting();
    }
    author.bounds("t", 0);
}

fn compressed(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    let codec = author.random.of(["gzip", "snappy", "lz4"]);
    at_times(author, codec, &[&[10, 20, 30, 25], &[40, 50, 45]]);
    for time in [10, 15, 26, 30, 31, 45, 46, 50, 51] {
        author.look_up_in((1, i16::MAX), "t", 0, TIME + time).lasting();
    }
    author.bounds("t", 0);
}

fn append_time(author: &mut Author<'_>) {
    author.log("t", 1, &[("message.timestamp.type", "LogAppendTime")]);
    let codec = author.random.of(["none", "gzip"]);
    for at in 0..2 {
        author.produce("t", 0, &json!([{ "codec": codec, "records": numbered(at * 3, 3) }]));
        author.sleep_ms(10);
    }
    for timestamp in [0, TIME, -1, -2, -3, i64::MAX] {
        author.look_up_in((7, i16::MAX), "t", 0, timestamp).lasting();
    }
}

fn old_formats(author: &mut Author<'_>) {
    author.of_old();
    author.log("t", 1, &[]);
    let codec = author.random.of(["none", "gzip", "lz4"]);
    for magic in [0, 1] {
        author.produce_in(0, 2, "t", 0, &messages(magic, codec, magic * 3, 3));
    }
    for timestamp in [-1, -2, -3, 0, TIME, TIME + 3500, TIME + 4000, TIME + 5000, TIME + 6000] {
        author.look_up("t", 0, timestamp).lasting();
    }
}

fn timeless(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    let none = json!([{ "records": [{ "value": "v", "timestamp": -1 }, { "value": "w", "timestamp": -1 }] }]);
    author.produce("t", 0, &none);
    author.bounds("t", 0);
    author.look_up_in((1, i16::MAX), "t", 0, 0);
    author.produce("t", 0, &batch(0, 1));
    author.bounds("t", 0);
    author.look_up_in((1, i16::MAX), "t", 0, 0).lasting();
}

fn several_at_once(author: &mut Author<'_>) {
    fill(author, 3);
    for timestamp in [-1, -2, 0, TIME, 4_000_000_000_000] {
        for most in [0, 1, 2, 10, -1] {
            let partitions = json!([{ "partition_index": 0, "timestamp": timestamp, "max_num_offsets": most }]);
            let topics = json!([{ "name": "@t", "partitions": partitions }]);
            author.ask_in("list_offsets", 0, 0, json!({ "replica_id": -1, "topics": topics }));
        }
    }
    author.trim("t", 0, 2);
    author.look_up_in((0, 0), "t", 0, -2).lasting();
    author.look_up_in((0, 0), "t", 0, -1).lasting();
}

fn unknown(author: &mut Author<'_>) {
    fill(author, 1);
    for partition in [1, -1, i32::MAX] {
        author.look_up("t", partition, -1);
    }
    let timestamp = author.random.of([-1, -2, TIME]);
    for name in ["@none", "", "not a name"] {
        let partitions = json!([{ "partition_index": 0, "timestamp": timestamp, "max_num_offsets": 1 }]);
        let topics = json!([{ "name": name, "partitions": partitions }, { "name": "@t", "partitions": partitions }]);
        author.ask("list_offsets", json!({ "replica_id": -1, "topics": topics }));
    }
    author.ask("list_offsets", json!({ "replica_id": -1, "topics": [] }));
}

fn twice(author: &mut Author<'_>) {
    fill(author, 2);
    let timestamp = author.random.of([-1, -2, TIME]);
    let of = |timestamp: i64| json!({ "partition_index": 0, "timestamp": timestamp, "max_num_offsets": 1 });
    let same = json!([{ "name": "@t", "partitions": [of(-1), of(timestamp)] }]);
    author.ask("list_offsets", json!({ "replica_id": -1, "topics": same }));
    let topics = json!([{ "name": "@t", "partitions": [of(-1)] }, { "name": "@t", "partitions": [of(timestamp)] }]);
    author.ask("list_offsets", json!({ "replica_id": -1, "topics": topics }));
}

fn leader_epochs(author: &mut Author<'_>) {
    fill(author, 1);
    for epoch in [-1, 0, 1, 100, -2] {
        let timestamp = author.random.of([-1, -2, TIME]);
        let partitions = json!([{ "partition_index": 0, "timestamp": timestamp, "current_leader_epoch": epoch }]);
        let topics = json!([{ "name": "@t", "partitions": partitions }]);
        // At a restart each broker counts its epochs on as it likes.
        let body = json!({ "replica_id": -1, "topics": topics });
        author.ask_in("list_offsets", 4, i16::MAX, body).lasting_if(epoch != 1);
    }
}

fn isolation(author: &mut Author<'_>) {
    fill(author, 2);
    for level in [0, 1, 2, -1] {
        let timestamp = author.random.of([-1, -2, TIME, i64::MAX]);
        let topics = json!([{ "name": "@t", "partitions": [{ "partition_index": 0, "timestamp": timestamp }] }]);
        author.ask_in(
            "list_offsets",
            2,
            i16::MAX,
            json!({ "replica_id": -1, "isolation_level": level, "topics": topics }),
        );
        author.ask_in(
            "list_offsets",
            2,
            i16::MAX,
            json!({ "replica_id": -2, "isolation_level": level, "topics": topics }),
        );
    }
}

fn trimmed(author: &mut Author<'_>) {
    fill(author, 0);
    let codec = author.random.of(["none", "gzip"]);
    at_times(author, codec, &[&[10, 20, 30], &[15, 40], &[35]]);
    let offset = author.random.of([1, 2, 4, 5]);
    author.trim("t", 0, offset);
    for time in [0, 10, 15, 25, 30, 35, 40, 41] {
        author.look_up_in((1, i16::MAX), "t", 0, TIME + time).lasting();
    }
    author.bounds("t", 0);
}

fn epoch_ends(author: &mut Author<'_>) {
    fill(author, 2);
    for epoch in [0, -1, 1, 5, -2, i64::from(i32::MAX)] {
        for _ in author.versions("offset_for_leader_epoch", 0, 2) {
            author.epoch_end("t", 0, -1, epoch).lasting_if(epoch != 1);
        }
        author.epoch_end("t", 0, -1, epoch);
    }
}

fn epoch_of_nothing(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    for epoch in [0, -1, 1] {
        author.epoch_end("t", 0, -1, epoch).lasting_if(epoch < 1);
    }
}

fn current_epochs(author: &mut Author<'_>) {
    fill(author, 1);
    for current in [-1, 0, 1, 100, -2] {
        let epoch = author.random.of([0, 0, 1]);
        author.epoch_end("t", 0, current, epoch).lasting_if(current != 1 && epoch < 1);
    }
}

fn epoch_trimmed(author: &mut Author<'_>) {
    let count = fill(author, 3);
    let offset = author.random.of([1, count, 3 * count]);
    author.trim("t", 0, offset);
    for epoch in [0, 1, -1] {
        author.epoch_end("t", 0, -1, epoch).lasting_if(epoch < 1);
    }
}

fn epoch_unknown(author: &mut Author<'_>) {
    fill(author, 1);
    let epoch = author.random.of([0, 1, -1]);
    author.epoch_end("t", 1, -1, epoch);
    author.epoch_end("none", 0, -1, epoch);
    author.epoch_end("t", -1, 0, epoch);
    let of = json!([{ "partition": 0, "leader_epoch": epoch }, { "partition": 9, "leader_epoch": epoch }, { "partition": 0, "leader_epoch": 0 }]);
    let topics = json!([{ "topic": "@none", "partitions": of }, { "topic": "@t", "partitions": of }]);
    author.ask("offset_for_leader_epoch", json!({ "replica_id": -1, "topics": topics }));
}

fn delete_mid_batch(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    for at in 0..2 {
        author.produce("t", 0, &batch(at * 5, 5));
    }
    let offset = author.random.of([1, 3, 4, 7]);
    author.trim("t", 0, offset);
    author.bounds("t", 0);
    author.read("t", 0, &[0, offset - 1, offset, offset + 1]);
    author.epoch_end("t", 0, -1, 0).lasting();
    author.look_up_in(ANY, "t", 0, TIME + offset * 1000).lasting();
}

fn delete_all(author: &mut Author<'_>) {
    let count = fill(author, 2);
    let all = author.random.of([-1, 2 * count]);
    author.trim("t", 0, all);
    author.bounds("t", 0);
    author.read("t", 0, &[0, 2 * count]);
    author.produce("t", 0, &batch(9, 1));
    author.bounds("t", 0);
}

fn delete_beyond(author: &mut Author<'_>) {
    let count = fill(author, 2);
    for offset in [2 * count + 1, 1000, -2, i64::MAX, i64::MIN] {
        author.trim("t", 0, offset);
    }
    author.bounds("t", 0);
}

fn delete_again(author: &mut Author<'_>) {
    fill(author, 5);
    for offset in [3, 3, 1, 0, 4, -1, -1, 2] {
        author.trim("t", 0, offset);
    }
    author.bounds("t", 0);
}

fn delete_and_produce(author: &mut Author<'_>) {
    let count = fill(author, 2);
    for at in 2..5 {
        let offset = author.random.of([-1, at * count]);
        author.trim("t", 0, offset);
        author.produce("t", 0, &batch(at * count, count));
        author.fetch("t", 0, at * count).lasting();
    }
    author.bounds("t", 0);
}

fn delete_unknown(author: &mut Author<'_>) {
    fill(author, 1);
    let offset = author.random.of([0, -1, 5]);
    for (name, partition) in
        [("@t", 1), ("@t", -1), ("@none", 0), ("", 0), ("not a name", 0), ("__consumer_offsets", 77)]
    {
        let topics = json!([{ "name": name, "partitions": [{ "partition_index": partition, "offset": offset }] }]);
        author.ask("delete_records", json!({ "topics": topics, "timeout_ms": 10_000 }));
    }
    author.ask_in("find_coordinator", 1, 3, json!({ "key": "@g", "key_type": 0 })).settled();
    let internal = json!([{ "name": "__consumer_offsets", "partitions": [{ "partition_index": 0, "offset": 0 }] }]);
    author.ask("delete_records", json!({ "topics": internal, "timeout_ms": 10_000 }));
    author.ask("delete_records", json!({ "topics": [], "timeout_ms": 10_000 }));
}

fn delete_compacted(author: &mut Author<'_>) {
    let policy = author.random.of(["compact", "compact,delete"]);
    author.log("t", 1, &[("cleanup.policy", policy)]);
    author.produce("t", 0, &batch(0, 3));
    author.trim("t", 0, 2);
    author.look_up_in((1, i16::MAX), "t", 0, -2).lasting();
}

fn delete_twice(author: &mut Author<'_>) {
    fill(author, 5);
    let of = |offset: i64| json!({ "partition_index": 0, "offset": offset });
    let last = author.random.of([1, 3]);
    let partitions = json!([{ "name": "@t", "partitions": [of(2), of(last)] }]);
    author.ask("delete_records", json!({ "topics": partitions, "timeout_ms": 10_000 }));
    let topics = json!([{ "name": "@t", "partitions": [of(4)] }, { "name": "@t", "partitions": [of(last)] }]);
    author.ask("delete_records", json!({ "topics": topics, "timeout_ms": 10_000 }));
    author.bounds("t", 0);
}

fn delete_nothing(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    for offset in [0, -1, 1] {
        author.trim("t", 0, offset);
    }
    author.bounds("t", 0);
}
