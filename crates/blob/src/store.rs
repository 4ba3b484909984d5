//! The handle that everyone uses: checks names and ranges, cuts large objects, retries what may be retried, limits
//! time, counts.
//!
//! A create is one attempt, always: whether to send it again, with which bytes, is decided by the caller who knows what
//! the name means ([`Store::create_resolved`] is the common decision).

use std::future::{Future, ready};
use std::sync::Arc;

use base::{Clock, Entropy};
use bytes::Bytes;

use crate::backend::{
    Backend, CreateAttempt, DELETE_KEYS_MAX, LIST_PAGE_MAX, ListPage, MultipartPlan, ObjectMeta, ReadRange, check_key,
    check_prefix, parts_range,
};
use crate::counters::{Counters, CountersSnapshot, Operation, Outcome, Purpose};
use crate::error::{CreateOutcome, OpenError, StoreError};
use crate::memory::MemoryBackend;
use crate::payload::Payload;
use crate::range::check_range;
use crate::retry::{Health, Monitor, Moves, RetryPolicy};
use crate::stores::Stores;
use crate::turns::Turns;

/// Most attempts at a read that comes back short.
const SHORT_READ_ATTEMPTS_MAX: u32 = 3;

/// What deleting one key adds to the time of an attempt, as a number of bytes moved: some stores delete one by one.
const DELETE_KEY_AS_BYTES: u64 = 512 * 1024;

/// Settings of a store.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// How requests are retried and how long they may take.
    pub retry: RetryPolicy,
    /// Objects larger than this are written in parts.
    pub single_put_bytes_max: u64,
    /// How they are cut. 16 MiB parts allow objects of 156 GiB within S3's 10,000 parts.
    pub multipart: MultipartPlan,
    /// Source of time.
    pub clock: Clock,
    /// Source of jitter and nonces.
    pub entropy: Entropy,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            retry: RetryPolicy::default(),
            single_put_bytes_max: 32 << 20,
            multipart: MultipartPlan { part_bytes: 16 << 20, concurrency: 4 },
            clock: Clock::system(),
            entropy: Entropy::system(),
        }
    }
}

/// A clonable handle on one object store.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    backend: Arc<dyn Backend>,
    options: StoreOptions,
    counters: Arc<Counters>,
    monitor: Monitor,
    /// Held during each attempt at a write that did not end in its time before.
    alone: Turns,
}

/// One request, for counting and for messages.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) purpose: Purpose,
    pub(crate) operation: Operation,
    pub(crate) key: &'a str,
    /// What it will move, as far as is known before.
    pub(crate) moves: Moves,
}

/// An attempt had no more time.
pub(crate) struct TimedOut(pub(crate) StoreError);

impl Store {
    /// Opens the store at `url`. For clouds this only checks the settings: the first request is [`crate::probe`]'s.
    ///
    /// # Errors
    /// When the URL is not understood or the directory cannot be used.
    pub async fn open(url: &str, options: StoreOptions) -> Result<Self, OpenError> {
        Stores::system().open(url, options).await
    }

    /// A store over a backend of the caller's, such as [`crate::faulty::FaultyBackend`].
    pub fn with_backend(backend: Arc<dyn Backend>, options: StoreOptions) -> Self {
        let monitor = Monitor::new(options.clock.clone(), options.retry.budget);
        let (counters, alone) = (Arc::new(Counters::new()), Turns::default());
        Self(Arc::new(Inner { backend, options, counters, monitor, alone }))
    }

    /// The same store with an allowance of retries of its own, so that what fails here is not held against others.
    #[must_use]
    pub fn aside(&self) -> Self {
        let Inner { backend, options, counters, alone, .. } = &*self.0;
        let monitor = Monitor::new(options.clock.clone(), options.retry.budget);
        let (backend, options, counters) = (backend.clone(), options.clone(), counters.clone());
        Self(Arc::new(Inner { backend, options, counters, monitor, alone: alone.clone() }))
    }

    /// A fresh store in memory.
    pub fn memory() -> Self {
        Self::with_backend(Arc::new(MemoryBackend::new()), StoreOptions::default())
    }

    /// The store as a user knows it, without secrets.
    pub fn name(&self) -> String {
        self.0.backend.name()
    }

    /// `None` when the store has conditional create, else why it has not.
    pub fn lacks_create(&self) -> Option<String> {
        self.0.backend.lacks_create()
    }

    /// Whether requests cross a network.
    pub fn is_remote(&self) -> bool {
        self.0.backend.is_remote()
    }

    /// Resolves, with the reason, once nothing more can be written through this handle and those that share its store until
    /// the process starts again. Whoever writes goes on trying, so the process should end.
    pub async fn failed(&self) -> StoreError {
        self.0.backend.failed().await
    }

    /// The settings that the store was opened with.
    pub fn options(&self) -> &StoreOptions {
        &self.0.options
    }

    /// All requests so far, by purpose, operation and outcome.
    pub fn counters(&self) -> CountersSnapshot {
        self.0.counters.snapshot()
    }

    /// What the requests have lately met.
    pub fn health(&self) -> Health {
        self.0.monitor.health()
    }

    /// Writes or replaces an object. It is whole and durable when this returns, and more than the store's bare word says
    /// so. After an error it may be there, whole or damaged, or not.
    ///
    /// # Errors
    /// See [`StoreError`]; transient failures were already retried.
    pub async fn put(&self, purpose: Purpose, key: &str, body: impl Into<Payload>) -> Result<(), StoreError> {
        check_key(key)?;
        let body = &body.into();
        let bytes = body.len();
        let backend = &self.0.backend;
        if backend.is_remote() && bytes > self.0.options.single_put_bytes_max {
            let plan = self.0.options.multipart;
            let request = Request { purpose, operation: Operation::Multipart, key, moves: Moves::Bytes(bytes) };
            let write = || backend.put_multipart(key, body.clone(), plan);
            let check = |(requests, evidence), attempt| async move {
                self.check_put(purpose, key, body, evidence, attempt).await.map(|()| requests)
            };
            let requests = self.retried_until_right(request, write, check, |_| 0).await?;
            // The attempt itself was counted as one request; here come the parts.
            self.0.counters.count(purpose, Operation::Multipart, Outcome::Ok, requests.saturating_sub(1), bytes);
            return Ok(());
        }
        let request = Request { purpose, operation: Operation::Put, key, moves: Moves::Bytes(bytes) };
        let write = || backend.put(key, body.clone());
        let check = |evidence, attempt| self.check_put(purpose, key, body, evidence, attempt);
        self.retried_until_right(request, write, check, |()| bytes).await
    }

    /// Writes an object if the name is free: one attempt, and what came of it (I-6). The body should carry a nonce of the
    /// writer, so that a later comparison can tell its bytes from another's.
    pub async fn create(&self, purpose: Purpose, key: &str, body: impl Into<Payload>) -> CreateOutcome {
        if let Err(error) = check_key(key) {
            return CreateOutcome::Unknown(error);
        }
        let body = body.into();
        let bytes = body.len();
        let attempt = async { Ok(self.0.backend.create(key, body.clone()).await) };
        let outcome = match self.timed("create", key, Moves::Bytes(bytes), 0, attempt).await {
            Ok(Ok(CreateAttempt::Created(evidence))) => {
                match self.check_created(purpose, key, &body, evidence, 1).await {
                    Ok(()) => CreateOutcome::Created,
                    Err(cause) => CreateOutcome::Unproven(cause),
                }
            }
            Ok(Ok(CreateAttempt::Exists)) => CreateOutcome::Exists,
            Ok(Ok(CreateAttempt::Unknown(cause)) | Err(cause)) | Err(TimedOut(cause)) => CreateOutcome::Unknown(cause),
        };
        let (label, moved) = match &outcome {
            CreateOutcome::Created => (Outcome::Ok, bytes),
            CreateOutcome::Exists => (Outcome::Exists, 0),
            CreateOutcome::Unknown(_) | CreateOutcome::Unproven(_) => (Outcome::Unknown, 0),
        };
        self.0.counters.count(purpose, Operation::Create, label, 1, moved);
        match &outcome {
            CreateOutcome::Unknown(error) | CreateOutcome::Unproven(error) => self.note_failure(error),
            _ => self.0.monitor.answered(),
        }
        outcome
    }

    /// Reads bytes of an object: `store.get(purpose, key, 0..100)`, or `..` for all. Answers exactly the bytes asked
    /// for; fewer are [`StoreError::ShortRead`], a missing object is [`StoreError::NotFound`].
    ///
    /// # Errors
    /// See [`StoreError`]; transient failures were already retried.
    pub async fn get(&self, purpose: Purpose, key: &str, range: impl Into<ReadRange>) -> Result<Bytes, StoreError> {
        let range = range.into();
        let moves = match &range {
            ReadRange::Bytes(range) => Moves::Bytes(range.end.saturating_sub(range.start)),
            ReadRange::Whole => Moves::AtMost(self.0.options.single_put_bytes_max),
        };
        self.get_moving(purpose, key, range, moves).await
    }

    /// As [`Self::get`] of all of an object that is known to have about so many bytes: a large one has the time for them from
    /// the first attempt on. However many it has, all of them are read.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn get_of_size(&self, purpose: Purpose, key: &str, bytes: u64) -> Result<Bytes, StoreError> {
        self.get_moving(purpose, key, ReadRange::Whole, Moves::Bytes(bytes)).await
    }

    async fn get_moving(
        &self,
        purpose: Purpose,
        key: &str,
        range: ReadRange,
        moves: Moves,
    ) -> Result<Bytes, StoreError> {
        check_key(key)?;
        check_range(key, &range)?;
        // HTTP has no way to ask for nothing.
        if matches!(&range, ReadRange::Bytes(range) if range.is_empty()) {
            return Ok(Bytes::new());
        }
        let request = Request { purpose, operation: Operation::Get, key, moves };
        let read = || {
            let range = range.clone();
            async move {
                let bytes = self.0.backend.get(key, range.clone()).await?;
                match range {
                    // Planted: an object ends where the answer does.
                    _ if base::plant::bug("short-read-is-the-end") => Ok(bytes),
                    ReadRange::Bytes(range) if bytes.len() as u64 != range.end - range.start => {
                        Err(StoreError::ShortRead { key: key.to_owned(), range, got: bytes.len() as u64 })
                    }
                    _ => Ok(bytes),
                }
            }
        };
        self.retried(request, read, |bytes| bytes.len() as u64).await
    }

    /// Reads consecutive parts of an object with one request, each into memory of its own.
    ///
    /// # Errors
    /// See [`StoreError`]; transient failures were already retried.
    pub async fn get_parts(
        &self,
        purpose: Purpose,
        key: &str,
        start: u64,
        lengths: &[u32],
    ) -> Result<Vec<Bytes>, StoreError> {
        check_key(key)?;
        let range = parts_range(start, lengths);
        check_range(key, &ReadRange::Bytes(range.clone()))?;
        if range.is_empty() {
            return Ok(vec![Bytes::new(); lengths.len()]);
        }
        let moves = Moves::Bytes(range.end - range.start);
        let request = Request { purpose, operation: Operation::Get, key, moves };
        let read = || {
            let range = range.clone();
            async move {
                let parts = self.0.backend.get_parts(key, start, lengths).await?;
                let whole = parts.iter().map(Bytes::len).eq(lengths.iter().map(|length| *length as usize));
                let got = parts.iter().map(|part| part.len() as u64).sum();
                if whole { Ok(parts) } else { Err(StoreError::ShortRead { key: key.to_owned(), range, got }) }
            }
        };
        self.retried(request, read, |parts| parts.iter().map(|part| part.len() as u64).sum()).await
    }

    /// The length of an object.
    ///
    /// # Errors
    /// See [`StoreError`]; transient failures were already retried.
    pub async fn head(&self, purpose: Purpose, key: &str) -> Result<ObjectMeta, StoreError> {
        check_key(key)?;
        let request = Request { purpose, operation: Operation::Head, key, moves: Moves::Bytes(0) };
        self.retried(request, || self.0.backend.head(key), |_| 0).await
    }

    /// One page of up to 1,000 objects whose names start with `prefix` and lie after `start_after`, in byte order.
    /// Continue after the last key while `more` is set.
    ///
    /// # Errors
    /// See [`StoreError`]; transient failures were already retried.
    pub async fn list(
        &self,
        purpose: Purpose,
        prefix: &str,
        start_after: Option<&str>,
    ) -> Result<ListPage, StoreError> {
        check_prefix(prefix)?;
        let request = Request { purpose, operation: Operation::List, key: prefix, moves: Moves::Bytes(0) };
        let page = self.retried(request, || self.0.backend.list(prefix, start_after, LIST_PAGE_MAX), |_| 0).await;
        if page.is_err() && base::plant::bug("short-read-is-the-end") {
            // Planted: nothing is there where no answer comes.
            return Ok(ListPage::default());
        }
        page
    }

    /// Every object under `prefix`, page by page. For prefixes known to hold few objects.
    ///
    /// # Errors
    /// See [`StoreError`]; a failed page fails the whole listing, so an answer is never a part.
    pub async fn list_all(&self, purpose: Purpose, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        let mut objects: Vec<ObjectMeta> = Vec::new();
        loop {
            let after = objects.last().map(|object| object.key.as_str());
            let page = self.list(purpose, prefix, after).await?;
            let (more, empty) = (page.more, page.objects.is_empty());
            objects.extend(page.objects);
            if !more || empty {
                return Ok(objects);
            }
        }
    }

    /// Deletes objects, many to a request. Names that do not exist are no error.
    ///
    /// # Errors
    /// See [`StoreError`]; after an error any of them may be gone.
    pub async fn delete(&self, purpose: Purpose, keys: &[String]) -> Result<(), StoreError> {
        for key in keys {
            check_key(key)?;
        }
        for batch in keys.chunks(DELETE_KEYS_MAX) {
            let moves = Moves::Bytes(batch.len() as u64 * DELETE_KEY_AS_BYTES);
            let request = Request { purpose, operation: Operation::Delete, key: &batch[0], moves };
            self.retried(request, || self.0.backend.delete_batch(batch), |()| 0).await?;
        }
        Ok(())
    }

    /// Finds out whether the store compares the checksums that go with a write; a store that does need not be read back
    /// to be believed. Leaves an object under `key`, or none.
    ///
    /// # Errors
    /// See [`StoreError`]; transient failures were already retried.
    pub(crate) async fn test_checksums(&self, purpose: Purpose, key: &str) -> Result<bool, StoreError> {
        check_key(key)?;
        let request = Request { purpose, operation: Operation::Put, key, moves: Moves::Bytes(0) };
        self.retried(request, || self.0.backend.test_checksums(key), |_| 0).await
    }

    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.0.backend
    }

    /// Counts one request that is part of another.
    pub(crate) fn count(&self, purpose: Purpose, operation: Operation, outcome: Outcome, bytes: u64) {
        self.0.counters.count(purpose, operation, outcome, 1, bytes);
    }

    /// Waits as before attempt `attempt` (from 1) of any request, visibly in [`Store::health`].
    pub(crate) async fn back_off(&self, attempt: u32) {
        let wait = self.0.options.retry.wait(attempt, &self.0.options.entropy);
        self.0.monitor.back_off(wait).await;
    }

    /// Counts a repeated create.
    pub(crate) fn count_retry(&self, purpose: Purpose, operation: Operation) {
        self.0.counters.retried(purpose, operation);
    }

    /// One request with retries.
    async fn retried<T, F>(
        &self,
        request: Request<'_>,
        attempt: impl Fn() -> F,
        moved: impl Fn(&T) -> u64,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        self.retried_until_right(request, attempt, |answer, _| ready(Ok(answer)), moved).await
    }

    /// One request with retries, repeated too if what it did is not right. `check` is told which attempt it looks at, and
    /// limits its own time. With the budget empty the failure is still answered only after a wait, so that a caller who
    /// tries again at once cannot spin.
    async fn retried_until_right<A, T, F, C>(
        &self,
        request: Request<'_>,
        attempt: impl Fn() -> F,
        check: impl Fn(A, u32) -> C,
        moved: impl Fn(&T) -> u64,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<A, StoreError>>,
        C: Future<Output = Result<T, StoreError>>,
    {
        let Request { purpose, operation, key, moves } = request;
        let is_write = matches!(operation, Operation::Put | Operation::Multipart);
        let (mut attempts, mut timeouts) = (0, 0);
        let ticket = is_write.then(|| self.0.alone.ticket());
        let mut goes_alone = None;
        loop {
            attempts += 1;
            // Not while it backs off: the way would lie idle.
            let alone = match goes_alone {
                Some(ticket) => Some(self.0.alone.of(ticket).await),
                None => None,
            };
            // What fails soon says nothing of how long it takes.
            let (result, timed_out) = match self.timed(operation.label(), key, moves, timeouts, attempt()).await {
                Ok(Ok(answer)) => (check(answer, attempts).await, false),
                Ok(Err(error)) => (Err(error), false),
                Err(TimedOut(error)) => (Err(error), true),
            };
            timeouts += u32::from(timed_out);
            drop(alone);
            let (outcome, transferred) = match &result {
                Ok(answer) => (Outcome::Ok, moved(answer)),
                Err(error) => (Outcome::of(error), 0),
            };
            self.0.counters.count(purpose, operation, outcome, 1, transferred);
            let error = match result {
                Ok(answer) => {
                    self.0.monitor.answered();
                    return Ok(answer);
                }
                Err(error @ StoreError::NotFound { .. }) => {
                    self.0.monitor.answered();
                    return Err(error);
                }
                Err(error) => error,
            };
            self.note_failure(&error);
            let attempts_max = match error {
                // A reply may have been cut on its way; an object that is too short stays so.
                StoreError::ShortRead { .. } => self.0.options.retry.attempts_max.min(SHORT_READ_ATTEMPTS_MAX),
                _ => self.0.options.retry.attempts_max,
            };
            if !error.is_transient() || attempts >= attempts_max {
                return Err(error);
            }
            if timed_out {
                goes_alone = ticket;
            }
            let may_retry = timed_out && is_write || self.0.monitor.take_retry();
            self.back_off(attempts).await;
            if !may_retry {
                return Err(error);
            }
            self.0.counters.retried(purpose, operation);
        }
    }

    /// Limits the time of an attempt, behind so many that ran out of it, on stores behind a network.
    pub(crate) async fn timed<T>(
        &self,
        operation: &'static str,
        key: &str,
        moves: Moves,
        timeouts: u32,
        attempt: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<Result<T, StoreError>, TimedOut> {
        if !self.0.backend.is_remote() {
            return Ok(attempt.await);
        }
        let limit = self.0.options.retry.attempt_time(moves, timeouts);
        tokio::time::timeout(limit, attempt).await.map_err(|_| {
            let reason = format!("no answer within {limit:?}");
            TimedOut(StoreError::Unavailable { operation, key: key.to_owned(), reason })
        })
    }

    fn note_failure(&self, error: &StoreError) {
        if self.0.monitor.failed(error) {
            tracing::warn!(store = %self.name(), %error, "a request to the object store failed");
        }
    }
}
