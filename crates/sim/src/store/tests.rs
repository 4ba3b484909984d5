//! What the store does under each fault, and that a seed is a run.

use std::ops::Range;
use std::time::Duration;

use blob::{CreateOutcome, Purpose, Resolved, Store, StoreError, StoreOptions};

use super::*;

const P: Purpose = Purpose::Metadata;

struct World {
    store: ObjectStore,
    faults: Faults,
    trace: Trace,
    effects: Arc<Mutex<Vec<String>>>,
}

struct Journal(Arc<Mutex<Vec<String>>>);

impl Observer for Journal {
    fn effect(&self, effect: &Effect<'_>) {
        let Effect { process, operation, key, before, after } = effect;
        let length = |body: &Option<&Bytes>| body.map(|body| body.len());
        let line = format!("{process:?} {} {key} {:?} {:?}", operation.label(), length(before), length(after));
        self.0.lock().push(line);
    }
}

fn world(seed: u64) -> World {
    let (errands, faults, trace) = (Errands::default(), Faults::default(), Trace::new(None));
    let store = ObjectStore::new(Dice::new(seed), faults.clone(), trace.clone(), errands.clone());
    base::task::spawn("errands", async move { errands.serve().await });
    let effects = Arc::default();
    store.observe(Arc::new(Journal(Arc::clone(&effects))));
    World { store, faults, trace, effects }
}

#[derive(Debug)]
struct Numbers(Dice);

impl base::entropy::RandomSource for Numbers {
    fn next_u128(&self) -> u128 {
        u128::from(self.0.next_u64())
    }
}

async fn open(world: &World, process: &Process, seed: u64) -> Store {
    let entropy = base::Entropy::from_source(Arc::new(Numbers(Dice::new(seed))));
    let options = StoreOptions { clock: base::Clock::runtime(0), entropy, ..StoreOptions::default() };
    world.store.stores(process).open("sim://", options).await.unwrap()
}

fn ms(range: Range<u64>) -> Range<Duration> {
    Duration::from_millis(range.start)..Duration::from_millis(range.end)
}

#[tokio::test(start_paused = true)]
async fn a_store_without_faults_keeps_what_it_is_given_and_passes_the_probe() {
    let world = world(1);
    let store = open(&world, &Process::new("one", 1), 1).await;
    blob::probe(&store, true).await.unwrap();
    store.put(P, "a/1", &b"one"[..]).await.unwrap();
    store.put(P, "a/2", &b"three"[..]).await.unwrap();
    assert!(store.create(P, "a/3", &b"3"[..]).await.is_created());
    assert!(matches!(store.create(P, "a/3", &b"4"[..]).await, CreateOutcome::Exists));
    assert_eq!(store.get(P, "a/2", 1..3).await.unwrap(), "hr");
    assert!(store.get(P, "a/2", 1..9).await.is_err());
    assert_eq!(store.list_all(P, "a/").await.unwrap().len(), 3);
    store.delete(P, &["a/1".to_owned(), "a/none".to_owned()]).await.unwrap();
    assert!(store.get(P, "a/1", ..).await.unwrap_err().is_not_found());
    assert_eq!(world.store.objects("a/").len(), 2);
    let expected =
        ["put a/1 None Some(3)", "put a/2 None Some(5)", "create a/3 None Some(1)", "delete a/1 Some(3) None"];
    let effects = world.effects.lock().iter().filter(|line| line.contains(" a/")).cloned().collect::<Vec<_>>();
    assert_eq!(effects, expected.map(|line| format!("one {line}")));
    assert!(world.faults.counts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_has_left_is_done_though_nobody_waits_and_its_sender_is_dead() {
    let world = world(1);
    world.store.set_plan(StorePlan { latency: ms(100..200), ..StorePlan::default() });
    let process = Process::new("one", 1);
    let store = open(&world, &process, 1).await;
    let gives_up = tokio::time::timeout(Duration::from_millis(1), store.put(P, "a", &b"one"[..])).await;
    assert!(gives_up.is_err() && world.store.object("a").is_none());
    process.die();
    let silence = tokio::time::timeout(Duration::from_secs(5), store.put(P, "b", &b"two"[..])).await;
    assert!(silence.is_err(), "the dead hear nothing");
    assert_eq!(world.store.object("a").unwrap(), "one");
    assert!(world.store.object("b").is_none(), "the dead send nothing");
}

#[tokio::test(start_paused = true)]
async fn each_fault_is_done_told_and_counted() {
    let all = |fault: Fault| {
        let mut plan = StorePlan { late_by: ms(5_000..9_000), stall: ms(20_000..20_001), ..StorePlan::default() };
        let odd = match fault {
            Fault::Unavailable => &mut plan.unavailable,
            Fault::LostRequest => &mut plan.lost_request,
            Fault::LostReply => &mut plan.lost_reply,
            Fault::LateEffect => &mut plan.late_effect,
            Fault::DamagedWrite => &mut plan.damaged_write,
            Fault::StoreStall => &mut plan.stalled,
            Fault::ShortRead => &mut plan.short_read,
            _ => &mut plan.damaged_read,
        };
        *odd = 1.0;
        plan
    };
    // What a put comes to, whether its object is there then, and ten seconds later.
    for (fault, there, later) in [
        (Fault::Unavailable, false, false),
        (Fault::LostRequest, false, false),
        (Fault::LostReply, true, true),
        (Fault::LateEffect, false, true),
        (Fault::DamagedWrite, false, false),
    ] {
        let world = world(3);
        let process = Process::new("one", 1);
        let backend = open(&world, &process, 1).await;
        world.store.set_plan(all(fault));
        // Creates are never tried again.
        let outcome = backend.create(P, "a", &b"one"[..]).await;
        assert!(matches!(outcome, CreateOutcome::Unknown(_)), "{fault:?}: {outcome:?}");
        assert_eq!(world.store.object("a").is_some(), there, "{fault:?}");
        process.die();
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(world.store.object("a").is_some(), later, "{fault:?}");
        assert_eq!(world.faults.counts(), [(fault, 1)].into());
        assert!(world.trace.last(9).iter().any(|line| line.contains(fault.label())));
    }
    let world = world(3);
    let store = open(&world, &Process::new("one", 1), 1).await;
    store.put(P, "a", &b"one"[..]).await.unwrap();
    world.store.set_plan(all(Fault::ShortRead));
    assert!(matches!(store.get(P, "a", ..).await, Err(StoreError::ShortRead { got: 1, .. })));
    for _ in 0..10 {
        // Whoever notices it.
        assert!(matches!(store.get(P, "a", 0..3).await, Err(StoreError::ShortRead { got: 1, .. })));
    }
    world.store.set_plan(all(Fault::DamagedRead));
    let damaged = store.get(P, "a", ..).await.unwrap();
    let bits = damaged.iter().zip(b"one").map(|(one, other)| (one ^ other).count_ones()).sum::<u32>();
    assert_eq!((damaged.len(), bits), (3, 1));
    world.store.set_plan(all(Fault::StoreStall));
    assert!(!store.create(P, "b", &b"two"[..]).await.is_created(), "it takes longer than an attempt may");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(world.store.object("b").is_some());
    world.store.set_plan(StorePlan::default());
    for outage in [Outage::Refuses, Outage::IsSilent] {
        world.store.set_outage(Some(outage));
        assert!(matches!(store.create(P, "c", &b"two"[..]).await, CreateOutcome::Unknown(_)));
        world.store.set_outage(None);
    }
    world.store.cut_off(Some((2, Outage::Refuses)));
    assert!(store.create(P, "c", &b"two"[..]).await.is_created(), "another machine");
    world.store.cut_off(Some((1, Outage::Refuses)));
    assert!(matches!(store.create(P, "d", &b"two"[..]).await, CreateOutcome::Unknown(_)));
    assert_eq!(world.faults.counts()[&Fault::StoreOutage], 2);
}

fn storm() -> StorePlan {
    StorePlan {
        latency: ms(1..80),
        bytes_per_second: 10 << 20,
        stalled: 0.02,
        stall: ms(1_000..60_000),
        unavailable: 0.05,
        lost_request: 0.05,
        lost_reply: 0.05,
        late_effect: 0.05,
        late_by: ms(1..30_000),
        damaged_write: 0.02,
        short_read: 0.02,
        damaged_read: 0.0,
    }
}

/// Eight writers that race for a hundred names, each with bytes of its own.
async fn race(seed: u64) -> (World, Vec<(String, usize)>) {
    let world = world(seed);
    world.store.set_plan(storm());
    let mut writers = Vec::new();
    for writer in 0..8_usize {
        let store = open(&world, &Process::new(format!("w{writer}"), 1), writer as u64).await;
        writers.push(base::task::spawn("writer", async move {
            let mut won = Vec::new();
            for number in 0..100 {
                let key = format!("log/{number:03}");
                let body = Bytes::from(format!("{writer}"));
                loop {
                    match store.create_resolved(P, &key, body.clone()).await {
                        Ok(Resolved::Created) => break won.push((key, writer)),
                        Ok(Resolved::Exists(_)) => break,
                        Err(_) => {}
                    }
                }
            }
            won
        }));
    }
    let mut won = Vec::new();
    for writer in writers {
        won.extend(writer.await.unwrap());
    }
    won.sort();
    (world, won)
}

#[tokio::test(start_paused = true)]
async fn a_name_has_one_winner_in_any_storm() {
    let (world, won) = race(5).await;
    let held = world.store.objects("log/");
    let expected = held.iter().map(|(key, body)| (key.clone(), (body[0] - b'0') as usize)).collect::<Vec<_>>();
    assert_eq!((held.len(), won), (100, expected));
    let kinds = world.faults.counts().len();
    assert!(kinds >= 7, "{:?}", world.faults.counts());
}

#[test]
fn one_seed_is_one_run() {
    let run = |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async { race(seed).await.0.trace.digest() })
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
