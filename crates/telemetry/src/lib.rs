//! Telemetry: the metrics registry with its names, and the tracing set-up.
//!
//! Layer 1. Crates above create their counters here, keep cheap clones of them and never look a metric up by name on
//! a hot path. Names follow the rules that Strimzi ships for Kafka's JMX beans wherever a Kafka bean means the same, so
//! that existing dashboards show something; everything without such a namesake starts with `headwater_`.

pub mod logs;
pub mod metrics;
mod topics;

pub use metrics::{Metrics, RequestMetrics, Series};
pub use topics::{TOPICS_LABELLED_MAX, TopicMetrics};
