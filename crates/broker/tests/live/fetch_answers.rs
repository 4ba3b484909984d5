//! What a fetch is answered besides its records: in which order, with which session, and what is refused. Kafka 3.9.2 and
//! 4.4.0 were asked the same, and answered alike.

use base::Uuid;
use wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use wire::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use wire::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::*;
use wire::{ErrorCode, Message};

use crate::support::{Client, Live, batch, start, start_on};

/// The last version that names topics by their names.
const BY_NAME: i16 = 12;

const UNKNOWN: i16 = ErrorCode::UnknownServerError.code();
const NO_SUCH: i16 = ErrorCode::UnknownTopicOrPartition.code();

async fn create(client: &mut Client, name: &str, partitions: i32, settings: &[(&str, &str)]) -> Uuid {
    let configs = settings.iter().map(|&(key, value)| CreatableTopicConfig {
        name: key.into(),
        value: Some(value.into()),
        ..Default::default()
    });
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: 1,
        configs: configs.collect(),
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    client.call(7, &request).await.topics[0].topic_id
}

async fn produce(client: &mut Client, topic: &str, index: i32) {
    let data = PartitionProduceData { index, records: Some(batch(&["v"])), ..Default::default() };
    let topic = TopicProduceData { name: topic.into(), partition_data: vec![data], ..Default::default() };
    let request = ProduceRequest { acks: -1, timeout_ms: 10_000, topic_data: vec![topic], ..Default::default() };
    assert_eq!(client.call(9, &request).await.responses[0].partition_responses[0].error_code, 0);
}

/// `t` with two partitions and a record in each, `u` with one and none.
async fn live() -> (Live, Client, [Uuid; 2]) {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    let ids = [create(&mut client, "t", 2, &[]).await, create(&mut client, "u", 1, &[]).await];
    produce(&mut client, "t", 0).await;
    produce(&mut client, "t", 1).await;
    (live, client, ids)
}

/// Partitions from an offset.
fn from(offset: i64, partitions: &[i32]) -> Vec<FetchPartition> {
    let of = |&partition: &i32| FetchPartition {
        partition,
        fetch_offset: offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    partitions.iter().map(of).collect()
}

/// Partitions of topics by name, from their start.
fn named(topics: &[(&str, &[i32])]) -> Vec<FetchTopic> {
    let topic = |&(name, partitions): &(&str, &[i32])| FetchTopic {
        topic: name.into(),
        partitions: from(0, partitions),
        ..Default::default()
    };
    topics.iter().map(topic).collect()
}

fn identified(topics: &[(Uuid, &[i32])]) -> Vec<FetchTopic> {
    let topic = |&(topic_id, partitions): &(Uuid, &[i32])| FetchTopic {
        topic_id,
        partitions: from(0, partitions),
        ..Default::default()
    };
    topics.iter().map(topic).collect()
}

/// Of a session.
fn fetch(session_id: i32, session_epoch: i32, topics: Vec<FetchTopic>) -> FetchRequest {
    FetchRequest { session_id, session_epoch, max_bytes: 1 << 20, topics, ..Default::default() }
}

fn sessionless(topics: Vec<FetchTopic>) -> FetchRequest {
    fetch(0, -1, topics)
}

/// Each partition that is told of, as it is: its topic, index and error, and whether it has records.
fn told(response: &FetchResponse) -> Vec<(&str, i32, i16, bool)> {
    let topics = response.responses.iter();
    topics
        .flat_map(|topic| {
            topic.partitions.iter().map(|part| {
                let has_records = part.records.as_ref().is_some_and(|records| !records.is_empty());
                (&*topic.topic, part.partition_index, part.error_code, has_records)
            })
        })
        .collect()
}

#[tokio::test]
async fn partitions_that_there_are_not_come_last() {
    let (_live, mut client, [t, u]) = live().await;
    let topics = named(&[("nope", &[0]), ("t", &[9, 0]), ("u", &[0]), ("t", &[1])]);
    let expected = [
        ("t", 0, 0, true),
        ("u", 0, 0, false),
        ("t", 1, 0, true),
        ("nope", 0, NO_SUCH, false),
        ("t", 9, NO_SUCH, false),
    ];
    for version in 0..=BY_NAME {
        let response = client.call(version, &sessionless(topics.clone())).await;
        assert_eq!(told(&response), expected, "Fetch v{version}");
        assert_eq!(response.responses.len(), expected.len(), "Fetch v{version}: a topic may be there more than once");
    }
    let unknown = Uuid::from_u128(9);
    let topics = identified(&[(t, &[9, 0]), (unknown, &[0]), (u, &[0])]);
    for version in BY_NAME + 1..=*FetchRequest::VERSIONS.end() {
        let response = client.call(version, &sessionless(topics.clone())).await;
        let order: Vec<_> = response.responses.iter().map(|topic| topic.topic_id).collect();
        assert_eq!(order, [t, u, unknown, t], "Fetch v{version}");
        let errors: Vec<_> = told(&response).into_iter().map(|(_, _, error, _)| error).collect();
        assert_eq!(errors, [0, 0, ErrorCode::UnknownTopicId.code(), NO_SUCH], "Fetch v{version}");
    }
}

#[tokio::test]
async fn a_session_serves_its_partitions_as_it_was_answered_first_and_what_gives_records_last() {
    let (_live, mut client, _) = live().await;
    let topics = named(&[("nope", &[0]), ("t", &[0]), ("u", &[0]), ("t", &[1])]);
    let first = client.call(11, &fetch(0, 0, topics)).await;
    assert_eq!(told(&first).len(), 4);
    for epoch in 1..4 {
        let next = client.call(11, &fetch(first.session_id, epoch, Vec::new())).await;
        assert_eq!(told(&next), [("t", 0, 0, true), ("t", 1, 0, true), ("nope", 0, NO_SUCH, false)], "{epoch}");
    }
    // With room for one: it goes to the back.
    let narrow = |epoch| FetchRequest { max_bytes: 1, ..fetch(first.session_id, epoch, Vec::new()) };
    for (epoch, partition) in [(4, 0), (5, 1), (6, 0)] {
        let next = client.call(11, &narrow(epoch)).await;
        assert_eq!(told(&next)[0], ("t", partition, 0, true), "{epoch}");
    }
}

#[tokio::test]
async fn what_gives_records_to_the_request_that_makes_a_session_stays_where_it_is() {
    let (_live, mut client, _) = live().await;
    let first = client.call(11, &fetch(0, 0, named(&[("t", &[0]), ("u", &[0])]))).await;
    assert_eq!(told(&first), [("t", 0, 0, true), ("u", 0, 0, false)]);
    produce(&mut client, "u", 0).await;
    // With room for one.
    for (epoch, expected) in [(1, "t"), (2, "u"), (3, "t")] {
        let request = FetchRequest { max_bytes: 1, ..fetch(first.session_id, epoch, Vec::new()) };
        let response = client.call(11, &request).await;
        let with_records: Vec<_> = told(&response).into_iter().filter(|told| told.3).map(|told| told.0).collect();
        assert_eq!(with_records, [expected], "{epoch}");
    }
}

#[tokio::test]
async fn what_is_asked_for_with_what_empties_the_session_is_answered_without_it() {
    let (_live, mut client, _) = live().await;
    let session_id = client.call(11, &fetch(0, 0, named(&[("u", &[0])]))).await.session_id;
    let forget = |topic: &str, partitions: &[i32]| ForgottenTopic {
        topic: topic.into(),
        partitions: partitions.to_vec(),
        ..Default::default()
    };
    let forgotten_topics_data = vec![forget("u", &[0]), forget("t", &[1])];
    let request = FetchRequest { forgotten_topics_data, ..fetch(session_id, 1, named(&[("t", &[1])])) };
    let response = client.call(11, &request).await;
    assert_eq!((response.error_code, response.session_id), (0, 0));
    assert_eq!(told(&response), [("t", 1, 0, true)]);
    let gone = client.call(11, &fetch(session_id, 2, Vec::new())).await;
    assert_eq!(gone.error_code, ErrorCode::FetchSessionIdNotFound.code());
}

/// Versions that name topics name them in the answer, as often as they were.
#[tokio::test]
async fn an_isolation_level_that_is_none_refuses_every_mention_where_there_is_a_partition_to_read() {
    let (_live, mut client, [t, _]) = live().await;
    for isolation_level in [2, -1, i8::MAX] {
        for version in 4..=*FetchRequest::VERSIONS.end() {
            let topics = match version {
                ..=BY_NAME => named(&[("nope", &[0]), ("t", &[0, 9, 0])]),
                _ => identified(&[(Uuid::from_u128(9), &[0]), (t, &[0, 9, 0])]),
            };
            let epoch = if version < 7 { -1 } else { 0 };
            let request = FetchRequest { isolation_level, max_wait_ms: 60_000, ..fetch(0, epoch, topics) };
            let response = client.call(version, &request).await;
            assert_eq!(response.error_code, if version < 7 { 0 } else { UNKNOWN }, "Fetch v{version}");
            assert_eq!(response.session_id, 0);
            let mentions = [
                ("nope", 0, UNKNOWN, false),
                ("t", 0, UNKNOWN, false),
                ("t", 9, UNKNOWN, false),
                ("t", 0, UNKNOWN, false),
            ];
            let expected = if version <= BY_NAME { &mentions[..] } else { &[] };
            assert_eq!(told(&response), expected, "Fetch v{version}");
            for part in response.responses.iter().flat_map(|topic| &topic.partitions) {
                let offsets = (part.high_watermark, part.last_stable_offset, part.log_start_offset);
                assert_eq!(offsets, (-1, -1, -1), "Fetch v{version}");
                assert_eq!(part.aborted_transactions.as_deref(), Some([].as_slice()));
            }
        }
    }
}

#[tokio::test]
async fn an_isolation_level_that_is_none_does_not_matter_to_what_there_is_not() {
    let (_live, mut client, _) = live().await;
    let wrong = |request: FetchRequest| FetchRequest { isolation_level: 7, ..request };
    for version in 4..=BY_NAME {
        let response = client.call(version, &wrong(sessionless(named(&[("nope", &[0]), ("t", &[9])])))).await;
        assert_eq!(response.error_code, 0, "Fetch v{version}");
        assert_eq!(told(&response), [("nope", 0, NO_SUCH, false), ("t", 9, NO_SUCH, false)], "Fetch v{version}");
        assert!(client.call(version, &wrong(sessionless(Vec::new()))).await.responses.is_empty());
    }
    let topics = identified(&[(Uuid::from_u128(9), &[0])]);
    let response = client.call(13, &wrong(fetch(0, 0, topics))).await;
    assert_eq!(told(&response)[0].2, ErrorCode::UnknownTopicId.code());
    assert_ne!(response.session_id, 0, "a session is made");
}

#[tokio::test]
async fn a_session_goes_on_after_a_request_with_an_isolation_level_that_is_none() {
    let (_live, mut client, _) = live().await;
    let wrong = |request: FetchRequest| FetchRequest { isolation_level: 7, ..request };
    let session_id = client.call(11, &wrong(fetch(0, 0, named(&[("nope", &[0])])))).await.session_id;
    assert_ne!(session_id, 0);
    // Its errors come first.
    for (id, epoch, expected) in
        [(session_id, 3, ErrorCode::InvalidFetchSessionEpoch), (session_id ^ 1, 1, ErrorCode::FetchSessionIdNotFound)]
    {
        let response = client.call(11, &wrong(fetch(id, epoch, named(&[("t", &[0])])))).await;
        assert_eq!((response.error_code, response.session_id), (expected.code(), 0));
    }
    let response = client.call(11, &wrong(fetch(session_id, 1, Vec::new()))).await;
    assert_eq!((response.error_code, response.session_id), (0, session_id));
    assert_eq!(told(&response), [("nope", 0, NO_SUCH, false)]);
    // What is refused names the session and what the request named. The session took it over, and the epoch counts.
    let response = client.call(11, &wrong(fetch(session_id, 2, named(&[("t", &[0])])))).await;
    assert_eq!((response.error_code, response.session_id), (UNKNOWN, session_id));
    assert_eq!(told(&response), [("t", 0, UNKNOWN, false)]);
    let response = client.call(11, &fetch(session_id, 2, Vec::new())).await;
    assert_eq!(response.error_code, ErrorCode::InvalidFetchSessionEpoch.code());
    let response = client.call(11, &fetch(session_id, 3, Vec::new())).await;
    assert_eq!(told(&response), [("t", 0, 0, true), ("nope", 0, NO_SUCH, false)]);
    let response = client.call(11, &wrong(fetch(session_id, 4, Vec::new()))).await;
    assert_eq!((response.error_code, response.session_id, told(&response).len()), (UNKNOWN, session_id, 0));
    // A request that would make another session ends this one.
    let response = client.call(11, &wrong(fetch(session_id, 0, named(&[("t", &[0])])))).await;
    assert_eq!((response.error_code, response.session_id), (UNKNOWN, session_id));
    let response = client.call(11, &fetch(session_id, 5, Vec::new())).await;
    assert_eq!(response.error_code, ErrorCode::FetchSessionIdNotFound.code());
}

/// Kafka fails on it where it reads the first partition, and goes on with nothing.
#[tokio::test]
async fn a_negative_limit_of_the_request_is_an_error_of_the_first_partition_if_that_has_something_to_read() {
    const OUT_OF_RANGE: i16 = ErrorCode::OffsetOutOfRange.code();
    let (_live, mut client, _) = live().await;
    for version in 3..=BY_NAME {
        for max_bytes in [-1, i32::MIN] {
            for (offset, first) in
                [(0, ("t", 0, UNKNOWN, false)), (1, ("t", 0, 0, false)), (9, ("t", 0, OUT_OF_RANGE, false))]
            {
                let mut topics = named(&[("nope", &[0]), ("t", &[0, 1]), ("u", &[0])]);
                topics[1].partitions[0].fetch_offset = offset;
                // It waits for nothing more.
                let request = FetchRequest { max_bytes, min_bytes: 1, max_wait_ms: 60_000, ..sessionless(topics) };
                let response = client.call(version, &request).await;
                let expected = [first, ("t", 1, 0, true), ("u", 0, 0, false), ("nope", 0, NO_SUCH, false)];
                assert_eq!(told(&response), expected, "Fetch v{version} {max_bytes} at {offset}");
            }
        }
        let request = FetchRequest { max_bytes: -1, ..sessionless(named(&[("u", &[0]), ("t", &[0, 1])])) };
        let response = client.call(version, &request).await;
        let expected = [("u", 0, 0, false), ("t", 0, 0, true), ("t", 1, 0, false)];
        assert_eq!(told(&response), expected, "Fetch v{version}: the first has nothing to read");
    }
}

/// As from Kafka 3.9.2; 4.4.0 does not speak these versions.
#[tokio::test]
async fn a_topic_kept_in_zstd_is_refused_to_old_clients_at_any_offset() {
    let (_live, mut client, _) = live().await;
    create(&mut client, "z", 1, &[("compression.type", "zstd")]).await;
    produce(&mut client, "z", 0).await;
    let unsupported = ErrorCode::UnsupportedCompressionType.code();
    for version in 0..4 {
        for offset in [-1, 0, 1, 99] {
            let topic = FetchTopic { topic: "z".into(), partitions: from(offset, &[0, 7]), ..Default::default() };
            let response = client.call(version, &sessionless(vec![topic])).await;
            let expected = [("z", 0, unsupported, false), ("z", 7, NO_SUCH, false)];
            assert_eq!(told(&response), expected, "Fetch v{version} at {offset}");
        }
    }
    let topic = FetchTopic { topic: "z".into(), partitions: from(99, &[0]), ..Default::default() };
    let response = client.call(4, &sessionless(vec![topic])).await;
    assert_eq!(told(&response)[0].2, ErrorCode::OffsetOutOfRange.code());
}

/// As `KafkaApis.processFetchRequest` of 4.4.0: who knows an older leader is told the present one, and who knows a newer one
/// is told nothing, for there it is the broker that has to learn.
#[tokio::test]
async fn who_fetches_from_a_leader_of_former_times_is_told_the_present_one() {
    let (live, _, ids) = live().await;
    let live = start_on(live.site.clone(), &[]).await;
    let mut client = Client::connect(&live).await;
    for version in 9..=*FetchRequest::VERSIONS.end() {
        for (known, error) in [(0, ErrorCode::FencedLeaderEpoch), (2, ErrorCode::UnknownLeaderEpoch)] {
            let mut partitions = from(0, &[0, 1]);
            partitions.iter_mut().for_each(|partition| partition.current_leader_epoch = known);
            let topic = if version > BY_NAME {
                FetchTopic { topic_id: ids[0], partitions, ..Default::default() }
            } else {
                FetchTopic { topic: "t".into(), partitions, ..Default::default() }
            };
            let request =
                FetchRequest { max_bytes: 1 << 20, session_epoch: -1, topics: vec![topic], ..Default::default() };
            let response = client.call(version, &request).await;
            let is_told = version >= 16 && error == ErrorCode::FencedLeaderEpoch;
            for part in &response.responses[0].partitions {
                assert_eq!(part.error_code, error.code(), "v{version}");
                let leader = (part.current_leader.leader_id, part.current_leader.leader_epoch);
                assert_eq!(leader, if is_told { (1, 1) } else { (-1, -1) }, "v{version}");
            }
            let endpoints = response.node_endpoints.iter().map(|e| (e.node_id, e.host.to_string(), e.port));
            let expected = is_told.then(|| (1, "127.0.0.1".to_owned(), i32::from(live.address.port())));
            assert!(endpoints.eq(expected), "v{version} {:?}", response.node_endpoints);
        }
    }
}

#[tokio::test]
async fn a_session_tells_a_topic_that_is_gone_from_one_that_nobody_ever_knew() {
    let (_live, mut client, [t, u]) = live().await;
    let asked = || identified(&[(t, &[0]), (u, &[0]), (Uuid::from_u128(9), &[0])]);
    let begun = client.call(13, &fetch(0, 0, asked())).await;
    let errors = |response: &FetchResponse| -> Vec<(Uuid, i16)> {
        response.responses.iter().map(|topic| (topic.topic_id, topic.partitions[0].error_code)).collect()
    };
    let unknown_id = ErrorCode::UnknownTopicId.code();
    assert_eq!(errors(&begun), [(t, 0), (u, 0), (Uuid::from_u128(9), unknown_id)]);
    let delete = DeleteTopicsRequest { topic_names: vec!["t".into()], timeout_ms: 10_000, ..Default::default() };
    assert_eq!(client.call(5, &delete).await.responses[0].error_code, 0);
    let gone = client.call(13, &fetch(begun.session_id, 1, Vec::new())).await;
    assert_eq!(errors(&gone), [(Uuid::from_u128(9), unknown_id), (t, NO_SUCH)]);
    let anew = create(&mut client, "t", 1, &[]).await;
    let other = client.call(13, &fetch(begun.session_id, 2, identified(&[(anew, &[0])]))).await;
    let inconsistent = ErrorCode::InconsistentTopicId.code();
    assert_eq!(errors(&other), [(t, inconsistent), (anew, 0), (Uuid::from_u128(9), unknown_id)]);
    let without = client.call(13, &sessionless(asked())).await;
    assert_eq!(errors(&without), [(u, 0), (t, unknown_id), (Uuid::from_u128(9), unknown_id)]);
}

#[tokio::test]
async fn who_names_the_epoch_of_its_last_fetch_is_told_where_the_logs_part() {
    let (_live, mut client, [t, _]) = live().await;
    let out_of_range = ErrorCode::OffsetOutOfRange.code();
    let mut present = 0;
    loop {
        let asked = OffsetForLeaderPartition { leader_epoch: present, current_leader_epoch: -1, ..Default::default() };
        let topic = OffsetForLeaderTopic { topic: "t".into(), partitions: vec![asked], ..Default::default() };
        let request = OffsetForLeaderEpochRequest { replica_id: -2, topics: vec![topic], ..Default::default() };
        if client.call(4, &request).await.topics[0].partitions[0].end_offset == 1 {
            break;
        }
        present += 1;
        assert!(present < 100, "no epoch ends at the end of the log");
    }
    for (last_fetched_epoch, fetch_offset, error, diverging) in [
        (-1, 1, 0, (-1, -1)),
        (present, 1, 0, (-1, -1)),
        (present, 9, 0, (present, 1)),
        (present + 1, 1, out_of_range, (-1, -1)),
    ] {
        let mut topics = identified(&[(t, &[0])]);
        let partition = &mut topics[0].partitions[0];
        (partition.last_fetched_epoch, partition.fetch_offset) = (last_fetched_epoch, fetch_offset);
        let response = client.call(13, &sessionless(topics)).await;
        let part = &response.responses[0].partitions[0];
        let found = (part.diverging_epoch.epoch, part.diverging_epoch.end_offset);
        assert_eq!((part.error_code, found), (error, diverging), "{last_fetched_epoch} {fetch_offset}");
    }
}
