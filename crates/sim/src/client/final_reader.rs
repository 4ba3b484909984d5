//! Reads a partition wholly once all is quiet, and shows that it still takes and serves records.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use judge::{Start, What};

use super::consumer::{Consumer, ConsumerSettings};
use super::offsets::Which;
use super::producer::{Producer, ProducerSettings};
use super::{Cluster, Place};

/// Sends one more record and reads all that there is, that one included. `false` when the topic is gone.
///
/// # Errors
/// When that takes longer than `limit`.
pub async fn read_whole(
    cluster: &Arc<Cluster>,
    place: &Place,
    settings: ConsumerSettings,
    limit: Duration,
) -> Result<bool> {
    tokio::time::timeout(limit, read(cluster, place, settings))
        .await
        .with_context(|| format!("{place} ({}) took or served no record within {limit:?}", place.topic))?
}

async fn read(cluster: &Arc<Cluster>, place: &Place, settings: ConsumerSettings) -> Result<bool> {
    let sender = ProducerSettings { delivery_time_max: Duration::MAX / 4, ..ProducerSettings::default() };
    let mut producer = Producer::new(cluster.clone(), sender);
    producer.hand_over(place, 50);
    producer.flush().await;
    let is_taken = producer.has_delivered_to(place) || cluster.is_gone(place);
    ensure!(is_taken, "{place} ({}) refused a record", place.topic);
    let mut consumer = Consumer::new(cluster.clone(), settings);
    let Some(mut from) = consumer.offset(place, Which::Earliest).await else { return Ok(false) };
    loop {
        consumer.assign(&BTreeMap::from([(place.clone(), Start::At(from))]), None);
        let Some(end) = consumer.offset(place, Which::Latest).await else { return Ok(false) };
        let mut last = from;
        while last < end {
            if cluster.is_gone(place) {
                return Ok(false);
            }
            consumer.poll().await;
            let position = consumer.positions()[place].offset;
            if position < last {
                break;
            }
            last = position;
        }
        // The log start may have moved on under the reader.
        let Some(earliest) = consumer.offset(place, Which::Earliest).await else { return Ok(false) };
        if last >= end && earliest == from {
            cluster.life.event(What::ReadWhole { key: place.key(), from, end });
            return Ok(true);
        }
        from = earliest;
    }
}
