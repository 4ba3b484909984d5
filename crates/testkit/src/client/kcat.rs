//! kcat needs no driver: it starts fast and its own command line does everyday things.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::{Consume, Produce, ReadMode, Until};
use crate::compare::partition_file;
use crate::corpus::Corpus;
use crate::process::wait_until;

/// kcat, started once for each partition or topic of a job.
#[derive(Debug)]
pub(super) struct Kcat {
    scratch: PathBuf,
}

impl Kcat {
    pub(super) fn new(scratch: &Path) -> Self {
        Self { scratch: scratch.to_owned() }
    }

    /// One kcat for each partition: it sends a file to one partition.
    pub(super) fn produce(&self, job: &Produce) -> Result<u64> {
        ensure!(job.log_acks.is_none(), "kcat does not tell offsets of acknowledgements");
        let corpus = Corpus::of_file(&job.file)?;
        for (partition, text) in corpus.partitions(job.partitions)?.into_iter().enumerate() {
            let part = tempfile::NamedTempFile::new_in(&self.scratch)?;
            fs::write(part.path(), text)?;
            let mut command = Command::new("kcat");
            command
                .args(["-P", "-b", &job.bootstrap, "-t", &job.topic, "-p", &partition.to_string()])
                .args(["-z", job.codec.name(), "-X", &format!("acks={}", job.acks)])
                .args(["-X", &format!("enable.idempotence={}", job.idempotent), "-X", "linger.ms=5"])
                .args(["-X", &format!("message.timeout.ms={}", job.timeout.as_millis())])
                .arg("-l")
                .arg(part.path());
            self.run(&mut command, Stdio::null(), job.timeout)?;
        }
        Ok(corpus.records())
    }

    pub(super) fn consume(&self, job: &Consume) -> Result<u64> {
        let deadline = job.timeout;
        let mut sink = Sink { job, files: HashMap::new(), records: 0 };
        match &job.mode {
            ReadMode::Assign => {
                for topic in &job.topics {
                    let mut command = Command::new("kcat");
                    command.args(["-C", "-b", &job.bootstrap, "-t", topic, "-o", "beginning"]);
                    if let Until::Count(count) = job.until {
                        ensure!(job.topics.len() == 1, "kcat assigns one topic, so it can only count within one");
                        command.args(["-c", &count.to_string()]);
                    }
                    self.read(&mut command, &mut sink, deadline)?;
                }
            }
            ReadMode::Group(group) => {
                let mut command = Command::new("kcat");
                command.args(["-b", &job.bootstrap, "-X", "auto.offset.reset=earliest"]);
                if let Until::Count(count) = job.until {
                    command.args(["-c", &count.to_string()]);
                }
                command.args(["-G", group]).args(&job.topics);
                self.read(&mut command, &mut sink, deadline)?;
            }
        }
        sink.close()
    }

    /// Runs a reading kcat and hands its records on.
    fn read(&self, command: &mut Command, sink: &mut Sink<'_>, timeout: Duration) -> Result<()> {
        let output = tempfile::NamedTempFile::new_in(&self.scratch)?;
        // The options must stand before -G, whose topics run to the end of the line.
        let mut options = Command::new("kcat");
        options.args(["-q", "-f", "%t\\t%p\\t%o\\t%s\\n", "-X", "check.crcs=true", "-X", "fetch.wait.max.ms=100"]);
        if sink.job.until == Until::End {
            options.arg("-e");
        }
        options.args(command.get_args());
        self.run(&mut options, output.reopen()?.into(), timeout)?;
        let mut lines = BufReader::new(output.reopen()?);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            sink.take(&line)?;
            line.clear();
        }
        Ok(())
    }

    /// Runs kcat to its end; it exits non-zero when a delivery or a read failed.
    fn run(&self, command: &mut Command, output: Stdio, timeout: Duration) -> Result<()> {
        let errors = tempfile::NamedTempFile::new_in(&self.scratch)?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors.reopen()?)
            .spawn()
            .with_context(|| format!("starting kcat: {command:?}"))?;
        let mut status = None;
        let waited = wait_until(timeout, || {
            status = child.try_wait()?;
            Ok(status.is_some())
        });
        let said = fs::read_to_string(errors.path()).unwrap_or_default();
        if let Err(error) = waited {
            let _ = child.kill();
            let _ = child.wait();
            bail!("kcat: {error}: {command:?}: {said}");
        }
        match status {
            Some(status) if status.success() => Ok(()),
            other => bail!("kcat ended with {other:?}: {command:?}: {said}"),
        }
    }
}

/// Sorts kcat's lines (`topic partition offset value`) into one file a partition.
struct Sink<'a> {
    job: &'a Consume,
    files: HashMap<(String, u32), BufWriter<File>>,
    records: u64,
}

impl Sink<'_> {
    fn take(&mut self, line: &[u8]) -> Result<()> {
        let mut words = line.splitn(4, |&byte| byte == b'\t');
        let mut next = || words.next().context("kcat printed a line without topic, partition, offset and value");
        let topic = std::str::from_utf8(next()?)?.to_owned();
        let partition: u32 = std::str::from_utf8(next()?)?.parse()?;
        let offset = next()?;
        let value = next()?;
        let file = match self.files.entry((topic, partition)) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let path = partition_file(&self.job.out, &entry.key().0, partition);
                entry.insert(BufWriter::new(File::create(path)?))
            }
        };
        if self.job.with_offsets {
            file.write_all(offset)?;
            file.write_all(b"\t")?;
        }
        file.write_all(value)?;
        self.records += 1;
        Ok(())
    }

    fn close(self) -> Result<u64> {
        for (_, mut file) in self.files {
            file.flush()?;
        }
        Ok(self.records)
    }
}
