//! Kills of our broker at the moments that matter: any, while a cut is uploaded, around its commit and trim, and while
//! a start recovers what the last kill left. What a kill met is read from the bucket afterwards ([`crate::bucket`]).

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base::{Clock, Entropy};

use crate::bucket::{Bucket, Glance, Happened};
use crate::headwater::Headwater;

/// What a kill waits for.
#[derive(Clone, Copy, Debug)]
enum Aim {
    /// Nothing.
    Any,
    /// An upload that has begun.
    Upload,
    /// A commit.
    Commit,
    /// Nothing; but the start that follows is killed, too.
    Start,
}

/// One after the other, round after round.
const AIMS: [Aim; 6] = [Aim::Any, Aim::Upload, Aim::Start, Aim::Commit, Aim::Start, Aim::Commit];
/// How long a moment may be waited for.
const MOMENT_MAX: Duration = Duration::from_secs(30);
/// A kill falls so long after an upload's beginning, at most: about what it takes.
const UPLOAD_SPREAD: Duration = Duration::from_millis(4);
/// And so long after a commit, at most.
const COMMIT_SPREAD: Duration = Duration::from_micros(500);
/// How often a bucket is looked at while a moment is waited for.
const LOOK_INTERVAL: Duration = Duration::from_micros(100);

/// What one strike, a kill or several and a start that was left alone, met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strike {
    /// From the first kill to a broker that serves again.
    pub away: Duration,
    /// What the broker that was killed had done since it served, and left half done.
    pub met: Happened,
    /// Starts that were killed before they were ready.
    pub starts: u32,
    /// Those of them that had already taken office, and so were fencing, replaying, uploading or committing.
    pub recoveries: u32,
}

impl Strike {
    /// A strike of which only the time is known.
    ///
    /// # Errors
    /// Those of `strike`.
    pub fn timed(strike: impl FnOnce() -> Result<()>) -> Result<Self> {
        let clock = Clock::system();
        strike()?;
        Ok(Self { away: clock.monotonic(), ..Self::default() })
    }
}

/// A broker that is killed again and again.
#[derive(Debug)]
pub struct Assault<'a> {
    broker: &'a mut Headwater,
    bucket: Bucket,
    entropy: Entropy,
    round: usize,
    /// Starts that were to be killed.
    starts: u32,
    /// What the last start took that was left alone.
    start: Duration,
    /// What of it came after the broker had taken office.
    recovery: Duration,
    /// The bucket when the broker became ready.
    served: Glance,
}

impl<'a> Assault<'a> {
    /// Of a broker that serves, over its bucket.
    ///
    /// # Errors
    /// When the bucket cannot be read.
    pub fn new(broker: &'a mut Headwater, bucket: Bucket) -> Result<Self> {
        let (start, recovery) = (Duration::from_millis(100), Duration::from_millis(50));
        let served = bucket.look()?;
        Ok(Self { broker, bucket, entropy: Entropy::system(), round: 0, starts: 0, start, recovery, served })
    }

    /// Kills the broker and brings it back.
    ///
    /// # Errors
    /// When the moment to wait for does not come, or the broker does not come up again.
    pub fn strike(&mut self) -> Result<Strike> {
        let aim = AIMS[self.round % AIMS.len()];
        self.round += 1;
        self.take(aim).with_context(|| format!("waiting for {aim:?}"))?;
        let clock = Clock::system();
        ensure!(self.broker.strike()?, "the broker had not said that it was ready");
        let met = self.bucket.happened(&self.served, &self.bucket.look()?)?;
        let mut strike = Strike { met, ..Strike::default() };
        if matches!(aim, Aim::Start) {
            self.kill_a_start(&mut strike)?;
        }
        let (before, next) = (clock.monotonic(), self.bucket.look()?.entry + 1);
        self.broker.launch()?;
        let office = self.watch(|| Ok(self.bucket.has_entry(next))).map(|()| clock.monotonic());
        // Says more of a start that did not get so far.
        self.broker.await_ready()?;
        strike.away = clock.monotonic();
        (self.start, self.recovery) = (strike.away - before, strike.away - office?);
        self.served = self.bucket.look()?;
        Ok(strike)
    }

    /// Waits for the moment of a kill.
    fn take(&self, aim: Aim) -> Result<()> {
        match aim {
            Aim::Any | Aim::Start => {}
            Aim::Upload => {
                let before = self.bucket.prefixes()?.len();
                self.watch(|| Ok(self.bucket.prefixes()?.len() > before))?;
                std::thread::sleep(self.random(UPLOAD_SPREAD));
            }
            Aim::Commit => {
                let next = self.bucket.look()?.entry + 1;
                self.watch(|| Ok(self.bucket.has_entry(next)))?;
                std::thread::sleep(self.random(COMMIT_SPREAD));
            }
        }
        Ok(())
    }

    /// Starts the broker and kills it at a random moment of what a start takes, or of what a recovery does.
    fn kill_a_start(&mut self, strike: &mut Strike) -> Result<()> {
        let before = self.bucket.look()?.entry;
        self.broker.launch()?;
        self.starts += 1;
        if self.starts.is_multiple_of(2) {
            self.watch(|| Ok(self.bucket.has_entry(before + 1))).context("waiting for a start to take office")?;
            std::thread::sleep(self.random(self.recovery));
        } else {
            std::thread::sleep(self.random(self.start));
        }
        if !self.broker.strike()? {
            strike.starts += 1;
            strike.recoveries += u32::from(self.bucket.look()?.entry > before);
        }
        Ok(())
    }

    fn watch(&self, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
        let clock = Clock::system();
        while !holds()? {
            ensure!(clock.monotonic() < MOMENT_MAX, "it did not come within {MOMENT_MAX:?}");
            std::thread::sleep(LOOK_INTERVAL);
        }
        Ok(())
    }

    /// A time from nothing to `most`.
    fn random(&self, most: Duration) -> Duration {
        let share = (self.entropy.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        most.mul_f64(share)
    }
}
