//! The host of one simulated process: it decides when the process's tasks go on, and whether they do at all.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use base::host::{AbortHandle, BoxFuture, Host};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::dice::Dice;
use crate::faults::{Fault, Faults};
use crate::fiber::{self, Fiber};
use crate::planted::PLACES;
use crate::process::Process;
use crate::scheduler::Scheduler;
use crate::trace::{self, Trace};

/// What is planted in a run, and how often each place was passed. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Planted(Arc<Mutex<PlantedState>>);

#[derive(Debug, Default)]
struct PlantedState {
    bug: Option<&'static str>,
    /// How often the bug was asked for.
    bug_met: u64,
    /// Passes and panics of each place.
    places: BTreeMap<&'static str, (u64, u64)>,
}

impl Planted {
    /// A world with that bug, or none.
    pub fn bug(bug: Option<&'static str>) -> Self {
        Self(Arc::new(Mutex::new(PlantedState { bug, ..PlantedState::default() })))
    }

    /// How often the bug's place was reached.
    pub fn met(&self) -> u64 {
        self.0.lock().bug_met
    }

    /// How often each place was passed, and how often there was a panic.
    pub fn places(&self) -> BTreeMap<&'static str, (u64, u64)> {
        self.0.lock().places.clone()
    }
}

/// A host. The process dies with [`Process::die`]: its tasks are held up from then on, and whoever runs the world aborts
/// them when [`SimHost::fate`] says so.
#[derive(Debug)]
pub struct SimHost {
    process: Process,
    scheduler: Scheduler,
    dice: Dice,
    faults: Faults,
    trace: Trace,
    planted: Planted,
    state: Mutex<State>,
    /// Rings when the process has died.
    death: Notify,
    /// Rings when a request was broken off.
    breaks_off: Notify,
}

#[derive(Debug, Default)]
struct State {
    tasks: Vec<AbortHandle>,
    /// Tasks are counted again when there are so many.
    sweep_at: usize,
    /// Who wants to go on while the process stands still.
    paused: Option<Vec<Waker>>,
    /// Polls until the process dies.
    dies_in: Option<u64>,
    /// The place that panics next, after so many passes.
    panics_at: Option<(&'static str, u64)>,
    /// Where the process has panicked.
    panicked: Vec<&'static str>,
    /// Whether the process ever stood still.
    was_paused: bool,
    /// Places and tasks of panics that break off a request, of which nobody was told yet.
    broken_off: VecDeque<(&'static str, tokio::task::Id)>,
}

impl SimHost {
    /// The host of a process.
    pub fn new(
        process: &Process,
        dice: Dice,
        scheduler: &Scheduler,
        faults: &Faults,
        trace: &Trace,
        planted: &Planted,
    ) -> Arc<Self> {
        Arc::new(Self {
            process: process.clone(),
            scheduler: scheduler.clone(),
            dice,
            faults: faults.clone(),
            trace: trace.clone(),
            planted: planted.clone(),
            state: Mutex::default(),
            death: Notify::new(),
            breaks_off: Notify::new(),
        })
    }

    /// Who chooses among its tasks and others.
    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// The process dies before the poll after so many.
    pub fn die_in(&self, polls: u64) {
        self.state.lock().dies_in = Some(polls);
    }

    /// There is a panic at that planted place, after so many passes.
    pub fn panic_at(&self, place: &'static str, passes: u64) {
        self.state.lock().panics_at = Some((place, passes));
    }

    /// The planted place at which it has panicked, and which it must not outlive.
    pub fn must_end(&self) -> Option<&'static str> {
        let panicked = self.state.lock().panicked.clone();
        panicked.into_iter().find(|name| PLACES.iter().any(|place| place.name == *name && place.ends))
    }

    /// Resolves at the next panic that the process may outlive: the place, and the task that it ended.
    pub async fn broken_off(&self) -> (&'static str, tokio::task::Id) {
        loop {
            if let Some(next) = self.state.lock().broken_off.pop_front() {
                return next;
            }
            self.breaks_off.notified().await;
        }
    }

    /// Whether it stands still.
    pub fn is_paused(&self) -> bool {
        self.state.lock().paused.is_some()
    }

    /// Whether it ever stood still.
    pub fn was_paused(&self) -> bool {
        self.state.lock().was_paused
    }

    /// Whether it has panicked at a planted place.
    pub fn has_panicked(&self) -> bool {
        !self.state.lock().panicked.is_empty()
    }

    /// Whether it has panicked at that planted place.
    pub fn has_panicked_at(&self, place: &'static str) -> bool {
        self.state.lock().panicked.contains(&place)
    }

    /// Takes back what was to happen to it.
    pub fn spare(&self) {
        let mut state = self.state.lock();
        (state.dies_in, state.panics_at) = (None, None);
    }

    /// The process dies now.
    pub fn die(&self) {
        self.process.die();
        self.death.notify_one();
    }

    /// Resolves when the process has died.
    pub async fn died(&self) {
        if !self.process.is_dead() {
            self.death.notified().await;
        }
    }

    /// Ends what is left of a process that has died.
    pub fn abort_all(&self) {
        let (tasks, woken) = {
            let mut state = self.state.lock();
            (std::mem::take(&mut state.tasks), state.paused.take())
        };
        tasks.iter().for_each(AbortHandle::abort);
        drop(woken);
    }

    /// The process stands still.
    pub fn pause(&self) {
        let mut state = self.state.lock();
        state.was_paused = true;
        state.paused.get_or_insert_default();
    }

    /// It goes on.
    pub fn go_on(&self) {
        let woken = self.state.lock().paused.take();
        woken.into_iter().flatten().for_each(Waker::wake);
    }
}

impl Host for SimHost {
    fn started(&self, _: &'static str, task: AbortHandle) {
        let mut state = self.state.lock();
        if self.process.is_dead() {
            drop(state);
            task.abort();
            return;
        }
        if state.tasks.len() >= state.sweep_at.max(64) {
            state.tasks.retain(|task| !task.is_finished());
            state.sweep_at = state.tasks.len() * 2;
        }
        state.tasks.push(task);
    }

    fn enters(&self, _: &'static str) -> u64 {
        self.scheduler.enters()
    }

    fn turn(&self, task: u64, cx: &mut Context<'_>) -> Poll<()> {
        if self.process.is_dead() {
            self.scheduler.forgets(task);
            return Poll::Pending;
        }
        {
            let mut state = self.state.lock();
            if let Some(waiting) = &mut state.paused {
                waiting.push(cx.waker().clone());
                drop(state);
                self.scheduler.forgets(task);
                return Poll::Pending;
            }
        }
        ready!(self.scheduler.turn(task, cx));
        trace::runs(&self.process);
        let mut state = self.state.lock();
        if let Some(left) = &mut state.dies_in {
            *left = left.saturating_sub(1);
            if *left == 0 {
                state.dies_in = None;
                drop(state);
                self.faults.did(Fault::Crash);
                self.trace.note(self.process.name(), "dies between two polls");
                self.die();
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    fn dropped(&self, task: u64, drops: Box<dyn FnOnce() + Send>) {
        self.scheduler.drops(task, drops);
    }

    fn leaves(&self, task: u64) {
        self.scheduler.forgets(task);
    }

    fn next_u64(&self) -> u64 {
        self.dice.next_u64()
    }

    fn blocking(&self, name: &'static str, work: Box<dyn FnOnce() + Send>) -> BoxFuture<()> {
        // What is work for a processor takes its time, too; what drives a log goes in small steps.
        let steps = name.starts_with("wal-") && name != "wal-replay";
        let time = match self.dice.below(100) {
            _ if steps => Duration::ZERO,
            0..2 => self.dice.time(Duration::ZERO..Duration::from_secs(1)),
            2..30 => self.dice.time(Duration::ZERO..Duration::from_millis(30)),
            _ => Duration::ZERO,
        };
        Box::pin(Fiber::new(Box::new(move || {
            if !time.is_zero() {
                fiber::wait(std::pin::pin!(tokio::time::sleep(time)));
            }
            work();
        })))
    }

    fn wait(&self, future: Pin<&mut dyn Future<Output = ()>>) {
        fiber::wait(future);
    }

    fn bug(&self, name: &'static str) -> bool {
        let mut planted = self.planted.0.lock();
        let is_it = planted.bug == Some(name);
        planted.bug_met += u64::from(is_it);
        is_it
    }

    fn place(&self, name: &'static str) {
        if self.process.is_dead() {
            return;
        }
        let now = {
            let mut state = self.state.lock();
            match &mut state.panics_at {
                Some((place, 0)) if *place == name => {
                    state.panics_at = None;
                    state.panicked.push(name);
                    if let Some(task) = tokio::task::try_id()
                        && PLACES.iter().any(|place| place.name == name && !place.ends)
                    {
                        state.broken_off.push_back((name, task));
                        self.breaks_off.notify_one();
                    }
                    true
                }
                Some((place, left)) if *place == name => {
                    *left -= 1;
                    false
                }
                _ => false,
            }
        };
        let mut planted = self.planted.0.lock();
        let (passes, panics) = planted.places.entry(name).or_default();
        *passes += 1;
        *panics += u64::from(now);
        drop(planted);
        if now {
            self.faults.did(Fault::Panic);
            self.trace.note(self.process.name(), format_args!("panics at {name}"));
            std::panic::resume_unwind(Box::new(PlantedPanic(name)));
        }
    }
}

/// What a planted panic carries. It is no bug, so that no hook tells of it.
#[derive(Clone, Copy, Debug)]
pub struct PlantedPanic(pub &'static str);
