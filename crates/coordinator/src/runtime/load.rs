//! Loading a shard: its log from start to end, replayed.

use base::{Offset, OffsetRange};
use thiserror::Error;

use super::marker::{Edge, Marker, is_marker};
use super::{Log, LogError, Machine, Record, ReplayError};
use crate::limits::LOAD_BATCH_BYTES_MAX;

/// What a load found besides the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loaded {
    /// Everything below was replayed; the next append stands here.
    pub end: Offset,
    /// Records that are no part of the newest complete snapshot.
    pub records_since_snapshot: u64,
    /// The newest complete snapshot, if the log does not start with it: a trim that was not done.
    pub untrimmed: Option<OffsetRange>,
    /// Where the log starts, if nothing of this coordinator's moved the start there.
    pub cut: Option<Cut>,
}

/// The start of a log that something else has trimmed: a coordinator trims to the beginning of a complete snapshot only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub start: Offset,
    /// Whether a complete snapshot stands behind it, which has what was cut off.
    pub is_made_up_for: bool,
}

/// Why a shard cannot be loaded.
#[derive(Debug, Error)]
pub(super) enum LoadError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("record {at}: {error}")]
    Replay { at: i64, error: ReplayError },
    #[error(
        "the log starts at offset {0} with a snapshot that has no end: records that were acknowledged are missing behind it; \
         to begin without what the log held, delete its topic"
    )]
    HalfSnapshot(Offset),
}

/// Replays the log into `machine`, which must be new.
///
/// The end is not the durable end but the end of what was ever appended: batches of a shard that was discarded may still be
/// on their way, and the new shard must not run ahead of them.
pub(super) async fn load<M: Machine>(log: &dyn Log, machine: &mut M) -> Result<Loaded, LoadError> {
    let start = log.start();
    let mut progress = Progress { next: start, counted: 0, begun: None, first: None, complete: None };
    loop {
        let end = log.end();
        if progress.next >= end {
            break;
        }
        if log.durable_end() <= progress.next {
            log.readable(progress.next).await?;
        }
        let read = log.read(progress.next).await?;
        for batch in records::batches(&read.bytes) {
            replay_batch(&batch.map_err(|error| damaged(progress.next, &error))?, machine, &mut progress)?;
        }
        progress.next = progress.next.max(read.end);
    }
    let (records_since_snapshot, snapshot) = match progress.complete {
        Some(Complete { range, counted_before }) => (progress.counted - counted_before, Some(range)),
        // Nobody trims to a snapshot before it is complete: its other half was lost, and with it what was trimmed.
        None if progress.first == Some(start) => return Err(LoadError::HalfSnapshot(start)),
        None => (progress.counted, None),
    };
    let untrimmed = snapshot.filter(|snapshot| snapshot.start > start);
    let is_cut = start > Offset(0) && progress.first != Some(start);
    let cut = is_cut.then_some(Cut { start, is_made_up_for: snapshot.is_some() });
    Ok(Loaded { end: progress.next, records_since_snapshot, untrimmed, cut })
}

struct Progress {
    next: Offset,
    /// Records seen, markers and snapshots included.
    counted: u64,
    /// The last begin marker: its snapshot and offset.
    begun: Option<(i64, Offset)>,
    /// Where the first begin marker stands.
    first: Option<Offset>,
    complete: Option<Complete>,
}

struct Complete {
    range: OffsetRange,
    counted_before: u64,
}

fn damaged(at: Offset, error: &records::RecordsError) -> LogError {
    LogError::Damaged { at, why: error.to_string() }
}

fn replay_batch<M: Machine>(batch: &records::Batch, machine: &mut M, progress: &mut Progress) -> Result<(), LoadError> {
    if batch.header.is_control() {
        return Ok(());
    }
    let records = batch.records(LOAD_BATCH_BYTES_MAX).map_err(|error| damaged(progress.next, &error))?;
    for record in records {
        let record = record.map_err(|error| damaged(progress.next, &error))?;
        let (Some(offset), Some(key)) = (Offset::from_kafka(record.offset), record.key) else { continue };
        // The first batch of a read may begin before what was asked for.
        if offset < progress.next {
            continue;
        }
        progress.counted += 1;
        let record = Record { key, value: record.value };
        if is_marker(&record.key) {
            progress.note(&record, offset);
            continue;
        }
        match machine.replay(&record) {
            Ok(()) => {}
            Err(error @ ReplayError::Newer { .. }) => return Err(LoadError::Replay { at: offset.kafka(), error }),
            // No release of ours wrote it, and one such record must not make a coordinator unusable for ever.
            Err(error @ ReplayError::Malformed { .. }) => tracing::error!(%offset, %error, "record passed over"),
        }
    }
    Ok(())
}

impl Progress {
    fn note(&mut self, record: &Record, offset: Offset) {
        match Marker::decode(record) {
            Some(Marker { edge: Edge::Begin, snapshot, .. }) => {
                self.begun = Some((snapshot, offset));
                self.first.get_or_insert(offset);
            }
            Some(Marker { edge: Edge::End, snapshot, .. }) => {
                if let Some((begun, begin)) = self.begun.take()
                    && begun == snapshot
                {
                    let range = OffsetRange::new(begin, offset + 1);
                    self.complete = Some(Complete { range, counted_before: self.counted });
                }
            }
            None => {}
        }
    }
}
