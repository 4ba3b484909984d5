//! DescribeLogDirs (key 35), versions 0–5.
//!
//! There is one "directory", the store; a partition's size is what the store and the log cache hold of it. v3 adds an
//! error of the whole response, v4 total and usable bytes (KIP-827): unknown, since an object store has no end.
//!
//! It may ask for every partition, and a size is the sum of the sizes of all extents: found on a thread of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base::task;
use meta::{Image, TopicImage};
use partition::Partitions;
use wire::messages::describe_log_dirs_request::DescribableLogDirTopic;
use wire::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use wire::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use wire::{ErrorCode, Str};

use crate::call::Call;
use crate::core::Core;

pub(crate) async fn handle(core: &Core, _: &Call, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    let (image, partitions) = (core.image(), core.partitions.clone());
    let sized = task::spawn_blocking("log-dirs", move || sizes(&image, &partitions, request.topics));
    let (error_code, topics) = match sized.await {
        Ok(topics) => (0, topics),
        Err(error) => {
            tracing::error!(%error, "the sizes of partitions could not be told");
            (ErrorCode::UnknownServerError.code(), Vec::new())
        }
    };
    let log_dir = core.store_name();
    let directory = DescribeLogDirsResult { error_code, log_dir, topics, ..DescribeLogDirsResult::default() };
    DescribeLogDirsResponse { results: vec![directory], ..DescribeLogDirsResponse::default() }
}

fn sizes(
    image: &Image,
    partitions: &Partitions,
    asked: Option<Vec<DescribableLogDirTopic>>,
) -> Vec<DescribeLogDirsTopic> {
    match asked {
        None => image.topics_from("").filter_map(|topic| describe(partitions, topic, None)).collect(),
        Some(asked) => {
            // What is named again is told once.
            let mut wanted: BTreeMap<Str, BTreeSet<i32>> = BTreeMap::new();
            for topic in asked {
                wanted.entry(topic.topic).or_default().extend(topic.partitions);
            }
            let known = wanted.iter().filter_map(|(name, only)| Some((image.topic(name)?, only)));
            known.filter_map(|(topic, only)| describe(partitions, topic, Some(only))).collect()
        }
    }
}

fn describe(
    partitions: &Partitions,
    topic: &Arc<TopicImage>,
    only: Option<&BTreeSet<i32>>,
) -> Option<DescribeLogDirsTopic> {
    let indexes = (0..).take(topic.partitions.len());
    let partitions: Vec<_> = indexes
        .filter(|index| only.is_none_or(|only| only.contains(index)))
        .filter_map(|partition_index| {
            let size = partitions.size_bytes(&topic.name, partition_index)?;
            Some(DescribeLogDirsPartition {
                partition_index,
                partition_size: i64::try_from(size).unwrap_or(i64::MAX),
                ..DescribeLogDirsPartition::default()
            })
        })
        .collect();
    let name = (&*topic.name).into();
    (!partitions.is_empty()).then(|| DescribeLogDirsTopic { name, partitions, ..DescribeLogDirsTopic::default() })
}
