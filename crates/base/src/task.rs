//! The spawning port: every task and thread has a name, and only this module starts one.
//!
//! Tasks that are started inside a [`Group`], and whatever these start in turn, belong to it: they end with it, and
//! the panic of one that nobody can do without ([`spawn_vital`]) is told to its owner. A process may hold several
//! groups, and none at all.

mod group;

use std::future::Future;
use std::thread::JoinHandle as ThreadHandle;

pub use group::{Group, Panicked};
pub use tokio::task::JoinHandle;

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

/// Runs blocking work on the runtime's blocking pool. It cannot be aborted; the end of its group waits for it.
pub fn spawn_blocking<F, T>(name: &'static str, work: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    group::spawn_blocking(name, work)
}

/// Hands a task to the runtime. Only here.
fn start<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let _ = name;
    #[allow(clippy::disallowed_methods, reason = "this is the home of spawning")]
    tokio::spawn(future)
}

/// Hands blocking work to the runtime. Only here.
fn start_blocking<F, T>(name: &'static str, work: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let _ = name;
    #[allow(clippy::disallowed_methods, reason = "this is the home of spawning")]
    tokio::task::spawn_blocking(work)
}

/// Starts a named operating-system thread.
///
/// # Errors
/// When the operating system refuses another thread.
pub fn spawn_thread<F, T>(name: &'static str, work: F) -> std::io::Result<ThreadHandle<T>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    #[allow(clippy::disallowed_methods, reason = "this is the home of spawning")]
    std::thread::Builder::new().name(name.to_owned()).spawn(work)
}
