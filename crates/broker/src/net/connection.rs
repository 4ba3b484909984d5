//! One client connection: one task that reads frames, runs their requests and writes their replies.
//!
//! ```text
//! socket ─ read ─► inbox ─ frames ─► pipeline ─ replies in order ─► outbox ─ vectored write ─► socket
//! ```
//!
//! Everything a connection waits for wakes its one task: the socket, the requests (they are polled here, not spawned),
//! one timer, and the stop signal. The timer is armed for the earliest deadline and re-armed only when it fires or an
//! earlier deadline turns up, so busy connections hardly ever touch it.
//!
//! Back-pressure: no frame is read while the pipeline or the outbox is full, or while the broker's request memory is
//! used up; the client's TCP window closes and it slows down. A request also waits while the broker's memory for replies
//! is used up, and who takes next to nothing of the replies that others wait for is cut off.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use base::Clock;
use base::net::{ReadHalf, Stream, WriteHalf};
use tokio::time::Sleep;

use super::inbox::{Inbox, Next};
use super::outbox::Outbox;
use super::peer::Peer;
use super::pipeline::Pipeline;
use super::room::{Place, RequestMemory, Room};
use super::service::{CloseReason, Later, Reply, Service};
use super::stray;
use crate::limits::{
    ANSWER_TURN_REQUESTS_MAX, DRAIN_MAX, FRAME_STALL_MAX, FRAME_STALL_OVERDRAWN_MAX, HALF_CLOSED_MAX,
    READ_TURN_BYTES_MAX, REPLY_STALL_MAX, REPLY_TAKEN_SHARE_MIN,
};

/// How a connection came to its end.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The client closed it, or the broker is stopping and everything was answered.
    Closed,
    /// Nothing happened for `connections.max.idle.ms`.
    Idle,
    /// The broker closed it.
    Refused(CloseReason),
    /// The socket failed.
    Broken(std::io::Error),
}

/// What connections share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) memory: RequestMemory,
    pub(crate) idle_max: Duration,
    /// Where the console is, for browsers that come to the wrong port.
    pub(crate) console: Option<Arc<str>>,
}

pub(crate) struct Connection<S> {
    reading: ReadHalf,
    writing: WriteHalf,
    service: Arc<S>,
    peer: Arc<Peer>,
    shared: Shared,
    inbox: Inbox,
    pipeline: Pipeline<S>,
    outbox: Outbox,
    /// Memory of the frame that has begun.
    room: Option<Room>,
    stopping: Option<Later<()>>,
    timer: Pin<Box<Sleep>>,
    /// When the timer fires, on the monotonic clock.
    armed: Duration,
    /// When bytes last moved.
    active: Duration,
    /// How the client takes the replies that are there for it.
    taking: Option<Taking>,
    seen_frame: bool,
    input: Input,
}

/// What a client took of its replies within one [`REPLY_STALL_MAX`]; the next begins when it is over.
#[derive(Clone, Copy, Debug)]
struct Taking {
    since: Duration,
    /// What its replies held of the broker's memory then.
    held: u64,
    taken: u64,
}

impl Taking {
    /// Whether it was next to nothing.
    fn is_stalled(&self) -> bool {
        self.taken.saturating_mul(REPLY_TAKEN_SHARE_MIN) < self.held.max(1)
    }
}

/// What a connection did since it was woken.
#[derive(Debug, Default)]
struct Turn {
    /// Bytes.
    read: usize,
    /// Requests.
    answered: usize,
}

/// The state of the receiving side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Open,
    /// Nothing more is read: the client closed its side or sent what cannot be read, or the broker stops. Replies follow until
    /// the deadline.
    Ended {
        until: Duration,
    },
    /// Nothing more is read and what is in the outbox is the last word, until the deadline.
    Refused {
        until: Duration,
    },
}

impl<S: Service> Connection<S> {
    /// `stop` ends when the broker wants its connections to finish.
    pub(crate) fn new(stream: Stream, service: Arc<S>, peer: Arc<Peer>, shared: Shared, stop: Later<()>) -> Self {
        let now = shared.clock.monotonic();
        let (reading, writing) = stream.split();
        Self {
            reading,
            writing,
            pipeline: Pipeline::new(service.clone(), peer.clone()),
            service,
            peer,
            inbox: Inbox::new(),
            outbox: Outbox::default(),
            room: None,
            stopping: Some(stop),
            timer: Box::pin(tokio::time::sleep(shared.idle_max)),
            armed: now + shared.idle_max,
            active: now,
            taking: None,
            shared,
            seen_frame: false,
            input: Input::Open,
        }
    }

    /// Serves the connection to its end.
    pub(crate) async fn run(mut self) -> Ended {
        let mut refused = None;
        std::future::poll_fn(|cx| self.poll(cx, &mut refused)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>, refused: &mut Option<CloseReason>) -> Poll<Ended> {
        self.poll_stop(cx);
        self.peer.begin_turn(self.shared.clock.monotonic());
        let mut turn = Turn::default();
        loop {
            if let Err(reason) = self.advance(&mut turn, cx) {
                refused.get_or_insert(reason);
                self.refuse();
            }
            let was_full = self.outbox.is_full();
            let (written, flushed) = self.outbox.poll_flush(&mut self.writing, cx);
            if written > 0 {
                self.active = self.shared.clock.monotonic();
            }
            self.note_taken(written);
            match flushed {
                Poll::Ready(Err(error)) => return Poll::Ready(Ended::Broken(error)),
                Poll::Ready(Ok(())) if self.input != Input::Open && self.pipeline.is_empty() => {
                    return Poll::Ready(refused.take().map_or(Ended::Closed, Ended::Refused));
                }
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
            if self.is_over(&turn) {
                cx.waker().wake_by_ref();
                break;
            }
            turn.read += match self.poll_read(cx) {
                Ok(Poll::Ready(read)) => read,
                Ok(Poll::Pending) if was_full && !self.outbox.is_full() => continue,
                Ok(Poll::Pending) => {
                    let charged = self.room.as_ref().map_or(0, Room::granted);
                    self.inbox.rest(usize::try_from(charged).unwrap_or(usize::MAX));
                    break;
                }
                Err(Stop::Refuse(reason)) => {
                    refused.get_or_insert(reason);
                    // What came before it is good, and answered as by Kafka.
                    self.room = None;
                    self.end_input(HALF_CLOSED_MAX);
                    continue;
                }
                Err(Stop::Broken(error)) => return Poll::Ready(Ended::Broken(error)),
            };
        }
        self.poll_timer(cx, refused)
    }

    /// Notes that the client has just taken `written` bytes of its replies.
    fn note_taken(&mut self, written: usize) {
        if self.outbox.is_empty() {
            self.taking = None;
        } else if let Some(taking) = &mut self.taking {
            taking.taken += written as u64;
        } else {
            let since = self.begin_taking();
            self.peer.wake_by(since + REPLY_STALL_MAX);
        }
    }

    /// From now on it is counted what the client takes.
    fn begin_taking(&mut self) -> Duration {
        let since = self.shared.clock.monotonic();
        self.taking = Some(Taking { since, held: self.outbox.held(), taken: 0 });
        since
    }

    /// Whether it is enough for one turn: each of its requests may be ready at once, and there may be very many.
    fn is_over(&self, turn: &Turn) -> bool {
        turn.read >= READ_TURN_BYTES_MAX
            || turn.answered >= ANSWER_TURN_REQUESTS_MAX
            || turn.answered > 0 && self.peer.has_worked_long(&self.shared.clock)
    }

    /// Moves finished replies to the outbox, in order.
    fn advance(&mut self, turn: &mut Turn, cx: &mut Context<'_>) -> Result<(), CloseReason> {
        while !self.outbox.is_full() && !self.is_over(turn) {
            match self.pipeline.poll_next(cx) {
                Poll::Ready(Reply::Frame(frame, charge)) => self.outbox.push(frame, charge),
                Poll::Ready(Reply::Nothing) => {}
                Poll::Ready(Reply::Close(reason)) => return Err(reason),
                Poll::Pending => break,
            }
            turn.answered += 1;
        }
        Ok(())
    }

    /// Reads once and cuts frames. `Pending` says that there is nothing to do until something wakes the task.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<Poll<usize>, Stop> {
        if self.input != Input::Open || self.pipeline.is_full() || self.outbox.is_full() {
            return Ok(Poll::Pending);
        }
        match self.cut(cx)? {
            Cut::Frames => return Ok(Poll::Ready(0)),
            Cut::Blocked => return Ok(Poll::Pending),
            Cut::Nothing => {}
        }
        match self.reading.poll_ready(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Err(Stop::Broken(error)),
            Poll::Pending => return Ok(Poll::Pending),
        }
        // Room for a frame is made as far as its memory is granted.
        let begun = match (self.inbox.peek(self.service.frame_bytes_max(&self.peer)), &self.room) {
            (Next::Begun(size), Some(room)) => Some(size.min(usize::try_from(room.granted()).unwrap_or(size))),
            _ => None,
        };
        match self.reading.try_read_buf(self.inbox.room(begun)) {
            Ok(0) => {
                self.end_input(HALF_CLOSED_MAX);
                Ok(Poll::Ready(0))
            }
            Ok(read) => {
                self.active = self.shared.clock.monotonic();
                self.inbox.learn(read);
                self.cut(cx)?;
                Ok(Poll::Ready(read))
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(Poll::Ready(0)),
            Err(error) => Err(Stop::Broken(error)),
        }
    }

    /// Hands complete frames to the pipeline.
    fn cut(&mut self, cx: &mut Context<'_>) -> Result<Cut, Stop> {
        let mut cut = Cut::Nothing;
        loop {
            if !self.seen_frame
                && let Some(stray) = stray::recognise(self.inbox.pending())
            {
                let mut page = wire::Writer::new();
                page.raw(&stray.answer(self.shared.console.as_deref()));
                self.outbox.push(page.finish(), None);
                return Err(Stop::refuse(stray.kind(), stray.detail()));
            }
            let size_max = self.service.frame_bytes_max(&self.peer);
            let (size, complete) = match self.inbox.peek(size_max) {
                Next::Nothing => return Ok(cut),
                Next::Begun(size) => (size, false),
                Next::Complete(size) => (size, true),
                Next::BadSize(size) => {
                    return Err(Stop::refuse(
                        "bad_frame_size",
                        format!("a frame announces {size} bytes; socket.request.max.bytes is {size_max}"),
                    ));
                }
            };
            let room = match &mut self.room {
                Some(room) => room,
                none => {
                    let Some(head) = self.inbox.head(size) else { return Ok(cut) };
                    let cost = self.service.admit(head, size).map_err(|most| {
                        let detail = format!("a frame announces {size} bytes; requests of its kind may have {most}");
                        Stop::refuse("bad_frame_size", detail)
                    })?;
                    none.insert(self.shared.memory.begin(size, cost))
                }
            };
            let was_waiting = room.is_waiting();
            // Requests that are answered one by one come through whatever others send, and groups stay alive.
            let place = if self.pipeline.is_empty() { Place::First } else { Place::Behind };
            if room.poll_receive(self.inbox.received(size) as u64, place, cx).is_pending() {
                return Ok(if cut == Cut::Frames { cut } else { Cut::Blocked });
            }
            if was_waiting {
                // It was not the client that was slow.
                self.active = self.shared.clock.monotonic();
            }
            if !complete {
                self.peer.wake_by(self.active + stall_max(room));
                return Ok(cut);
            }
            if let Some(room) = self.room.take() {
                self.seen_frame = true;
                self.pipeline.push(self.inbox.take(size), room);
                cut = Cut::Frames;
            }
            if self.pipeline.is_full() {
                return Ok(cut);
            }
        }
    }

    fn poll_stop(&mut self, cx: &mut Context<'_>) {
        if let Some(stopping) = &mut self.stopping
            && stopping.as_mut().poll(cx).is_ready()
        {
            self.stopping = None;
            self.end_input(DRAIN_MAX);
        }
    }

    /// Reads no more and lets what was read be answered, for so long.
    fn end_input(&mut self, grace: Duration) {
        if self.input == Input::Open {
            let until = self.shared.clock.monotonic() + grace;
            self.peer.start_draining();
            self.peer.wake_by(until);
            self.input = Input::Ended { until };
        }
    }

    /// Reads no more and answers no more. Nobody looks at the requests that are not answered: they may hold what others wait
    /// for, so they end here, as they would with the connection.
    fn refuse(&mut self) {
        let until = self.shared.clock.monotonic() + HALF_CLOSED_MAX;
        self.peer.wake_by(until);
        self.input = Input::Refused { until };
        self.room = None;
        self.pipeline.clear();
    }

    /// Ends the connection when it is idle, stalled or past its grace; otherwise arms the timer for what is next.
    fn poll_timer(&mut self, cx: &mut Context<'_>, refused: &mut Option<CloseReason>) -> Poll<Ended> {
        loop {
            if let Some(at) = self.peer.take_wake_at()
                && at < self.armed
            {
                self.arm(at);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = self.shared.clock.monotonic();
            let quiet = now.saturating_sub(self.active);
            let idle = self.pipeline.is_empty() || !self.outbox.is_empty();
            if let Input::Ended { until } | Input::Refused { until } = self.input
                && until <= now
            {
                return Poll::Ready(refused.take().map_or(Ended::Closed, Ended::Refused));
            }
            if idle && quiet >= self.shared.idle_max {
                return Poll::Ready(Ended::Idle);
            }
            let arriving = self.arriving().map(stall_max);
            if let Some(longest) = arriving
                && quiet >= longest
            {
                return Poll::Ready(Ended::Refused(CloseReason {
                    kind: "stalled_frame",
                    detail: format!("a frame stopped arriving half-way for {} s", longest.as_secs()),
                }));
            }
            if let Some(taking) = self.taking
                && now.saturating_sub(taking.since) >= REPLY_STALL_MAX
            {
                if taking.is_stalled() && self.outbox.is_awaited() {
                    return Poll::Ready(Ended::Refused(CloseReason {
                        kind: "stalled_reply",
                        detail: format!(
                            "{} of {} bytes were taken within {} s while others waited for the memory",
                            taking.taken,
                            taking.held,
                            REPLY_STALL_MAX.as_secs()
                        ),
                    }));
                }
                // Nobody may wait for it yet; somebody may later.
                self.begin_taking();
            }
            // A deadline at which nothing would be done is none: past, it would be past again and again.
            let mut next = if idle { self.active } else { now } + self.shared.idle_max;
            if let Some(longest) = arriving {
                next = next.min(self.active + longest);
            }
            if let Some(taking) = self.taking {
                next = next.min(taking.since + REPLY_STALL_MAX);
            }
            if let Input::Ended { until } | Input::Refused { until } = self.input {
                next = next.min(until);
            }
            // All of them are in the future, but for the clock's steps.
            self.arm(next.max(now + Duration::from_millis(1)));
            // The requests asked to be looked at when the timer fires.
            cx.waker().wake_by_ref();
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// The frame that is half there, if it is the client that is slow: it does not wait for memory, and would be read on. One
    /// for whose memory others wait has no excuse in replies that its client does not read.
    fn arriving(&self) -> Option<&Room> {
        let room = self.room.as_ref().filter(|room| !room.is_waiting() && self.input == Input::Open)?;
        let is_read = !self.pipeline.is_full() && !self.outbox.is_full();
        (is_read || room.overdraws()).then_some(room)
    }

    fn arm(&mut self, at: Duration) {
        // The deadline of a timer is the only tokio instant at hand without reading tokio's clock.
        let deadline = self.timer.deadline();
        let deadline = if at >= self.armed { deadline + (at - self.armed) } else { deadline - (self.armed - at) };
        self.timer.as_mut().reset(deadline);
        self.armed = at;
    }
}

/// How long a frame may stay half received without a byte arriving.
fn stall_max(room: &Room) -> Duration {
    if room.overdraws() { FRAME_STALL_OVERDRAWN_MAX } else { FRAME_STALL_MAX }
}

/// What came of looking for frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// There were some; they want to begin.
    Frames,
    /// There was none; read on.
    Nothing,
    /// Request memory is awaited.
    Blocked,
}

enum Stop {
    Refuse(CloseReason),
    Broken(std::io::Error),
}

impl Stop {
    fn refuse(kind: &'static str, detail: impl Into<String>) -> Self {
        Self::Refuse(CloseReason { kind, detail: detail.into() })
    }
}
