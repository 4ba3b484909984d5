//! A real S3 server for tests: `s3s` over a directory, made fit for fencing tests and able to misbehave on command.
//!
//! `s3s-fs` looks whether a name is free and then writes, so two conditional PUTs at once can both win. Every writing
//! request here passes a lock chosen by its path, which makes look-then-write atomic. Faults are decided at the same
//! gate, from one seed: an answer of 503 before any effect, or a connection cut after the effect.

use std::future::Future;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::Service;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpResponse};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;

/// Locks that writing requests are spread over; two names may share one, which costs only time.
const LOCKS: usize = 256;

/// How the server misbehaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Wait before every request.
    pub latency: Duration,
    /// Probability of a 503 before any effect.
    pub unavailable: f64,
    /// Probability that the connection is cut after the effect.
    pub lost_reply: f64,
    /// Seed of the decisions.
    pub seed: u64,
}

/// The server's request handler.
#[derive(Clone)]
pub struct Gate(Arc<Inner>);

struct Inner {
    directory: PathBuf,
    service: S3Service,
    locks: Vec<tokio::sync::Mutex<()>>,
    faults: Faults,
    random: Mutex<u64>,
}

impl Gate {
    /// A handler over the buckets (sub-directories) of `directory`.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub fn new(directory: &Path, access_key: &str, secret_key: &str, faults: Faults) -> anyhow::Result<Self> {
        let files = FileSystem::new(directory)
            .map_err(|error| anyhow::anyhow!("directory {} cannot be served: {error:?}", directory.display()))?;
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(access_key, secret_key));
        Ok(Self(Arc::new(Inner {
            directory: directory.to_owned(),
            service: builder.build(),
            locks: (0..LOCKS).map(|_| tokio::sync::Mutex::new(())).collect(),
            faults,
            random: Mutex::new(faults.seed),
        })))
    }

    /// Serves connections until the listener fails.
    ///
    /// # Errors
    /// When accepting fails.
    pub async fn serve(self, listener: TcpListener) -> io::Result<()> {
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            let gate = self.clone();
            base::task::spawn("s3server-connection", async move {
                // A connection ends by the client's hand or by a fault: neither concerns the server.
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), gate).await;
            });
        }
    }

    /// One decision with probability `p` (splitmix64).
    fn chance(&self, p: f64) -> bool {
        let mut state = self.0.random.lock();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        ((mixed >> 11) as f64 / (1_u64 << 53) as f64) < p
    }

    async fn handle(self, request: Request<Incoming>) -> io::Result<HttpResponse> {
        let faults = self.0.faults;
        if !faults.latency.is_zero() {
            tokio::time::sleep(faults.latency).await;
        }
        if self.chance(faults.unavailable) {
            return Ok(refusal(StatusCode::SERVICE_UNAVAILABLE, "SlowDown"));
        }
        // `s3s-fs` would make the bucket by writing into it.
        let bucket = request.uri().path().split('/').nth(1).unwrap_or_default();
        if !bucket.is_empty() && !self.0.directory.join(bucket).is_dir() {
            return Ok(refusal(StatusCode::NOT_FOUND, "NoSuchBucket"));
        }
        let writes = matches!(*request.method(), Method::PUT | Method::POST | Method::DELETE);
        let lock = BuildHasherDefault::<DefaultHasher>::default().hash_one(request.uri().path()) as usize % LOCKS;
        let _guard = if writes { Some(self.0.locks[lock].lock().await) } else { None };
        let response = self
            .0
            .service
            .call(request.map(Body::from))
            .await
            .map_err(|error| io::Error::other(format!("{error:?}")))?;
        if self.chance(faults.lost_reply) {
            return Err(io::Error::new(io::ErrorKind::ConnectionReset, "planned: the reply is lost"));
        }
        Ok(response)
    }
}

fn refusal(status: StatusCode, code: &str) -> HttpResponse {
    let mut response = HttpResponse::new(Body::from(format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{code}</Message></Error>"
    )));
    *response.status_mut() = status;
    response
}

impl Service<Request<Incoming>> for Gate {
    type Response = HttpResponse;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<HttpResponse>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        Box::pin(self.clone().handle(request))
    }
}
