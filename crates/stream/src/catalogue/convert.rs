//! Between the catalogue's types and the plain numbers of `wire::meta` records.

use base::{BrokerEpoch, BrokerId, Incarnation, ObjectId, Offset, OffsetRange, StreamId, WalPosition};

use super::replay::ReplayError;

pub(super) fn stream_id(raw: i64) -> StreamId {
    StreamId(raw.cast_unsigned())
}

pub(super) fn raw_stream(id: StreamId) -> i64 {
    id.0.cast_signed()
}

pub(super) fn incarnation(broker: i32, epoch: i64) -> Incarnation {
    Incarnation { broker: BrokerId(broker), epoch: BrokerEpoch(epoch) }
}

/// A number that cannot be negative.
pub(super) fn natural(raw: i64, field: &'static str) -> Result<u64, ReplayError> {
    u64::try_from(raw).map_err(|_| ReplayError::Negative { field: field.into(), value: raw })
}

/// The signed form of a number that fits one; offsets, sequences and positions all do (a request beyond is refused).
pub(super) fn raw(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn object_id(writer: i32, epoch: i64, sequence: i64) -> Result<ObjectId, ReplayError> {
    Ok(ObjectId { writer: incarnation(writer, epoch), sequence: natural(sequence, "object sequence")? })
}

pub(super) fn offset(value: i64, field: &'static str) -> Result<Offset, ReplayError> {
    natural(value, field).map(Offset)
}

pub(super) fn range(start: i64, end: i64) -> Result<OffsetRange, ReplayError> {
    Ok(OffsetRange::new(offset(start, "range start")?, offset(end, "range end")?))
}

pub(super) fn position(value: i64) -> Result<WalPosition, ReplayError> {
    natural(value, "WAL position").map(WalPosition)
}
