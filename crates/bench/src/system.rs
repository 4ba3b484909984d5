//! The brokers under test: real processes on fresh files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use base::Clock;
use testkit::{Clients, Headwater, HeadwaterOptions, Jvm, KafkaBroker, KafkaVersion};

use crate::client::{self, Connection};
use crate::produce::Until;
use crate::report::Report;

/// Which broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Ours.
    Headwater,
    /// An earlier build of ours.
    Baseline,
    /// Apache Kafka 4.4 with its defaults.
    Kafka,
    /// Apache Kafka 4.4 that flushes every append, which is what Headwater promises.
    KafkaSynced,
}

impl Kind {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Headwater => "headwater",
            Self::Baseline => "baseline",
            Self::Kafka => "kafka",
            Self::KafkaSynced => "kafka-synced",
        }
    }
}

enum Broker {
    Headwater(Box<Headwater>),
    Kafka(Box<KafkaBroker>),
}

/// A running broker.
pub struct System {
    /// Which.
    pub kind: Kind,
    broker: Broker,
    _directory: tempfile::TempDir,
}

impl System {
    /// Starts a broker on fresh files and reports how long it took from the start of its program until it had
    /// acknowledged a first record, topic creation included. What comes before it, installing and formatting, does not
    /// count.
    pub fn start(kind: Kind, binary: &Path, scratch: &Path, report: &mut Report) -> Result<Self> {
        let directory = tempfile::tempdir_in(scratch)?;
        let mut broker = match kind {
            Kind::Headwater | Kind::Baseline => {
                let binary: PathBuf = std::path::absolute(binary)?;
                let options = HeadwaterOptions::local(&binary, directory.path());
                Broker::Headwater(Box::new(Headwater::prepare(options, &directory.path().join("broker.log"))?))
            }
            Kind::Kafka | Kind::KafkaSynced => {
                let clients = Clients::installed_parts(&["java"])?;
                let settings: &[(&str, &str)] =
                    if kind == Kind::KafkaSynced { &[("log.flush.interval.messages", "1")] } else { &[] };
                let (version, files) = (KafkaVersion::V4_4, directory.path());
                let broker = KafkaBroker::prepare(&clients, version, files, settings, Jvm::AsShipped)?;
                Broker::Kafka(Box::new(broker))
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let clock = Clock::system();
        match &mut broker {
            Broker::Headwater(broker) => broker.up()?,
            Broker::Kafka(broker) => broker.up()?,
        }
        let system = Self { kind, broker, _directory: directory };
        runtime.block_on(client::first_acknowledgement(&system.bootstrap(), "first"))?;
        report.add("start to first acknowledged record, ms", kind, clock.monotonic().as_secs_f64() * 1e3);
        Ok(system)
    }

    /// Its address.
    pub fn bootstrap(&self) -> String {
        match &self.broker {
            Broker::Headwater(broker) => broker.bootstrap(),
            Broker::Kafka(broker) => broker.bootstrap(),
        }
    }

    /// Opens a connection.
    pub async fn connect(&self) -> Result<Connection> {
        Connection::open(&self.bootstrap()).await
    }

    fn pid(&self) -> Result<u32> {
        let port = self.bootstrap().rsplit(':').next().unwrap_or_default().to_owned();
        listener_of(&port).with_context(|| format!("no process listens on port {port}"))
    }

    /// CPU seconds used so far.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()?))?;
        let after = stat.rsplit(')').next().unwrap_or_default();
        let ticks: u64 = after.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
        Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// Resident memory in MiB.
    pub fn resident_mib(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
    }

    /// Kills the broker and starts it again; returns once it serves.
    pub fn kill_and_restart(&mut self) -> Result<()> {
        match &mut self.broker {
            Broker::Headwater(broker) => broker.kill_and_restart(),
            Broker::Kafka(broker) => broker.kill_and_restart(),
        }
    }

    /// Kill -9 while records stream in, restart, first acknowledged record.
    pub fn restart_under_load(&mut self, runtime: &tokio::runtime::Runtime, report: &mut Report) -> Result<()> {
        const LOAD: Duration = Duration::from_secs(4);
        let address = self.bootstrap();
        let load = runtime.spawn_load(address.clone(), LOAD);
        std::thread::sleep(LOAD - Duration::from_millis(500));
        let clock = Clock::system();
        let before = clock.monotonic();
        self.kill_and_restart()?;
        runtime.block_on(client::first_acknowledgement(&address, "after-kill"))?;
        let taken = (clock.monotonic() - before).as_secs_f64() * 1e3;
        report.add("kill -9 under load to first acknowledged record, ms", self.kind, taken);
        load.abort();
        Ok(())
    }
}

trait Load {
    fn spawn_load(&self, address: String, length: Duration) -> tokio::task::JoinHandle<()>;
}

impl Load for tokio::runtime::Runtime {
    fn spawn_load(&self, address: String, length: Duration) -> tokio::task::JoinHandle<()> {
        let _entered = self.enter();
        base::task::spawn("load", async move {
            // The broker dies under it, which ends it.
            let _ = crate::produce::load(&address, "restart-load", 4, 1024, Until::Passed(length)).await;
        })
    }
}

/// The process that listens on a TCP port, by way of /proc.
fn listener_of(port: &str) -> Option<u32> {
    let wanted = format!(":{:04X}", port.parse::<u16>().ok()?);
    let mut inodes = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in std::fs::read_to_string(table).unwrap_or_default().lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if fields.len() > 9 && fields[1].ends_with(&wanted) && fields[3] == "0A" {
                inodes.push(format!("socket:[{}]", fields[9]));
            }
        }
    }
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        let Ok(files) = std::fs::read_dir(process.path().join("fd")) else { continue };
        let holds = files.flatten().any(|f| {
            std::fs::read_link(f.path()).is_ok_and(|target| inodes.iter().any(|i| target.as_os_str() == i.as_str()))
        });
        if holds {
            return Some(pid);
        }
    }
    None
}
