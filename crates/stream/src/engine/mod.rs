//! The engine: one broker's streams over one write-ahead log, one store and one catalogue.
//!
//! Life of an append: [`Engine::reserve`] waits for [`room`] in the log [`cache`] → [`Stream::append`] queues the entry to
//! the WAL, in the order of the caller's lock → the WAL syncs a group and sees its fence page unwritten → the completion
//! thread ([`sink`]) moves its entries into their streams' [`tail`]s, advances the durable ends and then calls back. When
//! enough has gathered behind the [`log`], the uploader ([`crate::upload`]) takes a [`cut`]: ranges of the tails, with the
//! [`checkpoint`]s that are due; what its committer has committed may leave the cache.
//!
//! Invariants:
//! - the durable end moves in WAL order and only after the fence check (I-1, I-3);
//! - tails, cuts and commits follow WAL order (I-4): one lock ([`cut::Active`]) is held while a group is completed, and
//!   a cut is taken under the same lock, by one task that resolves and commits them in that order;
//! - no work whose length grows with the cache, a state, the number of streams or of those who wait is done under that
//!   lock or a tail's;
//! - an entry leaves the cache only after the commit that names it was replayed into the catalogue view;
//! - after the first failure nothing is acknowledged any more (I-8), and the end of the WAL, however it ends, is one.

pub(crate) mod bell;
pub(crate) mod cache;
pub(crate) mod checkpoint;
pub(crate) mod cut;
mod halt;
pub(crate) mod log;
mod options;
mod recovery;
mod room;
mod runs;
mod sink;
pub(crate) mod stream;
pub(crate) mod tail;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Weak};
use std::time::Duration;

use base::collections::HashMap;
use base::{Clock, Incarnation, StreamEpoch, StreamId};
use blob::Store;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::{oneshot, watch};

use crate::catalogue::{Catalogue, CatalogueClient, IncarnationPhase};
use crate::read::BlockReader;
use crate::upload::{self, Committer};
use crate::wal::{Ending, Wal};

pub use checkpoint::{CheckpointSource, FrozenState};
pub use options::EngineOptions;
pub use recovery::{RecoverError, Recovered};
pub use room::Room;
pub use sink::EngineSink;
pub use sink::Pending;
pub use stream::{Done, Extents, Fenced, FetchError, Fetched, NewEntry, NotTrimmed, Stream, TrimError};

use cache::LogCache;
use log::EngineLog;
use stream::Shared;
pub(crate) use stream::Shared as SharedStream;

/// Why a stream could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OpenStreamError {
    /// The catalogue has no such stream.
    #[error("stream {0} does not exist")]
    Unknown(StreamId),
    /// Another broker, or another tenure, owns it.
    #[error("stream {stream} is owned by {owner} at epoch {epoch}")]
    NotOwner {
        /// The stream.
        stream: StreamId,
        /// Its owner by this broker's view.
        owner: Incarnation,
        /// Its epoch by this broker's view.
        epoch: StreamEpoch,
    },
    /// The engine has failed; see [`Engine::failure`].
    #[error("the write-ahead log has failed or was fenced; this broker process must end")]
    Failed,
}

/// A WAL was to be appended to that metadata does not hold as open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("write-ahead log {0} is not open in metadata, so nothing may be appended to it")]
pub struct NotOpen(pub Incarnation);

/// Why the engine stopped for good.
#[derive(Debug, Clone, Error)]
#[error("{0}")]
pub struct EngineFailure(pub Arc<str>);

/// How often a drain that waits for the WAL cuts what has become durable.
const DRAIN_CUT_INTERVAL: Duration = Duration::from_millis(20);

/// One broker's streams. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) options: EngineOptions,
    pub(crate) store: Store,
    pub(crate) catalogue: Arc<dyn CatalogueClient>,
    pub(crate) writer: Incarnation,
    /// The WAL, and what gathers behind it.
    pub(crate) log: EngineLog,
    /// What was appended and is kept in memory.
    pub(crate) cache: LogCache,
    /// Names of objects, upload floor, commit sequence.
    pub(crate) committer: Committer,
    /// Everything that has left the cache.
    pub(crate) reader: BlockReader,
    streams: Mutex<HashMap<StreamId, Arc<Shared>>>,
    failure: watch::Sender<Option<EngineFailure>>,
}

impl Engine {
    /// An engine of broker registration `writer`, without a WAL yet: it can recover other incarnations' logs and read,
    /// and appends once [`Self::attach`] gave it a WAL. Starts the uploader on the current runtime.
    pub fn new(
        options: EngineOptions,
        store: Store,
        catalogue: Arc<dyn CatalogueClient>,
        writer: Incarnation,
        clock: Clock,
    ) -> Self {
        let (log, bell) = EngineLog::new(&options, clock);
        let (cache, evictor) = LogCache::new(options.log_cache_bytes);
        let failure = watch::channel(None).0;
        let inner = Arc::new(Inner {
            log,
            cache,
            committer: Committer::start(writer, catalogue.clone(), failure.subscribe()),
            reader: BlockReader::new(&store, &options),
            store,
            catalogue,
            writer,
            streams: Mutex::new(HashMap::default()),
            failure,
            options,
        });
        base::task::spawn_vital("uploader", upload::run(Arc::downgrade(&inner), bell));
        base::task::spawn_vital("upload-timer", cut::tick(Arc::downgrade(&inner)));
        base::task::spawn_vital("evictor", cache::run(Arc::downgrade(&inner), evictor));
        Self { inner }
    }

    /// What the WAL reports to; pass it to the WAL that [`Self::attach`] will receive.
    pub fn sink(&self) -> EngineSink {
        EngineSink::new(self.inner.clone())
    }

    /// Gives the engine its WAL. Appends may follow. From here on the engine fails when the WAL does, however that came: the
    /// sink may have died with a thread of the log.
    ///
    /// # Errors
    /// [`NotOpen`] unless metadata holds the WAL's incarnation as `OPEN`: what is appended before would be taken for the
    /// leavings of a start that died. The WAL is dropped, which ends it.
    pub fn attach(&self, wal: Wal<Pending>) -> Result<(), NotOpen> {
        let writer = self.inner.writer;
        let view = self.inner.catalogue.view();
        if view.incarnation(writer).is_none_or(|log| log.phase != IncarnationPhase::Open) {
            return Err(NotOpen(writer));
        }
        let (failed, engine) = (wal.failed(), Arc::downgrade(&self.inner));
        base::task::spawn("wal-watch", async move {
            let Some(failure) = failed.await else { return };
            if let Some(engine) = engine.upgrade() {
                engine.fail(failure.to_string());
            }
        });
        self.inner.log.attach(wal, &self.inner.options);
        Ok(())
    }

    /// Waits until a buffer of `bytes` fits into the log cache: a full cache slows producers, it never fails them. Call it
    /// before taking a lock that appends or checkpoints take, once for all entries that are slices of the buffer.
    pub async fn reserve(&self, bytes: u64) -> Room {
        let cache = &self.inner.cache;
        if let Some(room) = cache.try_room(bytes) {
            return room;
        }
        // From here on what is committed makes room, and whatever is durable is cut, so that commits make more.
        let wanted = cache.want(bytes);
        self.inner.ring();
        wanted.room().await
    }

    /// Opens a stream that this broker owns at `epoch`. No I/O. A second open of the same tenure returns the same stream.
    ///
    /// # Errors
    /// [`OpenStreamError`] when the catalogue names another owner or epoch, or the engine has failed.
    pub fn open(
        &self,
        id: StreamId,
        epoch: StreamEpoch,
        checkpoints: Option<Weak<dyn CheckpointSource>>,
    ) -> Result<Stream, OpenStreamError> {
        if self.failure().is_some() {
            return Err(OpenStreamError::Failed);
        }
        let view = self.inner.catalogue.view();
        let state = view.stream(id).ok_or(OpenStreamError::Unknown(id))?;
        if state.owner != self.inner.writer || state.epoch != epoch {
            return Err(OpenStreamError::NotOwner { stream: id, owner: state.owner, epoch: state.epoch });
        }
        let mut streams = self.inner.streams.lock();
        let shared = match streams.get(&id) {
            Some(open) if open.epoch == epoch => open.clone(),
            _ => {
                let shared = Arc::new(Shared::new(id, state, &self.inner.options));
                streams.insert(id, shared.clone());
                shared
            }
        };
        if let Some(source) = checkpoints {
            shared.set_source(source);
        }
        Ok(Stream { shared, engine: self.inner.clone() })
    }

    /// Lets go of deleted streams: their cached entries are dropped, on a thread where nobody waits, and their appends fail.
    pub fn forget(&self, ids: &[StreamId]) {
        let forgotten: Vec<_> = {
            let mut streams = self.inner.streams.lock();
            ids.iter().filter_map(|id| streams.remove(id)).collect()
        };
        let mut cached: Vec<_> = forgotten.iter().map(|shared| shared.close()).collect();
        cached.retain(|runs| !runs.is_empty());
        if !cached.is_empty() {
            base::task::spawn_blocking("forget", move || drop(cached));
        }
    }

    /// The catalogue as this broker sees it.
    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.inner.catalogue.view()
    }

    /// The store that holds the objects.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The broker registration that this engine writes as.
    pub fn writer(&self) -> Incarnation {
        self.inner.writer
    }

    /// Bytes that the log cache holds, and its limit.
    pub fn log_cache(&self) -> (u64, u64) {
        (self.inner.cache.budget().used(), self.inner.cache.budget().limit())
    }

    /// Greatest payload that one append may have, in bytes.
    pub fn entry_bytes_max(&self) -> u64 {
        self.inner.log.wal().map_or(0, |wal| wal.max_record_bytes() as u64)
    }

    /// Why the engine stopped, if it did.
    pub fn failure(&self) -> Option<EngineFailure> {
        self.inner.failure.borrow().clone()
    }

    /// Whether nothing is uploaded any more, because the log was emptied and closed, or the engine has failed.
    pub fn has_ended(&self) -> bool {
        self.inner.log.is_closed() || self.inner.failure.borrow().is_some()
    }

    /// Makes sure that no other broker has taken this one's place: an answer computed before this call, such as the latest
    /// offset, was not yet contradicted (I-3). Costs one read of the fence page, shared with whoever asks meanwhile.
    ///
    /// # Errors
    /// When the log was fenced, has failed or ends.
    pub async fn check_unfenced(&self) -> Result<(), EngineFailure> {
        let checked = self.inner.log.wal().map(|wal| wal.check_unfenced());
        let ended = || self.failure().unwrap_or_else(|| EngineFailure("the write-ahead log is not open".into()));
        match checked {
            Some(checked) => checked.await.map_err(|_| ended()),
            None => Err(ended()),
        }
    }

    /// Resolves when the engine has failed. The process must then end without another acknowledgement.
    pub async fn failed(&self) -> EngineFailure {
        self.inner.failed().await
    }

    /// Uploads and commits everything that was durable when this was called.
    ///
    /// # Errors
    /// The failure that stopped the engine.
    pub async fn flush(&self) -> Result<(), EngineFailure> {
        self.inner.flush().await
    }

    /// Drains: no append may follow. Empties the WAL into objects, commits them, and tells the catalogue that this
    /// incarnation ended at its final position.
    ///
    /// # Errors
    /// The failure that stopped the engine; the log then stays for recovery.
    pub async fn drain(&self) -> Result<(), EngineFailure> {
        let Some(wal) = self.inner.log.wal() else { return Ok(()) };
        // Emptying the queue may need room that only commits give back.
        wal.end(Ending::Flush);
        let mut ended = wal.ended();
        let end = loop {
            base::select! {
                ended = &mut ended => break ended,
                why = self.failed() => return Err(why),
                () = tokio::time::sleep(DRAIN_CUT_INTERVAL) => self.inner.request_cut(None),
            }
        };
        let end = match end {
            Ok(end) => end,
            Err(error) => return Err(EngineFailure(error.to_string().into())),
        };
        self.flush().await?;
        // Checkpoints fall due and trims ask for theirs all the same: what is cut behind the word that the log has ended is
        // refused, and would fail a drain that is done. Commits go in order, so that this one is the last.
        self.inner.log.close_cuts();
        self.flush().await?;
        let drained = self.inner.catalogue.drained(self.inner.writer, end).await;
        drained.map_err(|error| EngineFailure(error.to_string().into()))?;
        drop(self.inner.log.detach());
        Ok(())
    }
}

impl Inner {
    /// Stops the engine because of a failure: nothing is acknowledged any more.
    pub(crate) fn fail(&self, why: impl Into<Arc<str>>) {
        let why = EngineFailure(why.into());
        if self.stop(&why.0) {
            tracing::error!(reason = %why, "the storage engine stops: no append is acknowledged any more");
        }
    }

    /// Resolves when the engine has failed.
    async fn failed(&self) -> EngineFailure {
        let mut failure = self.failure.subscribe();
        loop {
            if let Some(why) = failure.borrow_and_update().clone() {
                return why;
            }
            if failure.changed().await.is_err() {
                return EngineFailure("the engine was dropped".into());
            }
        }
    }

    /// Uploads and commits everything that was durable when this was called.
    pub(crate) async fn flush(&self) -> Result<(), EngineFailure> {
        let (done, committed) = oneshot::channel();
        self.request_cut(Some(done));
        self.told(committed).await
    }

    /// Uploads and commits what is durable of one stream, with a checkpoint if it is due one.
    pub(crate) async fn flush_stream(&self, stream: &Arc<Shared>) -> Result<(), EngineFailure> {
        let (done, committed) = oneshot::channel();
        if self.log.cut_ahead(stream, done).is_err() {
            self.fail("the uploader has ended");
        }
        self.told(committed).await
    }

    /// Waits for a commit, or for the engine's failure.
    async fn told(&self, committed: oneshot::Receiver<()>) -> Result<(), EngineFailure> {
        let ended = || {
            let failure = self.failure.borrow().clone();
            failure.unwrap_or_else(|| match self.log.is_closed() {
                true => EngineFailure("the log was emptied and is closed: nothing is uploaded any more".into()),
                false => EngineFailure("the uploader ended".into()),
            })
        };
        base::select! {
            biased;
            committed = committed => committed.map_err(|_| ended()),
            why = self.failed() => Err(why),
        }
    }

    /// Nothing is acknowledged any more; `false` when that was so already.
    fn stop(&self, why: &str) -> bool {
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            if first {
                *failure = Some(EngineFailure(why.into()));
            }
            first
        })
    }

    /// Cuts as soon as the uploader has a place, however little has gathered. A waiter is told when everything before is
    /// committed.
    pub(crate) fn request_cut(&self, waiter: Option<oneshot::Sender<()>>) {
        if self.log.request_cut(waiter).is_err() {
            self.fail("the uploader has ended");
        }
    }

    /// Lets the uploader see whether a cut is due.
    pub(crate) fn ring(&self) {
        if self.log.ring().is_err() {
            self.fail("the uploader has ended");
        }
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failure.borrow().is_some()
    }
}
