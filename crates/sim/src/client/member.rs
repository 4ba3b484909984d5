//! A consumer that is a member of a group, by the classic protocol: FindCoordinator, JoinGroup, SyncGroup, Heartbeat,
//! OffsetFetch, OffsetCommit, LeaveGroup.
//!
//! It commits what its user was given and nothing else, and begins where the group had committed or, without that, where
//! its consumer is reset to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use judge::{GroupName, Start, What};
use parking_lot::Mutex;
use wire::messages::join_group_request::JoinGroupRequestProtocol;
use wire::messages::join_group_response::JoinGroupResponseMember;
use wire::messages::leave_group_request::MemberIdentity;
use wire::messages::sync_group_request::SyncGroupRequestAssignment;
use wire::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, SyncGroupRequest,
};
use wire::records::consumer_protocol_assignment::TopicPartition;
use wire::records::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use wire::{ApiKey, ErrorCode, Message, Reader, Str, Writer};

use super::assignments::Assignments;
use super::committed::{self, Commits};
use super::connection::CallError;
use super::consumer::{Consumer, ConsumerSettings};
use super::coordinator::Coordinator;
use super::names::Names;
use super::position::Position;
use super::{Cluster, Place};
use crate::deeds::Deed;
use crate::dice::Dice;

/// How a member lives.
#[derive(Clone, Debug)]
pub struct MemberSettings {
    /// Its group.
    pub group: GroupName,
    /// What it subscribes to.
    pub topics: Vec<Arc<str>>,
    /// Its name across lives, if it is a static member.
    pub instance: Option<Str>,
    /// Who has which name.
    pub names: Names,
    /// What leaders assigned.
    pub assignments: Assignments,
    /// Without heartbeats for so long it is put out of the group.
    pub session_time_max: Duration,
    /// How long it may take to join again.
    pub rebalance_time_max: Duration,
    /// Between heartbeats.
    pub heartbeat_every: Duration,
    /// Between commits.
    pub commit_every: Duration,
    /// How it reads.
    pub reading: ConsumerSettings,
}

impl MemberSettings {
    /// A member of this group that reads these topics.
    pub fn new(group: &str, topics: Vec<Arc<str>>) -> Self {
        Self {
            group: group.into(),
            topics,
            instance: None,
            names: Names::default(),
            assignments: Assignments::default(),
            session_time_max: Duration::from_secs(6),
            rebalance_time_max: Duration::from_secs(8),
            heartbeat_every: Duration::from_secs(1),
            commit_every: Duration::from_millis(1500),
            reading: ConsumerSettings::default(),
        }
    }
}

/// Why a member's part in a generation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It joins again as whom it is.
    Rejoin,
    /// It joins as somebody new.
    Forget,
    /// Another one lives under its name.
    Fenced,
    /// It has what it came for.
    Done,
}

/// How a generation ended, once it has.
#[derive(Debug, Default)]
struct Ended(Mutex<Option<Turn>>);

impl Ended {
    fn get(&self) -> Option<Turn> {
        *self.0.lock()
    }

    fn set(&self, turn: Option<Turn>) {
        *self.0.lock() = turn;
    }
}

/// A generation that it is part of.
#[derive(Clone, Debug)]
struct Generation {
    number: i32,
    assigned: Vec<(Str, Vec<i32>)>,
    /// What the leader assigned: when that changes it asks for another generation.
    led: Option<Subscribed>,
}

/// Ids and partition counts of the topics that there are.
type Subscribed = BTreeMap<Arc<str>, (base::Uuid, usize)>;

/// Joining and synchronising take as long as the slowest member, and a bit.
const REBALANCE_GRACE: Duration = Duration::from_secs(5);
/// From this version on several members leave with one request.
const LEAVES_TOGETHER: i16 = 3;
/// Between looks of the leader at what there is to assign.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How often a member commits once more for the generation that it was part of before.
const COMMITS_TOO_LATE: f64 = 0.3;

/// A member of a group.
#[derive(Debug)]
pub struct Member {
    cluster: Arc<Cluster>,
    settings: MemberSettings,
    consumer: Consumer,
    coordinator: Coordinator,
    commits: Commits,
    id: Str,
    generations: u64,
    /// As whom it was part of the generation before.
    former: Option<committed::Member>,
    /// When it commits too late.
    dice: Dice,
    /// Until it has committed so far, it lives.
    goal: Option<BTreeMap<Place, i64>>,
}

impl Member {
    /// A member that has not joined.
    pub fn new(cluster: Arc<Cluster>, settings: MemberSettings) -> Self {
        let coordinator = Coordinator::new(cluster.clone(), settings.group.clone());
        let consumer = Consumer::new(cluster.clone(), settings.reading);
        let commits = Commits::default();
        if let Some(name) = &settings.instance {
            cluster.life.event(What::Static { name: name.to_string().into(), group: settings.group.clone() });
        }
        let (id, dice) = (Str::default(), cluster.dice.branch("too late"));
        Self { cluster, settings, consumer, coordinator, commits, id, generations: 0, former: None, dice, goal: None }
    }

    /// How many generations it was part of.
    pub fn generations(&self) -> u64 {
        self.generations
    }

    /// Takes part until it has committed so far itself; what it has committed then, of each partition. `None` when another
    /// member has its name.
    pub async fn live_until(&mut self, goal: &BTreeMap<Place, i64>) -> Option<BTreeMap<Place, Position>> {
        self.goal = Some(goal.clone());
        self.live().await;
        self.commits.reach(goal).then(|| self.commits.known().clone())
    }

    /// What its group has committed of these, however long it takes to be told.
    pub async fn committed(&self, places: &[Place]) -> BTreeMap<Place, Option<Position>> {
        let found = committed::fetch_surely(&self.coordinator, &self.settings.group, places, || true).await;
        found.expect("it goes on until all is known")
    }

    /// Takes part, until another member has its name.
    pub async fn live(&mut self) {
        let mut failures = 0;
        loop {
            let turn = match self.join().await {
                Ok(generation) => {
                    failures = 0;
                    self.take_part(&generation).await
                }
                Err(turn) => {
                    failures += 1;
                    self.cluster.back_off(failures).await;
                    turn
                }
            };
            match turn {
                Turn::Rejoin => {}
                Turn::Forget => self.id = Str::default(),
                Turn::Fenced => {
                    self.cluster.life.did(Deed::Fencing);
                    return self.cluster.life.note("is fenced by another of its name");
                }
                Turn::Done => return,
            }
        }
    }

    /// Tells the group that it goes, if somebody listens. A static member does not: it is expected back.
    pub async fn leave(&mut self) {
        if self.settings.instance.is_some() || self.id.is_empty() {
            return;
        }
        let Ok(connection) = self.coordinator.find_once().await else { return };
        let mut request =
            LeaveGroupRequest { group_id: (&*self.settings.group).into(), ..LeaveGroupRequest::default() };
        if connection.version(ApiKey::LeaveGroup) < Some(LEAVES_TOGETHER) {
            request.member_id = self.id.clone();
        } else {
            request.members = vec![MemberIdentity { member_id: self.id.clone(), ..MemberIdentity::default() }];
        }
        let left = connection.call(&request).await;
        // In the list it has an error of its own.
        let said = |left: &LeaveGroupResponse| left.members.first().map_or(left.error_code, |member| member.error_code);
        if left.as_ref().is_ok_and(|left| said(left) == 0) {
            self.cluster.life.did(Deed::Leaving);
        }
        let said = |left| ErrorCode::from_code(said(&left)).name().to_owned();
        self.cluster.life.note(format_args!("leaves: {}", left.map_or_else(|error| error.to_string(), said)));
    }

    fn limit(&self) -> Duration {
        self.settings.rebalance_time_max + REBALANCE_GRACE
    }

    /// Becomes part of the next generation.
    async fn join(&mut self) -> Result<Generation, Turn> {
        let MemberSettings { group, instance, names, .. } = &self.settings;
        let since = instance.as_ref().map(|name| names.joins(group, name));
        let connection = self.coordinator.find().await;
        let subscription = ConsumerProtocolSubscription {
            topics: self.settings.topics.iter().map(|name| (&**name).into()).collect(),
            ..ConsumerProtocolSubscription::default()
        };
        let protocol =
            JoinGroupRequestProtocol { name: "range".into(), metadata: versioned(&subscription), ..Default::default() };
        let request = JoinGroupRequest {
            group_id: (&*self.settings.group).into(),
            session_timeout_ms: self.settings.session_time_max.as_millis() as i32,
            rebalance_timeout_ms: self.settings.rebalance_time_max.as_millis() as i32,
            member_id: self.id.clone(),
            group_instance_id: self.settings.instance.clone(),
            protocol_type: "consumer".into(),
            protocols: vec![protocol],
            ..JoinGroupRequest::default()
        };
        let asked_at = self.cluster.life.now();
        let joined = connection.call_within(self.limit(), &request).await;
        let joined = joined.map_err(|error| self.lost("join", asked_at, &error))?;
        if ErrorCode::from_code(joined.error_code) == ErrorCode::MemberIdRequired {
            self.id = joined.member_id;
            return Err(Turn::Rejoin);
        }
        self.check("join", joined.error_code)?;
        self.id = joined.member_id.clone();
        let led = if joined.leader == joined.member_id && !joined.skip_assignment {
            self.cluster.refresh_surely(&self.settings.topics).await;
            Some(self.subscribed())
        } else {
            None
        };
        let request = SyncGroupRequest {
            group_id: (&*self.settings.group).into(),
            generation_id: joined.generation_id,
            member_id: self.id.clone(),
            group_instance_id: self.settings.instance.clone(),
            protocol_type: joined.protocol_type.clone(),
            protocol_name: joined.protocol_name.clone(),
            assignments: led.as_ref().map(|topics| range(&joined, topics)).unwrap_or_default(),
            ..SyncGroupRequest::default()
        };
        let MemberSettings { group, assignments, .. } = &self.settings;
        for given in &request.assignments {
            assignments.sends(group, joined.generation_id, &given.member_id, &given.assignment);
        }
        let asked_at = self.cluster.life.now();
        let synced = connection.call_within(self.limit(), &request).await;
        let synced = synced.map_err(|error| self.lost("sync", asked_at, &error))?;
        self.check("sync", synced.error_code)?;
        let MemberSettings { group, instance, names, assignments, .. } = &self.settings;
        let (generation, told) = (joined.generation_id, &synced.assignment);
        match assignments.is_of(group, generation, &self.id, told) {
            Some(true) => self.cluster.life.did(Deed::Assignment),
            Some(false) => {
                let words = format_args!(
                    "{} is told {told:?} in generation {generation} of {group}: no leader did so",
                    self.id
                );
                self.cluster.life.complain(words);
            }
            None => {}
        }
        if let Some((name, since)) = instance.as_ref().zip(since) {
            names.took(group, name, &self.id, since);
        }
        let assigned = match read_assignment(&synced.assignment) {
            Ok(assigned) => assigned,
            Err(why) => {
                self.cluster.life.complain(format_args!("an assignment that is none: {why}"));
                return Err(Turn::Rejoin);
            }
        };
        self.generations += 1;
        self.cluster.life.note(format_args!(
            "is in generation {} of {} with {} topics{}",
            joined.generation_id,
            self.settings.group,
            assigned.len(),
            if led.is_some() { ", leading" } else { "" }
        ));
        Ok(Generation { number: joined.generation_id, assigned, led })
    }

    fn subscribed(&self) -> Subscribed {
        let found = |name: &Arc<str>| {
            let topic = self.cluster.topic(name)?;
            Some((name.clone(), (topic.id, topic.leaders.len())))
        };
        self.settings.topics.iter().filter_map(found).collect()
    }

    fn lost(&self, what: &str, asked_at: Duration, error: &CallError) -> Turn {
        self.cluster.life.note(format_args!("{what}: {error}"));
        // Who has a goal lives where nothing is disturbed, and no group waits longer for its members.
        if self.goal.is_some() && self.cluster.life.now() >= asked_at + self.limit() {
            self.cluster.life.complain(format_args!("a {what} of {} is not answered", self.settings.group));
        }
        self.coordinator.forget();
        Turn::Rejoin
    }

    fn check(&self, what: &str, code: i16) -> Result<(), Turn> {
        check(&self.coordinator, what, ErrorCode::from_code(code))
    }

    /// Reads and commits until the generation ends.
    async fn take_part(&mut self, generation: &Generation) -> Turn {
        let Self { cluster, settings, consumer, coordinator, commits, id, former, dice, goal, .. } = self;
        let ended = Ended::default();
        let beats = beat(coordinator, settings, id, generation.number, &ended);
        let reads = async {
            let (starts, committed) = starts(cluster, settings, consumer, coordinator, generation, &ended).await?;
            consumer.assign(&starts, Some((settings.group.clone(), generation.number)));
            consumer.believe(&committed);
            let member = committed::Member {
                group: settings.group.clone(),
                generation: generation.number,
                id: id.clone(),
                instance: settings.instance.clone(),
                names: settings.names.clone(),
            };
            commits.begin(&committed);
            if let Some(former) = former.replace(member.clone())
                && dice.chance(COMMITS_TOO_LATE)
            {
                // On another way than all that it says in the present generation.
                let coordinator = Coordinator::new(cluster.clone(), settings.group.clone());
                commits.commit_too_late(&coordinator, &former, &starts).await;
            }
            let (mut committed_at, mut looked_at) = (cluster.life.now(), cluster.life.now());
            while ended.get().is_none() {
                consumer.poll().await;
                let now = cluster.life.now();
                if now >= committed_at + settings.commit_every {
                    commits.commit(coordinator, &member, consumer.positions()).await?;
                    committed_at = now;
                    if goal.as_ref().is_some_and(|goal| commits.reach(goal)) {
                        return Err(Turn::Done);
                    }
                }
                if let Some(led) = &generation.led
                    && now >= looked_at + LOOK_EVERY
                {
                    looked_at = now;
                    let _ = cluster.refresh(&settings.topics).await;
                    let found = |name: &Arc<str>| {
                        cluster.topic(name).map(|topic| (name.clone(), (topic.id, topic.leaders.len())))
                    };
                    if *led != settings.topics.iter().filter_map(found).collect() {
                        cluster.life.note("asks for another generation: topics have changed");
                        return Err(Turn::Rejoin);
                    }
                }
            }
            // Before it gives its partitions up it commits what it has, as clients do that commit by themselves.
            if ended.get() == Some(Turn::Rejoin) && cluster.dice.chance(0.7) {
                commits.commit(coordinator, &member, consumer.positions()).await?;
            }
            Ok(())
        };
        let reading: Result<(), Turn> = base::select! {
            biased;
            reading = reads => reading,
            () = beats => unreachable!("it waits when the generation has ended"),
        };
        match reading {
            Ok(()) => ended.get().unwrap_or(Turn::Rejoin),
            Err(turn) => turn,
        }
    }
}

/// What an error of the coordinator means to a member.
pub(super) fn check(coordinator: &Coordinator, what: &str, error: ErrorCode) -> Result<(), Turn> {
    if error.is_none() {
        return Ok(());
    }
    coordinator.life().note(format_args!("{what}: {}", error.name()));
    Err(match error {
        ErrorCode::UnknownMemberId => Turn::Forget,
        ErrorCode::FencedInstanceId => Turn::Fenced,
        ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable => {
            coordinator.forget();
            Turn::Rejoin
        }
        _ => Turn::Rejoin,
    })
}

/// Heartbeats; after the end of the generation it only waits.
async fn beat(coordinator: &Coordinator, settings: &MemberSettings, id: &Str, generation: i32, ended: &Ended) {
    let request = HeartbeatRequest {
        group_id: (&*settings.group).into(),
        generation_id: generation,
        member_id: id.clone(),
        group_instance_id: settings.instance.clone(),
        ..HeartbeatRequest::default()
    };
    while ended.get().is_none() {
        tokio::time::sleep(settings.heartbeat_every).await;
        match coordinator.find().await.call(&request).await {
            // Another coordinator may know the generation.
            Err(_) => coordinator.forget(),
            Ok(answer) => match ErrorCode::from_code(answer.error_code) {
                ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable => coordinator.forget(),
                ErrorCode::CoordinatorLoadInProgress => {}
                error => ended.set(check(coordinator, "heartbeat", error).err()),
            },
        }
    }
    std::future::pending::<()>().await;
}

/// Where to begin with what was assigned, and which of it the group had committed.
async fn starts(
    cluster: &Cluster,
    settings: &MemberSettings,
    consumer: &Consumer,
    coordinator: &Coordinator,
    generation: &Generation,
    ended: &Ended,
) -> Result<(BTreeMap<Place, Start>, BTreeMap<Place, Position>), Turn> {
    let names: Vec<Arc<str>> = generation.assigned.iter().map(|(name, _)| name.as_str().into()).collect();
    if !names.is_empty() {
        cluster.refresh_surely(&names).await;
    }
    let mut places = Vec::new();
    for ((_, partitions), name) in generation.assigned.iter().zip(&names) {
        // Gone since: the leader will see it, too.
        let Some(topic) = cluster.topic(name) else { continue };
        let has = |partition: &&i32| topic.leaders.contains_key(partition);
        places.extend(partitions.iter().filter(has).map(|partition| Place {
            topic: topic.id,
            partition: *partition,
            name: name.clone(),
        }));
    }
    let committed = committed::fetch_surely(coordinator, &settings.group, &places, || ended.get().is_none()).await;
    let Some(committed) = committed else { return Err(ended.get().unwrap_or(Turn::Rejoin)) };
    let (mut starts, mut known) = (BTreeMap::new(), BTreeMap::new());
    for (place, position) in committed {
        match position {
            Some(position) => {
                starts.insert(place.clone(), Start::Committed(position.offset));
                known.insert(place, position);
            }
            None => {
                if let Some(offset) = consumer.offset(&place, settings.reading.reset_to).await {
                    starts.insert(place, Start::At(offset));
                }
            }
        }
    }
    Ok((starts, known))
}

/// Kafka's range assignor: of each topic every member gets a run of partitions, in the order of their ids.
fn range(joined: &JoinGroupResponse, topics: &Subscribed) -> Vec<SyncGroupRequestAssignment> {
    let mut assignments: BTreeMap<Str, Vec<TopicPartition>> = BTreeMap::new();
    for member in &joined.members {
        assignments.insert(member.member_id.clone(), Vec::new());
    }
    for (name, (_, partitions)) in topics {
        let is_subscribed = |member: &&JoinGroupResponseMember| {
            read_subscription(&member.metadata).is_some_and(|topics| topics.iter().any(|topic| **topic == **name))
        };
        // Static members keep their place across lives: their names come first.
        let mut members: Vec<_> = joined.members.iter().filter(is_subscribed).collect();
        members.sort_by_key(|member| {
            (member.group_instance_id.is_none(), member.group_instance_id.clone(), member.member_id.clone())
        });
        let mut next = 0;
        for (number, member) in members.iter().enumerate() {
            let count = partitions / members.len() + usize::from(number < partitions % members.len());
            let run = (next..next + count).map(|partition| partition as i32).collect();
            next += count;
            if count > 0 {
                let topic = TopicPartition { topic: (&**name).into(), partitions: run, ..TopicPartition::default() };
                assignments.entry(member.member_id.clone()).or_default().push(topic);
            }
        }
    }
    let encode = |(member_id, assigned_partitions)| {
        let assignment = ConsumerProtocolAssignment { assigned_partitions, ..ConsumerProtocolAssignment::default() };
        SyncGroupRequestAssignment { member_id, assignment: versioned(&assignment), ..Default::default() }
    };
    assignments.into_iter().map(encode).collect()
}

/// The version that is written of subscriptions and assignments.
const PROTOCOL_VERSION: i16 = 1;

fn versioned<M: Message>(message: &M) -> Bytes {
    let mut writer = Writer::new();
    writer.i16(PROTOCOL_VERSION);
    message.encode(&mut writer, PROTOCOL_VERSION).expect("what it holds is in this version");
    writer.finish().into_bytes()
}

fn read_subscription(bytes: &Bytes) -> Option<Vec<Str>> {
    let mut reader = Reader::new(bytes.clone());
    let version = reader.i16().ok()?;
    Some(ConsumerProtocolSubscription::decode(&mut reader, version).ok()?.topics)
}

fn read_assignment(bytes: &Bytes) -> Result<Vec<(Str, Vec<i32>)>, String> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut reader = Reader::new(bytes.clone());
    let read = |reader: &mut Reader| {
        let version = reader.i16()?;
        ConsumerProtocolAssignment::decode(reader, version)
    };
    let assignment = read(&mut reader).map_err(|error| error.to_string())?;
    Ok(assignment.assigned_partitions.into_iter().map(|topic| (topic.topic, topic.partitions)).collect())
}
