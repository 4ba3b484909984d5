//! Hostile input: mutated frames at a live broker, which has this process to itself, so that the process's memory is its
//! and the senders', held by the allocator that brokers have. `HEADWATER_HOSTILE_FRAMES` sets another number of them.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

#[path = "../../../headwater/src/allocator.rs"]
mod allocator;
mod seeds;
#[allow(dead_code, reason = "not every test uses everything")]
#[path = "../live/support.rs"]
mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base::Entropy;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::messages::*;

use crate::seeds::{reseal, seeds};
use crate::support::{Client, start};

/// Frames of the whole run.
const FRAMES: u64 = 1_000_000;

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
    for _ in 0..=next(2) {
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
    if next(2) == 0 {
        reseal(&mut frame);
    }
    if next(50) > 0 {
        let size = (frame.len() as u32).saturating_sub(4);
        frame[..4].copy_from_slice(&size.to_be_bytes());
    }
    frame
}

/// Connections that send at the same time.
const SENDERS: u64 = 64;
/// How long a frame may take to be answered. A parked fetch may take longer than anyone wants to wait.
const ANSWER_WITHIN: Duration = Duration::from_millis(100);

/// What a bombardment met.
#[derive(Debug, Default)]
pub struct Met {
    /// Frames that the broker answered.
    answered: u64,
    /// Frames over which it closed the connection.
    closed: u64,
    /// Frames that it let wait for more, or that ask for no answer.
    silent: u64,
}

/// Sends `frames` mutated frames, each after the broker has answered the one before or closed over it.
pub async fn bombard(address: SocketAddr, frames: u64) -> Met {
    let seeds: Arc<[Bytes]> = seeds().into();
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| base::task::spawn("sender", send(address, seeds.clone(), frames.div_ceil(SENDERS))))
        .collect();
    let mut met = Met::default();
    for sender in senders {
        let one = sender.await.expect("a sender does not panic");
        met.answered += one.answered;
        met.closed += one.closed;
        met.silent += one.silent;
    }
    met
}

async fn send(address: SocketAddr, seeds: Arc<[Bytes]>, frames: u64) -> Met {
    let entropy = Entropy::system();
    let (mut met, mut open) = (Met::default(), None);
    let mut sink = vec![0; 64 * 1024];
    for _ in 0..frames {
        let mut stream = match open.take() {
            Some(stream) => stream,
            None => TcpStream::connect(address).await.expect("the broker still listens"),
        };
        let random = entropy.next_u64();
        let frame = mutate(&seeds[(random % seeds.len() as u64) as usize], random);
        if stream.write_all(&frame).await.is_err() {
            met.closed += 1;
            continue;
        }
        match tokio::time::timeout(ANSWER_WITHIN, stream.read(&mut sink)).await {
            Ok(Ok(count @ 1..)) => {
                met.answered += 1;
                // The rest of a long answer is not worth waiting for.
                open = (count < sink.len()).then_some(stream);
            }
            Ok(_) => met.closed += 1,
            Err(_) => met.silent += 1,
        }
    }
    met
}

/// A line of this process's memory, in KiB: `VmRSS` is what is resident now, `VmHWM` the most that ever was.
fn memory_kib(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let found = status.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':')).unwrap();
    found.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Forgets the most that ever was resident. Where that is forbidden, more than was is measured, never less.
fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// What the broker may need at any moment beside what it has when it is warm.
const GROWTH_KIB_MAX: u64 = 128 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutated_frames_neither_stop_the_broker_nor_fill_its_memory() {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        usual(panic);
    }));
    let frames = std::env::var("HEADWATER_HOSTILE_FRAMES").ok().and_then(|n| n.parse().ok()).unwrap_or(FRAMES);
    let live = start(&[("auto.create.topics.enable", "false"), ("group.initial.rebalance.delay.ms", "0")]).await;
    let topic = create_topics_request::CreatableTopic {
        name: "t".into(),
        num_partitions: 2,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    assert_eq!(Client::connect(&live).await.call(7, &request).await.topics[0].error_code, 0);
    bombard(live.address, 2_000).await;
    forget_peak();
    let before = memory_kib("VmRSS");
    let met = bombard(live.address, frames).await;
    assert_eq!(PANICS.load(Ordering::SeqCst), 0, "something panicked");
    let grown = memory_kib("VmHWM").saturating_sub(before);
    println!("{met:?}; at most {grown} KiB more than before");
    assert!(grown < GROWTH_KIB_MAX, "memory grew by {grown} KiB at most");
    let reached = met.answered > frames / 10 && met.closed > frames / 10;
    assert!(reached, "too few frames were answered, or too few refused, to mean anything: {met:?}");
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
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), released).await.expect("all memory is given back");
    assert!(live.metrics.render().contains("reason=\"malformed\""), "some frames were refused");
}
