//! **committed-offset**: a group's committed offset is not what was committed last.
//!
//! Of a group and a partition, the committed offset is a register: commits write it, each at one moment between its
//! beginning and its ending, and reads tell what it holds at one moment between theirs. A commit of unknown outcome may
//! write at any later moment, or never; but not once a later generation of the group has been told, if it is of one: who
//! commits for a generation that is over is refused. Reads are `OffsetFetch`, and a member's start at the group's offset.
//!
//! Flagged: what was read is nothing that any commit can have written by then (or nothing at all, which holds before the
//! first); or each commit that can have written it was certainly overwritten before the read began: another one began
//! after that had been written, and is known to have been done before the read. Done is what was answered so, and what a
//! read has shown that no other commit wrote.
//!
//! A member's start is read at an unknown moment, but after its assignment before. What was committed of deleted topics
//! may be read as that of a successor of the same name: excused.

use super::Findings;
use crate::index::{Commit, Index, Place, Read, Register};

const READS: &str = "committed offsets that were read";
const OVER: &str = "unknown commits of generations that are over";
pub(super) const PARTS: &[&str] = &[READS, OVER];

pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    for (group, key, register) in index.commits.iter() {
        let is_over = |commit: &&Commit| commit.until.is_some_and(|until| commit.done.is_none_or(|done| until < done));
        let over = register.commits.iter().filter(is_over);
        findings.looks_at_many(OVER, over.count());
        let writes = Writes::new(register);
        for read in &register.reads {
            findings.looks_at(READS);
            let wrong = match (writes.settled_last(read), writes.overwritten(read)) {
                (None, _) => Some(("which nobody had committed", None)),
                // Settled after the last one that certainly overwrites what was there before.
                (Some(written), Some((began, done))) if written < began => {
                    Some(("which had been overwritten", Some([began, done])))
                }
                _ => None,
            };
            let Some((words, events)) = wrong else { continue };
            if !index.commits.may_be_of_another(&index.topics, group, key, read.offset) {
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
    /// Where a commit was certainly done, and the latest beginning among those done up to there, with where that is done.
    done: Vec<(Place, (Place, Place))>,
}

impl Writes {
    fn new(register: &Register) -> Self {
        let mut of: Vec<_> = register
            .commits
            .iter()
            .map(|commit| (commit.offset, commit.began, commit.until.unwrap_or(Place::MAX)))
            .collect();
        of.sort_unstable();
        for next in 1..of.len() {
            if of[next].0 == of[next - 1].0 {
                of[next].2 = of[next].2.max(of[next - 1].2);
            }
        }
        let mut done: Vec<_> =
            register.commits.iter().filter_map(|commit| commit.done.map(|done| (done, (commit.began, done)))).collect();
        done.sort_unstable();
        for next in 1..done.len() {
            done[next].1 = done[next].1.max(done[next - 1].1);
        }
        Self { of, done }
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
        let end = self.done.partition_point(|&(done, _)| done < began);
        self.done[..end].last().map(|&(_, latest)| latest)
    }
}
