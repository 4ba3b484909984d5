//! What explains which end.

use blob::{ProbeError, StoreError};
use meta::{BrokerError, LogError, LogLost, MetaError};
use node::identity::IdentityError;
use node::{DrainError, End, Missing, StartError};
use stream::catalogue::{ClientError, IncarnationError};
use stream::engine::RecoverError;
use stream::wal::WalError;

use super::Cause::{self, *};

/// Nothing does: it is never right.
const NOTHING: &[Cause] = &[];
/// An engine fails with its log, with a commit that is refused because another took this one's place, or when the metadata
/// log cannot be continued. It never fails because of the store: what it puts and commits it sends until it stands.
const OF_ENGINE: &[Cause] = &[DiskError, Replaced, DamagedMetadata, Panic];
/// Requests at a start are sent for a limited time.
const OF_STORE: &[Cause] = &[Store, Pause];

/// What each by itself explains such an end.
pub(super) fn by(end: &End) -> &'static [Cause] {
    match end {
        End::Drained => &[ToldToDrain],
        // A start does not drain.
        End::Stopped { serving: false } => &[ToldToDrain, ToldToStop],
        End::Stopped { serving: true } => &[ToldToStop],
        End::NotStarted(why) => by_start(why),
        End::Fenced { .. } => &[Replaced],
        End::MetadataLost(lost) => by_lost(lost),
        End::LogFailed(_) | End::NotDrained(DrainError::Engine(_)) => OF_ENGINE,
        End::Panicked(_) => &[Panic],
        End::NotDrained(DrainError::Registration(why)) => by_registration(why),
        End::NotDrained(DrainError::Log(why)) => by_log(why),
        // Among them that the store can be written no more: here it always can be again.
        _ => NOTHING,
    }
}

fn by_start(why: &StartError) -> &'static [Cause] {
    match why {
        StartError::LogInUse { .. } => &[Locked],
        StartError::LogUnusable { source, .. } | StartError::Log(source) => by_log(source),
        StartError::Identity(IdentityError::Unwritable { .. } | IdentityError::Unreadable { .. }) => {
            &[DiskError, FullDisk]
        }
        StartError::StoreUnfit(
            ProbeError::Unreachable { .. } | ProbeError::NotWritable { .. } | ProbeError::Unsettled { .. },
        ) => OF_STORE,
        StartError::MetadataLost(lost) => by_lost(lost),
        StartError::Metadata(why) => by_metadata_start(why),
        StartError::Unreachable(unreachable) => match &unreachable.why {
            // Another taker may have been through with it.
            Missing::Nothing | Missing::NotThere => &[Replaced],
            Missing::Unreadable(why) => by_log(why),
            Missing::OtherCluster { .. } => NOTHING,
        },
        StartError::NotRecovered { source: RecoverError::Wal(why), .. } => by_log(why),
        StartError::NotRecovered { source: RecoverError::Commit(_), .. } => &[Replaced, DamagedMetadata, Panic],
        StartError::NotRecovered { source: RecoverError::Interrupted, .. } => &[Panic],
        StartError::Incarnation(why) => by_incarnation(why),
        StartError::Registration(why) => by_registration(why),
        // A store that breaks its promises, an address that is taken, files of another cluster, a log that metadata does not
        // hold as open or has never heard of: nothing of the kind is in the world.
        _ => NOTHING,
    }
}

fn by_metadata_start(why: &meta::StartError) -> &'static [Cause] {
    match why {
        meta::StartError::Log(LogError::Store(why)) => by_store(why),
        meta::StartError::Log(LogError::Format { .. } | LogError::LastEntry { .. }) => &[DamagedMetadata],
        meta::StartError::Lost(_) => &[Replaced],
        meta::StartError::Unreadable(lost) => by_lost(lost),
        _ => NOTHING,
    }
}

fn by_store(why: &StoreError) -> &'static [Cause] {
    if why.is_transient() { OF_STORE } else { NOTHING }
}

fn by_lost(lost: &LogLost) -> &'static [Cause] {
    match lost {
        LogLost::Replaced(_) => &[Replaced],
        LogLost::Unreadable(_) => &[DamagedMetadata],
    }
}

fn by_metadata(why: &MetaError) -> &'static [Cause] {
    match why {
        MetaError::Fenced(_) | MetaError::OutcomeUnknown(_) => &[Replaced],
        MetaError::Unreadable(lost) => by_lost(lost),
        _ => NOTHING,
    }
}

fn by_registration(why: &BrokerError) -> &'static [Cause] {
    match why {
        BrokerError::Stale(_) | BrokerError::Incarnation(_) => &[Replaced],
        BrokerError::Meta(why) => by_metadata(why),
        _ => NOTHING,
    }
}

fn by_incarnation(why: &IncarnationError) -> &'static [Cause] {
    match why {
        IncarnationError::Rejected(_) | IncarnationError::Client(ClientError::Fenced(_)) => &[Replaced],
        IncarnationError::Client(ClientError::Ended(_)) => &[Replaced, DamagedMetadata],
        IncarnationError::Client(ClientError::Unavailable(_) | ClientError::Refused(_)) => NOTHING,
    }
}

fn by_log(why: &WalError) -> &'static [Cause] {
    match why {
        WalError::Io { .. } | WalError::Unreadable { .. } => &[DiskError, FullDisk],
        WalError::InUse { .. } => &[Locked],
        WalError::NoSpace { .. } => &[FullDisk],
        // Another taker may have been through with it and removed it.
        WalError::NotFound { .. } => &[Replaced],
        _ => NOTHING,
    }
}
