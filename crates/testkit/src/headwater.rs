//! The broker under test, as its own process. How it is started and how it says "ready" is known only here.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::port::Port;
use crate::process::Process;

/// How a broker is started.
#[derive(Clone, Debug)]
pub struct HeadwaterOptions {
    /// The binary.
    pub binary: PathBuf,
    /// `file:///…` or `s3://…`.
    pub store: String,
    /// The directory of the write-ahead log.
    pub wal: PathBuf,
    /// Settings, as `--override key=value`.
    pub overrides: Vec<(String, String)>,
    /// Further arguments, as they are.
    pub arguments: Vec<String>,
    /// Environment variables, such as the store's credentials.
    pub environment: Vec<(String, String)>,
    /// How long a start may take, recovery included.
    pub start_timeout: Duration,
}

impl HeadwaterOptions {
    /// A broker with its store and log in `directory`, groups settling at once.
    ///
    /// The binary is `HEADWATER_BINARY` or, without it, the one given (`env!("CARGO_BIN_EXE_headwater")` in the
    /// binary's own tests).
    pub fn local(binary: &Path, directory: &Path) -> Self {
        Self {
            binary: std::env::var_os("HEADWATER_BINARY").map_or_else(|| binary.to_owned(), PathBuf::from),
            store: format!("file://{}", directory.join("store").display()),
            wal: directory.join("wal"),
            overrides: vec![
                ("group.initial.rebalance.delay.ms".to_owned(), "0".to_owned()),
                ("log.dirs".to_owned(), directory.display().to_string()),
            ],
            arguments: Vec::new(),
            environment: Vec::new(),
            start_timeout: Duration::from_secs(30),
        }
    }

    /// Adds a setting.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.overrides.push((key.to_owned(), value.to_owned()));
        self
    }
}

/// A running broker; its ports stay the same over restarts, so that clients live on.
#[derive(Debug)]
pub struct Headwater {
    options: HeadwaterOptions,
    port: Port,
    http: Port,
    log: PathBuf,
    process: Option<Process>,
}

impl Headwater {
    /// Starts a broker and waits until `/readyz` says yes; `log` takes its output.
    ///
    /// # Errors
    /// When it exits or is not ready in time; the message carries the end of its log.
    pub fn start(options: HeadwaterOptions, log: &Path) -> Result<Self> {
        let mut broker = Self::prepare(options, log)?;
        broker.up()?;
        Ok(broker)
    }

    /// Makes everything ready for [`Headwater::up`] and starts nothing.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn prepare(options: HeadwaterOptions, log: &Path) -> Result<Self> {
        Ok(Self { options, port: Port::claim()?, http: Port::claim()?, log: log.to_owned(), process: None })
    }

    /// The address for clients.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The address of the HTTP endpoints.
    pub fn http(&self) -> String {
        format!("127.0.0.1:{}", self.http)
    }

    /// The running process.
    ///
    /// # Errors
    /// When the broker is down.
    pub fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("the broker is down")
    }

    /// The options, to be changed between two starts.
    pub fn options(&mut self) -> &mut HeadwaterOptions {
        &mut self.options
    }

    /// Kills it with SIGKILL.
    ///
    /// # Errors
    /// When it cannot be reaped.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.kill())
    }

    /// Stops it with SIGTERM and waits for its drain.
    ///
    /// # Errors
    /// When it is down or does not end in time.
    pub fn stop(&mut self, timeout: Duration) -> Result<ExitStatus> {
        self.process.take().context("the broker is down")?.terminate(timeout)
    }

    /// Starts it, for the first time or again after [`Headwater::kill`] or [`Headwater::stop`].
    ///
    /// # Errors
    /// As [`Headwater::start`].
    pub fn up(&mut self) -> Result<()> {
        self.launch()?;
        self.await_ready()
    }

    /// Waits until `/readyz` says yes.
    ///
    /// # Errors
    /// As [`Headwater::start`].
    pub fn await_ready(&mut self) -> Result<()> {
        let (http, timeout) = (self.http.number(), self.options.start_timeout);
        let ready = self.process()?.wait_ready(timeout, |_| Ok(get(http, "/readyz").is_ok()));
        if ready.is_err() {
            self.process = None;
        }
        ready
    }

    /// Starts its process and does not wait for anything.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn launch(&mut self) -> Result<()> {
        let mut command = self.command();
        self.process = Some(Process::spawn("headwater", &mut command, &self.log)?);
        Ok(())
    }

    /// Kills it with SIGKILL, which it must have lived to see, and says whether it had been ready.
    ///
    /// # Errors
    /// When it is down, had ended by itself or cannot be reaped.
    pub fn strike(&mut self) -> Result<bool> {
        let mut process = self.process.take().context("the broker is down")?;
        if let Some(status) = process.exited()? {
            bail!("the broker ended by itself ({status}):\n{}", process.log_end());
        }
        process.kill()?;
        Ok(process.output()?.contains(" is ready: "))
    }

    /// Kills it with SIGKILL and starts it again.
    ///
    /// # Errors
    /// As [`Headwater::start`].
    pub fn kill_and_restart(&mut self) -> Result<()> {
        self.kill()?;
        self.up()
    }

    /// The command line, for tests that expect the start to fail.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.options.binary);
        command.args(["--store", &self.options.store]).arg("--wal").arg(&self.options.wal).args([
            "--listen",
            &self.bootstrap(),
            "--http",
            &self.http(),
        ]);
        for (key, value) in &self.options.overrides {
            command.arg("--override").arg(format!("{key}={value}"));
        }
        command.args(&self.options.arguments).envs(self.options.environment.iter().map(|(k, v)| (k, v)));
        command
    }
}

/// Gets a local HTTP page and returns its body.
///
/// # Errors
/// When nobody answers or the status is not 200.
pub fn get(port: u16, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").context("the answer has no end of headers")?;
    if head.split(' ').nth(1) != Some("200") {
        bail!("{path}: {}", head.lines().next().unwrap_or_default());
    }
    Ok(body.to_owned())
}
