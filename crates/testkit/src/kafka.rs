//! Apache Kafka itself, from its jars: the judge of the harness and the rival of the benchmarks.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::install::Clients;
use crate::port::Port;
use crate::process::Process;

/// How long a broker may take to start, recovery after a kill included.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// Which Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KafkaVersion {
    /// 3.9.2, the last that serves clients older than 2.1.
    V3_9,
    /// 4.4.0, the newest.
    V4_4,
}

impl KafkaVersion {
    /// The version named `kafka-3.9.2` or `kafka-4.4.0`.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "kafka-3.9.2" => Some(Self::V3_9),
            "kafka-4.4.0" => Some(Self::V4_4),
            _ => None,
        }
    }

    fn libraries(self) -> &'static str {
        match self {
            Self::V3_9 => "kafka-3.9/libs/*",
            Self::V4_4 => "kafka-4.4/libs/*",
        }
    }

    /// Arguments of `StorageTool format`. With eligible leader replicas a new cluster sets `min.insync.replicas` for all its
    /// brokers, which shows in every topic's configuration.
    fn features(self) -> &'static [&'static str] {
        match self {
            Self::V3_9 => &[],
            Self::V4_4 => &["--feature", "eligible.leader.replicas.version=0"],
        }
    }

    fn logging(self, clients: &Clients) -> String {
        match self {
            Self::V3_9 => format!("-Dlog4j.configuration=file:{}", clients.source("java/log4j.properties").display()),
            Self::V4_4 => format!("-Dlog4j2.configurationFile={}", clients.source("java/log4j2.properties").display()),
        }
    }
}

/// `KAFKA_HEAP_OPTS` and `KAFKA_JVM_PERFORMANCE_OPTS` of `kafka-server-start.sh` and `kafka-run-class.sh`.
const KAFKA_JVM_OPTIONS: [&str; 8] = [
    "-Xmx1G",
    "-Xms1G",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-Djava.awt.headless=true",
];

/// A single-node Kafka in KRaft mode on the loopback interface.
#[derive(Debug)]
pub struct KafkaBroker {
    clients: Clients,
    version: KafkaVersion,
    directory: PathBuf,
    port: Port,
    _controller: Port,
    jvm: Jvm,
    process: Option<Process>,
}

/// How the broker's Java machine is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jvm {
    /// For tests: a small heap and a quick start.
    Small,
    /// As Kafka's own start script does it, for measurements.
    AsShipped,
}

impl KafkaBroker {
    /// Formats `directory`, starts a broker there and waits until it answers. `properties` are added to its
    /// configuration, so later keys win.
    ///
    /// # Errors
    /// When it cannot be formatted or does not come up; the message carries the end of its log.
    pub fn start(
        clients: &Clients,
        version: KafkaVersion,
        directory: &Path,
        properties: &[(&str, &str)],
    ) -> Result<Self> {
        let mut broker = Self::prepare(clients, version, directory, properties, Jvm::Small)?;
        broker.up()?;
        Ok(broker)
    }

    /// As [`KafkaBroker::start`], with a choice of Java machine, and leaves starting to [`KafkaBroker::up`].
    ///
    /// # Errors
    /// When it cannot be formatted.
    pub fn prepare(
        clients: &Clients,
        version: KafkaVersion,
        directory: &Path,
        properties: &[(&str, &str)],
        jvm: Jvm,
    ) -> Result<Self> {
        let (port, controller) = (Port::claim()?, Port::claim()?);
        crate::process::fresh_dir(directory)?;
        let mut text = format!(
            "process.roles=broker,controller\nnode.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
             controller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
             log.dirs={}\n\
             offsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=4\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\n",
            directory.join("data").display()
        );
        if version == KafkaVersion::V4_4 {
            text.push_str(
                "share.coordinator.state.topic.replication.factor=1\nshare.coordinator.state.topic.min.isr=1\n",
            );
        }
        for (key, value) in properties {
            text.push_str(&format!("{key}={value}\n"));
        }
        let config = directory.join("server.properties");
        fs::write(&config, text)?;
        // Any 16 bytes in base64url are a cluster id; one that never changes keeps runs alike.
        let formatted = clients
            .java(128, &[version.libraries()], "kafka.tools.StorageTool")
            .args(["format", "-t", "aGVhZHdhdGVyLWp1ZGdlMQ", "-c"])
            .arg(&config)
            .args(version.features())
            .output()
            .context("starting Kafka's StorageTool")?;
        ensure!(formatted.status.success(), "StorageTool: {}", String::from_utf8_lossy(&formatted.stderr));
        Ok(Self {
            clients: clients.clone(),
            version,
            directory: directory.to_owned(),
            port,
            _controller: controller,
            jvm,
            process: None,
        })
    }

    /// The address for clients.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Stops the broker cleanly and starts it again.
    ///
    /// # Errors
    /// When it does not stop or does not come up.
    pub fn restart(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.terminate(START_TIMEOUT)?;
        }
        self.up()
    }

    /// Kills the broker with SIGKILL and starts it again.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn kill_and_restart(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
        }
        self.up()
    }

    /// Starts the broker's process and waits until it answers.
    ///
    /// # Errors
    /// When it does not come up; the message carries the end of its log.
    pub fn up(&mut self) -> Result<()> {
        const HEAP_MIB: u32 = 512;
        let libraries = &[self.version.libraries()];
        let mut command = match self.jvm {
            Jvm::Small => self.clients.java(HEAP_MIB, libraries, "kafka.Kafka"),
            Jvm::AsShipped => self.clients.java_with(&KAFKA_JVM_OPTIONS, libraries, "kafka.Kafka"),
        };
        // JVM options must stand before the main class, so this one goes through the environment.
        command.env("JDK_JAVA_OPTIONS", self.version.logging(&self.clients));
        command.arg(self.directory.join("server.properties"));
        let mut process = Process::spawn("kafka", &mut command, &self.directory.join("kafka.log"))?;
        let port = self.port.number();
        process.wait_ready(START_TIMEOUT, |_| Ok(answers(port)))?;
        self.process = Some(process);
        Ok(())
    }
}

/// Whether a Kafka broker answers ApiVersions v0 on a local port.
pub fn answers(port: u16) -> bool {
    ask_versions(port).is_ok()
}

/// Sends ApiVersions v0 and reads the length and correlation id of the answer:
/// `size:i32 key:i16=18 version:i16=0 correlation:i32 client:i16=-1`.
fn ask_versions(port: u16) -> Result<()> {
    const CORRELATION: [u8; 4] = *b"hw__";
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(&[0, 0, 0, 10, 0, 18, 0, 0])?;
    stream.write_all(&CORRELATION)?;
    stream.write_all(&[0xff, 0xff])?;
    let mut head = [0u8; 8];
    stream.read_exact(&mut head)?;
    ensure!(head[4..] == CORRELATION, "the answer is not for this request");
    Ok(())
}
