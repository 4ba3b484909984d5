//! The witnesses of a kill -9 proof: a load and a group member that outlive the broker's deaths and write down what they
//! see. A [`Milestone`] tells whether both have got on since a broker began to serve.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::Result;

use crate::client::ClientKind;
use crate::install::Clients;
use crate::killnine::KillNineOptions;
use crate::process::Process;

/// Starts a witness, `load` or `tail`, which ends when its standard input does.
pub(crate) fn start(
    clients: &Clients,
    bootstrap: &str,
    options: &KillNineOptions,
    name: &str,
    group: &str,
) -> Result<Process> {
    let mut command = crate::client::driver_command(clients, ClientKind::Go)?;
    command.args([name, "--bootstrap", bootstrap, "--dir"]).arg(&options.directory);
    command.args(["--timeout", &options.patience.as_secs().to_string()]);
    if name == "load" {
        command.args(["--topic", &options.topic, "--run", &options.topic, "--codec", options.codec.name()]);
        command.args(["--partitions", &options.partitions.to_string(), "--rate", &options.rate.to_string()]);
        command.args([
            "--value-bytes",
            &options.value_bytes.to_string(),
            "--idempotent",
            &options.idempotent.to_string(),
        ]);
    } else {
        command.args(["--topics", &options.topic, "--group", group]);
    }
    Process::spawn(name, &mut command, &options.directory.join(format!("{name}.txt")))
}

/// Where the witnesses stood at one moment.
#[derive(Debug, Default)]
pub(crate) struct Milestone {
    /// The length of the group member's journal.
    tail_bytes: u64,
    /// Behind the last acknowledged record of each partition.
    ends: BTreeMap<u32, u64>,
}

impl Milestone {
    /// Where they stand now.
    pub(crate) fn now(journals: &Path) -> Result<Self> {
        // The last acknowledgements are those of all partitions: the load gives each of them as much.
        const LAST_BYTES: u64 = 64 * 1024;
        let mut ends = BTreeMap::new();
        let (acked, _) = from(&journals.join("acked.log"), |length| length.saturating_sub(LAST_BYTES))?;
        // The first line may be cut.
        for line in acked.lines().skip(1) {
            let mut words = line.split('\t');
            let (Some(partition), Some(offset)) = (number(words.next()), number(words.next())) else { continue };
            let end: &mut u64 = ends.entry(u32::try_from(partition)?).or_default();
            *end = (*end).max(offset + 1);
        }
        let (_, tail_bytes) = from(&journals.join("tail.log"), |length| length)?;
        Ok(Self { tail_bytes, ends })
    }

    /// Whether since then the group member has read a record that was not acknowledged yet, and has had a commit
    /// behind one confirmed. Both need a broker that took the record, so an earlier one cannot have done it.
    pub(crate) fn is_passed(&self, journals: &Path) -> Result<bool> {
        let (text, _) = from(&journals.join("tail.log"), |_| self.tail_bytes)?;
        let (mut read, mut committed) = (false, false);
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let words: Vec<&str> = line.split('\t').collect();
            let [event, _, partition, ..] = words[..] else { continue };
            let end = self.ends.get(&partition.parse()?).copied().unwrap_or(0);
            match (event, number(words.last().copied())) {
                ("read", Some(last)) => read |= last >= end,
                ("commit", Some(offset)) => committed |= offset > end,
                _ => {}
            }
        }
        Ok(read && committed)
    }
}

fn number(word: Option<&str>) -> Option<u64> {
    word?.parse().ok()
}

/// A journal from a place that its length decides, and its length; nothing where there is none yet.
fn from(path: &Path, place: impl Fn(u64) -> u64) -> Result<(String, u64)> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok((String::new(), 0)),
        file => file?,
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(place(length)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok((String::from_utf8_lossy(&bytes).into_owned(), length))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_milestone_is_passed_by_reads_and_commits_beyond_what_had_been_acknowledged() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text.replace(' ', "\t")).unwrap();
        let passed = |milestone: &Milestone| milestone.is_passed(directory.path()).unwrap();
        assert!(!passed(&Milestone::now(directory.path()).unwrap()), "there is nothing yet");
        write("acked.log", "0 0 0 1\n0 7 7 2\n1 3 3 2\n");
        write("tail.log", "read t 0 0 9\ncommit t 0 10\n");
        let before = Milestone::now(directory.path()).unwrap();
        assert!(!passed(&before), "what was read and committed earlier does not count");
        let later = |text: &str| write("tail.log", &format!("read t 0 0 9\ncommit t 0 10\n{text}"));
        later("read t 0 0 7\ncommit t 0 8\n");
        assert!(!passed(&before), "nothing new was read");
        later("read t 0 7 8\ncommit t 0 8\n");
        assert!(!passed(&before), "nothing new was committed");
        later("commit t 0 9\n");
        assert!(!passed(&before), "nothing was read");
        later("read t 1 3 4\ncommit t 0 9");
        assert!(!passed(&before), "a line that is still being written does not count");
        later("read t 1 3 4\ncommit t 0 9\n");
        assert!(passed(&before));
    }
}
