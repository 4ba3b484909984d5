//! Heartbeat (key 12), versions 0–4. v3 adds static members (KIP-345).

use wire::messages::{HeartbeatRequest, HeartbeatResponse};

use crate::call::Call;
use crate::core::Core;

pub(crate) async fn handle(core: &Core, _: &Call, request: HeartbeatRequest) -> HeartbeatResponse {
    core.groups.heartbeat(&request).await
}
