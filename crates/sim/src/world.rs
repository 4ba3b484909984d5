//! All that a run's processes share: time, dice, disks, network, store, and who looks on.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use base::Clock;
use base::clock::TimeSource;
use meta::SnapshotPolicy;
use node::{LogPlace, Segments};

use crate::broker::{Broker, Ports, Settings, dice_of};
use crate::checkers::{self, Clocks, Ends, Findings};
use crate::dice::Dice;
use crate::disk::Disk;
use crate::errands::Errands;
use crate::faults::{Fault, Faults};
use crate::host::{Planted, SimHost};
use crate::net::{Death, Net};
use crate::process::Process;
use crate::scheduler::Scheduler;
use crate::store::ObjectStore;
use crate::trace::Trace;

/// How often brokers look for objects whose grace is over: most do not live as long as the usual period.
const DELETION_PERIOD: Duration = Duration::from_secs(2);

/// When a run begins, by the clocks on its walls.
const BEGINNING_MS: i64 = 1_790_000_000_000;

/// Where a broker may run: a machine with its address and its own place for a log.
#[derive(Clone, Debug)]
pub struct Site {
    /// What the trace calls its processes, with a number behind.
    pub name: &'static str,
    /// The machine.
    pub machine: u32,
    /// Its address.
    pub ip: IpAddr,
}

/// The sites: the second one is for twins, which bear the first one's id and have its configuration, but for what lies on
/// the machine.
pub const SITES: [Site; 2] = [
    Site { name: "one", machine: 1, ip: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)) },
    Site { name: "two", machine: 2, ip: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)) },
];

impl Site {
    /// Where its broker listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, 9092)
    }

    fn home(&self) -> PathBuf {
        PathBuf::from(format!("/{}", self.name))
    }
}

/// How brokers of a run are configured.
#[derive(Clone, Debug)]
pub struct Shape {
    /// How logs are cut.
    pub segments: Segments,
    /// Entries between two metadata snapshots.
    pub snapshot_entries: u64,
    /// Further keys.
    pub keys: Vec<(String, String)>,
}

impl Shape {
    /// Small, so that everything that comes with size comes in minutes.
    pub fn draw(dice: &Dice) -> Self {
        let bytes = *dice.pick(&[64 << 10, 256 << 10, 1 << 20]);
        // The largest record that clients send must fit into a segment, and segments keep some of their pages.
        let bytes = bytes.max(256 << 10);
        let key = |name: &str, value: u64| (name.to_owned(), value.to_string());
        Self {
            segments: Segments { bytes, capacity_bytes: bytes * (4 + dice.below(13)) },
            snapshot_entries: *dice.pick(&[8, 32, 128]),
            keys: vec![
                key("log.cache.bytes", 16 << 20),
                key("block.cache.bytes", *dice.pick(&[1 << 20, 8 << 20])),
                key("offsets.topic.num.partitions", 1 + dice.below(4)),
                key("group.initial.rebalance.delay.ms", *dice.pick(&[0, 500, 3_000])),
                key("log.retention.check.interval.ms", 20_000),
                ("auto.create.topics.enable".to_owned(), "false".to_owned()),
            ],
        }
    }
}

/// A world; clones are the same one.
#[derive(Clone)]
pub struct World {
    /// All that is random.
    pub dice: Dice,
    /// Counted faults.
    pub faults: Faults,
    /// What happens.
    pub trace: Trace,
    /// What outlives who sent it.
    pub errands: Errands,
    /// Who runs next.
    pub scheduler: Scheduler,
    /// The disks.
    pub disk: Disk,
    /// The network.
    pub net: Net,
    /// The store.
    pub store: ObjectStore,
    /// What is planted.
    pub planted: Planted,
    /// What the metadata log says.
    pub metadata: Arc<checkers::View>,
    /// What checkers found.
    pub findings: Findings,
    /// How processes end.
    pub ends: Ends,
    /// Clocks of processes.
    pub clocks: Clocks,
    /// How brokers are configured.
    pub shape: Arc<Shape>,
    /// How much the wall clock of each machine is off.
    shifts: Arc<[AtomicI64; 4]>,
}

impl World {
    /// A world in which nothing has happened.
    pub fn new(seed: u64, planted: &Planted, trace: &Trace) -> Self {
        let (dice, faults, errands) = (Dice::new(seed), Faults::default(), Errands::default());
        let findings = Findings::new(trace);
        let store = ObjectStore::new(dice.branch("store"), faults.clone(), trace.clone(), errands.clone());
        let net = Net::new(dice.branch("net"), faults.clone(), trace.clone(), errands.clone());
        let disk = Disk::new(dice.branch("disk"), faults.clone(), trace.clone());
        let clocks = Clocks::default();
        let ends = checkers::look_at_ends(&disk, &store, &findings);
        let metadata = checkers::look_at_store(&store, &disk, &clocks, &ends, &findings);
        checkers::look_at_answers(&net, &disk, &store, trace, &findings);
        let shape = Arc::new(Shape::draw(&dice.branch("shape")));
        Self {
            dice: dice.clone(),
            faults,
            trace: trace.clone(),
            errands,
            scheduler: Scheduler::new(dice.branch("scheduler")),
            disk,
            net,
            store,
            planted: planted.clone(),
            metadata,
            findings,
            ends,
            clocks,
            shape,
            shifts: Arc::default(),
        }
    }

    /// Starts a broker's process, the `number`th of its site.
    pub fn start(&self, site: &Site, number: u32) -> Broker {
        let process = Process::new(format!("{}-{number}", site.name), site.machine);
        let host = SimHost::new(
            &process,
            dice_of(&process, &self.dice),
            &self.scheduler,
            &self.faults,
            &self.trace,
            &self.planted,
        );
        let clock = self.clock(site.machine);
        self.clocks.lock().insert(process.name().to_owned(), clock.clone());
        let ports = Ports {
            network: self.net.network(&process, site.ip),
            files: self.disk.files(&process),
            stores: checkers::watched_creates(&self.store, &process, &self.findings),
            clock,
        };
        let settings = Settings {
            id: 1,
            address: site.address(),
            log: LogPlace::At(site.home().join("wal")),
            home: Some(site.home()),
            segments: self.shape.segments,
            snapshots: SnapshotPolicy { entries: self.shape.snapshot_entries, ..SnapshotPolicy::default() },
            deletion_period: DELETION_PERIOD,
            store: "s3://simulated/".to_owned(),
            keys: self.shape.keys.clone(),
        };
        self.ends.started(&process);
        self.trace.note(process.name(), "starts");
        Broker::start(&process, &host, &settings, &ports, &self.trace)
    }

    /// A fault befalls somebody.
    pub fn did(&self, fault: Fault, who: &str, what: impl std::fmt::Display) {
        self.faults.did(fault);
        self.trace.note(who, format_args!("{}: {what}", fault.label()));
    }

    /// A process is over; what others see of that.
    pub fn over(&self, process: &Process, death: Death) {
        self.disk.process_died(process);
        if death == Death::PowerLoss {
            self.disk.power_loss(process.machine());
        }
        self.net.process_died(process, death);
    }

    /// A machine's wall clock is set.
    pub fn set_clock(&self, machine: u32, by: Duration, back: bool) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.shifts[machine as usize].fetch_add(if back { -by } else { by }, Ordering::SeqCst);
    }

    /// By how many milliseconds a machine's wall clock is ahead of the world's time.
    pub fn clock_ahead_ms(&self, machine: u32) -> i64 {
        self.shifts[machine as usize].load(Ordering::SeqCst)
    }

    /// A machine's clock.
    pub fn clock(&self, machine: u32) -> Clock {
        Clock::from_source(Arc::new(Shifted {
            time: self.trace.clock().clone(),
            shifts: self.shifts.clone(),
            machine: machine as usize,
        }))
    }
}

/// A machine's clock: the world's time, and a wall clock that can be set.
#[derive(Debug)]
struct Shifted {
    time: Clock,
    shifts: Arc<[AtomicI64; 4]>,
    machine: usize,
}

impl TimeSource for Shifted {
    fn wall_ms(&self) -> i64 {
        BEGINNING_MS + self.time.now().0 + self.shifts[self.machine].load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        self.time.monotonic()
    }
}
