//! What Kafka promises, by what clients did and saw: order, offsets and watermarks that never go back, committed offsets,
//! nothing made up. The rules are those of `judge`; what they say of an invariant is told as that.

use std::collections::BTreeMap;

use judge::{Fetches, History, Promises};

use super::{Findings, i2};

/// One broker serves everything in the end, and all is read there; who knows topics by their names alone sends to lasting
/// ones.
const PROMISES: Promises = Promises { whole_reads: true, fetches: Fetches::CurrentOnceTaken, sends_by_id: true };

/// Judges a history that has ended. How much each part of a rule had to look at is returned.
pub fn judge_history(history: &History, findings: &Findings) -> BTreeMap<String, u64> {
    let verdict = judge::judge(history, &PROMISES);
    for violation in verdict.violations {
        let checker = if i2::RULES.contains(&violation.rule) { "I-2" } else { "Kafka" };
        findings.add(checker, violation.shown(history));
    }
    verdict.applied.into_iter().map(|(part, count)| (part.to_string(), count)).collect()
}
