//! SyncGroup (key 14), versions 0–5. v3 adds static members (KIP-345), v5 protocol type and name, which must be the
//! group's. The answer waits for the leader's assignment to be durable.
//!
//! While the group is being loaded, or has too much to write, it is REBALANCE_IN_PROGRESS, as in Kafka 3.9. Kafka 4.4 answers
//! COORDINATOR_LOAD_IN_PROGRESS, which its own client does not expect here: in `AbstractCoordinator.SyncGroupResponseHandler`
//! it is an unexpected error, on which the consumer ends.

use wire::messages::{SyncGroupRequest, SyncGroupResponse};

use crate::call::Call;
use crate::core::Core;

pub(crate) async fn handle(core: &Core, call: &Call, request: SyncGroupRequest) -> SyncGroupResponse {
    core.groups.sync_group(&call.group_client(), call.brief(request)).await
}
