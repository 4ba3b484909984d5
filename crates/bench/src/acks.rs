//! Open-loop acknowledgements: requests are due at fixed moments, and each one's clock runs from then to its reply.
//!
//! Two questions. Do many producers show? A load over a thousand partitions, each request touching some of them, is sent
//! without producer ids and then with a thousand remembered producers in every partition: what a broker keeps of
//! producers must not hold up acknowledgements. And does one hot partition add a tail of its own? Its p99.9 over its p99
//! is set beside that of synced writes of the same size to the bare device in the same run.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base::Clock;
use records::{BatchBuilder, Compression};
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use wire::Str;
use wire::messages::ProduceRequest;
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};

use crate::client::{self, Connection, PRODUCE_VERSION, encode};
use crate::report::{Report, percentile};
use crate::system::System;

const PARTITIONS: i32 = 1_000;
const PRODUCERS: i64 = 1_000;
/// Partitions of one request of the load, and requests a second: 20 MB/s of 1 KiB batches, each partition every 50 ms.
const REQUEST_PARTITIONS: i32 = 50;
const REQUESTS_PER_SECOND: u64 = 400;
const RECORD_BYTES: usize = 1000;
/// Requests of the preparation under way at once.
const IN_FLIGHT: usize = 8;
/// Requests a second to the hot partition; its device writes take their turns at the same rate.
const HOT_PER_SECOND: u64 = 1_000;
/// How long the last replies may take.
const REPLIES_MAX: Duration = Duration::from_secs(60);

/// The load without producers and with them; reports p99 of both, and their ratio.
pub async fn producers(system: &System, seconds: u64, report: &mut Report) -> Result<()> {
    let mut p99 = Vec::new();
    for (topic, with) in [("acks-plain", false), ("acks-producers", true)] {
        let mut connection = system.connect().await?;
        connection.create_topic(topic, PARTITIONS).await?;
        client::warm_up(&mut connection, topic, PARTITIONS).await?;
        if with {
            remember(system, topic).await?;
        }
        let total = REQUESTS_PER_SECOND * seconds;
        let groups = u64::from((PARTITIONS / REQUEST_PARTITIONS).unsigned_abs());
        let taken = paced(system, REQUESTS_PER_SECOND, total, |turn| {
            let first = (turn % groups) as i32 * REQUEST_PARTITIONS;
            let visit = turn / groups;
            // One producer of each partition after the other; its first batch was sequence 0.
            let producer = with.then(|| {
                let (round, id) = (visit / PRODUCERS as u64, visit % PRODUCERS as u64);
                (id as i64, 1 + round as i32)
            });
            request(topic, first..first + REQUEST_PARTITIONS, RECORD_BYTES, producer)
        })
        .await?;
        let name = if with { "with 1,000 producers each" } else { "without producers" };
        let name = format!("acknowledgement, 1,000 partitions {name}");
        p99.push(describe(&taken, &name, system, report));
    }
    if let [plain, with] = p99[..] {
        report.add("acknowledgement, 1,000 partitions: p99 with producers ÷ without", system.kind, with.1 / plain.1);
    }
    Ok(())
}

/// One partition that takes 1 KiB batches, a request each.
pub async fn hot(system: &System, seconds: u64, report: &mut Report) -> Result<()> {
    let topic = "acks-hot";
    let mut connection = system.connect().await?;
    connection.create_topic(topic, 1).await?;
    client::warm_up(&mut connection, topic, 1).await?;
    let taken = paced(system, HOT_PER_SECOND, HOT_PER_SECOND * seconds, |_| request(topic, 0..1, RECORD_BYTES, None));
    let (_, p99, p999) = describe(&taken.await?, "acknowledgement, one hot partition", system, report);
    report.add("acknowledgement, one hot partition, p99.9 ÷ p99", system.kind, p999 / p99);
    Ok(())
}

fn describe(taken: &[f64], name: &str, system: &System, report: &mut Report) -> (f64, f64, f64) {
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| percentile(taken, share));
    for (label, value) in [("p50", p50), ("p99", p99), ("p99.9", p999)] {
        report.add(&format!("{name}, {label} ms"), system.kind, value);
    }
    (p50, p99, p999)
}

/// A thousand producers' first batches in every partition.
async fn remember(system: &System, topic: &str) -> Result<()> {
    let Connection { mut read, mut write, .. } = system.connect().await?;
    let window = Arc::new(Semaphore::new(IN_FLIGHT));
    let replies = base::task::spawn("replies", {
        let window = window.clone();
        async move {
            for _ in 0..PRODUCERS {
                if let Some(code) = client::produce_error(read.next().await?.1)? {
                    window.close();
                    bail!("produce: error {code}");
                }
                window.add_permits(1);
            }
            anyhow::Ok(())
        }
    });
    for producer in 0..PRODUCERS {
        let Ok(permit) = window.acquire().await else { return replies.await? };
        permit.forget();
        let request = request(topic, 0..PARTITIONS, 10, Some((producer, 0)))?;
        write.write_all(&encode(PRODUCE_VERSION, 0, &request)?).await?;
    }
    tokio::time::timeout(REPLIES_MAX, replies).await.context("some producers were not taken")??
}

/// A batch of one record for each of the partitions, from a producer and its sequence.
fn request(
    topic: &str,
    partitions: std::ops::Range<i32>,
    bytes: usize,
    producer: Option<(i64, i32)>,
) -> Result<ProduceRequest> {
    let mut builder = BatchBuilder::new(Compression::None);
    if let Some((id, sequence)) = producer {
        builder = builder.producer(id, 0, sequence);
    }
    builder.append(Clock::system().now().0, None, Some(&vec![b'v'; bytes]), &[])?;
    let records = builder.build()?;
    let partition_data = partitions
        .map(|index| PartitionProduceData { index, records: Some(records.clone()), ..Default::default() })
        .collect();
    let topic = TopicProduceData { name: Str::from(topic), partition_data, ..Default::default() };
    Ok(ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() })
}

/// Sends requests when they are due; how long after that each was answered, in ms, sorted, without the first second's.
async fn paced(
    system: &System,
    per_second: u64,
    total: u64,
    mut make: impl FnMut(u64) -> Result<ProduceRequest>,
) -> Result<Vec<f64>> {
    let Connection { mut read, mut write, .. } = system.connect().await?;
    let clock = Arc::new(Clock::system());
    let start = clock.monotonic() + Duration::from_millis(200);
    let due = move |n: u64| start + Duration::from_nanos(n * 1_000_000_000 / per_second);
    let replies = base::task::spawn("replies", {
        let clock = clock.clone();
        async move {
            let mut taken = Vec::with_capacity(total as usize);
            for n in 0..total {
                // Replies come in the order of the requests.
                if let Some(code) = client::produce_error(read.next().await?.1)? {
                    bail!("produce: error {code}");
                }
                taken.push(clock.monotonic().saturating_sub(due(n)).as_secs_f64() * 1e3);
            }
            anyhow::Ok(taken)
        }
    });
    for n in 0..total {
        let frame = encode(PRODUCE_VERSION, n as i32, &make(n)?)?;
        let wait = due(n).saturating_sub(clock.monotonic());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        write.write_all(&frame).await?;
    }
    let mut taken =
        tokio::time::timeout(REPLIES_MAX, replies).await.context("some requests were not answered")???;
    taken.drain(..(per_second as usize).min(taken.len() / 4));
    taken.sort_by(f64::total_cmp);
    Ok(taken)
}
