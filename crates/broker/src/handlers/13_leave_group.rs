//! LeaveGroup (key 13), versions 0–5. v3 takes many members, static ones by their instance id (KIP-345); v5 a reason.

use wire::messages::{LeaveGroupRequest, LeaveGroupResponse};

use crate::call::Call;
use crate::core::Core;

pub(crate) async fn handle(core: &Core, call: &Call, request: LeaveGroupRequest) -> LeaveGroupResponse {
    core.groups.leave_group(&call.group_client(), request).await
}
