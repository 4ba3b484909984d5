//! JoinGroup (key 11), versions 0–9.
//!
//! | Version | What changes |
//! |---|---|
//! | 0 | the rebalance timeout is the session timeout |
//! | 4 | a new member is given its id first and joins with it (KIP-394) |
//! | 5 | static members (KIP-345) |
//! | 7 | the protocol type in the answer, whose protocol name may be null |
//! | 8 | a reason, for logs (KIP-800) |
//! | 9 | a leader may be told that the assignment stands (KIP-814) |
//!
//! The answer waits for the other members.

use wire::messages::{JoinGroupRequest, JoinGroupResponse};

use crate::call::Call;
use crate::core::Core;

pub(crate) async fn handle(core: &Core, call: &Call, request: JoinGroupRequest) -> JoinGroupResponse {
    let mut response = core.groups.join_group(&call.group_client(), call.brief(request)).await;
    // A protocol without a name has none (`JoinGroupResponse` of Kafka).
    if call.version >= 7 && response.protocol_name.as_deref() == Some("") {
        response.protocol_name = None;
    }
    response
}
