//! Many runs: over seeds, a few at a time, with what they have in common.
//!
//! Each run is a process of its own: what libraries draw at random is the same in each (see the program), and a run that
//! hangs or dies is a finding like any other.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use parking_lot::Mutex;
use rustix::process::{Pid, Signal};

use crate::checkers::{self, Finding};
use crate::deeds::Deed;
use crate::faults::Fault;
use crate::planted::{BUGS, Bug, PLACES};
use crate::run::{Options, Report};

/// How long a run may take by the clock on the wall beside what it simulates: two minutes take seconds, and a run that makes
/// no progress ends itself.
const RUN_TIME_MAX: Duration = Duration::from_secs(300);

/// After so many runs that came to no verdict a campaign ends.
const DEAD_RUNS_MAX: usize = 3;

/// What the runs of a campaign have met, all together.
#[derive(Debug, Default)]
pub struct Met {
    /// How often each fault occurred.
    pub faults: BTreeMap<String, u64>,
    /// Passes and panics of each planted place.
    pub places: BTreeMap<String, (u64, u64)>,
    /// How much each part of the judge's rules had to look at.
    pub judged: BTreeMap<String, u64>,
    /// How much checkers looked at.
    pub looked: BTreeMap<String, u64>,
    /// Simulated time.
    pub time: Duration,
    /// Data objects that were deleted.
    pub deletions: u64,
    /// How often clients got each thing done.
    pub deeds: BTreeMap<String, u64>,
    /// Runs.
    pub runs: usize,
    /// Runs that came to no verdict.
    pub dead: usize,
}

impl Met {
    fn add(&mut self, report: &Report) {
        for (fault, count) in &report.faults {
            *self.faults.entry(fault.clone()).or_default() += count;
        }
        for (place, (passes, panics)) in &report.places {
            let sum = self.places.entry(place.clone()).or_default();
            *sum = (sum.0 + passes, sum.1 + panics);
        }
        for (part, count) in &report.judged {
            *self.judged.entry(part.clone()).or_default() += count;
        }
        for (at, count) in &report.looked {
            *self.looked.entry(at.clone()).or_default() += count;
        }
        self.time += report.time;
        self.deletions += report.deletions;
        for (deed, count) in &report.deeds {
            *self.deeds.entry(deed.clone()).or_default() += count;
        }
        self.runs += 1;
        self.dead += usize::from(report.is_of_none());
    }

    /// What never occurred: a campaign that says nothing of it has not looked.
    pub fn missing(&self) -> Vec<String> {
        let faults = Fault::ALL.iter().filter(|fault| !self.faults.contains_key(fault.label()));
        let deeds = Deed::ALL.iter().filter(|deed| !self.deeds.contains_key(deed.label()));
        let panics = |name| self.places.get(name).map_or(0, |(_, panics)| *panics);
        let places = PLACES.iter().filter(|place| panics(place.name) == 0);
        let unseen = checkers::looks().filter(|at| !self.looked.contains_key(*at));
        let parts = judge::parts().map(|part| part.to_string());
        let unjudged = parts.filter(|part| self.judged.get(part).is_none_or(|count| *count == 0));
        faults
            .map(|fault| format!("fault: {}", fault.label()))
            .chain(deeds.map(|deed| format!("deed: {}", deed.label())))
            .chain(places.map(|place| format!("panic: {}", place.name)))
            .chain((self.deletions == 0).then(|| "the deletion of an object".to_owned()))
            .chain(unseen.map(|at| format!("looked at: {at}")))
            .chain(unjudged.map(|part| format!("judged: {part}")))
            .collect()
    }

    /// A table of it.
    pub fn table(&self) -> String {
        let hours = self.time.as_secs_f64() / 3_600.0;
        let Self { runs, deletions, .. } = self;
        let mut out = format!("{runs} runs, {hours:.1} simulated hours, {deletions} objects deleted\n");
        for (kind, count) in self.deeds.iter().chain(&self.faults) {
            out += &format!("{count:>9} {kind}\n");
        }
        for (place, (passes, panics)) in &self.places {
            out += &format!("{panics:>9} of {passes:>9} panic {place}\n");
        }
        for (at, count) in &self.looked {
            out += &format!("{count:>9} looked at {at}\n");
        }
        for (part, count) in &self.judged {
            out += &format!("{count:>9} judged {part}\n");
        }
        out
    }
}

/// One run in a process of its own: `program` is the simulator.
fn apart(program: &Path, options: &Options) -> anyhow::Result<Report> {
    let mut call = Command::new(program);
    call.arg("--report").arg("--seed").arg(options.seed.to_string());
    call.arg("--seconds").arg(options.time.as_secs().to_string()).arg("--level").arg(options.level.to_string());
    if let Some(bug) = options.bug {
        call.arg("--bug").arg(bug);
    }
    call.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = call.spawn().context("the simulator could not be started")?;
    let (mut out, mut err) = (child.stdout.take().context("piped")?, child.stderr.take().context("piped")?);
    let (told, over) = std::sync::mpsc::channel::<()>();
    let (id, time_max) = (Pid::from_child(&child), RUN_TIME_MAX + options.time);
    #[allow(clippy::disallowed_methods, reason = "nothing here is simulated")]
    let watchdog = std::thread::spawn(move || {
        if over.recv_timeout(time_max) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            // It has not been waited for yet, so the number is still its own; and one that is gone needs no signal.
            let _ = rustix::process::kill_process(id, Signal::KILL);
        }
    });
    #[allow(clippy::disallowed_methods, reason = "nothing here is simulated")]
    let words = std::thread::spawn(move || {
        let mut words = String::new();
        err.read_to_string(&mut words).map(|_| words).unwrap_or_default()
    });
    let mut report = String::new();
    out.read_to_string(&mut report).context("what the simulator says cannot be read")?;
    drop(told);
    let _ = watchdog.join();
    let status = child.wait().context("the simulator cannot be waited for")?;
    let words = words.join().unwrap_or_default();
    Ok(serde_json::from_str(&report).unwrap_or_else(|_| {
        Report::of_none(options.seed, format!("the run ended without a report ({status}): {words}"))
    }))
}

/// Runs all seeds, `threads` at a time. `seen` is told of each run as it ends, in any order, and says whether to go on.
///
/// # Errors
/// When a run cannot be started.
pub fn over(
    program: &Path,
    runs: impl IntoIterator<Item = Options>,
    threads: usize,
    seen: impl Fn(&Report) -> bool + Sync,
) -> anyhow::Result<Met> {
    let waiting: Mutex<VecDeque<Options>> = Mutex::new(runs.into_iter().collect());
    let met = Mutex::new(Met::default());
    std::thread::scope(|scope| {
        let mut workers = Vec::new();
        for number in 0..threads.max(1) {
            let work = || -> anyhow::Result<()> {
                loop {
                    let Some(options) = waiting.lock().pop_front() else { return Ok(()) };
                    let report = apart(program, &options)?;
                    met.lock().add(&report);
                    if !seen(&report) || met.lock().dead >= DEAD_RUNS_MAX {
                        waiting.lock().clear();
                    }
                }
            };
            let name = format!("runs-{number}");
            #[allow(clippy::disallowed_methods, reason = "nothing here is simulated")]
            workers.push(std::thread::Builder::new().name(name).spawn_scoped(scope, work).context("a thread of runs")?);
        }
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| anyhow::bail!("a thread panicked")))
    })?;
    Ok(met.into_inner())
}

/// How a planted bug was caught.
#[derive(Debug)]
pub struct Caught {
    /// Which bug.
    pub bug: &'static Bug,
    /// The seed and what was found, by a checker that is one for this bug; nothing when no seed showed it.
    pub by: Option<(u64, Finding)>,
    /// What others found before.
    pub besides: Option<(u64, Finding)>,
    /// Runs in which its place was reached.
    pub met: usize,
    /// Runs.
    pub runs: usize,
}

/// Plants each bug in the runs of these seeds, until one catches it. `told` hears of each.
///
/// # Errors
/// As [`over`].
pub fn planted(
    program: &Path,
    bugs: &[&'static Bug],
    seeds: &Range<u64>,
    time: Duration,
    threads: usize,
    told: impl Fn(&Caught),
) -> anyhow::Result<Vec<Caught>> {
    let mut all = Vec::new();
    for bug in bugs {
        let caught = Mutex::new(Caught { bug, by: None, besides: None, met: 0, runs: 0 });
        let runs = seeds.clone().map(|seed| Options { bug: Some(bug.name), time, ..Options::new(seed) });
        over(program, runs, threads, |report| {
            let mut caught = caught.lock();
            caught.runs += 1;
            let is_met = report.bug_met > 0;
            caught.met += usize::from(is_met);
            for finding in &report.findings {
                let is_it = is_met && bug.is_seen_by(&finding.checker);
                let seen = if is_it { &mut caught.by } else { &mut caught.besides };
                seen.get_or_insert_with(|| (report.seed, finding.clone()));
            }
            caught.by.is_none()
        })?;
        let caught = caught.into_inner();
        told(&caught);
        all.push(caught);
    }
    Ok(all)
}

impl std::fmt::Display for Caught {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let told = |(seed, Finding { checker, words, .. }): &(u64, Finding)| {
            format!("seed {seed:>3}, {checker}: {}", words.lines().next().unwrap_or_default())
        };
        let name = self.bug.name;
        match (&self.by, &self.besides) {
            (Some(seen), _) => write!(f, "{name:<32} {}", told(seen)),
            (None, besides) => {
                write!(f, "{name:<32} NOT CAUGHT in {} runs; reached in {}", self.runs, self.met)?;
                besides.as_ref().map_or(Ok(()), |other| write!(f, "; not by its own checkers: {}", told(other)))
            }
        }
    }
}

/// The planted bug of that name.
pub fn bug(name: &str) -> Option<&'static Bug> {
    BUGS.iter().find(|bug| bug.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_campaign_without_runs_has_looked_at_nothing() {
        let missing = Met::default().missing();
        for at in checkers::looks() {
            assert!(missing.contains(&format!("looked at: {at}")), "{at}");
        }
        let mut met = Met::default();
        let looked = checkers::looks().map(|at| (at.to_owned(), 1)).collect();
        met.add(&Report { looked, ..Report::default() });
        assert_eq!(met.missing().iter().find(|missing| missing.starts_with("looked at")), None);
    }

    #[test]
    fn every_checker_of_a_run_looks_at_something() {
        let of: Vec<&str> = checkers::looks().filter_map(|at| Some(at.split_once(": ")?.0)).collect();
        // What the judge looks at, it counts itself.
        let invariants = (1..=9).filter(|number| *number != 2).map(|number| format!("I-{number}"));
        let others = ["ends", "metadata", "snapshots"].map(str::to_owned);
        let idle: Vec<_> = invariants.chain(others).filter(|checker| !of.contains(&&**checker)).collect();
        assert!(idle.is_empty(), "{idle:?}");
    }
}
