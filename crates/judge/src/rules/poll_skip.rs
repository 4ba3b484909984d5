//! **poll-skip**: a reader was not given a record.
//!
//! Flagged: between the offset from which a reader reads on (the start of its assignment, where it was reset to, or behind
//! what it polled last) and the next record it polled lies one that it was not given, though others polled it later: it
//! was there. An answer to a fetch holds all records from the offset that was asked for, in order and without gaps. Excused
//! is what may have been removed by then ([`super::lost_write`]). Offsets that hold no record are no gap.

use super::Findings;
use crate::Value;
use crate::index::{Index, PassedOver, Place};

const RECORDS: &str = "records that a reader was given where it stood";
pub(super) const PARTS: &[&str] = &[RECORDS];

pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    findings.looks_at_many(RECORDS, records_in_a_row(index));
    for Skipped { over, offset, value, shown, last_polled } in skipped(index) {
        if let Some(last) = last_polled.filter(|&last| last > over.polled) {
            let words = format!("{value} at {offset} was passed over between {} and {}", over.from, over.to);
            findings.add(Some(over.key), words, [shown, over.stood, over.polled, last]);
        }
        if findings.is_full() {
            return;
        }
    }
}

/// How many records readers were given of whom it is known where they stood: before each of them another one might lie.
pub(super) fn records_in_a_row(index: &Index<'_>) -> usize {
    index.polls.open.iter().filter(|poll| poll.wanted.is_some()).map(|poll| poll.records.len()).sum()
}

/// A known record that a reader passed over.
pub(super) struct Skipped<'a, 'h> {
    pub over: &'a PassedOver<'h>,
    pub offset: i64,
    pub value: Value,
    /// Where the record was seen first.
    pub shown: Place,
    /// Where it was polled last, if ever.
    pub last_polled: Option<Place>,
}

/// More than these say nothing new: a log that is broken so much is looked at from its first breaks.
const SKIPPED_MAX: usize = 100_000;

/// In order of the polls that passed over something.
pub(super) fn skipped<'a, 'h>(index: &'a Index<'h>) -> impl Iterator<Item = Skipped<'a, 'h>> {
    let skipped = index.polls.passed_over.iter().flat_map(move |over| {
        let stored = index.logs.get(over.key).map(|log| log.stored.range(over.from..over.to));
        stored.into_iter().flatten().filter_map(move |(&offset, stored)| {
            let &(value, shown) = stored.values.first()?;
            // To the end of the poll: a trim may run beside the fetch.
            let is_removed = over.log_start > offset && index.may_be_removed(over.key, offset, value, over.polled);
            (!is_removed).then_some(Skipped {
                over,
                offset,
                value,
                shown,
                last_polled: stored.polled.map(|(_, last)| last),
            })
        })
    });
    skipped.take(SKIPPED_MAX)
}
