//! The bytes of an object to be written: a list of shared slices, never copied together on the way to a device or a
//! socket.

use bytes::{Buf, Bytes, BytesMut};

/// What an object will hold: slices in order. Cloning shares them, so a retry costs no copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    parts: Vec<Bytes>,
    len: u64,
}

impl Payload {
    /// The payload of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a slice.
    pub fn push(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.len += part.len() as u64;
            self.parts.push(part);
        }
    }

    /// Bytes in all slices.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The slices, in order; none is empty.
    pub fn parts(&self) -> &[Bytes] {
        &self.parts
    }

    /// The slices, in order; none is empty.
    pub fn into_parts(self) -> Vec<Bytes> {
        self.parts
    }

    /// All bytes in one slice; copies only when there is more than one part.
    pub fn to_contiguous(&self) -> Bytes {
        match self.parts.as_slice() {
            [] => Bytes::new(),
            [one] => one.clone(),
            many => {
                let mut whole = BytesMut::with_capacity(self.parts.iter().map(Bytes::len).sum());
                for part in many {
                    whole.extend_from_slice(part);
                }
                whole.freeze()
            }
        }
    }

    /// Whether `other` holds the same bytes, however either is cut into slices.
    pub fn same_bytes(&self, other: &[u8]) -> bool {
        let mut rest = other;
        for part in &self.parts {
            if !rest.starts_with(part) {
                return false;
            }
            rest.advance(part.len());
        }
        rest.is_empty()
    }

    /// What comes after the first `bytes`, without copying.
    pub fn skip(&self, mut bytes: u64) -> Self {
        let rest = self.parts.iter().map(|part| {
            let gone = bytes.min(part.len() as u64);
            bytes -= gone;
            part.slice(gone as usize..)
        });
        rest.collect()
    }

    /// Cuts the payload into payloads of `size` bytes (the last may be shorter) without copying.
    pub fn chunks(&self, size: usize) -> Vec<Self> {
        let mut chunks = Vec::new();
        let mut chunk = Self::new();
        for part in &self.parts {
            let mut part = part.clone();
            while !part.is_empty() {
                let room = size.max(1) - chunk.len as usize;
                chunk.push(part.split_to(room.min(part.len())));
                if chunk.len as usize == size.max(1) {
                    chunks.push(std::mem::take(&mut chunk));
                }
            }
        }
        if !chunk.is_empty() {
            chunks.push(chunk);
        }
        chunks
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self::from_iter([bytes])
    }
}

impl From<Vec<Bytes>> for Payload {
    fn from(parts: Vec<Bytes>) -> Self {
        Self::from_iter(parts)
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from(Bytes::from(bytes))
    }
}

impl From<&'static [u8]> for Payload {
    fn from(bytes: &'static [u8]) -> Self {
        Self::from(Bytes::from_static(bytes))
    }
}

impl<const N: usize> From<&'static [u8; N]> for Payload {
    fn from(bytes: &'static [u8; N]) -> Self {
        Self::from(Bytes::from_static(bytes))
    }
}

impl FromIterator<Bytes> for Payload {
    fn from_iter<I: IntoIterator<Item = Bytes>>(parts: I) -> Self {
        let mut payload = Self::new();
        for part in parts {
            payload.push(part);
        }
        payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Payload {
        vec![Bytes::from_static(b"abc"), Bytes::new(), Bytes::from_static(b"defgh"), Bytes::from_static(b"i")].into()
    }

    #[test]
    fn chunks_cover_every_byte_once_and_in_order() {
        for size in 1..12 {
            let chunks = three().chunks(size);
            assert!(chunks[..chunks.len() - 1].iter().all(|chunk| chunk.len() == size as u64));
            let whole: Payload = chunks.into_iter().flat_map(Payload::into_parts).collect();
            assert_eq!(whole.to_contiguous(), "abcdefghi");
        }
    }

    #[test]
    fn what_is_skipped_is_gone_and_the_rest_is_there() {
        for count in 0..12 {
            assert_eq!(three().skip(count).to_contiguous(), b"abcdefghi"[(count as usize).min(9)..], "{count}");
        }
    }

    #[test]
    fn same_bytes_ignores_the_cuts_and_nothing_else() {
        assert!(three().same_bytes(b"abcdefghi"));
        for other in [&b"abcdefgh"[..], b"abcdefghij", b"abcdefghj", b""] {
            assert!(!three().same_bytes(other));
        }
        assert!(Payload::new().same_bytes(b""));
    }
}
