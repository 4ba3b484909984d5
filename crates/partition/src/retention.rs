//! Retention: one sweep over all partitions of the broker trims what is too old or too much.
//!
//! The unit is the uploaded extent, as the segment is in Kafka; what is not uploaded yet is never trimmed. The sweep
//! costs no I/O beyond the trims, which go to the metadata log together. Partitions that nobody uses are swept by the
//! catalogue alone and stay unopened.

use base::{Offset, OffsetRange, TimestampMs};
use futures::StreamExt;

use crate::config::TopicConfig;
use crate::directory::Placement;
use crate::limits::RETENTION_CONCURRENCY;
use crate::registry::Partitions;

/// Where the log should start, if that is not where it starts now.
///
/// By age, as Kafka's `deleteRetentionMsBreachedSegments`: extents go, oldest first, while their greatest timestamp is
/// too old. An extent without timestamps says nothing of its age: it goes with a later one. By size, as
/// `deleteRetentionSizeBreachedSegments`: an extent goes while the rest still holds `retention.bytes`.
pub(crate) fn new_start(
    config: &TopicConfig,
    extents: &[(OffsetRange, u64, TimestampMs)],
    tail_bytes: u64,
    now: TimestampMs,
) -> Option<Offset> {
    if !config.cleanup.delete {
        return None;
    }
    let by_age = config.retention_ms.and_then(|limit| {
        let too_old = |timestamp: TimestampMs| now.0.saturating_sub(timestamp.0) > limit;
        let gone = extents.iter().take_while(|&&(_, _, timestamp)| timestamp.0 < 0 || too_old(timestamp));
        gone.filter(|&&(_, _, timestamp)| timestamp.0 >= 0).last()
    });
    let by_size = config.retention_bytes.and_then(|limit| {
        let total = extents.iter().map(|&(_, bytes, _)| bytes).sum::<u64>() + tail_bytes;
        let mut excess = total.saturating_sub(limit);
        let gone = extents.iter().take_while(|&&(_, bytes, _)| {
            let fits = bytes <= excess;
            excess = excess.saturating_sub(bytes);
            fits
        });
        gone.last()
    });
    [by_age, by_size].into_iter().flatten().map(|&(range, _, _)| range.end).max()
}

impl Partitions {
    /// Trims every partition that this broker leads, as its topic's configuration says. Run it every
    /// `log.retention.check.interval.ms`; failures are logged and met again by the next sweep. Returns how many
    /// partitions were trimmed.
    pub async fn sweep_retention(&self) -> usize {
        let now = self.shared().clock.now();
        let catalogue = self.shared().engine.catalogue();
        let mut due = Vec::new();
        self.directory().led_here(&mut |placement| {
            let Some(state) = catalogue.stream(placement.stream) else { return };
            let config = self.topic_config(&placement);
            let extents: Vec<_> = state.extents().map(|e| (e.range, e.bytes, e.max_timestamp)).collect();
            let tail_bytes = self.opened(placement.stream).map_or(0, |open| open.stream.extents().tail_bytes);
            if let Some(start) = new_start(&config, &extents, tail_bytes, now).filter(|&start| start > state.start) {
                due.push((placement, start));
            }
        });
        let trims = due.into_iter().map(|(placement, start)| self.trim(placement, start));
        let trimmed = futures::stream::iter(trims).buffer_unordered(RETENTION_CONCURRENCY);
        trimmed.filter(|&trimmed| std::future::ready(trimmed)).count().await
    }

    async fn trim(&self, placement: Placement, start: Offset) -> bool {
        let stream = match self.shared().engine.open(placement.stream, placement.epoch, None) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!(topic = %placement.topic, partition = placement.index, %error, "retention passed over");
                return false;
            }
        };
        match stream.trim(start).await {
            Ok(()) => {
                tracing::info!(topic = %placement.topic, partition = placement.index, log_start = %start, "retention");
                true
            }
            Err(error) => {
                tracing::warn!(topic = %placement.topic, partition = placement.index, %error, "retention failed");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BrokerSettings, TopicSettings};

    const NOW: TimestampMs = TimestampMs(1_000_000);

    fn config(pairs: &[(&str, &str)]) -> TopicConfig {
        let topic: TopicSettings = pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        TopicConfig::resolve(&topic, &BrokerSettings::new())
    }

    fn extents(ages_and_bytes: &[(i64, u64)]) -> Vec<(OffsetRange, u64, TimestampMs)> {
        let extent = |(at, &(age, bytes)): (usize, &(i64, u64))| {
            let start = Offset(at as u64 * 10);
            let timestamp = if age < 0 { TimestampMs(-1) } else { TimestampMs(NOW.0 - age) };
            (OffsetRange::new(start, start + 10), bytes, timestamp)
        };
        ages_and_bytes.iter().enumerate().map(extent).collect()
    }

    #[test]
    fn extents_go_by_age_until_the_first_young_one() {
        let by_age = |ages: &[i64]| {
            let extents = extents(&ages.iter().map(|&age| (age, 1)).collect::<Vec<_>>());
            new_start(&config(&[("retention.ms", "100")]), &extents, 0, NOW).map(|start| start.0)
        };
        assert_eq!(by_age(&[101, 101, 5]), Some(20));
        assert_eq!(by_age(&[100]), None, "exactly at the limit is kept");
        assert_eq!(by_age(&[5, 101]), None);
        assert_eq!(by_age(&[-1, 101, -1, 5]), Some(20), "without timestamps goes with a later one");
        assert_eq!(by_age(&[-1, -1]), None);
        assert_eq!(by_age(&[]), None);
    }

    #[test]
    fn extents_go_by_size_while_enough_is_left() {
        let by_size = |limit: &str, tail: u64| {
            let config = config(&[("retention.ms", "-1"), ("retention.bytes", limit)]);
            new_start(&config, &extents(&[(0, 10), (0, 10), (0, 10)]), tail, NOW).map(|start| start.0)
        };
        assert_eq!(by_size("30", 0), None);
        assert_eq!(by_size("21", 0), None, "the first extent holds bytes that must stay");
        assert_eq!(by_size("20", 0), Some(10));
        assert_eq!(by_size("20", 10), Some(20));
        assert_eq!(by_size("0", 0), Some(30));
        assert_eq!(by_size("-1", 1 << 40), None);
    }

    #[test]
    fn compacted_topics_keep_everything() {
        let old = extents(&[(900_000, 1)]);
        let limits = [("retention.ms", "1"), ("retention.bytes", "0")];
        for policy in ["compact", ""] {
            let config = config(&[limits[0], limits[1], ("cleanup.policy", policy)]);
            assert_eq!(new_start(&config, &old, 0, NOW), None, "{policy}");
        }
        let both = config(&[limits[0], limits[1], ("cleanup.policy", "compact,delete")]);
        assert_eq!(new_start(&both, &old, 0, NOW), Some(Offset(10)));
    }
}
