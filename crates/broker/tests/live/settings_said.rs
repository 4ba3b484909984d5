//! What is said of settings: in which words they are described, and what is found wrong with a change first.

use wire::ErrorCode;
use wire::Message;
use wire::messages::alter_configs_request as replacing;
use wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use wire::messages::describe_configs_request::DescribeConfigsResource;
use wire::messages::incremental_alter_configs_request as incremental;
use wire::messages::*;

use crate::broker_settings::{
    ALL, APPEND, BROKER, BY_DEFAULT, Change, DELETE, OF_ALL, OF_BROKER, OF_FILE, OF_TOPIC, OWN, SET, SUBTRACT, TOPIC,
    change, create, in_force, sources, told,
};
use crate::support::{Client, start};

/// As Kafka's `ConfigHelper` does: only what is in force, for a broker or a topic, is told as it is understood.
#[tokio::test]
async fn where_a_value_may_come_from_is_told_as_it_was_sent() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    create(&mut client, "t", &[("flush.ms", " 007")]).await;
    let key = "log.retention.ms";
    assert_eq!(change(&mut client, ALL, &[(SET, key, Some(" 07"))]).await, 0);
    assert_eq!(change(&mut client, OWN, &[(SET, key, Some("+5 "))]).await, 0);
    let places = ["log.retention.ms +5  2", "log.retention.ms  07 3", "log.retention.hours 168 5"].map(str::to_owned);
    let (own, all) = (Some("5".to_owned()), Some(" 07".to_owned()));
    assert_eq!(told(&mut client, BROKER, OWN, key).await, (own.clone(), OF_BROKER, false, places.to_vec()));
    assert_eq!(told(&mut client, TOPIC, "t", "retention.ms").await, (own, OF_BROKER, false, places.to_vec()));
    assert_eq!(told(&mut client, BROKER, ALL, key).await, (all, OF_ALL, false, places[1..2].to_vec()));
    assert_eq!(sources(&mut client, TOPIC, "t", "flush.ms").await[0], ("7".to_owned(), OF_TOPIC), "a topic's own");
}

/// A topic's description tells it again for each key.
#[tokio::test]
async fn a_text_that_is_far_longer_than_its_value_is_told_as_it_is_understood() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    let (key, zeros) = ("log.retention.ms", "0".repeat(32_000));
    assert_eq!(change(&mut client, ALL, &[(SET, key, Some(&format!("{zeros}7")))]).await, 0);
    let (value, _, _, places) = told(&mut client, BROKER, ALL, key).await;
    assert_eq!((value.as_deref(), places[0].as_str()), (Some("7"), "log.retention.ms 7 3"));
}

/// The error and message of one resource's changes, and of setting all that they give instead where the old call can say it.
async fn refusal(client: &mut Client, kind: i8, name: &str, changes: &[Change<'_>]) -> (i16, String) {
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
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    let told = client.call(1, &request).await.responses.remove(0);
    let told = (told.error_code, told.error_message.map(String::from).unwrap_or_default());
    if changes.iter().all(|(operation, ..)| *operation == SET) {
        let configs = changes.iter().map(|&(_, key, value)| replacing::AlterableConfig {
            name: key.into(),
            value: value.map(Into::into),
            ..Default::default()
        });
        let resource = replacing::AlterConfigsResource {
            resource_type: kind,
            resource_name: name.into(),
            configs: configs.collect(),
            ..Default::default()
        };
        let request = AlterConfigsRequest { resources: vec![resource], ..Default::default() };
        let same = client.call(2, &request).await.responses.remove(0);
        assert_eq!((same.error_code, same.error_message.map(String::from).unwrap_or_default()), told);
    }
    told
}

/// `ConfigAdminManager.preprocess` of Kafka 4.4.0 looks for keys that are there twice, then for all that lack a value, then at
/// the broker's id, then at the operations, and only then is anything changed or a topic looked for.
#[tokio::test]
async fn what_is_wrong_with_a_change_is_found_in_kafkas_order() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    create(&mut client, "t", &[]).await;
    let (request, config) = (ErrorCode::InvalidRequest.code(), ErrorCode::InvalidConfig.code());
    let null = |key| (SET, key, None);
    let append: Change<'_> = (APPEND, "retention.ms", Some("1"));
    let twice = [null("retention.ms"), (SET, "x", Some("1")), (SET, "x", Some("1"))];
    let cases: [(i8, &str, &[Change<'_>], i16, &str); 13] = [
        (TOPIC, "t", &twice, request, "Error due to duplicate config keys"),
        (BROKER, OWN, &twice, request, "Error due to duplicate config keys"),
        (TOPIC, "", &twice, request, "Error due to duplicate config keys"),
        (TOPIC, "t", &[append, null("a"), null("b")], request, "Null value not supported for : a, b"),
        (TOPIC, "a/b", &[null("retention.ms")], request, "Null value not supported for : retention.ms"),
        (BROKER, "7", &[null("retention.ms")], request, "Null value not supported for : retention.ms"),
        (16, "x", &[null("x")], request, "Null value not supported for : x"),
        (
            TOPIC,
            "t",
            &[(DELETE, "a", None), append],
            config,
            "Can't APPEND to key retention.ms because its type is not LIST.",
        ),
        (BROKER, OWN, &[(APPEND, "x", Some("1")), (7, "y", Some("1"))], request, "Unknown operations type 7"),
        (
            BROKER,
            OWN,
            &[(APPEND, "log.retention.ms", Some("1"))],
            config,
            "Config value append is not allowed for config key: log.retention.ms",
        ),
        (
            BROKER,
            ALL,
            &[(SUBTRACT, "num.partitions", Some("1"))],
            config,
            "Config value subtract is not allowed for config key: num.partitions",
        ),
        (BROKER, OWN, &[(APPEND, "x", Some("1"))], config, "Unknown config name: x"),
        (TOPIC, "t", &[(SET, "retention.ms", Some("5"))], 0, ""),
    ];
    for (kind, name, changes, code, message) in cases {
        let told = refusal(&mut client, kind, name, changes).await;
        assert_eq!(told, (code, message.to_owned()), "{name:?} {changes:?}");
    }
    // A message is not longer than what can be written.
    let names: Vec<String> = (0..10_000).map(|at| format!("key-{at}")).collect();
    let nulls: Vec<Change<'_>> = names.iter().map(|name| null(name)).collect();
    let (code, message) = refusal(&mut client, TOPIC, "t", &nulls).await;
    assert!(code == request && message.starts_with("Null value not supported for : key-0, key-1, "), "{message}");
}

/// Kafka's `Errors.INVALID_REQUEST`.
const INVALID_REQUEST: &str = "This most likely occurs because of a request being malformed by the client library or the \
                               message was sent to an incompatible broker. See the broker logs for more details.";

/// As Kafka 4.4.0 answers: nothing to say is an empty message and not none, and for a kind that there is not it asks nobody.
#[tokio::test]
async fn descriptions_have_a_message_and_a_kind_that_there_is_not_refuses_all() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    create(&mut client, "t", &[]).await;
    let resource = |(kind, name): (i8, &str)| DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        ..Default::default()
    };
    for version in DescribeConfigsRequest::VERSIONS {
        let all = |named: &[(i8, &str)]| DescribeConfigsRequest {
            resources: named.iter().copied().map(resource).collect(),
            ..Default::default()
        };
        let told = client.call(version, &all(&[(TOPIC, "t"), (TOPIC, "none"), (BROKER, OWN), (16, "m")])).await.results;
        let said = |at: usize| (told[at].error_code, told[at].error_message.as_deref(), told[at].configs.is_empty());
        assert_eq!(said(0), (0, Some(""), false), "v{version}");
        assert_eq!(said(1), (ErrorCode::UnknownTopicOrPartition.code(), Some(""), true), "v{version}");
        assert_eq!(said(2), (0, Some(""), false), "v{version}");
        assert_eq!((said(3).0, said(3).2), (ErrorCode::InvalidRequest.code(), true), "v{version}");
        let told = client.call(version, &all(&[(TOPIC, "t"), (7, "x"), (TOPIC, "t")])).await.results;
        assert_eq!(told.len(), 3, "v{version}");
        for told in told {
            let said = (told.error_code, told.error_message.as_deref(), told.configs.is_empty());
            assert_eq!(said, (ErrorCode::InvalidRequest.code(), Some(INVALID_REQUEST), true), "v{version}");
        }
    }
}

/// Each way of writing its id would else be answered with all of its settings: two for each length.
#[tokio::test]
async fn a_broker_is_described_a_few_times_however_its_id_is_written() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    let key = Some(["log.retention.ms", "nonesuch", "log.retention.ms"].map(Into::into).to_vec());
    let again = ["01", "+1", "001", "0001", "00001"].map(|name| (name, None));
    let resources = [&[("1", None), ("1", key.clone()), ("", None)], &again[..]].concat();
    let resources = resources.into_iter().map(|(name, configuration_keys)| DescribeConfigsResource {
        resource_type: BROKER,
        resource_name: name.into(),
        configuration_keys,
        ..Default::default()
    });
    let request = DescribeConfigsRequest { resources: resources.collect(), ..Default::default() };
    let told = client.call(4, &request).await.results;
    let refused = ErrorCode::InvalidRequest.code();
    let said: Vec<_> = told.iter().map(|told| (&*told.resource_name, told.error_code)).collect();
    let all = [("1", 0), ("1", 0), ("", 0), ("01", 0), ("+1", 0), ("001", 0), ("0001", 0), ("00001", refused)];
    assert_eq!(said, all);
    assert!(told[0].configs.len() > 100 && told[1].configs.len() == 1 && told[3].configs.len() > 100);
    assert!(told[7].error_message.as_deref().unwrap().contains("written in different ways"));
}

/// KafkaConfigSchema of Kafka 4.4.0 gives what was sent; DescribeConfigs what it means.
#[tokio::test]
async fn a_topic_that_is_made_is_told_its_settings_as_they_were_sent() {
    let live = start(&[("log.retention.bytes", "9")]).await;
    let mut client = Client::connect(&live).await;
    for version in 5..=7 {
        let configs = [("retention.ms", " 005"), ("cleanup.policy", "delete, compact")].map(|(name, value)| {
            CreatableTopicConfig { name: name.into(), value: Some(value.into()), ..Default::default() }
        });
        let topic = CreatableTopic {
            name: format!("t{version}").into(),
            num_partitions: 1,
            replication_factor: 1,
            configs: configs.to_vec(),
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        let told = client.call(version, &request).await.topics.remove(0).configs.unwrap();
        assert_eq!(told.len(), partition::config::TOPIC_KEYS.len());
        let of = |key: &str| {
            let config = told.iter().find(|config| config.name == *key).unwrap();
            (config.value.as_deref(), config.config_source)
        };
        assert_eq!(of("retention.ms"), (Some(" 005"), OF_TOPIC), "v{version}");
        assert_eq!(of("cleanup.policy"), (Some("delete, compact"), OF_TOPIC), "v{version}");
        assert_eq!(of("retention.bytes"), (Some("9"), OF_FILE), "v{version}");
        assert_eq!(of("segment.bytes"), (Some("1073741824"), BY_DEFAULT), "v{version}");
        let name = format!("t{version}");
        assert_eq!(in_force(&mut client, TOPIC, &name, "retention.ms").await, "5");
        assert_eq!(in_force(&mut client, TOPIC, &name, "cleanup.policy").await, "delete,compact");
    }
}
