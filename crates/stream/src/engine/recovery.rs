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
use crate::catalogue::{COMMIT_ITEMS_MAX, Catalogue};
use crate::upload::build::{self, UploadEntry, UploadStream};
use crate::wal::{Log, ReplayEnd, ReplayedRecord, WalError};

/// Bytes of the log, and records, that become objects and one commit at once. A commit names no more streams than it has
/// records.
const CHUNK_BYTES: u64 = 64 * 1024 * 1024;
const CHUNK_RECORDS: usize = COMMIT_ITEMS_MAX / 4;
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
        let log = log.clone();
        let (chunks, mut queue) = mpsc::channel::<(Vec<ReplayedRecord>, WalPosition, Charge)>(CHUNKS_QUEUED);
        let memory = memory.clone();
        let replay = base::task::spawn_blocking("wal-replay", move || -> Result<ReplayEnd, WalError> {
            log.fence(incarnation)?;
            let (mut chunk, mut start) = (Vec::new(), from);
            let room = |start: WalPosition, end: WalPosition| {
                futures::executor::block_on(memory.charge(end.0.saturating_sub(start.0)))
            };
            let end = log.replay(incarnation, from, &mut |record: ReplayedRecord| {
                let position = record.position;
                if position.0 - start.0 >= CHUNK_BYTES || chunk.len() >= CHUNK_RECORDS {
                    let whole = (std::mem::take(&mut chunk), position, room(start, position));
                    start = position;
                    if chunks.blocking_send(whole).is_err() {
                        return ControlFlow::Break(());
                    }
                }
                chunk.push(record);
                ControlFlow::Continue(())
            })?;
            // A closed queue means that a commit failed; its error is reported instead.
            drop(chunks.blocking_send((chunk, end_of(&end), room(start, end_of(&end)))));
            Ok(end)
        });
        let mut keeper = Keeper::new(incarnation);
        let mut uploads = FuturesOrdered::new();
        let (mut ended, mut gap) = (false, None);
        // Uploads overlap with one another and with the replay; commits follow the order of the log.
        while !ended || !uploads.is_empty() {
            base::select! {
                chunk = queue.recv(), if !ended && uploads.len() < UPLOADS_MAX => {
                    let Some((records, position, room)) = chunk else {
                        ended = true;
                        continue;
                    };
                    let (streams, found) = keeper.keep(&self.catalogue(), records);
                    // Up to a gap the log is whole: what stands before it was acknowledged and is kept.
                    let position = found.as_ref().map_or(position, |gap| gap.at);
                    ended = found.is_some();
                    gap = found;
                    let (block, own) = (self.inner.options.block_bytes, self.inner.options.stream_object_bytes);
                    let kept: Vec<_> = streams.iter().filter_map(UploadStream::covers).collect();
                    let objects = build::objects(streams, self.writer(), block, own);
                    // A future of this recovery that is dropped gives its names up.
                    let lease = self.inner.committer.lease(objects.len());
                    let uploaded = crate::upload::put_all(&self.inner, lease, objects);
                    uploads.push_back(async move { (uploaded.await, kept, position, room) });
                }
                Some((uploaded, kept, position, room)) = uploads.next() => {
                    let uploaded = uploaded.map_err(RecoverError::Commit)?;
                    let committed = self.inner.committer.commit(incarnation, position, kept, uploaded).await;
                    committed.map_err(RecoverError::Commit)?;
                    drop(room);
                }
            }
        }
        if let Some(Gap { stream, expected, found, at }) = gap {
            let why = format!("stream {stream} continues at offset {found} but its log ends at {expected}");
            return Err(RecoverError::Damaged { incarnation, at, why });
        }
        let end = match replay.await.map_err(|_| RecoverError::Interrupted)? {
            // Its pages are there and say nothing: as with a broken record, the rest of the broker can go on.
            Err(WalError::Damaged { reason, .. }) => {
                return Err(RecoverError::Damaged { incarnation, at: from, why: reason });
            }
            end => end?,
        };
        match end {
            ReplayEnd::Corrupt { at, reason } => {
                Err(RecoverError::Damaged { incarnation, at, why: reason.to_string() })
            }
            end => Ok(Recovered { end: end_of(&end), records: keeper.records, bytes: keeper.bytes }),
        }
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

    /// What to commit of a chunk, up to the first gap.
    fn keep(&mut self, view: &Catalogue, records: Vec<ReplayedRecord>) -> (Vec<UploadStream>, Option<Gap>) {
        let mut gap = None;
        let mut streams: HashMap<StreamId, UploadStream> = HashMap::default();
        for record in records {
            let Some(state) = view.stream(record.stream) else { continue };
            if state.owner != self.incarnation || state.epoch != record.epoch {
                continue;
            }
            let end = self.ends.entry(record.stream).or_insert(state.end);
            if record.end <= *end {
                continue;
            }
            if record.base > *end {
                let (stream, expected, found, at) = (record.stream, *end, record.base, record.position);
                gap = Some(Gap { stream, expected, found, at });
                break;
            }
            *end = record.end;
            self.records += 1;
            self.bytes += record.payload.len() as u64;
            let part = streams.entry(record.stream).or_insert_with(|| UploadStream {
                stream: record.stream,
                epoch: record.epoch,
                entries: Vec::new(),
                checkpoint: None,
            });
            part.entries.push(UploadEntry {
                range: OffsetRange::new(record.base, record.end),
                max_timestamp: record.max_timestamp,
                payload: Fragments::from_elem(record.payload, 1),
            });
        }
        let mut streams: Vec<UploadStream> = streams.into_values().collect();
        streams.sort_unstable_by_key(|s| s.stream);
        (streams, gap)
    }
}

#[cfg(test)]
mod tests {
    use base::{BrokerId, Clock, StreamEpoch, TimestampMs};
    use bytes::Bytes;

    use super::*;
    use crate::catalogue::CatalogueClient;
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
        let records = vec![
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
        let mut keeper = Keeper::new(writer);
        let (kept, gap) = keeper.keep(&catalogue.view(), records);
        let kept: Vec<_> = kept.iter().map(|part| (part.stream, part.entries.len())).collect();
        assert_eq!((kept, gap, keeper.records), (vec![(own[0], 2), (own[1], 1)], None, 3));
        // Repeated by another chunk or another taker, they are known.
        let (again, gap) = keeper.keep(&catalogue.view(), vec![record(own[0], epoch, 0), record(own[0], epoch, 1)]);
        assert_eq!((again.len(), gap), (0, None));
    }
}
