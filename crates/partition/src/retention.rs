//! Retention: one sweep over all partitions of the broker trims what is too old or too much.
//!
//! The unit is the uploaded extent, as the segment is in Kafka; what is not uploaded yet is never trimmed. The sweep
//! costs no I/O beyond the trims, which go to the metadata log together. Partitions that nobody uses are swept by the
//! catalogue alone and stay unopened, as far as their newest checkpoint tells what their producers sent. Beyond it a
//! partition is opened, its producers are loaded, and a checkpoint is uploaded before the trim, shared with the others of
//! the sweep ([`crate::delete`]); where that fails, what is below the newest checkpoint goes all the same. What is due is found on a thread of its own: it takes a look at every extent of
//! the broker, which no task that serves clients should wait for.
//!
//! A setting that deletes and that this release does not understand deletes nothing ([`TopicConfig::resolve`]).

use std::sync::Arc;

use base::{Offset, TimestampMs, Uuid, task};
use futures::StreamExt;
use stream::catalogue::Extent;

use crate::config::{BrokerSettings, TopicConfig, not_understood};
use crate::directory::Placement;
use crate::error::TrimError;
use crate::limits::RETENTION_CONCURRENCY;
use crate::registry::Partitions;

/// Where the log should start, if that is not where it starts now.
///
/// By age, as Kafka's `deleteRetentionMsBreachedSegments`: extents go, oldest first, while their greatest timestamp is
/// too old; where no record has a timestamp, the time of the commit stands for it, as the time of the file does in
/// Kafka. An extent of which neither is known says nothing of its age: it goes with a later one. By size, as
/// `deleteRetentionSizeBreachedSegments`: an extent goes while the rest still holds `retention.bytes`.
pub(crate) fn new_start<'a>(
    config: &TopicConfig,
    extents: impl Iterator<Item = &'a Extent> + Clone,
    tail_bytes: u64,
    now: TimestampMs,
) -> Option<Offset> {
    if !config.cleanup.delete {
        return None;
    }
    let by_age = config.retention_ms.and_then(|limit| {
        let too_old = |time: TimestampMs| now.0.saturating_sub(time.0) > limit;
        let gone = extents.clone().take_while(|extent| extent.newest.time().is_none_or(too_old));
        gone.filter(|extent| extent.newest.time().is_some()).last()
    });
    let by_size = config.retention_bytes.and_then(|limit| {
        let total = extents.clone().map(|extent| extent.bytes).sum::<u64>() + tail_bytes;
        let mut excess = total.saturating_sub(limit);
        let gone = extents.take_while(|extent| {
            let fits = extent.bytes <= excess;
            excess = excess.saturating_sub(extent.bytes);
            fits
        });
        gone.last()
    });
    [by_age, by_size].into_iter().flatten().map(|extent| extent.range.end).max()
}

/// The settings of topics during one sweep. The broker's are the same for all, and a topic's for all its partitions,
/// which the directory lists together: nothing is resolved once per partition.
struct Settings<'a> {
    partitions: &'a Partitions,
    broker: BrokerSettings,
    last: Option<(Uuid, Arc<TopicConfig>)>,
}

impl<'a> Settings<'a> {
    fn new(partitions: &'a Partitions) -> Self {
        Self { partitions, broker: partitions.directory().broker_settings(), last: None }
    }

    fn of(&mut self, topic: Uuid) -> Arc<TopicConfig> {
        match &self.last {
            Some((last, config)) if *last == topic => config.clone(),
            _ => {
                let settings = self.partitions.directory().topic_settings(topic);
                for error in not_understood(&settings, &self.broker) {
                    tracing::warn!(%topic, %error, "nothing is deleted on account of a setting that is not understood");
                }
                let config = Arc::new(TopicConfig::resolve(&settings, &self.broker));
                self.last = Some((topic, config.clone()));
                config
            }
        }
    }
}

impl Partitions {
    /// Trims every partition that this broker leads, as its topic's configuration says. Run it every
    /// `log.retention.check.interval.ms`; failures are logged and met again by the next sweep. Returns how many
    /// partitions were trimmed.
    pub async fn sweep_retention(&self) -> usize {
        let partitions = self.clone();
        let due = match task::spawn_blocking("retention", move || partitions.due_for_retention()).await {
            Ok(due) => due,
            Err(error) => {
                tracing::error!(%error, "a retention sweep ended early; the next one looks again");
                return 0;
            }
        };
        let trims = due.into_iter().map(|(placement, start)| self.trim(placement, start));
        let trimmed = futures::stream::iter(trims).buffer_unordered(RETENTION_CONCURRENCY);
        trimmed.filter(|&trimmed| std::future::ready(trimmed)).count().await
    }

    /// The partitions whose log should start later than it does, and where.
    fn due_for_retention(&self) -> Vec<(Placement, Offset)> {
        let now = self.shared().clock.now();
        let catalogue = self.shared().engine.catalogue();
        let mut settings = Settings::new(self);
        let mut due = Vec::new();
        self.directory().led_here(&mut |placement| {
            let Some(state) = catalogue.stream(placement.stream) else { return };
            let config = settings.of(placement.topic_id);
            let tail_bytes = self.opened(placement.stream).map_or(0, |open| open.stream.tail_bytes());
            let start = new_start(&config, state.extents(), tail_bytes, now).filter(|&start| start > state.start);
            due.extend(start.map(|start| (placement, start)));
        });
        due
    }

    async fn trim(&self, placement: Placement, due: Offset) -> bool {
        if self.trim_to(&placement, due).await {
            return true;
        }
        // Whatever kept the rest: what the newest checkpoint tells of producers need not be kept for them.
        let catalogue = self.shared().engine.catalogue();
        let told = catalogue.stream(placement.stream).filter(|state| state.start < state.covered());
        match told.map(|state| state.covered()).filter(|&told| told < due) {
            Some(told) => self.trim_to(&placement, told).await,
            None => false,
        }
    }

    async fn trim_to(&self, placement: &Placement, start: Offset) -> bool {
        let topic = &placement.topic;
        let stream = match self.shared().engine.open(placement.stream, placement.epoch, None) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!(%topic, partition = placement.index, %error, "retention passed over");
                return false;
            }
        };
        let outcome = if start <= stream.covered() {
            stream.trim(start).await.map_err(TrimError::from)
        } else {
            match self.at(placement) {
                Ok(partition) => partition.trim(start).await,
                Err(error) => {
                    tracing::debug!(%topic, partition = placement.index, %error, "retention passed over");
                    return false;
                }
            }
        };
        match outcome {
            Ok(()) => {
                tracing::info!(%topic, partition = placement.index, log_start = %start, "retention");
                true
            }
            Err(error) => {
                tracing::warn!(%topic, partition = placement.index, %error, "retention failed");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use base::{ObjectId, OffsetRange, StreamEpoch};
    use stream::catalogue::Newest;

    use super::*;
    use crate::config::TopicSettings;

    const NOW: TimestampMs = TimestampMs(1_000_000);

    fn config(pairs: &[(&str, &str)]) -> TopicConfig {
        let topic: TopicSettings = pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        TopicConfig::resolve(&topic, &BrokerSettings::new())
    }

    fn extents(newest_and_bytes: impl IntoIterator<Item = (Newest, u64)>) -> Vec<Extent> {
        let extent = |(at, (newest, bytes)): (u64, (Newest, u64))| Extent {
            range: OffsetRange::new(Offset(at * 10), Offset(at * 10 + 10)),
            epoch: StreamEpoch(0),
            object: ObjectId::default(),
            newest,
            bytes,
        };
        (0..).zip(newest_and_bytes).map(extent).collect()
    }

    /// With records of that age.
    fn aged(age: i64) -> Newest {
        Newest::Record(TimestampMs(NOW.0 - age))
    }

    /// With records without timestamps, written so long ago.
    fn written(age: i64) -> Newest {
        Newest::Written(TimestampMs(NOW.0 - age))
    }

    #[test]
    fn extents_go_by_age_until_the_first_young_one() {
        assert_eq!(by_age(&[aged(101), aged(101), aged(5)]), Some(20));
        assert_eq!(by_age(&[aged(100)]), None, "exactly at the limit is kept");
        assert_eq!(by_age(&[aged(5), aged(101)]), None);
        assert_eq!(by_age(&[]), None);
    }

    /// Kafka 3.9.2 and 4.4.0 both delete a segment without timestamps once its file is older than `retention.ms`.
    #[test]
    fn what_has_no_timestamps_goes_by_the_time_at_which_it_was_written() {
        assert_eq!(by_age(&[written(101), written(101), written(5)]), Some(20), "nothing stamped follows");
        assert_eq!(by_age(&[written(100)]), None);
        assert_eq!(by_age(&[aged(101), written(101), aged(101), written(5), aged(101)]), Some(30));
        assert_eq!(by_age(&[Newest::Unknown, written(101), Newest::Unknown]), Some(20), "goes with a later one");
        assert_eq!(by_age(&[Newest::Unknown, Newest::Unknown]), None);
    }

    fn by_age(newest: &[Newest]) -> Option<u64> {
        let extents = extents(newest.iter().map(|&newest| (newest, 1)));
        new_start(&config(&[("retention.ms", "100")]), extents.iter(), 0, NOW).map(|start| start.0)
    }

    #[test]
    fn extents_go_by_size_while_enough_is_left() {
        let by_size = |limit: &str, tail: u64| {
            let config = config(&[("retention.ms", "-1"), ("retention.bytes", limit)]);
            new_start(&config, extents([(aged(0), 10); 3]).iter(), tail, NOW).map(|start| start.0)
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
        let old = extents([(aged(900_000), 1)]);
        let limits = [("retention.ms", "1"), ("retention.bytes", "0")];
        for policy in ["compact", ""] {
            let config = config(&[limits[0], limits[1], ("cleanup.policy", policy)]);
            assert_eq!(new_start(&config, old.iter(), 0, NOW), None, "{policy}");
        }
        let both = config(&[limits[0], limits[1], ("cleanup.policy", "compact,delete")]);
        assert_eq!(new_start(&both, old.iter(), 0, NOW), Some(Offset(10)));
    }
}
