//! A store in memory: for tests, simulation and brokers whose data need not outlive them.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::backend::{Backend, BoxFuture, CreateAttempt, Evidence, ListPage, ObjectMeta, ReadRange};
use crate::error::StoreError;
use crate::payload::Payload;
use crate::range::resolve_range;

/// Objects in a sorted map; every operation is atomic and immediate.
#[derive(Debug, Default)]
pub struct MemoryBackend {
    objects: Mutex<BTreeMap<String, Bytes>>,
}

impl MemoryBackend {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn get_now(&self, key: &str, range: &ReadRange) -> Result<Bytes, StoreError> {
        let objects = self.objects.lock();
        let object = objects.get(key).ok_or_else(|| StoreError::NotFound { key: key.to_owned() })?;
        let range = resolve_range(key, range, object.len() as u64)?;
        // In bounds: resolve_range checked it against the length, which is a usize.
        Ok(object.slice(range.start as usize..range.end as usize))
    }

    fn list_now(&self, prefix: &str, start_after: Option<&str>, limit: usize) -> ListPage {
        let objects = self.objects.lock();
        let start = match start_after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut matching =
            objects.range::<str, _>((start, Bound::Unbounded)).take_while(|(key, _)| key.starts_with(prefix));
        let page = matching
            .by_ref()
            .take(limit)
            .map(|(key, body)| ObjectMeta { key: key.clone(), len: body.len() as u64 })
            .collect();
        ListPage { objects: page, more: matching.next().is_some() }
    }
}

impl Backend for MemoryBackend {
    fn name(&self) -> String {
        "memory://".to_owned()
    }

    fn is_remote(&self) -> bool {
        false
    }

    fn put<'a>(&'a self, key: &'a str, body: Payload) -> BoxFuture<'a, Result<Evidence, StoreError>> {
        Box::pin(async move {
            self.objects.lock().insert(key.to_owned(), body.to_contiguous());
            Ok(Evidence::Local)
        })
    }

    fn create<'a>(&'a self, key: &'a str, body: Payload) -> BoxFuture<'a, CreateAttempt> {
        Box::pin(async move {
            let mut objects = self.objects.lock();
            if objects.contains_key(key) {
                return CreateAttempt::Exists;
            }
            objects.insert(key.to_owned(), body.to_contiguous());
            CreateAttempt::Created(Evidence::Local)
        })
    }

    fn get<'a>(&'a self, key: &'a str, range: ReadRange) -> BoxFuture<'a, Result<Bytes, StoreError>> {
        Box::pin(async move { self.get_now(key, &range) })
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<ObjectMeta, StoreError>> {
        Box::pin(async move {
            match self.objects.lock().get(key) {
                Some(object) => Ok(ObjectMeta { key: key.to_owned(), len: object.len() as u64 }),
                None => Err(StoreError::NotFound { key: key.to_owned() }),
            }
        })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        start_after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<ListPage, StoreError>> {
        Box::pin(async move { Ok(self.list_now(prefix, start_after, limit)) })
    }

    fn delete_batch<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let mut objects = self.objects.lock();
            for key in keys {
                objects.remove(key);
            }
            Ok(())
        })
    }
}
