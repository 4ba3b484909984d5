//! [`ApiKey`]: every API of the protocol, and what its number and a version imply.
//!
//! Names and numbers of all APIs stand here; versions come from the schemas, so that an API without one (Kafka's
//! brokers and controllers among themselves) has a name and nothing else.

use std::fmt;
use std::ops::RangeInclusive;

use thiserror::Error;

/// A number that is no API of this release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("API key {0} is not one that this release knows")]
pub struct UnknownApiKey(pub i16);

/// What the schemas say about one API.
#[derive(Clone, Copy, Debug)]
struct ApiFacts {
    key: i16,
    /// Versions that exist, from Kafka 3.9's first to 4.4's last.
    low: i16,
    high: i16,
    /// The first version with compact lengths and tagged fields; `i16::MAX` for none.
    flexible_from: i16,
}

include!(concat!(env!("OUT_DIR"), "/api_facts.rs"));

macro_rules! api_keys {
    ($($key:literal $name:ident,)*) => {
        /// An API of the Kafka protocol.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i16)]
        pub enum ApiKey {
            $(
                #[doc = concat!("`", stringify!($name), "` (", stringify!($key), ").")]
                $name = $key,
            )*
        }

        impl ApiKey {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Kafka's name, such as `Produce`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }

        impl TryFrom<i16> for ApiKey {
            type Error = UnknownApiKey;

            fn try_from(key: i16) -> Result<Self, UnknownApiKey> {
                match key {
                    $($key => Ok(Self::$name),)*
                    other => Err(UnknownApiKey(other)),
                }
            }
        }
    };
}

impl ApiKey {
    /// The number on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }

    fn facts(self) -> Option<&'static ApiFacts> {
        let at = API_FACTS.binary_search_by_key(&self.code(), |facts| facts.key).ok()?;
        Some(&API_FACTS[at])
    }

    /// The versions that the schemas describe, Kafka 3.9's first to 4.4's last; `None` for an API without a schema.
    pub fn versions(self) -> Option<RangeInclusive<i16>> {
        self.facts().map(|facts| facts.low..=facts.high)
    }

    /// The first version with compact lengths and tagged fields.
    pub fn flexible_from(self) -> Option<i16> {
        self.facts().map(|facts| facts.flexible_from).filter(|from| *from != i16::MAX)
    }

    /// Whether a version has compact lengths and tagged fields.
    pub fn is_flexible(self, version: i16) -> bool {
        self.flexible_from().is_some_and(|from| version >= from)
    }

    /// The version of the header in front of a request.
    pub fn request_header_version(self, version: i16) -> i16 {
        match self {
            // The oldest header, without a client id, belongs to one request between Kafka's own brokers.
            Self::ControlledShutdown if version == 0 => 0,
            _ if self.is_flexible(version) => 2,
            _ => 1,
        }
    }

    /// The version of the header in front of a response.
    pub fn response_header_version(self, version: i16) -> i16 {
        match self {
            // The client does not know yet which versions the broker speaks (KIP-511).
            Self::ApiVersions => 0,
            _ => i16::from(self.is_flexible(version)),
        }
    }
}

impl From<ApiKey> for i16 {
    fn from(key: ApiKey) -> Self {
        key.code()
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[rustfmt::skip]
api_keys! {
    0 Produce,
    1 Fetch,
    2 ListOffsets,
    3 Metadata,
    4 LeaderAndIsr,
    5 StopReplica,
    6 UpdateMetadata,
    7 ControlledShutdown,
    8 OffsetCommit,
    9 OffsetFetch,
    10 FindCoordinator,
    11 JoinGroup,
    12 Heartbeat,
    13 LeaveGroup,
    14 SyncGroup,
    15 DescribeGroups,
    16 ListGroups,
    17 SaslHandshake,
    18 ApiVersions,
    19 CreateTopics,
    20 DeleteTopics,
    21 DeleteRecords,
    22 InitProducerId,
    23 OffsetForLeaderEpoch,
    24 AddPartitionsToTxn,
    25 AddOffsetsToTxn,
    26 EndTxn,
    27 WriteTxnMarkers,
    28 TxnOffsetCommit,
    29 DescribeAcls,
    30 CreateAcls,
    31 DeleteAcls,
    32 DescribeConfigs,
    33 AlterConfigs,
    34 AlterReplicaLogDirs,
    35 DescribeLogDirs,
    36 SaslAuthenticate,
    37 CreatePartitions,
    38 CreateDelegationToken,
    39 RenewDelegationToken,
    40 ExpireDelegationToken,
    41 DescribeDelegationToken,
    42 DeleteGroups,
    43 ElectLeaders,
    44 IncrementalAlterConfigs,
    45 AlterPartitionReassignments,
    46 ListPartitionReassignments,
    47 OffsetDelete,
    48 DescribeClientQuotas,
    49 AlterClientQuotas,
    50 DescribeUserScramCredentials,
    51 AlterUserScramCredentials,
    52 Vote,
    53 BeginQuorumEpoch,
    54 EndQuorumEpoch,
    55 DescribeQuorum,
    56 AlterPartition,
    57 UpdateFeatures,
    58 Envelope,
    59 FetchSnapshot,
    60 DescribeCluster,
    61 DescribeProducers,
    62 BrokerRegistration,
    63 BrokerHeartbeat,
    64 UnregisterBroker,
    65 DescribeTransactions,
    66 ListTransactions,
    67 AllocateProducerIds,
    68 ConsumerGroupHeartbeat,
    69 ConsumerGroupDescribe,
    70 ControllerRegistration,
    71 GetTelemetrySubscriptions,
    72 PushTelemetry,
    73 AssignReplicasToDirs,
    74 ListConfigResources,
    75 DescribeTopicPartitions,
    76 ShareGroupHeartbeat,
    77 ShareGroupDescribe,
    78 ShareFetch,
    79 ShareAcknowledge,
    80 AddRaftVoter,
    81 RemoveRaftVoter,
    82 UpdateRaftVoter,
    83 InitializeShareGroupState,
    84 ReadShareGroupState,
    85 WriteShareGroupState,
    86 DeleteShareGroupState,
    87 ReadShareGroupStateSummary,
    88 StreamsGroupHeartbeat,
    89 StreamsGroupDescribe,
    90 DescribeShareGroupOffsets,
    91 AlterShareGroupOffsets,
    92 DeleteShareGroupOffsets,
    93 StreamsGroupTopologyDescriptionUpdate,
    94 UnregisterController,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_run_from_0_to_94() {
        assert_eq!(ApiKey::ALL.iter().map(|k| k.code()).collect::<Vec<_>>(), (0..=94).collect::<Vec<_>>());
        assert_eq!(ApiKey::try_from(95), Err(UnknownApiKey(95)));
        assert_eq!(ApiKey::try_from(-1), Err(UnknownApiKey(-1)));
    }

    #[test]
    fn header_versions_follow_flexibility_but_for_api_versions() {
        assert_eq!(ApiKey::Produce.request_header_version(8), 1);
        assert_eq!(ApiKey::Produce.request_header_version(9), 2);
        assert_eq!(ApiKey::Produce.response_header_version(9), 1);
        assert_eq!(ApiKey::ApiVersions.request_header_version(3), 2);
        assert_eq!(ApiKey::ApiVersions.response_header_version(3), 0);
        assert_eq!(ApiKey::SaslHandshake.request_header_version(1), 1);
    }

    #[test]
    fn versions_are_the_union_of_both_releases() {
        assert_eq!(ApiKey::Produce.versions(), Some(0..=13));
        assert_eq!(ApiKey::Fetch.versions(), Some(0..=18));
        assert_eq!(ApiKey::InitProducerId.versions(), Some(0..=5));
        assert_eq!(ApiKey::ShareFetch.versions(), Some(1..=2));
        assert_eq!(ApiKey::LeaderAndIsr.versions(), None);
    }
}
