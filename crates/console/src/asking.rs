//! What the client of a connection has asked for and what it takes, as those see it who may have its place.

use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use crate::accepting::Accepting;
use crate::limits::PAGE_TAKEN_MIN;

/// One connection. Shared by the connection, the handlers of its requests, and who looks for a place.
pub(crate) struct Asking(Mutex<State>);

struct State {
    doing: Doing,
    is_ended: bool,
    task: Option<Waker>,
}

/// What there is between client and server.
enum Doing {
    /// Nothing, or a part of a request, since then.
    Idle(Instant),
    /// A request, which waits for others since then.
    Waiting(Instant),
    /// An answer, of which the client took the last [`PAGE_TAKEN_MIN`] bytes then, and so many since.
    Taking { since: Instant, bytes: usize },
}

/// What a client is waited for to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// To send a request.
    Request,
    /// Nothing: its request waits for others.
    Nothing,
    /// To take the answer.
    Taking,
}

fn now() -> Instant {
    sleep(Duration::ZERO).deadline()
}

impl Asking {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { doing: Doing::Idle(now()), is_ended: false, task: None })))
    }

    pub(crate) fn awaited(&self) -> Awaited {
        match self.0.lock().doing {
            Doing::Idle(_) => Awaited::Request,
            Doing::Waiting(_) => Awaited::Nothing,
            Doing::Taking { .. } => Awaited::Taking,
        }
    }

    /// From now on the client is waited for to do this.
    pub(crate) fn expect(&self, awaited: Awaited) {
        self.0.lock().doing = match awaited {
            Awaited::Request => Doing::Idle(now()),
            Awaited::Nothing => Doing::Waiting(now()),
            Awaited::Taking => Doing::Taking { since: now(), bytes: 0 },
        };
    }

    /// The client took so much.
    pub(crate) fn took(&self, more: usize) {
        if let Doing::Taking { since, bytes } = &mut self.0.lock().doing {
            *bytes += more;
            if *bytes >= PAGE_TAKEN_MIN {
                (*since, *bytes) = (now(), 0);
            }
        }
    }

    /// Since when it has asked for nothing, unless it was ended for that.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        match &*self.0.lock() {
            State { doing: Doing::Idle(since), is_ended: false, .. } => Some(*since),
            _ => None,
        }
    }

    /// Since when its request has waited for others, unless it was ended for that.
    pub(crate) fn waiting_since(&self) -> Option<Instant> {
        match &*self.0.lock() {
            State { doing: Doing::Waiting(since), is_ended: false, .. } => Some(*since),
            _ => None,
        }
    }

    /// Since when it has taken next to nothing of its answer, unless it was ended for that.
    pub(crate) fn slow_since(&self) -> Option<Instant> {
        match &*self.0.lock() {
            State { doing: Doing::Taking { since, .. }, is_ended: false, .. } => Some(*since),
            _ => None,
        }
    }

    /// Ends the connection.
    pub(crate) fn end(&self) {
        let task = {
            let mut state = self.0.lock();
            state.is_ended = true;
            state.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Whether it was ended. The task is woken when it is.
    pub(crate) fn is_ended(&self, cx: &Context<'_>) -> bool {
        let mut state = self.0.lock();
        match &mut state.task {
            Some(task) => task.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        state.is_ended
    }
}

/// Ends the one that has been so for longest, if that is at least `wait`; whether there is one.
pub(crate) fn end_the_longest(asking: impl Iterator<Item = (Instant, Arc<Asking>)>, wait: Duration) -> bool {
    let longest = asking.min_by_key(|(since, _)| *since).filter(|(since, _)| since.elapsed() >= wait);
    longest.inspect(|(_, asking)| asking.end()).is_some()
}

/// Whose request a handler serves.
#[derive(Clone)]
pub(crate) struct Caller(pub(crate) Arc<Asking>);

impl Connected<IncomingStream<'_, Accepting>> for Caller {
    fn connect_info(stream: IncomingStream<'_, Accepting>) -> Self {
        Self(stream.io().asking().clone())
    }
}
