//! Every producer, codec and reader against each other: what went in comes out byte-identical and in order, by
//! assignment and by group, before and after a restart.
//!
//! Two parts. The *slice* crosses everything: a topic for each producer and codec, each reader reading all topics in
//! one job. The *whole* sends the full corpus once through each producer (one is too slow for that) and gives each such
//! topic to some readers in turn. A group reads half before the restart and goes on after it, so a lost or early commit shows.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Result, anyhow};
use base::Clock;

use crate::client::{Client, ClientKind, Codec, Consume, Driver, Produce, ReadMode, Until};
use crate::compare::difference;
use crate::corpus::Corpus;
use crate::install::Clients;

/// Clients at work at the same time; more only wait for the machine's cores.
const WORKERS: usize = 2;
/// What a reader that is too old for zstd says. The 0.9 client does not know error 76: it logs the code, tells its caller
/// nothing and asks again. Kafka 3.9.2 answers with the code and a *null* record set, which fetch versions of that age do
/// not allow: there the client fails on parsing the answer and never sees the code.
const ZSTD_REFUSALS: [&str; 3] = ["error code 76", "UNSUPPORTED_COMPRESSION_TYPE", "record_set': newLimit < 0"];

/// What to run.
#[derive(Clone, Debug)]
pub struct MatrixOptions {
    /// The clients that take part, as producers and readers.
    pub kinds: Vec<ClientKind>,
    /// Records of the slice that goes through the full cross.
    pub slice_records: u64,
    /// How many readers get each producer's copy of the whole corpus; 0 leaves the whole out.
    pub whole_readers: usize,
    /// Partitions of each topic.
    pub partitions: u32,
    /// Prefix of topics and groups, so that a broker can be used for several runs.
    pub prefix: String,
    /// Where files go.
    pub directory: PathBuf,
    /// What one job may take.
    pub job_timeout: Duration,
}

impl MatrixOptions {
    /// The full cross on a slice and the whole corpus once for each producer.
    pub fn everything(directory: &Path) -> Self {
        Self {
            kinds: ClientKind::ALL.to_vec(),
            slice_records: 2000,
            whole_readers: 2,
            partitions: 3,
            prefix: "m".to_owned(),
            directory: directory.to_owned(),
            job_timeout: Duration::from_secs(90),
        }
    }
}

/// When a reader read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Before the restart.
    Before,
    /// After it.
    After,
    /// Half before and the rest after it.
    Across,
}

/// One question and its answer.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Who produced.
    pub producer: ClientKind,
    /// With which codec.
    pub codec: Codec,
    /// Who read, and how; `None` is the producing itself.
    pub reader: Option<(ClientKind, &'static str, Phase)>,
    /// What went wrong.
    pub trouble: Option<String>,
}

/// What a run found.
#[derive(Debug, Default)]
pub struct Report {
    /// Every question asked.
    pub cells: Vec<Cell>,
    /// Named durations.
    pub timings: Vec<(String, Duration)>,
}

impl Report {
    /// The questions that were answered wrongly.
    pub fn failures(&self) -> impl Iterator<Item = &Cell> {
        self.cells.iter().filter(|cell| cell.trouble.is_some())
    }

    /// An error naming the failures, if there are any, or if nothing was asked.
    ///
    /// # Errors
    /// When a cell failed.
    pub fn verdict(&self) -> Result<()> {
        if self.cells.is_empty() {
            return Err(anyhow!("the matrix asked nothing"));
        }
        if self.failures().next().is_some() { Err(anyhow!("{self}")) } else { Ok(()) }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, took) in &self.timings {
            writeln!(f, "{:7.1} s  {name}", took.as_secs_f64())?;
        }
        for cell in self.failures() {
            write!(f, "FAILED  {} {}", cell.producer, cell.codec)?;
            if let Some((reader, mode, phase)) = cell.reader {
                write!(f, " -> {reader} by {mode} {phase:?}")?;
            }
            writeln!(f, ": {}", cell.trouble.as_deref().unwrap_or_default())?;
        }
        write!(f, "{} questions, {} answered wrongly", self.cells.len(), self.failures().count())
    }
}

/// A topic and what is in it.
#[derive(Clone, Debug)]
struct Topic {
    name: String,
    producer: ClientKind,
    codec: Codec,
    idempotent: bool,
    source: PathBuf,
    records: u64,
}

/// Runs the matrix; `restart` restarts the broker behind the same address.
///
/// # Errors
/// When the harness itself fails (no driver, no disk, no restart); wrong answers are in the report.
pub fn run(
    clients: &Clients,
    bootstrap: &str,
    options: &MatrixOptions,
    mut restart: impl FnMut() -> Result<()>,
) -> Result<Report> {
    crate::process::fresh_dir(&options.directory)?;
    let corpus = Corpus::whole(clients)?;
    let slice = corpus.slice(options.slice_records, &options.directory.join("slice.txt"))?;
    let mut run = Run { clients, bootstrap, options, report: Mutex::default(), clock: Clock::system() };

    let slices = run.topics("slice", &slice, ClientKind::codecs);
    let wholes = if options.whole_readers > 0 { run.topics("whole", &corpus, whole_codec) } else { Vec::new() };
    let all: Vec<Topic> = slices.iter().chain(&wholes).cloned().collect();
    run.create(&all)?;

    let mut team = run.team()?;
    run.timed("slice: produce", |run| run.produce(&mut team, &slices))?;
    let slice_text = slice.partitions(options.partitions)?;
    run.timed("slice: read before the restart", |run| run.cross(&mut team, &slices, &slice_text, Phase::Before))?;
    let whole_text = if wholes.is_empty() { Vec::new() } else { corpus.partitions(options.partitions)? };
    run.timed("whole: produce", |run| run.produce(&mut team, &wholes))?;
    run.timed("whole: read before the restart", |run| run.rotate(&mut team, &wholes, &whole_text, Phase::Before))?;
    run.timed("restart", |_| restart())?;
    run.timed("slice: read after the restart", |run| run.cross(&mut team, &slices, &slice_text, Phase::After))?;
    run.timed("whole: read after the restart", |run| run.rotate(&mut team, &wholes, &whole_text, Phase::After))?;
    run.report.into_inner().map_err(|_| anyhow!("a worker panicked"))
}

/// The codec of a producer's whole corpus: all codecs are met, and those that the oldest reader lacks are not used.
fn whole_codec(kind: ClientKind) -> &'static [Codec] {
    match kind {
        ClientKind::Kcat => &[Codec::Snappy],
        ClientKind::Java | ClientKind::Node => &[Codec::Lz4],
        ClientKind::Java09 | ClientKind::Aiokafka => &[Codec::Gzip],
        ClientKind::Python => &[Codec::Zstd],
        // It sends some thousands of records a second; as a reader it keeps up.
        ClientKind::KafkaPython => &[],
        ClientKind::Go => &[Codec::None],
    }
}

struct Run<'a> {
    clients: &'a Clients,
    bootstrap: &'a str,
    options: &'a MatrixOptions,
    report: Mutex<Report>,
    clock: Clock,
}

impl Run<'_> {
    fn topics(&self, part: &str, corpus: &Corpus, codecs: fn(ClientKind) -> &'static [Codec]) -> Vec<Topic> {
        let of_kind = |&kind: &ClientKind| {
            codecs(kind).iter().map(move |&codec| Topic {
                name: format!("{}-{part}-{kind}-{codec}", self.options.prefix),
                producer: kind,
                codec,
                // The slice is sent plainly, the whole idempotently: both ways of every client are met.
                idempotent: part == "whole" && kind.idempotent(),
                source: corpus.path().to_owned(),
                records: corpus.records(),
            })
        };
        self.options.kinds.iter().flat_map(of_kind).collect()
    }

    fn create(&self, topics: &[Topic]) -> Result<()> {
        let mut admin = Driver::start(self.clients, ClientKind::Go, &self.options.directory)?;
        let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
        let (names, partitions) = (names.join(","), self.options.partitions.to_string());
        let words = ["create-topics", "--bootstrap", self.bootstrap, "--topics", &names, "--partitions", &partitions];
        admin.run(&words, Duration::from_secs(60))?;
        Ok(())
    }

    fn team(&self) -> Result<Vec<Client>> {
        let start = |&kind: &ClientKind| {
            let mut client = Client::start(self.clients, kind, &self.options.directory)?;
            client.check_codecs()?;
            Ok(client)
        };
        self.options.kinds.iter().map(start).collect()
    }

    fn timed<T>(&mut self, name: &str, work: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        let start = self.clock.monotonic();
        let result = work(self)?;
        let took = self.clock.monotonic() - start;
        self.report.lock().map_err(|_| anyhow!("a worker panicked"))?.timings.push((name.to_owned(), took));
        Ok(result)
    }

    /// Gives every client its work, a few clients at a time.
    fn each(&self, team: &mut [Client], work: impl Fn(&mut Client) -> Result<()> + Sync) -> Result<()> {
        let queue = Mutex::new(team.iter_mut());
        let worker = || -> Result<()> {
            loop {
                let next = queue.lock().map_err(|_| anyhow!("a worker panicked"))?.next();
                let Some(client) = next else { return Ok(()) };
                work(client)?;
            }
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(worker)).collect();
            workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow!("a worker panicked"))?)
        })
    }

    fn record(
        &self,
        topic: &Topic,
        reader: Option<(ClientKind, &'static str, Phase)>,
        trouble: Option<String>,
    ) -> Result<()> {
        let cell = Cell { producer: topic.producer, codec: topic.codec, reader, trouble };
        self.report.lock().map_err(|_| anyhow!("a worker panicked"))?.cells.push(cell);
        Ok(())
    }

    fn produce(&self, team: &mut [Client], topics: &[Topic]) -> Result<()> {
        self.each(team, |client| {
            let kind = client.kind();
            for topic in topics.iter().filter(|topic| topic.producer == kind) {
                let sent = client.produce(&Produce {
                    bootstrap: self.bootstrap.to_owned(),
                    topic: topic.name.clone(),
                    partitions: self.options.partitions,
                    codec: topic.codec,
                    acks: "all",
                    idempotent: topic.idempotent,
                    file: topic.source.clone(),
                    log_acks: None,
                    timeout: self.options.job_timeout,
                });
                let trouble = match sent {
                    Ok(records) if records == topic.records => None,
                    Ok(records) => Some(format!("{records} of {} records were sent", topic.records)),
                    Err(error) => Some(format!("{error:#}")),
                };
                self.record(topic, None, trouble)?;
            }
            Ok(())
        })
    }

    /// Every reader reads every topic that it can, and is refused the others.
    fn cross(&self, team: &mut [Client], topics: &[Topic], text: &[Vec<u8>], phase: Phase) -> Result<()> {
        self.each(team, |client| {
            let kind = client.kind();
            let (readable, refused): (Vec<_>, Vec<_>) =
                topics.iter().cloned().partition(|topic| kind.codecs().contains(&topic.codec));
            self.read_by_assignment(client, &readable, text, phase)?;
            self.read_by_group(client, &readable, text, phase)?;
            if phase == Phase::Before {
                refused.iter().try_for_each(|topic| self.is_refused(client, topic))?;
            }
            Ok(())
        })
    }

    /// Each topic goes to a few readers: neighbours of its producer in the ring of clients.
    fn rotate(&self, team: &mut [Client], topics: &[Topic], text: &[Vec<u8>], phase: Phase) -> Result<()> {
        let kinds = &self.options.kinds;
        self.each(team, |client| {
            let own = kinds.iter().position(|&kind| kind == client.kind()).unwrap_or_default();
            for step in 1..=self.options.whole_readers.min(kinds.len()) {
                let producer = kinds[(own + kinds.len() - step % kinds.len()) % kinds.len()];
                let mine: Vec<Topic> = topics
                    .iter()
                    .filter(|topic| topic.producer == producer && client.kind().codecs().contains(&topic.codec))
                    .cloned()
                    .collect();
                // The nearest neighbour reads as a group, half before the restart; the next one by assignment, both times.
                if step % 2 == 1 {
                    self.read_by_group(client, &mine, text, phase)?;
                } else {
                    self.read_by_assignment(client, &mine, text, phase)?;
                }
            }
            Ok(())
        })
    }

    fn job(&self, topics: &[Topic], mode: ReadMode, out: &Path, until: Until) -> Consume {
        Consume {
            bootstrap: self.bootstrap.to_owned(),
            topics: topics.iter().map(|topic| topic.name.clone()).collect(),
            partitions: self.options.partitions,
            mode,
            out: out.to_owned(),
            until,
            with_offsets: false,
            timeout: self.options.job_timeout,
        }
    }

    fn read_by_assignment(&self, client: &mut Client, topics: &[Topic], text: &[Vec<u8>], phase: Phase) -> Result<()> {
        let Some(first) = topics.first() else { return Ok(()) };
        let out = self.options.directory.join(format!("assign-{}-{}-{phase:?}", client.kind(), first.name));
        let read = client.consume(&self.job(topics, ReadMode::Assign, &out, Until::End));
        self.judge(topics, (client.kind(), "assignment", phase), &read, text, &[&out])
    }

    /// Reads the first half before the restart; goes on after it with the same group, and judges both halves.
    fn read_by_group(&self, client: &mut Client, topics: &[Topic], text: &[Vec<u8>], phase: Phase) -> Result<()> {
        let Some(first) = topics.first() else { return Ok(()) };
        let kind = client.kind();
        let out = |half: &str| self.options.directory.join(format!("group-{kind}-{}-{half}", first.name));
        let group = ReadMode::Group(format!("{}-{kind}-{}", self.options.prefix, first.name));
        let records: u64 = topics.iter().map(|topic| topic.records).sum();
        let half = records / 2;
        if phase == Phase::Before {
            let read = client.consume(&self.job(topics, group, &out("first"), Until::Count(half)));
            // A half that was read is judged together with the other; one that failed is known to be wrong now.
            return match read {
                Ok(_) => Ok(()),
                Err(_) => self.judge(topics, (kind, "group", Phase::Before), &read, text, &[]),
            };
        }
        let read = client.consume(&self.job(topics, group, &out("second"), Until::Count(records - half)));
        self.judge(topics, (kind, "group", Phase::Across), &read, text, &[&out("first"), &out("second")])
    }

    fn judge(
        &self,
        topics: &[Topic],
        reader: (ClientKind, &'static str, Phase),
        read: &Result<u64>,
        text: &[Vec<u8>],
        directories: &[&Path],
    ) -> Result<()> {
        for topic in topics {
            let trouble = match read {
                Ok(_) => difference(text, &topic.name, directories)?,
                Err(error) => Some(format!("{error:#}")),
            };
            self.record(topic, Some(reader), trouble)?;
        }
        // What was right need not be kept: the whole corpus many times over fills disks.
        if read.is_ok() {
            directories.iter().try_for_each(std::fs::remove_dir_all)?;
        }
        Ok(())
    }

    /// A reader without the topic's codec must be told so: no silence and no garbage.
    fn is_refused(&self, client: &mut Client, topic: &Topic) -> Result<()> {
        const PATIENCE: Duration = Duration::from_secs(4);
        let out = self.options.directory.join(format!("refused-{}-{}", client.kind(), topic.name));
        let mut job = self.job(std::slice::from_ref(topic), ReadMode::Assign, &out, Until::End);
        job.timeout = PATIENCE;
        let known = client.log()?.len();
        let trouble = match client.consume(&job) {
            Ok(records) => Some(format!("{records} records were read with a codec that this client lacks")),
            Err(error) => {
                let logged = client.log()?.split_off(known);
                let said = format!("{error:#}");
                let refused = ZSTD_REFUSALS.iter().any(|refusal| said.contains(refusal) || logged.contains(refusal));
                (!refused).then(|| format!("expected error 76, but: {said}"))
            }
        };
        self.record(topic, Some((client.kind(), "assignment", Phase::Before)), trouble)
    }
}
