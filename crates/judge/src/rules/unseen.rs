//! **unseen**: a record is not there at the end.
//!
//! Flagged: a record that was acknowledged, or that anybody had polled, before [`crate::What::Healed`], and that a final
//! reader was not given, though it read the whole partition. What was acknowledged, and what was readable, is kept; the
//! final reader asked for the end of the log after that, which is never told too low. Excused is what somebody had asked to
//! trim: where the record's place is not known, any trim of its partition excuses it. Deleted topics are excused, and what
//! was sent to them.
//!
//! Flagged, too, where whole reads were promised: a partition to which something was sent, or of which anything was read,
//! that was not deleted and was never read whole.

use std::collections::{BTreeMap, BTreeSet};

use super::Findings;
use crate::index::{Index, Place, WholeRead};
use crate::{Client, Key, Value};

pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    let Some(healed) = index.healed else {
        if index.promises.whole_reads && !index.events.is_empty() {
            findings.add(None, "the history ends before everything is healed".to_owned(), []);
        }
        return;
    };
    let expected = expected(index, healed);
    let mut polled: BTreeMap<(Client, &Key), BTreeSet<Value>> = BTreeMap::new();
    for poll in index.polls.open.iter().filter(|poll| poll.place > healed) {
        let values = poll.records.iter().map(|&(_, value)| value);
        polled.entry((poll.client, poll.key)).or_default().extend(values);
    }
    let mut whole = BTreeSet::new();
    for read in index.whole_reads.iter().filter(|read| read.place > healed) {
        whole.insert(read.key);
        let polled = polled.get(&(read.client, read.key));
        for (value, shown) in expected.get(read.key).into_iter().flatten() {
            let was_seen = polled.is_some_and(|polled| polled.contains(value));
            if !was_seen && !may_be_trimmed(index, read, *value) {
                let words = format!("{value} is missing from all that is left, from {} to {}", read.from, read.end);
                findings.add(Some(read.key), words, [*shown, read.place]);
            }
        }
    }
    if index.promises.whole_reads {
        let keys = index.sends.iter().map(|(_, send)| send.key).chain(index.logs.iter().map(|(key, _)| key));
        let keys: BTreeSet<&Key> = keys.filter(|key| index.topics.deletion(&key.topic).is_none()).collect();
        for key in keys.difference(&whole) {
            findings.add(Some(key), "it was not read to its end after all was healed".to_owned(), [healed]);
        }
    }
}

/// What must be there, by partition, with the event that shows that it was stored.
fn expected<'h>(index: &Index<'h>, healed: Place) -> BTreeMap<&'h Key, BTreeMap<Value, Place>> {
    let mut expected: BTreeMap<&'h Key, BTreeMap<Value, Place>> = BTreeMap::new();
    for (value, send) in index.sends.iter() {
        if let Some(done) = send.done().filter(|&done| done < healed) {
            expected.entry(send.key).or_default().insert(value, done);
        }
    }
    for (key, log) in index.logs.iter() {
        for &(value, shown) in log.stored.values().filter(|stored| stored.polled.is_some()).flat_map(|s| &s.values) {
            if shown < healed {
                expected.entry(key).or_default().entry(value).or_insert(shown);
            }
        }
    }
    expected
}

fn may_be_trimmed(index: &Index<'_>, read: &WholeRead<'_>, value: Value) -> bool {
    let below = index.trims.may_reach(read.key, read.place);
    let mut places = index.logs.places(value).iter().filter(|seen| seen.key == read.key).peekable();
    if places.peek().is_none() { below > 0 } else { places.any(|seen| seen.offset < below) }
}
