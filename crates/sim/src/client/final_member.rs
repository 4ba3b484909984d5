//! Has a group read everything once all is quiet, and shows that its coordinator lives: a member joins, reads to the end,
//! commits, and reads back what it has committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::member::{Member, MemberSettings};
use super::offsets::{self, Which};
use super::producer::{Producer, ProducerSettings};
use super::{Cluster, Place};

/// Between commits.
const COMMIT_EVERY: Duration = Duration::from_millis(500);

/// Sends a record, so that there is something to read and to commit, and lives as the only member of the group until all
/// is committed.
///
/// # Errors
/// When that takes longer than `limit`, or what was committed is not what is read back.
pub async fn read_and_commit(cluster: &Arc<Cluster>, settings: MemberSettings, limit: Duration) -> Result<()> {
    let group = settings.group.clone();
    tokio::time::timeout(limit, read(cluster, MemberSettings { commit_every: COMMIT_EVERY, ..settings }))
        .await
        .with_context(|| format!("{group} was not joined, read and committed within {limit:?}"))?
}

async fn read(cluster: &Arc<Cluster>, settings: MemberSettings) -> Result<()> {
    let group = settings.group.clone();
    cluster.refresh_surely(&settings.topics).await;
    let topics = settings.topics.iter().filter_map(|name| Some((name, cluster.topic(name)?)));
    let places: Vec<Place> = topics.flat_map(|(name, topic)| topic.places(name).collect::<Vec<_>>()).collect();
    let first = places.first().with_context(|| format!("{group} has nothing to read"))?;
    let sender = ProducerSettings { delivery_time_max: Duration::MAX / 4, ..ProducerSettings::default() };
    let mut producer = Producer::new(cluster.clone(), sender);
    producer.hand_over(first, 50);
    producer.flush().await;
    let mut ends = BTreeMap::new();
    for place in &places {
        let end = offsets::list_surely(cluster, place, Which::Latest, settings.reading.isolation_level).await;
        ends.insert(place.clone(), end.with_context(|| format!("{place} ({}) is gone", place.topic))?);
    }
    let mut member = Member::new(cluster.clone(), settings);
    let committed = member.live_until(&ends).await.with_context(|| format!("{group} has another member"))?;
    let found = member.committed(&places).await;
    for (place, position) in &committed {
        let found = found.get(place).copied().flatten();
        ensure!(
            found.is_some_and(|found| (found.offset, found.epoch) == (position.offset, position.epoch)),
            "{group} committed {position:?} of {place} ({}), and has {found:?}",
            place.topic
        );
    }
    member.leave().await;
    Ok(())
}
