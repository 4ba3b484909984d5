//! A node in this process, and a client that speaks to it over a real socket.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base::task::JoinHandle;
use base::{Clock, Entropy};
use broker::config::BrokerConfig;
use node::{Afterwards, End, Facts, LogPlace, NodeOptions, Order, Phase, Status};
use records::{BatchBuilder, Compression};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use wire::header::RequestHeader;
use wire::messages::create_topics_request::CreatableTopic;
use wire::messages::fetch_request::{FetchPartition, FetchTopic};
use wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::{CreateTopicsRequest, FetchRequest, FetchResponse, ListOffsetsRequest, ProduceRequest};
use wire::{Message, Reader, Request, Writer};

/// What nothing here takes.
pub const LONG: Duration = Duration::from_secs(120);

/// A node of broker 1 with everything below `directory`.
pub fn options(directory: &Path) -> NodeOptions {
    NodeOptions {
        broker: BrokerConfig::parse([("listeners", "PLAINTEXT://127.0.0.1:0")]).unwrap().config,
        store: format!("file://{}", directory.join("store").display()),
        log: LogPlace::At(directory.join("wal")),
        home: Some(directory.to_owned()),
        console: None,
        segments: node::Segments::default(),
        snapshots: meta::SnapshotPolicy::default(),
        deletion_period: meta::DELETION_PERIOD,
        stores: blob::Stores::system(),
        network: base::net::Network::system(),
        files: base::file::Files::system(),
        clock: Clock::system(),
        entropy: Entropy::system(),
        afterwards: Afterwards::PlaceIsReused,
    }
}

/// A node that lives, and may not serve yet.
pub struct Begun {
    pub status: Status,
    pub orders: watch::Sender<Order>,
    pub life: JoinHandle<End>,
    facts: oneshot::Receiver<Facts>,
}

impl Begun {
    /// Begins a node that `status` shows.
    pub fn begin(options: NodeOptions, status: Status) -> Self {
        let (orders, given) = watch::channel(Order::Serve);
        let (serving, facts) = oneshot::channel();
        let seen = status.clone();
        let life = base::task::spawn("node", async move {
            let serving = |facts: &Facts| drop(serving.send(facts.clone()));
            node::run(options, &seen, given, serving).await
        });
        Self { status, orders, life, facts }
    }
}

/// Whether the node has come to its end soon; it may still wait for what it leaves.
pub async fn ends(mut phases: watch::Receiver<Phase>) -> bool {
    let ended = phases.wait_for(|phase| matches!(phase, Phase::Ended(_)));
    tokio::time::timeout(Duration::from_secs(20), ended).await.is_ok()
}

/// A node that serves.
pub struct Node {
    pub facts: Facts,
    pub status: Status,
    orders: watch::Sender<Order>,
    life: JoinHandle<End>,
}

impl Node {
    /// Starts a node and waits until it serves, or has ended.
    pub async fn start(options: NodeOptions) -> Result<Self, End> {
        Self::start_seen(options, Status::default()).await
    }

    /// Starts a node that `status` shows.
    pub async fn start_seen(options: NodeOptions, status: Status) -> Result<Self, End> {
        let Begun { status, orders, life, facts } = Begun::begin(options, status);
        match tokio::time::timeout(LONG, facts).await.unwrap() {
            Ok(facts) => Ok(Self { facts, status, orders, life }),
            Err(_) => Err(life.await.unwrap()),
        }
    }

    /// Gives it an order, and goes on.
    pub fn order(&self, order: Order) {
        self.orders.send_replace(order);
    }

    /// Ends it by order, and says how it ended.
    pub async fn end(self, order: Order) -> End {
        self.orders.send_replace(order);
        self.ended().await
    }

    /// How it ends by itself.
    pub async fn ended(self) -> End {
        let end = tokio::time::timeout(LONG, self.life).await.expect("the node lives on").unwrap();
        assert_eq!(self.status.phase(), Phase::Ended(end.to_string()));
        end
    }

    pub async fn client(&self) -> Client {
        let address: SocketAddr = self.facts.addresses[0].parse().unwrap();
        Client(TcpStream::connect(address).await.unwrap())
    }
}

/// Objects whose reading does not end: the name of each is a pipe into which nobody writes.
pub struct Hung(Vec<PathBuf>);

impl Hung {
    /// The data objects of a store.
    pub fn objects_below(store: &Path) -> Self {
        let (mut directories, mut hung) = (vec![store.to_owned()], Vec::new());
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else if path.components().any(|part| part.as_os_str() == "obj") {
                    std::fs::remove_file(&path).unwrap();
                    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
                    hung.push(path);
                }
            }
        }
        assert!(!hung.is_empty(), "there is no object");
        Self(hung)
    }

    /// An entry of the metadata log that is not written yet.
    pub fn entry(store: &Path, sequence: u64) -> Self {
        let log = store.join("meta/log");
        std::fs::create_dir_all(&log).unwrap();
        let path = log.join(format!("{sequence:020}"));
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        Self(vec![path])
    }
}

impl Drop for Hung {
    /// Whoever reads finds nothing now.
    fn drop(&mut self) {
        for pipe in &self.0 {
            // Opened for both, which waits for nobody.
            drop(File::options().read(true).write(true).open(pipe));
            let _ = std::fs::remove_file(pipe);
        }
    }
}

/// One connection that asks one thing at a time.
pub struct Client(TcpStream);

impl Client {
    /// `None` when the node has closed the connection.
    async fn call<Q: Request>(&mut self, version: i16, request: &Q) -> Option<Q::Response> {
        let mut writer = Writer::new();
        let header = RequestHeader {
            request_api_key: Q::API_KEY.code(),
            request_api_version: version,
            ..RequestHeader::default()
        };
        header.encode(&mut writer, Q::request_header_version(version)).unwrap();
        request.encode(&mut writer, version).unwrap();
        self.0.write_all(&writer.finish_framed().unwrap().into_bytes()).await.ok()?;
        let size = self.0.read_u32().await.ok()?;
        let mut reply = vec![0; size as usize];
        self.0.read_exact(&mut reply).await.ok()?;
        let mut reader = Reader::new(reply.into());
        // The correlation id, which is the whole header in these versions.
        reader.i32().unwrap();
        Some(Q::Response::decode(&mut reader, version).unwrap())
    }

    /// Makes the topic `t` with one partition.
    pub async fn create_topic(&mut self) {
        let topic =
            CreatableTopic { name: "t".into(), num_partitions: 1, replication_factor: 1, ..CreatableTopic::default() };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
        let reply = self.call(4, &request).await.unwrap();
        assert_eq!(reply.topics[0].error_code, 0);
    }

    /// Produces one record to it and says whether it was acknowledged.
    pub async fn produce(&mut self) -> bool {
        let mut batch = BatchBuilder::new(Compression::None);
        batch.append(Clock::system().now().0, None, Some(b"value"), &[]).unwrap();
        let data = PartitionProduceData { index: 0, records: Some(batch.build().unwrap()), ..Default::default() };
        let topic = TopicProduceData { name: "t".into(), partition_data: vec![data], ..Default::default() };
        let request =
            ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..ProduceRequest::default() };
        let reply = self.call(7, &request).await;
        reply.is_some_and(|reply| reply.responses[0].partition_responses[0].error_code == 0)
    }

    /// What can be read from its beginning.
    pub async fn fetch(&mut self) -> Option<FetchResponse> {
        let partition = FetchPartition { partition_max_bytes: 1 << 20, ..FetchPartition::default() };
        let topic = FetchTopic { topic: "t".into(), partitions: vec![partition], ..FetchTopic::default() };
        let request =
            FetchRequest { replica_id: -1, max_bytes: 1 << 20, topics: vec![topic], ..FetchRequest::default() };
        self.call(4, &request).await
    }

    /// Its latest offset.
    pub async fn latest(&mut self) -> Option<i64> {
        let partition = ListOffsetsPartition { timestamp: -1, ..ListOffsetsPartition::default() };
        let topic = ListOffsetsTopic { name: "t".into(), partitions: vec![partition], ..ListOffsetsTopic::default() };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..ListOffsetsRequest::default() };
        let reply = self.call(5, &request).await?;
        let partition = &reply.topics[0].partitions[0];
        (partition.error_code == 0).then_some(partition.offset)
    }
}
