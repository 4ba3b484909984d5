//! A history, sorted once by what rules ask of it.
//!
//! All of it is made in passes over the events, each of which keeps maps in order: n log n, and the same at every run. A
//! *place* is an event's number in the history; one event happened before another if its place is lower.

mod commits;
mod floor;
mod generations;
mod log;
mod members;
mod offsets;
mod polls;
mod retention;
mod sends;
mod topics;
mod trims;

pub(crate) use commits::{Commit, Commits, Read, Register};
pub(crate) use floor::Floor;
pub(crate) use generations::Generations;
pub(crate) use log::{Log, Logs};
pub(crate) use members::{GroupReads, Members};
pub(crate) use offsets::{Ask, asks};
pub(crate) use polls::{PassedOver, Poll, Polls, Reset};
pub(crate) use retention::Retention;
pub(crate) use sends::{Ending, Send, Sends};
pub(crate) use topics::Topics;
pub(crate) use trims::Trims;

use std::collections::BTreeMap;

use crate::{Client, Event, Fetches, History, Key, Promises, Value, What};

/// Of an event, in the history.
pub(crate) type Place = usize;

/// What rules look at.
pub(crate) struct Index<'h> {
    pub events: &'h [Event],
    pub promises: Promises,
    pub topics: Topics<'h>,
    pub sends: Sends<'h>,
    pub polls: Polls<'h>,
    pub logs: Logs<'h>,
    pub asks: Vec<Ask<'h>>,
    pub trims: Trims<'h>,
    pub retention: Retention<'h>,
    pub generations: Generations<'h>,
    pub commits: Commits<'h>,
    pub members: Members<'h>,
    /// Where [`What::Healed`] is.
    pub healed: Option<Place>,
    /// Where a record was first acknowledged that was sent after that.
    taken: Option<Place>,
    /// Final reads, in order.
    pub whole_reads: Vec<WholeRead<'h>>,
}

/// A partition that was read from its start to its end.
pub(crate) struct WholeRead<'h> {
    pub place: Place,
    pub client: Client,
    pub key: &'h Key,
    /// Its end was asked for after this: where the reader was assigned it.
    pub began: Option<Place>,
    pub from: i64,
    pub end: i64,
}

impl<'h> Index<'h> {
    pub fn new(history: &'h History, promises: Promises) -> Self {
        let events = history.0.as_slice();
        let topics = Topics::new(events);
        let sends = Sends::new(events, &topics);
        let polls = Polls::new(events, &topics);
        let asks = asks(events, &topics);
        let trims = Trims::new(events, &topics);
        let whole_reads = whole_reads(events, &topics);
        let logs = Logs::new(&sends, &polls, &asks, &trims, &whole_reads);
        let generations = Generations::new(events);
        let commits = Commits::new(events, &topics, &generations);
        let (retention, members) = (Retention::new(events), Members::new(events, &topics));
        let healed = events.iter().position(|event| event.what == What::Healed);
        let taken = healed.and_then(|healed| {
            let after = sends.iter().filter(|(_, send)| send.began > healed);
            after.filter_map(|(_, send)| send.done()).min()
        });
        Self {
            events,
            promises,
            topics,
            sends,
            polls,
            logs,
            asks,
            trims,
            retention,
            generations,
            commits,
            members,
            healed,
            taken,
            whole_reads,
        }
    }

    /// A record at this offset, or above it, may have been removed before the place: somebody had asked for that, or it was
    /// older than it may become. What is removed lies below the log start, and no log start that was ever told is below.
    pub fn may_be_removed(&self, key: &Key, offset: i64, value: Value, place: Place) -> bool {
        let start = self.logs.get(key).and_then(|log| log.start.highest());
        start.is_some_and(|start| offset < start)
            && (offset < self.trims.may_reach(&self.topics, key, place) || self.may_be_too_old(key, value, place))
    }

    /// Where records of the partition are removed by their age, this one may have been before the place.
    pub fn may_be_too_old(&self, key: &Key, value: Value, place: Place) -> bool {
        let sent = self.sends.get(value).map(|send| self.events[send.began].at);
        self.retention.may_remove(key, sent, self.events[place].at, place)
    }

    /// What happened before this place, the answer to a fetch must tell that was sent after `began`. `None` if it may be of any earlier moment.
    pub fn current_since(&self, began: Option<Place>) -> Option<Place> {
        let began = began?;
        match self.promises.fetches {
            Fetches::NoOlderThan(age) => {
                let since = self.events[began].at.0.checked_sub(age)?;
                Some(began.min(self.events.partition_point(|event| event.at.0 <= since)))
            }
            Fetches::CurrentOnceTaken => (began > self.taken?).then_some(began),
            Fetches::CurrentAfterHealed(grace) => {
                let calm = self.events[self.healed?].at.0.saturating_add(grace);
                (self.events[began].at.0 >= calm).then_some(began)
            }
        }
    }
}

fn whole_reads<'h>(events: &'h [Event], topics: &Topics<'_>) -> Vec<WholeRead<'h>> {
    let mut assigned: BTreeMap<(Client, &Key), Place> = BTreeMap::new();
    let mut reads = Vec::new();
    for (place, event) in events.iter().enumerate() {
        match &event.what {
            What::Assigned { keys, .. } => assigned.extend(keys.iter().map(|(key, _)| ((event.client, key), place))),
            What::ReadWhole { key, from, end } if topics.is_open(key, place) => {
                let began = assigned.get(&(event.client, key)).copied();
                reads.push(WholeRead { place, client: event.client, key, began, from: *from, end: *end });
            }
            _ => {}
        }
    }
    reads
}
