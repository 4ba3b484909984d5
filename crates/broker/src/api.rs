//! The APIs that are served. Nothing else is advertised.
//!
//! Versions are those of the schemas: the union of what Kafka 3.9 and 4.4 serve, so that clients since 0.9 and the newest
//! ones both work. Produce is advertised from 0 although newer Kafka serves it from 3 only; librdkafka before 2.4 takes a
//! higher minimum as a sign that it must not compress.

use std::ops::RangeInclusive;

use wire::ApiKey;

/// Sorted by number.
pub(crate) const SERVED: &[ApiKey] = &[
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::ListOffsets,
    ApiKey::Metadata,
    ApiKey::OffsetCommit,
    ApiKey::OffsetFetch,
    ApiKey::FindCoordinator,
    ApiKey::JoinGroup,
    ApiKey::Heartbeat,
    ApiKey::LeaveGroup,
    ApiKey::SyncGroup,
    ApiKey::DescribeGroups,
    ApiKey::ListGroups,
    ApiKey::ApiVersions,
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::DeleteRecords,
    ApiKey::InitProducerId,
    ApiKey::OffsetForLeaderEpoch,
    ApiKey::DescribeConfigs,
    ApiKey::AlterConfigs,
    ApiKey::DescribeLogDirs,
    ApiKey::CreatePartitions,
    ApiKey::DeleteGroups,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::ListPartitionReassignments,
    ApiKey::OffsetDelete,
    ApiKey::DescribeCluster,
    ApiKey::DescribeTopicPartitions,
];

/// The place of an API in [`SERVED`], if it is served.
pub(crate) fn position(api: ApiKey) -> Option<usize> {
    SERVED.binary_search(&api).ok()
}

/// The versions of an API that is served.
pub(crate) fn versions(api: ApiKey) -> RangeInclusive<i16> {
    api.versions().unwrap_or(0..=0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_every_api_in_it_has_a_schema() {
        assert!(SERVED.is_sorted());
        for api in SERVED {
            assert_eq!(api.versions().map(|v| *v.start()), Some(0), "{api}: clients since 0.9 start at version 0");
        }
        assert_eq!(position(ApiKey::DescribeTopicPartitions), Some(SERVED.len() - 1));
        assert_eq!(position(ApiKey::SaslHandshake), None);
    }
}
