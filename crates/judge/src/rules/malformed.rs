//! **malformed**: this is no history.
//!
//! Flagged: time that goes back, an event of a client that has gone, a value or a commit that begins twice, and an ending
//! of what did not begin, ended before or is another client's. No broker is to blame: whoever wrote it down made a
//! mistake, and what the other rules say of it means little.

use std::collections::{BTreeMap, BTreeSet};

use super::Findings;
use crate::index::{Index, Place};
use crate::{Client, Moment, Value, What};

const EVENTS: &str = "events";
pub(super) const PARTS: &[&str] = &[EVENTS];

pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    findings.looks_at_many(EVENTS, index.events.len());
    let mut now = (0, Moment::default());
    let mut gone: BTreeMap<Client, Place> = BTreeMap::new();
    let mut sends: BTreeMap<Value, (Place, Client)> = BTreeMap::new();
    let mut commits: BTreeMap<(Client, u64), Place> = BTreeMap::new();
    let (mut sends_ended, mut commits_ended) = (BTreeSet::new(), BTreeSet::new());
    for (place, event) in index.events.iter().enumerate() {
        if event.at < now.1 {
            findings.add(None, "time goes back".to_owned(), [now.0, place]);
        }
        now = (place, event.at);
        if let Some(&went) = gone.get(&event.client) {
            findings.add(None, format!("{} does something after it has gone", event.client), [went, place]);
        }
        match &event.what {
            What::Gone => {
                gone.entry(event.client).or_insert(place);
            }
            What::SendBegan { key, value, .. } => {
                if let Some((first, _)) = sends.insert(*value, (place, event.client)) {
                    findings.add(Some(key), format!("{value} is sent twice"), [first, place]);
                }
            }
            What::SendEnded { value, .. } => {
                let is_its_own = sends.get(value).is_some_and(|&(_, client)| client == event.client);
                if !is_its_own || !sends_ended.insert(*value) {
                    let began = sends.get(value).map(|&(began, _)| began);
                    findings.add(None, format!("no send of {value} is there to end"), began.into_iter().chain([place]));
                }
            }
            What::CommitBegan { key, number, .. } => {
                if let Some(first) = commits.insert((event.client, *number), place) {
                    findings.add(Some(key), format!("#{number} is committed twice"), [first, place]);
                }
            }
            What::CommitEnded { number, .. } => {
                let commit = (event.client, *number);
                if !commits.contains_key(&commit) || !commits_ended.insert(commit) {
                    findings.add(None, format!("no commit #{number} is there to end"), [place]);
                }
            }
            _ => {}
        }
    }
}
