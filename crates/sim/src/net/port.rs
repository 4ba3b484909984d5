//! One process's way into the network.

use std::collections::VecDeque;
use std::fmt;
use std::future::pending;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use base::net::{Accept, BoxFuture, ListenOptions, Listener, NetworkSource, Stream};
use parking_lot::Mutex;
use tokio::time::sleep;

use super::connection::{Connection, SimSocket};
use super::{Link, Net, Side};
use crate::faults::Fault;
use crate::process::Process;

/// Attempts to reach a host that does not answer. The wait doubles, from a second on: a minute in all.
const CONNECT_ATTEMPTS: u32 = 6;

#[derive(Clone)]
pub(super) struct Port {
    pub(super) net: Net,
    pub(super) process: Process,
    pub(super) ip: IpAddr,
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the network of {:?} at {}", self.process, self.ip)
    }
}

/// Connections that wait to be accepted.
#[derive(Debug)]
pub(super) struct Backlog {
    pub(super) process: Process,
    limit: usize,
    state: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    streams: VecDeque<Stream>,
    acceptor: Option<Waker>,
}

enum Answer {
    /// Nothing: it is cut off, or has no power.
    None,
    Refused,
    Connected(Stream),
}

impl Port {
    /// Of this host, whatever address it uses for itself.
    fn own(&self, address: SocketAddr) -> SocketAddr {
        let is_own = address.ip().is_unspecified() || address.ip().is_loopback();
        if is_own { SocketAddr::new(self.ip, address.port()) } else { address }
    }

    /// What the host at an address says.
    fn ask(&self, local: SocketAddr, address: SocketAddr) -> Answer {
        let (refuses, now) = (self.draw_refusal(), self.net.0.trace.now());
        let (stream, acceptor, connection) = {
            let mut state = self.net.0.state.lock();
            let cut = [state.is_cut(local.ip(), address.ip()), state.is_cut(address.ip(), local.ip())];
            if cut[0] || cut[1] || state.down.contains(&address.ip()) {
                return Answer::None;
            }
            if let Some(time) = refuses {
                state.refusing.insert(address.ip(), now + time);
            }
            if state.refusing.get(&address.ip()).is_some_and(|until| now < *until) {
                drop(state);
                if let Some(time) = refuses {
                    self.net.did(Fault::Refused, format_args!("by {} for {time:?}", address.ip()));
                }
                return Answer::Refused;
            }
            let Some(backlog) = state.listening.get(&address).cloned() else { return Answer::Refused };
            if backlog.process.is_dead() || backlog.state.lock().streams.len() >= backlog.limit {
                return Answer::Refused;
            }
            state.connections_made += 1;
            let link = Link {
                number: state.connections_made,
                processes: [self.process.clone(), backlog.process.clone()],
                addresses: [local, address],
            };
            let connection = Arc::new(Connection::new(link, self.net.clone(), cut));
            state.register(&connection);
            let socket = |side| Arc::new(SimSocket { connection: connection.clone(), side });
            let mut waiting = backlog.state.lock();
            waiting.streams.push_back(Stream::new(socket(Side::Server), address, local));
            let acceptor = waiting.acceptor.take();
            (Stream::new(socket(Side::Client), local, address), acceptor, connection)
        };
        if let Some(acceptor) = acceptor {
            acceptor.wake();
        }
        self.net.0.trace.note("net", format_args!("opens {}", connection.link));
        self.net.tell(|observer| observer.opened(&connection.link));
        Answer::Connected(stream)
    }

    fn draw_refusal(&self) -> Option<Duration> {
        let (plan, dice) = (self.net.plan(), &self.net.0.dice);
        dice.chance(plan.refused).then(|| dice.time(plan.refuse.clone()))
    }

    /// One way of a connection that is being made.
    async fn go(&self) {
        let latency = self.net.0.dice.time(self.net.plan().latency.clone());
        if !latency.is_zero() {
            sleep(latency).await;
        }
        if self.process.is_dead() {
            pending::<()>().await;
        }
    }
}

impl NetworkSource for Port {
    fn listen(&self, mut address: SocketAddr, options: ListenOptions) -> io::Result<Listener> {
        if self.process.is_dead() {
            return Err(io::ErrorKind::NetworkDown.into());
        }
        let mut state = self.net.0.state.lock();
        if address.port() == 0 {
            address.set_port(state.take_port(self.ip));
        }
        let at = self.own(address);
        if at.ip() != self.ip {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        if state.listening.contains_key(&at) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let limit = usize::try_from(options.backlog).unwrap_or(0).max(1);
        let backlog = Arc::new(Backlog { process: self.process.clone(), limit, state: Mutex::default() });
        state.listening.insert(at, backlog.clone());
        Ok(Listener::new(Box::new(SimListener { net: self.net.clone(), backlog, at, address })))
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move {
            let address = self.own(address);
            let local = SocketAddr::new(self.ip, self.net.0.state.lock().take_port(self.ip));
            for attempt in 0..CONNECT_ATTEMPTS {
                self.go().await;
                let answer = self.ask(local, address);
                if let Answer::None = answer {
                    sleep(Duration::from_secs(1 << attempt)).await;
                    continue;
                }
                self.go().await;
                return match answer {
                    Answer::Connected(stream) => Ok(stream),
                    _ => Err(io::ErrorKind::ConnectionRefused.into()),
                };
            }
            Err(io::ErrorKind::TimedOut.into())
        })
    }

    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move {
            let named = self.net.0.state.lock().names.get(host).copied();
            let ip = match host {
                "localhost" => self.ip,
                text => named
                    .or_else(|| text.parse().ok())
                    .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no host {text}")))?,
            };
            Ok(vec![SocketAddr::new(ip, port)])
        })
    }
}

#[derive(Debug)]
struct SimListener {
    net: Net,
    backlog: Arc<Backlog>,
    /// Where others find it.
    at: SocketAddr,
    /// Where it was told to listen.
    address: SocketAddr,
}

impl Accept for SimListener {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        let mut waiting = self.backlog.state.lock();
        match waiting.streams.pop_front() {
            Some(stream) if !self.backlog.process.is_dead() => Poll::Ready(Ok(stream)),
            _ => {
                waiting.acceptor = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        // When its process died it went without asking, and another may listen there by now.
        if !self.backlog.process.is_dead() {
            self.net.0.state.lock().listening.remove(&self.at);
        }
        let waiting = std::mem::take(&mut self.backlog.state.lock().streams);
        drop(waiting);
    }
}
