//! [`Str`]: the string of every message.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use bytes::Bytes;

/// An immutable UTF-8 string that shares the buffer it was received in; cloning counts a reference.
///
/// It keeps its whole buffer alive: copy it out (`Str::from(s.as_str())`) before storing it for long.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Str(Bytes);

impl Str {
    /// A string in static memory; allocates nothing.
    pub const fn from_static(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// The string in `bytes`, or `None` if they are not UTF-8.
    pub fn from_utf8(bytes: Bytes) -> Option<Self> {
        std::str::from_utf8(&bytes).is_ok().then_some(Self(bytes))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // SAFETY: every constructor takes a `str` or has checked the bytes, and `Bytes` is immutable.
        unsafe { std::str::from_utf8_unchecked(&self.0) }
    }

    /// The bytes, shared.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

/// What Java puts in place of bytes that are no text.
const REPLACEMENT: &str = "\u{fffd}";

/// The most bytes that [`replaced`] makes of so many.
pub(crate) const fn replaced_bytes_max(bytes: usize) -> usize {
    bytes.saturating_mul(REPLACEMENT.len())
}

/// What Java's `String(bytes, UTF_8)` makes of bytes that are not all UTF-8: each longest beginning of a character becomes
/// one U+FFFD, as in [`String::from_utf8_lossy`], but so does each surrogate as a whole.
pub(crate) fn replaced(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(replaced_bytes_max(bytes.len()));
    let mut rest = bytes;
    while let Some(chunk) = rest.utf8_chunks().next() {
        text.push_str(chunk.valid());
        rest = &rest[chunk.valid().len()..];
        if chunk.invalid().is_empty() {
            break;
        }
        text.push_str(REPLACEMENT);
        rest = match rest {
            [0xed, 0xa0..=0xbf, 0x80..=0xbf, rest @ ..] | [0xed, 0xa0..=0xbf, rest @ ..] => rest,
            _ => &rest[chunk.invalid().len()..],
        };
    }
    text
}

impl Deref for Str {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Str {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Str {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl From<&str> for Str {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Str {
    fn from(text: String) -> Self {
        Self(Bytes::from(text.into_bytes()))
    }
}

impl From<&String> for Str {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<Str> for String {
    fn from(text: Str) -> Self {
        text.as_str().to_owned()
    }
}

impl PartialEq<str> for Str {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Str {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialEq<String> for Str {
    fn eq(&self, other: &String) -> bool {
        self.as_str() == other
    }
}

impl PartialOrd for Str {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Str {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

// As `str` hashes, because of `Borrow<str>`.
impl Hash for Str {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl fmt::Debug for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_utf8_is_replaced_as_by_java() {
        // Each was tried with `new String(bytes, UTF_8)` of Java 17.
        let tried: &[(&[u8], &str)] = &[
            (b"caf\xe9", "caf\u{fffd}"),
            (b"\xff\xfea", "\u{fffd}\u{fffd}a"),
            (b"a\xed\xa0\x80b", "a\u{fffd}b"),
            (b"\xed\xa0\xbd\xed\xb8\x80", "\u{fffd}\u{fffd}"),
            (b"\xed\xa0", "\u{fffd}"),
            (b"\xed\xa0x", "\u{fffd}x"),
            (b"\xe2\x82", "\u{fffd}"),
            (b"\xe2\x82x", "\u{fffd}x"),
            (b"\xe0\x80\x80", "\u{fffd}\u{fffd}\u{fffd}"),
            (b"\xf0\x9f\x98", "\u{fffd}"),
            (b"\xf0\x9f\x98x", "\u{fffd}x"),
            (b"\xf4\x90\x80\x80", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
            (b"\xc0\x80", "\u{fffd}\u{fffd}"),
            (b"\xf5\x80", "\u{fffd}\u{fffd}"),
            (b"", ""),
        ];
        for (bytes, text) in tried {
            assert_eq!(replaced(bytes), *text, "{bytes:x?}");
            assert!(text.len() <= replaced_bytes_max(bytes.len()));
        }
    }
}
