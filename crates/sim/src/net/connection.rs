//! One connection: two directions, each a queue of what is under way.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use base::net::Socket;
use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::task::{Id, try_id};
use tokio::time::{Sleep, sleep};

use super::{Link, Net, Side};
use crate::faults::Fault;
use crate::process::Process;

/// Bytes that one direction holds, under way and unread, before its writer waits.
pub(super) const WAY_BYTES_MAX: usize = 256 << 10;

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) link: Link,
    net: Net,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By who writes.
    ways: [Way; 2],
    is_broken: bool,
    /// Whose host lost power.
    silent: Option<Side>,
    /// The task in which each side has read last.
    read_in: [Option<Id>; 2],
}

/// One direction.
#[derive(Debug, Default)]
struct Way {
    segments: VecDeque<Segment>,
    /// Bytes in the segments.
    held: usize,
    /// When the last of what was sent arrives.
    last_arrival: Duration,
    /// Until when the line is taken by what was sent before.
    busy_until: Duration,
    /// Nothing more will be written.
    is_ended: bool,
    /// Nobody reads any more.
    is_deaf: bool,
    is_cut: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// When the reader is woken because something arrives.
    alarm: Option<(Duration, Pin<Box<Sleep>>)>,
}

/// Bytes that arrive together; none are the end.
#[derive(Debug)]
struct Segment {
    arrives: Duration,
    bytes: Bytes,
}

impl Way {
    fn arrived(&self, now: Duration) -> bool {
        !self.is_cut && self.segments.front().is_some_and(|segment| segment.arrives <= now)
    }

    /// Appends what arrives not before `arrives`, nor before what was sent earlier.
    fn push(&mut self, arrives: Duration, bytes: Bytes) -> Option<Waker> {
        self.last_arrival = self.last_arrival.max(arrives);
        self.held += bytes.len();
        // Who waits for the first of them waits for no other.
        let reader = if self.segments.is_empty() { self.reader.take() } else { None };
        self.segments.push_back(Segment { arrives: self.last_arrival, bytes });
        reader
    }

    fn end(&mut self, arrives: Duration) -> Option<Waker> {
        if std::mem::replace(&mut self.is_ended, true) { None } else { self.push(arrives, Bytes::new()) }
    }

    /// Nobody reads from now on.
    fn deafen(&mut self) -> Option<Waker> {
        self.is_deaf = true;
        self.held = 0;
        self.segments.clear();
        self.alarm = None;
        self.writer.take()
    }

    fn wakers(&mut self) -> [Option<Waker>; 2] {
        [self.reader.take(), self.writer.take()]
    }
}

fn wake(wakers: impl IntoIterator<Item = Option<Waker>>) {
    wakers.into_iter().flatten().for_each(Waker::wake);
}

impl Connection {
    /// A new connection; `cut` says, by who sends, what does not arrive.
    pub(super) fn new(link: Link, net: Net, cut: [bool; 2]) -> Self {
        let ways = cut.map(|is_cut| Way { is_cut, ..Way::default() });
        Self { link, net, state: Mutex::new(State { ways, ..State::default() }) }
    }

    fn now(&self) -> Duration {
        self.net.0.trace.now()
    }

    /// Breaks it for both; says whether it was whole.
    pub(super) fn break_now(&self) -> bool {
        let wakers = {
            let mut state = self.state.lock();
            let is_over = state.ways.iter().all(|way| way.is_deaf || way.is_ended && way.segments.is_empty());
            if is_over || std::mem::replace(&mut state.is_broken, true) {
                return false;
            }
            state.ways.each_mut().map(|way| {
                way.segments.clear();
                way.alarm = None;
                way.wakers()
            })
        };
        wake(wakers.into_iter().flatten());
        self.net.tell(|observer| observer.broke(&self.link));
        true
    }

    /// A side closes: the other one reads what is under way, and the end.
    pub(super) fn close(&self, side: Side) {
        let arrives = self.now() + self.latency();
        let (wakers, ends) = {
            let mut state = self.state.lock();
            let own = &mut state.ways[side as usize];
            let ends = !own.is_ended;
            let reader = own.end(arrives);
            ([reader, state.ways[side.other() as usize].deafen()], ends && !state.is_broken)
        };
        wake(wakers);
        if ends {
            self.net.tell(|observer| observer.ended(&self.link, side));
        }
    }

    /// A side's host is gone: it neither sends nor reads, and nothing says so.
    pub(super) fn fall_silent(&self, side: Side) {
        self.state.lock().silent = Some(side);
    }

    pub(super) fn is_silent_at(&self, ip: IpAddr) -> bool {
        self.state.lock().silent.is_some_and(|side| self.link.address(side).ip() == ip)
    }

    /// Whether a side has read last in that task.
    pub(super) fn is_read_in(&self, side: Side, task: Id) -> bool {
        self.state.lock().read_in[side as usize] == Some(task)
    }

    /// Whether a side may still send.
    pub(super) fn is_open(&self, side: Side) -> bool {
        let state = self.state.lock();
        !state.is_broken && state.silent.is_none() && !state.ways[side as usize].is_ended
    }

    /// Cuts or joins the directions that `which` chooses by the addresses from and to.
    pub(super) fn cut(&self, which: impl Fn(IpAddr, IpAddr) -> bool, is_cut: bool) {
        let mut readers = [None, None];
        {
            let mut state = self.state.lock();
            for side in [Side::Client, Side::Server] {
                if which(self.link.address(side).ip(), self.link.address(side.other()).ip()) {
                    let way = &mut state.ways[side as usize];
                    way.is_cut = is_cut;
                    readers[side as usize] = way.reader.take();
                }
            }
        }
        wake(readers);
    }

    fn latency(&self) -> Duration {
        self.net.0.dice.time(self.net.plan().latency.clone())
    }
}

/// One side's end of a connection.
#[derive(Debug)]
pub(super) struct SimSocket {
    pub(super) connection: Arc<Connection>,
    pub(super) side: Side,
}

impl SimSocket {
    fn process(&self) -> &Process {
        self.connection.link.process(self.side)
    }

    /// # Errors
    /// When there is no sense in going on.
    fn check(&self, state: &State) -> io::Result<()> {
        if self.process().is_dead() {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "its process is dead"));
        }
        if state.is_broken { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }

    /// Takes up to `room` bytes that have arrived, piece by piece.
    fn take(&self, mut room: usize, mut put: impl FnMut(&[u8])) -> io::Result<usize> {
        let now = self.connection.now();
        let mut taken = Vec::new();
        let writer = {
            let mut state = self.connection.state.lock();
            self.check(&state)?;
            state.read_in[self.side as usize] = try_id();
            let way = &mut state.ways[self.side.other() as usize];
            if !way.arrived(now) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            while room > 0 && way.arrived(now) {
                let Some(segment) = way.segments.front_mut() else { break };
                if segment.bytes.is_empty() {
                    // The end stays where it is.
                    break;
                }
                let piece = segment.bytes.split_to(segment.bytes.len().min(room));
                if segment.bytes.is_empty() {
                    way.segments.pop_front();
                }
                room -= piece.len();
                way.held -= piece.len();
                put(&piece);
                taken.push(piece);
            }
            way.writer.take()
        };
        wake([writer]);
        let (link, side) = (&self.connection.link, self.side);
        self.connection.net.tell(|observer| taken.iter().for_each(|piece| observer.received(link, side, piece)));
        Ok(taken.iter().map(Bytes::len).sum())
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        if !self.process().is_dead() {
            self.connection.close(self.side);
        }
    }
}

impl Socket for SimSocket {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.process().is_dead() {
            return Poll::Pending;
        }
        let now = self.connection.now();
        let mut state = self.connection.state.lock();
        let is_broken = state.is_broken;
        let way = &mut state.ways[self.side.other() as usize];
        if is_broken || way.arrived(now) {
            return Poll::Ready(Ok(()));
        }
        way.reader = Some(cx.waker().clone());
        if let Some(arrives) = way.segments.front().map(|segment| segment.arrives)
            && !way.is_cut
        {
            if way.alarm.as_ref().is_none_or(|(at, _)| *at != arrives) {
                way.alarm = Some((arrives, Box::pin(sleep(arrives - now))));
            }
            if let Some((_, alarm)) = &mut way.alarm {
                return alarm.as_mut().poll(cx).map(Ok);
            }
        }
        Poll::Pending
    }

    fn try_read(&self, mut buffer: &mut [u8]) -> io::Result<usize> {
        self.take(buffer.len(), |piece| buffer.put_slice(piece))
    }

    fn try_read_buf(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        self.take(buffer.capacity() - buffer.len(), |piece| buffer.put_slice(piece))
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.process().is_dead() {
            return Poll::Pending;
        }
        let mut state = self.connection.state.lock();
        let is_broken = state.is_broken;
        let way = &mut state.ways[self.side as usize];
        if is_broken || way.is_deaf || way.is_ended || way.held < WAY_BYTES_MAX {
            return Poll::Ready(Ok(()));
        }
        way.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Connection { net, link, state, .. } = &*self.connection;
        let mut offered: usize = slices.iter().map(|slice| slice.len()).sum();
        let (plan, dice, now) = (net.plan(), &net.0.dice, self.connection.now());
        let (reader, bytes, slow, stall) = {
            let mut state = state.lock();
            self.check(&state)?;
            let way = &mut state.ways[self.side as usize];
            if way.is_deaf || way.is_ended {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let room = WAY_BYTES_MAX.saturating_sub(way.held);
            if offered == 0 {
                return Ok(0);
            }
            if room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            offered = offered.min(room);
            if dice.chance(plan.partial_write) {
                offered = 1 + dice.index(offered);
            }
            let bytes = collected(slices, offered);
            let mut latency = dice.time(plan.latency.clone());
            let slow = dice.chance(plan.slow).then(|| dice.time(plan.slow_by.clone()));
            let stall = dice.chance(plan.stalled).then(|| dice.time(plan.stall.clone()));
            latency += slow.unwrap_or_default() + stall.unwrap_or_default();
            way.busy_until = way.busy_until.max(now) + transfer(bytes.len(), plan.bytes_per_second);
            (way.push(way.busy_until + latency, bytes.clone()), bytes, slow, stall)
        };
        wake([reader]);
        net.tell(|observer| observer.sent(link, self.side, &bytes));
        if let Some(by) = slow {
            net.did(Fault::SlowNetwork, format_args!("{link}, {:?} by {by:?}", self.side));
        }
        if let Some(by) = stall {
            net.did(Fault::StalledLink, format_args!("{link}, {:?} for {by:?}", self.side));
        }
        if dice.chance(plan.reset) {
            net.break_soon(&self.connection, Some(Fault::Reset));
        }
        Ok(bytes.len())
    }

    fn end_writing(&self) -> io::Result<()> {
        let arrives = self.connection.now() + self.connection.latency();
        let reader = {
            let mut state = self.connection.state.lock();
            self.check(&state)?;
            let way = &mut state.ways[self.side as usize];
            if way.is_ended {
                return Ok(());
            }
            way.end(arrives)
        };
        wake([reader]);
        self.connection.net.tell(|observer| observer.ended(&self.connection.link, self.side));
        Ok(())
    }
}

/// The first bytes of the slices.
fn collected(slices: &[IoSlice<'_>], bytes: usize) -> Bytes {
    let mut whole = BytesMut::with_capacity(bytes);
    for slice in slices {
        let room = bytes - whole.len();
        whole.put_slice(&slice[..slice.len().min(room)]);
    }
    whole.freeze()
}

fn transfer(bytes: usize, bytes_per_second: u64) -> Duration {
    match bytes_per_second {
        0 => Duration::ZERO,
        rate => Duration::from_micros(bytes as u64 * 1_000_000 / rate),
    }
}
