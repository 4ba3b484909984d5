//! Commits: the rule by which uploaded objects become part of their streams.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base::{Incarnation, ObjectId, Offset, OffsetRange, StreamEpoch, StreamId, TimestampMs, WalPosition};
use thiserror::Error;
use wire::meta::{
    BrokerStateRecord, CommitRecord, CommittedCheckpoint, CommittedObject, CommittedRange, MetadataRecord,
};

use super::convert::{raw, raw_stream};
use super::incarnations::record_of;
use super::newest::Newest;
use super::replay::{BROKER_FENCED, ReplayError};
use super::state::{IncarnationPhase, IncarnationState, ObjectKind, StreamStatus};
use super::{Catalogue, Decision};

/// Most ranges and checkpoints in one commit, so that its record stays well below one metadata entry.
pub const COMMIT_ITEMS_MAX: usize = 100_000;

/// Objects that were uploaded and should become part of their streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitRequest {
    /// The sender: it wrote the objects.
    pub writer: Incarnation,
    /// [`super::WriterState::next_commit`] at first (0 for a fresh registration), then one more with each commit. A repeat bears the
    /// same number and is known by its content; another commit under a used number fences its sender.
    pub commit_sequence: u64,
    /// The WAL incarnation whose records the objects hold: the sender's own, or one that is assigned to it.
    pub log: Incarnation,
    /// Everything below is in committed objects once this is taken.
    pub wal_position: WalPosition,
    /// What the log held of each stream since the position before. All of it is committed once this is taken, or its stream
    /// is deleted: otherwise the log is the last that has it, and its position must not pass it.
    pub covers: Vec<(StreamId, OffsetRange)>,
    /// Lowest object sequence of the sender still in flight after this commit.
    pub upload_floor: u64,
    /// The objects, in the order in which their ranges continue the streams.
    pub objects: Vec<NewObject>,
}

/// An uploaded object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewObject {
    /// The sender's number for it; with [`CommitRequest::writer`] it names the object.
    pub sequence: u64,
    /// What it is.
    pub kind: ObjectKind,
    /// Its size in bytes.
    pub length: u64,
    /// CRC-32C of its index and footer, which hold the checksums of all the rest.
    pub crc: u32,
    /// What it holds of each stream.
    pub ranges: Vec<NewRange>,
    /// The checkpoints in its side blocks.
    pub checkpoints: Vec<NewCheckpoint>,
}

/// A run of offsets in an uploaded object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewRange {
    /// The stream.
    pub stream: StreamId,
    /// The epoch at which the records were appended.
    pub epoch: StreamEpoch,
    /// Their offsets.
    pub range: OffsetRange,
    /// Their greatest timestamp; negative if none has one.
    pub max_timestamp: TimestampMs,
    /// Their stored bytes.
    pub bytes: u64,
}

/// A checkpoint in an uploaded object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewCheckpoint {
    /// The stream.
    pub stream: StreamId,
    /// The epoch of the owner that made it.
    pub epoch: StreamEpoch,
    /// First offset that it does not cover.
    pub offset: Offset,
}

/// A commit that was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// It had been taken before; this one was a repeat.
    pub repeated: bool,
    /// Ranges of which nothing was taken: dead bytes.
    pub ranges_skipped: usize,
}

/// Why a commit was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommitRejection {
    /// The sender is not the present registration of its broker, or was fenced.
    #[error("{writer} is fenced: another registration or the controller has taken its place; exit and recover")]
    WriterFenced {
        /// The sender.
        writer: Incarnation,
    },
    /// The WAL incarnation is neither the sender's own open one nor assigned to it.
    #[error("{writer} may not commit for WAL incarnation {log}, which is {phase}")]
    LogFenced {
        /// The sender.
        writer: Incarnation,
        /// The incarnation.
        log: Incarnation,
        /// Where it is in its life.
        phase: String,
    },
    /// A commit before this one has not arrived: send it first.
    #[error("commit {sequence} of {writer} came before commit {expected}")]
    OutOfOrder {
        /// The sender.
        writer: Incarnation,
        /// The sequence sent.
        sequence: u64,
        /// The sequence that comes next.
        expected: u64,
    },
    /// The sequence was used by another commit: the sender has lost count of what became of its commits, and what it says
    /// of its log cannot be trusted. The sender was fenced.
    #[error("commit {sequence} of {writer} was another one; the sender is fenced and must recover its WAL")]
    SequenceUsed {
        /// The sender.
        writer: Incarnation,
        /// The sequence sent.
        sequence: u64,
    },
    /// An object lies below the upload floor that its sender declared.
    #[error("object {object} lies below the upload floor {floor} and may have been taken for an orphan")]
    BelowUploadFloor {
        /// The object.
        object: ObjectId,
        /// The floor.
        floor: u64,
    },
    /// An object was committed before, or twice in this commit.
    #[error("object {object} is already part of the catalogue")]
    ObjectExists {
        /// The object.
        object: ObjectId,
    },
    /// A range would leave a hole: acknowledged records before it are missing. The sender was fenced.
    #[error(
        "stream {stream}: {range} leaves a hole after the committed end {end}; the sender is fenced and must recover its WAL"
    )]
    Hole {
        /// The stream.
        stream: StreamId,
        /// The range or the checkpoint's end.
        range: OffsetRange,
        /// The committed end.
        end: Offset,
    },
    /// A range bears an epoch that its stream has not reached. The sender was fenced.
    #[error("stream {stream}: epoch {epoch} is ahead of the present epoch {present}; the sender is fenced")]
    FutureEpoch {
        /// The stream.
        stream: StreamId,
        /// The epoch sent.
        epoch: StreamEpoch,
        /// The stream's epoch.
        present: StreamEpoch,
    },
    /// The commit would move the log's position past records that no object brings into their stream. Nothing was moved.
    #[error(
        "the commit would leave stream {stream}, of which the log holds {range}, at {end}: what is missing stays in the write-ahead log"
    )]
    NotTaken {
        /// The stream.
        stream: StreamId,
        /// What the log held of it.
        range: OffsetRange,
        /// The committed end that it would have.
        end: Offset,
    },
    /// More ranges and checkpoints than one commit may hold.
    #[error("{items} ranges and checkpoints are more than one commit holds ({COMMIT_ITEMS_MAX}); cut it")]
    TooLarge {
        /// How many there are.
        items: usize,
    },
    /// The request contradicts itself.
    #[error("the commit makes no sense: {0}")]
    Invalid(ReplayError),
}

enum Rule {
    Skip,
    Take(OffsetRange),
}

impl Catalogue {
    /// Decides a commit. A refusal because of a hole, an impossible epoch or a used sequence carries records too: they fence
    /// the sender.
    pub fn commit(&self, request: &CommitRequest, now: TimestampMs) -> Decision<Result<Committed, CommitRejection>> {
        match self.admit(request) {
            Err(rejection @ CommitRejection::SequenceUsed { .. }) => {
                return Decision { records: self.fence_sender(request.writer), response: Err(rejection) };
            }
            Err(rejection) => return Decision::unchanged(Err(rejection)),
            Ok(true) => return Decision::unchanged(Ok(Committed { repeated: true, ranges_skipped: 0 })),
            Ok(false) => {}
        }
        let mut ends = BTreeMap::new();
        let mut skipped = 0;
        let mut objects = Vec::with_capacity(request.objects.len());
        for object in &request.objects {
            match self.resolve(request.log, object, now, &mut ends, &mut skipped) {
                Ok(resolved) => objects.push(resolved),
                Err(rejection) => {
                    return Decision { records: self.fence_sender(request.writer), response: Err(rejection) };
                }
            }
        }
        if let Some(rejection) = self.left_out(request, &ends) {
            return Decision::unchanged(Err(rejection));
        }
        let record = CommitRecord {
            writer_id: request.writer.broker.0,
            writer_epoch: request.writer.epoch.0,
            commit_sequence: raw(request.commit_sequence),
            log_id: request.log.broker.0,
            log_epoch: request.log.epoch.0,
            wal_position: raw(request.wal_position.0),
            upload_floor: raw(request.upload_floor),
            objects,
            ..Default::default()
        };
        match self.with_retirements(vec![record.into()], now) {
            Ok(records) => Decision { records, response: Ok(Committed { repeated: false, ranges_skipped: skipped }) },
            Err(error) => Decision::unchanged(Err(CommitRejection::Invalid(error))),
        }
    }

    /// Whether the sender may commit this at all; `true` if it did before.
    fn admit(&self, request: &CommitRequest) -> Result<bool, CommitRejection> {
        let writer = request.writer;
        let fenced = CommitRejection::WriterFenced { writer };
        let state = self.writers.get(&writer.broker).filter(|w| w.epoch == writer.epoch && !w.fenced).ok_or(fenced)?;
        if request.commit_sequence < state.next_commit {
            let sequence = request.commit_sequence;
            return if self.is_done(request) {
                Ok(true)
            } else {
                Err(CommitRejection::SequenceUsed { writer, sequence })
            };
        }
        if request.commit_sequence > state.next_commit {
            let (sequence, expected) = (request.commit_sequence, state.next_commit);
            return Err(CommitRejection::OutOfOrder { writer, sequence, expected });
        }
        let log = self.incarnations.get(&request.log);
        let may = match log.map(|l| &l.phase) {
            Some(IncarnationPhase::Open) => request.log == writer,
            Some(IncarnationPhase::Assigned(taker)) => *taker == writer,
            _ => false,
        };
        if !may {
            let phase = log.map_or_else(|| "unknown".to_owned(), |l| l.phase.to_string());
            return Err(CommitRejection::LogFenced { writer, log: request.log, phase });
        }
        let items = request.objects.iter().map(|o| 1 + o.ranges.len() + o.checkpoints.len()).sum();
        if items > COMMIT_ITEMS_MAX {
            return Err(CommitRejection::TooLarge { items });
        }
        let mut seen = BTreeSet::new();
        for object in &request.objects {
            let id = ObjectId { writer, sequence: object.sequence };
            if object.sequence < state.upload_floor {
                return Err(CommitRejection::BelowUploadFloor { object: id, floor: state.upload_floor });
            }
            if self.objects.contains_key(&id) || self.pending.contains_key(&id) || !seen.insert(id) {
                return Err(CommitRejection::ObjectExists { object: id });
            }
        }
        Ok(false)
    }

    /// Whether everything that a commit asks for stands in the image, which is what its success would promise: each object
    /// is part of it, or was and waits for its deletion, and the log is committed as far. Names of objects are never used
    /// twice, so that this holds of a repeat, and of another commit only if that promises nothing new. It needs no memory
    /// of commits: it holds after the log of metadata was replayed, or a snapshot loaded, as before. (An object that was
    /// deleted since, after a grace far longer than any sender waits, is not known any more: refused.)
    fn is_done(&self, request: &CommitRequest) -> bool {
        let is_known = |object: &NewObject| {
            let id = ObjectId { writer: request.writer, sequence: object.sequence };
            match (self.objects.get(&id), self.pending.get(&id)) {
                (Some(live), _) => (live.kind, live.length, live.crc) == (object.kind, object.length, object.crc),
                (None, Some(retired)) => retired.length == object.length,
                (None, None) => false,
            }
        };
        let is_committed = |log: &Arc<IncarnationState>| request.wal_position <= log.committed;
        self.incarnations.get(&request.log).is_some_and(is_committed) && request.objects.iter().all(is_known)
    }

    /// What of the log's records below the position would be in no stream; `ends` are the committed ends after the commit.
    fn left_out(&self, request: &CommitRequest, ends: &BTreeMap<StreamId, Offset>) -> Option<CommitRejection> {
        request.covers.iter().find_map(|&(stream, range)| {
            let committed = self.streams.get(&stream)?.end;
            let end = ends.get(&stream).copied().unwrap_or(committed);
            (end < range.end).then_some(CommitRejection::NotTaken { stream, range, end })
        })
    }

    /// The object as far as it is taken at `now`; `ends` are the committed ends as this commit moves them.
    fn resolve(
        &self,
        log: Incarnation,
        object: &NewObject,
        now: TimestampMs,
        ends: &mut BTreeMap<StreamId, Offset>,
        skipped: &mut usize,
    ) -> Result<CommittedObject, CommitRejection> {
        let mut resolved = CommittedObject {
            sequence: raw(object.sequence),
            kind: object.kind.code(),
            length: raw(object.length),
            crc: object.crc,
            ..Default::default()
        };
        for new in &object.ranges {
            match self.rule(log, new.stream, new.epoch, new.range, ends)? {
                Rule::Skip => *skipped += 1,
                Rule::Take(range) => {
                    ends.insert(new.stream, range.end);
                    resolved.ranges.push(CommittedRange {
                        stream_id: raw_stream(new.stream),
                        stream_epoch: new.epoch.0,
                        start: raw(range.start.0),
                        end: raw(range.end.0),
                        max_timestamp: Newest::committed(new.max_timestamp, now).raw(),
                        bytes: raw(new.bytes),
                        ..Default::default()
                    });
                }
            }
        }
        for new in &object.checkpoints {
            // A checkpoint describes everything below its offset, so it obeys the rule of a range that ends there.
            let beyond = OffsetRange::new(new.offset, Offset(new.offset.0.saturating_add(1)));
            let current = self.streams.get(&new.stream).and_then(|s| s.checkpoint).map(|c| c.offset);
            let is_live = self.owns(log, new.stream, new.epoch)? && current.is_none_or(|c| c <= new.offset);
            if !is_live {
                continue;
            }
            self.rule(log, new.stream, new.epoch, beyond, ends)?;
            resolved.checkpoints.push(CommittedCheckpoint {
                stream_id: raw_stream(new.stream),
                stream_epoch: new.epoch.0,
                offset: raw(new.offset.0),
                ..Default::default()
            });
        }
        Ok(resolved)
    }

    /// Whether the stream is open, at `epoch`, and owned by the writer of `log`.
    fn owns(&self, log: Incarnation, stream: StreamId, epoch: StreamEpoch) -> Result<bool, CommitRejection> {
        let Some(state) = self.streams.get(&stream) else { return Ok(false) };
        if epoch > state.epoch {
            return Err(CommitRejection::FutureEpoch { stream, epoch, present: state.epoch });
        }
        Ok(epoch == state.epoch && state.owner == log && state.status == StreamStatus::Open)
    }

    fn rule(
        &self,
        log: Incarnation,
        stream: StreamId,
        epoch: StreamEpoch,
        range: OffsetRange,
        ends: &BTreeMap<StreamId, Offset>,
    ) -> Result<Rule, CommitRejection> {
        if !self.owns(log, stream, epoch)? {
            return Ok(Rule::Skip);
        }
        let committed = self.streams.get(&stream).map_or(Offset(0), |s| s.end);
        let end = ends.get(&stream).copied().unwrap_or(committed);
        if range.end <= end {
            Ok(Rule::Skip)
        } else if range.start <= end {
            Ok(Rule::Take(OffsetRange::new(end, range.end)))
        } else {
            Err(CommitRejection::Hole { stream, range, end })
        }
    }

    /// The records that take the sender's right to commit and to acknowledge.
    fn fence_sender(&self, writer: Incarnation) -> Vec<MetadataRecord> {
        let mut records = vec![
            BrokerStateRecord {
                broker_id: writer.broker.0,
                broker_epoch: writer.epoch.0,
                state: BROKER_FENCED,
                ..Default::default()
            }
            .into(),
        ];
        if let Some(state) = self.incarnations.get(&writer).filter(|s| s.phase == IncarnationPhase::Open) {
            records.push(record_of(writer, state, &IncarnationPhase::Fenced).into());
        }
        records
    }

    /// Adds the retirement of the objects whose last use `records` take, so that both happen in one batch, as far as it
    /// has room for them.
    pub(super) fn with_retirements(
        &self,
        mut records: Vec<MetadataRecord>,
        now: TimestampMs,
    ) -> Result<Vec<MetadataRecord>, ReplayError> {
        let mut next = self.clone();
        for record in &records {
            next.apply(record)?;
        }
        records.extend(next.retire(now).records);
        Ok(records)
    }
}
