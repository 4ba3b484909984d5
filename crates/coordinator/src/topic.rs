//! The internal topic's partitions as logs, and which of them has a key.

use std::sync::Arc;

use meta::MetaHandle;
use partition::{PartitionError, Partitions};

use crate::runtime::{Log, LogId, OpenLog, PartitionLog};

/// Offsets and group metadata.
pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";

/// The partitions of an internal topic.
pub(crate) struct TopicLogs {
    pub topic: &'static str,
    pub partitions: Partitions,
    pub meta: MetaHandle,
}

impl OpenLog for TopicLogs {
    fn id(&self, index: i32) -> Result<LogId, PartitionError> {
        let partition = self.partitions.get(self.topic, index)?;
        Ok(LogId { stream: partition.stream_id(), epoch: partition.leader_epoch() })
    }

    fn open(&self, index: i32) -> Result<Arc<dyn Log>, PartitionError> {
        let partition = self.partitions.get(self.topic, index)?;
        Ok(Arc::new(PartitionLog::new(partition, self.meta.clone())))
    }
}

/// How many partitions a topic has; `None` if there is no such topic.
pub(crate) fn partition_count(meta: &MetaHandle, topic: &str) -> Option<i32> {
    meta.image().topic(topic).and_then(|topic| i32::try_from(topic.partitions.len()).ok())
}

/// Kafka's `Utils.abs(groupId.hashCode()) % partitions`: Java's hash over UTF-16 units.
pub(crate) fn partition_for(key: &str, partitions: i32) -> i32 {
    let hash = key.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    let positive = if hash == i32::MIN { 0 } else { hash.abs() };
    positive % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_spread_as_kafka_spreads_them() {
        // "abc".hashCode() is 96354, "polygenelubricants".hashCode() is Integer.MIN_VALUE, which Kafka takes for 0.
        assert_eq!(partition_for("abc", 50), 96_354 % 50);
        assert_eq!(partition_for("polygenelubricants", 50), 0);
        assert_eq!(partition_for("", 50), 0);
        // Surrogate pairs count as two units: "😀".hashCode() is 1772899.
        assert_eq!(partition_for("😀", 50), 1_772_899 % 50);
        // "console-consumer-12345".hashCode() is negative.
        assert!((0..50).contains(&partition_for("console-consumer-12345", 50)));
    }
}
