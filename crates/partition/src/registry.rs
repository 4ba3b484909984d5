//! The broker's partitions: opened at first use, closed when metadata moves on.
//!
//! What is read of the metadata when something is opened is no older than what the follower has told of, or it would never
//! be told what changed in between: it is looked at under the lock under which the partition is entered. It may be newer,
//! and what the follower tells is how two images differ, which says nothing of what was set and set back between them, or
//! made and deleted. So of each topic that is ahead of the follower it is noted, and it is looked up again when the follower
//! has moved on.

use std::sync::Arc;

use base::collections::{HashMap, HashSet};
use base::{Clock, MetaSequence, StreamId, Uuid};
use parking_lot::RwLock;
use stream::Engine;

use crate::config::TopicConfig;
use crate::directory::{Change, Directory, Placement};
use crate::error::PartitionError;
use crate::limits::CHANGES_AT_ONCE;
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
    /// How far the follower of the metadata is.
    followed: MetaSequence,
    /// Topics whose settings may be of metadata that it has not come to yet.
    ahead: HashSet<Uuid>,
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
        let topic = placement.topic_id;
        let is_new = !self.0.open.read().topics.contains_key(&topic);
        // Others need not wait while it is resolved.
        let seen = self.0.directory.sequence();
        let resolved = is_new.then(|| self.resolve(topic));
        let mut open = self.0.open.write();
        self.check_place(placement)?;
        match open.partitions.get(&placement.stream) {
            Some(there) if there.leader_epoch() == placement.epoch => {
                return there.check_open().map(|()| there.clone());
            }
            Some(there) if there.leader_epoch() > placement.epoch => return Err(PartitionError::NotLeader),
            Some(stale) => stale.close_as_moved(),
            None => {}
        }
        let topic = match open.topics.get(&topic) {
            Some(topic) => topic.clone(),
            None => {
                let config = match resolved {
                    Some(config) if self.0.directory.sequence() == seen => config,
                    _ => self.resolve(topic),
                };
                let topic = Arc::new(Topic::new(topic, placement.topic.clone(), config));
                open.topics.insert(topic.id(), topic.clone());
                topic
            }
        };
        // The partition may be one that the follower has not come to, also of a topic that it has.
        if self.0.directory.sequence() > open.followed {
            open.ahead.insert(topic.id());
        }
        let partition = Partition::open(&self.0.shared, topic, placement)?;
        open.partitions.insert(placement.stream, partition.clone());
        Ok(partition)
    }

    /// Whether a place is still what it was when it was looked up.
    fn check_place(&self, placement: &Placement) -> Result<(), PartitionError> {
        match self.0.directory.by_id(placement.topic_id, placement.index) {
            Ok(now) if now == *placement => Ok(()),
            Ok(_) => Err(PartitionError::NotLeader),
            Err(_) => Err(PartitionError::Deleted),
        }
    }

    /// Follows the metadata: these are the changes from where it was at the last call, or at the first one none, to `to`,
    /// which the directory shows already. There may be very many, so others may run now and then.
    pub async fn follow(&self, to: MetaSequence, changes: impl IntoIterator<Item = Change>) {
        let ahead: Vec<Arc<Topic>> = {
            let mut open = self.0.open.write();
            open.followed = to;
            let ahead = std::mem::take(&mut open.ahead);
            ahead.iter().filter_map(|topic| open.topics.get(topic).cloned()).collect()
        };
        self.0.shared.take(&self.0.directory.broker_settings());
        let mut done = 0;
        for change in changes {
            breathe(&mut done).await;
            for topic in self.apply(&change) {
                breathe(&mut done).await;
                self.refresh(&topic);
            }
        }
        let mut gone: HashMap<Uuid, Vec<StreamId>> = HashMap::default();
        for topic in ahead {
            breathe(&mut done).await;
            if self.0.directory.by_id(topic.id(), 0).is_ok() {
                self.refresh(&topic);
            } else {
                gone.insert(topic.id(), Vec::new());
            }
        }
        if gone.is_empty() {
            return;
        }
        // What was told to be deleted may have had partitions that were made since it was last seen: all are looked for at once.
        for (stream, there) in &self.0.open.read().partitions {
            if let Some(streams) = gone.get_mut(&there.topic().id()) {
                streams.push(*stream);
            }
        }
        for (topic, streams) in gone {
            self.delete(topic, &streams);
        }
    }

    /// Does what a change asks for, but for the settings of the topics that it returns.
    fn apply(&self, change: &Change) -> Vec<Arc<Topic>> {
        match change {
            Change::TopicDeleted { topic_id, streams } => self.delete(*topic_id, streams),
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
                return topic.into_iter().collect();
            }
            Change::BrokerSettings => return self.0.open.read().topics.values().cloned().collect(),
        }
        Vec::new()
    }

    fn delete(&self, topic: Uuid, streams: &[StreamId]) {
        let closed: Vec<_> = {
            let mut open = self.0.open.write();
            open.topics.remove(&topic);
            open.ahead.remove(&topic);
            streams.iter().filter_map(|stream| open.partitions.remove(stream)).collect()
        };
        closed.iter().for_each(|partition| partition.close_as_deleted());
        self.0.shared.engine.forget(streams);
    }

    fn refresh(&self, topic: &Topic) {
        topic.set_config(self.resolve(topic.id()));
        let seen = self.0.directory.sequence();
        if seen > self.0.open.read().followed {
            let mut open = self.0.open.write();
            if open.topics.contains_key(&topic.id()) {
                open.ahead.insert(topic.id());
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

/// Lets others run after every so many changes.
async fn breathe(done: &mut usize) {
    *done += 1;
    if done.is_multiple_of(CHANGES_AT_ONCE) {
        tokio::task::yield_now().await;
    }
}
