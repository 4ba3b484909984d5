//! [`next_frame`]: cuts a connection's bytes into frames.
//!
//! | Field | Type |
//! |---|---|
//! | size | i32, bytes that follow |
//! | body | header and message |
//!
//! A size is checked before any memory is set aside for it, and what is plainly another protocol is told apart, so that
//! the listener can answer or log it.

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

/// The largest frame before a client has authenticated, in bytes (Kafka's limit for SASL frames).
pub const UNAUTHENTICATED_FRAME_BYTES_MAX: usize = 512 * 1024;

/// The default of `socket.request.max.bytes`, the largest frame afterwards.
pub const FRAME_BYTES_MAX: usize = 100 * 1024 * 1024;

/// Room made at once for a frame that is still arriving: memory follows the bytes, not the size that was announced.
const READ_AHEAD_BYTES_MAX: usize = 256 * 1024;

const SIZE_BYTES: usize = size_of::<i32>();

/// What starts an HTTP request, as far as the first four bytes go, and an HTTP/2 preface.
const HTTP_STARTS: [&[u8; 4]; 9] = [b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI", b"PATC", b"CONN", b"PRI "];

/// Why bytes are not frames of the Kafka protocol. The connection has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The size is negative.
    #[error("the frame size is negative ({size}); this is no Kafka client")]
    Negative {
        /// The size as sent.
        size: i32,
    },
    /// The size is above the limit.
    #[error("a frame of {size} bytes is above the limit of {limit}; see socket.request.max.bytes")]
    TooLarge {
        /// The size as sent.
        size: usize,
        /// The limit in force.
        limit: usize,
    },
    /// The bytes are an HTTP request.
    #[error("this is HTTP; the Kafka protocol is spoken here")]
    Http,
    /// The bytes are a TLS handshake.
    #[error("this is TLS, but the listener is a plain one; use a listener of protocol SSL or SASL_SSL")]
    Tls,
}

/// Looks at the size in front of a frame; `None` until its four bytes are there.
pub fn frame_size(start: &[u8], limit: usize) -> Result<Option<usize>, FrameError> {
    let Some(first) = start.first_chunk::<SIZE_BYTES>() else {
        return Ok(None);
    };
    let sent = i32::from_be_bytes(*first);
    match usize::try_from(sent) {
        Ok(size) if size <= limit => Ok(Some(size)),
        _ if HTTP_STARTS.contains(&first) => Err(FrameError::Http),
        // A handshake record of TLS 1.0 or later; before, the version byte was not 3.
        _ if first[..2] == [0x16, 0x03] => Err(FrameError::Tls),
        Ok(size) => Err(FrameError::TooLarge { size, limit }),
        Err(_) => Err(FrameError::Negative { size: sent }),
    }
}

/// Takes the next whole frame off the front of `received`, without its size; `None` if more bytes are needed, for which
/// some room is then made.
pub fn next_frame(received: &mut BytesMut, limit: usize) -> Result<Option<Bytes>, FrameError> {
    let Some(size) = frame_size(received, limit)? else {
        return Ok(None);
    };
    let missing = (SIZE_BYTES + size).saturating_sub(received.len());
    if missing > 0 {
        received.reserve(missing.min(READ_AHEAD_BYTES_MAX));
        return Ok(None);
    }
    received.advance(SIZE_BYTES);
    Ok(Some(received.split_to(size).freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_whole_however_the_bytes_arrive() {
        let sent = [0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 1, 9];
        let (mut received, mut frames) = (BytesMut::new(), Vec::new());
        for byte in sent {
            received.extend_from_slice(&[byte]);
            while let Some(frame) = next_frame(&mut received, 16).unwrap() {
                frames.push(frame.to_vec());
            }
        }
        assert_eq!(frames, [vec![1, 2, 3], vec![], vec![9]]);
    }

    #[test]
    fn what_is_no_frame_is_named() {
        let error = |bytes: &[u8]| frame_size(bytes, FRAME_BYTES_MAX).unwrap_err();
        assert_eq!(error(&[0xff; 4]), FrameError::Negative { size: -1 });
        assert_eq!(error(b"GET / HTTP/1.1"), FrameError::Http);
        assert_eq!(error(&[0x16, 0x03, 0x01, 0x02]), FrameError::Tls);
        assert_eq!(error(&[0x7f, 0, 0, 0]), FrameError::TooLarge { size: 0x7f00_0000, limit: FRAME_BYTES_MAX });
        assert_eq!(frame_size(&[0, 0, 0], 1), Ok(None));
        assert_eq!(
            frame_size(&[0, 8, 0, 1], UNAUTHENTICATED_FRAME_BYTES_MAX),
            Err(FrameError::TooLarge { size: 524_289, limit: 524_288 })
        );
    }
}
