//! The spawning port: every task and thread has a name, and only this module starts one.

use std::future::Future;
use std::thread::JoinHandle as ThreadHandle;

pub use tokio::task::JoinHandle;

/// Starts a named task on the current runtime.
pub fn spawn<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let _ = name;
    #[allow(clippy::disallowed_methods, reason = "this is the home of spawning")]
    tokio::spawn(future)
}

/// Runs blocking work on the runtime's blocking pool.
pub fn spawn_blocking<F, T>(name: &'static str, work: F) -> JoinHandle<T>
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
