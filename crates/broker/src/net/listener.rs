//! Listening sockets: accepting, limits on how many and from where, socket options, and the end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base::Clock;
use base::net::{ListenOptions, Listener, Network, Stream};
use base::task;
use telemetry::Metrics;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::complaints::Complaints;
use super::connection::{Connection, Ended, Shared};
use super::peer::Peer;
use super::quota::{Quota, Slot};
use super::room::RequestMemory;
use super::service::Service;
use crate::limits::ACCEPT_RETRY;

/// What listeners are told.
#[derive(Clone, Debug)]
pub(crate) struct SocketOptions {
    pub(crate) backlog: i32,
    /// `None` leaves the size to the operating system, which adapts it.
    pub(crate) send_buffer: Option<usize>,
    pub(crate) receive_buffer: Option<usize>,
    pub(crate) idle_max: Duration,
}

/// A socket that is bound and not served yet.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) name: Arc<str>,
    pub(crate) listener: Listener,
    pub(crate) address: SocketAddr,
}

/// Binds `address`; the error says which address it was about.
pub(crate) fn bind(network: &Network, name: &str, address: SocketAddr, options: &SocketOptions) -> io::Result<Bound> {
    let SocketOptions { backlog, send_buffer, receive_buffer, .. } = *options;
    let listener = network.listen(address, ListenOptions { backlog, send_buffer, receive_buffer })?;
    let address = listener.local_addr();
    Ok(Bound { name: name.into(), listener, address })
}

/// Everything an accept loop needs.
pub(crate) struct Acceptor<S> {
    pub(crate) service: Arc<S>,
    pub(crate) options: SocketOptions,
    pub(crate) clock: Clock,
    pub(crate) memory: RequestMemory,
    pub(crate) metrics: Metrics,
    pub(crate) complaints: Arc<Complaints>,
    pub(crate) console: Option<Arc<str>>,
    pub(crate) stop: watch::Receiver<bool>,
    /// The connections of all listeners.
    pub(crate) quota: Arc<Quota>,
}

/// Whether `accept` failed because of the client that it met, and not for want of descriptors or memory.
fn is_about_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

impl<S: Service> Acceptor<S> {
    /// Serves `bound` until the stop signal.
    pub(crate) fn serve(self, bound: Bound) -> JoinHandle<()> {
        task::spawn_vital("listener", self.run(bound))
    }

    async fn run(self, bound: Bound) {
        let mut stop = self.stop.clone();
        let accepting = self.accept_all(&bound);
        let stopped = async { stop.wait_for(|stop| *stop).await.map(drop).ok() };
        base::select! {
            () = accepting => {}
            _ = stopped => {}
        }
    }

    async fn accept_all(&self, bound: &Bound) {
        loop {
            match bound.listener.accept().await {
                // At the limit the newcomer waits for a place, and the backlog holds those behind it, as in Kafka.
                Ok(stream) => self.admit(stream, bound, self.quota.slot().await),
                Err(error) => {
                    self.metrics.connections_refused("accept").inc();
                    self.complaints.log("accept", &error.to_string(), &bound.name, None);
                    // Who went away again before it was met keeps nobody waiting.
                    if !is_about_one_client(&error) {
                        tokio::time::sleep(ACCEPT_RETRY).await;
                    }
                }
            }
        }
    }

    fn admit(&self, stream: Stream, bound: &Bound, slot: Slot) {
        let (remote, local) = (stream.peer_addr(), stream.local_addr());
        let ip = remote.ip().to_canonical();
        let Some(place) = self.quota.place(ip) else {
            self.metrics.connections_refused("per_ip").inc();
            let detail = format!("{ip} has reached max.connections.per.ip");
            self.complaints.log("per_ip", &detail, &bound.name, Some(remote));
            return;
        };
        let peer = Arc::new(Peer::new(remote, local, bound.name.clone()));
        let shared = Shared {
            clock: self.clock.clone(),
            memory: self.memory.clone(),
            idle_max: self.options.idle_max,
            console: self.console.clone(),
        };
        let mut stop = self.stop.clone();
        let stop = Box::pin(async move {
            // The sender is gone only when the broker is, and then connections should end too.
            let _ = stop.wait_for(|stop| *stop).await;
        });
        let connection = Connection::new(stream, self.service.clone(), peer, shared, stop);
        let (metrics, complaints, listener) = (self.metrics.clone(), self.complaints.clone(), bound.name.clone());
        metrics.connections_opened().inc();
        metrics.connections().inc();
        task::spawn("connection", async move {
            let ended = connection.run().await;
            drop((place, slot));
            metrics.connections().dec();
            match ended {
                Ended::Closed => {}
                Ended::Idle => drop(metrics.connections_refused("idle").inc()),
                Ended::Refused(reason) => {
                    metrics.connections_refused(reason.kind).inc();
                    complaints.log(reason.kind, &reason.detail, &listener, Some(remote));
                }
                Ended::Broken(error) => tracing::debug!(%remote, %error, "connection broke"),
            }
        });
    }
}
