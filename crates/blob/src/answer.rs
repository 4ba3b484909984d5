//! The hash in a store's answer to a write, and the hash that it must be. Where the store does not compare a checksum
//! that goes along, this tells whether it holds what it was sent.

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

    /// `tags_tell`: an entity tag of this store may be a hash of the bytes, so that one that differs is to be looked into.
    pub(crate) fn compare(&self, key: &str, ours: &Ours, tags_tell: bool) -> Result<Evidence, StoreError> {
        match self {
            Self::Md5(theirs) if *theirs == ours.md5 => Ok(Evidence::Hash),
            Self::Md5(theirs) => {
                let reason = format!("the store has bytes with MD5 {theirs}, those sent have {}", ours.md5);
                Err(StoreError::Damaged { key: key.to_owned(), reason })
            }
            Self::Tag(theirs) if *theirs == ours.tag => Ok(Evidence::Hash),
            Self::Tag(_) if tags_tell => Ok(Evidence::Doubt),
            Self::Tag(_) => Ok(Evidence::None),
        }
    }
}

/// Which entity tags of a store have been the hashes that they should be. Whole objects and those in parts have formulas
/// of their own.
#[derive(Debug, Default)]
pub(crate) struct Tags {
    whole: Formula,
    in_parts: Formula,
}

/// What tags of one formula have shown so far.
#[derive(Debug, Default)]
struct Formula {
    /// One was the hash, so that any that differs means damage.
    held: AtomicBool,
    /// How many differed.
    differed: AtomicU32,
}

/// So many tags that differ are looked into before any was the hash: after that they are taken for something else, such as
/// the tags of what is encrypted with a key of the user's. A way that damages every write of so many would be seen.
const DIFFERING_TAGS_MAX: u32 = 16;

impl Tags {
    pub(crate) fn compare(
        &self,
        key: &str,
        theirs: &Theirs,
        ours: &Ours,
        in_parts: bool,
    ) -> Result<Evidence, StoreError> {
        let seen = if in_parts { &self.in_parts } else { &self.whole };
        let tells = seen.held.load(Ordering::Relaxed) || seen.differed.load(Ordering::Relaxed) < DIFFERING_TAGS_MAX;
        let evidence = theirs.compare(key, ours, tells)?;
        match evidence {
            Evidence::Hash if matches!(theirs, Theirs::Tag(_)) => seen.held.store(true, Ordering::Relaxed),
            Evidence::Doubt => drop(seen.differed.fetch_add(1, Ordering::Relaxed)),
            _ => {}
        }
        Ok(evidence)
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
        let same = theirs(Some(&ours.md5), "").unwrap();
        assert_eq!(same.compare("a", &ours, false).unwrap(), Evidence::Hash);
        let other = theirs(Some("AAAAAAAAAAAAAAAAAAAAAA=="), tag).unwrap();
        assert!(matches!(other.compare("a", &ours, true), Err(StoreError::Damaged { .. })));
        for same in [format!("\"{tag}\""), tag.to_uppercase()] {
            assert_eq!(theirs(None, &same).unwrap().compare("a", &ours, false).unwrap(), Evidence::Hash);
        }
        let other = theirs(None, "00000000000000000000000000000000").unwrap();
        assert_eq!(other.compare("a", &ours, false).unwrap(), Evidence::None);
        assert_eq!(other.compare("a", &ours, true).unwrap(), Evidence::Doubt);
        for none in ["", "\"0x8DA0A64D66790C3\"", "abc", "ä"] {
            assert_eq!(theirs(None, none), None, "{none}");
        }
    }

    #[tokio::test]
    async fn tags_that_never_were_hashes_are_soon_not_looked_into_any_more() {
        let (tags, body) = (Tags::default(), || Payload::from(b"headwater"));
        let (whole, parts) = (Ours::of(body(), None).await.unwrap(), Ours::of(body(), Some(4)).await.unwrap());
        let same = |ours: &Ours| theirs(None, &ours.tag).unwrap();
        let other = theirs(None, "00000000000000000000000000000000-3").unwrap();
        assert_eq!(tags.compare("a", &same(&whole), &whole, false).unwrap(), Evidence::Hash);
        for _ in 0..DIFFERING_TAGS_MAX {
            assert_eq!(tags.compare("a", &other, &whole, false).unwrap(), Evidence::Doubt);
            assert_eq!(tags.compare("a", &other, &parts, true).unwrap(), Evidence::Doubt);
        }
        assert_eq!(tags.compare("a", &other, &whole, false).unwrap(), Evidence::Doubt, "one was the hash");
        assert_eq!(tags.compare("a", &other, &parts, true).unwrap(), Evidence::None, "another formula");
        assert_eq!(tags.compare("a", &same(&parts), &parts, true).unwrap(), Evidence::Hash);
        assert_eq!(tags.compare("a", &other, &parts, true).unwrap(), Evidence::Doubt);
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
