//! The node's own log place: opened and locked, and asked whose it is before anything else is done with it.
//!
//! Storage may hang. Whatever is done with the place is done aside ([`blocking`]), so that the node hears an order, the
//! loss of its registration and the end of its time meanwhile.

use std::sync::Arc;

use base::{Incarnation, task};
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use stream::engine::{EngineSink, Pending};
use stream::wal::{Access, BlockLog, BlockLogOptions, Claim, IncarnationSummary, OwnLog as WalPort, Wal, WalError};

use crate::memory::MemoryVolume;
use crate::options::{LogPlace, NodeOptions};
use crate::start::StartError;

/// Bytes of a log in memory: four segments, of which its records take what they need.
const MEMORY_LOG_BYTES_MAX: u64 = 256 << 20;

/// A log place that this process has locked, and has not connected with a cluster yet.
pub(crate) struct LockedLog {
    log: Arc<dyn WalPort<Pending>>,
    place: LogPlace,
    options: BlockLogOptions,
}

/// The log place of a registered node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct OwnLog {
    log: Arc<dyn WalPort<Pending>>,
    place: Arc<str>,
    cluster_id: Arc<str>,
    options: BlockLogOptions,
}

/// What has become of the files of a log that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Removal {
    /// They are gone.
    Done,
    /// Something beside them cannot be read and may be theirs, so all of them stay, untouched. Metadata has to know the log
    /// as long.
    NextStart,
}

/// Does work that may hang in storage aside. The end of the node's tasks waits for it.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match task::spawn_blocking("node-log", work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime shuts down, and this future with it.
            Err(_) => std::future::pending().await,
        },
    }
}

/// How the node's own log is opened.
pub(crate) fn options(options: &NodeOptions) -> BlockLogOptions {
    let path = match &options.log {
        LogPlace::At(path) => path.clone(),
        LogPlace::Memory => "memory".into(),
    };
    let capacity_bytes = match &options.log {
        LogPlace::At(_) => options.segments.capacity_bytes,
        LogPlace::Memory => options.segments.capacity_bytes.min(MEMORY_LOG_BYTES_MAX),
    };
    BlockLogOptions {
        segment_bytes: options.segments.bytes,
        capacity_bytes,
        files: options.files.clone(),
        entropy: options.entropy.clone(),
        clock: options.clock.clone(),
        ..BlockLogOptions::new(path, Access::Owner)
    }
}

/// Opens the place and locks it, so that no second process can fence a living first one by mistake. Blocks.
pub(crate) fn lock(place: &LogPlace, options: BlockLogOptions) -> Result<LockedLog, StartError> {
    let opened = match place {
        LogPlace::At(_) => BlockLog::open(options.clone()),
        LogPlace::Memory => BlockLog::over(Arc::new(MemoryVolume::new(options.segment_bytes)), options.clone()),
    };
    match opened {
        Ok(log) => Ok(LockedLog { log: Arc::new(log), place: place.clone(), options }),
        Err(source @ WalError::InUse { .. }) => Err(StartError::LogInUse { place: place.to_string(), source }),
        Err(source) => Err(StartError::LogUnusable { place: place.to_string(), source }),
    }
}

impl LockedLog {
    /// The cluster that the place's logs are of, if there are any that say so. To be asked before the registration: a log
    /// of another cluster must fence nobody of this one, and its numbers could be taken for ours.
    ///
    /// `wanted` is what the node's identity says. A store that does not last is a new cluster every time, so that no log
    /// that is there can be its own. Blocks.
    pub(crate) fn cluster(&self, wanted: Option<&str>, lasting: bool) -> Result<Option<Arc<str>>, StartError> {
        let place = || self.place.to_string();
        let mut known: Option<Arc<str>> = wanted.map(Into::into);
        for log in self.log.incarnations()? {
            let incarnation = log.incarnation;
            if !lasting {
                return Err(StartError::LogBesideMemory { place: place(), incarnation, cluster: log.cluster_id.ok() });
            }
            let Ok(cluster) = log.cluster_id else { continue };
            match &known {
                Some(wanted) if **wanted != *cluster => {
                    let wanted = wanted.clone();
                    return Err(StartError::LogOfOtherCluster { place: place(), incarnation, cluster, wanted });
                }
                Some(_) => {}
                None => known = Some(cluster.into()),
            }
        }
        Ok(known)
    }

    /// The place of a node that is registered in `cluster_id`.
    pub(crate) fn registered(self, cluster_id: Arc<str>) -> OwnLog {
        OwnLog { log: self.log, place: self.place.to_string().into(), cluster_id, options: self.options }
    }
}

impl OwnLog {
    pub(crate) fn port(&self) -> &Arc<dyn WalPort<Pending>> {
        &self.log
    }

    pub(crate) fn cluster_id(&self) -> &Arc<str> {
        &self.cluster_id
    }

    /// How it was opened.
    pub(crate) fn options(&self) -> &BlockLogOptions {
        &self.options
    }

    /// The place, as metadata and messages name it.
    pub(crate) fn place(&self) -> String {
        self.place.to_string()
    }

    pub(crate) fn is_at(&self, location: &str) -> bool {
        *self.place == *location
    }

    /// The logs that are there.
    pub(crate) async fn incarnations(&self) -> Result<Vec<IncarnationSummary>, WalError> {
        let log = self.log.clone();
        blocking(move || log.incarnations()).await
    }

    /// Whether a log that is there holds a record.
    pub(crate) async fn holds_records(&self, id: Incarnation) -> Result<bool, WalError> {
        let log = self.log.clone();
        blocking(move || log.holds_records(id)).await
    }

    /// Makes the node's own log. Whoever waits for `threads` waits for it from now on, whatever becomes of the caller.
    pub(crate) async fn create(
        &self,
        me: Incarnation,
        sink: EngineSink,
        threads: LogThreads,
    ) -> Result<Wal<Pending>, WalError> {
        let own = self.clone();
        let create = move || own.log.create(me, &own.cluster_id, Box::new(sink)).inspect(|wal| threads.are_of(wal));
        blocking(create).await
    }

    /// Removes a log of this cluster whose life has ended; refuses one whose header does not say that it is of this
    /// cluster. A disk that refuses a write is an error: what it keeps of this log and of the next is not known then.
    pub(crate) async fn remove_ended(&self, id: Incarnation) -> Result<Removal, WalError> {
        let own = self.clone();
        match blocking(move || own.log.remove(id, Claim::Cluster(&own.cluster_id))).await {
            // Who claims it for its cluster is answered that all of it is gone, or an error.
            Ok(_) => Ok(Removal::Done),
            Err(error @ WalError::Unreadable { .. }) => {
                tracing::warn!(incarnation = %id, %error, "the files of a log that has ended stay; the next start tries again");
                Ok(Removal::NextStart)
            }
            Err(error) => Err(error),
        }
    }
}

/// The threads of the node's log, known from their first moment. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct LogThreads(Arc<Mutex<Option<BoxFuture<'static, ()>>>>);

impl LogThreads {
    fn are_of(&self, wal: &Wal<Pending>) {
        // Why it died, if it did, is told to whoever appends.
        *self.0.lock() = Some(wal.ended().map(drop).boxed());
    }

    /// Resolves once none of them runs. To be asked when nothing is left that could start one.
    pub(crate) async fn ended(&self) {
        let ended = self.0.lock().take();
        if let Some(ended) = ended {
            ended.await;
        }
    }
}
