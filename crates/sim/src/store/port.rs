//! One process's way to the store.

use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use blob::backend::{BoxFuture, CreateAttempt, Evidence, MultipartPlan};
use blob::{
    Backend, ListPage, ObjectMeta, OpenError, Operation, Payload, ReadRange, StoreError, StoreOptions, StoreSource,
};
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::plan::Fate;
use super::{ObjectStore, Outage};
use crate::faults::Fault;
use crate::process::Process;

#[derive(Clone)]
pub(super) struct Port {
    pub(super) store: ObjectStore,
    pub(super) process: Process,
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store of {:?}", self.process)
    }
}

/// What is asked, without its body.
#[derive(Clone)]
struct Asked {
    operation: Operation,
    key: String,
    /// Bytes that go there.
    bytes: u64,
}

impl Asked {
    fn of(operation: Operation, key: &str, bytes: u64) -> Self {
        Self { operation, key: key.to_owned(), bytes }
    }

    fn failed(&self, reason: &str) -> StoreError {
        StoreError::Unavailable { operation: self.operation.label(), key: self.key.clone(), reason: reason.to_owned() }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.operation.label(), self.key)
    }
}

impl Port {
    /// Sends a request and waits for its answer; `weigh` says how many bytes of a body come back.
    async fn request<T: Send + 'static>(
        &self,
        asked: Asked,
        effect: impl FnOnce(&Self, &Fate) -> Result<T, StoreError> + Send + 'static,
        weigh: fn(&T) -> u64,
    ) -> Result<T, StoreError> {
        if self.process.is_dead() {
            return pending().await;
        }
        let (answer, answered) = oneshot::channel();
        let fate = self.store.0.state.lock().plan.draw(&self.store.0.dice, asked.operation);
        let this = self.clone();
        self.store.0.errands.send(async move { this.travel(asked, fate, effect, weigh, answer).await });
        match answered.await {
            Ok(answer) => answer,
            // Silence: whoever waits has a time limit.
            Err(_) => pending().await,
        }
    }

    async fn travel<T>(
        &self,
        asked: Asked,
        fate: Fate,
        effect: impl FnOnce(&Self, &Fate) -> Result<T, StoreError>,
        weigh: fn(&T) -> u64,
        answer: oneshot::Sender<Result<T, StoreError>>,
    ) {
        let store = &self.store;
        let who = format!("{asked} for {:?}", self.process);
        let meets = |fault| store.meets(&self.process, asked.operation, &asked.key, fault);
        if fate.stalls {
            meets(Fault::StoreStall);
            store.did(Fault::StoreStall, format_args!("{who}, {:?}", fate.there + fate.back));
        }
        wait(fate.there + self.transfer(asked.bytes)).await;
        let outage = store.outage(self.process.machine());
        if outage.is_some() {
            meets(Fault::StoreOutage);
        }
        match outage {
            Some(Outage::IsSilent) => return,
            Some(Outage::Refuses) => {
                wait(fate.back).await;
                return drop(answer.send(Err(asked.failed("503 in an outage"))));
            }
            None => {}
        }
        let told = |error: StoreError| if fate.is_told { Some(error) } else { None };
        let failure = match fate.fault {
            Some(Fault::Unavailable) => Some(asked.failed("503 before the effect")),
            Some(Fault::LostRequest) => told(asked.failed("reset, the request is lost")),
            Some(Fault::LateEffect) => Some(asked.failed("reset, the effect comes late")),
            Some(Fault::DamagedWrite) => {
                let reason = "its checksum is not that of what came".to_owned();
                Some(StoreError::Damaged { key: asked.key.clone(), reason })
            }
            _ => {
                let done = effect(self, &fate);
                wait(fate.back + done.as_ref().map_or(Duration::ZERO, |done| self.transfer(weigh(done)))).await;
                if fate.fault == Some(Fault::LostReply) {
                    store.did(Fault::LostReply, &who);
                    meets(Fault::LostReply);
                    if let Some(error) = told(asked.failed("reset, the answer is lost")) {
                        let _ = answer.send(Err(error));
                    }
                } else {
                    let _ = answer.send(done);
                }
                return;
            }
        };
        if let Some(fault) = fate.fault {
            store.did(fault, &who);
            meets(fault);
        }
        wait(fate.back).await;
        match failure {
            Some(failure) => drop(answer.send(Err(failure))),
            None => drop(answer),
        }
        if fate.fault == Some(Fault::LateEffect) {
            wait(fate.late_by).await;
            store.0.trace.note("store", format_args!("late: {who}"));
            // Nobody waits for what came of it.
            let _ = effect(self, &fate);
        }
    }

    fn transfer(&self, bytes: u64) -> Duration {
        match self.store.0.state.lock().plan.bytes_per_second {
            0 => Duration::ZERO,
            rate => Duration::from_micros(bytes.saturating_mul(1_000_000) / rate),
        }
    }

    /// Sends a body; what comes back is whether the object was made.
    async fn send(&self, operation: Operation, key: &str, body: Payload) -> Result<bool, StoreError> {
        let (asked, owned) = (Asked::of(operation, key, body.len()), key.to_owned());
        // What is written must not keep alive the memory that it was written from.
        let body = Bytes::from(body.to_contiguous().to_vec());
        self.request(asked, move |this, _| Ok(this.store.write(&this.process, operation, &owned, &body)), |_| 0).await
    }

    fn read(&self, key: &str, asked: &ReadRange, fate: &Fate) -> Result<Bytes, StoreError> {
        let object = self.store.object(key).ok_or_else(|| StoreError::NotFound { key: key.to_owned() })?;
        let length = object.len() as u64;
        let short = |range, got| Err(StoreError::ShortRead { key: key.to_owned(), range, got });
        let range = match asked {
            ReadRange::Whole => 0..length,
            ReadRange::Bytes(range) if range.end > length => {
                return short(range.clone(), length.saturating_sub(range.start));
            }
            ReadRange::Bytes(range) => range.clone(),
        };
        // In bounds of the object, so that both fit into a usize.
        let body = object.slice(range.start as usize..range.end as usize);
        let who = format_args!("get {key} {asked:?} for {:?}", self.process).to_string();
        match fate.fault {
            Some(Fault::ShortRead) => {
                self.store.did(Fault::ShortRead, who);
                self.store.meets(&self.process, Operation::Get, key, Fault::ShortRead);
                // Some ways to a store notice themselves, others hand on what came.
                match asked {
                    ReadRange::Bytes(_) if !fate.is_told => Ok(body.slice(..body.len() / 2)),
                    _ => short(range, body.len() as u64 / 2),
                }
            }
            Some(Fault::DamagedRead) if !body.is_empty() => {
                let mut damaged = body.to_vec();
                let bit = fate.number % (damaged.len() as u64 * 8);
                damaged[(bit / 8) as usize] ^= 1 << (bit % 8);
                self.store.did(Fault::DamagedRead, format_args!("{who}, bit {bit}"));
                self.store.meets(&self.process, Operation::Get, key, Fault::DamagedRead);
                Ok(damaged.into())
            }
            _ => Ok(body),
        }
    }
}

async fn wait(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

impl StoreSource for Port {
    fn backend<'a>(
        &'a self,
        _url: &'a str,
        _options: &'a StoreOptions,
    ) -> BoxFuture<'a, Result<Arc<dyn Backend>, OpenError>> {
        let backend: Arc<dyn Backend> = Arc::new(self.clone());
        Box::pin(std::future::ready(Ok(backend)))
    }
}

impl Backend for Port {
    fn name(&self) -> String {
        "sim://".to_owned()
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn put<'a>(&'a self, key: &'a str, body: Payload) -> BoxFuture<'a, Result<Evidence, StoreError>> {
        Box::pin(async move { self.send(Operation::Put, key, body).await.map(|_| Evidence::Hash) })
    }

    fn put_multipart<'a>(
        &'a self,
        key: &'a str,
        body: Payload,
        plan: MultipartPlan,
    ) -> BoxFuture<'a, Result<(u64, Evidence), StoreError>> {
        Box::pin(async move {
            // Its beginning and its end are requests, too.
            let requests = body.len().div_ceil(plan.part_bytes as u64) + 2;
            self.send(Operation::Multipart, key, body).await.map(|_| (requests, Evidence::Hash))
        })
    }

    fn create<'a>(&'a self, key: &'a str, body: Payload) -> BoxFuture<'a, CreateAttempt> {
        Box::pin(async move {
            match self.send(Operation::Create, key, body).await {
                Ok(true) => CreateAttempt::Created(Evidence::Hash),
                Ok(false) => CreateAttempt::Exists,
                Err(error) => CreateAttempt::Unknown(error),
            }
        })
    }

    fn test_checksums<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(self.request(Asked::of(Operation::Put, key, 0), |_, _| Ok(true), |_| 0))
    }

    fn get<'a>(&'a self, key: &'a str, range: ReadRange) -> BoxFuture<'a, Result<Bytes, StoreError>> {
        let owned = key.to_owned();
        let effect = move |this: &Self, fate: &Fate| this.read(&owned, &range, fate);
        Box::pin(self.request(Asked::of(Operation::Get, key, 0), effect, |body| body.len() as u64))
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<ObjectMeta, StoreError>> {
        let owned = key.to_owned();
        let effect = move |this: &Self, _: &Fate| match this.store.object(&owned) {
            Some(object) => Ok(ObjectMeta { key: owned, len: object.len() as u64 }),
            None => Err(StoreError::NotFound { key: owned }),
        };
        Box::pin(self.request(Asked::of(Operation::Head, key, 0), effect, |_| 0))
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        start_after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<ListPage, StoreError>> {
        let (owned, after) = (prefix.to_owned(), start_after.map(str::to_owned));
        let effect = move |this: &Self, _: &Fate| Ok(this.store.list(&owned, after.as_deref(), limit));
        Box::pin(self.request(Asked::of(Operation::List, prefix, 0), effect, |_| 0))
    }

    fn delete_batch<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), StoreError>> {
        let (owned, first) = (keys.to_vec(), keys.first().map_or("", String::as_str));
        let effect = move |this: &Self, fate: &Fate| {
            // A batch is not atomic: of one whose answer is an error any number may be gone.
            let failed = matches!(fate.fault, Some(Fault::LostReply | Fault::LateEffect));
            let count = if failed { (fate.number % (owned.len() as u64 + 1)) as usize } else { owned.len() };
            this.store.delete(&this.process, &owned[..count]);
            Ok(())
        };
        Box::pin(self.request(Asked::of(Operation::Delete, first, 0), effect, |()| 0))
    }
}
