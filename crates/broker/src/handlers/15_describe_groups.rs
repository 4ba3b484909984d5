//! DescribeGroups (key 15), versions 0–6.
//!
//! v3 adds authorized operations (all, while there is no access control), v4 instance ids, v6 GROUP_ID_NOT_FOUND with a
//! message for a group that older versions are shown as Dead.

use base::collections::HashSet;
use wire::messages::{DescribeGroupsRequest, DescribeGroupsResponse};

use crate::call::Call;
use crate::core::Core;

/// READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS and ALTER_CONFIGS, as Kafka's bit set.
const GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

pub(crate) async fn handle(core: &Core, call: &Call, mut request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    ask_once(&mut request);
    let mut response = core.groups.describe_groups(&call.group_client(), &request).await;
    if call.version >= 3 && request.include_authorized_operations {
        let described = response.groups.iter_mut().filter(|group| group.error_code == 0);
        described.for_each(|group| group.authorized_operations = GROUP_OPERATIONS);
    }
    response
}

/// Leaves each group in the request once: a small one could otherwise ask for any amount.
fn ask_once(request: &mut DescribeGroupsRequest) {
    let mut seen = HashSet::default();
    let first: Vec<bool> = request.groups.iter().map(|group| seen.insert(group.as_str())).collect();
    drop(seen);
    let mut first = first.into_iter();
    request.groups.retain(|_| first.next().unwrap_or(true));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_twice_is_asked_once() {
        let groups = ["a", "b", "a", "c", "b"].map(Into::into).to_vec();
        let mut request = DescribeGroupsRequest { groups, ..Default::default() };
        ask_once(&mut request);
        assert_eq!(request.groups, ["a", "b", "c"].map(wire::Str::from));
    }
}
