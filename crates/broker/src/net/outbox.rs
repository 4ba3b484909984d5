//! Replies on their way out: many frames, one vectored write, no copies.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use base::memory::Charge;
use base::net::WriteHalf;
use bytes::Buf;
use wire::Frame;

use crate::limits::{REPLY_QUEUE_BYTES_MAX, WRITE_SLICES_MAX};

/// The sending side of a connection.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Each frame with what accounts for the memory it pins, released when its last byte is written.
    frames: VecDeque<(Frame, Option<Charge>)>,
    bytes: usize,
}

impl Outbox {
    pub(crate) fn push(&mut self, frame: Frame, charge: Option<Charge>) {
        self.bytes += frame.remaining();
        self.frames.push_back((frame, charge));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Whether further replies should wait.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= REPLY_QUEUE_BYTES_MAX
    }

    /// Bytes of memory that replies here hold.
    pub(crate) fn held(&self) -> u64 {
        self.frames.iter().filter_map(|(_, charge)| charge.as_ref()).map(Charge::bytes).sum()
    }

    /// Whether somebody waits for memory that replies here hold.
    pub(crate) fn is_awaited(&self) -> bool {
        self.frames.iter().any(|(_, charge)| charge.as_ref().is_some_and(Charge::is_awaited))
    }

    /// Writes until all is written (`Ready`) or the socket takes no more; says how much.
    pub(crate) fn poll_flush(&mut self, stream: &mut WriteHalf, cx: &mut Context<'_>) -> (usize, Poll<io::Result<()>>) {
        let mut written = 0;
        while !self.frames.is_empty() {
            match self.write_once(stream) {
                Ok(0) => return (written, Poll::Ready(Err(io::ErrorKind::WriteZero.into()))),
                Ok(count) => {
                    written += count;
                    self.advance(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => match stream.poll_ready(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return (written, Poll::Ready(Err(error))),
                    Poll::Pending => return (written, Poll::Pending),
                },
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (written, Poll::Ready(Err(error))),
            }
        }
        (written, Poll::Ready(Ok(())))
    }

    fn write_once(&self, stream: &mut WriteHalf) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); WRITE_SLICES_MAX];
        let mut filled = 0;
        for (frame, _) in &self.frames {
            filled += frame.chunks_vectored(&mut slices[filled..]);
            if filled == slices.len() {
                break;
            }
        }
        stream.try_write_vectored(&slices[..filled])
    }

    fn advance(&mut self, mut count: usize) {
        self.bytes -= count;
        while let Some((frame, _)) = self.frames.front_mut() {
            let taken = count.min(frame.remaining());
            frame.advance(taken);
            count -= taken;
            if frame.has_remaining() {
                return;
            }
            self.frames.pop_front();
        }
    }
}
