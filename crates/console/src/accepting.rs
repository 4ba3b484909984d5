//! The listener as the HTTP library wants it, and connections that end.
//!
//! The library's server has no limit of its own on how many connections there are, nor on how long they do nothing. So
//! each has a place, of which there are [`CONNECTIONS_MAX`], and a deadline that moves only when an answer begins or
//! has been taken: a client that sends its header byte by byte, or reads in the same way, gains nothing by it. Where all
//! places are taken, whoever comes gets that of the connection that has asked for nothing for longest: idle ones keep no
//! health probe waiting. One whose request waits for others is not idle, and has no deadline meanwhile.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use base::net::{Listener, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep, timeout};

use crate::asking::{Asking, Awaited, end_the_longest};
use crate::limits::{ACCEPT_RETRY, CLIENT_WAIT_MAX, CONNECTIONS_MAX, CROWDED_WAIT, PAGE_CROWDED_WAIT};

/// Accepts while there are places, and one that waits for the next.
pub(crate) struct Accepting {
    listener: Listener,
    places: Arc<Semaphore>,
    connections: Connections,
}

/// Those that are open, and for a while those that were.
#[derive(Default)]
struct Connections(Vec<Weak<Asking>>);

impl Connections {
    fn add(&mut self, asking: &Arc<Asking>) {
        if self.0.len() >= 2 * CONNECTIONS_MAX {
            self.forget_the_closed();
        }
        self.0.push(Arc::downgrade(asking));
    }

    fn forget_the_closed(&mut self) {
        self.0.retain(|asking| asking.strong_count() > 0);
    }

    fn end_the_longest_idle(&mut self) {
        self.forget_the_closed();
        let asking = || self.0.iter().filter_map(Weak::upgrade);
        let idle = asking().filter_map(|asking| asking.idle_since().map(|since| (since, asking)));
        if !end_the_longest(idle, CROWDED_WAIT) {
            // Health is asked for on other connections than those that take their time over pages.
            let waiting = asking().filter_map(|asking| asking.waiting_since().map(|since| (since, asking)));
            end_the_longest(waiting, PAGE_CROWDED_WAIT);
        }
    }
}

impl Accepting {
    pub(crate) fn new(listener: Listener) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(CONNECTIONS_MAX)), connections: Connections::default() }
    }

    async fn place(&mut self) -> OwnedSemaphorePermit {
        loop {
            if let Ok(place) = self.places.clone().try_acquire_owned() {
                return place;
            }
            self.connections.end_the_longest_idle();
            if let Ok(Ok(place)) = timeout(CROWDED_WAIT, self.places.clone().acquire_owned()).await {
                return place;
            }
        }
    }
}

impl axum::serve::Listener for Accepting {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(stream) => {
                    let remote = stream.peer_addr();
                    // Nobody has to go before somebody has come.
                    let connection = Connection::new(stream, self.place().await);
                    self.connections.add(&connection.asking);
                    return (connection, remote);
                }
                // One client went away again; the next one is not kept waiting.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionAborted
                            | io::ErrorKind::ConnectionReset
                            | io::ErrorKind::ConnectionRefused
                    ) => {}
                Err(error) => {
                    tracing::debug!(%error, "an HTTP connection could not be accepted");
                    sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.listener.local_addr())
    }
}

/// A connection that fails when its client lets it wait for too long.
pub(crate) struct Connection {
    stream: Stream,
    deadline: Pin<Box<Sleep>>,
    asking: Arc<Asking>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    fn new(stream: Stream, place: OwnedSemaphorePermit) -> Self {
        let deadline = Box::pin(sleep(CLIENT_WAIT_MAX));
        Self { stream, deadline, asking: Asking::new(), _place: place }
    }

    pub(crate) fn asking(&self) -> &Arc<Asking> {
        &self.asking
    }

    /// The client is waited for to do this, from now on if it was something else before. Wakes the task when it is too
    /// late.
    fn expect(&mut self, awaited: Awaited, cx: &mut Context<'_>) -> io::Result<()> {
        if self.asking.awaited() != awaited {
            self.asking.expect(awaited);
            self.deadline.set(sleep(CLIENT_WAIT_MAX));
        }
        self.check_deadline(cx)
    }

    fn check_deadline(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.asking.is_ended(cx) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        // It may not be the client's fault that nothing comes of its request.
        if self.asking.awaited() == Awaited::Nothing {
            return Ok(());
        }
        match self.deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check_deadline(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.expect(Awaited::Taking, cx)?;
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices));
        if let Ok(bytes) = &written {
            self.asking.took(*bytes);
        }
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// The library flushes when it has written all that it has.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        // Not only then: while its request waits, the client is not waited for.
        let awaited = match self.asking.awaited() {
            Awaited::Taking => Awaited::Request,
            same => same,
        };
        // A read that waits already is not tried again until something wakes the task.
        Poll::Ready(self.expect(awaited, cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_that_were_take_no_room_for_long() {
        let (mut connections, open) = (Connections::default(), Asking::new());
        connections.add(&open);
        for _ in 0..100 * CONNECTIONS_MAX {
            connections.add(&Asking::new());
        }
        assert!(connections.0.len() <= 2 * CONNECTIONS_MAX && connections.0[0].strong_count() == 1);
    }
}
