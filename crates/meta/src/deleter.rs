//! Retires what batches had no room to retire, and deletes retired objects when their grace is over, then records that
//! they are gone (I-5). Knows what to delete from the image alone and never lists the bucket.
//!
//! What one object refuses does not hold up the others: a batch that is refused is deleted object by object, and a round
//! begins behind the last object that was tried, until all have been.

use std::collections::BTreeSet;
use std::time::Duration;

use base::{ObjectId, TimestampMs};
use blob::{DELETE_KEYS_MAX, Purpose, Store, StoreError};
use stream::catalogue::DELETION_GRACE;

use crate::MetaHandle;
use crate::error::MetaError;
use crate::handle::WeakHandle;
use crate::image::Image;

/// How often it looks, where nothing else is wanted.
pub const DELETION_PERIOD: Duration = Duration::from_secs(30);
/// Objects in one round of deletions and in one batch of removal records.
pub(crate) const OBJECTS_PER_ROUND: usize = 1_000;

/// Looks every `period`.
pub(crate) async fn run(handle: WeakHandle, store: Store, period: Duration) {
    let mut deleter = Deleter::new(store);
    loop {
        tokio::time::sleep(period).await;
        let Some(handle) = handle.upgrade() else { return };
        loop {
            match deleter.round(&handle).await {
                Ok(Round::More) => {}
                Err(error @ (MetaError::TooLarge { .. } | MetaError::Unfit(_))) => {
                    tracing::error!(%error, "metadata does not take what is retired or deleted; it stays pending");
                    break;
                }
                // Where the log ends for this process, its end tells so.
                Ok(Round::Done | Round::Later)
                | Err(
                    MetaError::Fenced(_)
                    | MetaError::OutcomeUnknown(_)
                    | MetaError::Unreadable(_)
                    | MetaError::Closed
                    | MetaError::GivenUp(_),
                ) => break,
            }
        }
        if handle.is_fenced() {
            return;
        }
    }
}

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    /// Everything that was due has been tried.
    Done,
    /// There may be more that is due.
    More,
    /// The store does not answer, or refuses all: what is due waits for the next look.
    Later,
}

/// Where the deletions have come to.
pub(crate) struct Deleter {
    store: Store,
    /// The last object that was tried; nothing where the next round begins with the first.
    tried: Option<ObjectId>,
}

/// Planted: deletes what is retired `after` and was not `before`, without any grace.
pub(crate) async fn delete_early(store: &Store, before: &Image, after: &Image) {
    let retired =
        |image: &Image| image.catalogue.due_for_deletion(TimestampMs(i64::MAX), Duration::ZERO, None, usize::MAX);
    let before: BTreeSet<ObjectId> = retired(before).into_iter().collect();
    let keys: Vec<_> = retired(after).into_iter().filter(|id| !before.contains(id)).map(ObjectId::key).collect();
    if let Err(error) = store.delete(Purpose::Metadata, &keys).await {
        tracing::warn!(%error, "retired objects were not deleted at once");
    }
}

/// What came of a batch.
struct Batch {
    gone: Vec<ObjectId>,
    error: Option<StoreError>,
}

impl Deleter {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, tried: None }
    }

    /// One round. What could not be deleted stays pending.
    pub(crate) async fn round(&mut self, handle: &MetaHandle) -> Result<Round, MetaError> {
        while handle.image().catalogue.has_unretired() {
            handle.retire().await?;
        }
        let (now, image) = (handle.shared.clock.now(), handle.image());
        let due = image.catalogue.due_for_deletion(now, DELETION_GRACE, self.tried, OBJECTS_PER_ROUND);
        let mut round = if due.len() < OBJECTS_PER_ROUND { Round::Done } else { Round::More };
        let mut gone = Vec::with_capacity(due.len());
        for batch in due.chunks(DELETE_KEYS_MAX) {
            let Batch { gone: went, error } = self.delete(batch).await;
            gone.extend_from_slice(&went);
            let transient = error.as_ref().is_some_and(StoreError::is_transient);
            if let Some(error) = error {
                let objects = batch.len() - went.len();
                tracing::warn!(%error, objects, "deleting retired objects failed; they stay pending");
            }
            if !transient {
                self.tried = batch.last().copied();
            }
            // Where nothing of a batch went, the next would hardly fare better.
            if transient || went.is_empty() {
                round = Round::Later;
                break;
            }
        }
        if round == Round::Done {
            self.tried = None;
        }
        if !gone.is_empty() {
            base::plant::place("after-delete");
            handle.objects_removed(gone).await?;
        }
        Ok(round)
    }

    async fn delete(&self, batch: &[ObjectId]) -> Batch {
        let keys: Vec<String> = batch.iter().map(|id| id.key()).collect();
        let refused = match self.store.delete(Purpose::Metadata, &keys).await {
            Ok(()) => return Batch { gone: batch.to_vec(), error: None },
            Err(error) => error,
        };
        if refused.is_transient() {
            return Batch { gone: Vec::new(), error: Some(refused) };
        }
        let (mut gone, mut error) = (Vec::with_capacity(batch.len()), None);
        for (id, key) in batch.iter().zip(keys) {
            match self.store.delete(Purpose::Metadata, &[key]).await {
                Ok(()) => gone.push(*id),
                Err(why) => {
                    let is_transient = why.is_transient();
                    error = Some(why);
                    if is_transient {
                        break;
                    }
                }
            }
        }
        Batch { gone, error }
    }
}
