//! Clients that live through all faults: a producer and a consumer of everything that stays. Once all is quiet they go on as
//! they are, with the producer id, sequences, positions, fetch sessions and connections that they have, and must be served.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base::task::JoinHandle;
use judge::{Start, Value};
use tokio::sync::watch;

use super::consumer::{Consumer, ConsumerSettings};
use super::offsets::Which;
use super::producer::{Producer, ProducerSettings};
use super::workload::{PENDING_MAX, pick_place, size};
use super::{Cluster, Place};

/// Between two records of the producer.
const SEND_EVERY: std::ops::Range<Duration> = Duration::from_millis(100)..Duration::from_millis(400);
/// No delivery takes longer.
const FOREVER: Duration = Duration::from_secs(1 << 40);

/// The two of them.
#[derive(Debug)]
pub struct Survivors {
    healed: watch::Sender<bool>,
    sending: JoinHandle<Result<()>>,
    reading: JoinHandle<Result<()>>,
}

impl Survivors {
    /// Begin to send to these topics, and to read them, as soon as they are there.
    pub fn begin(sends: Arc<Cluster>, reads: Arc<Cluster>, topics: &[Arc<str>]) -> Self {
        let (healed, hear) = watch::channel(false);
        let sending = send(sends, topics.to_vec(), hear.clone());
        let reading = read(reads, topics.to_vec(), hear);
        Self {
            healed,
            sending: base::task::spawn("surviving producer", sending),
            reading: base::task::spawn("surviving consumer", reading),
        }
    }

    /// Nothing disturbs them any more: of each partition the producer has one more record acknowledged, and the consumer
    /// reaches the end.
    ///
    /// # Errors
    /// When that takes longer than `limit`.
    pub async fn go_on(self, limit: Duration) -> Result<()> {
        self.healed.send_replace(true);
        let sent = within(limit, "the producer", self.sending);
        let read = within(limit, "the consumer", self.reading);
        let (sent, read) = tokio::join!(sent, read);
        sent.and(read)
    }
}

async fn within(limit: Duration, who: &str, task: JoinHandle<Result<()>>) -> Result<()> {
    let done = tokio::time::timeout(limit, task).await;
    done.with_context(|| format!("{who} that lived through all faults was not served within {limit:?}"))??
}

/// The places of these topics, once all of them are there.
async fn places(cluster: &Cluster, topics: &[Arc<str>]) -> Vec<Place> {
    let mut attempts = 0;
    loop {
        cluster.refresh_surely(topics).await;
        let found: Vec<_> = topics.iter().filter_map(|name| Some((name, cluster.topic(name)?))).collect();
        if found.len() == topics.len() {
            return found.iter().flat_map(|(name, topic)| topic.places(name)).collect();
        }
        attempts += 1;
        cluster.back_off(attempts).await;
    }
}

async fn send(cluster: Arc<Cluster>, topics: Vec<Arc<str>>, healed: watch::Receiver<bool>) -> Result<()> {
    let dice = cluster.dice.branch("sends");
    let mut producer = Producer::new(cluster.clone(), ProducerSettings::default());
    while !*healed.borrow() {
        if let Some(place) = pick_place(&cluster, &dice, &topics).await
            && producer.pending() < PENDING_MAX
        {
            producer.hand_over(&place, size(&dice));
        }
        producer.drive(dice.time(SEND_EVERY)).await;
    }
    cluster.life.note("has lived through all faults");
    // A record that joined an older one in its batch would end with it.
    producer.flush().await;
    producer.has_time(FOREVER);
    let sent: BTreeMap<Place, Value> = places(&cluster, &topics)
        .await
        .into_iter()
        .map(|place| (place.clone(), producer.hand_over(&place, 50)))
        .collect();
    producer.flush().await;
    for (place, value) in sent {
        let is_taken = producer.last_delivered_to(&place) == Some(value);
        ensure!(is_taken, "{place} ({}) refused {value:?} of a producer that lived through all faults", place.topic);
    }
    Ok(())
}

async fn read(cluster: Arc<Cluster>, topics: Vec<Arc<str>>, healed: watch::Receiver<bool>) -> Result<()> {
    let mut consumer = Consumer::new(cluster.clone(), ConsumerSettings::default());
    let places = places(&cluster, &topics).await;
    consumer.assign(&places.iter().map(|place| (place.clone(), Start::At(0))).collect(), None);
    while !*healed.borrow() {
        consumer.poll().await;
    }
    cluster.life.note("has lived through all faults");
    let mut ends = BTreeMap::new();
    for place in &places {
        let end = consumer.offset(place, Which::Latest).await;
        ends.insert(place, end.with_context(|| format!("{place} ({}) is gone", place.topic))?);
    }
    while ends.iter().any(|(place, end)| consumer.positions()[*place].offset < *end) {
        consumer.poll().await;
    }
    cluster.life.note(format_args!("has read all of {} partitions", places.len()));
    Ok(())
}
