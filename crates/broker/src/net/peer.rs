//! What is known about the client at the other end of a connection.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use base::Clock;

use crate::limits::WORK_TURN_MAX;
use crate::principal::Principal;

/// One connected client. Shared by the connection and the requests it runs.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Where the client is.
    pub(crate) remote: SocketAddr,
    /// The address the client dialled.
    pub(crate) local: SocketAddr,
    /// The listener it came in by.
    pub(crate) listener: Arc<str>,
    /// Who the client is. Every listener is PLAINTEXT so far.
    pub(crate) principal: Arc<Principal>,
    /// Monotonic microseconds at which the connection must look at its requests again.
    wake_at: AtomicU64,
    /// Monotonic microseconds at which the connection began its turn.
    turn_began: AtomicU64,
    draining: AtomicBool,
}

impl Peer {
    pub(crate) fn new(remote: SocketAddr, local: SocketAddr, listener: Arc<str>) -> Self {
        Self {
            remote,
            local,
            listener,
            principal: Arc::new(Principal::ANONYMOUS),
            wake_at: AtomicU64::new(u64::MAX),
            turn_began: AtomicU64::new(0),
            draining: AtomicBool::new(false),
        }
    }

    /// Asks the connection to poll its requests at `at` on the monotonic clock; to be asked on every poll that leaves
    /// the request pending, since only the earliest wish of a poll is kept. All requests of a connection run on its
    /// task, so one timer serves them all, and a request that is answered earlier need not take its wish back.
    pub(crate) fn wake_by(&self, at: Duration) {
        self.wake_at.fetch_min(micros(at), Ordering::Relaxed);
    }

    /// The earliest moment asked for since the last call.
    pub(crate) fn take_wake_at(&self) -> Option<Duration> {
        // A plain load first: this runs on every poll and there is nearly never anything to take.
        if self.wake_at.load(Ordering::Relaxed) == u64::MAX {
            return None;
        }
        Some(Duration::from_micros(self.wake_at.swap(u64::MAX, Ordering::Relaxed)))
    }

    /// The connection has been woken, and works from here on.
    pub(crate) fn begin_turn(&self, now: Duration) {
        self.turn_began.store(micros(now), Ordering::Relaxed);
    }

    /// Whether the connection has worked for [`WORK_TURN_MAX`] since it was woken.
    pub(crate) fn has_worked_long(&self, clock: &Clock) -> bool {
        let began = Duration::from_micros(self.turn_began.load(Ordering::Relaxed));
        clock.monotonic().saturating_sub(began) >= WORK_TURN_MAX
    }

    /// Lets others run if the connection has worked long; to be called between the items of a request. A connection with
    /// all its requests is one task of a runtime that has a few threads for everybody: a request that goes through a
    /// hundred thousand partitions without waiting for anything would keep one of them from all others meanwhile.
    pub(crate) async fn breathe(&self, clock: &Clock) {
        if self.has_worked_long(clock) {
            tokio::task::yield_now().await;
        }
    }

    /// `work`, of which nothing is done in a turn that has taken long already. Of several things that go on side by
    /// side each may have much to do without waiting for anything: all of them would do it in one turn.
    pub(crate) async fn in_turn<T>(&self, clock: &Clock, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        std::future::poll_fn(|cx| {
            if self.has_worked_long(clock) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            work.as_mut().poll(cx)
        })
        .await
    }

    /// Whether the client may send large requests. Every listener is PLAINTEXT so far: nobody is asked who they are.
    pub(crate) fn is_authenticated(&self) -> bool {
        true
    }

    /// Whether the broker is stopping: long polls answer with what they have.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}

/// Waits for `work`, but no longer than to `deadline` on the monotonic clock, and not at all once the broker stops.
pub(crate) async fn within<T>(
    peer: &Peer,
    clock: &Clock,
    deadline: Duration,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        if peer.is_draining() || clock.monotonic() >= deadline {
            return Poll::Ready(None);
        }
        peer.wake_by(deadline);
        Poll::Pending
    })
    .await
}

/// As [`within`], but a stopping broker still waits: for what was promised already.
pub(crate) async fn until<T>(
    peer: &Peer,
    clock: &Clock,
    deadline: Duration,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        if clock.monotonic() >= deadline {
            return Poll::Ready(None);
        }
        peer.wake_by(deadline);
        Poll::Pending
    })
    .await
}

/// Waits for `work` unless the broker stops first.
pub(crate) async fn unless_draining<T>(peer: &Peer, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        // The stop signal wakes the connection's task, and with it this.
        Poll::Pending if peer.is_draining() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}

fn micros(at: Duration) -> u64 {
    u64::try_from(at.as_micros()).unwrap_or(u64::MAX - 1)
}

#[cfg(test)]
mod tests {
    use base::clock::ManualTime;
    use futures::FutureExt;

    use super::*;

    #[test]
    fn others_run_once_the_work_of_a_connection_has_taken_its_time() {
        let time = ManualTime::starting_at(0);
        let clock = Clock::from_source(time.clone());
        let somewhere = SocketAddr::from(([127, 0, 0, 1], 9092));
        let peer = Peer::new(somewhere, somewhere, "TEST".into());
        peer.begin_turn(clock.monotonic());
        assert!(peer.breathe(&clock).now_or_never().is_some());
        time.advance(WORK_TURN_MAX);
        assert!(peer.breathe(&clock).now_or_never().is_none());
        peer.begin_turn(clock.monotonic());
        assert!(peer.breathe(&clock).now_or_never().is_some());
    }
}
