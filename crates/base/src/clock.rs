//! The clock port. Clocks decide when to try; they never decide what is safe.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::TimestampMs;

/// A source of wall-clock and monotonic time.
pub trait TimeSource: Send + Sync + fmt::Debug {
    /// Milliseconds since the Unix epoch.
    fn wall_ms(&self) -> i64;
    /// Time since an arbitrary, fixed moment; never goes back.
    fn monotonic(&self) -> Duration;
}

/// A shared handle on a [`TimeSource`].
#[derive(Clone, Debug)]
pub struct Clock(Arc<dyn TimeSource>);

impl Clock {
    /// The machine's clocks.
    pub fn system() -> Self {
        #[allow(clippy::disallowed_methods, reason = "this is the home of the clock")]
        Self(Arc::new(MachineTime { start: Instant::now() }))
    }

    /// The clock that the current runtime's timers follow, paused and moved with it; it stands at `wall_ms` now. For
    /// simulation: what waits and what looks at the time agree.
    pub fn runtime(wall_ms: i64) -> Self {
        #[allow(clippy::disallowed_methods, reason = "this is the home of the clock")]
        Self(Arc::new(RuntimeTime { start: tokio::time::Instant::now(), wall_ms }))
    }

    /// A clock over a source of the caller's.
    pub fn from_source(source: Arc<dyn TimeSource>) -> Self {
        Self(source)
    }

    /// Wall-clock time.
    pub fn now(&self) -> TimestampMs {
        TimestampMs(self.0.wall_ms())
    }

    /// Monotonic time since an arbitrary moment.
    pub fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }
}

#[derive(Debug)]
struct MachineTime {
    start: Instant,
}

impl TimeSource for MachineTime {
    fn wall_ms(&self) -> i64 {
        #[allow(clippy::disallowed_methods, reason = "this is the home of the clock")]
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

#[derive(Debug)]
struct RuntimeTime {
    start: tokio::time::Instant,
    wall_ms: i64,
}

impl TimeSource for RuntimeTime {
    fn wall_ms(&self) -> i64 {
        self.wall_ms + self.monotonic().as_millis() as i64
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that moves only when told to; for tests and simulation.
#[derive(Debug, Default)]
pub struct ManualTime {
    wall_ms: AtomicI64,
    monotonic_us: AtomicU64,
}

impl ManualTime {
    /// A manual clock standing at `wall_ms`.
    pub fn starting_at(wall_ms: i64) -> Arc<Self> {
        let time = Self::default();
        time.wall_ms.store(wall_ms, Ordering::SeqCst);
        Arc::new(time)
    }

    /// Moves both clocks on.
    pub fn advance(&self, by: Duration) {
        self.wall_ms.fetch_add(by.as_millis() as i64, Ordering::SeqCst);
        self.monotonic_us.fetch_add(by.as_micros() as u64, Ordering::SeqCst);
    }
}

impl TimeSource for ManualTime {
    fn wall_ms(&self) -> i64 {
        self.wall_ms.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.monotonic_us.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_runtimes_clock_goes_with_its_timers() {
        let clock = Clock::runtime(1_000);
        let machine = Clock::system();
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!((clock.now(), clock.monotonic()), (TimestampMs(3_601_000), Duration::from_secs(3600)));
        assert!(machine.monotonic() < Duration::from_secs(1800), "it was moved, not waited for");
    }
}
