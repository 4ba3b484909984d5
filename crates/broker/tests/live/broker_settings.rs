//! Settings of brokers, of one and of all: changed, described, in force for topics, refused, kept.

use wire::messages::alter_configs_request as replacing;
use wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use wire::messages::describe_configs_request::DescribeConfigsResource;
use wire::messages::incremental_alter_configs_request as incremental;
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::*;
use wire::{ErrorCode, Message};

use crate::support::{Client, batch, start, start_on};

pub const TOPIC: i8 = 2;
pub const BROKER: i8 = 4;
/// The name of all brokers together.
pub const ALL: &str = "";
/// The name of the broker under test.
pub const OWN: &str = "1";

pub const OF_TOPIC: i8 = 1;
pub const OF_BROKER: i8 = 2;
pub const OF_ALL: i8 = 3;
pub const OF_FILE: i8 = 4;
pub const BY_DEFAULT: i8 = 5;

pub const SET: i8 = 0;
pub const DELETE: i8 = 1;
pub const APPEND: i8 = 2;
pub const SUBTRACT: i8 = 3;

/// One change to one key.
pub type Change<'a> = (i8, &'a str, Option<&'a str>);

pub async fn change(client: &mut Client, name: &str, changes: &[Change<'_>]) -> i16 {
    ask(client, BROKER, name, changes, false).await
}

async fn ask(client: &mut Client, kind: i8, name: &str, changes: &[Change<'_>], validate_only: bool) -> i16 {
    let configs = changes.iter().map(|&(config_operation, key, value)| incremental::AlterableConfig {
        name: key.into(),
        config_operation,
        value: value.map(Into::into),
        ..Default::default()
    });
    let resource = incremental::AlterConfigsResource {
        resource_type: kind,
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

/// The value, its source, and whether it can only be read; each synonym's name, value and source.
pub async fn told(client: &mut Client, kind: i8, name: &str, key: &str) -> (Option<String>, i8, bool, Vec<String>) {
    let response = described(client, kind, name, Some(&[key])).await;
    let config = &response.results[0].configs[0];
    let text = |s: &describe_configs_response::DescribeConfigsSynonym| {
        format!("{} {} {}", s.name, s.value.as_deref().unwrap_or("null"), s.source)
    };
    let synonyms = config.synonyms.iter().map(text).collect();
    (config.value.as_deref().map(str::to_owned), config.config_source, config.read_only, synonyms)
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

/// Every place that could have given a value, the one in force first, and what is said there: of a broker's own settings, and
/// of those of all, the text that was sent.
pub async fn sources(client: &mut Client, kind: i8, name: &str, key: &str) -> Vec<(String, i8)> {
    let response = described(client, kind, name, Some(&[key])).await;
    let config = &response.results[0].configs[0];
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    let synonyms: Vec<_> = config.synonyms.iter().map(|s| (text(s.value.as_deref()), s.source)).collect();
    assert_eq!(synonyms.first().map(|(_, source)| *source), Some(config.config_source), "the first is in force");
    synonyms
}

/// The value in force, as it is understood.
pub async fn in_force(client: &mut Client, kind: i8, name: &str, key: &str) -> String {
    told(client, kind, name, key).await.0.unwrap()
}

fn pairs(expected: &[(&str, i8)]) -> Vec<(String, i8)> {
    expected.iter().map(|&(value, source)| (value.to_owned(), source)).collect()
}

pub async fn create(client: &mut Client, name: &str, settings: &[(&str, &str)]) {
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
    let changes: [Change<'_>; 3] = [
        (SET, "log.message.timestamp.type", Some("LogAppendTime")),
        (SET, "log.retention.ms", Some("+7200000")),
        (APPEND, "log.cleanup.policy", Some("compact")),
    ];
    assert_eq!(change(&mut client, ALL, &changes).await, 0);
    assert_eq!(sources(&mut client, TOPIC, "t", "retention.ms").await[0], ("+7200000".to_owned(), OF_ALL));
    assert_eq!(in_force(&mut client, TOPIC, "t", "retention.ms").await, "7200000");
    assert_eq!(sources(&mut client, TOPIC, "t", "cleanup.policy").await[0], ("delete,compact".to_owned(), OF_ALL));
    assert_eq!(produce(&mut client, "t").await, (0, true), "the broker's time is given");
    create(&mut client, "later", &[]).await;
    assert_eq!(sources(&mut client, TOPIC, "later", "cleanup.policy").await[0], ("delete,compact".to_owned(), OF_ALL));
}

#[tokio::test]
async fn the_old_call_replaces_what_is_set_for_a_broker_and_for_all() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    for version in AlterConfigsRequest::VERSIONS {
        for (name, source) in [(OWN, OF_BROKER), (ALL, OF_ALL)] {
            assert_eq!(change(&mut client, name, &[(SET, "log.retention.bytes", Some("9"))]).await, 0);
            assert_eq!(replace(&mut client, version, name, &[("log.retention.ms", "5")]).await, 0, "v{version}");
            let set = [("5", source), ("168", BY_DEFAULT)];
            assert_eq!(sources(&mut client, BROKER, OWN, "log.retention.ms").await, pairs(&set), "and the hours");
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
    // Kafka 3.9.2 and 4.4.0 answer all of them with 42, but the last with 40.
    let (refused, no_list) = (ErrorCode::InvalidRequest.code(), ErrorCode::InvalidConfig.code());
    let cases: [(&str, Change<'_>, i16); 15] = [
        ("a key that only a restart changes", (SET, "log.cache.bytes", Some("33554432")), refused),
        ("a topic's default that only a restart changes", (SET, "num.partitions", Some("3")), refused),
        ("a topic's default in hours", (SET, "log.retention.hours", Some("3")), refused),
        ("a topic's default in minutes", (SET, "log.retention.minutes", Some("3")), refused),
        ("a segment's age in hours", (SET, "log.roll.hours", Some("3")), refused),
        ("how often is looked what to flush", (SET, "log.flush.scheduler.interval.ms", Some("3")), refused),
        ("a key that does nothing here and only a restart changes", (SET, "process.roles", Some("broker")), refused),
        ("a key of security", (SET, "ssl.keystore.type", Some("PKCS12")), refused),
        ("a number that is none", (SET, "message.max.bytes", Some("much")), refused),
        ("a number that is none, without effect", (SET, "log.cleaner.threads", Some("x")), refused),
        ("a number out of its range", (SET, "message.max.bytes", Some("-1")), refused),
        ("a word that is not among those allowed", (SET, "compression.type", Some("rar")), refused),
        ("no value", (SET, "message.max.bytes", None), refused),
        ("no value, without effect", (SET, "log.cleaner.threads", None), refused),
        ("an item for what is no list", (APPEND, "message.max.bytes", Some("5")), no_list),
    ];
    for name in [OWN, ALL] {
        for (why, bad, code) in cases {
            assert_eq!(change(&mut client, name, &[good, bad]).await, code, "{why}");
        }
        assert_eq!(replace(&mut client, 2, name, &[("log.retention.ms", "5"), ("node.id", "7")]).await, refused);
        assert_eq!(ask(&mut client, BROKER, name, &[good], true).await, 0, "valid");
    }
    assert_eq!(change(&mut client, "7", &[good]).await, refused, "another broker");
    assert_eq!(change(&mut client, "one", &[good]).await, refused, "no broker");
    assert!(live.meta.image().configs_of(BROKER, OWN).is_none(), "nothing was set");
    assert!(live.meta.image().configs_of(BROKER, ALL).is_none(), "nothing was set");
    let response = described(&mut client, BROKER, OWN, Some(&["log.cache.bytes", "log.retention.ms"])).await;
    let read_only: Vec<_> = response.results[0].configs.iter().map(|c| (&*c.name, c.read_only)).collect();
    assert_eq!(read_only, [("log.cache.bytes", true), ("log.retention.ms", false)]);
}

/// So Kafka 4.4.0 does, for what is plugged in: nobody is told the value of such a key.
#[tokio::test]
async fn a_key_that_nobody_knows_is_kept_and_shown_without_its_value() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    assert_eq!(ask(&mut client, BROKER, OWN, &[(SET, "my.plugin.secret", Some("s"))], true).await, 0);
    assert!(live.meta.image().configs_of(BROKER, OWN).is_none(), "only validated");
    for name in [OWN, ALL] {
        assert_eq!(change(&mut client, name, &[(SET, "my.plugin.secret", Some("s"))]).await, 0, "{name:?}");
    }
    let sources = [(OWN, vec![OF_BROKER, OF_ALL]), (ALL, vec![OF_ALL])];
    for (name, sources) in sources {
        let response = described(&mut client, BROKER, name, Some(&["my.plugin.secret", "other"])).await;
        let [told] = &response.results[0].configs[..] else { panic!("{name:?}: {response:?}") };
        assert_eq!((&*told.name, told.value.as_deref(), told.config_type), ("my.plugin.secret", None, 0));
        assert!(told.is_sensitive && told.read_only);
        assert_eq!(told.config_source, sources[0]);
        assert_eq!(told.synonyms.iter().map(|synonym| synonym.source).collect::<Vec<_>>(), sources);
    }
    assert_eq!(change(&mut client, OWN, &[(DELETE, "my.plugin.secret", None)]).await, 0);
    assert!(live.meta.image().configs_of(BROKER, OWN).is_none());
    // So many, and no longer ones: they stay in memory for good.
    let many: Vec<String> = (0..=100).map(|at| format!("my.{at}")).collect();
    let set = |names: &[String]| names.iter().map(|name| (name.clone(), "v".to_owned())).collect::<Vec<_>>();
    for (names, code) in [
        (&many[..], ErrorCode::PolicyViolation.code()),
        (&many[1..], 0),
        (&["x".repeat(257)][..], ErrorCode::PolicyViolation.code()),
    ] {
        let set = set(names);
        let pairs: Vec<(&str, &str)> = set.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(replace(&mut client, 2, OWN, &pairs).await, code);
    }
    let long = "v".repeat(30_000);
    let long: Vec<(&str, &str)> = ["a", "b", "c"].map(|key| (key, long.as_str())).into();
    assert_eq!(replace(&mut client, 2, OWN, &long).await, ErrorCode::PolicyViolation.code());
    assert_eq!(replace(&mut client, 2, OWN, &long[..2]).await, 0);
    let too_much = (SET, "c", Some(long[2].1));
    assert_eq!(change(&mut client, OWN, &[too_much]).await, ErrorCode::PolicyViolation.code(), "with what is there");
    assert_eq!(change(&mut client, OWN, &[(DELETE, "a", None), too_much]).await, 0, "instead of what is there");
}

/// Otherwise each spelling would be a resource of its own, that nobody describes and that takes room for good.
#[tokio::test]
async fn a_broker_is_changed_by_the_plain_spelling_of_its_id_alone() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    let refused = ErrorCode::InvalidRequest.code();
    for name in ["01", "+1", "0001"] {
        assert_eq!(change(&mut client, name, &[(SET, "my.plugin.secret", Some("s"))]).await, refused, "{name}");
        assert_eq!(replace(&mut client, 2, name, &[("log.retention.ms", "5")]).await, refused, "{name}");
        assert!(live.meta.image().configs_of(BROKER, name).is_none(), "{name}");
    }
    assert_eq!(change(&mut client, OWN, &[(SET, "my.plugin.secret", Some("s"))]).await, 0);
}

/// Kafka 3.9.2 and 4.4.0 refuse each mention of a resource that is named twice, change what is named once, and leave the rest.
/// (Their answer to AlterConfigs gets lost: the controller refuses both, and the broker fails on counting its errors.)
#[tokio::test]
async fn a_resource_that_is_named_twice_is_not_changed_at_all() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    let twice = ErrorCode::InvalidRequest.code();
    for (kind, names, key) in [(TOPIC, ["t", "u", "t"], "retention.ms"), (BROKER, [OWN, ALL, OWN], "log.retention.ms")]
    {
        if kind == TOPIC {
            create(&mut client, "t", &[]).await;
            create(&mut client, "u", &[]).await;
        }
        let resource = |(at, name): (usize, &&str)| incremental::AlterConfigsResource {
            resource_type: kind,
            resource_name: (*name).into(),
            configs: vec![incremental::AlterableConfig {
                name: key.into(),
                config_operation: SET,
                value: Some(format!("{}", 5_000 + at).as_str().into()),
                ..Default::default()
            }],
            ..Default::default()
        };
        let resources: Vec<_> = names.iter().enumerate().map(resource).collect();
        let request = IncrementalAlterConfigsRequest { resources, ..Default::default() };
        let response = client.call(1, &request).await;
        let codes: Vec<_> = response.responses.iter().map(|r| (&*r.resource_name, r.error_code)).collect();
        assert_eq!(codes, [(names[0], twice), (names[1], 0), (names[2], twice)], "kind {kind}");
        let image = live.meta.image();
        assert!(image.configs_of(kind, names[0]).is_none(), "kind {kind}");
        assert!(image.configs_of(kind, names[1]).is_some(), "kind {kind}");

        let resource = |(at, name): (usize, &&str)| replacing::AlterConfigsResource {
            resource_type: kind,
            resource_name: (*name).into(),
            configs: vec![replacing::AlterableConfig {
                name: key.into(),
                value: Some(format!("{}", 7_000 + at).as_str().into()),
                ..Default::default()
            }],
            ..Default::default()
        };
        let resources: Vec<_> = names.iter().enumerate().map(resource).collect();
        for version in AlterConfigsRequest::VERSIONS {
            let request = AlterConfigsRequest { resources: resources.clone(), ..Default::default() };
            let response = client.call(version, &request).await;
            let codes: Vec<_> = response.responses.iter().map(|r| r.error_code).collect();
            assert_eq!(codes, [twice, 0, twice], "kind {kind} v{version}");
        }
        assert!(live.meta.image().configs_of(kind, names[0]).is_none(), "kind {kind}");
    }
}

/// Kafka 3.9.2 and 4.4.0: "Value must be between 1 and 9 or equal to -1", of a topic's key and of the broker's.
#[tokio::test]
async fn gzip_has_no_level_0() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    for (level, fine) in [("0", false), ("-1", true), ("1", true), ("9", true), ("10", false), ("-2", false)] {
        for name in [OWN, ALL] {
            let code = change(&mut client, name, &[(SET, "compression.gzip.level", Some(level))]).await;
            assert_eq!(code == 0, fine, "level {level}");
        }
    }
    let refused = broker::config::BrokerConfig::parse([("compression.gzip.level", "0")]).unwrap_err();
    assert!(refused[0].to_string().contains("between 1 and 9 or equal to -1"), "{}", refused[0]);
}

/// As Kafka 3.9.2 and 4.4.0 say of a broker started from their own files: `node.id`, its old name, and `listeners` come from
/// the file, where no broker starts without them.
#[tokio::test]
async fn what_a_broker_always_has_is_not_said_to_be_a_default() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    let node = [("1", OF_FILE), ("-1", BY_DEFAULT)];
    assert_eq!(sources(&mut client, BROKER, OWN, "node.id").await, pairs(&node[..1]), "Kafka's has no default");
    assert_eq!(sources(&mut client, BROKER, OWN, "broker.id").await, pairs(&node));
    let listeners = [("PLAINTEXT://127.0.0.1:0", OF_FILE), ("PLAINTEXT://:9092", BY_DEFAULT)];
    assert_eq!(sources(&mut client, BROKER, OWN, "listeners").await, pairs(&listeners));
    // What clients are told is nobody's setting: 4.4.0 has nothing to say here.
    let unset = (None, BY_DEFAULT, true, Vec::new());
    assert_eq!(told(&mut client, BROKER, OWN, "advertised.listeners").await, unset);
    let response = described(&mut client, BROKER, OWN, Some(&["log.dir", "listener.security.protocol.map"])).await;
    let types: Vec<_> = response.results[0].configs.iter().map(|c| (&*c.name, c.config_type)).collect();
    assert_eq!(types, [("listener.security.protocol.map", 2), ("log.dir", 7)], "a text and a list");
    let live = start(&[("broker.id", "1"), ("advertised.listeners", "PLAINTEXT://b.example:19092")]).await;
    let mut client = Client::connect(&live).await;
    let set = [("PLAINTEXT://b.example:19092", OF_FILE)];
    assert_eq!(sources(&mut client, BROKER, OWN, "advertised.listeners").await, pairs(&set));
    assert_eq!(sources(&mut client, BROKER, OWN, "broker.id").await, pairs(&node));
    assert_eq!(sources(&mut client, BROKER, OWN, "node.id").await, pairs(&node[..1]));
}

/// Each of them Kafka 4.4.0 answers with 42, and the others with 0. It thinks of what is in force: a value for all that a
/// broker's own goes before may be any, and then the broker's own cannot be deleted.
#[tokio::test]
async fn keys_without_effect_take_what_kafka_takes() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    let refused = ErrorCode::InvalidRequest.code();
    let threads = "log.cleaner.threads";
    let cases: &[(&str, i8, &str, &str, i16)] = &[
        (ALL, SET, threads, "0", refused),
        (ALL, SET, threads, "3", refused),
        (ALL, SET, threads, "2", 0),
        (OWN, SET, threads, "5", refused),
        (OWN, SET, threads, "4", 0),
        (ALL, SET, threads, "9", 0),
        (OWN, DELETE, threads, "", refused),
        (ALL, SET, "num.io.threads", "17", refused),
        (ALL, SET, "num.io.threads", "16", 0),
        (ALL, SET, "num.io.threads", "7", refused),
        (ALL, SET, "num.io.threads", "8", 0),
        (ALL, SET, "num.network.threads", "7", refused),
        (ALL, SET, "num.recovery.threads.per.data.dir", "5", refused),
        (ALL, SET, "background.threads", "4", refused),
        (ALL, SET, "num.replica.fetchers", "0", refused),
        (ALL, SET, "num.replica.fetchers", "-5", refused),
        (ALL, SET, "remote.log.manager.copier.thread.pool.size", "0", refused),
        (ALL, SET, "remote.log.manager.copier.thread.pool.size", "-1", refused),
        (ALL, SET, "remote.log.manager.expiration.thread.pool.size", "21", refused),
        (ALL, SET, "remote.log.manager.follower.thread.pool.size", "5", refused),
        (ALL, SET, "remote.log.reader.threads", "21", refused),
        (ALL, SET, "group.coordinator.cached.buffer.max.bytes", "524287", refused),
        (ALL, SET, "share.coordinator.cached.buffer.max.bytes", "524287", refused),
        (ALL, SET, "share.coordinator.cached.buffer.max.bytes", "524288", 0),
        (ALL, SET, "log.remote.copy.lag.ms", "-2", refused),
        (ALL, SET, "log.remote.copy.lag.bytes", "-2", refused),
        (ALL, SET, "log.remote.copy.lag.bytes", "-1", 0),
        (ALL, SET, "log.cleaner.dedupe.buffer.size", "10", refused),
        // Four threads: a mebibyte for each is not enough, one byte more for each is.
        (ALL, SET, "log.cleaner.dedupe.buffer.size", "4194304", refused),
        (ALL, SET, "log.cleaner.dedupe.buffer.size", "4194308", 0),
        (ALL, SET, "metric.reporters", "no.such.Class", refused),
        (ALL, APPEND, "metric.reporters", "no.such.Class", refused),
        (ALL, SET, "metric.reporters", "", 0),
        (OWN, SET, "metric.reporters", "", 0),
    ];
    for &(name, operation, key, value, expected) in cases {
        let value = (operation != DELETE).then_some(value);
        assert_eq!(change(&mut client, name, &[(operation, key, value)]).await, expected, "{name} {key}={value:?}");
    }
}

/// Kafka 3.9.2 and 4.4.0 answer each like this. What their file or the cluster says of cleanup.policy does not count.
#[tokio::test]
async fn a_list_is_appended_to_and_subtracted_from_as_it_is_set_for_the_resource_itself_or_else_from_its_default() {
    let live = start(&[("log.cleanup.policy", "compact")]).await;
    let mut client = Client::connect(&live).await;
    for (at, changes) in [
        &[(APPEND, "delete", "delete")][..],
        &[(APPEND, "compact", "delete,compact")],
        &[(SUBTRACT, "delete", ""), (APPEND, "compact", "compact")],
        &[(SUBTRACT, "compact", "delete")],
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("t{at}");
        create(&mut client, &name, &[]).await;
        for &(operation, item, then) in changes {
            let change = (operation, "cleanup.policy", Some(item));
            assert_eq!(ask(&mut client, TOPIC, &name, &[change], false).await, 0, "{name}");
            let told = sources(&mut client, TOPIC, &name, "cleanup.policy").await;
            assert_eq!(told[0], (then.to_owned(), OF_TOPIC), "{name} {item}");
        }
    }
    let key = "log.cleanup.policy";
    assert_eq!(change(&mut client, ALL, &[(APPEND, key, Some("compact"))]).await, 0);
    assert_eq!(sources(&mut client, BROKER, OWN, key).await[0], ("delete,compact".to_owned(), OF_ALL));
    assert_eq!(change(&mut client, OWN, &[(SUBTRACT, key, Some("delete"))]).await, 0);
    assert_eq!(sources(&mut client, BROKER, OWN, key).await[0], (String::new(), OF_BROKER));
}

/// Kafka 3.9.2 and 4.4.0 answer each like this.
#[tokio::test]
async fn items_of_a_list_are_appended_and_subtracted_with_the_blanks_that_they_were_set_with() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    create(&mut client, "t", &[("cleanup.policy", " delete,compact")]).await;
    for (kind, name, key) in
        [(TOPIC, "t", "cleanup.policy"), (BROKER, ALL, "log.cleanup.policy"), (BROKER, OWN, "log.cleanup.policy")]
    {
        let described = if kind == TOPIC { "t" } else { OWN };
        for (operation, item, then) in [
            (SET, " delete,compact", "delete,compact"),
            (SUBTRACT, "delete", "delete,compact"),
            (SUBTRACT, " delete", "compact"),
            (SET, "delete, compact", "delete,compact"),
            (SUBTRACT, "compact", "delete,compact"),
            (SUBTRACT, " compact", "delete"),
            (APPEND, "compact,,", "delete,compact"),
            (APPEND, ",", "delete,compact"),
            (SUBTRACT, "", "delete,compact"),
        ] {
            assert_eq!(ask(&mut client, kind, name, &[(operation, key, Some(item))], false).await, 0);
            assert_eq!(in_force(&mut client, kind, described, key).await, then, "{name:?} {operation} {item:?}");
        }
        let refused = if kind == TOPIC { ErrorCode::InvalidConfig } else { ErrorCode::InvalidRequest }.code();
        for item in ["", ",x", " x"] {
            assert_eq!(ask(&mut client, kind, name, &[(APPEND, key, Some(item))], false).await, refused, "{item:?}");
        }
    }
    // As it is created and as the old call sets it.
    for subtracted in ["delete", "compact"] {
        create(&mut client, subtracted, &[("cleanup.policy", " delete, compact")]).await;
        let subtract = (SUBTRACT, "cleanup.policy", Some(subtracted));
        assert_eq!(ask(&mut client, TOPIC, subtracted, &[subtract], false).await, 0);
        let told = sources(&mut client, TOPIC, subtracted, "cleanup.policy").await;
        assert_eq!(told[0].0, "delete,compact");
    }
    assert_eq!(replace(&mut client, 2, ALL, &[("log.cleanup.policy", "delete, compact")]).await, 0);
    assert_eq!(change(&mut client, ALL, &[(SUBTRACT, "log.cleanup.policy", Some("compact"))]).await, 0);
    assert!(
        sources(&mut client, BROKER, OWN, "log.cleanup.policy").await.contains(&("delete, compact".into(), OF_ALL))
    );
}

/// Kafka 4.4.0 drops doubles in its file and refuses them while it runs (42). In a topic's own list it drops them, too.
#[tokio::test]
async fn a_brokers_list_may_name_a_word_twice_in_its_file_and_not_while_it_runs() {
    let live = start(&[("log.cleanup.policy", "compact, compact")]).await;
    let mut client = Client::connect(&live).await;
    let key = "log.cleanup.policy";
    assert_eq!(sources(&mut client, BROKER, OWN, key).await[0], ("compact".to_owned(), OF_FILE));
    create(&mut client, "t", &[("cleanup.policy", "delete,delete")]).await;
    assert_eq!(sources(&mut client, TOPIC, "t", "cleanup.policy").await[0], ("delete".to_owned(), OF_TOPIC));
    let refused = ErrorCode::InvalidRequest.code();
    for name in [ALL, OWN] {
        assert_eq!(change(&mut client, name, &[(SET, key, Some("delete,delete"))]).await, refused);
        assert_eq!(replace(&mut client, 2, name, &[(key, "delete, delete")]).await, refused);
        assert_eq!(change(&mut client, name, &[(SET, key, Some(" compact , delete "))]).await, 0);
        assert_eq!(change(&mut client, name, &[(APPEND, key, Some("compact"))]).await, refused);
        assert_eq!(change(&mut client, name, &[(APPEND, key, Some(" compact "))]).await, 0, "the same text");
    }
}

/// With `*` Kafka 4.4.0 makes no topic any more (error 38). For all brokers together it refuses the key (42), whatever the
/// value, and for one a directory that is not the broker's (42).
#[tokio::test]
async fn no_directory_can_be_cordoned() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    let (key, refused) = ("cordoned.log.dirs", ErrorCode::InvalidRequest.code());
    for (name, value, expected) in
        [(OWN, "*", refused), (OWN, "/nope", refused), (ALL, "*", refused), (ALL, "", refused), (OWN, "", 0)]
    {
        assert_eq!(change(&mut client, name, &[(SET, key, Some(value))]).await, expected, "{name:?} {value:?}");
    }
    assert_eq!(change(&mut client, OWN, &[(APPEND, key, Some("*"))]).await, refused);
    let error = broker::config::BrokerConfig::parse([(key, "*")]).unwrap_err();
    assert!(error[0].to_string().contains("cannot be cordoned"), "{}", error[0]);
}

/// Synonyms as Kafka 4.4.0 gives them. Of a file's log.retention.hours it says nothing where a topic's retention.ms comes
/// from it.
#[tokio::test]
async fn topics_tell_of_every_key_that_could_have_given_a_value() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    create(&mut client, "t", &[]).await;
    for key in ["retention.ms", "segment.ms", "segment.jitter.ms", "flush.ms"] {
        let (_, source, _, synonyms) = told(&mut client, TOPIC, "t", key).await;
        assert_eq!((source, synonyms), (BY_DEFAULT, Vec::new()), "{key}: nothing is set");
    }
    let unset = (None, BY_DEFAULT, false, Vec::new());
    assert_eq!(told(&mut client, BROKER, OWN, "log.roll.ms").await, unset);
    let hours = (Some("168".to_owned()), BY_DEFAULT, true, vec!["log.roll.hours 168 5".to_owned()]);
    assert_eq!(told(&mut client, BROKER, OWN, "log.roll.hours").await, hours);
    let sets = [
        ("remote.copy.lag.ms", "log.remote.copy.lag.ms", "5", "log.remote.copy.lag.ms 0 5"),
        ("retention.ms", "log.retention.ms", "500000", "log.retention.hours 168 5"),
        ("segment.ms", "log.roll.ms", "500000", "log.roll.hours 168 5"),
        ("segment.jitter.ms", "log.roll.jitter.ms", "50", "log.roll.jitter.hours 0 5"),
        ("flush.ms", "log.flush.interval.ms", "50", "log.flush.scheduler.interval.ms 9223372036854775807 5"),
    ];
    for (key, broker_key, value, default) in sets {
        assert_eq!(change(&mut client, ALL, &[(SET, broker_key, Some(value))]).await, 0);
        let synonyms = vec![format!("{broker_key} {value} 3"), default.to_owned()];
        let expected = (Some(value.to_owned()), OF_ALL, false, synonyms);
        assert_eq!(told(&mut client, TOPIC, "t", key).await, expected);
        assert_eq!(told(&mut client, BROKER, OWN, broker_key).await, expected);
    }
    let file = [("log.retention.hours", "1"), ("log.roll.ms", "7200000"), ("log.roll.hours", "3")];
    let live = start(&file).await;
    let mut client = Client::connect(&live).await;
    create(&mut client, "t", &[]).await;
    let hours = (Some("3600000".to_owned()), BY_DEFAULT, false, Vec::new());
    assert_eq!(told(&mut client, TOPIC, "t", "retention.ms").await, hours);
    let synonyms = ["log.roll.ms 7200000 4", "log.roll.hours 3 4", "log.roll.hours 168 5"].map(str::to_owned);
    let expected = (Some("7200000".to_owned()), OF_FILE, false, synonyms.to_vec());
    assert_eq!(told(&mut client, TOPIC, "t", "segment.ms").await, expected);
}

/// What Kafka 3.9.2 and 4.4.0 accept, keep and describe: the value and its sources, and that it can be changed.
#[tokio::test(flavor = "multi_thread")]
async fn keys_without_effect_are_kept_and_described_like_others() {
    let live = start(&[("num.io.threads", "16")]).await;
    let mut client = Client::connect(&live).await;
    let key = "log.cleaner.threads";
    assert_eq!(sources(&mut client, BROKER, OWN, key).await, pairs(&[("1", BY_DEFAULT)]));
    assert_eq!(change(&mut client, ALL, &[(SET, key, Some("2"))]).await, 0);
    assert_eq!(change(&mut client, OWN, &[(SET, key, Some("3"))]).await, 0);
    let set = [("3", OF_BROKER), ("2", OF_ALL), ("1", BY_DEFAULT)];
    assert_eq!(sources(&mut client, BROKER, OWN, key).await, pairs(&set));
    assert_eq!(sources(&mut client, BROKER, ALL, key).await, pairs(&set[1..2]));
    let file = [("16", OF_FILE), ("8", BY_DEFAULT)];
    assert_eq!(sources(&mut client, BROKER, OWN, "num.io.threads").await, pairs(&file));
    // Kafka tells of these only where they are set.
    let throttle = "leader.replication.throttled.rate";
    let response = described(&mut client, BROKER, OWN, Some(&[throttle])).await;
    assert!(response.results[0].configs.is_empty());
    assert_eq!(replace(&mut client, 2, OWN, &[(throttle, "1000"), (key, "3")]).await, 0);
    assert_eq!(sources(&mut client, BROKER, OWN, throttle).await, pairs(&[("1000", OF_BROKER)]));
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
    let age = [("7200000", OF_BROKER), ("168", BY_DEFAULT)];
    assert_eq!(sources(&mut client, BROKER, OWN, "log.retention.ms").await, pairs(&age));
    assert_eq!(produce(&mut client, "t").await.0, ErrorCode::MessageTooLarge.code());
    assert!(next.handle.shutdown().await);
}
