//! What a request names more than once, and what refuses all that it asks for. Kafka 4.4.0 was asked the same.

use bytes::Bytes;
use records::{BatchBuilder, Compression};
use wire::ErrorCode;
use wire::messages::create_topics_request::CreatableTopic;
use wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::produce_response::PartitionProduceResponse;
use wire::messages::*;

use crate::support::{Client, Live, batch, start};

/// `t` with two partitions.
async fn live() -> (Live, Client) {
    let live = start(&[]).await;
    let mut client = Client::connect(&live).await;
    let topic =
        CreatableTopic { name: "t".into(), num_partitions: 2, replication_factor: 1, ..CreatableTopic::default() };
    let request = CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() };
    assert_eq!(client.call(7, &request).await.topics[0].error_code, 0);
    (live, client)
}

/// A partition of a request and its records.
type Given = (i32, Option<Bytes>);

fn produce(topics: &[(&str, &[Given])]) -> ProduceRequest {
    let data = |(index, records): &Given| PartitionProduceData {
        index: *index,
        records: records.clone(),
        ..PartitionProduceData::default()
    };
    let topic = |(name, partitions): &(&str, &[Given])| TopicProduceData {
        name: (*name).into(),
        partition_data: partitions.iter().map(data).collect(),
        ..TopicProduceData::default()
    };
    let topic_data = topics.iter().map(topic).collect();
    ProduceRequest { acks: -1, timeout_ms: 10_000, topic_data, ..ProduceRequest::default() }
}

/// The ends of both partitions.
async fn ends(client: &mut Client) -> [i64; 2] {
    let latest =
        |partition_index| ListOffsetsPartition { partition_index, timestamp: -1, ..ListOffsetsPartition::default() };
    // Who names a topic without a partition is told nothing of it.
    let topic =
        |name: &str, partitions| ListOffsetsTopic { name: name.into(), partitions, ..ListOffsetsTopic::default() };
    let topics = vec![topic("u", vec![]), topic("t", vec![latest(0)]), topic("t", vec![latest(1)])];
    let request = ListOffsetsRequest { replica_id: -1, topics, ..ListOffsetsRequest::default() };
    let response = client.call(7, &request).await;
    assert_eq!(response.topics.len(), 1);
    [0, 1].map(|at| response.topics[0].partitions[at].offset)
}

/// A partition of an answer, its error and the offset of its first record.
type Told = (i32, i16, i64);

fn told(response: &ProduceResponse) -> Vec<(&str, Vec<Told>)> {
    let part = |part: &PartitionProduceResponse| (part.index, part.error_code, part.base_offset);
    let topics = response.responses.iter();
    topics.map(|topic| (&*topic.name, topic.partition_responses.iter().map(part).collect())).collect()
}

#[tokio::test]
async fn of_a_partition_that_is_produced_to_twice_the_last_mention_is_appended() {
    let (_live, mut client) = live().await;
    let (one, two) = (|| Some(batch(&["one"])), || Some(batch(&["one", "two"])));
    let request = produce(&[("t", &[(0, one()), (1, one()), (0, two())]), ("u", &[]), ("t", &[(1, two())])]);
    let response = client.call(9, &request).await;
    assert_eq!(told(&response), [("t", vec![(0, 0, 0), (1, 0, 0)])]);
    assert_eq!(ends(&mut client).await, [2, 2]);
}

#[tokio::test]
async fn a_mention_that_breaks_the_rules_of_the_version_is_the_one_that_counts() {
    let (_live, mut client) = live().await;
    let (good, none) = (|| Some(batch(&["one"])), || Some(Bytes::new()));
    let invalid = ErrorCode::InvalidRecord.code();
    for mentions in [[good(), none()], [none(), good()]] {
        let [first, last] = mentions;
        let response = client.call(9, &produce(&[("t", &[(0, first), (0, last)])])).await;
        assert_eq!(told(&response), [("t", vec![(0, invalid, -1)])]);
    }
    assert_eq!(ends(&mut client).await, [0, 0]);
}

#[tokio::test]
async fn what_makes_no_sense_in_one_partition_refuses_the_whole_request_and_nothing_is_appended() {
    let (_live, mut client) = live().await;
    let good = || Some(batch(&["one"]));
    let edited = |at: usize, byte: u8| {
        let mut bytes = batch(&["one"]).to_vec();
        bytes[at] = byte;
        Some(Bytes::from(bytes))
    };
    let mut transactional = BatchBuilder::new(Compression::None).producer(7, 0, 0).transactional();
    transactional.append(1, None, Some(b"v"), &[]).unwrap();
    let transactional = transactional.build().unwrap();
    let corrupt = ErrorCode::CorruptMessage;
    for (bad, error, message) in [
        (edited(11, 3), corrupt, Some("Record size 3 is less than the minimum record overhead (14)")),
        (edited(16, 3), corrupt, Some("Invalid magic found in record: 3")),
        (Some(transactional), ErrorCode::TransactionalIdAuthorizationFailed, None),
        (None, ErrorCode::UnknownServerError, None),
    ] {
        let response = client.call(9, &produce(&[("t", &[(0, good()), (1, bad)]), ("nope", &[(3, good())])])).await;
        let code = error.code();
        assert_eq!(told(&response), [("t", vec![(0, code, -1), (1, code, -1)]), ("nope", vec![(3, code, -1)])]);
        for part in response.responses.iter().flat_map(|topic| &topic.partition_responses) {
            assert_eq!((part.error_message.as_deref(), part.log_start_offset), (message, -1));
        }
        assert_eq!(ends(&mut client).await, [0, 0], "{error:?}");
    }
}

#[tokio::test]
async fn of_a_partition_whose_records_are_deleted_twice_the_last_mention_counts() {
    let (_live, mut client) = live().await;
    client.call(9, &produce(&[("t", &[(0, Some(batch(&["one", "two", "three"])))])])).await;
    let below = |offset| DeleteRecordsPartition { offset, ..DeleteRecordsPartition::default() };
    let topic =
        |name: &str, partitions| DeleteRecordsTopic { name: name.into(), partitions, ..DeleteRecordsTopic::default() };
    let topics = vec![topic("t", vec![below(3), below(2)]), topic("u", vec![]), topic("t", vec![below(1)])];
    let request = DeleteRecordsRequest { topics, timeout_ms: 10_000, ..DeleteRecordsRequest::default() };
    let response = client.call(2, &request).await;
    assert_eq!(response.topics.len(), 1);
    let [part] = &*response.topics[0].partitions else { panic!("{response:?}") };
    assert_eq!((part.error_code, part.low_watermark), (0, 1));
}
