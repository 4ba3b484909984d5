//! A few things done at a time, their results in the order of asking.

use std::future::Future;
use std::pin::Pin;

use base::Clock;
use futures::stream::{FuturesOrdered, StreamExt};

use crate::net::peer::Peer;

/// Futures of which no more than so many are under way. One that does much at once does it in a turn of its own.
pub(crate) struct InOrder<'a, T> {
    most: usize,
    peer: &'a Peer,
    clock: &'a Clock,
    running: FuturesOrdered<Pin<Box<dyn Future<Output = T> + Send + 'a>>>,
    done: Vec<T>,
}

impl<'a, T: 'a> InOrder<'a, T> {
    /// For a request of `peer`.
    pub(crate) fn new(most: usize, peer: &'a Peer, clock: &'a Clock) -> Self {
        Self { most, peer, clock, running: FuturesOrdered::new(), done: Vec::new() }
    }

    /// Takes one more, as soon as there is a place for it.
    pub(crate) async fn push(&mut self, next: impl Future<Output = T> + Send + 'a) {
        if self.running.len() >= self.most {
            self.done.extend(self.running.next().await);
        }
        self.running.push_back(Box::pin(self.peer.in_turn(self.clock, next)));
    }

    /// All results.
    pub(crate) async fn finish(mut self) -> Vec<T> {
        while let Some(done) = self.running.next().await {
            self.done.push(done);
        }
        self.done
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use base::clock::ManualTime;

    use super::*;
    use crate::limits::WORK_TURN_MAX;

    fn peer() -> Peer {
        let somewhere = SocketAddr::from(([127, 0, 0, 1], 9092));
        Peer::new(somewhere, somewhere, "TEST".into())
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_are_under_way_and_results_keep_their_order() {
        let (peer, clock) = (peer(), Clock::from_source(ManualTime::starting_at(0)));
        let (running, most_seen) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let mut all = InOrder::new(16, &peer, &clock);
        let slow = async |number: u64| {
            most_seen.fetch_max(1 + running.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
            // The later of two ends first.
            tokio::time::sleep(Duration::from_millis(100 - number % 2)).await;
            running.fetch_sub(1, Ordering::Relaxed);
            number
        };
        for number in 0..64 {
            all.push(slow(number)).await;
        }
        assert_eq!(all.finish().await, (0..64).collect::<Vec<_>>());
        assert_eq!(most_seen.load(Ordering::Relaxed), 16);
    }

    /// A look-up by time decompresses a batch.
    #[test]
    fn of_what_takes_long_one_is_done_in_a_turn() {
        let time = ManualTime::starting_at(0);
        let (peer, clock, done) = (peer(), Clock::from_source(time.clone()), AtomicUsize::new(0));
        let long = async |number: usize| {
            time.advance(WORK_TURN_MAX);
            done.fetch_add(1, Ordering::Relaxed);
            number
        };
        let mut all = pin!(async {
            let mut all = InOrder::new(16, &peer, &clock);
            for number in 0..64 {
                all.push(long(number)).await;
            }
            all.finish().await
        });
        for turn in 0.. {
            peer.begin_turn(clock.monotonic());
            let polled = all.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(done.load(Ordering::Relaxed) <= turn + 1, "in turn {turn}");
            if let Poll::Ready(results) = polled {
                assert_eq!(results, (0..64).collect::<Vec<_>>());
                return;
            }
        }
    }
}
