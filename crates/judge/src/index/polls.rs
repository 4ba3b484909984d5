//! What was polled, with where each reader stood.

use std::collections::BTreeMap;

use super::{Place, Topics};
use crate::{Client, Event, Key, Refusal, Start, Value, What};

/// An answer to a fetch.
pub(crate) struct Poll<'h> {
    pub place: Place,
    pub client: Client,
    pub key: &'h Key,
    pub records: &'h [(i64, Value)],
    pub garbage: &'h [(i64, Refusal)],
    pub high_watermark: i64,
    pub log_start: i64,
    pub connection: Option<u64>,
    /// The fetch was certainly sent after this.
    pub began: Option<Place>,
    /// Which offset the reader wanted next, and the event that says so; `None` when it was not assigned the key.
    pub wanted: Option<(Place, i64)>,
}

/// A fetch that was refused.
pub(crate) struct Refused<'h> {
    pub key: &'h Key,
    /// The first offset that was wanted.
    pub offset: i64,
    /// The fetch was certainly sent after this.
    pub began: Option<Place>,
}

/// A reader was told that its position is gone.
pub(crate) struct Reset<'h> {
    pub place: Place,
    pub key: &'h Key,
    /// The fetch that was refused was certainly sent after this.
    pub began: Place,
    /// The offset that the reader wanted next, and the event that says so.
    pub stood: (Place, i64),
}

/// A stretch without records that a reader passed over, between two that it polled or after where it began.
pub(crate) struct PassedOver<'h> {
    pub key: &'h Key,
    /// The event that says where the reader stood.
    pub stood: Place,
    /// The poll with the record behind the stretch.
    pub polled: Place,
    /// Where the log began, as that poll says.
    pub log_start: i64,
    /// The first offset of the stretch.
    pub from: i64,
    /// The offset of the record behind it.
    pub to: i64,
}

/// All answers to fetches, in order.
#[derive(Default)]
pub(crate) struct Polls<'h> {
    /// Those of open keys.
    pub open: Vec<Poll<'h>>,
    /// Those of keys of which a deletion had begun.
    pub closed: Vec<Poll<'h>>,
    /// All that were refused.
    pub refused: Vec<Refused<'h>>,
    /// Of readers of open keys, of whom it is known where they stood.
    pub resets: Vec<Reset<'h>>,
    /// In order of the polls.
    pub passed_over: Vec<PassedOver<'h>>,
}

impl<'h> Polls<'h> {
    pub fn new(events: &'h [Event], topics: &Topics<'_>) -> Self {
        // What a client wants next of each key that it is assigned, and who says so.
        let mut wanted: BTreeMap<Client, BTreeMap<&'h Key, (Place, i64)>> = BTreeMap::new();
        // Where a client's last fetch of a key had ended.
        let mut idle_since: BTreeMap<(Client, &'h Key), Place> = BTreeMap::new();
        let mut polls = Self::default();
        for (place, event) in events.iter().enumerate() {
            let client = event.client;
            match &event.what {
                What::Assigned { keys, .. } => {
                    let start = |(key, start): &'h (Key, Start)| {
                        let (Start::At(offset) | Start::Committed(offset)) = *start;
                        (key, (place, offset))
                    };
                    for (key, _) in keys {
                        // A fetch of an earlier assignment may still be answered.
                        idle_since.entry((client, key)).or_insert(place);
                    }
                    wanted.insert(client, keys.iter().map(start).collect());
                }
                What::Reset { key, to } => {
                    let began = idle_since.insert((client, key), place);
                    let position = wanted.get_mut(&client).and_then(|keys| keys.get_mut(key));
                    if let Some(position) = position {
                        let stood = std::mem::replace(position, (place, *to));
                        let began = began.filter(|_| topics.is_open(key, place));
                        polls.resets.extend(began.map(|began| Reset { place, key, began, stood }));
                    }
                }
                What::FetchRefused { key, offset, .. } => {
                    let began = idle_since.insert((client, key), place);
                    polls.refused.push(Refused { key, offset: *offset, began });
                }
                What::Polled { key, records, garbage, high_watermark, log_start, connection } => {
                    let position = wanted.get_mut(&client).and_then(|keys| keys.get_mut(key));
                    let poll = Poll {
                        place,
                        client,
                        key,
                        records,
                        garbage,
                        high_watermark: *high_watermark,
                        log_start: *log_start,
                        connection: *connection,
                        began: idle_since.insert((client, key), place),
                        wanted: position.as_deref().copied(),
                    };
                    let offsets = poll.offsets();
                    if let Some((position, last)) = position.zip(offsets.last()) {
                        *position = (place, last.saturating_add(1));
                    }
                    if topics.is_open(key, place) {
                        polls.pass_over(&poll, &offsets);
                        polls.open.push(poll);
                    } else {
                        polls.closed.push(poll);
                    }
                }
                _ => {}
            }
        }
        polls
    }

    fn pass_over(&mut self, poll: &Poll<'h>, offsets: &[i64]) {
        let Some((mut stood, mut next)) = poll.wanted.or_else(|| offsets.first().map(|&first| (poll.place, first)))
        else {
            return;
        };
        for &to in offsets {
            if to > next {
                let (key, polled, log_start) = (poll.key, poll.place, poll.log_start);
                self.passed_over.push(PassedOver { key, stood, polled, log_start, from: next, to });
            }
            (stood, next) = (poll.place, to.saturating_add(1));
        }
    }
}

impl Poll<'_> {
    /// Of all records, with garbage, in order of offsets.
    pub fn offsets(&self) -> Vec<i64> {
        let records = self.records.iter().map(|&(offset, _)| offset);
        let mut offsets: Vec<i64> = records.chain(self.garbage.iter().map(|&(offset, _)| offset)).collect();
        offsets.sort_unstable();
        offsets
    }

    /// Offsets as they came: records that are there, then those that are garbage.
    pub fn as_they_came(&self) -> [Vec<i64>; 2] {
        [
            self.records.iter().map(|&(offset, _)| offset).collect(),
            self.garbage.iter().map(|&(offset, _)| offset).collect(),
        ]
    }
}
