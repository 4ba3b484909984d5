//! What is produced, in every format, is what is read.

use serde_json::{Value, json};

use super::Written;
use crate::story::Author;

pub const STORIES: &[Written] = &[
    Written { name: "records: batches of every codec are read in every version", write: every_codec },
    Written { name: "records: offsets, times and bounds of what was produced", write: look_ups },
];

fn records(from: i64, count: i64) -> Vec<Value> {
    let one = |at: i64| json!({ "key": format!("k{at}"), "value": format!("v{at}"), "timestamp": 1_600_000_000_000 + at * 1000 });
    (from..from + count).map(one).collect()
}

fn every_codec(author: &mut Author<'_>) {
    author.topic("t", 1);
    for (at, codec) in ["none", "gzip", "snappy", "lz4", "zstd"].into_iter().enumerate() {
        let low = if codec == "zstd" { 7 } else { 3 };
        author.produce_in(low, i16::MAX, "t", 0, &json!([{ "codec": codec, "records": records(at as i64 * 3, 3) }]));
    }
    for offset in [0, 1, 4, 13, 15, 16] {
        author.fetch_in(10, i16::MAX, "t", 0, offset).lasting();
    }
}

fn look_ups(author: &mut Author<'_>) {
    author.topic("t", 1);
    let count = author.random.of([1, 2, 5]);
    for at in 0..3 {
        author.produce("t", 0, &json!([{ "records": records(at * count, count) }]));
    }
    for timestamp in [-1_i64, -2, -3, 1_600_000_000_000, 1_600_000_001_500, 1_700_000_000_000] {
        let partitions = json!([{ "partition_index": 0, "timestamp": timestamp, "max_num_offsets": 10 }]);
        author
            .ask("list_offsets", json!({ "replica_id": -1, "topics": [{ "name": "@t", "partitions": partitions }] }))
            .lasting();
    }
}
