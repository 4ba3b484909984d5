//! What a broker answers that was replaced and does not know it yet: nothing that its successor could contradict (I-3).

use base::Clock;
use blob::faulty::FaultPlan;
use bytes::Bytes;
use records::{BatchBuilder, Compression};
use wire::messages::create_topics_request::CreatableTopic;
use wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::*;
use wire::{ErrorCode, Message};

use crate::support::{Client, Live, outage, start, start_on_faulty_store};

/// A record of producer 9.
fn of_producer(epoch: i16, sequence: i32) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None).producer(9, epoch, sequence);
    builder.append(Clock::system().now().0, Some(b"k"), Some(b"v"), &[]).unwrap();
    builder.build().unwrap()
}

/// The error codes of a request with these batches, one for each partition.
async fn produce(client: &mut Client, batches: &[Bytes]) -> Vec<i16> {
    let data = batches.iter().zip(0..).map(|(records, index)| PartitionProduceData {
        index,
        records: Some(records.clone()),
        ..PartitionProduceData::default()
    });
    let topic = TopicProduceData { name: "t".into(), partition_data: data.collect(), ..TopicProduceData::default() };
    let request = ProduceRequest { acks: -1, timeout_ms: 10_000, topic_data: vec![topic], ..ProduceRequest::default() };
    let response = client.call(9, &request).await.responses.remove(0);
    response.partition_responses.iter().map(|part| part.error_code).collect()
}

/// Error code and low watermark of partition 0, asked to delete the records below an offset.
async fn delete(client: &mut Client, offset: i64) -> (i16, i64) {
    let asked = DeleteRecordsPartition { partition_index: 0, offset, ..Default::default() };
    let topic = DeleteRecordsTopic { name: "t".into(), partitions: vec![asked], ..Default::default() };
    let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    let told = client.call(2, &request).await.topics.remove(0).partitions.remove(0);
    (told.error_code, told.low_watermark)
}

async fn with_topic() -> (Live, Client) {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    let topic =
        CreatableTopic { name: "t".into(), num_partitions: 2, replication_factor: 1, ..CreatableTopic::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..CreateTopicsRequest::default() };
    assert_eq!(client.call(5, &request).await.topics[0].error_code, 0);
    (live, client)
}

const NOT_LEADER: i16 = 6;

#[tokio::test]
async fn a_replaced_broker_does_not_tell_a_producer_that_its_sequence_or_epoch_is_wrong() {
    let (out_of_order, old_epoch) =
        (ErrorCode::OutOfOrderSequenceNumber.code(), ErrorCode::InvalidProducerEpoch.code());
    for replaced in [false, true] {
        let (live, mut client) = with_topic().await;
        assert_eq!(produce(&mut client, &[of_producer(1, 0), of_producer(1, 0)]).await, [0, 0]);
        if replaced {
            live.site.fence(&live);
        }
        let told = produce(&mut client, &[of_producer(1, 7), of_producer(0, 1)]).await;
        assert_eq!(told, if replaced { [NOT_LEADER; 2] } else { [out_of_order, old_epoch] });
    }
}

/// As far as it knows that is itself.
#[tokio::test]
async fn who_produces_to_a_broker_that_does_not_lead_is_told_who_does() {
    let (live, mut client) = with_topic().await;
    assert_eq!(produce(&mut client, &[of_producer(1, 0)]).await, [0]);
    let id = live.meta.image().topic("t").unwrap().id;
    live.site.fence(&live);
    for version in 9..=*ProduceRequest::VERSIONS.end() {
        let data = PartitionProduceData { records: Some(of_producer(1, 7)), ..PartitionProduceData::default() };
        let mut topic = TopicProduceData { partition_data: vec![data], ..TopicProduceData::default() };
        if version >= 13 {
            topic.topic_id = id;
        } else {
            topic.name = "t".into();
        }
        let request = ProduceRequest { acks: -1, timeout_ms: 10_000, topic_data: vec![topic], ..Default::default() };
        let response = client.call(version, &request).await;
        let part = &response.responses[0].partition_responses[0];
        assert_eq!(part.error_code, NOT_LEADER, "v{version}");
        let leader = (part.current_leader.leader_id, part.current_leader.leader_epoch);
        assert_eq!(leader, if version >= 10 { (1, 0) } else { (-1, -1) }, "v{version}");
        let endpoints = response.node_endpoints.iter().map(|e| (e.node_id, e.port));
        assert!(endpoints.eq((version >= 10).then(|| (1, i32::from(live.address.port())))), "v{version}");
    }
}

#[tokio::test]
async fn a_replaced_broker_does_not_tell_where_a_log_starts_and_ends_when_records_are_to_be_deleted() {
    let beyond = ErrorCode::OffsetOutOfRange.code();
    for replaced in [false, true] {
        let (live, mut client) = with_topic().await;
        assert_eq!(produce(&mut client, &[of_producer(0, 0)]).await, [0]);
        if replaced {
            live.site.fence(&live);
        }
        let told = [delete(&mut client, 0).await, delete(&mut client, 2).await];
        assert_eq!(told, if replaced { [(NOT_LEADER, -1); 2] } else { [(0, 0), (beyond, -1)] });
    }
}

/// Error codes of what a group can be asked for that exists and has no members.
async fn ask_of_group(client: &mut Client) -> Vec<(&'static str, i16)> {
    let described = DescribeGroupsRequest { groups: vec!["g".into(), "none".into()], ..Default::default() };
    let described = client.call(6, &described).await.groups;
    let listed = client.call(5, &ListGroupsRequest::default()).await;
    let beat = HeartbeatRequest { group_id: "g".into(), member_id: "m".into(), ..Default::default() };
    let sync = SyncGroupRequest { group_id: "g".into(), member_id: "m".into(), ..Default::default() };
    let leave = LeaveGroupRequest { group_id: "g".into(), member_id: "m".into(), ..Default::default() };
    let join = JoinGroupRequest {
        group_id: "g".into(),
        member_id: "m".into(),
        session_timeout_ms: 30_000,
        ..JoinGroupRequest::default()
    };
    let delete = DeleteGroupsRequest { groups_names: vec!["none".into()], ..Default::default() };
    let delete_offsets = OffsetDeleteRequest { group_id: "none".into(), ..Default::default() };
    let fetch = OffsetFetchRequest { group_id: "g".into(), ..OffsetFetchRequest::default() };
    vec![
        ("describe", described[0].error_code),
        ("describe none", described[1].error_code),
        ("list", listed.error_code),
        ("heartbeat", client.call(3, &beat).await.error_code),
        ("sync", client.call(3, &sync).await.error_code),
        ("leave", client.call(2, &leave).await.error_code),
        ("join", client.call(5, &join).await.error_code),
        ("delete", client.call(1, &delete).await.results[0].error_code),
        ("delete offsets", client.call(0, &delete_offsets).await.error_code),
        ("fetch offsets", client.call(7, &fetch).await.error_code),
    ]
}

#[tokio::test]
async fn a_replaced_broker_tells_nothing_of_groups() {
    for replaced in [false, true] {
        let (live, mut client) = with_topic().await;
        let find = FindCoordinatorRequest { key: "g".into(), ..FindCoordinatorRequest::default() };
        assert_eq!(client.call(3, &find).await.error_code, 0);
        let partition = OffsetCommitRequestPartition { committed_offset: 5, ..Default::default() };
        let topic = OffsetCommitRequestTopic { name: "t".into(), partitions: vec![partition], ..Default::default() };
        let commit = OffsetCommitRequest {
            group_id: "g".into(),
            generation_id_or_member_epoch: -1,
            topics: vec![topic],
            ..OffsetCommitRequest::default()
        };
        assert_eq!(client.call(2, &commit).await.topics[0].partitions[0].error_code, 0);
        if replaced {
            live.site.fence(&live);
        }
        let unknown = ErrorCode::UnknownMemberId.code();
        let none = ErrorCode::GroupIdNotFound.code();
        let expected = [
            ("describe", 0),
            ("describe none", none),
            ("list", 0),
            ("heartbeat", unknown),
            ("sync", unknown),
            ("leave", unknown),
            ("join", ErrorCode::InconsistentGroupProtocol.code()),
            ("delete", none),
            ("delete offsets", none),
            ("fetch offsets", 0),
        ];
        let refused = expected.map(|(what, _)| match what {
            // What an admin client asks again for; it takes another answer for a list.
            "list" => (what, ErrorCode::CoordinatorNotAvailable.code()),
            _ => (what, ErrorCode::NotCoordinator.code()),
        });
        assert_eq!(ask_of_group(&mut client).await, if replaced { refused } else { expected });
    }
}

/// Another may have set something else since.
#[tokio::test]
async fn a_replaced_broker_does_not_tell_that_settings_are_as_they_should_be() {
    for replaced in [false, true] {
        let (live, mut client) = with_topic().await;
        let set = |validate_only| {
            let config = AlterableConfig { name: "retention.ms".into(), value: Some("7".into()), ..Default::default() };
            let resource = AlterConfigsResource {
                resource_type: 2,
                resource_name: "t".into(),
                configs: vec![config],
                ..Default::default()
            };
            IncrementalAlterConfigsRequest { resources: vec![resource], validate_only, ..Default::default() }
        };
        assert_eq!(client.call(1, &set(false)).await.responses[0].error_code, 0);
        if replaced {
            live.site.fence(&live);
        }
        let told = client.call(1, &set(false)).await.responses[0].error_code;
        assert_eq!(told, if replaced { ErrorCode::NotController.code() } else { 0 });
        assert_eq!(client.call(1, &set(true)).await.responses[0].error_code, 0, "it is not said to be in force");
    }
}

/// The image does not show that one yet.
#[tokio::test]
async fn a_setting_that_is_set_back_while_another_is_on_its_way_is_in_force() {
    let (live, faults) = start_on_faulty_store(&[]).await;
    let (mut client, mut other) = (Client::connect(&live).await, Client::connect(&live).await);
    let topic =
        CreatableTopic { name: "t".into(), num_partitions: 1, replication_factor: 1, ..CreatableTopic::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..CreateTopicsRequest::default() };
    assert_eq!(client.call(5, &request).await.topics[0].error_code, 0);
    let set = |value: &'static str| {
        let config = AlterableConfig { name: "retention.ms".into(), value: Some(value.into()), ..Default::default() };
        let (resource_type, resource_name) = (2, "t".into());
        let resource =
            AlterConfigsResource { resource_type, resource_name, configs: vec![config], ..Default::default() };
        IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() }
    };
    assert_eq!(client.call(1, &set("7")).await.responses[0].error_code, 0);
    faults.set_plan(outage());
    let sent = client.send(1, &set("8")).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let back = other.send(1, &set("7")).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    faults.set_plan(FaultPlan::default());
    for (client, sent) in [(&mut client, sent), (&mut other, back)] {
        let told = client.reply::<IncrementalAlterConfigsRequest>(1, sent).await;
        assert_eq!(told.responses[0].error_code, 0);
    }
    let value =
        live.meta.image().configs_of(2, "t").and_then(|configs| configs.get("retention.ms").map(ToString::to_string));
    assert_eq!(value.as_deref(), Some("7"));
}
