//! Words of the stories about a partition's log.

use serde_json::{Value, json};

use crate::story::{Asked, Author, Step};

/// The time of the first record, and what each later one adds.
pub const TIME: i64 = 1_600_000_000_000;
/// All versions of an API.
pub const ANY: (i16, i16) = (0, i16::MAX);

/// Records whose keys, values and times say which they are.
pub fn numbered(from: i64, count: i64) -> Vec<Value> {
    let one = |at: i64| json!({ "key": format!("k{at}"), "value": format!("v{at}"), "timestamp": TIME + at * 1000 });
    (from..from + count).map(one).collect()
}

/// A set of one batch of [`numbered`] records.
pub fn batch(from: i64, count: i64) -> Value {
    json!([{ "records": numbered(from, count) }])
}

/// Records of which each has a value of so many bytes.
pub fn wide(from: i64, count: i64, bytes: usize) -> Value {
    let one = |at: i64| json!({ "key": format!("k{at}"), "value": bytes, "timestamp": TIME + at * 1000 });
    json!([{ "records": (from..from + count).map(one).collect::<Vec<_>>() }])
}

/// Messages of an old format, in a wrapper where there is a codec.
pub fn messages(magic: i64, codec: &str, from: i64, count: i64) -> Value {
    let one = |at: i64| json!({ "magic": magic, "offset": at - from, "key": format!("k{at}"), "value": format!("v{at}"), "timestamp": TIME + at * 1000 });
    let all: Vec<Value> = (from..from + count).map(one).collect();
    match codec {
        "none" => Value::Array(all),
        _ => json!([{ "magic": magic, "codec": codec, "offset": count - 1, "messages": all }]),
    }
}

/// A batch of an idempotent producer whose id and epoch are the answer labelled so.
pub fn sequenced(producer: &str, sequence: i64, count: i64) -> Value {
    json!([{
        "producer_id": format!("${producer}/producer_id"), "producer_epoch": format!("${producer}/producer_epoch"),
        "base_sequence": sequence, "records": present(sequence.rem_euclid(1000), count),
    }])
}

/// As [`numbered`], of now: Kafka forgets, at a restart, producers whose last record is older than a day.
pub fn present(from: i64, count: i64) -> Vec<Value> {
    let mut records = numbered(from, count);
    records.iter_mut().for_each(|record| record["timestamp"] = json!("!now"));
    records
}

/// A topic of a Fetch request, by name and by id.
pub fn wanted(topic: &str, partitions: &Value) -> Value {
    json!({ "topic": format!("@{topic}"), "topic_id": format!("#{topic}"), "partitions": partitions })
}

/// A partition of a Fetch request.
pub fn from(partition: i32, offset: i64) -> Value {
    json!({ "partition": partition, "fetch_offset": offset, "partition_max_bytes": 1_000_000 })
}

/// A Fetch request that does not wait and is outside of a session.
pub fn fetching(topics: &Value) -> Value {
    json!({
        "replica_id": -1, "max_wait_ms": 0, "min_bytes": 0, "max_bytes": 10_000_000, "session_epoch": -1, "topics": topics,
    })
}

/// A topic of a Produce request, by name and by id.
pub fn given(topic: &str, partitions: &Value) -> Value {
    json!({ "name": format!("@{topic}"), "topic_id": format!("#{topic}"), "partition_data": partitions })
}

/// A Produce request.
pub fn producing(acks: i64, topics: &Value) -> Value {
    json!({ "acks": acks, "timeout_ms": 10_000, "topic_data": topics })
}

impl Author<'_> {
    /// A topic that keeps records however old they are, ready to be used.
    pub fn log(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let configs: Vec<(&str, &str)> = [("retention.ms", "-1")].iter().chain(configs).copied().collect();
        self.topic_with(name, partitions, &configs);
        for partition in 0..partitions {
            self.look_up_in((1, i16::MAX), name, partition, -1).settled();
        }
    }

    /// ListOffsets of one partition.
    pub fn look_up(&mut self, topic: &str, partition: i32, timestamp: i64) -> Asked<'_> {
        self.look_up_in(ANY, topic, partition, timestamp)
    }

    /// As [`Author::look_up`], in a version within bounds.
    pub fn look_up_in(&mut self, (low, high): (i16, i16), topic: &str, partition: i32, timestamp: i64) -> Asked<'_> {
        let partitions = json!([{ "partition_index": partition, "timestamp": timestamp, "max_num_offsets": 10 }]);
        let body = json!({ "replica_id": -1, "topics": [{ "name": format!("@{topic}"), "partitions": partitions }] });
        self.ask_in("list_offsets", low, high, body)
    }

    /// OffsetForLeaderEpoch of one partition.
    pub fn epoch_end(&mut self, topic: &str, partition: i32, current: i64, epoch: i64) -> Asked<'_> {
        let partitions = json!([{ "partition": partition, "current_leader_epoch": current, "leader_epoch": epoch }]);
        let body = json!({ "replica_id": -1, "topics": [{ "topic": format!("@{topic}"), "partitions": partitions }] });
        self.ask("offset_for_leader_epoch", body)
    }

    /// DeleteRecords of one partition.
    pub fn trim(&mut self, topic: &str, partition: i32, offset: i64) -> Asked<'_> {
        let partitions = json!([{ "partition_index": partition, "offset": offset }]);
        let topics = json!([{ "name": format!("@{topic}"), "partitions": partitions }]);
        self.ask("delete_records", json!({ "topics": topics, "timeout_ms": 10_000 }))
    }

    /// An idempotent producer, as the answer of this label.
    pub fn producer(&mut self, label: &str) {
        let body = json!({ "transactional_id": null, "transaction_timeout_ms": 60_000 });
        self.ask("init_producer_id", body).label(label).settled();
    }

    /// Deletes a topic, and waits until it is gone.
    pub fn remove(&mut self, topic: &str) {
        let names = json!([format!("@{topic}")]);
        let body = json!({ "topics": [{ "name": format!("@{topic}") }], "topic_names": names, "timeout_ms": 30_000 });
        self.ask("delete_topics", body);
        self.step(Step::Gone(topic.to_owned()));
    }

    /// Reads from each of these offsets on, in the format of today.
    pub fn read(&mut self, topic: &str, partition: i32, offsets: &[i64]) {
        for offset in offsets {
            self.fetch_in(10, i16::MAX, topic, partition, *offset).lasting();
        }
    }

    /// Looks up what is special about a partition: its end, its start, the latest of its times, and one time.
    pub fn bounds(&mut self, topic: &str, partition: i32) {
        for special in [-1, -2] {
            self.look_up(topic, partition, special).lasting();
        }
        self.look_up_in((7, i16::MAX), topic, partition, -3).lasting();
        self.look_up_in((1, i16::MAX), topic, partition, TIME).lasting();
    }
}
