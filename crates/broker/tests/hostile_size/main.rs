//! Hostile input at full size: the largest frames that the broker takes, filled with the smallest elements there are. The
//! broker has a process to itself, so that the process's memory is its; the sender makes its bytes as it goes.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

#[allow(dead_code, reason = "not every test uses everything")]
#[path = "../live/support.rs"]
mod support;

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::frame::FRAME_BYTES_MAX;
use wire::messages::*;
use wire::{ApiKey, Writer};

use crate::support::{Client, Live, start};

/// The largest request that is not a Produce, as `limits.rs` of the broker says.
const OTHER_FRAME_BYTES_MAX: usize = 8 << 20;
/// The most that the broker may take for each byte of a frame, the frame itself included.
const FACTOR: usize = 8;
/// The same where a million of things are answered, each named by 8 bytes that decode to 32: what such a request is charged
/// for, ten times what it decodes to besides.
const ANSWERED_FACTOR: usize = 1 + 11 * 4;
/// What it may take besides: buffers of the connection, the allocator's spare pages.
const SLACK_BYTES: usize = 32 << 20;
/// Far above what the worst frame takes on a slow machine.
const ANSWER_WITHIN: Duration = Duration::from_secs(600);

/// A frame: what it begins with, what follows again and again, and zeros up to its size.
struct Hostile {
    what: &'static str,
    factor: usize,
    size: usize,
    head: Vec<u8>,
    count: usize,
    unit: Vec<u8>,
    /// Writes its number into a unit.
    number: Option<fn(&mut [u8], usize)>,
}

/// The header in front of a request; in flexible versions without tagged fields.
fn header(api: ApiKey, version: i16) -> Writer {
    let mut writer = Writer::new();
    writer.i16(api.code());
    writer.i16(version);
    writer.i32(7);
    writer.i16(-1);
    if api.request_header_version(version) == 2 {
        writer.varint(0);
    }
    writer
}

/// A request that ends in an array: as many elements as there is room for.
fn array(
    what: &'static str,
    (api, version): (ApiKey, i16),
    before: impl FnOnce(&mut Writer),
    flexible: bool,
    unit: &[u8],
) -> Hostile {
    let size = if api == ApiKey::Produce { FRAME_BYTES_MAX } else { OTHER_FRAME_BYTES_MAX };
    let mut writer = header(api, version);
    before(&mut writer);
    let room = size - writer.len() - 64;
    let count = (room / unit.len()) as u32;
    if flexible {
        writer.varint(count + 1);
    } else {
        writer.i32(count.cast_signed());
    }
    Hostile {
        what,
        factor: FACTOR,
        size,
        head: writer.finish().into_bytes().to_vec(),
        count: count as usize,
        unit: unit.to_vec(),
        number: None,
    }
}

/// A request whose header has nothing but tagged fields.
fn tags(what: &'static str, api: ApiKey, version: i16) -> Hostile {
    let size = if api == ApiKey::Produce { FRAME_BYTES_MAX } else { OTHER_FRAME_BYTES_MAX };
    let mut writer = Writer::new();
    writer.i16(api.code());
    writer.i16(version);
    writer.i32(7);
    writer.i16(-1);
    // No byte is left for a body: the number takes four of them.
    let count = (size - writer.len() - 4) / 2;
    writer.varint(count as u32);
    Hostile {
        what,
        factor: FACTOR,
        size,
        head: writer.finish().into_bytes().to_vec(),
        count,
        unit: vec![0, 0],
        number: None,
    }
}

/// A fetch of the one partition that is there, and of it again and again or, if they are `distinct`, of as many others. It
/// waits a little.
fn fetch(what: &'static str, version: i16, session_epoch: i32, distinct: bool) -> Hostile {
    let mut writer = header(ApiKey::Fetch, version);
    // No replica, a second, a byte.
    [-1, 1_000, 1].into_iter().for_each(|value| writer.i32(value));
    if version >= 4 {
        writer.i32(i32::MAX);
        writer.i8(0);
    }
    if version >= 7 {
        writer.i32(0);
        writer.i32(session_epoch);
    }
    writer.i32(1);
    writer.string(false, "t").unwrap();
    // What follows the number of a partition, and then the next one's.
    let unit = vec![
        0;
        4 + if version >= 9 {
            24
        } else if version >= 5 {
            20
        } else {
            12
        }
    ];
    let size = OTHER_FRAME_BYTES_MAX;
    let count = (size - writer.len() - 64) / unit.len();
    writer.i32(count as i32 + 1);
    writer.i32(0);
    let head = writer.finish().into_bytes().to_vec();
    let next = |unit: &mut [u8], number: usize| {
        let at = unit.len() - 4;
        unit[at..].copy_from_slice(&(number as u32 + 1).to_be_bytes());
    };
    let number = distinct.then_some(next as fn(&mut [u8], usize));
    Hostile { what, factor: FACTOR, size, head, count, unit, number }
}

fn all() -> Vec<Hostile> {
    // Acks 1, no time.
    let produce = |w: &mut Writer| {
        w.i16(1);
        w.i32(0);
    };
    let transactional = |w: &mut Writer| {
        w.varint(0);
        produce(w);
    };
    let one_topic = |w: &mut Writer| {
        produce(w);
        w.i32(1);
        w.string(false, "t").unwrap();
    };
    // Partition 7, which is not there, with as few bytes that are no records as are taken for some.
    let dense = [&[0, 0, 0, 7, 0, 0, 0, 56][..], &[0; 56]].concat();
    // A topic with that partition and no other, and a name that is long enough for the whole to be taken.
    let lone = [&b"\0\x05topic\0\0\0\x01"[..], &dense].concat();
    let none = |_: &mut Writer| {};
    // No replica, a second, a byte.
    let polls = |w: &mut Writer| [-1, 1_000, 1].into_iter().for_each(|value| w.i32(value));
    let topic_to_fetch = [&b"\0\x01t\0\0\0\x01"[..], &[0; 16]].concat();
    // The same of a megabyte, all that there is, of no session and no topics.
    let forgets = |w: &mut Writer| {
        polls(w);
        w.i32(1 << 20);
        w.i8(0);
        [0, -1, 0, 1].into_iter().for_each(|value| w.i32(value));
        w.string(false, "t").unwrap();
    };
    vec![
        tags("tagged fields in the header of a Produce", ApiKey::Produce, 13),
        tags("tagged fields in the header of a Metadata", ApiKey::Metadata, 13),
        array("compact topics without partitions", (ApiKey::Produce, 9), transactional, true, &[1, 1, 0]),
        array("topics without partitions", (ApiKey::Produce, 0), produce, false, &[0; 6]),
        array("partitions without records", (ApiKey::Produce, 2), one_topic, false, &[0, 0, 0, 0, 255, 255, 255, 255]),
        array("partitions that are not there", (ApiKey::Produce, 2), one_topic, false, &dense),
        array("topics of one partition that is not there", (ApiKey::Produce, 2), produce, false, &lone),
        array("topics without a name", (ApiKey::Metadata, 9), none, true, &[1, 0]),
        array("topics of one letter", (ApiKey::Metadata, 1), none, false, &[0, 1, b'x']),
        array("groups without a name", (ApiKey::DescribeGroups, 5), none, true, &[1]),
        array("groups to delete", (ApiKey::DeleteGroups, 2), none, true, &[1]),
        array("keys without a name", (ApiKey::FindCoordinator, 4), |w| w.i8(0), true, &[1]),
        array("resources", (ApiKey::DescribeConfigs, 4), none, true, &[2, 1, 0, 0]),
        array("groups that ask for offsets", (ApiKey::OffsetFetch, 8), none, true, &[1, 0, 0]),
        array("topics to describe", (ApiKey::DescribeTopicPartitions, 0), none, true, &[1, 0]),
        array("topics to delete", (ApiKey::DeleteTopics, 4), none, true, &[1]),
        array("topics of one partition to fetch", (ApiKey::Fetch, 0), polls, false, &topic_to_fetch),
        array("partitions to forget", (ApiKey::Fetch, 7), forgets, false, &[0, 0, 0, 9]),
        fetch("partitions to fetch that are not there", 0, -1, true),
        fetch("one partition to fetch again and again", 11, -1, false),
        fetch("partitions of a session", 7, 0, true),
        array("topics that are asked for again and again", (ApiKey::Metadata, 1), none, false, b"\0\x05again"),
        array("groups that are not there", (ApiKey::DescribeGroups, 5), none, true, b"\x06absen"),
        Hostile {
            number: Some(|unit, number| {
                let digits = unit.len() - 7;
                unit[digits..].copy_from_slice(format!("{number:07}").as_bytes());
            }),
            factor: ANSWERED_FACTOR,
            ..array("groups none of which is there", (ApiKey::DescribeGroups, 5), none, true, b"\x080000000")
        },
    ]
}

/// Sends a frame, and reads what comes until the broker has answered or closed.
async fn send(live: &Live, hostile: &Hostile) -> usize {
    let mut stream = TcpStream::connect(live.address).await.unwrap();
    let (mut read, mut write) = stream.split();
    let sending = async {
        let length = hostile.unit.len();
        let at_once = (256 << 10) / length;
        let mut chunk = hostile.unit.repeat(at_once);
        let size = (hostile.size as u32).to_be_bytes();
        if write.write_all(&size).await.is_err() || write.write_all(&hostile.head).await.is_err() {
            return;
        }
        let mut sent = 0;
        while sent < hostile.count {
            let units = at_once.min(hostile.count - sent);
            if let Some(write) = hostile.number {
                for (unit, number) in chunk.chunks_exact_mut(length).zip(sent..) {
                    write(unit, number);
                }
            }
            // The broker may close before it has all.
            if write.write_all(&chunk[..units * length]).await.is_err() {
                return;
            }
            sent += units;
        }
        let zeros = vec![0; hostile.size - hostile.head.len() - hostile.count * length];
        // As above.
        let _ = write.write_all(&zeros).await;
    };
    let receiving = async {
        let mut sink = vec![0; 256 << 10];
        let (mut received, mut expected) = (0, usize::MAX);
        while received < expected {
            match read.read(&mut sink).await {
                Ok(count @ 1..) => {
                    if received == 0 && count >= 4 {
                        expected = 4 + u32::from_be_bytes([sink[0], sink[1], sink[2], sink[3]]) as usize;
                    }
                    received += count;
                }
                _ => break,
            }
        }
        received
    };
    tokio::time::timeout(ANSWER_WITHIN, async { tokio::join!(sending, receiving).1 })
        .await
        .expect("an answer or an end")
}

/// A line of this process's memory: `VmRSS` is what is resident now, `VmHWM` the most that ever was.
fn memory_bytes(line: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let found = status.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':')).unwrap();
    found.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// Forgets the most that ever was resident. Where that is forbidden, more than was is measured, never less.
fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Creates the topic "t"; the client that did.
async fn create_topic(live: &Live) -> Client {
    let topic = create_topics_request::CreatableTopic {
        name: "t".into(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    let mut client = Client::connect(live).await;
    assert_eq!(client.call(7, &request).await.topics[0].error_code, 0);
    client
}

/// Which frame the process is for.
const FRAME: &str = "HEADWATER_HOSTILE_FRAME";

/// Runs a test of this file in a process of its own: what the allocator keeps of one would be counted for the next. What it
/// said, and whether it failed.
fn in_a_process(test: &str, frame: &str) -> (String, bool) {
    let process = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(FRAME, frame)
        .output()
        .unwrap();
    let said = [process.stdout, process.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    (said.concat(), !process.status.success())
}

#[test]
fn the_largest_frames_of_the_smallest_elements_take_eight_times_their_bytes_at_most() {
    let mut failed = Vec::new();
    for (at, hostile) in all().iter().enumerate() {
        let (said, has_failed) = in_a_process("the_process_of_one_frame", &at.to_string());
        println!("{}", said.lines().find(|line| line.starts_with(hostile.what)).unwrap_or_default());
        if has_failed {
            failed.push(format!("{}: {said}", hostile.what));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// The name of the group stands in each record that a commit becomes: 60 KB of a request become 33 MB.
#[test]
fn commits_of_many_connections_that_become_very_many_bytes_are_made_a_few_at_a_time() {
    let (said, has_failed) = in_a_process("the_process_of_commits", COMMITS);
    assert!(!has_failed, "{said}");
}

/// What [`FRAME`] says in the process of commits.
const COMMITS: &str = "commits";
/// Each of these becomes 33 MB.
const COMMITS_AT_ONCE: usize = 40;
/// What is encoded at the same time, what waits to be written, and its way into the log.
const COMMITS_MEMORY_BYTES_MAX: usize = 512 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_of_commits() {
    // The other test starts it.
    if std::env::var(FRAME).is_ok_and(|what| what == COMMITS) {
        let live = start(&[("offsets.topic.num.partitions", "1")]).await;
        let mut client = create_topic(&live).await;
        let request = FindCoordinatorRequest { key: "g".into(), ..Default::default() };
        assert_eq!(client.call(3, &request).await.error_code, 0);
        let partition = offset_commit_request::OffsetCommitRequestPartition::default();
        let partitions = vec![partition; 1_000];
        let topics = vec![offset_commit_request::OffsetCommitRequestTopic {
            name: "t".into(),
            partitions,
            ..Default::default()
        }];
        let request = OffsetCommitRequest {
            group_id: "g".repeat(32_000).into(),
            generation_id_or_member_epoch: -1,
            topics,
            ..Default::default()
        };
        let before = memory_bytes("VmRSS");
        forget_peak();
        let mut clients = Vec::new();
        for _ in 0..COMMITS_AT_ONCE {
            let mut client = Client::connect(&live).await;
            let correlation = client.send(8, &request).await;
            clients.push((client, correlation));
        }
        for (client, correlation) in &mut clients {
            client.reply::<OffsetCommitRequest>(8, *correlation).await;
        }
        let grown = memory_bytes("VmHWM").saturating_sub(before);
        assert!(grown <= COMMITS_MEMORY_BYTES_MAX, "{} MiB", grown >> 20);
        println!("commits: {} MiB", grown >> 20);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_of_one_frame() {
    // The other test starts it.
    let Some(at) = std::env::var_os(FRAME) else { return };
    let hostile = all().swap_remove(at.to_str().unwrap().parse().unwrap());
    let live = start(&[("auto.create.topics.enable", "false")]).await;
    create_topic(&live).await;
    let before = memory_bytes("VmRSS");
    forget_peak();
    let answered = send(&live, &hostile).await;
    let grown = memory_bytes("VmHWM").saturating_sub(before);
    let allowed = hostile.factor * hostile.size + SLACK_BYTES;
    println!("{}: {} MiB of {}, answer of {answered} bytes", hostile.what, grown >> 20, allowed >> 20);
    assert!(grown <= allowed, "{} MiB, allowed {}", grown >> 20, allowed >> 20);
    let request = ApiVersionsRequest {
        client_software_name: "after".into(),
        client_software_version: "1".into(),
        ..Default::default()
    };
    assert_eq!(Client::connect(&live).await.call(3, &request).await.error_code, 0, "the broker answers as before");
}
