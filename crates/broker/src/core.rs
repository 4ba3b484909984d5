//! What every request handler works with.

use std::sync::Arc;

use base::memory::Budget;
use base::{BrokerId, Clock, Incarnation, Uuid};
use coordinator::{ClientContext, GroupCoordinator};
use meta::{Image, MetaHandle};
use partition::config::BrokerSettings;
use partition::{Partition, PartitionError, Partitions};
use telemetry::{Metrics, RequestMetrics, TopicMetrics};
use wire::Str;

use crate::api::SERVED;
use crate::call::Call;
use crate::config::BrokerConfig;
use crate::fetch::conversions::Conversions;
use crate::fetch::session::{Sessions, TopicRef};
use crate::first_use::FirstUse;
use crate::limits::{
    COLD_READ_MEMORY_BYTES, FETCH_WAIT_MEMORY_BYTES, OFFSETS_REPLY_MEMORY_BYTES, OTHER_REPLY_MEMORY_BYTES,
    REPLY_MEMORY_BYTES,
};
use crate::producer_ids::ProducerIds;
use crate::replies::ReplyMemory;
use crate::topic_counters::TopicCounters;

/// The state behind the handlers; shared by all connections.
pub(crate) struct Core {
    pub(crate) config: BrokerConfig,
    pub(crate) meta: MetaHandle,
    pub(crate) partitions: Partitions,
    pub(crate) groups: GroupCoordinator,
    pub(crate) clock: Clock,
    pub(crate) topics: Arc<TopicCounters>,
    pub(crate) sessions: Sessions,
    /// Records in replies that clients have not taken yet.
    pub(crate) reply_memory: Budget,
    /// Records that fetches are about to read from the store.
    pub(crate) cold_memory: Budget,
    /// Of records for old readers.
    pub(crate) conversions: Conversions,
    /// Fetches that wait for records.
    pub(crate) fetch_waits: Budget,
    /// All other replies.
    pub(crate) replies: ReplyMemory,
    pub(crate) fetch_bytes_max: usize,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) first_use: FirstUse,
    store_name: Str,
    /// In the order of [`SERVED`].
    requests: Vec<RequestMetrics>,
}

/// What a [`Core`] is made of.
pub(crate) struct CoreParts {
    pub(crate) config: BrokerConfig,
    pub(crate) meta: MetaHandle,
    pub(crate) partitions: Partitions,
    pub(crate) groups: GroupCoordinator,
    pub(crate) clock: Clock,
    pub(crate) entropy: base::Entropy,
    pub(crate) metrics: Metrics,
    pub(crate) topics: Arc<TopicCounters>,
    pub(crate) me: Incarnation,
    /// The store as DescribeLogDirs names it.
    pub(crate) store_name: String,
}

impl Core {
    pub(crate) fn new(parts: CoreParts) -> Self {
        let CoreParts { config, meta, partitions, groups, clock, entropy, metrics, topics, me, store_name } = parts;
        Self {
            sessions: Sessions::new(config.count("max.incremental.fetch.session.cache.slots"), entropy),
            reply_memory: Budget::new(REPLY_MEMORY_BYTES),
            cold_memory: Budget::new(COLD_READ_MEMORY_BYTES),
            conversions: Conversions::default(),
            fetch_waits: Budget::new(FETCH_WAIT_MEMORY_BYTES),
            replies: ReplyMemory::new(OTHER_REPLY_MEMORY_BYTES, OFFSETS_REPLY_MEMORY_BYTES, clock.clone()),
            fetch_bytes_max: config.count("fetch.max.bytes"),
            producer_ids: ProducerIds::new(me),
            first_use: FirstUse::new(meta.clone()),
            store_name: store_name.into(),
            topics,
            requests: SERVED.iter().map(|api| metrics.request(api.key.name())).collect(),
            config,
            meta,
            partitions,
            groups,
            clock,
        }
    }

    /// The metadata as this broker knows it now.
    pub(crate) fn image(&self) -> Arc<Image> {
        self.meta.image()
    }

    /// This broker's id.
    pub(crate) fn id(&self) -> BrokerId {
        self.config.node_id
    }

    /// The cluster's id.
    pub(crate) fn cluster_id(&self) -> Arc<str> {
        self.image().cluster_id.clone().unwrap_or_else(|| "".into())
    }

    /// The broker's explicit settings, static and dynamic, the strongest of each key.
    pub(crate) fn broker_settings(&self) -> BrokerSettings {
        crate::config::effective::broker_settings(&self.config, &self.image())
    }

    /// The store as DescribeLogDirs names it.
    pub(crate) fn store_name(&self) -> Str {
        self.store_name.clone()
    }

    /// The counters of the API at `position` in [`SERVED`].
    pub(crate) fn request_metrics(&self, position: usize) -> &RequestMetrics {
        &self.requests[position]
    }

    /// The counters of a topic.
    pub(crate) fn topic_metrics(&self, topic: &Arc<str>) -> TopicMetrics {
        self.topics.of(topic)
    }

    /// An open partition, by whatever the client calls its topic.
    pub(crate) fn partition(&self, topic: &TopicRef, index: i32) -> Result<Arc<Partition>, PartitionError> {
        match topic {
            TopicRef::Name(name) => self.partitions.get(name, index),
            TopicRef::Id(id) => self.partitions.get_by_id(*id, index),
        }
    }

    /// An open partition by its topic's id or, where the version has none, its name.
    pub(crate) fn partition_of(&self, id: Uuid, name: &str, index: i32) -> Result<Arc<Partition>, PartitionError> {
        if id.is_nil() { self.partitions.get(name, index) } else { self.partitions.get_by_id(id, index) }
    }
}

impl Call {
    /// Who asks, as groups know their members.
    pub(crate) fn group_client(&self) -> ClientContext {
        ClientContext { version: self.version, id: self.client_id().to_owned(), host: self.client_host() }
    }
}
