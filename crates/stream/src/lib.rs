//! S3Stream: append-only streams whose disk is an object store.
//!
//! A stream is a sequence of entries addressed by 64-bit offset ranges, owned by one broker at one epoch. An append is
//! durable once it stands in the write-ahead log ([`wal`]) and the log was seen unfenced afterwards; the uploader
//! ([`upload`]) later moves it into objects ([`format`]) and the catalogue ([`catalogue`]) learns of them in one commit.
//! Readers are served from the log cache or, for older offsets, from objects through the block cache ([`read`]).
//!
//! ```text
//! append ──► wal ──► log cache ──► upload ──► store ──► catalogue commit ──► wal trim
//!                        │                      │
//! fetch ◄────────────────┴──── block cache ◄────┘
//! ```
//!
//! Nothing here knows of Kafka, of topics, or of who decides ownership.

pub mod catalogue;
pub mod engine;
pub mod format;
pub mod read;
pub mod upload;
pub mod wal;

pub use engine::{CheckpointSource, Engine, EngineOptions, FrozenState, NewEntry, Room, Stream};

use bytes::Bytes;
use smallvec::SmallVec;

/// The payload of one entry, as the slices it arrived in.
pub type Fragments = SmallVec<[Bytes; 2]>;
