//! Configurations: described, changed, felt.

use serde_json::{Value, json};

use super::Written;
use crate::story::{Asked, Author};

pub const STORIES: &[Written] = &[
    Written { name: "configs: a topic's, all of them", write: all_of_topic },
    Written { name: "configs: a topic's, some of them", write: some_of_topic },
    Written { name: "configs: a topic's with synonyms", write: synonyms },
    Written { name: "configs: a topic's with documentation", write: documentation },
    Written { name: "configs: a broker's, some of them", write: of_broker },
    Written { name: "configs: of brokers that there are not", write: no_broker },
    Written { name: "configs: of resources that there are not", write: no_resources },
    Written { name: "configs: of several resources", write: several_resources },
    Written { name: "configs: of a resource that is named twice", write: named_twice },
    Written { name: "configs: of a group", write: of_group },
    Written { name: "configs: of client metrics", write: of_client_metrics },
    Written { name: "configs: of loggers", write: of_loggers },
    Written { name: "configs: set and deleted", write: set_and_deleted },
    Written { name: "configs: appended and subtracted", write: appended },
    Written { name: "configs: appended to what is no list", write: appended_wrongly },
    Written { name: "configs: only validated", write: validated },
    Written { name: "configs: keys that nobody knows", write: unknown_keys },
    Written { name: "configs: values that are wrong", write: wrong_values },
    Written { name: "configs: values at their bounds", write: bounds },
    Written { name: "configs: a key that is changed twice in a request", write: key_twice },
    Written { name: "configs: nothing is changed", write: no_operation },
    Written { name: "configs: values that are null", write: null_values },
    Written { name: "configs: several resources are changed, some wrongly", write: changes_several },
    Written { name: "configs: a resource that is changed twice in a request", write: changes_twice },
    Written { name: "configs: of topics that there are not are changed", write: changes_nothing },
    Written { name: "configs: all are replaced at once", write: replaced },
    Written { name: "configs: all are replaced wrongly", write: replaced_wrongly },
    Written { name: "configs: a broker's are validated", write: broker_validated },
    Written { name: "configs: a broker's values that are wrong", write: broker_wrong_values },
    Written { name: "configs: a group's are changed", write: group_changed },
    Written { name: "configs: of client metrics are changed", write: client_metrics_changed },
    Written { name: "configs: a larger batch is taken once it may be", write: larger_batch },
    Written { name: "configs: times are those of the log", write: log_time },
    Written { name: "configs: a codec is the topic's", write: codec },
    Written { name: "configs: a compacted topic wants keys", write: wants_keys },
    Written { name: "configs: times too far away", write: far_times },
    Written { name: "configs: those of creation show with their synonyms", write: of_creation },
];

fn resource(kind: i8, name: &str, keys: &Value) -> Value {
    json!({ "resource_type": kind, "resource_name": name, "configuration_keys": keys })
}

fn describe<'s>(author: &'s mut Author<'_>, resources: &[Value]) -> Asked<'s> {
    author.ask(
        "describe_configs",
        json!({ "resources": resources, "include_synonyms": false, "include_documentation": false }),
    )
}

/// What a topic's configurations are now.
fn shown(author: &mut Author<'_>, keys: &[&str]) {
    author.sleep_ms(200);
    let body = json!({ "resources": [resource(2, "@t", &json!(keys))], "include_synonyms": true });
    author.ask_in("describe_configs", 1, i16::MAX, body).lasting();
}

fn all_of_topic(author: &mut Author<'_>) {
    author.topic_with("t", 1, &[("retention.ms", "5000"), ("cleanup.policy", "compact")]);
    describe(author, &[resource(2, "@t", &Value::Null)]).lasting();
    author.ask_in(
        "describe_configs",
        1,
        i16::MAX,
        json!({ "resources": [resource(2, "@t", &Value::Null)], "include_synonyms": true }),
    );
}

fn some_of_topic(author: &mut Author<'_>) {
    author.topic("t", 1);
    for keys in [
        &["retention.ms"] as &[&str],
        &["no.such.setting"],
        &[""],
        &["retention.ms", "retention.ms"],
        &["segment.bytes", "no", "cleanup.policy"],
        &[],
    ] {
        describe(author, &[resource(2, "@t", &json!(keys))]).lasting();
    }
}

fn synonyms(author: &mut Author<'_>) {
    author.topic_with("t", 1, &[("retention.ms", "5000")]);
    for synonyms in [true, false] {
        let keys = author.random.of([
            &["retention.ms", "segment.ms"] as &[&str],
            &["retention.ms", "max.message.bytes", "compression.type"],
            &["message.timestamp.type", "retention.bytes", "retention.ms"],
        ]);
        let body = json!({ "resources": [resource(2, "@t", &json!(keys))], "include_synonyms": synonyms });
        author.ask_in("describe_configs", 1, i16::MAX, body);
    }
}

fn documentation(author: &mut Author<'_>) {
    author.topic("t", 1);
    for (kind, name, keys) in
        [(2, "@t", json!(["retention.ms", "cleanup.policy"])), (4, "1", json!(["num.partitions", "log.retention.ms"]))]
    {
        for documentation in [true, false] {
            let body = json!({ "resources": [resource(kind, name, &keys)], "include_documentation": documentation });
            author.ask_in("describe_configs", 3, i16::MAX, body);
        }
    }
}

fn of_broker(author: &mut Author<'_>) {
    let keys = [
        &["num.partitions", "auto.create.topics.enable"] as &[&str],
        &["log.retention.ms", "log.retention.hours", "log.retention.minutes"],
        &["message.max.bytes", "compression.type", "log.cleanup.policy"],
        &["group.min.session.timeout.ms", "group.max.session.timeout.ms", "group.initial.rebalance.delay.ms"],
        &["offsets.topic.num.partitions", "offset.metadata.max.bytes", "offsets.retention.minutes"],
        &["no.such.setting", "min.insync.replicas", "default.replication.factor"],
        &["broker.id", "node.id"],
    ];
    for keys in keys {
        let synonyms = author.random.one_in(2);
        author.ask(
            "describe_configs",
            json!({ "resources": [resource(4, "1", &json!(keys))], "include_synonyms": synonyms }),
        );
    }
    describe(author, &[resource(4, "", &Value::Null)]);
}

fn no_broker(author: &mut Author<'_>) {
    for name in ["2", "-1", "x", "01", " 1", "99999999999", "@t"] {
        describe(author, &[resource(4, name, &json!(["num.partitions"]))]);
    }
}

fn no_resources(author: &mut Author<'_>) {
    for name in ["@none", "", ".", "a b", "__consumer_offsets_not"] {
        describe(author, &[resource(2, name, &json!(["retention.ms"]))]);
    }
    for kind in [0, 1, 3, 64, -1, 127] {
        describe(author, &[resource(kind, "x", &Value::Null)]);
    }
    describe(author, &[]);
}

fn several_resources(author: &mut Author<'_>) {
    author.topic("t", 1);
    author.topic("u", 1);
    let keys = json!(["retention.ms"]);
    describe(author, &[resource(2, "@u", &keys), resource(2, "@none", &keys), resource(2, "@t", &keys)]);
    describe(author, &[resource(4, "1", &json!(["num.partitions"])), resource(2, "@t", &keys)]);
    describe(author, &[resource(2, "@t", &keys), resource(4, "7", &keys), resource(0, "x", &keys)]);
}

fn named_twice(author: &mut Author<'_>) {
    author.topic("t", 1);
    describe(author, &[resource(2, "@t", &json!(["retention.ms"])), resource(2, "@t", &json!(["segment.ms"]))]);
}

fn of_group(author: &mut Author<'_>) {
    for name in ["@g", ""] {
        describe(author, &[resource(32, name, &Value::Null)]);
        describe(author, &[resource(32, name, &json!(["consumer.session.timeout.ms", "no.such.setting"]))]);
    }
}

fn of_client_metrics(author: &mut Author<'_>) {
    for name in ["@m", ""] {
        describe(author, &[resource(16, name, &Value::Null)]);
    }
}

fn of_loggers(author: &mut Author<'_>) {
    for name in ["2", "x", ""] {
        describe(author, &[resource(8, name, &json!(["root"]))]);
    }
    describe(author, &[resource(8, "1", &json!(["no.such.logger"]))]);
}

fn op(name: &str, operation: i8, value: &Value) -> Value {
    json!({ "name": name, "config_operation": operation, "value": value })
}

fn change<'s>(author: &'s mut Author<'_>, kind: i8, name: &str, ops: &[Value], validate: bool) -> Asked<'s> {
    let resources = json!([{ "resource_type": kind, "resource_name": name, "configs": ops }]);
    author.ask("incremental_alter_configs", json!({ "resources": resources, "validate_only": validate }))
}

fn set_and_deleted(author: &mut Author<'_>) {
    author.topic_with("t", 1, &[("segment.ms", "7000")]);
    let value = author.random.of(["1000", "-1", "86400000"]);
    change(author, 2, "@t", &[op("retention.ms", 0, &json!(value)), op("segment.ms", 1, &Value::Null)], false);
    shown(author, &["retention.ms", "segment.ms"]);
    change(author, 2, "@t", &[op("retention.ms", 1, &json!("")), op("max.message.bytes", 1, &Value::Null)], false);
    shown(author, &["retention.ms", "segment.ms", "max.message.bytes"]);
}

fn appended(author: &mut Author<'_>) {
    author.topic("t", 1);
    let ops = [("compact", 2), ("compact", 2), ("delete", 3), ("delete", 2), ("compact,delete", 3), ("nothing", 3)];
    for (value, operation) in ops {
        change(author, 2, "@t", &[op("cleanup.policy", operation, &json!(value))], false);
        shown(author, &["cleanup.policy"]);
    }
}

fn appended_wrongly(author: &mut Author<'_>) {
    author.topic("t", 1);
    for operation in [2, 3] {
        change(author, 2, "@t", &[op("retention.ms", operation, &json!("1"))], false);
        change(author, 2, "@t", &[op("cleanup.policy", operation, &json!("forget"))], false);
        change(author, 2, "@t", &[op("cleanup.policy", operation, &json!(""))], false);
        change(author, 2, "@t", &[op("no.such.setting", operation, &json!("x"))], false);
    }
    shown(author, &["retention.ms", "cleanup.policy"]);
}

fn validated(author: &mut Author<'_>) {
    author.topic("t", 1);
    change(author, 2, "@t", &[op("retention.ms", 0, &json!("1000"))], true);
    change(author, 2, "@t", &[op("retention.ms", 0, &json!("soon"))], true);
    let configs = json!([{ "name": "retention.ms", "value": "2000" }]);
    let resources = json!([{ "resource_type": 2, "resource_name": "@t", "configs": configs }]);
    author.ask("alter_configs", json!({ "resources": resources, "validate_only": true }));
    shown(author, &["retention.ms"]);
}

fn unknown_keys(author: &mut Author<'_>) {
    author.topic("t", 1);
    for name in [
        "no.such.setting",
        "",
        "Retention.ms",
        "log.retention.ms",
        "message.format.version",
        "num.partitions",
        " retention.ms",
    ] {
        for operation in [0, 1] {
            change(author, 2, "@t", &[op(name, operation, &json!("1"))], false);
        }
    }
    shown(author, &["retention.ms"]);
}

fn wrong_values(author: &mut Author<'_>) {
    author.topic("t", 1);
    let names = [
        "retention.ms",
        "retention.bytes",
        "cleanup.policy",
        "compression.type",
        "max.message.bytes",
        "segment.bytes",
        "segment.ms",
        "segment.jitter.ms",
        "segment.index.bytes",
        "min.insync.replicas",
        "min.cleanable.dirty.ratio",
        "message.timestamp.type",
        "message.timestamp.before.max.ms",
        "message.timestamp.after.max.ms",
        "delete.retention.ms",
        "file.delete.delay.ms",
        "flush.messages",
        "flush.ms",
        "index.interval.bytes",
        "preallocate",
        "unclean.leader.election.enable",
        "max.compaction.lag.ms",
        "min.compaction.lag.ms",
        "compression.gzip.level",
        "compression.lz4.level",
        "compression.zstd.level",
        "local.retention.ms",
        "local.retention.bytes",
        "remote.storage.enable",
    ];
    for name in names {
        let value =
            author.random.of(["x", "", "-1", "-2", "0", "1.5", "9223372036854775808", "true", "TRUE", " 7 ", "gzip"]);
        change(author, 2, "@t", &[op(name, 0, &json!(value))], true);
    }
}

fn bounds(author: &mut Author<'_>) {
    author.topic("t", 1);
    for (name, value) in [
        ("segment.bytes", "13"),
        ("segment.bytes", "14"),
        ("segment.bytes", "1048576"),
        ("segment.bytes", "1048575"),
        ("segment.bytes", "2147483647"),
        ("segment.bytes", "2147483648"),
        ("segment.ms", "0"),
        ("segment.ms", "1"),
        ("retention.ms", "9223372036854775807"),
        ("min.cleanable.dirty.ratio", "0"),
        ("min.cleanable.dirty.ratio", "1"),
        ("min.cleanable.dirty.ratio", "1.01"),
        ("max.message.bytes", "0"),
        ("min.insync.replicas", "1"),
        ("min.insync.replicas", "2147483647"),
        ("max.compaction.lag.ms", "0"),
        ("max.compaction.lag.ms", "1"),
        ("compression.gzip.level", "9"),
        ("compression.gzip.level", "10"),
        ("compression.gzip.level", "-1"),
        ("compression.lz4.level", "17"),
        ("compression.lz4.level", "18"),
        ("compression.zstd.level", "22"),
        ("compression.zstd.level", "23"),
        ("segment.index.bytes", "3"),
        ("segment.index.bytes", "4"),
        ("index.interval.bytes", "0"),
        ("flush.messages", "0"),
        ("flush.messages", "1"),
        ("flush.ms", "0"),
    ] {
        change(author, 2, "@t", &[op(name, 0, &json!(value))], true);
    }
}

fn key_twice(author: &mut Author<'_>) {
    author.topic("t", 1);
    let second = author.random.of([0, 1, 2]);
    change(
        author,
        2,
        "@t",
        &[op("retention.ms", 0, &json!("1000")), op("retention.ms", second, &json!("2000"))],
        false,
    );
    change(
        author,
        2,
        "@t",
        &[
            op("segment.ms", 0, &json!("1000")),
            op("retention.ms", 0, &json!("1000")),
            op("segment.ms", 0, &json!("1000")),
        ],
        false,
    );
    shown(author, &["retention.ms", "segment.ms"]);
}

fn no_operation(author: &mut Author<'_>) {
    author.topic("t", 1);
    // An operation that there is not makes Kafka's controller fall over, and is left out.
    change(author, 2, "@t", &[], false);
    author.ask("incremental_alter_configs", json!({ "resources": [], "validate_only": false }));
    shown(author, &["retention.ms"]);
}

fn null_values(author: &mut Author<'_>) {
    author.topic("t", 1);
    for operation in [0, 1, 2, 3] {
        let key = author.random.of(["retention.ms", "cleanup.policy"]);
        change(author, 2, "@t", &[op(key, operation, &Value::Null)], false);
    }
    shown(author, &["retention.ms", "cleanup.policy"]);
}

fn changes_several(author: &mut Author<'_>) {
    author.topic("t", 1);
    author.topic("u", 1);
    let of = |name: &str, value: &str| json!({ "resource_type": 2, "resource_name": name, "configs": [op("retention.ms", 0, &json!(value))] });
    let resources = json!([of("@u", "soon"), of("@none", "1000"), of("@t", "1000"), of("", "1000")]);
    author.ask("incremental_alter_configs", json!({ "resources": resources, "validate_only": false }));
    shown(author, &["retention.ms"]);
    describe(author, &[resource(2, "@u", &json!(["retention.ms"]))]);
}

fn changes_twice(author: &mut Author<'_>) {
    author.topic("t", 1);
    let of = |key: &str, value: &str| json!({ "resource_type": 2, "resource_name": "@t", "configs": [op(key, 0, &json!(value))] });
    author.ask(
        "incremental_alter_configs",
        json!({ "resources": [of("retention.ms", "1000"), of("segment.ms", "1000")], "validate_only": false }),
    );
    // Over one in alter_configs Kafka fails, and never answers.
    shown(author, &["retention.ms", "segment.ms"]);
}

fn changes_nothing(author: &mut Author<'_>) {
    for name in ["@none", "", "a b", "."] {
        change(author, 2, name, &[op("retention.ms", 0, &json!("1000"))], false);
        let resources = json!([{ "resource_type": 2, "resource_name": name, "configs": [{ "name": "retention.ms", "value": "1000" }] }]);
        author.ask("alter_configs", json!({ "resources": resources, "validate_only": false }));
    }
    for kind in [0, 1, 3, 64, 127] {
        change(author, kind, "x", &[op("retention.ms", 0, &json!("1000"))], true);
    }
}

fn replace<'s>(author: &'s mut Author<'_>, configs: &[(&str, Value)]) -> Asked<'s> {
    let configs: Vec<Value> = configs.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    let resources = json!([{ "resource_type": 2, "resource_name": "@t", "configs": configs }]);
    author.ask("alter_configs", json!({ "resources": resources, "validate_only": false }))
}

fn replaced(author: &mut Author<'_>) {
    author.topic_with("t", 1, &[("retention.ms", "5000"), ("segment.ms", "6000")]);
    replace(author, &[("retention.ms", json!("7000")), ("cleanup.policy", json!("compact"))]);
    shown(author, &["retention.ms", "segment.ms", "cleanup.policy"]);
    replace(author, &[]);
    shown(author, &["retention.ms", "segment.ms", "cleanup.policy"]);
}

fn replaced_wrongly(author: &mut Author<'_>) {
    author.topic_with("t", 1, &[("retention.ms", "5000")]);
    replace(author, &[("retention.ms", json!("soon"))]);
    replace(author, &[("no.such.setting", json!("1"))]);
    replace(author, &[("retention.ms", Value::Null)]);
    replace(author, &[("retention.ms", json!("1")), ("retention.ms", json!("2"))]);
    replace(author, &[("segment.ms", json!("1")), ("", json!("2"))]);
    shown(author, &["retention.ms", "segment.ms"]);
}

fn broker_validated(author: &mut Author<'_>) {
    for name in ["1", ""] {
        for (key, value) in [
            ("log.retention.ms", "1000"),
            ("log.retention.ms", "soon"),
            ("no.such.setting", "1"),
            ("broker.id", "2"),
            ("listeners", "x"),
            ("num.partitions", "3"),
            ("message.max.bytes", "2000"),
            ("log.cleanup.policy", "compact"),
        ] {
            change(author, 4, name, &[op(key, 0, &json!(value))], true);
        }
    }
    for name in ["2", "x", "-1"] {
        change(author, 4, name, &[op("log.retention.ms", 0, &json!("1000"))], true);
    }
}

/// Keys of a broker that may change while it runs.
const BROKER_KEYS: &[&str] = &[
    "compression.type",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.zstd.level",
    "log.cleaner.delete.retention.ms",
    "log.cleaner.max.compaction.lag.ms",
    "log.cleaner.min.cleanable.ratio",
    "log.cleaner.min.compaction.lag.ms",
    "log.cleanup.policy",
    "log.flush.interval.messages",
    "log.flush.interval.ms",
    "log.index.interval.bytes",
    "log.index.size.max.bytes",
    "log.local.retention.bytes",
    "log.local.retention.ms",
    "log.message.timestamp.after.max.ms",
    "log.message.timestamp.before.max.ms",
    "log.message.timestamp.type",
    "log.preallocate",
    "log.retention.bytes",
    "log.retention.ms",
    "log.roll.jitter.ms",
    "log.roll.ms",
    "log.segment.bytes",
    "log.segment.delete.delay.ms",
    "max.decompressed.message.bytes",
    "message.max.bytes",
    "min.insync.replicas",
    "unclean.leader.election.enable",
    "max.connections",
    "max.connections.per.ip",
    "producer.id.expiration.ms",
    "background.threads",
    "errors.deadletterqueue.auto.create.topics.enable",
    "errors.deadletterqueue.topic.name.prefix",
    "follower.fetch.last.tiered.offset.enable",
    "follower.replication.throttled.rate",
    "group.consumer.assignment.interval.ms",
    "group.coordinator.cached.buffer.max.bytes",
    "group.share.assignment.interval.ms",
    "group.streams.assignment.interval.ms",
    "leader.replication.throttled.rate",
    "log.cleaner.backoff.ms",
    "log.cleaner.dedupe.buffer.size",
    "log.cleaner.io.buffer.load.factor",
    "log.cleaner.io.buffer.size",
    "log.cleaner.io.max.bytes.per.second",
    "log.cleaner.threads",
    "log.remote.copy.lag.bytes",
    "log.remote.copy.lag.ms",
    "max.connection.creation.rate",
    "metric.reporters",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
    "remote.fetch.max.wait.ms",
    "remote.list.offsets.request.timeout.ms",
    "remote.log.index.file.cache.total.size.bytes",
    "remote.log.manager.copier.thread.pool.size",
    "remote.log.manager.copy.max.bytes.per.second",
    "remote.log.manager.expiration.thread.pool.size",
    "remote.log.manager.fetch.max.bytes.per.second",
    "remote.log.manager.follower.thread.pool.size",
    "remote.log.reader.threads",
    "replica.alter.log.dirs.io.max.bytes.per.second",
    "share.coordinator.cached.buffer.max.bytes",
    "transaction.partition.verification.enable",
];

fn broker_wrong_values(author: &mut Author<'_>) {
    for key in BROKER_KEYS {
        for _ in 0..3 {
            let name = author.random.of(["1", ""]);
            let value = author.random.of([
                "x",
                "-1",
                "-2",
                "0",
                "1",
                "",
                "1.5",
                "9223372036854775808",
                "true",
                " 7 ",
                "a,a",
                ",",
                "2147483647",
            ]);
            change(author, 4, name, &[op(key, 0, &json!(value))], true);
        }
    }
}

fn group_changed(author: &mut Author<'_>) {
    for (key, value) in [
        ("consumer.session.timeout.ms", "50000"),
        ("consumer.session.timeout.ms", "1"),
        ("consumer.heartbeat.interval.ms", "6000"),
        ("no.such.setting", "1"),
        ("share.auto.offset.reset", "earliest"),
    ] {
        change(author, 32, "@g", &[op(key, 0, &json!(value))], false);
    }
    change(author, 32, "", &[op("consumer.session.timeout.ms", 0, &json!("50000"))], false);
    author.sleep_ms(200);
    describe(author, &[resource(32, "@g", &json!(["consumer.session.timeout.ms", "consumer.heartbeat.interval.ms"]))])
        .lasting();
}

fn client_metrics_changed(author: &mut Author<'_>) {
    for (key, value) in [
        ("interval.ms", "1000"),
        ("interval.ms", "1"),
        ("metrics", "org.apache"),
        ("match", "client_id=x"),
        ("match", "x"),
        ("no.such.setting", "1"),
    ] {
        change(author, 16, "@m", &[op(key, 0, &json!(value))], false);
    }
    author.sleep_ms(200);
    describe(author, &[resource(16, "@m", &Value::Null)]).lasting();
    change(
        author,
        16,
        "@m",
        &[op("interval.ms", 1, &Value::Null), op("metrics", 1, &Value::Null), op("match", 1, &Value::Null)],
        false,
    );
}

fn batch(value: &str, key: Option<&str>, timestamp: i64, codec: &str) -> Value {
    json!([{ "codec": codec, "records": [{ "key": key, "value": value, "timestamp": timestamp }] }])
}

/// A time that was.
const THEN: i64 = 1_600_000_000_000;

fn larger_batch(author: &mut Author<'_>) {
    author.topic_with("t", 1, &[("max.message.bytes", "500")]);
    let value = "v".repeat(author.random.of([500, 1000]));
    author.produce_in(3, 12, "t", 0, &batch(&value, Some("k"), THEN, "none"));
    change(author, 2, "@t", &[op("max.message.bytes", 0, &json!("5000"))], false);
    author.sleep_ms(500);
    author.produce_in(3, 12, "t", 0, &batch(&value, Some("k"), THEN, "none"));
    change(author, 2, "@t", &[op("max.message.bytes", 0, &json!("100"))], false);
    author.sleep_ms(500);
    author.produce_in(3, 12, "t", 0, &batch(&value, Some("k"), THEN, "none"));
    author.fetch_in(4, 12, "t", 0, 0).lasting();
}

fn log_time(author: &mut Author<'_>) {
    author.topic_with("t", 1, &[("message.timestamp.type", "LogAppendTime")]);
    author.produce_in(3, 12, "t", 0, &batch("v", Some("k"), THEN, "none")).settled();
    change(author, 2, "@t", &[op("message.timestamp.type", 0, &json!("CreateTime"))], false);
    author.sleep_ms(500);
    author.produce_in(3, 12, "t", 0, &batch("w", Some("k"), THEN, "none"));
    author.fetch_in(4, 12, "t", 0, 1).lasting();
}

fn codec(author: &mut Author<'_>) {
    let (own, sent) = (author.random.of(["producer", "uncompressed"]), author.random.of(["none", "lz4", "gzip"]));
    author.topic_with("t", 1, &[("compression.type", own)]);
    author.produce_in(3, 12, "t", 0, &batch("v", Some("k"), THEN, sent)).settled();
    author.fetch_in(4, 12, "t", 0, 0).lasting();
}

fn wants_keys(author: &mut Author<'_>) {
    author.topic_with("t", 1, &[("cleanup.policy", "compact")]);
    author.produce_in(3, 12, "t", 0, &batch("v", None, THEN, "none"));
    author.produce_in(3, 12, "t", 0, &batch("v", Some(""), THEN, "none")).settled();
    change(author, 2, "@t", &[op("cleanup.policy", 1, &Value::Null)], false);
    author.sleep_ms(500);
    author.produce_in(3, 12, "t", 0, &batch("v", None, THEN, "none"));
}

fn far_times(author: &mut Author<'_>) {
    author.topic_with(
        "t",
        1,
        &[("message.timestamp.before.max.ms", "3600000"), ("message.timestamp.after.max.ms", "3600000")],
    );
    for time in [THEN, 4_000_000_000_000, 0, -1] {
        author.produce_in(3, 12, "t", 0, &batch("v", Some("k"), time, "none"));
    }
}

fn of_creation(author: &mut Author<'_>) {
    author.topic_with("t", 1, &[("retention.ms", "5000"), ("max.message.bytes", "6000"), ("compression.type", "gzip")]);
    shown(author, &["retention.ms", "max.message.bytes", "compression.type", "min.insync.replicas", "segment.ms"]);
}
