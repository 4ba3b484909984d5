//! All that is random in a run comes from its seed.
//!
//! Every part of the world has dice of its own ([`Dice::branch`]), so that a part which draws once more does not change
//! what another draws.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// A sequence of numbers; clones draw from the same one.
#[derive(Clone, Debug)]
pub struct Dice {
    seed: u64,
    state: Arc<Mutex<u64>>,
}

impl Dice {
    /// The dice of a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, state: Arc::new(Mutex::new(mixed(seed))) }
    }

    /// Other dice, which depend on the seed and the name alone.
    #[must_use]
    pub fn branch(&self, name: &str) -> Self {
        // FNV-1a.
        let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self::new(mixed(self.seed) ^ name.bytes().fold(0xcbf2_9ce4_8422_2325, hash))
    }

    /// 64 random bits (SplitMix64).
    pub fn next_u64(&self) -> u64 {
        let mut state = self.state.lock();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(*state)
    }

    /// True with this probability.
    pub fn chance(&self, probability: f64) -> bool {
        ((self.next_u64() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }

    /// A number below `end`, which is not 0.
    pub fn below(&self, end: u64) -> u64 {
        assert!(end > 0, "nothing lies below 0");
        ((u128::from(self.next_u64()) * u128::from(end)) >> 64) as u64
    }

    /// A place in something of that length, which is not 0.
    pub fn index(&self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// One of them; there is at least one.
    pub fn pick<'a, T>(&self, of: &'a [T]) -> &'a T {
        &of[self.index(of.len())]
    }

    /// A time within the range, in microseconds.
    pub fn time(&self, range: Range<Duration>) -> Duration {
        let span = range.end.saturating_sub(range.start).as_micros() as u64;
        range.start + Duration::from_micros(if span == 0 { 0 } else { self.below(span) })
    }
}

fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_sequence_and_a_branch_does_not_depend_on_what_was_drawn() {
        let draw = |dice: &Dice| (0..8).map(|_| dice.next_u64()).collect::<Vec<_>>();
        let (one, other) = (Dice::new(1), Dice::new(1));
        assert_eq!(draw(&one), draw(&other));
        assert_eq!(draw(&one.branch("disk")), draw(&Dice::new(1).branch("disk")));
        assert_ne!(draw(&one.branch("disk")), draw(&one.branch("net")));
        assert_ne!(draw(&Dice::new(2)), draw(&Dice::new(1)));
        let dice = Dice::new(7);
        let hits = (0..10_000).filter(|_| dice.chance(0.25)).count();
        assert!((2_000..3_000).contains(&hits), "{hits}");
        assert!((0..1_000).all(|_| dice.below(3) < 3) && !dice.chance(0.0) && dice.chance(1.0));
    }
}
