//! Which of the world's tasks runs next: any that is ready, by the seed.
//!
//! Tokio polls tasks in the order in which they were woken, and some of what it offers wakes those who wait in an order that
//! is random in itself. Here a task that tokio polls only says that it is ready, and one of those that are is chosen. So
//! the order of wake-ups does not matter, and every order of tasks occurs.
//!
//! Invariants:
//! * One task has the turn at a time, and it has it for one poll.
//! * What is chosen depends on the seed and on which tasks are ready, not on how they came to be.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::dice::Dice;

/// The world's scheduler; clones are the same one.
#[derive(Clone, Debug)]
pub struct Scheduler(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dice: Dice,
    state: Mutex<State>,
}

/// What a task is ready for.
enum Ready {
    /// To be polled.
    Poll(Waker),
    /// To be done away with.
    Drop(Box<dyn FnOnce() + Send>),
}

impl std::fmt::Debug for Ready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Poll(_) => "a poll",
            Self::Drop(_) => "its drop",
        })
    }
}

#[derive(Debug, Default)]
struct State {
    tasks: u64,
    ready: BTreeMap<u64, Ready>,
    /// Whose turn it is.
    chosen: Option<u64>,
    /// Wakes [`Scheduler::run`].
    chooser: Option<Waker>,
    /// Nothing is chosen any more.
    is_over: bool,
}

impl State {
    fn wake_chooser(&mut self) {
        if let Some(chooser) = self.chooser.take() {
            chooser.wake();
        }
    }
}

impl Scheduler {
    /// A scheduler without tasks.
    pub fn new(dice: Dice) -> Self {
        Self(Arc::new(Inner { dice, state: Mutex::default() }))
    }

    /// Chooses, for as long as it is polled: a task of the runtime's own, outside of any host.
    pub async fn run(&self) {
        poll_fn(|cx| {
            let mut state = self.0.state.lock();
            state.chooser = Some(cx.waker().clone());
            if state.chosen.is_some() || state.ready.is_empty() {
                return Poll::<()>::Pending;
            }
            let at = self.0.dice.index(state.ready.len());
            let task = *state.ready.keys().nth(at).expect("it lies below the length");
            match state.ready.remove(&task) {
                Some(Ready::Poll(waker)) => {
                    state.chosen = Some(task);
                    drop(state);
                    waker.wake();
                }
                Some(Ready::Drop(drops)) => {
                    if !state.ready.is_empty() {
                        state.wake_chooser();
                    }
                    drop(state);
                    drops();
                }
                None => {}
            }
            Poll::<()>::Pending
        })
        .await;
    }

    /// A number for a new task.
    pub fn enters(&self) -> u64 {
        let mut state = self.0.state.lock();
        state.tasks += 1;
        state.tasks
    }

    /// Whether it is the task's turn. If not, it is woken when it is.
    pub fn turn(&self, task: u64, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.0.state.lock();
        if state.chosen == Some(task) {
            state.chosen = None;
            if !state.ready.is_empty() {
                state.wake_chooser();
            }
            return Poll::Ready(());
        }
        state.ready.insert(task, Ready::Poll(cx.waker().clone()));
        if state.chosen.is_none() {
            state.wake_chooser();
        }
        Poll::Pending
    }

    /// Does away with a task when its turn comes.
    pub fn drops(&self, task: u64, drops: Box<dyn FnOnce() + Send>) {
        let mut state = self.0.state.lock();
        if state.is_over {
            drop(state);
            return drops();
        }
        if state.chosen == Some(task) {
            state.chosen = None;
        }
        state.ready.insert(task, Ready::Drop(drops));
        if state.chosen.is_none() {
            state.wake_chooser();
        }
    }

    /// The world ends: what waits to be dropped is, and nobody waits any more.
    pub fn end(&self) {
        loop {
            let next = {
                let mut state = self.0.state.lock();
                state.is_over = true;
                state.ready.pop_first()
            };
            match next {
                Some((_, Ready::Drop(drops))) => drops(),
                Some((_, Ready::Poll(_))) => {}
                None => return,
            }
        }
    }

    /// Takes back that a task is ready to be polled, or that it has its turn.
    pub fn forgets(&self, task: u64) {
        let mut state = self.0.state.lock();
        if let Some(Ready::Poll(_)) = state.ready.get(&task) {
            state.ready.remove(&task);
        }
        if state.chosen == Some(task) {
            state.chosen = None;
            state.wake_chooser();
        }
    }
}
