//! ListGroups (key 16), versions 0–5. v4 filters by state (KIP-518), v5 by type (KIP-848).

use wire::messages::{ListGroupsRequest, ListGroupsResponse};

use crate::call::Call;
use crate::core::Core;

pub(crate) async fn handle(core: &Core, _: &Call, request: ListGroupsRequest) -> ListGroupsResponse {
    core.groups.list_groups(&request).await
}
