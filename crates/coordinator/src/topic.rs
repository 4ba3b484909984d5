//! The internal topic's partitions as logs, and which of them has a key.

use std::sync::Arc;

use base::Uuid;
use meta::MetaHandle;
use parking_lot::Mutex;
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

/// Over how many of an internal topic's partitions keys are spread: as many as it had when this coordinator first saw it,
/// for as long as both live.
///
/// A key's place depends on the number. If it followed the topic, adding partitions would take every group away from its
/// members and its committed offsets at once. Kafka 3.9.2 and 4.4.0 go on with the old number, too, until they are
/// restarted; 4.4.0 begins with the new one then.
pub(crate) struct Spread {
    topic: &'static str,
    /// The topic's id and the number; another id is another topic, with nothing in it.
    fixed: Mutex<Option<(Uuid, i32)>>,
}

impl Spread {
    /// Over the partitions that the topic has now, or will have when it is there.
    pub(crate) fn new(topic: &'static str, meta: &MetaHandle) -> Self {
        let spread = Self { topic, fixed: Mutex::new(None) };
        spread.count(meta);
        spread
    }

    /// The number; `None` while there is no such topic.
    pub(crate) fn count(&self, meta: &MetaHandle) -> Option<i32> {
        let mut fixed = self.fixed.lock();
        // Looked at under the lock: who saw an older image must not bring back what a newer one replaced.
        let image = meta.image();
        let topic = image.topic(self.topic)?;
        match *fixed {
            Some((id, count)) if id == topic.id => Some(count),
            _ => {
                let count = i32::try_from(topic.partitions.len()).ok()?;
                *fixed = Some((topic.id, count));
                Some(count)
            }
        }
    }
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
