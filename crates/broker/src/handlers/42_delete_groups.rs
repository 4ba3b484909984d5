//! DeleteGroups (key 42), versions 0–3. A group with members stays; v3 adds messages.

use wire::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use crate::core::Core;

pub(crate) async fn handle(core: &Core, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    core.groups.delete_groups(&request).await
}
