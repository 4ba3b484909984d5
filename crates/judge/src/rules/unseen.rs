//! **unseen**: a record is not there at the end.
//!
//! Flagged: a record that was acknowledged, or that anybody had polled, before a final reader was assigned its partition for
//! the last time, and that this reader was not given, though it read the whole partition. What was acknowledged, and what
//! was readable, is kept; the final reader asked for the end of the log after that, which is never told too low. Excused is
//! what may have been removed ([`super::lost_write`]); a record whose place is not known may lie wherever the log had ended
//! when it was sent, or behind that. Deleted topics are excused, and what was sent to them.
//!
//! Flagged, too, where whole reads were promised: a partition to which something was sent, or of which anything was read,
//! that was not deleted and was never read whole.

use std::collections::{BTreeMap, BTreeSet};

use super::Findings;
use crate::index::{Index, Place, WholeRead};
use crate::{Client, Key, Value};

const RECORDS: &str = "records that are expected";
const LATE: &str = "records that are expected, of after the healing";
const WHOLE: &str = "partitions that are to be read whole";
pub(super) const PARTS: &[&str] = &[RECORDS, LATE, WHOLE];

pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    let Some(healed) = index.healed else {
        if index.promises.whole_reads && !index.events.is_empty() {
            findings.add(None, "the history ends before everything is healed".to_owned(), []);
        }
        return;
    };
    let expected = expected(index);
    let mut polled: BTreeMap<(Client, &Key), BTreeSet<Value>> = BTreeMap::new();
    for poll in index.polls.open.iter().filter(|poll| poll.place > healed) {
        let values = poll.records.iter().map(|&(_, value)| value);
        polled.entry((poll.client, poll.key)).or_default().extend(values);
    }
    let mut whole = BTreeSet::new();
    for read in index.whole_reads.iter().filter(|read| read.place > healed) {
        whole.insert(read.key);
        let polled = polled.get(&(read.client, read.key));
        let began = read.began.unwrap_or(healed);
        for (value, shown) in expected.get(read.key).into_iter().flatten().filter(|&(_, &shown)| shown < began) {
            findings.looks_at(if *shown < healed { RECORDS } else { LATE });
            let was_seen = polled.is_some_and(|polled| polled.contains(value));
            if !was_seen && !may_be_removed(index, read, *value) {
                let words = format!("{value} is missing from all that is left, from {} to {}", read.from, read.end);
                findings.add(Some(read.key), words, [*shown, read.place]);
            }
        }
    }
    if index.promises.whole_reads {
        let keys = index.sends.iter().map(|(_, send)| send.key).chain(index.logs.iter().map(|(key, _)| key));
        let keys: BTreeSet<&Key> = keys.filter(|key| index.topics.deletion(&key.topic).is_none()).collect();
        findings.looks_at_many(WHOLE, keys.len());
        for key in keys.difference(&whole) {
            findings.add(Some(key), "it was not read to its end after all was healed".to_owned(), [healed]);
        }
    }
}

/// What must be there, by partition, with the event that shows that it was stored.
fn expected<'h>(index: &Index<'h>) -> BTreeMap<&'h Key, BTreeMap<Value, Place>> {
    let mut expected: BTreeMap<&'h Key, BTreeMap<Value, Place>> = BTreeMap::new();
    for (value, send) in index.sends.iter() {
        if let Some(done) = send.done() {
            expected.entry(send.key).or_default().insert(value, done);
        }
    }
    for (key, log) in index.logs.iter() {
        for &(value, shown) in log.stored.values().filter(|stored| stored.polled.is_some()).flat_map(|s| &s.values) {
            let first = expected.entry(key).or_default().entry(value).or_insert(shown);
            *first = shown.min(*first);
        }
    }
    expected
}

fn may_be_removed(index: &Index<'_>, read: &WholeRead<'_>, value: Value) -> bool {
    let places = index.logs.places(value).iter().filter(|seen| seen.key == read.key);
    let mut offsets = places.map(|seen| seen.offset).peekable();
    if offsets.peek().is_some() {
        return offsets.any(|offset| index.may_be_removed(read.key, offset, value, read.place));
    }
    // Records are stored at the end of the log.
    let end = index.sends.get(value).and_then(|send| index.logs.get(read.key)?.high.before(send.began));
    index.may_be_removed(read.key, end.map_or(0, |(_, end)| end), value, read.place)
}
