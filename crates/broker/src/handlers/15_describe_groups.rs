//! DescribeGroups (key 15), versions 0–6.
//!
//! v3 adds authorized operations (all, while there is no access control), v4 instance ids, v6 GROUP_ID_NOT_FOUND with a
//! message for a group that older versions are shown as Dead.

use wire::messages::{DescribeGroupsRequest, DescribeGroupsResponse};

use crate::call::Call;
use crate::core::Core;
use crate::first_mentions::keep_first;

/// READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS and ALTER_CONFIGS, as Kafka's bit set.
const GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

pub(crate) async fn handle(core: &Core, call: &Call, mut request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    // A small request could otherwise ask for any amount.
    keep_first(&mut request.groups).await;
    let mut response = core.groups.describe_groups(&call.group_client(), &request).await;
    if call.version >= 3 && request.include_authorized_operations {
        let described = response.groups.iter_mut().filter(|group| group.error_code == 0);
        described.for_each(|group| group.authorized_operations = GROUP_OPERATIONS);
    }
    response
}
