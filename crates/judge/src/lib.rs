//! Judges what clients did and saw against what Kafka promises.
//!
//! A [`History`] is written by whatever drives clients, simulated ones or real processes; nothing here knows which. The
//! anchor is Jepsen's Kafka workload.
//!
//! | Module | Holds |
//! |---|---|
//! | [`history`] | what is judged: events |
//! | `words` | an event in words, one line each, and a moment |
//! | `index` | a history, sorted once by what rules ask of it |
//! | `rules` | one file per rule: what it flags, and why no correct broker lets that happen |
//! | `violation` | what a rule found |
//!
//! # What a rule may conclude
//!
//! A false alarm costs more than a fault that is found one seed later, so a rule flags only what no correct broker could
//! have done, whatever happened between the events. Three things make that harder than it looks:
//!
//! - **Unknown outcomes.** What ended so, or never ended, may take effect at any later moment, or never.
//! - **Stale fetches.** A broker that was replaced and does not know it yet still answers a fetch with what it holds. All
//!   of that is true, but it may be old: its high watermark, log start and topics are those of an earlier moment. Kafka
//!   allows it. [`Fetches`] bounds it; and what one process of a broker tells, over one connection, does not go back.
//!   Latest, earliest and committed offsets are told after a look at the fence, and are never old.
//! - **Names.** Requests that name a topic by its name, not its id, reach the topic that has the name now. So from the
//!   moment on when a topic's deletion began, what is said of it may be true of its successor: its keys are *closed*, and
//!   only the rules about deletion look further. What was asked of a closed topic may have become of another one, unless
//!   [`What::Named`] says that their names differ.
//!
//! # What is taken for granted of who writes the history
//!
//! - The order of events is the order in which they happened.
//! - A client has one fetch of a partition in flight, so a fetch began after the client's last answer about it. What was
//!   fetched for an assignment before the present one is not in the history.
//! - A client asks one thing about one key at a time, and an answer is that to its last question: one that comes to a question
//!   that was given up is not taken.
//! - One life of a client has one producer, and each request to commit is a commit of its own: when the first try of one that
//!   was sent again takes effect, nobody knows.
//! - Records disappear only by [`What::TrimBegan`], [`What::DeleteBegan`] and, where [`What::Retained`] says so, by their
//!   age; a record's timestamp is the moment of [`What::SendBegan`]. There is no compaction.
//! - A group is not removed, so that its generations only rise.

pub mod history;
mod index;
mod rules;
mod violation;
mod words;

pub use history::{Client, Committed, Event, GroupName, History, Key, Moment, Outcome, Refusal, Start, Value, What};
pub use rules::{NAMES, Part, VIOLATIONS_MAX_PER_RULE, Verdict, parts};
pub use violation::{Shown, Violation};

/// What was promised of a run, beyond what always holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promises {
    /// Every partition that was not deleted is read whole after [`What::Healed`].
    pub whole_reads: bool,
    /// How old may be what the answer to a fetch tells.
    pub fetches: Fetches,
    /// Whoever sends to a topic that may be deleted names it by its id, so that nothing of it reaches a successor.
    pub sends_by_id: bool,
}

/// How old may be what the answer to a fetch tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetches {
    /// So many microseconds before the fetch began: later than that every broker knows of the end of its leadership, and of
    /// deletions.
    NoOlderThan(u64),
    /// As old as it likes, until a record is acknowledged that was sent after [`What::Healed`]. Where one broker serves
    /// everything, who took that record has seen that it is the one, and no other comes any more that does not know of it.
    CurrentOnceTaken,
    /// As old as it likes, until so many microseconds after [`What::Healed`]. From then on brokers know what there is to
    /// know.
    CurrentAfterHealed(u64),
}

/// What was seen that no correct broker shows: nothing, if all is well. At most [`VIOLATIONS_MAX_PER_RULE`] of each rule,
/// in the order of [`NAMES`]. And how much there was to be seen.
pub fn judge(history: &History, promises: &Promises) -> Verdict {
    rules::all(&index::Index::new(history, *promises))
}
