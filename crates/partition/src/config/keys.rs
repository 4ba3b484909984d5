//! The topic keys of Kafka 4.4 (`LogConfig`), by name. Names, types, defaults, valid values and synonyms are Kafka's
//! facts; `doc` says what a key does *here*.

use super::definition::{ConfigType, Constraint, Synonym, TopicKey, Unit};

use ConfigType::{Boolean, Double, Int, List, Long, String};
use Constraint::{Any, AtLeast, Between, Fraction, GzipLevel, OneOf, ThrottledReplicas};

const FOREVER: &str = "9223372036854775807";
const NO_SEGMENTS: &str = "Accepted for compatibility; there are no segment files, so it has no effect.";
const NO_TIERS: &str = "Accepted for compatibility; all data is in the object store already, so it has no effect.";
const NO_REPLICAS: &str = "Accepted for compatibility; brokers do not replicate to each other, so it has no effect.";

const fn same(broker_key: &'static str) -> Synonym {
    Synonym { broker_key, unit: Unit::Same }
}

const fn milliseconds(broker_key: &'static str) -> Synonym {
    Synonym { broker_key, unit: Unit::Milliseconds }
}

const fn hours(broker_key: &'static str) -> Synonym {
    Synonym { broker_key, unit: Unit::Hours }
}

const fn minutes(broker_key: &'static str) -> Synonym {
    Synonym { broker_key, unit: Unit::Minutes }
}

const fn key(
    name: &'static str,
    kind: ConfigType,
    default: &'static str,
    valid: Constraint,
    synonyms: &'static [Synonym],
    doc: &'static str,
) -> TopicKey {
    TopicKey { name, kind, default, valid, synonyms, doc }
}

/// The key named `name`.
pub fn topic_key(name: &str) -> Option<&'static TopicKey> {
    TOPIC_KEYS.binary_search_by(|key| key.name.cmp(name)).ok().map(|at| &TOPIC_KEYS[at])
}

/// The order in which Kafka's `LogConfig` defines its keys, and so checks their values.
#[rustfmt::skip]
pub(super) const CHECKED_IN_ORDER: [&str; 37] = [
    "segment.bytes", "segment.ms", "segment.jitter.ms", "segment.index.bytes", "flush.messages", "flush.ms",
    "retention.bytes", "retention.ms", "max.message.bytes", "max.decompressed.message.bytes",
    "index.interval.bytes", "delete.retention.ms", "min.compaction.lag.ms", "max.compaction.lag.ms",
    "file.delete.delay.ms", "min.cleanable.dirty.ratio", "cleanup.policy", "unclean.leader.election.enable",
    "min.insync.replicas", "compression.type", "compression.gzip.level", "compression.lz4.level",
    "compression.zstd.level", "preallocate", "message.timestamp.type", "message.timestamp.before.max.ms",
    "message.timestamp.after.max.ms", "leader.replication.throttled.replicas",
    "follower.replication.throttled.replicas", "remote.storage.enable", "local.retention.ms",
    "local.retention.bytes", "remote.log.copy.disable", "remote.copy.lag.ms", "remote.copy.lag.bytes",
    "remote.log.delete.on.disable", "errors.deadletterqueue.group.enable",
];

/// Every topic key, sorted by name.
#[rustfmt::skip]
pub const TOPIC_KEYS: &[TopicKey] = &[
    key("cleanup.policy", List, "delete", OneOf(&["compact", "delete"]), &[same("log.cleanup.policy")],
        "delete: old records go when retention.ms or retention.bytes says so. compact: every record must have a key and \
         nothing is removed by age or size; records that a newer one with the same key replaces are not removed yet. \
         Empty: nothing is ever removed."),
    key("compression.gzip.level", Int, "-1", GzipLevel, &[same("compression.gzip.level")],
        "Level used when compression.type is gzip; -1 is the codec's default."),
    key("compression.lz4.level", Int, "9", Between(1, 17), &[same("compression.lz4.level")],
        "Level used when compression.type is lz4."),
    key("compression.type", String, "producer", OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        &[same("compression.type")],
        "How batches are stored: producer keeps the producer's choice; anything else makes the broker recompress \
         batches that came otherwise."),
    key("compression.zstd.level", Int, "3", Between(-131_072, 22), &[same("compression.zstd.level")],
        "Level used when compression.type is zstd."),
    key("delete.retention.ms", Long, "86400000", AtLeast(0), &[same("log.cleaner.delete.retention.ms")],
        "How long a deletion marker of a compacted topic must stay readable. Markers are not removed yet."),
    key("errors.deadletterqueue.group.enable", Boolean, "false", Any, &[],
        "Whether share groups may use this topic as their dead letter queue."),
    key("file.delete.delay.ms", Long, "60000", AtLeast(0), &[same("log.segment.delete.delay.ms")], NO_SEGMENTS),
    key("flush.messages", Long, FOREVER, AtLeast(1), &[same("log.flush.interval.messages")],
        "Accepted for compatibility; every acknowledged batch is synced already, so it has no effect."),
    key("flush.ms", Long, FOREVER, AtLeast(0), &[same("log.flush.interval.ms"), same("log.flush.scheduler.interval.ms")],
        "Accepted for compatibility; every acknowledged batch is synced already, so it has no effect."),
    key("follower.replication.throttled.replicas", List, "", ThrottledReplicas, &[], NO_REPLICAS),
    key("index.interval.bytes", Int, "4096", AtLeast(0), &[same("log.index.interval.bytes")], NO_SEGMENTS),
    key("leader.replication.throttled.replicas", List, "", ThrottledReplicas, &[], NO_REPLICAS),
    key("local.retention.bytes", Long, "-2", AtLeast(-2), &[same("log.local.retention.bytes")], NO_TIERS),
    key("local.retention.ms", Long, "-2", AtLeast(-2), &[same("log.local.retention.ms")], NO_TIERS),
    key("max.compaction.lag.ms", Long, FOREVER, AtLeast(1), &[same("log.cleaner.max.compaction.lag.ms")],
        "Longest time before a record of a compacted topic becomes eligible for compaction. Not used yet."),
    key("max.decompressed.message.bytes", Int, "2147483639", Between(1, 2_147_483_639),
        &[same("max.decompressed.message.bytes")],
        "Largest record inside a compressed batch, decompressed, in bytes. A batch that decompresses to more than 100 MiB in all is refused whatever this says."),
    key("max.message.bytes", Int, "1048588", AtLeast(0), &[same("message.max.bytes")],
        "Largest record batch, as stored (compressed), in bytes."),
    key("message.timestamp.after.max.ms", Long, "3600000", AtLeast(0), &[same("log.message.timestamp.after.max.ms")],
        "How far a record's timestamp may lie ahead of the broker's clock (message.timestamp.type=CreateTime)."),
    key("message.timestamp.before.max.ms", Long, FOREVER, AtLeast(0), &[same("log.message.timestamp.before.max.ms")],
        "How far a record's timestamp may lie behind the broker's clock (message.timestamp.type=CreateTime)."),
    key("message.timestamp.type", String, "CreateTime", OneOf(&["CreateTime", "LogAppendTime"]),
        &[same("log.message.timestamp.type")],
        "Whether records keep the producer's timestamps or get the time at which the broker took them."),
    key("min.cleanable.dirty.ratio", Double, "0.5", Fraction, &[same("log.cleaner.min.cleanable.ratio")],
        "Share of replaced records from which a compacted topic is worth compacting. Not used yet."),
    key("min.compaction.lag.ms", Long, "0", AtLeast(0), &[same("log.cleaner.min.compaction.lag.ms")],
        "Shortest time that a record of a compacted topic stays uncompacted. Not used yet."),
    key("min.insync.replicas", Int, "1", AtLeast(1), &[same("min.insync.replicas")],
        "Accepted for compatibility; durability comes from the write-ahead log and the store, so it has no effect."),
    key("preallocate", Boolean, "false", Any, &[same("log.preallocate")], NO_SEGMENTS),
    key("remote.copy.lag.bytes", Long, "-1", AtLeast(-1), &[same("log.remote.copy.lag.bytes")], NO_TIERS),
    key("remote.copy.lag.ms", Long, "0", AtLeast(-1), &[same("log.remote.copy.lag.ms")], NO_TIERS),
    key("remote.log.copy.disable", Boolean, "false", Any, &[], NO_TIERS),
    key("remote.log.delete.on.disable", Boolean, "false", Any, &[], NO_TIERS),
    key("remote.storage.enable", Boolean, "false", Any, &[],
        "Stays false, as where Kafka has no tiered storage; all data is in the object store already."),
    key("retention.bytes", Long, "-1", Any, &[same("log.retention.bytes")],
        "Bytes that a partition keeps before its oldest records are removed; negative: no limit. Whole uploaded parts \
         are removed, so somewhat more is kept."),
    key("retention.ms", Long, "604800000", AtLeast(-1),
        &[milliseconds("log.retention.ms"), minutes("log.retention.minutes"), hours("log.retention.hours")],
        "Milliseconds that records are kept, by their timestamps, or where no record of an uploaded part has one by the \
         time at which it was committed; -1: no limit."),
    key("segment.bytes", Int, "1073741824", AtLeast(1_048_576), &[same("log.segment.bytes")], NO_SEGMENTS),
    key("segment.index.bytes", Int, "10485760", AtLeast(4), &[same("log.index.size.max.bytes")], NO_SEGMENTS),
    key("segment.jitter.ms", Long, "0", AtLeast(0), &[same("log.roll.jitter.ms"), hours("log.roll.jitter.hours")],
        NO_SEGMENTS),
    key("segment.ms", Long, "604800000", AtLeast(1), &[same("log.roll.ms"), hours("log.roll.hours")], NO_SEGMENTS),
    key("unclean.leader.election.enable", Boolean, "false", Any, &[same("unclean.leader.election.enable")],
        "Accepted for compatibility; a new leader has every acknowledged record, so it has no effect."),
];
