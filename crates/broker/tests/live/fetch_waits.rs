//! When a fetch waits for more, and when it does not.

use std::time::Duration;

use base::{Clock, Uuid};
use bytes::Bytes;
use wire::ErrorCode;
use wire::messages::create_topics_request::CreatableTopic;
use wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use wire::messages::delete_topics_request::DeleteTopicState;
use wire::messages::fetch_request::{FetchPartition, FetchTopic};
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::*;

use crate::support::{Client, Live, batch, start, start_on};

const MIB: i32 = 1 << 20;
/// Longer than any answer takes that is not waited for.
const LONG_MS: i32 = 25_000;
const SOON: Duration = Duration::from_secs(10);

async fn create(client: &mut Client, name: &str) -> Uuid {
    let topic = CreatableTopic { name: name.into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
    let response = client.call(7, &CreateTopicsRequest { topics: vec![topic], ..Default::default() }).await;
    assert_eq!(response.topics[0].error_code, 0, "{:?}", response.topics[0].error_message);
    response.topics[0].topic_id
}

/// So many batches of 90 KB.
async fn produce(client: &mut Client, name: &str, batches: usize) {
    let large = batch(&[&"x".repeat(90_000)]);
    for _ in 0..batches {
        let data = PartitionProduceData { records: Some(large.clone()), ..Default::default() };
        let topic = TopicProduceData { name: name.into(), partition_data: vec![data], ..Default::default() };
        let request = ProduceRequest { acks: -1, timeout_ms: 10_000, topic_data: vec![topic], ..Default::default() };
        assert_eq!(client.call(9, &request).await.responses[0].partition_responses[0].error_code, 0);
    }
}

fn fetch<'a>(names: impl IntoIterator<Item = &'a str>, min_bytes: i32, max_wait_ms: i32) -> FetchRequest {
    let topic = |name: &str| FetchTopic {
        topic: name.into(),
        partitions: vec![FetchPartition { partition_max_bytes: MIB, ..Default::default() }],
        ..Default::default()
    };
    FetchRequest {
        max_wait_ms,
        min_bytes,
        max_bytes: 50 * MIB,
        topics: names.into_iter().map(topic).collect(),
        ..Default::default()
    }
}

/// The answer, and how long it took.
async fn timed(client: &mut Client, version: i16, request: &FetchRequest) -> (FetchResponse, Duration) {
    let clock = Clock::system();
    let began = clock.monotonic();
    let response = client.call(version, request).await;
    (response, clock.monotonic() - began)
}

fn bytes(response: &FetchResponse) -> Vec<usize> {
    response.responses.iter().map(|topic| topic.partitions[0].records.as_ref().map_or(0, Bytes::len)).collect()
}

async fn live() -> (Live, Client) {
    let live = start(&[]).await;
    let client = Client::connect(&live).await;
    (live, client)
}

/// Kafka 4.4.0, asked the same of 30 batches of 90,072 bytes with a wait of 3 s: 1,048,576 bytes after 0.01 s, since it
/// counts what there is, and cuts the last batch. With a minimum of twice the partition's limit it waits.
#[tokio::test]
async fn a_minimum_that_whole_batches_do_not_fill_is_not_waited_for() {
    let (_live, mut client) = live().await;
    create(&mut client, "t").await;
    produce(&mut client, "t", 30).await;
    let size = batch(&[&"x".repeat(90_000)]).len();
    let whole = MIB as usize / size * size;
    let plain = fetch(["t"], MIB, LONG_MS);
    let limited = FetchRequest { max_bytes: MIB, ..plain.clone() };
    let clamped = FetchRequest { min_bytes: 50 * MIB, ..limited.clone() };
    for request in [plain, limited, clamped] {
        let (response, took) = timed(&mut client, 4, &request).await;
        assert_eq!(bytes(&response), [whole]);
        assert!(took < SOON, "{took:?}");
    }
    let (response, took) = timed(&mut client, 4, &fetch(["t"], 2 * MIB, 400)).await;
    assert_eq!(bytes(&response), [whole]);
    assert!(took >= Duration::from_millis(400), "a partition counts with no more than its limit: {took:?}");
}

/// Kafka answers at once where the offset lies on another segment than the log's newest: such a reader is behind.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_out_of_the_store_is_sent_at_once() {
    let (live, mut client) = live().await;
    create(&mut client, "t").await;
    produce(&mut client, "t", 1).await;
    let (_, took) = timed(&mut client, 4, &fetch(["t"], MIB, 400)).await;
    assert!(took >= Duration::from_millis(400), "the newest records are waited for: {took:?}");
    let site = live.site.clone();
    live.handle.shutdown().await;
    let live = start_on(site, &[]).await;
    let mut client = Client::connect(&live).await;
    let (response, took) = timed(&mut client, 4, &fetch(["t"], MIB, LONG_MS)).await;
    assert!(bytes(&response)[0] > 90_000);
    assert!(took < SOON, "{took:?}");
    live.handle.shutdown().await;
}

/// Kafka 4.4.0, asked for one topic that it does not know and one without records, with a wait of 2 s: after 2.09 s. Asked
/// for unknown topics only: at once. An unknown topic has an empty list of aborted transactions.
#[tokio::test]
async fn a_topic_that_there_is_not_does_not_end_the_wait() {
    let (_live, mut client) = live().await;
    let idle = create(&mut client, "idle").await;
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    let (response, took) = timed(&mut client, 4, &fetch(["nope", "idle"], 1, 400)).await;
    let parts: Vec<_> = response.responses.iter().map(|topic| &topic.partitions[0]).collect();
    assert_eq!(parts.iter().map(|part| part.error_code).collect::<Vec<_>>(), [0, unknown]);
    assert!(parts[0].aborted_transactions.is_none(), "a reader of everything is told of none");
    assert_eq!(parts[1].aborted_transactions.as_ref().map(Vec::len), Some(0));
    assert!(took >= Duration::from_millis(400), "{took:?}");

    let (response, took) = timed(&mut client, 4, &fetch(["nope", "neither"], 1, LONG_MS)).await;
    assert!(response.responses.iter().all(|topic| topic.partitions[0].error_code == unknown));
    assert!(took < SOON, "{took:?}");

    let mut by_id = fetch(["", ""], 1, 400);
    (by_id.topics[0].topic_id, by_id.topics[1].topic_id) = (Uuid::from_u128(9), idle);
    let (response, took) = timed(&mut client, 13, &by_id).await;
    assert_eq!(response.responses[1].partitions[0].error_code, ErrorCode::UnknownTopicId.code());
    assert!(took >= Duration::from_millis(400), "{took:?}");
}

#[tokio::test]
async fn an_error_of_reading_and_a_topic_that_goes_end_the_wait() {
    let (live, mut client) = live().await;
    create(&mut client, "idle").await;
    create(&mut client, "goes").await;
    let mut beyond = fetch(["goes", "idle"], 1, LONG_MS);
    beyond.topics[0].partitions[0].fetch_offset = 9;
    let (response, took) = timed(&mut client, 4, &beyond).await;
    assert_eq!(response.responses[0].partitions[0].error_code, ErrorCode::OffsetOutOfRange.code());
    assert!(took < SOON, "{took:?}");

    let request = fetch(["nope", "goes", "idle"], 1, LONG_MS);
    let waiting = async {
        let (response, took) = timed(&mut client, 4, &request).await;
        assert_ne!(response.responses[0].partitions[0].error_code, 0);
        assert!(took < SOON, "{took:?}");
    };
    let deleting = async {
        let mut other = Client::connect(&live).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let topic = DeleteTopicState { name: Some("goes".into()), ..Default::default() };
        let request = DeleteTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
        assert_eq!(other.call(6, &request).await.responses[0].error_code, 0);
    };
    tokio::join!(waiting, deleting);
}

/// The consumer's fetch is answered after the topic has gone, and counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_goes_while_a_consumer_waits_for_it_leaves_the_metrics() {
    const TOPICS: usize = 20;
    let (live, mut client) = live().await;
    let names: Vec<String> = (0..TOPICS).map(|n| format!("goes-{n}")).collect();
    let mut waiting = Vec::new();
    for name in &names {
        create(&mut client, name).await;
        let mut consumer = Client::connect(&live).await;
        let asked = consumer.send(4, &fetch([name.as_str()], 1, LONG_MS)).await;
        waiting.push((consumer, asked));
    }
    produce(&mut client, &names[0], 1).await;
    let is_shown = || live.metrics.render().contains("topic=\"goes-");
    assert!(is_shown());
    let topic = |name: &String| DeleteTopicState { name: Some(name.as_str().into()), ..Default::default() };
    let topics = names.iter().map(topic).collect();
    let request = DeleteTopicsRequest { topics, timeout_ms: 10_000, ..Default::default() };
    assert!(client.call(6, &request).await.responses.iter().all(|topic| topic.error_code == 0));
    for (mut consumer, asked) in waiting {
        consumer.reply::<FetchRequest>(4, asked).await;
    }
    tokio::time::timeout(SOON, async {
        while is_shown() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("their series go");
}

/// Each of these holds more than a tenth of the request memory before it waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_producer_goes_on_however_many_large_fetches_wait() {
    let live = start(&[("queued.max.request.bytes", "8388608")]).await;
    let mut client = Client::connect(&live).await;
    create(&mut client, "t").await;
    // All but the first are not there.
    let mut request = fetch(["t"], 1, i32::MAX);
    let partition = |partition| FetchPartition { partition, partition_max_bytes: MIB, ..Default::default() };
    request.topics[0].partitions = (0..10_000).map(partition).collect();
    let mut waiting = Vec::new();
    for _ in 0..24 {
        let mut reader = Client::connect(&live).await;
        let asked = reader.send(4, &request).await;
        waiting.push((reader, asked));
    }
    tokio::time::timeout(SOON, produce(&mut client, "t", 1)).await.expect("a producer waits for no reader");
    for (mut reader, asked) in waiting {
        assert!(bytes(&reader.reply::<FetchRequest>(4, asked).await)[0] > 90_000);
    }
}

/// So many large fetches wait that there is no memory to wait with for another one (`FETCH_WAIT_MEMORY_BYTES`, and
/// `FETCH_PARTITION_BYTES` for each partition).
#[tokio::test(flavor = "multi_thread")]
async fn a_large_fetch_for_which_there_is_no_memory_to_wait_waits_a_little_and_a_small_one_as_long_as_it_likes() {
    const FETCHES: i32 = 10;
    const PARTITIONS: i32 = (256 << 20) / 256 / FETCHES;
    /// More than is let in whatever others hold.
    const LARGE: i32 = 100;
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    create(&mut client, "t").await;
    let of = |partitions: i32, max_wait_ms| {
        let mut request = fetch(["t"], 1, max_wait_ms);
        let partition = |partition| FetchPartition { partition, partition_max_bytes: MIB, ..Default::default() };
        request.topics[0].partitions = (0..partitions).map(partition).collect();
        request
    };
    let (many, mut waiting) = (of(PARTITIONS, i32::MAX), Vec::new());
    for n in 1..=FETCHES {
        let mut reader = Client::connect(&live).await;
        let asked = reader.send(4, &many).await;
        waiting.push((reader, asked));
        let held =
            || live.metrics.render().contains(&format!("headwater_fetch_wait_memory_bytes {}\n", n * PARTITIONS * 256));
        tokio::time::timeout(Duration::from_secs(60), async {
            while !held() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("it waits");
    }
    let mut small = Client::connect(&live).await;
    let asked = small.send(4, &of(1, i32::MAX)).await;
    let (response, took) = timed(&mut client, 4, &of(LARGE, LONG_MS)).await;
    assert_eq!(bytes(&response), [0]);
    assert!((Duration::from_millis(100)..SOON).contains(&took), "{took:?}");
    produce(&mut client, "t", 1).await;
    assert!(bytes(&small.reply::<FetchRequest>(4, asked).await)[0] > 90_000, "it was still waiting");
    for (mut reader, asked) in waiting {
        assert!(bytes(&reader.reply::<FetchRequest>(4, asked).await)[0] > 90_000);
    }
}

/// The next request of a session comes when the one before is answered; else each would take memory for the whole session.
#[tokio::test]
async fn a_session_that_waits_serves_no_second_request() {
    let (live, mut client) = live().await;
    create(&mut client, "t").await;
    let mut request = fetch(["t"], 1, 0);
    request.session_epoch = 0;
    let session_id = client.call(7, &request).await.session_id;
    assert_ne!(session_id, 0);
    let next =
        |session_epoch| FetchRequest { session_id, session_epoch, topics: Vec::new(), ..fetch(["t"], 1, LONG_MS) };
    let asked = client.send(7, &next(1)).await;
    let mut other = Client::connect(&live).await;
    // Whichever of the two is looked at first.
    let (refused, _) = timed(&mut other, 7, &FetchRequest { max_wait_ms: 0, ..next(2) }).await;
    assert_eq!(refused.error_code, ErrorCode::InvalidFetchSessionEpoch.code());
    produce(&mut other, "t", 1).await;
    let answer = client.reply::<FetchRequest>(7, asked).await;
    assert_eq!((answer.error_code, answer.session_id), (0, session_id));
    let (answer, _) = timed(&mut client, 7, &next(2)).await;
    assert_eq!(answer.error_code, 0);
}

/// Kafka 3.9.2 and 4.4.0 read again when the time is up.
#[tokio::test]
async fn what_is_deleted_during_the_wait_is_not_sent_after_it() {
    let (live, mut client) = live().await;
    create(&mut client, "t").await;
    produce(&mut client, "t", 5).await;
    for (offset, delete_to, expected) in [(5, 3, (0, 3)), (3, 4, (ErrorCode::OffsetOutOfRange.code(), -1))] {
        let mut request = fetch(["t"], MIB, 1_500);
        request.topics[0].partitions[0].fetch_offset = offset;
        let waiting = async {
            let (response, took) = timed(&mut client, 5, &request).await;
            let part = &response.responses[0].partitions[0];
            assert!(took >= Duration::from_millis(1_500), "a deletion does not end the wait: {took:?}");
            assert_eq!((part.error_code, part.log_start_offset), expected);
            assert_eq!(bytes(&response), [0]);
        };
        let deleting = async {
            let mut other = Client::connect(&live).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            let partition = DeleteRecordsPartition { partition_index: 0, offset: delete_to, ..Default::default() };
            let topic = DeleteRecordsTopic { name: "t".into(), partitions: vec![partition], ..Default::default() };
            let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: 1_000, ..Default::default() };
            let response = other.call(1, &request).await;
            assert_eq!(response.topics[0].partitions[0].low_watermark, delete_to);
        };
        tokio::join!(waiting, deleting);
    }
}
