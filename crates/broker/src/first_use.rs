//! Topics that are created when they are first asked for: any, by Metadata (`auto.create.topics.enable`), and the one for
//! offsets, by FindCoordinator.
//!
//! As in Kafka, Metadata begins the creation and answers at once that the topic is unknown; the client asks again.
//! FindCoordinator waits a little, so that its first answer has a coordinator, but never for longer than
//! [`FIRST_USE_WAIT_MAX`]. The creation goes on meanwhile, and whoever asks for the same topic does not begin another.

use std::sync::Arc;

use base::collections::HashMap;
use base::task;
use futures::future::{FutureExt, Shared, join_all};
use meta::{CreateTopicError, Image, MetaHandle, NewTopic};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::config::{BrokerConfig, effective};
use crate::limits::{FIRST_USE_CREATIONS_MAX, FIRST_USE_WAIT_MAX};
use crate::topics::OFFSETS_TOPIC;

/// Resolves, with an error that means nothing, when a creation has ended one way or the other.
pub(crate) type Ended = Shared<oneshot::Receiver<()>>;

/// The creations under way.
#[derive(Debug)]
pub(crate) struct FirstUse {
    meta: MetaHandle,
    under_way: Arc<Mutex<HashMap<String, Ended>>>,
}

impl FirstUse {
    pub(crate) fn new(meta: MetaHandle) -> Self {
        Self { meta, under_way: Arc::default() }
    }

    /// Creates the topics that do not exist, and waits a little for them. What could not be created, or not in time, is
    /// still unknown afterwards.
    pub(crate) async fn create(&self, names: &[&str], config: &BrokerConfig) {
        let ended = self.begin(names, config);
        // Either way the metadata says what is there.
        let _ = tokio::time::timeout(FIRST_USE_WAIT_MAX, join_all(ended)).await;
    }

    /// Begins to create the topics that do not exist and are not on their way, and says of each when it has ended.
    pub(crate) fn begin(&self, names: &[&str], config: &BrokerConfig) -> Vec<Ended> {
        let image = self.meta.image();
        let missing = names.iter().filter(|name| image.topic(name).is_none());
        let topics: Vec<NewTopic> = missing.map(|name| new_topic(name, config, &image)).collect();
        let mut under_way = self.under_way.lock();
        let mut waits: Vec<Ended> = topics.iter().filter_map(|topic| under_way.get(&topic.name).cloned()).collect();
        let room = FIRST_USE_CREATIONS_MAX.saturating_sub(under_way.len());
        let new: Vec<NewTopic> =
            topics.into_iter().filter(|topic| !under_way.contains_key(&topic.name)).take(room).collect();
        if new.is_empty() {
            return waits;
        }
        let (running, ended) = oneshot::channel();
        let ended = ended.shared();
        let names: Vec<String> = new.iter().map(|topic| topic.name.clone()).collect();
        under_way.extend(names.iter().map(|name| (name.clone(), ended.clone())));
        waits.push(ended);
        // A task that cannot start is dropped at once, and its guard takes the lock.
        drop(under_way);
        let guard = UnderWay { names, all: self.under_way.clone(), _running: running };
        task::spawn("topics-on-first-use", run(self.meta.clone(), new, guard));
        waits
    }
}

/// The shape in which a topic comes into being.
fn new_topic(name: &str, config: &BrokerConfig, image: &Image) -> NewTopic {
    let offsets = name == OFFSETS_TOPIC;
    let key = if offsets { "offsets.topic.num.partitions" } else { "num.partitions" };
    let partitions = effective::value(key, config, image).and_then(|value| value.parse().ok()).unwrap_or(1);
    let configs = if offsets { vec![("cleanup.policy".to_owned(), "compact".to_owned())] } else { Vec::new() };
    NewTopic { name: name.to_owned(), partitions, configs }
}

/// A creation under way; forgotten on drop, which tells who waits for it.
struct UnderWay {
    names: Vec<String>,
    all: Arc<Mutex<HashMap<String, Ended>>>,
    _running: oneshot::Sender<()>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        self.names.iter().for_each(|name| drop(all.remove(name)));
    }
}

async fn run(meta: MetaHandle, topics: Vec<NewTopic>, under_way: UnderWay) {
    match meta.create_topics(topics, false).await {
        Ok(results) => {
            for (topic, result) in under_way.names.iter().zip(results) {
                match result {
                    Ok(created) => tracing::info!(topic, id = %created.id, "topic created on first use"),
                    Err(CreateTopicError::Exists(_)) => {}
                    Err(error) => tracing::warn!(topic, %error, "topic not created on first use"),
                }
            }
        }
        Err(error) => tracing::warn!(topics = under_way.names.len(), %error, "topics not created on first use"),
    }
}
