//! The operating system's network, by way of tokio's driver.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use socket2::{Domain, Protocol, SockRef, Type};
use tokio::net::{TcpListener, TcpStream};

use super::{Accept, BoxFuture, ListenOptions, Listener, NetworkSource, Socket, Stream};

#[derive(Debug)]
pub(super) struct System;

impl NetworkSource for System {
    fn listen(&self, address: SocketAddr, options: ListenOptions) -> io::Result<Listener> {
        let domain = if address.is_ipv6() { Domain::IPV6 } else { Domain::IPV4 };
        let socket = socket2::Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() && address.ip().is_unspecified() {
            // `[::]` serves IPv4 clients too, as Kafka's wildcard listener does.
            socket.set_only_v6(false)?;
        }
        // Buffers are inherited by accepted sockets; the receive buffer must be set before listening to scale the window.
        if let Some(bytes) = options.send_buffer {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(bytes) = options.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(options.backlog)?;
        let listener = TcpListener::from_std(socket.into())?;
        let local = listener.local_addr()?;
        Ok(Listener::new(Box::new(SystemListener { listener, local })))
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            let (local, remote) = (stream.local_addr()?, stream.peer_addr()?);
            Ok(opened(stream, local, remote))
        })
    }

    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

/// Without TCP_NODELAY small replies wait for the other side's delayed acknowledgement; a peer that is gone is found by
/// keep-alive. Both are an improvement only, so a refusal is not an error.
fn opened(stream: TcpStream, local: SocketAddr, remote: SocketAddr) -> Stream {
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_keepalive(true);
    Stream::new(Arc::new(stream), local, remote)
}

#[derive(Debug)]
struct SystemListener {
    listener: TcpListener,
    local: SocketAddr,
}

impl Accept for SystemListener {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        let (stream, remote) = ready!(self.listener.poll_accept(cx))?;
        let local = stream.local_addr()?;
        Poll::Ready(Ok(opened(stream, local, remote)))
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

impl Socket for TcpStream {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_read_ready(self, cx)
    }

    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Self::try_read(self, buffer)
    }

    fn try_read_buf(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        Self::try_read_buf(self, buffer)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_write_ready(self, cx)
    }

    fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match slices {
            [one] => Self::try_write(self, one),
            many => Self::try_write_vectored(self, many),
        }
    }

    fn end_writing(&self) -> io::Result<()> {
        match SockRef::from(self).shutdown(std::net::Shutdown::Write) {
            // The other side was quicker.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            ended => ended,
        }
    }
}
