//! A small asynchronous Kafka client for the generators: fixed versions, pipelined requests, no retries.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use records::{BatchBuilder, Compression};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use wire::header::RequestHeader;
use wire::messages::create_topics_request::CreatableTopic;
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::{CreateTopicsRequest, MetadataRequest, ProduceRequest};
use wire::{Message, Reader, Request, Str, Writer};

/// The version of Produce that names topics and that both brokers serve.
pub const PRODUCE_VERSION: i16 = 9;
/// The version of Fetch that names topics and that both brokers serve.
pub const FETCH_VERSION: i16 = 12;
const TIMEOUT_MS: i32 = 30_000;

/// One connection, in halves so that requests and replies can overlap.
pub struct Connection {
    /// Where replies come from.
    pub read: Replies,
    /// Where requests go.
    pub write: OwnedWriteHalf,
    correlation: i32,
}

/// The reading half.
pub struct Replies(BufReader<OwnedReadHalf>);

impl Replies {
    /// The next reply: correlation id and what follows it.
    pub async fn next(&mut self) -> Result<(i32, Bytes)> {
        let size = self.0.read_u32().await? as usize;
        let mut frame = BytesMut::with_capacity(size);
        let mut rest = (&mut self.0).take(size as u64);
        while frame.len() < size {
            ensure!(rest.read_buf(&mut frame).await? > 0, "the broker hung up in the middle of a reply");
        }
        let frame = frame.freeze();
        let id = frame.first_chunk::<4>().map(|b| i32::from_be_bytes(*b)).context("a reply without a header")?;
        Ok((id, frame.slice(4..)))
    }

    /// Decodes a reply's body.
    pub fn decode<Q: Request>(version: i16, body: Bytes) -> Result<Q::Response> {
        let mut reader = Reader::new(body);
        if Q::response_header_version(version) > 0 {
            reader.varint()?;
        }
        Ok(Q::Response::decode(&mut reader, version)?)
    }
}

impl Connection {
    /// Connects.
    pub async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        let (read, write) = stream.into_split();
        Ok(Self { read: Replies(BufReader::with_capacity(256 * 1024, read)), write, correlation: 0 })
    }

    /// Sends a request and waits for its reply.
    pub async fn call<Q: Request>(&mut self, version: i16, request: &Q) -> Result<Q::Response> {
        self.correlation += 1;
        let frame = encode(version, self.correlation, request)?;
        self.write.write_all(&frame).await?;
        let (_, body) = self.read.next().await?;
        Replies::decode::<Q>(version, body)
    }

    /// Creates a topic, which may exist, and waits until it has leaders.
    pub async fn create_topic(&mut self, name: &str, partitions: i32) -> Result<()> {
        let topic = CreatableTopic {
            name: Str::from(name),
            num_partitions: partitions,
            replication_factor: 1,
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: TIMEOUT_MS, ..Default::default() };
        let reply = self.call(5, &request).await?;
        // 36: it exists.
        if let Some(answer) = reply.topics.iter().find(|t| t.error_code != 0 && t.error_code != 36) {
            bail!("topic {name}: error {} {:?}", answer.error_code, answer.error_message.as_deref());
        }
        const TRIES: usize = 200;
        for _ in 0..TRIES {
            let topic = wire::messages::metadata_request::MetadataRequestTopic {
                name: Some(Str::from(name)),
                ..Default::default()
            };
            let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
            let reply = self.call(8, &request).await?;
            let ready = reply.topics.iter().all(|t| t.error_code == 0 && t.partitions.iter().all(|p| p.leader_id >= 0));
            if ready {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("topic {name} has no leaders")
    }
}

/// The frame of a request.
pub fn encode<Q: Request>(version: i16, correlation_id: i32, request: &Q) -> Result<Bytes> {
    let mut writer = Writer::new();
    let header = RequestHeader {
        request_api_key: Q::API_KEY.code(),
        request_api_version: version,
        correlation_id,
        client_id: Some(Str::from_static("bench")),
        ..Default::default()
    };
    header.encode(&mut writer, Q::request_header_version(version))?;
    request.encode(&mut writer, version)?;
    Ok(writer.finish_framed()?.into_bytes())
}

/// A batch of `count` records of `bytes` each; half random, half not, as real payloads are.
pub fn batch(count: usize, bytes: usize, timestamp: i64) -> Result<Bytes> {
    let mut value = vec![b'x'; bytes];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for byte in value.iter_mut().take(bytes / 2) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = state as u8;
    }
    let mut builder = BatchBuilder::new(Compression::None);
    for _ in 0..count {
        builder.append(timestamp, None, Some(&value), &[])?;
    }
    Ok(builder.build()?)
}

/// A Produce request with one batch for one partition.
pub fn produce(topic: &str, partition: i32, records: Bytes) -> ProduceRequest {
    let data = PartitionProduceData { index: partition, records: Some(records), ..Default::default() };
    let topic = TopicProduceData { name: Str::from(topic), partition_data: vec![data], ..Default::default() };
    ProduceRequest { acks: -1, timeout_ms: TIMEOUT_MS, topic_data: vec![topic], ..Default::default() }
}

/// The first error of a Produce reply.
pub fn produce_error(body: Bytes) -> Result<Option<i16>> {
    let reply = Replies::decode::<ProduceRequest>(PRODUCE_VERSION, body)?;
    Ok(reply.responses.iter().flat_map(|t| &t.partition_responses).map(|p| p.error_code).find(|code| *code != 0))
}

/// Produces a record to every partition of a topic, as often as it takes: a broker tells of leaders before they lead.
pub async fn warm_up(connection: &mut Connection, topic: &str, partitions: i32) -> Result<()> {
    const TRIES: usize = 200;
    for partition in 0..partitions {
        let request = produce(topic, partition, batch(1, 100, 0)?);
        let mut tries = 0;
        loop {
            let reply = connection.call(PRODUCE_VERSION, &request).await?;
            let failed = reply.responses.iter().flat_map(|t| &t.partition_responses).find(|p| p.error_code != 0);
            match failed {
                None => break,
                Some(p) if tries == TRIES => bail!("{topic}-{partition} takes no records: error {}", p.error_code),
                Some(_) => tries += 1,
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

/// Tries until a record of a topic made for it was acknowledged.
pub async fn first_acknowledgement(address: &str, topic: &str) -> Result<()> {
    const TRIES: usize = 20_000;
    let attempt = || async {
        let mut connection = Connection::open(address).await?;
        connection.create_topic(topic, 1).await?;
        connection.correlation += 1;
        let frame = encode(PRODUCE_VERSION, connection.correlation, &produce(topic, 0, batch(1, 100, 0)?))?;
        connection.write.write_all(&frame).await?;
        let (_, body) = connection.read.next().await?;
        match produce_error(body)? {
            None => Ok(()),
            Some(code) => bail!("error {code}"),
        }
    };
    for _ in 0..TRIES {
        if attempt().await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    bail!("{address} acknowledges nothing")
}
