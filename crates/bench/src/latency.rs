//! Open-loop latency: messages are due at fixed moments whatever the broker does, and a message's clock starts then, so
//! that a stall counts for everything it delays (no coordinated omission).

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base::Clock;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use wire::Str;
use wire::messages::fetch_request::{FetchPartition, FetchTopic};
use wire::messages::{FetchRequest, ListOffsetsRequest};

use crate::client::{self, Connection, FETCH_VERSION, PRODUCE_VERSION, encode, produce};
use crate::report::{Report, percentile};
use crate::system::System;

const PARTITIONS: i32 = 16;
const RECORD_BYTES: usize = 1000;
/// Most records of a batch: a broker takes a mebibyte, and a generator that is held up has more to send.
const BATCH_RECORDS_MAX: usize = 500;
/// How long replies and records may take once everything was sent.
const REPLIES_MAX: Duration = Duration::from_secs(60);

/// How messages are put into requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// What is due within a linger of 1 ms goes in one batch.
    Batches,
    /// Every record is a request of its own, to the next partition.
    EveryRecord,
}

/// Produces `rate` MB/s and reports percentiles of the time from due to received, and CPU seconds per GB.
pub async fn run(
    system: &System,
    name: &str,
    rate: u64,
    spread: Spread,
    seconds: u64,
    report: &mut Report,
) -> Result<()> {
    let topic = name.replace([' ', ',', '/'], "-");
    let mut connection = system.connect().await?;
    connection.create_topic(&topic, PARTITIONS).await?;
    client::warm_up(&mut connection, &topic, PARTITIONS).await?;
    let clock = Arc::new(Clock::system());
    let per_second = rate * 1_000_000 / RECORD_BYTES as u64;
    let total = per_second * seconds;
    let next = end_offsets(&mut connection, &topic).await?;
    let reader = base::task::spawn("reader", receive(system.bootstrap(), topic.clone(), next, clock.clone(), total));
    let cpu = system.cpu_seconds()?;
    send(system, &topic, &clock, per_second, total, spread).await?;
    let mut taken = tokio::time::timeout(REPLIES_MAX, reader).await.context("some records were not read")???;
    let cpu = system.cpu_seconds()? - cpu;
    // The first second warms up.
    taken.drain(..(per_second as usize).min(taken.len() / 4));
    taken.sort_by(f64::total_cmp);
    ensure!(!taken.is_empty(), "{name}: nothing was received");
    report.add(&format!("{name}, p50 ms"), system.kind, percentile(&taken, 0.5));
    report.add(&format!("{name}, p99 ms"), system.kind, percentile(&taken, 0.99));
    report.add(&format!("{name}, p99.9 ms"), system.kind, percentile(&taken, 0.999));
    report.add(&format!("{name}, CPU-s/GB"), system.kind, cpu / (total as f64 * RECORD_BYTES as f64 / 1e9));
    Ok(())
}

async fn send(
    system: &System,
    topic: &str,
    clock: &Arc<Clock>,
    per_second: u64,
    total: u64,
    spread: Spread,
) -> Result<()> {
    let Connection { mut read, mut write, .. } = system.connect().await?;
    let (expected, mut expecting) = watch::channel(None);
    let replies = base::task::spawn("replies", async move {
        let mut replies = 0;
        while *expecting.borrow_and_update() != Some(replies) {
            tokio::select! {
                reply = read.next() => {
                    if let Some(code) = client::produce_error(reply?.1)? {
                        bail!("produce: error {code}");
                    }
                    replies += 1;
                }
                changed = expecting.changed() => changed?,
            }
        }
        Ok(())
    });
    let start = clock.monotonic() + Duration::from_millis(200);
    let due = |n: u64| start + Duration::from_nanos(n * 1_000_000_000 / per_second);
    let (mut sent, mut turn) = (0, 0);
    while sent < total {
        let now = clock.monotonic();
        if due(sent) > now {
            tokio::time::sleep(due(sent) - now).await;
            continue;
        }
        let ready = match spread {
            Spread::EveryRecord => 1,
            Spread::Batches => {
                tokio::time::sleep(Duration::from_millis(1)).await;
                let now = clock.monotonic();
                (sent..total).take(BATCH_RECORDS_MAX).take_while(|n| due(*n) <= now).count().max(1)
            }
        };
        let mut builder = records::BatchBuilder::new(records::Compression::None);
        for n in sent..sent + ready as u64 {
            let mut value = vec![b'v'; RECORD_BYTES];
            value[..8].copy_from_slice(&(due(n).as_nanos() as u64).to_be_bytes());
            builder.append(clock.now().0, None, Some(&value), &[])?;
        }
        let frame = encode(PRODUCE_VERSION, turn, &produce(topic, turn % PARTITIONS, builder.build()?))?;
        write.write_all(&frame).await?;
        turn += 1;
        sent += ready as u64;
    }
    // A connection that closes may take with it what the broker has not read yet.
    expected.send_replace(Some(turn));
    tokio::time::timeout(REPLIES_MAX, replies).await.context("some requests were not answered")??
}

/// Reads all partitions to the end of `total` records; how late each was, in ms, in order of arrival.
async fn receive(
    address: String,
    topic: String,
    mut next: Vec<i64>,
    clock: Arc<Clock>,
    total: u64,
) -> Result<Vec<f64>> {
    let mut connection = Connection::open(&address).await?;
    let mut taken = Vec::with_capacity(total as usize);
    while (taken.len() as u64) < total {
        let partitions = (0..PARTITIONS)
            .map(|partition| FetchPartition {
                partition,
                fetch_offset: next[partition as usize],
                partition_max_bytes: 1 << 20,
                ..Default::default()
            })
            .collect();
        let request = FetchRequest {
            max_wait_ms: 500,
            min_bytes: 1,
            max_bytes: 50 << 20,
            session_epoch: -1,
            topics: vec![FetchTopic { topic: Str::from(topic.as_str()), partitions, ..Default::default() }],
            ..Default::default()
        };
        let reply = connection.call(FETCH_VERSION, &request).await?;
        let now = clock.monotonic();
        for part in reply.responses.iter().flat_map(|t| &t.partitions) {
            let Some(bytes) = &part.records else { continue };
            for batch in records::batches(bytes).filter_map(std::result::Result::ok) {
                next[part.partition_index as usize] = batch.header.next_offset();
                for record in batch.records(64 << 20)? {
                    let value = record?.value.unwrap_or_default();
                    let Some(due) = value.first_chunk::<8>() else { continue };
                    let due = Duration::from_nanos(u64::from_be_bytes(*due));
                    taken.push(now.saturating_sub(due).as_secs_f64() * 1e3);
                }
            }
        }
    }
    Ok(taken)
}

async fn end_offsets(connection: &mut Connection, topic: &str) -> Result<Vec<i64>> {
    use wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
    let partitions = (0..PARTITIONS)
        .map(|p| ListOffsetsPartition { partition_index: p, timestamp: -1, ..Default::default() })
        .collect();
    let topic = ListOffsetsTopic { name: Str::from(topic), partitions, ..Default::default() };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    let reply = connection.call(5, &request).await?;
    let mut offsets = vec![0; PARTITIONS as usize];
    for part in reply.topics.iter().flat_map(|t| &t.partitions) {
        offsets[part.partition_index as usize] = part.offset;
    }
    Ok(offsets)
}
