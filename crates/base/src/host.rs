//! Who runs this code in the operating system's place, for what cannot be handed down as a value: spawning, the choice
//! among ready futures, and the seeds of hash maps.
//!
//! In production there is nobody: tasks are tokio's, choices and seeds are random, and all of it costs one look at a
//! thread-local. A simulator is a [`Host`]. It runs its programs on a current-thread runtime of tokio with a paused
//! clock and begins each with [`within`]; from there on every task that a program spawns belongs to the same host.
//!
//! What can be handed down is, and has no hidden source: [`Clock`](crate::Clock), [`Entropy`](crate::Entropy),
//! [`Network`](crate::net::Network), [`Files`](crate::file::Files).
//!
//! Invariants:
//! * A task belongs to the host of whoever spawned it, in every poll and when it is dropped.
//! * With the same host, giving the same answers, the same tasks run in the same order. So a hosted program starts no
//!   thread and never waits on anything but its futures.
//! * Nothing here decides what is safe: a host may delay and drop tasks as it likes.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

pub use tokio::task::AbortHandle;
use tokio::task::JoinHandle;

/// What a simulator answers for.
pub trait Host: Send + Sync + fmt::Debug {
    /// A task was spawned. Aborting all tasks of a program is its crash.
    fn started(&self, name: &'static str, task: AbortHandle);

    /// A task begins to be the host's: the number is for what follows.
    fn enters(&self, name: &'static str) -> u64 {
        let _ = name;
        0
    }

    /// Whether a task may go on now. `Pending` holds it up; the host wakes it later. By default all may.
    fn turn(&self, task: u64, cx: &mut Context<'_>) -> Poll<()> {
        let _ = (task, cx);
        Poll::Ready(())
    }

    /// A task was dropped before its end: `drops` does away with what it holds, now or later. By default now.
    fn dropped(&self, task: u64, drops: Box<dyn FnOnce() + Send>) {
        let _ = task;
        drops();
    }

    /// A task has ended, and nothing is left of it.
    fn leaves(&self, task: u64) {
        let _ = task;
    }

    /// The next number of the host's seeded sequence, for choices and hash seeds.
    fn next_u64(&self) -> u64;

    /// Does blocking work for the task that polls what is returned. By default it is one step; a host whose files take
    /// their time lets others run while the work is in [`Host::wait`]. Dropped half-way, the work ends where it waits.
    fn blocking(&self, name: &'static str, work: Box<dyn FnOnce() + Send>) -> BoxFuture<()> {
        let _ = name;
        Box::pin(async move { work() })
    }

    /// Waits for a future inside of blocking work.
    fn wait(&self, future: Pin<&mut dyn Future<Output = ()>>) {
        // Nobody else can run meanwhile, so that it is ready now or never.
        let ready = future.poll(&mut Context::from_waker(Waker::noop())).is_ready();
        assert!(ready, "blocking work waits for others, and its host lets nobody run meanwhile");
    }

    /// Whether a bug is planted: see [`plant`](crate::plant).
    fn bug(&self, name: &'static str) -> bool {
        let _ = name;
        false
    }

    /// A place is passed where the host may panic: see [`plant`](crate::plant).
    fn place(&self, name: &'static str) {
        let _ = name;
    }
}

/// A future without a name.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

thread_local! {
    static CURRENT: RefCell<Option<Arc<dyn Host>>> = const { RefCell::new(None) };
}

/// The host of what runs now; `None` in production.
pub fn current() -> Option<Arc<dyn Host>> {
    // While a thread ends its locals are gone, and so is whatever it hosted.
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// Makes a future and all that it spawns the host's.
pub fn within<F: Future>(host: Arc<dyn Host>, name: &'static str, future: F) -> Within<F> {
    let task = host.enters(name);
    Within { host, task, future: Some(Box::pin(future)), drops: now }
}

/// Runs `work` as the host's.
pub fn scope<T>(host: &Arc<dyn Host>, work: impl FnOnce() -> T) -> T {
    let _entered = Entered(CURRENT.with(|current| current.replace(Some(host.clone()))));
    work()
}

/// Puts back who was host before, also when the work panics.
struct Entered(Option<Arc<dyn Host>>);

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.with(|current| *current.borrow_mut() = self.0.take());
    }
}

/// See [`within`].
#[derive(Debug)]
pub struct Within<F> {
    host: Arc<dyn Host>,
    task: u64,
    /// `None` once it has ended, or while it is dropped.
    future: Option<Pin<Box<F>>>,
    drops: fn(&Arc<dyn Host>, u64, Pin<Box<F>>),
}

/// Drops a task's future as the host's.
fn now<F>(host: &Arc<dyn Host>, task: u64, future: Pin<Box<F>>) {
    // What the future holds may spawn as it goes, and that is the host's too.
    scope(host, || drop(future));
    host.leaves(task);
}

/// Drops it when the host says so.
fn later<F: Send + 'static>(host: &Arc<dyn Host>, task: u64, future: Pin<Box<F>>) {
    let its = host.clone();
    host.dropped(task, Box::new(move || now(&its, task, future)));
}

impl<F: Future> Future for Within<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        std::task::ready!(this.host.turn(this.task, cx));
        let future = this.future.as_mut().expect("it is polled until it has ended");
        let output = std::task::ready!(scope(&this.host, || future.as_mut().poll(cx)));
        if let Some(ended) = this.future.take() {
            now(&this.host, this.task, ended);
        }
        Poll::Ready(output)
    }
}

impl<F> Drop for Within<F> {
    fn drop(&mut self) {
        if let Some(future) = self.future.take() {
            (self.drops)(&self.host, self.task, future);
        }
    }
}

/// Starts a task, the current host's if there is one. [`task`](crate::task) is where tasks are started from.
pub(crate) fn spawn<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    #[allow(clippy::disallowed_methods, reason = "this is the home of spawning")]
    let Some(host) = current() else { return tokio::spawn(future) };
    let mut hosted = within(host.clone(), name, future);
    hosted.drops = later;
    #[allow(clippy::disallowed_methods, reason = "this is the home of spawning")]
    let task = tokio::spawn(hosted);
    host.started(name, task.abort_handle());
    task
}

/// Does blocking work inside of the task that awaits it, as the host sees fit.
pub(crate) async fn blocking<F, T>(host: &Arc<dyn Host>, name: &'static str, work: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let (done, result) = tokio::sync::oneshot::channel();
    host.blocking(name, Box::new(move || drop(done.send(work())))).await;
    // A panic of the work is one of the future that does it.
    result.await.expect("the work has returned")
}

/// Starts blocking work; in a hosted program it is a task.
pub(crate) fn spawn_blocking<F, T>(name: &'static str, work: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    if let Some(host) = current() {
        return spawn(name, async move { blocking(&host, name, work).await });
    }
    #[allow(clippy::disallowed_methods, reason = "this is the home of spawning")]
    tokio::task::spawn_blocking(work)
}

/// A host for tests: a fixed sequence of numbers, a note of every task.
#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use parking_lot::Mutex;

    use super::*;

    #[derive(Debug, Default)]
    pub(crate) struct Scripted {
        pub(crate) numbers: AtomicU64,
        pub(crate) started: Mutex<Vec<(&'static str, AbortHandle)>>,
    }

    impl Scripted {
        pub(crate) fn seeded(seed: u64) -> Arc<Self> {
            Arc::new(Self { numbers: AtomicU64::new(seed), ..Self::default() })
        }

        pub(crate) fn names(&self) -> Vec<&'static str> {
            self.started.lock().iter().map(|(name, _)| *name).collect()
        }
    }

    impl Host for Scripted {
        fn started(&self, name: &'static str, task: AbortHandle) {
            self.started.lock().push((name, task));
        }

        fn next_u64(&self) -> u64 {
            self.numbers.fetch_add(1, Ordering::Relaxed)
        }
    }

    #[test]
    fn a_scope_ends_with_its_work_even_when_that_panics() {
        let host: Arc<dyn Host> = Scripted::seeded(0);
        scope(&host, || assert!(current().is_some()));
        assert!(current().is_none());
        let work = std::panic::AssertUnwindSafe(|| scope(&host, || panic!("expected by the test")));
        let panicked = std::panic::catch_unwind(work);
        assert!(panicked.is_err() && current().is_none());
    }
}
