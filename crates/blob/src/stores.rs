//! The port to stores: where a URL leads. Handed down as a clock is; behind it stand the stores that there are
//! ([`Stores::system`]), or a simulator's.

use std::fmt;
use std::sync::Arc;

use crate::backend::{Backend, BoxFuture};
use crate::cloud::CloudBackend;
use crate::error::OpenError;
use crate::local::LocalBackend;
use crate::memory::MemoryBackend;
use crate::store::{Store, StoreOptions};
use crate::url::{Place, StoreUrl};

/// A source of backends.
pub trait StoreSource: Send + Sync + fmt::Debug {
    /// What does the requests to the store at `url`, one attempt each.
    ///
    /// # Errors
    /// When the URL is not understood or the place cannot be used.
    fn backend<'a>(
        &'a self,
        url: &'a str,
        options: &'a StoreOptions,
    ) -> BoxFuture<'a, Result<Arc<dyn Backend>, OpenError>>;
}

/// A shared handle on a [`StoreSource`].
#[derive(Clone, Debug)]
pub struct Stores(Arc<dyn StoreSource>);

impl Stores {
    /// Clouds, directories, memory.
    pub fn system() -> Self {
        Self(Arc::new(System))
    }

    /// Stores of the caller's.
    pub fn from_source(source: Arc<dyn StoreSource>) -> Self {
        Self(source)
    }

    /// See [`StoreSource::backend`].
    ///
    /// # Errors
    /// As there.
    pub async fn backend(&self, url: &str, options: &StoreOptions) -> Result<Arc<dyn Backend>, OpenError> {
        self.0.backend(url, options).await
    }

    /// Opens the store at `url`. For clouds this only checks the settings: the first request is [`crate::probe`]'s.
    ///
    /// # Errors
    /// When the URL is not understood or the directory cannot be used.
    pub async fn open(&self, url: &str, options: StoreOptions) -> Result<Store, OpenError> {
        let backend = self.backend(url, &options).await?;
        Ok(Store::with_backend(backend, options))
    }
}

#[derive(Debug)]
struct System;

impl StoreSource for System {
    fn backend<'a>(
        &'a self,
        url: &'a str,
        options: &'a StoreOptions,
    ) -> BoxFuture<'a, Result<Arc<dyn Backend>, OpenError>> {
        Box::pin(async move {
            let backend: Arc<dyn Backend> = match StoreUrl::parse(url)?.place {
                Place::Memory => Arc::new(MemoryBackend::new()),
                Place::Bucket(bucket) => Arc::new(CloudBackend::open(url, &bucket)?),
                Place::Directory(root) => Arc::new(LocalBackend::open(root, options.entropy.clone()).await?),
            };
            Ok(backend)
        })
    }
}
