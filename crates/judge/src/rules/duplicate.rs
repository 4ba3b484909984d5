//! **duplicate**: a value is stored twice.
//!
//! Flagged: a value of an idempotent producer that polls or its acknowledgement show at two offsets of its partition. The
//! broker knows the sequence numbers that it has stored, through restarts and moves, and one send has one of them, however
//! often the producer tries. A producer without idempotence may store it as often as it tries: not flagged.

use super::Findings;
use crate::index::Index;

pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    for (value, send) in index.sends.iter().filter(|(_, send)| send.idempotent) {
        let mut seen = index.logs.places(value).iter().filter(|seen| seen.key == send.key);
        if let (Some(one), Some(other)) = (seen.next(), seen.next()) {
            let words = format!("{value} is stored at {} and at {}", one.offset, other.offset);
            findings.add(Some(send.key), words, [send.began, one.place, other.place]);
        }
    }
}
