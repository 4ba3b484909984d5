//! The spawning port: every task and thread has a name, and only this module starts one. What a hosted program spawns is
//! its host's ([`crate::host`]).
//!
//! Tasks that are started inside a [`Group`], and whatever these start in turn, belong to it: they end with it, and
//! the panic of one that nobody can do without ([`spawn_vital`]) is told to its owner. A process may hold several
//! groups, and none at all.

mod group;

use std::future::Future;
use std::io;
use std::thread::JoinHandle as ThreadHandle;

pub use group::{Group, Panicked};
pub use tokio::task::{JoinError, JoinHandle};

use crate::host;

/// Starts a named task on the current runtime, in the group of the task that calls.
pub fn spawn<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    group::spawn(name, group::Panics::Alone, future)
}

/// Starts a task without which the rest only seems to work: if it panics, the owner of its group is told.
pub fn spawn_vital<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    group::spawn(name, group::Panics::Told, future)
}

/// Starts a hosted task in place of a thread: its group waits for it, and it has to end by itself.
pub fn spawn_lasting<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    group::spawn_lasting(name, future)
}

/// Runs blocking work on the runtime's blocking pool. It cannot be aborted; the end of its group waits for it. A hosted
/// program has no such pool: its work is a task, which the host runs as it sees fit.
pub fn spawn_blocking<F, T>(name: &'static str, work: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    group::spawn_blocking(name, work)
}

/// Does a piece of blocking work of a hosted task, which waits for it as a thread would: dropped half-way, the work ends
/// where it waits. Without a host it is done on the spot.
pub async fn step<F, T>(name: &'static str, work: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    match host::current() {
        Some(host) => host::blocking(&host, name, work).await,
        None => work(),
    }
}

/// Waits for a future inside of blocking work. It must not be called by a task.
pub fn wait<F: Future>(future: F) -> F::Output {
    let Some(host) = host::current() else { return futures::executor::block_on(future) };
    let mut output = None;
    {
        let mut waiting = std::pin::pin!(async { output = Some(future.await) });
        host.wait(waiting.as_mut());
    }
    output.expect("the host has waited for it")
}

/// Starts a named operating-system thread.
///
/// # Errors
/// When the operating system refuses another thread; `Unsupported` in a hosted program, whose order of events no thread
/// may disturb. What loops on a thread in production is driven by a task there.
pub fn spawn_thread<F, T>(name: &'static str, work: F) -> io::Result<ThreadHandle<T>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    if host::current().is_some() {
        return Err(io::Error::new(io::ErrorKind::Unsupported, format!("a hosted program starts no thread: {name}")));
    }
    #[allow(clippy::disallowed_methods, reason = "this is the home of spawning")]
    std::thread::Builder::new().name(name.to_owned()).spawn(work)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::host::tests::Scripted;
    use crate::host::{current, within};

    #[tokio::test]
    async fn what_a_hosted_task_spawns_is_its_hosts_and_nobody_elses() {
        let host = Scripted::seeded(0);
        let program = within(host.clone(), "program", async {
            let inner = spawn("outer", async {
                let blocking = spawn_blocking("work", || current().is_some());
                (spawn("inner", async { current().is_some() }).await.unwrap(), blocking.await.unwrap())
            });
            assert_eq!(spawn_thread("loop", || ()).unwrap_err().kind(), io::ErrorKind::Unsupported);
            inner.await.unwrap()
        });
        assert_eq!(program.await, (true, true));
        assert_eq!(host.names(), ["outer", "work", "inner"]);
        assert!(!spawn("elsewhere", async { current().is_some() }).await.unwrap(), "another task of the same thread");
        assert!(spawn_thread("loop", || current().is_some()).is_ok_and(|thread| !thread.join().unwrap()));
    }

    #[tokio::test]
    async fn blocking_work_waits_for_what_is_ready_and_a_host_that_runs_nobody_else_refuses_the_rest() {
        assert_eq!(wait(async { 1 }), 1);
        let host = Scripted::seeded(0);
        let program = within(host, "program", async {
            let ready = step("work", || wait(async { 2 })).await;
            (ready, spawn_blocking("work", || wait(std::future::pending::<()>())).await.is_err())
        });
        assert_eq!(program.await, (2, true));
    }

    #[allow(clippy::async_yields_async, reason = "the task is looked at from outside its host")]
    #[tokio::test]
    async fn a_host_ends_its_tasks_and_is_their_host_to_the_end() {
        struct Last(Arc<parking_lot::Mutex<Option<bool>>>);
        impl Drop for Last {
            fn drop(&mut self) {
                *self.0.lock() = Some(current().is_some());
            }
        }
        let (host, seen) = (Scripted::seeded(0), Arc::default());
        let last = Last(Arc::clone(&seen));
        let task = within(host.clone(), "program", async {
            spawn("waits", async move {
                let _last = last;
                std::future::pending::<()>().await;
            })
        });
        let task = task.await;
        host.started.lock().iter().for_each(|(_, task)| task.abort());
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!(*seen.lock(), Some(true), "dropped within its host");
    }
}
