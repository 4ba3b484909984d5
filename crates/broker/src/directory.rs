//! Metadata as partitions see it: [`partition::Directory`] over the image, and the follower that tells open partitions
//! what changed.

use std::sync::Arc;

use base::{Incarnation, Uuid};
use meta::{Image, MetaHandle, TopicImage};
use partition::config::{BrokerSettings, TopicSettings};
use partition::{Absent, Change, Directory, Partitions, Placement};

use crate::config::BrokerConfig;
use crate::config::effective::{broker_settings, resource};
use crate::topic_counters::TopicCounters;

/// Look-ups in the newest image.
pub struct ImageDirectory {
    meta: MetaHandle,
    me: Incarnation,
    config: BrokerConfig,
}

impl ImageDirectory {
    /// The directory of the broker that is registered as `me`.
    pub fn new(meta: MetaHandle, me: Incarnation, config: BrokerConfig) -> Self {
        Self { meta, me, config }
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

    fn broker_settings(&self) -> BrokerSettings {
        broker_settings(&self.config, &self.meta.image())
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
/// as a task of its own.
pub(crate) async fn follow(meta: MetaHandle, me: Incarnation, partitions: Partitions, counters: Arc<TopicCounters>) {
    let mut changes = meta.changes();
    changes.borrow_and_update();
    let mut before = meta.image();
    while changes.changed().await.is_ok() {
        changes.borrow_and_update();
        let after = meta.image();
        for change in differences(&before, &after, me) {
            partitions.apply(&change);
        }
        for topic in before.topics.diff(&after.topics) {
            if let imbl::ordmap::DiffItem::Remove(_, topic) = topic {
                counters.forget(&topic.name);
            }
        }
        before = after;
    }
}

/// What changed between two images, as far as open partitions are concerned. The maps share structure, so unchanged
/// parts cost little.
fn differences(before: &Image, after: &Image, me: Incarnation) -> Vec<Change> {
    let mut changes = Vec::new();
    for topic in before.topics.diff(&after.topics) {
        match topic {
            imbl::ordmap::DiffItem::Remove(id, topic) => {
                changes.push(Change::TopicDeleted { topic_id: *id, streams: topic.partitions.clone() });
            }
            imbl::ordmap::DiffItem::Add(..) | imbl::ordmap::DiffItem::Update { .. } => {}
        }
    }
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
    // Ownership moves with registrations. Whatever else moves it shows at the next look-up, which compares epochs.
    if !before.brokers.ptr_eq(&after.brokers) {
        for topic in before.topics.values() {
            for stream in &topic.partitions {
                let leader = after.leader(*stream);
                if after.topics.contains_key(&topic.id) && leader != before.leader(*stream) {
                    changes.push(Change::LeaderChanged {
                        stream: *stream,
                        epoch: leader.map(|leader| leader.epoch).unwrap_or_default(),
                        led_here: leader.is_some_and(|leader| leader.owner == me),
                    });
                }
            }
        }
    }
    changes
}
