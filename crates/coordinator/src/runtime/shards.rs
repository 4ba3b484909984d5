//! The shards of this broker: made at first use, discarded when their log moves on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base::Clock;
use base::collections::HashMap;
use base::memory::Budget;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, Semaphore};

use super::load::{Cut, load};
use super::shard::{NEVER, Shard, ShardError, Turn, WriteMemory, moment};
use super::{Machine, OpenLog, writer};
use crate::limits::{ALL_WRITES_WAITING_BYTES_MAX, LOAD_CONCURRENCY, LOAD_RETRY, LOAD_WAIT_MAX, TIMER_SLEEP_MAX};

/// Makes the empty machine of a shard.
type Make<M> = Box<dyn Fn(i32) -> M + Send + Sync>;

/// The shards that this broker leads. Cheap to clone.
pub struct Shards<M: Machine>(Arc<Inner<M>>);

impl<M: Machine> Clone for Shards<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Inner<M: Machine> {
    logs: Arc<dyn OpenLog>,
    make: Make<M>,
    clock: Clock,
    shards: RwLock<HashMap<i32, Arc<Shard<M>>>>,
    /// Shards that could not be loaded, and when they may be tried again.
    failed: Mutex<HashMap<i32, Duration>>,
    loads: Semaphore,
    /// By shard; see [`Turn`].
    turns: Mutex<HashMap<i32, Turn>>,
    timer: Arc<Notify>,
    /// Bytes that wait to be written in all shards.
    writes: Budget,
    stopped: AtomicBool,
}

impl<M: Machine> Shards<M> {
    /// No shard exists yet.
    pub fn new(logs: Arc<dyn OpenLog>, clock: Clock, make: impl Fn(i32) -> M + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner {
            logs,
            make: Box::new(make),
            clock,
            shards: RwLock::default(),
            failed: Mutex::default(),
            loads: Semaphore::new(LOAD_CONCURRENCY),
            turns: Mutex::default(),
            timer: Arc::new(Notify::new()),
            writes: Budget::new(ALL_WRITES_WAITING_BYTES_MAX),
            stopped: AtomicBool::new(false),
        }))
    }

    /// The shard of a partition, loaded. Waits a moment for one that loads.
    ///
    /// # Errors
    /// [`ShardError`].
    pub async fn get(&self, index: i32) -> Result<Arc<Shard<M>>, ShardError> {
        let shard = self.open(index)?;
        if !shard.is_active() {
            // Whether it is loaded then shows when it is used.
            let _ = tokio::time::timeout(LOAD_WAIT_MAX, shard.settled()).await;
        }
        Ok(shard)
    }

    /// The shard of a partition; it begins to load if it is new.
    ///
    /// # Errors
    /// [`ShardError`].
    pub fn open(&self, index: i32) -> Result<Arc<Shard<M>>, ShardError> {
        if self.0.stopped.load(Ordering::Acquire) {
            return Err(ShardError::NotCoordinator);
        }
        let id = match self.0.logs.id(index) {
            Ok(id) => id,
            Err(error) => {
                tracing::debug!(shard = index, %error, "no coordinator log here");
                self.discard(index);
                return Err(ShardError::NotCoordinator);
            }
        };
        if let Some(shard) = self.0.shards.read().get(&index)
            && shard.id == id
            && !shard.is_closed()
        {
            return Ok(shard.clone());
        }
        self.begin(index)
    }

    fn begin(&self, index: i32) -> Result<Arc<Shard<M>>, ShardError> {
        let mut shards = self.0.shards.write();
        let id = self.0.logs.id(index).map_err(|_| ShardError::NotCoordinator)?;
        if let Some(there) = shards.get(&index) {
            if there.id == id && !there.is_closed() {
                return Ok(there.clone());
            }
            there.close();
            shards.remove(&index);
        }
        let now = self.0.clock.monotonic();
        if self.0.failed.lock().get(&index).is_some_and(|retry_at| *retry_at > now) {
            return Err(ShardError::NotLoaded);
        }
        let log = self.0.logs.open(index).map_err(|_| ShardError::NotCoordinator)?;
        let memory = WriteMemory::new(&self.0.writes);
        let turn = self.0.turns.lock().entry(index).or_default().clone();
        let shard = Shard::new(index, id, log, turn, self.0.clock.clone(), self.0.timer.clone(), memory);
        shards.insert(index, shard.clone());
        drop(shards);
        base::task::spawn_vital("coordinator-load", self.clone().load(shard.clone()));
        Ok(shard)
    }

    async fn load(self, shard: Arc<Shard<M>>) {
        let began = self.0.clock.monotonic();
        let Ok(_permit) = self.0.loads.acquire().await else { return };
        let turn = shard.turn.clone().lock_owned().await;
        let mut machine = (self.0.make)(shard.index());
        match load(&*shard.log, &mut machine).await {
            Ok(loaded) => {
                self.0.failed.lock().remove(&shard.index());
                let took = self.0.clock.monotonic().saturating_sub(began);
                tracing::debug!(shard = shard.index(), end = %loaded.end, ?took, "coordinator shard loaded");
                if let Some(cut) = loaded.cut {
                    tell_of_cut(shard.index(), &cut);
                }
                drop(turn);
                shard.activate(machine, &loaded);
                if let Some(snapshot) = loaded.untrimmed {
                    writer::trim(shard, snapshot);
                }
            }
            Err(error) => {
                tracing::error!(shard = shard.index(), %error, "coordinator shard not loaded; it is tried again when asked for");
                let retry_at = self.0.clock.monotonic() + LOAD_RETRY;
                self.0.failed.lock().insert(shard.index(), retry_at);
                shard.close();
            }
        }
    }

    /// Discards a shard with everything that waits in it.
    pub fn discard(&self, index: i32) {
        if let Some(shard) = self.0.shards.write().remove(&index) {
            shard.close();
        }
    }

    /// The shards that are there, loaded or not.
    pub fn all(&self) -> Vec<Arc<Shard<M>>> {
        self.0.shards.read().values().cloned().collect()
    }

    /// Does what is due in all shards; returns when the next thing is, on the monotonic clock.
    pub async fn tick(&self) -> Option<u64> {
        let now = moment(&self.0.clock).monotonic_ms;
        let shards = self.all();
        for shard in &shards {
            if shard.deadline_ms() <= now {
                shard.tick();
                // Others are served between two of them.
                tokio::task::yield_now().await;
            }
        }
        shards.iter().map(|shard| shard.deadline_ms()).min().filter(|due| *due != NEVER)
    }

    /// Does what is due, then waits until something is. The one timer of all shards.
    pub async fn timer(&self) {
        let due = self.tick().await;
        let now = moment(&self.0.clock).monotonic_ms;
        let sleep = due.map_or(TIMER_SLEEP_MAX, |due| Duration::from_millis(due.saturating_sub(now)));
        // Deadlines are in whole milliseconds, rounded down: one more makes sure that they have passed.
        let sleep = (sleep + Duration::from_millis(1)).min(TIMER_SLEEP_MAX);
        base::select! {
            () = self.0.timer.notified() => {}
            () = tokio::time::sleep(sleep) => {}
        }
    }

    /// Discards all shards and makes none any more.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::Release);
        let shards = std::mem::take(&mut *self.0.shards.write());
        shards.into_values().for_each(|shard| shard.close());
    }
}

/// What is there is served all the same: it is no less than a coordinator that refuses would serve.
fn tell_of_cut(shard: i32, cut: &Cut) {
    let Cut { start, is_made_up_for } = *cut;
    if is_made_up_for {
        tracing::error!(
            shard, %start,
            "the log of a coordinator was trimmed by something else; a snapshot has what was cut off, but the next time there \
             may be none: its topic must have the cleanup policy `compact` alone, and nobody may delete records of it"
        );
    } else {
        tracing::error!(
            shard, %start,
            "the log of a coordinator was trimmed by something else: groups and offsets that were acknowledged may be missing; \
             its topic must have the cleanup policy `compact` alone, and nobody may delete records of it"
        );
    }
}
