//! Heartbeat and LeaveGroup.

use wire::messages::leave_group_request::MemberIdentity;
use wire::messages::leave_group_response::MemberResponse;
use wire::messages::{HeartbeatRequest, LeaveGroupRequest};
use wire::{ErrorCode, Str};

use super::classic::{ClassicGroup, GroupState};
use super::records::owned;
use super::{Groups, Out, Step};

impl Groups {
    /// Keeps a member's session.
    ///
    /// # Errors
    /// The error that the member is told; with [`ErrorCode::RebalanceInProgress`] its session is kept all the same.
    pub fn heartbeat(&mut self, request: &HeartbeatRequest, out: &mut Out<'_>) -> Result<(), ErrorCode> {
        let (group, mut step) = self.step(&request.group_id, out).ok_or(ErrorCode::UnknownMemberId)?;
        group.check_member(&request.member_id, request.group_instance_id.as_ref())?;
        if request.generation_id != group.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        match group.state {
            GroupState::Empty => Err(ErrorCode::UnknownMemberId),
            GroupState::PreparingRebalance => {
                step.renew_session(group, &request.member_id);
                Err(ErrorCode::RebalanceInProgress)
            }
            // Members may send heartbeats before they sync.
            GroupState::CompletingRebalance | GroupState::Stable => {
                step.renew_session(group, &request.member_id);
                Ok(())
            }
        }
    }

    /// Takes members out of their group.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownMemberId`] when there is no such group.
    pub fn leave(&mut self, request: &LeaveGroupRequest, out: &mut Out<'_>) -> Result<Vec<MemberResponse>, ErrorCode> {
        let id = request.group_id.as_str();
        let (group, mut step) = self.step(id, out).ok_or(ErrorCode::UnknownMemberId)?;
        let mut responses = Vec::with_capacity(request.members.len());
        let mut any_left = false;
        for member in &request.members {
            let outcome = leave(group, member, &mut step);
            any_left |= outcome.is_ok();
            responses.push(MemberResponse {
                member_id: member.member_id.clone(),
                group_instance_id: member.group_instance_id.clone(),
                error_code: outcome.map_or_else(ErrorCode::code, |()| 0),
                ..MemberResponse::default()
            });
        }
        if any_left {
            step.after_removal(group, "members left");
        }
        self.forget_if_nothing(id, out);
        Ok(responses)
    }
}

fn leave(group: &mut ClassicGroup, member: &MemberIdentity, step: &mut Step<'_, '_>) -> Result<(), ErrorCode> {
    let id: Str = if member.member_id.is_empty() {
        // An operator takes out a static member by its instance id.
        let instance = member.group_instance_id.as_deref().ok_or(ErrorCode::UnknownMemberId)?;
        group.static_member(instance).cloned().ok_or(ErrorCode::UnknownMemberId)?
    } else {
        owned(&member.member_id)
    };
    if !group.pending.contains_key(&id) {
        let instance = member.group_instance_id.as_ref().filter(|_| !member.member_id.is_empty());
        group.check_member(&id, instance)?;
    }
    step.remove(group, &id);
    Ok(())
}
