//! Who waits for a partition's durable end to move: acknowledgements and long polls.
//!
//! No wake-up is lost: the stream moves its durable end *before* [`Signals`] is locked to wake; a waiter enters itself
//! under the same lock and looks at the durable end *after*. Whichever locks second sees the other.
//!
//! Neither kind of waiter has a task or a timer, and an idle partition's lists take no memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
    watchers: Vec<Arc<Watcher>>,
    next_ticket: u64,
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
        let ticket = *ticket.get_or_insert_with(|| {
            lists.next_ticket += 1;
            lists.next_ticket
        });
        lists.acknowledgements.insert((end, ticket), waker.clone());
        None
    }

    /// Leaves the list.
    pub fn stop_waiting(&self, end: Offset, ticket: u64) {
        self.0.lock().acknowledgements.remove(&(end, ticket));
    }

    /// Hangs a bell.
    pub fn watch(&self, watcher: Arc<Watcher>) {
        self.0.lock().watchers.push(watcher);
    }

    /// Takes the bell down.
    pub fn unwatch(&self, watcher: &Arc<Watcher>) {
        let mut lists = self.0.lock();
        if let Some(at) = lists.watchers.iter().position(|other| Arc::ptr_eq(other, watcher)) {
            lists.watchers.swap_remove(at);
        }
        if lists.watchers.is_empty() {
            lists.watchers = Vec::new();
        }
    }

    /// The durable end reached `end`: `bytes` more may be read.
    pub fn durable(&self, end: Offset, bytes: u64) {
        let mut wakers: SmallVec<[Waker; 4]> = SmallVec::new();
        {
            let mut lists = self.0.lock();
            while let Some(first) = lists.acknowledgements.first_entry() {
                if first.key().0 > end {
                    break;
                }
                wakers.push(first.remove());
            }
            for watcher in &lists.watchers {
                watcher.ring(bytes);
            }
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Wakes everybody: the partition was closed.
    pub fn closed(&self) {
        let acknowledgements = {
            let mut lists = self.0.lock();
            for watcher in &lists.watchers {
                watcher.ring(0);
            }
            std::mem::take(&mut lists.acknowledgements)
        };
        acknowledgements.into_values().for_each(Waker::wake);
    }
}
