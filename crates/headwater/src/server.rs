//! `headwater` alone: one node, its console, its signals and its banner, from settings to exit code.
//!
//! The life itself is [`node`]'s; what is decided here is only what a host decides: an order for each signal, and that the
//! process ends with the node.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use base::file::Files;
use base::net::Network;
use base::{Clock, Entropy};
use blob::Stores;
use console::{Console, Readiness, Sources};
use meta::{DELETION_PERIOD, SnapshotPolicy};
use node::{Afterwards, End, LogPlace, NodeOptions, Order, Phase, Segments, Status};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::banner::{self, Banner};
use crate::cli::ServerOptions;
use crate::config::{self, Settings};

/// Starts a broker and serves until it is told to stop.
pub fn run(options: &ServerOptions) -> anyhow::Result<()> {
    telemetry::logs::init(telemetry::logs::Format::for_stderr(), &options.log)?;
    let settings = config::of_process(options)?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    if !settings.unneeded.is_empty() {
        tracing::info!(keys = settings.unneeded.join(", "), "configuration keys of Kafka that change nothing here");
    }
    // Asked of a broker alone: who gives up a log, or looks at one, does so because its device has died.
    if let LogPlace::At(place) = &settings.log
        && is_missing_device(place).with_context(|| format!("--wal {}", place.display()))?
    {
        bail!("--wal {}: there is no such device; attach it, or name a directory on a disk", place.display());
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime cannot start")?;
    let outcome = runtime.block_on(serve(settings));
    // Blocking work that is still under way (a read of a store that hangs) must not hold up the exit.
    runtime.shutdown_timeout(Duration::from_millis(100));
    outcome
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let orders = orders_of_signals()?;
    let status = Status::default();
    let network = Network::system();
    let console = match &settings.http {
        Some(address) => Some(Console::bind(&network, address).await.with_context(|| {
            format!(
                "HTTP cannot listen on {address}; free the port, choose another with --http HOST:PORT, or --http off"
            )
        })?),
        None => None,
    };
    let http = console.as_ref().map(|console| console.address().to_string());
    let pages = console.map(|console| console.serve(sources(&status)));
    let options = NodeOptions {
        broker: settings.broker,
        store: settings.store,
        log: settings.log,
        home: settings.home,
        console: http.clone(),
        segments: Segments::default(),
        snapshots: SnapshotPolicy::default(),
        deletion_period: DELETION_PERIOD,
        stores: Stores::system(),
        network,
        files: Files::system(),
        clock: Clock::system(),
        entropy: Entropy::system(),
        afterwards: Afterwards::ProcessExits,
    };
    let life = node::run(options, &status, orders, |facts| {
        // A closed standard output is no reason not to serve.
        if let Err(error) = banner::print(&Banner { facts, http: http.as_deref() }) {
            tracing::warn!(%error, "the banner could not be printed");
        }
    });
    let pages_end = async {
        match pages {
            Some(pages) => pages.await,
            None => std::future::pending().await,
        }
    };
    base::select! {
        end = life => outcome(end),
        ended = pages_end => match ended {
            Ok(()) => bail!("the HTTP listener has ended, so that nobody can tell whether this broker is ready"),
            Err(error) => Err(error).context("the HTTP listener has ended, so that nobody can tell whether this broker is ready"),
        },
    }
}

/// Whether a place that is not there would be made in the memory behind /dev: the name of a device that is not attached yet.
fn is_missing_device(place: &Path) -> std::io::Result<bool> {
    if place.try_exists()? {
        return Ok(false);
    }
    let parent = place.ancestors().skip(1).find_map(|above| above.canonicalize().ok());
    Ok(parent.is_some_and(|parent| parent.starts_with("/dev") && !parent.starts_with("/dev/shm")))
}

/// The exit of the process, from the end of its node.
fn outcome(end: End) -> anyhow::Result<()> {
    match end {
        End::Drained => Ok(()),
        End::NotStarted(error) => Err(error.into()),
        End::NotDrained(error) => Err(error.into()),
        other => Err(anyhow!("{other}")),
    }
}

fn sources(status: &Status) -> Sources {
    let (pages, phases) = (status.clone(), status.clone());
    let readiness = move || match phases.phase() {
        Phase::Serving => Readiness::Ready,
        Phase::Starting => Readiness::NotReady("starting".to_owned()),
        Phase::Draining => Readiness::NotReady("draining".to_owned()),
        Phase::Ended(why) => Readiness::NotReady(why),
    };
    Sources { metrics: Arc::new(move || pages.page()), readiness: Arc::new(readiness) }
}

/// SIGTERM and SIGINT: the first one drains, the second one stops, the third one ends the process where it stands. Nothing
/// is lost by that, as nothing is by a crash, and it does not depend on anything that may wait for storage.
fn orders_of_signals() -> std::io::Result<watch::Receiver<Order>> {
    let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (orders, given) = watch::channel(Order::Serve);
    base::task::spawn("signals", async move {
        let mut told = async || {
            base::select! {
                _ = term.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        for order in [Order::Drain, Order::Stop] {
            told().await;
            orders.send_replace(order);
            tracing::info!(?order, "told by a signal");
        }
        told().await;
        tracing::warn!("told by a third signal: ends at once; the next start recovers from the log");
        std::process::exit(1);
    });
    Ok(given)
}
