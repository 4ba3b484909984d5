//! One run: a seed, a world, minutes of its time, and a verdict.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender};
use std::time::Duration;

use base::host::Host;
use judge::History;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tracing::level_filters::LevelFilter;

use crate::checkers::{self, Finding};
use crate::client::Recorder;
use crate::client::workload::{Surroundings, Workload, WorkloadOptions};
use crate::host::{Planted, SimHost};
use crate::nemesis::Nemesis;
use crate::process::Process;
use crate::trace::{self, Trace};
use crate::world::{SITES, World};

/// Where all clients are.
pub const CLIENTS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 1));

/// How much of its trace a run shows in the end.
const LAST_LINES: usize = 400;

/// What a run is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Everything follows from it.
    pub seed: u64,
    /// How long it is disturbed.
    pub time: Duration,
    /// The bug that is planted.
    pub bug: Option<&'static str>,
    /// Up to which level brokers log into the trace.
    pub level: LevelFilter,
    /// Where the history goes, for people.
    pub history: Option<PathBuf>,
}

impl Options {
    /// Two minutes, nothing planted.
    pub fn new(seed: u64) -> Self {
        Self { seed, time: Duration::from_secs(120), bug: None, level: LevelFilter::INFO, history: None }
    }
}

/// What came of a run, as it is handed from process to process.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// What must not have been.
    pub findings: Vec<Finding>,
    /// How often each fault occurred, by its label.
    pub faults: BTreeMap<String, u64>,
    /// Passes and panics of each planted place.
    pub places: BTreeMap<String, (u64, u64)>,
    /// How much each part of the judge's rules had to look at.
    pub judged: BTreeMap<String, u64>,
    /// How much the checkers of the run looked at.
    pub looked: BTreeMap<String, u64>,
    /// How often the planted bug's place was reached.
    pub bug_met: u64,
    /// Lines of the trace and their hash.
    pub digest: (u64, u64),
    /// The last lines.
    pub last: Vec<String>,
    /// What clients did and saw.
    pub events: usize,
    /// Data objects that were deleted.
    pub deletions: u64,
    /// What clients got done, how often, by its label.
    pub deeds: BTreeMap<String, u64>,
    /// Simulated time.
    pub time: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deeds: String = self.deeds.iter().map(|(deed, count)| format!("{deed} {count}, ")).collect();
        writeln!(
            f,
            "seed {}: {:?} simulated, {} events, {deeds}trace {} lines {:016x}",
            self.seed, self.time, self.events, self.digest.0, self.digest.1
        )?;
        for finding in &self.findings {
            writeln!(f, "  {finding}")?;
        }
        Ok(())
    }
}

/// The checker that finds fault with the simulator itself.
pub const SIMULATOR: &str = "simulator";

/// How long simulated time may stand still, by the clock on the wall.
const STANDS_STILL_MAX: Duration = Duration::from_secs(60);

impl Report {
    /// Of a run that came to no verdict.
    pub fn of_none(seed: u64, why: String) -> Self {
        let finding = Finding { at: Duration::ZERO, checker: SIMULATOR.to_owned(), words: why };
        Self { seed, findings: vec![finding], ..Self::default() }
    }

    /// Whether the run came to no verdict.
    pub fn is_of_none(&self) -> bool {
        self.findings.iter().any(|finding| finding.checker == SIMULATOR)
    }
}

/// Runs it on this thread. The whole trace goes to `copy` as it happens. Where the run makes no progress any more, `hung` is
/// told on another thread, and has to end the process.
///
/// # Panics
/// When not even a runtime can be made.
pub fn run(
    options: &Options,
    copy: Option<Box<dyn Write + Send>>,
    hung: impl FnOnce(Report) + Send + 'static,
) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without I/O needs nothing");
    trace::hook_panics();
    let _logs = crate::logs::into_trace(options.level);
    runtime.block_on(async {
        let trace = Trace::new(copy);
        let over = watch(options.seed, trace.clone(), hung);
        let report = one(options, trace).await;
        drop(over);
        report
    })
}

/// Looks on until what it returns is dropped.
fn watch(seed: u64, trace: Trace, hung: impl FnOnce(Report) + Send + 'static) -> Sender<()> {
    let (running, over) = std::sync::mpsc::channel();
    #[allow(clippy::disallowed_methods, reason = "it looks at the simulation from outside")]
    std::thread::spawn(move || {
        let mut before = None;
        while over.recv_timeout(STANDS_STILL_MAX) == Err(RecvTimeoutError::Timeout) {
            let newest = trace.newest();
            if newest.is_none() || newest == before {
                let why = format!("nothing has moved for {STANDS_STILL_MAX:?}, since {before:?} of simulated time");
                let last = if newest.is_some() { trace.last(LAST_LINES) } else { Vec::new() };
                return hung(Report { last, ..Report::of_none(seed, why) });
            }
            before = newest;
        }
    });
    running
}

async fn one(options: &Options, trace: Trace) -> Report {
    let kept = trace.clone();
    trace::begin(&trace);
    let planted = Planted::bug(options.bug);
    let world = World::new(options.seed, &planted, &trace);
    // Everything but the scheduler itself is of some host: clients and what is nobody's are the world's own.
    let everything = Process::new("world", 0);
    let dice = world.dice.branch("world");
    let host: Arc<dyn Host> =
        SimHost::new(&everything, dice, &world.scheduler, &world.faults, &trace, &Planted::default());
    let seed = options.seed;
    let (scheduler, world_scheduler, options) = (world.scheduler.clone(), world.scheduler.clone(), options.clone());
    let choosing = base::task::spawn("scheduler", async move { scheduler.run().await });
    let run = base::host::scope(&host, || base::task::spawn("run", hosted(options, world, planted, trace)));
    let report = run.await.unwrap_or_else(|ended| {
        let why = format!("the run itself {ended}: {}", trace::end().join("; "));
        Report { last: kept.last(LAST_LINES), digest: kept.digest(), ..Report::of_none(seed, why) }
    });
    choosing.abort();
    world_scheduler.end();
    report
}

async fn hosted(options: Options, world: World, planted: Planted, trace: Trace) -> Report {
    let errands = world.errands.clone();
    base::task::spawn("errands", async move { errands.serve().await });

    let history = Arc::new(Mutex::new(History::default()));
    let recorder = Recorder::new(history.clone(), trace.clone());
    let network = world.net.network(&Process::new("clients", 3), CLIENTS);
    let bootstrap = SITES.iter().map(|site| site.address().to_string()).collect();
    let around = Surroundings {
        dice: world.dice.branch("workload"),
        network,
        bootstrap,
        clock: world.clock(3),
        recorder: recorder.clone(),
        faults: world.faults.clone(),
    };
    let churn = world.dice.branch("churn").chance(0.2);
    let workload = Workload::new(WorkloadOptions { churn, ..WorkloadOptions::default() }, around);

    let mut nemesis = Nemesis::new(&world, recorder.onlooker("nemesis"));
    tokio::join!(nemesis.rage(options.time), workload.run(options.time));
    let ending = async {
        let by = nemesis.heal().await?;
        workload.heal_and_read(by).await?;
        nemesis.drain().await
    };
    if let Err(why) = ending.await {
        world.findings.add("liveness", format_args!("{why:#}"));
    }
    for complaint in recorder.complaints() {
        world.findings.add("protocol", complaint);
    }
    let panics = trace::end();
    let history = history.lock().clone();
    if let Some(path) = &options.history {
        let lines = history.0.iter().enumerate().map(|(place, event)| format!("#{place} {event}\n"));
        if let Err(why) = std::fs::write(path, lines.collect::<String>()) {
            world.findings.add(SIMULATOR, format_args!("the history cannot be written to {}: {why}", path.display()));
        }
    }
    let judged = checkers::judge_history(&history, &world.findings);
    for panic in panics {
        world.findings.add("panics", panic);
    }
    Report {
        seed: options.seed,
        findings: world.findings.all(),
        faults: world.faults.counts().into_iter().map(|(fault, count)| (fault.label().to_owned(), count)).collect(),
        deeds: recorder.deeds().counts().into_iter().map(|(deed, count)| (deed.label().to_owned(), count)).collect(),
        places: planted.places().into_iter().map(|(place, counts)| (place.to_owned(), counts)).collect(),
        judged,
        looked: world.findings.looks().into_iter().map(|(at, count)| (at.to_owned(), count)).collect(),
        bug_met: planted.met(),
        digest: trace.digest(),
        last: trace.last(LAST_LINES),
        events: history.0.len(),
        deletions: world.store.deletions(),
        time: trace.now(),
    }
}
