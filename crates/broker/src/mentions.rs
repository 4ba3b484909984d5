//! What a request names more than once, where Kafka keeps it in a map and so answers once.

use std::hash::Hash;

use base::Clock;
use base::collections::{HashMap, HashSet};
use wire::Str;

use crate::net::peer::Peer;

/// Leaves each topic once, with each of its partitions once: as it is named last, which is the mention that counts. A topic
/// without partitions is left out, for Kafka's maps hold none. Returns the partitions that were named more than once.
/// Others run meanwhile, since a request may name a million.
pub(crate) async fn keep_last<T, P>(
    (peer, clock): (&Peer, &Clock),
    topics: &mut Vec<T>,
    name: impl Fn(&T) -> Str,
    partitions: impl Fn(&mut T) -> &mut Vec<P>,
    index: impl Fn(&P) -> i32,
) -> HashSet<(Str, i32)> {
    let (mut places, mut seen, mut repeated) = (HashMap::default(), HashSet::default(), HashSet::default());
    let mut kept = Vec::with_capacity(topics.len());
    for mut topic in std::mem::take(topics).into_iter().rev() {
        peer.breathe(clock).await;
        let named = std::mem::take(partitions(&mut topic));
        if named.is_empty() {
            continue;
        }
        let name = name(&topic);
        let at = *places.entry(name.clone()).or_insert(kept.len());
        if at == kept.len() {
            kept.push(topic);
        }
        for partition in named.into_iter().rev() {
            peer.breathe(clock).await;
            let place = (name.clone(), index(&partition));
            if seen.insert(place.clone()) {
                partitions(&mut kept[at]).push(partition);
            } else {
                repeated.insert(place);
            }
        }
    }
    for topic in &mut kept {
        peer.breathe(clock).await;
        partitions(topic).reverse();
    }
    kept.reverse();
    *topics = kept;
    repeated
}

/// Leaves each where it is named first, and returns those that were named more than once.
pub(crate) async fn keep_first<T, K: Eq + Hash>(
    of: (&Peer, &Clock),
    named: &mut Vec<T>,
    key: impl Fn(&T) -> K,
) -> HashSet<K> {
    let (repeated, is_first) = look(of, named, key).await;
    let mut is_first = is_first.into_iter();
    named.retain(|_| is_first.next().unwrap_or(true));
    repeated
}

/// What is named more than once.
pub(crate) async fn repeated<T, K: Eq + Hash>(of: (&Peer, &Clock), named: &[T], key: impl Fn(&T) -> K) -> HashSet<K> {
    look(of, named, key).await.0
}

/// What is named more than once, and of each mention whether it is the first.
async fn look<T, K: Eq + Hash>(
    (peer, clock): (&Peer, &Clock),
    named: &[T],
    key: impl Fn(&T) -> K,
) -> (HashSet<K>, Vec<bool>) {
    // With room for all from the start: it would else be hashed anew as a whole.
    let (mut seen, mut repeated) =
        (HashSet::with_capacity_and_hasher(named.len(), Default::default()), HashSet::default());
    let mut is_first = Vec::with_capacity(named.len());
    for one in named {
        peer.breathe(clock).await;
        let again = seen.replace(key(one));
        is_first.push(again.is_none());
        repeated.extend(again);
    }
    (repeated, is_first)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use base::clock::ManualTime;

    use super::*;
    use crate::limits::WORK_TURN_MAX;

    fn peer() -> Peer {
        let somewhere = SocketAddr::from(([127, 0, 0, 1], 9092));
        Peer::new(somewhere, somewhere, "TEST".into())
    }

    #[tokio::test]
    async fn the_last_mention_of_a_partition_stays_in_the_one_of_its_topic() {
        let (peer, clock) = (peer(), Clock::system());
        peer.begin_turn(clock.monotonic());
        let mut topics = vec![("a", vec![(0, 'x')]), ("b", vec![]), ("a", vec![(0, 'x'), (1, 'y'), (0, 'z')])];
        let of = (&peer, &clock);
        let repeated = keep_last(of, &mut topics, |t| t.0.into(), |t| &mut t.1, |p: &(i32, char)| p.0).await;
        assert_eq!(topics, [("a", vec![(1, 'y'), (0, 'z')])]);
        assert_eq!(repeated, HashSet::from_iter([("a".into(), 0)]));
        let mut topics = vec![("a", vec![(0, 'x'), (1, 'x')]), ("b", vec![(0, 'x')]), ("a", vec![(2, 'x')])];
        keep_last(of, &mut topics, |t| t.0.into(), |t| &mut t.1, |p: &(i32, char)| p.0).await;
        assert_eq!(topics, [("b", vec![(0, 'x')]), ("a", vec![(0, 'x'), (1, 'x'), (2, 'x')])]);
    }

    #[tokio::test]
    async fn the_first_mention_stays() {
        let (peer, clock) = (peer(), Clock::system());
        peer.begin_turn(clock.monotonic());
        let mut named = vec![("a", 1), ("b", 2), ("a", 3), ("c", 4), ("a", 5)];
        assert_eq!(repeated((&peer, &clock), &named, |one| one.0).await, HashSet::from_iter(["a"]));
        let repeated = keep_first((&peer, &clock), &mut named, |one| one.0).await;
        assert_eq!(named, [("a", 1), ("b", 2), ("c", 4)]);
        assert_eq!(repeated, HashSet::from_iter(["a"]));
    }

    #[test]
    fn others_run_between_two_mentions_when_the_turn_is_over() {
        let time = ManualTime::starting_at(0);
        let (peer, clock) = (peer(), Clock::from_source(time.clone()));
        peer.begin_turn(clock.monotonic());
        let slow = |of: &u8| {
            time.advance(WORK_TURN_MAX);
            *of
        };
        let (mut named, mut polls) = (vec![1, 2, 3, 1], 0);
        let mut all = pin!(keep_first((&peer, &clock), &mut named, slow));
        while all.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            polls += 1;
            peer.begin_turn(clock.monotonic());
        }
        assert_eq!(polls, 3, "once before each but the first");
    }
}
