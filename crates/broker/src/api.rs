//! The table of the APIs that are served. Nothing else is advertised.
//!
//! All that the broker's common parts know of one API stands in its row: dispatch, the memory of replies and the list of
//! handlers are made of the table. A new API is a row here and a file in `handlers/`.
//!
//! Versions are those of the schemas: the union of what Kafka 3.9 and 4.4 serve, so that clients since 0.9 and the newest
//! ones both work. Produce is advertised from 0 although newer Kafka serves it from 3 only; librdkafka before 2.4 takes a
//! higher minimum as a sign that it must not compress.

use std::ops::RangeInclusive;

use wire::ApiKey;

use crate::core::Core;
use crate::handlers;
use crate::net::service::Order;

/// Gives the rows of the table to another macro. A row names
/// - the API;
/// - the file of its handler in `handlers/`, and the module that this is;
/// - how its requests are run, a variant of [`Run`];
/// - what its reply takes, a variant of [`ReplyCost`].
///
/// Sorted by number. What a principal must be allowed to do becomes a column once there is an authoriser.
#[rustfmt::skip]
macro_rules! each_served {
    ($to:ident) => {
        $to! {
            Produce,                    "00_produce.rs",                      produce,                      Append,  Elsewhere;
            Fetch,                      "01_fetch.rs",                        fetch,                        Poll,    Elsewhere;
            ListOffsets,                "02_list_offsets.rs",                 list_offsets,                 Alone,   Little;
            Metadata,                   "03_metadata.rs",                     metadata,                     Alone,   AsItsKind;
            OffsetCommit,               "08_offset_commit.rs",                offset_commit,                Alone,   AsItsRequest;
            OffsetFetch,                "09_offset_fetch.rs",                 offset_fetch,                 Alone,   Offsets;
            FindCoordinator,            "10_find_coordinator.rs",             find_coordinator,             Alone,   AsItsRequest;
            JoinGroup,                  "11_join_group.rs",                   join_group,                   Waiting, Elsewhere;
            Heartbeat,                  "12_heartbeat.rs",                    heartbeat,                    Alone,   AsItsRequest;
            LeaveGroup,                 "13_leave_group.rs",                  leave_group,                  Alone,   AsItsRequest;
            SyncGroup,                  "14_sync_group.rs",                   sync_group,                   Waiting, Elsewhere;
            DescribeGroups,             "15_describe_groups.rs",              describe_groups,              Alone,   Little;
            ListGroups,                 "16_list_groups.rs",                  list_groups,                  Alone,   Little;
            ApiVersions,                "18_api_versions.rs",                 api_versions,                 Alone,   AsItsRequest;
            CreateTopics,               "19_create_topics.rs",                create_topics,                Alone,   Little;
            DeleteTopics,               "20_delete_topics.rs",                delete_topics,                Alone,   Little;
            DeleteRecords,              "21_delete_records.rs",               delete_records,               Alone,   Little;
            InitProducerId,             "22_init_producer_id.rs",             init_producer_id,             Alone,   AsItsRequest;
            OffsetForLeaderEpoch,       "23_offset_for_leader_epoch.rs",      offset_for_leader_epoch,      Alone,   AsItsKind;
            DescribeConfigs,            "32_describe_configs.rs",             describe_configs,             Alone,   Foreseen(handlers::describe_configs::reply_bytes);
            AlterConfigs,               "33_alter_configs.rs",                alter_configs,                Alone,   Little;
            DescribeLogDirs,            "35_describe_log_dirs.rs",            describe_log_dirs,            Alone,   Little;
            CreatePartitions,           "37_create_partitions.rs",            create_partitions,            Alone,   Little;
            DeleteGroups,               "42_delete_groups.rs",                delete_groups,                Alone,   Little;
            IncrementalAlterConfigs,    "44_incremental_alter_configs.rs",    incremental_alter_configs,    Alone,   Little;
            ListPartitionReassignments, "46_list_partition_reassignments.rs", list_partition_reassignments, Alone,   AsItsKind;
            OffsetDelete,               "47_offset_delete.rs",                offset_delete,                Alone,   Little;
            DescribeCluster,            "60_describe_cluster.rs",             describe_cluster,             Alone,   AsItsKind;
            DescribeTopicPartitions,    "75_describe_topic_partitions.rs",    describe_topic_partitions,    Alone,   AsItsKind;
        }
    };
}
pub(crate) use each_served;

/// What the broker knows of an API that it serves.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) key: ApiKey,
    pub(crate) run: Run,
    pub(crate) reply: ReplyCost,
}

/// How requests to an API are run. All but the first two are decoded before their handler sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// As [`Order::Append`]. The handler is given the frame.
    Append,
    /// As [`Order::Poll`]. The handler is given the frame.
    Poll,
    /// As [`Order::Alone`].
    Alone,
    /// As [`Order::Alone`], and the handler may wait for other clients: a stopping broker does not wait with it.
    Waiting,
}

impl Run {
    /// Where a request stands among those of its connection.
    pub(crate) fn order(self) -> Order {
        match self {
            Self::Append => Order::Append,
            Self::Poll => Order::Poll,
            Self::Alone | Self::Waiting => Order::Alone,
        }
    }
}

/// What the reply to a request takes in memory, and with it how the request stands to memory that is used up (see
/// [`crate::replies`]).
#[derive(Debug)]
pub(crate) enum ReplyCost {
    /// The request is answered at once, and it is not charged for its answer: who makes it charges that, or it tells of
    /// a group, which is charged for what it holds.
    Elsewhere,
    /// The request is answered at once: its reply is small, or about as large as itself.
    AsItsRequest,
    /// The request waits for room for as much as replies of its kind have taken lately.
    AsItsKind,
    /// As [`ReplyCost::AsItsKind`], but no less than a reply takes to a frame of so many bytes, as the function says.
    Foreseen(fn(&Core, usize) -> u64),
    /// The request waits for a little. It holds that while it waits for the store, or for what is being written of
    /// metadata or of groups, which may take long.
    Little,
    /// The request waits for a little of what only replies with offsets hold.
    Offsets,
}

macro_rules! table {
    ($($key:ident, $file:literal, $module:ident, $run:ident, $reply:ident $(($foreseen:path))?;)*) => {
        /// The table.
        pub(crate) const SERVED: &[Api] =
            &[$(Api { key: ApiKey::$key, run: Run::$run, reply: ReplyCost::$reply $(($foreseen))? }),*];
    };
}
each_served!(table);

/// The place of an API in [`SERVED`], if it is served.
pub(crate) fn position(api: ApiKey) -> Option<usize> {
    SERVED.binary_search_by_key(&api, |served| served.key).ok()
}

/// The versions of an API that is served.
pub(crate) fn versions(api: ApiKey) -> RangeInclusive<i16> {
    api.versions().unwrap_or(0..=0)
}

/// How requests to an API are run, if it is served.
pub(crate) fn run(api: ApiKey) -> Option<Run> {
    position(api).map(|position| SERVED[position].run)
}

/// What the reply of an API takes. One that is not served waits for its refusal as most do for their replies.
pub(crate) fn reply_cost(api: ApiKey) -> &'static ReplyCost {
    position(api).map_or(&ReplyCost::AsItsKind, |position| &SERVED[position].reply)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    macro_rules! files {
        ($($key:ident, $file:literal, $module:ident, $run:ident, $reply:ident $(($foreseen:path))?;)*) => {
            /// The file and the module of each handler.
            const HANDLERS: &[(ApiKey, &str, &str)] = &[$((ApiKey::$key, $file, stringify!($module))),*];
        };
    }
    each_served!(files);

    #[test]
    fn the_table_is_sorted_and_every_api_in_it_has_a_schema() {
        assert!(SERVED.is_sorted_by_key(|api| api.key));
        for api in SERVED.iter().map(|api| api.key) {
            assert_eq!(api.versions().map(|v| *v.start()), Some(0), "{api}: clients since 0.9 start at version 0");
        }
        assert_eq!(position(ApiKey::DescribeTopicPartitions), Some(SERVED.len() - 1));
        assert_eq!(position(ApiKey::SaslHandshake), None);
    }

    #[test]
    fn every_api_has_the_handler_of_its_number_and_every_handler_an_api() {
        for (api, file, module) in HANDLERS {
            assert_eq!(*file, format!("{:02}_{module}.rs", api.code()), "{api}");
        }
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/handlers");
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let there: BTreeSet<_> = entries.filter(|name| name != "mod.rs").collect();
        assert_eq!(there, HANDLERS.iter().map(|(_, file, _)| (*file).to_owned()).collect());
    }

    /// Dispatch gives all that is appended to the handler of Produce.
    #[test]
    fn produce_alone_is_appended() {
        let appended: Vec<_> = SERVED.iter().filter(|api| api.run == Run::Append).map(|api| api.key).collect();
        assert_eq!(appended, [ApiKey::Produce]);
    }
}
