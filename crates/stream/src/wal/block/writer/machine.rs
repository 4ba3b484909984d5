//! What runs a log: machines that do a little at a time, and who makes them do it.
//!
//! A [`Machine`] looks at the log's state, does one thing with storage at most, and says what came of it. It keeps nothing
//! on a stack between two steps and never waits, so that whoever drives it decides the order: in production a thread of
//! the operating system for each, in a hosted program ([`base::host`]) a task, in a test a loop.
//!
//! A machine that waits has a [`Bell`]. Whoever changes what it may wait for rings, after the change; a ring is remembered
//! until the machine's driver has heard it, so that none falls between a machine's look and its wait.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use base::{Clock, host, task};
use parking_lot::{Condvar, Mutex};

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something was done, and there may be more to do.
    Did,
    /// There is nothing to do until the machine's bell rings or, where it says so, the log's clock shows this much
    /// ([`Clock::monotonic`]). A step before that does no harm.
    Wait(Option<Duration>),
    /// There will never be anything to do again: the machine is to be dropped.
    Ended,
}

/// A part of a log that runs. Dropping one that has not ended ends the log: it has failed.
pub trait Machine: Send {
    /// What it is called: writer, completer or preparer.
    fn name(&self) -> &'static str;

    /// Rings when what the machine waits for may have come.
    fn bell(&self) -> Arc<Bell>;

    /// Does a little.
    fn step(&mut self) -> Step;
}

impl fmt::Debug for dyn Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Takes the machines of a new log, one after the other, to drive them.
pub type Driver<'a> = dyn FnMut(Box<dyn Machine>) -> io::Result<()> + 'a;

/// Wakes a machine's driver. One ring is remembered, more say nothing new.
#[derive(Debug, Default)]
pub struct Bell {
    state: Mutex<Rung>,
    thread: Condvar,
}

#[derive(Debug, Default)]
struct Rung {
    rung: bool,
    task: Option<Waker>,
}

impl Bell {
    /// Rings.
    pub fn ring(&self) {
        let mut state = self.state.lock();
        state.rung = true;
        let task = state.task.take();
        drop(state);
        self.thread.notify_one();
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Whether it has rung since it was last heard.
    pub fn heard(&self) -> bool {
        std::mem::take(&mut self.state.lock().rung)
    }

    /// Blocks until it has rung, or for so long.
    fn wait(&self, at_most: Option<Duration>) {
        let mut state = self.state.lock();
        while !state.rung {
            match at_most {
                None => self.thread.wait(&mut state),
                // Who wakes too early looks at the clock and comes again.
                Some(at_most) => {
                    self.thread.wait_for(&mut state, at_most);
                    break;
                }
            }
        }
        state.rung = false;
    }

    /// Resolves when it has rung.
    async fn rings(&self) {
        poll_fn(|cx| {
            let mut state = self.state.lock();
            if std::mem::take(&mut state.rung) {
                return Poll::Ready(());
            }
            state.task = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// Drives a machine: on a thread of its own, or, where a host allows no threads, in a task.
pub(crate) fn drive(mut machine: Box<dyn Machine>, clock: &Clock) -> io::Result<()> {
    let (bell, clock) = (machine.bell(), clock.clone());
    let name = match machine.name() {
        "writer" => "wal-writer",
        "completer" => "wal-completer",
        _ => "wal-preparer",
    };
    let left = move |until: Duration| until.saturating_sub(clock.monotonic());
    if host::current().is_some() {
        // It ends by itself, and so that everybody who waits for the log hears of it.
        drop(task::spawn_lasting(name, async move {
            loop {
                let step;
                (machine, step) = task::step(name, move || {
                    let step = machine.step();
                    (machine, step)
                })
                .await;
                match step {
                    Step::Did => tokio::task::yield_now().await,
                    Step::Wait(None) => bell.rings().await,
                    Step::Wait(Some(until)) => {
                        // Either is a reason to look again.
                        let _ = tokio::time::timeout(left(until), bell.rings()).await;
                    }
                    Step::Ended => return,
                }
            }
        }));
        return Ok(());
    }
    let run = move || {
        loop {
            match machine.step() {
                Step::Did => {}
                Step::Wait(until) => bell.wait(until.map(&left)),
                Step::Ended => return,
            }
        }
    };
    task::spawn_thread(name, run).map(drop)
}
