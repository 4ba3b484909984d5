//! What happened, line by line, and a hash of all of it: two runs of one seed have the same.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io::Write;
use std::sync::{Arc, Once};
use std::time::Duration;

use base::Clock;
use parking_lot::Mutex;

use crate::process::Process;

/// The lines that are kept.
const LINES_MAX: usize = 4_000;

/// A trace; clones write into the same one.
#[derive(Clone, Debug)]
pub struct Trace(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The world's time, which no process's clock changes.
    clock: Clock,
    state: Mutex<State>,
}

struct State {
    last: VecDeque<String>,
    /// When the newest line was written.
    at: Duration,
    lines: u64,
    hash: u64,
    /// Where all of it goes as it happens.
    copy: Option<Box<dyn Write + Send>>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lines", self.lines)
    }
}

impl Trace {
    /// An empty trace, to be made when the world's time begins. All lines go to `copy` as well.
    pub fn new(copy: Option<Box<dyn Write + Send>>) -> Self {
        let state = State { last: VecDeque::new(), at: Duration::ZERO, lines: 0, hash: 0xcbf2_9ce4_8422_2325, copy };
        Self(Arc::new(Shared { clock: Clock::runtime(0), state: Mutex::new(state) }))
    }

    /// Time since the beginning.
    pub fn now(&self) -> Duration {
        self.0.clock.monotonic()
    }

    /// The clock behind it; its wall shows 0 at the beginning.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Something happened to `who`.
    pub fn note(&self, who: &str, what: impl fmt::Display) {
        let now = self.now();
        let line = format!("{:>4}.{:06} {who:<12} {what}", now.as_secs(), now.subsec_micros());
        let mut state = self.0.state.lock();
        // FNV-1a.
        state.hash =
            line.bytes().fold(state.hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        state.lines += 1;
        state.at = now;
        if let Some(copy) = &mut state.copy {
            // A reader that went away is no reason to stop.
            let _ = writeln!(copy, "{line}");
        }
        if state.last.len() == LINES_MAX {
            state.last.pop_front();
        }
        state.last.push_back(line);
    }

    /// The last lines, `count` at most.
    pub fn last(&self, count: usize) -> Vec<String> {
        let state = self.0.state.lock();
        state.last.iter().skip(state.last.len().saturating_sub(count)).cloned().collect()
    }

    /// When the newest line was written, by the trace's clock. For another thread than the one that runs the world, which may
    /// hold the trace for ever: nothing then.
    pub fn newest(&self) -> Option<Duration> {
        Some(self.0.state.try_lock_for(Duration::from_secs(1))?.at)
    }

    /// How many lines there are, and their hash.
    pub fn digest(&self) -> (u64, u64) {
        let state = self.0.state.lock();
        (state.lines, state.hash)
    }
}

/// What a thread that runs worlds knows of the one that runs now: for whoever has no other way to learn it, the sink of log
/// lines and the hook of panics.
#[derive(Clone, Debug, Default)]
struct Running {
    trace: Option<Trace>,
    process: Option<Process>,
    /// Panics that nobody planted.
    panics: Vec<String>,
}

thread_local! {
    static RUNNING: RefCell<Running> = RefCell::default();
}

/// From here on this thread runs the world of that trace.
pub fn begin(trace: &Trace) {
    RUNNING.with(|running| *running.borrow_mut() = Running { trace: Some(trace.clone()), ..Running::default() });
}

/// The world has ended: what panicked in it.
pub fn end() -> Vec<String> {
    RUNNING.with(|running| std::mem::take(&mut *running.borrow_mut()).panics)
}

/// A task of this process is polled next.
pub fn runs(process: &Process) {
    RUNNING.with(|running| running.borrow_mut().process = Some(process.clone()));
}

/// Writes a line of whoever runs now; nothing where no world runs. False then.
pub fn note_of_running(what: impl fmt::Display) -> bool {
    let (trace, process) = RUNNING.with(|running| {
        let running = running.borrow();
        (running.trace.clone(), running.process.clone())
    });
    let Some(trace) = trace else { return false };
    trace.note(process.as_ref().map_or("world", Process::name), what);
    true
}

/// Tells panics to the trace of the world in which they happened, and to the standard error where none runs. Once for all
/// threads.
pub fn hook_panics() {
    static HOOKED: Once = Once::new();
    HOOKED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let words = panic.to_string().replace('\n', " ");
            if note_of_running(format_args!("PANIC {words}")) {
                let backtrace = std::backtrace::Backtrace::force_capture();
                let told = format!("{words}\n{backtrace}");
                RUNNING.with(|running| running.borrow_mut().panics.push(told));
            } else {
                before(panic);
            }
        }));
    });
}
