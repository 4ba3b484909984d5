//! The hash in a store's answer to a write, and the hash that it must be. Where the store does not compare a checksum
//! that goes along, this tells whether it holds what it was sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use base::task;
use md5::{Digest, Md5};
use opendal::Metadata;

use crate::backend::Evidence;
use crate::error::StoreError;
use crate::payload::Payload;

/// Bodies from this size on are hashed on a thread of their own.
const HASH_INLINE_BYTES_MAX: u64 = 256 * 1024;

/// The hash of an object in the answer to its write.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Theirs {
    /// Its MD5, in base 64.
    Md5(String),
    /// An entity tag: often the MD5 of the bytes in hexadecimal digits, or that of the parts' MD5s with their number
    /// after it; but not for what is encrypted with a key of the user's.
    Tag(String),
}

impl Theirs {
    pub(crate) fn of(answer: &Metadata) -> Option<Self> {
        if let Some(md5) = answer.content_md5().filter(|md5| !md5.is_empty()) {
            return Some(Self::Md5(md5.to_owned()));
        }
        let tag = answer.etag()?.trim_matches('"').to_ascii_lowercase();
        let hash = tag.split('-').next().unwrap_or_default();
        let is_hash = hash.len() == 32 && hash.bytes().all(|digit| digit.is_ascii_hexdigit());
        is_hash.then_some(Self::Tag(tag))
    }

    /// Whether it is the hash of what was sent. A tag that is not may be no hash at all; an MD5 that is not is an error.
    fn is_of(&self, key: &str, ours: &Ours) -> Result<bool, StoreError> {
        match self {
            Self::Md5(theirs) if *theirs == ours.md5 => Ok(true),
            Self::Md5(theirs) => {
                let reason = format!("the store has bytes with MD5 {theirs}, those sent have {}", ours.md5);
                Err(StoreError::Damaged { key: key.to_owned(), reason })
            }
            Self::Tag(theirs) => Ok(*theirs == ours.tag),
        }
    }
}

/// Which entity tags of a store have been the hashes that they should be. Whole objects and those in parts have formulas
/// of their own.
#[derive(Debug, Default)]
pub(crate) struct Tags {
    whole: Arc<Formula>,
    in_parts: Arc<Formula>,
}

/// What tags of one formula have shown so far.
#[derive(Debug, Default)]
struct Formula {
    /// One was the hash, so that any that differs means damage.
    held: AtomicBool,
    /// How many differed though all bytes of their objects were read back and found right.
    no_hash: AtomicU32,
}

/// So many tags must have been seen to be no hash, and none to be one, before those that differ are taken for something
/// else, such as the tags of what is encrypted with a key of the user's. Damage is never among them, nor what nobody could
/// look at.
const NO_HASH_TAGS_ENOUGH: u32 = 16;

/// A tag that is not the hash of what was sent. Whoever holds it reads the object back.
#[derive(Clone, Debug)]
pub struct Doubt(Arc<Formula>);

impl Doubt {
    /// All bytes of the object were read back and are those that were sent: its tag is no hash of them.
    pub(crate) fn found_right(&self) {
        self.0.no_hash.fetch_add(1, Ordering::Relaxed);
    }
}

impl Tags {
    pub(crate) fn compare(
        &self,
        key: &str,
        theirs: &Theirs,
        ours: &Ours,
        in_parts: bool,
    ) -> Result<Evidence, StoreError> {
        let formula = if in_parts { &self.in_parts } else { &self.whole };
        if theirs.is_of(key, ours)? {
            if matches!(theirs, Theirs::Tag(_)) {
                formula.held.store(true, Ordering::Relaxed);
            }
            return Ok(Evidence::Hash);
        }
        let no_hash = formula.no_hash.load(Ordering::Relaxed) >= NO_HASH_TAGS_ENOUGH;
        if no_hash && !formula.held.load(Ordering::Relaxed) {
            return Ok(Evidence::None);
        }
        Ok(Evidence::Doubt(Doubt(formula.clone())))
    }
}

/// The hashes of what was sent, as a store would answer them.
#[derive(Debug)]
pub(crate) struct Ours {
    md5: String,
    tag: String,
}

impl Ours {
    /// Of a body sent in one, or in parts of `part_bytes`.
    ///
    /// # Errors
    /// When the thread that hashes fails.
    pub(crate) async fn of(body: Payload, part_bytes: Option<usize>) -> Result<Self, String> {
        if body.len() <= HASH_INLINE_BYTES_MAX {
            return Ok(Self::hash(&body, part_bytes));
        }
        let hashed = task::spawn_blocking("blob-md5", move || Self::hash(&body, part_bytes));
        hashed.await.map_err(|error| format!("hashing what was sent: {error}"))
    }

    fn hash(body: &Payload, part_bytes: Option<usize>) -> Self {
        match part_bytes {
            None => {
                let md5 = md5(body);
                Self { md5: base64(&md5), tag: hex(&md5) }
            }
            Some(part_bytes) => {
                let parts = body.chunks(part_bytes);
                let hashes: Vec<u8> = parts.iter().flat_map(md5).collect();
                let tag = format!("{}-{}", hex(&md5(&Payload::from(hashes))), parts.len());
                // No store answers the MD5 of the whole: it would have to read it again.
                Self { md5: String::new(), tag }
            }
        }
    }
}

fn md5(body: &Payload) -> [u8; 16] {
    let mut hash = Md5::new();
    body.parts().iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let number = (0..3).fold(0, |number, at| number << 8 | usize::from(three.get(at).copied().unwrap_or(0)));
        for digit in 0..4 {
            let known = digit <= three.len();
            text.push(if known { char::from(DIGITS[number >> (18 - 6 * digit) & 63]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use opendal::MetadataBuilder;

    use super::*;

    fn theirs(md5: Option<&str>, tag: &str) -> Option<Theirs> {
        let mut answer = MetadataBuilder::unknown();
        if let Some(md5) = md5 {
            answer.content_md5(md5);
        }
        answer.etag(tag);
        Theirs::of(&answer.build())
    }

    #[tokio::test]
    async fn a_hash_in_the_answer_proves_what_was_sent_and_a_tag_alone_disproves_nothing() {
        let ours = Ours::of(Payload::from(b"headwater"), None).await.unwrap();
        let tag = "1eb6aee9af41846fcf40782c6fcd3ead";
        assert!(theirs(Some(&ours.md5), "").unwrap().is_of("a", &ours).unwrap());
        let other = theirs(Some("AAAAAAAAAAAAAAAAAAAAAA=="), tag).unwrap();
        assert!(matches!(other.is_of("a", &ours), Err(StoreError::Damaged { .. })));
        for same in [format!("\"{tag}\""), tag.to_uppercase()] {
            assert!(theirs(None, &same).unwrap().is_of("a", &ours).unwrap());
        }
        assert!(!theirs(None, "00000000000000000000000000000000").unwrap().is_of("a", &ours).unwrap());
        for none in ["", "\"0x8DA0A64D66790C3\"", "abc", "ä"] {
            assert_eq!(theirs(None, none), None, "{none}");
        }
    }

    #[tokio::test]
    async fn tags_that_were_often_seen_to_be_no_hash_are_not_looked_into_any_more() {
        let (tags, body) = (Tags::default(), || Payload::from(b"headwater"));
        let (whole, parts) = (Ours::of(body(), None).await.unwrap(), Ours::of(body(), Some(4)).await.unwrap());
        let same = |ours: &Ours| theirs(None, &ours.tag).unwrap();
        let other = theirs(None, "00000000000000000000000000000000-3").unwrap();
        let doubt = |ours: &Ours, in_parts| match tags.compare("a", &other, ours, in_parts).unwrap() {
            Evidence::Doubt(doubt) => Some(doubt),
            _ => None,
        };
        assert!(matches!(tags.compare("a", &same(&whole), &whole, false).unwrap(), Evidence::Hash));
        for _ in 0..NO_HASH_TAGS_ENOUGH {
            doubt(&whole, false).unwrap().found_right();
            // Damaged, or nobody could look: that says nothing of tags.
            for _ in 0..NO_HASH_TAGS_ENOUGH {
                doubt(&parts, true).unwrap();
            }
            doubt(&parts, true).unwrap().found_right();
        }
        assert!(doubt(&whole, false).is_some(), "one was the hash");
        assert!(doubt(&parts, true).is_none(), "another formula");
        assert!(matches!(tags.compare("a", &same(&parts), &parts, true).unwrap(), Evidence::Hash));
        assert!(doubt(&parts, true).is_some());
    }

    #[tokio::test]
    async fn the_tag_of_parts_is_the_hash_of_their_hashes() {
        let ours = Ours::of(Payload::from(b"headwater"), Some(4)).await.unwrap();
        // printf head | md5sum, "wate", "r"; their 48 bytes hashed again.
        assert_eq!(ours.tag, "67773ba9229fa49fc5f0fb4f21f4b5cb-3");
    }

    #[test]
    fn base_64_is_padded_as_the_stores_do() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
