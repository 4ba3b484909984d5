//! Kafka's `BrokerTopicMetrics`: one series for each topic and one, without a topic label, for the whole broker.

use std::sync::Arc;

use base::collections::HashMap;
use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeLabel, EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Topics that get series of their own; a scrape page grows with it.
pub const TOPICS_LABELLED_MAX: usize = 10_000;

/// `{}` for the broker, `{topic="…"}` for a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Label(Option<String>);

impl EncodeLabelSet for Label {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), std::fmt::Error> {
        match &self.0 {
            None => Ok(()),
            Some(topic) => ("topic", topic.as_str()).encode(encoder.encode_label()),
        }
    }
}

/// The counters of one scope.
#[derive(Debug, Default)]
struct Scope {
    messages_in: Counter,
    bytes_in: Counter,
    bytes_out: Counter,
    bytes_rejected: Counter,
    produce_requests: Counter,
    fetch_requests: Counter,
    failed_produce_requests: Counter,
    failed_fetch_requests: Counter,
    conversions: Counter,
}

/// What a topic counts; each call counts for the topic and for the broker.
#[derive(Clone, Debug)]
pub struct TopicMetrics {
    broker: Arc<Scope>,
    topic: Option<Arc<Scope>>,
}

impl TopicMetrics {
    fn each(&self, count: impl Fn(&Scope)) {
        count(&self.broker);
        if let Some(topic) = &self.topic {
            count(topic);
        }
    }

    /// One partition of a produce request was appended.
    pub fn record_produce(&self, records: u64, bytes: u64) {
        self.each(|scope| {
            scope.produce_requests.inc();
            scope.messages_in.inc_by(records);
            scope.bytes_in.inc_by(bytes);
        });
    }

    /// One partition of a produce request was refused.
    pub fn record_produce_failure(&self, bytes: u64) {
        self.each(|scope| {
            scope.produce_requests.inc();
            scope.failed_produce_requests.inc();
            scope.bytes_rejected.inc_by(bytes);
        });
    }

    /// One partition of a fetch was answered with `bytes` of records.
    pub fn record_fetch(&self, bytes: u64) {
        self.each(|scope| {
            scope.fetch_requests.inc();
            scope.bytes_out.inc_by(bytes);
        });
    }

    /// One partition of a fetch was refused.
    pub fn record_fetch_failure(&self) {
        self.each(|scope| {
            scope.fetch_requests.inc();
            scope.failed_fetch_requests.inc();
        });
    }

    /// Records were converted to an older format for a reader.
    pub fn record_conversion(&self) {
        self.each(|scope| {
            scope.conversions.inc();
        });
    }
}

/// A counter family of `BrokerTopicMetrics` together with where a [`Scope`] keeps its member.
type Member = (&'static str, &'static str, fn(&Scope) -> &Counter);

const MEMBERS: [Member; 9] = [
    ("messagesin", "Records appended", |s| &s.messages_in),
    ("bytesin", "Bytes of records appended", |s| &s.bytes_in),
    ("bytesout", "Bytes of records sent to readers", |s| &s.bytes_out),
    ("bytesrejected", "Bytes of records refused", |s| &s.bytes_rejected),
    ("totalproducerequests", "Produce requests, counted once for each partition", |s| &s.produce_requests),
    ("totalfetchrequests", "Fetch requests, counted once for each partition", |s| &s.fetch_requests),
    ("failedproducerequests", "Produce requests refused", |s| &s.failed_produce_requests),
    ("failedfetchrequests", "Fetch requests refused", |s| &s.failed_fetch_requests),
    ("fetchmessageconversions", "Fetches answered in an older record format", |s| &s.conversions),
];

/// The registered families; a family holds no counter of its own but those of the scopes.
pub(crate) struct TopicFamilies {
    families: Vec<Family<Label, Counter>>,
    broker: Arc<Scope>,
    topics: Mutex<HashMap<String, Arc<Scope>>>,
}

impl TopicFamilies {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let families = MEMBERS
            .iter()
            .map(|(name, help, _)| {
                let family = Family::<Label, Counter>::default();
                registry.register(format!("kafka_server_brokertopicmetrics_{name}"), *help, family.clone());
                family
            })
            .collect();
        let mut new = Self { families, broker: Arc::default(), topics: Mutex::new(HashMap::default()) };
        new.broker = Arc::new(new.scope(&Label(None)));
        new
    }

    /// The scope whose counters are the families' own for `label`.
    fn scope(&self, label: &Label) -> Scope {
        let mut counters = self.families.iter().map(|family| family.get_or_create(label).clone());
        let mut next = || counters.next().expect("one family for each member");
        // In the order of MEMBERS.
        Scope {
            messages_in: next(),
            bytes_in: next(),
            bytes_out: next(),
            bytes_rejected: next(),
            produce_requests: next(),
            fetch_requests: next(),
            failed_produce_requests: next(),
            failed_fetch_requests: next(),
            conversions: next(),
        }
    }

    pub(crate) fn topic(&self, topic: &str) -> TopicMetrics {
        let mut topics = self.topics.lock();
        if let Some(scope) = topics.get(topic) {
            return TopicMetrics { broker: self.broker.clone(), topic: Some(scope.clone()) };
        }
        if topics.len() >= TOPICS_LABELLED_MAX {
            return TopicMetrics { broker: self.broker.clone(), topic: None };
        }
        let scope = Arc::new(self.scope(&Label(Some(topic.to_owned()))));
        topics.insert(topic.to_owned(), scope.clone());
        TopicMetrics { broker: self.broker.clone(), topic: Some(scope) }
    }

    pub(crate) fn forget(&self, topic: &str) {
        // Locked to the end: who asks for the topic meanwhile would get counters that are just leaving the page.
        let mut topics = self.topics.lock();
        if topics.remove(topic).is_some() {
            for family in &self.families {
                family.remove(&Label(Some(topic.to_owned())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_counts_its_own_member() {
        let mut registry = Registry::default();
        let families = TopicFamilies::register(&mut registry);
        let scope = families.scope(&Label(Some("t".into())));
        for (position, (name, _, member)) in MEMBERS.iter().enumerate() {
            member(&scope).inc_by(position as u64 + 1);
            let seen = families.families[position].get_or_create(&Label(Some("t".into()))).get();
            assert_eq!(seen, position as u64 + 1, "{name}");
        }
    }

    #[test]
    fn a_forgotten_topic_leaves_the_page() {
        let mut registry = Registry::default();
        let families = TopicFamilies::register(&mut registry);
        families.topic("gone").record_fetch(1);
        families.forget("gone");
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
        assert!(!page.contains("gone"), "{page}");
    }
}
