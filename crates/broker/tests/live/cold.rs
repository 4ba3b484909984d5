//! Fetches and produces that need what has left the log cache: how often they ask the store, and how many at once.

use std::time::Duration;

use base::Clock;
use blob::faulty::FaultPlan;
use blob::{Operation, Outcome, Purpose};
use bytes::Bytes;
use records::{BatchBuilder, Compression};
use wire::messages::create_topics_request::CreatableTopic;
use wire::messages::fetch_request::{FetchPartition, FetchTopic};
use wire::messages::fetch_response::PartitionData;
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::*;

use crate::support::{Client, Live, start_on, start_on_faulty_store};

const TOPIC: &str = "lagging";
const VALUE_BYTES: usize = 4_000;

fn batch(producer: Option<i32>) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    if let Some(sequence) = producer {
        builder = builder.producer(4_711, 0, sequence);
    }
    builder.append(1, None, Some(&[7; VALUE_BYTES]), &[]).unwrap();
    builder.build().unwrap()
}

/// One batch to each of the first `partitions`, in one request.
async fn produce(client: &mut Client, partitions: i32, producer: Option<i32>) {
    let data = |index| PartitionProduceData { index, records: Some(batch(producer)), ..Default::default() };
    let topic = TopicProduceData {
        name: TOPIC.into(),
        partition_data: (0..partitions).map(data).collect(),
        ..Default::default()
    };
    let request = ProduceRequest { acks: -1, timeout_ms: 60_000, topic_data: vec![topic], ..Default::default() };
    let response = client.call(9, &request).await;
    for partition in &response.responses[0].partition_responses {
        assert_eq!(partition.error_code, 0, "{}: {:?}", partition.index, partition.error_message);
    }
}

async fn fetch(client: &mut Client, partitions: i32, max_bytes: usize) -> Vec<PartitionData> {
    let partition = |partition| FetchPartition { partition, partition_max_bytes: 64 << 10, ..Default::default() };
    let topic =
        FetchTopic { topic: TOPIC.into(), partitions: (0..partitions).map(partition).collect(), ..Default::default() };
    let request = FetchRequest {
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: i32::try_from(max_bytes).unwrap(),
        topics: vec![topic],
        ..Default::default()
    };
    client.call(11, &request).await.responses.remove(0).partitions
}

fn bytes(partition: &PartitionData) -> usize {
    partition.records.as_ref().map_or(0, Bytes::len)
}

/// A broker with one batch in each partition, restarted so that the log cache is empty, on a store whose every answer
/// takes so long.
async fn lagging(partitions: i32, producer: Option<i32>, latency: Duration) -> (Live, Client) {
    let (live, faults) = start_on_faulty_store(&[]).await;
    let mut client = Client::connect(&live).await;
    let topic =
        CreatableTopic { name: TOPIC.into(), num_partitions: partitions, replication_factor: 1, ..Default::default() };
    let created = client.call(7, &CreateTopicsRequest { topics: vec![topic], ..Default::default() }).await;
    assert_eq!(created.topics[0].error_code, 0, "{:?}", created.topics[0].error_message);
    produce(&mut client, partitions, producer).await;
    let site = live.site.clone();
    live.handle.shutdown().await;
    let live = start_on(site, &[]).await;
    faults.set_plan(FaultPlan { latency: Some(latency..latency), ..FaultPlan::default() });
    let client = Client::connect(&live).await;
    (live, client)
}

fn reads(live: &Live) -> u64 {
    live.site.store().counters().requests(Purpose::Read, Operation::Get, Outcome::Ok)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_over_200_lagging_partitions_reads_only_what_it_can_use() {
    const PARTITIONS: i32 = 200;
    let (latency, clock) = (Duration::from_millis(50), Clock::system());
    let (live, mut client) = lagging(PARTITIONS, None, latency).await;
    let before = reads(&live);
    let answers = fetch(&mut client, PARTITIONS, 60_000).await;
    let gets = reads(&live) - before;
    assert_eq!(answers.len(), PARTITIONS as usize);
    assert!(answers.iter().all(|answer| answer.error_code == 0 && answer.high_watermark == 1));
    // As one after the other would be read: the first ones are full, and no more than was asked for.
    let full = answers.iter().take_while(|answer| bytes(answer) > 0).count();
    assert_eq!(full, 60_000 / batch(None).len());
    assert!(answers[full..].iter().all(|answer| bytes(answer) == 0));
    // Besides: the index, and the one block that turned out not to fit.
    assert!(gets <= full as u64 + 2, "{gets} reads for {full} partitions");

    // With bytes for all, all are read, and not one after the other.
    let (before, began) = (reads(&live), clock.monotonic());
    let answers = fetch(&mut client, PARTITIONS, 50 << 20).await;
    let (gets, took) = (reads(&live) - before, clock.monotonic() - began);
    assert!(answers.iter().all(|answer| bytes(answer) > VALUE_BYTES));
    assert!(gets >= 150, "{gets} reads");
    assert!(took < latency * gets as u32 / 2, "{gets} reads took {took:?}");
    live.handle.shutdown().await;
}

/// From version 3 on the first batch is sent whatever its size, also when it has to come from the store.
#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_whose_limit_is_too_small_for_a_batch_gets_one() {
    let (live, mut client) = lagging(3, None, Duration::ZERO).await;
    let answers = fetch(&mut client, 3, 100).await;
    assert_eq!(answers.iter().map(bytes).collect::<Vec<_>>(), [batch(None).len(), 0, 0]);
    live.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_produce_to_many_partitions_loads_their_producers_together() {
    const PARTITIONS: i32 = 64;
    let (latency, clock) = (Duration::from_millis(100), Clock::system());
    let (live, mut client) = lagging(PARTITIONS, Some(0), latency).await;
    let (before, began) = (reads(&live), clock.monotonic());
    produce(&mut client, PARTITIONS, Some(1)).await;
    let (gets, took) = (reads(&live) - before, clock.monotonic() - began);
    assert!(gets >= PARTITIONS as u64, "{gets} reads");
    assert!(took < latency * gets as u32 / 2, "{gets} reads took {took:?}");
    // What was loaded knows the first batch: it is a duplicate, and no further record.
    produce(&mut client, PARTITIONS, Some(0)).await;
    let answers = fetch(&mut client, PARTITIONS, 50 << 20).await;
    assert!(answers.iter().all(|answer| answer.high_watermark == 2));
    live.handle.shutdown().await;
}
