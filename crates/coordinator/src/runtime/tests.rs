mod load;
mod requests;
mod snapshots;
mod tenures;
mod timers;

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use base::Clock;
use base::clock::ManualTime;
use bytes::Bytes;
use parking_lot::Mutex;
use wire::EncodeError;

use super::memory::{Disk, MemoryLogs};
use super::{Looks, Machine, OpenLog, Output, Record, ReplayError, Seen, Shard, ShardError, Shards};

/// Counters by name. The replicated state is what the log says of each; the soft state runs ahead of it.
struct Counters {
    stored: BTreeMap<String, u64>,
    decided: BTreeMap<String, u64>,
    alarms: BTreeMap<u64, String>,
    seen: Arc<Done>,
}

/// What the machines of a test did, whichever of them.
#[derive(Default)]
struct Done {
    replayed: Mutex<Vec<Record>>,
    durable: Mutex<Vec<String>>,
    loads: Mutex<usize>,
}

/// What follows once a decision is durable.
#[derive(Debug)]
enum After {
    /// It is noted.
    Note(String),
    /// Another counter moves.
    Add(String),
}

type Out<'a> = Output<'a, After>;

fn record(name: &str, value: u64) -> Record {
    Record { key: Bytes::from(name.to_owned()), value: Some(Bytes::from(value.to_string())) }
}

fn tombstone(name: &str) -> Record {
    Record { value: None, ..record(name, 0) }
}

impl Counters {
    fn add(&mut self, name: &str, out: &mut Out<'_>) -> u64 {
        let value = self.decided.entry(name.to_owned()).or_default();
        *value += 1;
        out.records.push(record(name, *value));
        *value
    }

    /// Each in a record of its own.
    fn add_many(&mut self, name: &str, times: usize, out: &mut Out<'_>) {
        for _ in 0..times {
            self.add(name, out);
        }
    }

    fn remove(&mut self, name: &str, out: &mut Out<'_>) {
        self.decided.remove(name);
        out.records.push(tombstone(name));
    }

    fn get(&self, name: &str) -> Option<u64> {
        self.stored.get(name).copied()
    }
}

impl Machine for Counters {
    type After = After;

    fn replay(&mut self, record: &Record) -> Result<(), ReplayError> {
        let name = String::from_utf8(record.key.to_vec()).unwrap();
        match name.as_str() {
            "newer" => return Err(ReplayError::Newer { kind: "a counter", why: "version 9".to_owned() }),
            "malformed" => return Err(ReplayError::Malformed { kind: "a counter", why: "no number".to_owned() }),
            _ => {}
        }
        self.seen.replayed.lock().push(record.clone());
        match &record.value {
            Some(value) => {
                self.stored.insert(name, std::str::from_utf8(value).unwrap().parse().unwrap());
            }
            None => {
                self.stored.remove(&name);
            }
        }
        Ok(())
    }

    fn loaded(&mut self, _: &mut Out<'_>) {
        *self.seen.loads.lock() += 1;
        self.decided = self.stored.clone();
    }

    fn durable(&mut self, after: After, out: &mut Out<'_>) {
        match after {
            After::Note(note) => self.seen.durable.lock().push(note),
            After::Add(name) => {
                self.add(&name, out);
            }
        }
    }

    fn tick(&mut self, out: &mut Out<'_>) {
        while let Some(alarm) = self.alarms.first_entry()
            && *alarm.key() <= out.now.monotonic_ms
        {
            let name = alarm.remove();
            self.add(&name, out);
        }
    }

    fn next_deadline_ms(&self) -> Option<u64> {
        self.alarms.keys().next().copied()
    }

    fn snapshot_records(&self) -> u64 {
        self.stored.len() as u64
    }

    fn snapshot(
        &self,
        after: Option<&Bytes>,
        each: &mut dyn FnMut(Record) -> ControlFlow<()>,
    ) -> Result<(), EncodeError> {
        let after = after.map(|key| String::from_utf8(key.to_vec()).unwrap());
        let behind = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        for (name, value) in self.stored.range::<String, _>((behind, Bound::Unbounded)) {
            if name == "unwritable" {
                return Err(EncodeError::WrongCount { field: "a counter" });
            }
            if each(record(name, *value)).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// Shards of counters on disks in memory.
struct Broker {
    logs: Arc<MemoryLogs>,
    disk: Arc<Disk>,
    time: Arc<ManualTime>,
    shards: Shards<Counters>,
    seen: Arc<Done>,
}

impl Broker {
    fn new() -> Self {
        let logs = Arc::new(MemoryLogs::default());
        Self::on(logs)
    }

    /// Another broker, or this one after a restart.
    fn on(logs: Arc<MemoryLogs>) -> Self {
        let disk = logs.disk(0);
        let time = ManualTime::starting_at(1_000_000);
        let seen = Arc::new(Done::default());
        let (open, of_machine): (Arc<dyn OpenLog>, _) = (logs.clone(), seen.clone());
        let shards = Shards::new(open, Clock::from_source(time.clone()), move |_| Counters {
            stored: BTreeMap::new(),
            decided: BTreeMap::new(),
            alarms: BTreeMap::new(),
            seen: of_machine.clone(),
        });
        Self { logs, disk, time, shards, seen }
    }

    /// The shard, loaded.
    async fn shard(&self) -> Arc<Shard<Counters>> {
        let shard = self.shards.get(0).await.unwrap();
        assert!(shard.is_active());
        shard
    }

    /// Adds one to a counter.
    async fn add(&self, name: &str) -> Result<u64, ShardError> {
        self.shards.get(0).await?.write(|counters, out| counters.add(name, out)).await
    }

    /// What a counter is, by what is durable.
    async fn get(&self, name: &str) -> Result<Option<u64>, ShardError> {
        self.shards.get(0).await?.read(|counters| counters.get(name)).await
    }

    fn advance(&self, by: Duration) {
        self.time.advance(by);
    }
}

/// Lets all tasks do what they can without time passing.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// A request that is under way.
struct Request<R>(tokio::task::JoinHandle<R>);

impl<R: Send + 'static> Request<R> {
    fn begin(request: impl Future<Output = R> + Send + 'static) -> Self {
        Self(base::task::spawn("test-request", request))
    }

    /// Whether it has its answer, once nothing moves any more.
    async fn is_answered(&mut self) -> bool {
        settle().await;
        self.0.is_finished()
    }

    /// Its answer, which must be there.
    async fn answer(mut self) -> R {
        assert!(self.is_answered().await, "nobody answered");
        self.0.await.unwrap()
    }
}

/// Adds one to a counter, meanwhile.
fn adding(shard: &Arc<Shard<Counters>>, name: &'static str) -> Request<Result<u64, ShardError>> {
    let shard = shard.clone();
    Request::begin(async move { shard.write(|counters, out| counters.add(name, out)).await })
}

/// Whether a future has to wait.
async fn waits<R>(future: impl Future<Output = R>) -> bool {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
}
