//! A driver process in `serve` mode: one job a line in, one answer a line out (see `clients/README.md`).

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{ClientKind, Consume, Produce, ReadMode, Until};
use crate::install::Clients;

/// What a job may take beyond its own limit before the driver counts as hung.
const GRACE: Duration = Duration::from_secs(20);
/// Answers are read one by one: the driver has at most one to give.
const ANSWERS_MAX: usize = 4;

/// A process that runs jobs one after the other.
#[derive(Debug)]
pub struct Driver {
    name: String,
    child: Child,
    jobs: ChildStdin,
    answers: Receiver<String>,
    log: PathBuf,
}

impl Driver {
    /// Starts the driver of a client; what it prints aside goes to a file in `logs`.
    ///
    /// # Errors
    /// When it cannot be started, or the client has no driver.
    pub fn start(clients: &Clients, kind: ClientKind, logs: &Path) -> Result<Self> {
        let mut command = command(clients, kind)?;
        command.arg("serve");
        let log = logs.join(format!("client-{kind}.log"));
        let aside = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("opening {}", log.display()))?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(aside)
            .spawn()
            .with_context(|| format!("starting the {kind} driver: {command:?}"))?;
        let jobs = child.stdin.take().context("the driver's input is a pipe")?;
        let output = child.stdout.take().context("the driver's output is a pipe")?;
        let (sender, answers) = sync_channel(ANSWERS_MAX);
        // The thread ends with the driver's output, which ends with the driver.
        base::task::spawn_thread("driver-answers", move || {
            for line in BufReader::new(output).lines() {
                let Ok(line) = line else { break };
                if sender.send(line).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { name: kind.to_string(), child, jobs, answers, log })
    }

    /// Everything that it printed aside so far.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub fn log(&self) -> Result<String> {
        std::fs::read_to_string(&self.log).with_context(|| format!("reading {}", self.log.display()))
    }

    /// Runs one job given as words and returns what follows `ok`.
    ///
    /// # Errors
    /// With the words after `error`, or when no answer comes within `timeout` and some grace.
    pub fn run(&mut self, words: &[&str], timeout: Duration) -> Result<String> {
        if let Some(bad) = words.iter().find(|word| word.contains(['\t', '\n'])) {
            bail!("a job's word may not hold tabs or line feeds: {bad:?}");
        }
        writeln!(self.jobs, "{}", words.join("\t")).with_context(|| self.lost("takes no job"))?;
        self.jobs.flush().with_context(|| self.lost("takes no job"))?;
        let answer = match self.answers.recv_timeout(timeout + GRACE) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => {
                // Its answer would be taken for the next job's: the driver is of no more use.
                let _ = self.child.kill();
                bail!("{}", self.lost("gave no answer in time"))
            }
            Err(RecvTimeoutError::Disconnected) => bail!("{}", self.lost("ended in the middle of a job")),
        };
        match answer.split_once('\t').unwrap_or((&answer, "")) {
            ("ok", result) => Ok(result.to_owned()),
            ("error", reason) => bail!("{}: {reason}", self.name),
            _ => bail!("{} gave an answer that is none: {answer:?}", self.name),
        }
    }

    fn lost(&self, what: &str) -> String {
        format!("the {} driver {what}; see {}", self.name, self.log.display())
    }

    pub(super) fn produce(&mut self, job: &Produce) -> Result<u64> {
        let (partitions, timeout) = (job.partitions.to_string(), job.timeout.as_secs().to_string());
        let file = path(&job.file)?;
        let mut words =
            vec!["produce", "--bootstrap", &job.bootstrap, "--topic", &job.topic, "--partitions", &partitions];
        words.extend(["--codec", job.codec.name(), "--acks", job.acks, "--file", file, "--timeout", &timeout]);
        words.extend(["--idempotent", if job.idempotent { "true" } else { "false" }]);
        if let Some(log) = &job.log_acks {
            words.extend(["--log-acks", path(log)?]);
        }
        records(&self.run(&words, job.timeout)?)
    }

    pub(super) fn consume(&mut self, job: &Consume) -> Result<u64> {
        let (partitions, timeout) = (job.partitions.to_string(), job.timeout.as_secs().to_string());
        let (topics, out) = (job.topics.join(","), path(&job.out)?);
        let until = match job.until {
            Until::End => "end".to_owned(),
            Until::Count(count) => count.to_string(),
        };
        let mut words =
            vec!["consume", "--bootstrap", &job.bootstrap, "--topics", &topics, "--partitions", &partitions];
        words.extend(["--out", out, "--until", &until, "--timeout", &timeout]);
        words.extend(["--with-offsets", if job.with_offsets { "true" } else { "false" }]);
        match &job.mode {
            ReadMode::Assign => words.extend(["--mode", "assign"]),
            ReadMode::Group(group) => words.extend(["--mode", "group", "--group", group]),
        }
        records(&self.run(&words, job.timeout)?)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command that starts a client's driver, without the job.
pub(crate) fn command(clients: &Clients, kind: ClientKind) -> Result<Command> {
    const HEAP_MIB: u32 = 192;
    Ok(match kind {
        ClientKind::Kcat => bail!("kcat is its own driver"),
        ClientKind::Java => clients.java(HEAP_MIB, &["modern/classes", "modern/libs/*"], "Main"),
        ClientKind::Java09 => clients.java(HEAP_MIB, &["legacy09/classes", "legacy09/libs/*"], "Main"),
        ClientKind::Python => python(clients, "confluent_driver.py"),
        ClientKind::KafkaPython => python(clients, "kafka_python_driver.py"),
        ClientKind::Aiokafka => python(clients, "aiokafka_driver.py"),
        ClientKind::Go => Command::new(clients.path("go/driver")),
        ClientKind::Node => {
            let mut command = Command::new("node");
            command.arg(clients.path("node/driver.js"));
            command
        }
    })
}

fn python(clients: &Clients, driver: &str) -> Command {
    let mut command = Command::new(clients.path("python/bin/python"));
    command.arg(clients.source("python").join(driver));
    command
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not text", path.display()))
}

fn records(answer: &str) -> Result<u64> {
    let count = answer.strip_prefix("records=").with_context(|| format!("expected records=N, found {answer:?}"))?;
    count.parse().with_context(|| format!("expected a number of records, found {count:?}"))
}
