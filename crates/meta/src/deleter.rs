//! Retires what batches had no room to retire, and deletes retired objects when their grace is over, then records that they are gone (I-5). Knows what to delete from
//! the image alone and never lists the bucket.

use std::time::Duration;

use base::ObjectId;
use blob::{DELETE_KEYS_MAX, Purpose, Store};
use stream::catalogue::DELETION_GRACE;

use crate::error::MetaError;
use crate::handle::WeakHandle;

/// How often it looks.
const PERIOD: Duration = Duration::from_secs(30);
/// Objects in one round of deletions and in one batch of removal records.
pub(crate) const OBJECTS_PER_ROUND: usize = 1_000;

pub(crate) async fn run(handle: WeakHandle, store: Store) {
    loop {
        tokio::time::sleep(PERIOD).await;
        let Some(handle) = handle.upgrade() else { return };
        while let Ok(deleted) = round(&handle, &store).await {
            if deleted < OBJECTS_PER_ROUND {
                break;
            }
        }
        if handle.is_fenced() {
            return;
        }
    }
}

/// One round; answers how many objects went. A failure leaves them pending.
pub(crate) async fn round(handle: &crate::MetaHandle, store: &Store) -> Result<usize, MetaError> {
    while handle.image().catalogue.has_unretired() {
        handle.retire().await?;
    }
    let now = handle.shared.clock.now();
    let due: Vec<ObjectId> = handle.image().catalogue.due_for_deletion(now, DELETION_GRACE, OBJECTS_PER_ROUND);
    if due.is_empty() {
        return Ok(0);
    }
    let count = due.len();
    let (mut gone, mut failed) = (Vec::with_capacity(count), None);
    for batch in due.chunks(DELETE_KEYS_MAX) {
        let keys: Vec<String> = batch.iter().map(|id| id.key()).collect();
        match store.delete(Purpose::Metadata, &keys).await {
            Ok(()) => gone.extend_from_slice(batch),
            Err(error) => {
                tracing::warn!(%error, objects = batch.len(), "deleting retired objects failed; they stay pending");
                let is_transient = error.is_transient();
                failed = Some(MetaError::Unfit(error.to_string().into()));
                if is_transient {
                    break;
                }
            }
        }
    }
    // What one object refuses does not hold up the others.
    if !gone.is_empty() {
        handle.objects_removed(gone).await?;
    }
    failed.map_or(Ok(count), Err)
}
