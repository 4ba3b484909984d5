//! The network port: listen, connect, resolve, and streams that split into a reading and a writing half.
//!
//! A [`Network`] is handed down as [`Clock`](crate::Clock) is. Behind it stand the operating system ([`Network::system`]),
//! a network in memory ([`memory`]), and a simulator's.
//!
//! Reading and writing are in two steps, readiness and a try that never waits: who waits for bytes holds no buffer, and
//! who writes can look at what to write at the last moment. For code that wants plain streams, [`Stream`] and its halves
//! are [`AsyncRead`] and [`AsyncWrite`].
//!
//! Invariants:
//! * Bytes arrive in the order in which they were written, once, or the stream breaks.
//! * A try that returns `WouldBlock` has done nothing, and the next readiness follows a change.
//! * One task waits for reading and one for writing at a time; [`Stream::split`] is how two tasks share a stream.
//! * A stream ends when both of its halves are dropped.

mod blocking;
pub mod memory;
mod system;

use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub use blocking::BlockingStream;

/// A future without a name.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a listening socket is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    /// Connections that may wait to be accepted.
    pub backlog: i32,
    /// Bytes; `None` leaves the size to the operating system, which adapts it.
    pub send_buffer: Option<usize>,
    /// Likewise.
    pub receive_buffer: Option<usize>,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self { backlog: 1024, send_buffer: None, receive_buffer: None }
    }
}

/// A source of connections.
pub trait NetworkSource: Send + Sync + fmt::Debug {
    /// Listens at `address`; port 0 is any free one.
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable`, or whatever the network says.
    fn listen(&self, address: SocketAddr, options: ListenOptions) -> io::Result<Listener>;

    /// Connects to `address`. There is no time limit but the network's own.
    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Stream>>;

    /// The addresses of a host, in the order in which to try them.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>>;
}

/// A shared handle on a [`NetworkSource`].
#[derive(Clone, Debug)]
pub struct Network(Arc<dyn NetworkSource>);

impl Network {
    /// The operating system's.
    pub fn system() -> Self {
        Self(Arc::new(system::System))
    }

    /// A network of the caller's.
    pub fn from_source(source: Arc<dyn NetworkSource>) -> Self {
        Self(source)
    }

    /// See [`NetworkSource::listen`].
    ///
    /// # Errors
    /// As there.
    pub fn listen(&self, address: SocketAddr, options: ListenOptions) -> io::Result<Listener> {
        self.0.listen(address, options)
    }

    /// See [`NetworkSource::connect`].
    ///
    /// # Errors
    /// `ConnectionRefused`, `TimedOut`, or whatever the network says.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<Stream> {
        self.0.connect(address).await
    }

    /// See [`NetworkSource::resolve`].
    ///
    /// # Errors
    /// When the host is not known, or nobody could be asked.
    pub async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.0.resolve(host, port).await
    }

    /// As [`Network::resolve`], of `host:port`; an IPv6 address may stand in brackets.
    ///
    /// # Errors
    /// `InvalidInput` when it is not of that form, or as there.
    pub async fn resolve_text(&self, address: &str) -> io::Result<Vec<SocketAddr>> {
        let none = || io::Error::new(io::ErrorKind::InvalidInput, format!("{address} is not host:port"));
        let (host, port) = address.rsplit_once(':').ok_or_else(none)?;
        let port = port.parse().map_err(|_| none())?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        self.resolve(host, port).await
    }
}

/// The accepting side.
pub trait Accept: Send + Sync + fmt::Debug {
    /// The next connection.
    ///
    /// # Errors
    /// Of this attempt; the next one may succeed.
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Stream>>;

    /// Where it listens, with the port that was found.
    fn local_addr(&self) -> SocketAddr;
}

/// A listening socket.
#[derive(Debug)]
pub struct Listener(Box<dyn Accept>);

impl Listener {
    /// A listener of the caller's network.
    pub fn new(accept: Box<dyn Accept>) -> Self {
        Self(accept)
    }

    /// The next connection; nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// Of this attempt; the next one may succeed.
    pub async fn accept(&self) -> io::Result<Stream> {
        poll_fn(|cx| self.0.poll_accept(cx)).await
    }

    /// Where it listens, with the port that was found.
    pub fn local_addr(&self) -> SocketAddr {
        self.0.local_addr()
    }
}

/// Both directions of a connection. Each `poll_…_ready` remembers one waker, the last.
pub trait Socket: Send + Sync + fmt::Debug {
    /// Ready when a read would not block: there are bytes, the end, or an error.
    ///
    /// # Errors
    /// When the connection is broken.
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Reads what is there into `buffer`; 0 is the end, if there was room.
    ///
    /// # Errors
    /// `WouldBlock`, or why the connection is broken.
    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Reads what is there into the room that `buffer` has.
    ///
    /// # Errors
    /// As [`Socket::try_read`].
    fn try_read_buf(&self, buffer: &mut BytesMut) -> io::Result<usize>;

    /// Ready when a write would not block.
    ///
    /// # Errors
    /// When the connection is broken.
    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Writes as much as is taken.
    ///
    /// # Errors
    /// `WouldBlock`, or why the connection is broken.
    fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Tells the other side that nothing more will be written.
    ///
    /// # Errors
    /// When the connection is broken.
    fn end_writing(&self) -> io::Result<()>;
}

/// A connection.
#[derive(Debug)]
pub struct Stream {
    socket: Arc<dyn Socket>,
    local: SocketAddr,
    remote: SocketAddr,
}

/// The reading side of a [`Stream`].
#[derive(Debug)]
pub struct ReadHalf(Arc<dyn Socket>);

/// The writing side of a [`Stream`].
#[derive(Debug)]
pub struct WriteHalf(Arc<dyn Socket>);

impl Stream {
    /// A connection of the caller's network.
    pub fn new(socket: Arc<dyn Socket>, local: SocketAddr, remote: SocketAddr) -> Self {
        Self { socket, local, remote }
    }

    /// This side's address.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The other side's address.
    pub fn peer_addr(&self) -> SocketAddr {
        self.remote
    }

    /// Both sides, for a task each.
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        (ReadHalf(self.socket.clone()), WriteHalf(self.socket))
    }
}

impl ReadHalf {
    /// See [`Socket::poll_read_ready`].
    ///
    /// # Errors
    /// As there.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read_ready(cx)
    }

    /// See [`Socket::try_read_buf`].
    ///
    /// # Errors
    /// As there.
    pub fn try_read_buf(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        self.0.try_read_buf(buffer)
    }
}

impl WriteHalf {
    /// See [`Socket::poll_write_ready`].
    ///
    /// # Errors
    /// As there.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_write_ready(cx)
    }

    /// See [`Socket::try_write_vectored`].
    ///
    /// # Errors
    /// As there.
    pub fn try_write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }
}

fn poll_read(socket: &dyn Socket, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
    loop {
        ready!(socket.poll_read_ready(cx))?;
        match socket.try_read(buffer.initialize_unfilled()) {
            Ok(read) => {
                buffer.advance(read);
                return Poll::Ready(Ok(()));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
}

fn poll_write(socket: &dyn Socket, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
    loop {
        ready!(socket.poll_write_ready(cx))?;
        match socket.try_write_vectored(slices) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            written => return Poll::Ready(written),
        }
    }
}

/// [`AsyncRead`] for what holds a socket.
macro_rules! reads {
    ($type:ty, $($socket:tt)+) => {
        impl AsyncRead for $type {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                poll_read(&*self.$($socket)+, cx, buffer)
            }
        }
    };
}

/// [`AsyncWrite`] for what holds a socket.
macro_rules! writes {
    ($type:ty, $($socket:tt)+) => {
        impl AsyncWrite for $type {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                poll_write(&*self.$($socket)+, cx, &[IoSlice::new(bytes)])
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                slices: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                poll_write(&*self.$($socket)+, cx, slices)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(self.$($socket)+.end_writing())
            }
        }
    };
}

reads!(Stream, socket);
reads!(ReadHalf, 0);
writes!(Stream, socket);
writes!(WriteHalf, 0);

#[cfg(test)]
mod tests;
