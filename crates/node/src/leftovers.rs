//! What former processes left in this node's log beside what it was assigned: deaths between an incarnation's end and the
//! removal of its files, or between the making of its files and its registration.

use base::Incarnation;
use meta::MetaHandle;
use stream::catalogue::IncarnationPhase;

use crate::log::{OwnLog, Removal};
use crate::start::StartError;

/// What may be done with an incarnation that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Metadata says that its life has ended, or that an operator gave it up.
    Ended,
    /// Metadata counts on it.
    Needed,
    /// Metadata has never heard of it.
    Unknown,
}

/// Refuses logs that metadata does not know and that hold a record: they are not of this history of the cluster, and an
/// operator decides. To be asked before this node adds a log of its own.
pub(crate) async fn refuse_unknown(own: &OwnLog, meta: &MetaHandle) -> Result<(), StartError> {
    let catalogue = meta.image().catalogue.clone();
    for log in own.incarnations().await? {
        let id = log.incarnation;
        if catalogue.incarnation(id).is_none() && own.holds_records(id).await? {
            return Err(StartError::UnknownLog { incarnation: id, place: own.place(), cluster: log.cluster_id.ok() });
        }
    }
    Ok(())
}

/// Removes the files of logs that have ended, and of those that never began; then metadata need not remember them either.
pub(crate) async fn clear(own: &OwnLog, meta: &MetaHandle, me: Incarnation) -> Result<(), StartError> {
    let catalogue = meta.image().catalogue.clone();
    let (mut kept, mut removed) = (Vec::new(), Vec::new());
    for log in own.incarnations().await?.into_iter().filter(|log| log.incarnation != me) {
        let id = log.incarnation;
        let verdict = match catalogue.incarnation(id).map(|state| &state.phase) {
            None => Verdict::Unknown,
            Some(phase) if phase.is_final() => Verdict::Ended,
            Some(_) => Verdict::Needed,
        };
        match (verdict, &log.cluster_id) {
            (Verdict::Needed, _) => continue,
            // Looked at again: what it is asked for must not depend on who asked before.
            (Verdict::Unknown, _) if own.holds_records(id).await? => {
                return Err(StartError::UnknownLog {
                    incarnation: id,
                    place: own.place(),
                    cluster: log.cluster_id.ok(),
                });
            }
            // One that metadata does not know died before it could be opened: its files were made, and no more.
            (Verdict::Ended | Verdict::Unknown, Ok(_)) => match own.remove_ended(id).await? {
                Removal::Done => {}
                Removal::NextStart => {
                    kept.push(id);
                    continue;
                }
            },
            (Verdict::Ended | Verdict::Unknown, Err(why)) => {
                tracing::warn!(
                    incarnation = %id, why,
                    "a log that has ended or was given up cannot say of which cluster it is, so its files stay; `headwater wal remove {id}` removes them"
                );
                kept.push(id);
                continue;
            }
        }
        removed.push(id);
        tracing::info!(incarnation = %id, "removed the files of a log that has ended");
    }
    // What is forgotten while its files are there would be unknown to the next start. Those of a log that was given up may be
    // out of reach, and come back: it is known until somebody has found and removed them.
    for (id, state) in catalogue.incarnations().filter(|(id, _)| !kept.contains(id)) {
        let is_ours = own.is_at(&state.wal.location);
        match &state.phase {
            IncarnationPhase::Abandoned if state.is_nowhere() || is_ours && removed.contains(&id) => {
                meta.cleared(id).await?;
            }
            IncarnationPhase::Recovered { .. } if is_ours && catalogue.streams_of(id).next().is_none() => {
                meta.remove_incarnation(id).await?;
            }
            _ => {}
        }
    }
    Ok(())
}
