//! How fast bodies are written to a device whose other users must not wait long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base::Clock;
use parking_lot::Mutex;

/// A rate that all bodies which carry it share; it may change while they are written. Only a local directory keeps to it:
/// over a network nobody waits behind a body.
#[derive(Clone, Debug)]
pub struct Pace(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Clock,
    /// 0: as fast as can be.
    bytes_per_second: AtomicU64,
    /// When the next bytes are due.
    next: Mutex<Duration>,
}

impl Pace {
    /// As fast as can be, until it is set.
    pub fn new(clock: Clock) -> Self {
        Self(Arc::new(Inner { clock, bytes_per_second: AtomicU64::new(0), next: Mutex::default() }))
    }

    /// Changes the rate; `None` is as fast as can be.
    pub fn set(&self, bytes_per_second: Option<u64>) {
        self.0.bytes_per_second.store(bytes_per_second.map_or(0, |rate| rate.max(1)), Ordering::Release);
    }

    /// Takes the next place in time for `bytes`; returns how long to wait for it.
    pub(crate) fn take(&self, bytes: u64) -> Duration {
        let rate = self.0.bytes_per_second.load(Ordering::Acquire);
        if rate == 0 {
            return Duration::ZERO;
        }
        let now = self.0.clock.monotonic();
        let mut next = self.0.next.lock();
        let place = now.max(*next);
        *next = place + Duration::from_secs_f64(bytes as f64 / rate as f64);
        place - now
    }
}

#[cfg(test)]
mod tests {
    use base::clock::ManualTime;

    use super::*;

    #[test]
    fn bodies_share_the_rate_and_idle_time_is_not_saved_up() {
        let time = ManualTime::starting_at(0);
        let pace = Pace::new(Clock::from_source(time.clone()));
        assert_eq!(pace.take(u64::MAX), Duration::ZERO);
        pace.set(Some(1000));
        let other = pace.clone();
        assert_eq!(pace.take(100), Duration::ZERO);
        assert_eq!(other.take(50), Duration::from_millis(100));
        assert_eq!(pace.take(1), Duration::from_millis(150));
        time.advance(Duration::from_secs(60));
        assert_eq!(pace.take(100), Duration::ZERO);
        assert_eq!(pace.take(100), Duration::from_millis(100));
        pace.set(None);
        assert_eq!(pace.take(100), Duration::ZERO);
    }
}
