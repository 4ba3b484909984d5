//! A whole log in one thread: its machines are driven step by step in an order that a seed decides, and the same seed
//! gives the same life.
//!
//! A machine that waits is not driven until its bell has rung or the clock shows what it waits for: a wake-up that is lost
//! stops the life, and the test with it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base::clock::ManualTime;
use base::entropy::RandomSource;
use base::{Clock, Entropy, Offset, WalPosition};
use futures::FutureExt;
use stream::wal::block::machine::{Machine, Step};
use stream::wal::{Access, Append, BlockLog, BlockLogOptions, Ending, ReplayEnd, Wal, WalFailure};

use crate::memory::{MemoryVolume, Place, WriteFate};
use crate::support::{CLUSTER, OURS, Sink, append, incarnation, options, over, replay};

const SEGMENT: u64 = 64 << 10;
const SEAL_AFTER: Duration = Duration::from_secs(1);
/// Steps without an end are a life that hangs.
const STEPS_MAX: usize = 20_000;

/// A sequence of numbers that a seed decides.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// Nonces that are the same in every life.
#[derive(Debug)]
struct Fixed(u64);

impl RandomSource for Fixed {
    fn next_u128(&self) -> u128 {
        u128::from(self.0)
    }
}

/// A machine, and what it last waited for.
struct Driven {
    machine: Box<dyn Machine>,
    waits: Option<Option<Duration>>,
}

struct World {
    volume: Arc<MemoryVolume>,
    log: BlockLog,
    wal: Wal<u64>,
    sink: Sink,
    machines: Vec<Driven>,
    time: Arc<ManualTime>,
    clock: Clock,
    dice: Dice,
    trace: Arc<Mutex<Vec<String>>>,
}

impl World {
    fn new(seed: u64) -> Self {
        let volume = MemoryVolume::new(SEGMENT);
        let trace: Arc<Mutex<Vec<String>>> = Arc::default();
        let (writes, reads) = (trace.clone(), trace.clone());
        volume.faults.writes(move |operation| {
            writes.lock().unwrap().push(format!("write {operation:?}"));
            WriteFate::Lands
        });
        volume.faults.reads(move |operation| {
            reads.lock().unwrap().push(format!("read {operation:?}"));
            Ok(())
        });
        let time = ManualTime::starting_at(0);
        let clock = Clock::from_source(time.clone());
        let options = BlockLogOptions {
            seal_after: SEAL_AFTER,
            clock: clock.clone(),
            entropy: Entropy::from_source(Arc::new(Fixed(seed))),
            ..options(Access::Owner, 4 * SEGMENT)
        };
        let log = BlockLog::over(volume.clone() as _, options).unwrap();
        let (sink, mut machines) = (Sink::default(), Vec::new());
        let wal = log.create_driven(incarnation(1), CLUSTER, sink.clone(), &mut |machine| {
            machines.push(Driven { machine, waits: None });
            Ok(())
        });
        Self { volume, log, wal: wal.unwrap(), sink, machines, time, clock, dice: Dice(seed), trace }
    }

    /// The machines that may go on, in their order.
    fn due(&mut self) -> Vec<usize> {
        let now = self.clock.monotonic();
        for driven in &mut self.machines {
            if let Some(until) = driven.waits
                && (driven.machine.bell().heard() || until.is_some_and(|until| until <= now))
            {
                driven.waits = None;
            }
        }
        (0..self.machines.len()).filter(|&n| self.machines[n].waits.is_none()).collect()
    }

    /// One step of one of them; `false` when all wait or have ended.
    fn step(&mut self) -> bool {
        let due = self.due();
        if due.is_empty() {
            return false;
        }
        let chosen = due[self.dice.below(due.len())];
        let driven = &mut self.machines[chosen];
        let step = driven.machine.step();
        let (name, state) = (driven.machine.name(), self.wal.status());
        self.trace.lock().unwrap().push(format!("{name} {step:?}: {state:?}"));
        match step {
            Step::Did => {}
            Step::Wait(until) => driven.waits = Some(until),
            Step::Ended => drop(self.machines.remove(chosen)),
        }
        true
    }

    fn steps_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        for _ in 0..STEPS_MAX {
            if done(self) {
                return;
            }
            assert!(self.step(), "all wait, and none for {what}: {:?}", self.wal.status());
        }
        panic!("no end of steps before {what}");
    }

    fn rest(&mut self) {
        for _ in 0..STEPS_MAX {
            if !self.step() {
                return;
            }
        }
        panic!("it never rests");
    }

    fn acknowledged(&self) -> u64 {
        self.sink.told(|told| told.durable.len() as u64)
    }

    /// Appends until there are `total`, trimming now and then, in no order but the seed's.
    fn live(&mut self, total: u64) {
        let mut next = 0;
        for _ in 0..STEPS_MAX {
            match self.dice.below(8) {
                0 | 1 if next < total => {
                    let length = 100 + self.dice.below(30_000);
                    self.wal.append(append(next, length), next);
                    next += 1;
                }
                2 if self.dice.below(4) == 0 => {
                    let acknowledged = self.wal.status().acknowledged;
                    self.wal.trim(acknowledged);
                }
                _ => {
                    self.step();
                }
            }
            if self.acknowledged() == total {
                return;
            }
        }
        panic!("{} of {total} are acknowledged: {:?}", self.acknowledged(), self.wal.status());
    }

    fn end_of(self) -> (Vec<String>, Arc<MemoryVolume>, Sink) {
        let trace = self.trace.lock().unwrap().clone();
        (trace, self.volume, self.sink)
    }
}

const APPENDS: u64 = 60;

/// Appends, trims, recycling, a seal, and an end in order.
fn life(seed: u64) -> Vec<String> {
    let mut world = World::new(seed);
    world.live(APPENDS);
    // Room for a seal.
    world.wal.trim(world.wal.status().acknowledged);
    let checked = world.wal.check_unfenced();
    world.rest();
    assert_eq!(checked.now_or_never(), Some(Ok(())));
    // Idle, and the clock stands still: nothing to do but to wait for it.
    let sealed = |world: &World| {
        let segments = world.volume.segments.lock().unwrap().len();
        let written = world.trace.lock().unwrap().iter().filter(|line| line.starts_with("write")).count();
        (segments, written)
    };
    let (_, before) = sealed(&world);
    world.time.advance(SEAL_AFTER);
    world.rest();
    let (segments, after) = sealed(&world);
    assert!(after > before, "the clock has moved, so the last group is sealed");
    assert!(segments <= 5, "recycled, not made: {segments}");
    world.time.advance(SEAL_AFTER * 10);
    world.rest();
    assert_eq!(sealed(&world).1, after, "once");

    world.wal.end(Ending::Flush);
    assert!(world.wal.ended().now_or_never().is_none(), "it has not ended before its machines have");
    world.steps_until("the end", |world| world.machines.is_empty());
    let end = world.wal.ended().now_or_never().expect("nothing of it runs").unwrap();
    assert!(world.wal.failed().now_or_never().is_none(), "it has not failed");
    world.sink.told(|told| {
        assert!(told.durable.iter().copied().eq(0..APPENDS), "in the order of the appends");
        assert!(told.failures.is_empty());
    });
    let from = world.wal.status().trimmed;
    let (volume, log) = (world.volume.clone(), over(&world.volume, Access::Observer));
    volume.faults.heal();
    assert_eq!(replay(&log, 1, from.0).1, ReplayEnd::Clean { end });
    world.log.remove(incarnation(1), OURS).unwrap();
    world.end_of().0
}

#[test]
fn the_same_seed_gives_the_same_life_and_every_seed_a_whole_one() {
    let mut lives = BTreeSet::new();
    for seed in 0..20 {
        let first = life(seed);
        assert!(first == life(seed), "seed {seed}");
        lives.insert(first);
    }
    assert_eq!(lives.len(), 20, "seeds differ");
}

/// A taker comes in the midst of appends: nothing of what was written afterwards is acknowledged, in any order of steps.
fn taken_over(seed: u64) -> Vec<String> {
    let mut world = World::new(seed);
    let steps = 5 + world.dice.below(200);
    for n in 0..20 {
        world.wal.append(append(n, 3_000), n);
    }
    for _ in 0..steps {
        world.step();
    }
    let taker = over(&world.volume, Access::Taker);
    taker.fence(incarnation(1)).unwrap();
    let before = world.acknowledged();
    let asked = world.wal.check_unfenced();
    for n in 20..40 {
        world.wal.append(append(n, 3_000), n);
    }
    world.steps_until("the end", |world| world.machines.is_empty());
    assert_eq!(world.acknowledged(), before, "acknowledged after the fence");
    assert!(asked.now_or_never().expect("answered").is_err());
    assert!(matches!(world.wal.failed().now_or_never(), Some(Some(WalFailure::Fenced(_)))));
    assert!(matches!(world.wal.ended().now_or_never(), Some(Err(WalFailure::Fenced(_)))));
    assert_eq!(world.sink.told(|told| told.failures.len()), 1);
    world.volume.faults.heal();
    assert!(replay(&taker, 1, 0).0.len() as u64 >= before, "what was acknowledged is there");
    world.end_of().0
}

#[test]
fn a_fence_ends_a_log_whatever_the_order_of_its_steps() {
    for seed in 0..50 {
        assert!(taken_over(seed) == taken_over(seed), "seed {seed}");
    }
}

#[test]
fn a_machine_that_is_dropped_before_its_end_ends_the_log() {
    for lost in 0..3 {
        let mut world = World::new(7);
        world.wal.append(append(0, 100), 0);
        let name = world.machines.remove(lost).machine.name();
        world.steps_until("the end", |world| world.machines.is_empty());
        let failure = world.wal.failed().now_or_never().flatten();
        assert!(matches!(failure, Some(WalFailure::ThreadEnded(who)) if who == name), "{name}: {failure:?}");
        assert!(world.wal.ended().now_or_never().expect("ended").is_err());
    }
}

/// A group answers for its own appends: what waits behind it, however much that is, is not looked at.
#[test]
fn a_bad_append_ends_the_log_when_its_turn_comes_and_not_before() {
    let mut world = World::new(5);
    for n in 0..3 {
        world.wal.append(append(n, 50_000), n);
    }
    world.wal.append(Append { end: Offset(3), ..append(3, 10) }, 3);
    world.steps_until("the end", |world| world.machines.is_empty());
    assert!(matches!(world.wal.failed().now_or_never(), Some(Some(WalFailure::BadAppend { .. }))));
    let written = replay(&over(&world.volume, Access::Taker), 1, 0).0.len();
    assert_eq!(written, 2, "the groups before its own");
}

/// A disk that is full is asked again when the clock says so, not before.
#[test]
fn a_full_disk_is_asked_again_by_the_clock() {
    use std::sync::atomic::Ordering;
    let mut world = World::new(3);
    world.volume.faults.full.store(true, Ordering::SeqCst);
    for n in 0..4 {
        world.wal.append(append(n, 30_000), n);
    }
    world.rest();
    assert!(world.acknowledged() < 4, "the first segment does not hold them");
    world.volume.faults.full.store(false, Ordering::SeqCst);
    assert!(!world.step(), "all wait");
    world.time.advance(stream::wal::block::SPACE_RETRY_INTERVAL);
    world.rest();
    assert_eq!(world.acknowledged(), 4);
    assert!(world.volume.segments.lock().unwrap().len() > 1);
    let is_log_page = |line: &String| line.contains(&format!("{:?}", Place::Header));
    assert!(world.trace.lock().unwrap().iter().any(is_log_page));
    world.wal.end(Ending::Abandon);
    world.steps_until("the end", |world| world.machines.is_empty());
    assert_eq!(world.wal.ended().now_or_never().unwrap().unwrap(), WalPosition(world.wal.status().durable.0));
}

/// It holds one segment, which is used again each time that all in it is committed. Whenever the process dies, what was
/// acknowledged since then is there, and nothing looks like damage.
#[test]
fn a_full_disk_with_one_segment_goes_on_when_all_in_it_is_committed() {
    use std::sync::atomic::Ordering;
    for seed in 0..20 {
        let mut world = World::new(seed);
        world.volume.faults.full.store(true, Ordering::SeqCst);
        for n in 0..8 {
            world.wal.append(append(n, 30_000), n);
        }
        world.rest();
        let mut committed = 0;
        while world.acknowledged() < 8 {
            assert_eq!(world.acknowledged(), committed + 2, "as many as a segment holds");
            committed = world.acknowledged();
            let position = world.wal.status().acknowledged;
            let check = |world: &World| {
                let (records, end) = replay(&over(&world.volume, Access::Taker), 1, position.0);
                assert!(matches!(end, ReplayEnd::Clean { .. }), "seed {seed}, from {position}: {end:?}");
                assert!(committed + records.len() as u64 >= world.acknowledged());
                assert!(records.first().is_none_or(|record| record.sequence == committed));
            };
            check(&world);
            world.wal.trim(position);
            while world.step() {
                check(&world);
            }
        }
        assert_eq!(world.volume.segments.lock().unwrap().len(), 1);
    }
}

/// Runs nothing of its own: tasks go in the order in which the runtime wakes them.
#[derive(Debug, Default)]
struct Simulator(Mutex<Vec<&'static str>>);

impl base::host::Host for Simulator {
    fn started(&self, name: &'static str, _: base::host::AbortHandle) {
        self.0.lock().unwrap().push(name);
    }

    fn next_u64(&self) -> u64 {
        4
    }
}

/// A hosted program starts no thread: its log is driven by tasks, its timers included.
#[tokio::test]
async fn a_hosted_log_is_driven_by_tasks() {
    let (volume, host) = (MemoryVolume::new(SEGMENT), Arc::new(Simulator::default()));
    let storage = volume.clone();
    let program = base::host::within(host.clone(), "program", async move {
        let options = BlockLogOptions { seal_after: Duration::from_millis(5), ..options(Access::Owner, 4 * SEGMENT) };
        let log = BlockLog::over(storage as _, options).unwrap();
        let sink = Sink::default();
        let wal = log.create(incarnation(1), CLUSTER, sink.clone()).unwrap();
        for n in 0..40 {
            wal.append(append(n, 20_000), n);
            wal.check_unfenced().await.unwrap();
            while sink.told(|told| told.durable.last() != Some(&n)) {
                tokio::task::yield_now().await;
            }
            wal.trim(wal.status().acknowledged);
        }
        // Sealed meanwhile.
        tokio::time::sleep(Duration::from_millis(50)).await;
        wal.end(Ending::Flush);
        let end = wal.ended().await.unwrap();
        assert_eq!(replay(&log, 1, end.0), (Vec::new(), ReplayEnd::Clean { end }));
    });
    tokio::time::timeout(Duration::from_secs(30), program).await.expect("it ends");
    assert_eq!(*host.0.lock().unwrap(), ["wal-writer", "wal-completer", "wal-preparer"]);
}
