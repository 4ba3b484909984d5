//! The planned end: finish requests, empty the log into the store, leave the cluster, remove the log.

use base::Incarnation;
use broker::BrokerHandle;
use meta::{BrokerError, MetaHandle};
use stream::Engine;
use stream::engine::EngineFailure;
use stream::wal::WalError;
use thiserror::Error;

use crate::log::{OwnLog, Removal};

/// Why a node did not drain. Its log stays, and the next start recovers it.
#[derive(Debug, Error)]
pub enum DrainError {
    /// The log was not emptied.
    #[error("the log was not emptied into the store")]
    Engine(#[from] EngineFailure),
    /// The cluster did not take note of it.
    #[error("the registration was not given up")]
    Registration(#[from] BrokerError),
    /// Everything is in the store, but files of the log are still there; the next start tries again to remove them.
    #[error("everything is in the store, but the files of the log could not be removed")]
    Log(#[from] WalError),
}

/// Drains. The caller watches what may end the node meanwhile.
pub(crate) async fn drain(
    broker: BrokerHandle,
    engine: &Engine,
    meta: &MetaHandle,
    log: &OwnLog,
    me: Incarnation,
) -> Result<(), DrainError> {
    tracing::info!("draining: finishing requests, emptying the log into the store");
    if !broker.shutdown().await {
        tracing::warn!("some connections did not finish in time and were cut");
    }
    engine.drain().await?;
    base::plant::place("in-drain");
    meta.unregister(me).await?;
    // What stays is known to metadata, and has nothing that is missing in the store.
    let (Removal::Done | Removal::NextStart) = log.remove_ended(me).await?;
    tracing::info!("drained: everything is in the store");
    Ok(())
}
