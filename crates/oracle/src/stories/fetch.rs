//! What a consumer reads, in every version and within every limit.

use serde_json::{Value, json};

use super::Written;
use super::log::{batch, fetching, from, messages, numbered, wanted, wide};
use crate::story::Author;

pub const STORIES: &[Written] = &[
    Written { name: "fetch: plain batches in every version", write: every_version::<0> },
    Written { name: "fetch: gzip batches in every version", write: every_version::<1> },
    Written { name: "fetch: snappy batches in every version", write: every_version::<2> },
    Written { name: "fetch: lz4 batches in every version", write: every_version::<3> },
    Written { name: "fetch: zstd batches in every version", write: every_version::<4> },
    Written { name: "fetch: old and new formats in one partition, in every version", write: formats_mixed },
    Written { name: "fetch: records that an old format cannot say", write: lost_in_old_formats },
    Written { name: "fetch: offsets within, at and behind the end", write: offsets },
    Written { name: "fetch: an offset in the middle of a batch", write: mid_batch },
    Written { name: "fetch: limits of a partition's bytes", write: partition_limits },
    Written { name: "fetch: limits of a reply's bytes", write: reply_limits },
    Written { name: "fetch: a batch larger than every limit", write: large_first },
    Written { name: "fetch: limits in old formats", write: old_limits },
    Written { name: "fetch: many batches up to a limit", write: up_to_a_limit },
    Written { name: "fetch: waits for records, and gets them", write: waits },
    Written { name: "fetch: waits for more bytes than there are", write: waits_for_more },
    Written { name: "fetch: waits in vain", write: waits_in_vain },
    Written { name: "fetch: does not wait where something is wrong", write: wrong_do_not_wait },
    Written { name: "fetch: waits while a topic is deleted", write: deleted_meanwhile },
    Written { name: "fetch: leader epochs known, unknown and none", write: leader_epochs },
    Written { name: "fetch: epochs that a log has not", write: last_epochs },
    Written { name: "fetch: isolation levels", write: isolation },
    Written { name: "fetch: partitions that there are not", write: unknown_partitions },
    Written { name: "fetch: topics that there are not", write: unknown_topics },
    Written { name: "fetch: a deleted topic, by name and by id", write: deleted },
    Written { name: "fetch: a topic made anew, by its old and its new id", write: made_anew },
    Written { name: "fetch: partitions and topics twice", write: twice },
    Written { name: "fetch: partitions in the order in which they are asked for", write: order },
    Written { name: "fetch: a partition without records", write: empty },
    Written { name: "fetch: what is there after records were deleted", write: trimmed },
    Written { name: "fetch: nothing is asked for", write: nothing },
    Written { name: "fetch: the log start that a consumer claims", write: claims },
];

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

fn every_version<const CODEC: usize>(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    let count = author.random.of([1, 2, 5]);
    for at in 0..3 {
        let set = json!([{ "codec": CODECS[CODEC], "records": numbered(at * count, count) }]);
        author.produce_in(7, i16::MAX, "t", 0, &set);
    }
    for version in author.versions("fetch", 0, i16::MAX) {
        let offset = author.random.below(3 * count as usize + 1) as i64;
        author.fetch_in(version, version, "t", 0, offset).repacked();
        author.fetch_in(version, version, "t", 0, 0).repacked();
    }
}

fn formats_mixed(author: &mut Author<'_>) {
    author.of_old();
    author.log("t", 1, &[]);
    let codec = author.random.of(["none", "gzip", "snappy", "lz4"]);
    author.produce("t", 0, &json!([{ "codec": codec, "records": numbered(0, 2) }]));
    if !author.versions("produce", 0, 2).is_empty() {
        for magic in [0, 1] {
            author.produce_in(0, 2, "t", 0, &messages(magic, codec, 2 + magic * 2, 2));
        }
    }
    author.produce("t", 0, &batch(6, 2));
    for version in author.versions("fetch", 0, i16::MAX) {
        for offset in [0, 1, 3, 5] {
            author.fetch_in(version, version, "t", 0, offset).repacked();
        }
    }
}

fn lost_in_old_formats(author: &mut Author<'_>) {
    // Kafka would begin a segment where times lie far apart, and a reply ends with its segment.
    author.log("t", 1, &[("segment.ms", "9223372036854775807")]);
    let codec = author.random.of(["none", "gzip"]);
    let headers = json!([{ "key": "h", "value": "1" }]);
    let records = json!([
        { "key": "k", "value": null, "timestamp": -1, "headers": headers },
        { "key": null, "value": "v", "timestamp": 5 },
    ]);
    author.produce("t", 0, &json!([{ "codec": codec, "records": records }]));
    author.producer("p");
    author.produce("t", 0, &super::log::sequenced("p", 0, 2));
    for version in author.versions("fetch", 0, 4) {
        author.fetch_in(version, version, "t", 0, 0).repacked();
    }
}

fn offsets(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    let count = author.random.of([1, 3]);
    for at in 0..2 {
        author.produce("t", 0, &batch(at * count, count));
    }
    for offset in [0, count, 2 * count - 1, 2 * count, 2 * count + 1, 1000, -1, -2, i64::MAX, i64::MIN] {
        author.fetch("t", 0, offset).lasting();
    }
}

fn mid_batch(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    let codec = author.random.of(["none", "gzip", "lz4"]);
    let set = json!([{ "codec": codec, "records": numbered(0, 10) }]);
    author.produce("t", 0, &set);
    author.produce("t", 0, &batch(10, 1));
    for _ in 0..4 {
        let offset = author.random.below(11) as i64;
        author.fetch("t", 0, offset).repacked().lasting();
    }
}

fn limited(author: &mut Author<'_>, (low, high): (i16, i16), offset: i64, partition_bytes: i64, bytes: i64) {
    let partition = json!({ "partition": 0, "fetch_offset": offset, "partition_max_bytes": partition_bytes });
    let mut body = fetching(&json!([wanted("t", &json!([partition]))]));
    body["max_bytes"] = json!(bytes);
    author.ask_in("fetch", low, high, body);
}

fn partition_limits(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    for at in 0..4 {
        author.produce("t", 0, &wide(at * 2, 2, 20));
    }
    for bytes in [0, 1, 50, 100, 130, 200, 300, 1000, -1, i64::from(i32::MIN), i64::from(i32::MAX)] {
        let offset = author.random.of([0, 1, 2, 6]);
        limited(author, (4, i16::MAX), offset, bytes, 10_000_000);
    }
}

fn reply_limits(author: &mut Author<'_>) {
    author.log("t", 3, &[]);
    for partition in 0..3 {
        author.produce("t", partition, &wide(0, 2, 20));
        author.produce("t", partition, &wide(2, 2, 30));
    }
    let first = author.random.below(3) as i32;
    for bytes in [0, 1, 100, 130, 131, 260, 300, 400, 600, -1] {
        let partitions = json!([from(first, 0), from((first + 1) % 3, 2), from((first + 2) % 3, 0)]);
        let mut body = fetching(&json!([wanted("t", &partitions)]));
        body["max_bytes"] = json!(bytes);
        author.ask_in("fetch", 3, i16::MAX, body);
    }
}

fn large_first(author: &mut Author<'_>) {
    author.log("t", 2, &[]);
    let large = author.random.of([2000, 20_000]);
    author.produce("t", 0, &wide(0, 1, large));
    author.produce("t", 0, &wide(1, 1, 10));
    author.produce("t", 1, &wide(0, 1, large));
    for version in author.versions("fetch", 3, i16::MAX) {
        limited(author, (version, version), 0, 100, 10_000_000);
    }
    for order in [[0, 1], [1, 0]] {
        let partitions: Vec<Value> =
            order.iter().map(|at| json!({ "partition": at, "fetch_offset": 0, "partition_max_bytes": 100 })).collect();
        let mut body = fetching(&json!([wanted("t", &Value::Array(partitions))]));
        body["max_bytes"] = json!(author.random.of([100, 10_000_000]));
        author.ask_in("fetch", 3, i16::MAX, body);
    }
    limited(author, (3, i16::MAX), 1, 100, 10);
}

fn old_limits(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    for at in 0..3 {
        author.produce("t", 0, &wide(at * 2, 2, 20));
    }
    for bytes in [0, 1, 11, 12, 30, 60, 100, 130, 200, 1000, -1] {
        limited(author, (0, 3), 0, bytes, 10_000_000);
        limited(author, (0, 3), 3, bytes, 10_000_000);
    }
}

fn up_to_a_limit(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    let size = author.random.of([10, 100, 1000]);
    for at in 0..20 {
        author.produce("t", 0, &wide(at, 1, size));
    }
    for bytes in [500, 1000, 5000, 15_000] {
        let offset = author.random.below(20) as i64;
        limited(author, (4, i16::MAX), offset, bytes, 10_000_000);
        limited(author, (4, i16::MAX), offset, 10_000_000, bytes);
    }
}

/// A Fetch that waits, sent on connection 1 and still unanswered.
fn send_waiting(author: &mut Author<'_>, offset: i64, bytes: i64, ms: i64) {
    let mut body = fetching(&json!([wanted("t", &json!([from(0, offset)]))]));
    (body["min_bytes"], body["max_wait_ms"]) = (json!(bytes), json!(ms));
    author.ask_in("fetch", 4, i16::MAX, body).on(1).label("waiting").send_only();
}

fn waits(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    author.produce("t", 0, &batch(0, 2));
    send_waiting(author, 2, 1, 14_000);
    author.sleep_ms(100);
    author.produce("t", 0, &batch(2, 1));
    author.await_answer("waiting");
}

fn waits_for_more(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    let first = author.random.of([0, 1]);
    author.produce("t", 0, &wide(0, 1, 100));
    send_waiting(author, first, 900, 14_000);
    author.sleep_ms(100);
    author.produce("t", 0, &wide(1, 1, 100));
    author.produce("t", 0, &wide(2, 1, 2000));
    author.await_answer("waiting");
}

fn waits_in_vain(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    author.produce("t", 0, &wide(0, 1, 100));
    for offset in [0, 1] {
        let ms = author.random.of([1, 50, 300]);
        send_waiting(author, offset, 100_000, ms);
        author.await_answer("waiting");
    }
}

fn wrong_do_not_wait(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    let wrong = [
        wanted("t", &json!([from(0, 7)])),
        wanted("t", &json!([from(9, 0)])),
        wanted("none", &json!([from(0, 0)])),
        wanted(
            "t",
            &json!([{ "partition": 0, "fetch_offset": 0, "partition_max_bytes": 1000, "current_leader_epoch": 9 }]),
        ),
    ];
    for topic in wrong {
        let mut body = fetching(&json!([topic]));
        (body["min_bytes"], body["max_wait_ms"]) = (json!(1), json!(60_000));
        author.ask_in("fetch", 9, i16::MAX, body);
    }
}

fn deleted_meanwhile(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    let ms = author.random.of([1500, 2500]);
    send_waiting(author, 0, 1, ms);
    author.sleep_ms(100);
    author.remove("t");
    author.await_answer("waiting");
}

fn leader_epochs(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    author.produce("t", 0, &batch(0, 2));
    for epoch in [-1, 0, 1, 100, -2, i64::from(i32::MAX)] {
        let offset = author.random.of([0, 1, 2, 5]);
        let partition = json!({
            "partition": 0, "fetch_offset": offset, "partition_max_bytes": 1_000_000, "current_leader_epoch": epoch,
        });
        // At a restart each broker counts its epochs on as it likes.
        let body = fetching(&json!([wanted("t", &json!([partition]))]));
        author.ask_in("fetch", 9, i16::MAX, body).lasting_if(epoch != 1);
    }
}

fn last_epochs(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    author.produce("t", 0, &batch(0, 2));
    for epoch in [-1, 0, 1, 5, -2] {
        let offset = author.random.of([0, 1, 2, 3]);
        let partition = json!({
            "partition": 0, "fetch_offset": offset, "partition_max_bytes": 1_000_000, "last_fetched_epoch": epoch,
        });
        let body = fetching(&json!([wanted("t", &json!([partition]))]));
        author.ask_in("fetch", 12, i16::MAX, body).lasting_if(epoch < 1);
    }
}

fn isolation(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    author.produce("t", 0, &batch(0, 2));
    for level in [0, 1, 2, -1] {
        for offset in [0, 2, 3] {
            let mut body = fetching(&json!([wanted("t", &json!([from(0, offset)]))]));
            body["isolation_level"] = json!(level);
            author.ask_in("fetch", 4, i16::MAX, body);
        }
    }
}

fn unknown_partitions(author: &mut Author<'_>) {
    author.log("t", 2, &[]);
    author.produce("t", 1, &batch(0, 2));
    for partition in [2, -1, i32::MAX, i32::MIN] {
        author.fetch("t", partition, 0);
        let partitions = json!([from(partition, 0), from(1, 0)]);
        author.ask("fetch", fetching(&json!([wanted("t", &partitions)])));
    }
}

fn unknown_topics(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    author.produce("t", 0, &batch(0, 2));
    // What the last one holds tells of when and of whom.
    for (name, offset) in [("@none", 0), ("", 0), ("not a name", 0), ("__consumer_offsets", i64::MAX)] {
        let topics = json!([{ "topic": name, "partitions": [from(0, offset)] }, wanted("t", &json!([from(0, 0)]))]);
        author.ask_in("fetch", 0, 12, fetching(&topics));
    }
    for id in ["00000000-0000-0000-0000-000000000000", "0badc0de-0bad-40de-8bad-c0de0badc0de"] {
        let topics = json!([{ "topic_id": id, "partitions": [from(0, 0)] }, wanted("t", &json!([from(0, 0)]))]);
        author.ask_in("fetch", 13, i16::MAX, fetching(&topics));
    }
}

fn deleted(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    author.produce("t", 0, &batch(0, 2));
    author.pin("t", "t");
    author.remove("t");
    author.fetch_in(0, 12, "t", 0, 0);
    author.fetch_in(13, i16::MAX, "t", 0, 0);
    author.fetch_in(13, i16::MAX, "t", 0, 5).lasting();
}

fn made_anew(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    author.produce("t", 0, &batch(0, 3));
    author.pin("t", "old");
    author.remove("t");
    author.log("t", 1, &[]);
    author.produce("t", 0, &batch(7, 1));
    author.fetch_in(13, i16::MAX, "t", 0, 0).lasting();
    author.fetch_in(0, 12, "t", 0, 3);
    let both = json!([{ "topic_id": "#old", "partitions": [from(0, 0)] }, wanted("t", &json!([from(0, 0)]))]);
    author.ask_in("fetch", 13, i16::MAX, fetching(&both)).lasting();
    let partitions = json!([{ "index": 0, "records": batch(8, 1) }]);
    let old = json!([{ "topic_id": "#old", "partition_data": partitions }]);
    author.ask_in("produce", 13, i16::MAX, super::log::producing(-1, &old));
}

fn twice(author: &mut Author<'_>) {
    author.log("t", 2, &[]);
    for partition in [0, 1] {
        author.produce("t", partition, &batch(0, 2));
    }
    let offset = author.random.of([0, 1, 2]);
    for bounds in [(4, 6), (7, 12), (13, i16::MAX)] {
        let partitions = json!([from(0, 0), from(1, 0), from(0, offset)]);
        author.ask_in("fetch", bounds.0, bounds.1, fetching(&json!([wanted("t", &partitions)])));
        let topics = json!([wanted("t", &json!([from(0, offset)])), wanted("t", &json!([from(1, 0)]))]);
        author.ask_in("fetch", bounds.0, bounds.1, fetching(&topics));
        let same = json!([wanted("t", &json!([from(0, 0)])), wanted("t", &json!([from(0, offset)]))]);
        author.ask_in("fetch", bounds.0, bounds.1, fetching(&same));
    }
}

fn order(author: &mut Author<'_>) {
    author.log("t", 3, &[]);
    author.log("u", 1, &[]);
    for partition in 0..3 {
        author.produce("t", partition, &batch(i64::from(partition), 1));
    }
    author.produce("u", 0, &batch(0, 1));
    let first = author.random.below(3) as i32;
    let partitions = json!([from((first + 2) % 3, 0), from(5, 0), from(first, 9), from((first + 1) % 3, 0)]);
    let topics =
        json!([wanted("u", &json!([from(0, 0)])), wanted("none", &json!([from(0, 0)])), wanted("t", &partitions)]);
    for bounds in [(0, 3), (4, 12), (13, i16::MAX)] {
        if author.versions("fetch", bounds.0, bounds.1).is_empty() {
            continue;
        }
        author.ask_in("fetch", bounds.0, bounds.1, fetching(&topics));
    }
}

fn empty(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    for version in author.versions("fetch", 0, i16::MAX) {
        let offset = author.random.of([0, 0, 1, -1]);
        author.fetch_in(version, version, "t", 0, offset);
    }
}

fn trimmed(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    for at in 0..3 {
        author.produce("t", 0, &batch(at * 3, 3));
    }
    let start = author.random.of([1, 3, 4, 8, 9]);
    author.trim("t", 0, start);
    for offset in [0, start - 1, start, start + 1, 9, 10] {
        author.fetch("t", 0, offset).lasting();
    }
}

fn nothing(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    for wait in [0, 50] {
        for topics in [json!([]), json!([wanted("t", &json!([]))])] {
            let mut body = fetching(&topics);
            (body["min_bytes"], body["max_wait_ms"]) = (json!(author.random.of([0, 1])), json!(wait));
            author.ask("fetch", body);
        }
    }
}

fn claims(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    author.produce("t", 0, &batch(0, 2));
    for start in [-1, 0, 1, 100, i64::MIN] {
        let mark = author.random.of([0, 1, 2, i64::MAX]);
        let partition = json!({
            "partition": 0, "fetch_offset": 0, "partition_max_bytes": 1_000_000, "log_start_offset": start,
            "high_watermark": mark,
        });
        author.ask_in("fetch", 5, i16::MAX, fetching(&json!([wanted("t", &json!([partition]))])));
    }
}
