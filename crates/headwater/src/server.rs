//! A broker's life: start, serve, drain.
//!
//! The order of the start is the design's: bind the addresses, lock and open the log's directory (so that a second process
//! cannot fence a living first one by mistake), probe the store, take office and register, recover what former processes
//! left, open a fresh log, and only then serve. "Ready" is said last.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use base::{Clock, Entropy, Incarnation};
use blob::{Store, StoreOptions};
use broker::config::BrokerConfig;
use broker::{Broker, BrokerDeps, BrokerHandle, ImageDirectory, Listeners};
use console::{Console, Readiness, Sources};
use meta::{Endpoint, Meta, MetaHandle, MetaOptions, Registration, SnapshotPolicy, WalOptions};
use partition::Partitions;
use stream::catalogue::{CatalogueClient, IncarnationPhase, WalPlace};
use stream::engine::RecoverError;
use stream::wal::{Access, BlockLog, BlockLogOptions, Claim, WalError};
use stream::{Engine, EngineOptions};
use telemetry::Metrics;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::banner::{self, Banner};
use crate::cli::ServerOptions;
use crate::config::{self, Settings};
use crate::identity::{self, Identity};

/// The block log, in metadata.
const WAL_KIND_BLOCK: i8 = 0;

/// Starts a broker and serves until it is told to stop.
pub fn run(options: &ServerOptions) -> anyhow::Result<()> {
    telemetry::logs::init(telemetry::logs::Format::for_stderr(), &options.log)?;
    let settings = config::of_process(options)?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    if !settings.unneeded.is_empty() {
        tracing::info!(keys = settings.unneeded.join(", "), "configuration keys of Kafka that change nothing here");
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime cannot start")?;
    let outcome = runtime.block_on(serve(settings));
    // Blocking work that is still under way (a read of a slow store) must not hold up the exit.
    runtime.shutdown_timeout(Duration::from_millis(100));
    outcome
}

/// A broker that serves.
struct Running {
    broker: BrokerHandle,
    engine: Engine,
    meta: MetaHandle,
    log: Arc<BlockLog>,
    me: Incarnation,
    ready: watch::Sender<Readiness>,
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    // A start that is given up half-way is a crash: the next one finds what it left.
    let running = tokio::select! {
        running = start(settings) => running?,
        () = signals.stop() => bail!("told to stop while it started"),
    };
    let Running { broker, engine, meta, log, me, ready } = running;
    tokio::select! {
        why = engine.failed() => bail!("{why}"),
        why = meta.fenced() => bail!("another process took this broker's place ({why}); it recovers what this one had acknowledged"),
        () = signals.stop() => {}
    }
    ready.send_replace(Readiness::NotReady("draining".to_owned()));
    tokio::select! {
        drained = drain(broker, &engine, &meta, &log, me) => drained,
        why = engine.failed() => bail!("not drained: {why}; the next start recovers from the log"),
        () = signals.stop() => bail!("told to stop a second time: not drained; the next start recovers from the log"),
        why = meta.fenced() => bail!("another process took this broker's place while it drained ({why})"),
    }
}

async fn start(settings: Settings) -> anyhow::Result<Running> {
    let clock = Clock::system();
    let entropy = Entropy::system();
    let listeners = Listeners::bind(&settings.broker).await?;
    let console = match &settings.http {
        Some(address) => Some(Console::bind(address).await.with_context(|| {
            format!(
                "HTTP cannot listen on {address}; free the port, choose another with --http HOST:PORT, or --http off"
            )
        })?),
        None => None,
    };
    let http = console.as_ref().map(Console::address).transpose()?.map(|a| a.to_string());
    let (ready, readiness) = watch::channel(Readiness::NotReady("starting".to_owned()));
    let metrics = Metrics::new();

    let known = identity::load(&settings.directory, settings.broker.node_id)?;
    let mut identity = known.clone().unwrap_or_else(|| Identity::new(settings.broker.node_id, &entropy));
    let log = open_log(&settings.wal)?;
    let store = open_store(&settings.store, &clock, &entropy).await?;
    // What is in memory is a new cluster every time.
    let lasting = !store.name().starts_with("memory");
    if let Some(console) = console {
        let (metrics, store) = (metrics.clone(), store.clone());
        console.serve(Sources { metrics: Arc::new(move || render(&metrics, &store)), readiness });
    }
    let place = WalPlace { kind: WAL_KIND_BLOCK, location: settings.wal.display().to_string().into() };
    let options = MetaOptions {
        broker_id: settings.broker.node_id,
        directory_id: identity.directory_id,
        endpoints: endpoints(&listeners),
        address: String::new(),
        rack: settings.broker.rack.clone(),
        wal: WalOptions { place: place.clone(), reach: String::new() },
        cluster_id: identity.cluster_id.clone().filter(|_| lasting),
        snapshots: SnapshotPolicy::default(),
        clock: clock.clone(),
        entropy: entropy.clone(),
    };
    let (meta, registration) = Meta::start(store.clone(), options).await?;
    if identity.cluster_id.is_none() && lasting {
        identity.cluster_id = Some(registration.cluster_id.to_string());
    }
    if known.as_ref() != Some(&identity) {
        identity::store(&settings.directory, &identity)?;
    }
    let me = registration.incarnation;
    let logs = Logs { own: log.clone(), path: settings.wal.clone(), cluster_id: registration.cluster_id.clone() };
    logs.expel_others(lasting)?;
    let catalogue: Arc<dyn CatalogueClient> = Arc::new(meta.clone());
    let engine = Engine::new(engine_options(&settings.broker), store.clone(), catalogue, me, clock.clone());
    let recovered = logs.recover(&engine, &meta, &registration).await?;

    let wal = log.create(me, &registration.cluster_id, engine.sink())?;
    meta.open_incarnation(me, place).await?;
    engine.attach(wal);
    meta.activate(me).await?;
    logs.forget_ended(&meta, me).await?;

    let directory = Arc::new(ImageDirectory::new(meta.clone(), me, settings.broker.clone()));
    let partitions = Partitions::new(engine.clone(), directory, clock.clone(), partition_options(&settings.broker));
    sweep(&partitions, &settings.broker);
    let addresses: Vec<String> = listeners.addresses().iter().map(|(_, a)| a.to_string()).collect();
    let deps = BrokerDeps {
        meta: meta.clone(),
        me,
        partitions,
        config: settings.broker,
        metrics,
        clock,
        entropy,
        store_name: store.name(),
        console: http.clone(),
    };
    let broker = Broker::start(deps, listeners);
    ready.send_replace(Readiness::Ready);
    banner::print(&Banner {
        broker: me.broker.0,
        cluster: &registration.cluster_id,
        addresses: &addresses,
        store: &store.name(),
        wal: &settings.wal.display().to_string(),
        http: http.as_deref(),
        recovered,
    })?;
    Ok(Running { broker, engine, meta, log, me, ready })
}

async fn drain(
    broker: BrokerHandle,
    engine: &Engine,
    meta: &MetaHandle,
    log: &BlockLog,
    me: Incarnation,
) -> anyhow::Result<()> {
    tracing::info!("draining: finishing requests, emptying the log into the store");
    if !broker.shutdown().await {
        tracing::warn!("some connections did not finish in time and were cut");
    }
    engine.drain().await?;
    meta.unregister(me).await?;
    let cluster_id = meta.image().cluster_id.clone().unwrap_or_default();
    log.remove(me, Claim::Cluster(&cluster_id))?;
    tracing::info!("drained: everything is in the store");
    Ok(())
}

fn open_log(path: &Path) -> anyhow::Result<Arc<BlockLog>> {
    match BlockLog::open(BlockLogOptions::new(path, Access::Owner)) {
        Ok(log) => Ok(Arc::new(log)),
        Err(error @ WalError::InUse { .. }) => Err(error).with_context(|| {
            format!(
                "the write-ahead log at {} is in use; stop that broker, or give this one another log.dirs",
                path.display()
            )
        }),
        Err(error) => Err(error).with_context(|| {
            format!(
                "the write-ahead log at {} cannot be opened; choose a writable place with --wal PATH",
                path.display()
            )
        }),
    }
}

async fn open_store(url: &str, clock: &Clock, entropy: &Entropy) -> anyhow::Result<Store> {
    let options = StoreOptions { clock: clock.clone(), entropy: entropy.clone(), ..StoreOptions::default() };
    let store = Store::open(url, options).await?;
    let report = blob::probe(&store, true).await?;
    tracing::info!(store = %report.store, raced_keys = report.raced_keys, "the store keeps its promises");
    Ok(store)
}

fn endpoints(listeners: &Listeners) -> Vec<Endpoint> {
    let named = listeners.addresses();
    named
        .into_iter()
        .map(|(name, address)| Endpoint {
            name,
            host: address.ip().to_string(),
            port: address.port(),
            security_protocol: 0,
        })
        .collect()
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
    partition::Options { validation }
}

/// The write-ahead logs of former processes, in this broker's place and elsewhere.
struct Logs {
    own: Arc<BlockLog>,
    path: PathBuf,
    cluster_id: Arc<str>,
}

impl Logs {
    /// Refuses a place that holds another cluster's log; its numbers could be taken for ours. If nothing of this
    /// broker's clusters lasts, such a log is of an earlier one in memory, and goes.
    fn expel_others(&self, lasting: bool) -> anyhow::Result<()> {
        for log in self.own.incarnations()? {
            let Ok(cluster) = &log.cluster_id else { continue };
            if **cluster == *self.cluster_id {
                continue;
            }
            // Another process's records may be all that is left of what it acknowledged.
            if lasting || self.own.holds_records(log.incarnation)? {
                bail!(
                    "the write-ahead log at {} holds records of cluster {cluster}, but the store holds cluster {}; correct \
                     --store, or give this broker another log with --wal PATH",
                    self.path.display(),
                    self.cluster_id
                );
            }
            self.own.remove(log.incarnation, Claim::Cluster(cluster))?;
        }
        Ok(())
    }

    /// Recovers every incarnation that registration assigned to this broker; says what there was.
    async fn recover(
        &self,
        engine: &Engine,
        meta: &MetaHandle,
        registration: &Registration,
    ) -> anyhow::Result<Option<String>> {
        let (mut records, mut bytes) = (0, 0);
        for (incarnation, why) in &registration.damaged {
            tracing::error!(%incarnation, %why, "a damaged log keeps its partitions offline; `headwater wal show` explains");
        }
        for former in &registration.recover {
            let id = former.incarnation;
            let is_own = self.is_own(&former.wal.location);
            let log = if is_own { self.own.clone() } else { self.stranger(&former.wal.location, id)? };
            match engine.recover(&log, id, former.committed).await {
                Ok(found) => {
                    records += found.records;
                    bytes += found.bytes;
                    meta.recovered(id, registration.incarnation, found.end).await?;
                    if is_own {
                        self.own.remove(id, Claim::Cluster(&self.cluster_id))?;
                    }
                    tracing::info!(incarnation = %id, records = found.records, bytes = found.bytes, "recovered a former log");
                }
                Err(RecoverError::Damaged { at, why, .. }) => {
                    let reason = format!("at position {at}: {why}");
                    tracing::error!(incarnation = %id, reason, "a former log is damaged; its partitions stay offline until `headwater wal abandon {id}`");
                    meta.damaged(id, registration.incarnation, reason).await?;
                }
                Err(error) => {
                    return Err(error).with_context(|| {
                        format!(
                            "the log of {id} at {} must be read before this broker may serve; bring the directory or device \
                             back, or give up what was not uploaded with `headwater wal abandon {id}`",
                            former.wal.location
                        )
                    });
                }
            }
        }
        Ok((records > 0).then(|| format!("{records} batches ({bytes} bytes) that the last process had acknowledged")))
    }

    /// Removes what processes left that died between an incarnation's end and the removal of its files, or between the
    /// making of its files and its registration; then metadata need not remember those incarnations either.
    async fn forget_ended(&self, meta: &MetaHandle, me: Incarnation) -> anyhow::Result<()> {
        let catalogue = meta.image().catalogue.clone();
        for log in self.own.incarnations()? {
            let phase = catalogue.incarnation(log.incarnation).map(|state| &state.phase);
            let claim = match phase {
                Some(IncarnationPhase::Abandoned) => Claim::GivenUp(&self.cluster_id),
                _ => Claim::Cluster(&self.cluster_id),
            };
            let ended = match phase {
                Some(phase) => phase.is_final(),
                // Never opened, so never written; its header and its segments must say so.
                None => log.cluster_id.is_ok() && !self.own.holds_records(log.incarnation)?,
            };
            if ended && log.incarnation != me {
                self.own.remove(log.incarnation, claim)?;
                tracing::info!(incarnation = %log.incarnation, "removed the files of a log that has ended");
            }
        }
        for (id, state) in catalogue.incarnations() {
            let last_owner = catalogue.streams_of(id).next().is_some();
            if state.phase.is_final() && !last_owner && self.is_own(&state.wal.location) {
                meta.remove_incarnation(id).await?;
            }
        }
        Ok(())
    }

    fn is_own(&self, location: &str) -> bool {
        Path::new(location) == self.path
    }

    /// A log that a former process wrote elsewhere.
    fn stranger(&self, location: &str, id: Incarnation) -> anyhow::Result<Arc<BlockLog>> {
        let missing = || {
            format!(
                "the log of {id} is at {location}, which cannot be opened; bring it back, or give up what was not uploaded \
                 with `headwater wal abandon {id}`"
            )
        };
        if !Path::new(location).exists() {
            bail!("{}", missing());
        }
        let log = BlockLog::open(BlockLogOptions::new(location, Access::Taker)).map(Arc::new).with_context(missing)?;
        let found = log.incarnations().with_context(missing)?.into_iter().find(|log| log.incarnation == id);
        if let Some(Ok(cluster)) = found.map(|log| log.cluster_id)
            && *cluster != *self.cluster_id
        {
            bail!("{}; what is there now is of cluster {cluster}, not {}", missing(), self.cluster_id);
        }
        Ok(log)
    }
}

/// Retention, for as long as the process lives.
fn sweep(partitions: &Partitions, config: &BrokerConfig) {
    let every = Duration::from_millis(u64::try_from(config.int("log.retention.check.interval.ms")).unwrap_or(300_000));
    let partitions = partitions.clone();
    base::task::spawn("retention", async move {
        loop {
            tokio::time::sleep(every).await;
            let trimmed = partitions.sweep_retention().await;
            if trimmed > 0 {
                tracing::info!(partitions = trimmed, "retention moved log starts");
            }
        }
    });
}

/// The registry, and the store's request counters, as one page.
fn render(metrics: &Metrics, store: &Store) -> String {
    use std::fmt::Write;
    let mut page = metrics.render();
    let end = page.trim_end().strip_suffix("# EOF").map_or(page.len(), str::len);
    page.truncate(end);
    page.push_str(
        "# HELP headwater_store_requests Requests to the object store.\n# TYPE headwater_store_requests counter\n",
    );
    let rows = store.counters().rows;
    for row in &rows {
        for outcome in blob::Outcome::ALL {
            let count = row.with_outcome(*outcome);
            if count > 0 {
                let (purpose, operation, outcome) = (row.purpose.label(), row.operation.label(), outcome.label());
                // Writing to a string cannot fail.
                let _ = writeln!(
                    page,
                    "headwater_store_requests_total{{purpose=\"{purpose}\",operation=\"{operation}\",outcome=\"{outcome}\"}} {count}"
                );
            }
        }
    }
    page.push_str(
        "# HELP headwater_store_bytes Bytes to and from the object store.\n# TYPE headwater_store_bytes counter\n",
    );
    for row in rows.iter().filter(|row| row.bytes > 0) {
        let (purpose, operation) = (row.purpose.label(), row.operation.label());
        let _ = writeln!(
            page,
            "headwater_store_bytes_total{{purpose=\"{purpose}\",operation=\"{operation}\"}} {}",
            row.bytes
        );
    }
    page.push_str("# EOF\n");
    page
}

/// SIGTERM and SIGINT.
struct Signals {
    term: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
