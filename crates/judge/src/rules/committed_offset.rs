//! **committed-offset**: a group's committed offset is not what was committed last.
//!
//! Of a group and a partition, the committed offset is a register: commits write it, each at one moment between its
//! beginning and its ending, and reads tell what it holds at one moment between theirs. A commit of unknown outcome may
//! write at any later moment, for ever, or never. Reads are `OffsetFetch`, and a member's start at the group's offset.
//!
//! Flagged: what was read is nothing that any commit can have written by then (or nothing at all, which holds before the
//! first); or each commit that can have written it was certainly overwritten before the read began: another one began
//! after that had been written, and is known to have been done before the read. Done is what was answered so, and what a
//! read has shown that no other commit wrote.
//!
//! A member's start is read at an unknown moment, but after its assignment before. What was committed of deleted topics
//! may be read as that of a successor of the same name: excused.

use super::Findings;
use crate::index::{Index, Place, Read, Register};

pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    for (group, key, register) in index.commits.iter() {
        let writes = Writes::new(register);
        for read in &register.reads {
            let wrong = match (writes.settled_last(read), writes.overwritten(read)) {
                (None, _) => Some(("which nobody had committed", None)),
                // Settled after the last one that certainly overwrites what was there before.
                (Some(written), Some((began, done))) if written < began => {
                    Some(("which had been overwritten", Some([began, done])))
                }
                _ => None,
            };
            let Some((words, events)) = wrong else { continue };
            if !index.commits.may_be_of_another(group, key, read.offset) {
                let offset = read.offset.map_or("nothing".to_owned(), |offset| offset.to_string());
                let words = format!("{group} was told {offset}, {words}");
                findings.add(Some(key), words, events.into_iter().flatten().chain(read.began).chain([read.ended]));
            }
        }
    }
}

/// Writes, sorted so that each read is judged in logarithmic time.
struct Writes {
    /// Offset, where its commit began, and until when one of this offset that began up to there may have been written.
    of: Vec<(i64, Place, Place)>,
    /// Where a commit was settled, and the latest beginning among those settled up to there, with where that is settled.
    settled: Vec<(Place, (Place, Place))>,
}

impl Writes {
    fn new(register: &Register) -> Self {
        let until = |settled: Option<Place>| settled.unwrap_or(Place::MAX);
        let mut of: Vec<_> =
            register.commits.iter().map(|commit| (commit.offset, commit.began, until(commit.settled))).collect();
        of.sort_unstable();
        for next in 1..of.len() {
            if of[next].0 == of[next - 1].0 {
                of[next].2 = of[next].2.max(of[next - 1].2);
            }
        }
        let mut settled: Vec<_> = register
            .commits
            .iter()
            .filter_map(|commit| commit.settled.map(|settled| (settled, (commit.began, settled))))
            .collect();
        settled.sort_unstable();
        for next in 1..settled.len() {
            settled[next].1 = settled[next].1.max(settled[next - 1].1);
        }
        Self { of, settled }
    }

    /// Until when what was read may have been written, at the latest; `None` if nothing can have written it.
    fn settled_last(&self, read: &Read) -> Option<Place> {
        let Some(offset) = read.offset else { return Some(0) };
        let end = self.of.partition_point(|&(of, began, _)| (of, began) < (offset, read.ended));
        self.of[..end].last().filter(|&&(of, ..)| of == offset).map(|&(.., settled)| settled)
    }

    /// Where the last commit began that was certainly done before the read began, and where it was done.
    fn overwritten(&self, read: &Read) -> Option<(Place, Place)> {
        let began = read.began?;
        let end = self.settled.partition_point(|&(settled, _)| settled < began);
        self.settled[..end].last().map(|&(_, latest)| latest)
    }
}
