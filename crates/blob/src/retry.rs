//! Retries: bounded in number, in time and by a budget that all requests of a store share, so that a store in trouble
//! is not hit harder than a healthy one.
//!
//! A slow way to the store is met otherwise than a store in trouble: whoever ran out of time has more the next time, and
//! a write that ran out of it is tried again alone, for those that share the way may all be too slow together and none
//! of them for itself. Going one at a time, the oldest first, it costs no retry. While it waits for its next attempt the
//! others go.

use std::time::Duration;

use base::{Clock, Entropy};
use parking_lot::Mutex;

/// How requests other than creates are retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts of one request, the first included.
    pub attempts_max: u32,
    /// Longest wait before the second attempt; it doubles with each further one.
    pub first_wait_max: Duration,
    /// Longest wait of all.
    pub wait_max: Duration,
    /// Time for one attempt without data.
    pub attempt_time_max: Duration,
    /// Slowest acceptable transfer; adds to the time for attempts that move data, once more with each that ran out of time, up
    /// to [`SLOWER_MAX`].
    pub bytes_per_second_min: u64,
    /// Retries in hand when all is well. A retry costs one; ten successes earn one back.
    pub budget: u32,
}

/// How many times slower than acceptable a transfer may be in the end. More would make an attempt that hangs last.
pub const SLOWER_MAX: u32 = 4;

/// What an answer of unknown length is guessed to move, once some were waited for in vain: this, four times over for each of
/// them, up to the most that it can be. The first such guess for 32 MiB is 4 MiB.
const GUESS_BYTES: u64 = 1 << 20;

/// What an attempt moves, by which its time is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moves {
    /// So many payload bytes.
    Bytes(u64),
    /// So many at the most, and mostly far fewer: a lost answer to a small one must not be waited for as if it were a large
    /// one.
    AtMost(u64),
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts_max: 8,
            first_wait_max: Duration::from_millis(50),
            wait_max: Duration::from_secs(5),
            attempt_time_max: Duration::from_secs(15),
            bytes_per_second_min: 1 << 20,
            budget: 200,
        }
    }
}

impl RetryPolicy {
    /// The wait before attempt `attempt` (from 1): exponential with full jitter over its upper half.
    pub(crate) fn wait(&self, attempt: u32, entropy: &Entropy) -> Duration {
        let ceiling = self.first_wait_max.saturating_mul(1 << attempt.saturating_sub(1).min(20)).min(self.wait_max);
        let half = ceiling / 2;
        let jitter = (entropy.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        half + half.mul_f64(jitter)
    }

    /// The time limit of an attempt that moves `moves`, behind so many of the same request that ran out of time.
    pub(crate) fn attempt_time(&self, moves: Moves, timeouts: u32) -> Duration {
        let (bytes, slower) = match moves {
            Moves::Bytes(bytes) => (bytes, 1 + timeouts),
            Moves::AtMost(_) if timeouts == 0 => (0, 1),
            Moves::AtMost(most) => {
                let steps = most.div_ceil(GUESS_BYTES).max(1).next_power_of_two().ilog2().div_ceil(2);
                (most.min(GUESS_BYTES << (2 * steps.min(timeouts))), 1 + timeouts.saturating_sub(steps.max(1)))
            }
        };
        let transfer = Duration::from_secs(bytes / self.bytes_per_second_min.max(1));
        self.attempt_time_max.saturating_add(transfer.saturating_mul(slower.min(SLOWER_MAX)))
    }
}

const TENTHS: u32 = 10;

/// What the store's requests have lately met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Failed requests since the last one that succeeded. 0 means that all is well.
    pub failures_in_a_row: u64,
    /// How long nothing has succeeded, while something failed.
    pub failing_for: Option<Duration>,
    /// The newest failure, even when later requests succeeded.
    pub last_error: Option<String>,
    /// Requests that wait before their next attempt.
    pub backing_off: usize,
    /// Retries left in the shared budget.
    pub retries_left: u32,
}

impl Health {
    /// Whether the newest request succeeded.
    pub fn is_healthy(&self) -> bool {
        self.failures_in_a_row == 0
    }
}

#[derive(Debug)]
struct State {
    failures_in_a_row: u64,
    failing_since: Option<Duration>,
    last_error: Option<String>,
    backing_off: usize,
    tenths_left: u32,
}

/// The shared retry budget and the visible state.
#[derive(Debug)]
pub(crate) struct Monitor {
    clock: Clock,
    tenths_max: u32,
    state: Mutex<State>,
}

impl Monitor {
    pub(crate) fn new(clock: Clock, budget: u32) -> Self {
        let tenths_max = budget.saturating_mul(TENTHS);
        let state = State {
            failures_in_a_row: 0,
            failing_since: None,
            last_error: None,
            backing_off: 0,
            tenths_left: tenths_max,
        };
        Self { clock, tenths_max, state: Mutex::new(state) }
    }

    /// A request was answered, be it with "not found": the store works.
    pub(crate) fn answered(&self) {
        let mut state = self.state.lock();
        state.failures_in_a_row = 0;
        state.failing_since = None;
        state.tenths_left = (state.tenths_left + 1).min(self.tenths_max);
    }

    /// A request failed. Answers whether this is the first failure after success.
    pub(crate) fn failed(&self, error: &dyn std::error::Error) -> bool {
        let now = self.clock.monotonic();
        let mut state = self.state.lock();
        state.failures_in_a_row += 1;
        state.last_error = Some(error.to_string());
        state.failing_since.get_or_insert(now);
        state.failures_in_a_row == 1
    }

    /// Takes one retry from the budget, if there is one.
    pub(crate) fn take_retry(&self) -> bool {
        let mut state = self.state.lock();
        match state.tenths_left.checked_sub(TENTHS) {
            Some(left) => {
                state.tenths_left = left;
                true
            }
            None => false,
        }
    }

    /// Waits, visibly.
    pub(crate) async fn back_off(&self, wait: Duration) {
        self.state.lock().backing_off += 1;
        let _waiting = Waiting(self);
        tokio::time::sleep(wait).await;
    }

    pub(crate) fn health(&self) -> Health {
        let now = self.clock.monotonic();
        let state = self.state.lock();
        Health {
            failures_in_a_row: state.failures_in_a_row,
            failing_for: state.failing_since.map(|since| now.saturating_sub(since)),
            last_error: state.last_error.clone(),
            backing_off: state.backing_off,
            retries_left: state.tenths_left / TENTHS,
        }
    }
}

/// One request in back-off; cancelled requests leave it too.
struct Waiting<'a>(&'a Monitor);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state.lock().backing_off -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_never_lie_below_half() {
        let policy = RetryPolicy::default();
        for attempt in 1..40 {
            let ceiling = Duration::from_millis(50).saturating_mul(1 << (attempt - 1).min(10)).min(policy.wait_max);
            let wait = policy.wait(attempt, &Entropy::system());
            assert!(wait >= ceiling / 2 && wait <= ceiling, "{attempt}: {wait:?}");
        }
    }

    #[test]
    fn the_budget_runs_out_and_successes_refill_it() {
        let monitor = Monitor::new(Clock::system(), 2);
        assert!(monitor.take_retry() && monitor.take_retry() && !monitor.take_retry());
        for _ in 0..TENTHS {
            monitor.answered();
        }
        assert!(monitor.take_retry() && !monitor.take_retry());
    }

    #[test]
    fn a_lost_answer_of_unknown_length_is_not_waited_for_as_if_it_were_the_longest() {
        let seconds = |moves, attempts: std::ops::Range<u32>| -> Vec<u64> {
            attempts.map(|timeouts| RetryPolicy::default().attempt_time(moves, timeouts).as_secs()).collect()
        };
        assert_eq!(seconds(Moves::Bytes(32 << 20), 0..5), [47, 79, 111, 143, 143]);
        assert_eq!(seconds(Moves::Bytes(0), 0..3), [15, 15, 15]);
        // What is as large as it may be, over a slow way, has its time in the end.
        let attempts = RetryPolicy::default().attempts_max;
        assert_eq!(seconds(Moves::AtMost(32 << 20), 0..attempts), [15, 19, 31, 47, 79, 111, 143, 143]);
        assert_eq!(seconds(Moves::AtMost(3 << 20), 0..5), [15, 18, 21, 24, 27]);
        assert_eq!(seconds(Moves::AtMost(0), 0..3), [15, 15, 15]);
    }
}
