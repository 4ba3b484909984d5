//! Broker keys that Kafka lets change while it runs and that change nothing here: they are kept and described like any
//! other, since tools set them and look whether they took.
//!
//! Which they are, their types and defaults were asked of Kafka 3.9.2 and 4.4.0 (DescribeConfigs: not read-only), and so were
//! the values that are valid and how far a change may go; where the two differ, 4.4.0 has it. Those of security are missing:
//! what protects nothing is not to look as if it did. Nor is there a list of cordoned directories: with one Kafka makes no
//! topic any more.

use super::define::{Check, ConfigDef, Kind, Update};

use Check::{Any, AssignmentInterval, AtLeast, AtLeastOneRunning, Classes, CleanerThreads, Custom, Threads};
use Kind::{Boolean, Double, Int, List, Long, String};

/// What the documentation of each of them is.
pub const INERT_DOC: &str = "A key of Kafka's that changes nothing here. It is kept and shown.";

/// Keys that Kafka takes for one broker only, not for all together.
pub(crate) const PER_BROKER_KEYS: &[&str] = &["cordoned.log.dirs", "listener.security.protocol.map", "listeners"];

/// Of directories that get no further partitions only the empty list is taken.
fn check_cordoned(text: &str) -> Result<(), std::string::String> {
    if text.is_empty() {
        return Ok(());
    }
    Err("directories cannot be cordoned: there is one store for all partitions, and it always takes new ones"
        .to_owned())
}

const fn key(name: &'static str, kind: Kind, default: Option<&'static str>, check: Check) -> ConfigDef {
    ConfigDef { name, kind, default, check, update: Update::Dynamic, doc: INERT_DOC }
}

/// The keys. One without a default is described where it is set, as from Kafka.
#[rustfmt::skip]
pub const INERT_KEYS: &[ConfigDef] = &[
    key("background.threads", Int, Some("10"), Threads),
    key("cordoned.log.dirs", List, Some(""), Custom(check_cordoned)),
    key("errors.deadletterqueue.auto.create.topics.enable", Boolean, Some("false"), Any),
    key("errors.deadletterqueue.topic.name.prefix", String, Some("dlq."), Any),
    key("follower.fetch.last.tiered.offset.enable", Boolean, Some("false"), Any),
    key("follower.replication.throttled.rate", Long, None, AtLeast(0)),
    key("group.consumer.assignment.interval.ms", Int, Some("1000"), AssignmentInterval),
    key("group.coordinator.cached.buffer.max.bytes", Int, Some("1048588"), AtLeast(524_288)),
    key("group.share.assignment.interval.ms", Int, Some("1000"), AssignmentInterval),
    key("group.streams.assignment.interval.ms", Int, Some("1000"), AssignmentInterval),
    key("leader.replication.throttled.rate", Long, None, AtLeast(0)),
    key("log.cleaner.backoff.ms", Long, Some("15000"), AtLeast(0)),
    key("log.cleaner.dedupe.buffer.size", Long, Some("134217728"), Any),
    key("log.cleaner.io.buffer.load.factor", Double, Some("0.9"), Any),
    key("log.cleaner.io.buffer.size", Int, Some("524288"), AtLeast(0)),
    key("log.cleaner.io.max.bytes.per.second", Double, Some("1.7976931348623157E308"), Any),
    key("log.cleaner.threads", Int, Some("1"), CleanerThreads),
    key("log.message.downconversion.enable", Boolean, Some("true"), Any),
    key("log.message.timestamp.difference.max.ms", Long, Some("9223372036854775807"), AtLeast(0)),
    key("log.remote.copy.lag.bytes", Long, Some("-1"), AtLeast(-1)),
    key("log.remote.copy.lag.ms", Long, Some("0"), AtLeast(-1)),
    key("max.connection.creation.rate", Int, Some("2147483647"), AtLeastOneRunning),
    key("metric.reporters", List, Some("org.apache.kafka.common.metrics.JmxReporter"), Classes),
    key("num.io.threads", Int, Some("8"), Threads),
    key("num.network.threads", Int, Some("3"), Threads),
    key("num.recovery.threads.per.data.dir", Int, Some("2"), Threads),
    key("num.replica.fetchers", Int, Some("1"), Threads),
    key("remote.fetch.max.wait.ms", Int, Some("500"), AtLeast(1)),
    key("remote.list.offsets.request.timeout.ms", Long, Some("30000"), AtLeast(1)),
    key("remote.log.index.file.cache.total.size.bytes", Long, Some("1073741824"), AtLeast(1)),
    key("remote.log.manager.copier.thread.pool.size", Int, Some("10"), Threads),
    key("remote.log.manager.copy.max.bytes.per.second", Long, Some("9223372036854775807"), AtLeast(1)),
    key("remote.log.manager.expiration.thread.pool.size", Int, Some("10"), Threads),
    key("remote.log.manager.fetch.max.bytes.per.second", Long, Some("9223372036854775807"), AtLeast(1)),
    key("remote.log.manager.follower.thread.pool.size", Int, Some("2"), Threads),
    key("remote.log.reader.threads", Int, Some("10"), Threads),
    key("replica.alter.log.dirs.io.max.bytes.per.second", Long, None, AtLeast(0)),
    key("share.coordinator.cached.buffer.max.bytes", Int, Some("1048588"), AtLeast(524_288)),
    key("transaction.partition.verification.enable", Boolean, Some("true"), Any),
];
