//! Sends by value.

use std::collections::BTreeMap;

use super::{Place, Topics};
use crate::{Client, Event, Key, Outcome, Value, What};

/// What became of a send.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Acknowledged, with its offset if the answer had one.
    Done(Option<i64>),
    /// Certainly not done.
    Failed,
    /// Nobody knows.
    Unknown,
}

/// A record that was sent.
pub(crate) struct Send<'h> {
    pub began: Place,
    pub client: Client,
    pub key: &'h Key,
    pub idempotent: bool,
    /// How often it was stamped anew though it may have been stored: so often it may be stored once more.
    pub restamps: usize,
    /// Where it ended, and how.
    pub ended: Option<(Place, Ending)>,
}

impl Send<'_> {
    /// Where it was acknowledged.
    pub fn done(&self) -> Option<Place> {
        self.ended.filter(|(_, ending)| matches!(ending, Ending::Done(_))).map(|(place, _)| place)
    }

    /// Where it was acknowledged, and the offset, if the answer had one.
    pub fn offset(&self) -> Option<(Place, i64)> {
        match self.ended {
            Some((place, Ending::Done(Some(offset)))) => Some((place, offset)),
            _ => None,
        }
    }
}

/// All sends.
pub(crate) struct Sends<'h>(BTreeMap<Value, Send<'h>>);

impl<'h> Sends<'h> {
    /// An acknowledgement of a key that is closed does not count: what was acknowledged may lie in its successor. It is
    /// of unknown outcome then.
    pub fn new(events: &'h [Event], topics: &Topics<'_>) -> Self {
        let mut sends: BTreeMap<Value, Send<'h>> = BTreeMap::new();
        for (place, event) in events.iter().enumerate() {
            match &event.what {
                What::SendBegan { key, value, idempotent } => {
                    let (client, idempotent) = (event.client, *idempotent);
                    sends.entry(*value).or_insert(Send {
                        began: place,
                        client,
                        key,
                        idempotent,
                        restamps: 0,
                        ended: None,
                    });
                }
                What::Restamped { value } => {
                    if let Some(send) = sends.get_mut(value) {
                        send.restamps += 1;
                    }
                }
                What::SendEnded { value, outcome } => {
                    let Some(send) = sends.get_mut(value).filter(|send| send.ended.is_none()) else { continue };
                    let ending = match outcome {
                        Outcome::Done(_) if !topics.is_open(send.key, place) => Ending::Unknown,
                        Outcome::Done(offset) => Ending::Done(offset.filter(|&offset| offset >= 0)),
                        Outcome::Failed(_) => Ending::Failed,
                        Outcome::Unknown(_) => Ending::Unknown,
                    };
                    send.ended = Some((place, ending));
                }
                _ => {}
            }
        }
        Self(sends)
    }

    pub fn get(&self, value: Value) -> Option<&Send<'h>> {
        self.0.get(&value)
    }

    /// By value.
    pub fn iter(&self) -> impl Iterator<Item = (Value, &Send<'h>)> {
        self.0.iter().map(|(&value, send)| (value, send))
    }

    /// In the order in which they began.
    pub fn in_order(&self) -> Vec<(Value, &Send<'h>)> {
        let mut sends: Vec<_> = self.iter().collect();
        sends.sort_unstable_by_key(|(_, send)| send.began);
        sends
    }
}
