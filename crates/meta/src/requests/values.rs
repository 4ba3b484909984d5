//! Plain numbers, texts and lists of messages, and what they stand for.
//!
//! What counts from zero is refused below it; ids of streams are the bits of an unsigned number.

use std::sync::Arc;

use base::{BrokerEpoch, BrokerId, Incarnation, ObjectId, Offset, OffsetRange, StreamId, WalPosition};
use wire::{STRING_BYTES_MAX, Str};

use super::Misfit;

pub(super) fn unknown_kind(field: &'static str, kind: i8) -> Misfit {
    Misfit::Senseless { field, value: kind.into() }
}

/// A number that counts from zero.
pub(super) fn natural(value: i64, field: &'static str) -> Result<u64, Misfit> {
    u64::try_from(value).map_err(|_| Misfit::Senseless { field, value })
}

/// The number in a message for one that counts from zero.
pub(super) fn signed(value: u64, field: &'static str) -> Result<i64, Misfit> {
    i64::try_from(value).map_err(|_| Misfit::TooLarge { field, value })
}

/// How many of something there are.
pub(super) fn count(value: impl Into<i64>, field: &'static str) -> Result<usize, Misfit> {
    let value = value.into();
    usize::try_from(value).map_err(|_| Misfit::Senseless { field, value })
}

/// The number in a message for how many there are.
pub(super) fn signed_count<N: TryFrom<usize>>(value: usize, field: &'static str) -> Result<N, Misfit> {
    N::try_from(value).map_err(|_| Misfit::TooLarge { field, value: value as u64 })
}

pub(super) fn stream(bits: i64) -> StreamId {
    StreamId(bits.cast_unsigned())
}

pub(super) fn stream_bits(id: StreamId) -> i64 {
    id.0.cast_signed()
}

pub(super) fn streams(bits: Vec<i64>) -> Vec<StreamId> {
    bits.into_iter().map(stream).collect()
}

pub(super) fn streams_bits(ids: &[StreamId]) -> Vec<i64> {
    ids.iter().copied().map(stream_bits).collect()
}

pub(super) fn incarnation(broker: i32, epoch: i64) -> Incarnation {
    Incarnation { broker: BrokerId(broker), epoch: BrokerEpoch(epoch) }
}

pub(super) fn object(writer: i32, epoch: i64, sequence: i64) -> Result<ObjectId, Misfit> {
    Ok(ObjectId { writer: incarnation(writer, epoch), sequence: natural(sequence, "object sequence")? })
}

pub(super) fn offset(value: i64, field: &'static str) -> Result<Offset, Misfit> {
    natural(value, field).map(Offset)
}

pub(super) fn position(value: i64, field: &'static str) -> Result<WalPosition, Misfit> {
    natural(value, field).map(WalPosition)
}

/// A range as a refusal tells of it: it may be the one that made no sense.
pub(super) fn range_told(start: i64, end: i64) -> Result<OffsetRange, Misfit> {
    Ok(OffsetRange::new(offset(start, "range start")?, offset(end, "range end")?))
}

/// A range that is asked for. It does not end before it begins.
pub(super) fn range(start: i64, end: i64) -> Result<OffsetRange, Misfit> {
    if end < start {
        return Err(Misfit::Senseless { field: "range end", value: end });
    }
    range_told(start, end)
}

/// A text for people. One that is longer than a string may be is cut: an answer without its end says more than none.
pub(super) fn text(text: &str) -> Str {
    Str::from(&text[..text.floor_char_boundary(STRING_BYTES_MAX)])
}

pub(super) fn shared(text: &Str) -> Arc<str> {
    Arc::from(text.as_str())
}

/// Elements each of which may not be what it should.
pub(super) fn list<T>(elements: impl Iterator<Item = Result<T, Misfit>>) -> Result<Vec<T>, Misfit> {
    elements.collect()
}

/// The one element of a list that must have one.
pub(super) fn only<T>(list: Vec<T>, field: &'static str) -> Result<T, Misfit> {
    let value = i64::try_from(list.len()).unwrap_or(i64::MAX);
    let mut elements = list.into_iter();
    match (elements.next(), elements.next()) {
        (Some(element), None) => Ok(element),
        _ => Err(Misfit::Senseless { field, value }),
    }
}

/// Results as a message holds them: whether each is a success, then the successes, then the refusals. So many successes take
/// no more memory than they have bytes.
pub(super) struct Results<T, E> {
    pub(super) successes: Vec<bool>,
    pub(super) values: Vec<T>,
    pub(super) refusals: Vec<E>,
}

impl<T, E> Results<T, E> {
    pub(super) fn of<A, R>(
        results: Vec<Result<A, R>>,
        value: impl Fn(A) -> T,
        refusal: impl Fn(R) -> Result<E, Misfit>,
    ) -> Result<Self, Misfit> {
        let successes = results.iter().map(Result::is_ok).collect();
        let (mut values, mut refusals) = (Vec::new(), Vec::new());
        for result in results {
            match result {
                Ok(success) => values.push(value(success)),
                Err(why) => refusals.push(refusal(why)?),
            }
        }
        Ok(Self { successes, values, refusals })
    }

    pub(super) fn join<A, R>(
        self,
        value: impl Fn(T) -> A,
        refusal: impl Fn(E) -> Result<R, Misfit>,
    ) -> Result<Vec<Result<A, R>>, Misfit> {
        let wanted = self.successes.iter().filter(|success| **success).count();
        let (found, refused) = (self.values.len(), self.refusals.len());
        if (wanted, self.successes.len() - wanted) != (found, refused) {
            let value = i64::try_from(found).unwrap_or(i64::MAX);
            return Err(Misfit::Senseless { field: "number of results", value });
        }
        let (mut values, mut refusals) = (self.values.into_iter(), self.refusals.into_iter());
        let mut results = Vec::with_capacity(self.successes.len());
        for success in self.successes {
            let next = match success {
                true => values.next().map(|success| Ok(Ok(value(success)))),
                false => refusals.next().map(|why| refusal(why).map(Err)),
            };
            results.extend(next.transpose()?);
        }
        Ok(results)
    }
}
