use std::time::Duration;

use base::TimestampMs;
use base::clock::ManualTime;
use bytes::Bytes;
use wire::messages::ListGroupsRequest;
use wire::messages::join_group_request::JoinGroupRequestProtocol;
use wire::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use wire::messages::offset_fetch_response::OffsetFetchResponseTopics;

use super::*;
use crate::group::offsets::{Committer, NewOffset};
use crate::limits::{BATCH_BYTES_MAX, LOOKS_AT_ONCE, PARTITIONS_AT_A_LOOK, WRITES_WAITING_BYTES_MAX};
use crate::runtime::memory::{Disk, MemoryLogs};
use crate::runtime::{Looks, OpenLog, Record};

#[test]
fn a_join_is_checked_before_its_group_is_looked_for() {
    let config = GroupConfig::default();
    let join = |group: &str, session_timeout_ms| {
        let request = JoinGroupRequest { group_id: group.into(), session_timeout_ms, ..JoinGroupRequest::default() };
        check_join(&config, &request)
    };
    let (min, max) = (config.session_timeout_ms_min, config.session_timeout_ms_max);
    assert_eq!(join("g", min), Ok(()));
    assert_eq!(join("g", max), Ok(()));
    assert_eq!(join("g", min - 1), Err(ErrorCode::InvalidSessionTimeout));
    assert_eq!(join("g", max + 1), Err(ErrorCode::InvalidSessionTimeout));
    assert_eq!(join("", min), Err(ErrorCode::InvalidGroupId));
}

/// Kafka's clients look for the coordinator again after the first of these errors, and only wait after the other.
#[test]
fn clients_are_told_what_to_do_about_a_shard_that_cannot_serve() {
    assert_eq!(ErrorCode::from(ShardError::NotCoordinator), ErrorCode::NotCoordinator);
    assert_eq!(ErrorCode::from(ShardError::NotLoaded), ErrorCode::NotCoordinator);
    assert_eq!(ErrorCode::from(ShardError::Loading), ErrorCode::CoordinatorLoadInProgress);
    assert_eq!(ErrorCode::from(ShardError::Overloaded), ErrorCode::CoordinatorLoadInProgress);
}

#[tokio::test]
async fn very_many_names_are_gone_through_a_thousand_in_a_poll() {
    let looked = std::cell::Cell::new(0);
    let look = |_| looked.set(looked.get() + 1);
    let mut all = std::pin::pin!(Pace::each(0..3 * NAMES_AT_ONCE + 1, look));
    for polled in 1..=3 {
        assert!(futures::poll!(all.as_mut()).is_pending());
        assert_eq!(looked.get(), polled * NAMES_AT_ONCE);
    }
    assert_eq!(all.await.len(), 3 * NAMES_AT_ONCE + 1);
}

#[test]
fn a_sync_without_protocol_type_or_name_is_told_so_even_without_a_group() {
    let check = |version, group: &str, protocol_type: Option<&str>| {
        let client = Client { version, ..Client::default() };
        let protocol_type = protocol_type.map(Str::from);
        let protocol_name = Some("range".into());
        check_sync(
            &client,
            &SyncGroupRequest { group_id: group.into(), protocol_type, protocol_name, ..Default::default() },
        )
    };
    assert_eq!(check(5, "g", Some("consumer")), Ok(()));
    assert_eq!(check(5, "", Some("consumer")), Err(ErrorCode::InvalidGroupId));
    assert_eq!(check(5, "", None), Err(ErrorCode::InconsistentGroupProtocol));
    assert_eq!(check(4, "", None), Err(ErrorCode::InvalidGroupId));
    assert_eq!(check(4, "g", None), Ok(()));
}

/// Java's clients and aiokafka end on the first; both join again on the second.
#[test]
fn a_sync_is_never_told_that_the_coordinator_is_loading() {
    assert_eq!(sync_error(ErrorCode::CoordinatorLoadInProgress), ErrorCode::RebalanceInProgress);
    for other in [ErrorCode::NotCoordinator, ErrorCode::UnknownMemberId, ErrorCode::InvalidGroupId] {
        assert_eq!(sync_error(other), other);
    }
}

/// A coordinator whose log another has taken over may be loading for ever.
#[tokio::test]
async fn a_member_of_a_group_that_is_loading_is_told_to_stay_unless_the_coordinator_was_replaced() {
    let logs = Arc::new(MemoryLogs::default());
    let disk = logs.disk(0);
    disk.write(&[Record { key: Bytes::from_static(b"k"), value: None }]);
    disk.hold_reads(true);
    let config = Arc::new(GroupConfig::default());
    let shards = Shards::new(logs as Arc<dyn OpenLog>, Clock::system(), move |_| {
        let exists = Arc::new(|_: &str, _| true);
        Groups::new(config.clone(), Entropy::system(), exists, GroupsMemory::default())
    });
    let shard = shards.open(0).unwrap();
    let request = HeartbeatRequest { group_id: "g".into(), member_id: "m".into(), ..Default::default() };
    assert_eq!(beat(&shard, &request).await, Ok(()));
    disk.fence();
    assert_eq!(beat(&shard, &request).await, Err(ErrorCode::NotCoordinator));
}

/// aiokafka and sarama give up when a heartbeat is told that the coordinator is loading, which Kafka's never are.
#[tokio::test]
async fn a_member_of_a_group_that_could_not_be_loaded_is_told_to_look_for_its_coordinator() {
    let logs = Arc::new(MemoryLogs::default());
    let disk = logs.disk(0);
    disk.write(&[Record { key: Bytes::from_static(b"k"), value: None }]);
    disk.refuse_reads(true);
    let config = Arc::new(GroupConfig::default());
    let shards = Shards::new(logs as Arc<dyn OpenLog>, Clock::system(), move |_| {
        Groups::new(config.clone(), Entropy::system(), Arc::new(|_: &str, _| true), GroupsMemory::default())
    });
    for _ in 0..2 {
        let request = HeartbeatRequest { group_id: "g".into(), member_id: "m".into(), ..Default::default() };
        let told = match shards.get(0).await {
            Ok(shard) => beat(&shard, &request).await,
            Err(error) => Err(error.into()),
        };
        assert_eq!(told, Err(ErrorCode::NotCoordinator));
    }
}

/// While writes back up the queue is full; sessions go on to end, so they must go on to be renewed too.
#[tokio::test]
async fn a_member_that_beats_stays_while_nothing_can_be_written() {
    while_nothing_can_be_written(Leaves::WhenItsSessionEnds).await;
}

#[tokio::test]
async fn a_member_may_leave_while_nothing_can_be_written() {
    while_nothing_can_be_written(Leaves::ByItself).await;
}

enum Leaves {
    ByItself,
    WhenItsSessionEnds,
}

/// A member joins, beats while the queue is full, and leaves.
async fn while_nothing_can_be_written(leaves: Leaves) {
    const SESSION: Duration = Duration::from_secs(10);
    let time = ManualTime::starting_at(1_000_000);
    let logs = Arc::new(MemoryLogs::default());
    let disk = logs.disk(0);
    let open: Arc<dyn OpenLog> = logs;
    let config = Arc::new(GroupConfig::default());
    let entropy = Entropy::system();
    let shards = Shards::new(open, Clock::from_source(time.clone()), move |_| {
        Groups::new(config.clone(), entropy.clone(), Arc::new(|_: &str, _| true), GroupsMemory::default())
    });
    let shard = shards.get(0).await.unwrap();
    let join = JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: SESSION.as_millis() as i32,
        rebalance_timeout_ms: SESSION.as_millis() as i32,
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol { name: "range".into(), ..Default::default() }],
        ..Default::default()
    };
    // Its version lets a member in without asking for an id first.
    let client = Client { version: 3, ..Client::default() };
    let joined = shard.write(|groups, out| groups.join(&client, &join, out)).await.unwrap();
    time.advance(Duration::from_secs(3));
    shards.tick().await;
    let joined = joined.await.unwrap();
    assert_eq!(joined.error_code, 0);
    let sync = SyncGroupRequest {
        group_id: "g".into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        ..Default::default()
    };
    let synced = shard.write(|groups, out| groups.sync(&sync, out)).await.unwrap();
    assert_eq!(synced.await.unwrap().error_code, 0);
    let beat_of = HeartbeatRequest {
        group_id: "g".into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        ..Default::default()
    };
    disk.hold();
    // Of a kind that is carried.
    let record = Record { key: Bytes::from_static(b"\0\x63"), value: Some(vec![0; BATCH_BYTES_MAX / 2].into()) };
    let full = 1 + WRITES_WAITING_BYTES_MAX as usize / record.bytes();
    let mut waiting = Box::pin(shard.write(|_, out| out.records.extend(std::iter::repeat_n(record, full))));
    assert!(futures::poll!(waiting.as_mut()).is_pending());
    assert_eq!(shard.write(|_, _| ()).await, Err(ShardError::Overloaded));
    assert_eq!(shard.check_room(), Err(ShardError::Overloaded));
    for _ in 0..8 {
        time.advance(SESSION / 4);
        assert_eq!(beat(&shard, &beat_of).await, Ok(()));
        shards.tick().await;
    }
    let members = async || shard.read(|groups| groups.describe("g").what.map(|group| group.members.len())).await;
    assert_eq!(members().await, Ok(Some(1)), "a member that beats is there");
    if let Leaves::ByItself = leaves {
        let member = MemberIdentity { member_id: joined.member_id.clone(), ..Default::default() };
        let request = LeaveGroupRequest { group_id: "g".into(), members: vec![member], ..Default::default() };
        let mut left = Box::pin(leave(&shard, &request));
        assert!(futures::poll!(left.as_mut()).is_pending(), "that the group is empty is not durable");
        disk.release();
        assert_eq!(left.await.unwrap()[0].error_code, 0);
        assert_eq!(members().await, Ok(Some(0)));
    } else {
        time.advance(2 * SESSION);
        shards.tick().await;
        assert_ne!(members().await, Ok(Some(1)), "one that does not is gone");
    }
}

/// The first join of a group writes that the group is there.
#[tokio::test]
async fn a_join_does_not_wait_for_the_record_of_its_group() {
    let (disk, shard) = shard().await;
    disk.hold();
    let request = JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol { name: "range".into(), ..Default::default() }],
        ..Default::default()
    };
    let client = Client { version: 4, ..Client::default() };
    let mut joined = Box::pin(shard.take_part(|groups, out| groups.join(&client, &request, out)));
    let std::task::Poll::Ready(answer) = futures::poll!(joined.as_mut()) else { panic!("it waits") };
    assert_eq!(answer.unwrap().error_code, ErrorCode::MemberIdRequired.code());
    let id = Str::from("g");
    let ids = [&id];
    let looks = Looks::small();
    let mut described = Box::pin(admin::described(&shard, &ids, &looks));
    assert!(futures::poll!(described.as_mut()).is_pending(), "a crash could take it back");
    disk.release();
    assert!(described.await.unwrap()[0].is_some());
}

/// A shard on a disk in memory.
async fn shard() -> (Arc<Disk>, GroupShard) {
    let logs = Arc::new(MemoryLogs::default());
    let disk = logs.disk(0);
    let open: Arc<dyn OpenLog> = logs;
    let (config, entropy) = (Arc::new(GroupConfig::default()), Entropy::system());
    let shards = Shards::new(open, Clock::system(), move |_| {
        Groups::new(config.clone(), entropy.clone(), Arc::new(|_: &str, _| true), GroupsMemory::default())
    });
    (disk, shards.get(0).await.unwrap())
}

/// A commit of one offset that is under way.
fn commit(shard: &GroupShard, group: &str, offset: i64) -> tokio::task::JoinHandle<Result<(), ErrorCode>> {
    commit_of(shard, group, Uuid::from_u128(1), offset, None)
}

/// The same of a topic of the same name, with a retention of its own or none.
fn commit_of(
    shard: &GroupShard,
    group: &str,
    topic_id: Uuid,
    offset: i64,
    retention_ms: Option<i64>,
) -> tokio::task::JoinHandle<Result<(), ErrorCode>> {
    let (shard, group, member) = (shard.clone(), Str::from(group), Str::default());
    base::task::spawn("commit", async move {
        let committer = Committer { version: 9, group: &group, generation: -1, member: &member, instance: None };
        let offset = NewOffset {
            topic: "t".into(),
            topic_id,
            partition: 0,
            offset,
            leader_epoch: -1,
            metadata: None,
            commit_timestamp: None,
        };
        let encoded = offset.encode(&group, TimestampMs(0), retention_ms, &GroupConfig::default());
        shard.write(|groups, out| groups.commit(&committer, vec![encoded], out)).await??.remove(0)
    })
}

/// The removal of what an earlier topic had lags behind, and may find a commit into the next one of the name in the queue.
#[tokio::test]
async fn an_offset_with_a_retention_of_its_own_that_is_being_committed_outlives_the_earlier_topic_of_the_name() {
    let (disk, shard) = shard().await;
    let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
    commit_of(&shard, "g", first, 1, Some(60_000)).await.unwrap().unwrap();
    disk.hold();
    let committed = commit_of(&shard, "g", second, 2, Some(60_000));
    while disk.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    let deleted = HashMap::from_iter([(Str::from("t"), first)]);
    let mut removal = Box::pin(topics_deleted_in(&shard, &deleted));
    assert!(futures::poll!(removal.as_mut()).is_pending());
    disk.release();
    removal.await;
    committed.await.unwrap().unwrap();
    let found = shard.read(|groups| groups.committed("g").map(|offsets| offsets["t"][&0].clone())).await.unwrap();
    assert_eq!(found.map(|found| (found.offset, found.topic_id)), Some((2, second)));
}

/// Those who look for what is wrong are not to hang with it, nor members of groups that are at rest.
#[tokio::test]
async fn while_a_log_does_not_move_groups_are_described_listed_and_read_that_nothing_waits_to_be_written_of() {
    let (disk, shard) = shard().await;
    for group in ["quiet", "busy"] {
        commit(&shard, group, 1).await.unwrap().unwrap();
    }
    disk.hold();
    let busy = commit(&shard, "busy", 2);
    while disk.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    let ids = ["quiet", "busy", "none"].map(Str::from);
    let described = admin::described(&shard, &ids.each_ref(), &Looks::small()).await.unwrap();
    assert_eq!(described.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(admin::listed(&shard, &ListGroupsRequest::default(), &Looks::large()).await.unwrap().len(), 2);
    let image = meta::Image::default();
    let of = |id: &Str| OffsetFetchRequestGroup { group_id: id.clone(), topics: None, ..Default::default() };
    let asked = ids.each_ref().map(of);
    let fetch = async |asked: &[&OffsetFetchRequestGroup], require_stable| {
        let found = offsets::fetched(&shard, &image, false, asked, require_stable, &Looks::small()).await.unwrap();
        let offset = |topics: Vec<OffsetFetchResponseTopics>| topics.first().map(|t| t.partitions[0].committed_offset);
        found.into_iter().map(offset).collect::<Vec<_>>()
    };
    assert_eq!(fetch(&[&asked[0], &asked[2]], true).await, [Some(1), None]);
    assert_eq!(fetch(&asked.each_ref(), false).await, [Some(1), Some(1), None]);
    let each = asked.each_ref();
    let mut stable = Box::pin(fetch(&each, true));
    assert!(futures::poll!(stable.as_mut()).is_pending(), "an offset of one of them is being committed");
    assert!(!busy.is_finished());
    disk.release();
    assert_eq!(stable.await, [Some(1), Some(2), None]);
    busy.await.unwrap().unwrap();
}

/// A request may be for groups of all shards, which are asked side by side in one task.
#[tokio::test]
async fn one_poll_of_a_request_for_many_groups_looks_at_few_of_them_however_many_shards_they_are_in() {
    const SHARDS: i32 = 50;
    let (config, logs) = (Arc::new(GroupConfig::default()), Arc::new(MemoryLogs::default()));
    (0..SHARDS).for_each(|index| drop(logs.disk(index)));
    let shards = Shards::new(logs as Arc<dyn OpenLog>, Clock::system(), move |_| {
        Groups::new(config.clone(), Entropy::system(), Arc::new(|_: &str, _| true), GroupsMemory::default())
    });
    let shards: Vec<_> = join_all((0..SHARDS).map(|index| shards.get(index))).await;
    let shards: Vec<_> = shards.into_iter().map(Result::unwrap).collect();
    let asked = [(); LOOKS_AT_ONCE];
    for (looks, at_once) in [(Looks::small(), LOOKS_AT_ONCE), (Looks::large(), 1)] {
        let looked = std::cell::Cell::new(0);
        let look = |_: &Groups, (): &()| looked.set(looked.get() + 1);
        let reads = shards.iter().map(|shard| shard.read_each(&asked, &looks, look));
        let mut all = std::pin::pin!(join_all(reads));
        let mut polls = 0;
        let read = loop {
            let before = looked.get();
            let read = futures::poll!(all.as_mut());
            polls += 1;
            assert!(looked.get() - before <= at_once, "{} looks in poll {polls}", looked.get() - before);
            match read {
                std::task::Poll::Ready(read) => break read,
                std::task::Poll::Pending => tokio::task::yield_now().await,
            }
        };
        assert!(read.iter().all(Result::is_ok));
        assert_eq!(looked.get(), SHARDS as usize * LOOKS_AT_ONCE);
    }
}

/// A request may name millions.
#[tokio::test]
async fn groups_that_are_not_there_are_told_apart_with_one_look_at_the_fence() {
    let (disk, shard) = shard().await;
    commit(&shard, "there", 1).await.unwrap().unwrap();
    let ids: Vec<Str> = (0..10 * LOOKS_AT_ONCE).map(|at| at.to_string().into()).chain(["there".into()]).collect();
    let ids: Vec<&Str> = ids.iter().collect();
    let before = disk.fence_checks();
    let there = admin::are_there(&shard, &ids, &Looks::small()).await.unwrap();
    assert_eq!((there.iter().filter(|there| **there).count(), there.last()), (1, Some(&true)));
    assert_eq!(disk.fence_checks() - before, 1);
    disk.hold();
    let there = Str::from("there");
    let mut deletion = Box::pin(shard.write(|groups, out| groups.delete(&there, out)));
    assert!(futures::poll!(deletion.as_mut()).is_pending());
    let (others, looks) = (&ids[..1], Looks::small());
    assert_eq!(admin::are_there(&shard, others, &looks).await, Ok(vec![false]));
    let mut gone = Box::pin(admin::are_there(&shard, &ids, &looks));
    assert!(!polls_to_the_end(gone.as_mut()), "a crash could take it back");
    disk.release();
    assert_eq!(gone.await.unwrap().last(), Some(&false));
    deletion.await.unwrap().unwrap();
}

/// Polls a hundred times; whether it came to its end.
fn polls_to_the_end(mut future: std::pin::Pin<&mut impl Future>) -> bool {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    (0..100).any(|_| future.as_mut().poll(&mut context).is_ready())
}

/// Heartbeats wait for the lock meanwhile.
#[tokio::test]
async fn of_a_group_few_partitions_are_looked_at_at_a_time_and_all_are_told() {
    let (_disk, shard) = shard().await;
    commit(&shard, "g", 7).await.unwrap().unwrap();
    let image = meta::Image::default();
    let asked = |topics: &[(&str, usize)]| {
        let topic = |(name, partitions): &(&str, usize)| OffsetFetchRequestTopics {
            name: (*name).into(),
            partition_indexes: (0..*partitions as i32).collect(),
            ..Default::default()
        };
        let topics = Some(topics.iter().map(topic).collect());
        OffsetFetchRequestGroup { group_id: "g".into(), topics, ..Default::default() }
    };
    let many = PARTITIONS_AT_A_LOOK;
    let groups = [
        asked(&[]),
        asked(&[("none", 0)]),
        asked(&[("t", 1), ("a", many - 3), ("b", 0), ("t", 2)]),
        asked(&[("a", many - 1), ("t", 1), ("none", 0)]),
        asked(&[("a", many), ("t", 3 * many), ("b", 1)]),
        asked(&[("a", many - 2), ("none", 0), ("t", 1)]),
    ];
    let found = offsets::fetched(&shard, &image, false, &groups.each_ref(), false, &Looks::small()).await.unwrap();
    for (group, found) in groups.iter().zip(found) {
        let topics = group.topics.as_ref().unwrap();
        assert_eq!(found.len(), topics.len());
        for (topic, found) in topics.iter().zip(found) {
            assert_eq!(topic.name, found.name);
            let indexes: Vec<i32> = found.partitions.iter().map(|found| found.partition_index).collect();
            assert_eq!(topic.partition_indexes, indexes);
            let there = found.partitions.iter().filter(|found| found.committed_offset != -1).count();
            assert_eq!(there, usize::from(*topic.name == *"t"), "its partition 0 has an offset");
        }
    }
}

/// As in Kafka's `fetchOffsetsForGroup`.
#[tokio::test]
async fn topics_whose_ids_nobody_knows_are_told_of_last() {
    let (_disk, shard) = shard().await;
    let image = image(&[("t", 1), ("u", 2)]);
    let topic = |id| OffsetFetchRequestTopics {
        topic_id: Uuid::from_u128(id),
        partition_indexes: vec![0],
        ..Default::default()
    };
    let topics = Some([8, 1, 9, 2].map(topic).to_vec());
    let group = OffsetFetchRequestGroup { group_id: "g".into(), topics, ..Default::default() };
    let found = offsets::fetched(&shard, &image, true, &[&group], false, &Looks::small()).await.unwrap().remove(0);
    let told = found.iter().map(|topic| (topic.topic_id.as_u128(), topic.partitions[0].error_code));
    let unknown = ErrorCode::UnknownTopicId.code();
    assert_eq!(told.collect::<Vec<_>>(), [(1, 0), (2, 0), (8, unknown), (9, unknown)]);
}

/// Metadata with topics.
fn image(topics: &[(&str, u128)]) -> meta::Image {
    let mut image = meta::Image::default();
    for (name, id) in topics {
        let id = Uuid::from_u128(*id);
        image.topics.insert(id, Arc::new(meta::TopicImage { id, name: (*name).into(), partitions: Vec::new() }));
        image.topics_by_name.insert((*name).into(), id);
    }
    image
}
