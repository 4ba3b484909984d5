//! `headwater consume`: print records of a topic.

use std::io::Write;

use anyhow::{Context, bail};
use base::collections::HashMap;
use clap::Args;
use wire::Str;
use wire::messages::fetch_request::{FetchPartition, FetchTopic};
use wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use wire::messages::{FetchRequest, ListOffsetsRequest};

use super::client::{Cluster, Leaders, check};
use crate::cli::Bootstrap;

const EARLIEST: i64 = -2;
const LATEST: i64 = -1;
const WAIT_MS: i32 = 500;
const FETCH_BYTES_MAX: i32 = 16 * 1024 * 1024;
const PARTITION_BYTES_MAX: i32 = 1024 * 1024;
const BATCH_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Print records
#[derive(Args, Debug)]
pub struct Options {
    /// The topic
    topic: String,
    #[command(flatten)]
    bootstrap: Bootstrap,
    /// Begin with the oldest record instead of the next one
    #[arg(long)]
    from_beginning: bool,
    /// Begin at this offset
    #[arg(long, conflicts_with = "from_beginning")]
    offset: Option<i64>,
    /// Only this partition
    #[arg(long, short)]
    partition: Option<i32>,
    /// Stop after so many records
    #[arg(long, short = 'n')]
    max_messages: Option<u64>,
    /// Stop at the end instead of waiting for more
    #[arg(long, short)]
    exit_at_end: bool,
    /// Print keys in front of values, separated by a tab
    #[arg(long)]
    print_key: bool,
    /// Print partition, offset and timestamp too
    #[arg(long)]
    print_offset: bool,
}

/// Runs the command.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let mut cluster = Cluster::connect(&options.bootstrap.address)?;
    let mut leaders = cluster.leaders(&options.topic, false)?;
    if let Some(only) = options.partition {
        leaders.partitions.retain(|(p, _)| *p == only);
        if leaders.partitions.is_empty() {
            bail!("{} has no partition {only}", options.topic);
        }
    }
    let from = if options.from_beginning { EARLIEST } else { LATEST };
    let mut next = offsets(&mut leaders, &options.topic, from)?;
    if let Some(offset) = options.offset {
        next.values_mut().for_each(|o| *o = offset);
    }
    let ends = offsets(&mut leaders, &options.topic, LATEST)?;
    let mut left = options.max_messages.unwrap_or(u64::MAX);
    while left > 0 {
        if options.exit_at_end && next.iter().all(|(p, o)| *o >= ends.get(p).copied().unwrap_or(0)) {
            break;
        }
        let brokers: Vec<i32> = {
            let mut ids: Vec<i32> = leaders.partitions.iter().map(|(_, l)| *l).collect();
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        for broker in brokers {
            fetch(options, &mut leaders, broker, &mut next, &mut left)?;
        }
    }
    Ok(())
}

fn fetch(
    options: &Options,
    leaders: &mut Leaders,
    broker: i32,
    next: &mut HashMap<i32, i64>,
    left: &mut u64,
) -> anyhow::Result<()> {
    let partitions = leaders
        .partitions
        .iter()
        .filter(|(_, leader)| *leader == broker)
        .map(|(partition, _)| FetchPartition {
            partition: *partition,
            fetch_offset: next.get(partition).copied().unwrap_or(0),
            partition_max_bytes: PARTITION_BYTES_MAX,
            ..Default::default()
        })
        .collect();
    let topic = FetchTopic { topic: Str::from(options.topic.as_str()), partitions, ..Default::default() };
    let request = FetchRequest {
        max_wait_ms: WAIT_MS,
        min_bytes: 1,
        max_bytes: FETCH_BYTES_MAX,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    // Version 12 still names topics; 13 wants ids.
    let reply = leaders.connection(broker)?.call_up_to(&request, 12)?;
    check(reply.error_code, None)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for part in reply.responses.iter().flat_map(|t| &t.partitions) {
        check(part.error_code, None).with_context(|| format!("{}-{}", options.topic, part.partition_index))?;
        let Some(bytes) = part.records.as_ref() else { continue };
        let position = next.entry(part.partition_index).or_insert(0);
        for batch in records::batches(bytes) {
            let Ok(batch) = batch else { break };
            batch.verify_crc()?;
            let after = batch.header.next_offset();
            if batch.header.is_control() {
                *position = (*position).max(after);
                continue;
            }
            for record in batch.records(BATCH_BYTES_MAX)? {
                let record = record?;
                if record.offset < *position {
                    continue;
                }
                if *left == 0 {
                    return Ok(());
                }
                *left -= 1;
                *position = record.offset + 1;
                if options.print_offset {
                    write!(out, "{}\t{}\t{}\t", part.partition_index, record.offset, record.timestamp)?;
                }
                if options.print_key {
                    out.write_all(record.key.as_deref().unwrap_or_default())?;
                    out.write_all(b"\t")?;
                }
                out.write_all(record.value.as_deref().unwrap_or_default())?;
                out.write_all(b"\n")?;
            }
            *position = (*position).max(after);
        }
    }
    out.flush()?;
    Ok(())
}

fn offsets(leaders: &mut Leaders, topic: &str, timestamp: i64) -> anyhow::Result<HashMap<i32, i64>> {
    let mut found = HashMap::default();
    for (partition, leader) in leaders.partitions.clone() {
        let partition = ListOffsetsPartition { partition_index: partition, timestamp, ..Default::default() };
        let topic = ListOffsetsTopic { name: Str::from(topic), partitions: vec![partition], ..Default::default() };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        let reply = leaders.connection(leader)?.call(&request)?;
        for part in reply.topics.iter().flat_map(|t| &t.partitions) {
            check(part.error_code, None)?;
            found.insert(part.partition_index, part.offset);
        }
    }
    Ok(found)
}

/// First and end offset of every partition.
pub fn end_offsets(cluster: &mut Cluster, topic: &str) -> anyhow::Result<HashMap<i32, (i64, i64)>> {
    let mut leaders = cluster.leaders(topic, false)?;
    let starts = offsets(&mut leaders, topic, EARLIEST)?;
    let ends = offsets(&mut leaders, topic, LATEST)?;
    Ok(starts.into_iter().map(|(p, start)| (p, (start, ends.get(&p).copied().unwrap_or(start)))).collect())
}
