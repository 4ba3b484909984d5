//! Where a consumer stands, and whether it may go on from there under another leader: OffsetForLeaderEpoch (KIP-320), asked
//! as Kafka's Java client does (`SubscriptionState`, `OffsetsForLeaderEpochUtils`).

use judge::Start;
use wire::messages::OffsetForLeaderEpochRequest;
use wire::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use wire::{ApiKey, ErrorCode};

use super::connection::{CallError, Called};
use super::{Cluster, Place, offsets};
use crate::deeds::Deed;

/// No leader epoch is known, or none is answered.
pub const NO_EPOCH: i32 = -1;
/// No offset is answered.
const NO_OFFSET: i64 = -1;
/// From here on consumers may ask.
const FIRST_VERSION: i16 = 3;

/// A leader: broker and epoch.
pub type Leader = (i32, i32);

/// Where a consumer stands in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The offset of what it wants next.
    pub offset: i64,
    /// The leader epoch of what it read last, where that is known.
    pub epoch: i32,
    /// The leader under which the position is known to be good.
    leader: Option<Leader>,
}

impl Position {
    /// An offset, behind records of that leader epoch.
    pub fn new(offset: i64, epoch: i32) -> Self {
        Self { offset, epoch, leader: None }
    }

    /// Where reading begins.
    pub fn at(start: Start) -> Self {
        let (Start::At(offset) | Start::Committed(offset)) = start;
        Self::new(offset, NO_EPOCH)
    }

    /// It has read on, under the same leader.
    #[must_use]
    pub fn moved(self, offset: i64, epoch: i32) -> Self {
        Self { offset, epoch, ..self }
    }

    /// It is good under this leader.
    #[must_use]
    pub fn under(self, leader: Leader) -> Self {
        Self { leader: Some(leader), ..self }
    }

    /// Whether the leader has to be asked before anything is read from it. Who does not know the epoch cannot ask.
    pub fn is_in_doubt(&self, leader: Leader) -> bool {
        self.epoch != NO_EPOCH && self.leader != Some(leader)
    }
}

/// What a leader says of a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// The log goes on from there.
    Good,
    /// The log was cut below it, and goes on here.
    CutTo(Position),
    /// The leader knows nothing of its epoch.
    Unknown,
}

/// Asks the leader once. Records that were shown stay, so that an end below the position is complained about, and so is an
/// epoch of which the leader knows nothing: a trim leaves of the epochs that it cuts off where the next one begins, which
/// is no lower than what was read (Kafka's `LeaderEpochFileCache.endOffsetFor`).
///
/// # Errors
/// Without an answer that is about this topic.
pub async fn validate(cluster: &Cluster, place: &Place, position: Position, leader: Leader) -> Called<Answered> {
    let refused = |why: &str| Err(CallError::Unknown(format!("{place}: {why}").into()));
    let connection = cluster.connection(leader.0).await?;
    if connection.version(ApiKey::OffsetForLeaderEpoch) < Some(FIRST_VERSION) {
        return Ok(Answered::Good);
    }
    let partition = OffsetForLeaderPartition {
        partition: place.partition,
        current_leader_epoch: leader.1,
        leader_epoch: position.epoch,
        ..OffsetForLeaderPartition::default()
    };
    let topic =
        OffsetForLeaderTopic { topic: (&*place.name).into(), partitions: vec![partition], ..Default::default() };
    let request = OffsetForLeaderEpochRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    let (answer, is_about_it) = offsets::about(&connection, place, connection.call(&request)).await?;
    let topic = answer.topics.iter().find(|topic| *topic.topic == *place.name);
    let found = topic.and_then(|topic| topic.partitions.iter().find(|found| found.partition == place.partition));
    let Some(found) = found else { return refused("an answer without it") };
    if found.error_code != 0 {
        return refused(ErrorCode::from_code(found.error_code).name());
    }
    if !is_about_it {
        return refused("another topic has the name");
    }
    cluster.life.did(Deed::Validation);
    let (epoch, end) = (found.leader_epoch, found.end_offset);
    let answered = if epoch == NO_EPOCH || end == NO_OFFSET {
        Answered::Unknown
    } else if end < position.offset {
        Answered::CutTo(Position::new(end, epoch).under(leader))
    } else {
        Answered::Good
    };
    if answered != Answered::Good || epoch != position.epoch {
        let Position { offset, epoch: stood, .. } = position;
        cluster.life.complain(format_args!(
            "{place} ({}): leader {leader:?} says that epoch {stood} ends at {end} in epoch {epoch}, but {offset} is \
             behind a record of it",
            place.topic
        ));
    }
    Ok(answered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_in_doubt_under_every_other_leader_while_its_epoch_is_known() {
        let start = Position::at(Start::At(7));
        assert!(!start.is_in_doubt((1, 4)), "nobody can be asked");
        let read = start.moved(9, 4);
        assert!(read.is_in_doubt((1, 4)), "a committed one is asked about at once");
        let good = read.under((1, 4));
        assert!(!good.is_in_doubt((1, 4)) && !good.moved(12, 4).is_in_doubt((1, 4)));
        assert!(good.is_in_doubt((1, 5)) && good.is_in_doubt((2, 4)));
    }
}
