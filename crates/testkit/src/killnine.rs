//! The kill -9 proof: a load and a group live through many sudden deaths of the broker; then the acknowledged
//! history is judged by [`crate::checker`].

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use base::Entropy;

use crate::assault::Strike;
use crate::checker::{GroupHistory, History};
use crate::client::{Client, ClientKind, Codec, Consume, Driver, ReadMode, Until};
use crate::install::Clients;
use crate::witness::{self, Milestone};

/// What to run.
#[derive(Clone, Debug)]
pub struct KillNineOptions {
    /// How often the broker is killed.
    pub rounds: u32,
    /// The load between two kills lasts a random time within these bounds.
    pub pause: std::ops::Range<Duration>,
    /// Records a second over all partitions.
    pub rate: u32,
    /// The size of each value.
    pub value_bytes: usize,
    /// Partitions of the topic.
    pub partitions: u32,
    /// How batches are compressed.
    pub codec: Codec,
    /// Whether the producer is idempotent, and therefore no record may be there twice.
    pub idempotent: bool,
    /// The topic; the group is named after it.
    pub topic: String,
    /// Who reads the log back at the end.
    pub reader: ClientKind,
    /// Where journals go.
    pub directory: PathBuf,
    /// How long the load may take to get its last acknowledgements, and a restart to answer for the group.
    pub patience: Duration,
}

impl KillNineOptions {
    /// Fifty rounds of an idempotent load.
    pub fn fifty(directory: &Path) -> Self {
        Self {
            rounds: 50,
            pause: Duration::from_millis(150)..Duration::from_millis(900),
            rate: 4000,
            value_bytes: 1500,
            partitions: 4,
            codec: Codec::None,
            idempotent: true,
            topic: "kill-nine".to_owned(),
            reader: ClientKind::Go,
            directory: directory.to_owned(),
            patience: Duration::from_secs(60),
        }
    }
}

/// What a run found.
#[derive(Clone, Debug, Default)]
pub struct KillNineReport {
    /// Kills survived.
    pub rounds: u32,
    /// Records acknowledged.
    pub acked: usize,
    /// Records read back.
    pub read: usize,
    /// Commits confirmed.
    pub commits: usize,
    /// Brokers of which the load had acknowledgements and the group read and committed what was new, each the one that
    /// served between two kills.
    pub progressed: u32,
    /// What each round's kills met.
    pub strikes: Vec<Strike>,
    /// What was wrong.
    pub violations: Vec<String>,
}

impl KillNineReport {
    /// An error naming the violations, if there are any, or if the run proved nothing.
    ///
    /// # Errors
    /// When something was wrong.
    pub fn verdict(&self) -> Result<()> {
        ensure!(self.acked > 0 && self.commits > 0, "nothing was acknowledged or committed: {self}");
        ensure!(self.progressed * 2 > self.rounds, "most brokers did not get on with load and group: {self}");
        if self.violations.is_empty() { Ok(()) } else { Err(anyhow!("{self}\n{}", self.violations.join("\n"))) }
    }
}

impl fmt::Display for KillNineReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |met: fn(&Strike) -> bool| self.strikes.iter().filter(|strike| met(strike)).count();
        let away = || self.strikes.iter().map(|strike| strike.away);
        let (slowest, all) = (away().max().unwrap_or_default(), away().sum::<Duration>());
        writeln!(
            f,
            "{} kills, {} records acknowledged, {} read back, {} commits, {} brokers made progress, restarts took {:.0} s, \
             the slowest {:.2} s, {} violations",
            self.rounds,
            self.acked,
            self.read,
            self.commits,
            self.progressed,
            all.as_secs_f64(),
            slowest.as_secs_f64(),
            self.violations.len()
        )?;
        write!(
            f,
            "{} objects of cuts were committed in {} rounds; {} kills came between a cut and its commit, {} between a \
             commit and its trim; {} starts were killed, {} of them in recovery",
            self.strikes.iter().map(|strike| strike.met.committed).sum::<usize>(),
            count(|strike| strike.met.committed > 0),
            count(|strike| strike.met.is_uncommitted),
            count(|strike| strike.met.is_untrimmed),
            self.strikes.iter().map(|strike| strike.starts).sum::<u32>(),
            self.strikes.iter().map(|strike| strike.recoveries).sum::<u32>(),
        )
    }
}

/// One kill of so many falls whatever has happened since the last; before the others load and group must have got on.
const UNCONDITIONAL_EVERY: u32 = 3;

/// Runs the proof. `strike` kills the broker with SIGKILL and returns when it serves again behind the same address; the
/// topic must not exist yet.
///
/// # Errors
/// When the harness itself fails or a broker does not bring load and group forward; violations are in the report.
pub fn run(
    clients: &Clients,
    bootstrap: &str,
    options: &KillNineOptions,
    mut strike: impl FnMut() -> Result<Strike>,
) -> Result<KillNineReport> {
    crate::process::fresh_dir(&options.directory)?;
    let mut admin = Driver::start(clients, ClientKind::Go, &options.directory)?;
    let partitions = options.partitions.to_string();
    let words = ["create-topics", "--bootstrap", bootstrap, "--topics", &options.topic, "--partitions", &partitions];
    admin.run(&words, options.patience)?;

    let entropy = Entropy::system();
    let group = format!("{}-group", options.topic);
    let mut load = witness::start(clients, bootstrap, options, "load", &group)?;
    let mut tail = witness::start(clients, bootstrap, options, "tail", &group)?;
    let mut report = KillNineReport::default();
    let pause_ms = (options.pause.end - options.pause.start).as_millis().max(1) as u64;
    let mut floor = BTreeMap::new();
    let mut served = Milestone::default();
    let progress = |served: &Milestone, round: u32| {
        crate::process::wait_until(options.patience, || served.is_passed(&options.directory)).with_context(|| {
            format!(
                "round {round}: waiting for the load to have records acknowledged and the group to read and commit them"
            )
        })
    };
    for round in 0..options.rounds {
        std::thread::sleep(options.pause.start + Duration::from_millis(entropy.next_u64() % pause_ms));
        // Not the first: it would hit an idle broker.
        if round % UNCONDITIONAL_EVERY != 1 {
            progress(&served, round)?;
            report.progressed += 1;
        }
        report.strikes.push(strike().with_context(|| format!("round {round}"))?);
        served = Milestone::now(&options.directory)?;
        report.rounds += 1;
        for (name, process) in [("load", &mut load), ("tail", &mut tail)] {
            if let Some(status) = process.exited()? {
                bail!("round {round}: {name} ended ({status}):\n{}", process.log_end());
            }
        }
        // What was confirmed before the question was asked must be in the answer.
        for (place, offset) in GroupHistory::load(&options.directory)?.last_commits() {
            let known: &mut u64 = floor.entry(place).or_default();
            *known = (*known).max(offset);
        }
        let answer = admin.run(&["committed", "--bootstrap", bootstrap, "--group", &group], options.patience)?;
        report.violations.extend(went_back(&answer, &mut floor, round)?);
    }
    progress(&served, options.rounds)?;
    for (name, process) in [("load", &mut load), ("tail", &mut tail)] {
        process.close_stdin();
        let status = process.wait(options.patience + Duration::from_secs(10))?;
        ensure!(status.success(), "{name} ended with {status}:\n{}", process.log_end());
    }
    judge(clients, bootstrap, options, report)
}

/// Reads everything back and applies the rules.
fn judge(
    clients: &Clients,
    bootstrap: &str,
    options: &KillNineOptions,
    mut report: KillNineReport,
) -> Result<KillNineReport> {
    let out = options.directory.join("read-back");
    Client::start(clients, options.reader, &options.directory)?.consume(&Consume {
        bootstrap: bootstrap.to_owned(),
        topics: vec![options.topic.clone()],
        partitions: options.partitions,
        mode: ReadMode::Assign,
        out: out.clone(),
        until: Until::End,
        with_offsets: true,
        timeout: options.patience,
    })?;
    let history = History::load(
        &options.directory,
        &options.topic,
        options.value_bytes,
        &options.topic,
        options.partitions,
        &out,
    )?;
    let group = GroupHistory::load(&options.directory)?;
    report.acked = history.acked.len();
    report.read = history.read.values().map(Vec::len).sum();
    report.commits = group.commits.values().map(Vec::len).sum();
    report.violations.extend(history.violations(options.idempotent));
    report.violations.extend(group.violations());
    Ok(report)
}

/// Compares `offsets=topic:partition:offset,…` with the lowest that may be answered, and raises that.
fn went_back(answer: &str, floor: &mut BTreeMap<(String, u32), u64>, round: u32) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut answered = BTreeMap::new();
    let list = answer.strip_prefix("offsets=").with_context(|| format!("expected offsets=…, found {answer:?}"))?;
    for entry in list.split(',').filter(|entry| !entry.is_empty()) {
        let [topic, partition, offset] = entry.split(':').collect::<Vec<_>>()[..] else {
            bail!("not topic:partition:offset: {entry:?}")
        };
        // -1 is "nothing committed".
        answered.insert((topic.to_owned(), partition.parse()?), u64::try_from(offset.parse::<i64>()?).unwrap_or(0));
    }
    for (place, known) in floor.iter_mut() {
        let offset = answered.get(place).copied().unwrap_or(0);
        if offset < *known {
            found.push(format!(
                "round {round}: {}-{} was committed at {known}, but the broker answers {offset}",
                place.0, place.1
            ));
        }
        *known = (*known).max(offset);
    }
    Ok(found)
}
