//! Recovery: fence, replay and commit each assigned log, and say so.
//!
//! It runs beside a broker that serves as well as before one does: its memory is a budget of its own.

use base::Incarnation;
use base::memory::Budget;
use meta::{IncarnationToRecover, MetaHandle};
use stream::Engine;
use stream::catalogue::CatalogueClient;
use stream::engine::RecoverError;

use crate::log::{OwnLog, Removal, blocking};
use crate::start::StartError;
use crate::takeover::{self, Assigned};

/// Bytes of replayed records that recoveries of one node hold at once, on their way to the store: enough for two uploads
/// and a third that gathers, in chunks of 64 MiB. A node with a smaller log cache is told to use little memory, and takes as
/// much as that once more.
pub(crate) const RECOVERY_BYTES_MAX: u64 = 192 << 20;

/// What recovery found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Batches that had been acknowledged and were not in the store yet.
    pub batches: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Recovers the assigned incarnations in their order, and no others.
pub(crate) async fn recover(
    assigned: &[IncarnationToRecover],
    me: Incarnation,
    own: &OwnLog,
    engine: &Engine,
    meta: &MetaHandle,
) -> Result<Recovery, StartError> {
    let memory = Budget::new(RECOVERY_BYTES_MAX.min(engine.log_cache().1));
    let mut all = Recovery::default();
    for former in assigned {
        let id = former.incarnation;
        let (place, location) = (own.clone(), former.wal.location.clone());
        let Assigned { log, is_own } = blocking(move || takeover::find(&place, id, &location)).await?;
        match engine.recover(&log, id, former.committed, &memory).await {
            Ok(found) => {
                all.batches += found.records;
                all.bytes += found.bytes;
                base::plant::place("before-recovered");
                meta.recovered(id, me, found.end).await?;
                if is_own {
                    // What stays is looked at again before this start ends.
                    let (Removal::Done | Removal::NextStart) = own.remove_ended(id).await?;
                }
                tracing::info!(incarnation = %id, records = found.records, bytes = found.bytes, "recovered a former log");
            }
            Err(RecoverError::Damaged { at, why, .. }) => {
                let reason = format!("at position {at}: {why}");
                tracing::error!(incarnation = %id, reason, "a former log is damaged; its partitions stay offline until `headwater wal abandon {id}`");
                meta.damaged(id, me, reason).await?;
            }
            Err(source) => {
                let location = former.wal.location.clone();
                return Err(StartError::NotRecovered { incarnation: id, location, source });
            }
        }
    }
    Ok(all)
}
