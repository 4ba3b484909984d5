//! SyncGroup (key 14), versions 0–5. v3 adds static members (KIP-345), v5 protocol type and name, which must be the
//! group's. The answer waits for the leader's assignment to be durable.

use wire::messages::{SyncGroupRequest, SyncGroupResponse};

use crate::call::Call;
use crate::core::Core;

pub(crate) async fn handle(core: &Core, call: &Call, request: SyncGroupRequest) -> SyncGroupResponse {
    core.groups.sync_group(&call.group_client(), call.brief(request)).await
}
