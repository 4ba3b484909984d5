//! OffsetCommit (key 8), versions 0–10.
//!
//! | Version | What changes |
//! |---|---|
//! | 0 | meant ZooKeeper: refused, as by a Kafka 3.9 without it |
//! | 1 | generation and member; a commit time of each offset, from which it ages (-1: now), as in Kafka 3.9 |
//! | 2–4 | a retention of the request's own |
//! | 6 | leader epochs (KIP-320) |
//! | 7 | static members (KIP-345) |
//! | 9 | GROUP_ID_NOT_FOUND (KIP-848) |
//! | 10 | topic ids in place of names |

use wire::messages::{OffsetCommitRequest, OffsetCommitResponse};

use crate::call::Call;
use crate::core::Core;

pub(crate) async fn handle(core: &Core, call: &Call, request: OffsetCommitRequest) -> OffsetCommitResponse {
    core.groups.commit_offsets(&call.group_client(), &request).await
}
