//! Which faults a network has, how often.

use std::ops::Range;
use std::time::Duration;

/// Faults by probability. All zeros is a network that delivers at once and never fails.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NetPlan {
    /// From a write to its arrival.
    pub latency: Range<Duration>,
    /// Bytes in a second, for each direction of each connection; 0 is no limit.
    pub bytes_per_second: u64,
    /// Probability, for each write, that less is taken than there is room for. No fault: networks do that.
    pub partial_write: f64,
    /// Probability of [`Fault::SlowNetwork`](crate::faults::Fault::SlowNetwork), for each write.
    pub slow: f64,
    /// How much longer it is under way.
    pub slow_by: Range<Duration>,
    /// Probability of [`Fault::StalledLink`](crate::faults::Fault::StalledLink), for each write.
    pub stalled: f64,
    /// How long nothing of that direction arrives.
    pub stall: Range<Duration>,
    /// Probability of [`Fault::Reset`](crate::faults::Fault::Reset), for each write.
    pub reset: f64,
    /// Probability, for each attempt to connect, that a time begins in which its host refuses
    /// ([`Fault::Refused`](crate::faults::Fault::Refused)).
    pub refused: f64,
    /// How long that is.
    pub refuse: Range<Duration>,
}
