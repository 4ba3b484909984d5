//! Settings of brokers, of one and of all: changed, described, in force for topics, refused, kept.

use wire::messages::alter_configs_request as replacing;
use wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use wire::messages::describe_configs_request::DescribeConfigsResource;
use wire::messages::incremental_alter_configs_request as incremental;
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::*;
use wire::{ErrorCode, Message};

use crate::support::{Client, batch, start, start_on};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
/// The name of all brokers together.
const ALL: &str = "";
/// The name of the broker under test.
const OWN: &str = "1";

const OF_TOPIC: i8 = 1;
const OF_BROKER: i8 = 2;
const OF_ALL: i8 = 3;
const OF_FILE: i8 = 4;
const BY_DEFAULT: i8 = 5;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;

/// One change to one key.
type Change<'a> = (i8, &'a str, Option<&'a str>);

async fn change(client: &mut Client, name: &str, changes: &[Change<'_>]) -> i16 {
    ask(client, name, changes, false).await
}

async fn ask(client: &mut Client, name: &str, changes: &[Change<'_>], validate_only: bool) -> i16 {
    let configs = changes.iter().map(|&(config_operation, key, value)| incremental::AlterableConfig {
        name: key.into(),
        config_operation,
        value: value.map(Into::into),
        ..Default::default()
    });
    let resource = incremental::AlterConfigsResource {
        resource_type: BROKER,
        resource_name: name.into(),
        configs: configs.collect(),
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only, ..Default::default() };
    client.call(1, &request).await.responses[0].error_code
}

/// Replaces all that is set.
async fn replace(client: &mut Client, version: i16, name: &str, settings: &[(&str, &str)]) -> i16 {
    let configs = settings.iter().map(|&(key, value)| replacing::AlterableConfig {
        name: key.into(),
        value: Some(value.into()),
        ..Default::default()
    });
    let resource = replacing::AlterConfigsResource {
        resource_type: BROKER,
        resource_name: name.into(),
        configs: configs.collect(),
        ..Default::default()
    };
    let request = AlterConfigsRequest { resources: vec![resource], ..Default::default() };
    client.call(version, &request).await.responses[0].error_code
}

/// What is described: each key's value, its source, and whether it can only be read.
async fn described(client: &mut Client, kind: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsResponse {
    let resource = DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configuration_keys: keys.map(|keys| keys.iter().map(|key| (*key).into()).collect()),
        ..Default::default()
    };
    let request = DescribeConfigsRequest { resources: vec![resource], include_synonyms: true, ..Default::default() };
    let response = client.call(4, &request).await;
    assert_eq!(response.results[0].error_code, 0, "{:?}", response.results[0].error_message);
    response
}

/// A value and every place that could have given it, the one in force first.
async fn sources(client: &mut Client, kind: i8, name: &str, key: &str) -> Vec<(String, i8)> {
    let response = described(client, kind, name, Some(&[key])).await;
    let config = &response.results[0].configs[0];
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    let synonyms: Vec<_> = config.synonyms.iter().map(|s| (text(s.value.as_deref()), s.source)).collect();
    assert_eq!(synonyms.first(), Some(&(text(config.value.as_deref()), config.config_source)), "the first is in force");
    synonyms
}

fn pairs(expected: &[(&str, i8)]) -> Vec<(String, i8)> {
    expected.iter().map(|&(value, source)| (value.to_owned(), source)).collect()
}

async fn create(client: &mut Client, name: &str, settings: &[(&str, &str)]) {
    let configs = settings.iter().map(|&(key, value)| CreatableTopicConfig {
        name: key.into(),
        value: Some(value.into()),
        ..Default::default()
    });
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: -1,
        replication_factor: 1,
        configs: configs.collect(),
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    assert_eq!(client.call(7, &request).await.topics[0].error_code, 0);
}

/// The error of producing a kilobyte, and the time that the broker gave the record, if it did.
async fn produce(client: &mut Client, topic: &str) -> (i16, bool) {
    let data = PartitionProduceData { records: Some(batch(&["v".repeat(1000).as_str()])), ..Default::default() };
    let topic = TopicProduceData { name: topic.into(), partition_data: vec![data], ..Default::default() };
    let request = ProduceRequest { acks: -1, timeout_ms: 10_000, topic_data: vec![topic], ..Default::default() };
    let response = client.call(9, &request).await;
    let partition = &response.responses[0].partition_responses[0];
    (partition.error_code, partition.log_append_time_ms >= 0)
}

#[tokio::test]
async fn a_brokers_own_setting_goes_before_that_of_all_before_the_file_before_the_default() {
    let key = "message.max.bytes";
    let live = start(&[(key, "2000000")]).await;
    let mut client = Client::connect(&live).await;
    create(&mut client, "plain", &[]).await;
    create(&mut client, "own", &[("max.message.bytes", "3000000")]).await;
    let file = [("2000000", OF_FILE), ("1048588", BY_DEFAULT)];
    assert_eq!(sources(&mut client, BROKER, OWN, key).await, pairs(&file));
    assert_eq!(produce(&mut client, "plain").await.0, 0);

    assert_eq!(change(&mut client, ALL, &[(SET, key, Some("500"))]).await, 0);
    let all = [("500", OF_ALL), file[0], file[1]];
    assert_eq!(sources(&mut client, BROKER, OWN, key).await, pairs(&all));
    assert_eq!(sources(&mut client, BROKER, ALL, key).await, pairs(&all[..1]), "what is set for all, and no more");
    assert_eq!(sources(&mut client, TOPIC, "plain", "max.message.bytes").await, pairs(&all));
    assert_eq!(produce(&mut client, "plain").await.0, ErrorCode::MessageTooLarge.code());
    assert_eq!(produce(&mut client, "own").await.0, 0, "a topic's own setting goes before a broker's");

    assert_eq!(change(&mut client, OWN, &[(SET, key, Some("5000"))]).await, 0);
    let own = [("5000", OF_BROKER), all[0], all[1], all[2]];
    assert_eq!(sources(&mut client, BROKER, OWN, key).await, pairs(&own));
    assert_eq!(sources(&mut client, TOPIC, "plain", "max.message.bytes").await, pairs(&own));
    let topic = [("3000000", OF_TOPIC), own[0], own[1], own[2], own[3]];
    assert_eq!(sources(&mut client, TOPIC, "own", "max.message.bytes").await, pairs(&topic));
    assert_eq!(produce(&mut client, "plain").await.0, 0);

    assert_eq!(change(&mut client, OWN, &[(DELETE, key, None)]).await, 0);
    assert_eq!(sources(&mut client, BROKER, OWN, key).await, pairs(&all));
    assert_eq!(produce(&mut client, "plain").await.0, ErrorCode::MessageTooLarge.code());
    assert_eq!(change(&mut client, ALL, &[(DELETE, key, None)]).await, 0);
    assert_eq!(sources(&mut client, BROKER, OWN, key).await, pairs(&file));
    assert!(described(&mut client, BROKER, ALL, None).await.results[0].configs.is_empty(), "nothing is set for all");
    assert_eq!(produce(&mut client, "plain").await.0, 0);
}

#[tokio::test]
async fn changed_defaults_reach_topics_that_exist_and_topics_that_are_made() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    create(&mut client, "t", &[]).await;
    assert_eq!(produce(&mut client, "t").await, (0, false), "the producer's time is kept");
    let changes: [Change<'_>; 4] = [
        (SET, "log.message.timestamp.type", Some("LogAppendTime")),
        (SET, "log.retention.ms", Some("7200000")),
        (APPEND, "log.cleanup.policy", Some("compact")),
        (SET, "num.partitions", Some("3")),
    ];
    assert_eq!(change(&mut client, ALL, &changes).await, 0);
    assert_eq!(sources(&mut client, TOPIC, "t", "retention.ms").await[0], ("7200000".to_owned(), OF_ALL));
    assert_eq!(sources(&mut client, TOPIC, "t", "cleanup.policy").await[0], ("delete,compact".to_owned(), OF_ALL));
    assert_eq!(produce(&mut client, "t").await, (0, true), "the broker's time is given");
    create(&mut client, "later", &[]).await;
    assert_eq!(live.meta.image().topic("later").unwrap().partitions.len(), 3);
}

#[tokio::test]
async fn the_old_call_replaces_what_is_set_for_a_broker_and_for_all() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    for version in AlterConfigsRequest::VERSIONS {
        for (name, source) in [(OWN, OF_BROKER), (ALL, OF_ALL)] {
            assert_eq!(change(&mut client, name, &[(SET, "log.retention.bytes", Some("9"))]).await, 0);
            assert_eq!(replace(&mut client, version, name, &[("log.retention.ms", "5")]).await, 0, "v{version}");
            assert_eq!(sources(&mut client, BROKER, OWN, "log.retention.ms").await, pairs(&[("5", source)]));
            let bytes = sources(&mut client, BROKER, OWN, "log.retention.bytes").await;
            assert_eq!(bytes, pairs(&[("-1", BY_DEFAULT)]), "v{version}: what was not named is gone");
            assert_eq!(replace(&mut client, version, name, &[]).await, 0);
            let response = described(&mut client, BROKER, OWN, Some(&["log.retention.ms"])).await;
            assert_eq!(response.results[0].configs[0].value, None, "v{version}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_set_is_refused_and_changes_nothing() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    let good: Change<'_> = (SET, "log.retention.ms", Some("5"));
    // Kafka 3.9.2 and 4.4.0 answer all of them with 42, but the last with 40; a key that they do not know they keep.
    let (refused, no_list) = (ErrorCode::InvalidRequest.code(), ErrorCode::InvalidConfig.code());
    let cases: [(&str, Change<'_>, i16); 11] = [
        ("a key that only a restart changes", (SET, "log.cache.bytes", Some("33554432")), refused),
        ("a key that does nothing here and only a restart changes", (SET, "process.roles", Some("broker")), refused),
        ("a key of security", (SET, "ssl.keystore.type", Some("PKCS12")), refused),
        ("a number that is none", (SET, "message.max.bytes", Some("much")), refused),
        ("a number that is none, without effect", (SET, "log.cleaner.threads", Some("x")), refused),
        ("a number out of its range", (SET, "message.max.bytes", Some("-1")), refused),
        ("a word that is not among those allowed", (SET, "compression.type", Some("rar")), refused),
        ("a key that there is not", (SET, "message.max.byte", Some("5")), refused),
        ("no value", (SET, "message.max.bytes", None), refused),
        ("no value, without effect", (SET, "log.cleaner.threads", None), refused),
        ("an item for what is no list", (APPEND, "message.max.bytes", Some("5")), no_list),
    ];
    for name in [OWN, ALL] {
        for (why, bad, code) in cases {
            assert_eq!(change(&mut client, name, &[good, bad]).await, code, "{why}");
        }
        assert_eq!(replace(&mut client, 2, name, &[("log.retention.ms", "5"), ("node.id", "7")]).await, refused);
        assert_eq!(ask(&mut client, name, &[good], true).await, 0, "valid");
    }
    assert_eq!(change(&mut client, "7", &[good]).await, refused, "another broker");
    assert_eq!(change(&mut client, "one", &[good]).await, refused, "no broker");
    assert!(live.meta.image().configs_of(BROKER, OWN).is_none(), "nothing was set");
    assert!(live.meta.image().configs_of(BROKER, ALL).is_none(), "nothing was set");
    let response = described(&mut client, BROKER, OWN, Some(&["log.cache.bytes", "log.retention.ms"])).await;
    let read_only: Vec<_> = response.results[0].configs.iter().map(|c| (&*c.name, c.read_only)).collect();
    assert_eq!(read_only, [("log.cache.bytes", true), ("log.retention.ms", false)]);
}

/// What Kafka 3.9.2 and 4.4.0 accept, keep and describe: the value and its sources, and that it can be changed.
#[tokio::test(flavor = "multi_thread")]
async fn keys_without_effect_are_kept_and_described_like_others() {
    let live = start(&[("num.io.threads", "16")]).await;
    let mut client = Client::connect(&live).await;
    let key = "log.cleaner.threads";
    assert_eq!(sources(&mut client, BROKER, OWN, key).await, pairs(&[("1", BY_DEFAULT)]));
    assert_eq!(change(&mut client, ALL, &[(SET, key, Some("3"))]).await, 0);
    assert_eq!(change(&mut client, OWN, &[(SET, key, Some("2"))]).await, 0);
    let set = [("2", OF_BROKER), ("3", OF_ALL), ("1", BY_DEFAULT)];
    assert_eq!(sources(&mut client, BROKER, OWN, key).await, pairs(&set));
    assert_eq!(sources(&mut client, BROKER, ALL, key).await, pairs(&set[1..2]));
    let file = [("16", OF_FILE), ("8", BY_DEFAULT)];
    assert_eq!(sources(&mut client, BROKER, OWN, "num.io.threads").await, pairs(&file));
    // Kafka tells of these only where they are set.
    let throttle = "leader.replication.throttled.rate";
    let response = described(&mut client, BROKER, OWN, Some(&[throttle])).await;
    assert!(response.results[0].configs.is_empty());
    assert_eq!(replace(&mut client, 2, OWN, &[(throttle, "1000"), (key, "2")]).await, 0);
    assert_eq!(sources(&mut client, BROKER, OWN, throttle).await, pairs(&[("1000", OF_BROKER)]));
    assert_eq!(change(&mut client, ALL, &[(APPEND, "metric.reporters", Some("my.Reporter"))]).await, 0);
    // The first broker is not stopped: it is a zombie from here on.
    let next = start_on(live.site.clone(), &[]).await;
    let mut client = Client::connect(&next).await;
    assert_eq!(sources(&mut client, BROKER, OWN, key).await, pairs(&set));
    let response = described(&mut client, BROKER, OWN, Some(&[key])).await;
    assert!(!response.results[0].configs[0].read_only);
    assert_eq!(change(&mut client, OWN, &[(DELETE, key, None)]).await, 0);
    assert_eq!(sources(&mut client, BROKER, OWN, key).await, pairs(&set[1..]));
    assert!(next.handle.shutdown().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_brokers_outlive_the_broker() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    create(&mut client, "t", &[]).await;
    assert_eq!(change(&mut client, ALL, &[(SET, "message.max.bytes", Some("500"))]).await, 0);
    assert_eq!(change(&mut client, OWN, &[(SET, "log.retention.ms", Some("7200000"))]).await, 0);
    // The first broker is not stopped: it is a zombie from here on.
    let next = start_on(live.site.clone(), &[]).await;
    let mut client = Client::connect(&next).await;
    let bytes = [("500", OF_ALL), ("1048588", BY_DEFAULT)];
    assert_eq!(sources(&mut client, BROKER, OWN, "message.max.bytes").await, pairs(&bytes));
    assert_eq!(sources(&mut client, BROKER, OWN, "log.retention.ms").await, pairs(&[("7200000", OF_BROKER)]));
    assert_eq!(produce(&mut client, "t").await.0, ErrorCode::MessageTooLarge.code());
    assert!(next.handle.shutdown().await);
}
