//! Topics: how fast they are created one after the other, and what they and partitions weigh.
//!
//! Weights are differences of resident memory within a process that has done nothing else but acknowledge a first record:
//! one that has carried loads has room of its own to give, and would seem to need none.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use base::Clock;
use wire::Str;
use wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::{ListOffsetsRequest, ProduceRequest};

use crate::client::{Connection, PRODUCE_VERSION, batch};
use crate::report::Report;
use crate::system::System;

const TOPICS: usize = 1_000;
const PARTITIONS: i32 = 10_000;
/// Partitions of one request.
const REQUEST_PARTITIONS: usize = 500;
/// The version of ListOffsets that both brokers serve without more than partitions and times.
const LIST_OFFSETS_VERSION: i16 = 5;
/// How long a broker is left alone before it is weighed: allocators give back what they do not use within ten seconds.
const IDLE: Duration = Duration::from_secs(10);
/// How often a partition is asked until its broker leads it.
const TRIES: usize = 200;

/// Creates topics one by one and reports how many there were in a second.
pub async fn rate(system: &System, report: &mut Report) -> Result<()> {
    let mut connection = system.connect().await?;
    let clock = Clock::system();
    create(&mut connection).await?;
    report.add("topics created per second", system.kind, TOPICS as f64 / clock.monotonic().as_secs_f64());
    Ok(())
}

/// Creates topics in a fresh process, opens their partitions and reports what each weighs.
pub async fn weight(system: &System, report: &mut Report) -> Result<()> {
    let mut connection = system.connect().await?;
    let memory = rested(system).await?;
    create(&mut connection).await?;
    for n in 0..TOPICS {
        end_offsets(&mut connection, &name(n), &[0]).await?;
    }
    let each = (rested(system).await? - memory) * 1024.0 / TOPICS as f64;
    report.add("fresh process: memory per topic, opened, KiB", system.kind, each);
    Ok(())
}

/// Creates one topic with many partitions in a fresh process, and reports what they weigh: as they are created, once
/// each has been asked for its end offset, and once each has taken a record. Then nothing moves any more.
pub async fn wide(system: &System, report: &mut Report) -> Result<()> {
    const TOPIC: &str = "wide";
    let mut connection = system.connect().await?;
    let memory = rested(system).await?;
    let partitions: Vec<i32> = (0..PARTITIONS).collect();
    connection.create_topic(TOPIC, PARTITIONS).await?;
    let created = rested(system).await? - memory;
    report.add("fresh process: 10,000 idle partitions, created, MiB", system.kind, created);
    for some in partitions.chunks(REQUEST_PARTITIONS) {
        end_offsets(&mut connection, TOPIC, some).await?;
    }
    let opened = rested(system).await? - memory;
    report.add("fresh process: 10,000 idle partitions, each asked for its end, MiB", system.kind, opened);
    for some in partitions.chunks(REQUEST_PARTITIONS) {
        produce_to(&mut connection, TOPIC, some).await?;
    }
    let written = rested(system).await? - memory;
    report.add("fresh process: 10,000 idle partitions, each with a record of 100 B, MiB", system.kind, written);
    Ok(())
}

async fn create(connection: &mut Connection) -> Result<()> {
    for n in 0..TOPICS {
        connection.create_topic(&name(n), 1).await?;
    }
    Ok(())
}

fn name(n: usize) -> String {
    format!("one-of-many-{n}")
}

/// Resident memory in MiB after a rest.
async fn rested(system: &System) -> Result<f64> {
    tokio::time::sleep(IDLE).await;
    system.resident_mib()
}

/// Asks partitions for their end offsets until each has answered.
async fn end_offsets(connection: &mut Connection, topic: &str, partitions: &[i32]) -> Result<()> {
    let asked =
        partitions.iter().map(|p| ListOffsetsPartition { partition_index: *p, timestamp: -1, ..Default::default() });
    let topic = ListOffsetsTopic { name: Str::from(topic), partitions: asked.collect(), ..Default::default() };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    for _ in 0..TRIES {
        let reply = connection.call(LIST_OFFSETS_VERSION, &request).await?;
        let answered = reply.topics.iter().flat_map(|t| &t.partitions).filter(|p| p.error_code == 0).count();
        if answered == partitions.len() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bail!("some partitions have no end offset")
}

/// Produces a record to each of some partitions.
async fn produce_to(connection: &mut Connection, topic: &str, partitions: &[i32]) -> Result<()> {
    let records = batch(1, 100, Clock::system().now().0)?;
    let data = partitions.iter().map(|partition| PartitionProduceData {
        index: *partition,
        records: Some(records.clone()),
        ..Default::default()
    });
    let topic = TopicProduceData { name: Str::from(topic), partition_data: data.collect(), ..Default::default() };
    let request = ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
    let reply = connection.call(PRODUCE_VERSION, &request).await?;
    let taken = reply.responses.iter().flat_map(|t| &t.partition_responses).filter(|p| p.error_code == 0).count();
    ensure!(
        taken == partitions.len(),
        "{} of {} partitions took no record",
        partitions.len() - taken,
        partitions.len()
    );
    Ok(())
}
