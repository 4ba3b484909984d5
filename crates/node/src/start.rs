//! The start: from options to a node that serves.
//!
//! The order is the design's: bind the addresses, lock the log's place (so that a second process cannot fence a living
//! first one by mistake) and ask whose logs are there, probe the store, take office and register, recover what former
//! processes left, open a fresh log, and only then serve.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base::Incarnation;
use blob::{OpenError, ProbeError, Store, StoreError, StoreOptions};
use broker::config::BrokerConfig;
use broker::{Broker, BrokerDeps, BrokerHandle, ImageDirectory, ListenError, Listeners};
use futures::FutureExt;
use meta::{BrokerError, LogLost, MetaHandle};
use partition::Partitions;
use stream::catalogue::CatalogueClient;
use stream::catalogue::client::IncarnationError;
use stream::engine::{NotOpen, RecoverError};
use stream::wal::WalError;
use stream::{Engine, EngineOptions};
use thiserror::Error;

use crate::identity::{self, Identity, IdentityError};
use crate::leftovers;
use crate::log::{self, LockedLog, OwnLog, blocking};
use crate::options::{LogPlace, NodeOptions};
use crate::recover::{self, Recovery};
use crate::register::{self, Registrant};
use crate::run::{Remains, Vitals};
use crate::status::Status;
use crate::takeover::Unreachable;

/// Why a node did not start. Each says what to do.
#[derive(Debug, Error)]
pub enum StartError {
    /// An address is not to be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Another process has the log's place.
    #[error(
        "the write-ahead log at {place} is in use; stop that broker, or give this one another log with --wal PATH or --override log.dirs=PATH"
    )]
    LogInUse {
        /// Where.
        place: String,
        /// Who has it.
        source: WalError,
    },
    /// The log's place cannot be used.
    #[error(
        "the write-ahead log at {place} cannot be opened; choose a writable place with --wal PATH or --override log.dirs=PATH"
    )]
    LogUnusable {
        /// Where.
        place: String,
        /// Why.
        source: WalError,
    },
    /// The log's place holds a log of another cluster.
    #[error(
        "the write-ahead log at {place} holds records of cluster {cluster}, but this broker is of cluster {wanted}; correct \
         --store, or give this broker another log with --wal PATH. Only if cluster {cluster} is gone for good: `headwater wal \
         remove {incarnation} --cluster {cluster} --wal {place}` removes its log"
    )]
    LogOfOtherCluster {
        /// Where.
        place: String,
        /// The log.
        incarnation: Incarnation,
        /// Its cluster.
        cluster: String,
        /// This broker's.
        wanted: Arc<str>,
    },
    /// The store is in memory, and the log's place holds a log.
    #[error(
        "the write-ahead log at {place} holds log {incarnation} of cluster {}, and a store in memory is a new cluster every \
         time: it can recover none. Leave --wal out, and the log is in memory too, or name another place with --wal PATH. Only \
         if that cluster is gone for good: `headwater wal remove {incarnation} --cluster {} --wal {place}` removes its log",
        .cluster.as_deref().unwrap_or("(it cannot say)"),
        .cluster.as_deref().unwrap_or("ID")
    )]
    LogBesideMemory {
        /// Where.
        place: String,
        /// The log.
        incarnation: Incarnation,
        /// Its cluster, if its header says so.
        cluster: Option<String>,
    },
    /// The log's place holds records of a log that metadata has never heard of.
    #[error(
        "the write-ahead log at {place} holds records of log {incarnation}, which the cluster's metadata does not know; was the \
         store put back to an earlier state? Bring the right store back, or give this broker another log with --wal PATH. Only \
         if those records may be lost: `headwater wal remove {incarnation} --cluster {} --wal {place}`",
        .cluster.as_deref().unwrap_or("ID")
    )]
    UnknownLog {
        /// The log.
        incarnation: Incarnation,
        /// Where.
        place: String,
        /// Its cluster, if its header says so.
        cluster: Option<String>,
    },
    /// The directory of the identity is another's, or unusable.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The store's URL is not understood, or its directory cannot be used.
    #[error(transparent)]
    StoreUnusable(#[from] OpenError),
    /// The store does not keep the promises that a broker relies on, or does not answer.
    #[error(transparent)]
    StoreUnfit(#[from] ProbeError),
    /// Nothing more can be written to the store until the process starts again.
    #[error("the store can be written no more by this process: {0}")]
    StoreFailed(StoreError),
    /// The metadata log cannot be continued by this process.
    #[error("{0}")]
    MetadataLost(LogLost),
    /// The store is not of the cluster that this broker's files are of.
    #[error("{named_by} says that this broker is of cluster {cluster}, and the store is not")]
    OtherStore {
        /// This broker's cluster.
        cluster: Arc<str>,
        /// What says so.
        named_by: String,
        /// What the store says.
        source: Box<meta::StartError>,
    },
    /// The cluster's metadata cannot be read, or admits no such broker.
    #[error(transparent)]
    Metadata(Box<meta::StartError>),
    /// An assigned log is out of reach.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// An assigned log could not be read or committed.
    #[error(
        "the log of {incarnation} at {location} must be read before this broker may serve; bring the directory or device back, \
         or give up what was not uploaded with `headwater wal abandon {incarnation}`"
    )]
    NotRecovered {
        /// Whose log.
        incarnation: Incarnation,
        /// Where.
        location: Arc<str>,
        /// Why not.
        source: RecoverError,
    },
    /// The end of a recovery was not taken note of.
    #[error(transparent)]
    Incarnation(#[from] IncarnationError),
    /// The registration was replaced meanwhile, or metadata does not answer.
    #[error(transparent)]
    Registration(#[from] BrokerError),
    /// The own log failed.
    #[error(transparent)]
    Log(#[from] WalError),
    /// Metadata does not hold the own log as open.
    #[error(transparent)]
    LogNotOpen(#[from] NotOpen),
}

/// Which places of a node are gone with the machine's power.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InMemory {
    /// The store, if it is a directory.
    pub store: bool,
    /// The log.
    pub log: bool,
}

/// What a node that serves says of itself.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Its registration.
    pub me: Incarnation,
    /// Its cluster.
    pub cluster_id: Arc<str>,
    /// Where clients reach it.
    pub addresses: Vec<String>,
    /// Its store, by name.
    pub store: String,
    /// Its log's place.
    pub log: String,
    /// Which of the two are gone with the machine's power.
    pub in_memory: InMemory,
    /// What former processes had acknowledged and had not uploaded.
    pub recovered: Recovery,
}

/// A node that serves.
pub(crate) struct Serving {
    pub(crate) facts: Facts,
    pub(crate) broker: BrokerHandle,
    pub(crate) vitals: Vitals,
    pub(crate) log: OwnLog,
    pub(crate) me: Incarnation,
}

pub(crate) async fn start(options: NodeOptions, status: &Status, remains: &Remains) -> Result<Serving, StartError> {
    let listeners = Listeners::bind(&options.broker, &options.network).await?;
    let files = whose_files(&options).await?;
    let store = open_store(&options).await?;
    status.store_is(&store);
    let failed = store.clone();
    base::select! {
        started = Box::pin(join(options, listeners, files, store, (status, remains))) => started,
        why = failed.failed() => Err(StartError::StoreFailed(why)),
    }
}

/// From a store that keeps its promises to a node that serves.
async fn join(
    options: NodeOptions,
    listeners: Listeners,
    WhoseFiles { locked, known, cluster, in_memory }: WhoseFiles,
    store: Store,
    (status, remains): (&Status, &Remains),
) -> Result<Serving, StartError> {
    let broker_id = options.broker.node_id;
    let identity = known.clone().unwrap_or_else(|| match options.home {
        Some(_) => Identity::new(broker_id, &options.entropy),
        None => Identity::homeless(broker_id),
    });
    let named_by = match (&options.home, &identity.cluster_id) {
        (Some(home), Some(_)) => identity::file(home).display().to_string(),
        _ => format!("the write-ahead log at {}", options.log),
    };
    let who = Registrant {
        broker: broker_id,
        directory_id: identity.directory_id,
        cluster: cluster.map(|cluster| (cluster, named_by)),
    };
    let (meta, registration) = register::register(who, &options, &listeners, &store).await?;
    let office = meta.clone();
    let entering = Box::pin(async move {
        let (me, cluster_id) = (registration.incarnation, registration.cluster_id.clone());
        if let Some(home) = &options.home {
            let identity = Identity { cluster_id: Some(cluster_id.to_string()), ..identity };
            if known.as_ref() != Some(&identity) {
                let (files, home) = (options.files.clone(), home.clone());
                blocking(move || identity::store(&files, &home, &identity)).await?;
            }
        }
        let log = locked.registered(cluster_id.clone());
        let client: Arc<dyn CatalogueClient> = Arc::new(meta.clone());
        let engine = Engine::new(engine_options(&options.broker), store.clone(), client, me, options.clock.clone());
        remains.engine_is(&engine);
        for (incarnation, why) in &registration.damaged {
            tracing::error!(%incarnation, %why, "a damaged log keeps its partitions offline; `headwater wal show` explains");
        }
        let recovered = recover::recover(&registration.recover, me, &log, &engine, &meta).await?;
        leftovers::refuse_unknown(&log, &meta).await?;

        let wal = log.create(me, engine.sink(), remains.log_threads()).await?;
        meta.open_incarnation(me, register::wal_place(&log.place())).await?;
        base::plant::place("in-start");
        engine.attach(wal)?;
        meta.activate(me).await?;
        leftovers::clear(&log, &meta, me).await?;

        let facts = Facts {
            me,
            cluster_id,
            addresses: listeners.addresses().iter().map(|(_, address)| address.to_string()).collect(),
            store: store.name(),
            log: log.place(),
            in_memory,
            recovered,
        };
        let broker = serve(options, status, listeners, (&engine, &meta), &facts);
        Ok(Serving { facts, broker, vitals: Vitals { engine, meta, store }, log, me })
    });
    let entered = base::select! {
        entered = entering => entered,
        lost = office.fenced() => return Err(StartError::MetadataLost(lost)),
    };
    // Whatever step met it first, this is the reason.
    entered.map_err(|error| office.fenced().now_or_never().map_or(error, StartError::MetadataLost))
}

/// What a node's files say of themselves.
struct WhoseFiles {
    locked: LockedLog,
    known: Option<Identity>,
    cluster: Option<Arc<str>>,
    in_memory: InMemory,
}

/// Locks the log's place, and asks that and the identity whose they are.
async fn whose_files(options: &NodeOptions) -> Result<WhoseFiles, StartError> {
    let (place, home, files) = (options.log.clone(), options.home.clone(), options.files.clone());
    let log_options = log::options(options);
    let (broker, lasting) = (options.broker.node_id, !options.store.starts_with("memory:"));
    let store = options.store.strip_prefix("file://").map(PathBuf::from);
    let ask = move || {
        let locked = log::lock(&place, log_options)?;
        let known = match &home {
            Some(home) => identity::load(&files, home, broker)?,
            None => None,
        };
        let cluster = locked.cluster(known.as_ref().and_then(|known| known.cluster_id.as_deref()), lasting)?;
        let in_memory = InMemory {
            store: store.is_some_and(|store| files.is_in_memory(&store)),
            log: match &place {
                LogPlace::At(path) => files.is_in_memory(path),
                LogPlace::Memory => true,
            },
        };
        Ok(WhoseFiles { locked, known, cluster, in_memory })
    };
    blocking(ask).await
}

fn serve(
    options: NodeOptions,
    status: &Status,
    listeners: Listeners,
    (engine, meta): (&Engine, &MetaHandle),
    facts: &Facts,
) -> BrokerHandle {
    let NodeOptions { broker: config, console, clock, entropy, .. } = options;
    let directory = Arc::new(ImageDirectory::new(meta.clone(), facts.me, config.clone()));
    let partitions = Partitions::new(engine.clone(), directory, clock.clone(), partition_options(&config));
    sweep(&partitions, &config);
    let deps = BrokerDeps {
        meta: meta.clone(),
        me: facts.me,
        partitions,
        config,
        metrics: status.metrics().clone(),
        clock,
        entropy,
        store_name: facts.store.clone(),
        console,
    };
    Broker::start(deps, listeners)
}

async fn open_store(options: &NodeOptions) -> Result<Store, StartError> {
    let (clock, entropy) = (options.clock.clone(), options.entropy.clone());
    let store = options.stores.open(&options.store, StoreOptions { clock, entropy, ..StoreOptions::default() }).await?;
    let report = blob::probe(&store, true).await?;
    tracing::info!(store = %report.store, raced_keys = report.raced_keys, "the store keeps its promises");
    Ok(store)
}

fn engine_options(config: &BrokerConfig) -> EngineOptions {
    let bytes = |key: &str| u64::try_from(config.int(key)).unwrap_or(0);
    EngineOptions {
        log_cache_bytes: bytes("log.cache.bytes"),
        block_cache_bytes: bytes("block.cache.bytes"),
        ..EngineOptions::default()
    }
}

fn partition_options(config: &BrokerConfig) -> partition::Options {
    let validation = match config.get("produce.validation") {
        Some("header") => records::ValidationLevel::HeaderAndCrc,
        _ => records::ValidationLevel::Full,
    };
    partition::Options { validation, ..partition::Options::default() }
}

/// Retention, for as long as the node lives.
fn sweep(partitions: &Partitions, config: &BrokerConfig) {
    let every = Duration::from_millis(u64::try_from(config.int("log.retention.check.interval.ms")).unwrap_or(300_000));
    let partitions = partitions.clone();
    base::task::spawn_vital("retention", async move {
        loop {
            tokio::time::sleep(every).await;
            let trimmed = partitions.sweep_retention().await;
            if trimmed > 0 {
                tracing::info!(partitions = trimmed, "retention moved log starts");
            }
        }
    });
}
