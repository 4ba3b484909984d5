//! DescribeGroups, ListGroups and DeleteGroups.

use futures::future::join_all;
use futures::{StreamExt, stream};
use wire::messages::delete_groups_response::DeletableGroupResult;
use wire::messages::describe_groups_response::DescribedGroup;
use wire::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, ListGroupsRequest,
    ListGroupsResponse,
};
use wire::{ErrorCode, Str};

use super::{ClientContext, GroupCoordinator};
use crate::group::admin::DEAD;
use crate::limits::REQUEST_GROUPS_CONCURRENCY;
use crate::runtime::ShardError;

/// The version from which a group that is not there is an error.
const GROUP_ID_NOT_FOUND_FROM: i16 = 6;

impl GroupCoordinator {
    /// DescribeGroups. Authorized operations are the caller's to fill in.
    pub async fn describe_groups(
        &self,
        client: &ClientContext,
        request: &DescribeGroupsRequest,
    ) -> DescribeGroupsResponse {
        self.settled(self.shards_of(request.groups.iter())).await;
        let groups = request.groups.iter().map(|id| {
            self.describe_group(client, id).unwrap_or_else(|error| DescribedGroup {
                group_id: id.clone(),
                error_code: error.code(),
                ..DescribedGroup::default()
            })
        });
        DescribeGroupsResponse { groups: groups.collect(), ..DescribeGroupsResponse::default() }
    }

    fn describe_group(&self, client: &ClientContext, id: &Str) -> Result<DescribedGroup, ErrorCode> {
        let shard = self.shard_now(id)?;
        Ok(shard.read(|groups| groups.describe(id))?.unwrap_or_else(|| {
            let found = client.version < GROUP_ID_NOT_FOUND_FROM;
            DescribedGroup {
                group_id: id.clone(),
                group_state: Str::from_static(DEAD),
                error_code: if found { 0 } else { ErrorCode::GroupIdNotFound.code() },
                error_message: (!found).then(|| format!("Group {id} not found.").into()),
                ..DescribedGroup::default()
            }
        }))
    }

    /// ListGroups: those that this broker coordinates.
    pub async fn list_groups(&self, request: &ListGroupsRequest) -> ListGroupsResponse {
        let mut groups = Vec::new();
        let shards = 0..self.0.spread.count(&self.0.meta).unwrap_or(0);
        for shard in join_all(shards.map(|index| self.0.shards.get(index))).await {
            let listed = match shard {
                Ok(shard) => shard.read(|groups| groups.list(&request.states_filter, &request.types_filter)),
                Err(error) => Err(error),
            };
            match listed {
                Ok(listed) => groups.extend(listed),
                // Another broker lists them.
                Err(ShardError::NotCoordinator) => {}
                Err(error) => {
                    let error_code = ErrorCode::from(error).code();
                    return ListGroupsResponse { error_code, ..ListGroupsResponse::default() };
                }
            }
        }
        ListGroupsResponse { groups, ..ListGroupsResponse::default() }
    }

    /// DeleteGroups.
    pub async fn delete_groups(&self, request: &DeleteGroupsRequest) -> DeleteGroupsResponse {
        self.settled(self.shards_of(request.groups_names.iter())).await;
        let deletions: Vec<_> = request.groups_names.iter().map(|id| self.delete_group(id)).collect();
        let outcomes: Vec<_> = stream::iter(deletions).buffered(REQUEST_GROUPS_CONCURRENCY).collect().await;
        let result = |(id, outcome): (&Str, Result<(), ErrorCode>)| DeletableGroupResult {
            group_id: id.clone(),
            error_code: super::code(outcome),
            error_message: outcome.err().map(|error| Str::from_static(error.message())),
            ..DeletableGroupResult::default()
        };
        let results = request.groups_names.iter().zip(outcomes).map(result).collect();
        DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() }
    }

    async fn delete_group(&self, id: &Str) -> Result<(), ErrorCode> {
        let shard = self.shard_now(id)?;
        shard.write(|groups, out| groups.delete(id, out)).await?
    }
}
