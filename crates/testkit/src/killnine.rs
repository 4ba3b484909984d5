//! The kill -9 proof: a load and a group live through many sudden deaths of the broker; then the acknowledged
//! history is judged by [`crate::checker`].

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use base::{Clock, Entropy};

use crate::checker::{GroupHistory, History};
use crate::client::{Client, ClientKind, Codec, Consume, Driver, ReadMode, Until};
use crate::install::Clients;
use crate::process::Process;

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
            value_bytes: 300,
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
    /// The longest time between a kill and a broker that answers again.
    pub slowest_restart: Duration,
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
        if self.violations.is_empty() { Ok(()) } else { Err(anyhow!("{self}\n{}", self.violations.join("\n"))) }
    }
}

impl fmt::Display for KillNineReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} kills, {} records acknowledged, {} read back, {} commits, slowest restart {:.2} s, {} violations",
            self.rounds,
            self.acked,
            self.read,
            self.commits,
            self.slowest_restart.as_secs_f64(),
            self.violations.len()
        )
    }
}

/// Runs the proof. `kill_and_restart` kills the broker with SIGKILL and returns when it serves again behind the same
/// address; the topic must not exist yet.
///
/// # Errors
/// When the harness itself fails; violations are in the report.
pub fn run(
    clients: &Clients,
    bootstrap: &str,
    options: &KillNineOptions,
    mut kill_and_restart: impl FnMut() -> Result<()>,
) -> Result<KillNineReport> {
    crate::process::fresh_dir(&options.directory)?;
    let mut admin = Driver::start(clients, ClientKind::Go, &options.directory)?;
    let partitions = options.partitions.to_string();
    let words = ["create-topics", "--bootstrap", bootstrap, "--topics", &options.topic, "--partitions", &partitions];
    admin.run(&words, options.patience)?;

    let (clock, entropy) = (Clock::system(), Entropy::system());
    let group = format!("{}-group", options.topic);
    let mut load = witness(clients, bootstrap, options, "load", &group)?;
    let mut tail = witness(clients, bootstrap, options, "tail", &group)?;
    let mut report = KillNineReport::default();
    let pause_ms = (options.pause.end - options.pause.start).as_millis().max(1) as u64;
    let mut floor = BTreeMap::new();
    for round in 0..options.rounds {
        let pause = options.pause.start + Duration::from_millis(entropy.next_u64() % pause_ms);
        // The first load must be under way, or the kill would hit an idle broker.
        if round == 0 {
            let acked = options.directory.join("acked.log");
            crate::process::wait_until(options.patience, || Ok(acked.metadata().is_ok_and(|file| file.len() > 0)))
                .with_context(|| format!("waiting for a first acknowledgement; load says:\n{}", load.log_end()))?;
        }
        std::thread::sleep(pause);
        let start = clock.monotonic();
        kill_and_restart().with_context(|| format!("round {round}"))?;
        report.slowest_restart = report.slowest_restart.max(clock.monotonic() - start);
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

/// Starts a witness, `load` or `tail`, which ends when its standard input does.
fn witness(clients: &Clients, bootstrap: &str, options: &KillNineOptions, name: &str, group: &str) -> Result<Process> {
    let mut command = crate::client::driver_command(clients, ClientKind::Go)?;
    command.args([name, "--bootstrap", bootstrap, "--dir"]).arg(&options.directory);
    command.args(["--timeout", &options.patience.as_secs().to_string()]);
    if name == "load" {
        command.args(["--topic", &options.topic, "--run", &options.topic, "--codec", options.codec.name()]);
        command.args(["--partitions", &options.partitions.to_string(), "--rate", &options.rate.to_string()]);
        command.args([
            "--value-bytes",
            &options.value_bytes.to_string(),
            "--idempotent",
            &options.idempotent.to_string(),
        ]);
    } else {
        command.args(["--topics", &options.topic, "--group", group]);
    }
    Process::spawn(name, &mut command, &options.directory.join(format!("{name}.txt")))
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
