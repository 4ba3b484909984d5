//! Retires what batches had no room to retire, and deletes retired objects when their grace is over, then records that they are gone (I-5). Knows what to delete from
//! the image alone and never lists the bucket.

use std::time::Duration;

use base::ObjectId;
use blob::{Purpose, Store};
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
    let keys: Vec<String> = due.iter().map(|id| id.key()).collect();
    if let Err(error) = store.delete(Purpose::Metadata, &keys).await {
        tracing::warn!(%error, objects = due.len(), "deleting retired objects failed; they stay pending");
        return Err(MetaError::Unfit(error.to_string().into()));
    }
    let count = due.len();
    handle.objects_removed(due).await?;
    Ok(count)
}
