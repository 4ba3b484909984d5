//! Received bytes, cut into frames.
//!
//! ```text
//! frame   | size: i32 | size bytes |
//! ```
//!
//! A frame is a slice of the read buffer; a small one, or one that is a small part of the buffer, is copied, so that
//! the buffer stays unshared and is used again, and a frame that is kept never keeps much more than itself. A frame
//! larger than the buffer gets a buffer of exactly its size, which is read into directly. An idle connection holds no
//! buffer at all, and one that waits for the rest of a frame no more than four times what is there or charged.

use bytes::{Buf, Bytes, BytesMut};

use crate::limits::{FRAME_COPIED_BYTES_MAX, FRAME_SHARE_MIN, READ_CHUNK_BYTES_MAX, READ_CHUNK_BYTES_MIN};

const SIZE_BYTES: usize = 4;

/// What the received bytes hold next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Too few bytes for a size.
    Nothing,
    /// A frame of this size has begun.
    Begun(usize),
    /// A frame of this size is complete.
    Complete(usize),
    /// The size is negative or above the limit.
    BadSize(i32),
}

/// The receiving side of a connection.
#[derive(Debug)]
pub(crate) struct Inbox {
    buffer: BytesMut,
    chunk: usize,
    /// Size of the memory that `buffer` is a part of.
    allocated: usize,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self { buffer: BytesMut::new(), chunk: READ_CHUNK_BYTES_MIN, allocated: 0 }
    }

    /// The bytes received and not cut yet.
    pub(crate) fn pending(&self) -> &[u8] {
        &self.buffer
    }

    /// Looks at the next frame without taking it.
    pub(crate) fn peek(&self, size_max: usize) -> Next {
        let Some(head) = self.buffer.first_chunk::<SIZE_BYTES>() else {
            return Next::Nothing;
        };
        let announced = i32::from_be_bytes(*head);
        match usize::try_from(announced) {
            Ok(size) if size <= size_max => {
                if self.buffer.len() - SIZE_BYTES >= size {
                    Next::Complete(size)
                } else {
                    Next::Begun(size)
                }
            }
            _ => Next::BadSize(announced),
        }
    }

    /// How many bytes of the frame of `size` bytes at the front are there.
    pub(crate) fn received(&self, size: usize) -> usize {
        self.buffer.len().saturating_sub(SIZE_BYTES).min(size)
    }

    /// The first bytes of the frame that has begun; zeros if it is too short to have them.
    pub(crate) fn head(&self, size: usize) -> Option<[u8; 2]> {
        if size < 2 { Some([0; 2]) } else { self.buffer.get(SIZE_BYTES..)?.first_chunk::<2>().copied() }
    }

    /// Takes the complete frame that [`Self::peek`] found.
    pub(crate) fn take(&mut self, size: usize) -> Bytes {
        self.buffer.advance(SIZE_BYTES);
        if size < FRAME_COPIED_BYTES_MAX || size < self.allocated / FRAME_SHARE_MIN {
            let frame = Bytes::copy_from_slice(&self.buffer[..size]);
            self.buffer.advance(size);
            frame
        } else {
            self.buffer.split_to(size).freeze()
        }
    }

    /// Room to read into: what is missing of a frame that has begun, or a chunk.
    pub(crate) fn room(&mut self, frame: Option<usize>) -> &mut BytesMut {
        let missing = frame.map_or(0, |size| (SIZE_BYTES + size).saturating_sub(self.buffer.len()));
        let spare = self.buffer.capacity() - self.buffer.len();
        if missing > spare || spare == 0 {
            self.buffer.reserve(missing.max(self.chunk));
            self.allocated = self.buffer.capacity();
        }
        &mut self.buffer
    }

    /// Learns from one read: buffers grow while reads fill them and shrink when they do not.
    pub(crate) fn learn(&mut self, read: usize) {
        if read >= self.chunk {
            self.chunk = (self.chunk * 2).min(READ_CHUNK_BYTES_MAX);
        } else if read < self.chunk / 8 {
            self.chunk = (self.chunk / 2).max(READ_CHUNK_BYTES_MIN);
        }
    }

    /// Nothing more comes for now: gives the buffer back if nothing is in it, or nearly nothing of which `charged` bytes are
    /// accounted for. What is in it then moves to a buffer of its size.
    pub(crate) fn rest(&mut self, charged: usize) {
        if self.buffer.is_empty() {
            (self.buffer, self.allocated) = (BytesMut::new(), 0);
            return;
        }
        let used = self.buffer.len().max(charged).max(READ_CHUNK_BYTES_MIN / FRAME_SHARE_MIN);
        if self.allocated / FRAME_SHARE_MIN > used {
            self.buffer = BytesMut::from(&self.buffer[..]);
            self.allocated = self.buffer.capacity();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::*;

    fn fed(bytes: &[u8]) -> Inbox {
        let mut inbox = Inbox::new();
        inbox.room(None).put_slice(bytes);
        inbox
    }

    #[test]
    fn frames_come_out_as_they_went_in_whatever_the_cuts() {
        let frames: Vec<Vec<u8>> = [0, 1, 4_095, 4_096, 70_000].iter().map(|&n| vec![n as u8; n]).collect();
        let mut stream = Vec::new();
        for frame in &frames {
            stream.put_u32(frame.len() as u32);
            stream.put_slice(frame);
        }
        for cut in [1, 3, 1_000, 65_536] {
            let mut inbox = Inbox::new();
            let mut seen = Vec::new();
            for piece in stream.chunks(cut) {
                let begun = match inbox.peek(1 << 20) {
                    Next::Begun(size) => Some(size),
                    _ => None,
                };
                inbox.room(begun).put_slice(piece);
                while let Next::Complete(size) = inbox.peek(1 << 20) {
                    seen.push(inbox.take(size).to_vec());
                }
            }
            assert_eq!(seen, frames, "cut every {cut} bytes");
        }
    }

    #[test]
    fn a_size_that_is_negative_or_too_large_is_refused_before_memory_is_reserved() {
        assert_eq!(fed(&[0xff, 0xff, 0xff, 0xff]).peek(100), Next::BadSize(-1));
        assert_eq!(fed(&[0, 0, 0, 101]).peek(100), Next::BadSize(101));
        assert_eq!(fed(b"GET ").peek(100 << 20), Next::BadSize(0x4745_5420));
    }

    #[test]
    fn a_small_frame_does_not_keep_its_read_buffer() {
        let mut inbox = fed(&[0, 0, 0, 2, 7, 7]);
        let before = inbox.buffer.as_ptr();
        let frame = inbox.take(2);
        assert_ne!(frame.as_ptr(), before.wrapping_add(4));
    }

    #[test]
    fn a_frame_keeps_no_more_than_four_times_its_size() {
        let mut inbox = Inbox::new();
        inbox.chunk = READ_CHUNK_BYTES_MAX;
        for (size, copied) in [(READ_CHUNK_BYTES_MAX / 4 - 1, true), (READ_CHUNK_BYTES_MAX / 4, false)] {
            inbox.rest(0);
            let room = inbox.room(None);
            room.put_u32(size as u32);
            room.put_bytes(7, size + 1000);
            let place = inbox.buffer.as_ptr().wrapping_add(SIZE_BYTES);
            assert_eq!(inbox.take(size).as_ptr() != place, copied, "{size} bytes");
            inbox.buffer.clear();
        }
    }

    #[test]
    fn an_idle_inbox_holds_no_buffer() {
        let mut inbox = fed(&[0, 0, 0, 0]);
        let Next::Complete(size) = inbox.peek(10) else { panic!("an empty frame is complete") };
        let _ = inbox.take(size);
        inbox.rest(0);
        assert_eq!(inbox.buffer.capacity(), 0);
    }

    #[test]
    fn the_beginning_of_a_frame_keeps_no_large_buffer() {
        for (begun, charged, kept_max) in [(3, 0, 3), (100, 8 << 10, 100), (100, 256 << 10, usize::MAX)] {
            let mut inbox = Inbox::new();
            inbox.chunk = READ_CHUNK_BYTES_MAX;
            inbox.room(None).put_slice(&[0; 4_000]);
            while inbox.peek(0) == Next::Complete(0) {
                let _ = inbox.take(0);
            }
            inbox.room(None).put_slice(&vec![1; begun]);
            inbox.rest(charged);
            assert_eq!(inbox.pending(), vec![1; begun]);
            assert!(inbox.buffer.capacity() <= kept_max, "{} for {begun} bytes", inbox.buffer.capacity());
            assert!(charged < 256 << 10 || inbox.allocated >= READ_CHUNK_BYTES_MAX, "what is charged is read into");
        }
    }
}
