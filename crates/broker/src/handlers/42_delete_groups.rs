//! DeleteGroups (key 42), versions 0–3. A group with members stays; v3 adds messages, which stay null, as in Kafka.

use wire::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use crate::call::Call;
use crate::core::Core;
use crate::first_mentions::keep_first;

pub(crate) async fn handle(core: &Core, _: &Call, mut request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    keep_first(&mut request.groups_names).await;
    core.groups.delete_groups(&request).await
}
