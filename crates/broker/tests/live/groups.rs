//! Consumer groups and committed offsets, through a real broker and across its crash.

use bytes::Bytes;
use wire::messages::create_partitions_request::CreatePartitionsTopic;
use wire::messages::join_group_request::JoinGroupRequestProtocol;
use wire::messages::leave_group_request::MemberIdentity;
use wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use wire::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use wire::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use wire::messages::sync_group_request::SyncGroupRequestAssignment;
use wire::messages::*;
use wire::records::{ConsumerProtocolSubscription, encode_versioned};
use wire::{ErrorCode, Message, Str};

use crate::support::{Client, Live, batch, encode, start, start_on};

const FAST: &[(&str, &str)] = &[("group.initial.rebalance.delay.ms", "0"), ("offsets.topic.num.partitions", "5")];

/// Of every topic here: one for each version of OffsetCommit.
const PARTITIONS: i32 = 11;

/// A broker that was asked for the coordinator of a group, as every client asks at first.
async fn started(settings: &[(&str, &str)]) -> Live {
    let live = start(settings).await;
    let request = FindCoordinatorRequest { key: "g".into(), ..Default::default() };
    let found = Client::connect(&live).await.call(3, &request).await;
    assert_eq!(found.error_code, 0, "{found:?}");
    live
}

async fn create_topic(client: &mut Client, name: &str) {
    let topic = create_topics_request::CreatableTopic {
        name: name.into(),
        num_partitions: PARTITIONS,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    assert_eq!(client.call(7, &request).await.topics[0].error_code, 0);
}

async fn delete_topic(client: &mut Client, name: &str) {
    let request = DeleteTopicsRequest { topic_names: vec![name.into()], timeout_ms: 10_000, ..Default::default() };
    assert_eq!(client.call(5, &request).await.responses[0].error_code, 0);
}

fn subscription(topic: &str) -> Bytes {
    let subscription = ConsumerProtocolSubscription { topics: vec![topic.into()], ..Default::default() };
    encode_versioned(&subscription, 1).unwrap()
}

fn join(group: &str, member: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        member_id: member.into(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: subscription("t"),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn sync(group: &str, joined: &JoinGroupResponse, version: i16, assignments: &[(&str, &str)]) -> SyncGroupRequest {
    let assignments = assignments.iter().map(|(member, bytes)| SyncGroupRequestAssignment {
        member_id: (*member).into(),
        assignment: Bytes::copy_from_slice(bytes.as_bytes()),
        ..Default::default()
    });
    SyncGroupRequest {
        group_id: group.into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        protocol_type: (version >= 5).then(|| "consumer".into()),
        protocol_name: (version >= 5).then(|| "range".into()),
        assignments: assignments.collect(),
        ..Default::default()
    }
}

fn heartbeat(group: &str, joined: &JoinGroupResponse) -> HeartbeatRequest {
    HeartbeatRequest {
        group_id: group.into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        ..Default::default()
    }
}

fn commit(group: &str, joined: Option<&JoinGroupResponse>, partition: i32, offset: i64) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: joined.map_or(-1, |joined| joined.generation_id),
        member_id: joined.map(|joined| joined.member_id.clone()).unwrap_or_default(),
        topics: vec![OffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: partition,
                committed_offset: offset,
                committed_metadata: Some(format!("at {offset}").into()),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// The error of the one partition committed.
async fn committed(client: &mut Client, version: i16, request: &OffsetCommitRequest) -> i16 {
    client.call(version, request).await.topics[0].partitions[0].error_code
}

/// All offsets of a group: topic, partition, offset, metadata.
async fn fetch_all(client: &mut Client, group: &str) -> Vec<(String, i32, i64, String)> {
    let asked = OffsetFetchRequestGroup { group_id: group.into(), topics: None, ..Default::default() };
    let request = OffsetFetchRequest { groups: vec![asked], require_stable: true, ..Default::default() };
    let response = client.call(8, &request).await;
    assert_eq!(response.groups[0].error_code, 0);
    let mut all = Vec::new();
    for topic in &response.groups[0].topics {
        for p in &topic.partitions {
            let metadata = p.metadata.clone().unwrap_or_default();
            all.push((topic.name.to_string(), p.partition_index, p.committed_offset, metadata.to_string()));
        }
    }
    all.sort();
    all
}

/// Two members of one generation: the leader's connection and answer first.
async fn two_members(live: &Live, group: &str) -> [(Client, JoinGroupResponse); 2] {
    let mut clients = [Client::connect(live).await, Client::connect(live).await];
    let mut ids = Vec::new();
    for client in &mut clients {
        let refused = client.call(9, &join(group, "")).await;
        assert_eq!(refused.error_code, ErrorCode::MemberIdRequired.code());
        ids.push(refused.member_id);
    }
    let [first, second] = &mut clients;
    let alone = first.call(9, &join(group, &ids[0])).await;
    assert_eq!((alone.error_code, alone.generation_id), (0, 1));
    let waits = second.send(9, &join(group, &ids[1])).await;
    while first.call(4, &heartbeat(group, &alone)).await.error_code != ErrorCode::RebalanceInProgress.code() {
        tokio::task::yield_now().await;
    }
    let again = first.call(9, &join(group, &ids[0])).await;
    let joined = [again, second.reply::<JoinGroupRequest>(9, waits).await];
    assert_eq!((joined[0].error_code, joined[1].error_code), (0, 0));
    assert_eq!((joined[0].generation_id, joined[1].generation_id), (2, 2));
    assert_eq!(joined[0].leader, joined[1].leader);
    let [a, b] = clients;
    let [joined_a, joined_b] = joined;
    let mut members = [(a, joined_a), (b, joined_b)];
    if members[0].1.leader != members[0].1.member_id {
        members.swap(0, 1);
    }
    assert_eq!((members[0].1.members.len(), members[1].1.members.len()), (2, 0));
    members
}

/// The group's name stands in each record that a commit becomes.
#[tokio::test(flavor = "multi_thread")]
async fn a_small_commit_that_becomes_very_many_bytes_is_refused_and_commits_nothing() {
    let live = started(FAST).await;
    let mut client = Client::connect(&live).await;
    create_topic(&mut client, "t").await;
    let more = CreatePartitionsTopic { name: "t".into(), count: 3_000, assignments: None, ..Default::default() };
    let more = CreatePartitionsRequest { topics: vec![more], timeout_ms: 10_000, ..Default::default() };
    assert_eq!(client.call(3, &more).await.results[0].error_code, 0);
    let group = "g".repeat(32_000);
    let mut request = commit(&group, None, 0, 7);
    let partition = request.topics[0].partitions[0].clone();
    request.topics[0].partitions =
        (0..3_000).map(|index| OffsetCommitRequestPartition { partition_index: index, ..partition.clone() }).collect();
    let refused = [(1, ErrorCode::InvalidCommitOffsetSize), (8, ErrorCode::UnknownServerError)];
    for (version, error) in refused {
        assert_eq!(committed(&mut client, version, &request).await, error.code(), "v{version}");
    }
    assert_eq!(fetch_all(&mut client, &group).await, []);
    assert_eq!(committed(&mut client, 8, &commit(&group, None, 0, 7)).await, 0);
    // Of version 1 the last mention counts, and it becomes one record.
    request.topics[0].partitions = vec![partition; 3_000];
    assert_eq!(committed(&mut client, 1, &request).await, 0);
}

/// As in Kafka, where it is there as soon as somebody asks to join it.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_nobody_has_been_in_yet_is_described_and_deleted() {
    let live = started(FAST).await;
    let mut client = Client::connect(&live).await;
    create_topic(&mut client, "t").await;
    let refused = client.call(9, &JoinGroupRequest { protocols: Vec::new(), ..join("g", "") }).await;
    assert_eq!(refused.error_code, ErrorCode::InconsistentGroupProtocol.code());
    let describe = DescribeGroupsRequest { groups: vec!["g".into()], ..Default::default() };
    let described = client.call(6, &describe).await.groups.remove(0);
    assert_eq!((described.error_code, &*described.group_state), (0, "Empty"));
    let mut stale = commit("g", None, 0, 7);
    stale.generation_id_or_member_epoch = 5;
    stale.member_id = "m".into();
    assert_eq!(committed(&mut client, 9, &stale).await, ErrorCode::UnknownMemberId.code());
    let delete = DeleteGroupsRequest { groups_names: vec!["g".into()], ..Default::default() };
    for error in [0, ErrorCode::GroupIdNotFound.code()] {
        assert_eq!(client.call(2, &delete).await.results[0].error_code, error);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_a_request_for_offsets_names_twice_is_answered_twice() {
    let live = started(FAST).await;
    let mut client = Client::connect(&live).await;
    create_topic(&mut client, "t").await;
    for partition in 0..2 {
        assert_eq!(committed(&mut client, 8, &commit("g", None, partition, 7 + i64::from(partition))).await, 0);
    }
    let group = |partition| OffsetFetchRequestGroup {
        group_id: "g".into(),
        topics: Some(vec![OffsetFetchRequestTopics {
            name: "t".into(),
            partition_indexes: vec![partition],
            ..Default::default()
        }]),
        ..Default::default()
    };
    let request = OffsetFetchRequest { groups: vec![group(0), group(1)], ..Default::default() };
    let answer = client.call(8, &request).await;
    let offsets = answer.groups.iter().map(|group| group.topics[0].partitions[0].committed_offset);
    assert_eq!(offsets.collect::<Vec<_>>(), [7, 8]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_consumers_share_a_group_and_their_offsets_survive_a_crash() {
    let live = started(FAST).await;
    let mut admin = Client::connect(&live).await;
    create_topic(&mut admin, "t").await;
    let [(mut leader, led), (mut follower, followed)] = two_members(&live, "g").await;
    let (l, f) = (led.member_id.to_string(), followed.member_id.to_string());

    let waits = follower.send(5, &sync("g", &followed, 5, &[])).await;
    let of_leader = leader.call(5, &sync("g", &led, 5, &[(&l, "for the leader"), (&f, "for the follower")])).await;
    let of_follower = follower.reply::<SyncGroupRequest>(5, waits).await;
    assert_eq!((of_leader.error_code, of_follower.error_code), (0, 0));
    assert_eq!(&*of_leader.assignment, b"for the leader");
    assert_eq!(&*of_follower.assignment, b"for the follower");
    assert_eq!(leader.call(4, &heartbeat("g", &led)).await.error_code, 0);
    assert_eq!(committed(&mut leader, 9, &commit("g", Some(&led), 0, 10)).await, 0);
    assert_eq!(committed(&mut follower, 9, &commit("g", Some(&followed), 1, 20)).await, 0);
    assert_eq!(committed(&mut leader, 9, &commit("g", Some(&led), 0, 11)).await, 0);
    let expected = vec![("t".to_owned(), 0, 11, "at 11".to_owned()), ("t".to_owned(), 1, 20, "at 20".to_owned())];
    assert_eq!(fetch_all(&mut admin, "g").await, expected);

    // The first broker is not stopped: it is a zombie from here on.
    let next = start_on(live.site.clone(), FAST).await;
    let mut admin = Client::connect(&next).await;
    assert_eq!(fetch_all(&mut admin, "g").await, expected);
    let describe = DescribeGroupsRequest { groups: vec!["g".into()], ..Default::default() };
    let described = admin.call(6, &describe).await.groups.remove(0);
    assert_eq!((&*described.group_state, described.members.len()), ("Stable", 2));
    assert_eq!((&*described.protocol_type, &*described.protocol_data), ("consumer", "range"));
    assert!(described.members.iter().any(|m| *m.member_id == *l && &*m.member_assignment == b"for the leader"));
    // Members go on in their generation.
    let mut moved = Client::connect(&next).await;
    assert_eq!(moved.call(4, &heartbeat("g", &led)).await.error_code, 0);
    assert_eq!(committed(&mut moved, 9, &commit("g", Some(&led), 0, 12)).await, 0);
    // The zombie takes no commit.
    let refused = committed(&mut leader, 9, &commit("g", Some(&led), 0, 5)).await;
    assert_eq!(refused, ErrorCode::NotCoordinator.code());
    assert_eq!(fetch_all(&mut admin, "g").await[0].2, 12);
    assert!(next.handle.shutdown().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_of_every_group_request_is_served() {
    let live = started(FAST).await;
    let mut client = Client::connect(&live).await;
    create_topic(&mut client, "t").await;
    let topic_id = live.meta.image().topic("t").unwrap().id;
    for version in FindCoordinatorRequest::VERSIONS {
        let request = FindCoordinatorRequest {
            key: if version < 4 { "g".into() } else { Str::default() },
            coordinator_keys: if version < 4 { Vec::new() } else { vec!["g".into()] },
            ..Default::default()
        };
        let response = client.call(version, &request).await;
        let (error, node, port) = match response.coordinators.first() {
            Some(found) => (found.error_code, found.node_id, found.port),
            None => (response.error_code, response.node_id, response.port),
        };
        assert_eq!((error, node, port), (0, 1, i32::from(live.address.port())), "FindCoordinator v{version}");
    }
    for version in JoinGroupRequest::VERSIONS {
        let group = format!("join{version}");
        let mut joined = client.call(version, &join(&group, "")).await;
        if version >= 4 {
            assert_eq!(joined.error_code, ErrorCode::MemberIdRequired.code(), "JoinGroup v{version}");
            joined = client.call(version, &join(&group, &joined.member_id)).await;
        }
        assert_eq!((joined.error_code, joined.generation_id), (0, 1), "JoinGroup v{version}");
        assert_eq!(joined.protocol_type.as_deref(), (version >= 7).then_some("consumer"));
        let sync_version = version.min(5);
        let member = joined.member_id.to_string();
        let synced = client.call(sync_version, &sync(&group, &joined, sync_version, &[(&member, "mine")])).await;
        assert_eq!((synced.error_code, &*synced.assignment), (0, &b"mine"[..]), "SyncGroup v{sync_version}");
        let beat = client.call(version.min(4), &heartbeat(&group, &joined)).await;
        assert_eq!(beat.error_code, 0, "Heartbeat v{version}");
        let leave_version = version.min(5);
        let leave = LeaveGroupRequest {
            group_id: group.as_str().into(),
            member_id: if leave_version < 3 { joined.member_id.clone() } else { Str::default() },
            members: if leave_version < 3 {
                Vec::new()
            } else {
                vec![MemberIdentity { member_id: joined.member_id.clone(), ..Default::default() }]
            },
            ..Default::default()
        };
        let left = client.call(leave_version, &leave).await;
        assert_eq!(left.error_code, 0, "LeaveGroup v{leave_version}");
        assert!(left.members.iter().all(|member| member.error_code == 0));
        let again = client.call(leave_version, &leave).await;
        let error = again.members.first().map_or(again.error_code, |member| member.error_code);
        assert_eq!(error, ErrorCode::UnknownMemberId.code(), "LeaveGroup v{leave_version}");
    }
    for version in JoinGroupRequest::VERSIONS {
        let refused = client.call(version, &join("", "")).await;
        assert_eq!(refused.error_code, ErrorCode::InvalidGroupId.code(), "JoinGroup v{version}");
        assert_eq!(refused.protocol_name.as_deref(), (version < 7).then_some(""), "JoinGroup v{version}");
    }
    for version in OffsetCommitRequest::VERSIONS {
        let mut request = commit("simple", None, i32::from(version), 100 + i64::from(version));
        if version >= 10 {
            request.topics[0].name = Str::default();
            request.topics[0].topic_id = topic_id;
        }
        if version == 0 {
            // Kafka 3.9.2, the last to speak it, would keep it in ZooKeeper.
            assert_eq!(committed(&mut client, version, &request).await, ErrorCode::UnsupportedVersion.code());
            continue;
        }
        assert_eq!(committed(&mut client, version, &request).await, 0, "OffsetCommit v{version}");
        if version >= 10 {
            request.topics[0].topic_id = base::Uuid::from_u128(99);
            assert_eq!(committed(&mut client, version, &request).await, ErrorCode::UnknownTopicId.code());
            request.topics[0].topic_id = topic_id;
        } else {
            request.topics[0].name = "absent".into();
            let error = committed(&mut client, version, &request).await;
            assert_eq!(error, ErrorCode::UnknownTopicOrPartition.code());
            request.topics[0].name = "t".into();
        }
        let there = request.topics[0].partitions[0].clone();
        let absent =
            [-1, PARTITIONS].map(|index| OffsetCommitRequestPartition { partition_index: index, ..there.clone() });
        request.topics[0].partitions = [&absent[..1], &[there], &absent[1..]].concat();
        let answered = client.call(version, &request).await.topics.remove(0).partitions;
        let errors: Vec<_> = answered.iter().map(|p| (p.partition_index, ErrorCode::from_code(p.error_code))).collect();
        let unknown = ErrorCode::UnknownTopicOrPartition;
        let expected = [(-1, unknown), (PARTITIONS, unknown), (i32::from(version), ErrorCode::None)];
        assert_eq!(errors, expected, "OffsetCommit v{version}");
    }
    assert_eq!(
        fetch_all(&mut client, "simple").await.len(),
        PARTITIONS as usize - 1,
        "none of partitions that are not there"
    );
    for version in OffsetFetchRequest::VERSIONS {
        let request = if version < 8 {
            let topic =
                OffsetFetchRequestTopic { name: "t".into(), partition_indexes: vec![3, 77], ..Default::default() };
            OffsetFetchRequest { group_id: "simple".into(), topics: Some(vec![topic]), ..Default::default() }
        } else {
            let topic = OffsetFetchRequestTopics {
                name: if version < 10 { "t".into() } else { Str::default() },
                topic_id: if version < 10 { base::Uuid::nil() } else { topic_id },
                partition_indexes: vec![3, 77],
                ..Default::default()
            };
            let group =
                OffsetFetchRequestGroup { group_id: "simple".into(), topics: Some(vec![topic]), ..Default::default() };
            OffsetFetchRequest { groups: vec![group], ..Default::default() }
        };
        let response = client.call(version, &request).await;
        let found: Vec<(i64, String, i16)> = if version < 8 {
            let partitions = response.topics[0].partitions.iter();
            partitions.map(|p| (p.committed_offset, p.metadata.clone().unwrap().to_string(), p.error_code)).collect()
        } else {
            let partitions = response.groups[0].topics[0].partitions.iter();
            partitions.map(|p| (p.committed_offset, p.metadata.clone().unwrap().to_string(), p.error_code)).collect()
        };
        if version == 0 {
            let refused = (-1, String::new(), ErrorCode::UnsupportedVersion.code());
            assert_eq!(found, [refused.clone(), refused]);
            continue;
        }
        assert_eq!(found, [(103, "at 103".to_owned(), 0), (-1, String::new(), 0)], "OffsetFetch v{version}");
    }
    for version in DescribeGroupsRequest::VERSIONS {
        let request = DescribeGroupsRequest { groups: vec!["simple".into(), "absent".into()], ..Default::default() };
        let groups = client.call(version, &request).await.groups;
        assert_eq!((groups[0].error_code, &*groups[0].group_state), (0, "Empty"), "DescribeGroups v{version}");
        let absent = if version < 6 { 0 } else { ErrorCode::GroupIdNotFound.code() };
        assert_eq!((groups[1].error_code, &*groups[1].group_state), (absent, "Dead"), "DescribeGroups v{version}");
    }
    for version in ListGroupsRequest::VERSIONS {
        let filter = |from: i16, text: &str| if version >= from { vec![Str::from(text)] } else { Vec::new() };
        let request = ListGroupsRequest {
            states_filter: filter(4, "empty"),
            types_filter: filter(5, "Classic"),
            ..Default::default()
        };
        let groups = client.call(version, &request).await.groups;
        assert!(groups.iter().any(|group| &*group.group_id == "simple"), "ListGroups v{version}");
        let other = ListGroupsRequest { states_filter: filter(4, "Stable"), ..Default::default() };
        let groups = client.call(version, &other).await.groups;
        assert_eq!(groups.iter().any(|group| &*group.group_id == "simple"), version < 4, "ListGroups v{version}");
    }
    let delete_offset = OffsetDeleteRequest {
        group_id: "simple".into(),
        topics: vec![OffsetDeleteRequestTopic {
            name: "t".into(),
            partitions: [3, PARTITIONS].map(|index| OffsetDeleteRequestPartition { partition_index: index }).to_vec(),
        }],
    };
    let deleted = client.call(0, &delete_offset).await.topics.remove(0).partitions;
    let errors: Vec<_> = deleted.iter().map(|p| (p.partition_index, ErrorCode::from_code(p.error_code))).collect();
    // What there is not is told first, as by Kafka.
    assert_eq!(errors, [(PARTITIONS, ErrorCode::UnknownTopicOrPartition), (3, ErrorCode::None)]);
    assert!(fetch_all(&mut client, "simple").await.iter().all(|(_, partition, ..)| *partition != 3));
    for version in DeleteGroupsRequest::VERSIONS {
        let group = format!("doomed{version}");
        assert_eq!(committed(&mut client, 9, &commit(&group, None, 0, 1)).await, 0);
        let request = DeleteGroupsRequest { groups_names: vec![group.as_str().into()], ..Default::default() };
        assert_eq!(client.call(version, &request).await.results[0].error_code, 0, "DeleteGroups v{version}");
        assert_eq!(fetch_all(&mut client, &group).await, []);
        let again = client.call(version, &request).await.results.remove(0);
        assert_eq!(again.error_code, ErrorCode::GroupIdNotFound.code(), "DeleteGroups v{version}");
        assert_eq!(again.error_message, None);
    }
    // Many at once, each once, in the order in which they are named.
    let names: Vec<String> = (0..200).map(|at| format!("many{at}")).collect();
    for name in names.iter().step_by(3) {
        assert_eq!(committed(&mut client, 9, &commit(name, None, 0, 1)).await, 0);
    }
    let groups_names = names.iter().chain(&names).map(|name| name.as_str().into()).collect();
    let results = client.call(2, &DeleteGroupsRequest { groups_names, ..Default::default() }).await.results;
    let told = results.iter().map(|result| (result.group_id.to_string(), ErrorCode::from_code(result.error_code)));
    let outcome = |at: usize| if at.is_multiple_of(3) { ErrorCode::None } else { ErrorCode::GroupIdNotFound };
    let expected = names.iter().enumerate().map(|(at, name)| (name.clone(), outcome(at)));
    assert_eq!(told.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    assert_eq!(fetch_all(&mut client, "many0").await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_coordinators_are_refused_with_a_message() {
    let live = started(FAST).await;
    let mut client = Client::connect(&live).await;
    for key_type in [1, 2, 9] {
        let request =
            FindCoordinatorRequest { key_type, coordinator_keys: vec!["a".into(), "b".into()], ..Default::default() };
        for found in client.call(6, &request).await.coordinators {
            assert_eq!((found.error_code, found.node_id), (ErrorCode::InvalidRequest.code(), -1));
            let said = found.error_message.unwrap();
            match key_type {
                1 => assert!(said.contains("transactional.id")),
                // As of a key that is none.
                2 => assert!(said.is_empty()),
                _ => assert!(said.contains("malformed by the client")),
            }
        }
    }
}

/// As Kafka 4.4.0 tells it: `Errors.NONE.message()` where there is one key, and the field's default where there are many.
#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_is_found_comes_with_kafkas_message() {
    let live = started(FAST).await;
    let mut client = Client::connect(&live).await;
    for version in FindCoordinatorRequest::VERSIONS {
        let one = FindCoordinatorRequest { key: "a".into(), ..Default::default() };
        let many = FindCoordinatorRequest { coordinator_keys: vec!["a".into()], ..Default::default() };
        let found = client.call(version, if version >= 4 { &many } else { &one }).await;
        let told = match found.coordinators.first() {
            Some(found) => (found.error_code, found.error_message.clone()),
            None => (found.error_code, found.error_message),
        };
        let expected = match version {
            1..=3 => Some("NONE".into()),
            // The field's default; version 0 has no such field.
            _ => Some("".into()),
        };
        assert_eq!(told, (0, expected), "v{version}");
    }
}

/// What a client could write there would be taken for offsets and members.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_broker_writes_the_offsets_topic() {
    let live = started(FAST).await;
    let mut client = Client::connect(&live).await;
    create_topic(&mut client, "t").await;
    assert_eq!(committed(&mut client, 9, &commit("g", None, 0, 7)).await, 0);
    for index in 0..5 {
        let data =
            produce_request::PartitionProduceData { index, records: Some(batch(&["forged"])), ..Default::default() };
        let topic = produce_request::TopicProduceData {
            name: "__consumer_offsets".into(),
            partition_data: vec![data],
            ..Default::default()
        };
        let request = ProduceRequest { acks: -1, timeout_ms: 10_000, topic_data: vec![topic], ..Default::default() };
        let refused = &client.call(9, &request).await.responses[0].partition_responses[0];
        assert_eq!(refused.error_code, ErrorCode::InvalidTopicException.code());
        let partition =
            delete_records_request::DeleteRecordsPartition { partition_index: index, offset: -1, ..Default::default() };
        let topic = delete_records_request::DeleteRecordsTopic {
            name: "__consumer_offsets".into(),
            partitions: vec![partition],
            ..Default::default()
        };
        let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
        let refused = &client.call(2, &request).await.topics[0].partitions[0];
        assert_eq!(refused.error_code, ErrorCode::InvalidTopicException.code());
    }
    assert_eq!(fetch_all(&mut client, "g").await[0].2, 7);
}

/// Kafka 3.9.2 and 4.4.0, asked with 20 groups over 4 partitions that became 12: every group is found, has its offsets, and
/// commits where it did before, until the broker is restarted (4.4.0 spreads them over 12 then).
#[tokio::test]
async fn groups_stay_where_they_are_when_the_offsets_topic_grows() {
    let live = started(FAST).await;
    let mut client = Client::connect(&live).await;
    create_topic(&mut client, "t").await;
    let groups: Vec<String> = (0..20).map(|n| format!("g{n}")).collect();
    for (n, group) in groups.iter().enumerate() {
        assert_eq!(committed(&mut client, 8, &commit(group, None, 0, n as i64)).await, 0);
    }
    let (mut member, joined) = two_members(&live, "with-members").await.into_iter().next().unwrap();
    let grown = create_partitions_request::CreatePartitionsTopic {
        name: "__consumer_offsets".into(),
        count: 12,
        assignments: None,
        ..Default::default()
    };
    let request = CreatePartitionsRequest { topics: vec![grown], timeout_ms: 10_000, ..Default::default() };
    assert_eq!(client.call(3, &request).await.results[0].error_code, 0);
    assert_eq!(live.meta.image().topic("__consumer_offsets").unwrap().partitions.len(), 12);
    for (n, group) in groups.iter().enumerate() {
        let offsets: Vec<_> = fetch_all(&mut client, group).await.into_iter().map(|(.., offset, _)| offset).collect();
        assert_eq!(offsets, [n as i64], "{group}");
        assert_eq!(committed(&mut client, 8, &commit(group, None, 0, 100)).await, 0);
    }
    assert_eq!(member.call(4, &heartbeat("with-members", &joined)).await.error_code, 0, "nobody is thrown out");
    let listed = client.call(4, &ListGroupsRequest::default()).await;
    assert_eq!(listed.groups.len(), groups.len() + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_go_with_their_topic() {
    let live = started(FAST).await;
    let mut client = Client::connect(&live).await;
    create_topic(&mut client, "t").await;
    assert_eq!(committed(&mut client, 9, &commit("g", None, 0, 7)).await, 0);
    delete_topic(&mut client, "t").await;
    let gone = async {
        while !fetch_all(&mut client, "g").await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), gone).await.expect("the offset is gone");
}

/// What the consumers of an earlier topic had read is not skipped in a new one of the same name.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_created_again_begins_without_offsets() {
    let live = started(FAST).await;
    let mut client = Client::connect(&live).await;
    create_topic(&mut client, "t").await;
    for offset in 7..27 {
        assert_eq!(committed(&mut client, 9, &commit("g", None, 0, offset)).await, 0);
        delete_topic(&mut client, "t").await;
        create_topic(&mut client, "t").await;
        // Whether or not the offset is removed by now.
        assert_eq!(fetch_all(&mut client, "g").await, []);
        let topic_id = live.meta.image().topic("t").unwrap().id;
        let topics = vec![OffsetFetchRequestTopics {
            name: "t".into(),
            topic_id,
            partition_indexes: vec![0],
            ..Default::default()
        }];
        let asked = OffsetFetchRequestGroup { group_id: "g".into(), topics: Some(topics), ..Default::default() };
        for version in 8..=10 {
            let request = OffsetFetchRequest { groups: vec![asked.clone()], ..Default::default() };
            let response = client.call(version, &request).await;
            assert_eq!(response.groups[0].topics[0].partitions[0].committed_offset, -1, "OffsetFetch v{version}");
        }
    }
    let offset = 3;
    assert_eq!(committed(&mut client, 9, &commit("g", None, 0, offset)).await, 0);
    let next = start_on(live.site.clone(), FAST).await;
    let mut client = Client::connect(&next).await;
    assert_eq!(fetch_all(&mut client, "g").await, [("t".to_owned(), 0, offset, format!("at {offset}"))]);
}

/// A write-ahead log that is given up must not take offsets along that were in the store.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_coordinator_starts_at_a_snapshot_once_all_of_it_is_in_the_store() {
    const WIDE: i32 = 1_000;
    let live = started(FAST).await;
    let mut client = Client::connect(&live).await;
    let topic = create_topics_request::CreatableTopic {
        name: "wide".into(),
        num_partitions: WIDE,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    assert_eq!(client.call(7, &request).await.topics[0].error_code, 0);
    // More than a snapshot takes.
    let rounds = 12;
    for offset in 1..=rounds {
        let partition = |partition_index| OffsetCommitRequestPartition {
            partition_index,
            committed_offset: offset,
            ..Default::default()
        };
        let partitions = (0..WIDE).map(partition).collect();
        let request = OffsetCommitRequest {
            group_id: "g".into(),
            generation_id_or_member_epoch: -1,
            topics: vec![OffsetCommitRequestTopic { name: "wide".into(), partitions, ..Default::default() }],
            ..Default::default()
        };
        let response = client.call(8, &request).await;
        assert!(response.topics[0].partitions.iter().all(|partition| partition.error_code == 0));
    }
    let logs = |image: &meta::Image| {
        let topic = image.topic("__consumer_offsets").unwrap();
        let of = |stream| image.catalogue.stream(stream).map(|state| (state.start, state.end)).unwrap();
        topic.partitions.iter().copied().map(of).collect::<Vec<_>>()
    };
    assert!(logs(&live.meta.image()).iter().all(|(start, _)| start.0 == 0), "nothing is uploaded yet");
    let trimmed = async {
        loop {
            live.engine.flush().await.unwrap();
            let logs = logs(&live.meta.image());
            assert!(logs.iter().all(|(start, end)| start <= end), "{logs:?}");
            if logs.iter().any(|(start, _)| start.0 > 0) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), trimmed).await.expect("it is trimmed");
    let next = start_on(live.site.clone(), FAST).await;
    let found = fetch_all(&mut Client::connect(&next).await, "g").await;
    assert_eq!(found.len(), WIDE as usize);
    assert!(found.iter().all(|(_, _, offset, _)| *offset == rounds));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_that_was_committed_long_ago_is_old() {
    let settings = [FAST, &[("offsets.retention.check.interval.ms", "50")]].concat();
    let live = started(&settings).await;
    let mut client = Client::connect(&live).await;
    create_topic(&mut client, "t").await;
    for (partition, commit_timestamp) in [(0, 1), (1, -1)] {
        let mut request = commit("g", None, partition, 7);
        request.topics[0].partitions[0].commit_timestamp = commit_timestamp;
        assert_eq!(committed(&mut client, 1, &request).await, 0);
    }
    let expired = async {
        while fetch_all(&mut client, "g").await.iter().any(|(_, partition, ..)| *partition == 0) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), expired).await.expect("the old offset is gone");
    assert_eq!(fetch_all(&mut client, "g").await, [("t".to_owned(), 1, 7, "at 7".to_owned())]);
}

/// What it waits for, other members may need the memory to send; what it brought its group is charged for.
#[tokio::test(flavor = "multi_thread")]
async fn a_join_that_waits_holds_no_request_memory() {
    let live = started(&[("group.initial.rebalance.delay.ms", "60000")]).await;
    let mut request = join("g", "");
    request.protocols[0].metadata = vec![0; 100_000].into();
    let mut waiting = Client::connect(&live).await;
    waiting.send(3, &request).await;
    let mut client = Client::connect(&live).await;
    let describe = DescribeGroupsRequest { groups: vec!["g".into()], ..Default::default() };
    while client.call(3, &describe).await.groups[0].members.is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let charged = || {
        let page = live.metrics.render();
        let line = page.lines().find_map(|line| line.strip_prefix("headwater_request_memory_bytes ")).unwrap();
        line.parse::<usize>().unwrap()
    };
    let gone = async {
        while charged() > 4 * 1024 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), gone).await.expect("it lets go of its memory");
}

/// Kafka 3.9.2 and 4.4.0 answer each of these and give back what they read.
#[tokio::test]
async fn names_and_metadata_that_are_not_utf8_are_read_with_replacements() {
    let live = started(FAST).await;
    let mut client = Client::connect(&live).await;
    create_topic(&mut client, "t").await;
    /// Sends the request with another byte in place of a `#` in a name, and of one in the client's.
    async fn latin<Q: wire::Request>(client: &mut Client, version: i16, request: &Q) -> Q::Response {
        let mut frame = encode(version, 9, request).to_vec();
        let name = frame.windows(4).position(|bytes| bytes == b"test").unwrap();
        frame[name] = 0xe9;
        for at in 1..frame.len() {
            if frame[at] == b'#' && frame[at - 1].is_ascii_alphabetic() {
                frame[at] = 0xe9;
            }
        }
        tokio::io::AsyncWriteExt::write_all(&mut client.stream, &frame).await.unwrap();
        client.reply::<Q>(version, 9).await
    }
    for version in [2, 8] {
        let partition = OffsetCommitRequestPartition {
            committed_offset: 5,
            committed_metadata: Some("caf#".into()),
            ..Default::default()
        };
        let topic = OffsetCommitRequestTopic { name: "t".into(), partitions: vec![partition], ..Default::default() };
        let commit = OffsetCommitRequest { group_id: "g#".into(), topics: vec![topic], ..Default::default() };
        let committed = latin(&mut client, version, &commit).await;
        assert_eq!(committed.topics[0].partitions[0].error_code, 0);
        let topic = OffsetFetchRequestTopic { name: "t".into(), partition_indexes: vec![0], ..Default::default() };
        let fetch =
            OffsetFetchRequest { group_id: "g\u{fffd}".into(), topics: Some(vec![topic]), ..Default::default() };
        let fetched = client.call(5, &fetch).await;
        assert_eq!(fetched.topics[0].partitions[0].metadata.as_deref(), Some("caf\u{fffd}"));
    }
}
