//! Producing and fetching, in every version.

use std::time::Duration;

use base::Uuid;
use bytes::Bytes;
use records::convert::down_convert;
use records::{BatchBuilder, Compression, batches, legacy};
use wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use wire::messages::fetch_request::{FetchPartition, FetchTopic};
use wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::*;
use wire::{ErrorCode, Message};

use crate::support::{Client, Live, batch, start};

async fn create(client: &mut Client, name: &str, partitions: i32) -> Uuid {
    let topic =
        CreatableTopic { name: name.into(), num_partitions: partitions, replication_factor: 1, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    let response = client.call(7, &request).await;
    assert_eq!(response.topics[0].error_code, 0, "{:?}", response.topics[0].error_message);
    response.topics[0].topic_id
}

fn produce(version: i16, id: Uuid, name: &str, acks: i16, records: Bytes) -> ProduceRequest {
    let data = PartitionProduceData { index: 0, records: Some(records), ..Default::default() };
    let mut topic = TopicProduceData { partition_data: vec![data], ..Default::default() };
    if version >= 13 {
        topic.topic_id = id;
    } else {
        topic.name = name.into();
    }
    ProduceRequest { acks, timeout_ms: 10_000, topic_data: vec![topic], ..Default::default() }
}

fn fetch(version: i16, id: Uuid, name: &str, offset: i64, max_wait_ms: i32) -> FetchRequest {
    let partition =
        FetchPartition { partition: 0, fetch_offset: offset, partition_max_bytes: 1 << 20, ..Default::default() };
    let mut topic = FetchTopic { partitions: vec![partition], ..Default::default() };
    if version >= 13 {
        topic.topic_id = id;
    } else {
        topic.topic = name.into();
    }
    FetchRequest { max_wait_ms, min_bytes: 1, max_bytes: 1 << 20, topics: vec![topic], ..Default::default() }
}

/// The values of a fetch answer, whatever its format.
fn values(records: &Bytes) -> Vec<String> {
    let text = |value: Option<Bytes>| String::from_utf8(value.unwrap().to_vec()).unwrap();
    if records.is_empty() {
        Vec::new()
    } else if records[16] == 2 {
        batches(records)
            .flat_map(|b| b.unwrap().records(1 << 20).unwrap().map(|r| text(r.unwrap().value)).collect::<Vec<_>>())
            .collect()
    } else {
        legacy::messages(records).map(|m| text(m.unwrap().value)).collect()
    }
}

async fn live() -> (Live, Client) {
    let live = start(&[]).await;
    let client = Client::connect(&live).await;
    (live, client)
}

#[tokio::test]
async fn records_come_back_in_every_version_of_produce_and_fetch() {
    let (_live, mut client) = live().await;
    let id = create(&mut client, "t", 1).await;
    let mut expected = Vec::new();
    for version in ProduceRequest::VERSIONS {
        let value = format!("v{version}");
        let new = batch(&[&value]);
        let records = match version {
            0..=1 => down_convert(&new, 0, 0, 1 << 20).unwrap(),
            2 => down_convert(&new, 1, 0, 1 << 20).unwrap(),
            _ => new,
        };
        let response = client.call(version, &produce(version, id, "t", -1, records)).await;
        let part = &response.responses[0].partition_responses[0];
        assert_eq!((part.error_code, part.base_offset), (0, expected.len() as i64), "Produce v{version}");
        expected.push(value);
    }
    for version in FetchRequest::VERSIONS {
        let response = client.call(version, &fetch(version, id, "t", 0, 0)).await;
        let part = &response.responses[0].partitions[0];
        assert_eq!(part.error_code, 0, "Fetch v{version}");
        assert_eq!(part.high_watermark, expected.len() as i64);
        assert_eq!(values(part.records.as_ref().unwrap()), expected, "Fetch v{version}");
    }
}

#[tokio::test]
async fn pipelined_produces_keep_their_order_and_acks_0_gets_no_reply() {
    let (_live, mut client) = live().await;
    let id = create(&mut client, "t", 1).await;
    let mut sent = Vec::new();
    for n in 0..200 {
        sent.push(client.send(9, &produce(9, id, "t", -1, batch(&[&n.to_string()]))).await);
    }
    for (n, correlation) in sent.into_iter().enumerate() {
        let response = client.reply::<ProduceRequest>(9, correlation).await;
        assert_eq!(response.responses[0].partition_responses[0].base_offset, n as i64);
    }
    client.send(9, &produce(9, id, "t", 0, batch(&["silent"]))).await;
    let last = client.call(9, &produce(9, id, "t", 1, batch(&["loud"]))).await;
    assert_eq!(last.responses[0].partition_responses[0].base_offset, 201);
}

#[tokio::test]
async fn wrong_produces_are_refused_one_by_one() {
    let (live, mut client) = live().await;
    let id = create(&mut client, "t", 1).await;
    let code = async |client: &mut Client, version, request: ProduceRequest| {
        client.call(version, &request).await.responses[0].partition_responses[0].error_code
    };
    let good = || batch(&["x"]);
    let mut broken = good().to_vec();
    *broken.last_mut().unwrap() ^= 1;
    let mut batch = BatchBuilder::new(Compression::None).producer(7, 0, 0).transactional();
    batch.append(1, None, Some(b"v"), &[]).unwrap();
    let mut transactional = produce(9, id, "t", -1, batch.build().unwrap());
    transactional.transactional_id = Some("tx".into());
    // Records that are part of no transaction are taken whatever the request names.
    let mut plain = produce(9, id, "t", -1, good());
    plain.transactional_id = Some("tx".into());
    assert_eq!(code(&mut client, 9, plain).await, 0);
    let cases = [
        (9, produce(9, id, "t", 2, good()), ErrorCode::InvalidRequiredAcks),
        (9, produce(9, id, "nope", -1, good()), ErrorCode::UnknownTopicOrPartition),
        // So Kafka 4.4.0 says it, too: that there is no such topic goes first.
        (9, produce(9, id, "nope", 2, good()), ErrorCode::UnknownTopicOrPartition),
        (13, produce(13, Uuid::from_u128(9), "", -1, good()), ErrorCode::UnknownTopicId),
        (9, produce(9, id, "t", -1, broken.into()), ErrorCode::CorruptMessage),
        (9, transactional, ErrorCode::InvalidRequest),
    ];
    for (version, request, expected) in cases {
        assert_eq!(code(&mut client, version, request).await, expected.code(), "{expected}");
    }
    // With acks 0 an error can only be told by hanging up.
    client.send(9, &produce(9, id, "nope", 0, good())).await;
    let mut rest = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut client.stream, &mut rest).await.unwrap();
    assert!(rest.is_empty());
    assert!(live.metrics.render().contains("reason=\"silent_produce_failed\"} 1"));
}

#[tokio::test]
async fn old_versions_may_produce_nothing() {
    let (_live, mut client) = live().await;
    let id = create(&mut client, "t", 1).await;
    let cut = batch(&["x"]).slice(..30);
    for version in 0..=2 {
        for records in [Bytes::new(), cut.clone()] {
            let response = client.call(version, &produce(version, id, "t", -1, records)).await;
            let part = &response.responses[0].partition_responses[0];
            assert_eq!((part.error_code, part.base_offset), (0, -1), "Produce v{version}");
        }
    }
    let response = client.call(3, &produce(3, id, "t", -1, cut)).await;
    assert_eq!(response.responses[0].partition_responses[0].error_code, ErrorCode::InvalidRecord.code());
}

/// Of each partition 100 may be told, which a small request has of very many.
#[tokio::test]
async fn not_all_errors_of_records_are_told_of_very_many_partitions() {
    const PARTITIONS: i32 = 120;
    let (_live, mut client) = live().await;
    let compacted =
        CreatableTopicConfig { name: "cleanup.policy".into(), value: Some("compact".into()), ..Default::default() };
    let topic = CreatableTopic {
        name: "t".into(),
        num_partitions: PARTITIONS,
        replication_factor: 1,
        configs: vec![compacted],
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    assert_eq!(client.call(5, &request).await.topics[0].error_code, 0);
    let mut keyless = BatchBuilder::new(Compression::None);
    (0..100).for_each(|_| keyless.append(1_600_000_000_000, None, Some(b"v"), &[]).unwrap());
    let records = keyless.build().unwrap();
    let data = |index| PartitionProduceData { index, records: Some(records.clone()), ..Default::default() };
    let topic = TopicProduceData {
        name: "t".into(),
        partition_data: (0..PARTITIONS).map(data).collect(),
        ..Default::default()
    };
    let request = ProduceRequest { acks: -1, timeout_ms: 10_000, topic_data: vec![topic], ..Default::default() };
    let frame = PARTITIONS as usize * records.len();
    for version in [7, 9] {
        let parts = client.call(version, &request).await.responses.remove(0).partition_responses;
        assert!(parts.iter().all(|part| part.error_code == ErrorCode::InvalidRecord.code()), "v{version}");
        let all: Vec<_> = parts.iter().flat_map(|part| &part.record_errors).collect();
        let bytes: usize = all.iter().map(|error| error.batch_index_error_message.as_ref().unwrap().len()).sum();
        assert!(bytes < 3 * frame, "v{version}: {bytes} bytes for {frame}");
        let first = parts.iter().find(|part| part.index == 0).unwrap();
        let expected = if version < 8 { 0 } else { 100 };
        assert_eq!(first.record_errors.len(), expected, "v{version}");
        assert_eq!(first.error_message.is_some(), version >= 8, "v{version}");
        assert!(all.len() < 100 * parts.len(), "v{version}");
    }
}

/// A time limit is a matter of acks=all: any other producer that is told of a timeout sends its records again.
#[tokio::test]
async fn acks_1_has_no_time_limit() {
    let (_live, mut client) = live().await;
    let id = create(&mut client, "t", 1).await;
    for n in 0..20 {
        let request = ProduceRequest { timeout_ms: 0, ..produce(9, id, "t", 1, batch(&["x"])) };
        let response = client.call(9, &request).await;
        let part = &response.responses[0].partition_responses[0];
        assert_eq!((part.error_code, part.base_offset), (0, n));
    }
}

/// Kafka 3.9.2 and 4.4.0, with one replica, acknowledge with the offset whatever the limit: it is for replicas.
#[tokio::test]
async fn acks_all_with_a_time_limit_that_nothing_can_keep_is_acknowledged() {
    let (_live, mut client) = live().await;
    let id = create(&mut client, "t", 1).await;
    for (offset, timeout_ms) in [0, -1, i32::MIN, 1, 0, 0, 1].into_iter().enumerate() {
        let request = ProduceRequest { timeout_ms, ..produce(9, id, "t", -1, batch(&["x"])) };
        let response = client.call(9, &request).await;
        let part = &response.responses[0].partition_responses[0];
        assert_eq!((part.error_code, part.base_offset), (0, offset as i64), "timeout {timeout_ms}");
    }
}

fn zstd_batch(value: &str) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::Zstd);
    builder.append(base::Clock::system().now().0, None, Some(value.as_bytes()), &[]).unwrap();
    builder.build().unwrap()
}

/// Kafka 4.4.0 gives zstd to every version that it serves (4–18), whatever the topic's `compression.type`; Kafka 3.9.2
/// answers versions 0–3 with error 76.
#[tokio::test]
async fn zstd_is_read_in_every_version_from_4_on_whatever_the_topic_says() {
    let (_live, mut client) = live().await;
    for compression in ["producer", "zstd", "uncompressed"] {
        let config = CreatableTopicConfig {
            name: "compression.type".into(),
            value: Some(compression.into()),
            ..Default::default()
        };
        let topic = CreatableTopic {
            name: compression.into(),
            num_partitions: 1,
            replication_factor: 1,
            configs: vec![config],
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        let id = client.call(7, &request).await.topics[0].topic_id;
        client.call(9, &produce(9, id, compression, -1, zstd_batch("small"))).await;
        for version in FetchRequest::VERSIONS {
            let response = client.call(version, &fetch(version, id, compression, 0, 0)).await;
            let part = &response.responses[0].partitions[0];
            if version < 4 && compression != "uncompressed" {
                assert_eq!(part.error_code, ErrorCode::UnsupportedCompressionType.code(), "Fetch v{version}");
            } else {
                assert_eq!(part.error_code, 0, "Fetch v{version} of {compression}");
                assert_eq!(values(part.records.as_ref().unwrap()), ["small"], "Fetch v{version} of {compression}");
            }
        }
    }
}

/// Kafka 3.9.2 (0–17) and 4.4.0 (4–18) say that the offset is out of range, and nothing of what the range is.
#[tokio::test]
async fn an_offset_out_of_range_is_told_without_offsets() {
    let (_live, mut client) = live().await;
    let id = create(&mut client, "t", 1).await;
    client.call(9, &produce(9, id, "t", -1, batch(&["a", "b"]))).await;
    for version in FetchRequest::VERSIONS {
        for offset in [99, -5] {
            let response = client.call(version, &fetch(version, id, "t", offset, 0)).await;
            let part = &response.responses[0].partitions[0];
            assert_eq!(part.error_code, ErrorCode::OffsetOutOfRange.code(), "Fetch v{version}");
            let offsets = (part.high_watermark, part.last_stable_offset, part.log_start_offset);
            assert_eq!(offsets, (-1, -1, -1), "Fetch v{version} at {offset}");
        }
    }
}

/// Kafka 3.9.2 (versions 0–3) and 4.4.0 (4–18) keep what is asked for in a map.
#[tokio::test]
async fn a_partition_that_is_fetched_twice_is_answered_once_as_it_was_wanted_last() {
    let (_live, mut client) = live().await;
    let id = create(&mut client, "t", 2).await;
    for value in ["a", "b"] {
        client.call(9, &produce(9, id, "t", -1, batch(&[value]))).await;
    }
    for version in FetchRequest::VERSIONS {
        let epochs: &[i32] = if version >= 7 { &[-1, 0] } else { &[-1] };
        for &session_epoch in epochs {
            for topics in [1, 3] {
                let mut request = FetchRequest { session_epoch, ..fetch(version, id, "t", 99, 0) };
                let first = request.topics[0].partitions[0].clone();
                let other = FetchPartition { partition: 1, fetch_offset: 0, ..first.clone() };
                let again = FetchPartition { fetch_offset: 1, ..first };
                request.topics[0].partitions.extend([other, again]);
                if topics == 3 {
                    let whole = request.topics.remove(0);
                    let alone = |partition| FetchTopic { partitions: vec![partition], ..whole.clone() };
                    request.topics = whole.partitions.clone().into_iter().map(alone).collect();
                }
                let response = client.call(version, &request).await;
                let told = response.responses.iter().flat_map(|topic| &topic.partitions);
                let told: Vec<_> = told
                    .map(|part| (part.partition_index, part.error_code, values(part.records.as_ref().unwrap())))
                    .collect();
                let expected = [(0, 0, vec!["b".to_owned()]), (1, 0, Vec::new())];
                assert_eq!(told, expected, "Fetch v{version} epoch {session_epoch} topics {topics}");
            }
        }
    }
}

/// Kafka 3.9.2 (versions 0–3) and 4.4.0 (4–18) fail on the limit where they look for records, and tell it as an error
/// that they do not know; where there is nothing to look for they do not.
#[tokio::test]
async fn a_negative_limit_of_a_partition_is_an_error_where_there_is_something_to_read() {
    let (_live, mut client) = live().await;
    let id = create(&mut client, "t", 1).await;
    client.call(9, &produce(9, id, "t", -1, batch(&["a"]))).await;
    let (unknown, out_of_range) = (ErrorCode::UnknownServerError.code(), ErrorCode::OffsetOutOfRange.code());
    for version in FetchRequest::VERSIONS {
        for (limit, offset, expected) in [
            (-1, 0, (unknown, -1)),
            (i32::MIN, 0, (unknown, -1)),
            (-1, 1, (0, 1)),
            (-1, 9, (out_of_range, -1)),
            (0, 1, (0, 1)),
        ] {
            // It waits for nothing more.
            let mut request = fetch(version, id, "t", offset, if offset == 0 { 60_000 } else { 0 });
            request.topics[0].partitions[0].partition_max_bytes = limit;
            let response = client.call(version, &request).await;
            let part = &response.responses[0].partitions[0];
            assert_eq!((part.error_code, part.high_watermark), expected, "Fetch v{version} {limit} at {offset}");
            assert!(part.records.as_ref().unwrap().is_empty());
        }
    }
}

/// Kafka 4.4.0 fails on it before it looks at what is asked for, and so does 3.9.2 but for what is named twice, of which it
/// says that.
#[tokio::test]
async fn offsets_are_refused_at_each_mention_where_the_isolation_level_is_none() {
    let (_live, mut client) = live().await;
    create(&mut client, "t", 2).await;
    let unknown = ErrorCode::UnknownServerError.code();
    for isolation_level in [2, -1, i8::MAX] {
        for version in 2..=*ListOffsetsRequest::VERSIONS.end() {
            let partition =
                |partition_index| ListOffsetsPartition { partition_index, timestamp: -1, ..Default::default() };
            let topic = |name: &str, partitions: &[i32]| ListOffsetsTopic {
                name: name.into(),
                partitions: partitions.iter().copied().map(partition).collect(),
                ..Default::default()
            };
            let topics = vec![topic("t", &[0, 0, 1]), topic("nope", &[0]), topic("t", &[0]), topic("t", &[])];
            let request = ListOffsetsRequest { replica_id: -1, isolation_level, topics, ..Default::default() };
            let response = client.call(version, &request).await;
            let told = |topic: &list_offsets_response::ListOffsetsTopicResponse| {
                assert!(topic.partitions.iter().all(|p| (p.error_code, p.offset, p.timestamp) == (unknown, -1, -1)));
                topic.partitions.iter().map(|p| p.partition_index).collect::<Vec<_>>()
            };
            let told: Vec<_> = response.topics.iter().map(|topic| (&*topic.name, told(topic))).collect();
            let expected = [("t", vec![0, 0, 1]), ("nope", vec![0]), ("t", vec![0]), ("t", vec![])];
            assert_eq!(told, expected, "ListOffsets v{version}");
        }
    }
}

#[tokio::test]
async fn readers_that_do_not_read_hold_up_nobody() {
    const BATCHES: usize = 60;
    let (live, mut client) = live().await;
    let id = create(&mut client, "t", 1).await;
    let megabyte = batch(&[&"x".repeat(1_000_000)]);
    for _ in 0..BATCHES {
        let response = client.call(9, &produce(9, id, "t", -1, megabyte.clone())).await;
        assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    }
    let all = || {
        let mut all = fetch(12, id, "t", 0, 0);
        all.max_bytes = i32::MAX;
        all.topics[0].partitions[0].partition_max_bytes = i32::MAX;
        all
    };
    let mut silent = Vec::new();
    for _ in 0..12 {
        let mut reader = Client::connect(&live).await;
        reader.send(12, &all()).await;
        silent.push(reader);
    }
    let held = || {
        let page = live.metrics.render();
        let line = page.lines().find(|line| line.starts_with("headwater_reply_memory_bytes ")).unwrap().to_owned();
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    tokio::time::timeout(Duration::from_secs(60), async {
        while held() < 450e6 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the replies fill the memory");
    let request = all();
    let response = tokio::time::timeout(Duration::from_secs(60), client.call(12, &request)).await.expect("an answer");
    let records = response.responses[0].partitions[0].records.as_ref().unwrap();
    assert_eq!(batches(records).count(), 1, "while memory is scarce a reader gets the least");
    // Others go without because of them.
    let falls_to = async |bytes: f64| {
        let falling = async {
            while held() > bytes {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), falling).await.expect("the memory is given back");
    };
    falls_to(300e6).await;
    let response = client.call(12, &all()).await;
    assert!(batches(response.responses[0].partitions[0].records.as_ref().unwrap()).count() > 50);
    drop(silent);
    falls_to(0.0).await;
}

#[tokio::test]
async fn announcing_large_requests_holds_up_nobody() {
    let (live, mut client) = live().await;
    let id = create(&mut client, "t", 1).await;
    let mut silent = Vec::new();
    for _ in 0..12 {
        let mut stream = Client::connect(&live).await.stream;
        let mut head = (100_i32 << 20).to_be_bytes().to_vec();
        head.extend([0, 0, 0, 9, 0, 0, 0, 1]);
        tokio::io::AsyncWriteExt::write_all(&mut stream, &head).await.unwrap();
        silent.push(stream);
    }
    let large = batch(&[&"x".repeat(1_000_000)]);
    for _ in 0..20 {
        let request = produce(9, id, "t", -1, large.clone());
        let response =
            tokio::time::timeout(Duration::from_secs(30), client.call(9, &request)).await.expect("an answer");
        assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    }
}

#[tokio::test]
async fn a_long_poll_ends_with_the_next_commit_or_with_its_time() {
    let (live, mut client) = live().await;
    let id = create(&mut client, "t", 1).await;
    let empty = client.call(12, &fetch(12, id, "t", 0, 50)).await;
    assert_eq!(empty.responses[0].partitions[0].records.as_ref().map(Bytes::len), Some(0));
    let waiting = client.send(12, &fetch(12, id, "t", 0, 25_000)).await;
    let mut producer = Client::connect(&live).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    producer.call(9, &produce(9, id, "t", -1, batch(&["woken"]))).await;
    let response = client.reply::<FetchRequest>(12, waiting).await;
    assert_eq!(values(response.responses[0].partitions[0].records.as_ref().unwrap()), ["woken"]);
}

#[tokio::test]
async fn fetch_sessions_tell_what_is_new() {
    let (_live, mut client) = live().await;
    let id = create(&mut client, "t", 1).await;
    let mut request = fetch(13, id, "t", 0, 0);
    request.session_epoch = 0;
    let opened = client.call(13, &request).await;
    assert_ne!(opened.session_id, 0);
    let next = |epoch| FetchRequest {
        session_id: opened.session_id,
        session_epoch: epoch,
        topics: Vec::new(),
        ..fetch(13, id, "t", 0, 0)
    };
    assert!(client.call(13, &next(1)).await.responses.is_empty(), "nothing is new");
    client.call(9, &produce(9, id, "t", -1, batch(&["new"]))).await;
    let told = client.call(13, &next(2)).await;
    assert_eq!(values(told.responses[0].partitions[0].records.as_ref().unwrap()), ["new"]);
    assert_eq!(client.call(13, &next(2)).await.error_code, ErrorCode::InvalidFetchSessionEpoch.code());
    let unknown = FetchRequest { session_id: opened.session_id ^ 1, ..next(1) };
    assert_eq!(client.call(13, &unknown).await.error_code, ErrorCode::FetchSessionIdNotFound.code());
}

#[tokio::test]
async fn offsets_are_listed_in_every_version() {
    let (_live, mut client) = live().await;
    let id = create(&mut client, "t", 1).await;
    client.call(9, &produce(9, id, "t", -1, batch(&["a", "b", "c"]))).await;
    for version in ListOffsetsRequest::VERSIONS {
        for (timestamp, expected) in [(-1, 3), (-2, 0)] {
            let partition = ListOffsetsPartition { timestamp, max_num_offsets: 1, ..Default::default() };
            let topic = ListOffsetsTopic { name: "t".into(), partitions: vec![partition], ..Default::default() };
            let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
            let response = client.call(version, &request).await;
            let part = &response.topics[0].partitions[0];
            assert_eq!(part.error_code, 0, "v{version}");
            let offset = if version == 0 { part.old_style_offsets[0] } else { part.offset };
            assert_eq!(offset, expected, "v{version} timestamp {timestamp}");
        }
    }
}

/// What Kafka 3.9.2 answered for one segment of three records: the end of the log and the segment's start, newest first;
/// for an empty topic its start alone. 4.4.0 does not speak version 0.
#[tokio::test]
async fn version_0_lists_the_starts_of_segments() {
    let (_live, mut client) = live().await;
    create(&mut client, "empty", 1).await;
    let id = create(&mut client, "t", 1).await;
    client.call(9, &produce(9, id, "t", -1, batch(&["a", "b", "c"]))).await;
    let ask = async |client: &mut Client, topic: &str, asked: &[(i64, i32)]| {
        let ask = |&(timestamp, max_num_offsets): &(i64, i32)| ListOffsetsPartition {
            timestamp,
            max_num_offsets,
            ..Default::default()
        };
        let partitions = asked.iter().map(ask).collect();
        let topic = ListOffsetsTopic { name: topic.into(), partitions, ..Default::default() };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        let partitions = client.call(0, &request).await.topics.remove(0).partitions;
        partitions.into_iter().map(|p| (p.error_code, p.old_style_offsets)).collect::<Vec<_>>()
    };
    let now = base::Clock::system().now().0 + 1_000;
    // A partition that is named more than once is answered each time.
    let found = ask(&mut client, "t", &[(-1, 1), (-1, 9), (-2, 9), (now, 9), (0, 9), (-1, 0)]).await;
    let expected = [vec![3], vec![3, 0], vec![0], vec![3, 0], vec![], vec![]].map(|offsets| (0, offsets));
    assert_eq!(found, expected);
    let found = ask(&mut client, "empty", &[(-1, 9), (-2, 9), (now, 9)]).await;
    assert_eq!(found, [(0, vec![0]), (0, vec![0]), (0, vec![0])]);
    let refused = |error: ErrorCode| (error.code(), Vec::new());
    let found = ask(&mut client, "t", &[(-3, 1), (-7, 1), (-1, -1)]).await;
    let (unsupported, unknown) = (refused(ErrorCode::UnsupportedVersion), refused(ErrorCode::UnknownServerError));
    assert_eq!(found, [unsupported.clone(), unsupported, unknown]);
    assert_eq!(ask(&mut client, "none", &[(-1, 1)]).await, [refused(ErrorCode::UnknownTopicOrPartition)]);
}

#[tokio::test]
async fn shutdown_answers_what_was_read_and_closes() {
    let (live, mut client) = live().await;
    let id = create(&mut client, "t", 1).await;
    let waiting = client.send(12, &fetch(12, id, "t", 0, 25_000)).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(live.handle.shutdown().await, "every connection was drained");
    let response = client.reply::<FetchRequest>(12, waiting).await;
    assert_eq!(response.responses[0].partitions[0].error_code, 0);
}

/// As from Kafka 3.9.2 and 4.4.0.
#[tokio::test]
async fn a_refused_batch_is_told_where_the_log_starts() {
    let (_live, mut client) = live().await;
    let id = create(&mut client, "t", 1).await;
    let numbered = |sequence| {
        let mut builder = BatchBuilder::new(Compression::None).producer(1, 0, sequence);
        builder.append(base::Clock::system().now().0, None, Some(b"v"), &[]).unwrap();
        builder.build().unwrap()
    };
    let mut corrupt = numbered(1).to_vec();
    *corrupt.last_mut().unwrap() ^= 1;
    for (records, error, log_start) in [
        (numbered(0), ErrorCode::None, 0),
        (numbered(5), ErrorCode::OutOfOrderSequenceNumber, 0),
        (corrupt.into(), ErrorCode::CorruptMessage, -1),
    ] {
        let told = client.call(9, &produce(9, id, "t", -1, records)).await.responses.remove(0);
        let told = &told.partition_responses[0];
        assert_eq!((ErrorCode::from_code(told.error_code), told.log_start_offset), (error, log_start));
    }
}
