//! SyncGroup: the leader's assignment goes to the log, and from there to the members.

use base::collections::HashMap;
use tokio::sync::oneshot;
use wire::messages::{SyncGroupRequest, SyncGroupResponse};
use wire::records::GroupMetadataValue;
use wire::{ErrorCode, Str};

use super::classic::{ClassicGroup, GroupState, SyncWaiter, answer};
use super::records::{self, owned, owned_bytes};
use super::{After, Groups, Out, Step};

fn refused(error: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse { error_code: error.code(), ..SyncGroupResponse::default() }
}

impl Groups {
    /// Asks for the member's assignment; the leader brings everybody's. The answer comes when that is durable.
    pub fn sync(&mut self, request: &SyncGroupRequest, out: &mut Out<'_>) -> oneshot::Receiver<SyncGroupResponse> {
        let (waiter, answered) = oneshot::channel();
        let Some((group, mut step)) = self.step(&request.group_id, out) else {
            answer(waiter, refused(ErrorCode::UnknownMemberId));
            return answered;
        };
        match check(group, request) {
            Err(error) => answer(waiter, refused(error)),
            Ok(()) => sync(group, request, waiter, &mut step),
        }
        answered
    }

    /// The leader's assignment is durable: everybody gets what the record says, unless the group has moved on.
    pub(super) fn assignment_stored(&mut self, id: &Str, generation: i32, out: &mut Out<'_>) {
        let Some(stored) = self.stored.group(id).and_then(|stored| stored.metadata.clone()) else { return };
        let Some((group, mut step)) = self.step(id, out) else { return };
        if group.state != GroupState::CompletingRebalance || group.generation != generation {
            return;
        }
        if stored.generation == generation {
            propagate(group, &stored, &mut step);
        }
    }
}

fn check(group: &ClassicGroup, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
    if group.state == GroupState::Empty {
        return Err(ErrorCode::UnknownMemberId);
    }
    group.check_member(&request.member_id, request.group_instance_id.as_ref())?;
    if request.generation_id != group.generation {
        return Err(ErrorCode::IllegalGeneration);
    }
    let differs = |ours: &Option<Str>, theirs: &Option<Str>| ours.is_some() && theirs.is_some() && ours != theirs;
    if differs(&group.protocol_type, &request.protocol_type) || differs(&group.protocol, &request.protocol_name) {
        return Err(ErrorCode::InconsistentGroupProtocol);
    }
    Ok(())
}

fn sync(group: &mut ClassicGroup, request: &SyncGroupRequest, waiter: SyncWaiter, step: &mut Step<'_, '_>) {
    match group.state {
        GroupState::Empty => answer(waiter, refused(ErrorCode::UnknownMemberId)),
        GroupState::PreparingRebalance => answer(waiter, refused(ErrorCode::RebalanceInProgress)),
        GroupState::Stable => {
            group.pending_sync.remove(&request.member_id);
            answer(waiter, assigned(group, &request.member_id));
        }
        GroupState::CompletingRebalance => {
            group.pending_sync.remove(&request.member_id);
            if let Some(member) = group.members.get_mut(&request.member_id)
                && let Some(earlier) = member.syncing.replace(waiter)
            {
                // The client asks again: it has given up on its first request.
                answer(earlier, refused(ErrorCode::RebalanceInProgress));
            }
            if group.is_leader(&request.member_id) {
                store_assignment(group, request, step);
            }
        }
    }
}

fn store_assignment(group: &mut ClassicGroup, request: &SyncGroupRequest, step: &mut Step<'_, '_>) {
    let assignments: HashMap<&str, _> =
        request.assignments.iter().map(|a| (a.member_id.as_str(), owned_bytes(&a.assignment))).collect();
    // A member that the leader forgot gets an empty assignment.
    let value = group.to_value(|member| assignments.get(member.id.as_str()).cloned().unwrap_or_default());
    match records::group(&group.id, Some(&value)) {
        Ok(record) if record.bytes() <= step.out.record_bytes_max => {
            step.out.records.push(record);
            let (group, generation) = (group.id.clone(), group.generation);
            step.out.after.push(After::AssignmentStored { group, generation });
        }
        outcome => {
            let bytes = outcome.map_or(0, |record| record.bytes());
            tracing::warn!(
                group = %group.id, bytes, max = step.out.record_bytes_max,
                "a group's assignment does not fit a record; raise max.message.bytes of __consumer_offsets"
            );
            step.refuse_syncs(group, ErrorCode::UnknownServerError);
            step.rebalance(group, "the assignment does not fit a record");
        }
    }
}

fn propagate(group: &mut ClassicGroup, stored: &GroupMetadataValue, step: &mut Step<'_, '_>) {
    for member in &stored.members {
        if let Some(live) = group.members.get_mut(&member.member_id) {
            live.assign(&member.assignment);
        }
    }
    group.enter(GroupState::Stable, step.out.now.wall.0);
    for id in group.members.keys().cloned().collect::<Vec<_>>() {
        let response = assigned(group, &id);
        if let Some(waiter) = group.members.get_mut(&id).and_then(|member| member.syncing.take()) {
            answer(waiter, response);
            step.renew_session(group, &id);
        }
    }
}

fn assigned(group: &ClassicGroup, member: &Str) -> SyncGroupResponse {
    SyncGroupResponse {
        protocol_type: group.protocol_type.clone(),
        protocol_name: group.protocol.as_ref().map(owned),
        assignment: group.members.get(member).map(|member| member.assignment.clone()).unwrap_or_default(),
        ..SyncGroupResponse::default()
    }
}
