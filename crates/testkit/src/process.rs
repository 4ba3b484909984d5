//! A real process under test: started, signalled, awaited; its output is kept in a file; dropping it kills it.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base::Clock;
use rustix::process::{Pid, kill_process};

pub use rustix::process::Signal;

/// How often a condition is looked at while waiting for it.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A child process whose standard output and error go to a log file.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// Where this process's output begins in the log, which earlier incarnations may have written to.
    log_start: u64,
}

impl Process {
    /// Starts `command`, appending its standard output and error to `log`. Standard input is a pipe that stays open
    /// until [`Process::close_stdin`], so that a child may take its end as "stop".
    ///
    /// # Errors
    /// When the log cannot be opened or the program cannot be started.
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let file = appended(log)?;
        Self::spawn_telling(name, command, file, log)
    }

    /// As [`Process::spawn`], with its standard output in a file of its own.
    ///
    /// # Errors
    /// When the log cannot be opened or the program cannot be started.
    pub fn spawn_telling(name: &str, command: &mut Command, told: File, log: &Path) -> Result<Self> {
        let file = appended(log)?;
        let log_start = file.metadata()?.len();
        let child = command
            .stdin(Stdio::piped())
            .stdout(told)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {name}: {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned(), log_start })
    }

    /// Starts `command` with an output that nobody reads, so that each write to it fails. Nothing comes into `log`.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn_unheard(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let child = command
            .stdin(Stdio::piped())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .spawn()
            .with_context(|| format!("starting {name}: {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned(), log_start: 0 })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The file that holds the output.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// What the process has printed so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn output(&self) -> Result<String> {
        let mut file = File::open(&self.log)?;
        file.seek(SeekFrom::Start(self.log_start))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// How the process ended, if it has.
    ///
    /// # Errors
    /// When the operating system cannot say.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Sends a signal: `Signal::TERM`, `Signal::STOP`, `Signal::CONT` …
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("the process id is not a pid")?;
        kill_process(id, signal).with_context(|| format!("signalling {}", self.name))
    }

    /// Kills the process with SIGKILL and reaps it.
    ///
    /// # Errors
    /// When it cannot be reaped.
    pub fn kill(&mut self) -> Result<()> {
        // Killing what has just died by itself is no error: it is dead either way.
        let _ = self.child.kill();
        self.child.wait().with_context(|| format!("reaping {}", self.name))?;
        Ok(())
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    /// When it has not ended after `timeout`.
    pub fn terminate(&mut self, timeout: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait(timeout)
    }

    /// Ends the child's standard input.
    pub fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// When it has not ended after `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let mut status = None;
        wait_until(timeout, || {
            status = self.child.try_wait()?;
            Ok(status.is_some())
        })
        .with_context(|| format!("waiting for {} to exit; its log is {}", self.name, self.log.display()))?;
        status.with_context(|| format!("{} has no exit status", self.name))
    }

    /// Waits until `ready` says so, failing at once when the process dies.
    ///
    /// # Errors
    /// When the process ends first or `timeout` passes; the message carries the end of its log.
    pub fn wait_ready(&mut self, timeout: Duration, mut ready: impl FnMut(&Self) -> Result<bool>) -> Result<()> {
        let waited = wait_until(timeout, || {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended ({status}) before it was ready", self.name);
            }
            ready(self)
        });
        waited.with_context(|| format!("{} is not ready; the end of its log:\n{}", self.name, self.log_end()))
    }

    /// The last lines of the output, for messages.
    pub fn log_end(&self) -> String {
        const LINES: usize = 30;
        let text = self.output().unwrap_or_else(|error| format!("(the log cannot be read: {error})"));
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn appended(log: &Path) -> Result<File> {
    OpenOptions::new().create(true).append(true).open(log).with_context(|| format!("opening {}", log.display()))
}

/// Looks at a condition until it holds.
///
/// # Errors
/// When it fails, or does not hold within `timeout`.
pub fn wait_until(timeout: Duration, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let clock = Clock::system();
    while !holds()? {
        if clock.monotonic() > timeout {
            bail!("timed out after {timeout:?}");
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    Ok(())
}

/// Makes a directory anew, without what an earlier run left in it.
///
/// # Errors
/// When it cannot be removed or made.
pub fn fresh_dir(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_dir_all(path).with_context(|| format!("emptying {}", path.display()))?;
    }
    fs::create_dir_all(path).with_context(|| format!("making {}", path.display()))
}
