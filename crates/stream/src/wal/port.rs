//! The port to a write-ahead log, of whatever kind.
//!
//! A place of logs ([`Log`]) holds incarnations: they are looked at, fenced, replayed and removed there. Its owner makes a
//! fresh one ([`OwnLog`]) and appends to it ([`Wal`], over an [`Appender`] of the kind). Engine, recovery and node hold
//! these, and none of them knows the kind.

use std::fmt;
use std::ops::ControlFlow;

use base::{Incarnation, WalPosition};
use futures::future::BoxFuture;
use tokio::sync::oneshot;

use super::{Append, DurableSink, ReplayEnd, ReplayedRecord, WalError, WalFailure, WriterWait};

/// What the opener may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everything; at most one process at a time.
    Owner,
    /// Fence and replay, beside an owner that may be alive.
    Taker,
    /// Look only (`headwater wal show`).
    Observer,
}

/// What is known of an incarnation without reading its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncarnationSummary {
    /// Which.
    pub incarnation: Incarnation,
    /// The cluster it belongs to; `Err` says what is wrong with its header.
    pub cluster_id: Result<String, String>,
    /// What its fence page says.
    pub fence: FenceState,
    /// Records below are committed.
    pub trimmed: WalPosition,
    /// Logical numbers of its segments, trimmed ones that wait for recycling included.
    pub segments: Vec<u64>,
    /// Bytes of one segment.
    pub segment_bytes: u64,
}

/// On whose word an incarnation is removed: nothing of a log goes before it was asked whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim<'a> {
    /// The remover is of this cluster, and the header must say that the log is too.
    Cluster(&'a str),
    /// An operator of this cluster gave the log up, so a header that is lost or broken need not say whose it is. One that
    /// names another cluster still refuses.
    GivenUp(&'a str),
}

/// What a fence page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FenceState {
    /// Exactly the page that the owner made.
    Open,
    /// A taker's page.
    Fenced,
    /// Anything else, which counts as fenced.
    Unreadable,
}

/// A log as it stands.
#[derive(Clone, Debug)]
pub struct WalStatus {
    /// The end of what is durable.
    pub durable: WalPosition,
    /// The end of what the sink was given.
    pub acknowledged: WalPosition,
    /// Records below are committed.
    pub trimmed: WalPosition,
    /// Bytes appended and not yet given to the sink.
    pub queued_bytes: u64,
    /// Un-trimmed bytes at which the writer waits.
    pub capacity_bytes: u64,
    /// What the writer waits for.
    pub waiting: Option<WriterWait>,
    /// Why the log died.
    pub failure: Option<WalFailure>,
}

/// How what has gathered behind a log comes to stand in objects that a commit can name: the log's to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cuts {
    /// The log's own storage is no object: objects are built from the log cache and put.
    BuildAndPut,
}

/// How a log that is open for append is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Write and complete what is queued first. While the writer waits for a trim, trims must go on.
    Flush,
    /// At once, as a crash would: nothing more is written or acknowledged.
    Abandon,
}

/// The incarnations of one place.
pub trait Log: Send + Sync + fmt::Debug {
    /// The incarnations there are, each with what it says of itself; also those of which only pieces are left.
    ///
    /// # Errors
    /// When the place cannot be read.
    fn incarnations(&self) -> Result<Vec<IncarnationSummary>, WalError>;

    /// Makes sure that nothing appended to `incarnation` from now on is acknowledged. May be repeated.
    ///
    /// # Errors
    /// [`WalError::NotFound`], [`WalError::Damaged`] when there is nothing left to fence by, or what storage says: then
    /// nothing is known, and it is to be called again.
    fn fence(&self, incarnation: Incarnation) -> Result<(), WalError>;

    /// Reads the records of `incarnation` from `from`, which is 0, a [`Group::end`](super::Group::end) or a
    /// [`ReplayedRecord::next`]. Fence it first: what a living owner appends afterwards is missed. No record is shown
    /// twice.
    ///
    /// # Errors
    /// When storage cannot be read. Damage is not an error but a [`ReplayEnd::Corrupt`].
    fn replay(
        &self,
        incarnation: Incarnation,
        from: WalPosition,
        visit: &mut dyn FnMut(ReplayedRecord) -> ControlFlow<()>,
    ) -> Result<ReplayEnd, WalError>;

    /// Whether one whole record of `incarnation` is there, wherever and whenever it was written. A log that metadata does
    /// not know, and that holds one, was not made by a start that died half-way.
    ///
    /// # Errors
    /// When storage cannot be read: nothing is known then.
    fn holds_records(&self, incarnation: Incarnation) -> Result<bool, WalError>;

    /// Removes `incarnation`. Only after metadata says `RECOVERED` or `ABANDONED`, or that it never knew it and
    /// [`Self::holds_records`] denied that there is anything to lose. May be repeated. Answers how many parts of the place, that
    /// may be of it, could not be read and were passed over: none, unless it is [given up](Claim::GivenUp).
    ///
    /// # Errors
    /// [`WalError::NotOwned`] when it does not bear out the claim, [`WalError::InUse`] while it is being written here, or
    /// what storage says. Then nothing was removed.
    fn remove(&self, incarnation: Incarnation, claim: Claim<'_>) -> Result<usize, WalError>;
}

/// A place that its owner appends in; the tokens of its appends are `T`.
pub trait OwnLog<T>: Log {
    /// Makes a fresh incarnation, open for append. The caller commits it `OPEN` before the first append.
    ///
    /// # Errors
    /// [`WalError::Exists`], [`WalError::NoSpace`], or what storage says.
    fn create(
        &self,
        incarnation: Incarnation,
        cluster_id: &str,
        sink: Box<dyn DurableSink<T>>,
    ) -> Result<Wal<T>, WalError>;
}

/// One incarnation, open for append: what a kind of log provides. Dropping it without an [`Ending`] is like a crash.
pub trait Appender<T>: Send + Sync + fmt::Debug {
    /// Queues an append; the order of calls is the order of the log. `token` comes back through the sink, or is dropped
    /// once the log has died. Never waits. A payload over [`Self::max_record_bytes`] ends the log: the caller checks, as
    /// it bounds the queue by the memory it charges.
    fn append(&self, append: Append, token: T);

    /// Resolves after a look at the fence, begun from now on, that found the log not fenced; an error means that the log
    /// is fenced, has died or ends. What this broker knew when it asked, no other broker had contradicted.
    fn check_unfenced(&self) -> oneshot::Receiver<()>;

    /// Says that records below `to` are committed. What held only such is given up.
    fn trim(&self, to: WalPosition);

    /// Resolves when the log has died, however it died, with the reason; with nothing once it has ended in order. It does
    /// not depend on anything that the log runs on, nor on the sink.
    fn failed(&self) -> BoxFuture<'static, Option<WalFailure>>;

    /// Makes the log end, and does not wait for it. What is appended afterwards is dropped. May be called again.
    fn end(&self, ending: Ending);

    /// Resolves once nothing of the log runs any more, with the final position.
    ///
    /// # Errors
    /// When the log has died.
    fn ended(&self) -> BoxFuture<'static, Result<WalPosition, WalFailure>>;

    /// The whole picture.
    fn status(&self) -> WalStatus;

    /// The longest payload that a record can hold.
    fn max_record_bytes(&self) -> usize;

    /// What a cut of this log does.
    fn cuts(&self) -> Cuts;
}

/// One incarnation of a log of any kind, open for append. Dropping it without [`Wal::shutdown`] is like a crash: what is
/// queued is lost.
pub struct Wal<T>(Box<dyn Appender<T>>);

impl<T> fmt::Debug for Wal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T> Wal<T> {
    /// A log over an appender of some kind.
    pub fn over(appender: impl Appender<T> + 'static) -> Self {
        Self(Box::new(appender))
    }

    /// The end of what is durable.
    pub fn position(&self) -> WalPosition {
        self.status().durable
    }

    /// Bytes appended and not yet given to the sink.
    pub fn queued_bytes(&self) -> u64 {
        self.status().queued_bytes
    }

    /// Un-trimmed durable bytes.
    pub fn backlog(&self) -> u64 {
        let status = self.status();
        status.durable.0.saturating_sub(status.trimmed.0)
    }

    /// Un-trimmed bytes at which the writer waits: trim well before.
    pub fn capacity(&self) -> u64 {
        self.status().capacity_bytes
    }

    /// Writes and completes what is queued, ends the log and returns the final position. Blocks, so that it is for threads
    /// and tests; a task calls [`Appender::end`] and awaits [`Appender::ended`].
    ///
    /// # Errors
    /// When the log has died.
    pub fn shutdown(&self) -> Result<WalPosition, WalFailure> {
        self.end(Ending::Flush);
        futures::executor::block_on(self.ended())
    }

    /// Ends the log at once, as a crash would. Blocks until a write under way has returned, as [`Self::shutdown`] does.
    pub fn abandon(&self) {
        self.end(Ending::Abandon);
        // Why it died, if it did, has been told to whoever asked.
        let _ = futures::executor::block_on(self.ended());
    }
}

impl<T> std::ops::Deref for Wal<T> {
    type Target = dyn Appender<T>;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}
