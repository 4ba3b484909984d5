//! What the proofs share: a broker on a local directory, and one on an S3 server that misbehaves.

use std::path::{Path, PathBuf};
use std::time::Duration;

use s3server::{Faults, Gate};
use testkit::{Headwater, HeadwaterOptions};
use tokio::runtime::Runtime;

/// The broker's program.
pub const BINARY: &str = env!("CARGO_BIN_EXE_headwater");
/// What a drain may take, faults included.
pub const STOP: Duration = Duration::from_secs(60);
const BUCKET: &str = "bucket";
const PREFIX: &str = "proof";
const ACCESS_KEY: &str = "proof";
const SECRET_KEY: &str = "proof-secret";

/// A broker whose store and log are below `directory`.
pub fn local(directory: &Path) -> HeadwaterOptions {
    HeadwaterOptions::local(Path::new(BINARY), directory)
}

/// Starts a broker.
pub fn start(options: HeadwaterOptions, directory: &Path) -> Headwater {
    Headwater::start(options, &directory.join("broker.log")).unwrap()
}

/// Deletes everything that a broker keeps outside of the bucket.
pub fn forget_local_state(broker: &mut Headwater, directory: &Path) {
    let wal = broker.options().wal.clone();
    std::fs::remove_dir_all(&wal).unwrap();
    std::fs::remove_file(directory.join("meta.properties")).unwrap();
}

/// An S3 server that lives in this process, and so outlives the brokers that are killed.
pub struct S3 {
    address: std::net::SocketAddr,
    _runtime: Runtime,
}

impl S3 {
    /// Serves one empty bucket below `directory`.
    pub fn start(directory: &Path, faults: Faults) -> Self {
        let buckets = directory.join("s3");
        std::fs::create_dir_all(buckets.join(BUCKET)).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let gate = Gate::new(&buckets, ACCESS_KEY, SECRET_KEY, faults).unwrap();
        let address = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            base::task::spawn("s3", gate.serve(listener));
            address
        });
        Self { address, _runtime: runtime }
    }

    /// Where the keys of a broker in [`S3::options`] are files.
    pub fn bucket(&self, directory: &Path) -> PathBuf {
        directory.join("s3").join(BUCKET).join(PREFIX)
    }

    /// A broker that keeps its data in the bucket and its log below `directory`.
    pub fn options(&self, directory: &Path) -> HeadwaterOptions {
        let mut options = local(directory);
        options.store = format!("s3://{BUCKET}/{PREFIX}?endpoint=http://{}", self.address);
        for (name, value) in [
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ] {
            options.environment.push((name.to_owned(), value.to_owned()));
        }
        options
    }
}
