//! JoinGroup: members come, and wait for the others.

use bytes::Bytes;
use tokio::sync::oneshot;
use wire::messages::{JoinGroupRequest, JoinGroupResponse};
use wire::records::GroupMetadataValue;
use wire::{ErrorCode, Str};

use super::classic::{ClassicGroup, GroupState, JoinWaiter, Member, Protocols, Timeouts, answer, refused_join};
use super::memory::{member_bytes, pending_bytes};
use super::records::{self, owned, owned_bytes};
use super::{After, Client, Groups, Out, Step};
use crate::limits::NEW_MEMBER_JOIN_TIMEOUT_MS;

/// The version from which a member joins with an id given to it (KIP-394).
const MEMBER_ID_REQUIRED_FROM: i16 = 4;
/// The version from which a leader can be told that the group keeps its assignment (KIP-814).
const SKIP_ASSIGNMENT_FROM: i16 = 9;
/// The longest member id that a record can hold.
const MEMBER_ID_BYTES_MAX: usize = i16::MAX as usize;

/// A join request with what it is made to wait with.
struct Joining<'r> {
    client: &'r Client,
    request: &'r JoinGroupRequest,
    protocols: Protocols,
    timeouts: Timeouts,
    waiter: JoinWaiter,
}

impl Joining<'_> {
    fn refuse(self, member_id: &str, error: ErrorCode) {
        let member_id = Str::from(member_id);
        answer(self.waiter, JoinGroupResponse { member_id, error_code: error.code(), ..refused_join() });
    }
}

impl Groups {
    /// Joins a group; the answer comes when the generation is formed, or at once.
    pub fn join(
        &mut self,
        client: &Client,
        request: &JoinGroupRequest,
        out: &mut Out<'_>,
    ) -> oneshot::Receiver<JoinGroupResponse> {
        let (waiter, answered) = oneshot::channel();
        let rebalance_ms = if client.version == 0 { request.session_timeout_ms } else { request.rebalance_timeout_ms };
        let joining = Joining {
            client,
            request,
            protocols: request.protocols.iter().map(|p| (owned(&p.name), owned_bytes(&p.metadata))).collect(),
            timeouts: Timeouts { rebalance_ms, session_ms: request.session_timeout_ms },
            waiter,
        };
        let id = request.group_id.as_str();
        let is_new = request.member_id.is_empty();
        if !self.live.contains_key(id) {
            if !is_new {
                joining.refuse(&request.member_id, ErrorCode::UnknownMemberId);
                return answered;
            }
            if let Err(error) = self.memory.check_room(id) {
                joining.refuse("", error);
                return answered;
            }
            self.begin_group(&request.group_id, out);
        }
        let given = is_new.then(|| self.new_member_id(client, request));
        if let Some((group, mut step)) = self.step(id, out) {
            if !accepts(group, &request.member_id, step.config.members_max) {
                group.remove(&request.member_id, step.timers);
                joining.refuse("", ErrorCode::GroupMaxSizeReached);
            } else if let Some(given) = given {
                join_new(group, joining, &given, &mut step);
            } else {
                join_again(group, joining, &mut step);
            }
        }
        self.forget_if_nothing(id, out);
        answered
    }

    /// Makes a group, which is there from now on whatever becomes of the join, until the next check finds it empty: whoever
    /// was told of it describes and deletes it. The join does not wait for its record, as in Kafka's
    /// `classicGroupJoinToClassicGroup`. There may be no room for it, as names are free; then it goes with the last who is in
    /// it, or about to be.
    fn begin_group(&mut self, id: &Str, out: &mut Out<'_>) {
        let id = owned(id);
        let mut group = ClassicGroup::new(id.clone(), &self.memory);
        group.is_new = self.memory.new_group(&id);
        if group.is_new.is_some() {
            let value =
                GroupMetadataValue { current_state_timestamp: out.now.wall.0, ..group.to_value(|_| Bytes::new()) };
            match records::group(&id, Some(&value)) {
                Ok(record) if record.bytes() <= out.record_bytes_max => out.records.push(record),
                _ => group.is_new = None,
            }
        }
        self.live.insert(id, group);
    }

    fn new_member_id(&self, client: &Client, request: &JoinGroupRequest) -> Str {
        let stem = request.group_instance_id.as_deref().unwrap_or(&client.id);
        format!("{stem}-{}", self.entropy.uuid()).into()
    }

    /// A static member's new id is durable.
    pub(super) fn static_member_stored(
        &mut self,
        id: &Str,
        member: &Str,
        leader_before: Str,
        skips_assignment: bool,
        out: &mut Out<'_>,
    ) {
        let Some((group, mut step)) = self.step(id, out) else { return };
        // Since then the group may have begun to rebalance; the member then waits for that like all others.
        if group.state != GroupState::Stable {
            return;
        }
        let response = if skips_assignment {
            JoinGroupResponse { skip_assignment: group.is_leader(member), ..group.joined(member) }
        } else {
            // With itself as the leader the client would compute an assignment that nobody asked for.
            JoinGroupResponse { leader: leader_before, members: Vec::new(), ..group.joined(member) }
        };
        group.answer_join(member, response);
        // It was excused while it waited, and its session may have ended meanwhile.
        step.renew_session(group, member);
    }
}

/// Whether the group has room for the member.
fn accepts(group: &ClassicGroup, member: &str, max: usize) -> bool {
    match group.state {
        GroupState::Empty => true,
        // The awaiting count: it kicks out the last to rejoin when the limit was lowered.
        GroupState::PreparingRebalance => {
            group.members.get(member).is_some_and(|member| member.joining.is_some()) || group.awaiting_join() < max
        }
        GroupState::CompletingRebalance | GroupState::Stable => {
            group.members.contains_key(member) || group.members.len() < max
        }
    }
}

fn join_new(group: &mut ClassicGroup, joining: Joining<'_>, given: &Str, step: &mut Step<'_, '_>) {
    if given.len() > MEMBER_ID_BYTES_MAX {
        return joining.refuse("", ErrorCode::InvalidRequest);
    }
    if !group.supports(&joining.request.protocol_type, &joining.protocols) {
        return joining.refuse("", ErrorCode::InconsistentGroupProtocol);
    }
    match &joining.request.group_instance_id {
        Some(instance) => match group.static_member(instance).cloned() {
            Some(old) => replace_static(group, joining, &old, given, step),
            None => add(group, joining, given, step),
        },
        None if joining.client.version >= MEMBER_ID_REQUIRED_FROM => {
            let expires = step.out.now.monotonic_ms.saturating_add(joining.request.session_timeout_ms.max(0) as u64);
            match group.memory.pending(pending_bytes(given)) {
                Ok(memory) => group.pending.insert(given.clone(), memory),
                Err(error) => return joining.refuse("", error),
            };
            step.timers.set(expires, group.session(given));
            joining.refuse(given, ErrorCode::MemberIdRequired);
        }
        None => add(group, joining, given, step),
    }
}

fn join_again(group: &mut ClassicGroup, joining: Joining<'_>, step: &mut Step<'_, '_>) {
    let (request, id) = (joining.request, owned(&joining.request.member_id));
    if !group.supports(&request.protocol_type, &joining.protocols) {
        return joining.refuse(&id, ErrorCode::InconsistentGroupProtocol);
    }
    if group.pending.contains_key(&id) {
        if request.group_instance_id.is_some() {
            // Ids are given out to dynamic members only: Kafka's coordinator throws there, and its answer names nobody.
            return joining.refuse("", ErrorCode::UnknownServerError);
        }
        return add(group, joining, &id, step);
    }
    if let Err(error) = group.check_member(&id, request.group_instance_id.as_ref()) {
        return joining.refuse(&id, error);
    }
    let same = group.members.get(&id).is_some_and(|member| member.protocols == joining.protocols);
    match group.state {
        // It did not hear the answer to its first join: the generation stands.
        GroupState::CompletingRebalance if same => answer(joining.waiter, group.joined(&id)),
        // A leader that joins again wants a new assignment: topics may have changed.
        GroupState::Stable if same && !group.is_leader(&id) => answer(joining.waiter, group.joined(&id)),
        GroupState::PreparingRebalance | GroupState::CompletingRebalance | GroupState::Stable => {
            update(group, joining, &id, step);
        }
        GroupState::Empty => joining.refuse(&id, ErrorCode::UnknownMemberId),
    }
}

fn update(group: &mut ClassicGroup, joining: Joining<'_>, id: &Str, step: &mut Step<'_, '_>) {
    if let Err(error) = group.make_room(id, &joining.protocols) {
        return joining.refuse(id, error);
    }
    group.update(id, &joining.protocols, joining.timeouts, joining.waiter);
    step.rebalance(group, "a member joined again");
}

fn add(group: &mut ClassicGroup, joining: Joining<'_>, id: &Str, step: &mut Step<'_, '_>) {
    let request = joining.request;
    let client = [joining.client.id.as_str(), &joining.client.host];
    let instance = request.group_instance_id.as_ref();
    let bytes = member_bytes(id, instance, client, &joining.protocols, &Bytes::new());
    let memory = match group.memory.member(bytes) {
        Ok(memory) => memory,
        Err(error) => {
            // Kafka forgets an id that finds its group full; one that is told to ask again asks with it.
            if error == ErrorCode::GroupMaxSizeReached {
                group.remove(id, step.timers);
            }
            return joining.refuse("", error);
        }
    };
    let instance = instance.map(owned);
    let mut member = Member::new(id.clone(), instance, client[0].into(), client[1].into(), joining.protocols, memory);
    member.rebalance_timeout_ms = joining.timeouts.rebalance_ms;
    member.session_timeout_ms = joining.timeouts.session_ms;
    member.joining = Some(joining.waiter);
    member.is_new = true;
    if let Some(delay) = &mut group.initial_delay {
        delay.member_added = true;
    }
    if group.members.is_empty() {
        group.protocol_type = Some(owned(&request.protocol_type));
    }
    group.insert(member);
    // It does not know its id and cannot send heartbeats; nor is it seen when its connection breaks.
    group.extend_session(id, NEW_MEMBER_JOIN_TIMEOUT_MS, step.out.now.monotonic_ms, step.timers);
    step.rebalance(group, "a member joined");
}

/// A static member comes back under a new id.
fn replace_static(group: &mut ClassicGroup, joining: Joining<'_>, old: &Str, new: &Str, step: &mut Step<'_, '_>) {
    let leader_before = group.leader.clone().unwrap_or_default();
    let Some(instance) = joining.request.group_instance_id.as_ref().map(owned) else { return };
    if let Err(error) = group.make_room(old, &joining.protocols) {
        return joining.refuse("", error);
    }
    group.replace_static(&instance, old, new, step.timers);
    let skips_assignment = joining.client.version >= SKIP_ASSIGNMENT_FROM;
    let session_ms = joining.timeouts.session_ms.max(0) as u64;
    group.update(new, &joining.protocols, joining.timeouts, joining.waiter);
    group.extend_session(new, session_ms, step.out.now.monotonic_ms, step.timers);
    match group.state {
        GroupState::Stable if group.vote() == group.protocol => {
            // Nobody's assignment changes: the group only takes note of the new id.
            let value = group.to_value(|member| member.assignment.clone());
            match records::group(&group.id, Some(&value)) {
                Ok(record) if record.bytes() <= step.out.record_bytes_max => {
                    step.out.records.push(record);
                    step.out.after.push(After::StaticMemberStored {
                        group: group.id.clone(),
                        member: new.clone(),
                        leader_before,
                        skips_assignment,
                    });
                }
                _ => step.rebalance(group, "a static member's new id does not fit a record"),
            }
        }
        GroupState::Stable => step.rebalance(group, "a static member came back with another protocol"),
        // The leader may be assigning to the old id already.
        GroupState::CompletingRebalance => step.prepare(group, "a static member came back"),
        GroupState::PreparingRebalance | GroupState::Empty => step.complete_join_if_all_joined(group),
    }
}
