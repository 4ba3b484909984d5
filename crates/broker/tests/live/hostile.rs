//! Hostile input: mutated frames at a live broker. Set `HEADWATER_HOSTILE_FRAMES` for the long run.

use base::Entropy;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::messages::*;
use wire::{Message, Request};

use crate::support::{Client, Live, batch, encode, start};

/// Frames sent on one connection before another is opened, if the broker does not close it first.
const FRAMES_PER_CONNECTION: u64 = 50;

/// Every request that is served, in every version, with default content.
fn seeds() -> Vec<Bytes> {
    fn all<Q: Request + Default>(seeds: &mut Vec<Bytes>) {
        for version in Q::VERSIONS {
            seeds.push(encode(version, 1, &Q::default()));
        }
    }
    let mut seeds = Vec::new();
    all::<ListOffsetsRequest>(&mut seeds);
    all::<MetadataRequest>(&mut seeds);
    all::<ApiVersionsRequest>(&mut seeds);
    all::<CreateTopicsRequest>(&mut seeds);
    all::<DeleteRecordsRequest>(&mut seeds);
    all::<OffsetForLeaderEpochRequest>(&mut seeds);
    all::<DescribeConfigsRequest>(&mut seeds);
    all::<IncrementalAlterConfigsRequest>(&mut seeds);
    all::<DescribeLogDirsRequest>(&mut seeds);
    all::<CreatePartitionsRequest>(&mut seeds);
    all::<DescribeClusterRequest>(&mut seeds);
    all::<DescribeTopicPartitionsRequest>(&mut seeds);
    for version in FetchRequest::VERSIONS {
        let topic = fetch_request::FetchTopic {
            topic: if version < 13 { "t".into() } else { Default::default() },
            partitions: vec![Default::default()],
            ..Default::default()
        };
        seeds.push(encode(version, 1, &FetchRequest { topics: vec![topic], ..Default::default() }));
    }
    for version in ProduceRequest::VERSIONS {
        let data = produce_request::PartitionProduceData { records: Some(batch(&["x", "y"])), ..Default::default() };
        let topic = produce_request::TopicProduceData {
            name: if version < 13 { "t".into() } else { Default::default() },
            partition_data: vec![data],
            ..Default::default()
        };
        seeds.push(encode(version, 1, &ProduceRequest { acks: 1, topic_data: vec![topic], ..Default::default() }));
    }
    seeds
}

/// Flips, overwrites, cuts or grows a frame; the size in front stays true most of the time, or hardly anything would
/// get past it.
fn mutate(seed: &[u8], mut random: u64) -> Vec<u8> {
    let mut next = |bound: usize| {
        // SplitMix64.
        random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (random ^ (random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    };
    let mut frame = seed.to_vec();
    for _ in 0..=next(4) {
        if frame.len() <= 12 {
            frame.resize(13, 0);
        }
        // The key and version mostly stay, so that bodies are reached.
        let from = if next(20) == 0 { 4 } else { 12 };
        let at = from + next(frame.len() - from);
        match next(5) {
            0 => frame[at] ^= 1 << next(8),
            1 => frame[at] = [0, 1, 0x7f, 0x80, 0xff][next(5)],
            2 => frame.truncate(at),
            3 => frame.insert(at, next(256) as u8),
            _ => {
                let value = [i32::MAX, i32::MIN, -1, 0x7fff, 1 << 24][next(5)].to_be_bytes();
                for (byte, value) in frame.iter_mut().skip(at).zip(value) {
                    *byte = value;
                }
            }
        }
    }
    if next(50) > 0 {
        let size = (frame.len() as u32).saturating_sub(4);
        frame[..4].copy_from_slice(&size.to_be_bytes());
    }
    frame
}

/// Sends `frames` mutated frames and says how many connections the broker closed over them.
pub async fn bombard(live: &Live, frames: u64) -> u64 {
    let (seeds, entropy) = (seeds(), Entropy::system());
    let (mut sent, mut closed) = (0, 0);
    while sent < frames {
        let stream = TcpStream::connect(live.address).await.expect("the broker still listens");
        let (mut read, mut write) = stream.into_split();
        let reading = base::task::spawn("drain", async move {
            let mut sink = vec![0; 64 * 1024];
            while read.read(&mut sink).await.is_ok_and(|read| read > 0) {}
        });
        for _ in 0..FRAMES_PER_CONNECTION {
            let random = entropy.next_u64();
            let frame = mutate(&seeds[(random % seeds.len() as u64) as usize], random);
            sent += 1;
            if write.write_all(&frame).await.is_err() {
                closed += 1;
                break;
            }
        }
        reading.abort();
    }
    closed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutated_frames_neither_stop_the_broker_nor_fill_its_memory() {
    let frames = std::env::var("HEADWATER_HOSTILE_FRAMES").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000);
    let live = start(&[("auto.create.topics.enable", "false")]).await;
    bombard(&live, frames).await;
    let mut client = Client::connect(&live).await;
    let request = ApiVersionsRequest {
        client_software_name: "after".into(),
        client_software_version: "1".into(),
        ..Default::default()
    };
    assert_eq!(client.call(3, &request).await.error_code, 0, "the broker answers as before");
    let released = async {
        loop {
            let page = live.metrics.render();
            let used = |name: &str| page.lines().find(|l| l.starts_with(name)).is_some_and(|l| !l.ends_with(" 0"));
            if !used("headwater_request_memory_bytes ") && !used("headwater_reply_memory_bytes ") {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), released).await.expect("all memory is given back");
    assert!(live.metrics.render().contains("reason=\"malformed\""), "some frames were refused");
}
