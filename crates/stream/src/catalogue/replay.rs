//! Replay: what each record does to the image. The only place where it changes.
//!
//! A record that contradicts the image is an error and leaves the image as it was: the log is corrupt, or made by a
//! release with other rules, and nothing may be guessed.

use std::borrow::Cow;
use std::sync::Arc;

use base::{BrokerEpoch, BrokerId, Incarnation, ObjectId, Offset, OffsetRange, StreamEpoch, StreamId, TimestampMs};
use thiserror::Error;
use wire::meta::{
    CommitRecord, CommittedCheckpoint, CommittedRange, IncarnationRecord, MetadataRecord, ObjectRetiredRecord,
    StreamOpenedRecord,
};

use super::newest::Newest;
use super::state::{
    Checkpoint, EpochStart, Extent, IncarnationPhase, IncarnationState, ObjectKind, ObjectState, PendingDeletion,
    StreamState, StreamStatus, WalPlace, WriterState,
};
use super::{Catalogue, convert};

/// Why a record cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReplayError {
    /// A number that counts from zero is negative.
    #[error("{field} is negative: {value}")]
    Negative {
        /// The field.
        field: Cow<'static, str>,
        /// Its value.
        value: i64,
    },
    /// A code is not one of those this release knows.
    #[error("{field} has the unknown code {code}; a newer release wrote it")]
    UnknownCode {
        /// The field.
        field: Cow<'static, str>,
        /// Its value.
        code: i8,
    },
    /// A stream that should exist does not, or the other way round.
    #[error("stream {stream}: {reason}")]
    Stream {
        /// The stream.
        stream: StreamId,
        /// What does not fit.
        reason: Cow<'static, str>,
    },
    /// A range does not continue its stream.
    #[error("stream {stream}: range {range} does not continue its committed end {end}")]
    Discontinuous {
        /// The stream.
        stream: StreamId,
        /// The range in the record.
        range: OffsetRange,
        /// The committed end.
        end: Offset,
    },
    /// An object that should exist does not, or the other way round.
    #[error("object {object}: {reason}")]
    Object {
        /// The object.
        object: ObjectId,
        /// What does not fit.
        reason: Cow<'static, str>,
    },
    /// An incarnation or writer does not fit.
    #[error("WAL incarnation {incarnation}: {reason}")]
    Incarnation {
        /// The incarnation.
        incarnation: Incarnation,
        /// What does not fit.
        reason: Cow<'static, str>,
    },
}

impl Catalogue {
    /// Replays one record. Records that are not the catalogue's are passed over.
    ///
    /// # Errors
    /// When the record contradicts the image, which then is as before.
    pub fn apply(&mut self, record: &MetadataRecord) -> Result<(), ReplayError> {
        // The image is persistent, so a copy to fall back on costs next to nothing.
        let before = self.clone();
        let outcome = self.replay(record);
        if outcome.is_err() {
            *self = before;
        }
        outcome
    }

    fn replay(&mut self, record: &MetadataRecord) -> Result<(), ReplayError> {
        match record {
            MetadataRecord::Broker(r) => {
                let same = self.writers.get(&BrokerId(r.broker_id)).filter(|w| w.epoch.0 == r.broker_epoch);
                if same.is_none() {
                    let writer = WriterState {
                        epoch: BrokerEpoch(r.broker_epoch),
                        next_commit: 0,
                        upload_floor: 0,
                        fenced: false,
                    };
                    self.writers.insert(BrokerId(r.broker_id), writer);
                }
            }
            MetadataRecord::BrokerState(r) => {
                if let Some(writer) = self.writers.get_mut(&BrokerId(r.broker_id))
                    && writer.epoch.0 == r.broker_epoch
                {
                    writer.fenced = r.state == BROKER_FENCED;
                }
            }
            MetadataRecord::UnregisterBroker(r) => {
                self.writers.remove(&BrokerId(r.broker_id));
            }
            MetadataRecord::Stream(r) => {
                let id = convert::stream_id(r.stream_id);
                if self.streams.contains_key(&id) || id.0 < self.next_stream {
                    return Err(ReplayError::Stream { stream: id, reason: "created twice".into() });
                }
                self.next_stream = id.0 + 1;
                self.streams.insert(id, Arc::new(StreamState::never_opened()));
            }
            MetadataRecord::StreamOpened(r) => self.opened(r)?,
            MetadataRecord::StreamClosed(r) => {
                let state = self.stream_mut(convert::stream_id(r.stream_id))?;
                state.status = StreamStatus::Closed;
            }
            MetadataRecord::StreamTrim(r) => {
                self.trimmed(convert::stream_id(r.stream_id), convert::offset(r.start, "trim start")?)?;
            }
            MetadataRecord::RemoveStream(r) => {
                let id = convert::stream_id(r.stream_id);
                let reason = Cow::Borrowed("removed but unknown");
                let state = self.streams.remove(&id).ok_or(ReplayError::Stream { stream: id, reason })?;
                for extent in state.extents() {
                    self.release(extent.object)?;
                }
                if let Some(checkpoint) = state.checkpoint {
                    self.release(checkpoint.object)?;
                }
            }
            MetadataRecord::Incarnation(r) => self.incarnation_changed(r)?,
            MetadataRecord::RemoveIncarnation(r) => {
                self.incarnations.remove(&convert::incarnation(r.broker_id, r.broker_epoch));
            }
            MetadataRecord::Commit(r) => self.committed(r)?,
            MetadataRecord::ObjectRetired(r) => self.retired(r)?,
            MetadataRecord::ObjectRemoved(r) => {
                let id = convert::object_id(r.writer_id, r.writer_epoch, r.sequence)?;
                let reason = Cow::Borrowed("removed without being retired");
                self.pending.remove(&id).ok_or(ReplayError::Object { object: id, reason })?;
            }
            // The host's.
            MetadataRecord::NoOp(_)
            | MetadataRecord::Cluster(_)
            | MetadataRecord::Feature(_)
            | MetadataRecord::Controller(_)
            | MetadataRecord::VoidEntry(_)
            | MetadataRecord::Topic(_)
            | MetadataRecord::RemoveTopic(_)
            | MetadataRecord::Partition(_)
            | MetadataRecord::Config(_)
            | MetadataRecord::ProducerIds(_) => {}
        }
        Ok(())
    }

    fn stream_mut(&mut self, id: StreamId) -> Result<&mut StreamState, ReplayError> {
        let state = self.streams.get_mut(&id).ok_or(ReplayError::Stream { stream: id, reason: "unknown".into() })?;
        Ok(Arc::make_mut(state))
    }

    fn opened(&mut self, r: &StreamOpenedRecord) -> Result<(), ReplayError> {
        let id = convert::stream_id(r.stream_id);
        let start = convert::offset(r.start, "epoch start")?;
        let state = self.stream_mut(id)?;
        if r.stream_epoch <= state.epoch.0 || start < state.end {
            return Err(ReplayError::Stream { stream: id, reason: "opened at a stale epoch or below its end".into() });
        }
        state.epoch = StreamEpoch(r.stream_epoch);
        state.owner = convert::incarnation(r.owner_broker, r.owner_epoch);
        state.status = StreamStatus::Open;
        state.end = start;
        // Epochs that wrote nothing leave no trace: no block of theirs can be part of the stream.
        state.epochs.retain(|e| e.start < start);
        state.epochs.push(EpochStart { epoch: state.epoch, start });
        state.epochs.shrink_to_fit();
        Ok(())
    }

    fn trimmed(&mut self, id: StreamId, start: Offset) -> Result<(), ReplayError> {
        let state = self.stream_mut(id)?;
        if start < state.start {
            return Err(ReplayError::Stream { stream: id, reason: "trimmed backwards".into() });
        }
        state.start = start;
        let keep = state.epochs.iter().rposition(|e| e.start <= start).unwrap_or(0);
        state.epochs.drain(..keep);
        for extent in state.extents.trim(start) {
            self.release(extent.object)?;
        }
        Ok(())
    }

    fn incarnation_changed(&mut self, r: &IncarnationRecord) -> Result<(), ReplayError> {
        let id = convert::incarnation(r.broker_id, r.broker_epoch);
        let phase = match r.state {
            0 => IncarnationPhase::Open,
            1 => IncarnationPhase::Fenced,
            2 => IncarnationPhase::Assigned(convert::incarnation(r.taker_id, r.taker_epoch)),
            3 => IncarnationPhase::Recovered { final_position: convert::position(r.final_position)? },
            4 => IncarnationPhase::Damaged { reason: r.reason.as_ref().map_or("", |s| s.as_str()).into() },
            5 => IncarnationPhase::Abandoned,
            code => return Err(ReplayError::UnknownCode { field: "incarnation state".into(), code }),
        };
        let wal = WalPlace { kind: r.wal_kind, location: r.wal_location.as_str().into() };
        let state = IncarnationState { wal, phase, committed: convert::position(r.committed_position)? };
        self.incarnations.insert(id, Arc::new(state));
        Ok(())
    }

    fn committed(&mut self, r: &CommitRecord) -> Result<(), ReplayError> {
        let writer_id = convert::incarnation(r.writer_id, r.writer_epoch);
        let unfit = |reason: &'static str| ReplayError::Incarnation { incarnation: writer_id, reason: reason.into() };
        if !r.retired.is_empty() {
            return Err(unfit("a commit replaces objects, which this release cannot do"));
        }
        let writer = self.writers.get_mut(&writer_id.broker).ok_or(unfit("commits without being registered"))?;
        let sequence = convert::natural(r.commit_sequence, "commit sequence")?;
        if writer.epoch != writer_id.epoch || writer.next_commit != sequence {
            return Err(unfit("commits out of order or at a stale epoch"));
        }
        writer.next_commit = sequence + 1;
        writer.upload_floor = writer.upload_floor.max(convert::natural(r.upload_floor, "upload floor")?);

        let position = convert::position(r.wal_position)?;
        if let Some(log) = self.incarnations.get_mut(&convert::incarnation(r.log_id, r.log_epoch))
            && position > log.committed
        {
            Arc::make_mut(log).committed = position;
        }
        for object in &r.objects {
            let id = ObjectId { writer: writer_id, sequence: convert::natural(object.sequence, "object sequence")? };
            let kind = ObjectKind::from_code(object.kind)
                .ok_or(ReplayError::UnknownCode { field: "object kind".into(), code: object.kind })?;
            let length = convert::natural(object.length, "object length")?;
            if self.objects.contains_key(&id) || self.pending.contains_key(&id) {
                return Err(ReplayError::Object { object: id, reason: "committed twice".into() });
            }
            self.objects.insert(id, ObjectState { kind, length, crc: object.crc, live: 0 });
            self.unreferenced.insert(id);
            for range in &object.ranges {
                self.extended(id, range)?;
            }
            for checkpoint in &object.checkpoints {
                self.checkpointed(id, checkpoint)?;
            }
        }
        Ok(())
    }

    fn extended(&mut self, object: ObjectId, r: &CommittedRange) -> Result<(), ReplayError> {
        let id = convert::stream_id(r.stream_id);
        let range = convert::range(r.start, r.end)?;
        let bytes = convert::natural(r.bytes, "range bytes")?;
        let state = self.stream_mut(id)?;
        if range.start != state.end || range.is_empty() {
            return Err(ReplayError::Discontinuous { stream: id, range, end: state.end });
        }
        state.end = range.end;
        if range.end <= state.start {
            // Trimmed before it was uploaded: the end moves on, and nothing stays.
            return Ok(());
        }
        state.extents.push(Extent {
            range,
            epoch: StreamEpoch(r.stream_epoch),
            object,
            newest: Newest::from_raw(r.max_timestamp),
            bytes,
        });
        self.hold(object)
    }

    fn checkpointed(&mut self, object: ObjectId, r: &CommittedCheckpoint) -> Result<(), ReplayError> {
        let offset = convert::offset(r.offset, "checkpoint offset")?;
        let state = self.stream_mut(convert::stream_id(r.stream_id))?;
        let superseded = state.checkpoint.replace(Checkpoint { object, offset });
        self.hold(object)?;
        superseded.map_or(Ok(()), |old| self.release(old.object))
    }

    fn retired(&mut self, r: &ObjectRetiredRecord) -> Result<(), ReplayError> {
        let id = convert::object_id(r.writer_id, r.writer_epoch, r.sequence)?;
        let fail = |reason: &'static str| ReplayError::Object { object: id, reason: reason.into() };
        let state = self.objects.get(&id).ok_or(fail("retired but unknown"))?;
        if state.live != 0 {
            return Err(fail("retired while in use"));
        }
        let pending = PendingDeletion { retired_at: TimestampMs(r.retired_ms), length: state.length };
        self.objects.remove(&id);
        self.unreferenced.remove(&id);
        self.pending.insert(id, pending);
        Ok(())
    }

    fn hold(&mut self, id: ObjectId) -> Result<(), ReplayError> {
        let state = self.objects.get_mut(&id).ok_or(ReplayError::Object { object: id, reason: "unknown".into() })?;
        state.live += 1;
        self.unreferenced.remove(&id);
        Ok(())
    }

    fn release(&mut self, id: ObjectId) -> Result<(), ReplayError> {
        let fail = |reason: &'static str| ReplayError::Object { object: id, reason: reason.into() };
        let state = self.objects.get_mut(&id).ok_or(fail("released but unknown"))?;
        state.live = state.live.checked_sub(1).ok_or(fail("released more often than it was held"))?;
        if state.live == 0 {
            self.unreferenced.insert(id);
        }
        Ok(())
    }
}

/// `BrokerStateRecord.state` of a broker whose commits are refused.
pub(super) const BROKER_FENCED: i8 = 3;
