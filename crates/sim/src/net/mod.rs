//! The world's network: hosts by address, connections whose bytes arrive in order after a while, or not at all.
//!
//! When a process dies its connections break ([`Net::process_died`]), and so do connections by a planned fault; a host
//! that lost power is silent until it is there again. A partition holds bytes up and lets nobody connect.
//!
//! Invariants:
//! * Of one direction of a connection what arrives is a prefix of what was taken, in order.
//! * When bytes arrive is decided as they are sent; nobody but their reader waits for them.
//! * Who is dead sends nothing, and what its sockets do as they are dropped nobody sees.

mod connection;
mod plan;
mod port;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use base::net::Network;
use parking_lot::Mutex;

use crate::dice::Dice;
use crate::errands::Errands;
use crate::faults::{Fault, Faults};
use crate::process::Process;
use crate::trace::Trace;

use connection::Connection;
pub use plan::NetPlan;

/// Where ports are given out from.
const FIRST_PORT: u16 = 32_768;
/// Registered connections among which those that have ended are looked for.
const CONNECTIONS_SWEPT: usize = 64;

/// Which side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Who connected.
    Client,
    /// Who listened.
    Server,
}

impl Side {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// What a connection is, for whoever looks on.
#[derive(Clone, Debug)]
pub struct Link {
    /// Its number; the world has none other with it.
    pub number: u64,
    /// The processes, the client first.
    pub processes: [Process; 2],
    /// Their addresses.
    pub addresses: [SocketAddr; 2],
}

impl Link {
    /// The process on a side.
    pub fn process(&self, side: Side) -> &Process {
        &self.processes[side as usize]
    }

    /// The address of a side.
    pub fn address(&self, side: Side) -> SocketAddr {
        self.addresses[side as usize]
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [client, server] = &self.processes;
        write!(f, "connection {} of {client:?} to {server:?} {}", self.number, self.addresses[1])
    }
}

/// Who is told of what goes over the network. What one side sent is its calls of [`Observer::sent`], in order.
pub trait Observer: Send + Sync {
    /// A connection was made.
    fn opened(&self, link: &Link) {
        let _ = link;
    }

    /// The network has taken bytes of that side.
    fn sent(&self, link: &Link, by: Side, bytes: &[u8]) {
        let _ = (link, by, bytes);
    }

    /// That side has read bytes.
    fn received(&self, link: &Link, by: Side, bytes: &[u8]) {
        let _ = (link, by, bytes);
    }

    /// That side sends nothing more; what it sent may still arrive.
    fn ended(&self, link: &Link, by: Side) {
        let _ = (link, by);
    }

    /// The connection broke, and what was under way is lost.
    fn broke(&self, link: &Link) {
        let _ = link;
    }
}

/// How a process ends, as its peers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// Its host closes its connections.
    Kill,
    /// Its host is gone, too, and says nothing until it is back.
    PowerLoss,
}

/// The network; clones are the same one.
#[derive(Clone)]
pub struct Net(Arc<Inner>);

struct Inner {
    dice: Dice,
    faults: Faults,
    trace: Trace,
    errands: Errands,
    observers: Mutex<Arc<Vec<Arc<dyn Observer>>>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    plan: Arc<NetPlan>,
    names: BTreeMap<String, IpAddr>,
    hosts: Vec<(Process, IpAddr)>,
    listening: BTreeMap<SocketAddr, Arc<port::Backlog>>,
    connections: BTreeMap<u64, Weak<Connection>>,
    connections_made: u64,
    ports_given: u16,
    /// From whom nothing arrives where.
    cuts: BTreeSet<(IpAddr, IpAddr)>,
    /// Hosts without power.
    down: BTreeSet<IpAddr>,
    /// Until when hosts refuse.
    refusing: BTreeMap<IpAddr, Duration>,
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the network")
    }
}

impl Net {
    /// A network without faults, and without anybody.
    pub fn new(dice: Dice, faults: Faults, trace: Trace, errands: Errands) -> Self {
        let (observers, state) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { dice, faults, trace, errands, observers, state }))
    }

    /// Changes the plan from now on; nobody refuses any more. What is under way arrives when it would have.
    pub fn set_plan(&self, plan: NetPlan) {
        let mut state = self.0.state.lock();
        state.plan = Arc::new(plan);
        state.refusing.clear();
    }

    /// Tells this one, too, from now on.
    pub fn observe(&self, observer: Arc<dyn Observer>) {
        Arc::make_mut(&mut self.0.observers.lock()).push(observer);
    }

    /// Gives an address a name.
    pub fn name(&self, name: impl Into<String>, ip: IpAddr) {
        self.0.state.lock().names.insert(name.into(), ip);
    }

    /// The network as a process at that address sees it. With it the host has power, and answers whoever still believes
    /// in a connection from before that there is none.
    pub fn network(&self, process: &Process, ip: IpAddr) -> Network {
        {
            let mut state = self.0.state.lock();
            state.hosts.push((process.clone(), ip));
            state.down.remove(&ip);
        }
        for connection in self.connections() {
            if connection.is_silent_at(ip) {
                self.break_soon(&connection, None);
            }
        }
        Network::from_source(Arc::new(port::Port { net: self.clone(), process: process.clone(), ip }))
    }

    /// A process, which [is dead](Process::is_dead), is no longer there for others.
    pub fn process_died(&self, process: &Process, death: Death) {
        let (gone, lost) = {
            let mut state = self.0.state.lock();
            let (own, hosts): (Vec<_>, Vec<_>) =
                std::mem::take(&mut state.hosts).into_iter().partition(|(host, _)| host.is(process));
            let is_left = |ip: &IpAddr| hosts.iter().any(|(host, other)| other == ip && !host.is_dead());
            if death == Death::PowerLoss {
                state.down.extend(own.iter().map(|(_, ip)| *ip).filter(|ip| !is_left(ip)));
            }
            state.hosts = hosts;
            let (gone, listening) = std::mem::take(&mut state.listening)
                .into_iter()
                .partition::<BTreeMap<_, _>, _>(|(_, backlog)| backlog.process.is(process));
            state.listening = listening;
            (gone, own)
        };
        // The dead have no say in how their sockets close.
        drop((gone, lost));
        for connection in self.connections() {
            let sides = [Side::Client, Side::Server].into_iter();
            for side in sides.filter(|side| connection.link.process(*side).is(process)) {
                match death {
                    Death::PowerLoss => connection.fall_silent(side),
                    Death::Kill if self.0.dice.chance(0.5) => connection.close(side),
                    Death::Kill => self.break_soon(&connection, None),
                }
            }
        }
    }

    /// Lets nothing through between the two groups, in both directions.
    pub fn partition(&self, one: &[IpAddr], other: &[IpAddr]) {
        self.did(Fault::Partition, format_args!("{one:?} and {other:?}"));
        for one in one {
            for other in other {
                self.cut(*one, *other);
                self.cut(*other, *one);
            }
        }
    }

    /// Lets nothing through that one sends to the other, while it still hears it.
    pub fn cut(&self, from: IpAddr, to: IpAddr) {
        if from != to {
            self.0.state.lock().cuts.insert((from, to));
            self.connections().iter().for_each(|connection| connection.cut(|a, b| (a, b) == (from, to), true));
        }
    }

    /// Lets everything through again; what was held up arrives now.
    pub fn heal(&self) {
        if !std::mem::take(&mut self.0.state.lock().cuts).is_empty() {
            self.0.trace.note("net", "heals");
        }
        self.connections().iter().for_each(|connection| connection.cut(|_, _| true, false));
    }

    /// The connection that a task of a process reads as its server.
    pub fn served_in(&self, task: tokio::task::Id) -> Option<Link> {
        let found = self.connections().into_iter().find(|connection| connection.is_read_in(Side::Server, task));
        found.map(|connection| connection.link.clone())
    }

    /// Whether a side of a connection may still send.
    pub fn is_open(&self, link: &Link, side: Side) -> bool {
        let connection = self.0.state.lock().connections.get(&link.number).and_then(Weak::upgrade);
        connection.is_some_and(|connection| connection.is_open(side))
    }

    fn connections(&self) -> Vec<Arc<Connection>> {
        self.0.state.lock().connections.values().filter_map(Weak::upgrade).collect()
    }

    fn plan(&self) -> Arc<NetPlan> {
        self.0.state.lock().plan.clone()
    }

    /// Both sides see a reset, after a moment in which bytes may still arrive.
    fn break_soon(&self, connection: &Arc<Connection>, fault: Option<Fault>) {
        let (net, connection) = (self.clone(), Arc::downgrade(connection));
        let wait = self.0.dice.time(self.plan().latency.clone());
        self.0.errands.send(async move {
            tokio::time::sleep(wait).await;
            if let Some(connection) = connection.upgrade()
                && connection.break_now()
                && let Some(fault) = fault
            {
                net.did(fault, &connection.link);
            }
        });
    }

    fn did(&self, fault: Fault, what: impl fmt::Display) {
        self.0.faults.did(fault);
        self.0.trace.note("net", format_args!("{}: {what}", fault.label()));
    }

    /// Outside of all locks: an observer may do what it likes.
    fn tell(&self, what: impl Fn(&dyn Observer)) {
        let observers = self.0.observers.lock().clone();
        observers.iter().for_each(|observer| what(&**observer));
    }
}

impl State {
    fn is_cut(&self, from: IpAddr, to: IpAddr) -> bool {
        self.cuts.contains(&(from, to))
    }

    /// A port of a host that nobody listens at.
    fn take_port(&mut self, ip: IpAddr) -> u16 {
        loop {
            let port = FIRST_PORT + self.ports_given;
            self.ports_given = (self.ports_given + 1) % (u16::MAX - FIRST_PORT);
            if !self.listening.contains_key(&SocketAddr::new(ip, port)) {
                return port;
            }
        }
    }

    fn register(&mut self, connection: &Arc<Connection>) {
        if self.connections.len() >= CONNECTIONS_SWEPT && self.connections_made.is_multiple_of(CONNECTIONS_SWEPT as u64)
        {
            self.connections.retain(|_, connection| connection.strong_count() > 0);
        }
        self.connections.insert(connection.link.number, Arc::downgrade(connection));
    }
}
