//! What the controller does beside its log: snapshots, floors, and the deletion of entries below them (I-7).
//!
//! Order: snapshot durable → floor marker of a range created → entries of that range deleted, except claims and the names
//! that they call void. The two newest whole snapshots stay, and the floor never passes the older one, so that one corrupt
//! snapshot costs a longer replay and nothing else. That a name is listed says nothing of what it holds, and that it
//! was put with success not enough, for the store may have been asked for its end alone: whole is what was read back
//! and is what this process sent, or what was read and decoded. Markers are immutable and made in the order of the
//! ranges; a stalled deleter that wakes later makes nothing that is not there already.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base::MetaSequence;
use blob::{CreateOutcome, Purpose, StoreError};
use parking_lot::Mutex;

use crate::error::LogError;
use crate::format::{self, SentSnapshot};
use crate::image::Image;
use crate::log::{Log, Tail};
use crate::names::{self, RANGE_ENTRIES};

/// When snapshots are made.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotPolicy {
    /// After so many entries.
    pub entries: u64,
    /// Or so many bytes of entries.
    pub bytes: u64,
}

impl Default for SnapshotPolicy {
    fn default() -> Self {
        Self { entries: 1024, bytes: 64 << 20 }
    }
}

/// The snapshots that this process put with success and that may still be there.
pub(crate) type Put = Vec<SentSnapshot>;

pub(crate) struct Housekeeper {
    log: Log,
    policy: SnapshotPolicy,
    entries: u64,
    bytes: u64,
    /// One round at a time.
    busy: Arc<AtomicBool>,
    put: Arc<Mutex<Put>>,
}

impl Housekeeper {
    /// `tail`: what was read since the newest snapshot counts, or a broker that restarts often would never make one.
    pub(crate) fn new(log: Log, policy: SnapshotPolicy, tail: Tail) -> Self {
        Self { log, policy, entries: tail.entries, bytes: tail.bytes, busy: Arc::default(), put: Arc::default() }
    }

    /// Counts an entry, and starts a round in the background when it is time.
    pub(crate) fn appended(&mut self, bytes: usize, image: &Arc<Image>) {
        self.entries += 1;
        self.bytes += bytes as u64;
        let due = self.entries >= self.policy.entries || self.bytes >= self.policy.bytes;
        if !due || self.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        (self.entries, self.bytes) = (0, 0);
        let (log, image, busy, put) = (self.log.clone(), image.clone(), self.busy.clone(), self.put.clone());
        base::task::spawn_vital("meta-housekeeping", async move {
            if let Err(error) = round(&log, &image, &put).await {
                tracing::warn!(%error, "a metadata snapshot or the deletion of old entries failed; the next round retries");
            }
            busy.store(false, Ordering::Release);
        });
    }
}

/// Snapshot, floors, deletion.
pub(crate) async fn round(log: &Log, image: &Arc<Image>, put: &Mutex<Put>) -> Result<(), LogError> {
    let failed = |key: &str, reason| StoreError::Failed { operation: "encode", key: key.to_owned(), reason };
    // A large image takes seconds, for which no task that serves should wait.
    let encoding = image.clone();
    let encoded = base::task::spawn_blocking("meta-snapshot", move || encoding.to_snapshot()).await;
    let encoded = encoded.map_err(|ended| failed(names::SNAPSHOTS, ended.to_string()))?;
    let Some((sequence, bytes)) = encoded else { return Ok(()) };
    let key = names::snapshot(sequence);
    let bytes = bytes.map_err(|error| failed(&key, error.to_string()))?;
    // Equal images make equal bytes, so it does not matter whose attempt landed.
    let sent = SentSnapshot::of(sequence, &bytes);
    log.store.put(Purpose::Metadata, &key, bytes).await?;
    base::plant::place("after-snapshot");
    let snapshots = log.snapshots().await?;
    let known = {
        let mut put = put.lock();
        put.retain(|known| known.sequence != sequence && snapshots.contains_key(&known.sequence));
        put.push(sent);
        put.clone()
    };
    // Below the snapshot just made: newer ones would be a successor's, who keeps house himself.
    let below = snapshots.range(..sequence).rev().map(|(sequence, bytes)| (*sequence, *bytes));
    let Some(older) = newest_whole(log, below, &known).await? else { return Ok(()) };
    release(log, image, older).await?;
    let old: Vec<String> = snapshots.range(..older).map(|(sequence, _)| names::snapshot(*sequence)).collect();
    Ok(log.store.delete(Purpose::Metadata, &old).await?)
}

/// The first of `snapshots` that is read back whole. Of those that this process sent it is known what they are: that is enough,
/// and what else stands at the name of one, whole or not, does not count.
async fn newest_whole(
    log: &Log,
    snapshots: impl Iterator<Item = (MetaSequence, u64)>,
    known: &Put,
) -> Result<Option<MetaSequence>, LogError> {
    for (sequence, bytes) in snapshots {
        let read = match known.iter().find(|sent| sent.sequence == sequence) {
            Some(sent) => log.check_snapshot(*sent, bytes).await,
            None => log.load_snapshot(sequence, bytes).await.map(drop),
        };
        match read {
            Ok(()) => return Ok(Some(sequence)),
            Err(error @ (LogError::Format { .. } | LogError::Replay { .. })) => {
                tracing::error!(%error, "a metadata snapshot is corrupt, or is not what was written; an older one stays until there is another");
            }
            Err(LogError::Store(StoreError::NotFound { .. })) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Releases and deletes every whole range at or below `snapshot`.
async fn release(log: &Log, image: &Image, snapshot: MetaSequence) -> Result<(), LogError> {
    let ranges = (snapshot.0 + 1) / RANGE_ENTRIES;
    let markers = log.store.list_all(Purpose::Metadata, names::FLOORS).await?;
    let released = markers.iter().filter_map(|m| names::number(&m.key, names::FLOORS)).map(|r| r + 1).max();
    // The newest released range is gone through again: whoever released it may have died before deleting.
    for range in released.unwrap_or(0).saturating_sub(1)..ranges {
        let key = names::floor(range);
        let made = if base::plant::bug("no-floor-marker") {
            // Planted: entries go, and nothing says so.
            CreateOutcome::Exists
        } else {
            // The same bytes from whoever sends them, and again after an answer that was lost (I-6): that the entries up to
            // here stand in a snapshot, and not in which.
            let last = MetaSequence((range + 1) * RANGE_ENTRIES - 1);
            log.store.create(Purpose::Metadata, &key, format::encode_floor(range, last)).await
        };
        match made {
            CreateOutcome::Created | CreateOutcome::Exists => {}
            // Nothing may be deleted unless the marker certainly stands.
            CreateOutcome::Unknown(cause) | CreateOutcome::Unproven(cause) => return Err(cause.into()),
        }
        let entries = range * RANGE_ENTRIES..(range + 1) * RANGE_ENTRIES;
        let keys: Vec<String> = entries
            .filter(|sequence| !image.kept.contains(sequence))
            .map(|sequence| names::entry(MetaSequence(sequence)))
            .collect();
        log.store.delete(Purpose::Metadata, &keys).await?;
    }
    Ok(())
}
