//! What request handlers call: one method per group API, from a typed request to a typed response.
//!
//! A method finds the group's shard, has the machine decide, and waits until that is durable and, for joins and syncs, until
//! the group answers. What it is told by the shard no crash takes back, and no other broker could have contradicted.
//! Methods for offsets are in [`commits`] and [`offsets`], for operators in [`admin`].

mod admin;
mod commits;
mod offsets;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base::collections::HashMap;
use base::memory::Budget;
use base::{Clock, Entropy, Uuid};
use futures::future::join_all;
use meta::MetaHandle;
use parking_lot::Mutex;
use partition::Partitions;
use tokio::task::JoinHandle;
use wire::messages::leave_group_request::MemberIdentity;
use wire::messages::leave_group_response::MemberResponse;
use wire::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    SyncGroupRequest, SyncGroupResponse,
};
use wire::{ErrorCode, Str};

use crate::GroupConfig;
use crate::group::classic::refused_join;
use crate::group::memory::GroupsMemory;
use crate::group::{Client, Groups};
use crate::limits::{ALL_COMMITS_BYTES_MAX, NAMES_AT_ONCE};
use crate::runtime::{Shard, ShardError, Shards};
use crate::topic::{CONSUMER_OFFSETS, Spread, TopicLogs, partition_for};

/// Who sent a request, and in which version.
pub type ClientContext = Client;

/// What a [`GroupCoordinator`] is made of.
pub struct GroupCoordinatorDeps {
    /// The metadata.
    pub meta: MetaHandle,
    /// The partitions that this broker leads.
    pub partitions: Partitions,
    /// Configuration.
    pub config: GroupConfig,
    /// Source of time.
    pub clock: Clock,
    /// Source of member ids.
    pub entropy: Entropy,
}

/// The group coordinator of this broker. Cheap to clone.
#[derive(Clone)]
pub struct GroupCoordinator(Arc<Inner>);

struct Inner {
    meta: MetaHandle,
    partitions: Partitions,
    config: Arc<GroupConfig>,
    clock: Clock,
    shards: Shards<Groups>,
    spread: Spread,
    /// What commits take while they are encoded.
    commits: Budget,
    stopped: AtomicBool,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// Those of a request's groups that one shard has, and where they stand in the request.
struct OfShard<'g, G> {
    places: Vec<usize>,
    groups: Vec<&'g G>,
}

impl<G> Default for OfShard<'_, G> {
    fn default() -> Self {
        Self { places: Vec::new(), groups: Vec::new() }
    }
}

/// Lets others run now and then while one request goes through very many names.
#[derive(Default)]
struct Pace(usize);

impl Pace {
    /// Another name is to be looked at.
    async fn step(&mut self) {
        if self.0 == NAMES_AT_ONCE {
            tokio::task::yield_now().await;
            self.0 = 0;
        }
        self.0 += 1;
    }

    /// What is made of each.
    async fn each<T, R>(of: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>, make: impl Fn(T) -> R) -> Vec<R> {
        Self::default().go_on_with(of, make).await
    }

    /// What is made of each of some more names.
    async fn go_on_with<T, R>(
        &mut self,
        of: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
        make: impl Fn(T) -> R,
    ) -> Vec<R> {
        let of = of.into_iter();
        let mut made = Vec::with_capacity(of.len());
        for one in of {
            self.step().await;
            made.push(make(one));
        }
        made
    }
}

/// A group's requests: to the shard that has the group.
type GroupShard = Arc<Shard<Groups>>;

impl From<ShardError> for ErrorCode {
    fn from(error: ShardError) -> Self {
        match error {
            // As in Kafka's CoordinatorRuntime, where only what is loading says so: clients look for the coordinator again.
            ShardError::NotCoordinator | ShardError::NotLoaded => Self::NotCoordinator,
            ShardError::Loading | ShardError::Overloaded => Self::CoordinatorLoadInProgress,
        }
    }
}

impl GroupCoordinator {
    /// Starts the coordinator: its timer, its look at the metadata, and the loading of what is there.
    pub fn start(deps: GroupCoordinatorDeps) -> Self {
        let GroupCoordinatorDeps { meta, partitions, config, clock, entropy } = deps;
        let config = Arc::new(config);
        let logs = TopicLogs { topic: CONSUMER_OFFSETS, partitions: partitions.clone(), meta: meta.clone() };
        let (view, group_config, memory) = (meta.clone(), config.clone(), GroupsMemory::default());
        let shards = Shards::new(Arc::new(logs), clock.clone(), move |_| {
            let view = view.clone();
            let exists = Arc::new(move |name: &str, id: Uuid| {
                view.image().topic(name).is_some_and(|topic| id.is_nil() || topic.id == id)
            });
            Groups::new(group_config.clone(), entropy.clone(), exists, memory.clone())
        });
        let spread = Spread::new(CONSUMER_OFFSETS, &meta);
        let (stopped, tasks) = (AtomicBool::new(false), Mutex::default());
        let commits = Budget::new(ALL_COMMITS_BYTES_MAX);
        let inner = Inner { meta, partitions, config, clock, shards, spread, commits, stopped, tasks };
        let this = Self(Arc::new(inner));
        let timer = base::task::spawn_vital("group-timer", run_timer(this.0.shards.clone()));
        let follower =
            base::task::spawn_vital("group-metadata-follower", follow(this.0.shards.clone(), this.0.meta.clone()));
        this.0.tasks.lock().extend([timer, follower]);
        // So that sessions of members that did not survive end, and first requests find their shard loaded.
        for index in 0..this.0.spread.count(&this.0.meta).unwrap_or(0) {
            // A shard that is not here is another broker's.
            let _ = this.0.shards.open(index);
        }
        this
    }

    /// Stops: whoever waits is told to look for the coordinator again, as is everybody from here on.
    pub fn shutdown(&self) {
        self.0.stopped.store(true, Ordering::Release);
        self.0.tasks.lock().drain(..).for_each(|task| task.abort());
        self.0.shards.stop();
    }

    /// The partition of `__consumer_offsets` that has the group.
    ///
    /// # Errors
    /// [`ShardError::NotCoordinator`] while there is no such topic. It is made for those who ask where the coordinator is;
    /// whoever has not asked is sent to do so, as by Kafka.
    pub fn partition_for(&self, group: &str) -> Result<i32, ShardError> {
        let partitions = self.0.spread.count(&self.0.meta).ok_or(ShardError::NotCoordinator)?;
        Ok(partition_for(group, partitions))
    }

    async fn shard(&self, group: &str) -> Result<GroupShard, ErrorCode> {
        self.check_serving()?;
        let index = self.partition_for(group)?;
        Ok(self.0.shards.get(index).await?)
    }

    /// The shard of one group of many, whose shards were waited for.
    fn shard_now(&self, group: &str) -> Result<GroupShard, ErrorCode> {
        self.check_serving()?;
        let index = self.partition_for(group)?;
        Ok(self.0.shards.open(index)?)
    }

    /// The shards that have these groups, each with those among them: each is asked once for all of its own.
    async fn by_shard<'g, G>(
        &self,
        groups: &'g [G],
        id: impl Fn(&G) -> &Str,
    ) -> Result<BTreeMap<i32, OfShard<'g, G>>, ErrorCode> {
        self.check_serving()?;
        // Looked up once: they may be millions.
        let partitions = self.0.spread.count(&self.0.meta).ok_or(ErrorCode::NotCoordinator)?;
        let (mut shards, mut pace) = (BTreeMap::new(), Pace::default());
        for (place, group) in groups.iter().enumerate() {
            pace.step().await;
            let of_shard: &mut OfShard<'_, _> = shards.entry(partition_for(id(group), partitions)).or_default();
            of_shard.places.push(place);
            of_shard.groups.push(group);
        }
        Ok(shards)
    }

    /// Whether this broker coordinates at all. It may have been replaced without knowing: see [`Shard::check_unfenced`].
    fn check_serving(&self) -> Result<(), ErrorCode> {
        if self.0.stopped.load(Ordering::Acquire) {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        // Whoever took this broker's place may have acknowledged newer commits already.
        if self.0.meta.is_fenced() {
            return Err(ErrorCode::NotCoordinator);
        }
        Ok(())
    }

    /// JoinGroup. The request is dropped before the answer waits for other members.
    pub async fn join_group(
        &self,
        client: &ClientContext,
        request: impl std::ops::Deref<Target = JoinGroupRequest>,
    ) -> JoinGroupResponse {
        // A copy: a slice would keep the whole request in memory.
        let member_id = Str::from(request.member_id.as_str());
        let outcome = self.try_join(client, request).await;
        let mut response = outcome.unwrap_or_else(|error| JoinGroupResponse {
            // Where the group is not looked at, its members are not either.
            member_id: match error {
                ErrorCode::NotCoordinator | ErrorCode::CoordinatorLoadInProgress => Str::default(),
                _ => member_id,
            },
            error_code: error.code(),
            ..refused_join()
        });
        if client.version < 7 {
            // The name may be null from version 7 on.
            response.protocol_name.get_or_insert_default();
        }
        response
    }

    async fn try_join(
        &self,
        client: &Client,
        request: impl std::ops::Deref<Target = JoinGroupRequest>,
    ) -> Result<JoinGroupResponse, ErrorCode> {
        check_join(&self.0.config, &request)?;
        let shard = self.shard(&request.group_id).await?;
        Ok(shard.take_part(move |groups, out| groups.join(client, &request, out)).await?)
    }

    /// SyncGroup. The request is dropped before the answer waits for the leader.
    pub async fn sync_group(
        &self,
        client: &ClientContext,
        request: impl std::ops::Deref<Target = SyncGroupRequest>,
    ) -> SyncGroupResponse {
        let outcome = self.try_sync(client, request).await;
        outcome.unwrap_or_else(|error| SyncGroupResponse {
            error_code: sync_error(error).code(),
            ..SyncGroupResponse::default()
        })
    }

    async fn try_sync(
        &self,
        client: &Client,
        request: impl std::ops::Deref<Target = SyncGroupRequest>,
    ) -> Result<SyncGroupResponse, ErrorCode> {
        check_sync(client, &request)?;
        let shard = self.shard(&request.group_id).await?;
        Ok(shard.take_part(move |groups, out| groups.sync(&request, out)).await?)
    }

    /// Heartbeat.
    pub async fn heartbeat(&self, request: &HeartbeatRequest) -> HeartbeatResponse {
        let outcome = self.try_heartbeat(request).await;
        HeartbeatResponse { error_code: code(outcome), ..HeartbeatResponse::default() }
    }

    async fn try_heartbeat(&self, request: &HeartbeatRequest) -> Result<(), ErrorCode> {
        check_group_id(&request.group_id)?;
        let shard = self.shard(&request.group_id).await?;
        beat(&shard, request).await
    }

    /// LeaveGroup. Before version 3 the one member stands beside the list.
    pub async fn leave_group(&self, client: &ClientContext, request: LeaveGroupRequest) -> LeaveGroupResponse {
        let alone = client.version < 3;
        let mut request = request;
        if alone {
            let member_id = std::mem::take(&mut request.member_id);
            request.members = vec![MemberIdentity { member_id, ..MemberIdentity::default() }];
        }
        match self.try_leave(&request).await {
            Ok(members) if alone => {
                let error_code = members.first().map_or(0, |member| member.error_code);
                LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() }
            }
            Ok(members) => LeaveGroupResponse { members, ..LeaveGroupResponse::default() },
            Err(error) => LeaveGroupResponse { error_code: error.code(), ..LeaveGroupResponse::default() },
        }
    }

    async fn try_leave(&self, request: &LeaveGroupRequest) -> Result<Vec<MemberResponse>, ErrorCode> {
        check_group_id(&request.group_id)?;
        let shard = self.shard(&request.group_id).await?;
        leave(&shard, request).await
    }
}

/// What a sync is told: clients take for fatal that the coordinator is loading, or has too much to write. Then the rebalance
/// begins anew for them, as in Kafka 3.9: they join again, and a join may be told that.
fn sync_error(error: ErrorCode) -> ErrorCode {
    if error == ErrorCode::CoordinatorLoadInProgress { ErrorCode::RebalanceInProgress } else { error }
}

/// Renews a member's session.
async fn beat(shard: &GroupShard, request: &HeartbeatRequest) -> Result<(), ErrorCode> {
    match shard.sign_of_life(|groups, out| groups.heartbeat(request, out)).await {
        // Members must not leave because their group is being loaded; their sessions begin when it is.
        Err(ShardError::Loading) => Ok(shard.check_unfenced().await?),
        outcome => outcome?,
    }
}

/// Takes members out. Those who come in their place could otherwise only wait until their sessions end.
async fn leave(shard: &GroupShard, request: &LeaveGroupRequest) -> Result<Vec<MemberResponse>, ErrorCode> {
    match shard.write_end(|groups, out| groups.leave(request, out)).await? {
        Err(ErrorCode::UnknownMemberId) => {
            // There is no such group: nobody in it is known.
            let unknown = |member: &MemberIdentity| MemberResponse {
                member_id: member.member_id.clone(),
                group_instance_id: member.group_instance_id.clone(),
                error_code: ErrorCode::UnknownMemberId.code(),
                ..MemberResponse::default()
            };
            Ok(request.members.iter().map(unknown).collect())
        }
        outcome => outcome,
    }
}

/// Groups with members have a name.
fn check_group_id(group: &str) -> Result<(), ErrorCode> {
    if group.is_empty() { Err(ErrorCode::InvalidGroupId) } else { Ok(()) }
}

/// What can be said of a join without its group.
fn check_join(config: &GroupConfig, request: &JoinGroupRequest) -> Result<(), ErrorCode> {
    check_group_id(&request.group_id)?;
    let range = config.session_timeout_ms_min..=config.session_timeout_ms_max;
    if range.contains(&request.session_timeout_ms) { Ok(()) } else { Err(ErrorCode::InvalidSessionTimeout) }
}

/// What can be said of a sync without its group, in Kafka's order.
fn check_sync(client: &Client, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
    if client.version >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
        return Err(ErrorCode::InconsistentGroupProtocol);
    }
    check_group_id(&request.group_id)
}

fn code(outcome: Result<(), ErrorCode>) -> i16 {
    outcome.map_or_else(ErrorCode::code, |()| 0)
}

async fn run_timer(shards: Shards<Groups>) {
    loop {
        shards.timer().await;
    }
}

/// Watches for topics that are deleted after this call, however much later the watch itself begins: a client may be served
/// before that.
fn follow(shards: Shards<Groups>, meta: MetaHandle) -> impl Future<Output = ()> + Send {
    let mut changes = meta.changes();
    changes.borrow_and_update();
    let mut before = meta.image();
    async move {
        while changes.changed().await.is_ok() {
            changes.borrow_and_update();
            let after = meta.image();
            let deleted: HashMap<Str, Uuid> =
                after.topics_removed_since(&before).map(|topic| (Str::from(&*topic.name), topic.id)).collect();
            if !deleted.is_empty() {
                topics_deleted(&shards, &deleted).await;
            }
            before = after;
        }
    }
}

async fn topics_deleted(shards: &Shards<Groups>, topics: &HashMap<Str, Uuid>) {
    let shards = shards.all();
    let deletions: Vec<_> = shards.iter().map(|shard| topics_deleted_in(shard, topics)).collect();
    join_all(deletions).await;
}

/// A shard that is loading looks at the metadata when it is loaded, and they show the deletions already.
async fn topics_deleted_in(shard: &GroupShard, topics: &HashMap<Str, Uuid>) {
    let mut after = None;
    loop {
        match shard.write(|groups, out| groups.topics_deleted(topics, after.as_ref(), out)).await {
            Ok(None) => return,
            Ok(last) => after = last,
            Err(error) => {
                // Until then their ids tell them apart from those of new topics of the same name.
                let shard = shard.index();
                tracing::debug!(shard, %error, "offsets of deleted topics are left to the next load or retention check");
                return;
            }
        }
        // Nothing may have had to be written.
        tokio::task::yield_now().await;
    }
}
