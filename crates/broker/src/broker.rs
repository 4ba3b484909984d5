//! The broker: from its parts to listening sockets, and back down.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base::memory::Budget;
use base::net::Network;
use base::{Clock, Entropy, Incarnation, task};
use coordinator::{GroupConfig, GroupCoordinator, GroupCoordinatorDeps};
use meta::{Image, MetaHandle};
use partition::Partitions;
use telemetry::Metrics;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::endpoint::per_ip_overrides;
use crate::config::{BrokerConfig, Endpoint, effective};
use crate::core::{Core, CoreParts};
use crate::directory;
use crate::dispatch::Dispatch;
use crate::limits::{DRAIN_MAX, REQUEST_MEMORY_BYTES_DEFAULT};
use crate::net::complaints::Complaints;
use crate::net::listener::{Acceptor, Bound, SocketOptions, bind};
use crate::net::quota::{ConnectionLimits, Quota};
use crate::net::room::RequestMemory;
use crate::topic_counters::TopicCounters;

/// "Never" for connections, in a form that timers take.
const IDLE_FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3_600);

/// What a broker is made of.
pub struct BrokerDeps {
    /// The metadata.
    pub meta: MetaHandle,
    /// This broker's registration.
    pub me: Incarnation,
    /// The partitions it leads; made with [`crate::ImageDirectory`].
    pub partitions: Partitions,
    /// Its configuration.
    pub config: BrokerConfig,
    /// The process's metrics.
    pub metrics: Metrics,
    /// Source of time.
    pub clock: Clock,
    /// Source of session ids.
    pub entropy: Entropy,
    /// The store as operators know it, for example its URL without secrets.
    pub store_name: String,
    /// Where the console is, for browsers that come to the Kafka port.
    pub console: Option<String>,
}

/// Why a broker cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The host of a listener has no address.
    #[error("listener {listener}: the host has no address on this machine ({error}); fix listeners")]
    Resolve {
        /// The listener as configured.
        listener: String,
        /// What the resolver said.
        error: std::io::Error,
    },
    /// The port is taken, or may not be used.
    #[error("listener {listener}: cannot listen on {address} ({error}){}", fix(error))]
    Bind {
        /// The listener as configured.
        listener: String,
        /// The address tried.
        address: SocketAddr,
        /// What the operating system said.
        error: std::io::Error,
    },
}

fn fix(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => "; another process has the port: stop it, or choose another with --listen",
        std::io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need a privilege: choose a higher one with --listen"
        }
        std::io::ErrorKind::AddrNotAvailable => "; this machine has no such address: fix listeners",
        _ => "",
    }
}

/// Sockets that are bound before anything else is started, so that a busy port is found first.
#[derive(Debug)]
pub struct Listeners {
    bound: Vec<Bound>,
    options: SocketOptions,
}

impl Listeners {
    /// Binds every listener of the configuration. Clients may connect from here on; they are served once
    /// [`Broker::start`] runs.
    ///
    /// # Errors
    /// [`ListenError`], which says what to do.
    pub async fn bind(config: &BrokerConfig, network: &Network) -> Result<Self, ListenError> {
        let options = socket_options(config);
        let mut all = Vec::new();
        for endpoint in &config.listeners {
            all.push(bind_one(endpoint, &options, network).await?);
        }
        Ok(Self { bound: all, options })
    }

    /// Where it listens, by listener name; a port 0 shows as the one that was chosen.
    pub fn addresses(&self) -> Vec<(String, SocketAddr)> {
        self.bound.iter().map(|bound| (bound.name.to_string(), bound.address)).collect()
    }
}

async fn bind_one(endpoint: &Endpoint, options: &SocketOptions, network: &Network) -> Result<Bound, ListenError> {
    let listener = endpoint.to_string();
    if endpoint.is_wildcard() && !endpoint.host.contains('.') {
        // Both families, unless the machine has no IPv6.
        let six = SocketAddr::new(IpAddr::from([0_u16; 8]), endpoint.port);
        match bind(network, &endpoint.name, six, options) {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                return Err(ListenError::Bind { listener, address: six, error });
            }
            Ok(bound) => return Ok(bound),
            Err(_) => {}
        }
        let four = SocketAddr::new(IpAddr::from([0_u8; 4]), endpoint.port);
        return bind(network, &endpoint.name, four, options).map_err(|error| ListenError::Bind {
            listener,
            address: four,
            error,
        });
    }
    let resolved = network.resolve(&endpoint.host, endpoint.port).await;
    let address = resolved.and_then(|addresses| {
        addresses.first().copied().ok_or_else(|| std::io::Error::new(std::io::ErrorKind::NotFound, "no address"))
    });
    let address = address.map_err(|error| ListenError::Resolve { listener: listener.clone(), error })?;
    bind(network, &endpoint.name, address, options).map_err(|error| ListenError::Bind { listener, address, error })
}

fn socket_options(config: &BrokerConfig) -> SocketOptions {
    let buffer = |key| usize::try_from(config.int(key)).ok().filter(|bytes| *bytes > 0);
    SocketOptions {
        backlog: i32::try_from(config.int("socket.listen.backlog.size")).unwrap_or(i32::MAX),
        send_buffer: buffer("socket.send.buffer.bytes"),
        receive_buffer: buffer("socket.receive.buffer.bytes"),
        idle_max: config.idle_max.unwrap_or(IDLE_FOR_EVER),
    }
}

/// A broker that serves.
pub struct Broker;

impl Broker {
    /// Serves `listeners`.
    pub fn start(deps: BrokerDeps, listeners: Listeners) -> BrokerHandle {
        let BrokerDeps { meta, me, partitions, config, metrics, clock, entropy, store_name, console } = deps;
        let quota = Quota::new(connection_limits(&config, &meta.image()));
        let topics = Arc::new(TopicCounters::new(meta.clone(), metrics.clone()));
        let follow = directory::follow(meta.clone(), me, partitions.clone(), topics.clone());
        let followers = [
            task::spawn_vital("metadata-follower", follow),
            task::spawn_vital("settings-follower", follow_settings(meta.clone(), config.clone(), quota.clone())),
        ];
        let request_memory = match u64::try_from(config.int("queued.max.request.bytes")) {
            Ok(bytes) if bytes > 0 => Budget::new(bytes),
            _ => Budget::new(REQUEST_MEMORY_BYTES_DEFAULT),
        };
        let frame_bytes_max = config.count("socket.request.max.bytes");
        let groups = GroupCoordinator::start(GroupCoordinatorDeps {
            meta: meta.clone(),
            partitions: partitions.clone(),
            config: group_config(&config),
            clock: clock.clone(),
            entropy: entropy.clone(),
        });
        let parts = CoreParts {
            config,
            meta,
            partitions,
            groups: groups.clone(),
            clock: clock.clone(),
            entropy,
            metrics: metrics.clone(),
            topics,
            me,
            store_name,
        };
        let core = Arc::new(Core::new(parts));
        let shared_memory = RequestMemory::new(request_memory.clone());
        register_metrics(&core, &metrics, &request_memory);
        let service = Arc::new(Dispatch { core, frame_bytes_max });
        let (stop, stopped) = watch::channel(false);
        let addresses = listeners.addresses();
        let complaints = Arc::new(Complaints::default());
        let console: Option<Arc<str>> = console.map(Into::into);
        let options = listeners.options;
        let accepting = listeners.bound.into_iter().map(|bound| {
            Acceptor {
                service: service.clone(),
                options: options.clone(),
                clock: clock.clone(),
                memory: shared_memory.clone(),
                metrics: metrics.clone(),
                complaints: complaints.clone(),
                console: console.clone(),
                stop: stopped.clone(),
                quota: quota.clone(),
            }
            .serve(bound)
        });
        BrokerHandle { stop, accepting: accepting.collect(), followers, groups, quota, addresses }
    }
}

/// What the operator says about connections, now.
fn connection_limits(config: &BrokerConfig, image: &Image) -> ConnectionLimits {
    let value = |key| effective::value(key, config, image).unwrap_or_default();
    // What does not fit here must not lock everybody out.
    let count = |key| value(key).parse().unwrap_or_else(|_| config.count(key));
    ConnectionLimits {
        all: count("max.connections"),
        per_ip: count("max.connections.per.ip"),
        per_ip_overrides: per_ip_overrides(&value("max.connections.per.ip.overrides")).unwrap_or_default(),
    }
}

/// Applies settings that change while the broker runs and that nobody reads anew for each request, until the metadata
/// ends. Runs as a task of its own.
async fn follow_settings(meta: MetaHandle, config: BrokerConfig, quota: Arc<Quota>) {
    let mut changes = meta.changes();
    let mut known = meta.image();
    for invalid in effective::unheeded(&config, &known) {
        tracing::warn!(%invalid, "a setting that was made while a broker ran is not valid and does not count");
    }
    // The image may have moved since the limits were made.
    quota.set_limits(connection_limits(&config, &known));
    while changes.changed().await.is_ok() {
        let now = meta.image();
        if !now.configs.ptr_eq(&known.configs) {
            quota.set_limits(connection_limits(&config, &now));
        }
        known = now;
    }
}

/// What the operator says about groups.
fn group_config(config: &BrokerConfig) -> GroupConfig {
    let millis = |key| i32::try_from(config.int(key)).unwrap_or(i32::MAX);
    GroupConfig {
        initial_rebalance_delay_ms: millis("group.initial.rebalance.delay.ms"),
        session_timeout_ms_min: millis("group.min.session.timeout.ms"),
        session_timeout_ms_max: millis("group.max.session.timeout.ms"),
        members_max: config.count("group.max.size"),
        offset_metadata_bytes_max: config.count("offset.metadata.max.bytes"),
        offsets_retention_ms: config.int("offsets.retention.minutes").saturating_mul(60_000),
        offsets_retention_check_ms: config.count("offsets.retention.check.interval.ms") as u64,
    }
}

/// Gauges that are read when they are scraped.
fn register_metrics(core: &Arc<Core>, metrics: &Metrics, request_memory: &Budget) {
    let meta = core.meta.clone();
    metrics.gauge_from("kafka_server_replicamanager_partitioncount", "Partitions of the cluster", move || {
        meta.image().partition_count() as i64
    });
    let weak = Arc::downgrade(core);
    metrics.gauge_from("kafka_server_fetchsessioncache_numincrementalfetchsessions", "Fetch sessions", move || {
        weak.upgrade().map_or(0, |core| core.sessions.len() as i64)
    });
    let weak = Arc::downgrade(core);
    metrics.gauge_from(
        "headwater_fetch_session_evictions",
        "Fetch sessions that gave way to others since start",
        move || weak.upgrade().map_or(0, |core| core.sessions.evictions() as i64),
    );
    let memory = request_memory.clone();
    metrics.gauge_from("headwater_request_memory_bytes", "Memory of requests received and not answered", move || {
        memory.used() as i64
    });
    let weak = Arc::downgrade(core);
    metrics.gauge_from("headwater_fetch_wait_memory_bytes", "Memory of fetches that wait for records", move || {
        weak.upgrade().map_or(0, |core| core.fetch_waits.used() as i64)
    });
    let weak = Arc::downgrade(core);
    metrics.gauge_from(
        "headwater_reply_memory_bytes",
        "Replies that are being made or that clients have not taken yet",
        move || weak.upgrade().map_or(0, |core| (core.reply_memory.used() + core.replies.used()) as i64),
    );
}

/// A running broker.
pub struct BrokerHandle {
    stop: watch::Sender<bool>,
    accepting: Vec<JoinHandle<()>>,
    followers: [JoinHandle<()>; 2],
    groups: GroupCoordinator,
    quota: Arc<Quota>,
    addresses: Vec<(String, SocketAddr)>,
}

impl BrokerHandle {
    /// Where it listens, by listener name.
    pub fn addresses(&self) -> &[(String, SocketAddr)] {
        &self.addresses
    }

    /// Drains: no connection is accepted any more, no request read; what was read is answered, appends included, and
    /// every connection closed. Resolves when the last one is, or after a bounded time. Says whether all were.
    pub async fn shutdown(self) -> bool {
        // Nobody listening means that every connection is gone already.
        let _ = self.stop.send(true);
        for task in self.accepting {
            let _ = task.await;
        }
        let drained = tokio::time::timeout(DRAIN_MAX, self.quota.all_closed()).await.is_ok();
        self.groups.shutdown();
        self.followers.iter().for_each(JoinHandle::abort);
        drained
    }
}
