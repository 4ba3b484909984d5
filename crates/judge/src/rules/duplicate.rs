//! **duplicate**: a value is stored twice.
//!
//! Flagged: a value of an idempotent producer that polls or its acknowledgement show at two offsets of its partition. The
//! broker knows the sequence numbers that it has stored, through restarts and moves, and one send has one of them, however
//! often the producer tries. A producer without idempotence may store it as often as it tries: not flagged.
//!
//! Excused is one more place for each time that the producer stamped the value anew though an earlier attempt may have
//! succeeded ([`crate::What::Restamped`]). So does Kafka's Java client (`bumpIdempotentProducerEpoch`): the sequences of
//! what is in flight begin again in another epoch, in which the broker does not know the value. What was sent in the former
//! epoch may have been stored, or still be, until the first of the new one is. What a broker refused that it had to take or
//! to know is no reason: the producer does not say so then.

use super::Findings;
use crate::index::Index;

const VALUES: &str = "values of idempotent producers that are stored";
pub(super) const PARTS: &[&str] = &[VALUES];

pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    for (value, send) in index.sends.iter().filter(|(_, send)| send.idempotent) {
        let seen: Vec<_> = index.logs.places(value).iter().filter(|seen| seen.key == send.key).collect();
        if seen.is_empty() {
            continue;
        }
        findings.looks_at(VALUES);
        if seen.len() > 1 + send.restamps {
            let at: Vec<String> = seen.iter().map(|seen| seen.offset.to_string()).collect();
            let words = format!("{value} is stored at {}", at.join(" and at "));
            findings.add(Some(send.key), words, seen.iter().map(|seen| seen.place).chain([send.began]));
        }
    }
}
