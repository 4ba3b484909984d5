//! Retention: one sweep over all partitions of the broker trims what is too old or too much.
//!
//! The unit is the uploaded extent, as the segment is in Kafka; what is not uploaded yet is never trimmed. The sweep
//! costs no I/O beyond the trims, which go to the metadata log together, and one read of the newest checkpoint of a
//! partition that is trimmed and was not opened since its leader began. Partitions that nobody uses stay unopened, as far
//! as that checkpoint tells what their producers sent. Beyond it a partition is opened, its producers are loaded, and a
//! checkpoint is uploaded before the trim, shared with the others of the sweep ([`crate::delete`]); where that fails, what
//! is below the newest checkpoint goes all the same. What is due is found on a thread of its own: it takes a look at every
//! extent of the broker, which no task that serves clients should wait for. It is found again for each partition right
//! before it is trimmed, by the settings of that moment: a sweep may take long, and who has acknowledged a longer retention
//! keeps it.
//!
//! A setting that deletes and that this release does not understand deletes nothing ([`TopicConfig::resolve`]).
//!
//! What a coordinator keeps its state in is passed over, whatever is set for it. The coordinator trims it to what it has
//! written anew, so it stays short; by age or size it would lose what was committed and is in force, and nobody would be
//! told. Kafka does lose it where such a topic's `cleanup.policy` has lost its `compact`.

use std::sync::Arc;

use base::{Offset, TimestampMs, Uuid, task};
use futures::StreamExt;
use stream::Stream;
use stream::catalogue::Extent;

use crate::config::{BrokerSettings, TopicConfig, not_understood};
use crate::delete::Told;
use crate::directory::Placement;
use crate::error::TrimError;
use crate::limits::RETENTION_CONCURRENCY;
use crate::load::read_checkpoint;
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
    broker: Arc<BrokerSettings>,
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
        let may_go_on = || !self.shared().engine.has_ended();
        let trims = due.into_iter().take_while(|_| may_go_on()).map(|(placement, start)| self.trim(placement, start));
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
            if self.directory().is_coordinators(&placement.topic) {
                return;
            }
            let Some(state) = catalogue.stream(placement.stream) else { return };
            let config = settings.of(placement.topic_id);
            let start = new_start(&config, state.extents(), self.tail_bytes(&placement), now)
                .filter(|&start| start > state.start);
            due.extend(start.map(|start| (placement, start)));
        });
        due
    }

    /// Where the log of a partition should start, unless it starts there, by what holds at this moment; never above what the
    /// sweep found.
    fn still_due(&self, placement: &Placement, due: Offset) -> Option<Offset> {
        let catalogue = self.shared().engine.catalogue();
        let state = catalogue.stream(placement.stream)?;
        let config = self.resolve(placement.topic_id);
        let start = new_start(&config, state.extents(), self.tail_bytes(placement), self.shared().clock.now())?;
        Some(start.min(due)).filter(|&start| start > state.start)
    }

    fn tail_bytes(&self, placement: &Placement) -> u64 {
        self.opened(placement.stream).map_or(0, |open| open.stream.tail_bytes())
    }

    async fn trim(&self, placement: Placement, due: Offset) -> bool {
        let (topic, partition) = (&placement.topic, placement.index);
        let stream = match self.shared().engine.open(placement.stream, placement.epoch, None) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!(%topic, partition, %error, "retention passed over");
                return false;
            }
        };
        // Nothing is known of it, if there is one.
        if stream.covered() == Offset(0)
            && let Err(error) = read_checkpoint(&stream).await
        {
            // Then the records below it count, and whoever loads them says what is wrong.
            tracing::debug!(%topic, partition, %error, "retention does not rely on a checkpoint that cannot be read");
        }
        if self.trim_to(&placement, &stream, due).await {
            return true;
        }
        // Whatever kept the rest: what the newest checkpoint tells of producers need not be kept for them.
        let told = stream.covered();
        told < due && self.trim_to(&placement, &stream, told).await
    }

    /// Trims up to `due`, if that is due still: the settings may change while producers are loaded and uploads awaited.
    async fn trim_to(&self, placement: &Placement, stream: &Stream, due: Offset) -> bool {
        let (topic, partition) = (&placement.topic, placement.index);
        let Some(due) = self.still_due(placement, due) else { return false };
        let told = if due <= stream.covered() {
            Ok(Told::Checkpointed)
        } else {
            match self.at(placement) {
                Ok(partition) => partition.tell_below(due).await,
                Err(error) => {
                    tracing::debug!(%topic, partition, %error, "retention passed over");
                    return false;
                }
            }
        };
        let outcome = match told {
            Ok(told) => {
                let Some(start) = self.still_due(placement, due) else { return false };
                base::plant::place("in-retention");
                told.trim(stream, start).await.map(|()| start).map_err(TrimError::from)
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(log_start) => {
                tracing::info!(%topic, partition, %log_start, "retention");
                true
            }
            // Not its fault: the next owner's sweep finds it as due.
            Err(error) if self.shared().engine.has_ended() => {
                tracing::debug!(%topic, partition, %error, "retention was cut off by the end of the log");
                false
            }
            Err(error) => {
                tracing::warn!(%topic, partition, %error, "retention failed");
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
