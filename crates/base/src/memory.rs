//! Byte budgets: memory is charged when it is taken and released when the last holder lets go (I-10).

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// A bounded number of bytes shared by many holders. Who waits for room gets it in the order of asking: a large charge
/// is not passed by for ever by small ones.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    used: u64,
    waiting: VecDeque<Waiting>,
    /// Somebody was refused, and did not wait; until half of it is free.
    refused: bool,
}

#[derive(Debug)]
struct Waiting {
    bytes: u64,
    granted: oneshot::Sender<Charge>,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self(Arc::new(Inner { limit, state: Mutex::default() }))
    }

    /// The most that may be charged at once.
    pub fn limit(&self) -> u64 {
        self.0.limit
    }

    /// Bytes charged now.
    pub fn used(&self) -> u64 {
        self.0.state.lock().used
    }

    /// Charges `bytes` if they fit and nobody waits. A charge larger than the whole limit is granted when nothing else is
    /// charged, so that one oversized request cannot wait for ever.
    pub fn try_charge(&self, bytes: u64) -> Option<Charge> {
        let mut state = self.0.state.lock();
        self.0.admits(&mut state, bytes).then(|| self.0.take(&mut state, bytes))
    }

    /// Charges `bytes`, waiting until they fit.
    pub async fn charge(&self, bytes: u64) -> Charge {
        loop {
            let granted = {
                let mut state = self.0.state.lock();
                if state.waiting.is_empty() && self.0.fits(&state, bytes) {
                    return self.0.take(&mut state, bytes);
                }
                let (sender, receiver) = oneshot::channel();
                state.waiting.push_back(Waiting { bytes, granted: sender });
                receiver
            };
            let mut place = Place { budget: &self.0, granted };
            // The sender is dropped only after the receiver was closed, which is when this future is dropped.
            if let Ok(charge) = (&mut place.granted).await {
                return charge;
            }
        }
    }

    /// Charges `bytes` even past the limit; for memory that already exists and must be accounted for.
    pub fn force_charge(&self, bytes: u64) -> Charge {
        let mut state = self.0.state.lock();
        self.0.take(&mut state, bytes)
    }
}

impl Inner {
    fn fits(&self, state: &State, bytes: u64) -> bool {
        state.used == 0 || state.used.saturating_add(bytes) <= self.limit
    }

    /// Whether bytes fit and nobody waits; notes who is refused.
    fn admits(&self, state: &mut State, bytes: u64) -> bool {
        let admits = state.waiting.is_empty() && self.fits(state, bytes);
        state.refused |= !admits;
        admits
    }

    fn take(self: &Arc<Self>, state: &mut State, bytes: u64) -> Charge {
        state.used += bytes;
        Charge { budget: self.clone(), bytes }
    }

    /// Gives bytes back and lets in who has waited longest and now fits.
    fn release(self: &Arc<Self>, bytes: u64) {
        let mut granted = Vec::new();
        {
            let mut state = self.state.lock();
            state.used -= bytes;
            state.refused &= state.used > self.limit / 2;
            while let Some(first) = state.waiting.front() {
                let gone = first.granted.is_closed();
                if !gone && !self.fits(&state, first.bytes) {
                    break;
                }
                let Some(first) = state.waiting.pop_front() else { break };
                if !gone {
                    granted.push((first.granted, self.take(&mut state, first.bytes)));
                }
            }
        }
        for (sender, charge) in granted {
            // Who has gone meanwhile gives the charge back by dropping it.
            drop(sender.send(charge));
        }
    }
}

/// A place in the queue; leaving it lets the next one have a look.
struct Place<'a> {
    budget: &'a Arc<Inner>,
    granted: oneshot::Receiver<Charge>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.granted.close();
        self.budget.release(0);
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

    /// Whether others go without because of what this and others hold: somebody waits for it, or was refused and has gone
    /// on with less, and since then there was never half of it free.
    pub fn is_awaited(&self) -> bool {
        let state = self.budget.state.lock();
        state.refused || !state.waiting.is_empty()
    }

    /// Takes `bytes` more if they fit and nobody waits, as [`Budget::try_charge`].
    pub fn try_grow(&mut self, bytes: u64) -> bool {
        let mut state = self.budget.state.lock();
        let fits = self.budget.admits(&mut state, bytes);
        if fits {
            state.used += bytes;
            self.bytes += bytes;
        }
        fits
    }

    /// Makes it `bytes`: takes what is missing even past the limit, gives back what is too much.
    pub fn resize(&mut self, bytes: u64) {
        if bytes < self.bytes {
            self.budget.release(self.bytes - bytes);
        } else {
            self.budget.state.lock().used += bytes - self.bytes;
        }
        self.bytes = bytes;
    }

    /// Takes over what another charge of the same budget holds.
    pub fn merge(&mut self, mut other: Self) {
        debug_assert!(Arc::ptr_eq(&self.budget, &other.budget), "charges of different budgets");
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_budget_makes_the_next_wait_and_a_release_lets_it_on() {
        let budget = Budget::new(10);
        let first = budget.try_charge(8).unwrap();
        assert!(!first.is_awaited());
        let waiter = budget.clone();
        #[allow(clippy::disallowed_methods)]
        let task = tokio::spawn(async move { waiter.charge(3).await.bytes() });
        tokio::task::yield_now().await;
        assert!(first.is_awaited());
        drop(first);
        assert_eq!(task.await.unwrap(), 3);
    }

    #[test]
    fn who_was_refused_and_did_not_wait_counts_until_half_is_free() {
        let budget = Budget::new(10);
        let (held, other) = (budget.try_charge(5).unwrap(), budget.try_charge(4).unwrap());
        assert!(!held.is_awaited());
        assert!(budget.try_charge(2).is_none() && held.is_awaited());
        drop(budget.try_charge(1));
        assert!(held.is_awaited(), "there is no more room than before");
        drop(other);
        assert!(!held.is_awaited());
    }

    #[test]
    fn a_charge_grows_shrinks_and_takes_over() {
        let budget = Budget::new(10);
        let mut charge = budget.force_charge(0);
        assert!(charge.try_grow(6) && !charge.try_grow(5));
        charge.resize(12);
        assert_eq!(budget.used(), 12, "past the limit");
        charge.resize(3);
        charge.merge(budget.try_charge(4).unwrap());
        assert_eq!((charge.bytes(), budget.used()), (7, 7));
        drop(charge);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn an_oversized_charge_is_granted_alone() {
        let budget = Budget::new(10);
        let big = budget.try_charge(100).unwrap();
        assert!(budget.try_charge(1).is_none());
        drop(big);
        assert_eq!(budget.used(), 0);
    }

    /// Polls once.
    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
        future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    }

    #[test]
    fn room_is_given_in_the_order_of_asking() {
        let budget = Budget::new(10);
        let first = budget.try_charge(6).unwrap();
        let mut large = Box::pin(budget.charge(10));
        let mut small = Box::pin(budget.charge(1));
        assert!(poll(large.as_mut()).is_pending());
        assert!(poll(small.as_mut()).is_pending(), "a small charge waits behind a large one");
        assert!(budget.try_charge(1).is_none(), "nobody goes past those who wait");
        drop(first);
        let std::task::Poll::Ready(charge) = poll(large.as_mut()) else { panic!("the first has its turn") };
        assert!(poll(small.as_mut()).is_pending());
        drop(charge);
        assert!(poll(small.as_mut()).is_ready());
    }

    #[test]
    fn who_stops_waiting_holds_up_nobody_and_keeps_nothing() {
        let budget = Budget::new(10);
        let held = budget.try_charge(6).unwrap();
        let mut large = Box::pin(budget.charge(10));
        let mut small = Box::pin(budget.charge(4));
        assert!(poll(large.as_mut()).is_pending() && poll(small.as_mut()).is_pending());
        drop(large);
        let std::task::Poll::Ready(charge) = poll(small.as_mut()) else { panic!("the large one has gone") };
        // Granted and gone before it was noticed.
        let mut late = Box::pin(budget.charge(8));
        assert!(poll(late.as_mut()).is_pending());
        drop(held);
        drop(late);
        assert_eq!(budget.used(), charge.bytes());
    }
}
