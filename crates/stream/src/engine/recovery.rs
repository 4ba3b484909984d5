//! Recovery of an incarnation: this broker's former one, or by the same path a stranger's.
//!
//! The order is that of the block-log model: the controller has frozen the committed position and named this broker the
//! taker → fence the log → replay from the frozen position → upload → commit. A record is kept only if its stream was
//! owned by the incarnation at the record's epoch and its base is the stream's committed end so far; everything below is
//! committed already. A taker that dies is replaced by another that does the same again: commits skip what is taken.

use std::ops::ControlFlow;
use std::sync::Arc;

use base::collections::HashMap;
use base::memory::{Budget, Charge};
use base::{Incarnation, Offset, OffsetRange, StreamId, WalPosition};
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use thiserror::Error;
use tokio::sync::mpsc;

use super::Engine;
use crate::Fragments;
use crate::catalogue::{COMMIT_ITEMS_MAX, Catalogue, CatalogueClient};
use crate::upload::Uploaded;
use crate::upload::build::{self, UploadEntry, UploadStream};
use crate::wal::{Log, ReplayEnd, ReplayedRecord, WalError};

/// What becomes objects and one commit at once: bytes of the log, with what each record that is kept takes in memory beside
/// them, and streams, which the commit names.
const CHUNK_BYTES: u64 = 64 * 1024 * 1024;
const CHUNK_STREAMS: usize = COMMIT_ITEMS_MAX / 4;
/// A record's place in a chunk.
const RECORD_BYTES: u64 = 256;
const _: () = assert!(size_of::<UploadEntry>() + 64 <= RECORD_BYTES as usize);
/// Chunks that are uploaded at once. A chunk is charged to the recovery's memory from when it is whole until it is
/// committed; the one that is gathered, and the segment that it is read from, are all that a recovery holds beside.
const UPLOADS_MAX: usize = 2;
/// Chunks between the replaying thread and the uploads.
const CHUNKS_QUEUED: usize = 1;

/// What recovery found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    /// Where the log ends; everything before it is committed.
    pub end: WalPosition,
    /// Records that were not committed before.
    pub records: u64,
    /// Their payload.
    pub bytes: u64,
}

/// Why an incarnation was not recovered. Its streams stay offline; nothing of it is deleted.
#[derive(Debug, Error)]
pub enum RecoverError {
    /// The log could not be fenced or read; trying again may help.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// The log is damaged in a place that may hold acknowledged records.
    #[error("write-ahead log {incarnation} is damaged at position {at}: {why}")]
    Damaged {
        /// Whose log.
        incarnation: Incarnation,
        /// Where.
        at: WalPosition,
        /// What is wrong.
        why: String,
    },
    /// The catalogue refused a commit.
    #[error("the recovered records could not be committed: {0}")]
    Commit(Arc<str>),
    /// The replaying thread ended early.
    #[error("the replay of the log was interrupted")]
    Interrupted,
}

impl Engine {
    /// Fences and replays the log of `incarnation` from `from`, and commits what was not committed yet. Telling the
    /// catalogue that the incarnation is recovered, or damaged, is the caller's.
    ///
    /// What it holds is charged to `memory`, never to the log cache: this broker may serve producers meanwhile.
    ///
    /// # Errors
    /// [`RecoverError`]; on `Damaged` whatever stood before the damage has been committed.
    pub async fn recover<L: Log + ?Sized + 'static>(
        &self,
        log: &Arc<L>,
        incarnation: Incarnation,
        from: WalPosition,
        memory: &Budget,
    ) -> Result<Recovered, RecoverError> {
        let (chunks, mut queue) = mpsc::channel(CHUNKS_QUEUED);
        let (log, catalogue, memory) = (log.clone(), self.inner.catalogue.clone(), memory.clone());
        let replay =
            base::task::spawn_blocking("wal-replay", move || -> Result<(ReplayEnd, Option<Gap>, Keeper), WalError> {
                log.fence(incarnation)?;
                let mut replay = Replay {
                    view: catalogue.view(),
                    catalogue,
                    keeper: Keeper::new(incarnation),
                    chunk: Chunk::new(from),
                    memory,
                    chunks,
                    gap: None,
                };
                let end = log.replay(incarnation, from, &mut |record| replay.take(record))?;
                let position = replay.gap.as_ref().map_or(end_of(&end), |gap| gap.at);
                // A closed queue means that a commit failed; its error is reported instead.
                let _ = replay.send(position);
                let Replay { gap, keeper, .. } = replay;
                Ok((end, gap, keeper))
            });
        let mut uploads = FuturesOrdered::new();
        let mut ended = false;
        // Uploads overlap with one another and with the replay; commits follow the order of the log.
        while !ended || !uploads.is_empty() {
            if ended && base::plant::bug("recovered-too-early") {
                // Planted: what has been read counts as recovered, whatever became of the last chunks.
                break;
            }
            base::select! {
                chunk = queue.recv(), if !ended && uploads.len() < UPLOADS_MAX => match chunk {
                    Some(whole) => uploads.push_back(self.put_chunk(whole)),
                    None => ended = true,
                },
                Some(stored) = uploads.next() => {
                    let StoredChunk { uploaded, kept, position, room } = stored.map_err(RecoverError::Commit)?;
                    let committed = self.inner.committer.commit(incarnation, position, kept, uploaded).await;
                    committed.map_err(RecoverError::Commit)?;
                    base::plant::place("in-recovery");
                    drop(room);
                }
            }
        }
        let (end, gap, keeper) = match replay.await.map_err(|_| RecoverError::Interrupted)? {
            // Its pages are there and say nothing: as with a broken record, the rest of the broker can go on.
            Err(WalError::Damaged { reason, .. }) => {
                return Err(RecoverError::Damaged { incarnation, at: from, why: reason });
            }
            replayed => replayed?,
        };
        // Up to a gap the log is whole: what stands before it was acknowledged and is kept.
        if let Some(Gap { stream, expected, found, at }) = gap {
            let why = format!("stream {stream} continues at offset {found} but its log ends at {expected}");
            return Err(RecoverError::Damaged { incarnation, at, why });
        }
        match end {
            ReplayEnd::Corrupt { at, reason } => {
                Err(RecoverError::Damaged { incarnation, at, why: reason.to_string() })
            }
            end => Ok(Recovered { end: end_of(&end), records: keeper.records, bytes: keeper.bytes }),
        }
    }

    /// Makes objects of a chunk and puts them. Dropped before its end, it gives their names up.
    async fn put_chunk(&self, chunk: WholeChunk) -> Result<StoredChunk, Arc<str>> {
        let WholeChunk { streams, position, room } = chunk;
        let kept: Vec<_> = streams.iter().filter_map(UploadStream::covers).collect();
        let (writer, block, own) =
            (self.writer(), self.inner.options.block_bytes, self.inner.options.stream_object_bytes);
        let build = move || build::objects(streams, writer, block, own);
        let objects = base::task::spawn_blocking("recovery-build", build).await.map_err(|error| error.to_string())?;
        let lease = self.inner.committer.lease(objects.len());
        let uploaded = crate::upload::put_all(&self.inner, lease, objects).await?;
        Ok(StoredChunk { uploaded, kept, position, room })
    }
}

/// What is kept of consecutive records.
struct Chunk {
    start: WalPosition,
    streams: HashMap<StreamId, UploadStream>,
    records: u64,
}

/// A chunk that has all of its records, up to a position in the log.
struct WholeChunk {
    streams: Vec<UploadStream>,
    position: WalPosition,
    room: Charge,
}

/// A chunk that is in objects.
struct StoredChunk {
    uploaded: Uploaded,
    kept: Vec<(StreamId, OffsetRange)>,
    position: WalPosition,
    room: Charge,
}

impl Chunk {
    fn new(start: WalPosition) -> Self {
        Self { start, streams: HashMap::default(), records: 0 }
    }

    /// What it takes in memory when it ends at a position.
    fn bytes(&self, end: WalPosition) -> u64 {
        end.0.saturating_sub(self.start.0) + self.records * RECORD_BYTES
    }

    /// Whether the record at a position is one for the next.
    fn is_full(&self, position: WalPosition) -> bool {
        self.bytes(position) >= CHUNK_BYTES || self.streams.len() >= CHUNK_STREAMS
    }

    fn push(&mut self, record: ReplayedRecord) {
        let ReplayedRecord { stream, epoch, base, end, max_timestamp, payload, .. } = record;
        let new = || UploadStream { stream, epoch, entries: Vec::new(), checkpoint: None };
        let part = self.streams.entry(stream).or_insert_with(new);
        let payload = Fragments::from_elem(payload, 1);
        part.entries.push(UploadEntry { range: OffsetRange::new(base, end), max_timestamp, payload });
        self.records += 1;
    }
}

/// The replay of a log, on its thread.
struct Replay {
    catalogue: Arc<dyn CatalogueClient>,
    /// The catalogue when the chunk began.
    view: Arc<Catalogue>,
    keeper: Keeper,
    chunk: Chunk,
    memory: Budget,
    chunks: mpsc::Sender<WholeChunk>,
    /// Where it ended early.
    gap: Option<Gap>,
}

/// Nobody commits chunks any more.
struct NobodyCommits;

impl Replay {
    fn take(&mut self, record: ReplayedRecord) -> ControlFlow<()> {
        if self.chunk.is_full(record.position) && self.send(record.position).is_err() {
            return ControlFlow::Break(());
        }
        match self.keeper.keeps(&self.view, &record) {
            Ok(true) => {
                base::plant::place("in-replay");
                self.chunk.push(record);
            }
            Ok(false) => {}
            Err(gap) => {
                self.gap = Some(gap);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    /// Hands over the chunk, which ends at a position, when there is room for it.
    fn send(&mut self, position: WalPosition) -> Result<(), NobodyCommits> {
        let chunk = std::mem::replace(&mut self.chunk, Chunk::new(position));
        self.view = self.catalogue.view();
        let room = base::task::wait(self.memory.charge(chunk.bytes(position)));
        let mut streams: Vec<UploadStream> = chunk.streams.into_values().collect();
        streams.sort_unstable_by_key(|s| s.stream);
        base::task::wait(self.chunks.send(WholeChunk { streams, position, room })).map_err(|_| NobodyCommits)
    }
}

/// Everything whole lies below.
fn end_of(end: &ReplayEnd) -> WalPosition {
    match end {
        ReplayEnd::Clean { end } | ReplayEnd::TornTail { end, .. } | ReplayEnd::Stopped { end } => *end,
        ReplayEnd::Corrupt { at, .. } => *at,
    }
}

/// A record that does not continue its stream.
#[derive(Debug, PartialEq, Eq)]
struct Gap {
    stream: StreamId,
    expected: Offset,
    found: Offset,
    at: WalPosition,
}

/// Decides which records are kept, across chunks.
struct Keeper {
    incarnation: Incarnation,
    ends: HashMap<StreamId, Offset>,
    records: u64,
    bytes: u64,
}

impl Keeper {
    fn new(incarnation: Incarnation) -> Self {
        Self { incarnation, ends: HashMap::default(), records: 0, bytes: 0 }
    }

    /// Whether a record, the next of the log, is to be committed.
    fn keeps(&mut self, view: &Catalogue, record: &ReplayedRecord) -> Result<bool, Gap> {
        let Some(state) = view.stream(record.stream) else { return Ok(false) };
        if state.owner != self.incarnation || state.epoch != record.epoch {
            return Ok(false);
        }
        let end = self.ends.entry(record.stream).or_insert(state.end);
        if record.end <= *end {
            return Ok(false);
        }
        if record.base > *end {
            let (stream, expected, found, at) = (record.stream, *end, record.base, record.position);
            return Err(Gap { stream, expected, found, at });
        }
        *end = record.end;
        self.records += 1;
        self.bytes += record.payload.len() as u64;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use base::{BrokerId, Clock, StreamEpoch, TimestampMs};
    use bytes::Bytes;

    use super::*;
    use crate::catalogue::local::LocalCatalogue;

    #[test]
    fn a_record_is_kept_only_of_a_stream_that_its_writer_owned_at_its_epoch() {
        let catalogue = LocalCatalogue::new(Clock::system());
        let (writer, _) = catalogue.register(BrokerId(1)).unwrap();
        let (other, _) = catalogue.register(BrokerId(2)).unwrap();
        let own = catalogue.create_streams(2, writer).unwrap();
        let foreign = catalogue.create_streams(1, other).unwrap();
        let epoch = catalogue.view().stream(own[0]).unwrap().epoch;
        let stale = StreamEpoch(epoch.0 + 1);
        let mut sequence = 0;
        let mut record = |stream, epoch, base| {
            sequence += 1;
            ReplayedRecord {
                stream,
                epoch,
                base: Offset(base),
                end: Offset(base + 1),
                max_timestamp: TimestampMs(0),
                payload: Bytes::from_static(b"x"),
                sequence,
                position: WalPosition(sequence * 4096),
                next: WalPosition((sequence + 1) * 4096),
            }
        };
        let unknown = StreamId(u64::MAX);
        let records = [
            record(own[0], epoch, 0),
            record(foreign[0], epoch, 0),
            record(own[1], stale, 0),
            record(unknown, epoch, 0),
            record(own[0], epoch, 1),
            // What is not kept cannot leave a gap either.
            record(foreign[0], epoch, 9),
            record(own[1], stale, 9),
            record(own[1], epoch, 0),
        ];
        let (mut keeper, view) = (Keeper::new(writer), catalogue.view());
        let kept: Vec<_> = records.iter().map(|record| keeper.keeps(&view, record).unwrap()).collect();
        assert_eq!(kept, [true, false, false, false, true, false, false, true]);
        // Repeated by another chunk or another taker, they are known.
        for again in [record(own[0], epoch, 0), record(own[0], epoch, 1)] {
            assert_eq!(keeper.keeps(&view, &again), Ok(false));
        }
        assert_eq!(keeper.records, 3);
        let beyond = record(own[0], epoch, 3);
        let gap = Gap { stream: own[0], expected: Offset(2), found: Offset(3), at: beyond.position };
        assert_eq!(keeper.keeps(&view, &beyond), Err(gap));
    }
}
