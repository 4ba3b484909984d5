//! Byte budgets: memory is charged when it is taken and released when the last holder lets go (I-10).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// A bounded number of bytes shared by many holders.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit: u64,
    used: AtomicU64,
    released: Notify,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self(Arc::new(Inner { limit, used: AtomicU64::new(0), released: Notify::new() }))
    }

    /// The most that may be charged at once.
    pub fn limit(&self) -> u64 {
        self.0.limit
    }

    /// Bytes charged now.
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Acquire)
    }

    /// Charges `bytes` if they fit. A charge larger than the whole limit is granted when nothing else is charged, so
    /// that one oversized request cannot wait for ever.
    pub fn try_charge(&self, bytes: u64) -> Option<Charge> {
        let mut used = self.0.used.load(Ordering::Acquire);
        loop {
            if used != 0 && used.saturating_add(bytes) > self.0.limit {
                return None;
            }
            match self.0.used.compare_exchange_weak(used, used + bytes, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(Charge { budget: self.0.clone(), bytes }),
                Err(now) => used = now,
            }
        }
    }

    /// Charges `bytes`, waiting until they fit.
    pub async fn charge(&self, bytes: u64) -> Charge {
        loop {
            let released = self.0.released.notified();
            tokio::pin!(released);
            released.as_mut().enable();
            if let Some(charge) = self.try_charge(bytes) {
                return charge;
            }
            released.await;
        }
    }

    /// Charges `bytes` even past the limit; for memory that already exists and must be accounted for.
    pub fn force_charge(&self, bytes: u64) -> Charge {
        self.0.used.fetch_add(bytes, Ordering::AcqRel);
        Charge { budget: self.0.clone(), bytes }
    }
}

/// Bytes taken from a [`Budget`]; given back on drop.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<Inner>,
    bytes: u64,
}

impl Charge {
    /// How many bytes this charge holds.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::AcqRel);
        self.budget.released.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_budget_makes_the_next_wait_and_a_release_lets_it_on() {
        let budget = Budget::new(10);
        let first = budget.try_charge(8).unwrap();
        assert!(budget.try_charge(3).is_none());
        let waiter = budget.clone();
        #[allow(clippy::disallowed_methods)]
        let task = tokio::spawn(async move { waiter.charge(3).await.bytes() });
        tokio::task::yield_now().await;
        drop(first);
        assert_eq!(task.await.unwrap(), 3);
    }

    #[test]
    fn an_oversized_charge_is_granted_alone() {
        let budget = Budget::new(10);
        let big = budget.try_charge(100).unwrap();
        assert!(budget.try_charge(1).is_none());
        drop(big);
        assert_eq!(budget.used(), 0);
    }
}
