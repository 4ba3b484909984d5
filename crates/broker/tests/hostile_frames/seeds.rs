//! Frames to begin from: every request that is served, in every version, with its arrays filled.

use base::Clock;
use bytes::Bytes;
use records::convert::down_convert;
use records::{BatchBuilder, Compression};
use wire::messages::*;
use wire::{Message, Request, Str};

use crate::support::encode;

/// What the smallest seeds for their size unfold to.
const UNFOLDED_BYTES: usize = 1 << 20;
/// The least that records may be: a message of magic 0 with neither key nor value.
const RECORDS_BYTES_MIN: usize = 26;
const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

/// A request in every version.
fn all<Q: Request + Default>(seeds: &mut Vec<Bytes>, fill: impl Fn(&mut Q, i16)) {
    for version in Q::VERSIONS {
        let mut request = Q::default();
        fill(&mut request, version);
        seeds.push(encode(version, 1, &request));
    }
}

/// Every request that is served, in every version, with its arrays filled.
pub fn seeds() -> Vec<Bytes> {
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
    produce_seeds(&mut seeds);
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

/// Records of every codec in every version of Produce, in the format that it takes: magic 0, 1 or 2.
fn produce_seeds(seeds: &mut Vec<Bytes>) {
    for version in ProduceRequest::VERSIONS {
        let mut sets: Vec<Bytes> =
            CODECS.iter().filter_map(|codec| set(magic(version), *codec, &[b"x", b"y"])).collect();
        // What weighs little and unfolds to much.
        sets.extend(set(magic(version), Compression::Gzip, &[&[0; UNFOLDED_BYTES]]));
        for records in sets {
            let data = produce_request::PartitionProduceData { records: Some(records), ..Default::default() };
            let topic = produce_request::TopicProduceData {
                name: if version < 13 { "t".into() } else { Default::default() },
                partition_data: vec![data],
                ..Default::default()
            };
            seeds.push(encode(version, 1, &ProduceRequest { acks: 1, topic_data: vec![topic], ..Default::default() }));
        }
    }
}

/// The format of records that a version of Produce brings.
fn magic(version: i16) -> i8 {
    match version {
        0 | 1 => 0,
        2 => 1,
        _ => 2,
    }
}

/// Records in a format, unless it cannot hold the codec.
fn set(magic: i8, codec: Compression, values: &[&[u8]]) -> Option<Bytes> {
    let mut builder = BatchBuilder::new(codec);
    let now = Clock::system().now().0;
    for value in values {
        builder.append(now, Some(b"k"), Some(value), &[]).unwrap();
    }
    let batch = builder.build().unwrap();
    if magic == 2 { Some(batch) } else { down_convert(&batch, magic, 0, 2 * UNFOLDED_BYTES).ok() }
}

/// Corrects the checksum of the records in a Produce request that was mutated, as far as they can be found: without it
/// nothing of what is inside them is ever looked at.
pub fn reseal(frame: &mut [u8]) {
    // They begin with a small offset, a length that the frame holds, and, some bytes later, their magic.
    for at in 0..(frame.len() + 1).saturating_sub(RECORDS_BYTES_MIN) {
        let records = &frame[at..];
        if records[..7] != [0; 7] {
            continue;
        }
        let length = u32::from_be_bytes([records[8], records[9], records[10], records[11]]) as usize;
        let Some(end) = length.checked_add(12).filter(|end| *end > 21 && *end <= records.len()) else { continue };
        if records[16] == 2 {
            let crc = base::checksum::crc32c(&records[21..end]);
            frame[at + 17..at + 21].copy_from_slice(&crc.to_be_bytes());
            return;
        }
        if records[16] < 2 {
            let crc = crc32fast::hash(&records[16..end]);
            frame[at + 12..at + 16].copy_from_slice(&crc.to_be_bytes());
            return;
        }
    }
}

#[test]
fn a_checksum_is_corrected_in_every_format_and_codec() {
    for magic in 0..=2 {
        for codec in CODECS {
            let Some(whole) = set(magic, codec, &[b"x", b"y"]) else { continue };
            let whole = [&[0xff; 20], &whole[..]].concat();
            let mut frame = whole.clone();
            let crc = 20 + if magic == 2 { 17 } else { 12 };
            frame[crc..crc + 4].fill(0xee);
            reseal(&mut frame);
            assert_eq!(frame, whole, "magic {magic}, {codec:?}");
        }
    }
}
