//! The broker under test and a client that speaks any version of any request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base::memory::Budget;
use base::{BrokerId, Clock, Entropy, Uuid};
use blob::faulty::{FaultPlan, FaultyBackend};
use blob::memory::MemoryBackend;
use blob::{Store, StoreOptions};
use broker::config::BrokerConfig;
use broker::{Broker, BrokerDeps, BrokerHandle, ImageDirectory, Listeners};
use bytes::Bytes;
use meta::{Meta, MetaHandle, MetaOptions, SnapshotPolicy, WalOptions};
use partition::{Options, Partitions};
use records::{BatchBuilder, Compression};
use stream::catalogue::{CatalogueClient, IncarnationPhase, WalPlace};
use stream::wal::{Access, BlockLog, BlockLogOptions};
use stream::{Engine, EngineOptions};
use telemetry::Metrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::header::RequestHeader;
use wire::{Message, Reader, Request, Writer};

pub struct Live {
    pub handle: BrokerHandle,
    pub meta: MetaHandle,
    pub metrics: Metrics,
    pub engine: Engine,
    pub address: SocketAddr,
    pub site: Site,
}

/// What outlives a broker: its store and its block log.
#[derive(Clone)]
pub struct Site {
    store: Store,
    log: Arc<BlockLog>,
    _dir: Arc<tempfile::TempDir>,
}

impl Site {
    /// Where its objects are.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Another takes the place of the broker of `live`, which does not know of it yet.
    pub fn fence(&self, live: &Live) {
        let image = live.meta.image();
        let open = image.catalogue.incarnations().filter(|(_, state)| state.phase == IncarnationPhase::Open);
        open.for_each(|(incarnation, _)| self.log.fence(incarnation).unwrap());
    }

    /// A fresh memory store and a block log in a temporary directory.
    fn fresh() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut log = BlockLogOptions::new(dir.path(), Access::Owner);
        log.segment_bytes = 4 << 20;
        log.capacity_bytes = 32 << 20;
        Self { store: Store::memory(), log: Arc::new(BlockLog::open(log).unwrap()), _dir: Arc::new(dir) }
    }
}

/// Starts a broker on a fresh memory store and a block log in a temporary directory.
pub async fn start(overrides: &[(&str, &str)]) -> Live {
    start_on(Site::fresh(), overrides).await
}

/// Starts a broker on a store that misbehaves when it is told to.
pub async fn start_on_faulty_store(overrides: &[(&str, &str)]) -> (Live, FaultyBackend) {
    let faults = FaultyBackend::new(Arc::new(MemoryBackend::new()), FaultPlan::default(), 1);
    let store = Store::with_backend(Arc::new(faults.clone()), StoreOptions::default());
    (start_on(Site { store, ..Site::fresh() }, overrides).await, faults)
}

/// No request of the store succeeds until the plan is changed again.
pub fn outage() -> FaultPlan {
    FaultPlan { unavailable: 1.0, ..FaultPlan::default() }
}

/// Starts a broker where another one was, as after a crash: it takes that one's place and recovers its log.
pub async fn start_on(site: Site, overrides: &[(&str, &str)]) -> Live {
    let (clock, entropy, store, log) = (Clock::system(), Entropy::system(), site.store.clone(), site.log.clone());
    let pairs = [("listeners", "PLAINTEXT://127.0.0.1:0")].into_iter().chain(overrides.iter().copied());
    let config = BrokerConfig::parse(pairs).unwrap().config;
    let place = WalPlace { kind: 0, location: "test".into() };
    let options = MetaOptions {
        broker_id: BrokerId(1),
        directory_id: Uuid::from_u128(1),
        endpoints: Vec::new(),
        address: String::new(),
        rack: None,
        wal: WalOptions { place: place.clone(), reach: String::new() },
        cluster_id: None,
        snapshots: SnapshotPolicy::default(),
        deletion_period: meta::DELETION_PERIOD,
        clock: clock.clone(),
        entropy: entropy.clone(),
    };
    let (meta, registration) = Meta::start(store.clone(), options).await.unwrap();
    let me = registration.incarnation;
    let client: Arc<dyn CatalogueClient> = Arc::new(meta.clone());
    let options = EngineOptions { upload_interval: Duration::from_secs(3_600), ..EngineOptions::default() };
    let engine = Engine::new(options, store, client, me, clock.clone());
    let memory = Budget::new(64 << 20);
    for former in &registration.recover {
        let found = engine.recover(&log, former.incarnation, former.committed, &memory).await.unwrap();
        meta.recovered(former.incarnation, me, found.end).await.unwrap();
    }
    let wal = log.create(me, &registration.cluster_id, engine.sink()).unwrap();
    meta.open_incarnation(me, place).await.unwrap();
    engine.attach(wal).unwrap();
    meta.activate(me).await.unwrap();
    let directory = Arc::new(ImageDirectory::new(meta.clone(), me, config.clone()));
    let partitions = Partitions::new(engine.clone(), directory, clock.clone(), Options::default());
    let metrics = Metrics::new();
    let listeners = Listeners::bind(&config, &base::net::Network::system()).await.unwrap();
    let address = listeners.addresses()[0].1;
    let deps = BrokerDeps {
        meta: meta.clone(),
        me,
        partitions,
        config,
        metrics: metrics.clone(),
        clock,
        entropy,
        store_name: "memory://".into(),
        console: None,
    };
    Live { handle: Broker::start(deps, listeners), meta, metrics, engine, address, site }
}

/// Waits until the metadata is as it should become.
pub async fn becomes(live: &Live, what: &str, test: impl Fn(&meta::Image) -> bool) {
    let mut changes = live.meta.changes();
    let wait = changes.wait_for(|_| test(&live.meta.image()));
    assert!(tokio::time::timeout(Duration::from_secs(60), wait).await.is_ok(), "never: {what}");
}

pub struct Client {
    pub stream: TcpStream,
    correlation: i32,
}

impl Client {
    pub async fn connect(live: &Live) -> Self {
        Self { stream: TcpStream::connect(live.address).await.unwrap(), correlation: 0 }
    }

    /// Sends a request and says by which correlation id its reply will be known.
    pub async fn send<Q: Request>(&mut self, version: i16, request: &Q) -> i32 {
        self.correlation += 1;
        let frame = encode(version, self.correlation, request);
        self.stream.write_all(&frame).await.unwrap();
        self.correlation
    }

    /// Receives the next frame.
    pub async fn receive(&mut self) -> Bytes {
        let receiving = async {
            let size = self.stream.read_u32().await.unwrap();
            let mut frame = vec![0; size as usize];
            self.stream.read_exact(&mut frame).await.unwrap();
            Bytes::from(frame)
        };
        tokio::time::timeout(Duration::from_secs(30), receiving).await.expect("a reply")
    }

    /// Receives the reply to the request known by `correlation`; nothing may be left over.
    pub async fn reply<Q: Request>(&mut self, version: i16, correlation: i32) -> Q::Response {
        let mut reader = Reader::new(self.receive().await);
        assert_eq!(reader.i32().unwrap(), correlation, "replies come in request order");
        if Q::response_header_version(version) == 1 {
            assert_eq!(reader.varint().unwrap(), 0);
        }
        let response = Q::Response::decode(&mut reader, version).unwrap();
        assert_eq!(reader.remaining(), 0, "{} v{version} was read to its end", Q::NAME);
        response
    }

    pub async fn call<Q: Request>(&mut self, version: i16, request: &Q) -> Q::Response {
        let correlation = self.send(version, request).await;
        self.reply::<Q>(version, correlation).await
    }
}

/// The frame of a request.
pub fn encode<Q: Request>(version: i16, correlation_id: i32, request: &Q) -> Bytes {
    let mut writer = Writer::new();
    let header = RequestHeader {
        request_api_key: Q::API_KEY.code(),
        request_api_version: version,
        correlation_id,
        client_id: Some("test".into()),
        ..RequestHeader::default()
    };
    header.encode(&mut writer, Q::request_header_version(version)).unwrap();
    request.encode(&mut writer, version).unwrap();
    writer.finish_framed().unwrap().into_bytes()
}

/// A magic 2 batch.
pub fn batch(values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    let now = Clock::system().now().0;
    for value in values {
        builder.append(now, Some(b"k"), Some(value.as_bytes()), &[]).unwrap();
    }
    builder.build().unwrap()
}
