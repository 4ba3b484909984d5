//! What can go wrong with metadata, one enum per caller.

use std::sync::Arc;

use base::{BrokerId, Incarnation, MetaSequence, Uuid};
use blob::{ProbeError, StoreError};
use stream::catalogue::{ClientError, IncarnationRejection};
use thiserror::Error;

use crate::format::FormatError;
use crate::image::ImageError;

/// Why the log in the bucket cannot be read.
#[derive(Clone, Debug, Error)]
pub enum LogError {
    /// The store failed. Never taken for "the log ends here".
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An object of the log is corrupt.
    #[error("metadata object {key} cannot be used: {reason}")]
    Format {
        /// The object.
        key: String,
        /// What is wrong.
        reason: FormatError,
    },
    /// The last entry cannot be used, and no claim behind it says that it is void.
    #[error(
        "the last entry of the metadata log, {key}, cannot be used: {reason}; nothing tells whether it was acknowledged, so it is not passed over; if that change may be lost: `headwater metadata give-up-last`"
    )]
    LastEntry {
        /// The entry.
        sequence: MetaSequence,
        /// The object.
        key: String,
        /// What is wrong.
        reason: FormatError,
        /// What stands there and behind it, all of it damage: CRC-32C of the bytes of each.
        damages: Vec<(MetaSequence, u32)>,
    },
    /// An entry does not fit what came before it.
    #[error("metadata entry {sequence} does not replay: {reason}")]
    Replay {
        /// The entry.
        sequence: MetaSequence,
        /// What does not fit.
        reason: ImageError,
    },
    /// An entry was not written by the controller in office.
    #[error("metadata entry {sequence} was not written by the controller in office: {reason}")]
    Foreign {
        /// The entry.
        sequence: MetaSequence,
        /// What does not fit.
        reason: &'static str,
    },
    /// The log was cut below a snapshot that is not there or not readable.
    #[error(
        "the metadata log was cut above entry {sequence}, and no readable snapshot covers it; restore meta/snapshot/ of the bucket"
    )]
    SnapshotMissing {
        /// Where reading stopped.
        sequence: MetaSequence,
    },
}

/// Why a broker cannot start on a bucket.
#[derive(Clone, Debug, Error)]
pub enum StartError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Another broker is registered.
    #[error(
        "this bucket belongs to broker {present} (registered as {epoch}), and this release runs one broker per bucket; start with node.id={present} to take its place, or give broker {wanted} a bucket or prefix of its own"
    )]
    OtherBroker {
        /// Who is registered.
        present: BrokerId,
        /// Its registration.
        epoch: Incarnation,
        /// Who wanted to start.
        wanted: BrokerId,
    },
    /// The bucket holds another cluster.
    #[error("this bucket holds cluster {found}, not {wanted}; correct the store URL or the cluster id")]
    OtherCluster {
        /// The cluster in the bucket.
        found: Arc<str>,
        /// The cluster asked for.
        wanted: Arc<str>,
    },
    /// The bucket holds nothing, but the broker's files are of a cluster.
    #[error(
        "this bucket is empty, but this broker's directory is of cluster {wanted}; correct the store URL, or, if that cluster is given up, start with an empty directory"
    )]
    EmptyStore {
        /// The cluster asked for.
        wanted: Arc<str>,
    },
    /// Other processes claimed the office again and again.
    #[error("another process took the metadata log over while this one started: {0}")]
    Lost(Arc<str>),
    /// What stands at the next name of the log cannot be read.
    #[error(transparent)]
    Unreadable(LogLost),
    /// The registration contradicts what the log says.
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

/// Why the end of the log was not given up. Nothing was changed, unless the office was lost.
#[derive(Clone, Debug, Error)]
pub enum GiveUpError {
    /// The log cannot be read, and giving up its end would not mend that.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A second look at the end of the log found something else.
    #[error(
        "what stands at entry {0} or behind it is read otherwise each time, so it was not given up; the store or the way to it \
         damages what is read: try again"
    )]
    Unsettled(MetaSequence),
    /// A snapshot that cannot be read stands where entries would be void.
    #[error(
        "metadata snapshot {key} cannot be read, and holds what entry {sequence} and all before it made: bring it back, and \
         nothing is lost. Only if it cannot be brought back: delete it, and give the entry up then"
    )]
    Snapshot {
        /// The object.
        key: String,
        /// The first entry that would be given up.
        sequence: MetaSequence,
    },
    /// The store does not take what would have to be written, or does not keep its promises.
    #[error(transparent)]
    Store(#[from] ProbeError),
    /// The office could not be taken.
    #[error(transparent)]
    Office(#[from] StartError),
}

/// Why this process cannot write metadata any more.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LogLost {
    /// Another process is the controller now.
    #[error("{0}")]
    Replaced(Arc<str>),
    /// What stands at this name cannot be read and does not show that this process sent it, nor does a claim say that it is
    /// void. Nobody is known to be in office after this process.
    #[error(
        "the metadata log cannot be continued: what stands at entry {0} cannot be read, and this process cannot tell whether it was acknowledged"
    )]
    Unreadable(MetaSequence),
}

/// Why settings were not changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The topic is not there, or not any more.
    #[error("the topic '{0}' does not exist")]
    UnknownTopic(String),
    /// Somebody else changed the settings of the resource since they were looked at: look again.
    #[error("the settings have changed meanwhile")]
    Changed,
    /// There is no answer.
    #[error(transparent)]
    Meta(#[from] MetaError),
}

/// Records do not fit what the metadata says: a bug. They have no effect, and never will.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the operation does not fit the metadata: {0}")]
pub struct Unfit(pub Arc<str>);

impl Unfit {
    #[allow(clippy::needless_pass_by_value, reason = "map_err gives it a value")]
    pub(crate) fn because(reason: impl ToString) -> Self {
        Self(reason.to_string().into())
    }
}

/// Why an operation on metadata failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MetaError {
    /// Another process is the controller now, and this operation certainly had no effect.
    #[error("another process took the metadata log over ({0}); the operation had no effect and this process must exit")]
    Fenced(Arc<str>),
    /// Another process is the controller now, and it is not known whether the operation had an effect.
    #[error("another process took the metadata log over ({0}); the operation may or may not have had an effect")]
    OutcomeUnknown(Arc<str>),
    /// The log cannot be continued by this process, though no other is known to have taken it over; it is not known whether
    /// the operation had an effect.
    #[error("{0}; the operation may or may not have had an effect")]
    Unreadable(LogLost),
    /// The controller has shut down.
    #[error("the metadata controller has shut down")]
    Closed,
    /// Planted: nobody knows what became of this entry, and it is given up.
    #[error("metadata entry {0} was given up; the operation may or may not have had an effect")]
    GivenUp(MetaSequence),
    /// The records do not fit one entry. The same operation never will.
    #[error("the operation makes {bytes} bytes of metadata records, more than one entry holds ({limit}); cut it")]
    TooLarge {
        /// Their size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The operation contradicts the image.
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

impl MetaError {
    /// Why this process cannot write metadata any more, if this says that it cannot.
    pub(crate) fn log_lost(&self) -> Option<LogLost> {
        match self {
            Self::Fenced(why) | Self::OutcomeUnknown(why) => Some(LogLost::Replaced(why.clone())),
            Self::Unreadable(lost) => Some(lost.clone()),
            Self::Closed | Self::GivenUp(_) | Self::TooLarge { .. } | Self::Unfit(_) => None,
        }
    }
}

/// Of an operation that was not decided.
impl From<LogLost> for MetaError {
    fn from(lost: LogLost) -> Self {
        match lost {
            LogLost::Replaced(why) => Self::Fenced(why),
            lost @ LogLost::Unreadable(_) => Self::Unreadable(lost),
        }
    }
}

impl From<MetaError> for ClientError {
    fn from(error: MetaError) -> Self {
        match error {
            MetaError::Fenced(who) | MetaError::OutcomeUnknown(who) => Self::Fenced(who),
            MetaError::Unreadable(_) | MetaError::Closed => Self::Ended(error.to_string().into()),
            MetaError::GivenUp(_) => Self::Unavailable(error.to_string().into()),
            MetaError::TooLarge { .. } | MetaError::Unfit(_) => Self::Refused(error.to_string().into()),
        }
    }
}

/// More partitions than one topic may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{wanted} partitions are more than a topic may have ({limit})")]
pub struct TooManyPartitions {
    /// How many were wanted.
    pub wanted: usize,
    /// The limit.
    pub limit: usize,
}

/// No broker can own the streams of new partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no active broker can take the partitions")]
pub struct NoBroker;

/// Why a topic was not created.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CreateTopicError {
    /// The name is taken.
    #[error("Topic '{0}' already exists.")]
    Exists(String),
    /// Another name differs only in `.` and `_`.
    #[error("Topic '{name}' collides with existing topic: {other}")]
    Collides {
        /// The name that was wanted.
        name: String,
        /// The topic that there is.
        other: String,
    },
    /// A topic has at least one partition.
    #[error("a topic needs at least one partition")]
    NoPartitions,
    /// It would have too many partitions.
    #[error(transparent)]
    TooManyPartitions(#[from] TooManyPartitions),
    /// Nobody could lead it.
    #[error(transparent)]
    NoBroker(#[from] NoBroker),
    /// It contradicts the image.
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

/// Why a topic was not deleted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DeleteTopicError {
    /// No topic has that id.
    #[error("topic id {0} does not exist")]
    Unknown(Uuid),
    /// Its deletion contradicts the image.
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

/// Why partitions were not added to a topic.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CreatePartitionsError {
    /// No topic has that id.
    #[error("topic id {0} does not exist")]
    Unknown(Uuid),
    /// Partitions are added, never removed.
    #[error("the topic has {present} partitions; {wanted} would not be more")]
    NotMore {
        /// How many there are.
        present: usize,
        /// How many were wanted.
        wanted: usize,
    },
    /// It would have too many partitions.
    #[error(transparent)]
    TooManyPartitions(#[from] TooManyPartitions),
    /// Nobody could lead them.
    #[error(transparent)]
    NoBroker(#[from] NoBroker),
    /// There is no answer.
    #[error(transparent)]
    Meta(#[from] MetaError),
}

/// Why a broker's state or WAL incarnation was not changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BrokerError {
    /// It is not the present registration.
    #[error("{0} is not the present registration of its broker")]
    Stale(Incarnation),
    /// It still owns a WAL that is not drained.
    #[error("{0} still has an open WAL; drain it first")]
    NotDrained(Incarnation),
    /// The WAL incarnation is not in a phase that allows it.
    #[error(transparent)]
    Incarnation(#[from] IncarnationRejection),
    /// There is no answer.
    #[error(transparent)]
    Meta(#[from] MetaError),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the storage engine is to do about it.
    #[derive(Debug, PartialEq, Eq)]
    enum Next {
        Exit,
        GiveUp,
        AskAgain,
    }

    #[test]
    fn only_an_open_outcome_is_asked_for_again() {
        let why = || Arc::from("a test");
        let place = MetaSequence(5);
        let all = [
            (MetaError::Fenced(why()), Next::Exit),
            (MetaError::OutcomeUnknown(why()), Next::Exit),
            (MetaError::Unreadable(LogLost::Unreadable(place)), Next::Exit),
            (MetaError::Closed, Next::Exit),
            (MetaError::GivenUp(place), Next::AskAgain),
            (MetaError::TooLarge { bytes: 2, limit: 1 }, Next::GiveUp),
            (MetaError::Unfit(Unfit(why())), Next::GiveUp),
        ];
        for (error, wanted) in all {
            let next = match ClientError::from(error.clone()) {
                ClientError::Fenced(_) | ClientError::Ended(_) => Next::Exit,
                ClientError::Unavailable(_) => Next::AskAgain,
                ClientError::Refused(_) => Next::GiveUp,
            };
            assert_eq!(next, wanted, "{error}");
        }
    }
}
