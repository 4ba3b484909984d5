//! The version order: what is known to be stored where, from polls and from acknowledgements with offsets.

use std::collections::BTreeMap;

use super::{Ask, Floor, Place, Polls, Sends, Trims, WholeRead};
use crate::{Key, Value};

/// What is known of one offset.
#[derive(Default)]
pub(crate) struct Stored {
    /// The values that were seen there, each with the first event that shows it. One, if all is well.
    pub values: Vec<(Value, Place)>,
    /// The first and the last poll of it.
    pub polled: Option<(Place, Place)>,
}

/// What is known of one partition.
#[derive(Default)]
pub(crate) struct Log {
    /// By offset.
    pub stored: BTreeMap<i64, Stored>,
    /// What the high watermark had certainly reached.
    pub high: Floor,
    /// What the log start had certainly reached.
    pub start: Floor,
}

/// What is known of all partitions.
pub(crate) struct Logs<'h> {
    logs: BTreeMap<&'h Key, Log>,
    places: BTreeMap<Value, Vec<Seen<'h>>>,
}

/// A value was seen at an offset.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'h> {
    pub key: &'h Key,
    pub offset: i64,
    /// The first event that shows it.
    pub place: Place,
}

/// Offsets that were reached, by key and place.
type Said<'h> = BTreeMap<&'h Key, Vec<(Place, i64)>>;

impl<'h> Logs<'h> {
    pub fn new(
        sends: &Sends<'h>,
        polls: &Polls<'h>,
        asks: &[Ask<'h>],
        trims: &Trims<'h>,
        whole_reads: &[WholeRead<'h>],
    ) -> Self {
        let mut logs = Self { logs: BTreeMap::new(), places: BTreeMap::new() };
        // Where each is shown: in order, so that the first one is found.
        let mut shown: Vec<(Place, &'h Key, i64, Value, bool)> = Vec::new();
        for (value, send) in sends.iter() {
            if let Some((place, offset)) = send.offset() {
                shown.push((place, send.key, offset, value, false));
            }
        }
        for poll in &polls.open {
            let records = poll.records.iter();
            shown.extend(records.map(|&(offset, value)| (poll.place, poll.key, offset, value, true)));
        }
        // Stable: the records of a poll stay as they came.
        shown.sort_by_key(|&(place, ..)| place);
        for (place, key, offset, value, is_poll) in shown {
            logs.show(place, key, offset, value, is_poll);
        }
        let (mut high, mut start): (Said<'h>, Said<'h>) = Default::default();
        for (_, send) in sends.iter() {
            if let Some((place, offset)) = send.offset() {
                high.entry(send.key).or_default().push((place, offset.saturating_add(1)));
            }
        }
        for poll in &polls.open {
            let end = poll.records.iter().map(|&(offset, _)| offset.saturating_add(1)).max();
            high.entry(poll.key).or_default().push((poll.place, end.unwrap_or(0).max(poll.high_watermark)));
            start.entry(poll.key).or_default().push((poll.place, poll.log_start));
        }
        for ask in asks {
            high.entry(ask.key).or_default().extend(ask.latest.map(|latest| (ask.ended, latest)));
            start.entry(ask.key).or_default().extend(ask.earliest.map(|earliest| (ask.ended, earliest)));
        }
        for trim in &trims.done {
            high.entry(trim.key).or_default().push((trim.ended, trim.start));
            start.entry(trim.key).or_default().push((trim.ended, trim.start));
        }
        for read in whole_reads {
            high.entry(read.key).or_default().push((read.place, read.end));
            start.entry(read.key).or_default().push((read.place, read.from));
        }
        for (key, said) in high {
            logs.logs.entry(key).or_default().high = Floor::new(said);
        }
        for (key, said) in start {
            logs.logs.entry(key).or_default().start = Floor::new(said);
        }
        logs
    }

    fn show(&mut self, place: Place, key: &'h Key, offset: i64, value: Value, is_poll: bool) {
        let stored = self.logs.entry(key).or_default().stored.entry(offset).or_default();
        if stored.values.iter().all(|&(other, _)| other != value) {
            stored.values.push((value, place));
        }
        if is_poll {
            stored.polled = Some((stored.polled.map_or(place, |(first, _)| first), place));
        }
        let places = self.places.entry(value).or_default();
        if places.iter().all(|seen| (seen.key, seen.offset) != (key, offset)) {
            places.push(Seen { key, offset, place });
        }
    }

    /// Of a key of which anything is known.
    pub fn get(&self, key: &Key) -> Option<&Log> {
        self.logs.get(key)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'h Key, &Log)> {
        self.logs.iter().map(|(&key, log)| (key, log))
    }

    /// Where a value was seen, in order of time.
    pub fn places(&self, value: Value) -> &[Seen<'h>] {
        self.places.get(&value).map_or(&[], Vec::as_slice)
    }
}
