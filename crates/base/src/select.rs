//! Selection among ready futures: [`select!`](crate::select!) is tokio's, and where it begins to look comes from the
//! [host](crate::host), so that a simulation chooses the same each time.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use crate::host;

/// As `tokio::select!`, with all of its syntax. Without `biased;` the first branch looked at is random in production and
/// the host's choice otherwise.
#[macro_export]
macro_rules! select {
    (biased; $($branches:tt)*) => { $crate::select::tokio::select!(biased; $($branches)*) };
    // A rule of tokio's macro that its own documentation does not show: its version is pinned, and a test holds it.
    ($($branches:tt)*) => {
        $crate::select::tokio::select!(@ { start = $crate::select::start(); () } $($branches)*)
    };
}

#[doc(hidden)]
pub use tokio;

/// Which branch is looked at first, modulo their number.
#[doc(hidden)]
pub fn start() -> u32 {
    let number = host::current().map_or_else(random, |host| host.next_u64());
    // The macro adds small numbers to it.
    (number >> 48) as u32
}

/// A fast sequence of each thread's own (xorshift64*); fairness needs no better one.
fn random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(seed());
    }
    #[allow(clippy::disallowed_methods, reason = "this is a home of randomness")]
    fn seed() -> u64 {
        RandomState::new().hash_one(0) | 1
    }
    STATE.with(|state| {
        let mut x = state.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        state.set(x);
        x.wrapping_mul(0x2545_F491_4F6C_DD1D)
    })
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use crate::host::tests::Scripted;
    use crate::host::{AbortHandle, Host, within};

    async fn choices() -> Vec<u8> {
        let mut chosen = Vec::new();
        for _ in 0..64 {
            chosen.push(crate::select! {
                () = ready(()) => 0,
                Some(one) = ready(Some(1)) => one,
                () = ready(()), if chosen.len() > 1000 => unreachable!("switched off"),
                two = ready(2) => { two }
            });
        }
        chosen
    }

    /// A sequence that spreads over all bits.
    #[derive(Debug)]
    struct Spread(std::sync::Arc<Scripted>);

    impl Host for Spread {
        fn started(&self, _: &'static str, _: AbortHandle) {}

        fn next_u64(&self) -> u64 {
            self.0.next_u64().wrapping_mul(0x9E37_79B9_7F4A_7C15)
        }
    }

    async fn hosted(seed: u64) -> Vec<u8> {
        within(std::sync::Arc::new(Spread(Scripted::seeded(seed))), "program", choices()).await
    }

    #[tokio::test]
    async fn a_seeded_selection_is_the_same_each_time_and_another_seeds_is_another() {
        assert_eq!(hosted(1).await, hosted(1).await);
        assert_ne!(hosted(1).await, hosted(2).await);
    }

    #[tokio::test]
    async fn every_branch_that_is_ready_has_its_turn() {
        for chosen in [hosted(7).await, choices().await] {
            assert!((0..3).all(|branch| chosen.contains(&branch)), "{chosen:?}");
        }
        assert_ne!(choices().await, choices().await, "random in production");
        let biased = crate::select! { biased; () = ready(()) => 0, () = ready(()) => 1 };
        assert_eq!(biased, 0);
    }
}
