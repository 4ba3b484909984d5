//! DeleteGroups (key 42), versions 0–3. A group with members stays; v3 adds messages.

use wire::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use crate::call::Call;
use crate::core::Core;
use crate::mentions::keep_first;

pub(crate) async fn handle(core: &Core, call: &Call, mut request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    keep_first((&call.peer, &core.clock), &mut request.groups_names, Clone::clone).await;
    core.groups.delete_groups(&request).await
}
