//! What operators ask: describe, list and delete groups.

use bytes::Bytes;
use wire::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use wire::messages::list_groups_response::ListedGroup;
use wire::{ErrorCode, Str};

use super::classic::GroupState;
use super::expiry::{push_group_tombstone, push_tombstone};
use super::{Groups, Out};
use crate::runtime::Seen;

/// The type of every group here, as ListGroups names it.
pub const CLASSIC: &str = "classic";
/// The state of a group that is not there.
pub const DEAD: &str = "Dead";

impl Groups {
    /// A group as DescribeGroups shows it; `None` if it is not there.
    pub fn describe(&self, id: &str) -> Seen<Option<DescribedGroup>> {
        Seen { what: self.described(id), is_durable: self.is_shown_durably(id) }
    }

    /// Whether the group is there.
    pub fn is_there(&self, id: &str) -> Seen<bool> {
        let what = self.live.contains_key(id);
        // That it is asks for nothing to be durable: whoever acts on it writes.
        Seen { what, is_durable: what || self.is_shown_durably(id) }
    }

    fn described(&self, id: &str) -> Option<DescribedGroup> {
        let group = self.live.get(id)?;
        let stable = group.state == GroupState::Stable;
        let protocol = group.protocol.clone().filter(|_| stable).unwrap_or_default();
        let members = group.members.values().map(|member| DescribedGroupMember {
            member_id: member.id.clone(),
            group_instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            member_metadata: if stable { member.metadata(&protocol) } else { Bytes::new() },
            member_assignment: member.assignment.clone(),
            ..DescribedGroupMember::default()
        });
        Some(DescribedGroup {
            group_id: group.id.clone(),
            group_state: Str::from_static(group.state.name()),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            members: members.collect(),
            protocol_data: protocol,
            ..DescribedGroup::default()
        })
    }

    /// The groups as ListGroups shows them; no filter is no restriction.
    pub fn list(&self, states: &[Str], types: &[Str]) -> Seen<Vec<ListedGroup>> {
        Seen { what: self.listed(states, types), is_durable: self.are_shown_durably() }
    }

    fn listed(&self, states: &[Str], types: &[Str]) -> Vec<ListedGroup> {
        // As Kafka: states without what Java takes for space around them, types as they are.
        let trimmed = |state: &Str| state.trim_matches(|c| c <= ' ').to_owned();
        let states: Vec<String> = states.iter().map(trimmed).collect();
        let is_state = |name: &str| states.is_empty() || states.iter().any(|state| state.eq_ignore_ascii_case(name));
        if !types.is_empty() && !types.iter().any(|of| of.eq_ignore_ascii_case(CLASSIC)) {
            return Vec::new();
        }
        let listed = self.live.values().filter(|group| is_state(group.state.name())).map(|group| ListedGroup {
            group_id: group.id.clone(),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            group_state: Str::from_static(group.state.name()),
            group_type: Str::from_static(CLASSIC),
            ..ListedGroup::default()
        });
        listed.collect()
    }

    /// Removes a group without members, and its offsets.
    ///
    /// # Errors
    /// Why not.
    pub fn delete(&mut self, id: &Str, out: &mut Out<'_>) -> Result<(), ErrorCode> {
        let group = self.live.get(id.as_str()).ok_or(ErrorCode::GroupIdNotFound)?;
        if group.state != GroupState::Empty {
            return Err(ErrorCode::NonEmptyGroup);
        }
        for (topic, partition) in self.offset_keys(id, out) {
            push_tombstone(id, &topic, partition, out);
        }
        push_group_tombstone(id, out);
        self.forget(id);
        Ok(())
    }
}
