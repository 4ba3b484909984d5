//! Questions for the earliest or latest offset, with their answers.

use std::collections::BTreeMap;

use super::{Place, Topics};
use crate::{Client, Event, Key, What};

/// An answer, and where its question began.
pub(crate) struct Ask<'h> {
    pub key: &'h Key,
    /// `None` when no question is known.
    pub began: Option<Place>,
    pub ended: Place,
    pub earliest: Option<i64>,
    pub latest: Option<i64>,
}

/// In the order of the answers. Of several questions that a client has asked about a key, an answer is to the last: whoever
/// asks again has given up what it asked before.
pub(crate) fn asks<'h>(events: &'h [Event], topics: &Topics<'_>) -> Vec<Ask<'h>> {
    let mut pending: BTreeMap<(Client, &Key), Place> = BTreeMap::new();
    let mut asks = Vec::new();
    for (place, event) in events.iter().enumerate() {
        match &event.what {
            What::OffsetsBegan { key } => drop(pending.insert((event.client, key), place)),
            What::OffsetsEnded { key, earliest, latest } => {
                let began = pending.remove(&(event.client, key));
                if topics.is_open(key, place) {
                    asks.push(Ask { key, began, ended: place, earliest: *earliest, latest: *latest });
                }
            }
            _ => {}
        }
    }
    asks
}
