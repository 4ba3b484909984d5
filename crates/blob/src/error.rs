//! What can go wrong with a store. The kind says what the caller must do: retry later, fix the configuration, or treat
//! the data as damaged. A message begins with what the store said, then comes where, and what to do about it.

use std::fmt;
use std::ops::Range;

use thiserror::Error;

/// Why a request to the store failed.
#[derive(Clone, Debug, Error)]
pub enum StoreError {
    /// No object has that name.
    #[error("object {key} does not exist")]
    NotFound {
        /// The name asked for.
        key: String,
    },
    /// Fewer bytes came back than were asked for. Never to be taken for "empty".
    #[error("object {key}: short read of bytes {}..{}: got {got}", range.start, range.end)]
    ShortRead {
        /// The object.
        key: String,
        /// Bytes asked for.
        range: Range<u64>,
        /// Bytes that came.
        got: u64,
    },
    /// The store holds other bytes than were sent, or refused them because they changed on their way. Retriable.
    #[error("object {key} did not arrive as it was sent: {reason}")]
    Damaged {
        /// The object.
        key: String,
        /// What differs.
        reason: String,
    },
    /// The store throttles, times out, resets connections or cannot be reached. Retriable.
    #[error("{reason} ({operation} {key}): the object store is unavailable")]
    Unavailable {
        /// What was tried.
        operation: &'static str,
        /// On which name.
        key: String,
        /// What the store or the network said.
        reason: String,
    },
    /// The device or quota under the store is full. Retriable once space was made.
    #[error("{reason} ({key}): no space is left; free space or raise the quota")]
    Full {
        /// The object that found no room.
        key: String,
        /// What the operating system or the store said.
        reason: String,
    },
    /// The credentials do not allow the request.
    #[error("{reason} ({operation} {key}): access denied; check the credentials and their policy")]
    AccessDenied {
        /// What was tried.
        operation: &'static str,
        /// On which name.
        key: String,
        /// What the store said.
        reason: String,
    },
    /// The bucket or directory itself is missing.
    #[error("{reason}: the bucket or directory does not exist; create it or correct the store URL")]
    NoSuchBucket {
        /// What the store said.
        reason: String,
    },
    /// The store has no such operation, above all no conditional create.
    #[error("{reason}: the store does not support {operation}")]
    Unsupported {
        /// What was tried.
        operation: &'static str,
        /// Why not.
        reason: String,
    },
    /// The name or the range cannot be used.
    #[error("{key:?} cannot be used: {reason}")]
    InvalidInput {
        /// The name given.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A permanent failure: an I/O error of the device, or an answer that makes no sense.
    #[error("{reason} ({operation} {key}): the request failed")]
    Failed {
        /// What was tried.
        operation: &'static str,
        /// On which name.
        key: String,
        /// What the operating system or the store said.
        reason: String,
    },
}

impl StoreError {
    /// Whether the same request may succeed later without anybody changing anything.
    pub fn is_retriable(&self) -> bool {
        self.is_transient() || matches!(self, Self::Full { .. })
    }

    /// Whether the object does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether the store itself retries it: what a wait of seconds may cure. A full disk is left to the caller.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::ShortRead { .. } | Self::Damaged { .. })
    }
}

/// Why the outcome of a create is not known, or its contents are not.
pub type Cause = StoreError;

/// The outcome of a put-if-absent (I-6).
#[derive(Clone, Debug)]
#[must_use = "an Unknown create must be resolved with the same bytes under the same name"]
pub enum CreateOutcome {
    /// The object is ours and durable.
    Created,
    /// The name was taken. It may be taken by an earlier attempt of the same caller: compare bytes.
    Exists,
    /// The request may have landed, may still land, or never will. Only sending the **same bytes to the same name**
    /// again tells: a read-back that finds nothing proves nothing.
    Unknown(Cause),
    /// The store says that this call made the object, and it was not seen to hold what was sent. The name is the caller's and
    /// nobody else's; what stands there is to be settled as after [`Self::Unknown`].
    Unproven(Cause),
}

impl CreateOutcome {
    /// Whether this call made the object.
    pub fn is_created(&self) -> bool {
        matches!(self, Self::Created)
    }
}

/// Why a store could not be opened.
#[derive(Clone, Debug, Error)]
pub enum OpenError {
    /// The URL is not one of a store.
    #[error("store URL {url:?}: {reason}")]
    InvalidUrl {
        /// The URL given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The directory cannot be made or written.
    #[error(
        "store directory {path} cannot be used: {reason}; give the broker's user write permission or choose another directory"
    )]
    NotWritable {
        /// The directory.
        path: String,
        /// What the operating system said.
        reason: String,
    },
    /// The client library refused the configuration.
    #[error("store {url}: {reason}")]
    Configuration {
        /// The URL given.
        url: String,
        /// What is wrong.
        reason: String,
    },
}

/// Why a store was refused by the start-up probe.
#[derive(Clone, Debug, Error)]
pub enum ProbeError {
    /// No answer came.
    #[error("{reason}: store {store} cannot be reached; check the endpoint, DNS, proxy and firewall")]
    Unreachable {
        /// The store.
        store: String,
        /// What happened.
        reason: String,
    },
    /// The credentials are missing, wrong, expired, or may not do something the broker needs.
    #[error(
        "{reason}: store {store} denies access; check the credentials (for S3: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, a profile or an instance role) and that they allow get, put, list and delete"
    )]
    AccessDenied {
        /// The store.
        store: String,
        /// What the store said.
        reason: String,
    },
    /// The bucket does not exist.
    #[error("{reason}: store {store} has no such bucket; create it or correct its name in the URL, or the region")]
    NoSuchBucket {
        /// The store.
        store: String,
        /// What the store said.
        reason: String,
    },
    /// Writing fails for another reason.
    #[error("{reason}: store {store} cannot be written")]
    NotWritable {
        /// The store.
        store: String,
        /// What the store said.
        reason: String,
    },
    /// What was written did not come back, or not as it was written.
    #[error("{reason}: store {store} does not return what was written; it cannot be trusted with data")]
    Inconsistent {
        /// The store.
        store: String,
        /// What differed.
        reason: String,
    },
    /// What was written did not come back whole, now and then or each time otherwise.
    #[error(
        "{reason}: store {store}, or the way to it, cuts or damages what is read; look at proxies and the network between, and \
         start again"
    )]
    Unsettled {
        /// The store.
        store: String,
        /// What the last reading met.
        reason: String,
    },
    /// The store has no put-if-absent.
    #[error(
        "store {store} has no conditional create ({reason}), so it cannot hold the metadata log; keep the data there and put the metadata log in a store that has it (S3, GCS, Azure Blob, OSS, COS or a local directory)"
    )]
    NoConditionalCreate {
        /// The store.
        store: String,
        /// Why not.
        reason: String,
    },
    /// The store let two writers create one name, or let a second create replace the first.
    #[error(
        "store {store} let {winners} writers create the same object {key}: its conditional create is not safe, so it cannot hold the metadata log; upgrade the store, or put the metadata log in one whose conditional create is atomic"
    )]
    TwoWriters {
        /// The store.
        store: String,
        /// The contested name.
        key: String,
        /// How many were told "created" (1 when a later create overwrote the first).
        winners: usize,
    },
}

impl fmt::Display for CreateOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created => f.write_str("created"),
            Self::Exists => f.write_str("exists"),
            Self::Unknown(cause) => write!(f, "unknown: {cause}"),
            Self::Unproven(cause) => write!(f, "made, but not proved to be what was sent: {cause}"),
        }
    }
}
