//! A few things done at a time, their results in the order of asking.

use futures::stream::{FuturesOrdered, StreamExt};

/// Futures of which no more than so many are under way.
pub(crate) struct InOrder<F: Future> {
    most: usize,
    running: FuturesOrdered<F>,
    done: Vec<F::Output>,
}

impl<F: Future> InOrder<F> {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, running: FuturesOrdered::new(), done: Vec::new() }
    }

    /// Takes one more, as soon as there is a place for it.
    pub(crate) async fn push(&mut self, next: F) {
        if self.running.len() >= self.most {
            self.done.extend(self.running.next().await);
        }
        self.running.push_back(next);
    }

    /// All results.
    pub(crate) async fn finish(mut self) -> Vec<F::Output> {
        while let Some(done) = self.running.next().await {
            self.done.push(done);
        }
        self.done
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn so_many_are_under_way_and_results_keep_their_order() {
        let (running, most_seen) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let mut all = InOrder::new(16);
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
}
