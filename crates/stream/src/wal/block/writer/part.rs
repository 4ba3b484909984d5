//! A machine of the log with what must happen when it goes, however it goes.

use std::sync::Arc;

use base::Incarnation;
use tokio::sync::watch;

use super::machine::{Bell, Machine, Step};
use super::{Shared, Stop};
use crate::wal::WalFailure;
use crate::wal::block::log::Pool;

/// What a machine does; the rest is [`Part`]'s.
pub(super) trait Work: Send {
    fn step(&mut self) -> Step;
}

/// One of the three machines. Its fields are dropped in their order: the work, with the sink; then whoever waits can know
/// why; then the tokens go; and last it is said that nothing of it is left.
pub(super) struct Part<T, W> {
    pub(super) work: W,
    pub(super) bell: Arc<Bell>,
    pub(super) watch: Watch<T>,
    pub(super) _unfinished: Option<Unfinished<T>>,
    pub(super) _life: Arc<Life>,
}

impl<T: Send, W: Work> Machine for Part<T, W> {
    fn name(&self) -> &'static str {
        self.watch.name
    }

    fn bell(&self) -> Arc<Bell> {
        self.bell.clone()
    }

    fn step(&mut self) -> Step {
        self.watch.is_in_step = true;
        let step = self.work.step();
        self.watch.is_in_step = false;
        step
    }
}

/// One that goes although nobody told it to, or in the midst of a step, has failed.
pub(super) struct Watch<T> {
    pub(super) shared: Arc<Shared<T>>,
    pub(super) name: &'static str,
    pub(super) is_in_step: bool,
}

impl<T> Drop for Watch<T> {
    fn drop(&mut self) {
        if std::thread::panicking() && base::plant::bug("deaf-to-panics") {
            // Planted: nobody is told.
            return;
        }
        let told = {
            let state = self.shared.state.lock();
            state.failure.is_some() || state.stop != Stop::No
        };
        if !told || self.is_in_step {
            self.shared.fail(WalFailure::ThreadEnded(self.name));
        }
    }
}

/// The completer's: whatever that has not given to the sink when it goes is dropped, which tells those who wait for it.
/// Nothing is added once the log is over.
pub(super) struct Unfinished<T>(pub(super) Arc<Shared<T>>);

impl<T> Drop for Unfinished<T> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        let unfinished = (std::mem::take(&mut state.queue), std::mem::take(&mut state.completed));
        // Who still asks is answered by the drop.
        let asking = std::mem::take(&mut state.checks);
        state.queued_bytes = 0;
        drop(state);
        drop((unfinished, asking));
    }
}

/// Held by every machine of the log until all else that it holds has gone. The last to go says that nothing is written any
/// more.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) pool: Arc<Pool>,
    pub(super) incarnation: Incarnation,
    /// Its receivers learn of the end by its drop.
    pub(super) _ended: watch::Sender<()>,
}

impl Drop for Life {
    fn drop(&mut self) {
        self.pool.running.lock().retain(|running| *running != self.incarnation);
    }
}
