//! Runs simulations: many seeds, one seed again, or the planted bugs.
//!
//! Libraries draw some numbers of their own, which no port reaches: the runtime chooses with them in which order some
//! waiters are woken. Here the operating system gives the same numbers each time ([`getrandom`]), and each run is a process.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use sim::campaign;
use sim::planted::{BUGS, Bug};
use sim::run::{Options, Report, run};
use tracing::level_filters::LevelFilter;

/// Simulates brokers, clients, store, network and disks, and judges what comes of it.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask sim")]
struct Cli {
    /// Runs one seed again, and shows the end of its trace
    #[arg(long)]
    seed: Option<u64>,
    /// Shows all of the trace
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Brokers' logs of this level and above go into the trace
    #[arg(long, default_value = "info")]
    level: LevelFilter,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// How many seeds
    #[arg(long, default_value_t = 400)]
    seeds: u64,
    /// How long a run is disturbed, in simulated seconds [default: 120, and 600 with --planted]
    #[arg(long)]
    seconds: Option<u64>,
    /// Runs that go on at once
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Plants every bug in turn, each in the runs of up to 20 seeds, and wants it caught
    #[arg(long)]
    planted: bool,
    /// Plants this bug (with --planted: this one alone)
    #[arg(long)]
    bug: Option<String>,
    /// Writes what clients did and saw to this file
    #[arg(long, requires = "seed")]
    history: Option<std::path::PathBuf>,
    /// Says what came of the seed in JSON, for the program itself
    #[arg(long, requires = "seed", hide = true)]
    report: bool,
    /// Stops at the first run that finds something
    #[arg(long)]
    first: bool,
}

/// What libraries draw their seeds from: always the same numbers. Nothing here is a secret.
///
/// # Safety
/// As of the system's: `buffer` holds `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _: u32) -> isize {
    // SAFETY: the caller says so.
    unsafe { std::ptr::write_bytes(buffer, 0x5a, length) };
    length as isize
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let bug = match &cli.bug {
        None => None,
        Some(name) => {
            Some(campaign::bug(name).with_context(|| format!("no bug is called {name}; there are {}", names()))?)
        }
    };
    // Of some bugs the right moment is rare.
    let time = Duration::from_secs(cli.seconds.unwrap_or(if cli.planted { 600 } else { 120 }));
    let failed = match cli.seed {
        Some(seed) => {
            let options = Options { seed, time, bug: bug.map(|bug| bug.name), level: cli.level, history: cli.history };
            if cli.report {
                // Nobody reads the report of a run whose campaign is gone.
                rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
                let hung = |report| {
                    // What is no JSON is found to be no report.
                    say(serde_json::to_string(&report).unwrap_or_default());
                    std::process::exit(1);
                };
                say(serde_json::to_string(&run(&options, None, hung)).context("a report is JSON")?);
                return Ok(ExitCode::SUCCESS);
            }
            one(&options, cli.trace)
        }
        None if cli.planted => planted(&cli, bug, time)?,
        None => many(&cli, bug, time)?,
    };
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn program() -> anyhow::Result<std::path::PathBuf> {
    std::env::current_exe().context("where this program is cannot be known")
}

fn names() -> String {
    BUGS.iter().map(|bug| bug.name).collect::<Vec<_>>().join(", ")
}

#[allow(clippy::print_stdout, reason = "it is what the program is for")]
fn say(words: impl std::fmt::Display) {
    println!("{words}");
}

fn one(options: &Options, all: bool) -> bool {
    let copy: Option<Box<dyn Write + Send>> = if all { Some(Box::new(std::io::stdout())) } else { None };
    let told = move |report: &Report| {
        if !all {
            report.last.iter().for_each(say);
        }
        say(report);
    };
    let report = run(options, copy, move |report| {
        told(&report);
        std::process::exit(1);
    });
    told(&report);
    !report.findings.is_empty()
}

fn show(report: &Report) {
    if !report.findings.is_empty() {
        say(report);
        say(format_args!("  again, with its trace: cargo xtask sim --seed {} --trace", report.seed));
    }
}

fn many(cli: &Cli, bug: Option<&'static Bug>, time: Duration) -> anyhow::Result<bool> {
    let seeds = cli.from..cli.from + cli.seeds;
    let runs = seeds.map(|seed| Options { bug: bug.map(|bug| bug.name), time, level: cli.level, ..Options::new(seed) });
    let failed = parking_lot::Mutex::new(Vec::new());
    let met = campaign::over(&program()?, runs, cli.threads, |report| {
        show(report);
        if report.findings.is_empty() {
            return true;
        }
        failed.lock().push(report.seed);
        !cli.first
    })?;
    say(met.table());
    let failed = failed.into_inner();
    if !failed.is_empty() {
        say(format_args!("{} of {} runs found something: seeds {failed:?}", failed.len(), met.runs));
        return Ok(true);
    }
    let missing = met.missing();
    if missing.is_empty() {
        say("nothing was found, and everything that can go wrong did");
        return Ok(false);
    }
    say(format_args!("nothing was found, but these never occurred: {}", missing.join(", ")));
    Ok(true)
}

fn planted(cli: &Cli, bug: Option<&'static Bug>, time: Duration) -> anyhow::Result<bool> {
    let bugs: Vec<&'static Bug> = bug.map_or_else(|| BUGS.iter().collect(), |bug| vec![bug]);
    if cli.seeds == 0 {
        bail!("no seeds, no bugs");
    }
    let seeds = cli.from..cli.from + cli.seeds.min(20);
    let all = campaign::planted(&program()?, &bugs, &seeds, time, cli.threads, |caught| say(caught))?;
    let missed = all.iter().filter(|caught| caught.by.is_none()).count();
    say(format_args!("{} of {} planted bugs were caught", all.len() - missed, all.len()));
    Ok(missed > 0)
}
