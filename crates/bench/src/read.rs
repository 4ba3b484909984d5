//! Catch-up reads: a backlog is produced, then read from its beginning by one consumer.
//!
//! Three reads: of a small backlog that the block cache holds (the second read after a restart), of a large one right after
//! it was produced, and of the large one after a restart, when our block cache is cold. Kafka's own caches are the kernel's, and
//! survive its restarts.

use std::time::Duration;

use anyhow::{Result, ensure};
use base::Clock;
use wire::Str;
use wire::messages::FetchRequest;
use wire::messages::fetch_request::{FetchPartition, FetchTopic};

use crate::client::FETCH_VERSION;
use crate::produce::{self, Until};
use crate::report::Report;
use crate::system::System;

const PARTITIONS: i32 = 4;
/// Less than the block cache holds.
const SMALL: &str = "catch-up-small";
const SMALL_BYTES: u64 = 128 << 20;
const LARGE: &str = "catch-up";
const PARTITION_BYTES: i32 = 4 << 20;
const FETCH_BYTES: i32 = 16 << 20;

/// Reports MB/s and CPU for a first read and, on the same broker after a restart, for a read with cold caches.
pub async fn run(system: &mut System, seconds: u64, report: &mut Report) -> Result<()> {
    produce::load(&system.bootstrap(), SMALL, PARTITIONS, 1024, Until::Bytes(SMALL_BYTES)).await?;
    tokio::task::block_in_place(|| system.kill_and_restart())?;
    read_all(system, SMALL, "read into the block cache", report).await?;
    for _ in 0..3 {
        read_all(system, SMALL, "catch-up read from the block cache", report).await?;
    }
    produce::load(&system.bootstrap(), LARGE, PARTITIONS, 1024, Until::Passed(Duration::from_secs(seconds))).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    read_all(system, LARGE, "catch-up read", report).await?;
    tokio::task::block_in_place(|| system.kill_and_restart())?;
    read_all(system, LARGE, "catch-up read after a restart", report).await
}

async fn read_all(system: &System, topic: &'static str, name: &str, report: &mut Report) -> Result<()> {
    let mut connection = system.connect().await?;
    let mut next = vec![0_i64; PARTITIONS as usize];
    let (clock, cpu) = (Clock::system(), system.cpu_seconds()?);
    let before = clock.monotonic();
    let mut bytes = 0_u64;
    loop {
        let partitions = (0..PARTITIONS)
            .map(|partition| FetchPartition {
                partition,
                fetch_offset: next[partition as usize],
                partition_max_bytes: PARTITION_BYTES,
                ..Default::default()
            })
            .collect();
        let request = FetchRequest {
            max_wait_ms: 100,
            min_bytes: 1,
            max_bytes: FETCH_BYTES,
            session_epoch: -1,
            topics: vec![FetchTopic { topic: Str::from_static(topic), partitions, ..Default::default() }],
            ..Default::default()
        };
        let reply = connection.call(FETCH_VERSION, &request).await?;
        let (mut got, mut behind) = (0, false);
        for part in reply.responses.iter().flat_map(|t| &t.partitions) {
            ensure!(part.error_code == 0, "fetch: error {}", part.error_code);
            let Some(records) = &part.records else { continue };
            got += records.len();
            if let Some(last) = records::batches(records).filter_map(std::result::Result::ok).last() {
                next[part.partition_index as usize] = last.header.next_offset();
            }
            behind |= next[part.partition_index as usize] < part.high_watermark;
        }
        bytes += got as u64;
        if !behind {
            break;
        }
    }
    let taken = (clock.monotonic() - before).as_secs_f64();
    let cpu = system.cpu_seconds()? - cpu;
    report.add(&format!("{name}, MB/s"), system.kind, bytes as f64 / 1e6 / taken);
    report.add(&format!("{name}, CPU-s/GB"), system.kind, cpu / (bytes as f64 / 1e9));
    Ok(())
}
