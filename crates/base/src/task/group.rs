//! Groups of tasks: what one node of several in a process has started, so that it can end whole.
//!
//! A task knows its group by a task-local value, which it hands to the tasks that it starts. Threads of the operating
//! system have none.

use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

use crate::collections::HashMap;
use crate::host;

tokio::task_local! {
    static CURRENT: Arc<Members>;
}

/// Whether the group's owner is told of a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Panics {
    /// It is the task's own affair, or that of whoever holds its handle.
    Alone,
    /// It is.
    Told,
}

/// A task without which the rest only seems to work has panicked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the task {task} has panicked, which is a bug")]
pub struct Panicked {
    /// The task's name.
    pub task: &'static str,
}

/// Tasks that end together. Dropping it aborts them.
#[derive(Debug)]
pub struct Group(Arc<Members>);

#[derive(Debug)]
struct Members {
    state: Mutex<State>,
    /// How many there are.
    running: watch::Sender<usize>,
    panicked: watch::Sender<Option<Panicked>>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// `None` for blocking work and what stands for it, which cannot be aborted, and for a task that is just being started.
    running: HashMap<u64, Option<AbortHandle>>,
    over: bool,
}

impl Default for Group {
    fn default() -> Self {
        let (running, panicked) = (watch::channel(0).0, watch::channel(None).0);
        Self(Arc::new(Members { state: Mutex::default(), running, panicked }))
    }
}

impl Group {
    /// Runs `future` so that the tasks that it starts belong to this group.
    pub async fn run<F: Future>(&self, future: F) -> F::Output {
        CURRENT.scope(self.0.clone(), future).await
    }

    /// Resolves when a vital task of the group has panicked; the first one is named.
    pub async fn panicked(&self) -> Panicked {
        let mut panicked = self.0.panicked.subscribe();
        loop {
            if let Some(first) = panicked.borrow_and_update().clone() {
                return first;
            }
            if panicked.changed().await.is_err() {
                // The sender lives in `self`.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Aborts every task, and any that is started from now on.
    pub fn abort(&self) {
        let handles: Vec<AbortHandle> = {
            let mut state = self.0.state.lock();
            state.over = true;
            state.running.values().flatten().cloned().collect()
        };
        // Outside the lock: the end of a task takes it.
        handles.iter().for_each(AbortHandle::abort);
    }

    /// Aborts every task and waits until nothing of them is left, blocking work included. Returns the first panic of a
    /// vital task: what a panicking task owned is gone before the panic is told, so that others may have noticed sooner.
    pub async fn end(self) -> Option<Panicked> {
        self.abort();
        let mut running = self.0.running.subscribe();
        // The sender lives in `self`, so this only ends with the last task.
        let _ = running.wait_for(|running| *running == 0).await;
        self.0.panicked.borrow().clone()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.abort();
    }
}

/// A member's place; given up when its future, or its work, is dropped.
struct Place {
    members: Arc<Members>,
    id: u64,
    name: &'static str,
    panics: Panics,
}

impl Place {
    fn enter(members: Arc<Members>, name: &'static str, panics: Panics) -> Self {
        let id = {
            let mut state = members.state.lock();
            let id = state.next;
            state.next += 1;
            state.running.insert(id, None);
            id
        };
        members.running.send_modify(|running| *running += 1);
        Self { members, id, name, panics }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.panics == Panics::Told && std::thread::panicking() {
            let first = Panicked { task: self.name };
            self.members.panicked.send_if_modified(|panicked| {
                let is_first = panicked.is_none();
                panicked.get_or_insert(first);
                is_first
            });
        }
        self.members.state.lock().running.remove(&self.id);
        self.members.running.send_modify(|running| *running -= 1);
    }
}

pub(super) fn spawn<F>(name: &'static str, panics: Panics, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let Ok(members) = CURRENT.try_with(Arc::clone) else { return host::spawn(name, future) };
    let place = Place::enter(members.clone(), name, panics);
    let id = place.id;
    let joining = CURRENT.scope(members.clone(), async move {
        let _place = place;
        future.await
    });
    let task = host::spawn(name, joining);
    // Not held while the task starts: a runtime that is shut down drops it on the spot, which gives up its place.
    let mut state = members.state.lock();
    if state.over {
        drop(state);
        task.abort();
    } else if let Some(handle) = state.running.get_mut(&id) {
        *handle = Some(task.abort_handle());
    }
    task
}

/// As [`spawn`], of a task that the group waits for and does not abort.
pub(super) fn spawn_lasting<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let Ok(members) = CURRENT.try_with(Arc::clone) else { return host::spawn(name, future) };
    let place = Place::enter(members.clone(), name, Panics::Alone);
    let joining = CURRENT.scope(members, async move {
        let _place = place;
        future.await
    });
    host::spawn(name, joining)
}

pub(super) fn spawn_blocking<F, T>(name: &'static str, work: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let Ok(members) = CURRENT.try_with(Arc::clone) else { return host::spawn_blocking(name, work) };
    let place = Place::enter(members, name, Panics::Alone);
    host::spawn_blocking(name, move || {
        let _place = place;
        work()
    })
}

#[cfg(test)]
#[allow(clippy::async_yields_async, reason = "the tests look at what a group's future has started")]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::super::{spawn, spawn_blocking, spawn_vital};
    use super::*;

    struct Counted(Arc<AtomicUsize>);

    impl Counted {
        fn new(count: &Arc<AtomicUsize>) -> Self {
            count.fetch_add(1, Ordering::SeqCst);
            Self(count.clone())
        }
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_group_ends_with_everything_that_its_tasks_have_started() {
        let (group, count) = (Group::default(), Arc::new(AtomicUsize::new(0)));
        let outside = spawn("outside", std::future::pending::<()>());
        let counted = count.clone();
        group
            .run(async move {
                let first = Counted::new(&counted);
                spawn("parent", async move {
                    let _first = first;
                    let second = Counted::new(&counted);
                    spawn("child", async move {
                        let _second = second;
                        std::future::pending::<()>().await;
                    });
                    let third = Counted::new(&counted);
                    spawn_blocking("work", move || {
                        std::thread::sleep(Duration::from_millis(50));
                        drop(third);
                    });
                    std::future::pending::<()>().await;
                });
            })
            .await;
        while count.load(Ordering::SeqCst) < 3 {
            tokio::task::yield_now().await;
        }
        assert_eq!(group.end().await, None);
        assert_eq!(count.load(Ordering::SeqCst), 0, "something outlived its group");
        assert!(!outside.is_finished());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_panic_of_a_vital_task_is_told_and_that_of_another_is_not() {
        let group = Group::default();
        group
            .run(async {
                assert!(spawn("harmless", async { panic!("on purpose") }).await.is_err());
            })
            .await;
        let early = tokio::time::timeout(Duration::from_millis(20), group.panicked()).await;
        assert!(early.is_err(), "{early:?}");
        let started =
            group.run(async { spawn("parent", async { spawn_vital("vital", async { panic!("on purpose") }) }) });
        assert!(started.await.await.unwrap().await.is_err());
        let told = tokio::time::timeout(Duration::from_secs(60), group.panicked()).await;
        assert_eq!(told.expect("nobody was told"), Panicked { task: "vital" });
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_end_tells_a_panic_that_was_still_under_way_when_its_consequence_was_seen() {
        /// Takes its time to be dropped once others can see that it will be.
        struct Owned(Option<tokio::sync::oneshot::Sender<()>>);
        impl Drop for Owned {
            fn drop(&mut self) {
                drop(self.0.take());
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        let (group, (owned, consequence)) = (Group::default(), tokio::sync::oneshot::channel());
        group
            .run(async {
                spawn_vital("vital", async move {
                    let _owned = Owned(Some(owned));
                    panic!("on purpose")
                });
            })
            .await;
        assert!(consequence.await.is_err());
        assert_eq!(group.end().await, Some(Panicked { task: "vital" }));
    }

    #[tokio::test]
    async fn a_task_that_stands_for_a_thread_is_waited_for_and_not_aborted() {
        let (group, (told, lasts)) = (Group::default(), tokio::sync::oneshot::channel::<()>());
        let lasting = group.run(async { super::super::spawn_lasting("thread", lasts) }).await;
        group.abort();
        let mut end = std::pin::pin!(group.end());
        let early = tokio::time::timeout(Duration::from_millis(20), end.as_mut()).await;
        assert!(early.is_err(), "it was not waited for");
        told.send(()).unwrap();
        end.await;
        assert!(lasting.await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn what_is_started_in_a_group_that_has_ended_ends_at_once() {
        let group = Group::default();
        group.abort();
        let late = group.run(async { spawn("late", std::future::pending::<()>()) }).await;
        assert!(late.await.unwrap_err().is_cancelled());
    }
}
