//! Cases from a seed: requests of one API after another in every version, each field drawn from what is right, wrong, empty,
//! null, repeated, unknown and extreme there. A chunk of them is a story: they share topics, groups and connections.

#![allow(clippy::match_same_arms, reason = "a line for each field")]

use serde_json::{Map, Value, json};

use schema::{Field, Message, Type};

use crate::catalogue::{Api, Catalogue};
use crate::codec::structure;
use crate::random::Random;
use crate::story::{Author, Framing, Spoken, Step, Story};

/// Requests of a chunk, beside those that prepare it.
pub const CHUNK: usize = 40;
/// Each so many chunks ask also with bodies that end too early, in each version.
const CUT_SHORT_EACH: u64 = 4;

/// APIs of which requests are generated, as stories call them.
pub const APIS: [&str; 29] = [
    "produce",
    "fetch",
    "list_offsets",
    "metadata",
    "offset_commit",
    "offset_fetch",
    "find_coordinator",
    "join_group",
    "heartbeat",
    "leave_group",
    "sync_group",
    "describe_groups",
    "list_groups",
    "api_versions",
    "create_topics",
    "delete_topics",
    "delete_records",
    "init_producer_id",
    "offset_for_leader_epoch",
    "describe_configs",
    "alter_configs",
    "describe_log_dirs",
    "create_partitions",
    "delete_groups",
    "incremental_alter_configs",
    "list_partition_reassignments",
    "offset_delete",
    "describe_cluster",
    "describe_topic_partitions",
];

/// A chunk of requests of one API, in versions within bounds. `None` where the pair does not speak it.
pub fn chunk(catalogue: &Catalogue, spoken: &dyn Spoken, api: &str, bounds: (i16, i16), seed: u64) -> Option<Story> {
    let of = catalogue.named(api).ok()?;
    let mut author = Author::new(spoken, seed);
    fixture(&mut author);
    consumed(&mut author, of.key);
    author.is_prepared();
    let versions = author.versions(api, bounds.0, bounds.1);
    if versions.is_empty() {
        return None;
    }
    for at in 0..CHUNK {
        // Each version is met, whatever the seed.
        let version = versions[(at + seed as usize) % versions.len()];
        let wrong = author.random.of([4, 4, 12, 100]);
        let mut drawer = Drawer { api: of, version, random: Random::new(author.random.draw()), fresh: at, wrong };
        let body = drawer.request();
        let connection = if api == "fetch" { 1 + at % 3 } else { 0 };
        author.ask_in(api, version, version, body).on(connection).patience_ms(5000);
    }
    if seed % CUT_SHORT_EACH == 1 {
        for version in versions {
            let random = Random::new(author.random.draw());
            let body = Drawer { api: of, version, random, fresh: 0, wrong: 0 }.request();
            let cut = Framing { cut: 1, ..Framing::default() };
            author.ask_in(api, version, version, body).framed(cut).patience_ms(5000);
        }
    }
    author.finish(format!("cases of {api}"), seed)
}

/// What the requests of a chunk find: topics `a` (1 partition, 6 records in 3 batches, the first 2 deleted), `b` (3
/// partitions, the second with records of one batch) and `gone` (deleted), a group `g` with offsets of both, a group `m` with
/// a member, and a fetch session.
fn fixture(author: &mut Author<'_>) {
    author.topic("a", 1);
    author.topic("b", 3);
    author.topic("gone", 1);
    // Their ids now, also where they are deleted meanwhile: when that shows in metadata is another question.
    for name in ["a", "b", "gone"] {
        author.pin(name, name);
    }
    let records = |from: i64, count: i64| {
        let each = (0..count).map(|at| {
            json!({ "key": format!("k{}", from + at), "value": format!("v{}", from + at), "timestamp": 1_600_000_000_000 + (from + at) * 1000 })
        });
        json!([{ "records": each.collect::<Vec<_>>() }])
    };
    for from in [0, 2, 4] {
        author.produce_in(3, 12, "a", 0, &records(from, 2)).settled();
    }
    author.produce_in(3, 12, "b", 1, &records(10, 3)).settled();
    let trim = json!({ "topics": [{ "name": "@a", "partitions": [{ "partition_index": 0, "offset": 2 }] }], "timeout_ms": 10_000 });
    author.ask("delete_records", trim).settled();
    author.ask_in("find_coordinator", 1, 3, json!({ "key": "@g", "key_type": 0 })).settled();
    let commit = json!({
        "group_id": "@g", "generation_id_or_member_epoch": -1, "member_id": "",
        "topics": [
            { "name": "@a", "topic_id": "#a", "partitions": [{ "partition_index": 0, "committed_offset": 4, "committed_metadata": "here" }] },
            { "name": "@b", "topic_id": "#b", "partitions": [
                { "partition_index": 1, "committed_offset": 1, "committed_metadata": "" },
                { "partition_index": 2, "committed_offset": 0, "committed_metadata": null },
            ] },
        ],
    });
    author.ask_in("offset_commit", 2, 9, commit).settled();
    let protocols = json!([{ "name": "range", "metadata": "%a" }]);
    let join = json!({
        "group_id": "@m", "session_timeout_ms": 60_000, "rebalance_timeout_ms": 60_000, "member_id": "",
        "protocol_type": "consumer", "protocols": protocols,
    });
    author.ask_in("join_group", 2, 3, join).label("member").settled();
    let sync = json!({
        "group_id": "@m", "generation_id": "$member/generation_id", "member_id": "$member/member_id",
        "assignments": [{ "member_id": "$member/member_id", "assignment": "0a" }],
    });
    author.ask_in("sync_group", 1, 2, sync).settled();
    let whole = json!({
        "replica_id": -1, "max_wait_ms": 0, "min_bytes": 0, "max_bytes": 1_000_000, "session_id": 0, "session_epoch": 0,
        "topics": [{ "topic": "@b", "topic_id": "#b", "partitions": [{ "partition": 1, "fetch_offset": 0, "partition_max_bytes": 1_000_000 }] }],
    });
    author.ask_in("fetch", 7, i16::MAX, whole).label("session").settled();
    author.ask_in("delete_topics", 1, 5, json!({ "topic_names": ["@gone"], "timeout_ms": 30_000 })).settled();
    author.step(Step::Gone("gone".to_owned()));
}

/// What is there once only, where each request deletes one: topics, or groups.
fn consumed(author: &mut Author<'_>, key: i16) {
    if key == 20 {
        let one = |at: usize| json!({ "name": format!("@d{at}"), "num_partitions": 1, "replication_factor": 1 });
        let topics: Vec<Value> = (0..CHUNK).map(one).collect();
        author.ask_in("create_topics", 2, 6, json!({ "topics": topics, "timeout_ms": 30_000 })).settled();
        let names: Vec<Value> = (0..CHUNK).map(|at| json!({ "name": format!("@d{at}") })).collect();
        author.ask_in("metadata", 4, 8, json!({ "topics": names, "allow_auto_topic_creation": false })).settled();
    }
    if key == 42 {
        for at in 0..CHUNK {
            let partitions = json!([{ "partition_index": 0, "committed_offset": 1 }]);
            let topics = json!([{ "name": "@a", "topic_id": "#a", "partitions": partitions }]);
            let body = json!({
                "group_id": format!("@d{at}"), "generation_id_or_member_epoch": -1, "member_id": "", "topics": topics,
            });
            author.ask_in("offset_commit", 2, 9, body).settled();
        }
    }
}

/// Draws one request.
struct Drawer<'a> {
    api: &'a Api,
    version: i16,
    random: Random,
    fresh: usize,
    /// How likely a field is drawn from all that there is, in percent; else it is what suits.
    wrong: usize,
}

impl Drawer<'_> {
    /// Any of them, or the first, which suits.
    #[allow(clippy::needless_pass_by_value, reason = "lists are written where they are drawn from")]
    fn of<T: Clone, const N: usize>(&mut self, all: [T; N]) -> T {
        let at = if self.random.below(100) < self.wrong { self.random.below(N) } else { 0 };
        all[at].clone()
    }

    fn request(&mut self) -> Value {
        let api = self.api;
        let mut body = self.fields(&api.request, &api.request.structs[0].name, 0);
        self.mend(&mut body);
        body
    }

    fn fields(&mut self, message: &Message, name: &str, depth: usize) -> Value {
        let Ok(of) = structure(message, name) else { return Value::Null };
        let mut members = Map::new();
        let version = self.version;
        for field in of.fields.iter().filter(|field| field.versions.contains(version)) {
            let nullable = field.nullable.contains(self.version);
            // Null for records Kafka never answers, which a story asks.
            let may_be_null = nullable && field.ty != Type::Records;
            let value = if may_be_null && self.random.one_in(8) && self.random.below(100) < self.wrong.max(20) {
                Value::Null
            } else {
                self.value(message, field, &field.ty, depth)
            };
            members.insert(field.name.clone(), value);
        }
        // One member of a topic that is named twice over speaks of the same one.
        if let (Some(name), true) =
            (members.get("topic").or(members.get("name")).cloned(), members.contains_key("topic_id"))
        {
            let is_alike = self.api.key != 3 && self.api.key != 20;
            if let (true, Some(name)) = (is_alike, name.as_str().and_then(|name| name.strip_prefix('@'))) {
                members.insert("topic_id".to_owned(), json!(format!("#{name}")));
            }
        }
        Value::Object(members)
    }

    fn value(&mut self, message: &Message, field: &Field, ty: &Type, depth: usize) -> Value {
        match ty {
            Type::Struct(name) => self.fields(message, name, depth + 1),
            Type::Array(element) => {
                let length =
                    if self.random.below(100) < self.wrong { self.random.below(4) } else { self.random.of([1, 1, 2]) };
                let mut elements: Vec<Value> =
                    (0..length).map(|_| self.value(message, field, element, depth)).collect();
                if self.random.one_in(10) && self.random.below(100) < self.wrong.max(30) {
                    elements.extend(elements.first().cloned());
                }
                Value::Array(elements)
            }
            Type::Bool => json!(self.random.one_in(2)),
            // Below a topic that is to be created stand its settings.
            Type::Str if self.api.key == 19 && depth > 1 && field.name == "name" => self.setting(),
            Type::Str => self.text(&field.name),
            Type::Uuid => json!(self.of(["#a", "#b", "#gone", "#none", "00000000-0000-0000-0000-000000000000"])),
            Type::Bytes => json!(self.random.of(["", "00", "0001000000000000"])),
            Type::Records => self.records(),
            Type::F64 => json!(1.5),
            Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::U16 | Type::U32 => self.number(&field.name, ty),
        }
    }

    fn topic(&mut self) -> Value {
        let right = match self.api.key {
            20 => format!("@d{}", self.fresh),
            _ => self.random.of(["@a", "@a", "@b"]).to_owned(),
        };
        let (long, longer) = ("x".repeat(249), "x".repeat(250));
        let names = [
            right,
            "@gone".into(),
            "@none".into(),
            String::new(),
            ".".into(),
            "..".into(),
            "not a name".into(),
            "not/one".into(),
            long,
            longer,
        ];
        json!(self.of(names))
    }

    fn text(&mut self, field: &str) -> Value {
        let key = self.api.key;
        let text = match field {
            "topic" | "topic_name" | "topics" | "topic_names" => return self.topic(),
            // Of topics to be created: some that are there, and some that are not yet.
            "name" if key == 19 => return self.created(),
            "name" if matches!(key, 33 | 32 | 44) => return self.setting(),
            "name" if key == 11 => return json!(self.of(["range", "roundrobin", ""])),
            "name" => return self.topic(),
            "value" => return self.setting_value(),
            "resource_name" => {
                let right = self.random.of(["@a", "@b"]);
                self.of([right, "@none", "@gone", "", "1", "2", "x", "not a name"]).to_owned()
            }
            "configuration_keys" => return self.setting(),
            // A group of a live member, and one of offsets alone.
            "group_id" | "groups" | "groups_names" if key != 11 => {
                let right = match key {
                    12..=14 => "@m".to_owned(),
                    42 => format!("@d{}", self.fresh),
                    _ => self.random.of(["@m", "@g"]).to_owned(),
                };
                self.of([right, "@g".into(), "@m".into(), "@none".into(), String::new()])
            }
            "group_id" => self.of(["@none", "@none", ""]).to_owned(),
            "key" | "coordinator_keys" => self.of(["@g", "@none", "", "x"]).to_owned(),
            "member_id" if matches!(key, 12..=14) => self.of(["$member/member_id", "", "stranger"]).to_owned(),
            "member_id" => self.of(["", "", "stranger", "$member/member_id"]).to_owned(),
            "group_instance_id" => self.of(["one", "", "two"]).to_owned(),
            "states_filter" => self.of(["Stable", "Empty", "empty", "Dead", "nothing", ""]).to_owned(),
            "types_filter" => self.of(["classic", "Classic", "consumer", "nothing", ""]).to_owned(),
            "protocol_type" => self.of(["consumer", "connect", ""]).to_owned(),
            "protocol_name" => self.of(["range", "sticky", ""]).to_owned(),
            "committed_metadata" => match self.random.below(24) {
                0 => "m".repeat(4096),
                1 => "m".repeat(4097),
                _ => self.of(["here", "", "\u{e4}\u{1f600}"]).to_owned(),
            },
            "client_software_name" | "client_software_version" => {
                self.of(["oracle", "1.0", "", "with blank", "-x", "x-", "a.b-c"]).to_owned()
            }
            // For a transactional id of its own, Kafka would have to make its log first.
            "transactional_id" if key != 22 && self.random.one_in(20) => "x".to_owned(),
            "transactional_id" => return Value::Null,
            "cluster_id" if self.random.one_in(20) => "another".to_owned(),
            "cluster_id" => return Value::Null,
            _ => self.random.of(["", "x"]).to_owned(),
        };
        json!(text)
    }

    fn created(&mut self) -> Value {
        let fresh = format!("@new{}", self.fresh);
        let clash = format!("@new_{}.{}", self.fresh, self.random.below(2));
        json!(self.of([&*fresh, &clash, "@a", "", ".", "..", "not a name", "@a.b"]))
    }

    fn setting(&mut self) -> Value {
        let name = self.random.of([
            "retention.ms",
            "retention.ms",
            "cleanup.policy",
            "max.message.bytes",
            "compression.type",
            "segment.bytes",
            "message.timestamp.type",
            "min.insync.replicas",
            "unclean.leader.election.enable",
            "flush.messages",
            "delete.retention.ms",
            "retention.bytes",
            "min.cleanable.dirty.ratio",
            "segment.ms",
            "index.interval.bytes",
            "preallocate",
            "follower.replication.throttled.replicas",
            "message.timestamp.after.max.ms",
            "file.delete.delay.ms",
            "no.such.setting",
            "",
            "log.retention.ms",
            "num.partitions",
            "broker.id",
            "listeners",
            "message.format.version",
        ]);
        // Of these 3.9 thinks otherwise, and it alone speaks the first versions: keys are those of 4.4 in all.
        let is_older = self.api.key == 19 && self.version < 2;
        json!(if is_older && matches!(name, "segment.bytes" | "message.format.version") { "segment.ms" } else { name })
    }

    fn setting_value(&mut self) -> Value {
        json!(self.random.of([
            "1000",
            "86400000",
            "-1",
            "-2",
            "0",
            "delete",
            "compact",
            "compact,delete",
            "delete,compact",
            "gzip",
            "producer",
            "true",
            "false",
            "maybe",
            "",
            " 1000 ",
            "1e3",
            "0.5",
            "9223372036854775807",
            "9223372036854775808",
            "LogAppendTime",
            "CreateTime",
            "*",
            "0:1",
            "1048576",
            "uncompressed",
            "none",
        ]))
    }

    fn number(&mut self, field: &str, ty: &Type) -> Value {
        let key = self.api.key;
        let member = |number: &str| json!(format!("$member/{number}"));
        let number: i64 = match field {
            "partition" | "partition_index" | "index" | "partitions" | "partition_indexes" => {
                let right = self.random.of([0, 0, 0, 1]);
                self.of([right, 2, 3, 7, -1, i32::MAX.into()])
            }
            "fetch_offset" => {
                let right = self.random.of([2, 3, 4, 5, 6, 0]);
                self.of([right, 1, 7, 100, -1, -2, i64::MAX, i64::MIN])
            }
            "offset" => self.of([-1, 0, 1, 2, 3, 6, 7, -2, i64::MAX]),
            "committed_offset" => self.of([4, 0, 1, 100, -1, -2, i64::MAX, i64::MIN]),
            "timestamp" => {
                let right = self.random.of([-1, -2, -3, 1_600_000_003_000, 1_600_000_003_500]);
                self.of([
                    right,
                    -4,
                    -5,
                    -6,
                    0,
                    1,
                    1_600_000_000_000,
                    1_600_000_005_000,
                    1_600_000_010_001,
                    1_700_000_000_000,
                    i64::MAX,
                    i64::MIN,
                ])
            }
            "max_num_offsets" => self.of([100, 0, 1, 2, -1]),
            "current_leader_epoch" | "leader_epoch" | "last_fetched_epoch" | "committed_leader_epoch" => {
                self.of([-1, 0, 1, 100, -2])
            }
            "isolation_level" => {
                let right = self.random.of([0, 1]);
                self.of([right, 2, -1, 127])
            }
            "max_wait_ms" => self.of([0, 1, 20, -1]),
            "min_bytes" => self.of([0, 1, -1, 1 << 20]),
            "max_bytes" | "partition_max_bytes" => self.of([1 << 20, 0, 1, 70, 100, 150, i32::MAX.into(), -1]),
            // A session that is there, and its next epoch, or one that is not.
            "session_id" if self.random.one_in(6) => return json!("$session/session_id"),
            "session_id" => self.of([0, 1, -1]),
            "session_epoch" => {
                let right = self.random.of([-1, -1, 0, 1, 2]);
                self.of([right, 0, 1, 3, -2])
            }
            "replica_id" if key == 1 || key == 2 => self.of([-1, -2, 2]),
            "replica_id" => self.of([-2, -1]),
            "acks" => {
                let right = self.random.of([-1, 1]);
                self.of([right, 0, 2, -2])
            }
            "timeout_ms" => 30_000,
            "num_partitions" => self.of([1, 2, 3, -1, 0, -2]),
            "replication_factor" => self.of([1, -1, 0, 2, -2]),
            "broker_ids" => self.of([1, 0, 2, -1]),
            "count" => self.of([4, 5, 3, 1, 2, 0, -1]),
            "resource_type" => self.of([2, 4, 8, 16, 32, 0, 1, -1, 127]),
            "config_operation" => {
                let right = self.random.of([0, 1]);
                self.of([right, 2, 3])
            }
            "key_type" => self.of([0, 1, 2, 3, -1]),
            "generation_id_or_member_epoch" if self.random.one_in(4) => return member("generation_id"),
            "generation_id_or_member_epoch" => self.of([-1, 0, 1]),
            "generation_id" if self.random.below(100) >= self.wrong => return member("generation_id"),
            "generation_id" => self.of([-1, 0, 1, 2]),
            "session_timeout_ms" => self.of([10_000, 6000, 99, 100, 600_000, 600_001, 0, -1]),
            "rebalance_timeout_ms" => self.of([5000, -1, 0]),
            "retention_time_ms" => self.of([-1, 3_600_000]),
            "commit_timestamp" => self.of([-1, 1_600_000_000_000]),
            "producer_id" => self.of([-1, 0, 5]),
            "producer_epoch" => self.of([-1, 0, 5]),
            "transaction_timeout_ms" => self.of([60_000, 1000, 0, -1, i32::MAX.into()]),
            "response_partition_limit" => self.of([2000, 0, 1, 2, 3, -1]),
            "endpoint_type" => self.of([1, 2, 0, 3]),
            "member_epoch" => self.of([-1, 0, 1]),
            "node_id" => self.of([-1, 1, 2]),
            _ => self.of([0, 1, -1]),
        };
        let (low, high) = match ty {
            Type::I8 => (i8::MIN.into(), i8::MAX.into()),
            Type::I16 => (i16::MIN.into(), i16::MAX.into()),
            Type::I32 => (i32::MIN.into(), i32::MAX.into()),
            _ => (i64::MIN, i64::MAX),
        };
        json!(number.clamp(low, high))
    }

    /// What suits the version most of the time, and is whole most of the time.
    fn records(&mut self) -> Value {
        let magic = match self.version {
            _ if self.random.one_in(12) && self.wrong > 4 => self.random.of([0, 1, 2, 3]),
            ..=1 => 0,
            2 => 1,
            _ => 2,
        };
        let codec = self.random.of(["none", "none", "none", "gzip", "snappy", "lz4", "zstd"]);
        let time = 1_600_000_100_000_i64 + self.random.below(1000) as i64;
        if magic < 2 {
            let one = |at: i64| json!({ "magic": magic, "offset": at, "key": "k", "value": format!("old {at}"), "timestamp": time + at });
            let count = self.random.below(3) as i64 + 1;
            let all: Vec<Value> = (0..count).map(one).collect();
            return match codec {
                "none" => Value::Array(all),
                _ => json!([{ "magic": magic, "codec": codec, "offset": count - 1, "messages": all }]),
            };
        }
        let count = self.random.of([1, 1, 2, 3]);
        let records: Vec<Value> = (0..count)
            .map(|at| json!({ "key": self.random.of([Some("k"), None, Some("")]), "value": format!("new {at}"), "timestamp": time + at }))
            .collect();
        let mut batch = json!({ "magic": magic, "codec": codec, "records": records });
        // A batch that is wrong in one way.
        match self.random.below(if self.wrong > 4 { 24 } else { 150 }) {
            0 => batch["crc"] = json!(1),
            1 => batch["count"] = json!(count + 1),
            2 => batch["last_offset_delta"] = json!(count),
            3 => batch["cut"] = json!(1),
            4 => batch["attributes"] = json!(7),
            5 => batch["control"] = json!(true),
            6 => batch["transactional"] = json!(true),
            7 => batch["base_offset"] = json!(100),
            8 => batch["producer_id"] = json!(77),
            9 => batch["records"] = json!([]),
            10 => return json!([batch, batch]),
            11 => return json!([]),
            12 => return json!("00"),
            13 => batch["max_timestamp"] = json!(time + 50),
            14 => batch["length"] = json!(3),
            _ => {}
        }
        json!([batch])
    }

    /// Takes out what makes two brokers differ for no reason of the protocol: who waits, and who is asked to wait.
    fn mend(&mut self, body: &mut Value) {
        // A protocol that is named twice gets no answer from Kafka 4.4, ever.
        if let (11, Some(protocols)) = (self.api.key, body.get_mut("protocols").and_then(Value::as_array_mut)) {
            let mut seen = Vec::new();
            protocols.retain(|protocol| {
                let is_new = !seen.contains(&protocol["name"]);
                seen.push(protocol["name"].clone());
                is_new
            });
        }
        match self.api.key {
            // Of a partition that is named twice Kafka appends what one mention holds and tells of the other that it breaks the
            // rules, which shows in whatever is appended later. That both are right stories tell.
            0 => {
                let mut first: Vec<([Value; 2], Value)> = Vec::new();
                for topic in body["topic_data"].as_array_mut().into_iter().flatten() {
                    let name = topic.get("name").or(topic.get("topic_id")).cloned().unwrap_or_default();
                    for partition in topic["partition_data"].as_array_mut().into_iter().flatten() {
                        let place = [name.clone(), partition["index"].clone()];
                        match first.iter().find(|(other, _)| *other == place) {
                            Some((_, records)) => partition["records"] = records.clone(),
                            None => first.push((place, partition["records"].clone())),
                        }
                    }
                }
            }
            // A group that nobody else joins.
            11 if body["group_id"] == json!("@none") => body["group_id"] = json!(format!("@join{}", self.fresh)),
            // An id that is asked for in vain would be given anew each time, and never again.
            3 => body["allow_auto_topic_creation"] = json!(false),
            75 => {
                // With the last of all the numbers it counts beyond it, and goes on at a negative one.
                if body["cursor"]["partition_index"] == json!(i32::MAX) {
                    body["cursor"]["partition_index"] = json!(99);
                }
                // All topics are those of other stories, too, which come and go.
                if body["topics"] == json!([]) {
                    body["topics"] = json!([{ "name": "@b" }]);
                }
            }
            // What is set for the broker outlasts the chunk, and may cut off whoever asks.
            33 | 44 => {
                // Of a resource that AlterConfigs names twice Kafka says nothing, ever. Types that there are not are one.
                if let (33, Some(resources)) = (self.api.key, body["resources"].as_array_mut()) {
                    let mut seen = Vec::new();
                    resources.retain(|of| {
                        let kind = of["resource_type"].as_i64().filter(|kind| [2, 4, 8, 16, 32].contains(kind));
                        let named = [json!(kind), of["resource_name"].clone()];
                        let is_new = !seen.contains(&named);
                        seen.push(named);
                        is_new
                    });
                }
                let resources = body["resources"].as_array();
                if resources.into_iter().flatten().any(|of| of["resource_type"] != json!(2)) {
                    body["validate_only"] = json!(true);
                }
            }
            _ => {}
        }
    }
}
