//! Broker settings that are changed while the broker runs.

use std::time::Duration;

use meta::{ConfigChange, ConfigResource};
use records::{BatchBuilder, Compression};
use wire::messages::create_topics_request::CreatableTopic;
use wire::messages::describe_configs_request::DescribeConfigsResource;
use wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::*;
use wire::{ErrorCode, Str};

use crate::support::{Client, Live, start, start_on};

/// Sets keys of one broker, or of all for an empty name; the error code.
async fn set(client: &mut Client, broker: &str, pairs: &[(&str, &str)]) -> i16 {
    let config = |&(name, value): &(&str, &str)| AlterableConfig {
        name: name.into(),
        value: Some(value.into()),
        ..AlterableConfig::default()
    };
    let resource = AlterConfigsResource {
        resource_type: 4,
        resource_name: broker.into(),
        configs: pairs.iter().map(config).collect(),
        ..AlterConfigsResource::default()
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    client.call(1, &request).await.responses[0].error_code
}

/// Whether a new connection is served.
async fn is_served(live: &Live) -> bool {
    let mut client = Client::connect(live).await;
    client.send(0, &ApiVersionsRequest::default()).await;
    let mut first = [0];
    let answer = tokio::io::AsyncReadExt::read(&mut client.stream, &mut first);
    matches!(tokio::time::timeout(Duration::from_millis(200), answer).await, Ok(Ok(1)))
}

async fn becomes(live: &Live, served: bool, why: &str) {
    for _ in 0..100 {
        if is_served(live).await == served {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never: a new connection is {} {why}", if served { "served" } else { "not served" });
}

#[tokio::test]
async fn limits_of_connections_take_effect_at_once_and_outlive_the_process() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    assert!(is_served(&live).await);
    assert_eq!(set(&mut client, "", &[("max.connections.per.ip", "1")]).await, 0);
    becomes(&live, false, "beyond max.connections.per.ip").await;
    assert_eq!(set(&mut client, "1", &[("max.connections.per.ip.overrides", "127.0.0.1:5")]).await, 0);
    becomes(&live, true, "within max.connections.per.ip.overrides").await;
    assert_eq!(set(&mut client, "", &[("max.connections", "1")]).await, 0);
    becomes(&live, false, "beyond max.connections").await;
    let mut waiting = Client::connect(&live).await;
    let asked = waiting.send(0, &ApiVersionsRequest::default()).await;
    assert_eq!(set(&mut client, "", &[("max.connections", "9")]).await, 0);
    assert_eq!(waiting.reply::<ApiVersionsRequest>(0, asked).await.error_code, 0, "who waited for a place is served");
    drop(waiting);

    assert_eq!(set(&mut client, "", &[("max.connections", "1")]).await, 0);
    let live = start_on(live.site.clone(), &[]).await;
    let mut only = Client::connect(&live).await;
    only.call(0, &ApiVersionsRequest::default()).await;
    assert!(!is_served(&live).await, "a limit set before the restart holds after it");
}

/// Kafka's definitions let them pass; the part of its broker that would heed them refuses them, with this code.
#[tokio::test]
async fn a_value_that_the_running_broker_could_not_live_with_is_refused() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    let refused = ErrorCode::InvalidRequest.code();
    for broker in ["", "1"] {
        for pair in [
            ("max.connections", "0"),
            ("max.connection.creation.rate", "0"),
            ("log.retention.ms", "0"),
            ("log.local.retention.ms", "-1"),
            ("log.remote.copy.lag.ms", "604800001"),
        ] {
            assert_eq!(set(&mut client, broker, &[pair]).await, refused, "{pair:?} of {broker:?}");
        }
    }
    for pair in [("log.retention.ms", "-2"), ("log.cleanup.policy", "")] {
        assert_eq!(set(&mut client, "", &[pair]).await, 0, "{pair:?}");
    }
    assert!(is_served(&live).await);
}

/// A release that let them be set may have left them there.
#[tokio::test]
async fn a_stored_value_that_would_lock_everybody_out_or_delete_everything_does_not_count() {
    let live = start(&[("max.connections", "7")]).await;
    let all = ConfigResource { kind: 4, name: String::new() };
    let stored = [("max.connections", "0"), ("log.retention.ms", "0")];
    let changes = stored.map(|(key, value)| ConfigChange { key: key.to_owned(), value: Some(value.to_owned()) });
    live.meta.alter_configs(all, Default::default(), changes.to_vec()).await.unwrap();
    assert!(is_served(&live).await);
    let live = start_on(live.site.clone(), &[("max.connections", "7")]).await;
    let mut client = Client::connect(&live).await;
    let describe = |name: &str| DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: 4,
            resource_name: name.into(),
            configuration_keys: Some(stored.iter().map(|(key, _)| (*key).into()).collect()),
            ..Default::default()
        }],
        ..Default::default()
    };
    let told = client.call(4, &describe("1")).await.results.remove(0);
    let mut told: Vec<_> = told.configs.into_iter().map(|c| (c.name, c.value.map(String::from))).collect();
    told.sort();
    let expected: [(Str, _); 2] = [("log.retention.ms".into(), None), ("max.connections".into(), Some("7".to_owned()))];
    assert_eq!(told, expected, "what the file says is in force");
    assert!(client.call(4, &describe("")).await.results[0].configs.is_empty());
    assert_eq!(set(&mut client, "", &[("log.retention.bytes", "5")]).await, 0, "others can be set beside them");
    assert_eq!(set(&mut client, "", &[("max.connections", "9"), ("log.retention.ms", "5")]).await, 0);
    let told = client.call(4, &describe("")).await;
    assert_eq!(told.results[0].configs.len(), 2, "and they can be set anew");
}

#[tokio::test]
async fn how_long_a_producer_is_remembered_takes_effect_at_once() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    let topic = CreatableTopic { name: "t".into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
    client.call(5, &CreateTopicsRequest { topics: vec![topic], ..Default::default() }).await;
    let produce = async |client: &mut Client, producer, sequence| {
        let now = base::Clock::system().now().0;
        let mut builder = BatchBuilder::new(Compression::None).producer(producer, 0, sequence);
        builder.append(now, None, Some(b"v"), &[]).unwrap();
        let records = Some(builder.build().unwrap());
        let partition = PartitionProduceData { index: 0, records, ..Default::default() };
        let topic = TopicProduceData { name: "t".into(), partition_data: vec![partition], ..Default::default() };
        let request = ProduceRequest { acks: -1, timeout_ms: 10_000, topic_data: vec![topic], ..Default::default() };
        client.call(9, &request).await.responses[0].partition_responses[0].error_code
    };
    assert_eq!(produce(&mut client, 1, 0).await, 0);
    // A producer whose last batch may still be in flight is kept; this one's append shows that it is not.
    assert_eq!(produce(&mut client, 2, 0).await, 0);
    let gap = ErrorCode::OutOfOrderSequenceNumber.code();
    assert_eq!(produce(&mut client, 1, 5).await, gap);
    assert_eq!(set(&mut client, "", &[("producer.id.expiration.ms", "1")]).await, 0);
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        match produce(&mut client, 1, 5).await {
            0 => return,
            code => assert_eq!(code, gap),
        }
    }
    panic!("the producer is never forgotten");
}

#[tokio::test]
async fn settings_that_contradict_each_other_are_refused_where_they_are_made() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    let (min, max) = ("log.cleaner.min.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms");
    // Kafka 3.9.2 and 4.4.0 have this code for whatever is wrong with a broker's settings.
    let refused = ErrorCode::InvalidRequest.code();
    assert_eq!(set(&mut client, "", &[(min, "10"), (max, "5")]).await, refused);
    assert_eq!(set(&mut client, "", &[(max, "5")]).await, 0);
    assert_eq!(set(&mut client, "", &[(min, "10")]).await, refused);
    // Against what is set for all brokers too.
    assert_eq!(set(&mut client, "1", &[(min, "10")]).await, refused);
    assert_eq!(set(&mut client, "1", &[(min, "10"), (max, "20")]).await, 0);
    assert_eq!(set(&mut client, "", &[("max.connections.per.ip", "0")]).await, refused);
    let topic = CreatableTopic { name: "t".into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
    let create = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    assert_eq!(client.call(5, &create).await.topics[0].error_code, 0, "topics can be created after all that");
}
