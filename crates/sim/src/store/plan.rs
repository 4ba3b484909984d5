//! Which faults a store has, how often, and what one request meets.

use std::ops::Range;
use std::time::Duration;

use blob::Operation;

use crate::dice::Dice;
use crate::faults::Fault;

/// Faults by probability for each request. All zeros is a store that answers at once and never fails.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StorePlan {
    /// From a request's sending to its answer; the effect lies somewhere within.
    pub latency: Range<Duration>,
    /// Bytes of bodies that come or go in a second, for each request on its own; 0 is no limit.
    pub bytes_per_second: u64,
    /// Probability of [`Fault::StoreStall`].
    pub stalled: f64,
    /// How long it takes.
    pub stall: Range<Duration>,
    /// Probability of [`Fault::Unavailable`].
    pub unavailable: f64,
    /// Probability of [`Fault::LostRequest`]; the caller hears of a reset, or nothing at all.
    pub lost_request: f64,
    /// Probability of [`Fault::LostReply`]; likewise.
    pub lost_reply: f64,
    /// Probability of [`Fault::LateEffect`], for writes and deletes.
    pub late_effect: f64,
    /// How much later.
    pub late_by: Range<Duration>,
    /// Probability of [`Fault::DamagedWrite`].
    pub damaged_write: f64,
    /// Probability of [`Fault::ShortRead`].
    pub short_read: f64,
    /// Probability of [`Fault::DamagedRead`].
    pub damaged_read: f64,
}

/// What one request meets.
#[derive(Clone, Debug)]
pub(super) struct Fate {
    pub(super) there: Duration,
    pub(super) back: Duration,
    pub(super) stalls: bool,
    pub(super) fault: Option<Fault>,
    /// A lost answer is a reset, not silence.
    pub(super) is_told: bool,
    pub(super) late_by: Duration,
    /// For where a bit turns over, and how many of a batch are done.
    pub(super) number: u64,
}

impl StorePlan {
    /// Always the same number of draws, so that a changed plan changes nothing but what it is about.
    pub(super) fn draw(&self, dice: &Dice, operation: Operation) -> Fate {
        let latency = dice.time(self.latency.clone());
        let mut there = latency.mul_f64(dice.below(1_000) as f64 / 1_000.0);
        let mut back = latency.saturating_sub(there);
        let stalls = dice.chance(self.stalled);
        let stall = dice.time(self.stall.clone());
        match dice.chance(0.5) {
            true if stalls => there += stall,
            false if stalls => back += stall,
            _ => {}
        }
        let gets = operation == Operation::Get;
        let reads = gets || matches!(operation, Operation::Head | Operation::List);
        let sends = !reads && operation != Operation::Delete;
        let only = |applies: bool, odd: f64| if applies { odd } else { 0.0 };
        let odds = [
            (self.unavailable, Fault::Unavailable),
            (self.lost_request, Fault::LostRequest),
            (self.lost_reply, Fault::LostReply),
            (only(!reads, self.late_effect), Fault::LateEffect),
            (only(sends, self.damaged_write), Fault::DamagedWrite),
            (only(gets, self.short_read), Fault::ShortRead),
            (only(gets, self.damaged_read), Fault::DamagedRead),
        ];
        let mut left = dice.below(1 << 53) as f64 / (1_u64 << 53) as f64;
        let met = odds.into_iter().find(|(odd, _)| {
            left -= odd;
            left < 0.0
        });
        let fault = met.map(|(_, fault)| fault);
        let (is_told, late_by, number) = (dice.chance(0.5), dice.time(self.late_by.clone()), dice.next_u64());
        Fate { there, back, stalls, fault, is_told, late_by, number }
    }
}
