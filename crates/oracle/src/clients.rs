//! Stories of a higher kind: real clients and tools, each a program that says what it sees, a JSON object a line. It is run
//! against both brokers with the same prefix of names, and has to see the same.
//!
//! A family of clients has a folder and a manifest in `clients/oracle`, and is installed by `clients/install oracle-FAMILY`.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use testkit::{Clients, Process};

use crate::pair::Pair;

/// What a story of a client may take, on a busy machine.
const TOLD_WITHIN: Duration = Duration::from_secs(180);
/// Lines that differ and are shown, of one client.
const SHOWN_MAX: usize = 20;

/// A client, or a tool.
#[derive(Clone, Debug, Deserialize)]
pub struct Driver {
    /// `kafka-python-2.0.2`
    pub name: String,
    /// The judges that it is asked to speak to: `3.9`, `4.4`.
    pub judges: Vec<String>,
    command: Vec<String>,
}

/// Installs all families and reads their manifests.
///
/// # Errors
/// When one cannot be installed or read.
pub fn installed() -> Result<Vec<Driver>> {
    let folder = Clients::installed_parts(&["java"])?.source("oracle");
    let mut families = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "json") {
            families.push(path);
        }
    }
    families.sort();
    let mut drivers = Vec::new();
    for path in families {
        let family = path.file_stem().and_then(|stem| stem.to_str()).context("a manifest without a name")?;
        let clients = Clients::installed_parts(&[&format!("oracle-{family}")])?;
        let text = fs::read_to_string(&path)?;
        let found: Vec<Driver> = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        for mut driver in found {
            for word in &mut driver.command {
                let (cache, source) = (clients.path(""), clients.source(""));
                let text = |path: PathBuf| path.display().to_string().trim_end_matches('/').to_owned();
                *word = word.replace("{cache}", &text(cache)).replace("{source}", &text(source));
            }
            drivers.push(driver);
        }
    }
    Ok(drivers)
}

impl Driver {
    /// Lets it tell its story to both brokers of a pair, and says what it saw otherwise.
    ///
    /// # Errors
    /// When it cannot be run, or does not end.
    pub fn compare(&self, pair: &Pair<'_>) -> Result<Vec<String>> {
        let prefix = pair.clients_prefix(&self.name);
        let [kafka, headwater] = pair.ports()?;
        let kafka = self.told(kafka, &prefix)?;
        let headwater = self.told(headwater, &prefix)?;
        Ok(differences(&kafka, &headwater))
    }

    fn told(&self, port: u16, prefix: &str) -> Result<Vec<String>> {
        let (program, arguments) = self.command.split_first().context("a driver without a command")?;
        let said = tempfile::NamedTempFile::new()?;
        let heard = tempfile::NamedTempFile::new()?;
        let mut command = Command::new(program);
        command.args(arguments).args(["--bootstrap", &format!("127.0.0.1:{port}"), "--prefix", prefix]);
        command.stdin(Stdio::null()).stdout(said.reopen()?);
        let mut process = Process::spawn_unheard(&self.name, &mut command, heard.path())?;
        let status = process.wait(TOLD_WITHIN).with_context(|| self.name.clone())?;
        ensure!(status.success(), "{} ended with {status}:\n{}", self.name, process.log_end());
        Ok(fs::read_to_string(said.path())?.lines().map(str::to_owned).collect())
    }
}

/// The lines of one that the other lacks, in the order of a common story.
fn differences(kafka: &[String], headwater: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for at in 0..kafka.len().max(headwater.len()) {
        let nothing = "nothing".to_owned();
        let (kafka, headwater) = (kafka.get(at).unwrap_or(&nothing), headwater.get(at).unwrap_or(&nothing));
        if kafka != headwater {
            found.push(format!("\n    Kafka:     {kafka}\n    Headwater: {headwater}"));
        }
    }
    found.truncate(SHOWN_MAX);
    found
}
