//! The HTTP side of a broker: metrics for Prometheus, liveness and readiness for whoever supervises it.
//!
//! | Path | Answer |
//! |---|---|
//! | `/metrics` | the registry in OpenMetrics text |
//! | `/livez` | 200 while the process can answer |
//! | `/readyz` | 200 while the broker serves clients, 503 with the reason before, while it drains and after it failed |
//!
//! Whoever reaches the port can take no more of the broker than [`limits`] say, and no place for long.
//!
//! Never knows Kafka's protocol.

mod accepting;
mod asking;
pub mod limits;
mod pages;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base::net::{ListenOptions, Listener, Network};

use crate::accepting::Accepting;
use crate::asking::Caller;
use crate::pages::{Page, Pages};

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
            .with_state(Shown { sources, pages: Pages::new() })
            .into_make_service_with_connect_info::<Caller>();
        base::task::spawn("http", async move {
            if let Err(error) = axum::serve(Accepting::new(self.listener), pages).await {
                tracing::error!(%error, "the HTTP listener stopped; metrics and health are not served any more");
            }
        })
    }
}

/// What the handlers share.
#[derive(Clone)]
struct Shown {
    sources: Sources,
    pages: Pages,
}

async fn metrics(State(shown): State<Shown>, ConnectInfo(caller): ConnectInfo<Caller>) -> Response {
    // Never closed.
    let Some(place) = shown.pages.place(caller.0).await else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
    let page = Page { text: (shown.sources.metrics)(), _place: place };
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], Bytes::from_owner(page)).into_response()
}

async fn ready(State(shown): State<Shown>) -> impl IntoResponse {
    match (shown.sources.readiness)() {
        Readiness::Ready => (StatusCode::OK, "ready\n".to_owned()),
        Readiness::NotReady(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
    }
}

#[cfg(test)]
mod tests;
