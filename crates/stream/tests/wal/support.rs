//! A sink that remembers, and shorthands.

use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use base::{BrokerEpoch, BrokerId, Incarnation, Offset, StreamEpoch, StreamId, TimestampMs, WalPosition};
use bytes::Bytes;
use smallvec::smallvec;
use stream::wal::block::volume::Volume;
use stream::wal::{
    Access, Append, BlockLog, BlockLogOptions, Claim, DurableSink, Group, ReplayEnd, ReplayedRecord, Wal, WalFailure,
    WriterWait,
};

use crate::memory::MemoryVolume;

#[derive(Debug, Default)]
pub struct Told {
    pub durable: Vec<u64>,
    pub groups: Vec<Range<u64>>,
    pub failures: Vec<WalFailure>,
    pub waits: Vec<Option<WriterWait>>,
}

/// A sink that remembers what it was told.
#[derive(Clone, Default)]
pub struct Sink(Arc<(Mutex<Told>, Condvar)>);

impl Sink {
    /// Waits until `done`; far longer than anything here takes.
    pub fn wait(&self, what: &str, done: impl Fn(&Told) -> bool) {
        let guard = self.0.0.lock().unwrap();
        let (told, timeout) = self.0.1.wait_timeout_while(guard, Duration::from_secs(30), |t| !done(t)).unwrap();
        assert!(!timeout.timed_out(), "waited in vain for {what}: {told:?}");
    }

    pub fn told<R>(&self, read: impl FnOnce(&Told) -> R) -> R {
        read(&self.0.0.lock().unwrap())
    }

    fn tell(&self, change: impl FnOnce(&mut Told)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }
}

impl DurableSink<u64> for Sink {
    fn durable(&mut self, group: Group<u64>) {
        self.tell(|told| {
            assert!(told.failures.is_empty(), "an acknowledgement after the failure");
            told.durable.extend(group.tokens.iter().map(|(_, token)| *token));
            told.groups.push(group.start.0..group.end.0);
        });
    }

    fn failed(&mut self, error: WalFailure) {
        self.tell(|told| told.failures.push(error));
    }

    fn waiting(&mut self, wait: Option<WriterWait>) {
        self.tell(|told| told.waits.push(wait));
    }
}

/// The cluster of every log here.
pub const CLUSTER: &str = "cluster";
/// The claim of whoever is of that cluster.
pub const OURS: Claim<'static> = Claim::Cluster(CLUSTER);

pub fn incarnation(epoch: i64) -> Incarnation {
    Incarnation { broker: BrokerId(1), epoch: BrokerEpoch(epoch) }
}

/// The bytes of append `n`, recognisable and of `length`.
pub fn payload(n: u64, length: usize) -> Vec<u8> {
    (0..length).map(|at| (n as usize * 31 + at * 7) as u8).collect()
}

/// Append number `n`: offset `n` of stream 5, in two slices.
pub fn append(n: u64, length: usize) -> Append {
    let bytes = Bytes::from(payload(n, length));
    let cut = length / 3;
    Append {
        stream: StreamId(5),
        epoch: StreamEpoch(2),
        base: Offset(n),
        end: Offset(n + 1),
        max_timestamp: TimestampMs(n as i64),
        payload: smallvec![bytes.slice(..cut), bytes.slice(cut..)],
    }
}

pub fn options(access: Access, capacity_bytes: u64) -> BlockLogOptions {
    // Seals are told by tests of their own.
    let seal_after = Duration::from_secs(3600);
    BlockLogOptions { capacity_bytes, seal_after, ..BlockLogOptions::new("memory", access) }
}

pub fn over(volume: &Arc<MemoryVolume>, access: Access) -> BlockLog {
    let capacity = volume.segment_bytes() * 64;
    BlockLog::over(Arc::clone(volume) as _, options(access, capacity)).unwrap()
}

pub fn create(log: &BlockLog, epoch: i64) -> (Wal<u64>, Sink) {
    let sink = Sink::default();
    (log.create(incarnation(epoch), CLUSTER, sink.clone()).unwrap(), sink)
}

/// Appends one by one, each a group of its own.
pub fn append_each(wal: &Wal<u64>, sink: &Sink, numbers: Range<u64>, length: impl Fn(u64) -> usize) {
    for n in numbers {
        wal.append(append(n, length(n)), n);
        sink.wait("an acknowledgement", |told| told.durable.last() == Some(&n));
    }
}

/// Replays and checks every record against what was appended.
pub fn replay(log: &BlockLog, epoch: i64, from: u64) -> (Vec<ReplayedRecord>, ReplayEnd) {
    let mut records = Vec::new();
    let end = log
        .replay(incarnation(epoch), WalPosition(from), &mut |record| {
            records.push(record);
            ControlFlow::Continue(())
        })
        .unwrap();
    for record in &records {
        assert_eq!(record.base, Offset(record.sequence), "records come in order");
        assert_eq!(record.end, Offset(record.sequence + 1));
        assert_eq!((record.stream, record.epoch), (StreamId(5), StreamEpoch(2)));
        assert_eq!(record.max_timestamp, TimestampMs(record.sequence as i64));
        assert_eq!(record.payload, payload(record.sequence, record.payload.len()));
    }
    for pair in records.windows(2) {
        assert_eq!(pair[0].sequence + 1, pair[1].sequence, "no gap, no repeat");
    }
    (records, end)
}
