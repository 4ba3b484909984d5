//! When a write counts as done. A bare "OK" says that something was stored; what is trimmed, acknowledged or built upon
//! afterwards needs more ([`Evidence`]).
//!
//! | The backend has | A put | A create |
//! |---|---|---|
//! | the kernel's word | is done | is done |
//! | a hash that was compared | is done when the length is right | is done when the length is right |
//! | a hash that differs | is done when all bytes are right | is done when all bytes are right |
//! | nothing | is done when the length and the last bytes are right | is done when all bytes are right |
//!
//! The length is asked for because a store may compare all of what came and then keep a part of it. Looking back has time
//! of its own, measured by the bytes that it moves.
//!
//! A put that is not right is sent again: the same bytes replace what is there. A create cannot replace anything, and
//! must not: whoever overwrites a name because its bytes look wrong would, in a store that errs, overwrite what another
//! writer was told is his. Its outcome is `Unproven`; the same bytes are sent again, find the name taken, and are
//! compared once more (I-6). If it was the reading that failed, they are the same; if the object is damaged, they are
//! not, and the name is lost: nothing was acknowledged for it, its own checksum tells every reader (I-9), and whoever
//! lost it goes on under another.

use crate::backend::{Evidence, ReadRange};
use crate::counters::{Operation, Outcome, Purpose};
use crate::error::StoreError;
use crate::payload::Payload;
use crate::retry::Moves;
use crate::store::{Request, Store, TimedOut};

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
        attempt: u32,
    ) -> Result<(), StoreError> {
        match evidence {
            Evidence::None if body.len() > LAST_BYTES_MAX => {
                self.check_length(purpose, key, body, attempt).await?;
                self.check_bytes(purpose, key, body, body.len() - LAST_BYTES_MAX, attempt).await
            }
            evidence => self.check_created(purpose, key, body, evidence, attempt).await,
        }
    }

    /// Whether the object is what was created.
    pub(crate) async fn check_created(
        &self,
        purpose: Purpose,
        key: &str,
        body: &Payload,
        evidence: Evidence,
        attempt: u32,
    ) -> Result<(), StoreError> {
        match evidence {
            Evidence::Local => Ok(()),
            Evidence::Hash => self.check_length(purpose, key, body, attempt).await,
            Evidence::None => self.check_bytes(purpose, key, body, 0, attempt).await,
            Evidence::Doubt(doubt) => {
                self.check_bytes(purpose, key, body, 0, attempt).await?;
                doubt.found_right();
                Ok(())
            }
        }
    }

    /// Whether the object is as long as what was sent.
    async fn check_length(&self, purpose: Purpose, key: &str, body: &Payload, attempt: u32) -> Result<(), StoreError> {
        let request = Request { purpose, operation: Operation::Head, key, moves: Moves::Bytes(0) };
        let length = self.read_back(request, attempt, self.backend().head(key), |_| 0).await?.len;
        if length == body.len() {
            return Ok(());
        }
        let reason = format!("the store holds {length} bytes of the {} that were sent", body.len());
        Err(StoreError::Damaged { key: key.to_owned(), reason })
    }

    /// Whether the bytes from `from` on are those that were sent; from 0 on this asks for the length, too.
    async fn check_bytes(
        &self,
        purpose: Purpose,
        key: &str,
        body: &Payload,
        from: u64,
        attempt: u32,
    ) -> Result<(), StoreError> {
        let range = if from == 0 { ReadRange::Whole } else { ReadRange::Bytes(from..body.len()) };
        let moves = Moves::Bytes(body.len() - from);
        let request = Request { purpose, operation: Operation::Get, key, moves };
        let held = self.read_back(request, attempt, self.backend().get(key, range), |bytes| bytes.len() as u64).await?;
        if body.skip(from).same_bytes(&held) { Ok(()) } else { Err(differs(key)) }
    }

    /// Reads what was just written, once, and counts it. That it is not there, or too short, is damage.
    async fn read_back<T>(
        &self,
        request: Request<'_>,
        attempt: u32,
        read: impl Future<Output = Result<T, StoreError>>,
        moved: impl Fn(&T) -> u64,
    ) -> Result<T, StoreError> {
        let Request { purpose, operation, key, moves } = request;
        let answer = self.timed(operation.label(), key, moves, attempt - 1, read).await;
        let answer = answer.unwrap_or_else(|TimedOut(error)| Err(error));
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use bytes::{Bytes, BytesMut};

    use crate::answer::{Ours, Tags, Theirs};
    use crate::backend::{Backend, BoxFuture, CreateAttempt, ListPage, MultipartPlan, ObjectMeta};
    use crate::faulty::{FaultPlan, FaultyBackend};
    use crate::memory::MemoryBackend;
    use crate::store::StoreOptions;

    use super::*;

    const P: Purpose = Purpose::Upload;

    /// A store behind a network whose tags of objects in parts are no hashes, and whose way turns a bit over if told so.
    #[derive(Debug, Default)]
    struct Untold {
        beneath: MemoryBackend,
        tags: Tags,
        damages: AtomicBool,
    }

    impl Backend for Untold {
        fn name(&self) -> String {
            "untold".to_owned()
        }

        fn is_remote(&self) -> bool {
            true
        }

        fn put<'a>(&'a self, key: &'a str, body: Payload) -> BoxFuture<'a, Result<Evidence, StoreError>> {
            Box::pin(async move { self.beneath.put(key, body).await.map(|_| Evidence::None) })
        }

        fn put_multipart<'a>(
            &'a self,
            key: &'a str,
            body: Payload,
            plan: MultipartPlan,
        ) -> BoxFuture<'a, Result<(u64, Evidence), StoreError>> {
            Box::pin(async move {
                let ours = Ours::of(body.clone(), Some(plan.part_bytes)).await.unwrap();
                let mut bytes = BytesMut::from(&body.to_contiguous()[..]);
                bytes[0] ^= u8::from(self.damages.load(Ordering::Relaxed));
                self.beneath.put(key, bytes.freeze().into()).await?;
                let theirs = Theirs::Tag("00000000000000000000000000000000-3".to_owned());
                Ok((3, self.tags.compare(key, &theirs, &ours, true)?))
            })
        }

        fn create<'a>(&'a self, key: &'a str, body: Payload) -> BoxFuture<'a, CreateAttempt> {
            self.beneath.create(key, body)
        }

        fn get<'a>(&'a self, key: &'a str, range: ReadRange) -> BoxFuture<'a, Result<Bytes, StoreError>> {
            self.beneath.get(key, range)
        }

        fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<ObjectMeta, StoreError>> {
            self.beneath.head(key)
        }

        fn list<'a>(
            &'a self,
            prefix: &'a str,
            start_after: Option<&'a str>,
            limit: usize,
        ) -> BoxFuture<'a, Result<ListPage, StoreError>> {
            self.beneath.list(prefix, start_after, limit)
        }

        fn delete_batch<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), StoreError>> {
            self.beneath.delete_batch(keys)
        }
    }

    fn untold() -> (Arc<Untold>, FaultyBackend, Store) {
        let backend = Arc::new(Untold::default());
        let faults = FaultyBackend::new(backend.clone(), FaultPlan::default(), 1);
        let options = StoreOptions { single_put_bytes_max: 8, ..StoreOptions::default() };
        let store = Store::with_backend(Arc::new(faults.clone()), options);
        (backend, faults, store)
    }

    fn body() -> Bytes {
        Bytes::from(vec![7; LAST_BYTES_MAX as usize + 1])
    }

    fn bytes_read(store: &Store) -> u64 {
        store.counters().row(P, Operation::Get).map_or(0, |row| row.bytes)
    }

    #[tokio::test(start_paused = true)]
    async fn damage_that_was_seen_is_never_taken_for_a_tag_that_is_no_hash() {
        let (backend, _, store) = untold();
        backend.damages.store(true, Ordering::Relaxed);
        for _ in 0..5 {
            let error = store.put(P, "a", body()).await.unwrap_err();
            assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        }
        assert!(store.counters().row(P, Operation::Multipart).unwrap().retries > 30);
    }

    #[tokio::test(start_paused = true)]
    async fn only_tags_whose_bytes_were_found_right_count_as_no_hash() {
        let (_, faults, store) = untold();
        faults.set_plan(FaultPlan { short_read: 1.0, ..FaultPlan::default() });
        for _ in 0..5 {
            store.put(P, "a", body()).await.unwrap_err();
        }
        faults.set_plan(FaultPlan::default());
        let whole = body().len() as u64;
        for n in 1..=16 {
            store.put(P, "a", body()).await.unwrap();
            assert_eq!(bytes_read(&store), n * whole, "nobody could look before");
        }
        store.put(P, "a", body()).await.unwrap();
        assert_eq!(bytes_read(&store), 16 * whole + LAST_BYTES_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn looking_back_at_an_object_does_not_use_up_the_time_of_its_write() {
        let (_, faults, store) = untold();
        let nearly = store.options().retry.attempt_time_max - Duration::from_secs(1);
        faults.set_plan(FaultPlan { latency: Some(nearly..nearly), ..FaultPlan::default() });
        store.put(P, "a", body()).await.unwrap();
        assert_eq!(store.counters().row(P, Operation::Multipart).unwrap().retries, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_of_unknown_length_is_waited_for_as_a_short_one_at_first() {
        let (_, faults, small) = untold();
        small.put(P, "a", body()).await.unwrap();
        let store = Store::with_backend(Arc::new(faults.clone()), StoreOptions::default());
        // Longer than an attempt that moves nothing has, and not longer than one that may move much.
        let late = store.options().retry.attempt_time_max + Duration::from_secs(10);
        faults.set_plan(FaultPlan { latency: Some(late..late), ..FaultPlan::default() });
        store.get(P, "a", ..).await.unwrap();
        // 15 and 19 s were too short.
        assert_eq!(store.counters().row(P, Operation::Get).unwrap().retries, 2);
    }
}
