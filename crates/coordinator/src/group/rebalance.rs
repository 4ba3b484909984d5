//! How a group moves from state to state.

use tracing::{debug, info};
use wire::messages::{JoinGroupResponse, SyncGroupResponse};
use wire::{ErrorCode, Str};

use super::Step;
use super::classic::{ClassicGroup, GroupState, InitialDelay, answer, refused_join};
use super::records;
use super::timers::Timer;
use crate::limits::STATIC_MEMBERS_WAIT_MS_MIN;

impl Step<'_, '_> {
    fn now_ms(&self) -> u64 {
        self.out.now.monotonic_ms
    }

    /// Begins a rebalance, or goes on with the one that is under way.
    pub fn rebalance(&mut self, group: &mut ClassicGroup, why: &str) {
        if group.state == GroupState::PreparingRebalance {
            self.complete_join_if_all_joined(group);
        } else {
            self.prepare(group, why);
        }
    }

    /// Tells members to join again. The first members of an empty group are given time for others to come.
    pub fn prepare(&mut self, group: &mut ClassicGroup, why: &str) {
        if group.state == GroupState::CompletingRebalance {
            self.refuse_syncs(group, ErrorCode::RebalanceInProgress);
        }
        group.pending_sync.clear();
        self.timers.cancel(&Timer::Sync { group: group.id.clone() });
        let first = group.state == GroupState::Empty;
        group.enter(GroupState::PreparingRebalance, self.out.now.wall.0);
        info!(group = %group.id, generation = group.generation, why, "group prepares to rebalance");
        if first {
            let delay_ms = self.config.initial_rebalance_delay_ms.max(0) as u64;
            let remaining_ms = group.rebalance_timeout_ms().saturating_sub(delay_ms);
            group.initial_delay = Some(InitialDelay { delay_ms, remaining_ms, member_added: false });
            if delay_ms == 0 {
                self.initial_delay_over(group);
            } else {
                self.set_join_deadline(group, delay_ms);
            }
        } else if group.all_joined() {
            self.complete_join(group);
        } else {
            self.set_join_deadline(group, group.rebalance_timeout_ms());
        }
    }

    fn set_join_deadline(&mut self, group: &mut ClassicGroup, after_ms: u64) {
        let at_ms = self.now_ms().saturating_add(after_ms);
        self.timers.set(at_ms, Timer::Join { group: group.id.clone() });
    }

    /// The wait for joins is over.
    pub fn join_deadline(&mut self, group: &mut ClassicGroup) {
        if group.initial_delay.is_some() {
            self.initial_delay_over(group);
        } else if group.state == GroupState::PreparingRebalance {
            self.complete_join(group);
        }
    }

    /// A first wait is over: it is made longer while members keep coming, up to the rebalance timeout.
    fn initial_delay_over(&mut self, group: &mut ClassicGroup) {
        match group.initial_delay {
            Some(delay) if delay.member_added && delay.remaining_ms > 0 => {
                let next_ms = (self.config.initial_rebalance_delay_ms.max(0) as u64).min(delay.remaining_ms);
                group.initial_delay = Some(InitialDelay {
                    delay_ms: next_ms,
                    remaining_ms: delay.remaining_ms.saturating_sub(delay.delay_ms),
                    member_added: false,
                });
                self.set_join_deadline(group, next_ms);
            }
            _ => self.complete_join(group),
        }
    }

    /// Ends the wait for joins if there is nobody left to wait for, unless it is a first one, which lasts its time.
    pub fn complete_join_if_all_joined(&mut self, group: &mut ClassicGroup) {
        if group.state == GroupState::PreparingRebalance && group.initial_delay.is_none() && group.all_joined() {
            self.complete_join(group);
        }
    }

    /// Forms the next generation of who has joined; static members stay in it even if they have not.
    pub fn complete_join(&mut self, group: &mut ClassicGroup) {
        self.timers.cancel(&Timer::Join { group: group.id.clone() });
        group.initial_delay = None;
        let missing = group.members.values().filter(|member| member.joining.is_none() && !member.is_static());
        for id in missing.map(|member| member.id.clone()).collect::<Vec<_>>() {
            debug!(group = %group.id, member = %id, "member removed: it did not join again in time");
            group.remove(&id, self.timers);
        }
        if !group.members.is_empty() && !group.elect_joined_leader() {
            // Only static members are left, and none has come: wait for them, or for their sessions to end.
            self.set_join_deadline(group, group.rebalance_timeout_ms().max(STATIC_MEMBERS_WAIT_MS_MIN));
            return;
        }
        group.generation = group.generation.checked_add(1).unwrap_or(0);
        group.pending_sync.clear();
        group.protocol = group.vote();
        group.subscribed = group.compute_subscribed();
        if group.members.is_empty() {
            group.leader = None;
            group.enter(GroupState::Empty, self.out.now.wall.0);
            info!(group = %group.id, generation = group.generation, "group is empty");
            match records::group(&group.id, Some(&group.to_value(|member| member.assignment.clone()))) {
                Ok(record) => self.out.records.push(record),
                // Without it a load finds the generation before, whose members' sessions end.
                Err(error) => tracing::warn!(group = %group.id, %error, "an empty generation cannot be stored"),
            }
            return;
        }
        group.enter(GroupState::CompletingRebalance, self.out.now.wall.0);
        group.is_new = None;
        let (generation, members) = (group.generation, group.members.len());
        info!(group = %group.id, generation, members, "group has a new generation");
        for id in group.members.keys().cloned().collect::<Vec<_>>() {
            let response = group.joined(&id);
            group.answer_join(&id, response);
            self.renew_session(group, &id);
            if let Some(member) = group.members.get_mut(&id) {
                member.is_new = false;
            }
            group.pending_sync.insert(id);
        }
        let at_ms = self.now_ms().saturating_add(group.rebalance_timeout_ms());
        self.timers.set(at_ms, Timer::Sync { group: group.id.clone() });
    }

    /// The wait for sync requests is over: who has not sent one is out.
    pub fn sync_deadline(&mut self, group: &mut ClassicGroup) {
        let waits = matches!(group.state, GroupState::CompletingRebalance | GroupState::Stable);
        if !waits || group.pending_sync.is_empty() {
            return;
        }
        for id in std::mem::take(&mut group.pending_sync) {
            debug!(group = %group.id, member = %id, "member removed: it did not sync in time");
            group.remove(&id, self.timers);
        }
        self.prepare(group, "members did not sync in time");
    }

    /// A member's session begins anew.
    pub fn renew_session(&mut self, group: &mut ClassicGroup, id: &Str) {
        let timeout_ms = group.members.get(id).map_or(0, |member| member.session_timeout_ms.max(0) as u64);
        group.extend_session(id, timeout_ms, self.now_ms(), self.timers);
    }

    /// Takes a member out; its waiting join is told that it is unknown.
    pub fn remove(&mut self, group: &mut ClassicGroup, id: &str) {
        let error_code = ErrorCode::UnknownMemberId.code();
        group.answer_join(id, JoinGroupResponse { error_code, ..refused_join() });
        if let Some(waiter) = group.remove(id, self.timers).and_then(|member| member.syncing) {
            answer(waiter, SyncGroupResponse { error_code, ..SyncGroupResponse::default() });
        }
    }

    /// A member is gone: the rest rebalances, or need not wait for it any more.
    pub fn after_removal(&mut self, group: &mut ClassicGroup, why: &str) {
        match group.state {
            GroupState::Stable | GroupState::CompletingRebalance => self.prepare(group, why),
            GroupState::PreparingRebalance => self.complete_join_if_all_joined(group),
            GroupState::Empty => {}
        }
    }

    /// Members get no assignment.
    pub fn refuse_syncs(&mut self, group: &mut ClassicGroup, error: ErrorCode) {
        for id in group.members.keys().cloned().collect::<Vec<_>>() {
            let Some(member) = group.members.get_mut(&id) else { continue };
            member.assignment = bytes::Bytes::new();
            if let Some(waiter) = member.syncing.take() {
                answer(waiter, SyncGroupResponse { error_code: error.code(), ..SyncGroupResponse::default() });
                self.renew_session(group, &id);
            }
        }
    }
}
