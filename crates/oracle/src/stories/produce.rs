//! What a broker takes from a producer, and how it says no.

use serde_json::{Value, json};

use super::Written;
use super::log::{TIME, batch, fetching, from, given, messages, numbered, producing, wanted, wide};
use crate::story::Author;

pub const STORIES: &[Written] = &[
    Written { name: "produce: plain batches in every version", write: batches::<0> },
    Written { name: "produce: gzip batches in every version", write: batches::<1> },
    Written { name: "produce: snappy batches in every version", write: batches::<2> },
    Written { name: "produce: lz4 batches in every version", write: batches::<3> },
    Written { name: "produce: zstd batches in every version", write: batches::<4> },
    Written { name: "produce: plain messages of format 0", write: old_messages::<0, 0> },
    Written { name: "produce: gzip messages of format 0", write: old_messages::<0, 1> },
    Written { name: "produce: snappy messages of format 0", write: old_messages::<0, 2> },
    Written { name: "produce: lz4 messages of format 0", write: old_messages::<0, 3> },
    Written { name: "produce: plain messages of format 1", write: old_messages::<1, 0> },
    Written { name: "produce: gzip messages of format 1", write: old_messages::<1, 1> },
    Written { name: "produce: snappy messages of format 1", write: old_messages::<1, 2> },
    Written { name: "produce: lz4 messages of format 1", write: old_messages::<1, 3> },
    Written { name: "produce: old messages in new versions, and the other way round", write: ages_mixed },
    Written { name: "produce: zstd before it was known", write: early_zstd },
    Written { name: "produce: acknowledgements of every kind", write: acknowledgements },
    Written { name: "produce: without acknowledgement, what fails closes the connection", write: unacknowledged },
    Written { name: "produce: nothing at all", write: nothing },
    Written { name: "produce: several batches in one set", write: several },
    Written { name: "produce: partitions known and unknown, in one request", write: mixed_partitions },
    Written { name: "produce: a partition twice in one request", write: partition_twice },
    Written { name: "produce: a topic twice in one request", write: topic_twice },
    Written { name: "produce: topics that there are not", write: unknown_topics },
    Written { name: "produce: records without times", write: timeless },
    Written { name: "produce: times far ahead and far behind", write: strange_times },
    Written { name: "produce: bounds of times that a topic sets", write: bounded_times },
    Written { name: "produce: the broker's own time", write: append_time },
    Written { name: "produce: batches about as large as a topic takes", write: sizes },
    Written { name: "produce: a topic compresses what comes", write: recompressed },
    Written { name: "produce: a topic takes compression off", write: uncompressed },
    Written { name: "produce: keys that a compacted topic wants", write: keys_wanted },
    Written { name: "produce: headers and records with nothing in them", write: shapes },
    Written { name: "produce: batches whose header lies", write: false_headers },
    Written { name: "produce: batches cut off, too long, or no batches", write: torn },
    Written { name: "produce: records that lie about themselves", write: false_records },
    Written { name: "produce: kinds of batches that no producer may send", write: kinds },
    Written { name: "produce: compressed bytes that are none", write: false_compression },
];

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

fn batches<const CODEC: usize>(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    let mut next = 0;
    for version in author.versions("produce", 3, i16::MAX) {
        let count = author.random.of([1, 2, 3, 20]);
        let set = json!([{ "codec": CODECS[CODEC], "records": numbered(next, count) }]);
        author.produce_in(version, version, "t", 0, &set);
        next += count;
    }
    for _ in 0..4 {
        let offset = author.random.below(next as usize) as i64;
        author.read("t", 0, &[offset]);
    }
    author.bounds("t", 0);
}

fn old_messages<const MAGIC: i64, const CODEC: usize>(author: &mut Author<'_>) {
    author.of_old();
    author.log("t", 1, &[]);
    let mut next = 0;
    for version in author.versions("produce", 0, 2) {
        let count = author.random.of([1, 2, 3]);
        author.produce_in(version, version, "t", 0, &messages(MAGIC, CODECS[CODEC], next, count));
        next += count;
    }
    // What it compresses anew and then takes apart again, a broker cuts off where it was as long before.
    let first = if CODEC == 0 { 0 } else { 4 };
    for version in author.versions("fetch", first, i16::MAX) {
        author.fetch_in(version, version, "t", 0, 0).repacked();
    }
    author.fetch_in(10, i16::MAX, "t", 0, 1).repacked().lasting();
    author.bounds("t", 0);
}

fn ages_mixed(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    let codec = author.random.of(["none", "gzip"]);
    for magic in [0, 1] {
        author.produce_in(3, 8, "t", 0, &messages(magic, codec, 0, 2));
        author.produce_in(9, i16::MAX, "t", 0, &messages(magic, codec, 0, 2));
    }
    for version in author.versions("produce", 0, 2) {
        author.produce_in(version, version, "t", 0, &batch(0, 2));
    }
    author.read("t", 0, &[0]);
}

fn early_zstd(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    let set = json!([{ "codec": "zstd", "records": numbered(0, 2) }]);
    for version in author.versions("produce", 3, 7) {
        author.produce_in(version, version, "t", 0, &set);
    }
    for version in author.versions("fetch", 0, i16::MAX) {
        author.fetch_in(version, version, "t", 0, 0);
    }
}

fn acknowledgements(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    for acks in [1, -1, 2, -2, 127, i64::from(i16::MIN)] {
        let partitions = json!([{ "index": 0, "records": batch(0, 1) }]);
        author.ask("produce", producing(acks, &json!([given("t", &partitions)])));
    }
    author.bounds("t", 0);
}

fn unacknowledged(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    author.produce_in(3, 12, "t", 0, &batch(0, 1));
    let low = author.random.of([3, 9]);
    let send = |author: &mut Author<'_>, connection: usize, topic: &str, set: Value| {
        let partitions = json!([{ "index": 0, "records": set }]);
        author.ask_in("produce", low, 12, producing(0, &json!([given(topic, &partitions)]))).on(connection);
        // What nobody acknowledges can be read as soon as it is durable.
        author.sleep_ms(300);
        author.look_up_in((1, i16::MAX), "t", 0, -1).on(connection);
    };
    send(author, 1, "t", batch(1, 2));
    send(author, 1, "t", batch(3, 1));
    send(author, 2, "none", batch(0, 1));
    send(author, 3, "t", json!([{ "crc": 1, "records": numbered(0, 1) }]));
    author.read("t", 0, &[0]);
}

// Kafka never answers some of these.
fn nothing(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    author.produce("t", 0, &json!([])).patience_ms(1500);
    author.produce("t", 0, &Value::Null).patience_ms(1500);
    author.produce("t", 0, &json!([{ "records": [] }])).patience_ms(1500);
    author
        .produce("t", 0, &json!([{ "records": [], "last_offset_delta": 0, "count": 0, "first_timestamp": TIME }]))
        .patience_ms(1500);
    author.ask("produce", producing(-1, &json!([]))).patience_ms(1500);
    author.ask("produce", producing(-1, &json!([given("t", &json!([]))]))).patience_ms(1500);
    author.bounds("t", 0);
}

fn several(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    let count = author.random.of([2, 3]);
    let set: Vec<Value> = (0..count).map(|at| json!({ "records": numbered(at * 2, 2) })).collect();
    author.produce("t", 0, &Value::Array(set));
    author.produce("t", 0, &json!([{ "records": numbered(0, 1) }, { "records": [] }]));
    author.produce("t", 0, &json!([{ "records": numbered(0, 1) }, { "crc": 1, "records": numbered(1, 1) }]));
    author.produce("t", 0, &json!([{ "records": numbered(0, 1) }, { "magic": 1, "value": "old" }]));
    author.read("t", 0, &[0]);
    author.bounds("t", 0);
}

fn mixed_partitions(author: &mut Author<'_>) {
    author.log("t", 3, &[]);
    author.log("u", 1, &[]);
    let first = author.random.of([0, 1, 2]);
    let last = author.random.of([3, -1, i64::from(i32::MAX)]);
    let partitions = json!([
        { "index": first, "records": batch(0, 2) },
        { "index": last, "records": batch(0, 1) },
        { "index": (first + 1) % 3, "records": [{ "crc": 1, "records": numbered(0, 1) }] },
        { "index": (first + 2) % 3, "records": batch(5, 1) },
    ]);
    let others = json!([{ "index": 0, "records": batch(7, 1) }, { "index": 1, "records": batch(8, 1) }]);
    author.ask("produce", producing(-1, &json!([given("t", &partitions), given("u", &others)])));
    for partition in 0..3 {
        author.look_up("t", partition, -1).lasting();
    }
    author.read("u", 0, &[0]);
}

fn partition_twice(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    let partitions = json!([{ "index": 0, "records": batch(0, 1) }, { "index": 0, "records": batch(1, 2) }]);
    for bounds in [(3, 8), (9, 12), (13, i16::MAX)] {
        author.ask_in("produce", bounds.0, bounds.1, producing(-1, &json!([given("t", &partitions)])));
    }
    author.read("t", 0, &[0]);
}

fn topic_twice(author: &mut Author<'_>) {
    author.log("t", 2, &[]);
    let of = |index: i64| given("t", &json!([{ "index": index, "records": batch(index, 1) }]));
    let second = author.random.of([0, 1]);
    for bounds in [(3, 12), (13, i16::MAX)] {
        author.ask_in("produce", bounds.0, bounds.1, producing(-1, &json!([of(0), of(second)])));
    }
    author.read("t", 0, &[0]);
    author.look_up("t", 1, -1);
}

fn unknown_topics(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    let one = || json!([{ "index": 0, "records": batch(0, 1) }]);
    for name in ["@none", "", "not a name", "__consumer_offsets", "..", &"x".repeat(250)] {
        author.ask_in("produce", 3, 12, producing(-1, &json!([{ "name": name, "partition_data": one() }])));
    }
    for id in ["00000000-0000-0000-0000-000000000000", "0badc0de-0bad-40de-8bad-c0de0badc0de", "#none"] {
        let topics = json!([{ "topic_id": id, "partition_data": one() }, given("t", &one())]);
        author.ask_in("produce", 13, i16::MAX, producing(-1, &topics));
    }
    author.look_up("t", 0, -1);
}

fn timeless(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    for count in [1, 2] {
        let records: Vec<Value> = (0..count).map(|at| json!({ "value": format!("v{at}"), "timestamp": -1 })).collect();
        author.produce("t", 0, &json!([{ "records": records }]));
    }
    author.produce("t", 0, &json!([{ "first_timestamp": -1, "records": [{ "value": "v", "timestamp": TIME }] }]));
    author.produce("t", 0, &json!([{ "records": [{ "value": "v", "timestamp": -2 }] }]));
    author.produce("t", 0, &json!([{ "first_timestamp": -5, "records": [{ "value": "v", "timestamp": TIME }] }]));
    author.read("t", 0, &[0]);
    author.bounds("t", 0);
}

fn strange_times(author: &mut Author<'_>) {
    author.log("t", 1, &[("message.timestamp.after.max.ms", "9223372036854775807")]);
    let codec = author.random.of(["none", "none", "gzip"]);
    for time in [0, 1, 253_402_300_800_000, i64::MAX, TIME] {
        author.produce("t", 0, &json!([{ "codec": codec, "records": [{ "value": "v", "timestamp": time }] }]));
    }
    let apart = json!([{ "records": [{ "value": "v", "timestamp": TIME }, { "value": "w", "timestamp": 1 }] }]);
    author.produce("t", 0, &apart);
    // Batch by batch: Kafka begins a segment where times lie far apart, and a reply ends with its segment.
    for offset in 0..7 {
        let mut one = from(0, offset);
        one["partition_max_bytes"] = json!(1);
        author.ask_in("fetch", 10, i16::MAX, fetching(&json!([wanted("t", &json!([one]))]))).lasting();
    }
    author.bounds("t", 0);
}

fn bounded_times(author: &mut Author<'_>) {
    author.log("t", 1, &[("message.timestamp.after.max.ms", "3600000")]);
    author.log("u", 1, &[("message.timestamp.before.max.ms", "3600000")]);
    let ahead = 253_402_300_800_000_i64;
    let codec = author.random.of(["none", "gzip"]);
    let of = |times: &[i64]| {
        let records: Vec<Value> = times.iter().map(|time| json!({ "value": "v", "timestamp": time })).collect();
        json!([{ "codec": codec, "records": records }])
    };
    author.produce_in(3, 7, "t", 0, &of(&[ahead]));
    author.produce_in(8, i16::MAX, "t", 0, &of(&[TIME]));
    author.produce_in(8, i16::MAX, "u", 0, &of(&[-1]));
    author.produce_in(3, 7, "u", 0, &of(&[TIME]));
    author.produce_in(8, i16::MAX, "t", 0, &of(&[ahead]));
    author.produce_in(8, i16::MAX, "t", 0, &of(&[TIME, ahead, TIME, ahead]));
    author.produce_in(8, i16::MAX, "u", 0, &of(&[TIME]));
    author.read("t", 0, &[0]);
    author.read("u", 0, &[0]);
}

fn append_time(author: &mut Author<'_>) {
    let codec = author.random.of(["none", "gzip", "lz4"]);
    author.log("t", 1, &[("message.timestamp.type", "LogAppendTime")]);
    author.produce("t", 0, &json!([{ "codec": codec, "records": numbered(0, 3) }]));
    author.produce("t", 0, &json!([{ "append_time": true, "records": numbered(3, 2) }]));
    author.produce("t", 0, &json!([{ "records": [{ "value": "v", "timestamp": -1 }] }]));
    author.produce("t", 0, &json!([{ "max_timestamp": 5, "records": numbered(6, 2) }]));
    for magic in [0, 1] {
        author.produce("t", 0, &messages(magic, codec, 0, 2));
    }
    author.read("t", 0, &[0, 4]);
    for special in [-1, -2, -3, 0] {
        author.look_up_in((7, i16::MAX), "t", 0, special);
    }
}

fn sizes(author: &mut Author<'_>) {
    let most = author.random.of([200, 500, 1000_usize]);
    author.log("t", 1, &[("max.message.bytes", &most.to_string())]);
    // Of a batch of one such record, 74 to 76 bytes are not its value.
    for less in [90, 76, 75, 74, 73, 72, 71, 60] {
        author.produce("t", 0, &wide(0, 1, most - less));
    }
    let squeezed = json!([{ "codec": "gzip", "records": [{ "value": most * 4, "timestamp": TIME }] }]);
    author.produce("t", 0, &squeezed);
    author.bounds("t", 0);
}

fn recompressed(author: &mut Author<'_>) {
    let own = author.random.of(["gzip", "snappy", "lz4", "zstd"]);
    let codec = author.random.of(["none", "gzip", "lz4"]);
    author.log("t", 1, &[("compression.type", own)]);
    author.produce("t", 0, &json!([{ "codec": codec, "records": numbered(0, 3) }]));
    author.produce("t", 0, &json!([{ "records": [{ "value": 5000, "timestamp": TIME }] }]));
    author.produce("t", 0, &json!([{ "codec": codec, "base_offset": 77, "records": numbered(4, 2) }]));
    for offset in [0, 1, 3, 5] {
        author.fetch_in(10, i16::MAX, "t", 0, offset).repacked();
    }
    author.bounds("t", 0);
}

fn uncompressed(author: &mut Author<'_>) {
    let codec = author.random.of(["gzip", "snappy", "lz4", "zstd"]);
    author.log("t", 1, &[("compression.type", "uncompressed")]);
    author.produce_in(7, i16::MAX, "t", 0, &json!([{ "codec": codec, "records": numbered(0, 3) }]));
    author.produce("t", 0, &batch(3, 2));
    author.read("t", 0, &[0, 2, 4]);
    author.bounds("t", 0);
}

fn keys_wanted(author: &mut Author<'_>) {
    let policy = author.random.of(["compact", "compact,delete"]);
    author.log("t", 1, &[("cleanup.policy", policy)]);
    let codec = author.random.of(["none", "gzip"]);
    let of = |keys: &[Option<&str>]| {
        let records: Vec<Value> =
            keys.iter().map(|key| json!({ "key": key, "value": "v", "timestamp": TIME })).collect();
        json!([{ "codec": codec, "records": records }])
    };
    for version in author.versions("produce", 3, i16::MAX) {
        author.produce_in(version, version, "t", 0, &of(&[Some("a"), None, Some("b"), None]));
    }
    author.produce("t", 0, &of(&[Some(""), Some("c")]));
    author.produce("t", 0, &of(&[None]));
    author.read("t", 0, &[0]);
}

fn shapes(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    let headers = json!([{ "key": "h", "value": "1" }, { "key": "h", "value": null }, { "key": "", "value": "" }]);
    let records = json!([
        { "key": null, "value": null, "timestamp": TIME },
        { "key": "", "value": "", "timestamp": TIME, "headers": headers },
        { "key": "hex:00ff", "value": "hex:c328", "timestamp": TIME, "attributes": 1 },
        { "key": "k", "value": author.random.of([1, 100, 5000]), "timestamp": TIME + 1 },
    ]);
    let codec = author.random.of(["none", "gzip", "snappy", "lz4"]);
    author.produce("t", 0, &json!([{ "codec": codec, "records": records }]));
    author.produce(
        "t",
        0,
        &json!([{ "records": [{ "headers": [{ "key": null, "value": "v" }], "timestamp": TIME }] }]),
    );
    author.read("t", 0, &[0]);
}

/// Produces one batch after another, each of two records and wrong in one way, and reads what was taken.
fn wrong(author: &mut Author<'_>, ways: &[Value]) {
    author.log("t", 1, &[]);
    let codec = author.random.of(["none", "none", "gzip"]);
    for way in ways {
        let mut one = json!({ "codec": codec, "records": numbered(0, 2) });
        if let (Some(one), Some(way)) = (one.as_object_mut(), way.as_object()) {
            one.extend(way.clone());
        }
        author.produce("t", 0, &json!([one]));
    }
    author.produce("t", 0, &batch(9, 1));
    author.read("t", 0, &[0]);
    author.bounds("t", 0);
}

fn false_headers(author: &mut Author<'_>) {
    wrong(
        author,
        &[
            json!({ "crc": 1 }),
            json!({ "count": 1 }),
            json!({ "count": 3 }),
            json!({ "count": -1 }),
            json!({ "count": 0 }),
            json!({ "last_offset_delta": 0 }),
            json!({ "last_offset_delta": 2 }),
            json!({ "last_offset_delta": -1 }),
            json!({ "base_offset": 100 }),
            json!({ "base_offset": -1 }),
            json!({ "max_timestamp": TIME + 50_000 }),
            json!({ "max_timestamp": -1 }),
            json!({ "partition_leader_epoch": 7 }),
        ],
    );
}

fn torn(author: &mut Author<'_>) {
    let cut = author.random.of([1, 5, 20, 61]);
    author.log("t", 1, &[]);
    for set in [
        json!([{ "records": numbered(0, 2), "cut": cut }]),
        json!([{ "records": numbered(0, 2) }, { "records": numbered(2, 2), "cut": cut }]),
        json!([{ "records": numbered(0, 2), "length": 3 }]),
        json!([{ "records": numbered(0, 2), "length": 49 }]),
        json!([{ "records": numbered(0, 2), "length": -1 }]),
        json!([{ "records": numbered(0, 2), "length": 1000 }]),
        json!("00"),
        json!("0000000000000000"),
        json!("000000000000000000000000"),
        json!([{ "magic": 3, "records": numbered(0, 2) }]),
        json!([{ "magic": 127, "records": numbered(0, 2) }]),
        json!([{ "records": numbered(0, 2), "trailing": "more" }]),
    ] {
        author.produce("t", 0, &set);
    }
    author.read("t", 0, &[0]);
}

fn false_records(author: &mut Author<'_>) {
    let (first, last) = (json!({ "value": "a", "timestamp": TIME }), json!({ "value": "b", "timestamp": TIME }));
    let mut ways = Vec::new();
    for (field, value) in [
        ("length", 1),
        ("length", 100),
        ("length", -1),
        ("header_count", 1),
        ("header_count", -1),
        ("offset_delta", 0),
        ("offset_delta", 5),
        ("offset_delta", -1),
        ("timestamp_delta", -5),
        ("attributes", 127),
    ] {
        let mut last = last.clone();
        last[field] = json!(value);
        // Of some compressed ones Kafka takes what no client can read; here they are refused.
        ways.push(json!({ "codec": "none", "records": [first, last] }));
    }
    wrong(author, &ways);
}

fn kinds(author: &mut Author<'_>) {
    wrong(
        author,
        &[
            json!({ "control": true }),
            json!({ "transactional": true }),
            json!({ "transactional": true, "control": true }),
            json!({ "append_time": true }),
            json!({ "codec": "none", "attributes": 64 }),
            json!({ "codec": "none", "attributes": 128 }),
            json!({ "codec": "none", "attributes": 5 }),
            json!({ "codec": "none", "attributes": 7 }),
        ],
    );
}

fn false_compression(author: &mut Author<'_>) {
    author.log("t", 1, &[]);
    for codec in 1..=4 {
        author.produce_in(7, i16::MAX, "t", 0, &json!([{ "attributes": codec, "records": numbered(0, 2) }]));
        let name = CODECS[codec as usize];
        let trailing = json!([{ "codec": name, "trailing": "more", "records": numbered(0, 2) }]);
        author.produce_in(7, i16::MAX, "t", 0, &trailing);
        author.produce_in(7, i16::MAX, "t", 0, &json!([{ "codec": name, "count": 3, "records": numbered(0, 2) }]));
    }
    author.look_up("t", 0, -1);
}
