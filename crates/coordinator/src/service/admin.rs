//! DescribeGroups, ListGroups and DeleteGroups.

use futures::future::join_all;
use futures::{StreamExt, stream};
use wire::messages::delete_groups_response::DeletableGroupResult;
use wire::messages::describe_groups_response::DescribedGroup;
use wire::messages::list_groups_response::ListedGroup;
use wire::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, ListGroupsRequest,
    ListGroupsResponse,
};
use wire::{ErrorCode, Str};

use super::{ClientContext, GroupCoordinator, Pace};
use crate::group::Groups;
use crate::group::admin::DEAD;
use crate::limits::REQUEST_GROUPS_CONCURRENCY;
use crate::runtime::{Looks, Shard, ShardError};

/// The version from which a group that is not there is an error.
const GROUP_ID_NOT_FOUND_FROM: i16 = 6;

/// What a list is refused with that would lack groups for a while. Kafka's admin client asks again then, whoever is in this
/// broker's place; it would take NOT_COORDINATOR for an answer.
const LIST_AGAIN: ErrorCode = ErrorCode::CoordinatorNotAvailable;

impl GroupCoordinator {
    /// DescribeGroups. Authorized operations are the caller's to fill in.
    pub async fn describe_groups(
        &self,
        client: &ClientContext,
        request: &DescribeGroupsRequest,
    ) -> DescribeGroupsResponse {
        let ids = &request.groups;
        let shards = match self.by_shard(ids, |id| id).await {
            Ok(shards) => shards,
            Err(error) => {
                let groups = Pace::each(ids, |id| undescribed(id, error)).await;
                return DescribeGroupsResponse { groups, ..DescribeGroupsResponse::default() };
            }
        };
        let looks = &Looks::small();
        let described = shards.iter().map(|(shard, asked)| self.describe_in(*shard, &asked.groups, looks));
        let described = join_all(described).await;
        let mut groups = Pace::each(ids, |_| DescribedGroup::default()).await;
        let mut pace = Pace::default();
        for (asked, mut described) in shards.values().zip(described) {
            for (at, place) in asked.places.iter().enumerate() {
                pace.step().await;
                let id = &ids[*place];
                groups[*place] = match &mut described {
                    Ok(found) => found[at].take().map_or_else(|| absent(client, id), |group| *group),
                    Err(error) => undescribed(id, (*error).into()),
                };
            }
        }
        DescribeGroupsResponse { groups, ..DescribeGroupsResponse::default() }
    }

    /// The groups of a request that one shard has.
    async fn describe_in(
        &self,
        shard: i32,
        ids: &[&Str],
        looks: &Looks,
    ) -> Result<Vec<Option<Box<DescribedGroup>>>, ShardError> {
        described(&*self.0.shards.get(shard).await?, ids, looks).await
    }

    /// ListGroups: those that this broker coordinates.
    pub async fn list_groups(&self, request: &ListGroupsRequest) -> ListGroupsResponse {
        match self.try_list(request).await {
            Ok(groups) => ListGroupsResponse { groups, ..ListGroupsResponse::default() },
            Err(error) => ListGroupsResponse { error_code: error.code(), ..ListGroupsResponse::default() },
        }
    }

    async fn try_list(&self, request: &ListGroupsRequest) -> Result<Vec<ListedGroup>, ErrorCode> {
        self.check_serving().map_err(|_| LIST_AGAIN)?;
        let shards = 0..self.0.spread.count(&self.0.meta).unwrap_or(0);
        let looks = &Looks::large();
        let listed = join_all(shards.map(|index| self.list_shard(index, request, looks))).await;
        let listed: Vec<Vec<ListedGroup>> = listed.into_iter().collect::<Result<_, _>>()?;
        // A list of all groups takes the word of a broker for what it does not coordinate, too.
        self.0.partitions.check_unfenced().await.map_err(|_| LIST_AGAIN)?;
        Ok(listed.into_iter().flatten().collect())
    }

    async fn list_shard(
        &self,
        index: i32,
        request: &ListGroupsRequest,
        looks: &Looks,
    ) -> Result<Vec<ListedGroup>, ErrorCode> {
        let list_again = |error: ShardError| match error {
            ShardError::NotCoordinator | ShardError::NotLoaded => LIST_AGAIN,
            ShardError::Loading | ShardError::Overloaded => error.into(),
        };
        let shard = match self.0.shards.get(index).await {
            // Another broker lists them.
            Err(ShardError::NotCoordinator) => return Ok(Vec::new()),
            outcome => outcome.map_err(list_again)?,
        };
        listed(&shard, request, looks).await.map_err(list_again)
    }

    /// DeleteGroups.
    pub async fn delete_groups(&self, request: &DeleteGroupsRequest) -> DeleteGroupsResponse {
        let ids = &request.groups_names;
        let mut outcomes = Pace::each(ids, |_| Err(ErrorCode::GroupIdNotFound)).await;
        match self.there(ids, &mut outcomes).await {
            Ok(there) => {
                let deletions =
                    there.into_iter().map(|place| async move { (place, self.delete_group(&ids[place]).await) });
                let mut deletions = stream::iter(deletions).buffer_unordered(REQUEST_GROUPS_CONCURRENCY);
                while let Some((place, outcome)) = deletions.next().await {
                    outcomes[place] = outcome;
                }
            }
            Err(error) => outcomes = Pace::each(ids, |_| Err(error)).await,
        }
        let result = |(id, outcome): (&Str, Result<(), ErrorCode>)| DeletableGroupResult {
            group_id: id.clone(),
            error_code: super::code(outcome),
            ..DeletableGroupResult::default()
        };
        let results = Pace::each(ids.iter().zip(outcomes), result).await;
        DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() }
    }

    /// The places of those of the groups that are there; notes which cannot be told of. A request may name very many that
    /// are not: each shard is looked at once for all of its own, and one that is made after that look was not there at it.
    async fn there(&self, ids: &[Str], outcomes: &mut [Result<(), ErrorCode>]) -> Result<Vec<usize>, ErrorCode> {
        let shards = self.by_shard(ids, |id| id).await?;
        let looks = &Looks::small();
        let looked = join_all(shards.iter().map(|(shard, asked)| self.there_in(*shard, &asked.groups, looks))).await;
        let (mut there, mut pace) = (Vec::new(), Pace::default());
        for (asked, looked) in shards.values().zip(&looked) {
            for (at, place) in asked.places.iter().enumerate() {
                pace.step().await;
                match looked {
                    Ok(looked) if looked[at] => there.push(*place),
                    Ok(_) => {}
                    Err(error) => outcomes[*place] = Err((*error).into()),
                }
            }
        }
        Ok(there)
    }

    async fn there_in(&self, shard: i32, ids: &[&Str], looks: &Looks) -> Result<Vec<bool>, ShardError> {
        are_there(&*self.0.shards.get(shard).await?, ids, looks).await
    }

    async fn delete_group(&self, id: &Str) -> Result<(), ErrorCode> {
        let shard = self.shard_now(id)?;
        shard.write(|groups, out| groups.delete(id, out)).await?
    }
}

/// Groups of a shard; `None` for those that are not there, of which a request may name very many: they take little. None
/// is called that before its removal is durable.
pub(super) async fn described(
    shard: &Shard<Groups>,
    ids: &[&Str],
    looks: &Looks,
) -> Result<Vec<Option<Box<DescribedGroup>>>, ShardError> {
    shard.read_decided(ids, looks, |groups, id| groups.describe(id).map(|group| group.map(Box::new))).await
}

/// Which groups of a shard are there. None is called gone before its removal is durable.
pub(super) async fn are_there(shard: &Shard<Groups>, ids: &[&Str], looks: &Looks) -> Result<Vec<bool>, ShardError> {
    shard.read_decided(ids, looks, |groups, id| groups.is_there(id)).await
}

/// The groups of a shard.
pub(super) async fn listed(
    shard: &Shard<Groups>,
    request: &ListGroupsRequest,
    looks: &Looks,
) -> Result<Vec<ListedGroup>, ShardError> {
    let list = |groups: &Groups, (): &()| groups.list(&request.states_filter, &request.types_filter);
    Ok(shard.read_decided(&[()], looks, list).await?.into_iter().flatten().collect())
}

fn undescribed(id: &Str, error: ErrorCode) -> DescribedGroup {
    DescribedGroup { group_id: id.clone(), error_code: error.code(), ..DescribedGroup::default() }
}

/// A group that is not there.
fn absent(client: &ClientContext, id: &Str) -> DescribedGroup {
    let found = client.version < GROUP_ID_NOT_FOUND_FROM;
    DescribedGroup {
        group_id: id.clone(),
        group_state: Str::from_static(DEAD),
        error_code: if found { 0 } else { ErrorCode::GroupIdNotFound.code() },
        error_message: (!found).then(|| format!("Group {id} not found.").into()),
        ..DescribedGroup::default()
    }
}
