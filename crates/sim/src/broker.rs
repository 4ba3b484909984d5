//! One process of a broker: a node as the program starts it, on simulated ports.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base::file::Files;
use base::host::Host;
use base::net::Network;
use base::task::JoinHandle;
use base::{Clock, Entropy};
use blob::Stores;
use broker::config::BrokerConfig;
use meta::SnapshotPolicy;
use node::{Afterwards, End, LogPlace, NodeOptions, Order, Phase, Segments, Status};
use tokio::sync::watch;

use crate::dice::Dice;
use crate::host::SimHost;
use crate::process::Process;
use crate::trace::Trace;

/// What the process reaches of the world.
#[derive(Clone, Debug)]
pub struct Ports {
    /// Its network.
    pub network: Network,
    /// Its disks.
    pub files: Files,
    /// Its stores.
    pub stores: Stores,
    /// Its clock.
    pub clock: Clock,
}

/// What an operator gave it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which broker.
    pub id: i32,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its log.
    pub log: LogPlace,
    /// Its data directory.
    pub home: Option<std::path::PathBuf>,
    /// How its log is cut.
    pub segments: Segments,
    /// When it makes metadata snapshots.
    pub snapshots: SnapshotPolicy,
    /// How often it looks for objects whose grace is over.
    pub deletion_period: Duration,
    /// The URL of its store.
    pub store: String,
    /// Further keys of its configuration.
    pub keys: Vec<(String, String)>,
}

/// A process of a broker, from its start to its end.
#[derive(Debug)]
pub struct Broker {
    process: Process,
    host: Arc<SimHost>,
    orders: watch::Sender<Order>,
    phases: watch::Receiver<Phase>,
    life: JoinHandle<End>,
}

impl Broker {
    /// Starts a process.
    ///
    /// # Panics
    /// When the settings are none that a broker takes.
    pub fn start(process: &Process, host: &Arc<SimHost>, settings: &Settings, ports: &Ports, trace: &Trace) -> Self {
        let listeners = format!("PLAINTEXT://{}", settings.address);
        let own = [
            ("node.id".to_owned(), settings.id.to_string()),
            ("listeners".to_owned(), listeners.clone()),
            ("advertised.listeners".to_owned(), listeners),
        ];
        let keys = own.into_iter().chain(settings.keys.iter().cloned());
        let options = NodeOptions {
            broker: BrokerConfig::parse(keys).expect("a simulated broker's keys are right").config,
            store: settings.store.clone(),
            log: settings.log.clone(),
            home: settings.home.clone(),
            console: None,
            segments: settings.segments,
            snapshots: settings.snapshots,
            deletion_period: settings.deletion_period,
            stores: ports.stores.clone(),
            network: ports.network.clone(),
            files: ports.files.clone(),
            clock: ports.clock.clone(),
            entropy: Entropy::from_source(Arc::new(HostEntropy(host.clone()))),
            afterwards: Afterwards::ProcessExits,
        };
        let (orders, given) = watch::channel(Order::Serve);
        let status = Status::default();
        let phases = status.phases();
        let (trace, name) = (trace.clone(), process.name().to_owned());
        let life = async move {
            let serving = |facts: &node::Facts| {
                let (me, recovered) = (facts.me, facts.recovered);
                trace.note(&name, format_args!("serves as {me}, recovered {recovered:?}"));
            };
            let end = node::run(options, &status, given, serving).await;
            trace.note(&name, format_args!("ends: {end}"));
            end
        };
        let hosted: Arc<dyn Host> = host.clone();
        let life = base::host::scope(&hosted, || base::task::spawn("node", life));
        Self { process: process.clone(), host: host.clone(), orders, phases, life }
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Its host.
    pub fn host(&self) -> &Arc<SimHost> {
        &self.host
    }

    /// How it is given orders.
    pub fn orders(&self) -> &watch::Sender<Order> {
        &self.orders
    }

    /// Where it is in its life, as it would tell a probe.
    pub fn phases(&self) -> watch::Receiver<Phase> {
        self.phases.clone()
    }

    /// Resolves when the process is over: with its end where it ended by itself, with nothing where it died. Nothing of it
    /// runs afterwards.
    pub async fn over(&mut self) -> Option<End> {
        let end = base::select! {
            biased;
            () = self.host.died() => None,
            end = &mut self.life => Some(end),
        };
        // A process that ends by itself is dead as well.
        self.process.die();
        self.host.abort_all();
        match end {
            None => None,
            Some(Ok(end)) => Some(end),
            Some(Err(error)) if error.is_cancelled() => None,
            Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// Nonces and ids, from the host's numbers.
#[derive(Debug)]
struct HostEntropy(Arc<SimHost>);

impl base::entropy::RandomSource for HostEntropy {
    fn next_u128(&self) -> u128 {
        u128::from(self.0.next_u64()) << 64 | u128::from(self.0.next_u64())
    }
}

/// The dice of a process: those of its name.
pub fn dice_of(process: &Process, dice: &Dice) -> Dice {
    dice.branch(process.name())
}
