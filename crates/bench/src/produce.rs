//! Throughput: connections that keep a bounded number of requests in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use base::Clock;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;

use crate::client::{self, Connection, PRODUCE_VERSION, batch, encode, produce};
use crate::report::Report;
use crate::system::System;

const CONNECTIONS: i32 = 4;
const IN_FLIGHT: usize = 5;
/// Payload of one batch, as a well-filled producer sends.
const BATCH_BYTES: usize = 128 * 1024;

/// Produces for so long and reports MB/s and the broker's CPU seconds per GB.
pub async fn run(
    system: &System,
    name: &str,
    partitions: i32,
    record_bytes: usize,
    seconds: u64,
    report: &mut Report,
) -> Result<()> {
    let topic = name.replace([' ', ','], "-");
    let (address, length) = (system.bootstrap(), Duration::from_secs(seconds));
    load(&address, &topic, partitions, record_bytes, Until::Passed(Duration::from_secs(2))).await?;
    let (clock, cpu) = (Clock::system(), system.cpu_seconds()?);
    let before = clock.monotonic();
    let bytes = load(&address, &topic, partitions, record_bytes, Until::Passed(length)).await?;
    let taken = (clock.monotonic() - before).as_secs_f64();
    let cpu = system.cpu_seconds()? - cpu;
    report.add(&format!("{name}, MB/s"), system.kind, bytes as f64 / 1e6 / taken);
    report.add(&format!("{name}, CPU-s/GB"), system.kind, cpu / (bytes as f64 / 1e9));
    report.add(&format!("{name}, memory MiB"), system.kind, system.resident_mib()?);
    Ok(())
}

/// How much is produced.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// As much as goes in so long.
    Passed(Duration),
    /// So many bytes.
    Bytes(u64),
}

/// Keeps producing; the payload bytes that were acknowledged.
pub async fn load(address: &str, topic: &str, partitions: i32, record_bytes: usize, until: Until) -> Result<u64> {
    Connection::open(address).await?.create_topic(topic, partitions).await?;
    let count = (BATCH_BYTES / record_bytes).max(1);
    let records = batch(count, record_bytes, Clock::system().now().0)?;
    let (sent, acknowledged) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut tasks = Vec::new();
    for connection in 0..CONNECTIONS.min(partitions.max(1) * 4) {
        let (address, topic, records) = (address.to_owned(), topic.to_owned(), records.clone());
        let (sent, acknowledged) = (sent.clone(), acknowledged.clone());
        let payload = (count * record_bytes) as u64;
        tasks.push(base::task::spawn("producer", async move {
            let clock = Clock::system();
            let Connection { mut read, mut write, .. } = Connection::open(&address).await?;
            let window = Arc::new(Semaphore::new(IN_FLIGHT));
            let replies = base::task::spawn("replies", {
                let window = window.clone();
                async move {
                    loop {
                        let Ok((_, body)) = read.next().await else {
                            window.close();
                            return Ok(());
                        };
                        match client::produce_error(body) {
                            Ok(None) => drop(acknowledged.fetch_add(payload, Ordering::Relaxed)),
                            // Kafka tells of leaders before they lead.
                            Ok(Some(3 | 6)) => {}
                            Ok(Some(code)) => {
                                window.close();
                                bail!("produce: error {code}");
                            }
                            Err(error) => {
                                window.close();
                                return Err(error);
                            }
                        }
                        window.add_permits(1);
                    }
                }
            });
            // One frame for each partition of this connection, encoded once.
            let own: Vec<i32> =
                (0..partitions).filter(|p| p % CONNECTIONS == connection || partitions < CONNECTIONS).collect();
            let frames: Vec<_> = own
                .iter()
                .map(|p| encode(PRODUCE_VERSION, *p, &produce(&topic, *p, records.clone())))
                .collect::<Result<_>>()?;
            let start = clock.monotonic();
            let goes_on = || match until {
                Until::Passed(length) => clock.monotonic() - start < length,
                Until::Bytes(bytes) => sent.fetch_add(payload, Ordering::Relaxed) < bytes,
            };
            let mut turn = 0;
            // A closed window means that no more replies come; their task says why.
            while goes_on() {
                let Ok(permit) = window.acquire().await else { return replies.await? };
                permit.forget();
                write.write_all(&frames[turn % frames.len()]).await?;
                turn += 1;
            }
            if window.acquire_many(IN_FLIGHT as u32).await.is_err() {
                return replies.await?;
            }
            drop(write);
            replies.abort();
            anyhow::Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(acknowledged.load(Ordering::Relaxed))
}
