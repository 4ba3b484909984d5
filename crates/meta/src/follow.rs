//! Following the log from a state on: entries are replayed in their order, names that are void are passed over.
//!
//! A claim speaks of names right before it, which its reader may have replayed by then: it goes back to the state before
//! them. A claim that is void itself says nothing (`models/metalog.py`), so of two words the later one counts.

use std::collections::{BTreeMap, VecDeque};

use base::MetaSequence;
use blob::{Purpose, StoreError};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use wire::meta::MetadataRecord;

use crate::error::LogError;
use crate::format::{self, Header};
use crate::image::{Image, void_names};
use crate::log::{Entry, Loaded, Log, Tail, VOID_NAMES_MAX, Void, Word};
use crate::names;

/// Entries read at once by whoever follows a long log, ...
const READ_AHEAD_MAX: u64 = 32;
/// ... and fewer when they are large: bytes of as many as the largest so far.
const READ_AHEAD_BYTES_MAX: u64 = 64 << 20;

/// Bytes of entries behind the oldest state that is kept to go back to: a state that is kept makes those after it copies
/// of all that their entries touch, which is far more. Behind larger ones a reader begins again, as entries that are
/// burnt are few.
pub(crate) const KEPT_BYTES_MAX: u64 = 1 << 20;

/// Why following the log stopped.
enum Halt {
    /// A claim calls names void, and not all of them were passed over.
    Void(Void),
    Log(LogError),
}

impl From<LogError> for Halt {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Log(error.into())
    }
}

/// Whether there may be more.
enum Read {
    More,
    All,
}

/// How far a reader has come.
#[derive(Clone)]
struct Reached {
    /// The name that comes next.
    next: MetaSequence,
    loaded: Loaded,
}

/// A reader on its way through the log.
pub(crate) struct Follower<'a> {
    log: &'a Log,
    end: MetaSequence,
    start: Reached,
    reached: Reached,
    /// How far it had come before each of the last names, as far as [`KEPT_BYTES_MAX`] allows.
    before: VecDeque<Reached>,
    /// Names that are void, each with the claim that says so.
    void: BTreeMap<MetaSequence, MetaSequence>,
    ahead: u64,
    largest: u64,
}

async fn get(log: &Log, sequence: MetaSequence) -> Result<Bytes, StoreError> {
    log.store.get(Purpose::Metadata, &names::entry(sequence), ..).await
}

impl<'a> Follower<'a> {
    /// From `image` to the end of the log, or to `end`.
    pub(crate) fn new(log: &'a Log, image: Image, end: MetaSequence) -> Self {
        let start = Reached { next: image.next_sequence, loaded: Loaded { image, tail: Tail::default() } };
        // Few at first, for most logs have a short tail; then more at once, for a long one would take a round trip each.
        let (ahead, largest) = (1, 1);
        let (reached, before, void) = (start.clone(), VecDeque::new(), BTreeMap::new());
        Self { log, end, start, reached, before, void, ahead, largest }
    }

    pub(crate) async fn run(mut self) -> Result<Loaded, LogError> {
        loop {
            match self.read_on().await {
                Ok(Read::More) => {}
                Ok(Read::All) => return Ok(self.reached.loaded),
                Err(Halt::Void(word)) => self.go_back(&word)?,
                Err(Halt::Log(error)) => return Err(error),
            }
        }
    }

    /// Reads the next names, all at once, and replays them in order up to the first that is not there. What lies behind that
    /// one is not waited for.
    async fn read_on(&mut self) -> Result<Read, Halt> {
        let first = self.reached.next.0;
        let last = first.saturating_add(self.ahead).min(self.end.0);
        let log = self.log;
        let mut entries: FuturesOrdered<_> = (first..last).map(|sequence| get(log, MetaSequence(sequence))).collect();
        while let Some(entry) = entries.next().await {
            match entry {
                Ok(bytes) => self.pass(bytes).await?,
                Err(StoreError::NotFound { .. }) => return Ok(Read::All),
                // Planted: the log ends where it cannot be read.
                Err(_) if base::plant::bug("short-read-is-the-end") => return Ok(Read::All),
                Err(error) => return Err(error.into()),
            }
        }
        if last >= self.end.0 {
            return Ok(Read::All);
        }
        self.ahead = (self.ahead * 2).min(READ_AHEAD_MAX).min(READ_AHEAD_BYTES_MAX / self.largest).max(1);
        Ok(Read::More)
    }

    /// Replays what stands at the next name, unless it is void.
    async fn pass(&mut self, bytes: Bytes) -> Result<(), Halt> {
        let (sequence, size) = (self.reached.next, bytes.len() as u64);
        let mut reached = self.reached.clone();
        if !self.void.contains_key(&sequence) {
            let (header, records) = self.decode(sequence, &bytes).await?;
            let names: Vec<_> = void_names(&records).collect();
            if names.iter().any(|name| !self.void.contains_key(name)) {
                return Err(Halt::Void(Void { by: sequence, names }));
            }
            reached.loaded.image.replay_entry(&header, &records)?;
        }
        reached.next = MetaSequence(sequence.0 + 1);
        reached.loaded.tail.entries += 1;
        reached.loaded.tail.bytes += size;
        self.largest = self.largest.max(size);
        let now = reached.loaded.tail.bytes;
        self.before.push_back(std::mem::replace(&mut self.reached, reached));
        let is_too_far = |oldest: &Reached| now - oldest.loaded.tail.bytes > KEPT_BYTES_MAX;
        while self.before.len() > VOID_NAMES_MAX || self.before.front().is_some_and(is_too_far) {
            self.before.pop_front();
        }
        Ok(())
    }

    async fn decode(&self, sequence: MetaSequence, bytes: &Bytes) -> Result<(Header, Vec<MetadataRecord>), Halt> {
        if let Ok(entry) = format::decode_entry(bytes, sequence) {
            return Ok(entry);
        }
        // The reading may have been what is damaged.
        let (reason, crc) = match self.log.entry(sequence).await? {
            Entry::Whole(header, records) => return Ok((header, records)),
            Entry::Unusable { reason, crc } => (reason, crc),
        };
        let key = names::entry(sequence);
        Err(match self.log.void_by(sequence, &self.void).await? {
            Word::Void(word) => Halt::Void(word),
            Word::Nothing(behind) if reason.is_damage() => {
                let damages = [(sequence, crc)].into_iter().chain(behind).collect();
                LogError::LastEntry { sequence, key, reason, damages }.into()
            }
            Word::Entry | Word::Nothing(_) => LogError::Format { key, reason }.into(),
        })
    }

    /// Believes a claim, and none that it calls void, and goes back to before whatever is void now and was not, or the other
    /// way round. Each word is believed once, or again after one from further on: that ends.
    fn go_back(&mut self, word: &Void) -> Result<(), LogError> {
        let foreign =
            LogError::Foreign { sequence: word.by, reason: "it calls names void that do not lie right before it" };
        if word.names.iter().any(|name| *name >= word.by) {
            return Err(foreign);
        }
        let silenced = self.void.iter().filter(|(_, by)| word.names.contains(by)).map(|(name, _)| *name);
        let changed: Vec<_> = word.names.iter().copied().chain(silenced).collect();
        self.void.retain(|_, by| !word.names.contains(by));
        self.void.extend(word.names.iter().map(|name| (*name, word.by)));
        for name in changed {
            while self.reached.next > name {
                self.reached = match self.before.pop_back() {
                    Some(before) => before,
                    None if self.reached.next > self.start.next => self.start.clone(),
                    None => return Err(foreign),
                };
            }
        }
        self.ahead = 1;
        Ok(())
    }
}
