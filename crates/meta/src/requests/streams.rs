//! Operations on streams and their objects.

use base::{Incarnation, ObjectId, Offset, OffsetRange, StreamEpoch, StreamId, TimestampMs};
use stream::catalogue::{
    CommitRejection, CommitRequest, Committed, NewCheckpoint, NewObject, NewRange, ObjectKind, OpenStream, StateBelow,
    StreamRejection, TrimRequest,
};
use wire::broker::{
    CheckpointToCommit, CommitRefusal, MetaCloseStreamRequest, MetaCloseStreamResponse, MetaCommitRequest,
    MetaCommitResponse, MetaObjectsRemovedRequest, MetaObjectsRemovedResponse, MetaOpenStreamsRequest,
    MetaOpenStreamsResponse, MetaRetireRequest, MetaRetireResponse, MetaTrimRequest, MetaTrimResponse, ObjectRemoved,
    ObjectToCommit, RangeCovered, RangeToCommit, StreamRefusal, StreamToOpen, StreamToTrim,
};

use super::refusals::{replay_error, replay_misfit, stream_refusal, stream_rejection};
use super::values::{
    Results, count, incarnation, list, natural, object, offset, only, position, range, range_told, signed,
    signed_count, stream, stream_bits, text, unknown_kind,
};
use super::{Misfit, Request};
use crate::control::streams::{CloseStream, Commit, ObjectsRemoved, OpenStreams, Retire, Trim};

fn refusal(answer: Result<(), StreamRejection>) -> Result<Option<StreamRefusal>, Misfit> {
    answer.err().map(|why| stream_refusal(&why)).transpose()
}

fn outcome(refusal: Option<StreamRefusal>) -> Result<Result<(), StreamRejection>, Misfit> {
    refusal.map_or(Ok(Ok(())), |refusal| stream_rejection(refusal).map(Err))
}

impl Request for OpenStreams {
    type Message = MetaOpenStreamsRequest;

    fn to_request(&self) -> Result<Self::Message, Misfit> {
        let streams = self.requests.iter().map(|OpenStream { stream, epoch, owner }| StreamToOpen {
            stream_id: stream_bits(*stream),
            stream_epoch: epoch.0,
            owner_broker: owner.broker.0,
            owner_epoch: owner.epoch.0,
        });
        Ok(MetaOpenStreamsRequest { streams: streams.collect() })
    }

    fn from_request(request: Self::Message) -> Result<Self, Misfit> {
        let requests = request.streams.iter().map(|open| OpenStream {
            stream: stream(open.stream_id),
            epoch: StreamEpoch(open.stream_epoch),
            owner: incarnation(open.owner_broker, open.owner_epoch),
        });
        Ok(Self { requests: requests.collect() })
    }

    fn to_response(answer: Self::Answer) -> Result<MetaOpenStreamsResponse, Misfit> {
        Ok(MetaOpenStreamsResponse { refusal: refusal(answer)?, ..Default::default() })
    }

    fn from_response(response: MetaOpenStreamsResponse) -> Result<Self::Answer, Misfit> {
        outcome(response.refusal)
    }
}

impl Request for CloseStream {
    type Message = MetaCloseStreamRequest;

    fn to_request(&self) -> Result<Self::Message, Misfit> {
        Ok(MetaCloseStreamRequest { stream_id: stream_bits(self.stream), stream_epoch: self.epoch.0 })
    }

    fn from_request(request: Self::Message) -> Result<Self, Misfit> {
        Ok(Self { stream: stream(request.stream_id), epoch: StreamEpoch(request.stream_epoch) })
    }

    fn to_response(answer: Self::Answer) -> Result<MetaCloseStreamResponse, Misfit> {
        Ok(MetaCloseStreamResponse { refusal: refusal(answer)?, ..Default::default() })
    }

    fn from_response(response: MetaCloseStreamResponse) -> Result<Self::Answer, Misfit> {
        outcome(response.refusal)
    }
}

fn object_to_commit(object: &NewObject) -> Result<ObjectToCommit, Misfit> {
    let ranges = object.ranges.iter().map(|new| {
        Ok(RangeToCommit {
            stream_id: stream_bits(new.stream),
            stream_epoch: new.epoch.0,
            start: signed(new.range.start.0, "range start")?,
            end: signed(new.range.end.0, "range end")?,
            max_timestamp: new.max_timestamp.0,
            bytes: signed(new.bytes, "bytes of a range")?,
        })
    });
    let checkpoints = object.checkpoints.iter().map(|new| {
        Ok(CheckpointToCommit {
            stream_id: stream_bits(new.stream),
            stream_epoch: new.epoch.0,
            offset: signed(new.offset.0, "checkpoint")?,
        })
    });
    Ok(ObjectToCommit {
        sequence: signed(object.sequence, "object sequence")?,
        kind: object.kind.code(),
        length: signed(object.length, "object length")?,
        crc: object.crc,
        ranges: list(ranges)?,
        checkpoints: list(checkpoints)?,
    })
}

fn new_object(object: &ObjectToCommit) -> Result<NewObject, Misfit> {
    let ranges = object.ranges.iter().map(|new| {
        Ok(NewRange {
            stream: stream(new.stream_id),
            epoch: StreamEpoch(new.stream_epoch),
            range: range(new.start, new.end)?,
            max_timestamp: TimestampMs(new.max_timestamp),
            bytes: natural(new.bytes, "bytes of a range")?,
        })
    });
    let checkpoints = object.checkpoints.iter().map(|new| {
        Ok(NewCheckpoint {
            stream: stream(new.stream_id),
            epoch: StreamEpoch(new.stream_epoch),
            offset: offset(new.offset, "checkpoint")?,
        })
    });
    Ok(NewObject {
        sequence: natural(object.sequence, "object sequence")?,
        kind: ObjectKind::from_code(object.kind).ok_or(unknown_kind("object kind", object.kind))?,
        length: natural(object.length, "object length")?,
        crc: object.crc,
        ranges: list(ranges)?,
        checkpoints: list(checkpoints)?,
    })
}

fn commit_refusal(rejection: &CommitRejection) -> Result<CommitRefusal, Misfit> {
    let of = |kind| CommitRefusal { kind, ..Default::default() };
    let by = |kind, writer: Incarnation| CommitRefusal {
        writer_id: writer.broker.0,
        writer_epoch: writer.epoch.0,
        ..of(kind)
    };
    let about = |kind, object: &ObjectId| -> Result<CommitRefusal, Misfit> {
        let sequence = signed(object.sequence, "object sequence")?;
        Ok(CommitRefusal { sequence, ..by(kind, object.writer) })
    };
    let at = |kind, stream: StreamId, range: OffsetRange, end: Offset| -> Result<CommitRefusal, Misfit> {
        Ok(CommitRefusal {
            stream_id: stream_bits(stream),
            range_start: signed(range.start.0, "range start")?,
            range_end: signed(range.end.0, "range end")?,
            end: signed(end.0, "committed end")?,
            ..of(kind)
        })
    };
    Ok(match rejection {
        CommitRejection::WriterFenced { writer } => by(0, *writer),
        CommitRejection::LogFenced { writer, log, phase } => {
            CommitRefusal { log_id: log.broker.0, log_epoch: log.epoch.0, phase: text(phase), ..by(1, *writer) }
        }
        CommitRejection::OutOfOrder { writer, sequence, expected } => CommitRefusal {
            sequence: signed(*sequence, "commit sequence")?,
            bound: signed(*expected, "expected commit sequence")?,
            ..by(2, *writer)
        },
        CommitRejection::SequenceUsed { writer, sequence } => {
            CommitRefusal { sequence: signed(*sequence, "commit sequence")?, ..by(3, *writer) }
        }
        CommitRejection::BelowUploadFloor { object, floor } => {
            CommitRefusal { bound: signed(*floor, "upload floor")?, ..about(4, object)? }
        }
        CommitRejection::ObjectExists { object } => about(5, object)?,
        CommitRejection::Hole { stream, range, end } => at(6, *stream, *range, *end)?,
        CommitRejection::FutureEpoch { stream, epoch, present } => {
            CommitRefusal { stream_id: stream_bits(*stream), stream_epoch: epoch.0, present_epoch: present.0, ..of(7) }
        }
        CommitRejection::NotTaken { stream, range, end } => at(8, *stream, *range, *end)?,
        CommitRejection::TooLarge { items } => CommitRefusal { items: signed_count(*items, "items")?, ..of(9) },
        CommitRejection::Invalid(error) => CommitRefusal { invalid: vec![replay_misfit(error)?], ..of(10) },
    })
}

fn commit_rejection(r: CommitRefusal) -> Result<CommitRejection, Misfit> {
    let (writer, stream) = (incarnation(r.writer_id, r.writer_epoch), stream(r.stream_id));
    let about = || object(r.writer_id, r.writer_epoch, r.sequence);
    let told = || range_told(r.range_start, r.range_end);
    let end = || offset(r.end, "committed end");
    Ok(match r.kind {
        0 => CommitRejection::WriterFenced { writer },
        1 => CommitRejection::LogFenced { writer, log: incarnation(r.log_id, r.log_epoch), phase: r.phase.into() },
        2 => CommitRejection::OutOfOrder {
            writer,
            sequence: natural(r.sequence, "commit sequence")?,
            expected: natural(r.bound, "expected commit sequence")?,
        },
        3 => CommitRejection::SequenceUsed { writer, sequence: natural(r.sequence, "commit sequence")? },
        4 => CommitRejection::BelowUploadFloor { object: about()?, floor: natural(r.bound, "upload floor")? },
        5 => CommitRejection::ObjectExists { object: about()? },
        6 => CommitRejection::Hole { stream, range: told()?, end: end()? },
        7 => CommitRejection::FutureEpoch {
            stream,
            epoch: StreamEpoch(r.stream_epoch),
            present: StreamEpoch(r.present_epoch),
        },
        8 => CommitRejection::NotTaken { stream, range: told()?, end: end()? },
        9 => CommitRejection::TooLarge { items: count(r.items, "items")? },
        10 => CommitRejection::Invalid(replay_error(&only(r.invalid, "misfits")?)?),
        kind => return Err(unknown_kind("kind of refusal of a commit", kind)),
    })
}

impl Request for Commit {
    type Message = MetaCommitRequest;

    fn to_request(&self) -> Result<Self::Message, Misfit> {
        let CommitRequest { writer, commit_sequence, log, wal_position, covers, upload_floor, objects } = &self.request;
        let covers = covers.iter().map(|(stream, range)| {
            Ok(RangeCovered {
                stream_id: stream_bits(*stream),
                start: signed(range.start.0, "range start")?,
                end: signed(range.end.0, "range end")?,
            })
        });
        Ok(MetaCommitRequest {
            writer_id: writer.broker.0,
            writer_epoch: writer.epoch.0,
            commit_sequence: signed(*commit_sequence, "commit sequence")?,
            log_id: log.broker.0,
            log_epoch: log.epoch.0,
            wal_position: signed(wal_position.0, "WAL position")?,
            covers: list(covers)?,
            upload_floor: signed(*upload_floor, "upload floor")?,
            objects: list(objects.iter().map(object_to_commit))?,
        })
    }

    fn from_request(request: Self::Message) -> Result<Self, Misfit> {
        let covers = request.covers.iter().map(|c| Ok((stream(c.stream_id), range(c.start, c.end)?)));
        let request = CommitRequest {
            writer: incarnation(request.writer_id, request.writer_epoch),
            commit_sequence: natural(request.commit_sequence, "commit sequence")?,
            log: incarnation(request.log_id, request.log_epoch),
            wal_position: position(request.wal_position, "WAL position")?,
            covers: list(covers)?,
            upload_floor: natural(request.upload_floor, "upload floor")?,
            objects: list(request.objects.iter().map(new_object))?,
        };
        Ok(Self { request })
    }

    fn to_response(answer: Self::Answer) -> Result<MetaCommitResponse, Misfit> {
        Ok(match answer {
            Ok(Committed { repeated, ranges_skipped }) => MetaCommitResponse {
                repeated,
                ranges_skipped: signed_count(ranges_skipped, "ranges skipped")?,
                ..Default::default()
            },
            Err(why) => MetaCommitResponse { refusal: Some(commit_refusal(&why)?), ..Default::default() },
        })
    }

    fn from_response(response: MetaCommitResponse) -> Result<Self::Answer, Misfit> {
        let MetaCommitResponse { refusal, repeated, ranges_skipped, .. } = response;
        match refusal {
            None => Ok(Ok(Committed { repeated, ranges_skipped: count(ranges_skipped, "ranges skipped")? })),
            Some(refusal) => commit_rejection(refusal).map(Err),
        }
    }
}

impl Request for Trim {
    type Message = MetaTrimRequest;

    fn to_request(&self) -> Result<Self::Message, Misfit> {
        let trims = self.requests.iter().map(|trim| {
            let (state, told_up_to) = match trim.state {
                StateBelow::Checkpointed => (0, -1),
                StateBelow::NotKept => (1, -1),
                StateBelow::ToldUpTo(end) => (2, signed(end.0, "end of what tells the state")?),
            };
            Ok(StreamToTrim {
                stream_id: stream_bits(trim.stream),
                stream_epoch: trim.epoch.0,
                start: signed(trim.start.0, "start")?,
                state,
                told_up_to,
            })
        });
        Ok(MetaTrimRequest { trims: list(trims)? })
    }

    fn from_request(request: Self::Message) -> Result<Self, Misfit> {
        let requests = request.trims.iter().map(|trim| {
            Ok(TrimRequest {
                stream: stream(trim.stream_id),
                epoch: StreamEpoch(trim.stream_epoch),
                start: offset(trim.start, "start")?,
                state: match trim.state {
                    0 => StateBelow::Checkpointed,
                    1 => StateBelow::NotKept,
                    2 => StateBelow::ToldUpTo(offset(trim.told_up_to, "end of what tells the state")?),
                    kind => return Err(unknown_kind("what tells the state", kind)),
                },
            })
        });
        Ok(Self { requests: list(requests)? })
    }

    fn to_response(answer: Self::Answer) -> Result<MetaTrimResponse, Misfit> {
        let Results { successes, refusals, .. } = Results::of(answer, drop, |why| stream_refusal(&why))?;
        Ok(MetaTrimResponse { trimmed: successes, refusals, ..Default::default() })
    }

    fn from_response(response: MetaTrimResponse) -> Result<Self::Answer, Misfit> {
        let MetaTrimResponse { trimmed: successes, refusals, .. } = response;
        let values = successes.iter().filter(|success| **success).map(|_| ()).collect();
        Results { successes, values, refusals }.join(|()| (), stream_rejection)
    }
}

impl Request for Retire {
    type Message = MetaRetireRequest;

    fn to_request(&self) -> Result<Self::Message, Misfit> {
        Ok(MetaRetireRequest {})
    }

    fn from_request(_: Self::Message) -> Result<Self, Misfit> {
        Ok(Self)
    }

    fn to_response((): ()) -> Result<MetaRetireResponse, Misfit> {
        Ok(MetaRetireResponse::default())
    }

    fn from_response(_: MetaRetireResponse) -> Result<(), Misfit> {
        Ok(())
    }
}

impl Request for ObjectsRemoved {
    type Message = MetaObjectsRemovedRequest;

    fn to_request(&self) -> Result<Self::Message, Misfit> {
        let objects = self.objects.iter().map(|object| {
            Ok(ObjectRemoved {
                writer_id: object.writer.broker.0,
                writer_epoch: object.writer.epoch.0,
                sequence: signed(object.sequence, "object sequence")?,
            })
        });
        Ok(MetaObjectsRemovedRequest { objects: list(objects)? })
    }

    fn from_request(request: Self::Message) -> Result<Self, Misfit> {
        let objects = request.objects.iter().map(|o| object(o.writer_id, o.writer_epoch, o.sequence));
        Ok(Self { objects: list(objects)? })
    }

    fn to_response((): ()) -> Result<MetaObjectsRemovedResponse, Misfit> {
        Ok(MetaObjectsRemovedResponse::default())
    }

    fn from_response(_: MetaObjectsRemovedResponse) -> Result<(), Misfit> {
        Ok(())
    }
}
