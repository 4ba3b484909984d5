//! Why there is no answer, or a refusal, that several operations have.

use base::{MetaSequence, StreamEpoch};
use stream::catalogue::{IncarnationRejection, ReplayError, StreamRejection};
use wire::broker::{IncarnationRefusal, MetaFailure, ReplayMisfit, StreamRefusal};

use super::Misfit;
use super::values::{
    count, incarnation, natural, object, offset, only, position, range_told, shared, signed, signed_count, stream,
    stream_bits, text, unknown_kind,
};
use crate::error::{LogLost, MetaError, Unfit};

pub(super) fn failure(error: &MetaError) -> Result<MetaFailure, Misfit> {
    let of = |kind| MetaFailure { kind, ..Default::default() };
    Ok(match error {
        MetaError::Fenced(why) => MetaFailure { text: text(why), ..of(0) },
        MetaError::OutcomeUnknown(why) => MetaFailure { text: text(why), ..of(1) },
        MetaError::Unreadable(LogLost::Replaced(why)) => MetaFailure { text: text(why), lost_kind: 0, ..of(2) },
        MetaError::Unreadable(LogLost::Unreadable(MetaSequence(place))) => {
            MetaFailure { lost_kind: 1, lost_sequence: signed(*place, "lost sequence")?, ..of(2) }
        }
        MetaError::Closed => of(3),
        MetaError::TooLarge { bytes, limit } => {
            MetaFailure { bytes: signed_count(*bytes, "bytes")?, limit: signed_count(*limit, "limit")?, ..of(4) }
        }
        MetaError::Unfit(Unfit(why)) => MetaFailure { text: text(why), ..of(5) },
        MetaError::GivenUp(MetaSequence(place)) => {
            MetaFailure { lost_sequence: signed(*place, "lost sequence")?, ..of(6) }
        }
    })
}

pub(super) fn meta_error(r: &MetaFailure) -> Result<MetaError, Misfit> {
    Ok(match r.kind {
        0 => MetaError::Fenced(shared(&r.text)),
        1 => MetaError::OutcomeUnknown(shared(&r.text)),
        2 => MetaError::Unreadable(match r.lost_kind {
            0 => LogLost::Replaced(shared(&r.text)),
            1 => LogLost::Unreadable(MetaSequence(natural(r.lost_sequence, "lost sequence")?)),
            kind => return Err(unknown_kind("kind of loss", kind)),
        }),
        3 => MetaError::Closed,
        4 => MetaError::TooLarge { bytes: count(r.bytes, "bytes")?, limit: count(r.limit, "limit")? },
        5 => MetaError::Unfit(Unfit(shared(&r.text))),
        6 => MetaError::GivenUp(MetaSequence(natural(r.lost_sequence, "lost sequence")?)),
        kind => return Err(unknown_kind("kind of failure", kind)),
    })
}

pub(super) fn replay_misfit(error: &ReplayError) -> Result<ReplayMisfit, Misfit> {
    let of = |kind| ReplayMisfit { kind, ..Default::default() };
    Ok(match error {
        ReplayError::Negative { field, value } => ReplayMisfit { text: text(field), number: *value, ..of(0) },
        ReplayError::UnknownCode { field, code } => {
            ReplayMisfit { text: text(field), number: i64::from(*code), ..of(1) }
        }
        ReplayError::Stream { stream, reason } => {
            ReplayMisfit { stream_id: stream_bits(*stream), text: text(reason), ..of(2) }
        }
        ReplayError::Discontinuous { stream, range, end } => ReplayMisfit {
            stream_id: stream_bits(*stream),
            start: signed(range.start.0, "range start")?,
            end: signed(range.end.0, "range end")?,
            committed: signed(end.0, "committed end")?,
            ..of(3)
        },
        ReplayError::Object { object, reason } => ReplayMisfit {
            broker_id: object.writer.broker.0,
            broker_epoch: object.writer.epoch.0,
            sequence: signed(object.sequence, "object sequence")?,
            text: text(reason),
            ..of(4)
        },
        ReplayError::Incarnation { incarnation, reason } => ReplayMisfit {
            broker_id: incarnation.broker.0,
            broker_epoch: incarnation.epoch.0,
            text: text(reason),
            ..of(5)
        },
    })
}

pub(super) fn replay_error(r: &ReplayMisfit) -> Result<ReplayError, Misfit> {
    let told = || String::from(r.text.clone()).into();
    Ok(match r.kind {
        0 => ReplayError::Negative { field: told(), value: r.number },
        1 => {
            let code = i8::try_from(r.number);
            let code = code.map_err(|_| Misfit::Senseless { field: "unknown code", value: r.number })?;
            ReplayError::UnknownCode { field: told(), code }
        }
        2 => ReplayError::Stream { stream: stream(r.stream_id), reason: told() },
        3 => ReplayError::Discontinuous {
            stream: stream(r.stream_id),
            range: range_told(r.start, r.end)?,
            end: offset(r.committed, "committed end")?,
        },
        4 => ReplayError::Object { object: object(r.broker_id, r.broker_epoch, r.sequence)?, reason: told() },
        5 => ReplayError::Incarnation { incarnation: incarnation(r.broker_id, r.broker_epoch), reason: told() },
        kind => return Err(unknown_kind("kind of misfit", kind)),
    })
}

pub(super) fn stream_refusal(rejection: &StreamRejection) -> Result<StreamRefusal, Misfit> {
    let of = |kind| StreamRefusal { kind, ..Default::default() };
    Ok(match rejection {
        StreamRejection::Unknown(stream) => StreamRefusal { stream_id: stream_bits(*stream), ..of(0) },
        StreamRejection::StaleEpoch { stream, epoch, present } => {
            StreamRefusal { stream_id: stream_bits(*stream), stream_epoch: epoch.0, present_epoch: present.0, ..of(1) }
        }
        StreamRejection::Owned { stream, owner, phase } => StreamRefusal {
            stream_id: stream_bits(*stream),
            owner_broker: owner.broker.0,
            owner_epoch: owner.epoch.0,
            phase: text(phase),
            ..of(2)
        },
        StreamRejection::Uncommitted { stream, start, needed, committed } => StreamRefusal {
            stream_id: stream_bits(*stream),
            start: signed(start.0, "start")?,
            told: signed(needed.0, "what is needed")?,
            committed: signed(committed.0, "committed end")?,
            ..of(3)
        },
        StreamRejection::Untold { stream, start, checkpoint } => StreamRefusal {
            stream_id: stream_bits(*stream),
            start: signed(start.0, "start")?,
            told: signed(checkpoint.0, "checkpoint")?,
            ..of(4)
        },
        StreamRejection::Invalid(error) => StreamRefusal { invalid: vec![replay_misfit(error)?], ..of(5) },
    })
}

pub(super) fn stream_rejection(r: StreamRefusal) -> Result<StreamRejection, Misfit> {
    let stream = stream(r.stream_id);
    Ok(match r.kind {
        0 => StreamRejection::Unknown(stream),
        1 => StreamRejection::StaleEpoch {
            stream,
            epoch: StreamEpoch(r.stream_epoch),
            present: StreamEpoch(r.present_epoch),
        },
        2 => {
            StreamRejection::Owned { stream, owner: incarnation(r.owner_broker, r.owner_epoch), phase: r.phase.into() }
        }
        3 => StreamRejection::Uncommitted {
            stream,
            start: offset(r.start, "start")?,
            needed: offset(r.told, "what is needed")?,
            committed: offset(r.committed, "committed end")?,
        },
        4 => StreamRejection::Untold {
            stream,
            start: offset(r.start, "start")?,
            checkpoint: offset(r.told, "checkpoint")?,
        },
        5 => StreamRejection::Invalid(replay_error(&only(r.invalid, "misfits")?)?),
        kind => return Err(unknown_kind("kind of refusal of a stream", kind)),
    })
}

pub(super) fn incarnation_refusal(rejection: &IncarnationRejection) -> Result<IncarnationRefusal, Misfit> {
    let of = |kind, id: &base::Incarnation| IncarnationRefusal {
        kind,
        broker_id: id.broker.0,
        broker_epoch: id.epoch.0,
        ..Default::default()
    };
    Ok(match rejection {
        IncarnationRejection::Unknown(id) => of(0, id),
        IncarnationRejection::WrongPhase { incarnation, phase, step } => {
            IncarnationRefusal { phase: text(phase), step: text(step), ..of(1, incarnation) }
        }
        IncarnationRejection::Stale(id) => of(2, id),
        IncarnationRejection::BelowCommitted { incarnation, final_position, committed } => IncarnationRefusal {
            final_position: signed(final_position.0, "final position")?,
            committed: signed(committed.0, "committed position")?,
            ..of(3, incarnation)
        },
    })
}

pub(super) fn incarnation_rejection(r: IncarnationRefusal) -> Result<IncarnationRejection, Misfit> {
    let incarnation = incarnation(r.broker_id, r.broker_epoch);
    Ok(match r.kind {
        0 => IncarnationRejection::Unknown(incarnation),
        1 => IncarnationRejection::WrongPhase { incarnation, phase: r.phase.into(), step: String::from(r.step).into() },
        2 => IncarnationRejection::Stale(incarnation),
        3 => IncarnationRejection::BelowCommitted {
            incarnation,
            final_position: position(r.final_position, "final position")?,
            committed: position(r.committed, "committed position")?,
        },
        kind => return Err(unknown_kind("kind of refusal of an incarnation", kind)),
    })
}
