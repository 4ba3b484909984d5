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
    /// Logs, and not this one.
    #[error("what is at that place is not this log")]
    NotThere,
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

/// Finds the log of `incarnation`. Blocks.
pub(crate) fn find(own: &OwnLog, incarnation: Incarnation, location: &Arc<str>) -> Result<Assigned, Unreachable> {
    if own.is_at(location) {
        return Ok(Assigned { log: own.port().clone(), is_own: true });
    }
    // A log that a former process wrote elsewhere.
    let stranger = || {
        let log = visit(own.options(), location, Access::Taker)?;
        check_there(&log, incarnation, own.cluster_id()).map(|()| Arc::new(log))
    };
    let log = stranger().map_err(|why| Unreachable { incarnation, location: location.clone(), why })?;
    Ok(Assigned { log, is_own: false })
}

/// Opens the place of a log, if there is anything, as the own one was opened. Blocks.
pub(crate) fn visit(own: &BlockLogOptions, location: &str, access: Access) -> Result<BlockLog, Missing> {
    let is_missing = |error: std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
    if own.files.list(Path::new(location)).is_err_and(is_missing) {
        return Err(Missing::Nothing);
    }
    Ok(BlockLog::open(BlockLogOptions { path: location.into(), access, ..own.clone() })?)
}

/// Whether the log of `incarnation` is there, and not another cluster's of the same name.
pub(crate) fn check_there(log: &BlockLog, incarnation: Incarnation, cluster_id: &Arc<str>) -> Result<(), Missing> {
    let there = log.incarnations()?.into_iter().find(|log| log.incarnation == incarnation).ok_or(Missing::NotThere)?;
    match there.cluster_id {
        Ok(found) if *found != **cluster_id => Err(Missing::OtherCluster { found, wanted: cluster_id.clone() }),
        _ => Ok(()),
    }
}
