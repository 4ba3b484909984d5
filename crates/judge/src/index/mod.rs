//! A history, sorted once by what rules ask of it.
//!
//! All of it is made in passes over the events, each of which keeps maps in order: n log n, and the same at every run. A
//! *place* is an event's number in the history; one event happened before another if its place is lower.

mod commits;
mod floor;
mod log;
mod members;
mod offsets;
mod polls;
mod sends;
mod topics;
mod trims;

pub(crate) use commits::{Commits, Read, Register};
pub(crate) use floor::Floor;
pub(crate) use log::{Log, Logs};
pub(crate) use members::{GroupReads, Members};
pub(crate) use offsets::{Ask, asks};
pub(crate) use polls::{PassedOver, Poll, Polls};
pub(crate) use sends::{Ending, Send, Sends};
pub(crate) use topics::Topics;
pub(crate) use trims::Trims;

use crate::{Client, Event, Fetches, History, Key, Promises, What};

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
    pub commits: Commits<'h>,
    pub members: Members<'h>,
    /// Where [`What::Healed`] is.
    pub healed: Option<Place>,
    /// Final reads, in order.
    pub whole_reads: Vec<WholeRead<'h>>,
}

/// A partition that was read from its start to its end.
pub(crate) struct WholeRead<'h> {
    pub place: Place,
    pub client: Client,
    pub key: &'h Key,
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
        let (commits, members) = (Commits::new(events, &topics), Members::new(events, &topics));
        let healed = events.iter().position(|event| event.what == What::Healed);
        Self { events, promises, topics, sends, polls, logs, asks, trims, commits, members, healed, whole_reads }
    }

    /// What happened before this place, the answer must tell. `None` if it may be of any earlier moment.
    pub fn current_since(&self, poll: &Poll<'_>) -> Option<Place> {
        let began = poll.began?;
        match self.promises.fetches {
            Fetches::NoOlderThan(age) => {
                let since = self.events[began].at.0.checked_sub(age)?;
                Some(began.min(self.events.partition_point(|event| event.at.0 <= since)))
            }
            Fetches::CurrentAfterHealed(grace) => {
                let calm = self.events[self.healed?].at.0.saturating_add(grace);
                (self.events[began].at.0 >= calm).then_some(began)
            }
        }
    }
}

fn whole_reads<'h>(events: &'h [Event], topics: &Topics<'_>) -> Vec<WholeRead<'h>> {
    let read = |(place, event): (Place, &'h Event)| match &event.what {
        What::ReadWhole { key, from, end } if topics.is_open(key, place) => {
            Some(WholeRead { place, client: event.client, key, from: *from, end: *end })
        }
        _ => None,
    };
    events.iter().enumerate().filter_map(read).collect()
}
