//! The counters of topics, at hand.
//!
//! A request may end after its topic: it still counts for the broker, and must not bring the topic's series back, which
//! nobody would take away again. So who makes series looks at the metadata after that, and who takes them away does it
//! after the metadata has changed: whichever comes last, they are gone.

use std::sync::Arc;

use base::collections::HashMap;
use meta::MetaHandle;
use parking_lot::RwLock;
use telemetry::{Metrics, TopicMetrics};

use crate::limits::TOPIC_METRICS_KEPT_MAX;

/// The counters of the topics that there are.
pub(crate) struct TopicCounters {
    meta: MetaHandle,
    metrics: Metrics,
    kept: RwLock<HashMap<Arc<str>, TopicMetrics>>,
}

impl TopicCounters {
    pub(crate) fn new(meta: MetaHandle, metrics: Metrics) -> Self {
        Self { meta, metrics, kept: RwLock::default() }
    }

    /// The counters of `topic`.
    pub(crate) fn of(&self, topic: &Arc<str>) -> TopicMetrics {
        if let Some(metrics) = self.kept.read().get(topic) {
            return metrics.clone();
        }
        let metrics = self.metrics.topic(topic);
        {
            let mut kept = self.kept.write();
            if kept.len() < TOPIC_METRICS_KEPT_MAX {
                kept.insert(topic.clone(), metrics.clone());
            }
        }
        if self.meta.image().topic(topic).is_none() {
            self.forget(topic);
        }
        metrics
    }

    /// Forgets a topic that the metadata do not know any more.
    pub(crate) fn forget(&self, topic: &str) {
        self.kept.write().remove(topic);
        self.metrics.forget_topic(topic);
    }
}
