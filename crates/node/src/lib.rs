//! One broker's life: start, register, take over, recover, serve, drain.
//!
//! Layer 6. [`run`] lives a node from its options to its [`End`], which it *returns*: nothing here exits, keeps state of
//! the process or reads the environment, so one process may hold several nodes, one after the other or side by side.
//! The `headwater` binary is one host of nodes, a test or a simulator another.
//!
//! ```text
//! run ─► start: addresses ─► own log locked, asked whose it is ─► identity ─► store probed ─► [register]
//!          ─► [takeover] and [recover] each assigned log ─► [leftovers] looked at ─► own incarnation OPEN ─► serve
//!     ─► drain (told to), or the first of: engine failed, registration replaced, a vital task panicked
//!     ─► every task, thread and lock of the node is gone, or hangs in storage and the process exits ─► End
//! ```
//!
//! Beside that there is one thing that an operator does to a broker that has stopped: [`abandon`].
//!
//! Invariants:
//! - what is refused is refused before the registration wherever it can be known before: a start that fails has fenced
//!   nobody;
//! - no log is removed unless it bears this node's cluster id and metadata says that it has ended, or that it never began
//!   and it holds no record (I-5);
//! - no log is given up while its broker may append to it: it is locked and fenced first, where metadata says that it is;
//! - whatever ends a part of a node ends the node, with the reason, and a node that has ended is not ready.

mod abandon;
mod drain;
mod end;
pub mod identity;
mod leftovers;
mod log;
mod memory;
mod options;
mod recover;
mod register;
mod run;
mod start;
mod status;
mod takeover;

pub use abandon::{AbandonError, AbandonOptions, BrokerFate, FilesLeft, abandon};
pub use drain::DrainError;
pub use end::End;
pub use options::{Afterwards, LogPlace, NodeOptions, Segments};
pub use recover::Recovery;
pub use run::{LEAVING_TIME_MAX, Order, run};
pub use start::{Facts, InMemory, StartError};
pub use status::{Phase, Status};
pub use takeover::{Missing, Unreachable};
