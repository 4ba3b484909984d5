//! A backend that misbehaves on purpose: latency, refusals before the effect, replies lost after it, effects that come
//! late, bodies damaged or cut on their way, short reads. Decided by one seed, so that a single-threaded run repeats itself; the journal tells what really
//! happened, for checkers.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use base::task;
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

use crate::backend::{Backend, BoxFuture, CreateAttempt, Evidence, ListPage, MultipartPlan, ObjectMeta, ReadRange};
use crate::counters::Operation;
use crate::error::StoreError;
use crate::payload::Payload;

/// Most entries kept in the journal; later ones are dropped.
pub const JOURNAL_ENTRIES_MAX: usize = 100_000;

/// Which faults, how often.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FaultPlan {
    /// Wait before every request: uniform within the range.
    pub latency: Option<Range<Duration>>,
    /// Probability of a 503 before any effect.
    pub unavailable: f64,
    /// Probability that a write happens and its reply is lost.
    pub lost_reply: f64,
    /// Probability that a write answers with an error and happens later all the same.
    pub late_effect: f64,
    /// How much later.
    pub late_by: Duration,
    /// Probability that a put stores other bytes than it was sent, and answers OK.
    pub damaged: f64,
    /// Probability that a put stores a part of what it was sent, and answers OK.
    pub truncated: f64,
    /// Probability that a read comes back cut.
    pub short_read: f64,
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 503 before any effect.
    Unavailable,
    /// The effect, then a reset.
    LostReply,
    /// A reset now, the effect later. Writes only; reads are refused.
    LateEffect,
    /// A bit turns over on its way, and nobody compares: the store answers OK. Writes and reads of bytes only.
    Damaged,
    /// The store publishes half of the body and answers OK. Writes of bytes only.
    Truncated,
    /// Half of the bytes. Reads only; other requests pass.
    ShortRead,
}

/// What happened to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// What was asked.
    pub operation: Operation,
    /// Of which object (the first one of a batch, the prefix of a listing).
    pub key: String,
    /// The fault it met.
    pub fault: Option<Fault>,
    /// What the backend beneath did: `None` when it was not asked (yet), else how it answered.
    pub effect: Option<String>,
}

/// A fault that the plan does not draw.
#[derive(Debug)]
struct Scripted {
    operation: Operation,
    passed: u32,
    fault: Fault,
}

#[derive(Debug)]
struct State {
    plan: FaultPlan,
    random: u64,
    scripted: Vec<Scripted>,
    unanswered: Vec<String>,
    journal: Vec<JournalEntry>,
}

/// Wraps a backend. Clones share their state.
#[derive(Clone, Debug)]
pub struct FaultyBackend {
    beneath: Arc<dyn Backend>,
    state: Arc<Mutex<State>>,
}

impl FaultyBackend {
    /// Faults as in `plan`, decided from `seed`.
    pub fn new(beneath: Arc<dyn Backend>, plan: FaultPlan, seed: u64) -> Self {
        let state = State { plan, random: seed, scripted: Vec::new(), unanswered: Vec::new(), journal: Vec::new() };
        Self { beneath, state: Arc::new(Mutex::new(state)) }
    }

    /// Changes the plan from the next request on.
    pub fn set_plan(&self, plan: FaultPlan) {
        self.state.lock().plan = plan;
    }

    /// The next request of that kind meets this fault, whatever the plan says. Several queue up.
    pub fn fail_next(&self, operation: Operation, fault: Fault) {
        self.fail_later(operation, 0, fault);
    }

    /// The request of that kind behind the next `passed` meets this fault, whatever the plan says.
    pub fn fail_later(&self, operation: Operation, passed: u32, fault: Fault) {
        self.state.lock().scripted.push(Scripted { operation, passed, fault });
    }

    /// No read of that object is answered from now on.
    pub fn never_answers(&self, key: &str) {
        self.state.lock().unanswered.push(key.to_owned());
    }

    /// What happened so far.
    pub fn journal(&self) -> Vec<JournalEntry> {
        self.state.lock().journal.clone()
    }

    fn note(&self, operation: Operation, key: &str, fault: Option<Fault>, effect: Option<String>) {
        let journal = &mut self.state.lock().journal;
        if journal.len() < JOURNAL_ENTRIES_MAX {
            journal.push(JournalEntry { operation, key: key.to_owned(), fault, effect });
        }
    }

    /// Draws a request's fate and serves its latency.
    async fn fate(&self, operation: Operation) -> Option<Fault> {
        let (wait, fault) = self.state.lock().draw(operation);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        fault
    }

    /// A request that changes the store. The effect is its own task's when it comes late.
    async fn write<T, F>(
        &self,
        operation: Operation,
        key: &str,
        refused: impl Fn(StoreError) -> T,
        effect: impl FnOnce(Arc<dyn Backend>, Option<Fault>) -> F + Send + 'static,
    ) -> T
    where
        T: std::fmt::Debug + Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let fault = self.fate(operation).await;
        let error = |reason: &str| {
            refused(StoreError::Unavailable {
                operation: operation.label(),
                key: key.to_owned(),
                reason: format!("planned fault: {reason}"),
            })
        };
        match fault {
            Some(Fault::Unavailable) => {
                self.note(operation, key, fault, None);
                error("503 before the effect")
            }
            Some(Fault::LateEffect) => {
                self.note(operation, key, fault, None);
                let (this, key) = (self.clone(), key.to_owned());
                let late_by = self.state.lock().plan.late_by;
                task::spawn("faulty-late-effect", async move {
                    tokio::time::sleep(late_by).await;
                    let answer = effect(Arc::clone(&this.beneath), None).await;
                    this.note(operation, &key, fault, Some(format!("{answer:?}")));
                });
                error("reset, the effect comes late")
            }
            Some(Fault::LostReply | Fault::Damaged | Fault::Truncated | Fault::ShortRead) | None => {
                let answer = effect(Arc::clone(&self.beneath), fault).await;
                self.note(operation, key, fault, Some(format!("{answer:?}")));
                if fault == Some(Fault::LostReply) { error("the reply is lost") } else { answer }
            }
        }
    }

    /// A request that changes nothing.
    async fn read<T>(
        &self,
        operation: Operation,
        key: &str,
        request: impl Future<Output = Result<T, StoreError>>,
        spoil: impl FnOnce(T, Fault) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let fault = self.fate(operation).await;
        if matches!(fault, Some(Fault::Unavailable | Fault::LostReply | Fault::LateEffect)) {
            self.note(operation, key, fault, None);
            return Err(StoreError::Unavailable {
                operation: operation.label(),
                key: key.to_owned(),
                reason: "planned fault: 503".to_owned(),
            });
        }
        let answer = request.await;
        self.note(operation, key, fault, Some(if answer.is_ok() { "read".to_owned() } else { "failed".to_owned() }));
        match fault {
            Some(fault) => answer.and_then(|answer| spoil(answer, fault)),
            None => answer,
        }
    }
}

impl State {
    fn uniform(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn draw(&mut self, operation: Operation) -> (Duration, Option<Fault>) {
        let share = self.uniform();
        let wait = self
            .plan
            .latency
            .as_ref()
            .map_or(Duration::ZERO, |range| range.start + range.end.saturating_sub(range.start).mul_f64(share));
        if let Some(at) = self.scripted.iter().position(|scripted| scripted.operation == operation) {
            match self.scripted[at].passed.checked_sub(1) {
                Some(passed) => self.scripted[at].passed = passed,
                None => return (wait, Some(self.scripted.remove(at).fault)),
            }
        }
        let mut dice = self.uniform();
        let reads = matches!(operation, Operation::Get | Operation::Head | Operation::List);
        let puts = matches!(operation, Operation::Put | Operation::Multipart);
        let odds = [
            (self.plan.unavailable, Fault::Unavailable),
            (if reads { 0.0 } else { self.plan.lost_reply }, Fault::LostReply),
            (if reads { 0.0 } else { self.plan.late_effect }, Fault::LateEffect),
            (if puts { self.plan.damaged } else { 0.0 }, Fault::Damaged),
            (if puts { self.plan.truncated } else { 0.0 }, Fault::Truncated),
            (if operation == Operation::Get { self.plan.short_read } else { 0.0 }, Fault::ShortRead),
        ];
        for (odd, fault) in odds {
            if dice < odd {
                return (wait, Some(fault));
            }
            dice -= odd;
        }
        (wait, None)
    }
}

/// The body as it arrives.
fn under_way(body: Payload, fault: Option<Fault>) -> Payload {
    match fault {
        Some(Fault::Damaged) => {
            let mut bytes = BytesMut::from(&body.to_contiguous()[..]);
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
            bytes.freeze().into()
        }
        Some(Fault::Truncated) => body.to_contiguous().slice(..body.len() as usize / 2).into(),
        _ => body,
    }
}

/// What a store that damages bodies can know of them.
fn evidence(fault: Option<Fault>, beneath: Evidence) -> Evidence {
    if matches!(fault, Some(Fault::Damaged | Fault::Truncated)) { Evidence::None } else { beneath }
}

impl Backend for FaultyBackend {
    fn name(&self) -> String {
        self.beneath.name()
    }

    fn lacks_create(&self) -> Option<String> {
        self.beneath.lacks_create()
    }

    fn is_remote(&self) -> bool {
        self.beneath.is_remote()
    }

    fn failed(&self) -> BoxFuture<'static, StoreError> {
        self.beneath.failed()
    }

    fn put<'a>(&'a self, key: &'a str, body: Payload) -> BoxFuture<'a, Result<Evidence, StoreError>> {
        let owned = key.to_owned();
        Box::pin(self.write(Operation::Put, key, Err, move |beneath: Arc<dyn Backend>, fault| async move {
            beneath.put(&owned, under_way(body, fault)).await.map(|beneath| evidence(fault, beneath))
        }))
    }

    fn put_multipart<'a>(
        &'a self,
        key: &'a str,
        body: Payload,
        plan: MultipartPlan,
    ) -> BoxFuture<'a, Result<(u64, Evidence), StoreError>> {
        let owned = key.to_owned();
        Box::pin(self.write(Operation::Multipart, key, Err, move |beneath: Arc<dyn Backend>, fault| async move {
            let (requests, beneath) = beneath.put_multipart(&owned, under_way(body, fault), plan).await?;
            Ok((requests, evidence(fault, beneath)))
        }))
    }

    fn create<'a>(&'a self, key: &'a str, body: Payload) -> BoxFuture<'a, CreateAttempt> {
        let owned = key.to_owned();
        let effect = move |beneath: Arc<dyn Backend>, fault| async move {
            match beneath.create(&owned, under_way(body, fault)).await {
                CreateAttempt::Created(beneath) => CreateAttempt::Created(evidence(fault, beneath)),
                other => other,
            }
        };
        Box::pin(self.write(Operation::Create, key, CreateAttempt::Unknown, effect))
    }

    fn get<'a>(&'a self, key: &'a str, range: ReadRange) -> BoxFuture<'a, Result<Bytes, StoreError>> {
        Box::pin(async move {
            let is_unanswered = self.state.lock().unanswered.iter().any(|unanswered| unanswered == key);
            if is_unanswered {
                return std::future::pending().await;
            }
            let wanted = range.clone();
            let spoil = |bytes: Bytes, fault| {
                if fault != Fault::ShortRead {
                    return Ok(under_way(bytes.into(), Some(fault)).to_contiguous());
                }
                let range = match wanted {
                    ReadRange::Bytes(range) => range,
                    ReadRange::Whole => 0..bytes.len() as u64,
                };
                Err(StoreError::ShortRead { key: key.to_owned(), range, got: bytes.len() as u64 / 2 })
            };
            self.read(Operation::Get, key, self.beneath.get(key, range), spoil).await
        })
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<ObjectMeta, StoreError>> {
        Box::pin(self.read(Operation::Head, key, self.beneath.head(key), |answer, _| Ok(answer)))
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        start_after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<ListPage, StoreError>> {
        Box::pin(self.read(Operation::List, prefix, self.beneath.list(prefix, start_after, limit), |page, _| Ok(page)))
    }

    fn delete_batch<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), StoreError>> {
        let owned = keys.to_vec();
        let first = keys.first().map_or("", String::as_str);
        Box::pin(self.write(Operation::Delete, first, Err, move |beneath: Arc<dyn Backend>, _| async move {
            beneath.delete_batch(&owned).await
        }))
    }
}
