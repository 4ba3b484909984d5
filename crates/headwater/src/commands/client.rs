//! A small Kafka client for the commands: blocking, one connection per broker, versions negotiated.

use std::io::{Read, Write};
use std::time::Duration;

use anyhow::{Context, bail};
use base::collections::HashMap;
use base::net::{BlockingStream, Network};
use bytes::Bytes;
use wire::header::RequestHeader;
use wire::messages::{ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, MetadataResponse};
use wire::{ErrorCode, Message, Reader, Request, Str, Writer};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REPLY_TIMEOUT: Duration = Duration::from_secs(40);
const REPLY_BYTES_MAX: usize = 256 * 1024 * 1024;

/// One connection.
pub struct Connection {
    stream: BlockingStream,
    correlation: i32,
    versions: HashMap<i16, (i16, i16)>,
}

impl Connection {
    /// Connects and asks which versions the broker speaks.
    pub fn open(address: &str) -> anyhow::Result<Self> {
        let unreachable = || {
            format!(
                "no Kafka broker answers at {address}; start one with `headwater`, or name another with --bootstrap-server HOST:PORT"
            )
        };
        let stream = BlockingStream::connect(&Network::system(), address, CONNECT_TIMEOUT, REPLY_TIMEOUT)
            .with_context(unreachable)?;
        let mut connection = Self { stream, correlation: 0, versions: HashMap::default() };
        connection.negotiate().with_context(unreachable)?;
        Ok(connection)
    }

    fn negotiate(&mut self) -> anyhow::Result<()> {
        let request = ApiVersionsRequest {
            client_software_name: Str::from_static("headwater"),
            client_software_version: Str::from_static(env!("CARGO_PKG_VERSION")),
            ..Default::default()
        };
        let reply: ApiVersionsResponse = self.call_at(&request, 3)?;
        check(reply.error_code, None)?;
        self.versions = reply.api_keys.iter().map(|k| (k.api_key, (k.min_version, k.max_version))).collect();
        Ok(())
    }

    /// Sends a request in the newest version that both sides know.
    pub fn call<R: Request>(&mut self, request: &R) -> anyhow::Result<R::Response> {
        self.call_up_to(request, i16::MAX)
    }

    /// Sends a request in the newest version that both sides know, but none above `newest`.
    pub fn call_up_to<R: Request>(&mut self, request: &R, newest: i16) -> anyhow::Result<R::Response> {
        let key = R::API_KEY;
        let Some(&(low, high)) = self.versions.get(&key.code()) else {
            bail!("the broker does not offer {key:?}");
        };
        let version = high.min(*R::VERSIONS.end()).min(newest);
        if version < low.max(*R::VERSIONS.start()) {
            bail!("this program and the broker have no version of {key:?} in common");
        }
        self.call_at(request, version)
    }

    fn call_at<R: Request>(&mut self, request: &R, version: i16) -> anyhow::Result<R::Response> {
        self.send(request, version)?;
        self.receive::<R>(version)
    }

    fn send<R: Request>(&mut self, request: &R, version: i16) -> anyhow::Result<()> {
        self.correlation += 1;
        let mut writer = Writer::new();
        let header = RequestHeader {
            request_api_key: R::API_KEY.code(),
            request_api_version: version,
            correlation_id: self.correlation,
            client_id: Some(Str::from_static("headwater-cli")),
            ..Default::default()
        };
        header.encode(&mut writer, R::request_header_version(version))?;
        request.encode(&mut writer, version)?;
        let frame = writer.finish_framed()?;
        for part in frame.segments() {
            self.stream.write_all(part)?;
        }
        Ok(())
    }

    fn receive<R: Request>(&mut self, version: i16) -> anyhow::Result<R::Response> {
        let mut size = [0; 4];
        self.stream.read_exact(&mut size).context("the broker closed the connection or did not answer in time")?;
        let size = usize::try_from(i32::from_be_bytes(size)).unwrap_or(usize::MAX);
        if size > REPLY_BYTES_MAX {
            bail!("a reply of {size} bytes: is this a Kafka port?");
        }
        let mut body = vec![0; size];
        self.stream.read_exact(&mut body)?;
        let mut reader = Reader::new(Bytes::from(body));
        let correlation = reader.i32()?;
        if correlation != self.correlation {
            bail!("reply {correlation} came for request {}", self.correlation);
        }
        if R::response_header_version(version) > 0 {
            reader.skip_tags()?;
        }
        Ok(R::Response::decode(&mut reader, version)?)
    }
}

/// Connections to the brokers of a cluster.
pub struct Cluster {
    bootstrap: Connection,
}

impl Cluster {
    /// Connects to one broker.
    pub fn connect(address: &str) -> anyhow::Result<Self> {
        Ok(Self { bootstrap: Connection::open(address)? })
    }

    /// The connection for requests that any broker answers.
    pub fn any(&mut self) -> &mut Connection {
        &mut self.bootstrap
    }

    /// Metadata of these topics, or of all.
    pub fn metadata(&mut self, topics: Option<&[String]>, create: bool) -> anyhow::Result<MetadataResponse> {
        use wire::messages::metadata_request::MetadataRequestTopic;
        let topics = topics.map(|names| {
            names
                .iter()
                .map(|n| MetadataRequestTopic { name: Some(Str::from(n.as_str())), ..Default::default() })
                .collect()
        });
        let request = MetadataRequest { topics, allow_auto_topic_creation: create, ..Default::default() };
        self.bootstrap.call(&request)
    }

    /// A connection to the leader of each partition of a topic, and the leader of each partition.
    pub fn leaders(&mut self, topic: &str, create: bool) -> anyhow::Result<Leaders> {
        const TRIES: usize = 20;
        for attempt in 0..TRIES {
            let reply = self.metadata(Some(&[topic.to_owned()]), create)?;
            let found = reply.topics.first().context("the broker answered without the topic")?;
            let code = ErrorCode::from_code(found.error_code);
            let leaderless = found.partitions.iter().any(|p| p.leader_id < 0);
            if (code == ErrorCode::None && !leaderless) || attempt + 1 == TRIES {
                check(found.error_code, None).with_context(|| format!("topic {topic}"))?;
                let addresses: HashMap<i32, String> =
                    reply.brokers.iter().map(|b| (b.node_id, format!("{}:{}", &*b.host, b.port))).collect();
                let mut partitions: Vec<(i32, i32)> =
                    found.partitions.iter().map(|p| (p.partition_index, p.leader_id)).collect();
                partitions.sort_unstable();
                return Ok(Leaders { addresses, partitions, open: HashMap::default() });
            }
            if !code.is_retriable() && code != ErrorCode::None {
                check(found.error_code, None).with_context(|| format!("topic {topic}"))?;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        bail!("topic {topic} has no leader")
    }

    /// A connection to the coordinator of a group.
    pub fn coordinator(&mut self, group: &str) -> anyhow::Result<Connection> {
        use wire::messages::FindCoordinatorRequest;
        const TRIES: usize = 20;
        let request = FindCoordinatorRequest { key: Str::from(group), key_type: 0, ..Default::default() };
        for _ in 0..TRIES {
            let reply = self.bootstrap.call_up_to(&request, 3)?;
            if ErrorCode::from_code(reply.error_code).is_retriable() {
                std::thread::sleep(Duration::from_millis(100));
                continue;
            }
            check(reply.error_code, reply.error_message.as_deref())?;
            return Connection::open(&format!("{}:{}", &*reply.host, reply.port));
        }
        bail!("the coordinator of group {group} is not available; is the broker still starting?")
    }
}

/// Who leads the partitions of a topic.
pub struct Leaders {
    addresses: HashMap<i32, String>,
    /// (partition, leader), by partition.
    pub partitions: Vec<(i32, i32)>,
    open: HashMap<i32, Connection>,
}

impl Leaders {
    /// The connection to one broker.
    pub fn connection(&mut self, broker: i32) -> anyhow::Result<&mut Connection> {
        if !self.open.contains_key(&broker) {
            let address = self.addresses.get(&broker).with_context(|| format!("broker {broker} has no address"))?;
            self.open.insert(broker, Connection::open(address)?);
        }
        self.open.get_mut(&broker).context("the connection was just opened")
    }
}

/// Turns an error code of a reply into an error.
pub fn check(code: i16, message: Option<&str>) -> anyhow::Result<()> {
    let code = ErrorCode::from_code(code);
    if code == ErrorCode::None {
        return Ok(());
    }
    match message.filter(|m| !m.is_empty()) {
        Some(message) => bail!("{}: {message}", code.name()),
        None => bail!("{}: {}", code.name(), code.message()),
    }
}
