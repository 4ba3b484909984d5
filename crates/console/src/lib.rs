//! The HTTP side of a broker: metrics for Prometheus, liveness and readiness for whoever supervises it.
//!
//! | Path | Answer |
//! |---|---|
//! | `/metrics` | the registry in OpenMetrics text |
//! | `/livez` | 200 while the process can answer |
//! | `/readyz` | 200 while the broker serves clients, 503 with the reason before, while it drains and after it failed |
//!
//! Never knows Kafka's protocol.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use base::net::{ListenOptions, Listener, Network, Stream};

/// Whether the broker serves clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It does.
    Ready,
    /// It does not, for this reason.
    NotReady(String),
}

/// What the pages show.
#[derive(Clone)]
pub struct Sources {
    /// Writes the metrics registry as text.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Tells the broker's state.
    pub readiness: Arc<dyn Fn() -> Readiness + Send + Sync>,
}

/// A bound, not yet serving, HTTP listener.
pub struct Console {
    listener: Listener,
}

/// Wait after an accept that failed, which is most often for want of descriptors.
const ACCEPT_RETRY: Duration = Duration::from_secs(1);

/// The listener as the HTTP library wants it.
struct Accepting(Listener);

impl axum::serve::Listener for Accepting {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        loop {
            match self.0.accept().await {
                Ok(stream) => {
                    let remote = stream.peer_addr();
                    return (stream, remote);
                }
                // One client went away again; the next one is not kept waiting.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionAborted
                            | io::ErrorKind::ConnectionReset
                            | io::ErrorKind::ConnectionRefused
                    ) => {}
                Err(error) => {
                    tracing::debug!(%error, "an HTTP connection could not be accepted");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.0.local_addr())
    }
}

impl Console {
    /// Binds `host:port`, so that a busy port is known before anything else starts.
    ///
    /// # Errors
    /// When the address is none, or the network's.
    pub async fn bind(network: &Network, address: &str) -> io::Result<Self> {
        let mut failed = io::Error::new(io::ErrorKind::NotFound, format!("{address} has no address"));
        for address in network.resolve_text(address).await? {
            match network.listen(address, ListenOptions::default()) {
                Ok(listener) => return Ok(Self { listener }),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// The address that was bound.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// Serves until the task is aborted. Its end by itself is told in the log; whoever holds the handle should end too.
    pub fn serve(self, sources: Sources) -> base::task::JoinHandle<()> {
        let pages = Router::new()
            .route("/metrics", get(metrics))
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .with_state(sources);
        base::task::spawn("http", async move {
            if let Err(error) = axum::serve(Accepting(self.listener), pages).await {
                tracing::error!(%error, "the HTTP listener stopped; metrics and health are not served any more");
            }
        })
    }
}

async fn metrics(State(sources): State<Sources>) -> impl IntoResponse {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], (sources.metrics)())
}

async fn ready(State(sources): State<Sources>) -> impl IntoResponse {
    match (sources.readiness)() {
        Readiness::Ready => (StatusCode::OK, "ready\n".to_owned()),
        Readiness::NotReady(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
    }
}

#[cfg(test)]
mod tests {
    use base::net::memory::MemoryNetwork;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::watch;

    use super::*;

    async fn get(network: &Network, address: SocketAddr, path: &str) -> String {
        let mut stream = network.connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        reply
    }

    #[tokio::test]
    async fn readiness_follows_the_broker_and_liveness_does_not() {
        for network in [Network::system(), Network::from_source(Arc::new(MemoryNetwork::default()))] {
            readiness_over(&network).await;
        }
    }

    async fn readiness_over(network: &Network) {
        let console = Console::bind(network, "127.0.0.1:0").await.unwrap();
        let address = console.address();
        let (state, readiness) = watch::channel(Readiness::NotReady("starting".into()));
        let readiness = Arc::new(move || readiness.borrow().clone());
        let serving = console.serve(Sources { metrics: Arc::new(|| "up 1\n".to_owned()), readiness });
        let before = get(network, address, "/readyz").await;
        assert!(before.starts_with("HTTP/1.1 503") && before.contains("starting"), "{before}");
        assert!(get(network, address, "/livez").await.starts_with("HTTP/1.1 200"));
        state.send_replace(Readiness::Ready);
        assert!(get(network, address, "/readyz").await.starts_with("HTTP/1.1 200"));
        assert!(get(network, address, "/metrics").await.contains("up 1"));
        serving.abort();
    }
}
