//! Stories of a higher kind: real clients and tools, each a program that says what it sees, a JSON object a line. It is run
//! against both brokers with the same prefix of names, and has to see the same.
//!
//! A family of clients has a folder and a manifest in `clients/oracle`, and is installed by `clients/install oracle-FAMILY`.
//! They have brokers of their own: old clients know no other way to make a topic than to ask for it, and some look at all
//! that there are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use parking_lot::Mutex;
use serde::Deserialize;
use testkit::{Clients, KafkaVersion, Process};

use crate::campaign::{Campaign, at_a_time, timed};
use crate::catalogue::Catalogue;
use crate::pair::Pair;
use crate::plan::name_of;

/// What their brokers are configured with, besides.
const CONFIGURATION: [(&str, &str); 2] = [("auto.create.topics.enable", "true"), ("num.partitions", "1")];
/// Those that tell their stories at a time: most of each is waiting.
const AT_A_TIME: usize = 2;
/// What a story of a client may take, on a busy machine.
const TOLD_WITHIN: Duration = Duration::from_secs(180);
/// Lines that differ and are shown, of one client.
const SHOWN_MAX: usize = 20;

/// A client, or a tool.
#[derive(Debug, Deserialize)]
struct Driver {
    /// `kafka-python-2.0.2`
    name: String,
    /// The judges that it is asked to speak to: `3.9`, `4.4`.
    judges: Vec<String>,
    command: Vec<String>,
}

/// Lets those whose name holds `only` tell their stories to a judge and to the broker `binary`, in a directory of its own,
/// and says what they saw otherwise.
///
/// # Errors
/// When a broker or a client cannot be run, or a client does not end.
pub fn tell(
    catalogue: &Catalogue,
    judge: KafkaVersion,
    binary: &Path,
    directory: &Path,
    only: &str,
) -> Result<Vec<String>> {
    let name = name_of(judge);
    let mut drivers = installed()?;
    drivers.retain(|driver| driver.judges.iter().any(|judge| judge == name) && driver.name.contains(only));
    if drivers.is_empty() {
        return Ok(Vec::new());
    }
    let clients = Clients::installed_parts(&["java"])?;
    let mut pair = timed(&format!("{name}: start for clients"), || {
        Pair::start(catalogue, &clients, judge, binary, directory, &CONFIGURATION)
    })?;
    Campaign::new(&mut pair, None).make_ready(false)?;
    let (ports, found) = (pair.ports()?, Mutex::new(Vec::new()));
    at_a_time(AT_A_TIME, &drivers, |driver| {
        let differences = timed(&format!("{name}: {}", driver.name), || driver.compare(ports))?;
        found.lock().extend(differences.into_iter().map(|seen| format!("{}: {seen}", driver.name)));
        Ok(())
    })?;
    Ok(found.into_inner())
}

/// Installs all families and reads their manifests.
fn installed() -> Result<Vec<Driver>> {
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
    // Each takes the names that begin as its own for its own.
    for (one, other) in drivers.iter().flat_map(|one| drivers.iter().map(move |other| (one, other))) {
        let is_distinct = one.name == other.name || !one.name.starts_with(&other.name);
        ensure!(is_distinct, "'{}' begins with the name of another client", one.name);
    }
    Ok(drivers)
}

impl Driver {
    /// Lets it tell its story to both brokers, and says what it saw otherwise.
    fn compare(&self, [kafka, headwater]: [u16; 2]) -> Result<Vec<String>> {
        let plain: String = self.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let prefix = format!("c-{plain}");
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
        let mut process = Process::spawn_telling(&self.name, &mut command, said.reopen()?, heard.path())?;
        let status = process.wait(TOLD_WITHIN).with_context(|| self.name.clone())?;
        ensure!(status.success(), "{} ended with {status}:\n{}", self.name, process.log_end());
        let said: Vec<String> = fs::read_to_string(said.path())?.lines().map(str::to_owned).collect();
        ensure!(!said.is_empty(), "{} has nothing to tell", self.name);
        Ok(said)
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
