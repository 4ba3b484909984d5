//! The port through which the stream engine reaches whoever hosts the catalogue.

use std::sync::Arc;

use base::{Incarnation, WalPosition};
use futures::future::BoxFuture;
use thiserror::Error;

use super::{
    Catalogue, CommitRejection, CommitRequest, Committed, IncarnationRejection, Recovered, StreamRejection, TrimRequest,
};

/// Why the host gave no answer. Unless the request was refused, its outcome is open.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClientError {
    /// The host has been replaced by another: this process must stop acknowledging and exit.
    #[error("the metadata log was taken over by another process: {0}")]
    Fenced(Arc<str>),
    /// The host cannot answer now; the request may or may not have taken effect. Repeat the same request (every one of them
    /// repeats safely) or wait until the view shows what became of it.
    #[error("the catalogue is unavailable: {0}")]
    Unavailable(Arc<str>),
    /// The host can answer no more. The request may or may not have taken effect; sending it again is in vain.
    #[error("the metadata log can be continued no more: {0}")]
    Ended(Arc<str>),
    /// The host does not take the request: it contradicts the metadata, or is too large. It had no effect, and sending it
    /// again is in vain.
    #[error("the catalogue does not take this: {0}")]
    Refused(Arc<str>),
}

/// Why a commit failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommitError {
    /// It was refused for good.
    #[error(transparent)]
    Rejected(#[from] CommitRejection),
    /// There is no answer.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Why a step of an incarnation failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IncarnationError {
    /// It was refused for good.
    #[error(transparent)]
    Rejected(#[from] IncarnationRejection),
    /// There is no answer.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// The answers of a batch of trims, in the order of the requests.
pub type TrimAnswers = Vec<Result<(), StreamRejection>>;

/// Why a batch of trims has no answers.
pub type TrimError = ClientError;

/// A host of the catalogue, as the stream engine sees it. An answer means that the records are durable and that
/// [`CatalogueClient::view`] shows them.
pub trait CatalogueClient: Send + Sync + 'static {
    /// The newest image that this process knows.
    fn view(&self) -> Arc<Catalogue>;

    /// Makes uploaded objects part of their streams.
    fn commit(&self, request: CommitRequest) -> BoxFuture<'static, Result<Committed, CommitError>>;

    /// Moves first offsets up.
    fn trim(&self, requests: Vec<TrimRequest>) -> BoxFuture<'static, Result<TrimAnswers, TrimError>>;

    /// The taker has committed everything acknowledged in `log`.
    fn recovered(
        &self,
        log: Incarnation,
        taker: Incarnation,
        final_position: WalPosition,
    ) -> BoxFuture<'static, Result<Recovered, IncarnationError>>;

    /// The taker found `log` corrupt.
    fn damaged(
        &self,
        log: Incarnation,
        taker: Incarnation,
        reason: String,
    ) -> BoxFuture<'static, Result<(), IncarnationError>>;

    /// The owner of `log` has committed everything and acknowledges nothing more.
    fn drained(
        &self,
        log: Incarnation,
        final_position: WalPosition,
    ) -> BoxFuture<'static, Result<(), IncarnationError>>;
}
