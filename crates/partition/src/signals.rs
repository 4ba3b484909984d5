//! Who waits for a partition's durable end to move: acknowledgements and long polls.
//!
//! No wake-up is lost: the stream moves its durable end *before* [`Signals`] is locked to wake; a waiter enters itself
//! under the same lock and looks at the durable end *after*. Whichever locks second sees the other.
//!
//! They are woken once per group of the log, however many appends of the partition it held: by the last of them, for the
//! stream's durable end has passed all of the group before the first is told.
//!
//! Neither kind of waiter has a task or a timer, and an idle partition's lists take no memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;

use base::Offset;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::Notify;

/// A long poll's bell, hung into any number of partitions.
#[derive(Debug, Default)]
pub struct Watcher {
    rung: Notify,
    bytes: AtomicU64,
    closed: AtomicBool,
}

impl Watcher {
    /// A bell that hangs nowhere yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Waits for the next wake-up; one that came since the last call counts. For one waiter.
    pub async fn woken(&self) {
        self.rung.notified().await;
    }

    /// Bytes that became readable since the bell was hung, in all its partitions together.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether any of its partitions closed since the bell was hung into it.
    pub fn saw_close(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn ring(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.rung.notify_one();
    }
}

/// The waiters of one partition.
#[derive(Debug, Default)]
pub(crate) struct Signals(Mutex<Lists>);

#[derive(Debug, Default)]
struct Lists {
    /// By the durable end waited for, then by ticket.
    acknowledgements: BTreeMap<(Offset, u64), Waker>,
    /// By ticket.
    watchers: BTreeMap<u64, Arc<Watcher>>,
    next_ticket: u64,
    /// Bytes that became readable and did not ring yet.
    quiet_bytes: u64,
}

impl Lists {
    fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }
}

impl Signals {
    /// Enters or renews the waker of an acknowledgement that waits for `end`, unless `settled` says that there is no
    /// need to.
    pub fn wait_for<T>(
        &self,
        end: Offset,
        ticket: &mut Option<u64>,
        waker: &Waker,
        settled: impl FnOnce() -> Option<T>,
    ) -> Option<T> {
        let mut lists = self.0.lock();
        if let Some(answer) = settled() {
            if let Some(ticket) = ticket.take() {
                lists.acknowledgements.remove(&(end, ticket));
            }
            return Some(answer);
        }
        let ticket = *ticket.get_or_insert_with(|| lists.ticket());
        lists.acknowledgements.insert((end, ticket), waker.clone());
        None
    }

    /// Leaves the list.
    pub fn stop_waiting(&self, end: Offset, ticket: u64) {
        self.0.lock().acknowledgements.remove(&(end, ticket));
    }

    /// Hangs a bell; by the ticket it is taken down.
    pub fn watch(&self, watcher: Arc<Watcher>) -> u64 {
        let mut lists = self.0.lock();
        let ticket = lists.ticket();
        lists.watchers.insert(ticket, watcher);
        ticket
    }

    /// Takes a bell down.
    pub fn unwatch(&self, ticket: u64) {
        let bell = self.0.lock().watchers.remove(&ticket);
        drop(bell);
    }

    /// An append of `bytes` that ends at `end` is durable, as is everything below `durable_end`, whose last append is told
    /// of here, too: that one wakes.
    pub fn durable(&self, end: Offset, bytes: u64, durable_end: Offset) {
        let mut wakers: SmallVec<[Waker; 4]> = SmallVec::new();
        {
            let mut lists = self.0.lock();
            lists.quiet_bytes += bytes;
            if end < durable_end {
                return;
            }
            let bytes = std::mem::take(&mut lists.quiet_bytes);
            while let Some(first) = lists.acknowledgements.first_entry() {
                if first.key().0 > end {
                    break;
                }
                wakers.push(first.remove());
            }
            for watcher in lists.watchers.values() {
                watcher.ring(bytes);
            }
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Wakes everybody: the partition was closed.
    pub fn closed(&self) {
        let acknowledgements = {
            let mut lists = self.0.lock();
            for watcher in lists.watchers.values() {
                watcher.closed.store(true, Ordering::Release);
                watcher.ring(0);
            }
            std::mem::take(&mut lists.acknowledgements)
        };
        acknowledgements.into_values().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use futures::FutureExt;

    use super::*;

    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_group_of_appends_rings_once_and_for_all_of_its_bytes() {
        let signals = Signals::default();
        let (watcher, counting) = (Watcher::new(), Arc::new(Counting::default()));
        let ticket = signals.watch(watcher.clone());
        for end in 1..=3 {
            let waker = Waker::from(counting.clone());
            assert_eq!(signals.wait_for(Offset(end), &mut None, &waker, || None::<()>), None);
        }
        let seen = || (watcher.bytes(), counting.0.load(Ordering::Relaxed));
        signals.durable(Offset(1), 10, Offset(3));
        signals.durable(Offset(2), 20, Offset(3));
        assert_eq!(seen(), (0, 0), "the last one tells");
        signals.durable(Offset(3), 30, Offset(3));
        assert_eq!(seen(), (60, 3));
        signals.unwatch(ticket);
        signals.durable(Offset(4), 40, Offset(4));
        assert_eq!(watcher.bytes(), 60);
    }

    #[test]
    fn a_bell_tells_that_a_partition_closed_though_its_rings_became_one() {
        let (signals, other, watcher) = (Signals::default(), Signals::default(), Watcher::new());
        let _tickets = [signals.watch(watcher.clone()), other.watch(watcher.clone())];
        signals.durable(Offset(1), 1, Offset(1));
        assert!(!watcher.saw_close());
        other.closed();
        assert!(watcher.saw_close());
        assert!(watcher.woken().now_or_never().is_some() && watcher.woken().now_or_never().is_none());
    }

    #[test]
    fn a_bell_that_hangs_twice_is_taken_down_once_at_a_time() {
        let (signals, watcher) = (Signals::default(), Watcher::new());
        let tickets = [signals.watch(watcher.clone()), signals.watch(watcher.clone())];
        signals.unwatch(tickets[0]);
        signals.unwatch(tickets[0]);
        signals.durable(Offset(1), 1, Offset(1));
        assert_eq!(watcher.bytes(), 1);
    }
}
