//! OffsetDelete (key 47), version 0. Offsets of topics that a member subscribes to stay.

use wire::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use crate::call::Call;
use crate::core::Core;

pub(crate) async fn handle(core: &Core, _: &Call, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    core.groups.delete_offsets(&request).await
}
