//! Topics: how fast they are created one after the other, and what they and idle partitions weigh.

use anyhow::Result;
use base::Clock;

use crate::report::Report;
use crate::system::System;

const TOPICS: usize = 1_000;
const PARTITIONS: i32 = 10_000;

/// Creates topics one by one, then one topic with many partitions.
pub async fn run(system: &System, report: &mut Report) -> Result<()> {
    let mut connection = system.connect().await?;
    let (clock, memory) = (Clock::system(), system.resident_mib()?);
    let before = clock.monotonic();
    for n in 0..TOPICS {
        connection.create_topic(&format!("one-of-many-{n}"), 1).await?;
    }
    let taken = (clock.monotonic() - before).as_secs_f64();
    report.add("topics created per second", system.kind, TOPICS as f64 / taken);
    report.add("memory per topic, KiB", system.kind, (system.resident_mib()? - memory) * 1024.0 / TOPICS as f64);
    if system.kind == crate::system::Kind::Headwater {
        let memory = system.resident_mib()?;
        connection.create_topic("wide", PARTITIONS).await?;
        report.add("10,000 idle partitions, MiB", system.kind, system.resident_mib()? - memory);
    }
    Ok(())
}
