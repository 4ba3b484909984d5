//! The start-up probe: does this store do what the broker relies on? It writes, reads back, lists, races conditional
//! creates and deletes, and sends a write that is damaged on its way. A clean probe is a tripwire, not a proof; a store
//! that fails it is refused.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::future::{join_all, try_join_all};

use crate::backend::ReadRange;
use crate::counters::Purpose;
use crate::error::{CreateOutcome, ProbeError, StoreError};
use crate::payload::Payload;
use crate::store::Store;

/// Names raced for, and writers to each, on a store behind a network.
const REMOTE_RACE: (usize, usize) = (12, 8);
/// The same on a store of ours, whose every answer costs a device sync and whose atomicity is the kernel's.
const LOCAL_RACE: (usize, usize) = (1, 4);

/// What a clean probe saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeReport {
    /// The store.
    pub store: String,
    /// Whether it can hold the metadata log.
    pub conditional_create: bool,
    /// Whether the store compares the checksums that go with writes. One that does not is read back instead.
    pub compares_checksums: bool,
    /// Names raced for.
    pub raced_keys: usize,
    /// Writers to each of them.
    pub writers_per_key: usize,
    /// Creates whose outcome the store left open; each was resolved.
    pub unknown_outcomes: usize,
}

/// Probes a store. With `for_metadata` it must also have a conditional create that lets one writer win.
///
/// # Errors
/// [`ProbeError`] says what is wrong and what to do.
pub async fn probe(store: &Store, for_metadata: bool) -> Result<ProbeReport, ProbeError> {
    let lacks = store.lacks_create();
    if let (true, Some(reason)) = (for_metadata, &lacks) {
        return Err(ProbeError::NoConditionalCreate { store: store.name(), reason: reason.clone() });
    }
    let prefix = format!("probe/{:016x}", store.options().entropy.next_u64());
    let mut run = Run { store, prefix, keys: Vec::new(), unknown: AtomicUsize::new(0) };
    let race = if store.is_remote() { REMOTE_RACE } else { LOCAL_RACE };
    let result = run.all(for_metadata, race).await;
    let result = match result {
        Ok(()) => run.checksums().await,
        failed => failed.map(|()| false),
    };
    // Clean up after a failure too; the first error is the one that matters.
    let cleaned = store.delete(Purpose::Probe, &run.keys).await;
    let compares_checksums = result?;
    cleaned.map_err(|error| run.refuse(error))?;
    run.gone().await?;
    Ok(ProbeReport {
        store: store.name(),
        conditional_create: lacks.is_none(),
        compares_checksums,
        raced_keys: if for_metadata { race.0 } else { 0 },
        writers_per_key: if for_metadata { race.1 } else { 0 },
        unknown_outcomes: run.unknown.into_inner(),
    })
}

struct Run<'a> {
    store: &'a Store,
    prefix: String,
    keys: Vec<String>,
    unknown: AtomicUsize,
}

impl Run<'_> {
    async fn all(&mut self, for_metadata: bool, (names, writers): (usize, usize)) -> Result<(), ProbeError> {
        let plain = format!("{}/plain", self.prefix);
        self.keys.push(plain.clone());
        self.write_and_read_back(&plain).await?;
        if for_metadata {
            let contested: Vec<String> = (0..names).map(|name| format!("{}/create-{name}", self.prefix)).collect();
            self.keys.extend(contested.iter().cloned());
            let this = &*self;
            try_join_all(contested.iter().map(|key| this.race(key, writers))).await?;
        }
        let listed = self
            .store
            .list_all(Purpose::Probe, &format!("{}/", self.prefix))
            .await
            .map_err(|error| self.refuse(error))?;
        let mut expected = self.keys.clone();
        expected.sort();
        if !listed.iter().map(|object| &object.key).eq(&expected) {
            return Err(self.inconsistent(format!("listing {} objects gave {}", expected.len(), listed.len())));
        }
        Ok(())
    }

    async fn write_and_read_back(&self, key: &str) -> Result<(), ProbeError> {
        let body = Bytes::from(format!("headwater probe {key}"));
        self.store.put(Purpose::Probe, key, body.clone()).await.map_err(|error| self.refuse(error))?;
        let part = body.slice(3..9);
        let is_whole = self.read_back(key, .., |read| *read == body).await? == body;
        if is_whole && self.read_back(key, 3..9, |read| *read == part).await? == part {
            return Ok(());
        }
        Err(self.inconsistent("the bytes read differ from the bytes written".to_owned()))
    }

    /// One reading that is damaged on its way says nothing of the store.
    async fn read_back(
        &self,
        key: &str,
        range: impl Into<ReadRange>,
        right: impl Fn(&Bytes) -> bool,
    ) -> Result<Bytes, ProbeError> {
        let read = self.store.get_settled(Purpose::Probe, key, range, right).await;
        read.map_err(|error| self.refuse(error))
    }

    /// All writers at once, then one more: exactly one may win, and its bytes must stay.
    async fn race(&self, key: &str, writers: usize) -> Result<(), ProbeError> {
        let bodies: Vec<Bytes> = (0..writers)
            .map(|writer| Bytes::from(format!("{key} {writer} {:016x}", self.store.options().entropy.next_u64())))
            .collect();
        let won = join_all(bodies.iter().map(|body| self.claim(key, body))).await;
        let mut winners = Vec::new();
        for (won, body) in won.into_iter().zip(&bodies) {
            if won? {
                winners.push(body);
            }
        }
        let late = Bytes::from(format!("{key} late"));
        let late_won = self.claim(key, &late).await?;
        let two = |winners| Err(ProbeError::TwoWriters { store: self.store.name(), key: key.to_owned(), winners });
        match winners.as_slice() {
            _ if late_won => two(winners.len() + 1),
            [] => Err(self.inconsistent(format!("no writer could create {key}"))),
            // Another writer's bytes are no damage: they tell as much as the right ones.
            [body] => match self.read_back(key, .., |held| *held == late || bodies.contains(held)).await? {
                held if held == **body => Ok(()),
                held if held == late || bodies.contains(&held) => two(1),
                _ => Err(self.inconsistent(format!("what is read of {key} was written by nobody"))),
            },
            many => two(many.len()),
        }
    }

    /// One writer's create, sent again with the same bytes while its outcome is unknown. A first answer `Created` is
    /// taken at its word: comparing bytes would hide a second winner that overwrote the first.
    async fn claim(&self, key: &str, body: &Bytes) -> Result<bool, ProbeError> {
        match self.store.create(Purpose::Probe, key, body.clone()).await {
            CreateOutcome::Created => Ok(true),
            CreateOutcome::Exists => Ok(false),
            CreateOutcome::Unknown(StoreError::Unsupported { reason, .. }) => {
                Err(ProbeError::NoConditionalCreate { store: self.store.name(), reason })
            }
            CreateOutcome::Unknown(cause) | CreateOutcome::Unproven(cause) if !cause.is_retriable() => {
                Err(self.refuse(cause))
            }
            CreateOutcome::Unknown(_) | CreateOutcome::Unproven(_) => {
                self.unknown.fetch_add(1, Ordering::Relaxed);
                let resolved = self.store.create_resolved(Purpose::Probe, key, Payload::from(body.clone())).await;
                Ok(resolved.map_err(|unresolved| self.refuse(unresolved.cause))? == crate::Resolved::Created)
            }
        }
    }

    /// Sends a write that is damaged on its way.
    async fn checksums(&mut self) -> Result<bool, ProbeError> {
        let key = format!("{}/damaged", self.prefix);
        self.keys.push(key.clone());
        self.store.test_checksums(Purpose::Probe, &key).await.map_err(|error| self.refuse(error))
    }

    async fn gone(&self) -> Result<(), ProbeError> {
        match self.store.head(Purpose::Probe, &self.keys[0]).await {
            Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.refuse(error)),
            Ok(_) => Err(self.inconsistent("a deleted object is still there".to_owned())),
        }
    }

    fn inconsistent(&self, reason: String) -> ProbeError {
        ProbeError::Inconsistent { store: self.store.name(), reason }
    }

    fn refuse(&self, error: StoreError) -> ProbeError {
        let store = self.store.name();
        match error {
            StoreError::Unavailable { reason, .. } => ProbeError::Unreachable { store, reason },
            StoreError::AccessDenied { reason, .. } => ProbeError::AccessDenied { store, reason },
            StoreError::NoSuchBucket { reason } => ProbeError::NoSuchBucket { store, reason },
            StoreError::NotFound { .. } => ProbeError::Inconsistent { store, reason: error.to_string() },
            StoreError::ShortRead { .. } | StoreError::Damaged { .. } => {
                ProbeError::Unsettled { store, reason: error.to_string() }
            }
            StoreError::Full { .. }
            | StoreError::Unsupported { .. }
            | StoreError::InvalidInput { .. }
            | StoreError::Failed { .. } => ProbeError::NotWritable { store, reason: error.to_string() },
        }
    }
}
