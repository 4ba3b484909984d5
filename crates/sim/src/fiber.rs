//! Blocking work that waits in simulated time: it runs on a stack of its own, inside of the task that polls it, and steps
//! aside where a thread would sleep.
//!
//! Invariants:
//! * A fiber is polled and dropped on the thread that began it.
//! * It waits nowhere but in [`wait`], so that the task's own state (its host, its group, its runtime) is in place
//!   whenever it runs.
//! * Dropped half-way, what is on its stack is dropped, as by a panic.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll, Waker};
use std::thread::ThreadId;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

/// Bytes of a stack, of which the system gives what is touched.
const STACK_BYTES: usize = 1 << 20;
/// Stacks that are kept for the next ones.
const SPARE_STACKS_MAX: usize = 64;

/// What a fiber is resumed with, and how it steps aside.
type Aside = Yielder<Waker, ()>;

thread_local! {
    /// The way out of the fiber that runs now, and who wakes it.
    static RUNNING: RefCell<Option<(NonNull<Aside>, Waker)>> = const { RefCell::new(None) };
    static SPARE: RefCell<Vec<DefaultStack>> = const { RefCell::new(Vec::new()) };
    /// How many are on the way to their end by being dropped.
    static UNWINDING: Cell<u32> = const { Cell::new(0) };
}

/// Blocking work as a future.
pub struct Fiber {
    /// `None` once it has ended.
    coroutine: Option<Coroutine<Waker, (), ()>>,
    thread: ThreadId,
}

// SAFETY: a fiber never leaves its thread while it lives: `poll` and `drop` check that. (Runtimes with one thread want
// their tasks to be `Send` all the same.)
unsafe impl Send for Fiber {}

impl Fiber {
    /// Work that begins with the first poll.
    pub fn new(work: Box<dyn FnOnce() + Send>) -> Self {
        let spare = SPARE.with(|spare| spare.borrow_mut().pop());
        let stack = spare.unwrap_or_else(|| DefaultStack::new(STACK_BYTES).expect("there is memory for a stack"));
        let coroutine = Coroutine::with_stack(stack, move |aside: &Aside, waker| {
            enter(aside, waker);
            work();
            RUNNING.with(|running| running.borrow_mut().take());
        });
        Self { coroutine: Some(coroutine), thread: std::thread::current().id() }
    }

    fn is_at_home(&self) -> bool {
        std::thread::current().id() == self.thread
    }
}

fn enter(aside: &Aside, waker: Waker) {
    RUNNING.with(|running| *running.borrow_mut() = Some((NonNull::from(aside), waker)));
}

impl Future for Fiber {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        assert!(self.is_at_home(), "a fiber stays on its thread");
        let outer = RUNNING.with(|running| running.borrow_mut().take());
        let coroutine = self.coroutine.as_mut().expect("it is polled until it has ended");
        let resumed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| coroutine.resume(cx.waker().clone())));
        RUNNING.with(|running| *running.borrow_mut() = outer);
        match resumed {
            Ok(CoroutineResult::Yield(())) => Poll::Pending,
            Ok(CoroutineResult::Return(())) => {
                if let Some(ended) = self.coroutine.take() {
                    keep(ended.into_stack());
                }
                Poll::Ready(())
            }
            Err(panic) => {
                self.coroutine = None;
                std::panic::resume_unwind(panic)
            }
        }
    }
}

fn keep(stack: DefaultStack) {
    SPARE.with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < SPARE_STACKS_MAX {
            spare.push(stack);
        }
    });
}

impl Drop for Fiber {
    fn drop(&mut self) {
        assert!(self.is_at_home(), "a fiber stays on its thread");
        let Some(mut coroutine) = self.coroutine.take() else { return };
        let outer = RUNNING.with(|running| running.borrow_mut().take());
        UNWINDING.with(|unwinding| unwinding.set(unwinding.get() + 1));
        coroutine.force_unwind();
        UNWINDING.with(|unwinding| unwinding.set(unwinding.get() - 1));
        RUNNING.with(|running| *running.borrow_mut() = outer);
        keep(coroutine.into_stack());
    }
}

/// Whether what runs now is a fiber, which may wait.
pub fn may_wait() -> bool {
    RUNNING.with(|running| running.borrow().is_some())
}

/// Waits for a future inside of the fiber that runs now.
pub fn wait(mut future: Pin<&mut dyn Future<Output = ()>>) {
    loop {
        let running = RUNNING.with(|running| running.borrow_mut().take());
        let Some((aside, waker)) = running else {
            let unwinding = UNWINDING.with(Cell::get) > 0;
            assert!(!unwinding, "what is dropped with a fiber must not wait");
            panic!("only blocking work may wait: this is a task");
        };
        let ready = {
            // What the future does on its own account (it may poll another fiber) is not this one's.
            let mut cx = Context::from_waker(&waker);
            future.as_mut().poll(&mut cx).is_ready()
        };
        if ready {
            RUNNING.with(|running| *running.borrow_mut() = Some((aside, waker)));
            return;
        }
        // SAFETY: it points into the stack of this fiber, which is the one that runs.
        let aside_now = unsafe { aside.as_ref() };
        let waker = aside_now.suspend(());
        RUNNING.with(|running| *running.borrow_mut() = Some((aside, waker)));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;

    fn sleep(milliseconds: u64) {
        wait(std::pin::pin!(tokio::time::sleep(Duration::from_millis(milliseconds))));
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_waits_lets_others_run_meanwhile() {
        let seen = Arc::new(parking_lot::Mutex::new(Vec::new()));
        let work = |name: &'static str, pause| {
            let seen = seen.clone();
            Fiber::new(Box::new(move || {
                for round in 0..3 {
                    sleep(pause);
                    seen.lock().push((name, round));
                }
            }))
        };
        tokio::join!(work("slow", 10), work("quick", 4));
        assert_eq!(*seen.lock(), [("quick", 0), ("quick", 1), ("slow", 0), ("quick", 2), ("slow", 1), ("slow", 2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fiber_that_is_dropped_drops_what_it_holds_and_a_panic_is_its_pollers() {
        struct Noted(Arc<AtomicBool>);
        impl Drop for Noted {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let dropped = Arc::new(AtomicBool::new(false));
        let noted = Noted(dropped.clone());
        let mut fiber = Box::pin(Fiber::new(Box::new(move || {
            let _noted = noted;
            sleep(1_000);
        })));
        assert!(futures::poll!(fiber.as_mut()).is_pending());
        assert!(!dropped.load(Ordering::SeqCst));
        drop(fiber);
        assert!(dropped.load(Ordering::SeqCst) && !may_wait());
        let panics = Fiber::new(Box::new(|| {
            sleep(1);
            panic!("on purpose");
        }));
        let panicked = base::task::spawn("panics", panics).await;
        assert!(panicked.unwrap_err().is_panic());
    }
}
