//! ListOffsets, asked so that the answer is about one topic and not about another of its name.

use judge::What;
use wire::ErrorCode;
use wire::messages::ListOffsetsRequest;
use wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};

use super::connection::{CallError, Called};
use super::{Cluster, Connection, Place, metadata};

/// Which offset is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The log start.
    Earliest,
    /// The end, as readers see it.
    Latest,
}

/// Asks the leader once.
///
/// # Errors
/// Without an answer that is about this topic.
pub async fn list(cluster: &Cluster, place: &Place, which: Which, isolation_level: i8) -> Called<i64> {
    let refused = |why: String| CallError::Unknown(format!("{place}: {why}").into());
    let Some((leader, leader_epoch)) = cluster.leader(place) else {
        cluster.refresh(std::slice::from_ref(&place.name)).await?;
        return Err(refused("the leader was not known".into()));
    };
    let connection = cluster.connection(leader).await?;
    let partition = ListOffsetsPartition {
        partition_index: place.partition,
        current_leader_epoch: leader_epoch,
        timestamp: if which == Which::Earliest { -2 } else { -1 },
        ..ListOffsetsPartition::default()
    };
    let topic = ListOffsetsTopic { name: (&*place.name).into(), partitions: vec![partition], ..Default::default() };
    let request = ListOffsetsRequest { replica_id: -1, isolation_level, topics: vec![topic], ..Default::default() };
    cluster.life.event(What::OffsetsBegan { key: place.key() });
    let (answer, is_about_it) = about(&connection, place, connection.call(&request)).await?;
    let found = answer.topics.first().and_then(|topic| topic.partitions.first());
    let found = found.ok_or_else(|| refused("an answer without it".into()))?;
    if found.error_code != 0 {
        cluster.refresh(std::slice::from_ref(&place.name)).await?;
        return Err(refused(ErrorCode::from_code(found.error_code).name().into()));
    }
    if !is_about_it {
        cluster.refresh(std::slice::from_ref(&place.name)).await?;
        return Err(refused("another topic has the name".into()));
    }
    let (earliest, latest) =
        if which == Which::Earliest { (Some(found.offset), None) } else { (None, Some(found.offset)) };
    cluster.life.event(What::OffsetsEnded { key: place.key(), earliest, latest });
    Ok(found.offset)
}

/// Asks until there is an answer; `None` when the topic is gone.
pub async fn list_surely(cluster: &Cluster, place: &Place, which: Which, isolation_level: i8) -> Option<i64> {
    let mut attempts = 0_u32;
    while !cluster.is_gone(place) {
        match list(cluster, place, which, isolation_level).await {
            Ok(offset) => return Some(offset),
            Err(error) => {
                attempts += 1;
                if attempts == 1 {
                    cluster.life.note(format_args!("{which:?} offset: {error}"));
                }
                if cluster.is_stale() || attempts.is_multiple_of(4) {
                    // Whoever does not answer is asked again.
                    let _ = cluster.refresh(std::slice::from_ref(&place.name)).await;
                }
                cluster.back_off(attempts).await;
            }
        }
    }
    None
}

/// Calls where only a name can be given, and says whether the answer is about this topic: one broker's view of a name
/// never goes back, so that what it has before and after the call it has all the time.
///
/// # Errors
/// Without an answer.
pub async fn about<T>(
    connection: &Connection,
    place: &Place,
    call: impl Future<Output = Called<T>>,
) -> Called<(T, bool)> {
    let before = metadata::topic_id(connection, &place.name).await?;
    let answer = call.await?;
    // The answer counts even when the second question is lost, but then nobody knows what it is about.
    let after = metadata::topic_id(connection, &place.name).await.ok().flatten();
    Ok((answer, before == Some(place.topic) && after == before))
}
