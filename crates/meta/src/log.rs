//! The log in the bucket: append with every outcome resolved, read with every check. Follows `models/metalog.py`.
//!
//! * One name, one content: an append whose outcome is unknown sends the same bytes to the same name until the store
//!   says what stands there (I-6). A read-back that finds nothing settles nothing.
//! * What stands there is ours if its bytes are ours: each process has a nonce of its own.
//! * What arrived damaged has burnt its name: nothing can take its place. Its writer, who knows its nonce in there, or was
//!   told that it made what stands there, goes on behind it ([`crate::office`]); readers pass over a name on the word of a
//!   claim, and on that word always, whatever they find there themselves.
//! * Floor checks (I-7): [`Log::is_cut`] asks whether the name just used lies below the floor. Claimants ask it after a
//!   successful create, losers before they answer "failed", readers after each run of entries. Appends of a controller
//!   in office need none: claims are never deleted, so the next name of a stalled one is taken for ever.

use std::collections::BTreeMap;
use std::time::Duration;

use base::MetaSequence;
use base::checksum::crc32c;
use blob::{CreateOutcome, ObjectMeta, Purpose, Store, StoreError};
use bytes::Bytes;
use wire::meta::MetadataRecord;

use crate::error::LogError;
use crate::follow::Follower;
use crate::format::{self, FormatError, Header, SentSnapshot};
use crate::image::{Image, void_names};
use crate::names;

/// Wait after the first failed attempt to write or read an entry; doubles up to [`BACKOFF_MAX`].
pub(crate) const BACKOFF_MIN: Duration = Duration::from_millis(10);
/// Longest wait between two attempts.
pub(crate) const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Appended {
    /// The entry stands.
    Won,
    /// Another entry stands there, and ours never did and never will.
    Lost,
    /// Another entry stands there or did, or one behind it, but ours may have stood there before, or stand there now: the
    /// name lies below the floor, or cannot be read.
    LostUnsure,
    /// What was sent arrived damaged, or seems to have: it may be whole and its reading damaged. Whether it stands is decided
    /// by what follows at the next name.
    Burnt {
        /// CRC-32C of what was found.
        crc: u32,
    },
    /// What stands there cannot be read, is none of ours, and nothing says that it is void.
    Unreadable,
    /// Planted: nobody knows, and it is given up.
    GivenUp,
}

/// How often what cannot be read is read before it is taken for what stands there.
const DAMAGED_READS: u32 = 3;
/// Most names that one claim calls void.
pub(crate) const VOID_NAMES_MAX: usize = 64;

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

/// The word of a claim.
#[derive(Debug)]
pub(crate) struct Void {
    /// Where the claim stands.
    pub(crate) by: MetaSequence,
    /// The names that it calls void.
    pub(crate) names: Vec<MetaSequence>,
}

/// Names of the log that hold damage, each with the CRC-32C of the bytes that it holds.
pub(crate) type Damages = Vec<(MetaSequence, u32)>;

/// What stands under a name of the log.
pub(crate) enum Entry {
    /// What somebody wrote.
    Whole(Header, Vec<MetadataRecord>),
    /// Something else: two readings in a row have told the same bytes.
    Unusable {
        /// What is wrong with it.
        reason: FormatError,
        /// CRC-32C of the bytes.
        crc: u32,
    },
}

/// What stands behind an entry that cannot be read.
pub(crate) enum Word {
    /// A claim that calls it void.
    Void(Void),
    /// An entry that does not: its writer had read it.
    Entry,
    /// Nothing but such damage.
    Nothing(Damages),
}

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
        let mut damaged_reads = 0;
        let mut was_made = false;
        loop {
            match self.store.create(Purpose::Metadata, &key, bytes.clone()).await {
                CreateOutcome::Created => return Appended::Won,
                CreateOutcome::Exists => match self.store.get(Purpose::Metadata, &key, ..).await {
                    Ok(found) if found == *bytes => return Appended::Won,
                    Ok(found) => match format::decode_entry(&found, sequence) {
                        Err(reason) if was_made || reason.is_damage() || format::has_nonce_of(&found, bytes) => {
                            tracing::warn!(%sequence, %reason, "a metadata entry cannot be read back");
                            damaged_reads += 1;
                            if damaged_reads >= DAMAGED_READS {
                                let is_ours = was_made || format::has_nonce_of(&found, bytes);
                                match self.judge(sequence, &found, is_ours).await {
                                    Ok(outcome) => return outcome,
                                    Err(error) => {
                                        tracing::warn!(%error, %sequence, "reading behind it failed; retrying");
                                    }
                                }
                            }
                        }
                        _ => return self.lost(sequence).await,
                    },
                    // It was there a moment ago: the range has been released and deleted since.
                    Err(StoreError::NotFound { .. }) => return Appended::LostUnsure,
                    Err(error) => tracing::warn!(%error, %sequence, "reading back a metadata entry failed; retrying"),
                },
                // Planted: what is not known to be done is not done, and the name is free for what comes next.
                CreateOutcome::Unknown(_) if base::plant::bug("unknown-create-takes-new-bytes") => {
                    return Appended::GivenUp;
                }
                CreateOutcome::Unknown(cause) => {
                    tracing::warn!(%cause, %sequence, "the outcome of a metadata write is unknown; sending it again");
                }
                // However little of it is left, nobody else's stands there.
                CreateOutcome::Unproven(cause) => {
                    tracing::warn!(%cause, %sequence, "a metadata entry may have arrived damaged; looking at it");
                    was_made = true;
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(BACKOFF_MAX);
        }
    }

    /// What became of an append, where `found` stands and cannot be read.
    async fn judge(&self, sequence: MetaSequence, found: &Bytes, is_ours: bool) -> Result<Appended, LogError> {
        if is_ours {
            return Ok(Appended::Burnt { crc: crc32c(found) });
        }
        match self.void_by(sequence, &BTreeMap::new()).await? {
            Word::Void(_) => Ok(self.lost(sequence).await),
            // Somebody read what stands there and went on behind it.
            Word::Entry => Ok(Appended::LostUnsure),
            Word::Nothing(_) => Ok(Appended::Unreadable),
        }
    }

    /// What stands at `sequence`: the first reading that is whole, else what two in a row agree on, for one may have been
    /// damaged on its way, and so may the next.
    ///
    /// # Errors
    /// The store's; [`StoreError::Damaged`] when no two readings agree: nothing is known then, and a later one may be whole.
    pub(crate) async fn entry(&self, sequence: MetaSequence) -> Result<Entry, StoreError> {
        let is_whole = |bytes: &Bytes| format::decode_entry(bytes, sequence).is_ok();
        let bytes = self.store.get_settled(Purpose::Metadata, &names::entry(sequence), .., is_whole).await?;
        Ok(match format::decode_entry(&bytes, sequence) {
            Ok((header, records)) => Entry::Whole(header, records),
            Err(reason) => Entry::Unusable { reason, crc: crc32c(&bytes) },
        })
    }

    /// The damage from `first` on to the end of the log. `None` if anything there is whole or of a newer release, or if it is
    /// too much.
    pub(crate) async fn damage_from(&self, first: MetaSequence) -> Result<Option<Damages>, StoreError> {
        let mut found = Vec::new();
        while found.len() <= VOID_NAMES_MAX {
            let name = MetaSequence(first.0 + found.len() as u64);
            match self.entry(name).await {
                Ok(Entry::Unusable { reason, crc }) if reason.is_damage() => found.push((name, crc)),
                Ok(_) => return Ok(None),
                Err(StoreError::NotFound { .. }) => return Ok(Some(found)),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// What the first readable entry behind `sequence` says of it. Those that cannot be read say nothing, whatever they are:
    /// one that was burnt may look as if a newer release had written it. Nor do those that are `void`.
    pub(crate) async fn void_by(
        &self,
        sequence: MetaSequence,
        void: &BTreeMap<MetaSequence, MetaSequence>,
    ) -> Result<Word, LogError> {
        let mut damages = Vec::new();
        let mut is_damage_alone = true;
        let behind = sequence.0 + 1..=sequence.0 + VOID_NAMES_MAX as u64;
        for next in behind.map(MetaSequence).filter(|next| !void.contains_key(next)) {
            match self.entry(next).await {
                Ok(Entry::Whole(_, records)) => {
                    let names: Vec<_> = void_names(&records).collect();
                    let is_void = names.contains(&sequence);
                    return Ok(if is_void { Word::Void(Void { by: next, names }) } else { Word::Entry });
                }
                Ok(Entry::Unusable { reason, crc }) => {
                    is_damage_alone &= reason.is_damage();
                    damages.push((next, crc));
                }
                Err(StoreError::NotFound { .. }) => {
                    return Ok(if is_damage_alone { Word::Nothing(damages) } else { Word::Entry });
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Word::Entry)
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

    #[cfg(test)]
    pub(crate) async fn follow(&self, image: Image) -> Result<Option<Loaded>, LogError> {
        self.follow_below(image, MetaSequence(u64::MAX)).await
    }

    /// Replays every entry that follows the image and lies below `end`. `None` when the log was cut meanwhile: what was
    /// read may have been created anew after a deletion, so the reader starts again from a snapshot.
    async fn follow_below(&self, image: Image, end: MetaSequence) -> Result<Option<Loaded>, LogError> {
        let first = image.next_sequence;
        let outcome = Follower::new(self, image, end).run().await;
        // The reader's floor check comes first: below the floor, what seems corrupt may only be out of order.
        if self.is_cut(first).await? {
            return Ok(None);
        }
        outcome.map(Some)
    }

    /// The newest state that the bucket holds: newest readable snapshot, then the tail of the log.
    pub(crate) async fn load(&self) -> Result<Loaded, LogError> {
        self.load_below(MetaSequence(u64::MAX)).await
    }

    /// As [`Log::load`], as if nothing stood at `end` or behind it.
    pub(crate) async fn load_below(&self, end: MetaSequence) -> Result<Loaded, LogError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let snapshots = self.snapshots().await?;
            let mut start = Image::default();
            for (sequence, bytes) in snapshots.range(..end).rev() {
                match self.load_snapshot(*sequence, *bytes).await {
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
            if let Some(loaded) = self.follow_below(start, end).await? {
                return Ok(loaded);
            }
            if attempts >= LOAD_ATTEMPTS_MAX {
                return Err(LogError::SnapshotMissing { sequence });
            }
        }
    }

    /// The snapshots that are listed, whole or not, with their bytes.
    pub(crate) async fn snapshots(&self) -> Result<BTreeMap<MetaSequence, u64>, StoreError> {
        let listed = self.store.list_all(Purpose::Metadata, names::SNAPSHOTS).await?;
        let snapshot =
            |object: &ObjectMeta| Some((MetaSequence(names::number(&object.key, names::SNAPSHOTS)?), object.len));
        Ok(listed.iter().filter_map(snapshot).collect())
    }

    /// The image in the snapshot that is listed with so many bytes.
    pub(crate) async fn load_snapshot(&self, sequence: MetaSequence, bytes: u64) -> Result<Image, LogError> {
        self.read_snapshot(sequence, bytes, move |bytes, key| Image::from_snapshot(bytes, sequence, key)).await
    }

    /// Whether what stands there, listed with so many bytes, is the snapshot that this process sent, and can so be read.
    pub(crate) async fn check_snapshot(&self, sent: SentSnapshot, bytes: u64) -> Result<(), LogError> {
        let check = move |bytes: &Bytes, key: &str| {
            let unusable = |reason| LogError::Format { key: key.to_owned(), reason };
            format::check_snapshot(bytes, sent).map_err(unusable)
        };
        self.read_snapshot(sent.sequence, bytes, check).await
    }

    /// A large one takes seconds to look through, for which no task that serves should wait.
    async fn read_snapshot<R: Send + 'static>(
        &self,
        sequence: MetaSequence,
        listed_bytes: u64,
        look: impl FnOnce(&Bytes, &str) -> Result<R, LogError> + Send + 'static,
    ) -> Result<R, LogError> {
        let key = names::snapshot(sequence);
        let bytes = self.store.get_of_size(Purpose::Metadata, &key, listed_bytes).await?;
        let looked_at = key.clone();
        let looked = base::task::spawn_blocking("meta-snapshot", move || look(&bytes, &looked_at)).await;
        looked.map_err(|ended| StoreError::Failed { operation: "decode", key, reason: ended.to_string() })?
    }
}

/// How often a load starts again because the log was cut while it read.
const LOAD_ATTEMPTS_MAX: u32 = 5;
