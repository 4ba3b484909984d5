//! The broker keys that we honour, with Kafka's names.

use super::define::{Check, ConfigDef, Kind, Update};
use super::endpoint;

const fn key(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    check: Check,
    doc: &'static str,
) -> ConfigDef {
    ConfigDef { name, kind, default, check, update: Update::Restart, doc }
}

const fn dynamic(def: ConfigDef) -> ConfigDef {
    ConfigDef { update: Update::Dynamic, ..def }
}

use Check::{Any, AtLeast, AtLeastOneRunning, Between, Custom, Fraction, GzipLevel, ListOf, NotZero, OneOf, Required};
use Kind::{Boolean, Double, Int, List, Long, String};

/// Every broker key that is honoured. Where a default differs from Kafka's, the documentation says so.
#[rustfmt::skip]
pub const BROKER_KEYS: &[ConfigDef] = &[
    // Identity and addresses.
    key("node.id", Int, Some("1"), AtLeast(0), "This broker's id in the cluster. Kafka has no default; ours is 1."),
    key("broker.id", Int, Some("-1"), AtLeast(-1), "The old name of node.id; node.id wins when both are set."),
    key("broker.rack", String, None, Any, "The rack or zone this broker runs in."),
    key("listeners", List, Some("PLAINTEXT://:9092"), Custom(endpoint::check_listeners), "Addresses to listen on, as NAME://host:port separated by commas. An empty host means every interface."),
    key("advertised.listeners", List, None, Custom(endpoint::check_advertised), "Addresses that clients are told to use. Unset, each client is told the address it dialled."),
    key("listener.security.protocol.map", String, Some("PLAINTEXT:PLAINTEXT"), Custom(endpoint::check_protocol_map), "The security protocol of each listener name. Only PLAINTEXT is served so far."),
    // Storage.
    key("log.dirs", List, None, Any, "The local directory that holds the store and the write-ahead log where store.url and wal.url do not say otherwise, and meta.properties, which says whose it is. One directory. When only wal.url is set, meta.properties is in the log's directory; a raw device has none."),
    key("log.dir", List, Some("headwater-data"), Any, "Used when log.dirs is not set. Kafka's default is /tmp/kafka-logs; ours is a directory where the broker is started."),
    key("store.url", String, None, Any, "Where data and metadata live: file:///dir, s3://bucket/prefix?region=…, gs://, az://, oss://, cos://, obs:// or memory://. Headwater only."),
    key("wal.url", String, None, Any, "Where the write-ahead log lives: a directory or a block device. Unset, it is in the directory of log.dirs, or in memory when store.url is memory://. Headwater only."),
    key("log.cache.bytes", Long, Some("268435456"), AtLeast(16 << 20), "Memory for records not uploaded yet and for readers at the tail. A full cache slows producers. Headwater only."),
    key("block.cache.bytes", Long, Some("268435456"), AtLeast(1 << 20), "Memory for data read back from the store. Headwater only."),
    key("http.listen", String, Some("127.0.0.1:9080"), Any, "Where metrics, health and the console are served; empty turns them off. Headwater only."),
    // Topics.
    key("num.partitions", Int, Some("1"), AtLeast(1), "Partitions of a topic created without a number of its own."),
    key("default.replication.factor", Int, Some("1"), AtLeast(1), "The replication factor of a topic created without one. Records are replicated by the store, so every topic has one replica."),
    key("auto.create.topics.enable", Boolean, Some("true"), Any, "Whether asking for an unknown topic's metadata creates it, if the client agrees. Never __transaction_state and __share_group_state: they come with transactions and share groups, which are not served yet."),
    key("delete.topic.enable", Boolean, Some("true"), Any, "Whether topics can be deleted."),
    // Defaults of topic keys.
    dynamic(key("compression.type", String, Some("producer"), OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), "Default of the topic key compression.type.")),
    dynamic(key("compression.gzip.level", Int, Some("-1"), GzipLevel, "Default of the topic key compression.gzip.level.")),
    dynamic(key("compression.lz4.level", Int, Some("9"), Between(1, 17), "Default of the topic key compression.lz4.level.")),
    dynamic(key("compression.zstd.level", Int, Some("3"), Between(-131_072, 22), "Default of the topic key compression.zstd.level.")),
    dynamic(key("log.cleaner.delete.retention.ms", Long, Some("86400000"), AtLeast(0), "Default of the topic key delete.retention.ms.")),
    dynamic(key("log.cleaner.max.compaction.lag.ms", Long, Some("9223372036854775807"), AtLeast(1), "Default of the topic key max.compaction.lag.ms.")),
    dynamic(key("log.cleaner.min.cleanable.ratio", Double, Some("0.5"), Fraction, "Default of the topic key min.cleanable.dirty.ratio.")),
    dynamic(key("log.cleaner.min.compaction.lag.ms", Long, Some("0"), AtLeast(0), "Default of the topic key min.compaction.lag.ms.")),
    dynamic(key("log.cleanup.policy", List, Some("delete"), ListOf(&["compact", "delete"]), "Default of the topic key cleanup.policy.")),
    dynamic(key("log.flush.interval.messages", Long, Some("9223372036854775807"), AtLeast(1), "Default of the topic key flush.messages.")),
    dynamic(key("log.flush.interval.ms", Long, None, Any, "Default of the topic key flush.ms.")),
    dynamic(key("log.index.interval.bytes", Int, Some("4096"), AtLeast(0), "Default of the topic key index.interval.bytes.")),
    dynamic(key("log.index.size.max.bytes", Int, Some("10485760"), AtLeast(4), "Default of the topic key segment.index.bytes.")),
    dynamic(key("log.local.retention.bytes", Long, Some("-2"), AtLeast(-2), "Default of the topic key local.retention.bytes.")),
    dynamic(key("log.local.retention.ms", Long, Some("-2"), AtLeast(-2), "Default of the topic key local.retention.ms.")),
    dynamic(key("log.message.timestamp.after.max.ms", Long, Some("3600000"), AtLeast(0), "Default of the topic key message.timestamp.after.max.ms.")),
    dynamic(key("log.message.timestamp.before.max.ms", Long, Some("9223372036854775807"), AtLeast(0), "Default of the topic key message.timestamp.before.max.ms.")),
    dynamic(key("log.message.timestamp.type", String, Some("CreateTime"), OneOf(&["CreateTime", "LogAppendTime"]), "Default of the topic key message.timestamp.type.")),
    dynamic(key("log.preallocate", Boolean, Some("false"), Any, "Default of the topic key preallocate.")),
    dynamic(key("log.retention.bytes", Long, Some("-1"), Any, "Default of the topic key retention.bytes.")),
    key("log.retention.hours", Int, Some("168"), Any, "Default of the topic key retention.ms, in hours, when log.retention.minutes and log.retention.ms are not set."),
    key("log.retention.minutes", Int, None, Any, "Default of the topic key retention.ms, in minutes, when log.retention.ms is not set."),
    dynamic(key("log.retention.ms", Long, None, NotZero, "Default of the topic key retention.ms; a negative value is no limit.")),
    key("log.roll.hours", Int, Some("168"), AtLeast(1), "Default of the topic key segment.ms, in hours, when log.roll.ms is not set."),
    key("log.roll.jitter.hours", Int, Some("0"), AtLeast(0), "Default of the topic key segment.jitter.ms, in hours, when log.roll.jitter.ms is not set."),
    dynamic(key("log.roll.jitter.ms", Long, None, Required(0), "Default of the topic key segment.jitter.ms.")),
    dynamic(key("log.roll.ms", Long, None, Required(1), "Default of the topic key segment.ms.")),
    dynamic(key("log.segment.bytes", Int, Some("1073741824"), AtLeast(1_048_576), "Default of the topic key segment.bytes.")),
    dynamic(key("log.segment.delete.delay.ms", Long, Some("60000"), AtLeast(0), "Default of the topic key file.delete.delay.ms.")),
    key("log.flush.scheduler.interval.ms", Long, Some("9223372036854775807"), Any, "Default of the topic key flush.ms when log.flush.interval.ms is not set."),
    dynamic(key("max.decompressed.message.bytes", Int, Some("2147483639"), Between(1, 2_147_483_639), "Default of the topic key max.decompressed.message.bytes.")),
    dynamic(key("message.max.bytes", Int, Some("1048588"), AtLeast(0), "Default of the topic key max.message.bytes.")),
    dynamic(key("min.insync.replicas", Int, Some("1"), AtLeast(1), "Default of the topic key min.insync.replicas.")),
    dynamic(key("unclean.leader.election.enable", Boolean, Some("false"), Any, "Default of the topic key unclean.leader.election.enable.")),
    key("log.retention.check.interval.ms", Long, Some("300000"), AtLeast(1), "How often retention is applied."),
    // Connections and memory.
    key("connections.max.idle.ms", Long, Some("600000"), Any, "A connection over which nothing moved for so long is closed; a negative value keeps it open."),
    dynamic(key("max.connections", Int, Some("2147483647"), AtLeastOneRunning, "Client connections the broker keeps open; further ones wait to be accepted. While the broker runs it is not set to 0, which nobody could undo.")),
    dynamic(key("max.connections.per.ip", Int, Some("2147483647"), AtLeast(0), "Client connections from one address; further ones are closed.")),
    dynamic(key("max.connections.per.ip.overrides", String, Some(""), Custom(endpoint::check_per_ip_overrides), "Other limits for single addresses, as address:number separated by commas.")),
    key("socket.listen.backlog.size", Int, Some("50"), AtLeast(1), "Connections the operating system holds until they are accepted."),
    key("socket.receive.buffer.bytes", Int, Some("-1"), Any, "Receive buffer of a connection; -1 leaves it to the operating system, which adapts it. Kafka's default is 102400."),
    key("socket.send.buffer.bytes", Int, Some("-1"), Any, "Send buffer of a connection; -1 leaves it to the operating system, which adapts it. Kafka's default is 102400."),
    key("socket.request.max.bytes", Int, Some("104857600"), AtLeast(1), "The largest request."),
    key("queued.max.request.bytes", Long, Some("-1"), Any, "Memory for requests being received or answered; at the limit reading stops. -1 means 512 MiB: the broker has no unbounded queue."),
    // Produce and fetch.
    key("fetch.max.bytes", Int, Some("57671680"), AtLeast(1024), "The most one fetch returns, whatever the client asks for."),
    key("max.incremental.fetch.session.cache.slots", Int, Some("1000"), AtLeast(0), "Fetch sessions kept (KIP-227)."),
    key("produce.validation", String, Some("full"), OneOf(&["full", "header"]), "How deep produced batches are looked into: full checks every record as Kafka does; header checks CRC and batch header only, for producers that are trusted. Headwater only."),
    dynamic(key("producer.id.expiration.ms", Int, Some("86400000"), AtLeast(1), "How long an idle idempotent producer is remembered.")),
    // Groups.
    key("group.initial.rebalance.delay.ms", Int, Some("3000"), AtLeast(0), "How long an empty group waits for more members before its first rebalance."),
    key("group.max.session.timeout.ms", Int, Some("1800000"), AtLeast(1), "The longest session timeout a member may ask for."),
    key("group.max.size", Int, Some("2147483647"), AtLeast(1), "Members of one group."),
    key("group.min.session.timeout.ms", Int, Some("6000"), AtLeast(1), "The shortest session timeout a member may ask for."),
    key("offset.metadata.max.bytes", Int, Some("4096"), Any, "The longest metadata text a committed offset may carry."),
    key("offsets.retention.check.interval.ms", Long, Some("600000"), AtLeast(1), "How often expired offsets are looked for."),
    key("offsets.retention.minutes", Int, Some("10080"), AtLeast(1), "How long offsets of a group without members are kept."),
    key("offsets.topic.num.partitions", Int, Some("50"), AtLeast(1), "Partitions of __consumer_offsets when it is made. Groups are spread over as many as it has when the broker starts."),
    key("offsets.topic.replication.factor", Int, Some("1"), AtLeast(1), "Replication factor of __consumer_offsets. The store replicates, so it is 1; Kafka's default is 3."),
];
