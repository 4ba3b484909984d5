//! Names: what living processes see, and what a loss of power leaves of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::dice::Dice;
use crate::process::Process;

/// A change of names that no sync has made durable. It happens as a whole or not at all.
#[derive(Debug)]
struct Change {
    number: u64,
    machine: u32,
    directory: PathBuf,
    /// What each leads to afterwards.
    names: Vec<(PathBuf, Option<u64>)>,
    /// Whose sync of it has failed: no later one of that process proves anything about it. Who comes after it begins with
    /// what the file system shows, which has given up or was mended by then.
    doubted_by: Option<Process>,
}

/// What names lead to, and by which change.
type Led = BTreeMap<PathBuf, (u64, Option<u64>)>;

/// The names of all files and directories.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// As processes see them.
    pub(super) files: BTreeMap<PathBuf, u64>,
    /// Directories are durable when they are made.
    pub(super) directories: BTreeMap<PathBuf, u64>,
    durable: Led,
    /// Oldest first.
    changes: Vec<Change>,
    changes_made: u64,
}

/// A name leads where the newest change of it that is there says.
fn apply(led: &mut Led, change: &Change) {
    for (name, to) in &change.names {
        let known = led.entry(name.clone()).or_default();
        if known.0 < change.number {
            *known = (change.number, *to);
        }
    }
}

impl Names {
    /// Changes names below a directory, all at once.
    pub(super) fn change(&mut self, machine: u32, directory: &Path, names: Vec<(PathBuf, Option<u64>)>) {
        for (name, to) in &names {
            match to {
                Some(id) => self.files.insert(name.clone(), *id),
                None => self.files.remove(name),
            };
        }
        self.changes_made += 1;
        let (number, directory) = (self.changes_made, directory.to_owned());
        self.changes.push(Change { number, machine, directory, names, doubted_by: None });
    }

    /// How many changes there were: what a sync that begins now makes durable.
    pub(super) fn changes_made(&self) -> u64 {
        self.changes_made
    }

    /// The first so many changes of names in a directory are durable, but for those of which a sync of this process failed.
    pub(super) fn sync(&mut self, by: &Process, directory: &Path, changes: u64) {
        let durable = &mut self.durable;
        self.changes.retain(|change| {
            let is_doubtful = change.doubted_by.as_ref().is_some_and(|doubting| doubting.is(by));
            let is_synced = change.directory == directory && change.number <= changes && !is_doubtful;
            if is_synced {
                apply(durable, change);
            }
            !is_synced
        });
    }

    /// A sync of a directory has failed.
    pub(super) fn doubt(&mut self, by: &Process, directory: &Path) {
        self.changes.iter_mut().filter(|change| change.directory == directory).for_each(|change| {
            change.doubted_by = Some(by.clone());
        });
    }

    /// A machine loses changes that are not durable: in each directory those after some moment, or any. Answers the names
    /// that lead elsewhere now.
    pub(super) fn lose(&mut self, machine: u32, dice: &Dice) -> Vec<PathBuf> {
        let (own, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.changes).into_iter().partition(|change| change.machine == machine);
        self.changes = others;
        let mut by_directory = BTreeMap::<PathBuf, Vec<Change>>::new();
        for change in own {
            by_directory.entry(change.directory.clone()).or_default().push(change);
        }
        for changes in by_directory.into_values() {
            // A journal keeps the first of them. Other file systems keep what they happened to have written.
            let first = dice.chance(0.5).then(|| dice.index(changes.len() + 1));
            for (at, change) in changes.iter().enumerate() {
                if first.map_or_else(|| dice.chance(0.5), |first| at < first) {
                    apply(&mut self.durable, change);
                }
            }
        }
        let mut led = self.durable.clone();
        self.changes.iter().for_each(|change| apply(&mut led, change));
        let after: BTreeMap<_, _> = led.into_iter().filter_map(|(name, (_, to))| Some((name, to?))).collect();
        let before = std::mem::replace(&mut self.files, after);
        let mut lost: Vec<_> = before.keys().chain(self.files.keys()).cloned().collect();
        lost.retain(|name| before.get(name) != self.files.get(name));
        lost.sort_unstable();
        lost.dedup();
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIRECTORY: &str = "/d";

    fn name(name: &str) -> PathBuf {
        Path::new(DIRECTORY).join(name)
    }

    fn made(names: &mut Names, id: u64) {
        names.change(1, Path::new(DIRECTORY), vec![(name("a"), Some(id))]);
    }

    #[test]
    fn a_sync_says_nothing_of_what_was_changed_since_it_began_and_nothing_older_comes_back() {
        let (one, mut kept) = (Process::new("one", 1), std::collections::BTreeSet::new());
        for seed in 0..40 {
            let mut names = Names::default();
            made(&mut names, 1);
            names.doubt(&one, Path::new(DIRECTORY));
            made(&mut names, 2);
            let began = names.changes_made();
            made(&mut names, 3);
            names.sync(&one, Path::new(DIRECTORY), began);
            names.lose(1, &Dice::new(seed));
            kept.insert(names.files.get(&name("a")).copied());
        }
        assert_eq!(kept, [Some(2), Some(3)].into());
    }
}
