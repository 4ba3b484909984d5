//! I-6: an unknown create is resolved only by the same bytes under the same name; new bytes take a new name.
//!
//! A process that was not told what became of a create, and sends other bytes under that name, is found here; so is a
//! controller that lost a name to another and writes on: it has to discard what it speculated, with its office.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base::MetaSequence;
use base::checksum::crc32c;
use blob::backend::{BoxFuture, CreateAttempt, Evidence, MultipartPlan};
use blob::{
    Backend, ListPage, ObjectMeta, OpenError, Payload, ReadRange, StoreError, StoreOptions, StoreSource, Stores,
};
use bytes::Bytes;
use meta::format::{EntryKind, decode_entry};
use parking_lot::Mutex;

use super::{Findings, i7};
use crate::process::Process;
use crate::store::ObjectStore;

const NAME: &str = "I-6";
const CREATES: &str = "I-6: creates";
const AGAIN: &str = "I-6: creates of unknown outcome that were sent again";
const LOST: &str = "I-6: batches whose name was another's";
pub(super) const LOOKS: &[&str] = &[CREATES, AGAIN, LOST];

/// What a process sent under a name, and has not been told the end of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sent {
    length: u64,
    crc: u32,
}

/// The same stores, with a look at what this process creates.
pub fn watched(store: &ObjectStore, process: &Process, findings: &Findings) -> Stores {
    let (stores, store) = (store.stores(process), store.clone());
    Stores::from_source(Arc::new(Watched { stores, store, process: process.clone(), findings: findings.clone() }))
}

#[derive(Debug)]
struct Watched {
    stores: Stores,
    store: ObjectStore,
    process: Process,
    findings: Findings,
}

impl StoreSource for Watched {
    fn backend<'a>(
        &'a self,
        url: &'a str,
        options: &'a StoreOptions,
    ) -> BoxFuture<'a, Result<Arc<dyn Backend>, OpenError>> {
        Box::pin(async move {
            let beneath = self.stores.backend(url, options).await?;
            let (store, process, findings) = (self.store.clone(), self.process.clone(), self.findings.clone());
            let watching: Arc<dyn Backend> = Arc::new(Watching {
                beneath,
                store,
                process,
                findings,
                unresolved: Mutex::default(),
                lost: Mutex::default(),
                cut: Mutex::default(),
            });
            Ok(watching)
        })
    }
}

struct Watching {
    beneath: Arc<dyn Backend>,
    store: ObjectStore,
    process: Process,
    findings: Findings,
    unresolved: Mutex<BTreeMap<String, Sent>>,
    /// The batch of metadata of which it was told that another has its name, and that name.
    lost: Mutex<Option<(String, Sent)>>,
    /// The entry that it was told to have made where a floor marker stood by then.
    cut: Mutex<Option<String>>,
}

/// Whether these bytes, created under that name, are a batch of a controller in office.
fn is_batch(key: &str, body: &Payload) -> bool {
    let sequence = key.strip_prefix("meta/log/").and_then(|digits| digits.parse().ok());
    let decoded = sequence.map(|sequence| decode_entry(&body.to_contiguous(), MetaSequence(sequence)));
    matches!(decoded, Some(Ok((header, _))) if header.kind == EntryKind::Batch)
}

impl fmt::Debug for Watching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.beneath.fmt(f)
    }
}

impl Backend for Watching {
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
        self.beneath.put(key, body)
    }

    fn put_multipart<'a>(
        &'a self,
        key: &'a str,
        body: Payload,
        plan: MultipartPlan,
    ) -> BoxFuture<'a, Result<(u64, Evidence), StoreError>> {
        self.beneath.put_multipart(key, body, plan)
    }

    fn create<'a>(&'a self, key: &'a str, body: Payload) -> BoxFuture<'a, CreateAttempt> {
        // The probe wants to know who wins, and names of its own are nobody's.
        if key.starts_with("probe/") {
            return self.beneath.create(key, body);
        }
        let sent = Sent { length: body.len(), crc: crc32c(&body.to_contiguous()) };
        // Sent from now on, whether or not the caller waits for the answer.
        self.findings.looked(CREATES);
        let before = self.unresolved.lock().insert(key.to_owned(), sent);
        if before.is_some() {
            self.findings.looked(AGAIN);
        }
        if before.is_some_and(|before| before != sent) {
            let by = &self.process;
            self.findings
                .add(NAME, format_args!("{by:?} sent other bytes to {key} before it knew what became of its own"));
        }
        // The same once more may follow, where what stands there cannot be read yet; else only a claim, by a start that begins
        // anew.
        if is_batch(key, &body)
            && let Some((lost, refused)) = &*self.lost.lock()
            && (lost != key || *refused != sent)
        {
            let by = &self.process;
            self.findings.add(NAME, format_args!("{by:?} creates {key}, though it was told that {lost} is another's"));
        }
        if is_batch(key, &body)
            && let Some(cut) = &*self.cut.lock()
        {
            i7::went_on(&self.findings, &self.process, key, cut);
        }
        // A start that begins anew.
        if key.starts_with("meta/log/") && !is_batch(key, &body) {
            (*self.lost.lock(), *self.cut.lock()) = (None, None);
        }
        Box::pin(async move {
            let attempt = self.beneath.create(key, body.clone()).await;
            if matches!(attempt, CreateAttempt::Exists)
                && is_batch(key, &body)
                && self.store.object(key).is_none_or(|held| !body.same_bytes(&held))
            {
                self.findings.looked(LOST);
                *self.lost.lock() = Some((key.to_owned(), sent));
            }
            if matches!(attempt, CreateAttempt::Created(_)) && i7::is_cut(&self.store, key) {
                *self.cut.lock() = Some(key.to_owned());
            }
            if matches!(attempt, CreateAttempt::Created(_) | CreateAttempt::Exists) {
                self.unresolved.lock().remove(key);
            }
            attempt
        })
    }

    fn test_checksums<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        self.beneath.test_checksums(key)
    }

    fn get<'a>(&'a self, key: &'a str, range: ReadRange) -> BoxFuture<'a, Result<Bytes, StoreError>> {
        self.beneath.get(key, range)
    }

    fn get_parts<'a>(
        &'a self,
        key: &'a str,
        start: u64,
        lengths: &'a [u32],
    ) -> BoxFuture<'a, Result<Vec<Bytes>, StoreError>> {
        self.beneath.get_parts(key, start, lengths)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::dice::Dice;
    use crate::errands::Errands;
    use crate::faults::Faults;
    use crate::store::StorePlan;
    use crate::trace::Trace;

    /// How often I-6 is found broken when these bodies are created under one name, one after the other, in a store of that
    /// plan.
    async fn found(plan: StorePlan, bodies: [&'static str; 2]) -> usize {
        let (trace, errands) = (Trace::new(None), Errands::default());
        let store = ObjectStore::new(Dice::new(1), Faults::default(), trace.clone(), errands.clone());
        base::task::spawn("errands", async move { errands.serve().await });
        store.set_plan(plan);
        let (process, findings) = (Process::new("one-1", 1), Findings::new(&trace));
        let stores = store.stores(&process);
        let watched = Watched { stores, store, process, findings: findings.clone() };
        let backend = watched.backend("sim://", &StoreOptions::default()).await.unwrap();
        for body in bodies {
            let body = Payload::from(Bytes::from_static(body.as_bytes()));
            // Silence is an answer, too.
            let _ = tokio::time::timeout(Duration::from_secs(1), backend.create("meta/log/7", body)).await;
        }
        findings.all().len()
    }

    #[tokio::test(start_paused = true)]
    async fn other_bytes_follow_only_when_it_is_known_what_became_of_the_first() {
        let lossy = || StorePlan { lost_reply: 1.0, ..StorePlan::default() };
        assert_eq!(found(lossy(), ["one", "other"]).await, 1);
        assert_eq!(found(lossy(), ["one", "one"]).await, 0);
        assert_eq!(
            found(StorePlan::default(), ["one", "other"]).await,
            0,
            "it was told, and is told that the name is taken"
        );
    }
}
