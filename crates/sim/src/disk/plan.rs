//! How slow disks are.

use std::ops::Range;
use std::time::Duration;

/// Times of calls. All zeros is a disk that takes none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DiskPlan {
    /// Of each call.
    pub latency: Range<Duration>,
    /// Probability, for each call, of [`Fault::SlowDisk`](crate::faults::Fault::SlowDisk).
    pub slow: f64,
    /// How much longer it takes.
    pub slow_by: Range<Duration>,
}
