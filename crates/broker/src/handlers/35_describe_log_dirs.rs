//! DescribeLogDirs (key 35), versions 0–5.
//!
//! There is one "directory", the store; a partition's size is what the store and the log cache hold of it. v3 adds an
//! error of the whole response, v4 total and usable bytes (KIP-827): unknown, since an object store has no end.

use std::collections::BTreeSet;
use std::sync::Arc;

use meta::TopicImage;
use wire::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use wire::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};

use crate::core::Core;

pub(crate) fn handle(core: &Core, request: &DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    let image = core.image();
    let topics: Vec<DescribeLogDirsTopic> = match &request.topics {
        None => image.topics_from("").filter_map(|topic| describe(core, topic, None)).collect(),
        Some(asked) => {
            let known = asked.iter().filter_map(|asked| Some((image.topic(&asked.topic)?, &asked.partitions)));
            known.filter_map(|(topic, partitions)| describe(core, topic, Some(partitions))).collect()
        }
    };
    let directory = DescribeLogDirsResult { log_dir: core.store_name(), topics, ..DescribeLogDirsResult::default() };
    DescribeLogDirsResponse { results: vec![directory], ..DescribeLogDirsResponse::default() }
}

fn describe(core: &Core, topic: &Arc<TopicImage>, only: Option<&Vec<i32>>) -> Option<DescribeLogDirsTopic> {
    let only: Option<BTreeSet<i32>> = only.map(|only| only.iter().copied().collect());
    let indexes = (0..).take(topic.partitions.len());
    let partitions: Vec<_> = indexes
        .filter(|index| only.as_ref().is_none_or(|only| only.contains(index)))
        .filter_map(|partition_index| {
            let partition = core.partitions.get(&topic.name, partition_index).ok()?;
            Some(DescribeLogDirsPartition {
                partition_index,
                partition_size: i64::try_from(partition.size_bytes()).unwrap_or(i64::MAX),
                ..DescribeLogDirsPartition::default()
            })
        })
        .collect();
    let name = (&*topic.name).into();
    (!partitions.is_empty()).then(|| DescribeLogDirsTopic { name, partitions, ..DescribeLogDirsTopic::default() })
}
