//! The broker's partitions: opened at first use, closed when metadata moves on.

use std::sync::Arc;

use base::collections::HashMap;
use base::{Clock, StreamId, Uuid};
use parking_lot::RwLock;
use stream::Engine;

use crate::config::TopicConfig;
use crate::directory::{Change, Directory, Placement};
use crate::error::PartitionError;
use crate::partition::{Options, Partition, Shared};
use crate::topic::Topic;

/// The partitions that this broker leads. Cheap to clone.
#[derive(Clone)]
pub struct Partitions(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    directory: Arc<dyn Directory>,
    open: RwLock<Open>,
}

#[derive(Default)]
struct Open {
    partitions: HashMap<StreamId, Arc<Partition>>,
    topics: HashMap<Uuid, Arc<Topic>>,
}

impl Partitions {
    /// No partition is open yet.
    pub fn new(engine: Engine, directory: Arc<dyn Directory>, clock: Clock, options: Options) -> Self {
        let shared = Arc::new(Shared::new(engine, clock, options, &directory.broker_settings()));
        Self(Arc::new(Inner { shared, directory, open: RwLock::default() }))
    }

    /// The partition of a topic by name, opened if this is its first use. No I/O.
    ///
    /// # Errors
    /// [`PartitionError`].
    pub fn get(&self, topic: &str, index: i32) -> Result<Arc<Partition>, PartitionError> {
        self.at(&self.0.directory.by_name(topic, index)?)
    }

    /// The partition of a topic by id.
    ///
    /// # Errors
    /// [`PartitionError`].
    pub fn get_by_id(&self, topic: Uuid, index: i32) -> Result<Arc<Partition>, PartitionError> {
        self.at(&self.0.directory.by_id(topic, index)?)
    }

    /// The partition at a place.
    ///
    /// # Errors
    /// [`PartitionError`].
    pub fn at(&self, placement: &Placement) -> Result<Arc<Partition>, PartitionError> {
        if !placement.led_here {
            return Err(PartitionError::NotLeader);
        }
        if let Some(open) = self.opened(placement.stream)
            && open.leader_epoch() == placement.epoch
        {
            return open.check_open().map(|()| open);
        }
        self.open(placement)
    }

    /// Bytes that a partition led here keeps: uploaded parts and what is not uploaded yet. It takes a look at every extent,
    /// and does not open what nobody uses: call it where no client waits.
    pub fn size_bytes(&self, topic: &str, index: i32) -> Option<u64> {
        let placement = self.0.directory.by_name(topic, index).ok().filter(|placement| placement.led_here)?;
        let catalogue = self.0.shared.engine.catalogue();
        let stored = catalogue.stream(placement.stream)?.stored_bytes();
        let open = self.opened(placement.stream).filter(|open| open.leader_epoch() == placement.epoch);
        Some(stored + open.map_or(0, |open| open.stream.tail_bytes()))
    }

    fn open(&self, placement: &Placement) -> Result<Arc<Partition>, PartitionError> {
        let mut open = self.0.open.write();
        match open.partitions.get(&placement.stream) {
            Some(there) if there.leader_epoch() == placement.epoch => {
                return there.check_open().map(|()| there.clone());
            }
            Some(there) if there.leader_epoch() > placement.epoch => return Err(PartitionError::NotLeader),
            Some(stale) => stale.close_as_moved(),
            None => {}
        }
        let topic = open.topics.entry(placement.topic_id).or_insert_with(|| {
            let config = self.resolve(placement.topic_id);
            Arc::new(Topic::new(placement.topic_id, placement.topic.clone(), config))
        });
        let partition = Partition::open(&self.0.shared, topic.clone(), placement)?;
        open.partitions.insert(placement.stream, partition.clone());
        Ok(partition)
    }

    /// Follows the metadata. Call it after the directory shows the change.
    pub fn apply(&self, change: &Change) {
        match change {
            Change::TopicDeleted { topic_id, streams } => {
                let closed: Vec<_> = {
                    let mut open = self.0.open.write();
                    open.topics.remove(topic_id);
                    streams.iter().filter_map(|stream| open.partitions.remove(stream)).collect()
                };
                closed.iter().for_each(|partition| partition.close_as_deleted());
                self.0.shared.engine.forget(streams);
            }
            Change::LeaderChanged { stream, epoch, led_here } => {
                let mut open = self.0.open.write();
                let stale = |there: &Arc<Partition>| !led_here || there.leader_epoch() < *epoch;
                if open.partitions.get(stream).is_some_and(stale)
                    && let Some(partition) = open.partitions.remove(stream)
                {
                    drop(open);
                    partition.close_as_moved();
                }
            }
            Change::TopicSettings(topic_id) => {
                let topic = self.0.open.read().topics.get(topic_id).cloned();
                if let Some(topic) = topic {
                    topic.set_config(self.resolve(*topic_id));
                }
            }
            Change::BrokerSettings => {
                self.0.shared.take(&self.0.directory.broker_settings());
                let topics: Vec<_> = self.0.open.read().topics.values().cloned().collect();
                for topic in topics {
                    topic.set_config(self.resolve(topic.id()));
                }
            }
        }
    }

    /// Whether this broker may still speak for its partitions; see [`Engine::check_unfenced`].
    ///
    /// # Errors
    /// When another broker has taken its place, or its log has failed.
    pub async fn check_unfenced(&self) -> Result<(), stream::engine::EngineFailure> {
        self.0.shared.engine.check_unfenced().await
    }

    /// How many partitions are open.
    pub fn open_count(&self) -> usize {
        self.0.open.read().partitions.len()
    }

    pub(crate) fn opened(&self, stream: StreamId) -> Option<Arc<Partition>> {
        self.0.open.read().partitions.get(&stream).cloned()
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0.shared
    }

    pub(crate) fn directory(&self) -> &dyn Directory {
        &*self.0.directory
    }

    pub(crate) fn resolve(&self, topic: Uuid) -> TopicConfig {
        TopicConfig::resolve(&self.0.directory.topic_settings(topic), &self.0.directory.broker_settings())
    }
}
