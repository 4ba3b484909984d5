//! `headwater produce`: one record a line of standard input.

use std::collections::BTreeMap;
use std::io::BufRead;

use anyhow::Context;
use clap::Args;
use records::{BatchBuilder, Compression};
use wire::Str;
use wire::messages::ProduceRequest;
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};

use super::client::{Cluster, Leaders, check};
use crate::cli::Bootstrap;

/// Records and bytes of one request.
const BATCH_RECORDS_MAX: usize = 10_000;
const BATCH_BYTES_MAX: usize = 512 * 1024;
const TIMEOUT_MS: i32 = 30_000;

/// Produce records, one a line of standard input
#[derive(Args, Debug)]
pub struct Options {
    /// The topic; created if it does not exist and the broker allows it
    topic: String,
    #[command(flatten)]
    bootstrap: Bootstrap,
    /// Send to this partition instead of spreading batches over all
    #[arg(long, short)]
    partition: Option<i32>,
    /// Split each line into key and value at the first of these
    #[arg(long, short = 'K', value_name = "SEPARATOR")]
    key_separator: Option<String>,
    /// Compress batches
    #[arg(long, short = 'z', default_value = "none", value_parser = ["none", "gzip", "snappy", "lz4", "zstd"])]
    compression: String,
}

/// Runs the command.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let mut cluster = Cluster::connect(&options.bootstrap.address)?;
    let mut leaders = cluster.leaders(&options.topic, true)?;
    let mut sender = Sender { options, sent: BTreeMap::new(), turn: 0 };
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let mut bytes = 0;
    for line in std::io::stdin().lock().split(b'\n') {
        let line = line.context("standard input cannot be read")?;
        bytes += line.len();
        lines.push(line);
        if lines.len() >= BATCH_RECORDS_MAX || bytes >= BATCH_BYTES_MAX {
            sender.send(&mut leaders, std::mem::take(&mut lines))?;
            bytes = 0;
        }
    }
    if !lines.is_empty() {
        sender.send(&mut leaders, lines)?;
    }
    for (partition, (first, last)) in &sender.sent {
        say!("{}-{partition}: offsets {first} to {last} are durable", options.topic);
    }
    Ok(())
}

struct Sender<'a> {
    options: &'a Options,
    sent: BTreeMap<i32, (i64, i64)>,
    turn: usize,
}

/// A key, if the line has one, and a value.
type KeyedLine = (Option<Vec<u8>>, Vec<u8>);

impl Sender<'_> {
    /// Lines with a key go to the key's partition, as with Kafka's clients; others go together to one after the other.
    fn send(&mut self, leaders: &mut Leaders, lines: Vec<Vec<u8>>) -> anyhow::Result<()> {
        let count = leaders.partitions.len();
        let turn = self.turn % count;
        self.turn += 1;
        let mut parts: BTreeMap<usize, Vec<KeyedLine>> = BTreeMap::new();
        for line in lines {
            let (key, value) = self.split(line);
            let place = match (self.options.partition, &key) {
                (Some(partition), _) => {
                    leaders.partitions.iter().position(|(p, _)| *p == partition).with_context(|| {
                        format!("{} has no partition {partition}; it has {count}", self.options.topic)
                    })?
                }
                (None, Some(key)) => (murmur2(key) & 0x7fff_ffff) as usize % count,
                (None, None) => turn,
            };
            parts.entry(place).or_default().push((key, value));
        }
        for (place, records) in parts {
            let (partition, leader) = leaders.partitions[place];
            self.send_batch(leaders, partition, leader, &records)?;
        }
        Ok(())
    }

    fn split(&self, line: Vec<u8>) -> KeyedLine {
        let Some(separator) = self.options.key_separator.as_ref().filter(|s| !s.is_empty()) else {
            return (None, line);
        };
        match line.windows(separator.len()).position(|w| w == separator.as_bytes()) {
            Some(at) => (Some(line[..at].to_vec()), line[at + separator.len()..].to_vec()),
            None => (None, line),
        }
    }

    fn send_batch(
        &mut self,
        leaders: &mut Leaders,
        partition: i32,
        leader: i32,
        lines: &[(Option<Vec<u8>>, Vec<u8>)],
    ) -> anyhow::Result<()> {
        let compression = match self.options.compression.as_str() {
            "gzip" => Compression::Gzip,
            "snappy" => Compression::Snappy,
            "lz4" => Compression::Lz4,
            "zstd" => Compression::Zstd,
            _ => Compression::None,
        };
        let now = base::Clock::system().now();
        let mut batch = BatchBuilder::new(compression);
        for (key, value) in lines {
            batch.append(now.0, key.as_deref(), Some(value), &[])?;
        }
        let records = batch.build()?;
        let partition_data = PartitionProduceData { index: partition, records: Some(records), ..Default::default() };
        let topic = TopicProduceData {
            name: Str::from(self.options.topic.as_str()),
            partition_data: vec![partition_data],
            ..Default::default()
        };
        let request =
            ProduceRequest { acks: -1, timeout_ms: TIMEOUT_MS, topic_data: vec![topic], ..Default::default() };
        // Version 12 still names topics; 13 wants ids.
        let reply = leaders.connection(leader)?.call_up_to(&request, 12)?;
        let answer = reply.responses.first().and_then(|t| t.partition_responses.first());
        let answer = answer.context("the broker answered without the partition")?;
        check(answer.error_code, answer.error_message.as_deref())
            .with_context(|| format!("{}-{partition}", self.options.topic))?;
        let last = answer.base_offset + lines.len() as i64 - 1;
        self.sent.entry(partition).or_insert((answer.base_offset, last)).1 = last;
        Ok(())
    }
}

/// Kafka's hash of keys (`Utils.murmur2`), so that this program agrees with the Java client about a key's partition.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut h = 0x9747_b28c_u32 ^ data.len() as u32;
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = chunks.remainder();
    for (i, byte) in rest.iter().enumerate() {
        h ^= u32::from(*byte) << (8 * i);
    }
    if !rest.is_empty() {
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    /// Values of `UtilsTest.testMurmur2` in Apache Kafka.
    #[test]
    fn keys_hash_as_in_kafka() {
        for (text, hash) in
            [("21", -973_932_308_i32), ("foobar", -790_332_482), ("a-little-bit-long-string", -985_981_536)]
        {
            assert_eq!(super::murmur2(text.as_bytes()) as i32, hash, "{text}");
        }
    }
}
