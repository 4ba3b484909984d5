//! One interface over eight real clients: a driver process that takes jobs, or kcat's own command line.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::install::Clients;

mod kcat;
mod served;

pub use served::Driver;
pub(crate) use served::command as driver_command;

/// A real client of some language and era.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClientKind {
    /// kcat over Debian's librdkafka.
    Kcat,
    /// Java kafka-clients 4.4.
    Java,
    /// Java kafka-clients 0.9.0.1, which never negotiates versions and sends magic 0.
    Java09,
    /// confluent-kafka-python over a recent librdkafka.
    Python,
    /// kafka-python 2.0.2, which fetches with version 4 and knows zstd.
    KafkaPython,
    /// aiokafka, likewise.
    Aiokafka,
    /// franz-go.
    Go,
    /// kafkajs.
    Node,
}

impl ClientKind {
    /// Every client.
    pub const ALL: [Self; 8] =
        [Self::Kcat, Self::Java, Self::Java09, Self::Python, Self::KafkaPython, Self::Aiokafka, Self::Go, Self::Node];

    /// A short name, good for topic names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kcat => "kcat",
            Self::Java => "java",
            Self::Java09 => "java09",
            Self::Python => "python",
            Self::KafkaPython => "kafkapython",
            Self::Aiokafka => "aiokafka",
            Self::Go => "go",
            Self::Node => "node",
        }
    }

    /// The codecs it has, for producing and for reading.
    pub fn codecs(self) -> &'static [Codec] {
        match self {
            Self::Java09 => &Codec::ALL[..4],
            _ => &Codec::ALL,
        }
    }

    /// Whether it can produce idempotently.
    pub fn idempotent(self) -> bool {
        !matches!(self, Self::Java09 | Self::KafkaPython)
    }
}

impl fmt::Display for ClientKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A compression codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Codec {
    /// Uncompressed.
    None,
    /// gzip.
    Gzip,
    /// snappy, raw or xerial as the client likes.
    Snappy,
    /// lz4 frames.
    Lz4,
    /// zstd, which clients older than 2.1 cannot read.
    Zstd,
}

impl Codec {
    /// Every codec, in Kafka's order of ids.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// Kafka's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A producing job: line `i` of `file` goes to partition `i mod partitions`.
#[derive(Clone, Debug)]
pub struct Produce {
    /// The broker's address.
    pub bootstrap: String,
    /// The topic, which exists.
    pub topic: String,
    /// Its partitions.
    pub partitions: u32,
    /// How batches are compressed.
    pub codec: Codec,
    /// `all`, `1` or `0`.
    pub acks: &'static str,
    /// Whether the idempotent producer is used.
    pub idempotent: bool,
    /// The lines to send.
    pub file: PathBuf,
    /// Where acknowledgements are logged (`partition offset line`); kcat cannot.
    pub log_acks: Option<PathBuf>,
    /// How long the whole job may take.
    pub timeout: Duration,
}

/// How a consumer gets its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// Assigned by the caller, read from the beginning.
    Assign,
    /// As the only member of a group; commits exactly what was written out.
    Group(String),
}

/// Where a consumer stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// At the end of each partition as it is when the job starts.
    End,
    /// After exactly this many records over all partitions.
    Count(u64),
}

/// A consuming job: values are written in order to `out/<topic>-<partition>`, one a line.
#[derive(Clone, Debug)]
pub struct Consume {
    /// The broker's address.
    pub bootstrap: String,
    /// The topics to read.
    pub topics: Vec<String>,
    /// The partitions each of them has.
    pub partitions: u32,
    /// By assignment or by group.
    pub mode: ReadMode,
    /// The directory to write to.
    pub out: PathBuf,
    /// Where to stop.
    pub until: Until,
    /// Whether each line is led by its offset and a tab.
    pub with_offsets: bool,
    /// How long the whole job may take.
    pub timeout: Duration,
}

/// A running client that takes one job after the other.
#[derive(Debug)]
pub struct Client {
    kind: ClientKind,
    runner: Runner,
}

#[derive(Debug)]
enum Runner {
    Kcat(kcat::Kcat),
    Driver(Driver),
}

impl Client {
    /// Starts a client; `logs` takes what it prints aside.
    ///
    /// # Errors
    /// When its driver cannot be started.
    pub fn start(clients: &Clients, kind: ClientKind, logs: &std::path::Path) -> Result<Self> {
        let runner = if kind == ClientKind::Kcat {
            Runner::Kcat(kcat::Kcat::new(logs))
        } else {
            Runner::Driver(Driver::start(clients, kind, logs)?)
        };
        Ok(Self { kind, runner })
    }

    /// What it is.
    pub fn kind(&self) -> ClientKind {
        self.kind
    }

    /// Everything that it printed aside so far.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub fn log(&self) -> Result<String> {
        match &self.runner {
            Runner::Kcat(_) => Ok(String::new()),
            Runner::Driver(driver) => driver.log(),
        }
    }

    /// Asks a driver for its codecs and checks that it has those that [`ClientKind::codecs`] promises.
    ///
    /// # Errors
    /// When the driver does not answer or the lists differ.
    pub fn check_codecs(&mut self) -> Result<()> {
        let Runner::Driver(driver) = &mut self.runner else { return Ok(()) };
        let answer = driver.run(&["codecs"], Duration::from_secs(30))?;
        let promised: Vec<&str> = self.kind.codecs().iter().map(|codec| codec.name()).collect();
        if answer != format!("codecs={}", promised.join(",")) {
            bail!("{} has {answer}, not {promised:?}", self.kind);
        }
        Ok(())
    }

    /// Sends a file and returns the number of records, all of which were acknowledged (unless acks is 0).
    ///
    /// # Errors
    /// With the client's own words when it gives up, or when it takes too long.
    pub fn produce(&mut self, job: &Produce) -> Result<u64> {
        match &mut self.runner {
            Runner::Kcat(kcat) => kcat.produce(job),
            Runner::Driver(driver) => driver.produce(job),
        }
    }

    /// Reads topics into files and returns the number of records.
    ///
    /// # Errors
    /// With the client's own words when it gives up, or when it takes too long.
    pub fn consume(&mut self, job: &Consume) -> Result<u64> {
        crate::process::fresh_dir(&job.out)?;
        match &mut self.runner {
            Runner::Kcat(kcat) => kcat.consume(job),
            Runner::Driver(driver) => driver.consume(job),
        }
    }
}
