mod admin;
mod expiry;
mod join;
mod membership;
mod memory;
mod newer;
mod offsets;
mod rebalance;
mod replication;
mod static_members;
mod sync;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base::collections::{HashMap, HashSet};
use base::{Entropy, TimestampMs, Uuid};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use wire::messages::join_group_request::JoinGroupRequestProtocol;
use wire::messages::leave_group_request::MemberIdentity;
use wire::messages::sync_group_request::SyncGroupRequestAssignment;
use wire::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest, SyncGroupResponse,
};
use wire::records::{ConsumerProtocolSubscription, encode_versioned};
use wire::{ErrorCode, Str};

use super::classic::{ClassicGroup, GroupState};
use super::memory::GroupsMemory;
use super::offsets::{Committer, NewOffset};
use super::stored::{CommittedOffset, Stored};
use super::{After, Client, Groups, Out};
use crate::GroupConfig;
use crate::runtime::{Machine, Moment, Output, Record};

const GROUP: &str = "group";
const SESSION_MS: i32 = 10_000;
const REBALANCE_MS: i32 = 30_000;
const INITIAL_DELAY_MS: u64 = 3_000;
/// The id of every topic until it is created again.
const FIRST_ID: Uuid = Uuid::from_u128(1);
const SECOND_ID: Uuid = Uuid::from_u128(2);
/// The time of day when every test begins.
const WALL_MS: i64 = 1_700_000_000_000;

/// A source of member ids that are told apart and come again.
#[derive(Debug, Default)]
struct Counting(AtomicU64);

impl base::entropy::RandomSource for Counting {
    fn next_u128(&self) -> u128 {
        u128::from(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

fn entropy() -> Entropy {
    Entropy::from_source(Arc::new(Counting::default()))
}

/// The records of a snapshot that is taken so many at a time.
fn snapshot(groups: &Groups, at_a_time: usize) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    loop {
        let (before, after) = (records.len(), records.last().map(|record| record.key.clone()));
        let mut each = |record| {
            if records.len() - before == at_a_time {
                return ControlFlow::Break(());
            }
            records.push(record);
            ControlFlow::Continue(())
        };
        groups.snapshot(after.as_ref(), &mut each).unwrap();
        if records.len() == before {
            return records;
        }
    }
}

/// A group machine without a shard: what it decides is replayed at once, or when the test releases it.
struct Fixture {
    groups: Groups,
    config: Arc<GroupConfig>,
    entropy: Entropy,
    topics: Arc<Topics>,
    memory: GroupsMemory,
    now: Moment,
    /// What was decided and is not durable.
    waiting: VecDeque<(Vec<Record>, Vec<After>)>,
    held: bool,
    record_bytes_max: usize,
    /// Everything that is durable.
    log: Vec<Record>,
}

impl Fixture {
    fn new() -> Self {
        Self::with(GroupConfig::default())
    }

    fn with(config: GroupConfig) -> Self {
        Self::with_memory(config, GroupsMemory::default())
    }

    fn with_memory(config: GroupConfig, memory: GroupsMemory) -> Self {
        let (config, entropy) = (Arc::new(config), entropy());
        let topics = Arc::<Topics>::default();
        let mut fixture = Self {
            groups: machine(&config, &entropy, &topics, &memory),
            memory,
            config,
            entropy,
            topics,
            now: Moment { monotonic_ms: 0, wall: TimestampMs(WALL_MS) },
            waiting: VecDeque::new(),
            held: false,
            record_bytes_max: usize::MAX,
            log: Vec::new(),
        };
        fixture.decide(Machine::loaded);
        fixture
    }

    /// Another broker loads the groups from the log.
    fn restart(&mut self) {
        self.waiting.clear();
        self.held = false;
        self.groups = machine(&self.config, &self.entropy, &self.topics, &self.memory);
        for record in &self.log {
            self.groups.replay(record).unwrap();
        }
        self.decide(Machine::loaded);
    }

    fn decide<R>(&mut self, decide: impl FnOnce(&mut Groups, &mut Out<'_>) -> R) -> R {
        let result = self.decide_only(decide);
        if !self.held {
            self.release();
        }
        result
    }

    fn decide_only<R>(&mut self, decide: impl FnOnce(&mut Groups, &mut Out<'_>) -> R) -> R {
        let mut out = Output::detached(self.now);
        out.record_bytes_max = self.record_bytes_max;
        let result = decide(&mut self.groups, &mut out);
        let Output { records, after, .. } = out;
        self.groups.queued(&records);
        assert!(after.is_empty() || !records.is_empty(), "nothing makes {after:?} durable");
        if !records.is_empty() {
            self.waiting.push_back((records, after));
        }
        result
    }

    /// From now on nothing is durable until it is released.
    fn hold(&mut self) {
        self.held = true;
    }

    fn release(&mut self) {
        self.held = false;
        while let Some((records, after)) = self.waiting.pop_front() {
            for record in records {
                self.groups.replay(&record).unwrap();
                self.groups.unqueued(&record);
                self.log.push(record);
            }
            for after in after {
                self.decide_only(|groups, out| groups.durable(after, out));
            }
        }
    }

    /// Lets time pass, and everything happen that is due meanwhile, each at its time.
    fn advance(&mut self, ms: u64) {
        let end = self.now.monotonic_ms + ms;
        loop {
            let due = self.groups.next_deadline_ms().filter(|due| *due <= end);
            let now = due.unwrap_or(end).max(self.now.monotonic_ms);
            self.now.wall.0 += (now - self.now.monotonic_ms) as i64;
            self.now.monotonic_ms = now;
            if due.is_none() {
                return;
            }
            self.decide(Machine::tick);
        }
    }

    fn group(&self) -> &ClassicGroup {
        self.groups.group(GROUP).expect("the group exists")
    }

    fn state(&self) -> GroupState {
        self.group().state
    }

    fn is_member(&self, id: &str) -> bool {
        self.groups.group(GROUP).is_some_and(|group| group.members.contains_key(id))
    }

    /// The state that a replay of the log gives.
    fn replayed(&self) -> Stored {
        let mut stored = Stored::default();
        for record in &self.log {
            stored.replay(record).unwrap();
        }
        stored
    }

    fn join(&mut self, join: &Join) -> Waiting<JoinGroupResponse> {
        Waiting(self.decide(|groups, out| groups.join(&join.client(), &join.request(), out)))
    }

    /// Joins a group that waits for nobody else, or with which the error comes at once.
    fn join_now(&mut self, join: &Join) -> JoinGroupResponse {
        self.join(join).get()
    }

    fn sync(
        &mut self,
        member: &Str,
        generation: i32,
        assignments: &[(&Str, &'static str)],
    ) -> Waiting<SyncGroupResponse> {
        let assignment = |(member, text): &(&Str, &'static str)| SyncGroupRequestAssignment {
            member_id: (*member).clone(),
            assignment: Bytes::from_static(text.as_bytes()),
            ..SyncGroupRequestAssignment::default()
        };
        let request = SyncGroupRequest {
            group_id: GROUP.into(),
            generation_id: generation,
            member_id: member.clone(),
            assignments: assignments.iter().map(assignment).collect(),
            ..SyncGroupRequest::default()
        };
        self.sync_with(&request)
    }

    fn sync_with(&mut self, request: &SyncGroupRequest) -> Waiting<SyncGroupResponse> {
        Waiting(self.decide(|groups, out| groups.sync(request, out)))
    }

    fn heartbeat(&mut self, member: &Str, generation: i32) -> Result<(), ErrorCode> {
        self.heartbeat_as(member, None, generation)
    }

    fn heartbeat_as(&mut self, member: &Str, instance: Option<&str>, generation: i32) -> Result<(), ErrorCode> {
        let request = HeartbeatRequest {
            group_id: GROUP.into(),
            generation_id: generation,
            member_id: member.clone(),
            group_instance_id: instance.map(Str::from),
            ..HeartbeatRequest::default()
        };
        self.decide(|groups, out| groups.heartbeat(&request, out))
    }

    /// Takes members out, each by id and instance id; the code for each.
    fn leave(&mut self, members: &[(&str, Option<&str>)]) -> Result<Vec<ErrorCode>, ErrorCode> {
        let identity = |(member, instance): &(&str, Option<&str>)| MemberIdentity {
            member_id: Str::from(*member),
            group_instance_id: instance.map(Str::from),
            ..MemberIdentity::default()
        };
        let members = members.iter().map(identity).collect();
        let request = LeaveGroupRequest { group_id: GROUP.into(), members, ..LeaveGroupRequest::default() };
        let responses = self.decide(|groups, out| groups.leave(&request, out))?;
        Ok(responses.iter().map(|response| ErrorCode::from_code(response.error_code)).collect())
    }

    /// Commits one offset as whom the committer says.
    fn commit_as(&mut self, who: &Who<'_>, topic: &str, offset: i64) -> Result<(), ErrorCode> {
        let offsets = [NewOffset { topic_id: self.topics.id(topic), ..new_offset(topic, 0, offset) }];
        self.commit_all(who, None, &offsets)?.remove(0)
    }

    fn commit_all(
        &mut self,
        who: &Who<'_>,
        retention_ms: Option<i64>,
        offsets: &[NewOffset],
    ) -> Result<Vec<Result<(), ErrorCode>>, ErrorCode> {
        let (group, member, instance) = (Str::from(GROUP), Str::from(who.member), who.instance.map(Str::from));
        let committer = Committer {
            version: who.version,
            group: &group,
            generation: who.generation,
            member: &member,
            instance: instance.as_ref(),
        };
        let encoded = offsets.iter().map(|offset| offset.encode(&group, self.now.wall, retention_ms, &self.config));
        let encoded = encoded.collect();
        self.decide(|groups, out| groups.commit(&committer, encoded, out))
    }

    /// Commits without a group membership.
    fn commit_simple(&mut self, topic: &str, offset: i64) -> Result<(), ErrorCode> {
        self.commit_as(&Who::default(), topic, offset)
    }

    fn committed(&self, topic: &str) -> Option<&CommittedOffset> {
        self.groups.committed(GROUP)?.get(topic)?.get(&0)
    }

    /// A stable group of these members, the first of which leads it. Each is assigned its place among them.
    fn stable(&mut self, joins: &[Join]) -> Vec<Str> {
        let waiting: Vec<_> = joins.iter().map(|join| self.join(join)).collect();
        self.advance(2 * INITIAL_DELAY_MS);
        let joined: Vec<_> = waiting.into_iter().map(Waiting::get).collect();
        let ids: Vec<Str> = joined.iter().map(|joined| joined.member_id.clone()).collect();
        self.settle(&ids);
        ids
    }

    /// All members sync; the first leads. Each is assigned its place among them.
    fn settle(&mut self, ids: &[Str]) {
        const PLACES: [&str; 4] = ["0", "1", "2", "3"];
        let generation = self.group().generation;
        let assignments: Vec<_> = ids.iter().zip(PLACES).collect();
        let followers: Vec<_> = ids.iter().skip(1).map(|id| self.sync(id, generation, &[])).collect();
        let leader = self.sync(&ids[0], generation, &assignments);
        for (answer, place) in std::iter::once(leader).chain(followers).zip(PLACES) {
            let answer = answer.get();
            assert_eq!((answer.error_code, &answer.assignment[..]), (0, place.as_bytes()));
        }
        assert_eq!(self.state(), GroupState::Stable);
    }
}

/// The topics that exist: all of them, until a test deletes one.
#[derive(Debug, Default)]
struct Topics {
    absent: Mutex<HashSet<String>>,
    /// The ids of those that were created again.
    ids: Mutex<HashMap<String, Uuid>>,
}

impl Topics {
    fn id(&self, name: &str) -> Uuid {
        self.ids.lock().get(name).copied().unwrap_or(FIRST_ID)
    }

    fn exists(&self, name: &str, id: Uuid) -> bool {
        !self.absent.lock().contains(name) && (id.is_nil() || id == self.id(name))
    }

    fn delete(&self, name: &str) {
        self.absent.lock().insert(name.to_owned());
    }

    /// Deletes a topic and makes another one of its name.
    fn recreate(&self, name: &str, id: Uuid) {
        self.absent.lock().remove(name);
        self.ids.lock().insert(name.to_owned(), id);
    }
}

fn machine(config: &Arc<GroupConfig>, entropy: &Entropy, topics: &Arc<Topics>, memory: &GroupsMemory) -> Groups {
    let topics = topics.clone();
    let exists = Arc::new(move |name: &str, id| topics.exists(name, id));
    Groups::new(config.clone(), entropy.clone(), exists, memory.clone())
}

/// An answer that may have to wait.
struct Waiting<T>(oneshot::Receiver<T>);

impl<T: std::fmt::Debug> Waiting<T> {
    /// The answer, which must be there.
    fn get(mut self) -> T {
        self.0.try_recv().expect("nobody answered")
    }

    fn waits(&mut self) -> bool {
        matches!(self.0.try_recv(), Err(oneshot::error::TryRecvError::Empty))
    }
}

/// A member that joins. Without more it is a consumer that does not know its id, of a version that gives it none before it
/// has joined.
#[derive(Clone)]
struct Join {
    version: i16,
    member: Str,
    instance: Option<Str>,
    protocol_type: Str,
    protocols: Vec<(&'static str, Bytes)>,
    session_ms: i32,
    rebalance_ms: i32,
}

impl Join {
    fn new() -> Self {
        Self {
            version: 3,
            member: "".into(),
            instance: None,
            protocol_type: "consumer".into(),
            protocols: vec![("range", subscription(&["topic"]))],
            session_ms: SESSION_MS,
            rebalance_ms: REBALANCE_MS,
        }
    }

    fn version(self, version: i16) -> Self {
        Self { version, ..self }
    }

    fn member(self, id: &Str) -> Self {
        Self { member: id.clone(), ..self }
    }

    /// A static member, of a version that knows them.
    fn instance(self, id: &str) -> Self {
        Self { instance: Some(id.into()), version: self.version.max(5), ..self }
    }

    fn protocol_type(self, protocol_type: &str) -> Self {
        Self { protocol_type: protocol_type.into(), ..self }
    }

    fn subscribed(self, topics: &[&str]) -> Self {
        Self { protocols: vec![("range", subscription(topics))], ..self }
    }

    /// Protocols by name, with metadata that tells nothing.
    fn protocols(self, names: &[&'static str]) -> Self {
        Self { protocols: names.iter().map(|name| (*name, Bytes::from_static(name.as_bytes()))).collect(), ..self }
    }

    fn session_ms(self, session_ms: i32) -> Self {
        Self { session_ms, ..self }
    }

    fn rebalance_ms(self, rebalance_ms: i32) -> Self {
        Self { rebalance_ms, ..self }
    }

    fn client(&self) -> Client {
        Client { version: self.version, id: "client".to_owned(), host: "/127.0.0.1".to_owned() }
    }

    fn request(&self) -> JoinGroupRequest {
        let protocol = |(name, metadata): &(&str, Bytes)| JoinGroupRequestProtocol {
            name: Str::from(*name),
            metadata: metadata.clone(),
            ..JoinGroupRequestProtocol::default()
        };
        JoinGroupRequest {
            group_id: GROUP.into(),
            session_timeout_ms: self.session_ms,
            rebalance_timeout_ms: self.rebalance_ms,
            member_id: self.member.clone(),
            group_instance_id: self.instance.clone(),
            protocol_type: self.protocol_type.clone(),
            protocols: self.protocols.iter().map(protocol).collect(),
            ..JoinGroupRequest::default()
        }
    }
}

/// Who commits; without more a consumer that assigns itself.
struct Who<'r> {
    version: i16,
    generation: i32,
    member: &'r str,
    instance: Option<&'r str>,
}

impl Default for Who<'_> {
    fn default() -> Self {
        Self { version: 8, generation: -1, member: "", instance: None }
    }
}

impl<'r> Who<'r> {
    fn member(member: &'r str, generation: i32) -> Self {
        Self { member, generation, ..Self::default() }
    }
}

fn new_offset(topic: &str, partition: i32, offset: i64) -> NewOffset {
    NewOffset {
        topic: topic.into(),
        topic_id: FIRST_ID,
        partition,
        offset,
        leader_epoch: -1,
        metadata: None,
        commit_timestamp: None,
    }
}

/// What a consumer says of itself.
fn subscription(topics: &[&str]) -> Bytes {
    let topics = topics.iter().map(|topic| Str::from(*topic)).collect();
    encode_versioned(&ConsumerProtocolSubscription { topics, ..ConsumerProtocolSubscription::default() }, 1).unwrap()
}

#[track_caller]
fn assert_join(answer: &JoinGroupResponse, error: ErrorCode) {
    assert_eq!(ErrorCode::from_code(answer.error_code), error);
}

#[track_caller]
fn assert_sync(answer: &SyncGroupResponse, error: ErrorCode) {
    assert_eq!(ErrorCode::from_code(answer.error_code), error);
}
