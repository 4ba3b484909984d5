//! Request counters: every request to the store by purpose, operation and outcome, with retries and bytes. They are
//! what turns into money on a cloud's bill.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::StoreError;

macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $label:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)+
        }

        impl $name {
            /// Every value, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The metric label.
            pub fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)+
                }
            }
        }
    };
}

labels!(
    /// What a request is for.
    Purpose {
        /// WAL objects of the object log.
        Wal = "wal",
        /// Stream objects and stream set objects from the log cache.
        Upload = "upload",
        /// Rewriting of objects.
        Compaction = "compaction",
        /// Metadata log, snapshots, floors.
        Metadata = "metadata",
        /// Reads for consumers and recovery.
        Read = "read",
        /// Checks of stored bytes.
        Scrub = "scrub",
        /// The start-up probe.
        Probe = "probe",
        /// Deletion of retired objects.
        Delete = "delete",
    }
);

labels!(
    /// What was asked of the store.
    Operation {
        /// Write in one request.
        Put = "put",
        /// Requests of a multipart write: initiate, each part, complete.
        Multipart = "multipart",
        /// Put-if-absent.
        Create = "create",
        /// Read.
        Get = "get",
        /// Length of an object.
        Head = "head",
        /// One page of a listing.
        List = "list",
        /// One batch delete.
        Delete = "delete",
    }
);

labels!(
    /// How a request ended.
    Outcome {
        /// Done.
        Ok = "ok",
        /// A create found the name taken.
        Exists = "exists",
        /// No such object.
        NotFound = "not_found",
        /// Throttled, timed out, reset, unreachable, a short read, or a write that arrived damaged.
        Unavailable = "unavailable",
        /// A create whose outcome is not known.
        Unknown = "unknown",
        /// Refused or failed for good.
        Failed = "failed",
    }
);

impl Outcome {
    /// How a failed request is counted.
    pub(crate) fn of(error: &StoreError) -> Self {
        match error {
            StoreError::NotFound { .. } => Self::NotFound,
            error if error.is_retriable() => Self::Unavailable,
            _ => Self::Failed,
        }
    }
}

const PURPOSES: usize = Purpose::ALL.len();
const OPERATIONS: usize = Operation::ALL.len();
const OUTCOMES: usize = Outcome::ALL.len();

#[derive(Debug)]
struct Cell {
    requests: [AtomicU64; OUTCOMES],
    retries: AtomicU64,
    bytes: AtomicU64,
}

/// The live counters of one store.
#[derive(Debug)]
pub(crate) struct Counters([[Cell; OPERATIONS]; PURPOSES]);

impl Counters {
    pub(crate) fn new() -> Self {
        Self(array::from_fn(|_| {
            array::from_fn(|_| Cell {
                requests: array::from_fn(|_| AtomicU64::new(0)),
                retries: AtomicU64::new(0),
                bytes: AtomicU64::new(0),
            })
        }))
    }

    /// Counts `requests` that ended in `outcome` and moved `bytes` (0 unless they moved any).
    pub(crate) fn count(&self, purpose: Purpose, operation: Operation, outcome: Outcome, requests: u64, bytes: u64) {
        let cell = &self.0[purpose as usize][operation as usize];
        cell.requests[outcome as usize].fetch_add(requests, Ordering::Relaxed);
        cell.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts one retry.
    pub(crate) fn retried(&self, purpose: Purpose, operation: Operation) {
        self.0[purpose as usize][operation as usize].retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> CountersSnapshot {
        let mut rows = Vec::new();
        for &purpose in Purpose::ALL {
            for &operation in Operation::ALL {
                let cell = &self.0[purpose as usize][operation as usize];
                let requests: [u64; OUTCOMES] = array::from_fn(|i| cell.requests[i].load(Ordering::Relaxed));
                if requests.iter().any(|&count| count != 0) {
                    rows.push(CounterRow {
                        purpose,
                        operation,
                        requests,
                        retries: cell.retries.load(Ordering::Relaxed),
                        bytes: cell.bytes.load(Ordering::Relaxed),
                    });
                }
            }
        }
        CountersSnapshot { rows }
    }
}

/// The counters of one purpose and operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterRow {
    /// What the requests were for.
    pub purpose: Purpose,
    /// What they asked.
    pub operation: Operation,
    /// Requests by outcome, in the order of [`Outcome::ALL`].
    pub requests: [u64; OUTCOMES],
    /// How many of them repeated an earlier one.
    pub retries: u64,
    /// Payload bytes moved by those that succeeded.
    pub bytes: u64,
}

impl CounterRow {
    /// Requests that ended so.
    pub fn with_outcome(&self, outcome: Outcome) -> u64 {
        self.requests[outcome as usize]
    }
}

/// The counters at one moment; rows without a request are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CountersSnapshot {
    /// One row for each purpose and operation that was used.
    pub rows: Vec<CounterRow>,
}

impl CountersSnapshot {
    /// The row of one purpose and operation.
    pub fn row(&self, purpose: Purpose, operation: Operation) -> Option<&CounterRow> {
        self.rows.iter().find(|row| row.purpose == purpose && row.operation == operation)
    }

    /// Requests of one purpose, operation and outcome.
    pub fn requests(&self, purpose: Purpose, operation: Operation, outcome: Outcome) -> u64 {
        self.row(purpose, operation).map_or(0, |row| row.with_outcome(outcome))
    }

    /// All requests.
    pub fn total_requests(&self) -> u64 {
        self.rows.iter().flat_map(|row| row.requests).sum()
    }
}
