//! **send-order**: records are not stored in the order in which they were sent.
//!
//! Flagged, for records whose offset is known from a poll or their acknowledgement:
//!
//! - Of two that one client sent to one partition with an idempotent producer, the later has the lower offset, whatever the
//!   producer was told of them. A broker takes a sequence number only behind the one before it, with several requests in
//!   flight, too; and what a producer gave up in one epoch is not taken behind what it has sent in the next
//!   (INVALID_PRODUCER_EPOCH). Without idempotence an earlier record may be tried again behind a later one. A value that may
//!   be stored twice ([`super::duplicate`]) has no place in an order.
//! - A record lies below what was the high watermark before it was sent: below one that was acknowledged or polled, or
//!   below an answered end of the log. Whoever sent what: records are stored at the end of the log, the high watermark is
//!   never beyond that end, and nothing is told of it that a later leader does not know.

use std::collections::BTreeMap;

use super::Findings;
use crate::index::{Index, Place};
use crate::{Client, Key, Value};

const SENDS: &str = "records of one idempotent producer";
const ENDS: &str = "records that were sent behind a known end";
pub(super) const PARTS: &[&str] = &[SENDS, ENDS];

pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    let mut highest: BTreeMap<(Client, &Key), (i64, Value, Place)> = BTreeMap::new();
    for (value, send) in index.sends.in_order() {
        let mut places = index.logs.places(value).iter().filter(|seen| seen.key == send.key);
        let Some(seen) = places.next() else { continue };
        let high = index.logs.get(send.key).and_then(|log| log.high.before(send.began));
        findings.looks_at_many(ENDS, usize::from(high.is_some()));
        let lowest = places.clone().chain([seen]).min_by_key(|seen| seen.offset).unwrap_or(seen);
        if let Some((said, high)) = high.filter(|&(_, high)| lowest.offset < high) {
            let words = format!("{value} is stored at {}, below {high}, which had been reached before", lowest.offset);
            findings.add(Some(send.key), words, [said, send.began, lowest.place]);
        }
        if !send.idempotent || send.restamps > 0 || places.next().is_some() {
            continue;
        }
        findings.looks_at(SENDS);
        let before = highest.entry((send.client, send.key)).or_insert((seen.offset, value, seen.place));
        if seen.offset < before.0 {
            let words =
                format!("{value} is stored at {}, {} at {}, but was sent earlier", seen.offset, before.1, before.0);
            findings.add(Some(send.key), words, [send.began, seen.place, before.2]);
        } else {
            *before = (seen.offset, value, seen.place);
        }
    }
}
