//! The node's own log place: opened and locked, and asked whose it is before anything else is done with it.

use std::sync::Arc;

use base::Incarnation;
use stream::engine::Pending;
use stream::wal::{Access, BlockLog, BlockLogOptions, Claim, OwnLog as WalPort, WalError};

use crate::memory::MemoryVolume;
use crate::options::LogPlace;
use crate::start::StartError;

/// Bytes of a log in memory: four segments, of which its records take what they need.
const MEMORY_LOG_BYTES_MAX: u64 = 256 << 20;

/// A log place that this process has locked, and has not connected with a cluster yet.
pub(crate) struct LockedLog {
    log: Arc<dyn WalPort<Pending>>,
    place: LogPlace,
}

/// The log place of a registered node.
pub(crate) struct OwnLog {
    log: Arc<dyn WalPort<Pending>>,
    place: String,
    cluster_id: Arc<str>,
}

/// Opens the place and locks it, so that no second process can fence a living first one by mistake.
pub(crate) fn lock(place: &LogPlace) -> Result<LockedLog, StartError> {
    let opened = match place {
        LogPlace::At(path) => BlockLog::open(BlockLogOptions::new(path, Access::Owner)),
        LogPlace::Memory => {
            let mut options = BlockLogOptions::new("memory", Access::Owner);
            options.capacity_bytes = MEMORY_LOG_BYTES_MAX;
            BlockLog::over(Arc::new(MemoryVolume::new(options.segment_bytes)), options)
        }
    };
    match opened {
        Ok(log) => Ok(LockedLog { log: Arc::new(log), place: place.clone() }),
        Err(source @ WalError::InUse { .. }) => Err(StartError::LogInUse { place: place.to_string(), source }),
        Err(source) => Err(StartError::LogUnusable { place: place.to_string(), source }),
    }
}

impl LockedLog {
    /// The cluster that the place's logs are of, if there are any that say so. To be asked before the registration: a log
    /// of another cluster must fence nobody of this one, and its numbers could be taken for ours.
    ///
    /// `wanted` is what the node's identity says. A store that does not last is a new cluster every time, so that no log
    /// that is there can be its own.
    pub(crate) fn cluster(&self, wanted: Option<&str>, lasting: bool) -> Result<Option<Arc<str>>, StartError> {
        let place = || self.place.to_string();
        let mut known: Option<Arc<str>> = wanted.map(Into::into);
        for log in self.log.incarnations()? {
            let incarnation = log.incarnation;
            if !lasting {
                return Err(StartError::LogBesideMemory { place: place(), incarnation, cluster: log.cluster_id.ok() });
            }
            let Ok(cluster) = log.cluster_id else { continue };
            match &known {
                Some(wanted) if **wanted != *cluster => {
                    let wanted = wanted.clone();
                    return Err(StartError::LogOfOtherCluster { place: place(), incarnation, cluster, wanted });
                }
                Some(_) => {}
                None => known = Some(cluster.into()),
            }
        }
        Ok(known)
    }

    /// The place of a node that is registered in `cluster_id`.
    pub(crate) fn registered(self, cluster_id: Arc<str>) -> OwnLog {
        OwnLog { log: self.log, place: self.place.to_string(), cluster_id }
    }
}

impl OwnLog {
    pub(crate) fn port(&self) -> &Arc<dyn WalPort<Pending>> {
        &self.log
    }

    pub(crate) fn cluster_id(&self) -> &Arc<str> {
        &self.cluster_id
    }

    /// The place, as metadata and messages name it.
    pub(crate) fn place(&self) -> String {
        self.place.clone()
    }

    pub(crate) fn is_at(&self, location: &str) -> bool {
        self.place == location
    }

    /// Removes a log of this cluster whose life has ended; refuses one whose header does not say that it is of this
    /// cluster.
    pub(crate) fn remove_ended(&self, id: Incarnation) -> Result<(), WalError> {
        self.log.remove(id, Claim::Cluster(&self.cluster_id))
    }

    /// Removes a log that an operator of this cluster gave up, even if its header is lost; never another cluster's.
    pub(crate) fn remove_given_up(&self, id: Incarnation) -> Result<(), WalError> {
        self.log.remove(id, Claim::GivenUp(&self.cluster_id))
    }
}
