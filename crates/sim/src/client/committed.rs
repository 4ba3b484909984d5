//! OffsetCommit and OffsetFetch.

use std::collections::BTreeMap;

use judge::{GroupName, Outcome, Start, What};
use wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use wire::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use wire::messages::{OffsetCommitRequest, OffsetFetchRequest, OffsetFetchResponse};
use wire::{ApiKey, ErrorCode, Str};

use super::Place;
use super::connection::{CallError, Called};
use super::coordinator::Coordinator;
use super::names::Names;
use super::position::Position;
use crate::deeds::Deed;

/// Who commits.
#[derive(Clone, Debug)]
pub struct Member {
    /// The group.
    pub group: GroupName,
    /// The generation that it is part of.
    pub generation: i32,
    /// Its id.
    pub id: Str,
    /// Its name across lives.
    pub instance: Option<Str>,
    /// Who has which name.
    pub names: Names,
}

/// A member's commits.
#[derive(Debug, Default)]
pub struct Commits {
    next_number: u64,
    /// What is committed, as far as it knows.
    known: BTreeMap<Place, Position>,
}

impl Commits {
    /// A generation begins with what the group had committed, which need not be committed again.
    pub fn begin(&mut self, committed: &BTreeMap<Place, Position>) {
        self.known.clone_from(committed);
    }

    /// What is committed, as far as it knows.
    pub fn known(&self) -> &BTreeMap<Place, Position> {
        &self.known
    }

    /// Whether so much is committed.
    pub fn reach(&self, goal: &BTreeMap<Place, i64>) -> bool {
        goal.iter().all(|(place, offset)| self.known.get(place).is_some_and(|known| known.offset >= *offset))
    }

    /// Commits the positions that have moved, once.
    ///
    /// # Errors
    /// What the coordinator says about the member, and the member has to act on.
    pub(super) async fn commit(
        &mut self,
        coordinator: &Coordinator,
        member: &Member,
        positions: &BTreeMap<Place, Position>,
    ) -> Result<(), super::member::Turn> {
        let moved: Vec<(Place, Position)> = positions
            .iter()
            .filter(|(place, position)| self.known.get(place).map(|known| known.offset) != Some(position.offset))
            .map(|(place, position)| (place.clone(), *position))
            .collect();
        match self.send(coordinator, member, &moved).await {
            // It will do so again; the topic may be gone.
            ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId => Ok(()),
            said => super::member::check(coordinator, "commit", said),
        }
    }

    /// Commits once more as the member that it was in a generation that is over: where the present one has begun, so that
    /// nothing changes but who says so.
    pub(super) async fn commit_too_late(
        &mut self,
        coordinator: &Coordinator,
        former: &Member,
        starts: &BTreeMap<Place, Start>,
    ) {
        let positions: Vec<_> = starts.iter().map(|(place, start)| (place.clone(), Position::at(*start))).collect();
        let said = self.send(coordinator, former, &positions).await;
        coordinator.life().note(format_args!("commits for generation {}, too late: {said}", former.generation));
    }

    /// What the coordinator said: nothing is an error without an answer.
    async fn send(&mut self, coordinator: &Coordinator, member: &Member, positions: &[(Place, Position)]) -> ErrorCode {
        if positions.is_empty() {
            return ErrorCode::None;
        }
        let mut topics: BTreeMap<_, OffsetCommitRequestTopic> = BTreeMap::new();
        for (place, position) in positions {
            let topic = topics.entry(place.topic).or_insert_with(|| OffsetCommitRequestTopic {
                name: (&*place.name).into(),
                topic_id: place.topic,
                ..OffsetCommitRequestTopic::default()
            });
            topic.partitions.push(OffsetCommitRequestPartition {
                partition_index: place.partition,
                committed_offset: position.offset,
                committed_leader_epoch: position.epoch,
                committed_metadata: Some("".into()),
                ..OffsetCommitRequestPartition::default()
            });
        }
        let request = OffsetCommitRequest {
            group_id: (&*member.group).into(),
            generation_id_or_member_epoch: member.generation,
            member_id: member.id.clone(),
            group_instance_id: member.instance.clone(),
            topics: topics.into_values().collect(),
            ..OffsetCommitRequest::default()
        };
        let Ok(connection) = coordinator.find_once().await else { return ErrorCode::None };
        let life = coordinator.life();
        let first = self.next_number;
        for (number, (place, position)) in (first..).zip(positions) {
            let (group, key) = (member.group.clone(), place.key());
            let (offset, generation) = (position.offset, Some(member.generation));
            life.event(What::CommitBegan { group, key, offset, number, generation });
        }
        self.next_number += positions.len() as u64;
        let taken_by = member.names.taken_from(&member.group, member.instance.as_ref(), &member.id);
        let answer = connection.call(&request).await;
        let mut said = ErrorCode::None;
        for (number, (place, position)) in (first..).zip(positions) {
            let outcome = match &answer {
                Err(CallError::NotSent(why)) => Outcome::Failed(why.clone()),
                Err(CallError::Unknown(why)) => Outcome::Unknown(why.clone()),
                Ok(answer) => {
                    let is = |topic: &Str, id| id == place.topic || **topic == *place.name;
                    let topic = answer.topics.iter().find(|topic| is(&topic.name, topic.topic_id));
                    let mut partitions = topic.iter().flat_map(|topic| &topic.partitions);
                    match partitions.find(|found| found.partition_index == place.partition) {
                        None => Outcome::Unknown("the answer does not mention it".into()),
                        Some(found) if found.error_code == 0 => Outcome::Done(()),
                        Some(found) => {
                            said = ErrorCode::from_code(found.error_code);
                            refused(said)
                        }
                    }
                }
            };
            if outcome == Outcome::Done(()) {
                life.did(Deed::Commit);
                if let Some(other) = &taken_by {
                    let (id, name) = (&member.id, member.instance.as_deref().unwrap_or_default());
                    life.complain(format_args!("a commit of {id} is taken, but {other} has its name {name}"));
                }
                self.known.insert(place.clone(), *position);
            }
            life.event(What::CommitEnded { number, outcome });
        }
        if let Err(error) = &answer {
            life.note(format_args!("commit: {error}"));
            coordinator.forget();
        }
        said
    }
}

fn refused(error: ErrorCode) -> Outcome<()> {
    let why = error.name().into();
    match error {
        // These are found out before anything is written.
        ErrorCode::IllegalGeneration
        | ErrorCode::UnknownMemberId
        | ErrorCode::RebalanceInProgress
        | ErrorCode::FencedInstanceId
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::InvalidGroupId
        | ErrorCode::OffsetMetadataTooLarge => Outcome::Failed(why),
        _ => Outcome::Unknown(why),
    }
}

/// Asks until all of these are answered, or their topics are gone; `None` once `goes_on` says so.
pub async fn fetch_surely(
    coordinator: &Coordinator,
    group: &GroupName,
    places: &[Place],
    goes_on: impl Fn() -> bool,
) -> Option<BTreeMap<Place, Option<Position>>> {
    let (mut found, mut attempts) = (BTreeMap::new(), 0);
    loop {
        let missing: Vec<Place> = places
            .iter()
            .filter(|place| !found.contains_key(*place) && !coordinator.cluster().is_gone(place))
            .cloned()
            .collect();
        if missing.is_empty() {
            return Some(found);
        }
        match fetch(coordinator, group, &missing).await {
            Ok(answered) => found.extend(answered),
            Err(error) => {
                coordinator.life().note(format_args!("committed offsets: {error}"));
                coordinator.forget();
            }
        }
        if !goes_on() {
            return None;
        }
        if missing.iter().any(|place| !found.contains_key(place)) {
            attempts += 1;
            coordinator.cluster().back_off(attempts).await;
            let names: Vec<_> = missing.iter().map(|place| place.name.clone()).collect();
            let _ = coordinator.cluster().refresh(&names).await;
        }
    }
}

/// Asks once; what is not in the answer was refused.
///
/// # Errors
/// Without an answer.
pub async fn fetch(
    coordinator: &Coordinator,
    group: &GroupName,
    places: &[Place],
) -> Called<BTreeMap<Place, Option<Position>>> {
    let connection = coordinator.find_once().await?;
    let life = coordinator.life();
    let mut request = OffsetFetchRequest { require_stable: true, ..OffsetFetchRequest::default() };
    if connection.version(ApiKey::OffsetFetch) >= Some(8) {
        let mut topics: BTreeMap<_, OffsetFetchRequestTopics> = BTreeMap::new();
        for place in places {
            let topic = topics.entry(place.topic).or_insert_with(|| OffsetFetchRequestTopics {
                name: (&*place.name).into(),
                topic_id: place.topic,
                ..OffsetFetchRequestTopics::default()
            });
            topic.partition_indexes.push(place.partition);
        }
        let topics = Some(topics.into_values().collect());
        request.groups = vec![OffsetFetchRequestGroup { group_id: (&**group).into(), topics, ..Default::default() }];
    } else {
        let mut topics: BTreeMap<_, OffsetFetchRequestTopic> = BTreeMap::new();
        for place in places {
            let topic = topics.entry(place.name.clone()).or_insert_with(|| OffsetFetchRequestTopic {
                name: (&*place.name).into(),
                ..OffsetFetchRequestTopic::default()
            });
            topic.partition_indexes.push(place.partition);
        }
        request.group_id = (&**group).into();
        request.topics = Some(topics.into_values().collect());
    }
    for place in places {
        life.event(What::CommittedBegan { group: group.clone(), key: place.key() });
    }
    let answer = connection.call(&request).await?;
    let error = answer.groups.first().map_or(answer.error_code, |group| group.error_code);
    if error != 0 {
        return Err(CallError::Unknown(ErrorCode::from_code(error).name().into()));
    }
    let mut found = BTreeMap::new();
    for place in places {
        let Some((position, error)) = find(&answer, place) else { continue };
        if error != 0 {
            life.note(format_args!("{place}: committed offset: {}", ErrorCode::from_code(error).name()));
            continue;
        }
        let position = (position.offset >= 0).then_some(position);
        let offset = position.map(|position| position.offset);
        life.event(What::CommittedEnded { group: group.clone(), key: place.key(), offset });
        found.insert(place.clone(), position);
    }
    Ok(found)
}

/// Position and error code of a place.
fn find(answer: &OffsetFetchResponse, place: &Place) -> Option<(Position, i16)> {
    if let Some(group) = answer.groups.first() {
        let is = |name: &Str, id| id == place.topic || **name == *place.name;
        let topic = group.topics.iter().find(|topic| is(&topic.name, topic.topic_id))?;
        let found = topic.partitions.iter().find(|found| found.partition_index == place.partition)?;
        return Some((Position::new(found.committed_offset, found.committed_leader_epoch), found.error_code));
    }
    let topic = answer.topics.iter().find(|topic| *topic.name == *place.name)?;
    let found = topic.partitions.iter().find(|found| found.partition_index == place.partition)?;
    Some((Position::new(found.committed_offset, found.committed_leader_epoch), found.error_code))
}
