//! A classic group: its members and what they wait for. Soft state; Kafka's `ClassicGroup`.

use std::collections::{BTreeMap, BTreeSet};

use base::collections::HashMap;
use base::memory::Charge;
use bytes::Bytes;
use tokio::sync::oneshot;
use wire::messages::join_group_response::JoinGroupResponseMember;
use wire::messages::{JoinGroupResponse, SyncGroupResponse};
use wire::records::group_metadata_value::MemberMetadata;
use wire::records::{ConsumerProtocolSubscription, GroupMetadataValue};
use wire::{ErrorCode, Message, Reader, Str};

use super::memory::{GroupMemory, GroupsMemory, MemberMemory, member_bytes};
use super::timers::{Timer, Timers};

/// The protocol type of consumers.
const CONSUMER: &str = "consumer";

/// What a group is doing. A group that is gone ("Dead") is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupState {
    /// No members; offsets at most.
    Empty,
    /// Members are told to join again.
    PreparingRebalance,
    /// Members have joined; the leader's assignment is awaited.
    CompletingRebalance,
    /// Members have their assignment.
    Stable,
}

impl GroupState {
    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// Who waits for the answer to a join.
pub type JoinWaiter = oneshot::Sender<JoinGroupResponse>;
/// Who waits for the answer to a sync.
pub type SyncWaiter = oneshot::Sender<SyncGroupResponse>;

/// A protocol that a member can use, with its metadata.
pub type Protocols = Vec<(Str, Bytes)>;

/// One member.
#[derive(Debug)]
pub struct Member {
    pub id: Str,
    pub instance_id: Option<Str>,
    pub client_id: Str,
    pub client_host: Str,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    pub protocols: Protocols,
    pub assignment: Bytes,
    pub joining: Option<JoinWaiter>,
    pub syncing: Option<SyncWaiter>,
    memory: MemberMemory,
    /// Joined for the first time and has not heard its id yet.
    pub is_new: bool,
    /// When its session ends.
    deadline_ms: u64,
}

impl Member {
    pub fn new(
        id: Str,
        instance_id: Option<Str>,
        client_id: Str,
        client_host: Str,
        protocols: Protocols,
        memory: MemberMemory,
    ) -> Self {
        Self {
            id,
            instance_id,
            client_id,
            client_host,
            rebalance_timeout_ms: 0,
            session_timeout_ms: 0,
            protocols,
            assignment: Bytes::new(),
            joining: None,
            syncing: None,
            memory,
            is_new: false,
            deadline_ms: 0,
        }
    }

    /// What it takes in memory with these protocols and this assignment.
    fn bytes(&self, protocols: &Protocols, assignment: &Bytes) -> u64 {
        let client = [self.client_id.as_str(), &self.client_host];
        member_bytes(&self.id, self.instance_id.as_ref(), client, protocols, assignment)
    }

    /// Takes over its assignment from the stored generation.
    pub fn assign(&mut self, assignment: &Bytes) {
        self.memory.resize(self.bytes(&self.protocols, assignment));
        self.assignment = assignment.clone();
    }

    /// The metadata for a protocol; empty for one that it does not have.
    pub fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols.iter().find(|(name, _)| *name == *protocol).map(|(_, bytes)| bytes.clone()).unwrap_or_default()
    }

    /// Members that wait for the coordinator need not send heartbeats; new ones are not waited for without end.
    pub fn is_excused(&self) -> bool {
        !self.is_new && (self.joining.is_some() || self.syncing.is_some())
    }

    pub fn is_static(&self) -> bool {
        self.instance_id.is_some()
    }
}

/// The first wait of an empty group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitialDelay {
    /// How long this wait is.
    pub delay_ms: u64,
    /// How much longer it may become.
    pub remaining_ms: u64,
    /// Whether somebody joined during it.
    pub member_added: bool,
}

/// A classic group.
#[derive(Debug)]
pub struct ClassicGroup {
    pub id: Str,
    pub memory: GroupMemory,
    /// What it holds of the room for such groups until it has its first generation or offsets, if a join made it.
    pub is_new: Option<Charge>,
    pub state: GroupState,
    /// When it came into this state, time of day; `None` when no record tells.
    pub state_timestamp: Option<i64>,
    pub generation: i32,
    /// `None` for a group that only commits offsets.
    pub protocol_type: Option<Str>,
    pub protocol: Option<Str>,
    pub leader: Option<Str>,
    pub members: BTreeMap<Str, Member>,
    static_members: HashMap<Str, Str>,
    /// Ids given out to clients that have not joined with them.
    pub pending: HashMap<Str, MemberMemory>,
    /// Members of the generation that have not sent their sync request.
    pub pending_sync: BTreeSet<Str>,
    /// How many members have each protocol.
    supported: HashMap<Str, usize>,
    awaiting_join: usize,
    /// Topics that members subscribe to, where that can be told.
    pub subscribed: Option<BTreeSet<Str>>,
    pub initial_delay: Option<InitialDelay>,
}

impl ClassicGroup {
    /// A group without members.
    pub fn new(id: Str, memory: &GroupsMemory) -> Self {
        Self {
            memory: memory.of_group(&id),
            id,
            is_new: None,
            state: GroupState::Empty,
            state_timestamp: None,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            static_members: HashMap::default(),
            pending: HashMap::default(),
            pending_sync: BTreeSet::new(),
            supported: HashMap::default(),
            awaiting_join: 0,
            subscribed: None,
            initial_delay: None,
        }
    }

    /// A group as its last stored generation says.
    pub fn from_value(id: Str, value: &GroupMetadataValue, memory: &GroupsMemory) -> Self {
        let text = |text: &Str| (!text.is_empty()).then(|| text.clone());
        let mut group = Self {
            state: if value.members.is_empty() { GroupState::Empty } else { GroupState::Stable },
            state_timestamp: (value.current_state_timestamp != -1).then_some(value.current_state_timestamp),
            generation: value.generation,
            protocol_type: text(&value.protocol_type),
            protocol: value.protocol.clone(),
            leader: value.leader.clone(),
            ..Self::new(id, memory)
        };
        for stored in &value.members {
            let mut member = Member::new(
                stored.member_id.clone(),
                stored.group_instance_id.clone(),
                stored.client_id.clone(),
                stored.client_host.clone(),
                vec![(value.protocol.clone().unwrap_or_default(), stored.subscription.clone())],
                group.memory.loaded(0),
            );
            member.session_timeout_ms = stored.session_timeout;
            member.rebalance_timeout_ms =
                if stored.rebalance_timeout == -1 { stored.session_timeout } else { stored.rebalance_timeout };
            member.assign(&stored.assignment);
            group.insert(member);
        }
        group.subscribed = group.compute_subscribed();
        group
    }

    /// The group's generation as it is stored.
    pub fn to_value(&self, assignment: impl Fn(&Member) -> Bytes) -> GroupMetadataValue {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let members = self.members.values().map(|member| MemberMetadata {
            member_id: member.id.clone(),
            group_instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout: member.rebalance_timeout_ms,
            session_timeout: member.session_timeout_ms,
            subscription: member.metadata(protocol),
            assignment: assignment(member),
            ..Default::default()
        });
        GroupMetadataValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            current_state_timestamp: self.state_timestamp.unwrap_or(-1),
            members: members.collect(),
            ..Default::default()
        }
    }

    pub fn enter(&mut self, state: GroupState, now: i64) {
        self.state = state;
        self.state_timestamp = Some(now);
    }

    pub fn is_leader(&self, member: &str) -> bool {
        self.leader.as_deref() == Some(member)
    }

    pub fn static_member(&self, instance: &str) -> Option<&Str> {
        self.static_members.get(instance)
    }

    /// Whether somebody is in the group or about to be.
    pub fn is_abandoned(&self) -> bool {
        self.state == GroupState::Empty && self.members.is_empty() && self.pending.is_empty()
    }

    /// Whether a request of `member` is one of this group's.
    pub fn check_member(&self, member: &str, instance: Option<&Str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            match self.static_members.get(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(known) if *known != *member => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    /// Adds a member; its protocols are set.
    pub fn insert(&mut self, member: Member) {
        if let Some(instance) = &member.instance_id {
            self.static_members.insert(instance.clone(), member.id.clone());
        }
        self.leader.get_or_insert_with(|| member.id.clone());
        self.count_protocols(&member.protocols, 1);
        self.awaiting_join += usize::from(member.joining.is_some());
        self.pending.remove(&member.id);
        self.members.insert(member.id.clone(), member);
    }

    /// Removes a member, pending or joined.
    pub fn remove(&mut self, id: &str, timers: &mut Timers) -> Option<Member> {
        timers.cancel(&self.session(id));
        let removed = self.members.remove(id);
        if let Some(member) = &removed {
            self.count_protocols(&member.protocols, -1);
            self.awaiting_join -= usize::from(member.joining.is_some());
            if let Some(instance) = &member.instance_id {
                self.static_members.remove(instance);
            }
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.pending.remove(id);
        self.pending_sync.remove(id);
        removed
    }

    fn count_protocols(&mut self, protocols: &Protocols, by: isize) {
        for (name, _) in protocols {
            let count = self.supported.entry(name.clone()).or_default();
            *count = count.saturating_add_signed(by);
            if *count == 0 {
                self.supported.remove(name);
            }
        }
    }

    /// Makes room for what a member says that joins again.
    ///
    /// # Errors
    /// What it is told if there is none.
    pub fn make_room(&mut self, id: &str, protocols: &Protocols) -> Result<(), ErrorCode> {
        let Some(member) = self.members.get_mut(id) else { return Ok(()) };
        let bytes = member.bytes(protocols, &member.assignment);
        member.memory.try_resize(bytes)
    }

    /// Takes over what a join request says, and who waits for its answer.
    pub fn update(&mut self, id: &str, protocols: &Protocols, timeouts: Timeouts, waiter: JoinWaiter) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.rebalance_timeout_ms = timeouts.rebalance_ms;
        member.session_timeout_ms = timeouts.session_ms;
        self.awaiting_join += usize::from(member.joining.is_none());
        member.joining = Some(waiter);
        let before = std::mem::replace(&mut member.protocols, protocols.clone());
        self.count_protocols(&before, -1);
        self.count_protocols(protocols, 1);
    }

    /// Puts a static member that came back under a new id in the place of its old one, whose waiting requests are fenced.
    pub fn replace_static(&mut self, instance: &Str, old: &str, new: &Str, timers: &mut Timers) {
        let Some(mut member) = self.members.remove(old) else { return };
        timers.cancel(&self.session(old));
        self.awaiting_join -= usize::from(member.joining.is_some());
        let fenced = ErrorCode::FencedInstanceId.code();
        if let Some(waiter) = member.joining.take() {
            answer(waiter, JoinGroupResponse { member_id: member.id.clone(), error_code: fenced, ..refused_join() });
        }
        if let Some(waiter) = member.syncing.take() {
            answer(waiter, SyncGroupResponse { error_code: fenced, ..SyncGroupResponse::default() });
        }
        member.id = new.clone();
        // It was known before: while it waits for the others its session does not end.
        member.is_new = false;
        if self.is_leader(old) {
            self.leader = Some(new.clone());
        }
        if self.pending_sync.remove(old) {
            self.pending_sync.insert(new.clone());
        }
        self.static_members.insert(instance.clone(), new.clone());
        self.members.insert(new.clone(), member);
    }

    /// Answers a member's waiting join, if there is one.
    pub fn answer_join(&mut self, id: &str, response: JoinGroupResponse) {
        if let Some(waiter) = self.members.get_mut(id).and_then(|member| member.joining.take()) {
            self.awaiting_join -= 1;
            answer(waiter, response);
        }
    }

    pub fn awaiting_join(&self) -> usize {
        self.awaiting_join
    }

    pub fn all_joined(&self) -> bool {
        self.members.len() == self.awaiting_join && self.pending.is_empty()
    }

    /// Sees to it that the leader is somebody who joined; `false` if nobody did.
    pub fn elect_joined_leader(&mut self) -> bool {
        let joined = |member: &Member| member.joining.is_some();
        if self.leader.as_deref().and_then(|leader| self.members.get(leader)).is_some_and(joined) {
            return true;
        }
        match self.members.values().find(|member| joined(member)) {
            Some(member) => {
                self.leader = Some(member.id.clone());
                true
            }
            None => false,
        }
    }

    /// The group waits as long as its slowest member asks for.
    pub fn rebalance_timeout_ms(&self) -> u64 {
        self.members.values().map(|member| member.rebalance_timeout_ms.max(0) as u64).max().unwrap_or(0)
    }

    /// Whether a member with these protocols may join.
    pub fn supports(&self, protocol_type: &str, protocols: &Protocols) -> bool {
        if self.state == GroupState::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let by_all = |name: &Str| self.supported.get(name).copied().unwrap_or(0) == self.members.len();
        self.protocol_type.as_deref() == Some(protocol_type) && protocols.iter().any(|(name, _)| by_all(name))
    }

    /// The protocol that most members like best among those that all have. Ties go to the leader's preference.
    pub fn vote(&self) -> Option<Str> {
        let by_all = |name: &Str| self.supported.get(name).copied().unwrap_or(0) == self.members.len();
        let mut votes: HashMap<&Str, usize> = HashMap::default();
        for member in self.members.values() {
            if let Some((choice, _)) = member.protocols.iter().find(|(name, _)| by_all(name)) {
                *votes.entry(choice).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        let leader = self.leader.as_ref().and_then(|leader| self.members.get(leader));
        let first = leader.or_else(|| self.members.values().next())?;
        first.protocols.iter().map(|(name, _)| name).find(|name| votes.get(name) == Some(&most)).cloned()
    }

    pub fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    pub fn is_subscribed(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            // It may be: nobody can tell.
            None => self.uses_consumer_protocol(),
        }
    }

    /// The topics of all members' subscriptions; `None` if that cannot be told.
    pub fn compute_subscribed(&self) -> Option<BTreeSet<Str>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol.as_deref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            let mut reader = Reader::new(member.metadata(protocol));
            // Every version begins as version 0 does.
            let subscription =
                reader.i16().ok().and_then(|_| ConsumerProtocolSubscription::decode(&mut reader, 0).ok());
            topics.extend(subscription?.topics);
        }
        Some(topics)
    }

    /// The members as their leader is told.
    pub fn members_for_leader(&self) -> Vec<JoinGroupResponseMember> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let members = self.members.values().map(|member| JoinGroupResponseMember {
            member_id: member.id.clone(),
            group_instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol),
            ..Default::default()
        });
        members.collect()
    }

    /// What a member is told that joined the present generation.
    pub fn joined(&self, member: &Str) -> JoinGroupResponse {
        JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            member_id: member.clone(),
            members: if self.is_leader(member) { self.members_for_leader() } else { Vec::new() },
            ..JoinGroupResponse::default()
        }
    }

    /// The timer of a member's session.
    pub fn session(&self, member: &str) -> Timer {
        Timer::Session { group: self.id.clone(), member: member.into() }
    }

    /// A member's session lasts `timeout_ms` from now.
    pub fn extend_session(&mut self, id: &str, timeout_ms: u64, now_ms: u64, timers: &mut Timers) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.deadline_ms = now_ms.saturating_add(timeout_ms);
        let session = Timer::Session { group: self.id.clone(), member: member.id.clone() };
        timers.set_no_later(member.deadline_ms, session);
    }

    /// A session's timer came up: whether the session has ended. Sets the timer again if it has not.
    pub fn session_ended(&self, id: &str, now_ms: u64, timers: &mut Timers) -> bool {
        let Some(member) = self.members.get(id) else { return self.pending.contains_key(id) };
        if member.deadline_ms > now_ms {
            timers.set(member.deadline_ms, self.session(id));
            return false;
        }
        // Who is excused gets a session again with the answer it waits for.
        !member.is_excused()
    }
}

/// What a member asks to be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    pub rebalance_ms: i32,
    pub session_ms: i32,
}

/// Sends an answer; a client that went away does not hear it.
pub fn answer<T>(waiter: oneshot::Sender<T>, response: T) {
    drop(waiter.send(response));
}

/// A join response without a generation.
pub fn refused_join() -> JoinGroupResponse {
    JoinGroupResponse { generation_id: -1, protocol_name: None, ..JoinGroupResponse::default() }
}
