//! Hash maps and sets whose order of iteration is random in production (a client cannot aim at their buckets) and the
//! [host](crate::host)'s in simulation.
//!
//! They are hashbrown's, which look up by borrowed keys. They are made with `default()`, `collect()` or
//! `with_capacity_and_hasher`: `new()` exists only for hashers that have no seed.

use std::hash::{BuildHasher, DefaultHasher, Hasher, RandomState};

use crate::host;

/// A hash map with a seeded order.
pub type HashMap<K, V> = hashbrown::HashMap<K, V, SeededState>;
/// A hash set with a seeded order.
pub type HashSet<K> = hashbrown::HashSet<K, SeededState>;

/// A table of places in something else: whoever uses it hashes and compares what lies there, with a [`SeededState`] of its
/// own.
pub type HashTable<T> = hashbrown::HashTable<T>;

/// Where the hashers of one map begin.
#[derive(Clone, Debug)]
pub struct SeededState(State);

#[derive(Clone, Debug)]
enum State {
    Random(RandomState),
    Given(u64),
}

impl Default for SeededState {
    fn default() -> Self {
        #[allow(clippy::disallowed_methods, reason = "this is a home of randomness")]
        let random = || State::Random(RandomState::new());
        Self(host::current().map_or_else(random, |host| State::Given(host.next_u64())))
    }
}

impl BuildHasher for SeededState {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        match &self.0 {
            State::Random(state) => state.build_hasher(),
            State::Given(seed) => {
                let mut hasher = DefaultHasher::new();
                hasher.write_u64(*seed);
                hasher
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::host::tests::Scripted;
    use crate::host::{Host, scope};

    fn order() -> Vec<u32> {
        let map: HashMap<u32, ()> = (0..64).map(|key| (key, ())).collect();
        let set: HashSet<u32> = map.keys().copied().collect();
        map.into_keys().chain(set).collect()
    }

    #[test]
    fn iteration_is_the_same_under_one_seed_and_another_under_another() {
        let seeded = |seed| {
            let host: Arc<dyn Host> = Scripted::seeded(seed);
            scope(&host, order)
        };
        assert_eq!(seeded(1), seeded(1));
        assert_ne!(seeded(1), seeded(100));
        assert_ne!(order(), order(), "random in production, map by map");
    }
}
