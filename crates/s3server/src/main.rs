//! `s3server --dir DIR --port 0`: serves each sub-directory of DIR as a bucket and prints its address when ready.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use s3server::{Faults, Gate};
use tokio::net::TcpListener;

#[derive(Parser)]
#[command(about = "A real S3 server for tests, with atomic conditional writes and faults")]
struct Arguments {
    /// Directory whose sub-directories are the buckets.
    #[arg(long)]
    dir: PathBuf,
    /// Port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Access key that clients must use.
    #[arg(long, default_value = "test")]
    access_key: String,
    /// Secret key that clients must use.
    #[arg(long, default_value = "testsecret")]
    secret_key: String,
    /// Bucket to make at start; may be repeated.
    #[arg(long)]
    bucket: Vec<String>,
    /// Wait before every request, in milliseconds.
    #[arg(long, default_value_t = 0)]
    fault_latency_ms: u64,
    /// Probability of a 503 before any effect.
    #[arg(long, default_value_t = 0.0)]
    fault_503: f64,
    /// Probability that the connection is cut after the effect.
    #[arg(long, default_value_t = 0.0)]
    fault_lost_reply: f64,
    /// Probability that a bit of a body turns over on its way to the server.
    #[arg(long, default_value_t = 0.0)]
    fault_damaged: f64,
    /// Probability that half of an object is published, and the answer is OK.
    #[arg(long, default_value_t = 0.0)]
    fault_truncated: f64,
    /// Know no checksums, as many stores that speak S3's protocol, and take any credentials.
    #[arg(long)]
    ignores_checksums: bool,
    /// Seed of the faults.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    for bucket in &arguments.bucket {
        std::fs::create_dir_all(arguments.dir.join(bucket))?;
    }
    let faults = Faults {
        latency: Duration::from_millis(arguments.fault_latency_ms),
        unavailable: arguments.fault_503,
        lost_reply: arguments.fault_lost_reply,
        damaged: arguments.fault_damaged,
        truncated: arguments.fault_truncated,
        ignores_checksums: arguments.ignores_checksums,
        seed: arguments.seed,
    };
    let gate = Gate::new(&arguments.dir, &arguments.access_key, &arguments.secret_key, faults)?;
    let listener = TcpListener::bind(("127.0.0.1", arguments.port)).await?;
    let mut out = std::io::stdout();
    writeln!(out, "http://{}", listener.local_addr()?)?;
    out.flush()?;
    gate.serve(listener).await?;
    Ok(())
}
