//! DescribeGroups (key 15), versions 0–6.
//!
//! v3 adds authorized operations (all, while there is no access control), v4 instance ids, v6 GROUP_ID_NOT_FOUND with a
//! message for a group that older versions are shown as Dead. A group that is named again is described again, as long as
//! that takes little.

use wire::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use wire::messages::{DescribeGroupsRequest, DescribeGroupsResponse};

use crate::call::Call;
use crate::core::Core;
use crate::first_mentions::{Pace, keep_first};
use crate::limits::DESCRIBED_AGAIN_BYTES_MAX;

/// READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS and ALTER_CONFIGS, as Kafka's bit set.
const GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

pub(crate) async fn handle(core: &Core, call: &Call, mut request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let again = keep_first(&mut request.groups).await;
    let mut response = core.groups.describe_groups(&call.group_client(), &request).await;
    if call.version >= 3 && request.include_authorized_operations {
        let described = response.groups.iter_mut().filter(|group| group.error_code == 0);
        described.for_each(|group| group.authorized_operations = GROUP_OPERATIONS);
    }
    describe_again(&mut response.groups, again).await;
    response
}

/// Adds what is told of groups that are named again, by their places. A small request could otherwise ask for any amount:
/// where they come to more than a limit, the rest of them are told once.
async fn describe_again(groups: &mut Vec<DescribedGroup>, again: Vec<u32>) {
    let (mut left, mut pace) = (DESCRIBED_AGAIN_BYTES_MAX, Pace::default());
    for place in again {
        pace.step().await;
        let Some(group) = groups.get(place as usize) else { continue };
        let members = group.members.iter().map(|member| {
            let texts = [&member.member_id, &member.client_id, &member.client_host];
            size_of::<DescribedGroupMember>()
                + texts.iter().map(|text| text.len()).sum::<usize>()
                + member.group_instance_id.as_ref().map_or(0, |name| name.len())
                + member.member_metadata.len()
                + member.member_assignment.len()
        });
        let texts = [&group.group_id, &group.group_state, &group.protocol_type, &group.protocol_data];
        let texts = texts.iter().map(|text| text.len()).sum::<usize>();
        let bytes = size_of::<DescribedGroup>() + texts + members.sum::<usize>();
        let Some(rest) = left.checked_sub(bytes) else { return };
        left = rest;
        groups.push(group.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_group_is_described_again_while_that_takes_little() {
        let described = |id: &str| DescribedGroup { group_id: id.into(), ..DescribedGroup::default() };
        let mut groups = vec![described("a"), described("b")];
        describe_again(&mut groups, vec![1, 0]).await;
        assert_eq!(groups, ["a", "b", "b", "a"].map(described));
        let member = DescribedGroupMember { member_metadata: vec![0; 1000].into(), ..DescribedGroupMember::default() };
        groups[0].members = vec![member; 100];
        describe_again(&mut groups, vec![0; 100_000]).await;
        assert!((5..=4 + DESCRIBED_AGAIN_BYTES_MAX / 100_000).contains(&groups.len()), "{}", groups.len());
        let long = DescribedGroupMember { client_id: "c".repeat(32_767).into(), ..DescribedGroupMember::default() };
        let mut groups = vec![DescribedGroup { members: vec![long], ..described("a") }];
        describe_again(&mut groups, vec![0; 100_000]).await;
        assert!(groups.len() <= 1 + DESCRIBED_AGAIN_BYTES_MAX / 32_767, "{}", groups.len());
    }
}
