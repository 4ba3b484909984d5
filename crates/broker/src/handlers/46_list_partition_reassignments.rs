//! ListPartitionReassignments (key 46), version 0: nothing is ever being reassigned, since no data moves with a partition.
//! `kafka-topics --describe` asks.

use wire::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

pub(crate) fn handle(_: &ListPartitionReassignmentsRequest) -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse { error_message: None, ..ListPartitionReassignmentsResponse::default() }
}
