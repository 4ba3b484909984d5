//! What a request, of possibly millions of names, says for the first time.
//!
//! Each name costs a few bytes: a table of places, and no copies. Others run now and then.

use std::hash::{BuildHasher, Hash};

use base::collections::{HashTable, SeededState};
use wire::Str;

/// Names, or partitions, that are gone through before others may run.
const NAMES_AT_ONCE: usize = 1_000;

/// Lets others run now and then.
#[derive(Default)]
pub(crate) struct Pace(usize);

impl Pace {
    /// Another name is to be looked at.
    pub(crate) async fn step(&mut self) {
        if self.0 == NAMES_AT_ONCE {
            tokio::task::yield_now().await;
            self.0 = 0;
        }
        self.0 += 1;
    }
}

/// For each of so many names the place of its first mention: its own, if it is the first.
pub(crate) async fn first_mentions<K: Hash + Eq>(names: usize, name: impl Fn(usize) -> K, pace: &mut Pace) -> Vec<u32> {
    let hashing = SeededState::default();
    // With room for all of them from the start: it would else be hashed anew as a whole.
    let mut places: HashTable<u32> = HashTable::with_capacity(names);
    let mut first = Vec::with_capacity(names);
    for at in 0..names {
        pace.step().await;
        let named = name(at);
        let hash = hashing.hash_one(&named);
        let place = match places.find(hash, |place| name(*place as usize) == named) {
            Some(place) => *place,
            None => {
                // No request has as many bytes.
                let place = at as u32;
                places.insert_unique(hash, place, |place| hashing.hash_one(name(*place as usize)));
                place
            }
        };
        first.push(place);
    }
    first
}

/// Leaves each name where it stands first. Returns for each further mention the place of its name among those that stay.
pub(crate) async fn keep_first(names: &mut Vec<Str>) -> Vec<u32> {
    let mut pace = Pace::default();
    let mut first = first_mentions(names.len(), |at| names[at].as_str(), &mut pace).await;
    let (mut kept, mut again) = (0, Vec::new());
    for at in 0..first.len() {
        pace.step().await;
        if first[at] as usize == at {
            names.swap(kept, at);
            // From here on the place among those that stay.
            first[at] = kept as u32;
            kept += 1;
        } else {
            again.push(first[first[at] as usize]);
        }
    }
    names.truncate(kept);
    again
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_mention_of_each_name_stays() {
        let mut names = ["a", "b", "a", "c", "b", "d"].map(Str::from).to_vec();
        let again = keep_first(&mut names).await;
        assert_eq!(names, ["a", "b", "c", "d"].map(Str::from));
        assert_eq!(again, [0, 1]);
    }

    #[tokio::test]
    async fn one_poll_goes_through_few_of_many_names() {
        let looked = std::cell::Cell::new(0);
        let name = |at: usize| {
            looked.set(looked.get() + 1);
            at
        };
        let (names, mut pace) = (3 * NAMES_AT_ONCE, Pace::default());
        let mut all = std::pin::pin!(first_mentions(names, name, &mut pace));
        for polled in 1..3 {
            assert!(futures::poll!(all.as_mut()).is_pending());
            // Each is also looked at where another one's place is next to it.
            assert!(looked.get() <= 2 * polled * NAMES_AT_ONCE, "{} in {polled} polls", looked.get());
        }
        assert_eq!(all.await, (0..names as u32).collect::<Vec<_>>());
    }
}
