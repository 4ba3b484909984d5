//! Requests that name very much: others are answered while one is being answered.

use wire::messages::*;
use wire::{Request, Str};

use crate::support::{Client, Live, start};

const NAMED: usize = 80_000;
/// So many requests of another client are answered meanwhile. They are far more on a slow machine, and hardly any where the
/// long one is answered in one go.
const OTHERS_MIN: usize = 20;

fn names() -> impl Iterator<Item = Str> {
    (0..NAMED).map(|at| Str::from(format!("absent-{at}")))
}

/// On one thread, where who does not let others run keeps everybody waiting.
async fn others_are_answered_meanwhile<Q: Request>(live: &Live, version: i16, request: Q) {
    let (mut long, mut other) = (Client::connect(live).await, Client::connect(live).await);
    let correlation = long.send(version, &request).await;
    let mut others = 0;
    let meanwhile = async {
        loop {
            other.call(3, &ApiVersionsRequest::default()).await;
            others += 1;
        }
    };
    tokio::select! {
        _ = long.receive() => {}
        () = meanwhile => {}
    }
    assert!(others >= OTHERS_MIN, "{others} others while {} {correlation} was answered", Q::NAME);
}

#[tokio::test]
async fn settings_of_very_many_topics_are_changed_and_described() {
    use wire::messages::{alter_configs_request as replacing, incremental_alter_configs_request as incremental};
    let live = start(&[]).await;
    let resource =
        |name| incremental::AlterConfigsResource { resource_type: 2, resource_name: name, ..Default::default() };
    let request = IncrementalAlterConfigsRequest { resources: names().map(resource).collect(), ..Default::default() };
    others_are_answered_meanwhile(&live, 1, request).await;
    let resource =
        |name| replacing::AlterConfigsResource { resource_type: 2, resource_name: name, ..Default::default() };
    let request = AlterConfigsRequest { resources: names().map(resource).collect(), ..Default::default() };
    others_are_answered_meanwhile(&live, 2, request).await;
    // Of one topic, by keys that there are not.
    let resource = describe_configs_request::DescribeConfigsResource {
        resource_type: 4,
        configuration_keys: Some((0..4).flat_map(|_| names()).collect()),
        ..Default::default()
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    others_are_answered_meanwhile(&live, 4, request).await;
}

#[tokio::test]
async fn very_many_topics_are_made_grown_and_deleted() {
    let live = start(&[]).await;
    let bad = create_topics_request::CreatableTopicConfig { name: "bad".into(), ..Default::default() };
    let topic = |name| create_topics_request::CreatableTopic { name, configs: vec![bad.clone()], ..Default::default() };
    let request = CreateTopicsRequest { topics: names().map(topic).collect(), ..Default::default() };
    others_are_answered_meanwhile(&live, 7, request).await;
    let topic = |name| create_partitions_request::CreatePartitionsTopic { name, count: 2, ..Default::default() };
    let request = CreatePartitionsRequest { topics: names().map(topic).collect(), ..Default::default() };
    others_are_answered_meanwhile(&live, 3, request).await;
    let topic = |name| delete_topics_request::DeleteTopicState { name: Some(name), ..Default::default() };
    let request = DeleteTopicsRequest { topics: names().map(topic).collect(), ..Default::default() };
    others_are_answered_meanwhile(&live, 6, request).await;
}

#[tokio::test]
async fn very_many_topics_are_described_and_their_records_deleted() {
    let live = start(&[]).await;
    let topic = |name| describe_topic_partitions_request::TopicRequest { name, ..Default::default() };
    let request = DescribeTopicPartitionsRequest { topics: names().map(topic).collect(), ..Default::default() };
    others_are_answered_meanwhile(&live, 0, request).await;
    let partition =
        |partition_index| delete_records_request::DeleteRecordsPartition { partition_index, ..Default::default() };
    let topic = delete_records_request::DeleteRecordsTopic {
        name: "absent".into(),
        partitions: (0..).take(2 * NAMED).map(partition).collect(),
        ..Default::default()
    };
    let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    others_are_answered_meanwhile(&live, 2, request).await;
}
