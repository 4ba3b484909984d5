//! Members of gzip, one behind the other.
//!
//! As Java's `GZIPInputStream`: whatever follows a member and does not begin another one is passed over.

use std::io::{self, Read};

use flate2::bufread::GzDecoder;

pub(super) struct Reader<'a>(GzDecoder<&'a [u8]>);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(GzDecoder::new(bytes))
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.0.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let next = GzDecoder::new(*self.0.get_ref());
            if next.header().is_none() {
                return Ok(0);
            }
            self.0 = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn member(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> io::Result<String> {
        let mut text = String::new();
        Reader::new(bytes).read_to_string(&mut text).map(|_| text)
    }

    #[test]
    fn members_are_read_and_what_follows_is_not() {
        let two = [member("one"), member(""), member("two")].concat();
        assert_eq!(read(&two).unwrap(), "onetwo");
        for more in [&b"more"[..], &[0; 40], &[0x1f], &[0x1f, 0x8b, 8]] {
            assert_eq!(read(&[&two, more].concat()).unwrap(), "onetwo", "{more:?}");
        }
        assert!(read(b"no member at all").is_err());
        assert!(read(&two[..two.len() - 1]).is_err(), "a member without its end");
    }
}
