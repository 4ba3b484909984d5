//! What entries hold of the log cache's budget.
//!
//! A payload that is a slice of a larger buffer keeps all of it in memory, so a buffer is charged whole, once, until the
//! last entry in it has left the cache. Small payloads are copied out instead, and charged for what they are.

use std::sync::Arc;

use base::memory::{Budget, Charge};
use bytes::Bytes;

use super::tail::Entry;
use crate::Fragments;

/// Payloads below this are copied out of the buffer they came in, which they would otherwise keep whole.
const COPY_BELOW_BYTES: usize = 4096;

/// What an entry is charged beside its payload: its place in the tail and in the log's queue, and its allocations.
const ENTRY_BYTES: u64 = 256;
const _: () = assert!(size_of::<Entry>() + 64 <= ENTRY_BYTES as usize);

/// What an entry of so many bytes weighs in the cache.
pub(super) fn weight(bytes: usize) -> u64 {
    bytes as u64 + ENTRY_BYTES
}

/// Room in the log cache for one buffer, from [`super::Engine::reserve`]. Shared by the entries that hold slices of the
/// buffer.
#[derive(Debug, Clone)]
pub struct Room(#[expect(dead_code, reason = "held for its drop")] Arc<Charge>);

impl Room {
    pub(super) fn new(charge: Charge) -> Self {
        Self(Arc::new(charge))
    }
}

/// An entry's payload as the cache keeps it, and the room that it lies in: `shared` for slices of a buffer, its own for
/// a small payload, which is copied into one slice, and where `shared` is `None`. Own memory is there already: it is
/// charged even past the limit, and makes the next request wait.
pub(super) fn settle(cache: &Budget, payload: Fragments, bytes: usize, shared: Option<Room>) -> (Fragments, Room) {
    let own = || Room::new(cache.force_charge(weight(bytes)));
    if bytes >= COPY_BELOW_BYTES {
        return (payload, shared.unwrap_or_else(own));
    }
    let mut copy = Vec::with_capacity(bytes);
    for part in &payload {
        copy.extend_from_slice(part);
    }
    (Fragments::from_elem(Bytes::from(copy), 1), own())
}
