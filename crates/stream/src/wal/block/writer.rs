//! Appending: one incarnation, three machines.
//!
//! - **Writer** ([`writing`]): takes what is queued, up to [`GROUP_BYTES_MAX`](super::GROUP_BYTES_MAX), encodes it once into
//!   an aligned buffer and writes it with one synced write. The next group is whatever has gathered meanwhile: small when
//!   idle, large under load, no timer.
//! - **Completer** ([`completer`]): takes every group durable so far, reads the fence page once, and only then hands them
//!   to the sink. The read begins after the last of those writes returned; groups that become durable during the read wait
//!   for the next (models/blocklog.py, "header read before the record's write").
//! - **Preparer** ([`preparer`]): writes trim pages, recycles trimmed segments and keeps the next ones ready. A full disk
//!   makes it try again and the writer wait, unless all in the writer's full segment is committed: then that is the next.
//!   The first segment is put to use before all of it is zeroed: the preparer writes zeros only at or above `zeroed`,
//!   the writer records only below it, so that neither overwrites the other.
//!
//! Each goes in steps ([`machine`]), driven by a thread of its own; in a hosted program by a task, in a test by a loop.
//! They share one state and wake one another by bells; none ever waits for another inside a step.
//!
//! The first error of any of them ends all: no acknowledgement follows, nothing is tried again. A machine that goes for any
//! other reason than that it was told to, a panic included, is such an error ([`part`]); whoever waits for the log learns
//! it from [`Appender::failed`], which lives on none of them, and every token is dropped.
//!
//! An idle writer seals: it writes one empty group behind the last, so that rot in the last is not taken for a torn tail.
//! Nobody waits for a seal, nobody is told of it, and no position speaks of it.

mod completer;
pub mod machine;
mod part;
mod preparer;
mod writing;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use base::{Clock, WalPosition};
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::layout::{PAGE, RECORD_HEADER, TrimPage};
use super::log::Pool;
use super::volume::{BlockFile, SegmentId, Volume};
use crate::wal::{Append, Appender, Cuts, DurableSink, Ending, Group, WalFailure, WalStatus, WriterWait};
use completer::Completer;
use machine::{Bell, Driver};
use part::{Life, Part, Unfinished, Watch};
use preparer::Preparer;
use writing::Writer;

/// Bytes of the first segment that are zeroed before it is used: a start need not wait for all of it.
const FIRST_ZEROED_BYTES: u64 = 2 << 20;

/// One incarnation of a block log, open for append.
pub struct BlockWal<T> {
    shared: Arc<Shared<T>>,
    running: watch::Receiver<()>,
}

impl<T> std::fmt::Debug for BlockWal<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WAL incarnation {} in {}", self.shared.stamp.incarnation, self.shared.volume.path())
    }
}

pub(crate) struct Setup {
    pub(crate) volume: Arc<dyn Volume>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) header: Arc<dyn BlockFile>,
    pub(crate) trim: TrimPage,
    pub(crate) segments_max: usize,
    pub(crate) segments_ahead: usize,
    pub(crate) seal_after: Duration,
    pub(crate) clock: Clock,
}

#[derive(Clone)]
struct Segment {
    logical: u64,
    id: SegmentId,
    file: Arc<dyn BlockFile>,
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "segment {} as {}", self.id.0, self.logical)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    No,
    /// Write what is queued, then end.
    Flush,
    /// End at once.
    Abandon,
}

struct State<T> {
    queue: Vec<(Append, T)>,
    queued_bytes: u64,
    /// Durable, waiting for a fence-page read.
    completed: Vec<Group<T>>,
    /// Segments in use, oldest first; the last is the writer's.
    live: VecDeque<Segment>,
    ready: VecDeque<Segment>,
    trim_to: WalPosition,
    durable: WalPosition,
    acknowledged: WalPosition,
    writer_starved: bool,
    /// The writer has left the last of `live`, for what comes next does not fit into it, and has no other yet.
    writer_between: bool,
    starved_by: WriterWait,
    writer_done: bool,
    /// Bytes of the first segment, from its start, that the writer may use.
    zeroed: u64,
    /// Who waits for a read of the fence page that begins from now on.
    checks: Vec<oneshot::Sender<()>>,
    stop: Stop,
    failure: Option<WalFailure>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    to_writer: Arc<Bell>,
    to_completer: Arc<Bell>,
    to_preparer: Arc<Bell>,
    volume: Arc<dyn Volume>,
    pool: Arc<Pool>,
    header: Arc<dyn BlockFile>,
    stamp: super::layout::Stamp,
    segment_bytes: u64,
    segments_max: usize,
    segments_ahead: usize,
    seal_after: Duration,
    clock: Clock,
    /// Why the log died, for whoever waits for that.
    failed: watch::Sender<Option<WalFailure>>,
}

/// Prepares the first segment and hands the machines to their driver.
pub(crate) fn start<T: Send + 'static>(
    setup: Setup,
    sink: impl DurableSink<T>,
    drive: &mut Driver<'_>,
) -> io::Result<BlockWal<T>> {
    let incarnation = setup.trim.stamp.incarnation;
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            queue: Vec::new(),
            queued_bytes: 0,
            completed: Vec::new(),
            live: VecDeque::new(),
            ready: VecDeque::new(),
            trim_to: setup.trim.trimmed,
            durable: WalPosition(0),
            acknowledged: WalPosition(0),
            writer_starved: false,
            writer_between: false,
            starved_by: WriterWait::Segment,
            writer_done: false,
            zeroed: 0,
            checks: Vec::new(),
            stop: Stop::No,
            failure: None,
        }),
        to_writer: Arc::default(),
        to_completer: Arc::default(),
        to_preparer: Arc::default(),
        segment_bytes: setup.volume.segment_bytes(),
        volume: setup.volume,
        pool: Arc::clone(&setup.pool),
        header: setup.header,
        stamp: setup.trim.stamp,
        segments_max: setup.segments_max,
        segments_ahead: setup.segments_ahead,
        seal_after: setup.seal_after,
        clock: setup.clock,
        failed: watch::channel(None).0,
    });
    let mut trim = setup.trim;
    let (first, zeroed) = shared.prepare(&mut trim, FIRST_ZEROED_BYTES)?;
    {
        let mut state = shared.state.lock();
        state.zeroed = zeroed;
        state.ready.push_back(first.clone());
    }
    let (ended, running) = watch::channel(());
    let wal = BlockWal { shared: Arc::clone(&shared), running };
    setup.pool.running.lock().push(incarnation);
    let life = Arc::new(Life { pool: setup.pool, incarnation, _ended: ended });
    let watch = |name| Watch { shared: Arc::clone(&shared), name, is_in_step: false };
    drive(Box::new(Part {
        work: Writer::new(Arc::clone(&shared)),
        bell: Arc::clone(&shared.to_writer),
        watch: watch("writer"),
        _unfinished: None,
        _life: Arc::clone(&life),
    }))?;
    drive(Box::new(Part {
        work: Completer::new(Arc::clone(&shared), sink),
        bell: Arc::clone(&shared.to_completer),
        watch: watch("completer"),
        _unfinished: Some(Unfinished(Arc::clone(&shared))),
        _life: Arc::clone(&life),
    }))?;
    drive(Box::new(Part {
        work: Preparer::new(Arc::clone(&shared), trim, first, zeroed),
        bell: Arc::clone(&shared.to_preparer),
        watch: watch("preparer"),
        _unfinished: None,
        _life: life,
    }))?;
    // On an error the machines that are driven already end with the dropped `wal`.
    Ok(wal)
}

impl<T: Send + 'static> Appender<T> for BlockWal<T> {
    fn append(&self, append: Append, token: T) {
        let bytes = (RECORD_HEADER + append.payload_bytes()) as u64;
        let mut state = self.shared.state.lock();
        if state.failure.is_some() || state.stop != Stop::No {
            drop(state);
            drop((append, token));
            return;
        }
        let idle = state.queue.is_empty();
        state.queue.push((append, token));
        state.queued_bytes += bytes;
        drop(state);
        if idle {
            self.shared.to_writer.ring();
        }
    }

    fn check_unfenced(&self) -> oneshot::Receiver<()> {
        let (sender, checked) = oneshot::channel();
        let mut state = self.shared.state.lock();
        if state.failure.is_none() && state.stop == Stop::No {
            state.checks.push(sender);
            drop(state);
            self.shared.to_completer.ring();
        }
        checked
    }

    fn trim(&self, to: WalPosition) {
        let mut state = self.shared.state.lock();
        if to > state.trim_to {
            state.trim_to = to;
            self.shared.to_preparer.ring();
        }
    }

    fn failed(&self) -> BoxFuture<'static, Option<WalFailure>> {
        let mut failed = self.shared.failed.subscribe();
        async move { failed.wait_for(Option::is_some).await.ok().and_then(|failure| failure.clone()) }.boxed()
    }

    fn end(&self, ending: Ending) {
        let mut state = self.shared.state.lock();
        match ending {
            Ending::Flush if state.stop == Stop::No => state.stop = Stop::Flush,
            Ending::Flush => {}
            Ending::Abandon => state.stop = Stop::Abandon,
        }
        drop(state);
        self.shared.wake_all();
    }

    fn ended(&self) -> BoxFuture<'static, Result<WalPosition, WalFailure>> {
        let (mut running, shared) = (self.running.clone(), Arc::clone(&self.shared));
        async move {
            // Nothing is ever sent: what there is to learn is that the sender has gone.
            while running.changed().await.is_ok() {}
            let state = shared.state.lock();
            state.failure.clone().map_or(Ok(state.durable), Err)
        }
        .boxed()
    }

    fn status(&self) -> WalStatus {
        let state = self.shared.state.lock();
        WalStatus {
            durable: state.durable,
            acknowledged: state.acknowledged,
            trimmed: state.trim_to,
            queued_bytes: state.queued_bytes,
            capacity_bytes: self.shared.segments_max as u64 * self.shared.segment_bytes,
            waiting: state.waiting(),
            failure: state.failure.clone(),
        }
    }

    fn max_record_bytes(&self) -> usize {
        self.shared.max_record_bytes()
    }

    fn cuts(&self) -> Cuts {
        Cuts::BuildAndPut
    }
}

impl<T> Drop for BlockWal<T> {
    fn drop(&mut self) {
        self.shared.state.lock().stop = Stop::Abandon;
        self.shared.wake_all();
    }
}

impl<T> State<T> {
    fn waiting(&self) -> Option<WriterWait> {
        self.writer_starved.then_some(self.starved_by)
    }

    fn over(&self) -> bool {
        self.failure.is_some() || self.stop == Stop::Abandon
    }
}

impl<T> Shared<T> {
    fn max_record_bytes(&self) -> usize {
        self.segment_bytes as usize - PAGE - RECORD_HEADER
    }

    fn wake_all(&self) {
        self.to_writer.ring();
        self.to_completer.ring();
        self.to_preparer.ring();
    }

    fn fail(&self, failure: WalFailure) {
        let mut state = self.state.lock();
        if state.failure.is_none() {
            tracing::error!(incarnation = %self.stamp.incarnation, %failure, "the WAL has died");
            state.failure = Some(failure.clone());
            self.failed.send_replace(Some(failure));
        }
        // Whoever asks is answered even when the completer has died.
        let asking = std::mem::take(&mut state.checks);
        drop(state);
        drop(asking);
        self.wake_all();
    }

    fn fail_io(&self, what: impl Into<String>, error: io::Error) {
        self.fail(WalFailure::Io { what: what.into(), error: Arc::new(error) });
    }
}
