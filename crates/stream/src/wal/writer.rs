//! Appending: one incarnation, three threads.
//!
//! - **Writer**: takes what is queued, up to [`GROUP_BYTES_MAX`], encodes it once into an aligned buffer and writes it with
//!   one synced write. The next group is whatever has gathered meanwhile: small when idle, large under load, no timer.
//! - **Completer** ([`completer`]): takes every group durable so far, reads the fence page once, and only then hands them to the sink. The
//!   read begins after the last of those writes returned; groups that become durable during the read wait for the next
//!   (models/blocklog.py, "header read before the record's write").
//! - **Preparer**: writes trim pages, recycles trimmed segments and keeps the next ones ready. A full disk makes it try
//!   again and the writer wait. The first segment is put to use before all of it is zeroed: the preparer writes zeros only
//!   at or above `zeroed`, the writer records only below it, so that neither overwrites the other.
//!
//! The first error of any of them ends all: no acknowledgement follows, nothing is tried again. A thread that ends for any
//! other reason than that it was told to, a panic included, is such an error ([`Watch`]); whoever waits for the log learns
//! it from [`Wal::failed`], which lives on no thread of the log, and every token is dropped.
//!
//! An idle writer seals: it writes one empty group behind the last, so that rot in the last is not taken for a torn tail.
//! Nobody waits for a seal, nobody is told of it, and no position speaks of it.

mod completer;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use base::aligned::AlignedBuffer;
use base::{WalPosition, task};
use parking_lot::{Condvar, Mutex};
use tokio::sync::{oneshot, watch};

use super::file::ZERO_PIECE;
use super::layout::{PAGE, RECORD_HEADER, RecordHeader, SEAL_STREAM, SegmentPage, TrimPage};
use super::log::{Pool, write_page};
use super::volume::{BlockFile, NewSegment, SegmentId, Volume, is_full};
use super::{Append, DurableSink, GROUP_BYTES_MAX, Group, SPACE_RETRY_INTERVAL, WalFailure, WriterWait};

/// A log as it stands.
#[derive(Clone, Debug)]
pub struct WalStatus {
    /// The end of what is durable.
    pub durable: WalPosition,
    /// The end of what the sink was given.
    pub acknowledged: WalPosition,
    /// Records below are committed.
    pub trimmed: WalPosition,
    /// Bytes appended and not yet given to the sink.
    pub queued_bytes: u64,
    /// Un-trimmed bytes at which the writer waits.
    pub capacity_bytes: u64,
    /// What the writer waits for.
    pub waiting: Option<WriterWait>,
    /// Why the log died.
    pub failure: Option<WalFailure>,
}

/// Bytes of the first segment that are zeroed before it is used: a start need not wait for all of it.
const FIRST_ZEROED_BYTES: u64 = 2 << 20;

/// One incarnation, open for append. Dropping it without [`Wal::shutdown`] is like a crash: what is queued is lost.
#[derive(Debug)]
pub struct Wal<T> {
    shared: Arc<Shared<T>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

pub(crate) struct Setup {
    pub(crate) volume: Arc<dyn Volume>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) header: Arc<dyn BlockFile>,
    pub(crate) trim: TrimPage,
    pub(crate) segments_max: usize,
    pub(crate) segments_ahead: usize,
    pub(crate) seal_after: Duration,
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

/// What the writer has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gathered {
    /// Write what is in the backlog.
    Appends,
    /// Seal the last group.
    Idle,
    /// End.
    End,
}

#[derive(Debug)]
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
    starved_by: WriterWait,
    writer_done: bool,
    /// Bytes of the first segment, from its start, that the writer may use.
    zeroed: u64,
    /// Who waits for a read of the fence page that begins from now on.
    checks: Vec<oneshot::Sender<()>>,
    stop: Stop,
    failure: Option<WalFailure>,
}

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    to_writer: Condvar,
    to_completer: Condvar,
    to_preparer: Condvar,
    volume: Arc<dyn Volume>,
    pool: Arc<Pool>,
    header: Arc<dyn BlockFile>,
    stamp: super::layout::Stamp,
    segment_bytes: u64,
    segments_max: usize,
    segments_ahead: usize,
    seal_after: Duration,
    /// Why the log died, for whoever waits for that.
    failed: watch::Sender<Option<WalFailure>>,
}

/// Prepares the first segment and starts the threads.
pub(crate) fn start<T: Send + 'static>(setup: Setup, sink: impl DurableSink<T>) -> io::Result<Wal<T>> {
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
            starved_by: WriterWait::Segment,
            writer_done: false,
            zeroed: 0,
            checks: Vec::new(),
            stop: Stop::No,
            failure: None,
        }),
        to_writer: Condvar::new(),
        to_completer: Condvar::new(),
        to_preparer: Condvar::new(),
        segment_bytes: setup.volume.segment_bytes(),
        volume: setup.volume,
        pool: Arc::clone(&setup.pool),
        header: setup.header,
        stamp: setup.trim.stamp,
        segments_max: setup.segments_max,
        segments_ahead: setup.segments_ahead,
        seal_after: setup.seal_after,
        failed: watch::channel(None).0,
    });
    let mut trim = setup.trim;
    let (first, zeroed) = shared.prepare(&mut trim, FIRST_ZEROED_BYTES)?;
    {
        let mut state = shared.state.lock();
        state.zeroed = zeroed;
        state.ready.push_back(first.clone());
    }
    let wal = Wal { shared: Arc::clone(&shared), threads: Mutex::new(Vec::new()) };
    setup.pool.running.lock().push(incarnation);
    let (writer, completer, preparer) = (Arc::clone(&shared), Arc::clone(&shared), shared);
    let spawned = [
        task::spawn_thread("wal-writer", move || {
            let _watch = Watch(&writer, "writer");
            writer.write_groups();
        }),
        task::spawn_thread("wal-completer", move || {
            // Dropped in the other order: the tokens go once everybody can know why.
            let _unfinished = Unfinished(&completer);
            let _watch = Watch(&completer, "completer");
            completer.complete_groups(sink);
        }),
        task::spawn_thread("wal-preparer", move || {
            let _watch = Watch(&preparer, "preparer");
            if preparer.zero_rest(&first) {
                preparer.prepare_segments(trim);
            }
        }),
    ];
    // On an error the threads that did start end with the dropped `wal`.
    let mut running = wal.threads.lock();
    for thread in spawned {
        running.push(thread?);
    }
    drop(running);
    Ok(wal)
}

impl<T> Wal<T> {
    /// Queues an append; the order of calls is the order of the log. `token` comes back through the sink, or is dropped
    /// once the log has died. Never waits for the disk. A payload over [`Wal::max_record_bytes`] ends the log: the caller
    /// checks, as it bounds the queue by the memory it charges.
    pub fn append(&self, append: Append, token: T) {
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
            self.shared.to_writer.notify_one();
        }
    }

    /// Resolves after a read of the fence page, begun from now on, that found the log not fenced; an error means that the
    /// log is fenced, has died or ends. What this broker knew when it asked, no other broker had contradicted.
    pub fn check_unfenced(&self) -> oneshot::Receiver<()> {
        let (sender, checked) = oneshot::channel();
        let mut state = self.shared.state.lock();
        if state.failure.is_none() && state.stop == Stop::No {
            state.checks.push(sender);
            drop(state);
            self.shared.to_completer.notify_one();
        }
        checked
    }

    /// Says that records below `to` are committed. Whole segments below are recycled.
    pub fn trim(&self, to: WalPosition) {
        let mut state = self.shared.state.lock();
        if to > state.trim_to {
            state.trim_to = to;
            self.shared.to_preparer.notify_one();
        }
    }

    /// Resolves when the log has died, however it died, with the reason; with nothing once it has ended in order. It does
    /// not depend on any thread of the log, nor on the sink.
    pub fn failed(&self) -> impl Future<Output = Option<WalFailure>> + Send + 'static + use<T> {
        let mut failed = self.shared.failed.subscribe();
        async move { failed.wait_for(Option::is_some).await.ok().and_then(|failure| failure.clone()) }
    }

    /// The end of what is durable.
    pub fn position(&self) -> WalPosition {
        self.shared.state.lock().durable
    }

    /// Bytes appended and not yet given to the sink.
    pub fn queued_bytes(&self) -> u64 {
        self.shared.state.lock().queued_bytes
    }

    /// Un-trimmed durable bytes.
    pub fn backlog(&self) -> u64 {
        let state = self.shared.state.lock();
        state.durable.0.saturating_sub(state.trim_to.0)
    }

    /// Un-trimmed bytes at which the writer waits: trim well before.
    pub fn capacity(&self) -> u64 {
        self.shared.segments_max as u64 * self.shared.segment_bytes
    }

    /// The longest payload that a record can hold.
    pub fn max_record_bytes(&self) -> usize {
        self.shared.max_record_bytes()
    }

    /// The whole picture.
    pub fn status(&self) -> WalStatus {
        let state = self.shared.state.lock();
        WalStatus {
            durable: state.durable,
            acknowledged: state.acknowledged,
            trimmed: state.trim_to,
            queued_bytes: state.queued_bytes,
            capacity_bytes: self.capacity(),
            waiting: state.waiting(),
            failure: state.failure.clone(),
        }
    }

    /// Writes and completes what is queued, ends the threads and returns the final position. Blocks; while the writer
    /// waits for a trim, trims must go on. What is appended afterwards is dropped. May be called again.
    ///
    /// # Errors
    /// When the log has died.
    pub fn shutdown(&self) -> Result<WalPosition, WalFailure> {
        {
            let mut state = self.shared.state.lock();
            if state.stop == Stop::No {
                state.stop = Stop::Flush;
            }
        }
        self.join();
        let state = self.shared.state.lock();
        state.failure.clone().map_or(Ok(state.durable), Err)
    }

    /// Ends the threads at once, as a crash would: nothing more is written or acknowledged, what is queued is dropped.
    /// Blocks until a write under way has returned. May be called again.
    pub fn abandon(&self) {
        self.kill();
        self.join();
    }

    /// As [`Wal::abandon`], without waiting for the threads.
    pub fn kill(&self) {
        self.shared.state.lock().stop = Stop::Abandon;
        self.shared.wake_all();
    }

    fn join(&self) {
        self.shared.wake_all();
        for thread in self.threads.lock().drain(..) {
            // A panic was turned into a failure by the thread's watch.
            let _ = thread.join();
        }
        let incarnation = self.shared.stamp.incarnation;
        self.shared.pool.running.lock().retain(|running| *running != incarnation);
    }
}

impl<T> Drop for Wal<T> {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Lives on a thread of the log for as long as the thread does. One that ends although nobody told it to has failed.
struct Watch<'a, T>(&'a Shared<T>, &'static str);

impl<T> Drop for Watch<'_, T> {
    fn drop(&mut self) {
        let told = {
            let state = self.0.state.lock();
            state.failure.is_some() || state.stop != Stop::No
        };
        if !told || std::thread::panicking() {
            self.0.fail(WalFailure::ThreadEnded(self.1));
        }
    }
}

/// Lives on the completer's thread: whatever that has not given to the sink when it ends is dropped, which tells those
/// who wait for it. Nothing is added once the log is over.
struct Unfinished<'a, T>(&'a Shared<T>);

impl<T> Drop for Unfinished<'_, T> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        let unfinished = (std::mem::take(&mut state.queue), std::mem::take(&mut state.completed));
        // Who still asks is answered by the drop.
        let asking = std::mem::take(&mut state.checks);
        state.queued_bytes = 0;
        drop(state);
        drop((unfinished, asking));
    }
}

impl<T> State<T> {
    fn waiting(&self) -> Option<WriterWait> {
        self.writer_starved.then_some(self.starved_by)
    }

    /// Whether the writer has nothing to do and nobody has told it to end.
    fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.stop == Stop::No && !self.over()
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
        // Taken and released: a thread between its check and its wait must not miss the call.
        drop(self.state.lock());
        self.to_writer.notify_all();
        self.to_completer.notify_all();
        self.to_preparer.notify_all();
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

    /// The writer's thread.
    fn write_groups(&self) {
        let mut backlog: VecDeque<(Append, T)> = VecDeque::new();
        let mut buffer = AlignedBuffer::zeroed(PAGE);
        let mut current: Option<(Segment, usize)> = None;
        let mut last = (0u64, WalPosition(0), 0u32);
        let mut sealed = true;
        loop {
            match self.gather(&mut backlog, !sealed) {
                Gathered::Appends => sealed = false,
                Gathered::Idle => {
                    match self.seal(&mut buffer, &mut current, &mut last) {
                        Ok(done) => sealed = done,
                        Err(error) => return self.fail_io("sealing the last group", error),
                    }
                    continue;
                }
                Gathered::End => return,
            }
            let Some((first, _)) = backlog.front() else { continue };
            if let Some((bad, _)) = backlog.iter().find(|(a, _)| a.base >= a.end || a.stream == SEAL_STREAM) {
                let (stream, base, end) = (bad.stream, bad.base, bad.end);
                return self.fail(WalFailure::BadAppend { stream, base, end });
            }
            let needed = RECORD_HEADER + first.payload_bytes();
            if needed > RECORD_HEADER + self.max_record_bytes() {
                let bytes = first.payload_bytes();
                return self.fail(WalFailure::RecordTooLarge { bytes, limit: self.max_record_bytes() });
            }
            let size = self.segment_bytes as usize;
            let (segment, used) = match current.take().filter(|(_, used)| used + needed <= size) {
                Some(place) => place,
                None => match self.next_segment() {
                    Some(segment) => (segment, PAGE),
                    None => return,
                },
            };
            // What fits: this segment, and the bound of a group unless its first record alone exceeds it.
            let room = (size - used).min(GROUP_BYTES_MAX.max(needed));
            let mut length = 0;
            let mut count = 0;
            for (append, _) in &backlog {
                let record = RECORD_HEADER + append.payload_bytes();
                if length + record > room {
                    break;
                }
                length += record;
                count += 1;
            }
            let padded = length.next_multiple_of(PAGE);
            if buffer.len() < padded || buffer.len() > 2 * GROUP_BYTES_MAX && padded <= GROUP_BYTES_MAX {
                buffer = AlignedBuffer::zeroed(padded.next_power_of_two());
            }
            let start = WalPosition(segment.logical * self.segment_bytes + used as u64);
            let bytes = &mut buffer.as_mut_slice()[..padded];
            let mut at = 0;
            for (append, _) in backlog.iter().take(count) {
                let (sequence, previous, previous_crc) = last;
                let payload_bytes = append.payload_bytes();
                let header = RecordHeader {
                    sequence,
                    position: WalPosition(start.0 + at as u64),
                    previous,
                    previous_crc,
                    group_offset: at as u32,
                    stream: append.stream,
                    epoch: append.epoch,
                    base: append.base,
                    end: append.end,
                    max_timestamp: append.max_timestamp,
                    payload_bytes: payload_bytes as u32,
                };
                let out = &mut bytes[at..at + RECORD_HEADER + payload_bytes];
                let crc = header.encode(self.stamp, append.payload.iter().map(|slice| &slice[..]), out);
                last = (sequence + 1, header.position, crc);
                at += RECORD_HEADER + payload_bytes;
            }
            bytes[length..].fill(0);
            if segment.logical == 0 && !self.wait_zeroed((used + padded) as u64) {
                return;
            }
            if let Err(error) = segment.file.write_at(bytes, used as u64) {
                return self.fail_io(format!("writing group at {start}"), error);
            }
            let end = WalPosition(start.0 + padded as u64);
            let tokens: Vec<_> = backlog.drain(..count).collect();
            let mut state = self.state.lock();
            if state.over() {
                // The completer may have ended; nobody would look at them again.
                drop(state);
                drop(tokens);
                return;
            }
            state.completed.push(Group { tokens, start, end });
            state.durable = end;
            drop(state);
            self.to_completer.notify_one();
            current = Some((segment, used + padded));
        }
    }

    /// Writes a seal behind the last group, where there is room for it without waiting; else (`false`) not yet.
    fn seal(
        &self,
        buffer: &mut AlignedBuffer,
        current: &mut Option<(Segment, usize)>,
        last: &mut (u64, WalPosition, u32),
    ) -> io::Result<bool> {
        if current.as_ref().is_some_and(|(_, used)| (used + PAGE) as u64 > self.segment_bytes) {
            let mut state = self.state.lock();
            let Some(next) = state.ready.pop_front() else { return Ok(false) };
            state.live.push_back(next.clone());
            drop(state);
            self.to_preparer.notify_one();
            *current = Some((next, PAGE));
        }
        let Some((segment, used)) = current else { return Ok(false) };
        let end = *used + PAGE;
        if segment.logical == 0 && self.state.lock().zeroed < end as u64 {
            return Ok(false);
        }
        let position = WalPosition(segment.logical * self.segment_bytes + *used as u64);
        let (sequence, previous, previous_crc) = *last;
        let bytes = &mut buffer.as_mut_slice()[..PAGE];
        bytes.fill(0);
        let header = RecordHeader::seal(sequence, position, previous, previous_crc);
        let crc = header.encode(self.stamp, std::iter::empty(), &mut bytes[..RECORD_HEADER]);
        segment.file.write_at(bytes, *used as u64)?;
        *last = (sequence + 1, position, crc);
        *used = end;
        Ok(true)
    }

    /// Waits until there is something to write, or, if there is something to seal, until nothing has come for a while.
    fn gather(&self, backlog: &mut VecDeque<(Append, T)>, may_seal: bool) -> Gathered {
        let mut state = self.state.lock();
        loop {
            if state.over() {
                return Gathered::End;
            }
            if !state.queue.is_empty() {
                let queue = std::mem::take(&mut state.queue);
                drop(state);
                backlog.extend(queue);
                return Gathered::Appends;
            }
            if !backlog.is_empty() {
                return Gathered::Appends;
            }
            if state.stop == Stop::Flush {
                state.writer_done = true;
                drop(state);
                self.wake_all();
                return Gathered::End;
            }
            if !may_seal {
                self.to_writer.wait(&mut state);
            } else if self.to_writer.wait_for(&mut state, self.seal_after).timed_out() && state.is_idle() {
                return Gathered::Idle;
            }
        }
    }

    /// Waits until the first segment is zeroed up to `end`. `false` ends the writer.
    fn wait_zeroed(&self, end: u64) -> bool {
        let mut state = self.state.lock();
        while state.zeroed < end && !state.over() {
            if !std::mem::replace(&mut state.writer_starved, true) {
                self.to_completer.notify_one();
            }
            self.to_writer.wait(&mut state);
        }
        if std::mem::replace(&mut state.writer_starved, false) {
            self.to_completer.notify_one();
        }
        !state.over()
    }

    /// The next prepared segment. `None` ends the writer.
    fn next_segment(&self) -> Option<Segment> {
        let mut state = self.state.lock();
        loop {
            if state.over() {
                return None;
            }
            let was_starved = state.writer_starved;
            if let Some(segment) = state.ready.pop_front() {
                state.writer_starved = false;
                state.live.push_back(segment.clone());
                drop(state);
                self.to_preparer.notify_one();
                if was_starved {
                    self.to_completer.notify_one();
                }
                return Some(segment);
            }
            if !was_starved {
                state.writer_starved = true;
                self.to_completer.notify_one();
            }
            self.to_writer.wait(&mut state);
        }
    }

    /// The preparer's thread.
    fn prepare_segments(&self, mut trim: TrimPage) {
        let mut state = self.state.lock();
        loop {
            if state.over() || state.writer_done {
                return;
            }
            if state.trim_to > trim.trimmed {
                let to = state.trim_to;
                drop(state);
                trim.trimmed = to;
                if let Err(error) = self.write_trim(&mut trim) {
                    return self.fail_io("writing a trim page", error);
                }
                state = self.state.lock();
                // Whoever ended the log meanwhile has called already.
                continue;
            }
            // The trim page is durable, so a reader knows that what goes now is not missing. The writer's own segment
            // stays until it has moved on.
            while state.live.len() > 1
                && state.live.front().is_some_and(|s| (s.logical + 1) * self.segment_bytes <= trim.trimmed.0)
            {
                if let Some(segment) = state.live.pop_front() {
                    self.pool.free.lock().push((segment.id, segment.file));
                }
            }
            if state.ready.len() >= self.segments_ahead {
                self.to_preparer.wait(&mut state);
                continue;
            }
            if state.live.len() + state.ready.len() >= self.segments_max {
                if state.ready.is_empty() {
                    self.starve(&mut state, WriterWait::Trim);
                }
                self.to_preparer.wait(&mut state);
                continue;
            }
            if state.starved_by == WriterWait::Trim {
                self.starve(&mut state, WriterWait::Segment);
            }
            drop(state);
            match self.prepare(&mut trim, self.segment_bytes) {
                Ok((segment, _)) => {
                    state = self.state.lock();
                    state.starved_by = WriterWait::Segment;
                    state.ready.push_back(segment);
                    self.to_writer.notify_one();
                }
                Err(error) if is_full(&error) => {
                    tracing::warn!(wal = %self.volume.path(), %error, "no room for the next WAL segment; trying again");
                    state = self.state.lock();
                    self.starve(&mut state, WriterWait::Space);
                    if !state.over() && !state.writer_done {
                        self.to_preparer.wait_for(&mut state, SPACE_RETRY_INTERVAL);
                    }
                }
                Err(error) => return self.fail_io("preparing a segment", error),
            }
        }
    }

    fn starve(&self, state: &mut State<T>, by: WriterWait) {
        state.starved_by = by;
        if state.writer_starved {
            self.to_completer.notify_one();
        }
    }

    /// Zeroes what is left of the first segment, ahead of the writer. `false` when the log is over.
    fn zero_rest(&self, first: &Segment) -> bool {
        let mut at = self.state.lock().zeroed;
        if at >= self.segment_bytes {
            return true;
        }
        let zeros = AlignedBuffer::zeroed(ZERO_PIECE);
        while at < self.segment_bytes {
            let piece = zeros.len().min((self.segment_bytes - at) as usize);
            let written = first.file.write_at(&zeros.as_slice()[..piece], at);
            let mut state = self.state.lock();
            match written {
                Ok(()) => {
                    at += piece as u64;
                    state.zeroed = at;
                    state.starved_by = WriterWait::Segment;
                }
                // Not every file system keeps the room that it promised. No record stands here yet: zeros may be repeated.
                Err(error) if is_full(&error) => {
                    tracing::warn!(wal = %self.volume.path(), %error, "no room for a WAL segment; trying again");
                    self.starve(&mut state, WriterWait::Space);
                    if !state.over() && !state.writer_done {
                        self.to_preparer.wait_for(&mut state, SPACE_RETRY_INTERVAL);
                    }
                }
                Err(error) => {
                    drop(state);
                    self.fail_io("zeroing the first segment", error);
                    return false;
                }
            }
            let over = state.over() || state.writer_done;
            drop(state);
            self.to_writer.notify_one();
            if over {
                return false;
            }
        }
        true
    }

    /// Gives the incarnation one more segment: recycled or new, its page durable, and named by the trim page, so that its
    /// absence would be noticed. Of a new one at least `zeroed` bytes are zeroed; how many are is returned.
    fn prepare(&self, trim: &mut TrimPage, zeroed: u64) -> io::Result<(Segment, u64)> {
        let recycled = self.pool.free.lock().pop();
        let (id, file, zeroed) = match recycled {
            Some((id, file)) => (id, file, self.segment_bytes),
            None => {
                let NewSegment { id, file, zeroed } = self.volume.create_segment(zeroed)?;
                (id, file, zeroed)
            }
        };
        let logical = trim.assigned;
        // Only a new segment may find no room. A page that cannot be written over is a failed write, after which nobody
        // knows what stands there.
        write_page(&*file, &SegmentPage::InUse { stamp: self.stamp, logical }.encode(), 0).map_err(broken)?;
        trim.assigned += 1;
        self.write_trim(trim).map_err(broken)?;
        Ok((Segment { logical, id, file }, zeroed))
    }

    fn write_trim(&self, trim: &mut TrimPage) -> io::Result<()> {
        trim.sequence += 1;
        write_page(&*self.header, &trim.encode(), TrimPage::offset(trim.sequence))
    }
}

/// An error that waiting does not mend, whatever it says.
fn broken(error: io::Error) -> io::Error {
    if is_full(&error) { io::Error::other(error) } else { error }
}
