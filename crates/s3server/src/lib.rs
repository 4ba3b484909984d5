//! A real S3 server for tests: `s3s` over a directory, made fit for fencing tests and able to misbehave on command.
//!
//! `s3s-fs` looks whether a name is free and then writes, so two conditional PUTs at once can both win. Every writing
//! request here passes a lock chosen by its path, which makes look-then-write atomic. It compares the CRC-32C of parts
//! of multipart writes no more than of anything that it does not know, so checksums are compared here, too. Faults are
//! decided at the same gate, from one seed: an answer of 503 before any effect, a connection cut after the effect, a
//! body damaged on its way, an object published in part.

use std::future::Future;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::service::Service;
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use s3s::auth::SimpleAuth;
use s3s::checksum::ChecksumHasher;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpResponse};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;

/// Locks that writing requests are spread over; two names may share one, which costs only time.
const LOCKS: usize = 256;

/// Most bytes of one write.
const PUT_BYTES_MAX: usize = 256 << 20;

/// The checksum that clients send with a write.
const CHECKSUM: &str = "x-amz-checksum-crc32c";

/// How the server misbehaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Wait before every request.
    pub latency: Duration,
    /// Probability of a 503 before any effect.
    pub unavailable: f64,
    /// Probability that the connection is cut after the effect.
    pub lost_reply: f64,
    /// Probability that a bit of a body turns over on its way to the server.
    pub damaged: f64,
    /// Probability that half of an object is published, and the answer is OK.
    pub truncated: f64,
    /// Whether the server knows no checksums, as many stores that speak S3's protocol. It takes any credentials then.
    pub ignores_checksums: bool,
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
        if !faults.ignores_checksums {
            builder.set_auth(SimpleAuth::from_single(access_key, secret_key));
        }
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

    /// The body of a write, as it arrives, if it is what the client says it is.
    async fn receive(&self, request: &mut Parts, mut body: Body) -> io::Result<Result<Body, HttpResponse>> {
        let mut bytes = body.store_all_limited(PUT_BYTES_MAX).await.map_err(io::Error::other)?.to_vec();
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle)
            && self.0.faults.damaged > 0.0
            && self.chance(self.0.faults.damaged)
        {
            *byte ^= 1;
        }
        if !self.0.faults.ignores_checksums
            && let Some(sent) = request.headers.get(CHECKSUM)
        {
            let mut hasher = ChecksumHasher { crc32c: Some(Default::default()), ..ChecksumHasher::default() };
            hasher.update(&bytes);
            if hasher.finalize().checksum_crc32c.as_deref().map(str::as_bytes) != Some(sent.as_bytes()) {
                return Ok(Err(refusal(StatusCode::BAD_REQUEST, "BadDigest")));
            }
        }
        Ok(Ok(Body::from(bytes)))
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
        let (mut parts, body) = request.into_parts();
        let mut body = Body::from(body);
        if parts.method == Method::PUT {
            body = match self.receive(&mut parts, body).await? {
                Ok(body) => body,
                Err(refused) => return Ok(refused),
            };
        }
        if faults.ignores_checksums {
            forget_checksums(&mut parts.headers);
        }
        let published = publishes(&parts).then(|| self.0.directory.join(parts.uri.path().trim_start_matches('/')));
        let response = self
            .0
            .service
            .call(Request::from_parts(parts, body))
            .await
            .map_err(|error| io::Error::other(format!("{error:?}")))?;
        if let Some(path) = published
            && response.status().is_success()
            && faults.truncated > 0.0
            && self.chance(faults.truncated)
        {
            let file = std::fs::OpenOptions::new().write(true).open(path)?;
            file.set_len(file.metadata()?.len() / 2)?;
        }
        if self.chance(faults.lost_reply) {
            return Err(io::Error::new(io::ErrorKind::ConnectionReset, "planned: the reply is lost"));
        }
        Ok(response)
    }
}

/// Whether a request makes an object: a write in one, or the end of one in parts.
fn publishes(request: &Parts) -> bool {
    let query = request.uri.query().unwrap_or_default();
    match request.method {
        Method::PUT => !query.contains("uploadId"),
        Method::POST => query.contains("uploadId"),
        _ => false,
    }
}

/// What a server that does not know checksums sees. The signature covers them, so it goes, too.
fn forget_checksums(headers: &mut HeaderMap) {
    let checksums: Vec<_> = headers.keys().filter(|name| name.as_str().contains("-checksum-")).cloned().collect();
    for name in checksums {
        headers.remove(name);
    }
    headers.remove("authorization");
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
