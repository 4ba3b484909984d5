//! Hostile input: mutated frames at a live broker. `HEADWATER_HOSTILE_FRAMES` sets another number of them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base::Entropy;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::messages::*;
use wire::{Message, Request, Str};

use crate::support::{Client, batch, encode, start};

/// Frames of the whole run.
const FRAMES: u64 = 1_000_000;

/// A request in every version.
fn all<Q: Request + Default>(seeds: &mut Vec<Bytes>, fill: impl Fn(&mut Q, i16)) {
    for version in Q::VERSIONS {
        let mut request = Q::default();
        fill(&mut request, version);
        seeds.push(encode(version, 1, &request));
    }
}

/// Every request that is served, in every version, with its arrays filled.
fn seeds() -> Vec<Bytes> {
    let mut seeds = Vec::new();
    all::<ListOffsetsRequest>(&mut seeds, |q, _| {
        let partitions = vec![Default::default(); 2];
        q.topics = vec![list_offsets_request::ListOffsetsTopic { name: "t".into(), partitions, ..Default::default() }];
    });
    all::<MetadataRequest>(&mut seeds, |q, _| {
        let topic = metadata_request::MetadataRequestTopic { name: Some("t".into()), ..Default::default() };
        q.topics = Some(vec![topic]);
    });
    all::<ApiVersionsRequest>(&mut seeds, |q, version| {
        if version >= 3 {
            (q.client_software_name, q.client_software_version) = ("name".into(), "1".into());
        }
    });
    all::<CreateTopicsRequest>(&mut seeds, |q, version| {
        // Version 0 cannot but create: thousands of topics, which every answer about all topics would list.
        q.validate_only = version >= 1;
        if version == 0 {
            return;
        }
        let config = create_topics_request::CreatableTopicConfig {
            name: "retention.ms".into(),
            value: Some("1".into()),
            ..Default::default()
        };
        let assignment =
            create_topics_request::CreatableReplicaAssignment { broker_ids: vec![1], ..Default::default() };
        q.topics = vec![create_topics_request::CreatableTopic {
            name: "t".into(),
            num_partitions: -1,
            replication_factor: -1,
            assignments: vec![assignment],
            configs: vec![config],
            ..Default::default()
        }];
    });
    all::<DeleteTopicsRequest>(&mut seeds, |q, version| {
        if version < 6 {
            q.topic_names = vec!["absent".into()];
        } else {
            q.topics = vec![Default::default()];
        }
    });
    all::<DeleteRecordsRequest>(&mut seeds, |q, _| {
        let partitions = vec![Default::default()];
        q.topics =
            vec![delete_records_request::DeleteRecordsTopic { name: "t".into(), partitions, ..Default::default() }];
    });
    all::<InitProducerIdRequest>(&mut seeds, |_, _| {});
    all::<OffsetForLeaderEpochRequest>(&mut seeds, |q, _| {
        q.topics = vec![offset_for_leader_epoch_request::OffsetForLeaderTopic {
            topic: "t".into(),
            partitions: vec![Default::default()],
            ..Default::default()
        }];
    });
    all::<DescribeConfigsRequest>(&mut seeds, |q, _| {
        q.resources = vec![describe_configs_request::DescribeConfigsResource {
            resource_type: 2,
            resource_name: "t".into(),
            configuration_keys: Some(vec!["retention.ms".into()]),
            ..Default::default()
        }];
    });
    all::<AlterConfigsRequest>(&mut seeds, |q, _| {
        let config = alter_configs_request::AlterableConfig {
            name: "retention.ms".into(),
            value: Some("1".into()),
            ..Default::default()
        };
        q.resources = vec![alter_configs_request::AlterConfigsResource {
            resource_type: 2,
            resource_name: "t".into(),
            configs: vec![config],
            ..Default::default()
        }];
        q.validate_only = true;
    });
    all::<IncrementalAlterConfigsRequest>(&mut seeds, |q, _| {
        let config = incremental_alter_configs_request::AlterableConfig {
            name: "retention.ms".into(),
            value: Some("1".into()),
            ..Default::default()
        };
        q.resources = vec![incremental_alter_configs_request::AlterConfigsResource {
            resource_type: 2,
            resource_name: "t".into(),
            configs: vec![config],
            ..Default::default()
        }];
        q.validate_only = true;
    });
    all::<ListPartitionReassignmentsRequest>(&mut seeds, |_, _| {});
    all::<DescribeLogDirsRequest>(&mut seeds, |q, _| {
        q.topics = Some(vec![describe_log_dirs_request::DescribableLogDirTopic {
            topic: "t".into(),
            partitions: vec![0, 1],
            ..Default::default()
        }]);
    });
    all::<CreatePartitionsRequest>(&mut seeds, |q, _| {
        q.topics = vec![create_partitions_request::CreatePartitionsTopic {
            // One that is there would grow to the 32,767 partitions of a mutated count and slow all the rest down.
            name: "absent".into(),
            count: 2,
            assignments: Some(vec![Default::default()]),
            ..Default::default()
        }];
        q.validate_only = true;
    });
    all::<DescribeClusterRequest>(&mut seeds, |_, _| {});
    all::<DescribeTopicPartitionsRequest>(&mut seeds, |q, _| {
        q.topics = vec![describe_topic_partitions_request::TopicRequest { name: "t".into(), ..Default::default() }];
        q.response_partition_limit = 10;
    });
    group_seeds(&mut seeds);
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

/// Those of groups and offsets.
fn group_seeds(seeds: &mut Vec<Bytes>) {
    all::<FindCoordinatorRequest>(seeds, |q, version| {
        if version < 4 {
            q.key = "g".into();
        } else {
            q.coordinator_keys = vec!["g".into()];
        }
    });
    all::<JoinGroupRequest>(seeds, |q, _| {
        q.group_id = "g".into();
        q.session_timeout_ms = 6_000;
        q.protocol_type = "consumer".into();
        q.protocols = vec![join_group_request::JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: Bytes::from_static(b"\0\x01\0\0\0\x01\0\x01t\xff\xff\xff\xff\0\0\0\0"),
            ..Default::default()
        }];
    });
    all::<SyncGroupRequest>(seeds, |q, _| {
        (q.group_id, q.member_id) = ("g".into(), "m".into());
        q.assignments = vec![Default::default()];
    });
    all::<HeartbeatRequest>(seeds, |q, _| (q.group_id, q.member_id) = ("g".into(), "m".into()));
    all::<LeaveGroupRequest>(seeds, |q, version| {
        q.group_id = "g".into();
        if version >= 3 {
            q.members = vec![Default::default()];
        }
    });
    all::<OffsetCommitRequest>(seeds, |q, version| {
        q.group_id = "simple".into();
        q.generation_id_or_member_epoch = -1;
        q.topics = vec![offset_commit_request::OffsetCommitRequestTopic {
            name: if version < 10 { "t".into() } else { Str::default() },
            partitions: vec![Default::default()],
            ..Default::default()
        }];
    });
    all::<OffsetFetchRequest>(seeds, |q, version| {
        if version < 8 {
            q.group_id = "simple".into();
            q.topics = Some(vec![offset_fetch_request::OffsetFetchRequestTopic {
                name: "t".into(),
                partition_indexes: vec![0, 1],
                ..Default::default()
            }]);
        } else {
            q.groups = vec![offset_fetch_request::OffsetFetchRequestGroup {
                group_id: "simple".into(),
                topics: None,
                ..Default::default()
            }];
        }
    });
    all::<DescribeGroupsRequest>(seeds, |q, _| q.groups = vec!["g".into(), "simple".into()]);
    // Once: every answer lists all the groups that mutated names have made.
    seeds.push(encode(5, 1, &ListGroupsRequest::default()));
    all::<DeleteGroupsRequest>(seeds, |q, _| q.groups_names = vec!["simple".into()]);
    all::<OffsetDeleteRequest>(seeds, |q, _| {
        q.group_id = "simple".into();
        q.topics = vec![offset_delete_request::OffsetDeleteRequestTopic {
            name: "t".into(),
            partitions: vec![Default::default()],
        }];
    });
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
    let senders: Vec<_> =
        (0..SENDERS).map(|_| base::task::spawn("sender", send(address, frames.div_ceil(SENDERS)))).collect();
    let mut met = Met::default();
    for sender in senders {
        let one = sender.await.expect("a sender does not panic");
        met.answered += one.answered;
        met.closed += one.closed;
        met.silent += one.silent;
    }
    met
}

async fn send(address: SocketAddr, frames: u64) -> Met {
    let (seeds, entropy) = (seeds(), Entropy::system());
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

/// Resident memory of this process, in KiB.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

const GROWTH_KIB_MAX: u64 = 192 * 1024;

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
    let before = resident_kib();
    let met = bombard(live.address, frames).await;
    assert_eq!(PANICS.load(Ordering::SeqCst), 0, "something panicked");
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < GROWTH_KIB_MAX, "memory grew by {grown} KiB");
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
