//! The installed clients: runs `clients/install` (which locks and does nothing when there is nothing to do) and
//! knows where each part of it lies.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Where the clients, tools, judge brokers and the corpus are.
#[derive(Clone, Debug)]
pub struct Clients {
    sources: PathBuf,
    cache: PathBuf,
}

impl Clients {
    /// Installs what is missing and returns the place of everything.
    ///
    /// # Errors
    /// When `clients/install` fails; its own words say which part and why.
    pub fn installed() -> Result<Self> {
        Self::installed_parts(&[])
    }

    /// As [`Clients::installed`], only for some parts (`kcat`, `corpus`, `java`, `python`, `go`, `node`, `rdkafka`).
    ///
    /// # Errors
    /// When `clients/install` fails.
    pub fn installed_parts(parts: &[&str]) -> Result<Self> {
        let root = repository();
        let cache = std::env::var_os("HEADWATER_CACHE").map_or_else(|| root.join(".cache"), PathBuf::from);
        let script = root.join("clients/install");
        let status =
            Command::new(&script).args(parts).status().with_context(|| format!("starting {}", script.display()))?;
        ensure!(status.success(), "{} failed ({status}): its last lines above say which part", script.display());
        Ok(Self { sources: root.join("clients"), cache: cache.join("clients") })
    }

    /// A path below the clients' cache.
    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.cache.join(below)
    }

    /// A path below the repository's `clients` folder.
    pub fn source(&self, below: impl AsRef<Path>) -> PathBuf {
        self.sources.join(below)
    }

    /// A `java` command with a small heap and a class path of the cache's `java` folder.
    pub fn java(&self, heap_mib: u32, class_path: &[&str], main: &str) -> Command {
        let heap = format!("-Xmx{heap_mib}m");
        self.java_with(&[&heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"], class_path, main)
    }

    /// A `java` command with these options and a class path of the cache's `java` folder.
    pub fn java_with(&self, options: &[&str], class_path: &[&str], main: &str) -> Command {
        let class_path: Vec<String> =
            class_path.iter().map(|part| self.cache.join("java").join(part).display().to_string()).collect();
        let mut command = Command::new("java");
        command.args(options).arg("-cp").arg(class_path.join(":")).arg(main);
        command
    }
}

/// The repository this crate was built in.
fn repository() -> PathBuf {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_root.ancestors().nth(2).expect("crates/testkit lies two folders below the root").to_owned()
}
