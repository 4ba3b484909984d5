//! A network in memory: streams are two bounded pipes, addresses are names. It loses and delays nothing; a simulator
//! wraps it, or does its own.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use bytes::{BufMut, BytesMut};
use parking_lot::Mutex;

use super::{Accept, BoxFuture, ListenOptions, Listener, NetworkSource, Socket, Stream};

/// Bytes that a pipe holds before its writer waits.
const PIPE_BYTES_MAX: usize = 64 << 10;
/// Where ports are given out from.
const FIRST_PORT: u16 = 32_768;

/// The network; a clone is the same one.
#[derive(Clone, Debug)]
pub struct MemoryNetwork {
    hosts: Arc<Mutex<Hosts>>,
    /// Who connects from here.
    own: IpAddr,
}

#[derive(Debug)]
struct Hosts {
    listening: BTreeMap<SocketAddr, Weak<Mutex<Backlog>>>,
    next_port: u16,
}

#[derive(Debug)]
struct Backlog {
    waiting: VecDeque<Stream>,
    limit: usize,
    acceptor: Option<Waker>,
}

impl Default for MemoryNetwork {
    fn default() -> Self {
        let hosts = Hosts { listening: BTreeMap::new(), next_port: FIRST_PORT };
        Self { hosts: Arc::new(Mutex::new(hosts)), own: Ipv4Addr::LOCALHOST.into() }
    }
}

impl MemoryNetwork {
    /// The same network as another machine sees it.
    pub fn host(&self, own: IpAddr) -> Self {
        Self { hosts: self.hosts.clone(), own }
    }
}

impl Hosts {
    /// The listener at an address, or one at that port of every address.
    fn find(&self, address: SocketAddr) -> Option<Arc<Mutex<Backlog>>> {
        let wildcard = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
        [address, wildcard].iter().find_map(|at| self.listening.get(at).and_then(Weak::upgrade))
    }

    fn take_port(&mut self) -> u16 {
        let port = self.next_port;
        self.next_port = port.checked_add(1).unwrap_or(FIRST_PORT);
        port
    }
}

impl NetworkSource for MemoryNetwork {
    fn listen(&self, mut address: SocketAddr, options: ListenOptions) -> io::Result<Listener> {
        let mut hosts = self.hosts.lock();
        if address.port() == 0 {
            address.set_port(hosts.take_port());
        }
        if hosts.find(address).is_some() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let limit = usize::try_from(options.backlog).unwrap_or(0).max(1);
        let backlog = Arc::new(Mutex::new(Backlog { waiting: VecDeque::new(), limit, acceptor: None }));
        hosts.listening.retain(|_, listening| listening.strong_count() > 0);
        hosts.listening.insert(address, Arc::downgrade(&backlog));
        Ok(Listener::new(Box::new(MemoryListener { backlog, address })))
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move {
            let mut hosts = self.hosts.lock();
            let backlog = hosts.find(address).ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionRefused))?;
            let local = SocketAddr::new(self.own, hosts.take_port());
            let mut backlog = backlog.lock();
            if backlog.waiting.len() == backlog.limit {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (there, back) = (Arc::new(Pipe::default()), Arc::new(Pipe::default()));
            let accepted = MemorySocket { incoming: there.clone(), outgoing: back.clone() };
            backlog.waiting.push_back(Stream::new(Arc::new(accepted), address, local));
            if let Some(acceptor) = backlog.acceptor.take() {
                acceptor.wake();
            }
            Ok(Stream::new(Arc::new(MemorySocket { incoming: back, outgoing: there }), local, address))
        })
    }

    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move {
            let address = match host {
                "localhost" => self.own,
                text => text.parse().map_err(|_| io::Error::new(io::ErrorKind::NotFound, format!("no host {text}")))?,
            };
            Ok(vec![SocketAddr::new(address, port)])
        })
    }
}

#[derive(Debug)]
struct MemoryListener {
    backlog: Arc<Mutex<Backlog>>,
    address: SocketAddr,
}

impl Accept for MemoryListener {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        let mut backlog = self.backlog.lock();
        match backlog.waiting.pop_front() {
            Some(stream) => Poll::Ready(Ok(stream)),
            None => {
                backlog.acceptor = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

/// One direction of a connection.
#[derive(Debug, Default)]
struct Pipe(Mutex<Contents>);

#[derive(Debug, Default)]
struct Contents {
    bytes: VecDeque<u8>,
    /// Nothing more will be written.
    ended: bool,
    /// Nobody reads any more.
    deaf: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    /// Changes the contents and wakes whoever waits for a change of them.
    fn change<T>(&self, change: impl FnOnce(&mut Contents) -> T) -> T {
        let mut contents = self.0.lock();
        let result = change(&mut contents);
        let wakers = [contents.reader.take(), contents.writer.take()];
        drop(contents);
        wakers.into_iter().flatten().for_each(Waker::wake);
        result
    }
}

#[derive(Debug)]
struct MemorySocket {
    incoming: Arc<Pipe>,
    outgoing: Arc<Pipe>,
}

impl Drop for MemorySocket {
    fn drop(&mut self) {
        self.incoming.change(|contents| contents.deaf = true);
        self.outgoing.change(|contents| contents.ended = true);
    }
}

impl Socket for MemorySocket {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut contents = self.incoming.0.lock();
        if contents.bytes.is_empty() && !contents.ended {
            contents.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let nothing = {
            let contents = self.incoming.0.lock();
            contents.bytes.is_empty() && !contents.ended
        };
        if nothing {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.incoming.change(|contents| io::Read::read(&mut contents.bytes, buffer))
    }

    fn try_read_buf(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        let mut piece = [0; 4096];
        let room = piece.len().min(buffer.capacity() - buffer.len());
        let read = self.try_read(&mut piece[..room])?;
        buffer.put_slice(&piece[..read]);
        Ok(read)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut contents = self.outgoing.0.lock();
        if contents.bytes.len() >= PIPE_BYTES_MAX && !contents.deaf {
            contents.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let room = {
            let contents = self.outgoing.0.lock();
            if contents.deaf || contents.ended {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            PIPE_BYTES_MAX.saturating_sub(contents.bytes.len())
        };
        if room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let bytes = slices.iter().flat_map(|slice| slice.iter()).take(room);
        Ok(self.outgoing.change(|contents| {
            let before = contents.bytes.len();
            contents.bytes.extend(bytes);
            contents.bytes.len() - before
        }))
    }

    fn end_writing(&self) -> io::Result<()> {
        self.outgoing.change(|contents| contents.ended = true);
        Ok(())
    }
}
