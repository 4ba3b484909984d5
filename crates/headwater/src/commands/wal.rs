//! `headwater wal`: look at write-ahead logs, give up a damaged one, remove one whose cluster is gone.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use base::collections::HashMap;
use base::file::Files;
use base::{BrokerEpoch, BrokerId, Clock, Entropy, Incarnation, Offset, StreamEpoch, StreamId, WalPosition};
use clap::{Args, Subcommand};
use node::{AbandonOptions, BrokerFate, FilesLeft, LogPlace};
use stream::wal::{Access, BlockLog, BlockLogOptions, Claim, IncarnationSummary, ReplayEnd, WalError};

use super::table;
use crate::cli::ServerOptions;
use crate::config;

/// Look at write-ahead logs, give up a damaged one, remove one whose cluster is gone
#[derive(Args, Debug)]
pub struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Show each incarnation in the log's directory or device: fenced or not, whole or damaged, and what it holds
    Show {
        #[command(flatten)]
        place: Place,
    },
    /// Remove a log of a cluster that is gone for good, so that its place can be used again. Acknowledged records that are
    /// nowhere else are lost
    Remove {
        /// BROKER-EPOCH, as `headwater wal show` names it
        incarnation: String,
        /// The cluster of the log, as `headwater wal show` names it
        #[arg(long, value_name = "ID")]
        cluster: String,
        #[command(flatten)]
        place: Place,
        /// Yes, lose them
        #[arg(long)]
        yes: bool,
    },
    /// Give up what a stopped broker's log held and was not uploaded. Acknowledged records are lost for good. The log is
    /// locked and fenced first, where the cluster's metadata says that it is
    Abandon {
        /// BROKER-EPOCH, as `headwater wal show` names it
        incarnation: String,
        #[command(flatten)]
        place: Place,
        /// Yes, lose them
        #[arg(long)]
        yes: bool,
        /// Give it up though it is out of reach, or cannot be fenced: the broker that wrote it is certainly dead. One that
        /// lives would go on acknowledging records, and lose them
        #[arg(long)]
        broker_is_dead: bool,
    },
}

#[derive(Args, Debug)]
struct Place {
    /// The broker's configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The broker's store
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// The log's directory or device
    #[arg(long, value_name = "PATH")]
    wal: Option<String>,
    /// One configuration key; may be repeated
    #[arg(long = "override", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

impl Place {
    fn settings(&self) -> anyhow::Result<config::Settings> {
        let options = ServerOptions {
            config: self.config.clone(),
            store: self.store.clone(),
            wal: self.wal.clone(),
            listen: None,
            http: None,
            overrides: self.overrides.clone(),
            log: String::new(),
        };
        config::of_process(&options)
    }
}

/// The path of the log.
fn path_of(settings: &config::Settings) -> anyhow::Result<&Path> {
    match &settings.log {
        LogPlace::At(path) => Ok(path),
        LogPlace::Memory => {
            bail!("the log of a store in memory is in memory, and gone with its process; name another with --wal PATH")
        }
    }
}

/// Runs the command.
pub fn run(options: Options) -> anyhow::Result<()> {
    match options.action {
        Action::Show { place } => show(&place),
        Action::Remove { incarnation, cluster, place, yes } => remove(&incarnation, &cluster, &place, yes),
        Action::Abandon { incarnation, place, yes, broker_is_dead } => {
            let fate = if broker_is_dead { BrokerFate::CertainlyDead } else { BrokerFate::Unknown };
            abandon(&incarnation, &place, yes, fate)
        }
    }
}

fn show(place: &Place) -> anyhow::Result<()> {
    let settings = place.settings()?;
    let path = path_of(&settings)?;
    if !path.try_exists().with_context(|| format!("looking for a write-ahead log at {}", path.display()))? {
        bail!("there is no write-ahead log at {}; name its place with --wal PATH", path.display());
    }
    let log = BlockLog::open(BlockLogOptions::new(path, Access::Observer))?;
    let mut rows = Vec::new();
    for incarnation in log.incarnations()?.into_iter().map(|summary| summary.incarnation) {
        let Some((summary, found)) = look_at(&log, incarnation)? else { continue };
        rows.push(vec![
            summary.incarnation.to_string(),
            summary.cluster_id.unwrap_or_else(|_| "?".to_owned()),
            format!("{:?}", summary.fence).to_lowercase(),
            summary.trimmed.to_string(),
            found.records.to_string(),
            found.bytes.to_string(),
            found.state,
        ]);
    }
    if rows.is_empty() {
        say!("the log at {} is empty: its last broker drained, or none has used it", path.display());
        return Ok(());
    }
    table::print(&["INCARNATION", "CLUSTER", "FENCE", "TRIMMED TO", "RECORDS", "BYTES", "STATE"], &rows)?;
    say!("records are batches above the trim point; most of them may be in the store already");
    Ok(())
}

/// How often a log is looked at anew that its living broker trims faster than it is read.
const LOOKS_MAX: usize = 8;

/// Looks at a log whose broker may be alive and go on writing, trimming, and in the end remove it: `None` once it has.
fn look_at(log: &BlockLog, incarnation: Incarnation) -> Result<Option<(IncarnationSummary, Found)>, WalError> {
    let listed = || Ok::<_, WalError>(log.incarnations()?.into_iter().find(|found| found.incarnation == incarnation));
    let mut looks = 1;
    loop {
        let Some(summary) = listed()? else { return Ok(None) };
        match examine(log, incarnation, summary.trimmed) {
            Err(WalError::Trimmed { .. }) if looks < LOOKS_MAX => looks += 1,
            Err(error @ (WalError::Trimmed { .. } | WalError::Changing { .. })) => {
                return Ok(Some((
                    summary,
                    Found { records: 0, bytes: 0, damaged: false, state: format!("in use: {error}") },
                )));
            }
            // It says nothing of the others.
            Err(error @ WalError::Unreadable { .. }) => {
                let found = Found { records: 0, bytes: 0, damaged: false, state: format!("not known: {error}") };
                return Ok(Some((summary, found)));
            }
            Ok(found) if found.damaged && listed()?.is_none() => return Ok(None),
            found => return Ok(Some((summary, found?))),
        }
    }
}

/// What a log holds above a position.
struct Found {
    records: u64,
    bytes: u64,
    damaged: bool,
    state: String,
}

fn examine(log: &BlockLog, incarnation: Incarnation, from: WalPosition) -> Result<Found, WalError> {
    let (mut records, mut bytes, mut gap) = (0, 0, None);
    let mut ends: HashMap<(StreamId, StreamEpoch), Offset> = HashMap::default();
    let end = log.replay(incarnation, from, &mut |record| {
        records += 1;
        bytes += record.payload.len() as u64;
        let end = ends.entry((record.stream, record.epoch)).or_insert(record.base);
        if record.base > *end && gap.is_none() {
            let (at, stream, base) = (record.position, record.stream, record.base);
            gap =
                Some(format!("DAMAGED at {at}: stream {stream} continues at offset {base} but its log ends at {end}"));
        }
        *end = record.end.max(*end);
        ControlFlow::Continue(())
    })?;
    let damaged = gap.is_some() || matches!(end, ReplayEnd::Corrupt { .. });
    // A recovery stops at the first of them, and a gap lies before the end.
    let state = gap.unwrap_or_else(|| match end {
        ReplayEnd::Clean { .. } | ReplayEnd::Stopped { .. } => "whole".to_owned(),
        ReplayEnd::TornTail { .. } => "whole (its last write was cut short and never acknowledged)".to_owned(),
        ReplayEnd::Corrupt { at, reason } => format!("DAMAGED at {at}: {reason}"),
    });
    Ok(Found { records, bytes, damaged, state })
}

fn parse(text: &str) -> anyhow::Result<Incarnation> {
    let parsed = text.split_once('-').and_then(|(broker, epoch)| {
        Some(Incarnation { broker: BrokerId(broker.parse().ok()?), epoch: BrokerEpoch(epoch.parse().ok()?) })
    });
    parsed.with_context(|| format!("{text} is not BROKER-EPOCH, for example 1-17; `headwater wal show` lists them"))
}

fn remove(text: &str, cluster: &str, place: &Place, yes: bool) -> anyhow::Result<()> {
    let id = parse(text)?;
    let settings = place.settings()?;
    let path = path_of(&settings)?;
    if !yes {
        bail!(
            "this removes log {id} of cluster {cluster} at {}, with every record in it that was acknowledged and is not in a \
             store, for good; if you mean it, add --yes. A cluster that still has its store wants `headwater wal abandon`",
            path.display()
        );
    }
    if !path.try_exists().with_context(|| format!("looking for a write-ahead log at {}", path.display()))? {
        bail!("there is no write-ahead log at {}; name its place with --wal PATH", path.display());
    }
    // Looked at first: an owner makes what is not there.
    let seen = BlockLog::open(BlockLogOptions::new(path, Access::Observer))?;
    if !seen.incarnations()?.iter().any(|found| found.incarnation == id) {
        bail!("there is no log {id} at {}; `headwater wal show` lists what there is", path.display());
    }
    let log =
        BlockLog::open(BlockLogOptions::new(path, Access::Owner)).context("stop the broker before removing a log")?;
    let unread = log.remove(id, Claim::GivenUp(cluster))?;
    if unread > 0 {
        bail!(
            "log {id} of cluster {cluster} was removed from {}, except for what cannot be read: the pages of {unread} segments \
             cannot, and some may be of it. Should they be readable again, `headwater wal show` names the log: remove it then",
            path.display()
        );
    }
    say!("log {id} of cluster {cluster} was removed from {}", path.display());
    Ok(())
}

fn abandon(text: &str, place: &Place, yes: bool, fate: BrokerFate) -> anyhow::Result<()> {
    let id = parse(text)?;
    let settings = place.settings()?;
    if !yes {
        bail!(
            "this gives up every record of log {id} that was acknowledged and is not in the store yet, for good; if you \
             mean it, add --yes. A disk or directory that can be brought back is better brought back"
        );
    }
    // What a store says that refuses, or does not answer, is in what is logged.
    telemetry::logs::init(telemetry::logs::Format::for_stderr(), "warn")?;
    let path = path_of(&settings)?.to_owned();
    let options = AbandonOptions {
        incarnation: id,
        broker: settings.broker.node_id,
        fate,
        store: settings.store,
        log: path,
        home: settings.home,
        files: Files::system(),
        clock: Clock::system(),
        entropy: Entropy::system(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let left = runtime.block_on(node::abandon(options))?;
    say!("log {id} was given up; its partitions go on from what the store holds when the broker starts");
    match left {
        FilesLeft::Removed => {}
        FilesLeft::OutOfReach => {
            say!(
                "its files are out of reach; should they come back, a start of this broker at their place removes them,"
            );
            say!("unless they cannot say of which cluster they are: it names the command then");
        }
        FilesLeft::Unread { segments } => {
            say!(
                "its files were removed, except for what cannot be read: {segments} segments cannot, and some may be of it;"
            );
            say!("should they be readable again, a start of this broker names the command that removes them");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use base::TimestampMs;
    use bytes::Bytes;
    use stream::Fragments;
    use stream::wal::{Append, DurableSink, Group, WalFailure};

    use super::*;

    struct Telling;

    impl DurableSink<mpsc::Sender<()>> for Telling {
        fn durable(&mut self, group: Group<mpsc::Sender<()>>) {
            group.tokens.into_iter().for_each(|(_, told)| told.send(()).unwrap());
        }

        fn failed(&mut self, error: WalFailure) {
            panic!("{error}");
        }
    }

    /// A log with one record of one offset for each stream and base.
    fn log_of(directory: &std::path::Path, incarnation: Incarnation, records: &[(u64, u64)]) -> BlockLog {
        let mut options = BlockLogOptions::new(directory, Access::Owner);
        options.segment_bytes = 64 * 1024;
        options.capacity_bytes = 256 * 1024;
        let log = BlockLog::open(options).unwrap();
        let wal = log.create(incarnation, "test-cluster", Telling).unwrap();
        for (stream, base) in records {
            let (token, told) = mpsc::channel();
            let append = Append {
                stream: StreamId(*stream),
                epoch: StreamEpoch(0),
                base: Offset(*base),
                end: Offset(base + 1),
                max_timestamp: TimestampMs(0),
                payload: Fragments::from_elem(Bytes::from_static(b"0123456789"), 1),
            };
            wal.append(append, token);
            told.recv().unwrap();
        }
        log
    }

    #[test]
    fn a_record_that_does_not_continue_its_stream_is_shown() {
        let me = Incarnation { broker: BrokerId(1), epoch: BrokerEpoch(1) };
        let directory = tempfile::tempdir().unwrap();
        let whole = log_of(directory.path(), me, &[(1, 7), (2, 0), (1, 8), (2, 1)]);
        let found = examine(&whole, me, WalPosition(0)).unwrap();
        assert_eq!((found.records, found.bytes, &*found.state), (4, 40, "whole"));
        let directory = tempfile::tempdir().unwrap();
        let gap = log_of(directory.path(), me, &[(1, 7), (2, 0), (1, 9), (2, 1)]);
        let state = examine(&gap, me, WalPosition(0)).unwrap().state;
        assert!(state.starts_with("DAMAGED at ") && state.ends_with("at offset 9 but its log ends at 8"), "{state}");
    }
}
