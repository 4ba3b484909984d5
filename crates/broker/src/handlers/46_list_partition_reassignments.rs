//! ListPartitionReassignments (key 46), version 0: nothing is ever being reassigned, since no data moves with a partition.
//! `kafka-topics --describe` asks.

use wire::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use crate::call::Call;
use crate::core::Core;

pub(crate) async fn handle(
    _: &Core,
    _: &Call,
    _: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse { error_message: None, ..ListPartitionReassignmentsResponse::default() }
}
