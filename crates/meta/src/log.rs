//! The log in the bucket: append with every outcome resolved, read with every check. Follows `models/metalog.py`.
//!
//! * One name, one content: an append whose outcome is unknown sends the same bytes to the same name until the store
//!   says what stands there (I-6). A read-back that finds nothing settles nothing.
//! * What stands there is ours if its bytes are ours: each process has a nonce of its own.
//! * Floor checks (I-7): [`Log::is_cut`] asks whether the name just used lies below the floor. Claimants ask it after a
//!   successful create, losers before they answer "failed", readers after each run of entries. Appends of a controller
//!   in office need none: claims are never deleted, so the next name of a stalled one is taken for ever.

use std::time::Duration;

use base::MetaSequence;
use blob::{CreateOutcome, Purpose, Store, StoreError};
use bytes::Bytes;
use futures::future::join_all;

use crate::error::LogError;
use crate::format;
use crate::image::Image;
use crate::names;

/// Wait after the first failed attempt to write or read an entry; doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(10);
/// Longest wait between two attempts.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Appended {
    /// The entry stands.
    Won,
    /// Another entry stands there, and ours never did and never will.
    Lost,
    /// Another entry stands there or did, but the name lies below the floor: ours may have stood there before.
    LostUnsure,
}

/// Entries since the newest snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tail {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

/// The state that the bucket holds.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) image: Image,
    pub(crate) tail: Tail,
}

/// Entries read at once by whoever follows a long log, ...
const READ_AHEAD_MAX: u64 = 32;
/// ... and fewer when they are large: bytes of as many as the largest so far.
const READ_AHEAD_BYTES_MAX: u64 = 64 << 20;

/// The log in one store.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) store: Store,
}

impl Log {
    /// Writes `bytes` at `sequence`, for as long as it takes to know what became of it.
    pub(crate) async fn append(&self, sequence: MetaSequence, bytes: &Bytes) -> Appended {
        let key = names::entry(sequence);
        let mut wait = BACKOFF_MIN;
        loop {
            match self.store.create(Purpose::Metadata, &key, bytes.clone()).await {
                CreateOutcome::Created => return Appended::Won,
                CreateOutcome::Exists => match self.store.get(Purpose::Metadata, &key, ..).await {
                    Ok(found) if found == *bytes => return Appended::Won,
                    Ok(_) => return self.lost(sequence).await,
                    // It was there a moment ago: the range has been released and deleted since.
                    Err(StoreError::NotFound { .. }) => return Appended::LostUnsure,
                    Err(error) => tracing::warn!(%error, %sequence, "reading back a metadata entry failed; retrying"),
                },
                CreateOutcome::Unknown(cause) => {
                    tracing::warn!(%cause, %sequence, "the outcome of a metadata write is unknown; sending it again");
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(BACKOFF_MAX);
        }
    }

    /// The loser's floor check: what stands at the name may have been created after ours was deleted.
    async fn lost(&self, sequence: MetaSequence) -> Appended {
        match self.is_cut(sequence).await {
            Ok(false) => Appended::Lost,
            Ok(true) | Err(_) => Appended::LostUnsure,
        }
    }

    /// Whether entries of the range of `sequence` may have been deleted.
    pub(crate) async fn is_cut(&self, sequence: MetaSequence) -> Result<bool, StoreError> {
        match self.store.head(Purpose::Metadata, &names::floor(names::range_of(sequence))).await {
            Ok(_) => Ok(true),
            Err(StoreError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads the `count` entries from the image's next sequence on, all at once, and replays them in order up to the first
    /// that is not there. Returns the bytes of each.
    async fn follow_some(&self, image: &mut Image, count: u64) -> Result<Vec<u64>, LogError> {
        let first = image.next_sequence.0;
        let get = |sequence| async move { self.store.get(Purpose::Metadata, &names::entry(sequence), ..).await };
        let entries = join_all((first..first + count).map(|n| get(MetaSequence(n)))).await;
        let mut read = Vec::new();
        for entry in entries {
            let sequence = image.next_sequence;
            let bytes = match entry {
                Ok(bytes) => bytes,
                Err(StoreError::NotFound { .. }) => break,
                Err(error) => return Err(error.into()),
            };
            let (header, records) = format::decode_entry(&bytes, sequence)
                .map_err(|reason| LogError::Format { key: names::entry(sequence), reason })?;
            image.replay_entry(&header, &records)?;
            read.push(bytes.len() as u64);
        }
        Ok(read)
    }

    /// Replays every entry that follows the image. `None` when the log was cut meanwhile: what was read may have been
    /// created anew after a deletion, so the reader starts again from a snapshot.
    pub(crate) async fn follow(&self, mut image: Image) -> Result<Option<Loaded>, LogError> {
        let first = image.next_sequence;
        let mut tail = Tail::default();
        // Few at first, for most logs have a short tail; then more at once, for a long one would take a round trip each.
        let (mut count, mut largest) = (1, 1);
        let outcome = loop {
            match self.follow_some(&mut image, count).await {
                Ok(read) => {
                    tail.entries += read.len() as u64;
                    tail.bytes += read.iter().sum::<u64>();
                    if (read.len() as u64) < count {
                        break Ok(());
                    }
                    largest = read.into_iter().fold(largest, u64::max);
                    count = (count * 2).min(READ_AHEAD_MAX).min(READ_AHEAD_BYTES_MAX / largest).max(1);
                }
                Err(error) => break Err(error),
            }
        };
        // The reader's floor check comes first: below the floor, what seems corrupt may only be out of order.
        if self.is_cut(first).await? {
            return Ok(None);
        }
        outcome.map(|()| Some(Loaded { image, tail }))
    }

    /// The newest state that the bucket holds: newest readable snapshot, then the tail of the log.
    pub(crate) async fn load(&self) -> Result<Loaded, LogError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let mut candidates: Vec<u64> = self
                .store
                .list_all(Purpose::Metadata, names::SNAPSHOTS)
                .await?
                .iter()
                .filter_map(|object| names::number(&object.key, names::SNAPSHOTS))
                .collect();
            candidates.sort_unstable_by(|a, b| b.cmp(a));
            let mut start = Image::default();
            for sequence in candidates.into_iter().map(MetaSequence) {
                match self.load_snapshot(sequence).await {
                    Ok(image) => {
                        start = image;
                        break;
                    }
                    // An older one and a longer tail say the same.
                    Err(error @ (LogError::Format { .. } | LogError::Replay { .. })) => {
                        tracing::error!(%error, "a metadata snapshot is corrupt; using an older one");
                    }
                    Err(LogError::Store(StoreError::NotFound { .. })) => {}
                    Err(error) => return Err(error),
                }
            }
            let sequence = start.next_sequence;
            if let Some(loaded) = self.follow(start).await? {
                return Ok(loaded);
            }
            if attempts >= LOAD_ATTEMPTS_MAX {
                return Err(LogError::SnapshotMissing { sequence });
            }
        }
    }

    pub(crate) async fn load_snapshot(&self, sequence: MetaSequence) -> Result<Image, LogError> {
        let key = names::snapshot(sequence);
        let bytes = self.store.get(Purpose::Metadata, &key, ..).await?;
        Image::from_snapshot(&bytes, sequence, &key)
    }
}

/// How often a load starts again because the log was cut while it read.
const LOAD_ATTEMPTS_MAX: u32 = 5;
