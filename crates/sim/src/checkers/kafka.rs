//! What Kafka promises, by what clients did and saw: order, offsets and watermarks that never go back, committed offsets,
//! nothing made up. The rules are those of `judge`; what they say of an invariant is told as that.

use judge::{History, Promises};

use super::{Findings, i2};

/// Judges a history that has ended.
pub fn judge_history(history: &History, findings: &Findings) {
    for violation in judge::judge(history, &Promises::default()) {
        let checker = if i2::RULES.contains(&violation.rule) { "I-2" } else { "Kafka" };
        findings.add(checker, violation.shown(history));
    }
}
