//! What clients are told while the metadata store does not answer.

use std::time::Duration;

use base::Clock;
use blob::faulty::FaultPlan;
use wire::ErrorCode;
use wire::messages::create_partitions_request::CreatePartitionsTopic;
use wire::messages::create_topics_request::CreatableTopic;
use wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use wire::messages::metadata_request::MetadataRequestTopic;
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::*;

use crate::support::{Client, batch, becomes, outage, start_on_faulty_store};

/// Far above what an answer may take here, far below what Kafka's clients wait for one.
const SOON: Duration = Duration::from_secs(10);

fn create(name: &str, timeout_ms: i32) -> CreateTopicsRequest {
    let topic =
        CreatableTopic { name: name.into(), num_partitions: 1, replication_factor: 1, ..CreatableTopic::default() };
    CreateTopicsRequest { topics: vec![topic], timeout_ms, ..CreateTopicsRequest::default() }
}

fn ask(names: &[&str]) -> MetadataRequest {
    let topic = |name: &&str| MetadataRequestTopic { name: Some((*name).into()), ..Default::default() };
    MetadataRequest {
        topics: Some(names.iter().map(topic).collect()),
        allow_auto_topic_creation: true,
        ..Default::default()
    }
}

async fn produce_one(client: &mut Client, topic: &str) {
    let partition = PartitionProduceData { index: 0, records: Some(batch(&["v"])), ..Default::default() };
    let topic = TopicProduceData { name: topic.into(), partition_data: vec![partition], ..Default::default() };
    let request = ProduceRequest { acks: -1, timeout_ms: 10_000, topic_data: vec![topic], ..Default::default() };
    let response = client.call(9, &request).await;
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
}

#[tokio::test]
async fn a_change_is_given_up_when_the_request_says_so_and_may_still_happen() {
    let (live, faults) = start_on_faulty_store(&[]).await;
    let mut client = Client::connect(&live).await;
    let timed_out = ErrorCode::RequestTimedOut.code();
    // What older clients send has no time, and is done when they are told so.
    for (name, timeout_ms, code) in [("t", 30_000, 0), ("grown", 0, timed_out), ("gone", -1, timed_out)] {
        assert_eq!(client.call(5, &create(name, timeout_ms)).await.topics[0].error_code, code, "{timeout_ms}");
        assert!(live.meta.image().topic(name).is_some(), "{timeout_ms}");
    }
    let brief = CreatePartitionsTopic { name: "t".into(), count: 2, assignments: None, ..Default::default() };
    let brief = CreatePartitionsRequest { topics: vec![brief], timeout_ms: 0, ..Default::default() };
    let told = client.call(3, &brief).await.results.remove(0);
    assert_eq!((told.error_code, told.error_message), (timed_out, None));
    assert_eq!(live.meta.image().topic("t").unwrap().partitions.len(), 2);
    assert_eq!(client.call(5, &create("brief", 30_000)).await.topics[0].error_code, 0);
    let brief = DeleteTopicsRequest { topic_names: vec!["brief".into()], timeout_ms: 0, ..Default::default() };
    assert_eq!(client.call(5, &brief).await.responses[0].error_code, timed_out);
    assert!(live.meta.image().topic("brief").is_none());
    // What is refused is told all the same: they would take the other for success.
    let exists = client.call(5, &create("t", 0)).await.topics.remove(0);
    assert_eq!(exists.error_code, ErrorCode::TopicAlreadyExists.code());
    let shrink = CreatePartitionsTopic { name: "t".into(), count: 1, assignments: None, ..Default::default() };
    let shrink = CreatePartitionsRequest { topics: vec![shrink], timeout_ms: -1, ..Default::default() };
    assert_eq!(client.call(3, &shrink).await.results[0].error_code, ErrorCode::InvalidPartitions.code());
    let unknown = DeleteTopicsRequest { topic_names: vec!["none".into()], timeout_ms: 0, ..Default::default() };
    assert_eq!(client.call(5, &unknown).await.responses[0].error_code, ErrorCode::UnknownTopicOrPartition.code());
    produce_one(&mut client, "t").await;
    faults.set_plan(outage());
    let clock = Clock::system();
    let began = clock.monotonic();

    let created = client.call(5, &create("new", 300)).await.topics.remove(0);
    assert_eq!(created.error_code, timed_out);
    let said = created.error_message.unwrap();
    assert!(said.contains("within 300 ms") && said.contains("may still happen"), "{}", &*said);
    let grow = CreatePartitionsTopic { name: "grown".into(), count: 3, assignments: None, ..Default::default() };
    let grow = CreatePartitionsRequest { topics: vec![grow], timeout_ms: 300, ..Default::default() };
    assert_eq!(client.call(3, &grow).await.results[0].error_code, timed_out);
    let delete = DeleteTopicsRequest { topic_names: vec!["gone".into()], timeout_ms: 300, ..Default::default() };
    assert_eq!(client.call(5, &delete).await.responses[0].error_code, timed_out);
    let below = DeleteRecordsPartition { partition_index: 0, offset: -1, ..Default::default() };
    let trim = DeleteRecordsTopic { name: "t".into(), partitions: vec![below], ..Default::default() };
    let trim = DeleteRecordsRequest { topics: vec![trim], timeout_ms: 300, ..Default::default() };
    let trimmed = client.call(2, &trim).await.topics.remove(0).partitions.remove(0);
    assert_eq!((trimmed.error_code, trimmed.low_watermark), (timed_out, -1));
    assert!(clock.monotonic() - began < SOON);

    faults.set_plan(FaultPlan::default());
    becomes(&live, "all that was asked for has happened", |image| {
        let partitions = |name| image.topic(name).map(|topic| topic.partitions.len());
        (partitions("new"), partitions("grown"), partitions("gone")) == (Some(1), Some(3), None)
    })
    .await;
    let trimmed = client.call(2, &trim).await.topics.remove(0).partitions.remove(0);
    assert_eq!((trimmed.error_code, trimmed.low_watermark), (0, 1));
}

/// The topic is found by its name, and deleted before the change to it is decided. Kafka 3.9.2 and 4.4.0 know no error
/// about ids in any answer to CreatePartitions.
#[tokio::test]
async fn a_topic_that_is_deleted_while_it_grows_is_unknown_by_its_name() {
    let (live, faults) = start_on_faulty_store(&[]).await;
    let mut client = Client::connect(&live).await;
    // One connection each: requests of one are answered one after the other.
    let (mut deleter, mut grower) = (Client::connect(&live).await, Client::connect(&live).await);
    assert_eq!(client.call(5, &create("t", 30_000)).await.topics[0].error_code, 0);
    faults.set_plan(outage());
    // The metadata log is busy with a first change, and decides the other two one after the other afterwards.
    let busy = client.send(5, &create("new", 60_000)).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let delete = DeleteTopicsRequest { topic_names: vec!["t".into()], timeout_ms: 60_000, ..Default::default() };
    let deleted = deleter.send(5, &delete).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let grow = CreatePartitionsTopic { name: "t".into(), count: 3, assignments: None, ..Default::default() };
    let grow = CreatePartitionsRequest { topics: vec![grow], timeout_ms: 60_000, ..Default::default() };
    let grown = grower.send(3, &grow).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    faults.set_plan(FaultPlan::default());
    assert_eq!(client.reply::<CreateTopicsRequest>(5, busy).await.topics[0].error_code, 0);
    assert_eq!(deleter.reply::<DeleteTopicsRequest>(5, deleted).await.responses[0].error_code, 0);
    let code = grower.reply::<CreatePartitionsRequest>(3, grown).await.results[0].error_code;
    assert_eq!(code, ErrorCode::UnknownTopicOrPartition.code());
}

#[tokio::test]
async fn metadata_of_topics_that_exist_does_not_wait_for_those_being_created() {
    let (live, faults) = start_on_faulty_store(&[]).await;
    let (mut client, mut other) = (Client::connect(&live).await, Client::connect(&live).await);
    client.call(9, &ask(&["t"])).await;
    becomes(&live, "the topic is there", |image| image.topic("t").is_some()).await;
    faults.set_plan(outage());
    let clock = Clock::system();
    for _ in 0..2 {
        let began = clock.monotonic();
        let (names, request) = (["t", "new"], ask(&["t", "new"]));
        let (one, two) = tokio::join!(client.call(9, &request), other.call(9, &request));
        assert!(clock.monotonic() - began < SOON);
        for response in [one, two] {
            let codes: Vec<_> = response.topics.iter().map(|t| (t.name.as_deref().unwrap(), t.error_code)).collect();
            assert_eq!(codes, [(names[0], 0), (names[1], ErrorCode::UnknownTopicOrPartition.code())]);
        }
    }
    faults.set_plan(FaultPlan::default());
    becomes(&live, "the topic is there though nobody asks any more", |image| image.topic("new").is_some()).await;
    assert_eq!(client.call(9, &ask(&["new"])).await.topics[0].error_code, 0);
}

#[tokio::test]
async fn a_consumer_without_a_coordinator_is_told_to_ask_again() {
    let (live, faults) = start_on_faulty_store(&[]).await;
    let mut client = Client::connect(&live).await;
    faults.set_plan(outage());
    let clock = Clock::system();
    let began = clock.monotonic();
    let keys = (0..20).map(|group| format!("g{group}").as_str().into()).collect();
    let request = FindCoordinatorRequest { coordinator_keys: keys, ..Default::default() };
    let found = client.call(4, &request).await.coordinators;
    assert!(found.iter().all(|found| found.error_code == ErrorCode::CoordinatorNotAvailable.code()));
    assert!(clock.monotonic() - began < SOON);
    faults.set_plan(FaultPlan::default());
    becomes(&live, "its topic is there", |image| image.topic("__consumer_offsets").is_some()).await;
    let found = client.call(4, &request).await.coordinators;
    assert!(found.iter().all(|found| (found.error_code, found.node_id) == (0, 1)));
}

/// They do not wait for a topic that may not come for long, nor make it: as by Kafka they are sent to look.
#[tokio::test]
async fn requests_of_groups_that_nobody_looked_for_are_answered_at_once() {
    let (live, faults) = start_on_faulty_store(&[]).await;
    let mut client = Client::connect(&live).await;
    assert_eq!(client.call(7, &create("t", 10_000)).await.topics[0].error_code, 0);
    faults.set_plan(outage());
    let clock = Clock::system();
    let began = clock.monotonic();
    let (group, member) = ("g", "m");
    let join = JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols: vec![Default::default()],
        ..Default::default()
    };
    let sync = SyncGroupRequest { group_id: group.into(), member_id: member.into(), ..Default::default() };
    let heartbeat = HeartbeatRequest { group_id: group.into(), member_id: member.into(), ..Default::default() };
    let leave = LeaveGroupRequest { group_id: group.into(), member_id: member.into(), ..Default::default() };
    let topic = offset_commit_request::OffsetCommitRequestTopic {
        name: "t".into(),
        partitions: vec![Default::default()],
        ..Default::default()
    };
    let commit = OffsetCommitRequest { group_id: group.into(), topics: vec![topic], ..Default::default() };
    let fetch = OffsetFetchRequest { group_id: group.into(), topics: None, ..Default::default() };
    let describe = DescribeGroupsRequest { groups: vec![group.into()], ..Default::default() };
    let delete = DeleteGroupsRequest { groups_names: vec![group.into()], ..Default::default() };
    let told = [
        client.call(2, &join).await.error_code,
        client.call(2, &sync).await.error_code,
        client.call(2, &heartbeat).await.error_code,
        client.call(2, &leave).await.error_code,
        client.call(2, &commit).await.topics[0].partitions[0].error_code,
        client.call(2, &fetch).await.error_code,
        client.call(2, &describe).await.groups[0].error_code,
        client.call(1, &delete).await.results[0].error_code,
    ];
    assert_eq!(told, [ErrorCode::NotCoordinator.code(); 8]);
    assert!(clock.monotonic() - began < SOON);
    faults.set_plan(FaultPlan::default());
    assert_eq!(client.call(2, &heartbeat).await.error_code, ErrorCode::NotCoordinator.code());
    assert!(live.meta.image().topic("__consumer_offsets").is_none(), "nobody asked for the coordinator");
}

#[tokio::test]
async fn a_producer_without_an_id_is_told_to_ask_again() {
    let (live, faults) = start_on_faulty_store(&[]).await;
    let mut client = Client::connect(&live).await;
    let request = InitProducerIdRequest { transactional_id: None, ..Default::default() };
    faults.set_plan(outage());
    let (clock, mut next) = (Clock::system(), live.meta.image().next_producer_id);
    let began = clock.monotonic();
    for _ in 0..3 {
        // What Kafka's producers of every age take for "soon".
        assert_eq!(client.call(4, &request).await.error_code, ErrorCode::CoordinatorLoadInProgress.code());
    }
    assert!(clock.monotonic() - began < SOON);
    faults.set_plan(FaultPlan::default());
    for _ in 0..30 {
        let response = client.call(4, &request).await;
        if response.error_code == 0 {
            assert_eq!(response.producer_id, next, "all of them waited for one block");
            next += meta::PRODUCER_IDS_BLOCK;
            assert_eq!(live.meta.image().next_producer_id, next);
            return;
        }
    }
    panic!("no producer id after the outage");
}
