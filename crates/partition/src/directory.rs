//! The port to the cluster's metadata: which partitions exist, where, and how their topics are configured.
//!
//! The broker's metadata image provides it. Look-ups happen on every request, so they must be a hash look-up or two in
//! an immutable image. What was read once is refreshed by [`crate::Partitions::follow`], which the follower of the
//! metadata log calls after the image has moved.

use std::sync::Arc;

use base::{MetaSequence, StreamEpoch, StreamId, Uuid};
use thiserror::Error;

use crate::config::{BrokerSettings, TopicSettings};

/// Where a partition is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Its topic's id; a topic that is created again gets another.
    pub topic_id: Uuid,
    /// Its topic's name.
    pub topic: Arc<str>,
    /// Its number.
    pub index: i32,
    /// The stream that holds its log.
    pub stream: StreamId,
    /// The leader epoch, which is the stream's epoch.
    pub epoch: StreamEpoch,
    /// Whether this broker leads it.
    pub led_here: bool,
}

/// Why there is no such partition.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Absent {
    /// No topic of that name, or no such partition in it.
    #[error("topic {topic} has no partition {index}")]
    Name {
        /// The topic.
        topic: String,
        /// The partition.
        index: i32,
    },
    /// No topic of that id: it was deleted, or this broker's metadata lags.
    #[error("no topic has id {0}")]
    Id(Uuid),
    /// The topic of that id has no such partition.
    #[error("topic {topic_id} has no partition {index}")]
    Index {
        /// The topic.
        topic_id: Uuid,
        /// The partition.
        index: i32,
    },
}

/// The cluster's metadata as this broker sees it.
pub trait Directory: Send + Sync {
    /// The partition of a topic by name.
    ///
    /// # Errors
    /// [`Absent::Name`].
    fn by_name(&self, topic: &str, index: i32) -> Result<Placement, Absent>;

    /// The partition of a topic by id.
    ///
    /// # Errors
    /// [`Absent::Id`] or [`Absent::Index`].
    fn by_id(&self, topic: Uuid, index: i32) -> Result<Placement, Absent>;

    /// The topic's own settings; empty for a topic that does not exist.
    fn topic_settings(&self, topic: Uuid) -> TopicSettings;

    /// The broker's explicit settings, by broker key. They are asked for once for each topic, and shared.
    fn broker_settings(&self) -> Arc<BrokerSettings>;

    /// How far the metadata is: what is looked up from now on is as it was there, or later.
    fn sequence(&self) -> MetaSequence;

    /// Whether a coordinator keeps its state in a topic, and trims it itself.
    fn is_coordinators(&self, topic: &str) -> bool;

    /// Calls `each` with every partition that this broker leads.
    fn led_here(&self, each: &mut dyn FnMut(Placement));
}

/// What changed in the metadata, as far as open partitions are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A topic is gone, with these streams.
    TopicDeleted {
        /// The topic.
        topic_id: Uuid,
        /// Its partitions' streams.
        streams: Vec<StreamId>,
    },
    /// A partition's leader or leader epoch is another one.
    LeaderChanged {
        /// Its stream.
        stream: StreamId,
        /// The leader epoch from now on.
        epoch: StreamEpoch,
        /// Whether this broker leads it now.
        led_here: bool,
    },
    /// A topic's settings changed.
    TopicSettings(Uuid),
    /// The broker's settings changed.
    BrokerSettings,
}
