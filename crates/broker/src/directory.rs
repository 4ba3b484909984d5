//! Metadata as partitions see it: [`partition::Directory`] over the image, and the follower that tells open partitions
//! what changed.

use std::future::Future;
use std::sync::Arc;

use base::{Incarnation, MetaSequence, StreamId, Uuid};
use meta::{Configs, Image, MetaHandle, TopicImage};
use parking_lot::Mutex;
use partition::config::{BrokerSettings, TopicSettings};
use partition::{Absent, Change, Directory, Partitions, Placement};

use crate::config::BrokerConfig;
use crate::config::effective::{broker_settings, resource};
use crate::topic_counters::TopicCounters;
use crate::topics::is_internal;

/// Topics whose counters are forgotten before others may run.
const FORGOTTEN_AT_ONCE: usize = 1_000;

/// Look-ups in the newest image.
pub struct ImageDirectory {
    meta: MetaHandle,
    me: Incarnation,
    config: BrokerConfig,
    /// The broker's settings, and what they were made of: some hundred keys are looked up for them.
    settings: Mutex<Option<(AllConfigs, Arc<BrokerSettings>)>>,
}

/// Settings by resource type and name, as an image has them.
type AllConfigs = imbl::OrdMap<(i8, Arc<str>), Arc<Configs>>;

impl ImageDirectory {
    /// The directory of the broker that is registered as `me`.
    pub fn new(meta: MetaHandle, me: Incarnation, config: BrokerConfig) -> Self {
        Self { meta, me, config, settings: Mutex::default() }
    }

    fn placement(&self, image: &Image, topic: &TopicImage, index: i32) -> Option<Placement> {
        let stream = *topic.partitions.get(usize::try_from(index).ok()?)?;
        let leader = image.leader(stream);
        Some(Placement {
            topic_id: topic.id,
            topic: topic.name.clone(),
            index,
            stream,
            epoch: leader.map(|leader| leader.epoch).unwrap_or_default(),
            led_here: leader.is_some_and(|leader| leader.owner == self.me),
        })
    }
}

impl Directory for ImageDirectory {
    fn by_name(&self, topic: &str, index: i32) -> Result<Placement, Absent> {
        let image = self.meta.image();
        let found = image.topic(topic).and_then(|found| self.placement(&image, found, index));
        found.ok_or_else(|| Absent::Name { topic: topic.to_owned(), index })
    }

    fn by_id(&self, topic_id: Uuid, index: i32) -> Result<Placement, Absent> {
        let image = self.meta.image();
        let topic = image.topic_by_id(topic_id).ok_or(Absent::Id(topic_id))?;
        self.placement(&image, topic, index).ok_or(Absent::Index { topic_id, index })
    }

    fn topic_settings(&self, topic: Uuid) -> TopicSettings {
        let image = self.meta.image();
        let configs = image.topic_by_id(topic).and_then(|topic| image.configs_of(resource::TOPIC, &topic.name));
        let pairs = configs.iter().flat_map(|configs| configs.iter());
        pairs.map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    fn broker_settings(&self) -> Arc<BrokerSettings> {
        let mut known = self.settings.lock();
        // Looked at under the lock: what is kept never becomes older.
        let image = self.meta.image();
        match &*known {
            Some((of, settings)) if of.ptr_eq(&image.configs) => settings.clone(),
            _ => {
                let settings = Arc::new(broker_settings(&self.config, &image));
                *known = Some((image.configs.clone(), settings.clone()));
                settings
            }
        }
    }

    fn sequence(&self) -> MetaSequence {
        self.meta.image().next_sequence
    }

    fn is_coordinators(&self, topic: &str) -> bool {
        is_internal(topic)
    }

    fn led_here(&self, each: &mut dyn FnMut(Placement)) {
        let image = self.meta.image();
        for topic in image.topics_from("") {
            for index in (0..).take(topic.partitions.len()) {
                if let Some(placement) = self.placement(&image, topic, index)
                    && placement.led_here
                {
                    each(placement);
                }
            }
        }
    }
}

/// Tells `partitions` what changed in the metadata, and `counters` which topics are gone, until the metadata ends. Runs
/// as a task of its own, and tells of every change from this call on, whenever that begins to run.
pub(crate) fn follow(
    meta: MetaHandle,
    me: Incarnation,
    partitions: Partitions,
    counters: Arc<TopicCounters>,
) -> impl Future<Output = ()> + Send + 'static {
    let mut changes = meta.changes();
    let mut before = meta.image();
    async move {
        partitions.follow(before.next_sequence, []).await;
        while changes.changed().await.is_ok() {
            let after = meta.image();
            partitions.follow(after.next_sequence, differences(&before, &after, me)).await;
            for (topic, at) in after.topics_removed_since(&before).zip(1_usize..) {
                counters.forget(&topic.name);
                if at.is_multiple_of(FORGOTTEN_AT_ONCE) {
                    tokio::task::yield_now().await;
                }
            }
            before = after;
        }
    }
}

/// What changed between two images, as far as open partitions are concerned. The maps share structure, so unchanged
/// parts cost little.
fn differences(before: &Image, after: &Image, me: Incarnation) -> Vec<Change> {
    let deleted = after.topics_removed_since(before);
    let mut changes: Vec<Change> =
        deleted.map(|topic| Change::TopicDeleted { topic_id: topic.id, streams: topic.partitions.clone() }).collect();
    let mut broker_changed = false;
    for configs in before.configs.diff(&after.configs) {
        let (kind, name) = match configs {
            imbl::ordmap::DiffItem::Add(key, _)
            | imbl::ordmap::DiffItem::Remove(key, _)
            | imbl::ordmap::DiffItem::Update { new: (key, _), .. } => key,
        };
        if *kind == resource::BROKER {
            broker_changed = true;
        } else if let Some(topic) = after.topic(name) {
            changes.push(Change::TopicSettings(topic.id));
        }
    }
    if broker_changed {
        changes.push(Change::BrokerSettings);
    }
    for stream in may_have_moved(before, after, me) {
        let leader = after.leader(stream);
        if leader != before.leader(stream) {
            changes.push(Change::LeaderChanged {
                stream,
                epoch: leader.map(|leader| leader.epoch).unwrap_or_default(),
                led_here: leader.is_some_and(|leader| leader.owner == me),
            });
        }
    }
    changes
}

/// The streams of partitions that may be open here and may have another leader now. Ownership moves with registrations;
/// whatever else moves it shows at the next look-up, which compares epochs.
fn may_have_moved(before: &Image, after: &Image, me: Incarnation) -> Vec<StreamId> {
    if before.brokers.ptr_eq(&after.brokers) {
        return Vec::new();
    }
    let is_registered = |image: &Image| image.brokers.get(&me.broker).is_some_and(|broker| broker.incarnation() == me);
    // What is open here is led here. That others come and go moves nothing of it, unless its stream says so.
    let mut streams: Vec<_> = after.catalogue.streams_changed_since(&before.catalogue).collect();
    if is_registered(before) != is_registered(after) {
        streams.extend(before.catalogue.streams_of(me));
    }
    streams
}

#[cfg(test)]
mod tests {
    use base::{BrokerEpoch, BrokerId, StreamEpoch};
    use stream::catalogue::OpenStream;
    use wire::meta::{BrokerRecord, ConfigRecord, MetadataRecord, RemoveTopicRecord, TopicRecord};

    use super::*;

    const STREAMS: usize = 1_000;

    fn registration(broker: i32, epoch: i64) -> Incarnation {
        Incarnation { broker: BrokerId(broker), epoch: BrokerEpoch(epoch) }
    }

    fn with(image: &Image, records: impl IntoIterator<Item = MetadataRecord>) -> Image {
        let mut image = image.clone();
        records.into_iter().for_each(|record| image.apply(&record).unwrap());
        image
    }

    fn registered(image: &Image, id: Incarnation) -> Image {
        let record = BrokerRecord { broker_id: id.broker.0, broker_epoch: id.epoch.0, ..Default::default() };
        with(image, [record.into()])
    }

    /// Two brokers, of which the first leads all streams.
    fn led_by(me: Incarnation, other: Incarnation) -> (Image, Vec<StreamId>) {
        let image = registered(&registered(&Image::default(), me), other);
        let created = image.catalogue.create_streams(STREAMS, me);
        (with(&image, created.records), created.response)
    }

    #[test]
    fn a_registration_costs_a_look_at_the_streams_that_it_moves_and_at_no_others() {
        let (me, other) = (registration(1, 1), registration(2, 2));
        let (before, streams) = led_by(me, other);
        let after = registered(&before, registration(2, 3));
        assert_eq!(may_have_moved(&before, &after, me), [], "another broker's");
        assert_eq!(differences(&before, &after, me), []);
        let epoch = StreamEpoch(1);
        for stream in streams {
            let closed = with(&after, after.catalogue.close_stream(stream, StreamEpoch(0)).records);
            let open = OpenStream { stream, epoch, owner: registration(2, 3) };
            let moved = with(&closed, closed.catalogue.open_streams(&[open]).records);
            assert_eq!(may_have_moved(&before, &moved, me), [stream]);
            assert_eq!(differences(&before, &moved, me), [Change::LeaderChanged { stream, epoch, led_here: false }]);
        }
    }

    /// A comparison that takes one for another deletes what was acknowledged. With imbl 6.1 it did, where parts of the maps
    /// were shared.
    #[test]
    fn of_very_many_topics_the_one_that_changed_is_told_and_no_other() {
        let (me, ids) = (registration(1, 1), (0..500).map(Uuid::from_u128));
        let name = |id: Uuid| format!("topic-{id}");
        let created = ids.clone().map(|id| TopicRecord { topic_id: id, name: name(id).into(), ..Default::default() });
        let configured = |id: Uuid, value: &str| ConfigRecord {
            resource_type: resource::TOPIC,
            resource_name: name(id).into(),
            key: "retention.ms".into(),
            value: Some(value.into()),
            ..Default::default()
        };
        let all = with(&Image::default(), created.map(Into::into));
        let all = with(&all, ids.clone().map(|id| configured(id, "1").into()));
        for id in ids {
            let removed = with(&all, [RemoveTopicRecord { topic_id: id, ..Default::default() }.into()]);
            let told: Vec<_> = removed.topics_removed_since(&all).map(|topic| topic.id).collect();
            assert_eq!(told, [id]);
            let deleted = Change::TopicDeleted { topic_id: id, streams: Vec::new() };
            assert!(differences(&all, &removed, me).contains(&deleted));
            let changed = with(&all, [configured(id, "2").into()]);
            assert_eq!(differences(&all, &changed, me), [Change::TopicSettings(id)]);
        }
    }

    #[test]
    fn a_broker_that_was_replaced_leads_nothing_any_more() {
        let (me, other) = (registration(1, 1), registration(2, 2));
        let (before, streams) = led_by(me, other);
        let after = registered(&before, registration(1, 3));
        let gone =
            |stream: &StreamId| Change::LeaderChanged { stream: *stream, epoch: StreamEpoch(0), led_here: false };
        assert_eq!(differences(&before, &after, me), streams.iter().map(gone).collect::<Vec<_>>());
    }
}
