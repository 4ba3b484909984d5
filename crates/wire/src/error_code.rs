//! [`ErrorCode`]: every error code of the protocol.

use std::fmt;

use thiserror::Error;

/// A number that is no error code of this release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0} is not an error code that this release knows")]
pub struct UnknownErrorCode(pub i16);

macro_rules! retriable {
    (retriable) => {
        true
    };
    (final) => {
        false
    };
}

macro_rules! error_codes {
    ($($code:literal $variant:ident $name:ident $class:tt $message:literal,)*) => {
        /// An error code of the Kafka protocol (those of Kafka 4.4).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(i16)]
        pub enum ErrorCode {
            $(
                #[doc = concat!("`", stringify!($name), "` (", stringify!($code), "): ", $message, ".")]
                $variant = $code,
            )*
        }

        impl ErrorCode {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Kafka's name, such as `UNKNOWN_TOPIC_OR_PARTITION`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($name),)*
                }
            }

            /// What it means, in a few words.
            pub const fn message(self) -> &'static str {
                match self {
                    $(Self::$variant => $message,)*
                }
            }

            /// Whether a client may send the same request again.
            pub const fn is_retriable(self) -> bool {
                match self {
                    $(Self::$variant => retriable!($class),)*
                }
            }
        }

        impl TryFrom<i16> for ErrorCode {
            type Error = UnknownErrorCode;

            fn try_from(code: i16) -> Result<Self, UnknownErrorCode> {
                match code {
                    $($code => Ok(Self::$variant),)*
                    other => Err(UnknownErrorCode(other)),
                }
            }
        }
    };
}

impl ErrorCode {
    /// The number on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The error of a number; one that is not known counts as `UNKNOWN_SERVER_ERROR`, as in Kafka.
    pub fn from_code(code: i16) -> Self {
        Self::try_from(code).unwrap_or(Self::UnknownServerError)
    }

    /// Whether it says that all is well.
    pub const fn is_none(self) -> bool {
        matches!(self, Self::None)
    }
}

impl From<ErrorCode> for i16 {
    fn from(error: ErrorCode) -> Self {
        error.code()
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.message())
    }
}

#[rustfmt::skip]
error_codes! {
    -1 UnknownServerError UNKNOWN_SERVER_ERROR final "the server failed in an unexpected way",
    0 None NONE final "no error",
    1 OffsetOutOfRange OFFSET_OUT_OF_RANGE final "no record has this offset",
    2 CorruptMessage CORRUPT_MESSAGE retriable "the record batch is damaged or not allowed here",
    3 UnknownTopicOrPartition UNKNOWN_TOPIC_OR_PARTITION retriable "this broker does not host this topic or partition",
    4 InvalidFetchSize INVALID_FETCH_SIZE final "the fetch size is not valid",
    5 LeaderNotAvailable LEADER_NOT_AVAILABLE retriable "the partition has no leader at the moment",
    6 NotLeaderOrFollower NOT_LEADER_OR_FOLLOWER retriable "this broker does not lead the partition",
    7 RequestTimedOut REQUEST_TIMED_OUT retriable "the request took longer than its time limit",
    8 BrokerNotAvailable BROKER_NOT_AVAILABLE final "the broker is not available",
    9 ReplicaNotAvailable REPLICA_NOT_AVAILABLE retriable "the replica is not available",
    10 MessageTooLarge MESSAGE_TOO_LARGE final "the record batch is larger than the server accepts",
    11 StaleControllerEpoch STALE_CONTROLLER_EPOCH final "the controller epoch is out of date",
    12 OffsetMetadataTooLarge OFFSET_METADATA_TOO_LARGE final "the metadata of the committed offset is too long",
    13 NetworkException NETWORK_EXCEPTION retriable "the connection broke before the response",
    14 CoordinatorLoadInProgress COORDINATOR_LOAD_IN_PROGRESS retriable "the coordinator is still loading",
    15 CoordinatorNotAvailable COORDINATOR_NOT_AVAILABLE retriable "the coordinator is not available",
    16 NotCoordinator NOT_COORDINATOR retriable "this broker is not the coordinator",
    17 InvalidTopicException INVALID_TOPIC_EXCEPTION final "the topic name is not valid for this operation",
    18 RecordListTooLarge RECORD_LIST_TOO_LARGE final "the record batch is larger than a segment",
    19 NotEnoughReplicas NOT_ENOUGH_REPLICAS retriable "too few replicas are in sync",
    20 NotEnoughReplicasAfterAppend NOT_ENOUGH_REPLICAS_AFTER_APPEND retriable "the records were written, but too few replicas are in sync",
    21 InvalidRequiredAcks INVALID_REQUIRED_ACKS final "acks must be -1, 0 or 1",
    22 IllegalGeneration ILLEGAL_GENERATION final "the group is in another generation",
    23 InconsistentGroupProtocol INCONSISTENT_GROUP_PROTOCOL final "no protocol is common to all members of the group",
    24 InvalidGroupId INVALID_GROUP_ID final "the group id is not valid",
    25 UnknownMemberId UNKNOWN_MEMBER_ID final "the group has no such member",
    26 InvalidSessionTimeout INVALID_SESSION_TIMEOUT final "the session timeout is outside the limits of the broker",
    27 RebalanceInProgress REBALANCE_IN_PROGRESS final "the group is rebalancing",
    28 InvalidCommitOffsetSize INVALID_COMMIT_OFFSET_SIZE final "the committed offsets are too large",
    29 TopicAuthorizationFailed TOPIC_AUTHORIZATION_FAILED final "the principal may not access the topic",
    30 GroupAuthorizationFailed GROUP_AUTHORIZATION_FAILED final "the principal may not access the group",
    31 ClusterAuthorizationFailed CLUSTER_AUTHORIZATION_FAILED final "the principal may not do this to the cluster",
    32 InvalidTimestamp INVALID_TIMESTAMP final "the timestamp of a record is out of range",
    33 UnsupportedSaslMechanism UNSUPPORTED_SASL_MECHANISM final "the SASL mechanism is not offered",
    34 IllegalSaslState ILLEGAL_SASL_STATE final "the request does not fit the state of the SASL exchange",
    35 UnsupportedVersion UNSUPPORTED_VERSION final "the version of the API is not supported",
    36 TopicAlreadyExists TOPIC_ALREADY_EXISTS final "a topic with this name exists",
    37 InvalidPartitions INVALID_PARTITIONS final "the number of partitions is not valid",
    38 InvalidReplicationFactor INVALID_REPLICATION_FACTOR final "the replication factor is not valid",
    39 InvalidReplicaAssignment INVALID_REPLICA_ASSIGNMENT final "the replica assignment is not valid",
    40 InvalidConfig INVALID_CONFIG final "the configuration is not valid",
    41 NotController NOT_CONTROLLER retriable "this broker is not the controller",
    42 InvalidRequest INVALID_REQUEST final "the request is not valid",
    43 UnsupportedForMessageFormat UNSUPPORTED_FOR_MESSAGE_FORMAT final "the message format cannot serve the request",
    44 PolicyViolation POLICY_VIOLATION final "a policy forbids the request",
    45 OutOfOrderSequenceNumber OUT_OF_ORDER_SEQUENCE_NUMBER final "the sequence number does not follow the last one",
    46 DuplicateSequenceNumber DUPLICATE_SEQUENCE_NUMBER final "the sequence number was seen before",
    47 InvalidProducerEpoch INVALID_PRODUCER_EPOCH final "the producer epoch is out of date",
    48 InvalidTxnState INVALID_TXN_STATE final "the transaction is not in a state for this",
    49 InvalidProducerIdMapping INVALID_PRODUCER_ID_MAPPING final "the producer id does not belong to the transactional id",
    50 InvalidTransactionTimeout INVALID_TRANSACTION_TIMEOUT final "the transaction timeout is above the limit of the broker",
    51 ConcurrentTransactions CONCURRENT_TRANSACTIONS retriable "another operation on the transaction is under way",
    52 TransactionCoordinatorFenced TRANSACTION_COORDINATOR_FENCED final "another transaction coordinator has taken over",
    53 TransactionalIdAuthorizationFailed TRANSACTIONAL_ID_AUTHORIZATION_FAILED final "the principal may not use the transactional id",
    54 SecurityDisabled SECURITY_DISABLED final "security features are switched off",
    55 OperationNotAttempted OPERATION_NOT_ATTEMPTED final "the operation was not tried because another one failed",
    56 KafkaStorageError KAFKA_STORAGE_ERROR retriable "the storage failed",
    57 LogDirNotFound LOG_DIR_NOT_FOUND final "the log directory does not exist",
    58 SaslAuthenticationFailed SASL_AUTHENTICATION_FAILED final "authentication failed",
    59 UnknownProducerId UNKNOWN_PRODUCER_ID final "the broker knows nothing of the producer id",
    60 ReassignmentInProgress REASSIGNMENT_IN_PROGRESS final "a reassignment is under way",
    61 DelegationTokenAuthDisabled DELEGATION_TOKEN_AUTH_DISABLED final "delegation tokens are switched off",
    62 DelegationTokenNotFound DELEGATION_TOKEN_NOT_FOUND final "the delegation token does not exist",
    63 DelegationTokenOwnerMismatch DELEGATION_TOKEN_OWNER_MISMATCH final "the principal neither owns nor may renew the token",
    64 DelegationTokenRequestNotAllowed DELEGATION_TOKEN_REQUEST_NOT_ALLOWED final "delegation tokens cannot be requested over this connection",
    65 DelegationTokenAuthorizationFailed DELEGATION_TOKEN_AUTHORIZATION_FAILED final "the principal may not access the delegation token",
    66 DelegationTokenExpired DELEGATION_TOKEN_EXPIRED final "the delegation token has expired",
    67 InvalidPrincipalType INVALID_PRINCIPAL_TYPE final "the type of the principal is not supported",
    68 NonEmptyGroup NON_EMPTY_GROUP final "the group has members",
    69 GroupIdNotFound GROUP_ID_NOT_FOUND final "the group does not exist",
    70 FetchSessionIdNotFound FETCH_SESSION_ID_NOT_FOUND retriable "the fetch session does not exist",
    71 InvalidFetchSessionEpoch INVALID_FETCH_SESSION_EPOCH retriable "the epoch of the fetch session is not the expected one",
    72 ListenerNotFound LISTENER_NOT_FOUND retriable "the leader has no listener of this name",
    73 TopicDeletionDisabled TOPIC_DELETION_DISABLED final "topic deletion is switched off",
    74 FencedLeaderEpoch FENCED_LEADER_EPOCH retriable "the leader epoch is older than the broker's",
    75 UnknownLeaderEpoch UNKNOWN_LEADER_EPOCH retriable "the leader epoch is newer than the broker's",
    76 UnsupportedCompressionType UNSUPPORTED_COMPRESSION_TYPE final "the client's version cannot carry this compression",
    77 StaleBrokerEpoch STALE_BROKER_EPOCH final "the broker epoch is out of date",
    78 OffsetNotAvailable OFFSET_NOT_AVAILABLE retriable "the offset is not known for sure yet",
    79 MemberIdRequired MEMBER_ID_REQUIRED final "a member id is needed to join; use the one given",
    80 PreferredLeaderNotAvailable PREFERRED_LEADER_NOT_AVAILABLE retriable "the preferred leader is not available",
    81 GroupMaxSizeReached GROUP_MAX_SIZE_REACHED final "the group is full",
    82 FencedInstanceId FENCED_INSTANCE_ID final "another consumer uses the group instance id",
    83 EligibleLeadersNotAvailable ELIGIBLE_LEADERS_NOT_AVAILABLE retriable "no eligible leader is available",
    84 ElectionNotNeeded ELECTION_NOT_NEEDED retriable "the partition needs no election",
    85 NoReassignmentInProgress NO_REASSIGNMENT_IN_PROGRESS final "no reassignment is under way",
    86 GroupSubscribedToTopic GROUP_SUBSCRIBED_TO_TOPIC final "the group is subscribed to the topic",
    87 InvalidRecord INVALID_RECORD final "a record is not valid",
    88 UnstableOffsetCommit UNSTABLE_OFFSET_COMMIT retriable "committed offsets are not stable yet",
    89 ThrottlingQuotaExceeded THROTTLING_QUOTA_EXCEEDED retriable "a quota is used up",
    90 ProducerFenced PRODUCER_FENCED final "a newer producer has the transactional id",
    91 ResourceNotFound RESOURCE_NOT_FOUND final "the resource does not exist",
    92 DuplicateResource DUPLICATE_RESOURCE final "the resource is named twice",
    93 UnacceptableCredential UNACCEPTABLE_CREDENTIAL final "the credential is not acceptable",
    94 InconsistentVoterSet INCONSISTENT_VOTER_SET final "the broker is not one of the expected voters",
    95 InvalidUpdateVersion INVALID_UPDATE_VERSION final "the update version is not valid",
    96 FeatureUpdateFailed FEATURE_UPDATE_FAILED final "the features could not be updated",
    97 PrincipalDeserializationFailure PRINCIPAL_DESERIALIZATION_FAILURE final "the forwarded principal could not be read",
    98 SnapshotNotFound SNAPSHOT_NOT_FOUND final "the snapshot does not exist",
    99 PositionOutOfRange POSITION_OUT_OF_RANGE final "the position is outside the snapshot",
    100 UnknownTopicId UNKNOWN_TOPIC_ID retriable "this broker does not know the topic id",
    101 DuplicateBrokerRegistration DUPLICATE_BROKER_REGISTRATION final "the broker id is in use",
    102 BrokerIdNotRegistered BROKER_ID_NOT_REGISTERED final "the broker id is not registered",
    103 InconsistentTopicId INCONSISTENT_TOPIC_ID retriable "the topic id is not that of the log",
    104 InconsistentClusterId INCONSISTENT_CLUSTER_ID final "the cluster id is another one",
    105 TransactionalIdNotFound TRANSACTIONAL_ID_NOT_FOUND final "the transactional id does not exist",
    106 FetchSessionTopicIdError FETCH_SESSION_TOPIC_ID_ERROR retriable "the fetch session mixes topic ids and names",
    107 IneligibleReplica INELIGIBLE_REPLICA final "the replica may not join the in-sync set",
    108 NewLeaderElected NEW_LEADER_ELECTED final "the change was made and a new leader elected",
    109 OffsetMovedToTieredStorage OFFSET_MOVED_TO_TIERED_STORAGE final "the offset has moved to tiered storage",
    110 FencedMemberEpoch FENCED_MEMBER_EPOCH final "the member epoch is fenced; join again",
    111 UnreleasedInstanceId UNRELEASED_INSTANCE_ID final "the group instance id is still in use",
    112 UnsupportedAssignor UNSUPPORTED_ASSIGNOR final "the group does not support the assignor",
    113 StaleMemberEpoch STALE_MEMBER_EPOCH final "the member epoch is out of date",
    114 MismatchedEndpointType MISMATCHED_ENDPOINT_TYPE final "the request went to an endpoint of another kind",
    115 UnsupportedEndpointType UNSUPPORTED_ENDPOINT_TYPE final "the kind of endpoint is not supported",
    116 UnknownControllerId UNKNOWN_CONTROLLER_ID final "the controller id is not known",
    117 UnknownSubscriptionId UNKNOWN_SUBSCRIPTION_ID final "the telemetry subscription id is not known",
    118 TelemetryTooLarge TELEMETRY_TOO_LARGE final "the telemetry is larger than the broker accepts",
    119 InvalidRegistration INVALID_REGISTRATION final "the registration is not valid",
    120 TransactionAbortable TRANSACTION_ABORTABLE final "the transaction must be aborted",
    121 InvalidRecordState INVALID_RECORD_STATE final "the record is not in a state for this",
    122 ShareSessionNotFound SHARE_SESSION_NOT_FOUND retriable "the share session does not exist",
    123 InvalidShareSessionEpoch INVALID_SHARE_SESSION_EPOCH retriable "the epoch of the share session is not the expected one",
    124 FencedStateEpoch FENCED_STATE_EPOCH final "the state epoch is out of date",
    125 InvalidVoterKey INVALID_VOTER_KEY final "the voter key is not that of the replica",
    126 DuplicateVoter DUPLICATE_VOTER final "the voter is a member already",
    127 VoterNotFound VOTER_NOT_FOUND final "the voter is not a member",
    128 InvalidRegularExpression INVALID_REGULAR_EXPRESSION final "the regular expression is not valid",
    129 RebootstrapRequired REBOOTSTRAP_REQUIRED final "the client must bootstrap again",
    130 StreamsInvalidTopology STREAMS_INVALID_TOPOLOGY final "the topology is not valid",
    131 StreamsInvalidTopologyEpoch STREAMS_INVALID_TOPOLOGY_EPOCH final "the topology epoch is not valid",
    132 StreamsTopologyFenced STREAMS_TOPOLOGY_FENCED final "the topology epoch is out of date",
    133 ShareSessionLimitReached SHARE_SESSION_LIMIT_REACHED retriable "there are too many share sessions",
    134 GroupDeletionFailed GROUP_DELETION_FAILED final "the group could not be deleted",
    135 StreamsTopologyDescriptionUpdateFailed STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED final "the topology description could not be updated",
    136 ControllerIdNotRegistered CONTROLLER_ID_NOT_REGISTERED final "the controller id is not registered",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_run_from_minus_one_to_136_and_come_back() {
        let codes: Vec<i16> = ErrorCode::ALL.iter().map(|e| e.code()).collect();
        assert_eq!(codes, (-1..=136).collect::<Vec<_>>());
        for error in ErrorCode::ALL {
            assert_eq!(ErrorCode::try_from(error.code()), Ok(*error));
        }
        assert_eq!(ErrorCode::try_from(137), Err(UnknownErrorCode(137)));
        assert_eq!(ErrorCode::from_code(-2), ErrorCode::UnknownServerError);
    }

    #[test]
    fn names_are_those_of_kafka() {
        assert_eq!(ErrorCode::UnknownTopicOrPartition.name(), "UNKNOWN_TOPIC_OR_PARTITION");
        assert!(ErrorCode::NotLeaderOrFollower.is_retriable());
        assert!(!ErrorCode::UnknownMemberId.is_retriable());
    }
}
