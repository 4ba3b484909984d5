//! Resolving a create (I-6): what to do about `Unknown`, and about `Exists` when the name may be one's own.
//!
//! 1. `Unknown`: send the same bytes to the same name again, after a wait, until the store answers. A read-back alone
//!    would prove nothing, because the first request may still land.
//! 2. `Exists`: read the object back. The same bytes are this writer's (the body carries its nonce), from an attempt
//!    whose reply was lost; anything else is another's, if it is read twice: one reading may be damaged on its way.
//!
//! New bytes take a new name. A caller whose names may be deleted (I-7) checks its floor after the answer.

use bytes::Bytes;
use thiserror::Error;

use crate::backend::ReadRange;
use crate::counters::{Operation, Purpose};
use crate::error::{CreateOutcome, StoreError};
use crate::payload::Payload;
use crate::store::Store;

/// The resolved outcome of a create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// The object is this writer's and durable.
    Created,
    /// The name is another's; here is what it holds.
    Exists(Bytes),
}

/// The outcome is still not known. The object may be there or may yet appear. Call again with the **same** body, or
/// give the name up for ever.
#[derive(Clone, Debug, Error)]
#[error("whether {key} was created is not known: {cause}")]
pub struct Unresolved {
    /// The name.
    pub key: String,
    /// What the last attempt met.
    pub cause: StoreError,
}

impl Unresolved {
    /// Whether calling again with the same body may help without anybody changing anything.
    pub fn is_retriable(&self) -> bool {
        self.cause.is_retriable()
    }
}

impl Store {
    /// Creates an object and resolves the outcome, in as many attempts as the retry policy allows. The body must differ
    /// from whatever any other writer could send to that name: give it a nonce.
    ///
    /// # Errors
    /// [`Unresolved`] when the attempts ran out, or at once when the cause will not go away by itself.
    pub async fn create_resolved(
        &self,
        purpose: Purpose,
        key: &str,
        body: impl Into<Payload>,
    ) -> Result<Resolved, Unresolved> {
        let body = body.into();
        let unresolved = |cause| Unresolved { key: key.to_owned(), cause };
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.create(purpose, key, body.clone()).await {
                CreateOutcome::Created => return Ok(Resolved::Created),
                CreateOutcome::Exists => {
                    let held = self.get_settled(purpose, key, .., |held| body.same_bytes(held)).await;
                    let held = held.map_err(unresolved)?;
                    return Ok(if body.same_bytes(&held) { Resolved::Created } else { Resolved::Exists(held) });
                }
                CreateOutcome::Unknown(cause) | CreateOutcome::Unproven(cause) => {
                    if !cause.is_transient() || attempts >= self.options().retry.attempts_max {
                        return Err(unresolved(cause));
                    }
                }
            }
            self.back_off(attempts).await;
            self.count_retry(purpose, Operation::Create);
        }
    }

    /// What stands under a name that is written once: the first reading that is `right`, else what two in a row agree on. One
    /// that is cut short says no more than one that is damaged.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when none was right and no two were alike, so that nothing is known of what stands there; else
    /// as [`Self::get`].
    pub async fn get_settled(
        &self,
        purpose: Purpose,
        key: &str,
        range: impl Into<ReadRange>,
        right: impl Fn(&Bytes) -> bool,
    ) -> Result<Bytes, StoreError> {
        let range = range.into();
        let mut before = None;
        let attempts_max = self.options().retry.attempts_max;
        for attempt in 1..=attempts_max {
            match self.get(purpose, key, range.clone()).await {
                Ok(held) if right(&held) || before.as_ref() == Some(&held) => return Ok(held),
                Ok(held) => before = Some(held),
                Err(StoreError::ShortRead { .. }) if attempt < attempts_max => {}
                Err(error) => return Err(error),
            }
            self.back_off(attempt).await;
        }
        let reason = "it is read otherwise each time; the store or the way to it damages data";
        Err(StoreError::Damaged { key: key.to_owned(), reason: reason.to_owned() })
    }
}
