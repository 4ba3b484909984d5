//! Asks, once all is quiet, for what nobody may be given any more: records of topics that were deleted, and records below
//! where a log begins.

use std::collections::{BTreeMap, BTreeSet};

use base::Uuid;
use judge::{Event, Key, Outcome, Start, What};
use wire::messages::FetchRequest;
use wire::messages::fetch_request::{FetchPartition, FetchTopic};
use wire::{ApiKey, ErrorCode};

use super::connection::{CallError, Called};
use super::{Cluster, fetching};

/// Of each kind: with churn there are hundreds.
const ASKED_MAX: usize = 20;

/// Partitions from whose beginning nothing may be read: of topics to which something was sent before they were deleted, and
/// those of which something was trimmed.
pub fn what_is_gone(events: &[Event]) -> Vec<Key> {
    let (mut sent, mut trimmed) = (BTreeMap::<_, BTreeSet<&Key>>::new(), BTreeSet::new());
    let mut deleted = Vec::new();
    for event in events {
        match &event.what {
            What::SendBegan { key, .. } => drop(sent.entry(&key.topic).or_default().insert(key)),
            What::DeleteEnded { topic, outcome: Outcome::Done(()) } => deleted.extend(sent.remove(topic)),
            What::ReadWhole { key, from: 1.., .. } => drop(trimmed.insert(key)),
            _ => {}
        }
    }
    let of_each = deleted.into_iter().flatten().take(ASKED_MAX).chain(trimmed.into_iter().take(ASKED_MAX));
    of_each.cloned().collect()
}

/// Fetches from the beginning of these partitions, once each.
pub async fn ask(cluster: &Cluster, keys: &[Key]) {
    for key in keys {
        cluster.life.event(What::Assigned { keys: vec![(key.clone(), Start::At(0))], group: None, generation: None });
        if let Err(why) = fetch(cluster, key).await {
            cluster.life.note(format_args!("{key}: {why}"));
        }
    }
}

async fn fetch(cluster: &Cluster, key: &Key) -> Called<()> {
    // One broker leads everything, if anybody does.
    let connection = cluster.any().await?;
    if connection.version(ApiKey::Fetch) < Some(13) {
        // By its name another one might be read.
        return Ok(());
    }
    let topic_id = Uuid::parse_str(&key.topic).map_err(|why| CallError::NotSent(why.to_string().into()))?;
    let partition = FetchPartition {
        partition: key.partition,
        current_leader_epoch: -1,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    let request = FetchRequest {
        replica_id: -1,
        max_wait_ms: 100,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![FetchTopic { topic_id, partitions: vec![partition], ..FetchTopic::default() }],
        ..FetchRequest::default()
    };
    let answer = connection.call(&request).await?;
    let found = answer.responses.into_iter().find(|topic| topic.topic_id == topic_id);
    let found =
        found.and_then(|topic| topic.partitions.into_iter().find(|found| found.partition_index == key.partition));
    let error = ErrorCode::from_code(found.as_ref().map_or(answer.error_code, |found| found.error_code));
    let (key, connection) = (key.clone(), Some(connection.number));
    cluster.life.event(match found {
        Some(found) if error.is_none() => {
            let read = fetching::read(&found.records.unwrap_or_default(), 0);
            read.complain(&cluster.life, &key);
            let (high_watermark, log_start) = (found.high_watermark, found.log_start_offset);
            What::Polled { key, records: read.records, garbage: read.garbage, high_watermark, log_start, connection }
        }
        _ => What::FetchRefused { key, offset: 0, why: error.name().into() },
    });
    Ok(())
}
