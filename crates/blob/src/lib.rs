//! The object-store port and its backends: put, ranged get, list, batch delete, and a put-if-absent that
//! says what came of it. There is no compare-and-swap: not every store has it.
//!
//! Layer 1. A request goes [`Store`] (names, time limits, retries, counters) → [`Backend`] (one attempt). Cloud
//! backends sit on OpenDAL, which nothing outside this crate knows.
//!
//! Invariants:
//! * An object under its name is whole: readers never see a part of one.
//! * A create is never retried blindly (I-6): its outcome is `Created`, `Exists`, `Unknown` or `Unproven`, and only the
//!   same bytes under the same name resolve the last two.
//! * A write is done only when something beside the answer "OK" shows that the object holds what was sent
//!   ([`backend::Evidence`]): the WAL is trimmed on it.
//! * A short or failed read is an error, never "empty" (I-5).

mod answer;
pub mod backend;
mod cloud;
pub mod counters;
pub mod error;
pub mod faulty;
pub mod local;
pub mod memory;
mod payload;
mod probe;
mod range;
mod resolve;
mod retry;
mod store;
mod stores;
mod turns;
mod url;
mod verify;

pub use backend::{Backend, DELETE_KEYS_MAX, ListPage, ObjectMeta, ReadRange};
pub use counters::{CounterRow, CountersSnapshot, Operation, Outcome, Purpose};
pub use error::{Cause, CreateOutcome, OpenError, ProbeError, StoreError};
pub use local::create_dir_all_synced;
pub use payload::Payload;
pub use probe::{ProbeReport, probe};
pub use resolve::{Resolved, Unresolved};
pub use retry::{Health, RetryPolicy};
pub use store::{Store, StoreOptions};
pub use stores::{StoreSource, Stores};
