//! What a request names more than once, where Kafka keeps it in a map and so answers once.

use std::hash::Hash;

use base::collections::HashSet;
use wire::Str;

/// Leaves each partition where it is named last, which is the mention that counts, and no topic that is thereby left with
/// none. Returns those that were named more than once.
pub(crate) fn keep_last<T, P>(
    topics: &mut Vec<T>,
    name: impl Fn(&T) -> Str,
    partitions: impl Fn(&mut T) -> &mut Vec<P>,
    index: impl Fn(&P) -> i32,
) -> HashSet<(Str, i32)> {
    let (mut seen, mut repeated) = (HashSet::default(), HashSet::default());
    let mut kept = Vec::with_capacity(topics.len());
    for mut topic in std::mem::take(topics).into_iter().rev() {
        let name = name(&topic);
        let named = partitions(&mut topic);
        let were_none = named.is_empty();
        named.reverse();
        named.retain(|partition| {
            let place = (name.clone(), index(partition));
            let is_new = seen.insert(place.clone());
            if !is_new {
                repeated.insert(place);
            }
            is_new
        });
        named.reverse();
        if were_none || !named.is_empty() {
            kept.push(topic);
        }
    }
    kept.reverse();
    *topics = kept;
    repeated
}

/// Leaves each where it is named first.
pub(crate) fn keep_first<T, K: Eq + Hash>(named: &mut Vec<T>, key: impl Fn(&T) -> K) {
    let mut seen = HashSet::default();
    named.retain(|one| seen.insert(key(one)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_mention_of_a_partition_stays() {
        let mut topics = vec![("a", vec![(0, 'x')]), ("b", vec![]), ("a", vec![(0, 'x'), (1, 'y'), (0, 'z')])];
        let repeated = keep_last(&mut topics, |t| t.0.into(), |t| &mut t.1, |p: &(i32, char)| p.0);
        assert_eq!(topics, [("b", vec![]), ("a", vec![(1, 'y'), (0, 'z')])]);
        assert_eq!(repeated, HashSet::from_iter([("a".into(), 0)]));
    }
}
