//! What the open partitions of one topic share.

use std::sync::Arc;

use arc_swap::ArcSwap;
use base::Uuid;

use crate::config::TopicConfig;

/// A topic with open partitions.
#[derive(Debug)]
pub struct Topic {
    id: Uuid,
    name: Arc<str>,
    config: ArcSwap<TopicConfig>,
}

impl Topic {
    pub(crate) fn new(id: Uuid, name: Arc<str>, config: TopicConfig) -> Self {
        Self { id, name, config: ArcSwap::from_pointee(config) }
    }

    /// Its id.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its configuration now.
    pub fn config(&self) -> Arc<TopicConfig> {
        self.config.load_full()
    }

    pub(crate) fn set_config(&self, config: TopicConfig) {
        self.config.store(Arc::new(config));
    }
}
