//! Committed offsets: a register per group and partition, with what was written to it and read from it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Generations, Place, Topics};
use crate::{Client, Event, GroupName, Key, Outcome, Start, What};

/// Something that was committed, or may have been.
pub(crate) struct Commit {
    pub began: Place,
    pub offset: i64,
    /// It was certainly applied before this.
    pub done: Option<Place>,
    /// It was applied before this or never will be; `None` when it may still be.
    pub until: Option<Place>,
}

/// An answer with what is committed.
pub(crate) struct Read {
    /// The question was sent after this; `None` when it is not known after what.
    pub began: Option<Place>,
    pub ended: Place,
    /// What is committed.
    pub offset: Option<i64>,
}

/// All of one group and partition.
#[derive(Default)]
pub(crate) struct Register {
    /// In the order in which they began, without those that certainly failed.
    pub commits: Vec<Commit>,
    /// In order of the answers.
    pub reads: Vec<Read>,
}

/// All registers, of open keys.
pub(crate) struct Commits<'h> {
    registers: BTreeMap<(&'h GroupName, &'h Key), Register>,
    /// What was committed of topics that were closed at some time: by group and partition, topic and offset.
    astray: BTreeMap<(&'h GroupName, i32), Vec<(&'h str, i64)>>,
}

impl<'h> Commits<'h> {
    pub fn new(events: &'h [Event], topics: &Topics<'_>, generations: &Generations<'_>) -> Self {
        let endings = endings(events);
        let mut commits = Self { registers: BTreeMap::new(), astray: BTreeMap::new() };
        let mut pending: BTreeMap<(Client, &GroupName, &Key), Place> = BTreeMap::new();
        let mut assigned: BTreeMap<(Client, &GroupName), Place> = BTreeMap::new();
        for (place, event) in events.iter().enumerate() {
            match &event.what {
                What::CommitBegan { group, key, offset, number, generation } => {
                    let ending = endings.get(&(event.client, *number)).copied();
                    let done = match ending {
                        Some((_, Ended::Failed)) => continue,
                        Some((ended, Ended::Done)) => Some(ended),
                        Some((_, Ended::Unknown)) | None => None,
                    };
                    if topics.deletion(&key.topic).is_some() {
                        commits.astray.entry((group, key.partition)).or_default().push((&key.topic, *offset));
                    }
                    let register = commits.registers.entry((group, key)).or_default();
                    // Who has been told a later generation has seen the end of this one: no commit of it is applied
                    // any more.
                    let over = generation.and_then(|generation| generations.over(group, generation));
                    let until = done.into_iter().chain(over.map(|over| over.max(place))).min();
                    register.commits.push(Commit { began: place, offset: *offset, done, until });
                }
                What::CommittedBegan { group, key } => {
                    // Whoever asks again has given up what it asked before.
                    pending.insert((event.client, group, key), place);
                }
                What::CommittedEnded { group, key, offset } => {
                    let began = pending.remove(&(event.client, group, key));
                    let read = Read { began, ended: place, offset: offset.filter(|&offset| offset >= 0) };
                    commits.read(topics, group, key, read);
                }
                What::Assigned { keys, group: Some(group), .. } => {
                    // What begins an assignment was asked for after the one before it.
                    let began = assigned.insert((event.client, group), place);
                    for (key, start) in keys {
                        if let Start::Committed(offset) = start {
                            let read = Read { began, ended: place, offset: Some(*offset) };
                            commits.read(topics, group, key, read);
                        }
                    }
                }
                _ => {}
            }
        }
        for (&(group, key), register) in &mut commits.registers {
            let astray = commits.astray.get(&(group, key.partition)).into_iter().flatten();
            let astray = astray.filter(|(topic, _)| topics.may_share_name(topic, &key.topic));
            register.settle(&astray.map(|&(_, offset)| offset).collect());
        }
        commits
    }

    fn read(&mut self, topics: &Topics<'_>, group: &'h GroupName, key: &'h Key, read: Read) {
        if topics.is_open(key, read.ended) {
            self.registers.entry((group, key)).or_default().reads.push(read);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'h GroupName, &'h Key, &Register)> {
        self.registers.iter().map(|(&(group, key), register)| (group, key, register))
    }

    /// Requests name topics. So what is read of a partition may be what was committed of a deleted topic that had the
    /// same name, or nothing, because that topic's offsets were removed late.
    pub fn may_be_of_another(&self, topics: &Topics<'_>, group: &'h GroupName, key: &Key, offset: Option<i64>) -> bool {
        let mut astray = self.astray.get(&(group, key.partition)).into_iter().flatten();
        astray.any(|&(topic, committed)| {
            offset.is_none_or(|offset| offset == committed) && topics.may_share_name(topic, &key.topic)
        })
    }
}

impl Register {
    /// A request is applied once at most: when a read has shown what one commit alone can have written, that one has been
    /// applied, whatever its answer. What went astray may have written it, too.
    fn settle(&mut self, astray: &BTreeSet<i64>) {
        let mut writers: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        for (number, commit) in self.commits.iter().enumerate() {
            writers.entry(commit.offset).or_default().push(number);
        }
        for read in &self.reads {
            let offset = read.offset.filter(|offset| !astray.contains(offset));
            let only = offset.and_then(|offset| writers.get(&offset)).filter(|writers| writers.len() == 1);
            let Some(commit) = only.map(|writers| &mut self.commits[writers[0]]) else { continue };
            if commit.began < read.ended {
                let sooner = |known: Option<Place>| Some(known.map_or(read.ended, |known| known.min(read.ended)));
                (commit.done, commit.until) = (sooner(commit.done), sooner(commit.until));
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Ended {
    Done,
    Failed,
    Unknown,
}

fn endings(events: &[Event]) -> BTreeMap<(Client, u64), (Place, Ended)> {
    let mut endings = BTreeMap::new();
    for (place, event) in events.iter().enumerate() {
        if let What::CommitEnded { number, outcome } = &event.what {
            let ended = match outcome {
                Outcome::Done(()) => Ended::Done,
                Outcome::Failed(_) => Ended::Failed,
                Outcome::Unknown(_) => Ended::Unknown,
            };
            endings.entry((event.client, *number)).or_insert((place, ended));
        }
    }
    endings
}
