//! How many client connections there are, and how many there may be: in all, and from one address. The limits change while
//! the broker runs; connections that are open stay open, as in Kafka's `ConnectionQuotas`.

use std::net::IpAddr;
use std::sync::Arc;

use base::collections::HashMap;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// How many there may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionLimits {
    /// In all.
    pub(crate) all: usize,
    /// From one address, ...
    pub(crate) per_ip: usize,
    /// ... unless it has a limit of its own.
    pub(crate) per_ip_overrides: HashMap<IpAddr, usize>,
}

impl ConnectionLimits {
    fn of(&self, ip: IpAddr) -> usize {
        self.per_ip_overrides.get(&ip).copied().unwrap_or(self.per_ip)
    }
}

/// Counts the connections of all listeners.
#[derive(Debug)]
pub(crate) struct Quota {
    state: Mutex<State>,
    /// There may be room now, or nobody left.
    moved: Notify,
}

#[derive(Debug)]
struct State {
    limits: ConnectionLimits,
    open: usize,
    by_ip: HashMap<IpAddr, usize>,
}

impl Quota {
    pub(crate) fn new(limits: ConnectionLimits) -> Arc<Self> {
        let state = State { limits, open: 0, by_ip: HashMap::default() };
        Arc::new(Self { state: Mutex::new(state), moved: Notify::new() })
    }

    /// From here on these are the limits.
    pub(crate) fn set_limits(&self, limits: ConnectionLimits) {
        self.state.lock().limits = limits;
        self.moved.notify_waiters();
    }

    /// A place among all connections, as soon as there is one.
    pub(crate) async fn slot(self: &Arc<Self>) -> Slot {
        loop {
            // It hears of every move from here on, though it is not polled yet.
            let moved = self.moved.notified();
            {
                let mut state = self.state.lock();
                if state.open < state.limits.all {
                    state.open += 1;
                    return Slot(self.clone());
                }
            }
            moved.await;
        }
    }

    /// A place among the connections of an address, if there is one.
    pub(crate) fn place(self: &Arc<Self>, ip: IpAddr) -> Option<Place> {
        let mut state = self.state.lock();
        let max = state.limits.of(ip);
        let taken = state.by_ip.get(&ip).copied().unwrap_or(0);
        if taken >= max {
            return None;
        }
        state.by_ip.insert(ip, taken + 1);
        Some(Place { quota: self.clone(), ip })
    }

    /// Resolves when no connection is open.
    pub(crate) async fn all_closed(&self) {
        loop {
            let moved = self.moved.notified();
            if self.state.lock().open == 0 {
                return;
            }
            moved.await;
        }
    }
}

/// One connection; given back on drop.
pub(crate) struct Slot(Arc<Quota>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.state.lock().open -= 1;
        self.0.moved.notify_waiters();
    }
}

/// One connection of an address; given back on drop.
pub(crate) struct Place {
    quota: Arc<Quota>,
    ip: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.quota.state.lock();
        if let Some(count) = state.by_ip.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                state.by_ip.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn limits(all: usize, per_ip: usize) -> ConnectionLimits {
        ConnectionLimits { all, per_ip, per_ip_overrides: HashMap::default() }
    }

    #[tokio::test]
    async fn a_newcomer_waits_for_a_connection_to_close_or_the_limit_to_rise() {
        let quota = Quota::new(limits(1, 9));
        let first = quota.slot().await;
        let mut second = Box::pin(quota.slot());
        assert!((&mut second).now_or_never().is_none());
        quota.set_limits(limits(2, 9));
        let second = second.await;
        // Nobody is closed when it falls; the next one waits until enough are gone.
        quota.set_limits(limits(1, 9));
        let mut third = Box::pin(quota.slot());
        drop(first);
        assert!((&mut third).now_or_never().is_none());
        drop(second);
        let third = third.await;
        assert!(quota.all_closed().now_or_never().is_none());
        drop(third);
        quota.all_closed().await;
    }

    #[test]
    fn an_address_has_its_own_limit_or_that_of_all() {
        let (one, two) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let overrides = HashMap::from_iter([(two, 0)]);
        let quota = Quota::new(ConnectionLimits { per_ip_overrides: overrides, ..limits(9, 1) });
        let place = quota.place(one).unwrap();
        assert!(quota.place(one).is_none() && quota.place(two).is_none());
        quota.set_limits(limits(9, 2));
        let (_other, _another) = (quota.place(one).unwrap(), quota.place(two).unwrap());
        assert!(quota.place(one).is_none());
        drop(place);
        assert!(quota.place(one).is_some());
    }
}
