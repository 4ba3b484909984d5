//! Topics, configuration and the cluster, in every version.

use base::Uuid;
use wire::messages::alter_configs_request as alter;
use wire::messages::create_partitions_request::CreatePartitionsTopic;
use wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use wire::messages::delete_topics_request::DeleteTopicState;
use wire::messages::describe_configs_request::DescribeConfigsResource;
use wire::messages::describe_topic_partitions_request::TopicRequest;
use wire::messages::incremental_alter_configs_request as incremental;
use wire::messages::metadata_request::MetadataRequestTopic;
use wire::messages::*;
use wire::{ErrorCode, Message, Reader};

use crate::support::{Client, becomes, encode, start};

fn topic(name: &str, partitions: i32) -> CreatableTopic {
    CreatableTopic { name: name.into(), num_partitions: partitions, replication_factor: 1, ..Default::default() }
}

#[tokio::test]
async fn api_versions_lists_what_is_served_and_answers_newer_clients() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    for version in ApiVersionsRequest::VERSIONS {
        let request = ApiVersionsRequest {
            client_software_name: "test".into(),
            client_software_version: "1".into(),
            ..Default::default()
        };
        let response = client.call(version, &request).await;
        assert_eq!(response.error_code, 0, "v{version}");
        assert!(response.api_keys.iter().any(|api| (api.api_key, api.min_version, api.max_version) == (0, 0, 13)));
    }
    for version in [99_i16, -1] {
        let mut other = encode(4, 77, &ApiVersionsRequest::default()).to_vec();
        other[6..8].copy_from_slice(&version.to_be_bytes());
        tokio::io::AsyncWriteExt::write_all(&mut client.stream, &other).await.unwrap();
        let mut reader = Reader::new(client.receive().await);
        assert_eq!(reader.i32().unwrap(), 77);
        let response = ApiVersionsResponse::decode(&mut reader, 0).unwrap();
        assert_eq!((response.error_code, response.api_keys.len()), (ErrorCode::UnsupportedVersion.code(), 1));
    }
}

#[tokio::test]
async fn api_versions_refuses_as_kafka_does() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    let ask = |software: &str, cluster: Option<&str>, node_id| ApiVersionsRequest {
        client_software_name: software.into(),
        client_software_version: "1".into(),
        cluster_id: cluster.map(Into::into),
        node_id,
        ..Default::default()
    };
    let unnamed = client.call(3, &ask("", None, -1)).await;
    assert_eq!((unnamed.error_code, unnamed.api_keys.len()), (ErrorCode::InvalidRequest.code(), 0));
    let cluster = live.meta.image().cluster_id.clone().unwrap();
    let elsewhere = ErrorCode::RebootstrapRequired.code();
    let refused = ErrorCode::InvalidRequest.code();
    // Each line is what 4.4.0 answers as node 1: a client names a cluster and a node, or neither.
    for (cluster, node, expected) in [
        (None, -1, 0),
        (None, 7, refused),
        (Some(&*cluster), 1, 0),
        (Some(&*cluster), 7, elsewhere),
        (Some(&*cluster), -1, refused),
        (Some("another"), 1, elsewhere),
    ] {
        let response = client.call(5, &ask("test", cluster, node)).await;
        assert_eq!(response.error_code, expected, "{cluster:?} {node}");
        assert_eq!(response.api_keys.is_empty(), expected != 0);
    }
}

#[tokio::test]
async fn topics_are_created_described_grown_and_deleted_in_every_version() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    for version in CreateTopicsRequest::VERSIONS {
        let name = format!("t{version}");
        let request = CreateTopicsRequest { topics: vec![topic(&name, 2)], ..Default::default() };
        assert_eq!(client.call(version, &request).await.topics[0].error_code, 0, "CreateTopics v{version}");
        assert_eq!(client.call(version, &request).await.topics[0].error_code, ErrorCode::TopicAlreadyExists.code());
    }
    for version in MetadataRequest::VERSIONS {
        let all = MetadataRequest {
            topics: (version > 0).then_some(()).map_or(Some(Vec::new()), |()| None),
            ..Default::default()
        };
        let response = client.call(version, &all).await;
        assert_eq!(response.topics.len(), 8, "Metadata v{version}");
        assert_eq!(
            (&*response.brokers[0].host, response.brokers[0].port),
            ("127.0.0.1", i32::from(live.address.port()))
        );
        assert!(
            response
                .topics
                .iter()
                .all(|t| t.error_code == 0 && t.partitions.len() == 2 && t.partitions[0].leader_id == 1)
        );
    }
    let grow = |count| CreatePartitionsRequest {
        topics: vec![CreatePartitionsTopic { name: "t0".into(), count, assignments: None, ..Default::default() }],
        timeout_ms: 10_000,
        ..Default::default()
    };
    assert_eq!(client.call(3, &grow(4)).await.results[0].error_code, 0);
    assert_eq!(client.call(3, &grow(4)).await.results[0].error_code, ErrorCode::InvalidPartitions.code());
    for version in DeleteTopicsRequest::VERSIONS {
        let name = format!("t{version}");
        let request = if version >= 6 {
            let state = DeleteTopicState { name: Some(name.as_str().into()), ..Default::default() };
            DeleteTopicsRequest { topics: vec![state], timeout_ms: 10_000, ..Default::default() }
        } else {
            DeleteTopicsRequest { topic_names: vec![name.as_str().into()], timeout_ms: 10_000, ..Default::default() }
        };
        assert_eq!(client.call(version, &request).await.responses[0].error_code, 0, "DeleteTopics v{version}");
        assert_eq!(
            client.call(version, &request).await.responses[0].error_code,
            ErrorCode::UnknownTopicOrPartition.code()
        );
    }
}

#[tokio::test]
async fn wrong_topics_are_refused_with_kafkas_errors() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    let config = |name: &str, value: &str| CreatableTopicConfig {
        name: name.into(),
        value: Some(value.into()),
        ..Default::default()
    };
    let cases = [
        (topic("a b", 1), ErrorCode::InvalidTopicException),
        (topic("x", 0), ErrorCode::InvalidPartitions),
        (CreatableTopic { replication_factor: 3, ..topic("x", 1) }, ErrorCode::InvalidReplicationFactor),
        (CreatableTopic { replication_factor: 0, ..topic("x", 1) }, ErrorCode::InvalidReplicationFactor),
        (CreatableTopic { configs: vec![config("retention.ms", "soon")], ..topic("x", 1) }, ErrorCode::InvalidConfig),
        (CreatableTopic { configs: vec![config("nope", "1")], ..topic("x", 1) }, ErrorCode::InvalidConfig),
    ];
    for (topic, expected) in cases {
        let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        let response = client.call(5, &request).await;
        assert_eq!(response.topics[0].error_code, expected.code(), "{:?}", response.topics[0].error_message);
    }
    let fine = CreateTopicsRequest { topics: vec![topic("a.b", 1)], ..Default::default() };
    assert_eq!(client.call(5, &fine).await.topics[0].error_code, 0);
    let collides = CreateTopicsRequest { topics: vec![topic("a_b", 1)], ..Default::default() };
    assert_eq!(client.call(5, &collides).await.topics[0].error_code, ErrorCode::InvalidTopicException.code());
    let dry = CreateTopicsRequest { topics: vec![topic("dry", 1)], validate_only: true, ..Default::default() };
    assert_eq!(client.call(5, &dry).await.topics[0].error_code, 0);
    assert!(live.meta.image().topic("dry").is_none());
}

#[tokio::test]
async fn metadata_creates_topics_only_if_both_sides_want_it() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    let ask = |allow| MetadataRequest {
        topics: Some(vec![MetadataRequestTopic { name: Some("auto".into()), ..Default::default() }]),
        allow_auto_topic_creation: allow,
        ..Default::default()
    };
    let code = ErrorCode::UnknownTopicOrPartition.code();
    assert_eq!(client.call(9, &ask(false)).await.topics[0].error_code, code);
    // Kafka 3.9.2 and 4.4.0 answer the request that has it created, in every version, that it is unknown, and have it
    // soon after. Some clients tell a missing topic by that answer.
    let asked = client.call(9, &ask(true)).await.topics.remove(0);
    assert_eq!((asked.error_code, asked.partitions.len(), asked.topic_id), (code, 0, Uuid::default()));
    becomes(&live, "the topic is there", |image| image.topic("auto").is_some()).await;
    assert_eq!(client.call(9, &ask(false)).await.topics[0].error_code, 0);
    // Not one that differs from another only in '.' and '_', as CreateTopics would not.
    let named = |name: &str| MetadataRequest {
        topics: Some(vec![MetadataRequestTopic { name: Some(name.into()), ..Default::default() }]),
        allow_auto_topic_creation: true,
        ..Default::default()
    };
    assert_eq!(client.call(9, &named("a.b")).await.topics[0].error_code, code);
    becomes(&live, "the other is there", |image| image.topic("a.b").is_some()).await;
    assert_eq!(client.call(9, &named("a_b")).await.topics[0].error_code, code);
    for (version, name) in (0..).zip((0..=13).map(|version| format!("auto-{version}"))) {
        assert_eq!(client.call(version, &named(&name)).await.topics[0].error_code, code, "v{version}");
        becomes(&live, "the topic is there", |image| image.topic(&name).is_some()).await;
        assert_eq!(client.call(version, &named(&name)).await.topics[0].error_code, 0, "v{version}");
    }
    assert!(live.meta.image().topic("a_b").is_none());
    let live = start(&[("auto.create.topics.enable", "false")]).await;
    let mut client = Client::connect(&live).await;
    assert_eq!(client.call(9, &ask(true)).await.topics[0].error_code, code);
}

#[tokio::test]
async fn topics_of_what_is_not_served_yet_are_not_made_in_another_shape() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    for (name, why) in [
        ("__transaction_state", "comes with transactions"),
        ("__share_group_state", "comes with share groups"),
        ("__cluster_metadata", "prohibited"),
    ] {
        let ask = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic { name: Some(name.into()), ..Default::default() }]),
            allow_auto_topic_creation: true,
            ..Default::default()
        };
        let code = client.call(9, &ask).await.topics[0].error_code;
        assert_eq!(code, ErrorCode::UnknownTopicOrPartition.code(), "{name}");
        let create = CreateTopicsRequest { topics: vec![topic(name, 1)], ..Default::default() };
        let refused = client.call(5, &create).await.topics.remove(0);
        assert_eq!(refused.error_code, ErrorCode::InvalidRequest.code(), "{name}");
        assert!(refused.error_message.unwrap().contains(why), "{name}");
        assert!(live.meta.image().topic(name).is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_changed_at_the_same_time_all_take_effect() {
    const ROUNDS: i32 = 30;
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    client.call(7, &CreateTopicsRequest { topics: vec![topic("t", 1)], ..Default::default() }).await;
    let set = |name: &str, value: i32| IncrementalAlterConfigsRequest {
        resources: vec![incremental::AlterConfigsResource {
            resource_type: 2,
            resource_name: "t".into(),
            configs: vec![incremental::AlterableConfig {
                name: name.into(),
                config_operation: 0,
                value: Some(value.to_string().as_str().into()),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut other = Client::connect(&live).await;
    for round in 1..=ROUNDS {
        let (bytes, time) = (set("retention.bytes", round), set("retention.ms", round));
        let (bytes, time) = tokio::join!(client.call(1, &bytes), other.call(1, &time));
        assert_eq!((bytes.responses[0].error_code, time.responses[0].error_code), (0, 0));
        let image = live.meta.image();
        let kept = image.configs_of(2, "t").unwrap();
        let value = |key: &str| kept.get(key).map(ToString::to_string);
        let expected = Some(round.to_string());
        assert_eq!((value("retention.bytes"), value("retention.ms")), (expected.clone(), expected));
    }
}

#[tokio::test]
async fn settings_of_many_topics_changed_by_one_request_share_entries_of_metadata() {
    const TOPICS: usize = 100;
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    let names: Vec<String> = (0..TOPICS).map(|n| format!("t{n}")).collect();
    let topics = names.iter().map(|name| topic(name, 1)).collect();
    client.call(7, &CreateTopicsRequest { topics, ..Default::default() }).await;
    let before = live.meta.image().next_sequence.0;
    let resource = |name: &str| incremental::AlterConfigsResource {
        resource_type: 2,
        resource_name: name.into(),
        configs: vec![incremental::AlterableConfig {
            name: "retention.ms".into(),
            value: Some("5".into()),
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut resources: Vec<_> = names.iter().map(|name| resource(name)).collect();
    resources.insert(1, resource("absent"));
    let change = IncrementalAlterConfigsRequest { resources, ..Default::default() };
    let answers = client.call(1, &change).await.responses;
    let told: Vec<_> = answers.iter().map(|a| (&*a.resource_name, a.error_code)).collect();
    assert_eq!(told[..3], [("t0", 0), ("absent", ErrorCode::UnknownTopicOrPartition.code()), ("t1", 0)]);
    assert!(told[3..].iter().all(|(_, code)| *code == 0), "{told:?}");
    let image = live.meta.image();
    assert!(names.iter().all(|name| image.configs_of(2, name).is_some_and(|kept| kept.len() == 1)));
    let entries = image.next_sequence.0 - before;
    assert!(entries <= 5, "{TOPICS} topics took {entries} entries");
}

#[tokio::test]
async fn settings_are_changed_and_described_with_their_source() {
    let live = start(&[("log.retention.hours", "1")]).await;
    let mut client = Client::connect(&live).await;
    client.call(7, &CreateTopicsRequest { topics: vec![topic("t", 1)], ..Default::default() }).await;
    let change = |operation, name: &str, value: Option<&str>| IncrementalAlterConfigsRequest {
        resources: vec![incremental::AlterConfigsResource {
            resource_type: 2,
            resource_name: "t".into(),
            configs: vec![incremental::AlterableConfig {
                name: name.into(),
                config_operation: operation,
                value: value.map(Into::into),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let describe = |key: &str| DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: 2,
            resource_name: "t".into(),
            configuration_keys: Some(vec![key.into()]),
            ..Default::default()
        }],
        include_synonyms: true,
        ..Default::default()
    };
    let shown = async |client: &mut Client, key: &str| {
        let response = client.call(4, &describe(key)).await;
        let config = &response.results[0].configs[0];
        (config.value.as_deref().map(str::to_owned).unwrap_or_default(), config.config_source)
    };
    // From log.retention.hours of the file; asked for the source, Kafka 4.4.0 knows only log.retention.ms.
    assert_eq!(shown(&mut client, "retention.ms").await, ("3600000".to_owned(), 5));
    assert_eq!(client.call(1, &change(0, "retention.ms", Some("005"))).await.responses[0].error_code, 0);
    assert_eq!(shown(&mut client, "retention.ms").await, ("5".to_owned(), 1));
    assert_eq!(client.call(1, &change(1, "retention.ms", None)).await.responses[0].error_code, 0);
    assert_eq!(shown(&mut client, "retention.ms").await, ("3600000".to_owned(), 5));
    assert_eq!(client.call(1, &change(2, "cleanup.policy", Some("compact"))).await.responses[0].error_code, 0);
    assert_eq!(shown(&mut client, "cleanup.policy").await, ("delete,compact".to_owned(), 1));
    let refused = client.call(1, &change(0, "retention.ms", Some("soon"))).await;
    assert_eq!(refused.responses[0].error_code, ErrorCode::InvalidConfig.code());
    // The old call replaces everything.
    let replace = AlterConfigsRequest {
        resources: vec![alter::AlterConfigsResource {
            resource_type: 2,
            resource_name: "t".into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    assert_eq!(client.call(2, &replace).await.responses[0].error_code, 0);
    assert_eq!(shown(&mut client, "cleanup.policy").await, ("delete".to_owned(), 5));
    for version in DescribeConfigsRequest::VERSIONS {
        let all = |kind, name: &str| DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type: kind,
                resource_name: name.into(),
                configuration_keys: None,
                ..Default::default()
            }],
            ..Default::default()
        };
        let topic = client.call(version, &all(2, "t")).await;
        assert_eq!(topic.results[0].configs.len(), partition::config::TOPIC_KEYS.len(), "v{version}");
        // 3.9.2 says of no value that it is the default; the versions that 4.4.0 speaks name sources instead.
        assert!(topic.results[0].configs.iter().all(|config| !config.is_default), "v{version}");
        let broker = client.call(version, &all(4, "1")).await;
        let inert = broker::config::INERT_KEYS.iter().filter(|def| def.default.is_some()).count();
        assert_eq!(broker.results[0].configs.len(), broker::config::BROKER_KEYS.len() + inert, "v{version}");
    }
}

#[tokio::test]
async fn the_cluster_is_described_in_pages_and_producers_get_ids_of_their_own() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    client.call(7, &CreateTopicsRequest { topics: vec![topic("a", 3), topic("b", 3)], ..Default::default() }).await;
    let first = DescribeTopicPartitionsRequest { response_partition_limit: 4, ..Default::default() };
    let page = client.call(0, &first).await;
    assert_eq!(page.topics.iter().map(|t| t.partitions.len()).collect::<Vec<_>>(), [3, 1]);
    let cursor = page.next_cursor.unwrap();
    assert_eq!((&*cursor.topic_name, cursor.partition_index), ("b", 1));
    let request_cursor = describe_topic_partitions_request::Cursor {
        topic_name: cursor.topic_name,
        partition_index: cursor.partition_index,
        ..Default::default()
    };
    let named = vec![TopicRequest { name: "b".into(), ..Default::default() }];
    let second = DescribeTopicPartitionsRequest { topics: named, cursor: Some(request_cursor), ..first };
    let page = client.call(0, &second).await;
    assert_eq!(page.topics[0].partitions.iter().map(|p| p.partition_index).collect::<Vec<_>>(), [1, 2]);
    assert!(page.next_cursor.is_none());
    for version in DescribeClusterRequest::VERSIONS {
        let response = client.call(version, &DescribeClusterRequest::default()).await;
        assert_eq!((response.error_code, response.brokers.len(), response.controller_id), (0, 1, 1), "v{version}");
    }
    for version in DescribeLogDirsRequest::VERSIONS {
        let response = client.call(version, &DescribeLogDirsRequest { topics: None, ..Default::default() }).await;
        assert_eq!(response.results[0].topics.len(), 2, "v{version}");
    }
    let mut ids = Vec::new();
    for version in InitProducerIdRequest::VERSIONS {
        let plain = InitProducerIdRequest { transactional_id: None, ..Default::default() };
        let response = client.call(version, &plain).await;
        assert_eq!((response.error_code, response.producer_epoch), (0, 0), "v{version}");
        ids.push(response.producer_id);
        let (max, invalid, timeout) = (900_000, ErrorCode::InvalidRequest, ErrorCode::InvalidTransactionTimeout);
        for (id, transaction_timeout_ms, error) in
            [("tx", 1, invalid), ("tx", max, invalid), ("tx", 0, timeout), ("tx", max + 1, timeout), ("", 0, invalid)]
        {
            let transactional = InitProducerIdRequest {
                transactional_id: Some(id.into()),
                transaction_timeout_ms,
                ..Default::default()
            };
            assert_eq!(client.call(version, &transactional).await.error_code, error.code());
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 6, "no id twice");
    let none = ListPartitionReassignmentsRequest::default();
    assert!(client.call(0, &none).await.topics.is_empty());
}

/// What is asked twice is told once, or a small request could ask for any amount.
#[tokio::test]
async fn what_is_described_again_is_told_again_a_few_times() {
    use wire::messages::describe_configs_request::DescribeConfigsResource;
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    let broker = DescribeConfigsResource { resource_type: 4, resource_name: "".into(), ..Default::default() };
    let other = DescribeConfigsResource { resource_name: "9".into(), ..broker.clone() };
    let resources = vec![broker.clone(), other, broker.clone()];
    let response = client.call(4, &DescribeConfigsRequest { resources, ..Default::default() }).await;
    let names: Vec<&str> = response.results.iter().map(|result| &*result.resource_name).collect();
    assert_eq!(names, ["", "9", ""]);
    let request = DescribeConfigsRequest { resources: vec![broker; 100], ..Default::default() };
    assert_eq!(client.call(4, &request).await.results.len(), 1 + 4);
    let keys = [Some("log.retention.ms"), Some("log.segment.bytes"), None, Some("log.retention.ms")].map(|key| {
        let configuration_keys = Some(key.into_iter().map(Into::into).collect());
        DescribeConfigsResource {
            resource_type: 4,
            resource_name: "1".into(),
            configuration_keys,
            ..Default::default()
        }
    });
    let response = client.call(4, &DescribeConfigsRequest { resources: keys.to_vec(), ..Default::default() }).await;
    let told: Vec<usize> = response.results.iter().map(|result| result.configs.len()).collect();
    assert!(matches!(*told, [1, 1, all, 1] if all > 1), "each mention has its own keys: {told:?}");
}

/// So Kafka 4.4.0 answers.
#[tokio::test]
async fn a_group_that_is_named_twice_is_described_twice() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    let groups = ["a", "b", "a"].map(Into::into).to_vec();
    let response = client.call(5, &DescribeGroupsRequest { groups, ..Default::default() }).await;
    assert_eq!(response.groups.iter().map(|group| &*group.group_id).collect::<Vec<_>>(), ["a", "b", "a"]);
}

/// Each is what Kafka 4.4.0 answers, and 3.9.2 but for ListOffsets, where it refuses each mention.
#[tokio::test]
async fn what_is_named_twice_is_answered_once() {
    let live = start(&[("offsets.topic.num.partitions", "1")]).await;
    let mut client = Client::connect(&live).await;
    let create = CreateTopicsRequest { topics: vec![topic("a", 2), topic("b", 2)], ..Default::default() };
    client.call(5, &create).await;
    let refused = ErrorCode::InvalidRequest.code();

    let asked = [0, 1, 0].map(|index| list_offsets_request::ListOffsetsPartition {
        partition_index: index,
        timestamp: -1,
        ..Default::default()
    });
    let named =
        list_offsets_request::ListOffsetsTopic { name: "a".into(), partitions: asked.to_vec(), ..Default::default() };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![named], ..Default::default() };
    let told = client.call(4, &request).await.topics.remove(0).partitions;
    assert_eq!(told.iter().map(|p| (p.partition_index, p.error_code)).collect::<Vec<_>>(), [(1, 0), (0, refused)]);

    let asked = [99, 0].map(|offset| delete_records_request::DeleteRecordsPartition {
        partition_index: 0,
        offset,
        ..Default::default()
    });
    let named = delete_records_request::DeleteRecordsTopic {
        name: "a".into(),
        partitions: asked.to_vec(),
        ..Default::default()
    };
    let request = DeleteRecordsRequest { topics: vec![named], timeout_ms: 10_000, ..Default::default() };
    let told = client.call(1, &request).await.topics.remove(0).partitions;
    let told: Vec<_> = told.iter().map(|p| (p.partition_index, p.low_watermark, p.error_code)).collect();
    assert_eq!(told, [(0, 0, 0)], "the last mention counts");

    let asked = [("a", 3), ("b", 3), ("a", 4)].map(|(name, count)| create_partitions_request::CreatePartitionsTopic {
        name: name.into(),
        count,
        assignments: None,
        ..Default::default()
    });
    let request = CreatePartitionsRequest { topics: asked.to_vec(), timeout_ms: 10_000, ..Default::default() };
    let told = client.call(1, &request).await.results;
    assert_eq!(told.iter().map(|t| (&*t.name, t.error_code)).collect::<Vec<_>>(), [("a", refused), ("b", 0)]);

    let request = DeleteGroupsRequest { groups_names: ["x", "y", "x"].map(Into::into).to_vec(), ..Default::default() };
    let told = client.call(1, &request).await.results;
    assert_eq!(told.iter().map(|t| &*t.group_id).collect::<Vec<_>>(), ["x", "y"]);

    let names = ["a", "b", "none", "a", "none"];
    let asked =
        names.map(|name| delete_topics_request::DeleteTopicState { name: Some(name.into()), ..Default::default() });
    let request = DeleteTopicsRequest { topics: asked.to_vec(), timeout_ms: 10_000, ..Default::default() };
    let mut told = client.call(6, &request).await.responses;
    told.sort_by_key(|topic| topic.name.clone());
    let told: Vec<_> = told.iter().map(|t| (t.name.as_deref().unwrap_or_default(), t.error_code)).collect();
    assert_eq!(told, [("a", refused), ("b", 0), ("none", refused)]);
}

/// Each is what Kafka 4.4.0 answers.
#[tokio::test]
async fn a_topic_that_its_name_and_its_id_are_given_of_stays() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    client.call(5, &CreateTopicsRequest { topics: vec![topic("a", 1), topic("b", 1)], ..Default::default() }).await;
    let id = |name: &str| live.meta.image().topic(name).unwrap().id;
    let (a, b, none) = (id("a"), id("b"), base::Uuid::from_u128(7));
    let nil = base::Uuid::nil();
    let named = [(Some("a"), nil), (None, a), (None, b), (None, none), (None, none), (None, nil), (Some("b"), a)];
    let asked =
        named.map(|(name, topic_id)| DeleteTopicState { name: name.map(Into::into), topic_id, ..Default::default() });
    let request = DeleteTopicsRequest { topics: asked.to_vec(), timeout_ms: 10_000, ..Default::default() };
    let mut told: Vec<_> = client.call(6, &request).await.responses.into_iter().collect();
    told.sort_by_key(|topic| (topic.error_message.clone(), topic.name.clone()));
    let said: Vec<_> =
        told.iter().map(|t| (t.name.as_deref(), t.topic_id, t.error_code, t.error_message.as_deref())).collect();
    let refused = ErrorCode::InvalidRequest.code();
    assert_eq!(
        said,
        [
            (Some("b"), b, 0, None),
            (None, none, refused, Some("Duplicate topic id.")),
            (None, nil, refused, Some("Neither topic name nor id were specified.")),
            (Some("a"), a, refused, Some("The provided topic name maps to an ID that was already supplied.")),
            (Some("b"), a, refused, Some("You may not specify both topic name and topic id.")),
        ]
    );
    assert!(live.meta.image().topic("a").is_some());
}

/// Each is what Kafka 4.4.0 answers.
#[tokio::test]
async fn a_metadata_request_that_is_not_sound_is_refused_as_a_whole() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    client.call(5, &CreateTopicsRequest { topics: vec![topic("a", 1), topic("b", 1)], ..Default::default() }).await;
    let id = live.meta.image().topic("b").unwrap().id;
    let nil = base::Uuid::nil();
    let by = |name: Option<&str>, topic_id| MetadataRequestTopic {
        name: name.map(Into::into),
        topic_id,
        ..Default::default()
    };
    let (by_name, by_id) = (by(Some("a"), nil), by(None, id));
    let all = |topics: &[&MetadataRequestTopic]| MetadataRequest {
        topics: Some(topics.iter().map(|topic| (*topic).clone()).collect()),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    let (early, nameless) = (ErrorCode::InvalidRequest.code(), ErrorCode::UnknownServerError.code());
    for (version, asked, error) in [
        (10, all(&[&by_name, &by_id]), early),
        (11, all(&[&by_id]), early),
        (13, all(&[&by_name, &by(None, nil)]), nameless),
    ] {
        let told = client.call(version, &asked).await;
        assert!(told.brokers.is_empty() && told.cluster_id.is_none() && told.controller_id == -1, "v{version}");
        assert_eq!(told.error_code, if version < 13 { 0 } else { error });
        assert_eq!(told.topics.len(), asked.topics.unwrap().len());
        assert!(told.topics.iter().all(|topic| topic.error_code == error && topic.name.is_some()), "v{version}");
    }
    // Where there is an id, names do not count.
    for asked in [all(&[&by_name, &by_id, &by_id]), all(&[&by_id, &by(None, nil)])] {
        let told = client.call(12, &asked).await.topics;
        assert_eq!(
            told.iter().map(|topic| (topic.name.as_deref(), topic.error_code)).collect::<Vec<_>>(),
            [(Some("b"), 0)]
        );
    }
}

/// Kafka 3.9.2 and 4.4.0 look at what is asked for before they look for the topic.
#[tokio::test]
async fn a_wrong_change_of_a_topic_is_told_before_that_there_is_no_such_topic() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    let change = |name: &str, configs: &[(&str, Option<&str>)]| {
        let config = |&(key, value): &(&str, Option<&str>)| incremental_alter_configs_request::AlterableConfig {
            name: key.into(),
            value: value.map(Into::into),
            ..Default::default()
        };
        let resource = incremental_alter_configs_request::AlterConfigsResource {
            resource_type: 2,
            resource_name: name.into(),
            configs: configs.iter().map(config).collect(),
            ..Default::default()
        };
        IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() }
    };
    let good = ("retention.ms", Some("5"));
    for (name, configs, expected) in [
        ("none", &[good][..], ErrorCode::UnknownTopicOrPartition),
        ("none", &[("bad", Some("5"))], ErrorCode::InvalidConfig),
        ("none", &[("retention.ms", Some("x"))], ErrorCode::InvalidConfig),
        ("none", &[("retention.ms", None)], ErrorCode::InvalidRequest),
        ("none", &[good, good], ErrorCode::InvalidRequest),
        ("", &[good], ErrorCode::InvalidRequest),
        ("a b", &[good], ErrorCode::InvalidTopicException),
    ] {
        let told = client.call(1, &change(name, configs)).await.responses[0].error_code;
        assert_eq!(ErrorCode::from_code(told), expected, "{name:?} {configs:?}");
    }
    // And so it does where a topic is made, before it looks at its shape.
    let config = create_topics_request::CreatableTopicConfig { name: "bad".into(), ..Default::default() };
    let odd = CreatableTopic { num_partitions: 0, configs: vec![config], ..topic("t", 1) };
    let told = client.call(5, &CreateTopicsRequest { topics: vec![odd], ..Default::default() }).await;
    assert_eq!(ErrorCode::from_code(told.topics[0].error_code), ErrorCode::InvalidConfig);
}

/// As Kafka 4.4.0 answers.
#[tokio::test]
async fn a_page_that_nothing_asked_for_begins_is_refused() {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    client.call(7, &CreateTopicsRequest { topics: vec![topic("a", 3), topic("b", 3)], ..Default::default() }).await;
    let refused = ErrorCode::InvalidRequest.code();
    for (named, from, at, expected) in [
        (&["a"][..], "a", -1, &[("a", refused)][..]),
        (&["b"], "a", 0, &[("b", refused)]),
        (&[], "a", -1, &[]),
        (&["a"], "a", 99, &[("a", 0)]),
        (&[], "aa", 0, &[("b", 0)]),
    ] {
        let cursor = describe_topic_partitions_request::Cursor {
            topic_name: from.into(),
            partition_index: at,
            ..Default::default()
        };
        let topics = named.iter().map(|name| TopicRequest { name: (*name).into(), ..Default::default() }).collect();
        let request = DescribeTopicPartitionsRequest {
            topics,
            cursor: Some(cursor),
            response_partition_limit: 9,
            ..Default::default()
        };
        let page = client.call(0, &request).await;
        let told: Vec<_> = page.topics.iter().map(|t| (t.name.as_deref().unwrap_or_default(), t.error_code)).collect();
        assert_eq!(told, expected, "{named:?} from {from} {at}");
    }
}
