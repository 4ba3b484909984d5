//! The port to an object store: what every backend must offer, and nothing that one of them lacks (no
//! compare-and-swap, no append, no rename).

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
pub use futures::future::BoxFuture;

pub use crate::answer::Doubt;
use crate::error::{Cause, StoreError};
use crate::payload::Payload;

/// Longest name of an object in bytes; S3 allows 1,024 including the prefix of the store.
pub const KEY_BYTES_MAX: usize = 512;
/// Most keys in one delete request. S3 takes 1,000, R2 fewer, and COS and OBS have one request for each key: the whole
/// must end within one attempt's time.
pub const DELETE_KEYS_MAX: usize = 100;
/// Most objects in one page of a listing; S3's own limit.
pub const LIST_PAGE_MAX: usize = 1_000;

/// Which bytes of an object to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadRange {
    /// All of them.
    Whole,
    /// `[start, end)`; all must exist, or the read is short.
    Bytes(Range<u64>),
}

impl From<Range<u64>> for ReadRange {
    fn from(range: Range<u64>) -> Self {
        Self::Bytes(range)
    }
}

impl From<std::ops::RangeFull> for ReadRange {
    fn from(_: std::ops::RangeFull) -> Self {
        Self::Whole
    }
}

/// One object of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Its name.
    pub key: String,
    /// Its length in bytes.
    pub len: u64,
}

/// One page of a listing, in ascending byte order of the keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPage {
    /// The objects.
    pub objects: Vec<ObjectMeta>,
    /// Whether more may follow after the last one.
    pub more: bool,
}

/// How an object larger than one request is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MultipartPlan {
    /// Bytes of every part but the last.
    pub part_bytes: usize,
    /// Parts in flight at once.
    pub concurrency: usize,
}

/// What shows, beside the answer "OK", that an object holds the bytes that were sent.
#[derive(Clone, Debug)]
pub enum Evidence {
    /// They never left this machine: the kernel took all of them and synced them.
    Local,
    /// The store compared them with a checksum that went along, or answered the hash of what it holds.
    Hash,
    /// The answer's tag is not the hash of the bytes, and it has been that before or may be it: the object is damaged, or
    /// the store hashes something else. All of it is read back.
    Doubt(Doubt),
    /// Nothing: [`crate::Store`] reads back before it believes the answer.
    None,
}

/// What one attempt at a put-if-absent came to.
#[derive(Clone, Debug)]
pub enum CreateAttempt {
    /// The store says that it made the object.
    Created(Evidence),
    /// The name was taken.
    Exists,
    /// See [`crate::CreateOutcome::Unknown`].
    Unknown(Cause),
}

/// One object store. Implementations do one attempt per call and never retry a create; [`crate::Store`] adds checks,
/// retries, time limits and counters.
pub trait Backend: Send + Sync + fmt::Debug {
    /// The store as a user knows it, without secrets; for messages.
    fn name(&self) -> String;

    /// `None` when [`Backend::create`] is offered, else why it is not.
    fn lacks_create(&self) -> Option<String> {
        None
    }

    /// Whether requests cross a network and cost money each; local backends have no multipart and no time limit.
    fn is_remote(&self) -> bool;

    /// Resolves, with the reason, once this backend can write nothing more, whatever is mended beneath it: only another start
    /// of the process can. Most never do.
    fn failed(&self) -> BoxFuture<'static, StoreError> {
        Box::pin(std::future::pending())
    }

    /// Writes or replaces an object; when it returns the store says that the object is durable and whole. Readers see
    /// the old object, or none, or the new one, never a part.
    fn put<'a>(&'a self, key: &'a str, body: Payload) -> BoxFuture<'a, Result<Evidence, StoreError>>;

    /// As [`Backend::put`] in parts. Answers how many requests it took, too.
    fn put_multipart<'a>(
        &'a self,
        key: &'a str,
        body: Payload,
        plan: MultipartPlan,
    ) -> BoxFuture<'a, Result<(u64, Evidence), StoreError>> {
        let _ = plan;
        Box::pin(async move { self.put(key, body).await.map(|evidence| (1, evidence)) })
    }

    /// Writes an object if the name is free. Atomic: of any number of callers exactly one is answered `Created`.
    fn create<'a>(&'a self, key: &'a str, body: Payload) -> BoxFuture<'a, CreateAttempt>;

    /// Finds out whether the store compares the checksums that go with a write, by a write under `key` that is damaged
    /// on its way. Where it does, later writes have [`Evidence::Hash`]. The object may be there afterwards.
    fn test_checksums<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        let _ = key;
        Box::pin(std::future::ready(Ok(false)))
    }

    /// Reads bytes; answers exactly those asked for or an error.
    fn get<'a>(&'a self, key: &'a str, range: ReadRange) -> BoxFuture<'a, Result<Bytes, StoreError>>;

    /// As [`Backend::get`] of consecutive parts that begin at `start`, each in memory of its own: whoever keeps one of
    /// them keeps nothing of the others.
    fn get_parts<'a>(
        &'a self,
        key: &'a str,
        start: u64,
        lengths: &'a [u32],
    ) -> BoxFuture<'a, Result<Vec<Bytes>, StoreError>> {
        Box::pin(async move {
            let range = parts_range(start, lengths);
            let whole = self.get(key, ReadRange::Bytes(range.clone())).await?;
            if whole.len() as u64 != range.end - range.start {
                return Err(StoreError::ShortRead { key: key.to_owned(), range, got: whole.len() as u64 });
            }
            if lengths.len() == 1 {
                return Ok(vec![whole]);
            }
            let mut rest = &whole[..];
            let part =
                |length: &u32| rest.split_off(..*length as usize).map_or_else(Bytes::new, Bytes::copy_from_slice);
            Ok(lengths.iter().map(part).collect())
        })
    }

    /// The object's length.
    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<ObjectMeta, StoreError>>;

    /// Up to `limit` objects whose names start with `prefix` and lie after `start_after`, in byte order.
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        start_after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<ListPage, StoreError>>;

    /// Deletes up to [`DELETE_KEYS_MAX`] objects. Names that do not exist are no error. Not atomic: after an error any
    /// of them may be gone.
    fn delete_batch<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// What consecutive parts span.
pub(crate) fn parts_range(start: u64, lengths: &[u32]) -> Range<u64> {
    start..start + lengths.iter().map(|length| u64::from(*length)).sum::<u64>()
}

/// Refuses names that some backend could not hold, or could hold only by escaping its root: segments are separated by
/// single slashes, do not start with a dot, and are made of printable ASCII without `\`.
pub fn check_key(key: &str) -> Result<(), StoreError> {
    check(key, false)
}

/// As [`check_key`] for the prefix of a listing, which may be empty or end in a slash.
pub fn check_prefix(prefix: &str) -> Result<(), StoreError> {
    if prefix.is_empty() { Ok(()) } else { check(prefix.strip_suffix('/').unwrap_or(prefix), true) }
}

fn check(key: &str, prefix: bool) -> Result<(), StoreError> {
    let reason = if key.is_empty() {
        "the name is empty"
    } else if key.len() > KEY_BYTES_MAX {
        "the name is too long"
    } else if !key.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
        "only printable ASCII without spaces and backslashes is allowed"
    } else if key.split('/').any(|segment| segment.is_empty() || segment.starts_with('.')) {
        "segments must not be empty or start with a dot"
    } else {
        return Ok(());
    };
    let what = if prefix { "listing prefix" } else { "object name" };
    Err(StoreError::InvalidInput { key: key.to_owned(), reason: format!("{what}: {reason}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_cannot_escape_the_store_or_reach_its_private_files() {
        for good in ["a", "meta/log/00000001", "4fe0/obj/1-2-3", "a=b/c_d.bin"] {
            check_key(good).unwrap();
        }
        let long = "x".repeat(KEY_BYTES_MAX + 1);
        for bad in ["", "/a", "a/", "a//b", "../a", "a/../b", ".headwater/x", "a b", "a\\b", "a\0", "ä", &long] {
            assert!(check_key(bad).is_err(), "{bad:?}");
        }
        for good in ["", "a", "a/", "meta/lo"] {
            check_prefix(good).unwrap();
        }
        for bad in ["/", "a//", "../", "."] {
            assert!(check_prefix(bad).is_err(), "{bad:?}");
        }
    }
}
