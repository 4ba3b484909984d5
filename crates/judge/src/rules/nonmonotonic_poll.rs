//! **nonmonotonic-poll**: a reader was given records in the wrong order, or again.
//!
//! Flagged: within one answer, offsets that do not rise; a record below the offset from which the reader reads on. A fetch
//! names the first offset that is wanted, and the client drops what a batch holds before it. Another assignment, or a
//! reset, moves that offset: who reads again from what the group has committed does no wrong.

use super::Findings;
use crate::index::Index;

const ANSWERS: &str = "answers with records";
pub(super) const PARTS: &[&str] = &[ANSWERS];

pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    for poll in &index.polls.open {
        let lists = poll.as_they_came();
        findings.looks_at_many(ANSWERS, usize::from(!poll.records.is_empty()));
        let falls = lists.iter().flat_map(|list| list.windows(2)).find(|pair| pair[0] >= pair[1]);
        if let Some(pair) = falls {
            let words = format!("{} was given {} and then {}", poll.client, pair[0], pair[1]);
            findings.add(Some(poll.key), words, [poll.place]);
        }
        if let Some((stood, next)) = poll.wanted
            && let Some(offset) = lists.iter().flatten().min().filter(|&&offset| offset < next)
        {
            let words = format!("{} was given {offset}, though it reads on from {next}", poll.client);
            findings.add(Some(poll.key), words, [stood, poll.place]);
        }
    }
}
