//! When a write counts as done. A bare "OK" says that something was stored; what is trimmed, acknowledged or built upon
//! afterwards needs more ([`Evidence`]).
//!
//! | The backend has | A put | A create |
//! |---|---|---|
//! | the kernel's word | is done | is done |
//! | a hash that was compared | is done when the length is right | is done |
//! | a hash that differs | is done when all bytes are right | is done when all bytes are right |
//! | nothing | is done when the length and the last bytes are right | is done when all bytes are right |
//!
//! A put that is not right is sent again: the same bytes replace what is there. A create cannot replace anything, and
//! must not: whoever overwrites a name because its bytes look wrong would, in a store that errs, overwrite what another
//! writer was told is his. Its outcome stays `Unknown`; the same bytes are sent again, find the name taken, and are
//! compared once more (I-6). If it was the reading that failed, they are the same; if the object is damaged, they are
//! not, and the name is lost: nothing was acknowledged for it, and its own checksum tells every reader (I-9).

use crate::backend::{Evidence, ReadRange};
use crate::counters::{Operation, Outcome, Purpose};
use crate::error::StoreError;
use crate::payload::Payload;
use crate::store::Store;

/// Bytes at the end of an object that are read back after a put without a hash: the footer and what lies before it.
const LAST_BYTES_MAX: u64 = 64 * 1024;

impl Store {
    /// Whether the object is what was put.
    pub(crate) async fn check_put(
        &self,
        purpose: Purpose,
        key: &str,
        body: &Payload,
        evidence: Evidence,
    ) -> Result<(), StoreError> {
        if evidence == Evidence::Local {
            return Ok(());
        }
        let head = self.backend().head(key).await;
        let length = self.read_back(purpose, Operation::Head, key, head, |_| 0)?.len;
        if length != body.len() {
            let reason = format!("the store holds {length} bytes of the {} that were sent", body.len());
            return Err(StoreError::Damaged { key: key.to_owned(), reason });
        }
        if evidence == Evidence::Hash || body.is_empty() {
            return Ok(());
        }
        let from = if evidence == Evidence::Doubt { 0 } else { length.saturating_sub(LAST_BYTES_MAX) };
        let last = self.backend().get(key, ReadRange::Bytes(from..length)).await;
        let last = self.read_back(purpose, Operation::Get, key, last, |bytes| bytes.len() as u64)?;
        if body.skip(from).same_bytes(&last) { Ok(()) } else { Err(differs(key)) }
    }

    /// Whether the object is what was created.
    pub(crate) async fn check_created(
        &self,
        purpose: Purpose,
        key: &str,
        body: &Payload,
        evidence: Evidence,
    ) -> Result<(), StoreError> {
        if matches!(evidence, Evidence::Local | Evidence::Hash) {
            return Ok(());
        }
        let whole = self.backend().get(key, ReadRange::Whole).await;
        let whole = self.read_back(purpose, Operation::Get, key, whole, |bytes| bytes.len() as u64)?;
        if body.same_bytes(&whole) { Ok(()) } else { Err(differs(key)) }
    }

    /// Counts a read of what was just written. That it is not there, or too short, is damage.
    fn read_back<T>(
        &self,
        purpose: Purpose,
        operation: Operation,
        key: &str,
        answer: Result<T, StoreError>,
        moved: impl Fn(&T) -> u64,
    ) -> Result<T, StoreError> {
        let (outcome, bytes) = match &answer {
            Ok(answer) => (Outcome::Ok, moved(answer)),
            Err(error) => (Outcome::of(error), 0),
        };
        self.count(purpose, operation, outcome, bytes);
        answer.map_err(|error| match error {
            StoreError::NotFound { .. } | StoreError::ShortRead { .. } => {
                StoreError::Damaged { key: key.to_owned(), reason: format!("reading it back: {error}") }
            }
            other => other,
        })
    }
}

fn differs(key: &str) -> StoreError {
    let reason = "read back, its bytes are not those that were sent; the store or the way to it damages data";
    StoreError::Damaged { key: key.to_owned(), reason: reason.to_owned() }
}
