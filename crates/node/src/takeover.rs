//! Takeover: where the log of an assigned incarnation stands, and whether it is the one that is meant.

use std::path::Path;
use std::sync::Arc;

use base::Incarnation;
use stream::wal::{Access, BlockLog, BlockLogOptions, Log, WalError};
use thiserror::Error;

use crate::log::OwnLog;

/// Why an assigned log cannot be read.
#[derive(Debug, Error)]
#[error(
    "the log of {incarnation} is at {location}, which cannot be opened; bring it back, or give up what was not uploaded \
     with `headwater wal abandon {incarnation}`"
)]
pub struct Unreachable {
    /// Whose log.
    pub incarnation: Incarnation,
    /// Where it should be.
    pub location: Arc<str>,
    /// What is there instead.
    #[source]
    pub why: Missing,
}

/// What stands where a log should be.
#[derive(Debug, Error)]
pub enum Missing {
    /// Nothing.
    #[error("there is nothing at that place")]
    Nothing,
    /// Something that cannot be read as a log.
    #[error(transparent)]
    Unreadable(#[from] WalError),
    /// The log of another cluster's broker of the same number.
    #[error("what is there now is of cluster {found}, not {wanted}")]
    OtherCluster {
        /// The cluster there.
        found: String,
        /// The cluster that the log must be of.
        wanted: Arc<str>,
    },
}

/// A log to recover.
pub(crate) struct Assigned {
    pub(crate) log: Arc<dyn Log>,
    /// Whether it stands in the node's own place, which it cleans up.
    pub(crate) is_own: bool,
}

/// Finds the log of `incarnation`.
pub(crate) fn find(own: &OwnLog, incarnation: Incarnation, location: &Arc<str>) -> Result<Assigned, Unreachable> {
    if own.is_at(location) {
        return Ok(Assigned { log: own.port().clone(), is_own: true });
    }
    let log = stranger(location, incarnation, own.cluster_id());
    let log = log.map_err(|why| Unreachable { incarnation, location: location.clone(), why })?;
    Ok(Assigned { log, is_own: false })
}

/// A log that a former process wrote elsewhere.
fn stranger(location: &str, incarnation: Incarnation, cluster_id: &Arc<str>) -> Result<Arc<dyn Log>, Missing> {
    if !Path::new(location).exists() {
        return Err(Missing::Nothing);
    }
    let log = BlockLog::open(BlockLogOptions::new(location, Access::Taker))?;
    let found = log.incarnations()?.into_iter().find(|log| log.incarnation == incarnation);
    if let Some(Ok(found)) = found.map(|log| log.cluster_id)
        && *found != **cluster_id
    {
        return Err(Missing::OtherCluster { found, wanted: cluster_id.clone() });
    }
    Ok(Arc::new(log))
}
