//! The registry and the metric families of the broker.
//!
//! A counter or gauge is a shared atomic: cloning is cheap and updates never lock. Rendering takes the registry's
//! lock; registration of new families takes it too and happens at start-up only.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::topics::{TopicFamilies, TopicMetrics};

/// A label set of one or two pairs.
pub type Series = Vec<(&'static str, String)>;

/// Upper bounds of the request-time buckets, in seconds: 0.25 ms to 8 s, doubling.
const REQUEST_SECONDS: [f64; 16] = [
    0.000_25, 0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192,
];

/// Every metric of the process; a cheap handle.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Mutex<Registry>,
    topics: TopicFamilies,
    requests: Family<Series, Counter>,
    request_errors: Family<Series, Counter>,
    request_seconds: Family<Series, Histogram>,
    connections: Gauge,
    connections_opened: Counter,
    connections_refused: Family<Series, Counter>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// The counters of one API.
#[derive(Clone, Debug)]
pub struct RequestMetrics {
    /// Requests answered.
    pub requests: Counter,
    /// Requests whose connection was closed instead of answered.
    pub errors: Counter,
    /// Time from the last byte read to the reply handed to the socket.
    pub seconds: Histogram,
}

impl Metrics {
    /// A registry with the broker's families in it, all zero.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let topics = TopicFamilies::register(&mut registry);
        let requests = Family::<Series, Counter>::default();
        registry.register("kafka_network_requestmetrics_requests", "Requests answered, by API", requests.clone());
        let request_errors = Family::<Series, Counter>::default();
        registry.register(
            "kafka_network_requestmetrics_errors",
            "Requests whose connection was closed instead of answered, by API",
            request_errors.clone(),
        );
        let request_seconds =
            Family::<Series, Histogram>::new_with_constructor(|| Histogram::new(REQUEST_SECONDS.iter().copied()));
        registry.register(
            "headwater_request_seconds",
            "Time from the last byte of a request read to its reply handed to the socket, by API",
            request_seconds.clone(),
        );
        let connections = Gauge::default();
        registry.register(
            "kafka_server_socket_server_metrics_connection_count",
            "Client connections open now",
            connections.clone(),
        );
        let connections_opened = Counter::default();
        registry.register(
            "kafka_server_socket_server_metrics_connection_creation",
            "Client connections accepted",
            connections_opened.clone(),
        );
        let connections_refused = Family::<Series, Counter>::default();
        registry.register(
            "headwater_connections_refused",
            "Connections closed by the broker, by reason",
            connections_refused.clone(),
        );
        Self(Arc::new(Inner {
            registry: Mutex::new(registry),
            topics,
            requests,
            request_errors,
            request_seconds,
            connections,
            connections_opened,
            connections_refused,
        }))
    }

    /// The page that Prometheus scrapes, in the OpenMetrics text format.
    pub fn render(&self) -> String {
        let mut page = String::new();
        let registry = self.0.registry.lock();
        text::encode(&mut page, &registry).expect("a string takes every write");
        page
    }

    /// The counters of the API called `request`; for callers to keep.
    pub fn request(&self, request: &'static str) -> RequestMetrics {
        let labels = vec![("request", request.to_owned())];
        RequestMetrics {
            requests: self.0.requests.get_or_create(&labels).clone(),
            errors: self.0.request_errors.get_or_create(&labels).clone(),
            seconds: self.0.request_seconds.get_or_create(&labels).clone(),
        }
    }

    /// The counters of `topic`; for callers to keep. Past [`crate::TOPICS_LABELLED_MAX`] topics, further ones are
    /// counted in the broker-wide series only.
    pub fn topic(&self, topic: &str) -> TopicMetrics {
        self.0.topics.topic(topic)
    }

    /// Drops the series of a deleted topic.
    pub fn forget_topic(&self, topic: &str) {
        self.0.topics.forget(topic);
    }

    /// Client connections open now.
    pub fn connections(&self) -> &Gauge {
        &self.0.connections
    }

    /// Client connections accepted.
    pub fn connections_opened(&self) -> &Counter {
        &self.0.connections_opened
    }

    /// Connections closed by the broker for `reason`, a word from a fixed set.
    pub fn connections_refused(&self, reason: &'static str) -> Counter {
        self.0.connections_refused.get_or_create(&vec![("reason", reason.to_owned())]).clone()
    }

    /// A new counter; `_total` is appended to `name` when it is shown.
    pub fn counter(&self, name: &str, help: &str) -> Counter {
        let counter = Counter::default();
        self.0.registry.lock().register(name, help, counter.clone());
        counter
    }

    /// A new family of counters, one for each label set.
    pub fn counters(&self, name: &str, help: &str) -> Family<Series, Counter> {
        let family = Family::<Series, Counter>::default();
        self.0.registry.lock().register(name, help, family.clone());
        family
    }

    /// A new gauge that its owner sets.
    pub fn gauge(&self, name: &str, help: &str) -> Gauge {
        let gauge = Gauge::default();
        self.0.registry.lock().register(name, help, gauge.clone());
        gauge
    }

    /// A gauge whose value is asked for when the page is rendered; `read` must be quick and must not block.
    pub fn gauge_from(&self, name: &'static str, help: &'static str, read: impl Fn() -> i64 + Send + Sync + 'static) {
        self.0.registry.lock().register_collector(Box::new(Asked { name, help, read }));
    }
}

/// A gauge read at scrape time.
struct Asked<F> {
    name: &'static str,
    help: &'static str,
    read: F,
}

impl<F> fmt::Debug for Asked<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Asked({})", self.name)
    }
}

impl<F: Fn() -> i64 + Send + Sync + 'static> Collector for Asked<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let value = ConstGauge::new((self.read)());
        value.encode(encoder.encode_descriptor(self.name, self.help, None, MetricType::Gauge)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_carries_the_names_that_dashboards_for_kafka_use() {
        let metrics = Metrics::new();
        metrics.topic("orders").record_produce(3, 300);
        metrics.request("Produce").requests.inc();
        metrics.gauge_from("kafka_server_replicamanager_partitioncount", "Partitions hosted", || 7);
        let page = metrics.render();
        for line in [
            "kafka_server_brokertopicmetrics_messagesin_total{} 3",
            "kafka_server_brokertopicmetrics_messagesin_total{topic=\"orders\"} 3",
            "kafka_server_brokertopicmetrics_bytesin_total{topic=\"orders\"} 300",
            "kafka_network_requestmetrics_requests_total{request=\"Produce\"} 1",
            "kafka_server_replicamanager_partitioncount 7",
        ] {
            assert!(page.lines().any(|shown| shown == line), "{line} is missing from\n{page}");
        }
    }
}
